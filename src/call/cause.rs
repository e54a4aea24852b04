//! How a call ended: the statuses and reasons that customers see, and the table that turns a final
//! SIP answer into them.
//!
//! It knows the table and nothing of calls. Start at [`verdict`].

use std::fmt;
use std::ops::RangeInclusive;

/// The state of a call as the API names it.
pub use crate::store::CallStatus as Status;

/// Why a call ended, as the API names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// The callee hung up.
    NormalHangup,
    /// `/hangup` after the answer.
    ApiHangup,
    /// The callee was busy.
    Busy,
    /// Nobody answered.
    NoAnswer,
    /// The callee or the carrier declined.
    Rejected,
    /// `/hangup` before the answer.
    Canceled,
    /// No such number.
    InvalidNumber,
    /// The carrier failed.
    TrunkFailure,
    /// No RTP for `media.rtp_timeout`.
    MediaTimeout,
    /// `calls.max_duration` was reached.
    MaxDuration,
    /// We were stopped or died.
    ServerShutdown,
    /// A fault of ours.
    InternalError,
}

impl EndReason {
    /// Every reason, for documents and tests.
    pub const ALL: [Self; 12] = [
        Self::NormalHangup,
        Self::ApiHangup,
        Self::Busy,
        Self::NoAnswer,
        Self::Rejected,
        Self::Canceled,
        Self::InvalidNumber,
        Self::TrunkFailure,
        Self::MediaTimeout,
        Self::MaxDuration,
        Self::ServerShutdown,
        Self::InternalError,
    ];

    /// The name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NormalHangup => "normal_hangup",
            Self::ApiHangup => "api_hangup",
            Self::Busy => "busy",
            Self::NoAnswer => "no_answer",
            Self::Rejected => "rejected",
            Self::Canceled => "canceled",
            Self::InvalidNumber => "invalid_number",
            Self::TrunkFailure => "trunk_failure",
            Self::MediaTimeout => "media_timeout",
            Self::MaxDuration => "max_duration",
            Self::ServerShutdown => "server_shutdown",
            Self::InternalError => "internal_error",
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndedBy {
    /// The person called.
    Callee,
    /// The person who called, on a call that came in.
    Caller,
    /// A request of the customer.
    Api,
    /// Kaphila: a timer, a watchdog, a shutdown, a fault.
    System,
    /// The carrier, by a final answer of its own or by silence.
    Carrier,
}

impl EndedBy {
    /// Every one, for documents and tests.
    pub const ALL: [Self; 5] = [Self::Callee, Self::Caller, Self::Api, Self::System, Self::Carrier];

    /// The name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Callee => "callee",
            Self::Caller => "caller",
            Self::Api => "api",
            Self::System => "system",
            Self::Carrier => "carrier",
        }
    }
}

/// The end of a call, whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The terminal status.
    pub status: Status,
    /// Why.
    pub reason: EndReason,
    /// Q.850 cause (1–127).
    pub cause: u8,
    /// Who.
    pub by: EndedBy,
}

impl End {
    /// `status`, `reason`, `cause`, `by`.
    #[must_use]
    pub const fn new(status: Status, reason: EndReason, cause: u8, by: EndedBy) -> Self {
        Self { status, reason, cause, by }
    }

    /// The same with the cause of a `Reason: Q.850` header, where one came: the header changes the
    /// cause only.
    #[must_use]
    pub fn with_q850(self, q850: Option<u8>) -> Self {
        Self { cause: q850.unwrap_or(self.cause), ..self }
    }
}

/// What follows a final answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The next trunk, if there is one and nobody's telephone rang.
    Trunk,
    /// Once more over the same trunk with the other codec set, then the end.
    OtherCodecs,
    /// Nothing: the answer is the callee's.
    Nothing,
}

/// A row of the table: the final answers it holds for, and what they mean.
#[derive(Debug)]
struct Row {
    codes: &'static [RangeInclusive<u16>],
    cause: u8,
    status: Status,
    reason: EndReason,
    by: EndedBy,
    next: Next,
}

