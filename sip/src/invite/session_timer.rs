//! Session timers (RFC 4028): a call whose far end has vanished without a BYE ends.
//!
//! It knows intervals, who refreshes, and the headers that agree on both. It refuses to know how a
//! refresh is sent; that is `refresh`. Start at [`SessionTimer`].
#![warn(clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use crate::message::{
    HeaderName, HeaderValue, Headers, Params, Request, Response, decimal, has_token,
};
use crate::options::{response, supported};

/// The option tag.
pub(crate) const OPTION: &str = "timer";

/// The least that we take, in seconds (§4: never less than 90).
pub(super) const MIN_INTERVAL: u32 = 90;

/// Who sends the refreshes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refresher {
    /// Who sent the request.
    Uac,
    /// Who answers it.
    Uas,
}

impl Refresher {
    fn name(self) -> &'static str {
        match self {
            Self::Uac => "uac",
            Self::Uas => "uas",
        }
    }
}

/// `Session-Expires` (§4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SessionExpires {
    /// In seconds.
    pub(super) interval: u32,
    pub(super) refresher: Option<Refresher>,
}

impl SessionExpires {
    /// `None` where there is none, or none that can be read.
    pub(super) fn of(headers: &Headers) -> Option<Self> {
        let text = headers.get(&HeaderName::SESSION_EXPIRES)?;
        let (interval, params) = text.split_once(';').unwrap_or((text, ""));
        let interval = decimal(interval.trim()).filter(|interval| *interval > 0)?;
        let params = Params::parse(params).unwrap_or_default();
        let refresher = params.value("refresher").and_then(|who| match who {
            who if who.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
            who if who.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
            _ => None,
        });
        Some(Self { interval, refresher })
    }

    /// Writes it.
    pub(super) fn set(self, headers: &mut Headers) {
        let refresher = self.refresher.map(|who| format!(";refresher={}", who.name()));
        let text = format!("{}{}", self.interval, refresher.unwrap_or_default());
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.set(HeaderName::SESSION_EXPIRES, value);
        }
    }
}

/// `Min-SE` in seconds.
pub(super) fn min_interval(headers: &Headers) -> Option<u32> {
    let text = headers.get(&HeaderName::MIN_SE)?;
    decimal(text.split(';').next().unwrap_or_default().trim())
}

/// Asks for a session timer in an INVITE or UPDATE of ours. `min`: what a 422 wanted, if one came.
pub(super) fn ask_for(headers: &mut Headers, asked: SessionExpires, min: Option<u32>) {
    asked.set(headers);
    if let Some(min) = min {
        headers.set(HeaderName::MIN_SE, min);
    }
}

/// Supported and Session-Expires of an INVITE that makes a call. Without an offer in it a reliable
/// provisional would bring one that its PRACK must answer (RFC 3262 §5): it is not asked for then.
pub(crate) fn ask_for_extensions(headers: &mut Headers, has_offer: bool, interval: u32) {
    if has_offer {
        supported(headers);
    } else {
        headers.push(HeaderName::SUPPORTED, HeaderValue::from_static(OPTION));
    }
    let asked = SessionExpires { interval, refresher: None };
    ask_for(headers, asked, None);
}

/// The interval to ask for after a 422 (§7.4); `None` where that says nothing new.
pub(super) fn raised(refusal: &Response, asked: u32) -> Option<u32> {
    min_interval(&refusal.headers).filter(|min| *min > asked)
}

/// A running session timer.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionTimer {
    /// In seconds.
    pub(super) interval: u32,
    /// The refreshes are ours to send.
    pub(super) is_ours: bool,
    /// When the next refresh is due, or sent again.
    refresh_at: Instant,
    /// When the session is given up.
    expires_at: Instant,
}

/// What a session timer wants at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    Refresh,
    Bye,
}

impl SessionTimer {
    /// Caller of a request that was answered 2xx (§7.2). `None`: the far end wants no timer.
    pub(super) fn of_answer(now: Instant, answer: &Response) -> Option<Self> {
        let agreed = SessionExpires::of(&answer.headers)?;
        Some(Self::new(now, agreed.interval, agreed.refresher != Some(Refresher::Uas)))
    }

    fn new(now: Instant, interval: u32, is_ours: bool) -> Self {
        let interval = interval.max(MIN_INTERVAL);
        let whole = Duration::from_secs(interval.into());
        // §10: BYE a third before the end, 32 s at most; the refresh at half the interval.
        let margin = (whole / 3).min(Duration::from_secs(32));
        Self { interval, is_ours, refresh_at: now + whole / 2, expires_at: now + whole - margin }
    }

    pub(super) fn due(&self) -> Instant {
        if self.is_ours { self.refresh_at.min(self.expires_at) } else { self.expires_at }
    }

    pub(super) fn wants(&self, now: Instant) -> Option<Wants> {
        if self.expires_at <= now {
            return Some(Wants::Bye);
        }
        (self.is_ours && self.refresh_at <= now).then_some(Wants::Refresh)
    }

    /// A refresh is on its way, or was refused for now: not again before `after`.
    pub(super) fn postpone(&mut self, now: Instant, after: Duration) {
        self.refresh_at = now + after;
    }
}

/// The far end's INVITE or UPDATE asks for less than we take, and understands being told so (§9).
pub(crate) fn refusal_of(request: &Request) -> Option<Response> {
    let asked = SessionExpires::of(&request.headers)?;
    let is_too_small = asked.interval < MIN_INTERVAL;
    if !is_too_small || !has_token(&request.headers, &HeaderName::SUPPORTED, OPTION) {
        return None;
    }
    let mut refusal = response(request, 422);
    refusal.headers.push(HeaderName::MIN_SE, MIN_INTERVAL);
    Some(refusal)
}

/// Agrees with the far end's INVITE or UPDATE in a 2xx of ours (§9, table 2). Without a
/// Session-Expires in it there is no timer: we ask for none where we are called.
pub(super) fn agree(now: Instant, request: &Request, ok: &mut Response) -> Option<SessionTimer> {
    let asked = SessionExpires::of(&request.headers)?;
    let is_known = has_token(&request.headers, &HeaderName::SUPPORTED, OPTION);
    let refresher = match asked.refresher {
        Some(Refresher::Uac) if is_known => Refresher::Uac,
        None if is_known => Refresher::Uac,
        _ => Refresher::Uas,
    };
    let interval = asked.interval.max(MIN_INTERVAL);
    SessionExpires { interval, refresher: Some(refresher) }.set(&mut ok.headers);
    if refresher == Refresher::Uac {
        ok.headers.push(HeaderName::REQUIRE, HeaderValue::from_static(OPTION));
    }
    Some(SessionTimer::new(now, interval, refresher == Refresher::Uas))
}
