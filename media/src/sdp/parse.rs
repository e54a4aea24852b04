//! Bytes → the few things of a session description that we act on.
//!
//! It knows the lines of RFC 8866 and forgives whatever does not touch the audio: line ends, order,
//! unknown lines and attributes, broken text in names, numbers of `o=` of any size (they are not
//! read at all). It refuses only what it cannot follow: a broken `m=` line, or one bound exceeded.
#![warn(clippy::indexing_slicing)]

use std::net::IpAddr;

use super::{Codec, Direction, EventFormat, SdpError};

/// A body longer than this is refused. The longest seen from a telephone with ICE is 6 kB.
pub(super) const MAX_BODY_BYTES: usize = 16 * 1024;

/// More `m=` lines than this are refused: each must be answered, and we take one.
pub(super) const MAX_MEDIA: usize = 16;

/// Payload types of one `m=` line that are looked at; the further ones are as if not offered.
const MAX_PAYLOAD_TYPES: usize = 64;

/// The parsed body: its `m=` lines in order.
#[derive(Debug)]
pub(super) struct Description<'a> {
    pub(super) media: Vec<Media<'a>>,
}

/// One `m=` line with its attributes; what the session level says is filled in.
#[derive(Clone, Debug)]
pub(super) struct Media<'a> {
    pub(super) kind: &'a str,
    /// 0: the stream is switched off.
    pub(super) port: u16,
    pub(super) profile: &'a str,
    /// The format list as it stands, at most [`MAX_PAYLOAD_TYPES`].
    formats: Vec<&'a str>,
    rtpmaps: Vec<(u8, &'a str)>,
    level: Level<'a>,
    /// `a=rtcp`: port and, where given, address (RFC 3605).
    pub(super) rtcp: Option<(u16, Option<IpAddr>)>,
}

/// What may stand at the session level or in a media section.
#[derive(Clone, Copy, Debug, Default)]
struct Level<'a> {
    connection: Option<&'a str>,
    direction: Option<Direction>,
    ptime: Option<u32>,
    maxptime: Option<u32>,
}

/// What a payload type of an `m=` line means to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Audio(u8, Codec),
    Event(EventFormat),
}

impl Format {
    pub(super) fn pt(self) -> u8 {
        match self {
            Self::Audio(pt, _) | Self::Event(EventFormat { pt, .. }) => pt,
        }
    }
}

/// Reads `text`; see the module for what is forgiven.
pub(super) fn parse(text: &str) -> Result<Description<'_>, SdpError> {
    if text.len() > MAX_BODY_BYTES {
        return Err(SdpError::TooLarge("body"));
    }
    let mut session = Level::default();
    let mut media: Vec<Media<'_>> = Vec::new();
    for line in text.split(['\r', '\n']).map(str::trim) {
        let Some((kind, value)) = line.split_once('=') else {
            continue;
        };
        if kind == "m" {
            if media.len() == MAX_MEDIA {
                return Err(SdpError::TooLarge("number of m= lines"));
            }
            media.push(Media::parse(value)?);
            continue;
        }
        match (kind, media.last_mut()) {
            ("c", None) => session.handle_connection(value),
            ("c", Some(media)) => media.level.handle_connection(value),
            ("a", None) => session.handle_attribute(value),
            ("a", Some(media)) => media.handle_attribute(value),
            _ => {}
        }
    }
    for media in &mut media {
        media.level.inherit(session);
    }
    Ok(Description { media })
}

impl<'a> Media<'a> {
    /// `audio 49170/2 RTP/AVP 0 8 101` (RFC 8866 §5.14).
    fn parse(value: &'a str) -> Result<Self, SdpError> {
        if value.contains(|c: char| c.is_control() && c != '\t') {
            return Err(SdpError::Syntax("control character in an m= line"));
        }
        let mut words = value.split_ascii_whitespace();
        let (Some(kind), Some(port), Some(profile)) = (words.next(), words.next(), words.next())
        else {
            return Err(SdpError::Syntax("m= line too short"));
        };
        let port = port.split('/').next().unwrap_or_default();
        let Ok(port) = port.parse() else {
            return Err(SdpError::Syntax("m= line without a port"));
        };
        Ok(Self {
            kind,
            port,
            profile,
            formats: words.take(MAX_PAYLOAD_TYPES).collect(),
            rtpmaps: Vec::new(),
            level: Level::default(),
            rtcp: None,
        })
    }

