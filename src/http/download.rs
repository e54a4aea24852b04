//! A WAV file to a client: Range (RFC 9110 §14, one range), HEAD, ETag and conditional requests.

use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use super::code::Code;
use super::error::ApiError;

/// An open recording and what its response says of it.
#[derive(Debug)]
pub(super) struct File {
    file: tokio::fs::File,
    length: u64,
    etag: String,
}

impl File {
    /// Opens a file. Of one that is being written, only what its header already tells is sent, so
    /// that what a client gets is a whole WAV.
    pub(super) async fn open(path: &Path, being_written: bool) -> io::Result<Self> {
        let mut file = tokio::fs::File::open(path).await?;
        let data = file.metadata().await?;
        let mut length = data.len();
        if being_written {
            let mut head = [0; 8];
            if file.read_exact(&mut head).await.is_ok() {
                let [.., a, b, c, d] = head;
                length = length.min(u64::from(u32::from_le_bytes([a, b, c, d])) + 8);
            }
        }
        let changed = data.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let etag = format!("\"{length:x}-{:x}\"", changed.as_millis());
        Ok(Self { file, length, etag })
    }
}

/// The response to a GET or HEAD (the framework drops a HEAD's body), of which only GET has ranges
/// (RFC 9110 §14.2).
pub(super) async fn respond(
    file: File,
    filename: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let File { mut file, length, etag } = file;
    if text(headers, &header::IF_NONE_MATCH).is_some_and(|known| matches_etag(known, &etag)) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        set(&mut response, header::ETAG, &etag);
        return Ok(response);
    }
    let is_current = text(headers, &header::IF_RANGE).is_none_or(|known| known == etag);
    let may_be_part = is_current && method == Method::GET;
    let asked = text(headers, &header::RANGE).filter(|_| may_be_part);
    let (status, first, count) = match asked.map(|range| parse_range(range, length)) {
        None | Some(Range::Ignored) => (StatusCode::OK, 0, length),
        Some(Range::Part { first, last }) => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Some(Range::Unsatisfiable) => {
            let error = ApiError::new(Code::RangeNotSatisfiable, "Range is not satisfiable");
            let mut response = error.into_response();
            set(&mut response, header::CONTENT_RANGE, &format!("bytes */{length}"));
            return Ok(response);
        }
    };
    file.seek(io::SeekFrom::Start(first)).await.map_err(|error| {
        tracing::error!(%error, filename, "a recording can't be read");
        ApiError::internal()
    })?;
    let mut response = Response::new(Body::from_stream(ReaderStream::new(file.take(count))));
    *response.status_mut() = status;
    set(&mut response, header::CONTENT_TYPE, "audio/wav");
    set(&mut response, header::ACCEPT_RANGES, "bytes");
    set(&mut response, header::ETAG, &etag);
    set(&mut response, header::CONTENT_LENGTH, &count.to_string());
    let attachment = format!("attachment; filename=\"{filename}\"");
    set(&mut response, header::CONTENT_DISPOSITION, &attachment);
    if status == StatusCode::PARTIAL_CONTENT {
        let last = first + count - 1;
        set(&mut response, header::CONTENT_RANGE, &format!("bytes {first}-{last}/{length}"));
    }
    Ok(response)
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    Part {
        first: u64,
        last: u64,
    },
    /// Not of a form that we serve: the whole file is sent (RFC 9110 §14.2).
    Ignored,
    Unsatisfiable,
}

fn parse_range(text: &str, length: u64) -> Range {
    // The unit's case does not count (§14.1).
    let unit = text.split_once('=').filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes"));
    let Some((_, spec)) = unit else { return Range::Ignored };
    let Some((first, last)) = spec.trim().split_once('-') else { return Range::Ignored };
    let number = |text: &str| text.parse::<u64>().ok();
    match (first.is_empty(), last.is_empty()) {
        (false, _) => {
            let Some(first) = number(first) else { return Range::Ignored };
            let last = if last.is_empty() { Some(u64::MAX) } else { number(last) };
            match last {
                None => Range::Ignored,
                Some(last) if last < first => Range::Ignored,
                Some(_) if first >= length => Range::Unsatisfiable,
                Some(last) => Range::Part { first, last: last.min(length - 1) },
            }
        }
        (true, false) => match number(last) {
            None => Range::Ignored,
            Some(0) => Range::Unsatisfiable,
            Some(_) if length == 0 => Range::Unsatisfiable,
            Some(tail) => Range::Part { first: length.saturating_sub(tail), last: length - 1 },
        },
        (true, true) => Range::Ignored,
    }
}

fn matches_etag(list: &str, etag: &str) -> bool {
    list.split(',').map(str::trim).any(|known| {
        known == "*" || known == etag || known.strip_prefix("W/").is_some_and(|weak| weak == etag)
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn set(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 9110 §14.1.2, on a representation of 10 000 bytes.
    #[test]
    fn ranges_read_as_the_rfc_says() {
        let part = |first, last| Range::Part { first, last };
        for (text, range) in [
            ("bytes=0-499", part(0, 499)),
            ("bytes=500-999", part(500, 999)),
            ("bytes=-500", part(9_500, 9_999)),
            ("bytes=9500-", part(9_500, 9_999)),
            ("bytes=0-0", part(0, 0)),
            ("bytes=0-99999", part(0, 9_999)),
            ("bytes=10000-", Range::Unsatisfiable),
            ("bytes=-0", Range::Unsatisfiable),
            ("bytes=5-4", Range::Ignored),
            ("bytes=a-b", Range::Ignored),
            ("bytes=0-1,4-5", Range::Ignored),
            ("Bytes=0-0", part(0, 0)),
            ("items=0-1", Range::Ignored),
            ("bytes=-", Range::Ignored),
        ] {
            assert_eq!(parse_range(text, 10_000), range, "{text}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Range::Unsatisfiable);
    }

    #[test]
    fn entity_tags_match_strong_weak_and_star() {
        assert!(matches_etag("\"a\", \"b\"", "\"b\""));
        assert!(matches_etag("W/\"b\"", "\"b\""));
        assert!(matches_etag("*", "\"b\""));
        assert!(!matches_etag("\"a\"", "\"b\""));
    }
}
