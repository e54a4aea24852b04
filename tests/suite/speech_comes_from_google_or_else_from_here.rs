//! Google Cloud Text-to-Speech and gTTS: what is asked of them, and what happens when they do not
//! answer.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kaphila::tts::google::{Credentials, Google, Settings};
use kaphila::tts::gtts::Gtts;
use kaphila::tts::{Online, Speech, SpeechError};
use serde_json::{Value, json};
use wiremock::matchers::{body_json, header, method, path, query_param};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::support::speech::{
    NEURAL, SYNTHESIZE, account, install_tls, openssl, spoken, wav, with_key,
};

#[tokio::test]
async fn a_text_is_asked_for_once_and_kept() {
    let (server, folder) = (MockServer::start().await, tempfile::tempdir().unwrap());
    let asked = json!({
        "input": { "text": "Press one." },
        "voice": { "languageCode": "en-US", "name": NEURAL },
        "audioConfig": { "audioEncoding": "LINEAR16", "sampleRateHertz": 8000 },
    });
    Mock::given(method("POST"))
        .and(path(SYNTHESIZE))
        .and(header("x-goog-api-key", "AIzaTest"))
        .and(body_json(asked))
        .respond_with(spoken())
        .expect(1)
        .mount(&server)
        .await;
    let speech = with_key(&server, folder.path());
    assert_eq!(speech.engines(), "google-cloud");
    let (one, two) =
        tokio::join!(speech.speak("Press one.", NEURAL), speech.speak(" Press one. ", NEURAL));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one, two);
    assert_eq!(std::fs::read(one).unwrap(), wav());
}

#[tokio::test]
async fn mark_up_goes_to_google_and_voices_are_told_apart() {
    let (server, folder) = (MockServer::start().await, tempfile::tempdir().unwrap());
    Mock::given(method("POST")).respond_with(spoken()).mount(&server).await;
    let speech = with_key(&server, folder.path());
    let ssml = "<speak>Due<break time=\"1s\"/></speak>";
    let first = speech.speak(ssml, "it-IT").await.unwrap();
    let second = speech.speak(ssml, "it-IT-Wavenet-A").await.unwrap();
    assert_ne!(first, second);
    let asked = server.received_requests().await.unwrap();
    let body: Value = asked[0].body_json().unwrap();
    assert_eq!(body["input"], json!({ "ssml": ssml }));
    assert_eq!(body["voice"], json!({ "languageCode": "it-IT" }));
}

#[tokio::test]
async fn a_service_that_fails_is_replaced_at_once_and_left_alone_for_a_while() {
    for fault in [
        ResponseTemplate::new(503),
        ResponseTemplate::new(403).set_body_json(json!({ "error": { "message": "no" } })),
        ResponseTemplate::new(200).set_body_string("{\"audioContent\": \"!!\"}"),
        ResponseTemplate::new(200).set_body_string("not json"),
        ResponseTemplate::new(302).insert_header("location", "http://127.0.0.1:1/"),
    ] {
        let (server, folder) = (MockServer::start().await, tempfile::tempdir().unwrap());
        Mock::given(method("POST")).respond_with(fault).expect(1).mount(&server).await;
        let speech = with_key(&server, folder.path());
        for text in ["one", "two"] {
            let local = std::fs::read(speech.speak(text, NEURAL).await.unwrap()).unwrap();
            assert!(local.len() > 4_000 && local != wav(), "flite says {text}");
        }
    }
}

#[tokio::test]
async fn what_google_refuses_is_said_here_and_the_next_is_asked_again() {
    let (server, folder) = (MockServer::start().await, tempfile::tempdir().unwrap());
    let refusal = json!({ "error": { "message": "Voice does not exist" } });
    let refused = ResponseTemplate::new(400).set_body_json(refusal);
    Mock::given(method("POST")).respond_with(refused).expect(4).mount(&server).await;
    let speech = with_key(&server, folder.path());
    // The local engine is not given the tags: it is the same file as without them.
    let local = Speech::open(&folder.path().join("cache"), 1 << 20, Online::default()).unwrap();
    for (ssml, plain) in [
        ("<speak>two <b>birds</b></speak>", "two birds"),
        ("<speak>it&#39;s one &amp; it&#x27;s two</speak>", "it's one & it's two"),
        ("<speak>one <b>is not closed", "one is not closed"),
    ] {
        let marked = speech.speak(ssml, NEURAL).await.unwrap();
        assert_eq!(local.speak(plain, NEURAL).await.unwrap(), marked, "{ssml}");
    }
    let nobody = speech.speak("x", "zz-ZZ").await.unwrap_err();
    assert!(matches!(nobody, SpeechError::NoVoice(_)), "{nobody}");
    // More than the service takes is not sent to it.
    assert!(speech.speak(&"ü".repeat(2_600), "de-DE").await.is_ok());
}

