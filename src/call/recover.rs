//! After a crash: every call that died with the process is ended, in the rows, at its carrier and
//! for its customer.
//!
//! It knows open rows. It refuses to know how calls live. Start at [`recover`].

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use kaphila_media::spool;
use kaphila_sip::auth::Credentials;
use kaphila_sip::dialog::DialogState;
use kaphila_sip::invite::{Identity, Orphan};
use kaphila_sip::message::Transport;
use kaphila_sip::net::Sip;
use kaphila_sip::net::resolve::{Route, Way};
use serde_json::{Map, Value};

use super::Status;
use super::api::RecordingView;
use super::event::{Event, Subject};
use super::view::AmdView;
use crate::number::Number;
use crate::store::{
    Direction, Ended, FinishedRecording, Millis, NewEvent, OpenCall, Recording, Store, StoreError,
    Trunk,
};
use crate::trunk::target::Target;

/// What was found and ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Calls that were open.
    pub calls: usize,
    /// Legs that are sent CANCEL or BYE.
    pub legs: usize,
    /// Recordings that were repaired.
    pub recordings: usize,
}

/// Ends what an earlier process left open: CANCEL or BYE is sent to each leg, recordings are
/// repaired, rows closed (`server_shutdown` at the last heartbeat), holds released, `call.ended`
/// queued. To be called before the first call is placed. Should the process die meanwhile, the next
/// start finds what is not done, and may tell a far end twice.
///
/// # Errors
/// The database; nothing is ended then that is not ended whole.
pub async fn recover(
    store: &Store,
    sip: &Sip,
    recordings: &Path,
    now: Millis,
) -> Result<Recovered, StoreError> {
    let legs = end_legs(store, sip).await?;
    let repaired = repair(store, recordings, now).await?;
    let recordings = repaired.len();
    let ended = move |call: &OpenCall, ended: &Ended| {
        vec![call_ended(call, ended, repaired.get(&*call.row.call_id).cloned())]
    };
    let calls = store.close_open_calls(now, ended).await?;
    Ok(Recovered { calls: calls.len(), legs, recordings })
}

/// Before the rows are closed: a leg whose row is closed is found no more.
async fn end_legs(store: &Store, sip: &Sip) -> Result<usize, StoreError> {
    let trunks = store.trunks().await?;
    let mut legs = 0;
    for call in store.open_calls().await? {
        let call_id = call.row.call_id.as_str();
        let credentials = credentials(&call, &trunks);
        let Some(orphan) = orphan(&call, &trunks) else {
            tracing::warn!(call_id, "an orphaned leg is left alone: its trunk is gone");
            continue;
        };
        tracing::info!(call_id, "ending an orphaned leg");
        match sip.end_orphan(orphan, credentials).await {
            Ok(_) => legs += 1,
            Err(error) => tracing::warn!(call_id, %error, "an orphaned leg is left alone"),
        }
    }
    Ok(legs)
}

/// Each with its `recording.completed` in one transaction; also where the call had ended already.
/// By call.
async fn repair(
    store: &Store,
    folder: &Path,
    now: Millis,
) -> Result<HashMap<String, RecordingView>, StoreError> {
    let unfinished = store.unfinished_recordings().await?;
    let mut repaired = HashMap::new();
    for (call, row) in &unfinished {
        let finished = finished(&folder.join(&row.filename), row, now);
        let event = recording_completed(call, row, &finished);
        store.recording_finished(&call.call, finished, vec![event]).await?;
        repaired.insert(call.row.call_id.clone(), view(row));
    }
    Ok(repaired)
}

/// What a repaired file holds.
fn finished(path: &Path, row: &Recording, now: Millis) -> FinishedRecording {
    let (bytes, duration_ms, partial) = match spool::mend(path) {
        Ok(report) => {
            (report.bytes, report.duration_ms, "the server stopped while recording".to_owned())
        }
        Err(error) => (0, 0, error.to_string()),
    };
    FinishedRecording {
        recording_id: row.recording_id.clone(),
        at: now,
        bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
        duration_ms: i64::try_from(duration_ms).unwrap_or(i64::MAX),
        partial: Some(partial),
    }
}

