//! The format as a JSON Schema, for editors.

use serde_json::{Value, json};

use super::{MAX_ID, MAX_STEPS, step::MAX_RETRIES};
use crate::effect::MAX_RECIPIENTS;
use crate::template::MAX_SOURCE;

/// The JSON Schema (2020-12) of a workflow's YAML. It is a little wider than
/// [`parse`](super::parse), which also checks templates and the names in them.
pub fn json_schema() -> Value {
    let duration = json!({ "type": "string", "pattern": "^[0-9]+(us|ms|s|m|h|d)$" });
    let template = json!({ "type": "string", "maxLength": MAX_SOURCE });
    let object = |required: &[&str], properties: Value| {
        json!({
            "type": "object", "additionalProperties": false,
            "required": required, "properties": properties,
        })
    };
    let step = |uses: &str, with: Value| {
        let retry = object(
            &[],
            json!({
                "max": { "type": "integer", "minimum": 0, "maximum": MAX_RETRIES },
                "initial": duration, "cap": duration,
            }),
        );
        object(
            &["id", "use", "with"],
            json!({
                "id": { "type": "string", "pattern": "^[a-z_][a-z0-9_]{0,31}$" },
                "use": { "const": uses },
                "with": with,
                "retry": retry,
                "timeout": duration,
            }),
        )
    };
    let entry = json!({ "collection": template, "key": template });
    let mut upsert = entry.clone();
    upsert["set"] = json!({ "type": "object" });
    let id = json!({ "type": "string", "pattern": format!("^[A-Za-z0-9][A-Za-z0-9._-]{{0,{}}}$", MAX_ID - 1) });
    let steps = [
        step(
            "content.upsert",
            object(&["collection", "key", "set"], upsert),
        ),
        step("content.publish", object(&["collection", "key"], entry)),
        step(
            "webhook.post",
            object(
                &["url", "body"],
                json!({ "url": template, "body": {}, "secret": id }),
            ),
        ),
        step(
            "mail.send",
            object(
                &["to", "subject", "text"],
                json!({
                    "connection": id,
                    "to": { "oneOf": [
                        template,
                        { "type": "array", "minItems": 1, "maxItems": MAX_RECIPIENTS, "items": template },
                    ] },
                    "subject": template, "text": template, "html": template,
                }),
            ),
        ),
        step(
            "device.command",
            object(
                &["device", "command", "expires"],
                json!({
                    "device": template, "command": template, "expires": duration,
                    "argument": { "type": ["string", "number", "boolean", "null"] },
                }),
            ),
        ),
    ];
    let limit = json!({ "type": "number" });
    let mut schema = object(
        &["id", "version", "on", "when", "steps"],
        json!({
            "id": id,
            "version": { "type": "integer", "minimum": 1, "maximum": i32::MAX },
            "on": object(&["telemetry"], json!({
                "telemetry": object(&["devices", "name"], json!({
                    "devices": { "type": "string", "pattern": "^[A-Za-z0-9._*?-]{1,64}$" },
                    "name": { "type": "string", "minLength": 1, "maxLength": 64 },
                })),
            })),
            "when": { "oneOf": [
                object(&["above"], json!({ "above": limit, "for": duration })),
                object(&["below"], json!({ "below": limit, "for": duration })),
            ] },
            "steps": { "type": "array", "minItems": 1, "maxItems": MAX_STEPS, "items": { "oneOf": steps } },
        }),
    );
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "Stencil workflow".into();
    schema
}
