//! Every answer that a test gets is held against the OpenAPI document.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};

use serde_json::{Value, json};

fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(kaphila::http::openapi::document)
}

/// The path of the document that this one is of.
fn template(path: &str) -> Option<&'static str> {
    let path = path.split(['?', '#']).next().unwrap();
    let is_of = |template: &str| {
        let (mut parts, mut given) = (template.split('/'), path.split('/'));
        loop {
            match (parts.next(), given.next()) {
                (None, None) => return true,
                (Some(part), Some(given)) if part == given => {}
                (Some(part), Some(given)) if part.starts_with('{') && !given.is_empty() => {}
                _ => return false,
            }
        }
    };
    let mut all = document()["paths"].as_object().unwrap().keys().map(String::as_str);
    // `/recordings/file/…` is of its own path first.
    all.find(|known| *known == path).or_else(|| {
        let mut all: Vec<&str> =
            document()["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        all.sort_by_key(|known| known.matches('{').count());
        all.into_iter().find(|known| is_of(known))
    })
}

/// Fails where the document does not have this answer, or has it otherwise.
#[track_caller]
pub(crate) fn check(method: &str, path: &str, status: u16, body: &str) {
    let Some(template) = template(path) else { return };
    let Some(operation) = document()["paths"][template].get(method.to_ascii_lowercase()) else {
        return; // 405, or HEAD
    };
    let response = &operation["responses"][status.to_string()];
    assert!(
        !response.is_null(),
        "{method} {template} answers {status}, which is not documented: {body}"
    );
    let Some(schema) = response.pointer("/content/application~1json/schema") else { return };
    let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    hold(format!("{method} {template} {status}"), schema, &body);
}

/// Fails where the document does not have this event, or has it otherwise.
#[track_caller]
pub(crate) fn check_event(body: &str) {
    let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    let name = body["event"].as_str().unwrap_or_else(|| panic!("an event without name: {body}"));
    let post = &document()["webhooks"][name]["post"];
    let schema = post.pointer("/requestBody/content/application~1json/schema");
    let schema = schema.unwrap_or_else(|| panic!("{name} is not documented: {body}"));
    hold(name.to_owned(), schema, &body);
}

#[track_caller]
fn hold(what: String, schema: &Value, body: &Value) {
    static VALIDATORS: OnceLock<Mutex<HashMap<String, jsonschema::Validator>>> = OnceLock::new();
    let mut validators = VALIDATORS.get_or_init(Mutex::default).lock().unwrap();
    let validator = validators.entry(what.clone()).or_insert_with(|| {
        let root = json!({ "allOf": [schema], "components": document()["components"] });
        jsonschema::draft202012::new(&root).unwrap()
    });
    let wrong: Vec<String> = validator.iter_errors(body).map(|error| error.to_string()).collect();
    drop(validators);
    assert!(wrong.is_empty(), "{what} is not as documented: {wrong:?}\n{body:#}");
}
