//! Every command of the real program: what it does, prints and leaves, and its exit status.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::exchange::{Callee, Exchange};
use crate::support::program::{Site, text};

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

async fn json_of(site: &Site, words: &[&str]) -> Value {
    let out = site.done(words).await;
    serde_json::from_str(&out).unwrap_or_else(|_| panic!("{words:?}: {out}"))
}

/// Refused with this exit status, saying so, and saying nothing on standard output.
async fn refused(site: &Site, words: &[&str], status: i32, says: &str) {
    let output = site.kaphila(words).await;
    let error = text(&output.stderr);
    assert_eq!(code(&output), status, "{words:?}: {error}");
    assert!(error.contains(says), "{words:?}: {error}");
    assert_eq!(text(&output.stdout), "", "{words:?}");
}

#[tokio::test]
async fn init_writes_once_and_for_its_owner_alone() {
    let site = Site::new().await;
    let config = site.path("kaphila.toml");
    for (name, expected) in [("kaphila.toml", 0o600), ("data/kaphila.db", 0o600)] {
        assert_eq!(mode(&site.path(name)), expected, "{name}");
    }
    for name in ["data", "data/recordings", "sounds"] {
        assert_eq!(mode(&site.path(name)), 0o700, "{name}");
    }
    // Every key stands there, commented: as written, it changes nothing.
    let written = fs::read_to_string(&config).unwrap();
    assert!(written.contains("ring_timeout"), "{written}");
    let active = written.lines().filter(|line| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#') && !line.starts_with('[')
    });
    assert_eq!(active.collect::<Vec<_>>(), Vec::<&str>::new());

    fs::write(&config, "[http]\nmax_body = \"2MiB\"\n").unwrap();
    let folder = site.folder().display().to_string();
    let again = json_of(&site, &["init", "--json", "--dir", &folder]).await;
    assert_eq!(again["written"], json!(false));
    assert_eq!(fs::read_to_string(&config).unwrap(), "[http]\nmax_body = \"2MiB\"\n");
}

#[tokio::test]
async fn config_tells_what_is_in_force_and_what_is_wrong() {
    let mut site = Site::new().await;
    let config = site.path("kaphila.toml");
    fs::write(&config, "[http]\nmax_body = \"2MiB\"\n").unwrap();
    let told = site.done(&["config"]).await;
    let line = |name: &str| {
        let found = told.lines().find(|line| line.contains(name));
        found.unwrap_or_else(|| panic!("no {name} in {told}"))
    };
    assert!(line("max_body").contains("kaphila.toml"), "{}", line("max_body"));
    assert!(told.contains("KAPHILA_HTTP_LISTEN"), "{told}");
    json_of(&site, &["config", "--json"]).await;

    // The file, the line, the nearest name; a key that is not built is refused by name.
    fs::write(&config, "[http]\n\nlisen = \"127.0.0.1:1\"\n").unwrap();
    for words in [&["config"][..], &["serve"], &["key", "list"]] {
        refused(&site, words, 1, "http.listen").await;
        refused(&site, words, 1, "kaphila.toml:3").await;
    }
    fs::write(&config, "[http]\nmax_body = \"much\"\n").unwrap();
    refused(&site, &["config"], 1, "http.max_body").await;
    fs::write(&config, "[sip]\ntls = \"0.0.0.0:5061\"\n").unwrap();
    refused(&site, &["serve"], 1, "sip.tls").await;
    fs::write(&config, "").unwrap();
    site.set("KAPHILA_HTTP_LISEN", "127.0.0.1:1");
    refused(&site, &["config"], 1, "KAPHILA_HTTP_LISEN").await;
    refused(&site, &["--config", "/nowhere.toml", "config"], 1, "/nowhere.toml").await;
}

