//! Trunks out of an Asterisk `pjsip.conf`.
//!
//! It knows that file's sections, templates and options, and what of them a trunk of ours can be. It
//! refuses to know where trunks are stored. Start at [`read`].
//!
//! An endpoint with an aor that has a contact becomes a trunk, with the account of its outbound_auth
//! and registered where a registration proves itself by the same. Each option is carried over, or
//! told by its line; an endpoint that needs what is not built is refused whole.

use std::collections::BTreeMap;
use std::net::IpAddr;

use kaphila_sip::message::Uri;

use crate::number::Number;
use crate::store::{List, MAX_QUALIFY_SECS, Password, QUALIFY_SECS, TrunkSettings};

/// What a file holds.
#[derive(Debug, Default, PartialEq)]
pub struct Found {
    /// Trunks, in the order of their endpoints.
    pub trunks: Vec<TrunkSettings>,
    /// What is not carried over, by its line; the trunk is made all the same.
    pub notes: Vec<Note>,
    /// Why endpoints were left out, and lines that cannot be read.
    pub refused: Vec<Note>,
}

/// Something about a line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// From 1.
    pub line: usize,
    /// What.
    pub text: String,
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

/// `name = value`, its name in lower case.
#[derive(Debug, Clone)]
struct Setting {
    line: usize,
    name: String,
    value: String,
}

#[derive(Debug, Clone, Default)]
struct Section {
    line: usize,
    name: String,
    is_template: bool,
    settings: Vec<Setting>,
}

impl Section {
    /// The last one of this name counts, as Asterisk has it.
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.settings.iter().rev().find(|setting| setting.name == name)?;
        Some(found.value.as_str()).filter(|value| !value.is_empty())
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let of_name = self.settings.iter().filter(move |setting| setting.name == name);
        of_name.flat_map(|setting| setting.value.split(',').map(str::trim))
    }

    fn kind(&self) -> &str {
        self.get("type").unwrap_or("")
    }
}

/// Options that change nothing for a trunk of ours, or hold what another section gives.
const SAME: &[&str] = &[
    "type",
    "aors",
    "transport",
    "context",
    "contact",
    "endpoint",
    "outbound_auth",
    "server_uri",
    "client_uri",
    "match",
    "allow",
    "disallow",
    "from_domain",
    "callerid",
    "from_user",
    "outbound_proxy",
    "send_pai",
    "send_rpid",
    "rtp_symmetric",
    "direct_media",
    "force_rport",
    "rewrite_contact",
    "dtmf_mode",
    "qualify_frequency",
    "qualify_timeout",
    "device_state_busy_at",
    "language",
    "max_contacts",
    "remove_existing",
    "trust_id_inbound",
    "trust_id_outbound",
    "bind",
    "protocol",
];

/// Options that a trunk cannot do without, where they are set, and we do not have.
const NEEDED: &[(&str, &str)] = &[
    ("auth", "digest authentication of the carrier is not built yet"),
    ("media_encryption", "SRTP is not built yet"),
];

/// Reads a file; `has_codec` tells the codecs that there are, by their names in SDP.
#[must_use]
pub fn read(text: &str, has_codec: fn(&str) -> bool) -> Found {
    let mut found = Found::default();
    let sections = sections(text, &mut found.refused);
    let mut auths = Vec::new();
    for endpoint in sections.iter().filter(|section| section.kind() == "endpoint") {
        match trunk(endpoint, &sections, has_codec, &mut found.notes) {
            Ok((trunk, _)) if found.trunks.iter().any(|other| other.name == trunk.name) => {
                found.refused.push(note(endpoint.line, format!("{} is there twice", trunk.name)));
            }
            Ok((trunk, auth)) => {
                auths.push(auth);
                found.trunks.push(trunk);
            }
            Err(refusal) => found.refused.push(refusal),
        }
    }
    for section in sections.iter().filter(|section| section.kind() == "registration") {
        register(section, &auths, &mut found);
    }
    let kinds = ["endpoint", "aor", "auth", "identify", "registration", "transport"];
    for section in sections.iter().filter(|section| !kinds.contains(&section.kind())) {
        let text = format!("[{}] of type `{}` is not carried over", section.name, section.kind());
        found.notes.push(note(section.line, text));
    }
    found.notes.sort();
    found.refused.sort();
    found
}

