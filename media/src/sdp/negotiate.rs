//! Offer and answer of one leg (RFC 3264).
#![warn(clippy::indexing_slicing)]

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use super::parse::{self, Description, Format, Media};
use super::write::{self, Audio, Section};
use super::{Agreed, Capabilities, Codec, Direction, EventFormat, SdpError};

/// The payload type of our telephone-events while the peer has not named one.
const EVENT_PT: u8 = 101;

/// The packet lengths that we can send, in ms, the shortest first.
const PTIMES_MS: [u8; 5] = [10, 20, 30, 40, 60];

/// The profiles that we speak. AVPF without feedback attributes is AVP (RFC 4585 §3.4.2).
const PROFILES: [&str; 2] = ["RTP/AVP", "RTP/AVPF"];

/// The offer/answer state of one leg.
///
/// ```text
///             offer()                    handle_answer()
///   ┌──────┐ ─────────► ┌───────────────┐ ─────────► ┌────────┐ ◄─┐
///   │ new  │            │ offered       │            │ agreed │   │ handle_offer(), and
///   └──────┘ ◄───────── │ (old one kept)│ ◄───────── └────────┘ ──┘ offer() again
///             an error leaves everything as it was
/// ```
#[derive(Clone, Debug)]
pub struct Negotiation {
    capabilities: Capabilities,
    local: SocketAddr,
    session_id: u64,
    /// The `o=` version of the last body, and that body after its `o=` line.
    version: u64,
    last: Option<String>,
    /// Whether our own offer was the last; stays after its answer, since a 183 and the 200 after it
    /// both answer.
    is_offering: bool,
    agreed: Option<Agreed>,
    /// What each payload type has meant so far, in our offers and in what we took of theirs; it
    /// never means something else (RFC 3264 §8.3.2).
    bound: Vec<Format>,
    layout: Layout,
}

/// The `m=` lines of the session: theirs and ours stay at the same place (RFC 3264 §8).
#[derive(Clone, Debug)]
struct Layout {
    /// The streams we refused, in order; `None` is the audio.
    lines: Vec<Option<String>>,
    profile: &'static str,
}

impl Negotiation {
    /// The state before anything was said. `local` is the address and port that the peer is to send
    /// to; `session_id` is random, its top bit is dropped for peers that read `o=` signed.
    pub fn new(capabilities: Capabilities, local: SocketAddr, session_id: u64) -> Self {
        let [profile, _] = PROFILES;
        Self {
            capabilities,
            local,
            session_id: session_id >> 1,
            version: 1,
            last: None,
            is_offering: false,
            agreed: None,
            bound: Vec::new(),
            layout: Layout { lines: vec![None], profile },
        }
    }

    /// What holds now.
    pub fn agreed(&self) -> Option<&Agreed> {
        self.agreed.as_ref()
    }

    /// Our offer: everything we are capable of, in our order, under the payload types that this
    /// session has used before.
    pub fn offer(&mut self) -> Bytes {
        let codecs = self.capabilities.codecs.iter();
        let codecs: Vec<_> = codecs.map(|&codec| (self.pt_of(codec), codec)).collect();
        let clock = codecs.first().map_or(8_000, |(_, codec)| codec.clock());
        let event = self.capabilities.telephone_event.then(|| self.event_format(clock));
        let audio = codecs.iter().map(|&(pt, codec)| Format::Audio(pt, codec));
        let offered: Vec<_> = audio.chain(event.map(Format::Event)).collect();
        self.bind(&offered);
        let body = self.write(&Audio {
            profile: self.layout.profile,
            codecs: &codecs,
            event,
            ptime_ms: self.capabilities.ptime_ms,
            direction: Direction::SendRecv,
        });
        self.is_offering = true;
        body
    }

    /// The peer's answer to our offer. A repeated one (a 183, then the 200) is taken again and the
    /// last counts; one that comes after the peer has itself offered changes nothing.
    ///
    /// # Errors
    /// When it cannot be read or takes nothing of ours; what was agreed before still holds.
    pub fn handle_answer(&mut self, body: &[u8]) -> Result<Agreed, SdpError> {
        if !self.is_offering {
            return self.agreed.ok_or(SdpError::NotOffered);
        }
        let text = String::from_utf8_lossy(body);
        let description = parse::parse(&text)?;
        let stream = self.pick_stream(&description)?;
        self.bind(&stream.formats);
        let agreed = self.settle(&stream);
        self.agreed = Some(agreed);
        Ok(agreed)
    }

