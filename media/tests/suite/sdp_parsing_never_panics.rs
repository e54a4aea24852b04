//! Arbitrary bytes, and bodies made of the right words in the wrong order.

use kaphila_media::sdp::fuzz_sdp;
use proptest::prelude::*;

/// Words that reach deep into the parser.
const WORDS: [&str; 24] = [
    "\r\n",
    "\n",
    "m=audio 4000 RTP/AVP 0 8 101\r\n",
    "m=audio ",
    "m=video 0 RTP/AVP 31\r\n",
    "c=IN IP4 192.0.2.1\r\n",
    "c=IN IP4 0.0.0.0\r\n",
    "c=IN IP6 ::1\r\n",
    "c=",
    "a=rtpmap:101 telephone-event/8000\r\n",
    "a=rtpmap:101 PCMU/8000\r\n",
    "a=rtpmap:",
    "a=rtcp:65535\r\n",
    "a=ptime:",
    "a=maxptime:",
    "a=sendonly\r\n",
    "a=inactive\r\n",
    "99999999999999999999",
    " ",
    "/",
    ":",
    "=",
    "65535 RTP/AVPF 97",
    "\u{0}\u{7f}é",
];

proptest! {
    #[test]
    fn of_random_bytes(data in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        fuzz_sdp(&data);
    }

    #[test]
    fn of_shuffled_words(words in proptest::collection::vec(0..WORDS.len(), 0..80)) {
        let text: String = words.into_iter().map(|at| WORDS[at]).collect();
        fuzz_sdp(text.as_bytes());
    }
}
