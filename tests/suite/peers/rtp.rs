//! What arrives at a carrier's RTP port, packet by packet.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::PATIENCE;

/// The fixed header of a packet (RFC 3550 §5.1), and when it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    pub(super) at: Instant,
    pub(super) payload_type: u8,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
}

/// A UDP port that notes what comes.
pub(super) struct Ear {
    pub(super) port: u16,
    heard: Arc<Mutex<Vec<Packet>>>,
    pcmu: Arc<Mutex<Vec<u8>>>,
}

impl Ear {
    pub(super) async fn at(ip: IpAddr) -> Self {
        let socket = UdpSocket::bind((ip, 0)).await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let heard: Arc<Mutex<Vec<Packet>>> = Arc::default();
        let pcmu: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (notes, audio) = (Arc::clone(&heard), Arc::clone(&pcmu));
        tokio::spawn(async move {
            let mut buffer = [0; 2_048];
            while let Ok(length) = socket.recv(&mut buffer).await {
                let four =
                    |from: usize| u32::from_be_bytes(buffer[from..from + 4].try_into().unwrap());
                assert!(length >= 12 && buffer[0] >> 6 == 2, "not RTP: {:?}", &buffer[..length]);
                let packet = Packet {
                    at: Instant::now(),
                    payload_type: buffer[1] & 0x7F,
                    sequence: u16::from_be_bytes([buffer[2], buffer[3]]),
                    timestamp: four(4),
                    ssrc: four(8),
                };
                if packet.payload_type == 0 {
                    audio.lock().unwrap().extend(&buffer[12..length]);
                }
                notes.lock().unwrap().push(packet);
            }
        });
        Self { port, heard, pcmu }
    }

    /// Waits for the first packet.
    pub(super) async fn hears(&self) {
        let first = async {
            while self.heard().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, first).await.expect("no RTP");
    }

    /// The audio that has come, as PCMU.
    pub(super) fn pcmu(&self) -> Vec<u8> {
        self.pcmu.lock().unwrap().clone()
    }

    /// Everything that has come, in order.
    pub(super) fn heard(&self) -> Vec<Packet> {
        self.heard.lock().unwrap().clone()
    }
}
