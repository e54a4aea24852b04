//! The events in the document: what a customer's receiver is sent, and what its answer means.

use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::close;
use crate::call::event_schemas;

/// The document's `webhooks`: one for each event, by its name.
pub(super) fn webhooks(answers: &mut SchemaGenerator) -> Map<String, Value> {
    let (head, events) = event_schemas(answers);
    let head = head.to_value();
    let events = events.get("oneOf").and_then(Value::as_array).cloned().unwrap_or_default();
    events.into_iter().filter_map(|event| webhook(&head, event)).collect()
}

fn webhook(head: &Value, event: Value) -> Option<(String, Value)> {
    let name = event.pointer("/properties/event/const")?.as_str()?.to_owned();
    let about = event.get("description").cloned().unwrap_or_default();
    let mut schema = together(head, &event);
    close(&mut schema);
    let post = json!({
        "summary": about,
        "operationId": operation_id(&name),
        "security": [],
        "parameters": headers(),
        "requestBody": {
            "required": true,
            "content": { "application/json": { "schema": schema } },
        },
        "responses": {
            "2XX": { "description": "Taken; it is not sent again." },
            "3XX": { "description": "Not followed: the same as 4XX." },
            "4XX": { "description": AGAIN },
            "5XX": { "description": AGAIN },
        },
    });
    Some((name, json!({ "post": post })))
}

const AGAIN: &str = "Sent again after 1, 5, 30, 120 and 600 s, then hourly, for 24 h; as is one \
                     without an answer within 5 s.";

/// `onCallEnded`
fn operation_id(name: &str) -> String {
    name.split(['.', '_']).fold("on".to_owned(), |id, word| {
        let (first, rest) = word.split_at_checked(1).unwrap_or_default();
        id + &first.to_ascii_uppercase() + rest
    })
}

/// What proves who sent it: Standard Webhooks.
fn headers() -> Value {
    let header = |name: &str, description: &str| {
        json!({
            "name": name, "in": "header", "required": true,
            "description": description,
            "schema": { "type": "string" },
        })
    };
    json!([
        header("webhook-id", "The event's id: the same whenever it is sent again."),
        header("webhook-timestamp", "When it is sent, in Unix seconds."),
        header(
            "webhook-signature",
            "`v1,` and the Base64 of HMAC-SHA-256 over `id.timestamp.body` with the key's webhook \
             secret; two, separated by a space, while the secret is being replaced.",
        ),
    ])
}

/// One object with the members of both.
fn together(head: &Value, event: &Value) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for part in [head, event] {
        let members = part.get("properties").and_then(Value::as_object);
        properties.extend(members.cloned().unwrap_or_default());
        required
            .extend(part.get("required").and_then(Value::as_array).cloned().unwrap_or_default());
    }
    json!({ "type": "object", "properties": properties, "required": required })
}
