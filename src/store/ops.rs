//! What can be written, as values: an operation holds all it needs and can be applied again, so
//! that the writer may try it once more when a shared transaction failed.

use super::types::{
    AmdResult, Answered, BadLine, CallRef, Ended, FinishedRecording, ImportedCall, ImportedCalls,
    ImportedKey, KeyChanges, Mark, NewCall, NewEvent, NewKey, NewRecording, OpenCall, OwnNumber,
    Placed, RateDecision, Remembered, Replayed, TrunkSettings,
};
use super::{KeyId, Leg, Millis};

/// Something that is written in one transaction. Refusals are outputs, found before anything is
/// changed; an error undoes the transaction.
pub(super) trait Operation: Send + Sync + 'static {
    /// What the writer gives back.
    type Output: Send + 'static;
    /// Nobody is harmed when it is refused because the database is slow: a new call, not the end
    /// of one.
    const REFUSABLE: bool = false;
    /// It touches many rows.
    const IS_LONG: bool = false;
}

/// Builds the first event of a call once its id is known.
pub(super) type FirstEvent = Box<dyn Fn(&Placed) -> NewEvent + Send + Sync>;
/// Builds the last events of a call that a crash ended.
pub(super) type LastEvents = Box<dyn Fn(&OpenCall, &Ended) -> Vec<NewEvent> + Send + Sync>;

/// Why a call was not placed.
pub(super) enum Refused {
    /// Less than one credit is free.
    InsufficientCredits,
    /// The key was revoked since it was authenticated.
    KeyGone,
    /// The idempotency token is taken.
    Repeated(Remembered),
}

macro_rules! operation {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? } -> $output:ty $(, $trait:ident)?) => {
        $(#[$doc])*
        pub(super) struct $name { $(pub(super) $field: $type),* }
        impl Operation for $name {
            type Output = $output;
            $(const $trait: bool = true;)?
        }
    };
}

operation!(
    /// Hold, row, outbox.
    Place { key: KeyId, call: NewCall, first: FirstEvent } -> Result<Placed, Refused>, REFUSABLE
);
operation!(
    /// One more request in the key's window.
    CountRequest { key: KeyId, now: Millis } -> Option<RateDecision>, REFUSABLE
);
operation!(
    /// A failover: another leg on another trunk.
    TrunkTried { call: CallRef, trunk: String, leg: Leg } -> ()
);
operation!(
    /// Hold to deduction; `false`: it had been answered or ended already.
    Answer { call: CallRef, answered: Answered, events: Vec<NewEvent> } -> bool
);
operation!(
    /// The detector's verdict.
    Heard { call: CallRef, now: Millis, amd: AmdResult, events: Vec<NewEvent> } -> ()
);
operation!(
    /// The end; `false`: it had ended already.
    End { call: CallRef, ended: Ended, events: Vec<NewEvent> } -> bool
);
operation!(
    /// Events alone.
    Append { call: CallRef, now: Millis, events: Vec<NewEvent> } -> ()
);
operation!(
    /// The answer to remember for an idempotency token.
    Remember { call: CallRef, status: i64, response: String } -> ()
);
operation!(
    /// Ends every open call of a node at its last sign of life.
    CloseOpen { node: i64, now: Millis, events: LastEvents } -> Vec<OpenCall>, IS_LONG
);
operation!(
    /// A recording has begun.
    StartRecording { call: CallRef, recording: NewRecording, events: Vec<NewEvent> } -> ()
);
operation!(
    /// A recording is complete.
    FinishRecording { call: CallRef, finished: FinishedRecording, events: Vec<NewEvent> } -> ()
);
operation!(
    /// A recording's file is gone.
    ForgetRecording { recording_id: String } -> bool
);
operation!(
    /// A sign of life.
    Heartbeat { node: i64, now: Millis } -> ()
);
operation!(
    /// The database's identity; `new` if it has none.
    Identify { new: String } -> String
);
operation!(
    /// What became of deliveries.
    Marks { marks: Vec<Mark> } -> ()
);
operation!(
    /// A delivery to be made again.
    Replay { call_id: String, sequence: i64, now: Millis } -> Replayed
);
operation!(
    /// Keys and webhook secrets that are past their grace.
    ForgetSecrets { now: Millis } -> ()
);
operation!(
    /// Some delivered payloads and idempotency tokens of before `until`; whether there may be more.
    EraseOld { until: Millis } -> bool, IS_LONG
);
operation!(
    /// Calls that ended long ago, but those that are recorded.
    DeleteCalls { calls: Vec<i64> } -> (), IS_LONG
);
/// An administrative operation and its entry in the audit trail, in one transaction.
pub(super) struct Audited<O> {
    pub(super) op: O,
    pub(super) act: Act,
}