#[tokio::test]
async fn keys_are_made_changed_and_revoked() {
    let site = Site::with_trunks(&["127.0.0.1:9".parse().unwrap()]).await;
    let id = site.key_id.as_str();
    assert!(id.starts_with("key_") && site.key.starts_with("ak_"));
    // The key itself is shown once and stored nowhere.
    let database = fs::read(site.path("data/kaphila.db")).unwrap();
    let log = fs::read(site.path("data/kaphila.db-wal")).unwrap_or_default();
    for bytes in [database, log] {
        assert!(!bytes.windows(site.key.len()).any(|it| it == site.key.as_bytes()));
    }
    let shown = site.done(&["key", "list"]).await + &site.done(&["key", "show", id]).await;
    assert!(!shown.contains(&site.key), "{shown}");
    let keys = json_of(&site, &["key", "list", "--json"]).await;
    assert_eq!(keys[0]["keyId"], json!(id));
    let credit = json_of(&site, &["key", "credit", id, "+50", "--json"]).await;
    assert_eq!(credit["credits"], json!(100_050));
    let credit = json_of(&site, &["key", "credit", id, "-100050", "--json"]).await;
    assert_eq!(credit["credits"], json!(0));
    refused(&site, &["key", "credit", id, "-1"], 1, "below").await;
    site.done(&["key", "limit", id, "7"]).await;
    site.done(&["key", "set", id, "--caller-id", "19172452367", "--max-calls", "3"]).await;
    site.done(&["key", "trunks", id]).await;
    let key = json_of(&site, &["key", "show", id, "--json"]).await;
    assert_eq!((&key["rateLimit"], &key["callerId"]), (&json!(7), &json!("19172452367")), "{key}");
    let rotated = json_of(&site, &["key", "rotate", id]).await;
    assert!(rotated["key"] != json!(site.key));
    let secret = json_of(&site, &["key", "rotate-webhook", id]).await;
    assert!(secret["webhookSecret"].as_str().unwrap().starts_with("whsec_"));
    site.done(&["key", "revoke", id]).await;

    refused(&site, &["key", "show", "key_none"], 3, "key_none").await;
    refused(&site, &["key", "credit", "key_none", "+1"], 3, "key_none").await;
    refused(&site, &["key", "create", "--name", "x", "--trunk", "none"], 3, "none").await;
    refused(&site, &["key", "credit", id, "many"], 2, "+50").await;
    refused(&site, &["key", "create"], 2, "--name").await;
    refused(&site, &["key", "set", id, "--caller-id", "12@34"], 2, "caller").await;
    for prefix in ["+1900", "001900", "19x"] {
        refused(&site, &["key", "set", id, "--deny-prefix", prefix], 2, "prefix").await;
    }
    refused(&site, &["nonsense"], 2, "nonsense").await;
    assert_eq!(code(&site.kaphila(&["--help"]).await), 0);
    assert_eq!(code(&site.kaphila(&["key", "credit", "--help"]).await), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trunks_are_added_tested_and_checked() {
    let exchange = Exchange::start("127.0.0.25").await;
    let site = Site::new().await;
    let uri = format!("sip:{}", exchange.address);
    site.done(&["trunk", "add", "live", "--uri", &uri, "--max-channels", "5", "--codecs", "PCMA"])
        .await;
    let dead = std::net::UdpSocket::bind("127.0.0.26:0").unwrap();
    let nobody = format!("sip:{}", dead.local_addr().unwrap());
    drop(dead);
    site.done(&["trunk", "add", "dead", "--uri", &nobody]).await;
    let trunks = json_of(&site, &["trunk", "list", "--json"]).await;
    assert_eq!(trunks.as_array().unwrap().len(), 2, "{trunks}");
    let trunk = json_of(&site, &["trunk", "show", "live", "--json"]).await;
    assert_eq!((&trunk["uri"], &trunk["maxChannels"]), (&json!(uri), &json!(5)), "{trunk}");

    let tested = json_of(&site, &["trunk", "test", "live", "--json"]).await;
    assert_eq!((&tested["reachable"], &tested["sipStatus"]), (&json!(true), &json!(200)));
    let tested = site.kaphila(&["trunk", "test", "dead", "--json"]).await;
    let told: Value = serde_json::from_slice(&tested.stdout).unwrap();
    assert_eq!((code(&tested), &told["reachable"]), (1, &json!(false)));

    // `check`: a trunk that does not answer is an error; disabled it is none.
    let checked = site.kaphila(&["check"]).await;
    let told = text(&checked.stdout);
    assert_eq!(code(&checked), 1, "{told}");
    assert!(told.lines().any(|it| it.starts_with("error") && it.contains("trunk dead")), "{told}");
    site.done(&["trunk", "disable", "dead"]).await;
    let findings = json_of(&site, &["check", "--json"]).await;
    assert!(findings.as_array().unwrap().iter().all(|it| it["level"] != "error"), "{findings}");
    site.done(&["trunk", "enable", "dead"]).await;
    site.done(&["trunk", "remove", "dead"]).await;
    refused(&site, &["trunk", "remove", "dead"], 3, "dead").await;
    refused(&site, &["trunk", "test", "none"], 3, "none").await;

    // What is not built is refused by its name.
    for flag in [
        &["--register"][..],
        &["--username", "u"],
        &["--password-file", "f"],
        &["--srtp", "required"],
        &["--qualify", "2h"],
        &["--qualify", "500ms"],
    ] {
        let words = [&["trunk", "add", "new", "--uri", &uri][..], flag].concat();
        refused(&site, &words, 2, flag[0]).await;
    }
    for (uri, says) in [
        ("sips:127.0.0.1;transport=udp", "asks for TLS by sips:"),
        ("sip:127.0.0.1;transport=ws", "transport=ws is not built; use udp, tcp or tls"),
        ("http://127.0.0.1", "http"),
    ] {
        refused(&site, &["trunk", "add", "new", "--uri", uri], 2, says).await;
    }
    refused(&site, &["trunk", "add", "new", "--uri", &uri, "--codecs", "opus"], 2, "opus").await;
    refused(&site, &["trunk", "add", "new", "--uri", &uri, "--allow", "x"], 2, "--allow").await;
    // An empty prefix is that of every number: none is meant.
    site.done(&["trunk", "add", "new", "--uri", &uri, "--deny-prefix", ""]).await;
    let trunk = json_of(&site, &["trunk", "show", "new", "--json"]).await;
    assert_eq!(trunk["denyPrefixes"], json!([]), "{trunk}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_command_changes_reaches_a_running_server() {
    let exchange = Exchange::start("127.0.0.27").await;
    let site = Site::with_trunks(&[exchange.address]).await;
    let _serving = site.serve(&[]).await;
    let call = || json!({ "number": Callee::HangsUp.number(1), "record": false });
    assert_eq!(site.post("/makecall", call()).await.status, 200);
    let soon = std::time::Duration::from_secs(2);
    site.done(&["trunk", "disable", "trunk-0"]).await;
    tokio::time::sleep(soon).await;
    let answer = site.post("/makecall", call()).await;
    assert_eq!((answer.status, &answer.json()["code"]), (503, &json!("NO_TRUNKS")));
    site.done(&["trunk", "enable", "trunk-0"]).await;
    // One of 100 000 went to the first call.
    site.done(&["key", "credit", &site.key_id, "-99999"]).await;
    tokio::time::sleep(soon).await;
    let answer = site.post("/makecall", call()).await;
    assert_eq!((answer.status, &answer.json()["code"]), (402, &json!("INSUFFICIENT_CREDITS")));
    site.done(&["key", "revoke", &site.key_id]).await;
    tokio::time::sleep(soon).await;
    assert_eq!(site.get("/api/me").await.status, 401);
}

#[tokio::test]
async fn speech_detector_and_recordings_work_offline() {
    let site = Site::new().await;
    let path = |name: &str| site.path(name).display().to_string();
    let wav = path("hello.wav");
    let told = json_of(&site, &["speak", "Hello, who is there?", "-o", &wav, "--json"]).await;
    assert_eq!(told["bytes"].as_u64().unwrap(), fs::metadata(&wav).unwrap().len());
    assert!(hound::WavReader::open(&wav).unwrap().duration() > 4_000);
    let judged = json_of(&site, &["amd", "--json", &wav]).await;
    assert_eq!((&judged["file"], judged["status"].is_string()), (&json!(wav), true), "{judged}");
    refused(&site, &["amd", &path("none.wav")], 1, "none.wav").await;
    fs::write(path("rubbish.wav"), b"RIFF").unwrap();
    refused(&site, &["amd", "--json", &path("rubbish.wav")], 1, "rubbish.wav").await;
    refused(&site, &["amd"], 2, "FILES").await;

    // 80 ms of 852 and 1336 Hz, then silence: the 8 (ITU-T Q.23).
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let eight = path("eight.wav");
    let mut writer = hound::WavWriter::create(&eight, spec).unwrap();
    for at in 0..1_600 {
        let wave = |hertz: f64| (std::f64::consts::TAU * hertz * f64::from(at) / 8_000.0).sin();
        let sample = if at < 640 { 6_000.0 * (wave(852.0) + wave(1_336.0)) } else { 0.0 };
        writer.write_sample(sample as i16).unwrap();
    }
    writer.finalize().unwrap();
    let heard = json_of(&site, &["dtmf", "--json", &eight]).await;
    assert_eq!((&heard["file"], &heard["digits"]), (&json!(eight), &json!("8")), "{heard}");
    let event = &heard["events"][0];
    let (start, end) = (event["startMs"].as_u64().unwrap(), event["endMs"].as_u64().unwrap());
    assert!(event["digit"] == "8" && start <= 4 && end.abs_diff(80) <= 4, "{heard}");
    assert_eq!(site.done(&["dtmf", &wav]).await, format!("{wav}: no digits\n"));
    refused(&site, &["dtmf", &path("none.wav")], 1, "none.wav").await;
    refused(&site, &["speak", "Hello", "-o", "/nowhere/x.wav"], 1, "/nowhere/x.wav").await;

    // As a crash leaves it: the header says that there is nothing.
    let cut = path("data/recordings/call-1.1-1.wav");
    let mut writer = hound::WavWriter::create(&cut, spec).unwrap();
    (0..8_000).for_each(|at| writer.write_sample(at as i16).unwrap());
    writer.finalize().unwrap();
    let mut bytes = fs::read(&cut).unwrap();
    bytes[40..44].fill(0);
    fs::write(&cut, &bytes).unwrap();
    let mended = json_of(&site, &["recordings", "repair", "--json"]).await;
    let found = (&mended[0]["outcome"], &mended[0]["durationMs"]);
    assert_eq!(found, (&json!("mended"), &json!(1_000)), "{mended}");
    let healthy = json_of(&site, &["recordings", "repair", "--json"]).await;
    assert_eq!(healthy[0]["outcome"], json!("healthy"), "{healthy}");
    let pruned = json_of(&site, &["recordings", "prune", "--older-than", "30d", "--json"]).await;
    assert_eq!(pruned["deleted"], json!(0));
    refused(&site, &["recordings", "prune"], 2, "--older-than").await;
    refused(&site, &["recordings", "prune", "--older-than", "old"], 2, "30d").await;
    refused(&site, &["trace", "1.1"], 1, "is it running").await;
}

#[tokio::test]
async fn exported_trunks_are_made_again_by_a_shell() {
    let site = Site::new().await;
    site.done(&["trunk", "add", "plain", "--uri", "sip:198.51.100.7"]).await;
    let all = "trunk add it's;all --uri sip:carrier.example:5070 --prefix +1 --identity pai \
        --from-domain us.example --caller-id 19172452367 --max-channels 30 --max-cps 5 \
        --codecs PCMA,PCMU --allow 203.0.113.0/24 --allow 198.51.100.9 --allow-prefix 1 \
        --deny-prefix 1900 --learn-rtp --allow-star-hash --username alice@carrier.example \
        --password-file it's;all.password --realm carrier --register --qualify 30s \
        --strip 2 --caller-prefix + --privacy";
    fs::write(site.path("it's;all.password"), "wonderland\n").unwrap();
    site.done(&all.split_whitespace().collect::<Vec<_>>()).await;
    site.done(&["trunk", "add", "bare", "--uri", "sip:198.51.100.8", "--prefix", ""]).await;
    site.done(&["trunk", "disable", "bare"]).await;
    let trunks = async |site: &Site| {
        let mut all = json_of(site, &["trunk", "list", "--json"]).await;
        for trunk in all.as_array_mut().unwrap() {
            trunk.as_object_mut().unwrap().retain(|name, _| !name.ends_with("At") && name != "id");
        }
        all
    };
    let before = trunks(&site).await;
    assert!(!before.to_string().contains("wonderland"), "{before}");
    let script = site.done(&["trunk", "export"]).await;
    let other = Site::new().await;
    let mut shell = tokio::process::Command::new("sh");
    shell.arg("-ec").arg(script.replace("kaphila ", concat!(env!("CARGO_BIN_EXE_kaphila"), " ")));
    shell.env("KAPHILA_CONFIG", other.path("kaphila.toml")).current_dir(other.folder());
    assert!(!script.contains("wonderland"), "the file of a password is named, not the password");
    fs::write(other.path("it's;all.password"), "wonderland\n").unwrap();
    let done = shell.output().await.unwrap();
    assert!(done.status.success(), "{script}{}", text(&done.stderr));
    assert_eq!(trunks(&other).await, before, "{script}");
}

#[tokio::test]
async fn an_account_needs_its_password_and_shows_it_nowhere() {
    let site = Site::new().await;
    let secret = site.path("secret").display().to_string();
    let add = ["trunk", "add", "a", "--uri", "sip:198.51.100.7", "--username", "alice"];
    let with = |more: &[&'static str]| [&add, more].concat();
    refused(&site, &add, 2, "--password-file").await;
    refused(&site, &["trunk", "add", "a", "--uri", "sip:x", "--register"], 2, "--username").await;
    refused(&site, &with(&["--password-file", "/nowhere/x"]), 1, "/nowhere/x").await;
    fs::write(&secret, "\n").unwrap();
    let whole = [&add[..], &["--password-file", &secret]].concat();
    refused(&site, &whole, 1, "one line").await;
    fs::write(&secret, "wonderland\n").unwrap();
    site.done(&whole).await;
    // Another password is an act, though nothing of it is told.
    fs::write(&secret, "looking-glass\n").unwrap();
    site.done(&whole).await;
    for words in [
        &["trunk", "show", "a"][..],
        &["trunk", "show", "a", "--json"],
        &["trunk", "list", "--json"],
        &["trunk", "export"],
        &["trunk", "export", "--json"],
        &["audit"],
        &["audit", "--json"],
    ] {
        let said = site.done(words).await;
        assert!(said.contains("alice") || words[0] == "audit", "{words:?}: {said}");
        assert!(
            !said.contains("wonderland") && !said.contains("looking-glass"),
            "{words:?}: {said}"
        );
    }
    let acts = json_of(&site, &["audit", "--json"]).await;
    assert_eq!(acts.as_array().unwrap().len(), 2, "{acts}");
    assert_eq!(acts[0]["changes"]["password"], json!([null, "***"]), "{acts}");
}

#[tokio::test]
async fn trunks_of_asterisk_are_taken_over_and_what_is_not_is_told() {
    let site = Site::new().await;
    let file = site.path("pjsip.conf");
    let one = "[one]\ntype=endpoint\naors=one\nallow=alaw\nmoh_suggest=jazz\n\
               [one]\ntype=aor\ncontact=sip:198.51.100.7\n";
    fs::write(&file, one).unwrap();
    let file = file.display().to_string();
    let output = site.kaphila(&["trunk", "import", "--dry-run", &file]).await;
    assert_eq!(text(&output.stdout), "trunk one would be taken over\n");
    assert!(text(&output.stderr).contains("line 5: moh_suggest=jazz is not carried over"));
    assert_eq!(json_of(&site, &["trunk", "list", "--json"]).await, json!([]));
    let taken = json_of(&site, &["trunk", "import", "--json", &file]).await;
    assert_eq!(taken, json!({ "trunks": ["one"], "dryRun": false }));
    let trunk = &json_of(&site, &["trunk", "show", "one", "--json"]).await;
    assert_eq!(trunk["uri"], "sip:198.51.100.7", "{trunk}");
    assert_eq!((&trunk["prefix"], &trunk["codecs"]), (&json!(""), &json!(["PCMA"])));
    refused_with(&site, &["trunk", "import", &file], "exists already").await;
    let more = format!(
        "{one}[two]\ntype=endpoint\naors=two\noutbound_auth=two\n[two]\ntype=aor\ncontact=sip:x\n"
    );
    fs::write(&file, more).unwrap();
    let output = site.kaphila(&["trunk", "import", "--update", &file]).await;
    assert_eq!((code(&output), text(&output.stdout)), (1, "trunk one taken over\n".to_owned()));
    assert!(text(&output.stderr).contains("[two] is left out: there is no auth [two]"));
    refused(&site, &["trunk", "import", "/nowhere/pjsip.conf"], 1, "/nowhere/pjsip.conf").await;
}

async fn refused_with(site: &Site, words: &[&str], says: &str) {
    let output = site.kaphila(words).await;
    assert_eq!(code(&output), 1, "{words:?}");
    assert!(text(&output.stderr).contains(says), "{words:?}: {}", text(&output.stderr));
}

/// `kaphila openapi | head`: more than a pipe holds, and nobody reads on.
#[test]
fn a_reader_that_has_seen_enough_ends_a_command_quietly() {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_kaphila"))
        .arg("openapi")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(1));
}
