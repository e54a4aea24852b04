#![no_main]
//! SDP from the wire: parse, answer, answer again.

libfuzzer_sys::fuzz_target!(|data: &[u8]| kaphila_media::sdp::fuzz_sdp(data));
