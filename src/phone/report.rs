//! What the telephone tells: a line a happening, as text or JSON.

use std::io::Write as _;
use std::path::Path;

use kaphila_media::session::Quality;
use serde_json::{Map, Value, json};

/// Tells happenings of one call.
#[derive(Debug, Clone)]
pub(super) struct Report {
    json: bool,
    call: u64,
}

impl Report {
    /// For the call of this number.
    #[must_use]
    pub(super) const fn new(json: bool, call: u64) -> Self {
        Self { json, call }
    }

    /// Something happened; `details` is a JSON object.
    pub(super) fn tell(&self, event: &str, details: Value) {
        let Value::Object(details) = details else { return };
        if self.json {
            let mut line = Map::from_iter([
                ("call".to_owned(), self.call.into()),
                ("event".to_owned(), event.into()),
            ]);
            line.extend(details);
            let _ = writeln!(std::io::stdout(), "{}", Value::Object(line));
            return;
        }
        let shown = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let text: Vec<String> =
            details.iter().map(|(name, value)| format!("{name} {}", shown(value))).collect();
        let _ = writeln!(std::io::stdout(), "call {}: {event} {}", self.call, text.join(", "));
    }

    /// The call is over.
    pub(super) fn ended(&self, by: &str, seconds: f64, digits: &str, quality: Option<&Quality>) {
        let seconds = (seconds * 1000.0).round() / 1000.0;
        let mut details = json!({ "by": by, "seconds": seconds });
        let Some(members) = details.as_object_mut() else { return };
        if !digits.is_empty() {
            members.insert("digits".into(), digits.into()); // that it heard
        }
        if let Some(quality) = quality {
            members.insert("received".into(), quality.received.into());
            members.insert("sent".into(), quality.sent.into());
        }
        self.tell("ended", details);
    }

    /// A recording is complete: how long it is and how loud each side was.
    pub(super) fn recorded(&self, path: &Path) {
        let levels = levels(path).map(|levels| {
            let [heard, said] = levels.map(|level| (level * 10.0).round() / 10.0);
            json!({ "file": path, "heardDb": heard, "saidDb": said })
        });
        self.tell("recorded", levels.unwrap_or_else(|| json!({ "file": path })));
    }
}

/// The loudest second of each channel in dB below full scale, −100 for silence.
fn levels(path: &Path) -> Option<[f64; 2]> {
    let data = std::fs::read(path).ok()?;
    let (frames, _) = data.get(44..)?.as_chunks::<4>();
    let mut loudest = [0.0_f64; 2];
    for second in frames.chunks(8_000) {
        let mut sums = [0.0; 2];
        for &[a, b, c, d] in second {
            let pair = [i16::from_le_bytes([a, b]), i16::from_le_bytes([c, d])];
            for (sum, sample) in sums.iter_mut().zip(pair) {
                *sum += f64::from(sample).powi(2);
            }
        }
        for (most, sum) in loudest.iter_mut().zip(sums) {
            *most = most.max(sum / second.len() as f64);
        }
    }
    Some(
        loudest.map(|power| (10.0 * (power / 32_768.0_f64.powi(2)).max(1e-10).log10()).max(-100.0)),
    )
}
