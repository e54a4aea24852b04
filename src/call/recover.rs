//! After a crash: every call that died with the process is ended, in the rows, at its carrier and
//! for its customer.
//!
//! It knows open rows. It refuses to know how calls live. Start at [`recover`].

use std::collections::HashMap;
use std::path::Path;

use kaphila_media::spool;
use kaphila_sip::dialog::DialogState;
use kaphila_sip::invite::{Identity, Orphan};
use kaphila_sip::message::Transport;
use kaphila_sip::net::Sip;
use serde_json::{Map, Value, json};

use super::api::RecordingView;
use super::event::{self, Subject};
use crate::number::Number;
use crate::store::{
    Ended, FinishedRecording, Millis, NewEvent, OpenCall, Recording, Store, StoreError, Trunk,
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

/// Ends what an earlier process left open: recordings are repaired, rows closed (`server_shutdown`
/// at the last heartbeat), holds released, `call.ended` queued, CANCEL or BYE sent to each leg. To
/// be called before the first call is placed.
///
/// # Errors
/// The database; nothing is ended then that is not ended whole.
pub async fn recover(
    store: &Store,
    sip: &Sip,
    recordings: &Path,
    now: Millis,
) -> Result<Recovered, StoreError> {
    let repaired = repair(store, recordings, now).await?;
    let known: HashMap<String, Repaired> =
        repaired.iter().map(|it| (it.row.call_id.clone(), it.clone())).collect();
    let calls = store
        .close_open_calls(now, move |call, ended| {
            last_events(call, ended, known.get(&call.row.call_id))
        })
        .await?;
    let trunks = store.trunks().await?;
    let mut legs = 0;
    for call in &calls {
        if let Some(orphan) = orphan(call, &trunks).await {
            tracing::info!(call_id = call.row.call_id, "ending an orphaned leg");
            match sip.end_orphan(orphan).await {
                Ok(_) => legs += 1,
                Err(error) => tracing::warn!(%error, "an orphaned leg is left alone"),
            }
        }
    }
    Ok(Recovered { calls: calls.len(), legs, recordings: repaired.len() })
}

#[derive(Debug, Clone)]
struct Repaired {
    row: Recording,
    finished: FinishedRecording,
}

async fn repair(store: &Store, folder: &Path, now: Millis) -> Result<Vec<Repaired>, StoreError> {
    let mut repaired = Vec::new();
    for (call, row) in store.unfinished_recordings().await? {
        let path = folder.join(&row.filename);
        let finished = finished(&path, &row, now);
        store.recording_finished(&call, finished.clone(), Vec::new()).await?;
        repaired.push(Repaired { row, finished });
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

/// `recording.completed`, then `call.ended`.
fn last_events(call: &OpenCall, ended: &Ended, repaired: Option<&Repaired>) -> Vec<NewEvent> {
    let row = &call.row;
    let metadata: Option<Map<String, Value>> =
        row.metadata.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let recording = repaired.map(|it| RecordingView {
        recording_id: it.row.recording_id.clone(),
        filename: it.row.filename.clone(),
        active: false,
    });
    let subject = Subject {
        call_id: &row.call_id,
        number: &row.number,
        caller_id: row.caller_id.as_deref(),
        status: ended.status,
        metadata: metadata.as_ref(),
        amd: None,
        gather: None,
        recording,
    };
    let mut events = Vec::new();
    let mut add = |name: &str, fields: Value| {
        let sequence = call.next_sequence + i64::try_from(events.len()).unwrap_or(0);
        let payload = event::payload(&subject, name, ended.at, sequence, fields);
        events.push(NewEvent { sequence, event: name.to_owned(), payload });
    };
    if let Some(Repaired { row, finished }) = repaired {
        add(
            "recording.completed",
            json!({
                "filename": row.filename,
                "recordingId": row.recording_id,
                "recordingUrl": format!("/recordings/file/{}/download", row.filename),
                "duration": finished.duration_ms as f64 / 1000.0,
                "size": finished.bytes,
                "channels": row.channels,
                "partial": finished.partial,
            }),
        );
    }
    add(
        "call.ended",
        json!({
            "endReason": ended.end_reason,
            "hangupCause": ended.hangup_cause,
            "wasAnswered": ended.answered_at.is_some(),
            "callDuration": ended.duration_secs,
            "duration": ended.duration_secs,
            "sipStatus": ended.sip_status,
            "sipReason": ended.sip_reason,
            "sipCallId": call.leg.sip_call_id,
            "endedBy": ended.ended_by,
            "attempts": [],
            "trunk": row.trunk,
            "quality": Value::Null,
        }),
    );
    events
}

/// The leg that a call left behind, as far as its row tells.
async fn orphan(call: &OpenCall, trunks: &[Trunk]) -> Option<Orphan> {
    if let Some(dialog) = &call.dialog {
        let dialog: DialogState = dialog.parse().ok()?;
        return Some(Orphan::Confirmed { dialog });
    }
    let remote = call.leg.remote.parse().ok()?;
    let trunk = trunks.iter().find(|it| Some(&it.settings.name) == call.row.trunk.as_ref())?;
    let target = Target::resolve(trunk).await.ok()?;
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
        remote,
        transport: Transport::Udp,
    })
}
