//! What the telephone does when it is called.

use std::str::FromStr;
use std::sync::Arc;

use kaphila_media::dtmf::Digits;

/// Samples a second.
const RATE: f64 = 8_000.0;

/// A telephone's behaviour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scenario {
    /// Rings a second, answers, says hello, listens.
    Human,
    /// Answers at once, plays a long greeting and a beep, records.
    Voicemail,
    /// 486.
    Busy,
    /// Rings until the caller gives up.
    NoAnswer,
    /// Answers; at the end of each thing it is told, sends the next group of digits.
    Ivr(Vec<String>),
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "human" => Ok(Self::Human),
            "voicemail" => Ok(Self::Voicemail),
            "busy" => Ok(Self::Busy),
            "no-answer" => Ok(Self::NoAnswer),
            _ => {
                let digits = text.strip_prefix("ivr:").ok_or_else(|| {
                    "expected human, voicemail, busy, no-answer or ivr:DIGITS".to_owned()
                })?;
                let groups: Vec<String> = digits.split(',').map(str::to_owned).collect();
                match groups.iter().find(|group| Digits::try_from(group.as_str()).is_err()) {
                    Some(bad) => Err(format!("`{bad}`: digits are 0-9, *, # and A-D")),
                    None => Ok(Self::Ivr(groups)),
                }
            }
        }
    }
}

impl Scenario {
    /// What is said on answering where neither `--say` nor `--play` tells.
    #[must_use]
    pub const fn words(&self) -> Option<&'static str> {
        match self {
            Self::Human => Some("Hello?"),
            Self::Voicemail => Some(
                "You have reached the voicemail of extension one hundred. Nobody can take your \
                 call at the moment. Please leave a message after the tone.",
            ),
            Self::Busy | Self::NoAnswer | Self::Ivr(_) => None,
        }
    }
}

/// The tone after a voicemail greeting: 1 kHz, 400 ms at −16 dBm0, with 5 ms ramps against clicks.
#[must_use]
pub(super) fn beep() -> Arc<[i16]> {
    const LENGTH: u32 = 3_200;
    const RAMP: f64 = 40.0;
    (0..LENGTH)
        .map(|n| {
            let n = f64::from(n);
            let edge = (n.min(f64::from(LENGTH) - n) / RAMP).min(1.0);
            let sample = (n * 1_000.0 * std::f64::consts::TAU / RATE).sin();
            (sample * edge * 3_600.0) as i16
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_read_and_refused() {
        assert_eq!("human".parse(), Ok(Scenario::Human));
        assert_eq!("ivr:12,3#".parse(), Ok(Scenario::Ivr(vec!["12".into(), "3#".into()])));
        for bad in ["", "ivr:", "ivr:x", "cat"] {
            assert!(bad.parse::<Scenario>().is_err(), "{bad}");
        }
    }
}
