#![no_main]
//! WAV files: header, samples, resampling.

libfuzzer_sys::fuzz_target!(|data: &[u8]| kaphila_media::play::fuzz_wav(data));
