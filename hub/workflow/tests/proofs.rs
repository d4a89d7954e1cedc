//! Steps that wait for a proof: what an author may write, and what comes of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::json;
use stencil_workflow::Effect;
use stencil_workflow::definition::{Source, json_schema, parse};
use stencil_workflow::template::Scope;

const GOOD: &str = r#"id: proven
version: 1
on: { telemetry: { devices: "*", name: temperature } }
when: { above: 0 }
steps:
  - id: prove
    use: data.prove
    with: { device: "{{ event.device }}", boot: "{{ event.boot }}", number: "{{ event.seq }}", until: anchored }
  - id: page
    use: content.upsert
    with: { collection: figures, key: a, set: { value: "{{ event.value }}", proof: "{{ steps.prove.document }}" } }
"#;

#[test]
fn which_reading_follows_from_the_event() {
    let definition = parse(GOOD).unwrap();
    let event =
        json!({ "device": "freezer-07", "value": 0.05, "boot": 4_000_000_000_u32, "seq": 17 });
    let scope = Scope::new(&event, []);
    let effect = definition.steps[0].action.effect(&scope).unwrap();
    let Effect::DataProve(prove) = effect else {
        panic!("{effect:?}");
    };
    assert_eq!(
        (prove.boot, prove.number, prove.until_anchored),
        (4_000_000_000, 17, true)
    );
    assert_eq!(prove.device.as_str(), "freezer-07");
    // A document passes on as it is.
    let document = json!({ "format": "stencil-proof-2", "chunk": { "index": 3 } });
    let output = json!({ "document": document });
    let scope = Scope::new(&event, [("prove", &output)]);
    let Effect::ContentUpsert { fields, .. } = definition.steps[1].action.effect(&scope).unwrap()
    else {
        panic!("no entry");
    };
    assert_eq!(fields["proof"], document);
    // Time was the cause, and not a reading.
    let event = json!({ "device": "freezer-07", "value": 0.05, "boot": null, "seq": null });
    let scope = Scope::new(&event, []);
    let error = definition.steps[0].action.effect(&scope).unwrap_err();
    assert!(error.to_string().contains("`boot` is"), "{error}");
}

#[test]
fn what_an_author_may_not_write() {
    for (from, to, wrong) in [
        (
            "until: anchored",
            "until: final",
            "write `sealed` or `anchored`",
        ),
        (", number: \"{{ event.seq }}\"", "", "number"),
        (
            "device: \"{{ event.device }}\"",
            "device: \"a/b\"",
            "device",
        ),
        ("until: anchored", "chain: main", "chain"),
    ] {
        let text = GOOD.replace(from, to);
        assert_ne!(text, GOOD);
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.contains(wrong), "{to}: {error}");
    }
}

#[test]
fn an_editor_knows_it() {
    let schema = json_schema();
    assert!(schema.to_string().contains("data.prove"));
}

#[test]
fn a_seal_that_is_not_what_the_hub_has_is_a_cause() {
    let good = "id: told\nversion: 1\non: { seal: { mismatch: \"gw-*\" } }\nsteps:\n  - { id: note, \
        use: content.upsert, with: { collection: seals, key: \"{{ event.gateway }}\", \
        set: { why: \"{{ event.why }}\", devices: \"{{ event.devices }}\" } } }\n";
    let definition = parse(good).unwrap();
    let Source::Seal(of) = &definition.source else {
        panic!("{:?}", definition.source);
    };
    assert!(of.gateways.matches("gw-1") && !of.gateways.matches("other"));
    assert_eq!(
        definition.source.to_string(),
        "a seal of gw-* that is not what the hub has"
    );
    for (from, to, message) in [
        (
            "{ mismatch: \"gw-*\" }",
            "{ mismatch: \"gw 1\" }",
            "write a gateway's id, or a pattern such as \"gw-*\"",
        ),
        (
            "{ mismatch: \"gw-*\" }",
            "{ refused: \"gw-*\" }",
            "`refused` is not a key of `seal`; known keys: `mismatch`",
        ),
        ("event.why", "event.value", "`value`"),
        (
            "version: 1\n",
            "version: 1\nwhen: { above: 1 }\n",
            "`when` does not go with `on: { seal: … }`",
        ),
    ] {
        let error = parse(&good.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}