fn note(line: usize, text: impl Into<String>) -> Note {
    Note { line, text: text.into() }
}

/// Splits a file into its sections, each with what its templates give it.
fn sections(text: &str, refused: &mut Vec<Note>) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut templates: BTreeMap<String, Vec<Setting>> = BTreeMap::new();
    let mut in_comment = false;
    for (line, raw) in (1..).zip(text.lines()) {
        let code = uncommented(raw, &mut in_comment);
        let code = code.trim();
        if code.is_empty() {
            continue;
        }
        if code.starts_with('#') {
            refused.push(note(line, format!("`{code}`: put what it names into this file")));
        } else if let Some(rest) = code.strip_prefix('[') {
            remember(sections.last(), &mut templates);
            match heading(line, rest, &templates) {
                Ok(section) => sections.push(section),
                Err(text) => refused.push(note(line, text)),
            }
        } else if let Some((name, value)) = code.split_once('=') {
            let value = value.strip_prefix('>').unwrap_or(value).trim().to_owned();
            let setting = Setting { line, name: name.trim().to_ascii_lowercase(), value };
            match sections.last_mut() {
                Some(section) => section.settings.push(setting),
                None => refused.push(note(line, "it stands before the first [section]")),
            }
        } else {
            refused.push(note(line, format!("`{code}` is no option: name = value")));
        }
    }
    sections.retain(|section| !section.is_template);
    sections
}

fn remember(section: Option<&Section>, templates: &mut BTreeMap<String, Vec<Setting>>) {
    if let Some(section) = section {
        let settings = templates.entry(section.name.clone()).or_default();
        if section.is_template {
            settings.clone_from(&section.settings);
        }
    }
}

/// `name]`, `name](!)`, `name](template,other)`.
fn heading(
    line: usize,
    rest: &str,
    templates: &BTreeMap<String, Vec<Setting>>,
) -> Result<Section, String> {
    let (name, more) = rest.split_once(']').ok_or("the section's ] is missing")?;
    let mut section = Section { line, name: name.trim().to_owned(), ..Section::default() };
    let more = more.trim();
    if more.is_empty() {
        return Ok(section);
    }
    let list = more.strip_prefix('(').and_then(|it| it.strip_suffix(')'));
    for word in list.ok_or("behind ] stands (!) or (template)")?.split(',').map(str::trim) {
        match word {
            "!" => section.is_template = true,
            "+" => return Err(format!("[{name}](+): write its options into the first [{name}]")),
            template => {
                let given = templates.get(template);
                let given =
                    given.ok_or_else(|| format!("there is no template {template} before"))?;
                section.settings.extend(given.iter().cloned());
            }
        }
    }
    Ok(section)
}

/// A line without `; comment` and `;-- comments --;` over lines.
fn uncommented(line: &str, in_comment: &mut bool) -> String {
    let mut code = String::new();
    let mut rest = line;
    loop {
        if *in_comment {
            let Some((_, after)) = rest.split_once("--;") else { return code };
            *in_comment = false;
            rest = after;
        }
        let Some(at) = rest.find(';') else { return code + rest };
        let (before, comment) = rest.split_at(at);
        // `\;` is a semicolon.
        if let Some(escaped) = before.strip_suffix('\\') {
            code += escaped;
            code.push(';');
            rest = comment.get(1..).unwrap_or("");
        } else {
            code += before;
            if !comment.starts_with(";--") {
                return code;
            }
            *in_comment = true;
            rest = comment.get(3..).unwrap_or("");
        }
    }
}