    /// The peer's offer, first or again: our answer and what it settles. The answer takes the
    /// offer's first codec that is ours, refuses further streams, and mirrors profile and direction.
    ///
    /// # Errors
    /// When the offer cannot be read or has nothing for us: answer 488; what was agreed before
    /// still holds.
    pub fn handle_offer(&mut self, body: &[u8]) -> Result<(Bytes, Agreed), SdpError> {
        let text = String::from_utf8_lossy(body);
        let description = parse::parse(&text)?;
        let stream = self.pick_stream(&description)?;
        self.bind(&stream.formats);
        let agreed = self.settle(&stream);
        let (index, profile) = (stream.index, stream.profile);
        let lines = description.media.iter().enumerate();
        self.layout = Layout {
            lines: lines.map(|(at, media)| (at != index).then(|| refused(media))).collect(),
            profile,
        };
        let answer = self.write(&Audio {
            profile,
            codecs: &[(agreed.send_pt, agreed.send)],
            event: agreed.event_send,
            ptime_ms: agreed.ptime_ms,
            direction: agreed.direction,
        });
        self.is_offering = false;
        self.agreed = Some(agreed);
        Ok((answer, agreed))
    }

    /// The first audio stream that we can take; if there is none, why not the first one.
    fn pick_stream(&self, description: &Description<'_>) -> Result<Stream, SdpError> {
        let mut refusal = SdpError::NoAudio;
        let streams = description.media.iter().enumerate();
        for (index, media) in streams.filter(|(_, media)| media.is_audio() && media.port != 0) {
            match self.read_stream(index, media) {
                Ok(stream) => return Ok(stream),
                Err(reason) if refusal == SdpError::NoAudio => refusal = reason,
                Err(_) => {}
            }
        }
        Err(refusal)
    }

    fn read_stream(&self, index: usize, media: &Media<'_>) -> Result<Stream, SdpError> {
        let mut profiles = PROFILES.into_iter();
        let profile = profiles
            .find(|known| known.eq_ignore_ascii_case(media.profile))
            .ok_or_else(|| SdpError::Profile(parse::excerpt(media.profile)))?;
        let formats: Vec<Format> =
            media.known_formats().filter(|format| self.is_usable(*format)).collect();
        let send = formats.iter().find_map(|format| match *format {
            Format::Audio(pt, codec) => Some((pt, codec)),
            Format::Event(_) => None,
        });
        let send = send.ok_or(SdpError::NoCommonCodec)?;
        let ip = parse::connection_address(media.connection())?;
        if ip.is_ipv4() != self.local.is_ipv4() && !ip.is_unspecified() {
            return Err(SdpError::Address(format!("{ip} from {}", self.local.ip())));
        }
        Ok(Stream {
            index,
            profile,
            formats,
            send,
            remote: SocketAddr::new(ip, media.port),
            remote_rtcp: rtcp_address(media, ip),
            direction: our_direction(media, ip),
            ptime: media.ptime(),
            maxptime: media.maxptime(),
        })
    }

    /// Ours, and its payload type never meant anything else.
    fn is_usable(&self, format: Format) -> bool {
        let capable = match format {
            Format::Audio(_, codec) => self.capabilities.codecs.contains(&codec),
            Format::Event(_) => self.capabilities.telephone_event,
        };
        let mut bound = self.bound.iter();
        capable && bound.all(|known| known.pt() != format.pt() || *known == format)
    }

    fn bind(&mut self, formats: &[Format]) {
        for &format in formats {
            // At most one entry a payload type, so at most 128.
            if !self.bound.iter().any(|known| known.pt() == format.pt()) {
                self.bound.push(format);
            }
        }
    }

    /// What holds with this stream. We take what it names and whatever was named before: a payload
    /// type is never remapped, so a packet that is late, or sent as offered instead of as answered,
    /// still means the same.
    fn settle(&self, stream: &Stream) -> Agreed {
        let (send_pt, send) = stream.send;
        let event_send = stream.formats.iter().find_map(|format| match *format {
            Format::Event(event) if event.clock == send.clock() => Some(event),
            _ => None,
        });
        let formats = || stream.formats.iter().chain(&self.bound);
        let receive = formats().filter_map(|format| match *format {
            Format::Audio(pt, codec) => Some((pt, codec)),
            Format::Event(_) => None,
        });
        let event_receive = formats().filter_map(|format| match *format {
            Format::Event(event) => Some(event),
            Format::Audio(..) => None,
        });
        Agreed {
            remote: stream.remote,
            remote_rtcp: stream.remote_rtcp,
            direction: stream.direction,
            send,
            send_pt,
            receive: receive.collect(),
            event_send,
            event_receive: event_receive.collect(),
            ptime_ms: packet_length(self.capabilities.ptime_ms, stream.ptime, stream.maxptime),
        }
    }

