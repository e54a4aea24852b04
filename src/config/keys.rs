//! Every configuration key: its name, shape, default and what it does. The template that
//! `kaphila init` writes, `kaphila config` and the loader all read this one table.

/// What a value must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One or more `host:port`.
    Listen,
    /// Text.
    Text,
    /// A list of texts.
    TextList,
    /// A file or folder, relative to the configuration file's folder.
    Path,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// Seconds, or a string with a unit (`"250ms"`, `"4h"`).
    Duration,
    /// A list of durations.
    DurationList,
    /// Bytes, or a string with a unit (`"1MiB"`).
    Size,
    /// `"first-last"`.
    Ports,
}

impl Kind {
    /// The shape in words, for an error message.
    #[must_use]
    pub const fn expected(self) -> &'static str {
        match self {
            Self::Listen => "an address with a port such as \"127.0.0.1:3000\", or a list of them",
            Self::Text => "a string",
            Self::TextList => "a list of strings",
            Self::Path => "a path",
            Self::Integer => "a whole number",
            Self::Boolean => "true or false",
            Self::Duration => "a duration such as 30 (seconds), \"250ms\" or \"4h\"",
            Self::DurationList => "a list of durations such as [1, 5, \"2m\"]",
            Self::Size => "a size such as 1048576 or \"1MiB\"",
            Self::Ports => "a port range such as \"10000-20000\"",
        }
    }
}

/// One configuration key.
#[derive(Debug)]
pub struct Key {
    /// `section.name`.
    pub name: &'static str,
    /// Its shape.
    pub kind: Kind,
    /// Its default, as TOML. `<data>` stands for `paths.data`.
    pub default: &'static str,
    /// What it does, in a sentence or two.
    pub help: &'static str,
}

