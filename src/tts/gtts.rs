//! Google Translate's speech (`translate_tts`), which the Python package gTTS made known: no key, no
//! promise, MP3. It is asked only where `tts.gtts` is on.
//!
//! It says a hundred characters at a time: a text is cut where one would breathe. Start at
//! [`Gtts::speak`].

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use nanomp3_core::{Decoder, MAX_SAMPLES_PER_FRAME};
use reqwest::StatusCode;
use url::Url;

use super::service::{ANSWER_LIMIT, CONNECT_LIMIT, ServiceError, body};

/// Where the service is.
pub const ENDPOINT: &str = "https://translate.google.com";

/// The most characters that one request may say.
const MAX_PIECE: usize = 100;
/// Requests of one text at once.
const AT_ONCE: usize = 4;
/// The largest answer read: a hundred characters are about 60 KB.
const MAX_ANSWER: usize = 1 << 20;

/// Why the service cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The HTTP client.
    #[error("no HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// The endpoint.
    #[error("tts.gtts_endpoint: {0}")]
    Endpoint(#[from] url::ParseError),
}

/// The service's client.
#[derive(Debug)]
pub struct Gtts {
    client: reqwest::Client,
    url: Url,
}

impl Gtts {
    /// A client of the service at this scheme and host, such as [`ENDPOINT`].
    ///
    /// # Errors
    /// There is no HTTP client, or the endpoint is no URL.
    pub fn new(endpoint: &str) -> Result<Self, SetupError> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .timeout(ANSWER_LIMIT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let url = Url::parse(&format!("{}/translate_tts", endpoint.trim_end_matches('/')))?;
        Ok(Self { client, url })
    }

    /// The WAV file in which the language of `voice` says `text`.
    pub(super) async fn speak(&self, text: &str, voice: &str) -> Result<Vec<u8>, ServiceError> {
        let language = language(voice);
        let asked = pieces(text).into_iter().map(|piece| self.ask(piece, language.clone()));
        let mp3 = stream::iter(asked).buffered(AT_ONCE).try_collect::<Vec<_>>().await?;
        let decoded = tokio::task::spawn_blocking(move || to_wav(&mp3)).await;
        decoded.map_err(|error| ServiceError::failed(error.to_string()))?
    }

    async fn ask(&self, piece: String, language: String) -> Result<Vec<u8>, ServiceError> {
        let query = [("ie", "UTF-8"), ("client", "tw-ob"), ("tl", &language), ("q", &piece)];
        let mut url = self.url.clone();
        url.query_pairs_mut().extend_pairs(query);
        let response = self.client.get(url).send().await.map_err(ServiceError::of)?;
        let status = response.status();
        match status {
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::PAYLOAD_TOO_LARGE => {
                return Err(ServiceError::Refused(format!("{status} for the language {language}")));
            }
            status if !status.is_success() => {
                return Err(ServiceError::failed_as(response.headers(), status.to_string()));
            }
            _ => {}
        }
        let answer = body(response, MAX_ANSWER).await.map_err(ServiceError::of)?;
        answer.ok_or_else(|| ServiceError::failed("its answer does not end"))
    }
}

/// The service's name for the language of a voice (`it-IT-Wavenet-A`, `pt-BR`).
pub(super) fn language(voice: &str) -> String {
    let mut parts = voice.split('-').map(str::to_ascii_lowercase);
    let (language, region) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    // Of these it knows more than one; for two it keeps an older name.
    match (language.as_str(), region.as_str()) {
        ("pt", "pt") => "pt-PT".to_owned(),
        ("fr", "ca") => "fr-CA".to_owned(),
        ("zh" | "cmn", "tw") => "zh-TW".to_owned(),
        ("zh" | "cmn", _) => "zh-CN".to_owned(),
        ("nb", _) => "no".to_owned(),
        ("he", _) => "iw".to_owned(),
        ("fil", _) => "tl".to_owned(),
        _ => language,
    }
}

