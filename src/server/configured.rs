//! What the configuration makes of each part of the server.

use std::path::Path;
use std::time::Duration;

use kaphila_media::amd;
use kaphila_media::dtmf::Listening;
use kaphila_media::engine::EngineConfig;
use kaphila_media::sdp::Codec;
use kaphila_sip::endpoint::EndpointConfig;
use kaphila_sip::net::SipConfig;
use kaphila_sip::timer::TimerConfig;

use super::failed;
use crate::call::{Calls, Settings, Timing};
use crate::cli::CliError;
use crate::config::{self, Config, GoogleCredentials};
use crate::http::{self, App};
use crate::store::Store;
use crate::tls::sip::SipTls;
use crate::tts::google::{self, Google};
use crate::tts::gtts::Gtts;
use crate::tts::{Online, Speech};
use crate::webhook;

/// How long an ACK waits for its answer's row at most: a far end repeats its 200 after T1 (500 ms).
const HOLD_ACK: Duration = Duration::from_millis(400);

/// The detector's parameters as configured.
#[must_use]
pub fn amd_params(amd: &config::Amd) -> amd::Params {
    let ms = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    amd::Params {
        initial_silence: ms(amd.initial_silence),
        greeting: ms(amd.greeting),
        after_greeting_silence: ms(amd.after_greeting_silence),
        total_analysis_time: ms(amd.total_analysis_time),
        min_word_length: ms(amd.min_word_length),
        between_words_silence: ms(amd.between_words_silence),
        maximum_number_of_words: amd.maximum_number_of_words,
        maximum_word_length: ms(amd.maximum_word_length),
        silence_threshold: amd.silence_threshold,
        initial_silence_status: amd.initial_silence_status.parse().unwrap_or(amd::Status::Human),
        ..amd::Params::default()
    }
}

/// The speech service of a configuration, its cache in `folder`.
///
/// # Errors
/// Google's files, the folder.
pub fn speech(config: &Config, folder: &Path) -> Result<Speech, CliError> {
    let settings = config.tts.google.as_ref().map(|google| google::Settings {
        endpoint: google.endpoint.clone(),
        credentials: match &google.credentials {
            GoogleCredentials::ApiKey(path) => google::Credentials::ApiKey(path.clone()),
            GoogleCredentials::Account(path) => google::Credentials::Account(path.clone()),
        },
    });
    let google = settings.map(|it| Google::new(&it)).transpose().map_err(failed)?;
    let gtts = config.tts.gtts_endpoint.as_deref().map(Gtts::new).transpose().map_err(failed)?;
    Speech::open(folder, config.tts.cache_bytes, Online { google, gtts }).map_err(failed)
}

pub(super) fn app(config: &Config, calls: &Calls, store: &Store, speech: &'static str) -> App {
    App {
        calls: calls.clone(),
        store: store.clone(),
        recordings: config.paths.recordings.as_path().into(),
        max_body: config.http.max_body,
        webhooks: webhook_options(config).policy,
        ring_timeout: config.calls.default_ring_timeout,
        amd: amd_params(&config.amd),
        speech,
        trusted_proxies: config.http.trusted_proxies.clone().into(),
        answering: http::Answering::default(),
    }
}

pub(super) fn sip_config(config: &Config, tls: SipTls, max_connections: usize) -> SipConfig {
    SipConfig {
        endpoint: EndpointConfig {
            user_agent: config.sip.user_agent.clone(),
            timers: TimerConfig { t1: config.sip.timer_t1, ..TimerConfig::default() },
            seed: rand::random(),
            hold_ack: HOLD_ACK,
            accept_calls: true,
            ..EndpointConfig::default()
        },
        udp: config.sip.udp.clone(),
        tcp: config.sip.tcp.clone(),
        tls: config.sip.tls.clone(),
        with_tls: tls.with,
        max_connections,
        public_addresses: config.sip.public_addresses.clone(),
        dscp: config.sip.dscp,
        ..SipConfig::default()
    }
}

pub(super) fn engine_config(config: &Config) -> EngineConfig {
    EngineConfig {
        workers: config.media.workers,
        address: config.media.address,
        ports: config.media.ports.clone(),
        dscp: config.media.dscp,
        ..EngineConfig::default()
    }
}

pub(super) fn webhook_options(config: &Config) -> webhook::Options {
    webhook::Options {
        policy: webhook::guard::Policy {
            allow_http: config.webhooks.allow_http,
            allow_private: config.webhooks.allow_private,
        },
        timeout: config.webhooks.timeout,
        retry: config.webhooks.retry.clone(),
        ..webhook::Options::default()
    }
}

pub(super) fn settings(config: &Config) -> Settings {
    Settings {
        timing: Timing {
            max_duration: config.calls.max_duration,
            answer_after_trying: config.calls.answer_after_trying,
            answer_within: config.calls.answer_within,
        },
        deny_numbers: config.calls.deny_numbers.clone(),
        max_calls: u32::try_from(config.media.max_calls).unwrap_or(u32::MAX),
        codecs: config.media.codecs.iter().filter_map(|name| Codec::from_name(name)).collect(),
        dtmf: listening(config.media.dtmf),
        rtp_timeout: Some(config.media.rtp_timeout).filter(|timeout| !timeout.is_zero()),
        media_address: config.media.public_address,
        recordings: config.paths.recordings.clone(),
        record: config.calls.record,
        ..Settings::default()
    }
}

fn listening(dtmf: config::Dtmf) -> Listening {
    match dtmf {
        config::Dtmf::Auto => Listening::Auto,
        config::Dtmf::Both => Listening::Both,
        config::Dtmf::Rfc4733 => Listening::Rfc4733,
        config::Dtmf::Inband => Listening::Inband,
    }
}
