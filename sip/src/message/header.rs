//! Names and values of header fields.
//!
//! A [`HeaderName`] knows its canonical spelling, its compact form and whether its values are
//! separated by commas; a [`HeaderValue`] has no CR, LF or NUL in it, whatever was put in. Neither
//! knows what a value means. Start at [`HeaderValue`].
#![warn(clippy::indexing_slicing)]

use super::{CSeq, Method, NameAddr, Uri, Via, lex};
use crate::error::{ForbiddenText, ParseError};
use crate::limits::MAX_HEADER_NAME;
use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};

/// Name of a header field, compared in any case (RFC 3261 §7.3.1). The names of the constants are
/// kept in their canonical spelling; a compact form is read as the long one.
#[derive(Clone, Debug)]
pub struct HeaderName {
    text: Cow<'static, str>,
    kind: Kind,
}

/// How the values of a header field stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One value; a comma is part of it. So is every field that we do not know: nobody here asks
    /// for its values.
    One,
    /// Values separated by commas (RFC 3261 §7.3.1, "#" rules of §25.1).
    List,
}

macro_rules! names {
    ($($constant:ident $text:literal $compact:literal $kind:ident,)*) => {
        impl HeaderName {
            $(#[doc = concat!("`", $text, "`")]
            pub const $constant: Self =
                Self { text: Cow::Borrowed($text), kind: Kind::$kind };)*
        }

        /// Canonical name, compact form ("" if none), kind.
        const KNOWN: &[(&str, &str, Kind)] = &[$(($text, $compact, Kind::$kind),)*];
    };
}

names! {
    VIA "Via" "v" List,
    FROM "From" "f" One,
    TO "To" "t" One,
    CALL_ID "Call-ID" "i" One,
    CSEQ "CSeq" "" One,
    CONTACT "Contact" "m" List,
    MAX_FORWARDS "Max-Forwards" "" One,
    CONTENT_TYPE "Content-Type" "c" One,
    CONTENT_LENGTH "Content-Length" "l" One,
    ALLOW "Allow" "" List,
    SUPPORTED "Supported" "k" List,
    ROUTE "Route" "" List,
    RECORD_ROUTE "Record-Route" "" List,
    USER_AGENT "User-Agent" "" One,
    SERVER "Server" "" One,
    REQUIRE "Require" "" List,
    PROXY_REQUIRE "Proxy-Require" "" List,
    UNSUPPORTED "Unsupported" "" List,
    ACCEPT "Accept" "" List,
    ACCEPT_ENCODING "Accept-Encoding" "" List,
    ACCEPT_LANGUAGE "Accept-Language" "" List,
    CONTENT_ENCODING "Content-Encoding" "e" List,
    CONTENT_DISPOSITION "Content-Disposition" "" One,
    REASON "Reason" "" List,
    RETRY_AFTER "Retry-After" "" One,
    EXPIRES "Expires" "" One,
    MIN_EXPIRES "Min-Expires" "" One,
    SESSION_EXPIRES "Session-Expires" "x" One,
    MIN_SE "Min-SE" "" One,
    RSEQ "RSeq" "" One,
    RACK "RAck" "" One,
    EVENT "Event" "o" One,
    ALLOW_EVENTS "Allow-Events" "u" List,
    SUBSCRIPTION_STATE "Subscription-State" "" One,
    REFER_TO "Refer-To" "r" One,
    REFERRED_BY "Referred-By" "b" One,
    REPLACES "Replaces" "" One,
    SUBJECT "Subject" "s" One,
    DATE "Date" "" One,
    TIMESTAMP "Timestamp" "" One,
    WARNING "Warning" "" List,
    ORGANIZATION "Organization" "" One,
    PRIORITY "Priority" "" One,
    PRIVACY "Privacy" "" One,
    PATH "Path" "" List,
    SERVICE_ROUTE "Service-Route" "" List,
    P_ASSERTED_IDENTITY "P-Asserted-Identity" "" List,
    P_PREFERRED_IDENTITY "P-Preferred-Identity" "" List,
    REMOTE_PARTY_ID "Remote-Party-ID" "" List,
    DIVERSION "Diversion" "" List,
    HISTORY_INFO "History-Info" "" List,
    ALERT_INFO "Alert-Info" "" List,
    CALL_INFO "Call-Info" "" List,
    ERROR_INFO "Error-Info" "" List,
    IN_REPLY_TO "In-Reply-To" "" List,
    MIME_VERSION "MIME-Version" "" One,
    ACCEPT_CONTACT "Accept-Contact" "a" List,
    REJECT_CONTACT "Reject-Contact" "j" List,
    REQUEST_DISPOSITION "Request-Disposition" "d" List,
    IDENTITY "Identity" "y" One,
    WWW_AUTHENTICATE "WWW-Authenticate" "" One,
    AUTHORIZATION "Authorization" "" One,
    PROXY_AUTHENTICATE "Proxy-Authenticate" "" One,
    PROXY_AUTHORIZATION "Proxy-Authorization" "" One,
    AUTHENTICATION_INFO "Authentication-Info" "" One,
    PROXY_AUTHENTICATION_INFO "Proxy-Authentication-Info" "" One,
}

