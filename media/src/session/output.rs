//! Packets on their way out of a session, in one buffer that its worker reuses for all its calls.

use std::net::{Ipv4Addr, SocketAddr};

/// Packets one tick may give: one of audio, three that end a digit, two of RTCP.
pub const MAX_PACKETS: usize = 6;

/// Longest packet we send: 60 ms of G.711 and the RTP header are 492 bytes, an RTCP compound less.
pub const MAX_PACKET: usize = 512;

/// Which of the call's two ports a packet leaves from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// The RTP port.
    Rtp,
    /// The RTCP port, one above.
    Rtcp,
}

/// One packet to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit<'a> {
    /// The port it leaves from.
    pub channel: Channel,
    /// Where it goes.
    pub to: SocketAddr,
    /// Its bytes.
    pub data: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    channel: Channel,
    to: SocketAddr,
    len: usize,
}

/// What one tick sends. Never allocates after [`TickOutput::new`].
#[derive(Debug)]
pub struct TickOutput {
    slots: [Slot; MAX_PACKETS],
    buffer: Box<[[u8; MAX_PACKET]; MAX_PACKETS]>,
    used: usize,
}

impl Default for TickOutput {
    fn default() -> Self {
        Self::new()
    }
}

impl TickOutput {
    /// An empty one.
    pub fn new() -> Self {
        let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        let slot = Slot { channel: Channel::Rtp, to: nowhere, len: 0 };
        let buffer = Box::new([[0; MAX_PACKET]; MAX_PACKETS]);
        Self { slots: [slot; MAX_PACKETS], buffer, used: 0 }
    }

    /// Forgets all packets. [`super::Session::tick`] adds to what is there.
    pub fn clear(&mut self) {
        self.used = 0;
    }

    /// The packets, in the order in which they must go.
    pub fn packets(&self) -> impl Iterator<Item = Transmit<'_>> {
        let used = self.slots.iter().zip(self.buffer.iter()).take(self.used);
        used.map(|(slot, bytes)| Transmit {
            channel: slot.channel,
            to: slot.to,
            data: bytes.get(..slot.len).unwrap_or(&[]),
        })
    }

    /// True where nothing is to be sent.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Adds a packet that `write` puts into the buffer, telling its length; `None` adds nothing.
    /// False where there is no room left.
    pub(crate) fn push(
        &mut self,
        channel: Channel,
        to: SocketAddr,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> bool {
        let place = self.slots.get_mut(self.used).zip(self.buffer.get_mut(self.used));
        let Some((slot, bytes)) = place else { return false };
        let Some(len) = write(bytes.as_mut_slice()) else { return false };
        *slot = Slot { channel, to, len: len.min(MAX_PACKET) };
        self.used += 1;
        true
    }
}
