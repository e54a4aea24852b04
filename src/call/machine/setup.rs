//! What a call is and what limits it, told once.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kaphila_media::sdp::Codec;
use kaphila_sip::invite::Identity;
use serde_json::{Map, Value};

use crate::call::api::{AmdRequest, RecordingChannels};
use crate::store::Millis;

/// What a call is, told once.
#[derive(Debug)]
pub(crate) struct Setup {
    /// `<unix seconds>.<n>`.
    pub(crate) call_id: String,
    /// Who is at the other end, cleaned: whom it calls, or who calls.
    pub(crate) number: String,
    /// Set for a call that came from a trunk, which is the only one in `trunks`.
    pub(crate) incoming: Option<IncomingSetup>,
    /// The caller id of the request or the key; `None`: each trunk's own.
    pub(crate) caller_id: Option<String>,
    /// Whether somebody listens to its events.
    pub(crate) webhook: bool,
    /// What the customer attached.
    pub(crate) metadata: Option<Map<String, Value>>,
    /// The detector, where asked for.
    pub(crate) amd: Option<AmdRequest>,
    /// The voice of its prompts.
    pub(crate) voice_name: String,
    /// How long one trunk may ring, or a call that came in.
    pub(crate) ring_timeout: Duration,
    /// Whether it is recorded.
    pub(crate) record: bool,
    /// How.
    pub(crate) channels: RecordingChannels,
    /// From when.
    pub(crate) record_early_media: bool,
    /// The trunks to dial, in order; at least one.
    pub(crate) trunks: Vec<TrunkSetup>,
    /// How many are assigned to the key.
    pub(crate) total_trunks: usize,
    /// The balance before this call's deduction.
    pub(crate) credits: i64,
    /// The first INVITE's identity, stored with the row.
    pub(crate) identity: Identity,
    /// Where the identities of further INVITEs come from. Secret: who guesses them can answer.
    pub(crate) seed: [u8; 32],
    /// The port at which our RTP is received.
    pub(crate) media_port: u16,
    /// The `o=` id of our descriptions.
    pub(crate) session_id: u64,
    /// Telephone-events are offered and taken.
    pub(crate) telephone_event: bool,
    /// The server's limits of time.
    pub(crate) timing: Timing,
    /// Wall time of the placing.
    pub(crate) clock: Clock,
}

/// What a call that came in brought.
#[derive(Debug)]
pub(crate) struct IncomingSetup {
    /// Our number, that was called.
    pub(crate) number: String,
    /// Answered at once; else by the customer.
    pub(crate) answer: bool,
    /// Its offer; `None`: our answer makes one.
    pub(crate) offer: Option<Bytes>,
    /// Its dialog, as it is stored.
    pub(crate) dialog: String,
}

/// A trunk as the machine sees it.
#[derive(Debug, Clone)]
pub(crate) struct TrunkSetup {
    /// Its name, as reported.
    pub(crate) name: String,
    /// The caller id when neither request nor key has one.
    pub(crate) caller_id: Option<String>,
    /// The address in our descriptions towards it.
    pub(crate) media: IpAddr,
    /// What is offered, best first; not empty.
    pub(crate) codecs: Vec<Codec>,
    /// How many ways lead to it (RFC 3263); the next one is tried where one is out of order.
    pub(crate) ways: usize,
    /// The host names and addresses that are this trunk's own: a redirect elsewhere is not followed.
    pub(crate) hosts: Vec<String>,
}

/// The server's limits of time for calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// From the answer (`calls.max_duration`).
    pub max_duration: Duration,
    /// `/makecall` answers this long after the first 100 (`calls.answer_after_trying_ms`).
    pub answer_after_trying: Duration,
    /// `/makecall` answers within this in any case (`calls.answer_within_ms`).
    pub answer_within: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            max_duration: Duration::from_secs(4 * 3600),
            answer_after_trying: Duration::from_secs(1),
            answer_within: Duration::from_secs(10),
        }
    }
}

/// Wall time by the monotonic clock: steps of the system's clock move nothing within a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// An instant …
    pub(crate) at: Instant,
    /// … and what the wall clock showed then.
    pub(crate) wall: Millis,
}

impl Clock {
    /// Wall time at `now`.
    pub(crate) fn wall(&self, now: Instant) -> Millis {
        self.wall.plus(millis(now.saturating_duration_since(self.at)))
    }
}

/// Whole milliseconds, for JSON and rows.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
