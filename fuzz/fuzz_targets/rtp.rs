#![no_main]
//! RTP, RTCP, telephone-events and commands into a session.

use std::time::Instant;

libfuzzer_sys::fuzz_target!(|data: &[u8]| kaphila_media::session::fuzz_rtp(Instant::now(), data));