/// Registers the trunks that prove themselves by the same section as a registration.
fn register(section: &Section, auths: &[Option<String>], found: &mut Found) {
    let auth = section.get("outbound_auth");
    let of = |(trunk, own): &(&mut TrunkSettings, &Option<String>)| {
        auth.is_some() && own.as_deref() == auth && trunk.username.is_some()
    };
    let trunks: Vec<_> = found.trunks.iter_mut().zip(auths).filter(of).collect();
    if trunks.is_empty() {
        let text =
            format!("[{}]: no trunk has the outbound_auth of this registration", section.name);
        found.refused.push(note(section.line, text));
        return;
    }
    let domain = section.get("client_uri").and_then(|uri| uri.rsplit_once('@')).map(|(_, it)| it);
    let domain = domain.map(|text| text.split([';', ':', '>']).next().unwrap_or(text).to_owned());
    for (trunk, _) in trunks {
        trunk.register = true;
        let host = trunk.uri.strip_prefix("sip:").unwrap_or_default();
        let host = host.split([':', ';']).next().unwrap_or_default().to_owned();
        if trunk.from_domain.is_none() {
            trunk.from_domain = domain.clone().filter(|domain| *domain != host);
        }
    }
    unused(section, &mut found.notes);
}

/// Username, password and realm of an `auth` section.
fn account(section: &Section) -> Result<(String, Password, Option<String>), String> {
    if let Some(kind) = section.get("auth_type").filter(|kind| *kind != "userpass") {
        return Err(format!("auth_type={kind}: the password itself is needed (userpass)"));
    }
    let username = section.get("username").ok_or("its auth has no username")?;
    let password = section.get("password").ok_or("its auth has no password")?;
    let realm = section.get("realm").filter(|realm| *realm != "*").map(str::to_owned);
    Ok((username.to_owned(), Password::new(password), realm))
}

/// A trunk, and the name of the section that it proves itself by.
fn trunk(
    endpoint: &Section,
    sections: &[Section],
    has_codec: fn(&str) -> bool,
    notes: &mut Vec<Note>,
) -> Result<(TrunkSettings, Option<String>), Note> {
    let name = endpoint.name.as_str();
    let refuse = |text: String| note(endpoint.line, format!("[{name}] is left out: {text}"));
    if name.is_empty() || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(refuse("a trunk's name has no spaces and is not empty".to_owned()));
    }
    for (option, why) in NEEDED {
        if endpoint.get(option).is_some_and(|value| value != "no") {
            return Err(refuse(format!("{option}: {why}")));
        }
    }
    let of = |kind: &str, name: &str| {
        sections.iter().find(|section| section.kind() == kind && section.name == name)
    };
    let aor = endpoint.all("aors").find_map(|aor| of("aor", aor));
    let contact = aor.and_then(|aor| aor.get("contact"));
    let contact = contact.ok_or_else(|| refuse("its aor has no contact to dial".to_owned()))?;
    let uri = dialled(endpoint.get("outbound_proxy").unwrap_or(contact)).map_err(refuse)?;
    let auth = endpoint.get("outbound_auth");
    let account = auth.map(|name| {
        let section = of("auth", name).ok_or(format!("there is no auth [{name}]"))?;
        account(section)
    });
    let account = account.transpose().map_err(refuse)?;
    let (username, password, realm) = match account {
        Some((username, password, realm)) => (Some(username), Some(password), realm),
        None => (None, None, None),
    };
    let identifies = sections
        .iter()
        .filter(|section| section.kind() == "identify" && section.get("endpoint") == Some(name));
    let identifies: Vec<&Section> = identifies.collect();
    for section in [endpoint].into_iter().chain(aor).chain(identifies.iter().copied()) {
        unused(section, notes);
    }
    let mut allow = Vec::new();
    for network in identifies.iter().flat_map(|section| section.all("match")) {
        if network.parse::<kaphila_sip::endpoint::Network>().is_ok() {
            allow.push(network.to_owned());
        } else {
            let line = identifies.first().map_or(endpoint.line, |section| section.line);
            notes.push(note(line, format!("match={network}: an address or network is needed")));
        }
    }
    let caller = endpoint.get("callerid").or_else(|| endpoint.get("from_user"));
    let settings = TrunkSettings {
        // Asterisk dials what its dial plan says: nothing is put before it.
        prefix: String::new(),
        caller_id: caller.and_then(|text| caller_id(text, endpoint.line, notes)),
        from_domain: endpoint.get("from_domain").map(str::to_owned),
        identity: match (endpoint.get("send_pai"), endpoint.get("send_rpid")) {
            (Some("yes"), _) => "pai",
            (_, Some("yes")) => "rpid",
            _ => "none",
        }
        .to_owned(),
        max_channels: endpoint
            .get("device_state_busy_at")
            .and_then(|it| it.parse().ok())
            .filter(|it| *it > 0),
        codecs: codecs(endpoint, has_codec, notes),
        allow: List(allow),
        learn_rtp: endpoint.get("rtp_symmetric") == Some("yes"),
        qualify_secs: aor
            .and_then(|aor| aor.get("qualify_frequency")?.parse().ok())
            .filter(|seconds| (0..=MAX_QUALIFY_SECS).contains(seconds))
            .unwrap_or(QUALIFY_SECS),
        username,
        password,
        realm,
        ..TrunkSettings::new(name, uri)
    };
    Ok((settings, auth.map(str::to_owned)))
}

