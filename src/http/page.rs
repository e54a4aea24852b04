//! `GET /docs`: the document as a page that needs neither network nor script.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde_json::Value;

use super::openapi;

/// Nothing is loaded and nothing runs.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

const STYLE: &str = "\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h2{margin-top:2.5rem;border-top:1px solid #ccc;padding-top:1rem}\
code,pre{font:14px/1.4 ui-monospace,monospace}pre{background:#f6f6f4;padding:.75rem;overflow:auto}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0}\
.m{font-weight:700;text-transform:uppercase}summary{cursor:pointer}";

/// `GET /docs`
pub(super) async fn serve() -> Response {
    static PAGE: LazyLock<Bytes> = LazyLock::new(|| page(&openapi::document()).into());
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, PAGE.clone()).into_response()
}

fn page(document: &Value) -> String {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        page,
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport \
         content=\"width=device-width\"><title>{title} {version}</title><style>{STYLE}</style>\
         <h1>{title} {version}</h1><p>{summary}</p>\
         <p>Send your key as <code>Authorization: Bearer ak_…</code>. The whole document, for \
         programs: <a href=\"openapi.json\">openapi.json</a>.</p><ul>",
        title = escaped(text("/info/title")),
        version = escaped(text("/info/version")),
        summary = escaped(text("/info/summary")),
    );
    let (paths, webhooks) = (operations(document, "paths"), operations(document, "webhooks"));
    listing(&mut page, &paths);
    page.push_str("</ul><h3>Sent to <code>webhookUrl</code></h3><ul>");
    listing(&mut page, &webhooks);
    page.push_str("</ul>");
    for it in paths.iter().chain(&webhooks) {
        section(&mut page, it, document);
    }
    page
}

/// Something that is asked of us, or sent by us.
struct Operation<'a> {
    /// A path, or the name of an event.
    name: &'a str,
    method: &'a str,
    what: &'a Value,
}

fn operations<'a>(document: &'a Value, part: &str) -> Vec<Operation<'a>> {
    let all = document.get(part).and_then(Value::as_object).into_iter().flatten();
    let all = all.flat_map(|(name, methods)| {
        let methods = methods.as_object().into_iter().flatten();
        methods.map(move |(method, what)| Operation { name, method, what })
    });
    all.collect()
}

fn listing(page: &mut String, operations: &[Operation<'_>]) {
    for Operation { name, method, what } in operations {
        let _ = write!(
            page,
            "<li><a href=\"#{id}\"><code><span class=m>{method}</span> {name}</code></a> {summary}",
            id = member(what, "operationId"),
            name = escaped(name),
            summary = member(what, "summary"),
        );
    }
}

fn section(page: &mut String, operation: &Operation<'_>, document: &Value) {
    let Operation { name, method, what: operation } = operation;
    let _ = write!(
        page,
        "<h2 id=\"{id}\"><code><span class=m>{method}</span> {name}</code></h2><p>{summary}</p>",
        id = member(operation, "operationId"),
        name = escaped(name),
        summary = member(operation, "summary"),
    );
    if let Some(schema) = operation.pointer("/requestBody/content/application~1json/schema") {
        let schema = resolved(schema, document);
        page.push_str("<h3>Body</h3><table><tr><th>Member<th>What<th>");
        let required = schema.get("required").and_then(Value::as_array);
        for (name, it) in schema.get("properties").and_then(Value::as_object).into_iter().flatten()
        {
            let must = required.is_some_and(|all| all.iter().any(|it| it == name));
            let _ = write!(
                page,
                "<tr><td><code>{}</code>{}<td>{}<td><code>{}</code>",
                escaped(name),
                if must { " (required)" } else { "" },
                member(it, "description"),
                escaped(&shape(it, document)),
            );
        }
        page.push_str("</table>");
    }
    page.push_str("<h3>Answers</h3>");
    let responses = operation.get("responses").and_then(Value::as_object);
    for (status, response) in responses.into_iter().flatten() {
        let _ = write!(page, "<details><summary><b>{status}</b> ");
        page.push_str(&member(response, "description").replace("  \n", "<br>"));
        page.push_str("</summary>");
        if let Some(schema) = response.pointer("/content/application~1json/schema") {
            let text = serde_json::to_string_pretty(schema).unwrap_or_default();
            let _ = write!(page, "<pre>{}</pre>", escaped(&text));
        }
        page.push_str("</details>");
    }
}

/// A schema in a few words.
fn shape(schema: &Value, document: &Value) -> String {
    if let Some(parts) = schema.get("anyOf").and_then(Value::as_array) {
        let parts = parts.iter().map(|part| shape(part, document));
        return parts.collect::<Vec<_>>().join(" or ");
    }
    let schema = resolved(schema, document);
    if let Some(word) = schema.get("const") {
        return word.as_str().map_or_else(|| word.to_string(), str::to_owned);
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        let words = words.iter().filter_map(Value::as_str);
        return words.collect::<Vec<_>>().join(" | ");
    }
    let kind = match schema.get("type") {
        Some(Value::String(kind)) => kind.clone(),
        Some(Value::Array(kinds)) => {
            let kinds = kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null");
            kinds.collect::<Vec<_>>().join(" or ")
        }
        _ => "object".to_owned(),
    };
    let bound = |name| schema.get(name).map(Value::to_string);
    match (bound("minimum"), bound("maximum")) {
        (Some(least), Some(most)) => format!("{kind}, {least} to {most}"),
        _ => kind,
    }
}

fn resolved<'a>(schema: &'a Value, document: &'a Value) -> &'a Value {
    let pointer = schema.get("$ref").and_then(Value::as_str).and_then(|it| it.strip_prefix('#'));
    pointer.and_then(|pointer| document.pointer(pointer)).unwrap_or(schema)
}

fn member(value: &Value, name: &str) -> String {
    escaped(value.get(name).and_then(Value::as_str).unwrap_or(""))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
