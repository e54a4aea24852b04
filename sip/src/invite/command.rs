//! What the owner of a leg may ask of it; a command that its state has no arrow for is ignored by
//! name.
#![warn(clippy::indexing_slicing)]

use super::{Body, Context, Handled, Ignored, Leg, State};
use crate::message::HeaderValue;

impl Leg {
    /// The owner has noted the answer: its ACK may go. Nothing happens where none is held.
    pub(crate) fn acknowledge(&mut self, cx: &mut Context<'_>) -> Handled {
        self.common.release_ack(cx);
        Ok(())
    }

    /// Ends the leg as its state asks.
    pub(crate) fn hang_up(&mut self, cx: &mut Context<'_>, reason: Option<HeaderValue>) -> Handled {
        self.common.release_ack(cx);
        self.step(cx, |state, cx, common| match state {
            State::Calling(state) => (state.hang_up(cx, common, reason), Ok(())),
            State::Ringing(state) => (state.reject(cx, 603), Ok(())),
            State::Answered(state) => (state.hang_up(cx, common, reason), Ok(())),
            state => (state, Err(Ignored("hang-up of an ended leg"))),
        })
    }

    /// Callee: 180, or 183 with a body.
    pub(crate) fn ring(&mut self, cx: &mut Context<'_>, body: Option<Body>) -> Handled {
        self.step(cx, |state, cx, common| match state {
            State::Ringing(mut state) if !state.is_accepted() => {
                state.ring(cx, common, body);
                (State::Ringing(state), Ok(()))
            }
            state => (state, Err(Ignored("ring"))),
        })
    }

    /// Callee: 200.
    pub(crate) fn accept(&mut self, cx: &mut Context<'_>, body: Body) -> Handled {
        self.step(cx, |state, cx, common| match state {
            State::Ringing(state) if !state.is_accepted() => {
                (state.accept(cx, common, body), Ok(()))
            }
            state => (state, Err(Ignored("accept"))),
        })
    }

    /// Callee: a final refusal.
    pub(crate) fn reject(&mut self, cx: &mut Context<'_>, status: u16) -> Handled {
        self.step(cx, |state, cx, _| match state {
            State::Ringing(state) if !state.is_accepted() => (state.reject(cx, status), Ok(())),
            state => (state, Err(Ignored("reject"))),
        })
    }

    /// Answers the far end's offer.
    pub(crate) fn answer_offer(
        &mut self,
        cx: &mut Context<'_>,
        answer: Result<Body, u16>,
    ) -> Handled {
        self.step(cx, |state, cx, common| match state {
            State::Calling(state) => state.answer_offer(cx, common, answer),
            State::Answered(state) => state.answer_offer(cx, common, answer),
            state => (state, Err(Ignored("answer without an offer"))),
        })
    }

    /// Sends INFO.
    pub(crate) fn info(&mut self, cx: &mut Context<'_>, body: Body) -> Handled {
        self.common.release_ack(cx);
        self.step(cx, |state, cx, common| match state {
            State::Answered(mut state) => {
                state.info(cx, common, body);
                (State::Answered(state), Ok(()))
            }
            state => (state, Err(Ignored("INFO outside of a call"))),
        })
    }
}
