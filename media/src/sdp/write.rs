//! The one place that writes a session description.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use super::{Codec, Direction, EventFormat};

/// One `m=` line of ours.
pub(super) enum Section<'a> {
    /// The audio stream.
    Audio(Audio<'a>),
    /// A stream that we do not take, as `kind 0 profile format`; RFC 3264 §6 wants its line kept.
    Refused(&'a str),
}

/// Our audio stream.
#[derive(Clone, Copy)]
pub(super) struct Audio<'a> {
    pub(super) profile: &'a str,
    pub(super) codecs: &'a [(u8, Codec)],
    pub(super) event: Option<EventFormat>,
    pub(super) ptime_ms: u8,
    pub(super) direction: Direction,
}

/// Everything after the `o=` line: what decides whether the version goes up.
pub(super) fn after_origin<'a>(
    local: SocketAddr,
    sections: impl Iterator<Item = Section<'a>>,
) -> String {
    let mut text = format!("s=-\r\nc={}\r\nt=0 0\r\n", address(local.ip()));
    for section in sections {
        match section {
            Section::Audio(audio) => push_audio(&mut text, local.port(), &audio),
            Section::Refused(line) => push(&mut text, format_args!("m={line}")),
        }
    }
    text
}

/// The whole body (RFC 8866 §5).
pub(super) fn body(local: SocketAddr, session_id: u64, version: u64, rest: &str) -> String {
    let address = address(local.ip());
    format!("v=0\r\no=- {session_id} {version} {address}\r\n{rest}")
}

fn push_audio(text: &mut String, port: u16, audio: &Audio<'_>) {
    let pts = audio.codecs.iter().map(|(pt, _)| *pt);
    let pts = pts.chain(audio.event.map(|event| event.pt));
    let pts: Vec<String> = pts.map(|pt| pt.to_string()).collect();
    let (profile, pts) = (audio.profile, pts.join(" "));
    push(text, format_args!("m=audio {port} {profile} {pts}"));
    for (pt, codec) in audio.codecs {
        let (name, clock) = (codec.name(), codec.clock());
        push(text, format_args!("a=rtpmap:{pt} {name}/{clock}"));
    }
    if let Some(EventFormat { pt, clock }) = audio.event {
        push(text, format_args!("a=rtpmap:{pt} telephone-event/{clock}"));
        push(text, format_args!("a=fmtp:{pt} 0-16"));
    }
    push(text, format_args!("a=ptime:{}", audio.ptime_ms));
    push(text, format_args!("a={}", audio.direction.name()));
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = write!(text, "{line}\r\n");
}

/// Addresses stand bare in SDP, IPv6 too.
fn address(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("IN IP4 {ip}"),
        IpAddr::V6(ip) => format!("IN IP6 {ip}"),
    }
}
