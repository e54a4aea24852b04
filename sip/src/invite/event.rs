//! What a leg tells its owner.
//!
//! It knows the events and nothing of how they come about. Start at [`LegEvent`].

use std::time::{Duration, Instant};

use super::spec::Body;
use crate::dialog::DialogState;
use crate::info::Press;
use crate::message::{Method, Uri};

/// What happened on a leg, in order. [`LegEvent::Closed`] is the last one of every leg.
#[derive(Clone, Debug)]
pub enum LegEvent {
    /// The first 100 came.
    Trying,
    /// A provisional above 100, in any order, with or without a body.
    Provisional {
        /// 101–199.
        status: u16,
        /// Its reason phrase.
        reason: String,
        /// Early media's description, if it brought one.
        body: Option<Body>,
    },
    /// The first 2xx; its ACK is sent. Not reported once [`hang_up`] was called.
    ///
    /// [`hang_up`]: crate::endpoint::Endpoint::hang_up
    Answered {
        /// 200–299.
        status: u16,
        /// Its reason phrase.
        reason: String,
        /// The answer; for an INVITE without an offer, the offer.
        body: Option<Body>,
        /// What a later process needs to send BYE.
        dialog: Box<DialogState>,
    },
    /// The final answer was not a 2xx; its ACK is sent.
    Refused {
        /// 300–699.
        status: u16,
        /// Its reason phrase.
        reason: String,
        /// The Q.850 cause of its Reason header (RFC 6432).
        q850: Option<u8>,
        /// Retry-After.
        retry_after: Option<Duration>,
        /// Contact, where a 3xx points to, the most wanted first (RFC 3261 §8.1.3.4).
        contacts: Vec<Uri>,
    },
    /// No final answer came.
    NoAnswer(Failure),
    /// The far end's re-INVITE or UPDATE: answer it with
    /// [`answer_offer`](crate::endpoint::Endpoint::answer_offer).
    Offer {
        /// The offer; without one (an empty re-INVITE) the answer is to bring ours.
        offer: Option<Body>,
        /// INVITE or UPDATE.
        method: Method,
    },
    /// The answer to our offer, in the ACK of an INVITE that had none.
    OfferAnswered {
        /// It, or nothing where the far end broke the rule.
        body: Option<Body>,
    },
    /// A digit by INFO. The endpoint has answered it 200.
    Info(Press),
    /// Callee: the caller's ACK for our 200 came.
    Confirmed,
    /// Callee: the caller's CANCEL came; 487 is sent.
    Cancelled {
        /// The Q.850 cause of its Reason header.
        q850: Option<u8>,
    },
    /// The far end, or its silence, ended an answered (or early) call.
    Ended(Ended),
    /// A message of this leg crossed the wire.
    Ladder(LadderRow),
    /// The leg is over at the far end too, or it was given up. What the endpoint still does with
    /// it (answering repetitions) concerns nobody.
    Closed,
}

/// Why no final answer came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Timer B: nothing came in time. Or nothing came for 64 × T1 after our CANCEL.
    Timeout,
    /// The network said so.
    Transport(String),
}

/// How an answered call ended, not by us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By the far end's BYE.
    Far {
        /// The Q.850 cause of its Reason header (RFC 3326).
        q850: Option<u8>,
    },
    /// Our 200 was not ACKed within 64 × T1; BYE is sent.
    NoAck,
    /// The far end does not know the dialog any more: 408, 481 or silence to a request of ours.
    Lost,
    /// The session was not refreshed in time (RFC 4028 §10); BYE is sent.
    Expired,
}

/// One arrow of a call's ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LadderRow {
    /// When it crossed.
    pub at: Instant,
    /// From us to them.
    pub outgoing: bool,
    /// `INVITE`, `180 Ringing`, `ACK`.
    pub summary: String,
    /// CSeq number.
    pub cseq: u32,
    /// The same bytes crossed before.
    pub retransmission: bool,
}
