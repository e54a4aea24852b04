use super::*;

fn load(text: &str, environment: &[(&str, &str)]) -> Result<(Config, Settings), ConfigError> {
    load_in(tempfile::tempdir().unwrap().path(), text, environment)
}

fn load_in(
    folder: &Path,
    text: &str,
    environment: &[(&str, &str)],
) -> Result<(Config, Settings), ConfigError> {
    let path = folder.join("kaphila.toml");
    std::fs::write(&path, text).unwrap();
    let variables = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    let settings = Settings::load(Some(&path), variables)?;
    Ok((Config::from_settings(&settings)?, settings))
}

fn error(text: &str) -> String {
    load(text, &[]).unwrap_err().to_string()
}

#[test]
fn the_template_is_every_default() {
    let text = template();
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let (from_file, settings) = load(&uncommented, &[]).unwrap();
    let (plain, _) = load("", &[]).unwrap();
    assert_eq!(from_file.calls.max_duration, plain.calls.max_duration);
    assert_eq!(from_file.media.ports, 10_000..=20_000);
    assert!(settings.iter().all(|setting| matches!(setting.origin, Origin::File { .. })));
}

#[test]
fn file_and_environment_override_in_that_order() {
    let text = "[http]\nlisten = \"127.0.0.1:1\"\n[calls]\nmax_duration = \"1h\"\n";
    let variables =
        [("KAPHILA_HTTP_LISTEN", "127.0.0.1:2, [::1]:2"), ("KAPHILA_CONFIG", "x"), ("HOME", "/")];
    let (config, settings) = load(text, &variables).unwrap();
    assert_eq!(config.http.listen.len(), 2);
    assert_eq!(config.calls.max_duration, Duration::from_secs(3_600));
    let shown = effective(&settings);
    assert!(shown.contains("# environment KAPHILA_HTTP_LISTEN"), "{shown}");
    assert!(shown.contains("kaphila.toml:4"), "{shown}");
    assert!(shown.contains("# default"), "{shown}");
}

#[test]
fn mistakes_name_the_file_the_line_and_the_nearest_key() {
    let message = error("[http]\nlisen = 1\n");
    assert!(message.contains("kaphila.toml:2: unknown key `http.lisen`"), "{message}");
    assert!(message.contains("did you mean `http.listen`?"), "{message}");

    let message = error("[calls]\n\nmax_duration = \"soon\"\n");
    assert!(
        message.contains("kaphila.toml:3: `calls.max_duration` must be a duration"),
        "{message}"
    );
    assert!(message.contains("not \"soon\""), "{message}");

    assert!(error("[http\n").contains("kaphila.toml"));
    assert!(error("[sip]\ntimer_t1_ms = 3\n").contains("between 50 and 2000"));
    let message = error("[media]\nworkers = \"2\"\n");
    assert!(message.contains("must be \"auto\" or a number from 1 to 256"), "{message}");
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    assert!(error("[paths]\nspool = \"/tmp\"\n").contains("is not built yet"));
    assert!(error("[media]\ncodecs = [\"opus\"]\n").contains("not built yet"));
    assert!(error("[media]\ndtmf = \"tones\"\n").contains("one of auto, both, rfc4733, inband"));
    assert!(error("[amd]\nmode = \"enhanced\"\n").contains("one of classic"));
    assert!(error("[tts]\ngtts_endpoint = \"http://example.com\"\n").contains("an https URL"));
}

#[test]
fn google_needs_one_file_and_a_safe_way() {
    assert!(error("[tts]\nengine = \"google\"\n").contains("neither tts.google_api_key_file"));
    assert!(error("[tts]\nengine = \"gtts\"\n").contains("one of auto, google, local"));
    let both = "[tts]\ngoogle_api_key_file = \"k\"\ngoogle_credentials_file = \"c\"\n";
    assert!(error(both).contains("one opens the service"));
    let key = "[tts]\ngoogle_api_key_file = \"k\"\n";
    for bad in ["http://texttospeech.example", "ftp://x", "texttospeech"] {
        let text = format!("{key}google_endpoint = \"{bad}\"\n");
        assert!(error(&text).contains("an https URL"), "{bad}");
    }
    let google = |text: &str| load(text, &[]).unwrap().0.tts.google;
    assert!(google(key).is_some());
    assert!(google(&format!("{key}engine = \"local\"\n")).is_none());
    assert!(google(&format!("{key}google_endpoint = \"http://127.0.0.1:9\"\n")).is_some());
    assert!(google("").is_none());
}