const fn row(
    codes: &'static [RangeInclusive<u16>],
    cause: u8,
    status: Status,
    reason: EndReason,
    by: EndedBy,
    next: Next,
) -> Row {
    Row { codes, cause, status, reason, by, next }
}

use EndReason as R;
use EndedBy::{Callee, Carrier};
use Status::{Busy, Failed, NoAnswer};

/// The first row that holds a code counts. 3xx is here for the case in which no Contact is usable;
/// 422 for that of an endpoint without session timers, which has nothing to retry with.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    row(&[300..=399],                       127, Failed,   R::TrunkFailure,  Carrier, Next::Trunk),
    row(&[400..=400],                        41, Failed,   R::TrunkFailure,  Carrier, Next::Trunk),
    row(&[401..=401, 407..=407],             21, Failed,   R::TrunkFailure,  Carrier, Next::Trunk),
    row(&[402..=403],                        21, Failed,   R::Rejected,      Carrier, Next::Trunk),
    row(&[404..=404, 485..=485, 604..=604],   1, Failed,   R::InvalidNumber, Carrier, Next::Nothing),
    row(&[405..=405],                        63, Failed,   R::TrunkFailure,  Carrier, Next::Trunk),
    row(&[406..=406, 415..=415],             79, Failed,   R::TrunkFailure,  Carrier, Next::Trunk),
    row(&[408..=408],                       102, Failed,   R::TrunkFailure,  Carrier, Next::Trunk),
    row(&[410..=410],                        22, Failed,   R::InvalidNumber, Carrier, Next::Nothing),
    row(&[413..=414, 416..=416, 420..=423, 430..=430],
                                            127, Failed,   R::TrunkFailure,  Carrier, Next::Trunk),
    row(&[480..=480],                        18, NoAnswer, R::NoAnswer,      Callee,  Next::Nothing),
    row(&[481..=481, 491..=491],             41, Failed,   R::TrunkFailure,  Carrier, Next::Trunk),
    row(&[482..=483],                        25, Failed,   R::TrunkFailure,  Carrier, Next::Trunk),
    row(&[484..=484],                        28, Failed,   R::InvalidNumber, Carrier, Next::Nothing),
    row(&[486..=486, 600..=600],             17, Busy,     R::Busy,          Callee,  Next::Nothing),
    row(&[487..=487],                        31, Failed,   R::Rejected,      Carrier, Next::Nothing),
    row(&[488..=488, 606..=606],             88, Failed,   R::Rejected,      Carrier, Next::OtherCodecs),
    row(&[500..=500, 503..=503],             41, Failed,   R::TrunkFailure,  Carrier, Next::Trunk),
    row(&[501..=501],                        79, Failed,   R::TrunkFailure,  Carrier, Next::Trunk),
    row(&[502..=502],                        38, Failed,   R::TrunkFailure,  Carrier, Next::Trunk),
    row(&[504..=504],                       102, Failed,   R::TrunkFailure,  Carrier, Next::Trunk),
    row(&[505..=505, 513..=513],            127, Failed,   R::TrunkFailure,  Carrier, Next::Trunk),
    row(&[603..=603, 607..=608],             21, Failed,   R::Rejected,      Callee,  Next::Nothing),
    row(&[400..=499],                       127, Failed,   R::TrunkFailure,  Carrier, Next::Trunk),
    row(&[500..=599],                        41, Failed,   R::TrunkFailure,  Carrier, Next::Trunk),
    row(&[600..=699],                        21, Failed,   R::Rejected,      Callee,  Next::Nothing),
];

