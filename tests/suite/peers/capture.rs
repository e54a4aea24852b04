//! Captures of RTP for SIPp to play: Debian's of key presses, and our own of silence and voice.

use std::path::{Path, PathBuf};

/// Captures that come with SIPp: RFC 4733 events of payload type 101, each with three end packets.
const SHIPPED: &str = "/usr/share/sip-tester";

/// Octets of 20 ms of G.711.
const FRAME: usize = 160;

/// Whether SIPp can play captures here; if not, says so where `scripts/test` counts it.
pub(super) fn can_be_played() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: SIPp plays captures through a raw socket, as root only");
    }
    is_root
}

/// The capture of a key, as SIPp calls it: `7`, `star`, `pound`; `None` where none came with SIPp.
pub(super) fn of_key(key: &str) -> Option<PathBuf> {
    let file = Path::new(SHIPPED).join(format!("dtmf_2833_{key}.pcap"));
    let found = file.exists();
    if !found {
        println!("skipped: no captures of digits in {SHIPPED}");
    }
    found.then_some(file)
}

/// Writes a capture of PCMU, one packet each 20 ms: silence and voice in turn, for so many
/// milliseconds, silence first.
pub(super) fn write(file: &Path, turns: &[u32]) {
    // µ-law: silence, and a square wave of 500 Hz at a quarter of full scale.
    let silence = [0xFF; FRAME];
    let voice: [u8; FRAME] = std::array::from_fn(|at| if at / 8 % 2 == 0 { 0x9F } else { 0x1F });
    let payloads = turns.iter().zip([silence, voice].into_iter().cycle());
    let frames = payloads.flat_map(|(ms, payload)| std::iter::repeat_n(payload, *ms as usize / 20));
    write_frames(file, frames);
}

/// Writes a capture of this PCMU, one packet each 20 ms.
pub(super) fn write_pcmu(file: &Path, audio: &[u8]) {
    let frame = |chunk: &[u8]| std::array::from_fn(|at| chunk.get(at).copied().unwrap_or(0xFF));
    write_frames(file, audio.chunks(FRAME).map(frame));
}

fn write_frames(file: &Path, frames: impl Iterator<Item = [u8; FRAME]>) {
    // libpcap's header: microseconds, version 2.4, Ethernet.
    let mut bytes = Vec::new();
    bytes.extend(0xA1B2_C3D4_u32.to_le_bytes());
    bytes.extend([2_u16, 4].map(u16::to_le_bytes).concat());
    bytes.extend([0_u32, 0, 65_535, 1].map(u32::to_le_bytes).concat());
    for (at, payload) in frames.enumerate() {
        let packet = packet(at as u32, &payload);
        let micros = at as u32 * 20_000;
        let length = packet.len() as u32;
        let header = [micros / 1_000_000, micros % 1_000_000, length, length];
        bytes.extend(header.map(u32::to_le_bytes).concat());
        bytes.extend(packet);
    }
    std::fs::write(file, bytes).unwrap();
}

/// RTP in UDP in IPv4 in Ethernet; addresses and ports are SIPp's to fill in.
fn packet(at: u32, payload: &[u8]) -> Vec<u8> {
    let rtp = 12 + payload.len() as u16;
    let mut bytes = vec![0; 12];
    bytes.extend(0x0800_u16.to_be_bytes());
    bytes.extend([0x45, 0]);
    bytes.extend((20 + 8 + rtp).to_be_bytes());
    bytes.extend([0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
    bytes.extend([6_060_u16, 6_060, 8 + rtp, 0].map(u16::to_be_bytes).concat());
    bytes.extend([0x80, 0]);
    bytes.extend((at as u16).to_be_bytes());
    bytes.extend((at * FRAME as u32).to_be_bytes());
    bytes.extend([0, 0, 0, 7]);
    bytes.extend(payload);
    bytes
}