    fn handle_attribute(&mut self, attribute: &'a str) {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        match name.to_ascii_lowercase().as_str() {
            "rtpmap" => {
                let mut words = value.split_ascii_whitespace();
                let pt = words.next().and_then(|pt| pt.parse().ok());
                if let (Some(pt), Some(encoding)) = (pt, words.next())
                    && self.rtpmaps.len() < MAX_PAYLOAD_TYPES
                {
                    self.rtpmaps.push((pt, encoding));
                }
            }
            "rtcp" => {
                let mut words = value.split_ascii_whitespace();
                let port = words.next().and_then(|port| port.parse().ok());
                let address = words.nth(2).and_then(parse_address);
                self.rtcp = port.filter(|&port| port != 0).map(|port| (port, address));
            }
            _ => self.level.handle_attribute(attribute),
        }
    }

    pub(super) fn is_audio(&self) -> bool {
        self.kind.eq_ignore_ascii_case("audio")
    }

    /// The value of the `c=` line that holds here.
    pub(super) fn connection(&self) -> Option<&'a str> {
        self.level.connection
    }

    pub(super) fn direction(&self) -> Direction {
        self.level.direction.unwrap_or_default()
    }

    pub(super) fn ptime(&self) -> Option<u32> {
        self.level.ptime
    }

    pub(super) fn maxptime(&self) -> Option<u32> {
        self.level.maxptime
    }

    /// The first word of the format list, to be repeated when the stream is refused.
    pub(super) fn first_format(&self) -> Option<&'a str> {
        self.formats.first().copied()
    }

    /// The formats that mean something to us, in the order of the `m=` line.
    pub(super) fn known_formats(&self) -> impl Iterator<Item = Format> + '_ {
        self.formats
            .iter()
            .filter_map(|word| word.parse().ok())
            .filter(|pt| *pt < 128)
            .filter_map(|pt| self.format(pt))
    }

    fn format(&self, pt: u8) -> Option<Format> {
        let mut rtpmaps = self.rtpmaps.iter();
        match rtpmaps.find(|(known, _)| *known == pt) {
            Some((_, encoding)) => parse_encoding(pt, encoding),
            None => Codec::from_static_pt(pt).map(|codec| Format::Audio(pt, codec)),
        }
    }
}

impl<'a> Level<'a> {
    /// The first of several counts: further ones are for layered multicast (RFC 8866 §5.7).
    fn handle_connection(&mut self, value: &'a str) {
        self.connection.get_or_insert(value);
    }

    fn handle_attribute(&mut self, attribute: &'a str) {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        if let Some(direction) = Direction::from_name(attribute.trim()) {
            self.direction = Some(direction);
        } else if name.eq_ignore_ascii_case("ptime") {
            self.ptime = value.trim().parse().ok();
        } else if name.eq_ignore_ascii_case("maxptime") {
            self.maxptime = value.trim().parse().ok();
        }
    }

    fn inherit(&mut self, session: Self) {
        self.connection = self.connection.or(session.connection);
        self.direction = self.direction.or(session.direction);
        self.ptime = self.ptime.or(session.ptime);
        self.maxptime = self.maxptime.or(session.maxptime);
    }
}

/// `PCMU/8000`, `telephone-event/8000`, `opus/48000/2` (RFC 8866 §6.6).
fn parse_encoding(pt: u8, encoding: &str) -> Option<Format> {
    let mut parts = encoding.split('/');
    let (name, clock, channels) = (parts.next()?, parts.next()?, parts.next());
    let clock: u32 = clock.parse().ok()?;
    if name.eq_ignore_ascii_case("telephone-event") {
        return (clock > 0).then_some(Format::Event(EventFormat { pt, clock }));
    }
    let codec = Codec::from_name(name)?;
    let ours = clock == codec.clock() && matches!(channels, None | Some("1"));
    ours.then_some(Format::Audio(pt, codec))
}

/// The address of `IN IP4 192.0.2.1/127` or `IN IP6 2001:db8::1`; an error tells what it is instead.
pub(super) fn connection_address(value: Option<&str>) -> Result<IpAddr, SdpError> {
    let value = value.ok_or_else(|| SdpError::Address("no c= line".to_owned()))?;
    let address = value.split_ascii_whitespace().nth(2).unwrap_or_default();
    let unusable = || SdpError::Address(excerpt(value));
    let address = address.split('/').next().and_then(parse_address);
    address.filter(|address| !address.is_multicast()).ok_or_else(unusable)
}

/// Brackets do not belong around an address in SDP, and some write them.
fn parse_address(word: &str) -> Option<IpAddr> {
    let bare = word.strip_prefix('[').and_then(|word| word.strip_suffix(']'));
    bare.unwrap_or(word).parse().ok()
}

/// As much of the peer's text as an error should carry.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(48).collect()
}
