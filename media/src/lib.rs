//! Kaphila's media plane: SDP, RTP and RTCP, codecs, digits, the answering machine detector,
//! playback, recording, and the threads that carry them.
//!
//! It knows one call's audio at a time. It refuses to know SIP, HTTP, databases and money. Start at
//! [`session`] (the sans-IO media of one call) and [`engine`] (the threads that run many).
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "only the clock makes an Instant: it is the zero of a test's own time"
    )
)]

pub mod amd;
pub mod codec;
pub mod dtmf;
pub mod engine;
pub mod jitter;
pub mod mix;
pub mod net;
pub mod play;
pub mod plc;
pub mod port;
pub mod quality;
pub mod reception;
pub mod record;
pub mod resample;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod session;
pub mod source;
pub mod spool;
pub mod wheel;
pub mod worker;
