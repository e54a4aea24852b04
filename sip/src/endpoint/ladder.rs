//! A leg's ladder: an arrow for each message that crosses the wire, and whether it crossed before.
//!
//! It knows bytes and no state of a call. Start at [`Endpoint::ladder`].

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};
use std::time::Instant;

use super::Endpoint;
use super::config::Event;
use crate::invite::{LadderRow, LegEvent, LegId};
use crate::limits::LADDER_MEMORY;

/// What crossed lately, to know repetitions by.
#[derive(Debug, Default)]
pub(super) struct Crossed(VecDeque<u64>);

impl Crossed {
    /// Notes a message; whether the same bytes crossed before in the same direction.
    pub(super) fn note(&mut self, outgoing: bool, data: &[u8]) -> bool {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(u8::from(outgoing));
        hasher.write(data);
        let hash = hasher.finish();
        if self.0.contains(&hash) {
            return true;
        }
        if self.0.len() == LADDER_MEMORY {
            self.0.pop_front();
        }
        self.0.push_back(hash);
        false
    }
}

impl Endpoint {
    /// One arrow of the leg's ladder.
    pub(super) fn ladder(&mut self, at: Instant, leg: LegId, outgoing: bool, data: &[u8]) {
        let Some(entry) = self.legs.get_mut(&leg).filter(|entry| !entry.is_closed) else { return };
        let retransmission = entry.crossed.note(outgoing, data);
        let (summary, cseq) = summary(data);
        let row = LadderRow { at, outgoing, summary, cseq, retransmission };
        self.events.push_back(Event::Leg(leg, LegEvent::Ladder(row)));
    }
}

/// `INVITE` or `180 Ringing`, and the CSeq number.
fn summary(data: &[u8]) -> (String, u32) {
    let text = String::from_utf8_lossy(data);
    let start = text.lines().find(|line| !line.is_empty()).unwrap_or_default();
    let summary = match start.strip_prefix("SIP/2.0 ") {
        Some(status) => status,
        None => start.split(' ').next().unwrap_or_default(),
    };
    let cseq = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("CSeq").then(|| value.split_whitespace().next())?
    });
    // It is shown on terminals.
    let summary = summary.chars().filter(|c| !c.is_control()).collect();
    (summary, cseq.and_then(|cseq| cseq.parse().ok()).unwrap_or(0))
}