/// `sip:user@host:port;transport=tcp` without its user: numbers take that place.
fn dialled(contact: &str) -> Result<String, String> {
    let contact = contact.trim_start_matches('<').trim_end_matches('>');
    let uri = super::target::dialled(contact).map_err(|error| format!("{contact}: {error}"))?;
    let mut dialled = Uri::sip(None, uri.host, uri.port);
    dialled.scheme = uri.scheme;
    if let Some(name) = uri.params.value("transport") {
        dialled.params.set("transport", name);
    }
    Ok(dialled.to_string())
}

/// `"Name" <number>`, or a number.
fn caller_id(text: &str, line: usize, notes: &mut Vec<Note>) -> Option<String> {
    let number = text.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    let number = number.map_or(text, |(number, _)| number);
    match Number::parse(number) {
        Ok(number) => Some(number.as_str().to_owned()),
        Err(error) => {
            notes.push(note(line, format!("the caller id {number} {error}")));
            None
        }
    }
}

fn codecs(endpoint: &Section, has_codec: fn(&str) -> bool, notes: &mut Vec<Note>) -> List {
    let mut list: Vec<String> = Vec::new();
    for name in endpoint.all("allow").flat_map(|list| list.split('|')) {
        let ours = match name.to_ascii_lowercase().as_str() {
            "ulaw" => "PCMU".to_owned(),
            "alaw" => "PCMA".to_owned(),
            "all" => continue,
            other => other.to_ascii_uppercase(),
        };
        if !has_codec(&ours) {
            notes.push(note(endpoint.line, format!("allow={name}: this codec is not built yet")));
        } else if !list.contains(&ours) {
            list.push(ours);
        }
    }
    List(list)
}

/// Tells the options that say something which is not carried over.
fn unused(section: &Section, notes: &mut Vec<Note>) {
    for Setting { line, name, value } in &section.settings {
        // A password is in none of these sections, and its value would not be told.
        if !SAME.contains(&name.as_str()) && !NEEDED.iter().any(|(needed, _)| needed == name) {
            let is_address = value.parse::<IpAddr>().is_ok();
            let value = if is_address || value.len() < 40 { value.as_str() } else { "…" };
            notes.push(note(*line, format!("{name}={value} is not carried over")));
        }
    }
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
