//! The OpenAPI 3.1 document, made from the routes and the types of their answers.
//!
//! It knows how a [`Route`] is written down. It refuses to know what a route does. Start at
//! [`document`]. The document is the same for everybody and holds nothing secret, so that
//! `/openapi.json` and `/docs` ask for no key.

mod webhooks;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::code::Code;
use super::health::API_VERSION;
use super::routes::{self, Access, Route, Success};

/// What every answer carries.
const REQUEST_ID: &str = "#/components/headers/RequestId";

/// `GET /openapi.json`
pub(super) async fn serve() -> Response {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| document().to_string().into());
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.clone()).into_response()
}

/// The document.
#[must_use]
pub fn document() -> Value {
    let settings = || {
        let mut settings = SchemaSettings::draft2020_12();
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
        settings
    };
    let mut answers = SchemaGenerator::new(settings().for_serialize());
    let mut bodies = SchemaGenerator::new(settings().for_deserialize());
    let mut paths: Map<String, Value> = Map::new();
    for route in routes::all() {
        let operation = operation(&route, &mut answers, &mut bodies);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(route.method.to_owned(), operation);
        }
    }
    let webhooks = webhooks::webhooks(&mut answers);
    let mut schemas = Map::new();
    for mut generator in [answers, bodies] {
        let is_answer = generator.settings().contract.is_serialize();
        for (name, mut schema) in generator.take_definitions(true) {
            if is_answer {
                close(&mut schema);
            }
            schemas.insert(name, schema);
        }
    }
    forget_unused(&mut schemas, &[&paths, &webhooks]);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Kaphila",
            "version": API_VERSION,
            "summary": "Calls over SIP trunks: placed, prompted, listened to, recorded.",
            "description": "What is no HTTP, and a header that is too large (431), is refused \
                            before it is a request: without a body.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "webhooks": webhooks,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "basic": {
                    "type": "http", "scheme": "basic",
                    "description": "The key is the password; the user name is not looked at.",
                },
            },
            "headers": {
                "RequestId": {
                    "description": "The request's id, as the server's log has it.",
                    "required": true,
                    "schema": { "type": "string" },
                },
                "RetryAfter": {
                    "description": "Seconds to wait.",
                    "schema": { "type": "integer", "minimum": 0 },
                },
            },
            "schemas": schemas,
        },
    })
}

fn operation(route: &Route, answers: &mut SchemaGenerator, bodies: &mut SchemaGenerator) -> Value {
    let mut operation = json!({ "summary": route.summary, "operationId": operation_id(route) });
    let Some(members) = operation.as_object_mut() else { return operation };
    let security = match route.access {
        Access::Open => json!([]),
        Access::Key | Access::Counted => json!([{ "bearer": [] }, { "basic": [] }]),
    };
    members.insert("security".to_owned(), security);
    let parameters = parameters(route);
    if !parameters.is_empty() {
        members.insert("parameters".to_owned(), parameters.into());
    }
    if let Some(body) = route.body {
        let schema = body(bodies);
        members.insert(
            "requestBody".to_owned(),
            json!({ "required": false, "content": { "application/json": { "schema": schema } } }),
        );
    }
    members.insert("responses".to_owned(), responses(route, answers).into());
    operation
}

/// `getRecordingsFileFilenameDownload`: the method, and the words of the path.
fn operation_id(route: &Route) -> String {
    let words = route.path.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.filter(|word| !word.is_empty()).fold(route.method.to_owned(), |id, word| {
        let (first, rest) = word.split_at(1);
        id + &first.to_ascii_uppercase() + rest
    })
}