impl<O: Operation> Operation for Audited<O> {
    type Output = O::Output;
    const IS_LONG: bool = true;
}

/// Who does what to what.
pub(super) struct Act {
    pub(super) act: &'static str,
    pub(super) actor: String,
    pub(super) at: Millis,
    pub(super) subject: Subject,
    /// It changes a secret: there is an entry though nothing else is seen to change.
    pub(super) unseen: bool,
}

/// What an act is about, by its public name.
pub(super) enum Subject {
    Key(String),
    Trunk(String),
    Recording(String),
    /// A call's webhooks.
    Deliveries(String),
    /// The calls that were taken over.
    Calls(String),
    Number(String),
}

impl Subject {
    /// The name.
    pub(super) fn name(&self) -> &str {
        let (Self::Key(name)
        | Self::Trunk(name)
        | Self::Recording(name)
        | Self::Deliveries(name)
        | Self::Calls(name)
        | Self::Number(name)) = self;
        name
    }
}

operation!(
    /// A new key.
    CreateKey { key: NewKey, key_id: String, hash: String, webhook_secret: String, now: Millis }
        -> Result<KeyId, String>
);
operation!(
    /// A key of another service, made or changed.
    ImportKey { key: ImportedKey, key_id: String, webhook_secret: String, now: Millis } -> ()
);
operation!(
    /// Keys of another service, all or none; `Err`: what is wrong with them.
    ImportKeys { keys: Vec<Audited<ImportKey>>, update: bool } -> Result<(), Vec<BadLine>>, IS_LONG
);
operation!(
    /// Ended calls of another service.
    ImportCalls { calls: Vec<ImportedCall> } -> ImportedCalls, IS_LONG
);
operation!(
    /// A new hash; the old ones die at once or after their grace. `false`: no such key.
    RotateKey { key_id: String, hash: String, old_expires: Millis } -> bool
);
operation!(
    /// A new webhook secret; the old one signs too until then.
    RotateWebhook { key_id: String, secret: String, old_until: Millis } -> bool
);
operation!(
    /// Credits given or taken; `Some(None)`: it would cut into holds.
    Credit { key_id: String, credits: i64, note: String, now: Millis } -> Option<Option<i64>>
);
operation!(
    /// The key is no longer accepted.
    Revoke { key_id: String } -> bool
);
operation!(
    /// The key's trunks in order; `Err`: a trunk that does not exist.
    AssignTrunks { key_id: String, trunks: Vec<String> } -> Result<bool, String>
);
operation!(
    /// A key's settings.
    ChangeKey { key_id: String, changes: KeyChanges, rate_limit: Option<i64> } -> bool
);
operation!(
    /// A trunk added or changed.
    PutTrunk { trunk: TrunkSettings, now: Millis } -> ()
);
operation!(
    /// A trunk dialled again or no more.
    DisableTrunk { name: String, disabled: bool, now: Millis } -> bool
);
operation!(
    /// A trunk removed, from its keys too.
    RemoveTrunk { name: String } -> bool
);
operation!(
    /// A number given to a key; `false`: no such live key; `Err`: it is this other key's.
    PutNumber { number: OwnNumber } -> Result<bool, String>
);
operation!(
    /// A number taken away. `false`: there was none.
    RemoveNumber { number: String } -> bool
);
operation!(
    /// Nothing: done when all before it is done.
    Flush {} -> ()
);
