//! What happened in a call, as text for `kaphila trace`: its SIP ladder, timers, events, verdicts
//! and media figures.

use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

use kaphila_sip::invite::LadderRow;

use super::machine::{Clock, LegNo};

/// Rows kept of a call: an hour of session refreshes. The first ones, in which a call usually goes
/// wrong, are kept; of what comes after, the newest.
const MAX_ROWS: usize = 400;
/// The rows at the beginning that are never dropped.
const FIRST_ROWS: usize = 150;

/// The rows of one call.
#[derive(Debug)]
pub(crate) struct Trace {
    clock: Clock,
    first: Vec<Row>,
    newest: VecDeque<Row>,
    dropped: usize,
}

#[derive(Debug)]
struct Row {
    at: Instant,
    text: String,
}

impl Trace {
    /// An empty trace; times are told from `clock.at`.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, first: Vec::new(), newest: VecDeque::new(), dropped: 0 }
    }

    /// Something happened. No digits: they may be somebody's PIN.
    pub(crate) fn note(&mut self, at: Instant, what: fmt::Arguments<'_>) {
        self.push(at, format!("            {what}"));
    }

    /// A SIP message crossed the wire.
    pub(crate) fn ladder(&mut self, leg: LegNo, row: &LadderRow) {
        let arrow = if row.outgoing { "──►" } else { "◄──" };
        let again = if row.retransmission { " (again)" } else { "" };
        let text = format!("{arrow} leg {}   {} [{}]{again}", leg.0, row.summary, row.cseq);
        self.push(row.at, text);
    }

    fn push(&mut self, at: Instant, text: String) {
        let row = Row { at, text };
        if self.first.len() < FIRST_ROWS {
            return self.first.push(row);
        }
        if self.newest.len() == MAX_ROWS - FIRST_ROWS {
            self.newest.pop_front();
            self.dropped += 1;
        }
        self.newest.push_back(row);
    }

    /// One line a row, with seconds since the placing.
    pub(crate) fn render(&self) -> String {
        let line = |row: &Row| {
            let at = row.at.saturating_duration_since(self.clock.at);
            format!("{:>10.3}  {}\n", at.as_secs_f64(), row.text)
        };
        let mut text = format!("placed {}\n", self.clock.wall.to_rfc3339());
        text.extend(self.first.iter().map(line));
        if self.dropped > 0 {
            text.push_str(&format!("            … {} rows left out\n", self.dropped));
        }
        text.extend(self.newest.iter().map(line));
        text
    }
}
