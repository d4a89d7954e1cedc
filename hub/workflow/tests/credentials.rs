//! Steps that issue credentials: what an author may write, and what comes of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::json;
use stencil_workflow::Effect;
use stencil_workflow::definition::{json_schema, parse};
use stencil_workflow::template::Scope;

const GOOD: &str = r#"id: calibrated
version: 1
on: { telemetry: { devices: "*", name: deviation } }
when: { above: 0 }
steps:
  - id: certificate
    use: credential.issue
    with:
      kind: CalibrationCertificate
      name: "Calibration of {{ event.device }}"
      device: "{{ event.device }}"
      claims: { deviation: "{{ event.value }}", by: [Ann, Bob] }
      valid: 365d
  - { id: tell, use: webhook.post, with: { url: "https://example.org/x", body: { id: "{{ steps.certificate.credential }}" } } }
"#;

#[test]
fn what_is_issued_follows_from_the_event() {
    let definition = parse(GOOD).unwrap();
    let event = json!({ "device": "freezer-07", "value": 0.05 });
    let scope = Scope::new(&event, []);
    let effect = definition.steps[0].action.effect(&scope).unwrap();
    let Effect::CredentialIssue(issue) = effect else {
        panic!("{effect:?}");
    };
    assert_eq!(issue.kind, "CalibrationCertificate");
    assert_eq!(issue.name.as_deref(), Some("Calibration of freezer-07"));
    assert_eq!(issue.device.unwrap().as_str(), "freezer-07");
    assert_eq!(issue.subject, None);
    assert_eq!(
        json!(issue.claims),
        json!({ "deviation": 0.05, "by": ["Ann", "Bob"] })
    );
    assert_eq!(issue.valid_us, Some(365 * 86_400_000_000));
    // What the event has may be no device's id.
    let event = json!({ "device": "no/device", "value": 0.05 });
    let scope = Scope::new(&event, []);
    let error = definition.steps[0].action.effect(&scope).unwrap_err();
    assert!(error.to_string().contains("`device` is"), "{error}");
}

#[test]
fn what_an_author_may_not_write() {
    for (from, to, wrong) in [
        (
            "kind: CalibrationCertificate",
            "kind: a b",
            "write letters and digits",
        ),
        (
            "      device: \"{{ event.device }}\"\n",
            "",
            "one of `device` and `subject`",
        ),
        (
            "device: \"{{ event.device }}\"\n",
            "device: d\n      subject: urn:x:1\n",
            "one of `device` and `subject`",
        ),
        (
            "device: \"{{ event.device }}\"\n",
            "device: no/device\n",
            "`device` is",
        ),
        ("by: [Ann, Bob]", "id: x", "its id is `device` or `subject`"),
        (
            "claims: { deviation: \"{{ event.value }}\", by: [Ann, Bob] }",
            "claims: x",
            "write a map",
        ),
        ("valid: 365d", "valid: 200000d", "`valid`"),
        ("valid: 365d", "until: 365d", "until"),
        (
            "steps.certificate.credential",
            "steps.certificate.url",
            "`credential`, `subject`",
        ),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let error = parse(&GOOD.replacen(from, to, 1))
            .expect_err(to)
            .to_string();
        assert!(error.contains(wrong), "{wrong}: {error}");
    }
}

#[test]
fn the_schema_has_the_step() {
    let schema = json_schema();
    let steps = schema["properties"]["steps"]["items"]["oneOf"]
        .as_array()
        .unwrap();
    let found = steps
        .iter()
        .find(|step| step["properties"]["use"]["const"] == "credential.issue");
    let with = &found.expect("the step")["properties"]["with"];
    assert_eq!(with["additionalProperties"], false);
    assert_eq!(with["required"], json!(["kind", "claims"]));
}
