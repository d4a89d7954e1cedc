//! The format as a JSON Schema, for editors.

use serde_json::{Value, json};
use stencil_rules::{Aggregate, MAX_EXPRESSION};
use stencil_store::Severity;

use super::{
    MAX_ARGUMENTS, MAX_CONFIRMATIONS, MAX_ID, MAX_SIGNATURE, MAX_STEPS, MAX_TITLE,
    step::MAX_RETRIES,
};
use crate::effect::MAX_RECIPIENTS;
use crate::template::MAX_SOURCE;

/// The JSON Schema (2020-12) of a workflow's YAML. It is a little wider than
/// [`parse`](super::parse), which also checks templates and the names in them.
pub fn json_schema() -> Value {
    let duration = json!({ "type": "string", "pattern": "^[0-9]+(us|ms|s|m|h|d)$" });
    let template = json!({ "type": "string", "maxLength": MAX_SOURCE });
    let value = json!({ "type": ["string", "number", "boolean", "null"] });
    let finality = json!({ "oneOf": [
        { "enum": ["included", "safe", "final"] },
        object(&["confirmations"], json!({
            "confirmations": { "type": "integer", "minimum": 1, "maximum": MAX_CONFIRMATIONS },
        })),
    ] });
    let undo = json!({ "oneOf": [
        { "const": "none" },
        object(&["command"], json!({
            "command": template, "argument": value, "expires": duration, "patience": duration,
        })),
    ] });
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
                "finality": finality,
                "undo": undo,
            }),
        )
    };
    let entry = json!({ "collection": template, "key": template });
    let mut upsert = entry.clone();
    upsert["set"] = json!({ "type": "object" });
    let id = json!({ "type": "string", "pattern": format!("^[A-Za-z0-9][A-Za-z0-9._-]{{0,{}}}$", MAX_ID - 1) });
    let called = json!({
        "chain": { "type": "string", "minLength": 1, "maxLength": stencil_store::MAX_CHAIN_NAME },
        "address": template,
        "function": { "type": "string", "minLength": 1, "maxLength": MAX_SIGNATURE },
        "arguments": { "type": "array", "maxItems": MAX_ARGUMENTS },
    });
    let mut sent = called.clone();
    sent["value"] = json!({ "type": ["string", "integer"] });
    sent["gas"] = json!({ "type": "integer", "minimum": 21_000, "maximum": 30_000_000 });
    sent["until"] = json!({ "enum": ["included", "final"] });
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
                json!({ "url": template, "body": {}, "secret": id, "tells": { "type": "boolean" } }),
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
            "chain.call",
            object(&["chain", "address", "function"], called.clone()),
        ),
        step("chain.send", object(&["chain", "address"], sent)),
        step("credential.issue", credential(&template, &duration)),
        step(
            "data.prove",
            object(
                &["device", "boot", "number"],
                json!({
                    "device": template, "boot": template, "number": template,
                    "until": { "enum": ["sealed", "anchored"] },
                }),
            ),
        ),
        step(
            "device.command",
            object(
                &["device", "command", "expires"],
                json!({
                    "device": template, "command": template, "expires": duration,
                    "argument": value,
                }),
            ),
        ),
    ];
    let mut schema = object(
        &["id", "version", "on"],
        json!({
            "id": id,
            "version": { "type": "integer", "minimum": 1, "maximum": i32::MAX },
            "title": { "type": "string", "minLength": 1, "maxLength": MAX_TITLE },
            "on": { "oneOf": sources() },
            "when": { "oneOf": conditions(&duration) },
            "place": object(&["gateways"], json!({
                "gateways": { "type": "string", "pattern": "^[A-Za-z0-9._*?-]{1,64}$" },
                "otherwise": { "enum": ["hub", "nobody"] },
            })),
            "alarm": object(&["severity"], json!({
                "severity": { "enum": Severity::ALL.map(Severity::as_str) },
                "title": template,
            })),
            "steps": { "type": "array", "minItems": 0, "maxItems": MAX_STEPS, "items": { "oneOf": steps } },
        }),
    );
    schema["anyOf"] = json!([{ "required": ["alarm"] }, { "required": ["steps"] }]);
    // What is on a chain has no condition, no place at gateways and no alarm.
    let telemetry = json!({ "properties": { "on": { "required": ["telemetry"] } } });
    let none = json!({ "not": { "anyOf": [
        { "required": ["when"] }, { "required": ["place"] }, { "required": ["alarm"] },
    ] } });
    schema["if"] = telemetry;
    schema["then"] = json!({ "required": ["when"] });
    schema["else"] = none;
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "Stencil workflow".into();
    schema
}

