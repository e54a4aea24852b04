//! SIP messages, as a datagram and as a stream.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kaphila_sip::wire::fuzz_wire(data));