/// What a final answer other than 2xx means, and what follows. `rang`: a 180–189 was seen before,
/// so that nothing is tried again on any trunk.
#[must_use]
pub fn verdict(code: u16, rang: bool) -> (End, Next) {
    let Some(row) = TABLE.iter().find(|row| row.codes.iter().any(|codes| codes.contains(&code)))
    else {
        // Not a final answer at all; the endpoint lets none through.
        return (End::new(Failed, R::TrunkFailure, 127, Carrier), Next::Nothing);
    };
    let end = End::new(row.status, row.reason, row.cause, row.by);
    match (code, rang) {
        (408, true) => (End::new(NoAnswer, R::NoAnswer, 18, Callee), Next::Nothing),
        (480, true) => (End { cause: 19, ..end }, Next::Nothing),
        (_, true) => (end, Next::Nothing),
        (_, false) => (end, row.next),
    }
}

/// No final answer: timer B ran out before a provisional above 100.
pub const NO_ANSWER_FROM_TRUNK: End = End::new(Failed, R::TrunkFailure, 102, Carrier);
/// Transport, TLS or DNS error.
pub const TRANSPORT: End = End::new(Failed, R::TrunkFailure, 38, Carrier);
/// Our ring timeout.
pub const RING_TIMEOUT: End = End::new(NoAnswer, R::NoAnswer, 19, EndedBy::System);
/// `/hangup` before the answer.
pub const CANCELED: End = End::new(Status::Canceled, R::Canceled, 16, EndedBy::Api);
/// The caller's CANCEL of a call that came in.
pub const CALLER_CANCELED: End = End::new(Status::Canceled, R::Canceled, 16, EndedBy::Caller);
/// `/hangup` of a call that came in, before our answer.
pub const DECLINED: End = End::new(Failed, R::Rejected, 21, EndedBy::Api);
/// Our answer to a call that came in was never ACKed.
pub const NO_ACK: End = End::new(Failed, R::TrunkFailure, 102, Carrier);
/// `/hangup` after the answer.
pub const API_HANGUP: End = End::new(Status::Completed, R::ApiHangup, 16, EndedBy::Api);
/// The callee's BYE.
pub const NORMAL_HANGUP: End = End::new(Status::Completed, R::NormalHangup, 16, Callee);
/// The RTP watchdog.
pub const MEDIA_TIMEOUT: End = End::new(Status::Completed, R::MediaTimeout, 44, EndedBy::System);
/// `calls.max_duration`.
pub const MAX_DURATION: End = End::new(Status::Completed, R::MaxDuration, 16, EndedBy::System);
/// The far end does not know the dialog any more.
pub const LOST_DIALOG: End = End::new(Status::Completed, R::TrunkFailure, 41, Carrier);
/// An offer or answer that we cannot speak: what 488 means.
pub const UNUSABLE_SDP: End = End::new(Failed, R::Rejected, 88, EndedBy::System);

/// A shutdown of ours, by whether the call had been answered.
#[must_use]
pub const fn server_shutdown(answered: bool) -> End {
    End::new(ended_status(answered), R::ServerShutdown, 41, EndedBy::System)
}

/// A fault of ours, by whether the call had been answered.
#[must_use]
pub const fn internal_error(answered: bool) -> End {
    End::new(ended_status(answered), R::InternalError, 41, EndedBy::System)
}