fn parameters(route: &Route) -> Vec<Value> {
    let names = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = names
        .map(|name| {
            json!({
                "name": name, "in": "path", "required": true,
                "schema": { "type": "string", "minLength": 1 },
            })
        })
        .collect();
    if route.idempotent {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "The same key and body again gives the first answer again, for 24 h.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([\\t -~]*[!-~])?$" },
        }));
    }
    if matches!(route.success, Success::Recording) {
        parameters.push(json!({
            "name": "Range", "in": "header", "required": false,
            "description": "`bytes=0-499`: a part of the file.",
            "schema": { "type": "string" },
        }));
        parameters.push(json!({
            "name": "If-None-Match", "in": "header", "required": false,
            "description": "304 where the file is that still.",
            "schema": { "type": "string" },
        }));
    }
    parameters
}

fn responses(route: &Route, answers: &mut SchemaGenerator) -> Map<String, Value> {
    let mut responses = successes(route, answers);
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in errors(route) {
        by_status.entry(code.status().as_u16()).or_default().push(code);
    }
    for (status, codes) in by_status {
        responses.insert(status.to_string(), refusal(&codes, answers));
    }
    responses
}

/// Everything that may be refused.
fn errors(route: &Route) -> Vec<Code> {
    let mut all = route.errors.to_vec();
    if route.access != Access::Open {
        all.extend([Code::Unauthorized, Code::InternalError, Code::DatabaseUnavailable]);
    }
    if route.body.is_some() {
        all.extend([
            Code::InvalidRequest,
            Code::BodyTimeout,
            Code::BodyTooLarge,
            Code::UnsupportedEncoding,
        ]);
    } else if route.path.contains('{') {
        // A path that cannot be read.
        all.push(Code::InvalidRequest);
    }
    if route.access == Access::Counted {
        all.push(Code::RateLimit);
    }
    all.sort();
    all.dedup();
    all
}

fn successes(route: &Route, answers: &mut SchemaGenerator) -> Map<String, Value> {
    let json_of = |schema: Value| json!({ "application/json": { "schema": schema } });
    let ok = |description: &str, content: Value| {
        json!({
            "description": description,
            "headers": { "X-Request-Id": { "$ref": REQUEST_ID } },
            "content": content,
        })
    };
    let (description, content) = match route.success {
        Success::Json(shapes) => {
            let all: Vec<Value> = shapes
                .iter()
                .map(|shape| behind_success(&resolve(shape(answers), answers)))
                .collect();
            let schema = match <[Value; 1]>::try_from(all) {
                Ok([one]) => one,
                Err(all) => json!({ "anyOf": all }),
            };
            ("Done", json_of(schema))
        }
        Success::Bare(shape) => {
            let mut schema = resolve(shape(answers), answers);
            close(&mut schema);
            ("Done", json_of(schema))
        }
        Success::Recording => ("The file", wav()),
        Success::Document => ("The document", json_of(self_portrait())),
        Success::Page => ("The page", json!({ "text/html": { "schema": { "type": "string" } } })),
    };
    let mut all = Map::from_iter([("200".to_owned(), ok(description, content))]);
    if matches!(route.success, Success::Recording) {
        all.insert("206".to_owned(), ok("A part of the file", wav()));
        all.insert(
            "304".to_owned(),
            json!({
                "description": "The file is what If-None-Match says",
                "headers": { "X-Request-Id": { "$ref": REQUEST_ID } },
            }),
        );
    }
    all
}

/// The document in its own words.
fn self_portrait() -> Value {
    let object = json!({ "type": "object" });
    json!({
        "type": "object",
        "properties": {
            "openapi": { "const": "3.1.0" },
            "info": object,
            "servers": { "type": "array" },
            "paths": object,
            "webhooks": object,
            "components": object,
        },
        "required": ["openapi", "info", "servers", "paths", "webhooks", "components"],
        "additionalProperties": false,
    })
}

fn wav() -> Value {
    json!({ "audio/wav": { "schema": { "type": "string", "format": "binary" } } })
}