/// The assertion's claims; its signature is checked by OpenSSL.
fn claims(folder: &Path, request: &Request) -> Value {
    let form: std::collections::HashMap<_, _> =
        url::form_urlencoded::parse(&request.body).into_owned().collect();
    assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let assertion = &form["assertion"];
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let (head, claims) = signed.split_once('.').unwrap();
    std::fs::write(folder.join("signed"), signed).unwrap();
    std::fs::write(folder.join("signature"), URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (public, signature, signed) = (file("public.pem"), file("signature"), file("signed"));
    openssl(&["dgst", "-sha256", "-verify", &public, "-signature", &signature, &signed]);
    let read = |part| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap());
    assert_eq!(read(head).unwrap(), json!({ "alg": "RS256", "typ": "JWT", "kid": "0123abcd" }));
    read(claims).unwrap()
}

#[tokio::test]
async fn a_service_account_gets_a_token_by_a_signed_assertion_and_keeps_it() {
    install_tls();
    let (server, folder) = (MockServer::start().await, tempfile::tempdir().unwrap());
    let token_uri = format!("{}/token", server.uri());
    let granted =
        json!({ "access_token": "ya29.test", "expires_in": 3600, "token_type": "Bearer" });
    Mock::given(path("/token"))
        .respond_with(ResponseTemplate::new(200).set_body_json(granted))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(path(SYNTHESIZE))
        .and(header("authorization", "Bearer ya29.test"))
        .respond_with(spoken())
        .expect(2)
        .mount(&server)
        .await;
    let credentials = Credentials::Account(account(folder.path(), &token_uri));
    let google = Google::new(&Settings { endpoint: server.uri(), credentials }).unwrap();
    assert!(!format!("{google:?}").contains("PRIVATE"));
    let speech = Speech::open(
        &folder.path().join("cache"),
        1 << 20,
        Online { google: Some(google), gtts: None },
    )
    .unwrap();
    for text in ["one", "two"] {
        let file = speech.speak(text, NEURAL).await.unwrap();
        assert_eq!(std::fs::read(file).unwrap(), wav());
    }
    let asked = server.received_requests().await.unwrap();
    let asked = asked.iter().find(|it| it.url.path() == "/token").unwrap();
    let claims = claims(folder.path(), asked);
    assert_eq!(claims["iss"], "kaphila@project.iam.gserviceaccount.com");
    assert_eq!(claims["aud"], token_uri);
    assert_eq!(claims["scope"], "https://www.googleapis.com/auth/cloud-platform");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let issued = claims["iat"].as_u64().unwrap();
    assert!(now - issued < 60 && claims["exp"] == issued + 3_600);
}

#[test]
fn an_account_that_is_none_is_named() {
    install_tls();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("account.json");
    let setup = || {
        let credentials = Credentials::Account(file.clone());
        let settings = Settings { endpoint: "https://127.0.0.1:1".into(), credentials };
        Google::new(&settings).unwrap_err().to_string()
    };
    assert!(setup().contains("cannot read"), "{}", setup());
    std::fs::write(&file, "{}").unwrap();
    assert!(setup().contains("is no service account"), "{}", setup());
    let bad = json!({ "client_email": "a", "private_key": "x", "token_uri": "https://a" });
    std::fs::write(&file, bad.to_string()).unwrap();
    assert!(setup().contains("no RSA key"), "{}", setup());
    assert!(setup().contains("account.json"));
    let bad = json!({ "client_email": "a", "private_key": "x", "token_uri": "http://a.example" });
    std::fs::write(&file, bad.to_string()).unwrap();
    assert!(setup().contains("token_uri is no https URL"), "{}", setup());
    // What else may stand there may be the key: it is not shown.
    for other in ["\"PRIVATE KEY\"", "PRIVATE KEY", "[\"PRIVATE KEY\"]"] {
        std::fs::write(&file, other).unwrap();
        assert!(setup().contains("no service account"), "{}", setup());
        assert!(!setup().contains("PRIVATE KEY"), "{}", setup());
    }
}