#[test]
fn paths_start_from_the_file_and_data_from_its_own_key() {
    let (config, _) = load("[paths]\ndata = \"var\"\nsounds = \"/srv/sounds\"\n", &[]).unwrap();
    assert!(config.paths.recordings.ends_with("var/recordings"));
    assert_eq!(config.paths.sounds, Path::new("/srv/sounds"));
    assert!(config.database.url.starts_with("sqlite:///"));
    assert!(config.database.url.ends_with("var/kaphila.db"));
}

/// SQLite is told where its file is by a URL, in which `%` and `?` mean something.
#[test]
fn a_folder_of_any_name_holds_the_database_or_is_refused_by_name() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = tempfile::tempdir().unwrap();
    let url = |name: &[u8], text: &str| {
        let inner = folder.path().join(std::ffi::OsStr::from_bytes(name));
        std::fs::create_dir(&inner).unwrap();
        load_in(&inner, text, &[]).map(|(config, _)| config.database.url)
    };
    let ours = url(b"50%25? no", "").unwrap();
    assert!(ours.ends_with("/50%2525%3f no/data/kaphila.db"), "{ours}");
    let given = url(b"a?", "[database]\nurl = \"sqlite://b%20c?mode=rw\"\n").unwrap();
    assert!(given.ends_with("/a%3f/b%20c?mode=rw"), "{given}");
    let refused = url(b"t\xf6ne", "").unwrap_err().to_string();
    assert!(refused.contains("database.url") && refused.contains("UTF-8"), "{refused}");
}

#[test]
fn https_needs_certificate_and_key() {
    let (config, _) = load("[http]\ntls_cert = \"c.pem\"\ntls_key = \"/k.pem\"\n", &[]).unwrap();
    let files = config.http.tls.unwrap();
    assert!(files.cert.is_absolute() && files.cert.ends_with("c.pem"));
    assert_eq!(files.key, Path::new("/k.pem"));
    assert!(load("", &[]).unwrap().0.http.tls.is_none());
    let message = error("[http]\ntls_cert = \"c.pem\"\n");
    assert!(message.contains("`http.tls_key` must be a path too"), "{message}");
    let message = error("[http]\ntls_key = \"k.pem\"\n");
    assert!(message.contains("`http.tls_cert` must be a path too"), "{message}");
}

#[test]
fn trusted_proxies_are_addresses_or_networks() {
    let text = "[http]\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n";
    let networks = load(text, &[]).unwrap().0.http.trusted_proxies;
    assert_eq!(
        networks.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.0.0.0/8", "::1/128"]
    );
    let variables = [("KAPHILA_HTTP_TRUSTED_PROXIES", "192.0.2.1, 192.0.2.2")];
    assert_eq!(load("", &variables).unwrap().0.http.trusted_proxies.len(), 2);
    assert!(load("", &[]).unwrap().0.http.trusted_proxies.is_empty());
    let message = error("[http]\ntrusted_proxies = \"proxy.example\"\n");
    assert!(message.contains("`http.trusted_proxies` must be a list of addresses"), "{message}");
}

#[test]
fn dscp_takes_names_and_numbers() {
    for (text, value) in [("CS3", 24), ("EF", 46), ("AF31", 26), ("10", 10)] {
        let (config, _) = load(&format!("[sip]\ndscp = \"{text}\"\n"), &[]).unwrap();
        assert_eq!(config.sip.dscp, value, "{text}");
    }
    assert!(error("[sip]\ndscp = \"AF99\"\n").contains("DSCP"));
}

#[test]
fn a_database_password_is_never_shown() {
    for (url, shown) in [
        ("postgres://kaphila:geheim@127.0.0.1/kaphila", "postgres://kaphila:***@127.0.0.1/kaphila"),
        ("postgres://kaphila:ge@heim@127.0.0.1/k", "postgres://kaphila:***@127.0.0.1/k"),
        (
            "postgres://127.0.0.1/k?user=me&password=geheim",
            "postgres://127.0.0.1/k?user=me&password=***",
        ),
        (
            "postgres://127.0.0.1/k?password=geheim&user=me",
            "postgres://127.0.0.1/k?password=***&user=me",
        ),
        ("postgres://kaphila@127.0.0.1:5432/k", "postgres://kaphila@127.0.0.1:5432/k"),
    ] {
        let (config, settings) = load(&format!("[database]\nurl = \"{url}\"\n"), &[]).unwrap();
        assert_eq!(config.database.url, url);
        for told in [
            effective(&settings),
            effective_json(&settings).to_string(),
            format!("{settings:?}"),
            format!("{config:?}"),
        ] {
            assert!(told.contains(shown) && !told.contains("heim"), "{told}");
        }
    }
    let wrong = error("[database]\nurl = \"pg://kaphila:geheim@127.0.0.1/k\"\n");
    assert!(wrong.contains("database.url") && !wrong.contains("geheim"), "{wrong}");
}