    /// Where this codec stood last in this session, else its static place.
    fn pt_of(&self, codec: Codec) -> u8 {
        let agreed = self.agreed.filter(|agreed| agreed.send == codec);
        let bound = self.bound.iter().find_map(|format| match *format {
            Format::Audio(pt, known) if known == codec => Some(pt),
            _ => None,
        });
        let used = agreed.map(|agreed| agreed.send_pt).or(bound);
        used.or(codec.static_pt()).unwrap_or_else(|| self.free_pt())
    }

    fn event_format(&self, clock: u32) -> EventFormat {
        let agreed = self.agreed.and_then(|agreed| agreed.event_send);
        let bound = self.bound.iter().find_map(|format| match *format {
            Format::Event(event) if event.clock == clock => Some(event),
            _ => None,
        });
        let used = agreed.filter(|event| event.clock == clock).or(bound);
        used.unwrap_or_else(|| EventFormat { pt: self.free_pt(), clock })
    }

    /// A dynamic payload type that has no meaning yet.
    fn free_pt(&self) -> u8 {
        let free = |pt: &u8| !self.bound.iter().any(|known| known.pt() == *pt);
        let mut candidates = std::iter::once(EVENT_PT).chain(96..=127);
        candidates.find(free).unwrap_or(EVENT_PT)
    }

    /// The body with this audio; the version goes up if anything but the version changed.
    fn write(&mut self, audio: &Audio<'_>) -> Bytes {
        let sections = self.layout.lines.iter().map(|line| match line {
            None => Section::Audio(*audio),
            Some(refused) => Section::Refused(refused),
        });
        let rest = write::after_origin(self.local, sections);
        if self.last.as_ref().is_some_and(|last| *last != rest) {
            self.version += 1;
        }
        let body = write::body(self.local, self.session_id, self.version, &rest);
        self.last = Some(rest);
        Bytes::from(body)
    }
}

/// What the peer's body says about the one stream we take.
struct Stream {
    index: usize,
    profile: &'static str,
    /// Ours only, in the peer's order.
    formats: Vec<Format>,
    send: (u8, Codec),
    remote: SocketAddr,
    remote_rtcp: SocketAddr,
    direction: Direction,
    ptime: Option<u32>,
    maxptime: Option<u32>,
}

/// The reverse of the peer's direction; `c=0.0.0.0` is how RFC 2543 said "send me nothing"
/// (RFC 3264 §8.4).
fn our_direction(media: &Media<'_>, ip: IpAddr) -> Direction {
    let theirs = media.direction();
    let receives = theirs.receives() && !ip.is_unspecified();
    Direction::new(receives, theirs.sends())
}

fn rtcp_address(media: &Media<'_>, ip: IpAddr) -> SocketAddr {
    let above = media.port.checked_add(1).unwrap_or(media.port);
    let (port, address) = media.rtcp.unwrap_or((above, None));
    let address = address.filter(|address| address.is_ipv4() == ip.is_ipv4());
    SocketAddr::new(address.unwrap_or(ip), port)
}

/// What the peer asks for, else ours, and never more than it can take; always one of
/// [`PTIMES_MS`] (RFC 3264 §5.1, RFC 8866 §6.4).
fn packet_length(ours: u8, ptime: Option<u32>, maxptime: Option<u32>) -> u8 {
    let known = |wanted: u32| PTIMES_MS.into_iter().find(|ms| u32::from(*ms) == wanted);
    let wanted = ptime.and_then(known).unwrap_or(ours);
    let [shortest, ..] = PTIMES_MS;
    let Some(max) = maxptime.filter(|max| (1..u32::from(wanted)).contains(max)) else {
        return wanted;
    };
    let fitting = PTIMES_MS.into_iter().rev().find(|ms| u32::from(*ms) <= max);
    fitting.unwrap_or(shortest)
}

/// A stream refused: its line with port 0 and one format (RFC 3264 §6).
fn refused(media: &Media<'_>) -> String {
    let format = media.first_format().unwrap_or("0");
    format!("{} 0 {} {format}", media.kind, media.profile)
}
