//! What every message must have before anybody looks at it (RFC 3261 §8.1.1).
#![warn(clippy::indexing_slicing)]

use super::error::ErrorKind;
use crate::error::FieldError;
use crate::message::{HeaderName, Headers, Method, Via};

/// That From, To, Call-ID and CSeq are there once and can be read, that every Via can be, and that
/// a request's CSeq names its method. Max-Forwards is a proxy's business and not looked at; one
/// that stands twice makes the message ambiguous all the same (RFC 4475 §3.3.8).
pub(super) fn mandatory(headers: &Headers, method: Option<&Method>) -> Result<(), ErrorKind> {
    once(headers)?;
    let vias = headers.all(&HeaderName::VIA, Via::parse).map_err(ErrorKind::Field)?;
    if vias.is_empty() {
        return Err(ErrorKind::Field(FieldError::Missing("Via")));
    }
    headers.from().map_err(ErrorKind::Field)?;
    headers.to().map_err(ErrorKind::Field)?;
    headers.call_id().map_err(ErrorKind::Field)?;
    let cseq = headers.cseq().map_err(ErrorKind::Field)?;
    match method {
        Some(method) if *method != cseq.method => Err(ErrorKind::CSeqMethod),
        _ => Ok(()),
    }
}

fn once(headers: &Headers) -> Result<(), ErrorKind> {
    const ONCE: [HeaderName; 5] = [
        HeaderName::FROM,
        HeaderName::TO,
        HeaderName::CALL_ID,
        HeaderName::CSEQ,
        HeaderName::MAX_FORWARDS,
    ];
    for name in &ONCE {
        if headers.iter().filter(|(other, _)| *other == name).count() > 1 {
            return Err(ErrorKind::Field(FieldError::Repeated(name.static_str())));
        }
    }
    Ok(())
}