/// The `with` of credential.issue.
fn credential(template: &Value, duration: &Value) -> Value {
    let mut with = object(
        &["kind", "claims"],
        json!({
            "kind": { "type": "string", "pattern": "^[A-Za-z][A-Za-z0-9]{0,63}$" },
            "name": template, "device": template, "subject": template,
            "claims": { "type": "object", "minProperties": 1 },
            "valid": duration,
        }),
    );
    with["oneOf"] = json!([{ "required": ["device"] }, { "required": ["subject"] }]);
    with
}

/// Each kind of cause.
fn sources() -> Vec<Value> {
    let pattern = json!({ "type": "string", "pattern": "^[A-Za-z0-9._*?-]{1,64}$" });
    let telemetry = object(
        &["devices"],
        json!({
            "devices": pattern,
            "name": { "type": "string", "minLength": 1, "maxLength": 64 },
        }),
    );
    let payment = object(&["reference"], json!({ "reference": pattern }));
    let chain = object(
        &["name", "address", "event"],
        json!({
            "name": { "type": "string", "minLength": 1, "maxLength": stencil_store::MAX_CHAIN_NAME },
            "address": { "type": "string", "pattern": "^0x[0-9a-fA-F]{40}$" },
            "event": { "type": "string", "minLength": 1, "maxLength": MAX_SIGNATURE },
        }),
    );
    let of = [
        ("telemetry", telemetry),
        ("payment", payment),
        ("chain", chain),
        (
            "access",
            json!({ "oneOf": [
                object(&["conflict"], json!({ "conflict": pattern })),
                object(&["new_chain"], json!({ "new_chain": pattern })),
            ] }),
        ),
        (
            "seal",
            object(&["mismatch"], json!({ "mismatch": pattern })),
        ),
    ];
    of.map(|(kind, with)| object(&[kind], json!({ kind: with })))
        .into()
}

/// Each kind of condition, the key that names it first.
fn conditions(duration: &Value) -> Vec<Value> {
    let number = json!({ "type": "number" });
    let sides = ["above", "below"];
    let mut kinds = Vec::new();
    for side in sides {
        let properties = json!({ side: number, "clear": number, "for": duration });
        kinds.push(object(&[side], properties));
    }
    kinds.push(object(&["absent"], json!({ "absent": duration })));
    let on_either_side = |required: &[&str], properties: Value| {
        let of = sides.map(|side| {
            let mut properties = properties.clone();
            properties[side] = number.clone();
            properties["clear"] = number.clone();
            object(&[required, &[side]].concat(), properties)
        });
        json!({ "oneOf": of })
    };
    let rate = on_either_side(&["over"], json!({ "over": duration }));
    kinds.push(object(&["rate"], json!({ "rate": rate, "for": duration })));
    let window = on_either_side(
        &["of", "over"],
        json!({
            "of": { "enum": Aggregate::ALL.map(Aggregate::name) },
            "over": duration,
            "lateness": duration,
        }),
    );
    kinds.push(object(
        &["window"],
        json!({ "window": window, "for": duration }),
    ));
    let expr = json!({ "type": "string", "minLength": 1, "maxLength": MAX_EXPRESSION });
    kinds.push(object(&["expr"], json!({ "expr": expr, "for": duration })));
    kinds
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({
        "type": "object", "additionalProperties": false,
        "required": required, "properties": properties,
    })
}
