use super::{BadLine, CallStatus};
use crate::store::Millis;

/// How calls ended, and how many are up. Every figure is a count of calls but `seconds`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Tally {
    /// Up, not answered.
    pub ringing: i64,
    /// Up, answered.
    pub answered: i64,
    /// Was answered and has ended.
    pub completed: i64,
    /// The callee was busy.
    pub busy: i64,
    /// Nobody answered in time.
    pub no_answer: i64,
    /// Could not be carried.
    pub failed: i64,
    /// We hung up before an answer.
    pub canceled: i64,
    /// Seconds talked, in completed calls.
    pub seconds: i64,
    /// Ended calls that a person had answered.
    pub humans: i64,
    /// Ended calls that a machine had answered.
    pub machines: i64,
}

impl Tally {
    /// The calls of one status.
    pub const fn of(&self, status: CallStatus) -> i64 {
        match status {
            CallStatus::Ringing => self.ringing,
            CallStatus::Answered => self.answered,
            CallStatus::Completed => self.completed,
            CallStatus::Busy => self.busy,
            CallStatus::NoAnswer => self.no_answer,
            CallStatus::Failed => self.failed,
            CallStatus::Canceled => self.canceled,
        }
    }

    /// All calls.
    pub fn total(&self) -> i64 {
        CallStatus::ALL.into_iter().map(|status| self.of(status)).sum()
    }

    /// The calls that have ended.
    pub fn ended(&self) -> i64 {
        self.total() - self.ringing - self.answered
    }

    /// The calls that ended in failure, as the contract counts it: failed, busy and canceled.
    pub const fn unsuccessful(&self) -> i64 {
        self.failed + self.busy + self.canceled
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.ringing += other.ringing;
        self.answered += other.answered;
        self.completed += other.completed;
        self.busy += other.busy;
        self.no_answer += other.no_answer;
        self.failed += other.failed;
        self.canceled += other.canceled;
        self.seconds += other.seconds;
        self.humans += other.humans;
        self.machines += other.machines;
    }
}

/// A stretch of quarter hours (Unix time / 900 s) in which a zone keeps one distance from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The first quarter.
    pub from: i64,
    /// The quarter after the last.
    pub to: i64,
    /// What is added to a quarter to have it in local time; west of Greenwich negative.
    pub offset: i64,
}

/// The calls of one local day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct DayTally {
    /// Days from 1970-01-01, in local time.
    pub day: i64,
    /// The calls placed in it.
    #[sqlx(flatten)]
    pub calls: Tally,
}

/// A line of the call log.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema, sqlx::FromRow)]
pub struct LogLine {
    /// `<unix seconds>.<n>`.
    pub call_id: String,
    /// The far end's number.
    pub number: String,
    /// Where it stands, or how it ended.
    #[sqlx(try_from = "String")]
    pub status: CallStatus,
    /// The detector's verdict, if it was asked.
    pub amd_status: Option<String>,
    /// Whole seconds from the answer to the end.
    pub duration: i64,
    /// When it was placed.
    pub created_at: Millis,
}

/// Which lines of the call log, newest first.
#[derive(Clone, Copy, Debug)]
pub struct LogPage {
    /// Those of one status.
    pub status: Option<CallStatus>,
    /// Those placed at this time or before.
    pub as_of: Millis,
    /// So many of them are passed over.
    pub offset: i64,
    /// So many at most.
    pub limit: i64,
    /// How many there are; where it is known, those past the half are found from the other end.
    pub total: Option<i64>,
}

impl LogPage {
    /// Where the page begins and how long it is, counted from the oldest; `None` where that is not
    /// nearer.
    pub(crate) fn oldest_first(&self) -> Option<(i64, i64)> {
        let total = self.total.filter(|total| self.offset > total / 2)?;
        let limit = self.limit.min(total - self.offset).max(0);
        Some((total - self.offset - limit, limit))
    }
}

/// What a key stands at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Standing {
    /// Credits, holds included.
    pub credits: i64,
    /// Calls ever placed.
    pub total_calls: i64,
    /// Of them, those that completed.
    pub successful_calls: i64,
    /// Of them, those that are up.
    pub active_calls: i64,
}

/// An ended call of another service, to be taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedCall {
    /// Where it stands in its file, for errors.
    pub line: u64,
    /// `<unix seconds>.<n>`, as its customer knows it.
    pub call_id: String,
    /// Whose, `key_…`.
    pub key_id: String,
    /// The far end's number.
    pub number: String,
    /// A terminal status.
    pub status: CallStatus,
    /// The detector's verdict.
    pub amd_status: Option<String>,
    /// Whole seconds from the answer to the end.
    pub duration: i64,
    /// When it was placed.
    pub created_at: Millis,
}

/// What became of calls that were to be taken over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportedCalls {
    /// Those that are new.
    pub taken: u64,
    /// Those that were there already, the same in everything.
    pub known: u64,
    /// Those that are not taken over, and why.
    pub refused: Vec<BadLine>,
}