const fn ended_status(answered: bool) -> Status {
    if answered { Status::Completed } else { Failed }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `reference.md` §1 copied by hand: code, rang before, cause, status, reason, next.
    #[test]
    fn every_row_of_the_reference() {
        use Next::{Nothing, OtherCodecs, Trunk};
        type Line = (&'static [u16], bool, u8, &'static str, &'static str, Next);
        #[rustfmt::skip]
        let rows: &[Line] = &[
            (&[400], false, 41, "failed", "trunk_failure", Trunk),
            (&[401, 407], false, 21, "failed", "trunk_failure", Trunk),
            (&[402, 403], false, 21, "failed", "rejected", Trunk),
            (&[404, 485, 604], false, 1, "failed", "invalid_number", Nothing),
            (&[405], false, 63, "failed", "trunk_failure", Trunk),
            (&[406, 415], false, 79, "failed", "trunk_failure", Trunk),
            (&[408], false, 102, "failed", "trunk_failure", Trunk),
            (&[408], true, 18, "no-answer", "no_answer", Nothing),
            (&[410], false, 22, "failed", "invalid_number", Nothing),
            (&[413, 414, 416, 420, 421, 422, 423, 430], false, 127, "failed", "trunk_failure", Trunk),
            (&[480], false, 18, "no-answer", "no_answer", Nothing),
            (&[480], true, 19, "no-answer", "no_answer", Nothing),
            (&[481, 491], false, 41, "failed", "trunk_failure", Trunk),
            (&[482, 483], false, 25, "failed", "trunk_failure", Trunk),
            (&[484], false, 28, "failed", "invalid_number", Nothing),
            (&[486, 600], false, 17, "busy", "busy", Nothing),
            (&[486, 600], true, 17, "busy", "busy", Nothing),
            (&[487], false, 31, "failed", "rejected", Nothing),
            (&[488, 606], false, 88, "failed", "rejected", OtherCodecs),
            (&[488, 606], true, 88, "failed", "rejected", Nothing),
            (&[500, 503], false, 41, "failed", "trunk_failure", Trunk),
            (&[500, 503], true, 41, "failed", "trunk_failure", Nothing),
            (&[501], false, 79, "failed", "trunk_failure", Trunk),
            (&[502], false, 38, "failed", "trunk_failure", Trunk),
            (&[504], false, 102, "failed", "trunk_failure", Trunk),
            (&[505, 513], false, 127, "failed", "trunk_failure", Trunk),
            (&[501], true, 79, "failed", "trunk_failure", Nothing),
            (&[603, 607, 608], false, 21, "failed", "rejected", Nothing),
            (&[409, 411, 417, 418, 425, 433, 494, 499], false, 127, "failed", "trunk_failure", Trunk),
            (&[499], true, 127, "failed", "trunk_failure", Nothing),
            (&[506, 580, 599], false, 41, "failed", "trunk_failure", Trunk),
            (&[599], true, 41, "failed", "trunk_failure", Nothing),
            (&[601, 605, 699], false, 21, "failed", "rejected", Nothing),
        ];
        for (codes, rang, cause, status, reason, next) in rows {
            for code in *codes {
                let (end, follows) = verdict(*code, *rang);
                assert_eq!(
                    (end.cause, end.status.as_str(), end.reason.as_str(), follows),
                    (*cause, *status, *reason, *next),
                    "{code} rang {rang}"
                );
            }
        }
    }

    #[test]
    fn every_final_answer_has_a_terminal_row() {
        for code in 300..700 {
            for rang in [false, true] {
                let (end, next) = verdict(code, rang);
                assert!(end.status.is_terminal());
                assert!((1..=127).contains(&end.cause));
                assert!(!rang || next == Next::Nothing, "{code}: one telephone never rings twice");
            }
        }
    }

    #[test]
    fn a_reason_header_changes_the_cause_only() {
        let (end, _) = verdict(503, false);
        assert_eq!(end.with_q850(Some(34)), End { cause: 34, ..end });
        assert_eq!(end.with_q850(None), end);
    }

    #[test]
    fn ends_of_our_own() {
        for (end, row) in [
            (NORMAL_HANGUP, (16, "completed", "normal_hangup")),
            (API_HANGUP, (16, "completed", "api_hangup")),
            (RING_TIMEOUT, (19, "no-answer", "no_answer")),
            (CANCELED, (16, "canceled", "canceled")),
            (TRANSPORT, (38, "failed", "trunk_failure")),
            (NO_ANSWER_FROM_TRUNK, (102, "failed", "trunk_failure")),
            (MEDIA_TIMEOUT, (44, "completed", "media_timeout")),
            (MAX_DURATION, (16, "completed", "max_duration")),
            (server_shutdown(true), (41, "completed", "server_shutdown")),
            (server_shutdown(false), (41, "failed", "server_shutdown")),
        ] {
            assert_eq!((end.cause, end.status.as_str(), end.reason.as_str()), row);
        }
    }
}