/// Speech of half a second as an MP3 file of 24 kHz, as the service sends it; `None` where LAME is
/// not installed.
fn mp3(folder: &Path) -> Option<Vec<u8>> {
    let (from, to) = (folder.join("tone.wav"), folder.join("tone.mp3"));
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 24_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(&from, spec).unwrap();
    for at in 0..12_000 {
        let phase = std::f64::consts::TAU * 1_000.0 * f64::from(at) / 24_000.0;
        writer.write_sample((10_000.0 * phase.sin()) as i16).unwrap();
    }
    writer.finalize().unwrap();
    let mut lame = Command::new("lame");
    lame.args(["--quiet", "-m", "m", "-b", "64"]).arg(from).arg(&to);
    let Ok(status) = lame.status() else {
        println!("skipped: lame is not installed");
        return None;
    };
    assert!(status.success());
    Some(std::fs::read(to).unwrap())
}

fn with_gtts(server: &MockServer, folder: &Path, google: Option<Google>) -> Speech {
    install_tls();
    let gtts = Some(Gtts::new(&server.uri()).unwrap());
    Speech::open(&folder.join("cache"), 1 << 20, Online { google, gtts }).unwrap()
}

#[tokio::test]
async fn gtts_says_a_long_text_in_pieces_of_one_file() {
    let (server, folder) = (MockServer::start().await, tempfile::tempdir().unwrap());
    let Some(mp3) = mp3(folder.path()) else { return };
    let says = ResponseTemplate::new(200).set_body_bytes(mp3);
    let speech = with_gtts(&server, folder.path(), None);
    assert_eq!(speech.engines(), "gtts");
    let first = "Il tuo appuntamento è domani alle nove e mezza, in via Roma 12.";
    let second = "Premi uno per confermare oppure due per cambiare l'orario.";
    for piece in [first, second] {
        Mock::given(method("GET"))
            .and(path("/translate_tts"))
            .and(query_param("client", "tw-ob"))
            .and(query_param("ie", "UTF-8"))
            .and(query_param("tl", "it"))
            .and(query_param("q", piece))
            .respond_with(says.clone())
            .expect(1)
            .mount(&server)
            .await;
    }
    // Marked up: the service is given the words alone; a second time nothing is asked.
    let text = format!("<speak>{first} <break time=\"1s\"/> {second}</speak>");
    let file = speech.speak(&text, "it-IT-Wavenet-A").await.unwrap();
    assert_eq!(speech.speak(&text, "it-IT-Wavenet-A").await.unwrap(), file);
    let mut reader = hound::WavReader::open(file).unwrap();
    assert_eq!((reader.spec().sample_rate, reader.spec().channels), (24_000, 1));
    // Twice half a second, and the silence that an encoder adds to each: below 0.1 s.
    assert!((24_000..29_000).contains(&reader.duration()), "{}", reader.duration());
    let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
    let middle = &samples[6_000..7_200];
    let crossings = middle.windows(2).filter(|pair| (pair[0] < 0) != (pair[1] < 0)).count();
    assert!((98..=102).contains(&crossings), "1 kHz for 50 ms: {crossings}");
    let peak = samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
    assert!((9_000..11_000).contains(&peak), "{peak}");
}

#[tokio::test]
async fn gtts_follows_google_and_local_speech_follows_gtts() {
    let (cloud, server) = (MockServer::start().await, MockServer::start().await);
    let folder = tempfile::tempdir().unwrap();
    let Some(mp3) = mp3(folder.path()) else { return };
    Mock::given(method("POST")).respond_with(ResponseTemplate::new(503)).mount(&cloud).await;
    let says = ResponseTemplate::new(200).set_body_bytes(mp3);
    Mock::given(query_param("q", "one")).respond_with(says).mount(&server).await;
    let rubbish = ResponseTemplate::new(200).set_body_string("<html>sorry</html>");
    Mock::given(query_param("q", "two")).respond_with(rubbish).expect(1).mount(&server).await;
    let key = folder.path().join("key");
    std::fs::write(&key, "AIzaTest\n").unwrap();
    let settings = Settings { endpoint: cloud.uri(), credentials: Credentials::ApiKey(key) };
    let speech = with_gtts(&server, folder.path(), Some(Google::new(&settings).unwrap()));
    assert_eq!(speech.engines(), "google-cloud-fallback-gtts");
    let rate = async |text: &str| {
        let file = speech.speak(text, NEURAL).await.unwrap();
        hound::WavReader::open(file).unwrap().spec().sample_rate
    };
    assert_eq!(rate("one").await, 24_000, "gTTS");
    assert_eq!(rate("two").await, 16_000, "flite");
    // Both rest now.
    assert_eq!(rate("three").await, 16_000, "flite");
    assert_eq!(cloud.received_requests().await.unwrap().len(), 1);
}