impl HeaderName {
    /// Reads a name, long or compact, in any case.
    ///
    /// # Errors
    /// If it is no token or longer than [`MAX_HEADER_NAME`].
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if let Some((name, kind)) = known(text) {
            return Ok(Self { text: Cow::Borrowed(name), kind });
        }
        if text.len() > MAX_HEADER_NAME {
            return Err(ParseError("header name too long"));
        }
        if !lex::is_token(text) {
            return Err(ParseError("header name is no token"));
        }
        Ok(Self { text: Cow::Owned(text.to_owned()), kind: Kind::One })
    }

    /// Its text: the canonical spelling where we know the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a comma separates values in fields of this name.
    pub(crate) fn is_list(&self) -> bool {
        self.kind == Kind::List
    }

    /// The canonical name for an error; those that are asked for are constants.
    pub(crate) fn static_str(&self) -> &'static str {
        match &self.text {
            Cow::Borrowed(name) => name,
            Cow::Owned(_) => "unknown",
        }
    }
}

fn known(text: &str) -> Option<(&'static str, Kind)> {
    let same = |name: &str| name.len() == text.len() && name.eq_ignore_ascii_case(text);
    let mut names = KNOWN.iter().filter(|_| !text.is_empty());
    names
        .find(|(name, compact, _)| same(name) || same(compact))
        .map(|(name, _, kind)| (*name, *kind))
}

impl PartialEq for HeaderName {
    fn eq(&self, other: &Self) -> bool {
        self.text.eq_ignore_ascii_case(&other.text)
    }
}

impl Eq for HeaderName {}

impl Hash for HeaderName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.bytes().for_each(|byte| state.write_u8(byte.to_ascii_lowercase()));
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Value of a header field, without white space around it. There is no way to make one that has
/// CR, LF or NUL in it: that is what keeps a customer's text from becoming a header of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeaderValue(Cow<'static, str>);

impl HeaderValue {
    /// A value of ours, checked when compiled if used in a constant.
    ///
    /// # Panics
    /// If the text has CR, LF or NUL in it.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            #[allow(clippy::indexing_slicing, reason = "const; the loop's condition bounds it")]
            let byte = bytes[at];
            assert!(!lex::is_forbidden(byte), "CR, LF or NUL in a header value");
            at += 1;
        }
        Self(Cow::Borrowed(text))
    }

    /// Makes a value of any text; CR, LF and NUL become spaces.
    pub(crate) fn cleaned(text: &str) -> Self {
        let text = lex::trim(text);
        Self(Cow::Owned(match lex::has_forbidden(text) {
            true => lex::trim(&text.replace(['\r', '\n', '\0'], " ")).to_owned(),
            false => text.to_owned(),
        }))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for HeaderValue {
    type Error = ForbiddenText;

    fn try_from(text: &str) -> Result<Self, ForbiddenText> {
        if lex::has_forbidden(text) {
            return Err(ForbiddenText("CR, LF or NUL in a header value"));
        }
        Ok(Self(Cow::Owned(lex::trim(text).to_owned())))
    }
}

impl TryFrom<String> for HeaderValue {
    type Error = ForbiddenText;

    fn try_from(text: String) -> Result<Self, ForbiddenText> {
        Self::try_from(text.as_str())
    }
}

/// Room for a usual Via or From, so that printing one need not grow.
const USUAL_VALUE: usize = 96;

/// From what prints itself escaped and quoted; `cleaned` is the second lock on the door.
macro_rules! from_printed {
    ($($type:ty),*) => {$(
        impl From<$type> for HeaderValue {
            fn from(value: $type) -> Self {
                let mut text = String::with_capacity(USUAL_VALUE);
                let _ = write!(text, "{value}");
                if lex::has_forbidden(&text) { Self::cleaned(&text) } else { Self(Cow::Owned(text)) }
            }
        }
    )*};
}

from_printed!(&Uri, Uri, &NameAddr, NameAddr, &Via, Via, &CSeq, CSeq, &Method, u32);