fn recording_completed(call: &OpenCall, row: &Recording, finished: &FinishedRecording) -> NewEvent {
    let recording = view(row);
    let status = match call.row.status {
        open if call.row.ended_at.is_none() => status_at_the_end(open),
        ended => ended,
    };
    let what = Event::recording_completed(recording.clone(), finished, row.channels);
    event(call, &what, (finished.at, status), Some(recording))
}

fn view(row: &Recording) -> RecordingView {
    RecordingView {
        recording_id: row.recording_id.clone(),
        filename: row.filename.clone(),
        active: false,
    }
}

/// What a call becomes that died with its process.
fn status_at_the_end(status: Status) -> Status {
    if status == Status::Answered { Status::Completed } else { Status::Failed }
}

fn call_ended(call: &OpenCall, ended: &Ended, recording: Option<RecordingView>) -> NewEvent {
    let sip_call_id = Some(call.leg.sip_call_id.clone());
    let what = Event::ended(ended, sip_call_id, Vec::new(), None);
    event(call, &what, (ended.at, ended.status), recording)
}

/// The next event of a call.
fn event(
    call: &OpenCall,
    what: &Event,
    (at, status): (Millis, Status),
    recording: Option<RecordingView>,
) -> NewEvent {
    let row = &call.row;
    let metadata: Option<Map<String, Value>> =
        row.metadata.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let amd = row.amd().as_ref().and_then(AmdView::of_row);
    let subject = Subject {
        call_id: &row.call_id,
        direction: Direction::from_word(&row.direction),
        number: &row.number,
        to: &call.callee,
        caller_id: row.caller_id.as_deref(),
        status,
        metadata: metadata.as_ref(),
        amd: amd.as_ref(),
        gather: None,
        recording,
    };
    subject.tell(what, at, call.next_sequence)
}

/// Who we are to the trunk that carries a call, at the address where its leg went: its BYE may be
/// challenged.
fn credentials(call: &OpenCall, trunks: &[Trunk]) -> Option<Arc<Credentials>> {
    let trunk = trunks.iter().find(|it| Some(&it.settings.name) == call.row.trunk.as_ref())?;
    Target::at(trunk, Route::of([way(call)?])).ok()?.credentials
}

/// Where a call's last INVITE went.
fn way(call: &OpenCall) -> Option<Way> {
    let remote = call.leg.remote.parse().ok()?;
    Some(Way { remote, transport: over(&call.leg.transport)? })
}

/// The transport that a row names.
fn over(name: &str) -> Option<Transport> {
    let all = [Transport::Udp, Transport::Tcp, Transport::Tls];
    all.into_iter().find(|it| it.as_str().eq_ignore_ascii_case(name))
}

/// The leg that a call left behind, as far as its row tells.
fn orphan(call: &OpenCall, trunks: &[Trunk]) -> Option<Orphan> {
    if let Some(dialog) = &call.dialog {
        let dialog: DialogState = dialog.parse().ok()?;
        return Some(Orphan::Confirmed { dialog });
    }
    let way = way(call)?;
    let trunk = trunks.iter().find(|it| Some(&it.settings.name) == call.row.trunk.as_ref())?;
    // Where its INVITE went is known: no name is looked up before the server is ready.
    let target = Target::at(trunk, Route::of([way])).ok()?;
    let number = Number::parse(&call.row.number).ok()?;
    let addressing = target.addressing(&number, call.row.caller_id.as_deref(), None);
    Some(Orphan::Early {
        identity: Identity {
            call_id: call.leg.sip_call_id.clone(),
            from_tag: call.leg.from_tag.clone(),
            branch: call.leg.branch.clone(),
            cseq: u32::try_from(call.leg.cseq).ok()?,
        },
        request_uri: addressing.request_uri,
        from: addressing.from,
        to: addressing.to,
        remote: way.remote,
        transport: way.transport,
        tls_name: target.tls_name,
    })
}
