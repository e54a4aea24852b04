//! The session description in a body, which may be one part of several: ISUP rides beside it from a
//! SIP-I carrier (RFC 2046 §5.1, RFC 5621, RFC 3204).
//!
//! It knows how parts are told apart. It refuses to know what a description says. Start at
//! [`session_description`].

use std::ops::Range;

use bytes::Bytes;

use super::is_media_type;
use super::lex;
use super::params::Params;

/// Parts that are looked at; a carrier sends two or three.
const MAX_PARTS: usize = 16;
/// A boundary is no longer (RFC 2046 §5.1.1).
const MAX_BOUNDARY: usize = 70;

/// What a body holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Described {
    /// A session description: the whole body, or its part.
    By(Bytes),
    /// None; what there is may be left alone.
    ByNothing,
    /// Something that must be understood and is not.
    Otherwise,
}

/// Finds the description in a body of this type; a body without a type is taken for one.
pub(crate) fn session_description(content_type: Option<&str>, body: &Bytes) -> Described {
    if body.is_empty() {
        return Described::ByNothing;
    }
    let Some(kind) = content_type else { return Described::By(body.clone()) };
    if is_media_type(kind, "application/sdp") {
        return Described::By(body.clone());
    }
    let is_multipart =
        lex::trim(kind).get(..10).is_some_and(|it| it.eq_ignore_ascii_case("multipart/"));
    match boundary(kind).filter(|_| is_multipart) {
        Some(boundary) => among(&parts(body, &boundary), body),
        None => Described::Otherwise,
    }
}

/// The first description among parts, unless another part insists on being understood.
fn among(parts: &[Part], body: &Bytes) -> Described {
    let mut found = Described::ByNothing;
    for part in parts {
        let is_sdp =
            part.content_type.as_deref().is_some_and(|it| is_media_type(it, "application/sdp"));
        match (&found, is_sdp && part.is_plain) {
            (Described::ByNothing, true) => found = Described::By(body.slice(part.body.clone())),
            (_, false) if part.is_required => return Described::Otherwise,
            _ => {}
        }
    }
    found
}

/// One part.
#[derive(Debug, Default)]
struct Part {
    content_type: Option<String>,
    /// It is not encoded.
    is_plain: bool,
    /// `handling=required`.
    is_required: bool,
    body: Range<usize>,
}

fn boundary(content_type: &str) -> Option<String> {
    let params = Params::parse(content_type.get(content_type.find(';')?..)?).ok()?;
    let boundary = params.text("boundary")?.into_owned();
    (1..=MAX_BOUNDARY).contains(&boundary.len()).then_some(boundary)
}

/// The parts between the delimiters. What stands before the first and after the last is nobody's.
fn parts(body: &[u8], boundary: &str) -> Vec<Part> {
    let mut found = Vec::new();
    // Where the part under way begins.
    let mut begins: Option<usize> = None;
    let mut at = 0;
    while let Some(rest) = body.get(at..).filter(|rest| !rest.is_empty()) {
        let len = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
        let line = rest.get(..len).unwrap_or_default();
        let delimiter =
            line.strip_prefix(b"--").and_then(|line| line.strip_prefix(boundary.as_bytes()));
        let tail = delimiter.map(<[u8]>::trim_ascii_end);
        if let Some(tail @ (b"" | b"--")) = tail {
            if let Some(from) = begins {
                found.push(part(body, from..before_line_end(body, at).max(from)));
            }
            if tail == b"--" || found.len() == MAX_PARTS {
                return found;
            }
            begins = Some(at + len);
        }
        at += len;
    }
    // The last delimiter is missing.
    if let Some(from) = begins {
        found.push(part(body, from..body.len()));
    }
    found
}

/// The line end before a delimiter is the delimiter's.
fn before_line_end(body: &[u8], at: usize) -> usize {
    match body.get(..at) {
        Some([.., b'\r', b'\n']) => at - 2,
        Some([.., b'\n']) => at - 1,
        _ => at,
    }
}

