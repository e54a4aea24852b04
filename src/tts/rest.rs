//! When a service is left alone: after a fault of its own, for everybody; after what has to do with
//! one text, for that text.
//!
//! It knows outcomes and time, which is an argument. It refuses to know what asks. Start at
//! [`Rest::refusal`].

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::service::ServiceError;

/// How long a service that failed is left alone, and a text that it did not say.
const REST: Duration = Duration::from_secs(30);
/// The bounds of a rest that the service asks for.
const ASKED_REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));
/// Texts remembered at most: one that is not is merely asked for again.
const MAX_TEXTS: usize = 1_024;
/// Late texts count for so long, and are a fault of the service from this weight on: three short
/// ones in a row, or six.
const LATE_FOR: Duration = Duration::from_secs(300);
const LATE_WEIGHT: u32 = 6;
/// A text of more bytes may well take its time; so may mark-up, which can name sounds elsewhere.
const SHORT: usize = 300;

/// What a service did lately.
#[derive(Debug, Default)]
pub(super) struct Rest {
    until: Option<Instant>,
    /// Texts that it did not say, by their names, and until when they are not asked for.
    texts: HashMap<String, Instant>,
    /// What came late since something came in time. Few: they end in a rest.
    late: Vec<Late>,
}

#[derive(Debug)]
struct Late {
    name: String,
    weight: u32,
    at: Instant,
}

impl Rest {
    /// Why the service is not asked for the text of this name now.
    pub(super) fn refusal(&self, name: &str, now: Instant) -> Option<ServiceError> {
        if self.until.is_some_and(|until| now < until) {
            return Some(ServiceError::Resting);
        }
        self.texts.get(name).filter(|until| now < **until).map(|_| ServiceError::TextRests)
    }

    /// It spoke in time.
    pub(super) fn handle_speech(&mut self) {
        self.late.clear();
    }

    /// It did not say the text of this name.
    pub(super) fn handle_error(
        &mut self,
        name: &str,
        text: &str,
        error: &ServiceError,
        now: Instant,
    ) {
        match error {
            ServiceError::Failed { rest, .. } => {
                let (least, most) = ASKED_REST;
                self.rest(now + rest.map_or(REST, |asked| asked.clamp(least, most)));
            }
            ServiceError::Late(_) => {
                self.rest_text(name, now);
                self.note_late(name, text, now);
            }
            ServiceError::Refused(_) | ServiceError::Endless(_) => self.rest_text(name, now),
            // It was not asked.
            ServiceError::TooLong(..)
            | ServiceError::Resting
            | ServiceError::TextRests
            | ServiceError::NoTime => {}
        }
    }

    fn rest(&mut self, until: Instant) {
        self.until = self.until.max(Some(until));
    }

    fn rest_text(&mut self, name: &str, now: Instant) {
        if self.texts.len() >= MAX_TEXTS {
            self.texts.retain(|_, until| now < *until);
        }
        if self.texts.len() < MAX_TEXTS {
            self.texts.insert(name.to_owned(), now + REST);
        }
    }

    fn note_late(&mut self, name: &str, text: &str, now: Instant) {
        self.late.retain(|late| late.name != name && now < late.at + LATE_FOR);
        let is_short = text.len() <= SHORT && !super::ssml::is_ssml(text);
        self.late.push(Late { name: name.to_owned(), weight: 1 + u32::from(is_short), at: now });
        if self.late.iter().map(|late| late.weight).sum::<u32>() >= LATE_WEIGHT {
            self.rest(now + REST);
            // Its next late text after the rest is enough for another.
            let spare = self.late.len().saturating_sub(LATE_WEIGHT as usize);
            self.late.drain(..spare);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn late() -> ServiceError {
        ServiceError::Late(SECOND)
    }

    fn failed(rest: Option<u64>) -> ServiceError {
        ServiceError::Failed { why: String::new(), rest: rest.map(Duration::from_secs) }
    }

    fn rests(rest: &Rest, now: Instant) -> bool {
        matches!(rest.refusal("another", now), Some(ServiceError::Resting))
    }

    #[test]
    fn a_fault_of_the_service_is_a_rest_for_all_as_long_as_it_says() {
        for (asked, seconds) in [(None, 30), (Some(120), 120), (Some(0), 1), (Some(86_400), 600)] {
            let (mut rest, now) = (Rest::default(), Instant::now());
            rest.handle_error("a", "a", &failed(asked), now);
            assert!(rests(&rest, now + SECOND * seconds - SECOND / 2), "{asked:?}");
            assert!(rest.refusal("a", now + SECOND * seconds).is_none(), "{asked:?}");
            // An older answer that arrives meanwhile makes it no shorter.
            rest.handle_error("b", "b", &failed(Some(1)), now);
            rest.handle_speech();
            assert!(rests(&rest, now + SECOND * seconds - SECOND / 2), "{asked:?}");
        }
    }

    #[test]
    fn a_text_that_is_refused_rests_alone() {
        let (mut rest, now) = (Rest::default(), Instant::now());
        for error in [ServiceError::Refused(String::new()), ServiceError::Endless(1), late()] {
            rest.handle_error("a", "a", &error, now);
            assert!(matches!(rest.refusal("a", now), Some(ServiceError::TextRests)), "{error}");
            assert!(rest.refusal("another", now).is_none(), "{error}");
            assert!(rest.refusal("a", now + REST).is_none(), "{error}");
        }
        rest.handle_error("b", "b", &ServiceError::TooLong(2, 1), now);
        rest.handle_error("b", "b", &ServiceError::NoTime, now);
        assert!(rest.refusal("b", now).is_none());
    }

    #[test]
    fn late_texts_are_a_fault_of_the_service_only_together() {
        let long = "a".repeat(SHORT + 1);
        let (mut rest, now) = (Rest::default(), Instant::now());
        // One and the same, however often.
        for n in 0..20 {
            rest.handle_error("a", "a", &late(), now + SECOND * n);
        }
        assert!(!rests(&rest, now + SECOND * 20));
        // Two short ones and a long one, then something in time.
        rest.handle_error("b", "b", &late(), now);
        rest.handle_error("c", &long, &late(), now);
        rest.handle_speech();
        rest.handle_error("d", "d", &late(), now);
        assert!(!rests(&rest, now));
        // Marked-up ones weigh as little as long ones.
        for name in ["e", "f", "g"] {
            rest.handle_error(name, "<speak>a</speak>", &late(), now);
        }
        assert!(!rests(&rest, now));
        rest.handle_error("h", &long, &late(), now);
        assert!(rests(&rest, now));
        // After the rest one more is enough; much later it counts alone.
        let again = now + REST;
        assert!(!rests(&rest, again));
        rest.handle_error("h", &long, &late(), again);
        assert!(rests(&rest, again));
        let later = again + LATE_FOR;
        rest.handle_error("i", "i", &late(), later);
        assert!(!rests(&rest, later));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut rest, now) = (Rest::default(), Instant::now());
        for n in 0..3 * MAX_TEXTS {
            rest.handle_error(&n.to_string(), "a", &late(), now);
        }
        assert!(rest.texts.len() <= MAX_TEXTS && rest.late.len() <= LATE_WEIGHT as usize);
        rest.handle_error("new", "a", &late(), now + REST);
        assert_eq!(rest.texts.len(), 1);
    }
}
