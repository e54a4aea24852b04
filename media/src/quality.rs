//! How a call sounded: loss, jitter, round trip and the opinion they earn (ITU-T G.107).
//!
//! It knows the E-model's formula for G.711 with concealment. It refuses to know packets: figures
//! come from [`crate::reception`] and RTCP. Start at [`mean_opinion_score`].

use std::fmt;

use crate::sdp::Codec;

/// How a call sounded, seen from here.
#[derive(Clone, Debug, PartialEq)]
pub struct Quality {
    /// The codec that was heard last; `None` where nothing came.
    pub codec: Option<Codec>,
    /// Mean opinion score of what we heard, 1.0–4.5; `None` where nothing came.
    pub mos: Option<f64>,
    /// Packets lost on their way to us, in per cent of those expected.
    pub loss_percent: f64,
    /// Interarrival jitter (RFC 3550 §A.8) at the end, in ms.
    pub jitter_ms: f64,
    /// Last round trip by RTCP, in ms; `None` without reports of the far end.
    pub rtt_ms: Option<f64>,
    /// RTP packets sent.
    pub sent: u64,
    /// RTP packets taken.
    pub received: u64,
    /// Loss of what we sent, in per cent, as the far end's last report has it.
    pub far_loss_percent: Option<f64>,
}

impl fmt::Display for Quality {
    /// One line for the operator; what is not known is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sent {}, received {}", self.sent, self.received)?;
        if let Some(codec) = self.codec {
            write!(f, ", {}, lost {:.1} %", codec.name(), self.loss_percent)?;
            write!(f, ", jitter {:.1} ms", self.jitter_ms)?;
        }
        if let Some(mos) = self.mos {
            write!(f, ", MOS {mos:.2}")?;
        }
        if let Some(rtt) = self.rtt_ms {
            write!(f, ", round trip {rtt:.1} ms")?;
        }
        if let Some(lost) = self.far_loss_percent {
            write!(f, "; the far end lost {lost:.1} %")?;
        }
        Ok(())
    }
}

/// R0 − Is with all defaults of G.107 (§7.7 of its 2015 edition).
const BASE: f64 = 93.2;

/// Packet-loss robustness of G.711 with the concealment of its Appendix I (G.113 Appendix I).
const ROBUSTNESS: f64 = 25.1;

/// The one-way delay above which talking suffers, in ms.
const DELAY_KNEE: f64 = 177.3;

/// The score that `loss_percent` of lost packets and `delay_ms` one way earn: R = 93.2 − Id −
/// Ie,eff for G.711, then the opinion by G.107 Annex B. 1.0–4.5.
pub fn mean_opinion_score(loss_percent: f64, delay_ms: f64) -> f64 {
    let loss = loss_percent.clamp(0.0, 100.0);
    let delay = delay_ms.max(0.0);
    // Ie is 0 for G.711 and loss is taken as random (BurstR = 1).
    let equipment = 95.0 * loss / (loss + ROBUSTNESS);
    let delayed = 0.024 * delay + 0.11 * (delay - DELAY_KNEE).max(0.0);
    opinion(BASE - delayed - equipment)
}

fn opinion(r: f64) -> f64 {
    if r <= 0.0 {
        return 1.0;
    }
    if r >= 100.0 {
        return 4.5;
    }
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_line_tells_what_is_known() {
        let mut quality = super::Quality {
            codec: None,
            mos: None,
            loss_percent: 0.0,
            jitter_ms: 0.0,
            rtt_ms: None,
            sent: 3,
            received: 0,
            far_loss_percent: None,
        };
        assert_eq!(quality.to_string(), "sent 3, received 0");
        quality.codec = Some(super::Codec::Pcma);
        quality.mos = Some(4.369);
        quality.rtt_ms = Some(2.04);
        assert_eq!(
            quality.to_string(),
            "sent 3, received 0, PCMA, lost 0.0 %, jitter 0.0 ms, MOS 4.37, round trip 2.0 ms"
        );
    }

    use super::*;

    #[test]
    fn scores_are_those_of_g_107_by_hand() {
        // R = 93.2: 1 + 3.262 + 93.2 × 33.2 × 6.8 × 7e-6 = 4.409.
        assert!((mean_opinion_score(0.0, 0.0) - 4.409).abs() < 0.001);
        // 5 % loss: Ie,eff = 95 × 5 / 30.1 = 15.78; R = 77.42; MOS 3.92.
        assert!((mean_opinion_score(5.0, 0.0) - 3.923).abs() < 0.005);
        // 277.3 ms: Id = 6.655 + 11 = 17.655; R = 75.545; MOS 3.85.
        assert!((mean_opinion_score(0.0, 277.3) - 3.846).abs() < 0.005);
    }

    #[test]
    fn scores_fall_with_loss_and_stay_within_their_scale() {
        let mut last = 5.0;
        for loss in 0..=100 {
            let score = mean_opinion_score(f64::from(loss), 100.0);
            assert!(score <= last && (1.0..=4.5).contains(&score), "{loss} %: {score}");
            last = score;
        }
    }
}