/// Cuts a text into what is said at once: after a sentence, else after a comma, else between two
/// words, else where there is no more room.
fn pieces(text: &str) -> Vec<String> {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut pieces = Vec::new();
    let mut rest = words.as_str();
    while let Some((full, _)) = rest.char_indices().nth(MAX_PIECE) {
        let room = rest.get(..full).unwrap_or(rest);
        let after = |marks: &[char]| {
            let ends = room.match_indices(marks).map(|(at, mark)| at + mark.len());
            // A mark within a number or an abbreviation ends nothing.
            ends.rev().find(|end| rest.get(*end..).is_some_and(|more| more.starts_with(' ')))
        };
        let cut = after(&['.', '!', '?', '…'])
            .or_else(|| after(&[',', ';', ':']))
            // The ideographic ones have no space behind them.
            .or_else(|| room.rfind(['。', '！', '？', '、', '，']).map(|at| at + '。'.len_utf8()))
            .or_else(|| room.rfind(' '))
            .filter(|cut| *cut > 0)
            .unwrap_or(full);
        let (piece, more) = rest.split_at(cut);
        pieces.push(piece.trim().to_owned());
        rest = more.trim_start();
    }
    if !rest.is_empty() {
        pieces.push(rest.to_owned());
    }
    pieces
}

/// MP3 files, one after the other, as one WAV file of 16 bits, mono.
fn to_wav(files: &[Vec<u8>]) -> Result<Vec<u8>, ServiceError> {
    let mut samples: Vec<i16> = Vec::new();
    let mut rate = None;
    for file in files {
        let before = samples.len();
        let found = decode(file, &mut samples)?;
        if samples.len() == before || *rate.get_or_insert(found) != found {
            return Err(ServiceError::failed("its answer holds no speech"));
        }
    }
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: rate.unwrap_or_default(),
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let failed = |error: hound::Error| ServiceError::failed(error.to_string());
    let mut bytes = std::io::Cursor::new(Vec::with_capacity(samples.len() * 2 + 44));
    let mut writer = hound::WavWriter::new(&mut bytes, spec).map_err(failed)?;
    samples.iter().try_for_each(|sample| writer.write_sample(*sample)).map_err(failed)?;
    writer.finalize().map_err(failed)?;
    Ok(bytes.into_inner())
}

/// Adds what an MP3 file says, its left channel alone. Its rate; 0 where it says nothing.
fn decode(mp3: &[u8], samples: &mut Vec<i16>) -> Result<u32, ServiceError> {
    let mut decoder = Box::new(Decoder::new());
    let mut pcm = [0_i16; MAX_SAMPLES_PER_FRAME];
    let mut rest = mp3;
    let mut rate = 0;
    while !rest.is_empty() {
        let (used, frame) = decoder.decode(rest, &mut pcm);
        rest = rest.get(used.max(1)..).unwrap_or_default();
        let Ok(frame) = frame else { continue };
        if rate != 0 && frame.sample_rate != rate {
            return Err(ServiceError::failed("its speech changes its rate"));
        }
        rate = frame.sample_rate;
        let channels = usize::from(frame.channels.num());
        samples.extend(pcm.iter().step_by(channels).take(frame.samples_produced));
    }
    Ok(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_where_one_would_breathe() {
        assert_eq!(pieces("Press one."), ["Press one."]);
        assert_eq!(pieces("  two \n words "), ["two words"]);
        let long = format!("It costs 12.50 euros. {}, and {}", "a".repeat(60), "b ".repeat(40));
        let cut = pieces(&long);
        assert_eq!(cut[0], "It costs 12.50 euros.");
        assert_eq!(cut[1], format!("{},", "a".repeat(60)));
        assert!(cut.iter().all(|piece| piece.chars().count() <= MAX_PIECE));
        assert_eq!(cut.join(" "), long.trim());
        // No place to breathe at all; and none is cut within a letter.
        let cut = pieces(&"ü".repeat(250));
        let lengths: Vec<_> = cut.iter().map(|piece| piece.chars().count()).collect();
        assert_eq!(lengths, [100, 100, 50]);
        let chinese = format!("{}。{}", "好".repeat(80), "的".repeat(80));
        assert_eq!(pieces(&chinese)[0], format!("{}。", "好".repeat(80)));
        assert!(pieces(" ").is_empty());
    }

    #[test]
    fn voices_have_the_languages_of_the_service() {
        for (voice, expected) in [
            ("en-US-Neural2-A", "en"),
            ("it-IT", "it"),
            ("pt-BR-Wavenet-A", "pt"),
            ("pt-PT", "pt-PT"),
            ("cmn-CN-Wavenet-A", "zh-CN"),
            ("nb-NO", "no"),
        ] {
            assert_eq!(language(voice), expected, "{voice}");
        }
    }

    #[test]
    fn rubbish_is_no_speech() {
        for bad in [&b""[..], b"<html>", &[0xff; 3_000], b"ID3\x04\0\0\0\0\0\0"] {
            assert!(to_wav(&[bad.to_vec()]).is_err(), "{bad:?}");
        }
    }
}