/// The envelope of these errors, all of one status.
fn refusal(codes: &[Code], answers: &mut SchemaGenerator) -> Value {
    let (failed, others): (Vec<Code>, Vec<Code>) =
        codes.iter().copied().partition(|code| *code == Code::OriginationFailed);
    let mut shapes = Vec::new();
    if !others.is_empty() {
        shapes.push(envelope(&others, Map::new()));
    }
    if !failed.is_empty() {
        let shape = answers.subschema_for::<super::answer::OriginationFailed>();
        let more = resolve(shape, answers);
        let more = more.get("properties").and_then(Value::as_object).cloned();
        shapes.push(envelope(&failed, more.unwrap_or_default()));
    }
    let schema = match <[Value; 1]>::try_from(shapes) {
        Ok([one]) => one,
        Err(all) => json!({ "oneOf": all }),
    };
    let lines = codes.iter().map(|code| format!("`{}`: {}", code.as_str(), code.meaning()));
    let mut headers = json!({ "X-Request-Id": { "$ref": REQUEST_ID } });
    let waits = codes.iter().any(|code| matches!(code.status().as_u16(), 429 | 503));
    if let Some(headers) = headers.as_object_mut().filter(|_| waits) {
        let retry = json!({ "$ref": "#/components/headers/RetryAfter" });
        headers.insert("Retry-After".to_owned(), retry);
    }
    json!({
        "description": lines.collect::<Vec<_>>().join("  \n"),
        "headers": headers,
        "content": { "application/json": { "schema": schema } },
    })
}

fn envelope(codes: &[Code], more: Map<String, Value>) -> Value {
    let codes: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
    let text = json!({ "type": "string" });
    let mut properties = Map::from_iter([
        ("success".to_owned(), json!({ "const": false })),
        ("error".to_owned(), text.clone()),
        ("code".to_owned(), json!({ "type": "string", "enum": codes })),
        ("requestId".to_owned(), text),
    ]);
    properties.extend(more);
    let required: Vec<String> = properties.keys().cloned().collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// An answer's schema where it stands, not where it is referred to.
fn resolve(schema: schemars::Schema, generator: &SchemaGenerator) -> Value {
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|it| it.rsplit('/').next());
    let found = name.and_then(|name| generator.definitions().get(name)).cloned();
    found.unwrap_or_else(|| schema.to_value())
}

/// The same behind `"success": true`.
fn behind_success(schema: &Value) -> Value {
    let mut schema = schema.clone();
    // What is flattened into it stands apart: it is one object all the same.
    merge_flattened(&mut schema);
    close(&mut schema);
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("success".to_owned(), json!({ "const": true }));
    }
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.insert(0, "success".into());
    }
    schema
}

/// `anyOf: [{an optional part}, …]` beside properties: its members are optional ones.
fn merge_flattened(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else { return };
    let Some(parts) = members.remove("anyOf") else { return };
    let parts = parts.as_array().cloned().unwrap_or_default();
    let Some(properties) = members.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for part in parts {
        properties
            .extend(part.get("properties").and_then(Value::as_object).cloned().unwrap_or_default());
    }
}

/// What stands where it is used needs no name.
fn forget_unused(schemas: &mut Map<String, Value>, users: &[&Map<String, Value>]) {
    loop {
        let text = json!([users, schemas]).to_string();
        let before = schemas.len();
        schemas.retain(|name, _| text.contains(&format!("\"#/components/schemas/{name}\"")));
        if schemas.len() == before {
            return;
        }
    }
}

/// Objects have the members that are named and no others, but those that are free by nature (what
/// customers attach).
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.contains_key("properties") {
                members.entry("additionalProperties").or_insert(false.into());
            }
            members.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_documented_where_it_can_be_met() {
        let documented: Vec<Code> = routes::all().iter().flat_map(errors).collect();
        // Of paths and methods that are no route's.
        let elsewhere = [Code::NotFound, Code::MethodNotAllowed];
        for code in Code::ALL {
            let found = documented.contains(code);
            assert_ne!(found, elsewhere.contains(code), "{}", code.as_str());
        }
    }
}