const fn key(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Key {
    Key { name, kind, default, help }
}

/// All keys, in the order of the template.
pub const KEYS: &[Key] = &[
    key(
        "http.listen",
        Kind::Listen,
        r#"["127.0.0.1:3000", "[::1]:3000"]"#,
        "Where the customers' REST API listens.",
    ),
    key(
        "http.tls_cert",
        Kind::Path,
        r#""""#,
        "The certificate of HTTPS, with those between it and the authority (PEM); empty: plain HTTP.",
    ),
    key(
        "http.tls_key",
        Kind::Path,
        r#""""#,
        "The certificate's key (PEM: PKCS#8, PKCS#1 or SEC1). SIGHUP re-reads both.",
    ),
    key(
        "http.trusted_proxies",
        Kind::TextList,
        "[]",
        "Proxies (addresses or networks) whose X-Forwarded-For tells the client's address in the log.",
    ),
    key("http.max_body", Kind::Size, r#""1MiB""#, "The largest request body; more is 413."),
    key(
        "admin.listen",
        Kind::Listen,
        r#""127.0.0.1:3001""#,
        "Where /metrics, /ready and /live are served; never the customers' API.",
    ),
    key(
        "sip.udp",
        Kind::Listen,
        r#""0.0.0.0:5060""#,
        "Where SIP over UDP is sent from and received.",
    ),
    key(
        "sip.tcp",
        Kind::Listen,
        "[]",
        "Where SIP over TCP is listened on, such as \"0.0.0.0:5060\"; none: trunks may be dialled over \
         TCP all the same, and send their own requests by UDP.",
    ),
    key(
        "sip.tls",
        Kind::Listen,
        "[]",
        "Where SIP over TLS is listened on, such as \"0.0.0.0:5061\"; none: trunks may be dialled over \
         TLS all the same, and send their own requests over the connection of the call.",
    ),
    key(
        "sip.tls_cert",
        Kind::Path,
        r#""""#,
        "Our certificate for SIP over TLS, with those between it and the authority (PEM): shown to who \
         connects to sip.tls, and to trunks that ask for it.",
    ),
    key(
        "sip.tls_key",
        Kind::Path,
        r#""""#,
        "The certificate's key (PEM: PKCS#8, PKCS#1 or SEC1). SIGHUP re-reads both.",
    ),
    key(
        "sip.tls_ca",
        Kind::Path,
        r#""""#,
        "Authorities (PEM) whose certificates trunks may show besides those that the system trusts.",
    ),
    key(
        "sip.public_address",
        Kind::TextList,
        "[]",
        "The addresses written into Via and Contact, before a NAT: one of IPv4, one of IPv6; none: the \
         one of the route to the trunk.",
    ),
    key(
        "sip.dns_servers",
        Kind::TextList,
        "[]",
        "DNS servers that are asked where trunks are; none: the system's. Names are looked up as \
         RFC 3263 says: NAPTR, SRV, A and AAAA.",
    ),
    key("sip.user_agent", Kind::Text, r#""Kaphila""#, "The User-Agent and Server header."),
    key("sip.timer_t1_ms", Kind::Integer, "500", "RFC 3261 timer T1 in milliseconds, 50 to 2000."),
    key(
        "sip.dscp",
        Kind::Text,
        r#""CS3""#,
        "The DSCP mark of SIP packets: a name (CS3, EF, AF31 …) or 0-63.",
    ),
    key(
        "media.address",
        Kind::Text,
        r#""""#,
        "The local address of RTP sockets; empty: the address of the first sip.udp listener.",
    ),
    key(
        "media.public_address",
        Kind::Text,
        r#""""#,
        "The address written into SDP; empty: that of the route to the trunk.",
    ),
    key(
        "media.ports",
        Kind::Ports,
        r#""10000-20000""#,
        "UDP ports for RTP and RTCP, a pair a call.",
    ),
    key("media.workers", Kind::Text, r#""auto""#, "Media threads; auto: one a core."),
    key("media.calls_per_port", Kind::Integer, "1", "Calls that share a port; only 1 is built."),
    key(
        "media.codecs",
        Kind::TextList,
        r#"["PCMU", "PCMA"]"#,
        "Codecs offered, the preferred first.",
    ),
    key(
        "media.dtmf",
        Kind::Text,
        r#""auto""#,
        "How key presses are heard, beside SIP INFO: rfc4733 (telephone-events), inband (tones), both, or auto: tones where telephone-events were not agreed.",
    ),
    key(
        "media.rtp_timeout",
        Kind::Duration,
        "60",
        "An answered call from which no RTP comes for this long ends media_timeout; 0 is off.",
    ),
    key("media.dscp", Kind::Text, r#""EF""#, "The DSCP mark of RTP packets."),
    key(
        "media.max_calls",
        Kind::Text,
        r#""auto""#,
        "Calls at once before 503 AT_CAPACITY; auto: what ports and cores carry.",
    ),
    key(
        "database.url",
        Kind::Text,
        r#""sqlite://<data>/kaphila.db""#,
        "The database: sqlite://FILE or postgres://USER@HOST/NAME.",
    ),
    key(
        "database.sync",
        Kind::Text,
        r#""normal""#,
        "normal survives kill -9; full survives a power loss too, at a cost a call.",
    ),
    key(
        "database.keep_calls",
        Kind::Duration,
        r#""400d""#,
        "How long the rows of ended calls are kept.",
    ),
    key("paths.data", Kind::Path, r#""./data""#, "The server's own folder, locked while it runs."),
    key("paths.recordings", Kind::Path, r#""<data>/recordings""#, "Where recordings are written."),
    key("paths.sounds", Kind::Path, r#""./sounds""#, "The WAV files that /play may name."),
    key("amd.mode", Kind::Text, r#""classic""#, "The detector; only classic is built."),
    key(
        "amd.initial_silence",
        Kind::Duration,
        r#""2500ms""#,
        "Silence before any word of at least this: INITIALSILENCE.",
    ),
    key("amd.greeting", Kind::Duration, r#""1500ms""#, "Voice in all of at least this: MACHINE."),
    key(
        "amd.after_greeting_silence",
        Kind::Duration,
        r#""800ms""#,
        "Silence of at least this after a word: HUMAN.",
    ),
    key("amd.total_analysis_time", Kind::Duration, r#""5s""#, "No verdict by then: NOTSURE."),
    key("amd.min_word_length", Kind::Duration, r#""100ms""#, "A voiced run that counts as a word."),
    key(
        "amd.between_words_silence",
        Kind::Duration,
        r#""50ms""#,
        "Silence of at least this ends a word.",
    ),
    key("amd.maximum_number_of_words", Kind::Integer, "2", "More words than this: MACHINE."),
    key(
        "amd.maximum_word_length",
        Kind::Duration,
        r#""5s""#,
        "One voiced run of at least this: MACHINE.",
    ),
    key(
        "amd.silence_threshold",
        Kind::Integer,
        "256",
        "A frame whose mean level is below this (0-32767) is silent.",
    ),
    key(
        "amd.initial_silence_status",
        Kind::Text,
        r#""HUMAN""#,
        "What a line that stays silent counts as: HUMAN, MACHINE or NOTSURE.",
    ),
    key(
        "tts.engine",
        Kind::Text,
        r#""auto""#,
        "Speech: auto is Google where one of the two files below is set, then gTTS where it is on, and local (flite for English, espeak-ng for other languages) should they fail; google requires one of the files; local asks nobody.",
    ),
    key(
        "tts.google_credentials_file",
        Kind::Path,
        r#""""#,
        "The JSON of a Google Cloud service account that may use Text-to-Speech.",
    ),
    key(
        "tts.google_api_key_file",
        Kind::Path,
        r#""""#,
        "A file that holds a Google Cloud API key, in place of a service account.",
    ),
    key(
        "tts.google_endpoint",
        Kind::Text,
        r#""https://texttospeech.googleapis.com""#,
        "Where Google Cloud Text-to-Speech is asked.",
    ),
    key(
        "tts.gtts",
        Kind::Boolean,
        "false",
        "Ask Google Translate's speech too: no key and no promise, and texts go there.",
    ),
    key(
        "tts.gtts_endpoint",
        Kind::Text,
        r#""https://translate.google.com""#,
        "Where gTTS is asked.",
    ),
    key("tts.cache_mb", Kind::Integer, "256", "Disk kept for spoken prompts, in MiB."),
    key("webhooks.allow_http", Kind::Boolean, "false", "Allow http:// receivers besides https://."),
    key(
        "webhooks.allow_private",
        Kind::Boolean,
        "false",
        "Allow receivers on loopback, private and link-local addresses.",
    ),
    key(
        "webhooks.timeout_ms",
        Kind::Integer,
        "5000",
        "How long a receiver may take, in milliseconds.",
    ),
    key(
        "webhooks.retry",
        Kind::DurationList,
        r#"[1, 5, 30, 120, 600]"#,
        "Pauses between attempts; then hourly until 24 h have passed.",
    ),
    key(
        "calls.default_ring_timeout",
        Kind::Duration,
        "30",
        "ringTimeout where a request has none.",
    ),
    key(
        "calls.max_duration",
        Kind::Duration,
        r#""4h""#,
        "The longest answered call; it ends max_duration.",
    ),
    key(
        "calls.answer_after_trying_ms",
        Kind::Integer,
        "1000",
        "/makecall answers at the latest this long after the first 100 Trying.",
    ),
    key(
        "calls.answer_within_ms",
        Kind::Integer,
        "10000",
        "/makecall answers within this, whatever happens.",
    ),
    key(
        "calls.record",
        Kind::Boolean,
        "true",
        "Record calls unless a request or its key says otherwise.",
    ),
    key(
        "calls.deny_numbers",
        Kind::TextList,
        r#"["112", "911", "999", "000", "110", "118", "119"]"#,
        "Numbers that are never dialled: 403 DESTINATION_DENIED.",
    ),
    key(
        "log.level",
        Kind::Text,
        r#""info""#,
        "error, warn, info, debug, trace, or a RUST_LOG filter.",
    ),
    key(
        "log.format",
        Kind::Text,
        r#""auto""#,
        "text, json, or auto: text on a terminal, else json.",
    ),
];

/// Keys that the documentation names and this version does not have: `(name, what to do)`.
pub const NOT_BUILT: &[(&str, &str)] =
    &[("paths.spool", "recordings are written to paths.recordings directly")];

/// The key of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The known name nearest to `name`, if one is near enough to be meant.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static str> {
    KEYS.iter()
        .map(|key| (edit_distance(name, key.name), key.name))
        .min()
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .map(|(_, known)| known)
}

fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(&b) {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = *cell;
            left = substituted.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_name_is_found() {
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(nearest("http.lisen"), Some("http.listen"));
        assert_eq!(nearest("webhook.allow_http"), Some("webhooks.allow_http"));
        assert_eq!(nearest("zzz"), None);
    }

    #[test]
    fn names_are_unique_and_have_a_section() {
        let mut names: Vec<_> = KEYS.iter().map(|key| key.name).collect();
        names.extend(NOT_BUILT.iter().map(|(name, _)| *name));
        assert!(names.iter().all(|name| name.matches('.').count() == 1));
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