/// Reads a part's header; its body begins after the first empty line.
fn part(body: &[u8], range: Range<usize>) -> Part {
    let mut part = Part { is_plain: true, ..Part::default() };
    let mut at = range.start;
    while let Some(rest) = body.get(at..range.end).filter(|rest| !rest.is_empty()) {
        let len = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
        at += len;
        let line = String::from_utf8_lossy(rest.get(..len).unwrap_or_default());
        if line.trim().is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        let (name, value) = (name.trim(), value.trim());
        if name.eq_ignore_ascii_case("content-type") {
            part.content_type = Some(value.to_owned());
        } else if name.eq_ignore_ascii_case("content-transfer-encoding") {
            let plain = ["7bit", "8bit", "binary"];
            part.is_plain = plain.iter().any(|it| value.eq_ignore_ascii_case(it));
        } else if name.eq_ignore_ascii_case("content-disposition") {
            let params = value.find(';').and_then(|at| Params::parse(value.get(at..)?).ok());
            let handling = params.as_ref().and_then(|params| params.value("handling"));
            part.is_required = handling.is_some_and(|it| it.eq_ignore_ascii_case("required"));
        }
    }
    part.body = at.min(range.end)..range.end;
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(content_type: &str, body: &'static [u8]) -> Described {
        session_description(Some(content_type), &Bytes::from_static(body))
    }

    /// The example of RFC 3204 §5, with its ISUP as it stands there in hexadecimal.
    const SIP_I: &[u8] = b"--unique-boundary-1\r\n\
        Content-Type: application/SDP; charset=ISO-10646\r\n\r\n\
        v=0\r\no=jpeterson 2890844526 2890842807 IN IP4 126.16.64.4\r\ns=SDP seminar\r\n\
        c=IN IP4 MG122.level3.com\r\nt=2873397496 2873404696\r\nm=audio 9092 RTP/AVP 0 3 4\r\n\r\n\
        --unique-boundary-1\r\n\
        Content-Type: application/ISUP; version=nxv3; base=etsi121\r\n\
        Content-Disposition: signal; handling=optional\r\n\r\n\
        \x01\x00\x49\x00\x00\x03\x02\x00\x07\x04\x10\x00\x33\x63\x21\x43\x00\x00\x03\r\n\
        --unique-boundary-1--\r\n";

    #[test]
    fn the_description_beside_isup_is_found() {
        let found = described("multipart/mixed; boundary=unique-boundary-1", SIP_I);
        let Described::By(sdp) = found else { panic!("{found:?}") };
        assert!(sdp.starts_with(b"v=0\r\n") && sdp.ends_with(b"RTP/AVP 0 3 4\r\n"), "{sdp:?}");
        assert_eq!(
            described("Multipart/Mixed;boundary=\"unique-boundary-1\"", SIP_I),
            Described::By(sdp)
        );
    }

    #[test]
    fn a_body_of_one_is_itself() {
        let sdp = Bytes::from_static(b"v=0\r\n");
        assert_eq!(
            described("application/SDP;charset=utf-8", b"v=0\r\n"),
            Described::By(sdp.clone())
        );
        assert_eq!(session_description(None, &sdp), Described::By(sdp));
        assert_eq!(described("text/plain", b""), Described::ByNothing);
        assert_eq!(described("application/isup", b"\x01"), Described::Otherwise);
    }

    /// RFC 5621 §8.3: what must be understood and is not is 415.
    #[test]
    fn a_part_may_insist_on_being_understood() {
        let required = b"--b\r\nContent-Type: application/x\r\nContent-Disposition: render;handling=required\r\n\r\nx\r\n--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b--";
        assert_eq!(described("multipart/mixed;boundary=b", required), Described::Otherwise);
        let optional = b"--b\nContent-Type: application/x\n\nx\n--b\nContent-Type: application/sdp\n\nv=0\n\n--b--";
        assert_eq!(
            described("multipart/related;boundary=b", optional),
            Described::By(Bytes::from_static(b"v=0\n"))
        );
    }

    #[test]
    fn what_is_no_multipart_after_all_describes_nothing() {
        for (kind, body) in [
            ("multipart/mixed", &b"--b\r\n\r\nv=0\r\n--b--"[..]),
            ("multipart/mixed;boundary=\"\"", b"--\r\n\r\nv=0"),
        ] {
            assert_eq!(described(kind, body), Described::Otherwise, "{kind}");
        }
        let kind = "multipart/mixed;boundary=b";
        for body in [&b"v=0\r\n"[..], b"--b--", b"--b\r\n", b"--bb\r\nContent-Type: application/sdp\r\n\r\nv=0", b"--b\r\nContent-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\ndj0w\r\n--b--"] {
            assert_eq!(described(kind, body), Described::ByNothing, "{body:?}");
        }
        // Cut short: what came is taken.
        let cut = b"--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n";
        assert_eq!(described(kind, cut), Described::By(Bytes::from_static(b"v=0\r\n")));
    }
}
