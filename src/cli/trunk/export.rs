//! `kaphila trunk export`: the command lines that make the trunks again. Of a password they name the
//! file that it is to be given in.

use crate::store::{Trunk, TrunkSettings};

/// A line a trunk, for a shell; a second one where it is disabled.
pub(super) fn commands(trunks: &[Trunk]) -> String {
    let mut lines = String::new();
    for trunk in trunks {
        let words: Vec<String> = words(&trunk.settings).iter().map(|word| quoted(word)).collect();
        lines += &format!("kaphila trunk add {}\n", words.join(" "));
        if trunk.disabled {
            lines += &format!("kaphila trunk disable {}\n", quoted(&trunk.settings.name));
        }
    }
    lines
}

/// What stands behind `trunk add`: what is at its default is left out.
fn words(trunk: &TrunkSettings) -> Vec<String> {
    let TrunkSettings {
        name,
        uri,
        strip_digits,
        prefix,
        caller_prefix,
        privacy,
        caller_id,
        from_domain,
        identity,
        max_channels,
        max_cps,
        codecs,
        allow,
        learn_rtp,
        allow_star_hash,
        allow_prefixes,
        deny_prefixes,
        username,
        password: _,
        realm,
        register,
        qualify_secs,
    } = trunk;
    let plain = TrunkSettings::new(name, uri);
    let mut words = vec![name.clone(), "--uri".to_owned(), uri.clone()];
    let mut option = |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
    if *prefix != plain.prefix {
        option("--prefix", prefix);
    }
    if *strip_digits != plain.strip_digits {
        option("--strip", &strip_digits.to_string());
    }
    if *caller_prefix != plain.caller_prefix {
        option("--caller-prefix", caller_prefix);
    }
    if *identity != plain.identity {
        option("--identity", identity);
    }
    // A password is exported by nothing: its file is to be put there.
    let password_file = username.as_ref().map(|_| format!("{name}.password"));
    let texts = [
        ("--from-domain", from_domain),
        ("--caller-id", caller_id),
        ("--username", username),
        ("--password-file", &password_file),
        ("--realm", realm),
    ];
    for (name, value) in texts.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        option(name, value);
    }
    for (name, value) in [("--max-channels", max_channels), ("--max-cps", max_cps)] {
        if let Some(value) = value {
            option(name, &value.to_string());
        }
    }
    if *qualify_secs != plain.qualify_secs {
        option("--qualify", &format!("{qualify_secs}s"));
    }
    if !codecs.is_empty() {
        option("--codecs", &codecs.join(","));
    }
    let lists =
        [("--allow", allow), ("--allow-prefix", allow_prefixes), ("--deny-prefix", deny_prefixes)];
    for (name, values) in lists {
        values.iter().for_each(|value| option(name, value));
    }
    let switches = [
        ("--privacy", *privacy),
        ("--register", *register),
        ("--learn-rtp", *learn_rtp),
        ("--allow-star-hash", *allow_star_hash),
    ];
    words.extend(switches.into_iter().filter(|(_, on)| *on).map(|(name, _)| name.to_owned()));
    words
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:,/+@%=".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_names_the_file_of_its_password() {
        let mut trunk = TrunkSettings::new("carrier", "sip:carrier.example");
        trunk.username = Some("4711".to_owned());
        trunk.password = Some(crate::store::Password::new("wonderland"));
        trunk.register = true;
        assert_eq!(
            words(&trunk).join(" "),
            "carrier --uri sip:carrier.example --username 4711 --password-file carrier.password \
             --register"
        );
        let never = TrunkSettings { qualify_secs: 0, ..TrunkSettings::new("t", "sip:192.0.2.1") };
        assert_eq!(words(&never).join(" "), "t --uri sip:192.0.2.1 --qualify 0s");
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("sip:198.51.100.7:5060"), "sip:198.51.100.7:5060");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("a;b"), "'a;b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
