//! Open files: as many as calls and clients need, and what each gets where the system gives fewer.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::http::serve::Limits;

/// Of a call: its two sockets and its recording.
const A_CALL: u64 = 3;
/// Listeners, SIP sockets, database, logs, webhooks, speech.
const SPARE: u64 = 1_024;
/// Connections of a listener that are let in however few files there are.
const FEWEST_CONNECTIONS: u64 = 64;

/// Raises the limit of open files for `max_calls` calls and the clients of `listeners` listeners,
/// of HTTP and of SIP over TCP and TLS;
/// how many connections each of those may have.
pub(super) fn raise(max_calls: usize, listeners: usize) -> usize {
    let most = Limits::default().connections;
    let wanted = needed(max_calls) + (listeners * most) as u64;
    let connections = connections(raise_to(wanted), max_calls, listeners, most);
    if connections < most {
        tracing::warn!(
            connections,
            wanted,
            "the limit of open files is short: fewer connections at once; raise it (ulimit -n)"
        );
    }
    connections
}

fn needed(max_calls: usize) -> u64 {
    max_calls as u64 * A_CALL + SPARE
}

/// Raises the limit as far as the system lets us; what it is then.
fn raise_to(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.current.unwrap_or(u64::MAX);
    if current >= wanted {
        return current;
    }
    let possible = limit.maximum.unwrap_or(u64::MAX).min(wanted);
    let raised = Rlimit { current: Some(possible), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).map_or(current, |()| possible)
}

/// Calls have their files before clients have theirs: no flood of connections leaves a call
/// without a socket.
fn connections(files: u64, max_calls: usize, listeners: usize, most: usize) -> usize {
    if files < needed(max_calls) {
        tracing::warn!(
            open_files = files,
            needed = needed(max_calls),
            "the limit of open files is short of media.max_calls; raise it (ulimit -n) or lower that"
        );
    }
    let left = files.saturating_sub(needed(max_calls)) / listeners.max(1) as u64;
    usize::try_from(left.max(FEWEST_CONNECTIONS)).map_or(most, |left| left.min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_come_before_clients() {
        for (files, connections_each) in [
            (u64::MAX, 10_000),
            (3_000 + 1_024 + 20_000, 10_000),
            (3_000 + 1_024 + 4_000, 2_000),
            (3_000 + 1_024, 64),
            (1_024, 64),
        ] {
            assert_eq!(connections(files, 1_000, 2, 10_000), connections_each, "{files}");
        }
    }
}
