//! Workflows whose cause is on a chain: what an author may write, and what is said about what they may
//! not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use stencil_payments::observation::Needs;
use stencil_payments::physical;
use stencil_workflow::definition::{Source, Undo, json_schema, parse};

const PAID: &str = r#"id: locker-paid
version: 1
on: { payment: { reference: "locker-*" } }
steps:
  - id: page
    use: content.upsert
    with: { collection: lockers, key: "{{ event.reference }}", set: { invoice: "{{ event.invoice }}" } }
  - id: open
    use: device.command
    with: { device: "{{ event.reference }}", command: open, expires: 30s }
    finality: { confirmations: 3 }
    undo: { command: close, argument: now, patience: 2m }
"#;

const EMITTED: &str = r#"id: opened
version: 2
on: { chain: { name: local, address: "0x5FbDB2315678afecb367f032d93F642f64180aa3", event: "Opened(address indexed who, uint256 locker)" } }
steps:
  - id: open
    use: device.command
    with: { device: "locker-{{ event.args.locker }}", command: open, expires: 30s }
    finality: final
    undo: none
"#;

#[test]
fn what_is_on_a_chain_is_a_cause() {
    let paid = parse(PAID).unwrap();
    let Source::Payment(payment) = &paid.source else {
        panic!("{:?}", paid.source)
    };
    assert!(payment.reference.matches("locker-7") && !payment.reference.matches("door-7"));
    assert!(paid.rule().is_none() && paid.placed().is_none());
    // What says nothing waits until its cause is final.
    let page = paid.steps[0].finality.as_ref().unwrap();
    assert!(page.needs == Needs::Finalized && page.undo.is_none());
    let open = paid.steps[1].finality.as_ref().unwrap();
    assert_eq!(open.needs, Needs::Confirmations(3));
    let Some(Undo::Command(undo)) = &open.undo else {
        panic!("{:?}", open.undo)
    };
    assert_eq!(undo.patience_us, 120_000_000);
    assert_eq!(undo.expires_us, 86_400_000_000);
    assert_eq!(
        open.terms().undo,
        physical::Undo::Compensate {
            patience_us: 120_000_000
        }
    );

    let emitted = parse(EMITTED).unwrap();
    let Source::Chain(of) = &emitted.source else {
        panic!("{:?}", emitted.source)
    };
    assert_eq!(of.name, "local");
    assert_eq!((of.event_at.line, of.name_at.line), (3, 3));
    assert_eq!(
        emitted.source.to_string(),
        "Opened(address indexed who, uint256 locker) of \
         0x5FbDB2315678afecb367f032d93F642f64180aa3 on local"
    );
    assert_eq!(paid.source.to_string(), "an invoice of locker-* is paid");
    for finality in ["included", "safe", "{ confirmations: 12 }", "final"] {
        let text = PAID.replace("{ confirmations: 3 }", finality);
        assert!(parse(&text).is_ok(), "{finality}");
    }
    let deep = EMITTED.replace("finality: final", "finality: { confirmations: 12 }");
    assert!(parse(&deep).is_ok());
}

/// A good definition with one piece replaced must be refused with this message.
#[track_caller]
fn refused(good: &str, from: &str, to: &str, message: &str) {
    assert!(good.contains(from), "{from}");
    let error = parse(&good.replacen(from, to, 1)).expect_err(to);
    assert_eq!(error.to_string(), message);
}

#[test]
fn one_cause_and_nothing_beside_it_that_is_of_telemetry() {
    refused(
        PAID,
        "{ payment: { reference: \"locker-*\" } }",
        "{}",
        "line 3, column 5: `on` has no `telemetry`, `payment`, `chain`, `access` or `seal`; add one, for example \
         `on: { telemetry: { devices: \"freezer-*\", name: temperature } }`",
    );
    refused(
        PAID,
        "{ payment: { reference: \"locker-*\" } }",
        "{ payment: { reference: a }, chain: {} }",
        "line 3, column 41: `on` has both `payment` and `chain`; write one of them; two causes are \
         two workflows",
    );
    refused(
        PAID,
        "{ payment:",
        "{ paymnet:",
        "line 3, column 7: `paymnet` is not a key of `on`; did you mean `payment`? known keys: \
         `telemetry`, `payment`, `chain`, `access`, `seal`",
    );
    for (more, message) in [
        (
            "when: { above: 1 }",
            "line 4, column 7: `when` does not go with `on: { payment: … }`; leave it out: it is a \
             cause by itself",
        ),
        (
            "place: { gateways: a }",
            "line 4, column 8: `place` does not go with `on: { payment: … }`; leave it out: gateways \
             do not see it",
        ),
        (
            "alarm: { severity: major }",
            "line 4, column 8: `alarm` does not go with `on: { payment: … }`; leave it out: an alarm \
             is of a device whose condition holds; tell people by a step",
        ),
    ] {
        refused(PAID, "steps:", &format!("{more}\nsteps:"), message);
    }
    let text = PAID.split("steps:").next().unwrap();
    let error = parse(text).unwrap_err();
    assert!(error.what.contains("has no `steps`"), "{error}");
}

#[test]
fn what_cannot_be_watched_is_refused() {
    refused(
        PAID,
        "\"locker-*\"",
        "\"locker 1\"",
        "line 3, column 29: the pattern \"locker 1\" holds ' ' at character 7: letters, digits, '.', \
         '_', '-', '*' and '?' are allowed; write an invoice's reference, or a pattern such as \
         \"locker-*\"",
    );
    refused(
        EMITTED,
        "0x5FbDB2315678afecb367f032d93F642f64180aa3",
        "0x5FbD",
        "line 3, column 38: the address is \"0x5FbD\"; write 0x and 40 hexadecimal digits",
    );
    refused(
        EMITTED,
        "0x5FbDB2315678afecb367f032d93F642f64180aa3",
        "0x5fbDB2315678afecb367f032d93F642f64180aa3",
        "line 3, column 38: the address is \"0x5fbDB2315678afecb367f032d93F642f64180aa3\"; its \
         checksum (EIP-55) is wrong, so a digit may be; if none is, write \
         0x5FbDB2315678afecb367f032d93F642f64180aa3",
    );
    refused(
        EMITTED,
        "name: local",
        "name: \"\"",
        "line 3, column 22: the chain's `name` is ``; write the name that the chain has in the \
         hub's settings",
    );
    refused(
        EMITTED,
        ", event: \"Opened(address indexed who, uint256 locker)\"",
        "",
        "line 3, column 14: `chain` has no `event`; add one, for example `event: \"Opened(address \
         indexed who, uint256 locker)\"`",
    );
    let lower = EMITTED.replace(
        "0x5FbDB2315678afecb367f032d93F642f64180aa3",
        "0x5fbdb2315678afecb367f032d93f642f64180aa3",
    );
    assert!(parse(&lower).is_ok(), "without a checksum");
}

#[test]
fn a_device_says_how_deep_and_how_it_is_undone() {
    refused(
        PAID,
        "    finality: { confirmations: 3 }\n",
        "",
        "line 8, column 5: a step has no `finality`; add one, for example `finality: final`",
    );
    refused(
        PAID,
        "    undo: { command: close, argument: now, patience: 2m }\n",
        "",
        "line 8, column 5: a step has no `undo`; add one, for example `undo: { command: close, \
         patience: 1m }`",
    );
    refused(
        PAID,
        "finality: { confirmations: 3 }",
        "finality: soon",
        "line 11, column 15: `finality` is `soon`; write included, { confirmations: 3 }, safe or \
         final",
    );
    refused(
        PAID,
        "confirmations: 3",
        "confirmations: 0",
        "line 11, column 32: `confirmations` is 0; write a whole number from 1 to 100000",
    );
    refused(
        PAID,
        "undo: { command: close, argument: now, patience: 2m }",
        "undo: never",
        "line 12, column 11: `undo` is `never`; write none, or the command that undoes it: \
         { command: close, patience: 1m }",
    );
    refused(
        PAID,
        "patience: 2m",
        "patience: 2d",
        "line 12, column 54: `patience` is `2d`; between 0s and 1d are allowed",
    );
    refused(
        EMITTED,
        "finality: final",
        "finality: { confirmations: 3 }",
        "line 8, column 15: `finality` is not deep enough: what can't be undone needs the tag \
         'finalized', or at least 12 confirmations where a chain has no tags; write `finality: \
         final`, `finality: { confirmations: 12 }`, or an `undo` with a command",
    );
    refused(
        EMITTED,
        "finality: final",
        "finality: safe",
        "line 8, column 15: `finality` is not deep enough: what can't be undone needs the tag \
         'finalized', or at least 12 confirmations where a chain has no tags; write `finality: \
         final`, `finality: { confirmations: 12 }`, or an `undo` with a command",
    );
}

#[test]
fn who_tells_no_device_has_nothing_to_undo() {
    refused(
        PAID,
        "\"{{ event.invoice }}\" } }\n",
        "\"{{ event.invoice }}\" } }\n    undo: none\n",
        "line 8, column 11: `undo` does not go with content.upsert; leave it out: only a \
         device.command can be undone",
    );
    const WARM: &str = "id: warm\nversion: 1\non: { telemetry: { devices: \"*\", name: t } }\n\
        when: { above: 1 }\nsteps:\n  - id: open\n    use: device.command\n    \
        with: { device: a, command: open, expires: 30s }\n    extra: no\n";
    for (key, value) in [("finality", "final"), ("undo", "none")] {
        refused(
            WARM,
            "extra: no",
            &format!("{key}: {value}"),
            &format!(
                "line 9, column {}: `{key}` does not go with `on: {{ telemetry: … }}`; leave it out: \
                 only what has its cause on a chain can lose it",
                key.len() + 7
            ),
        );
    }
}

#[test]
fn templates_see_what_there_is_of_their_cause() {
    refused(
        PAID,
        "event.invoice",
        "event.device",
        "line 7, column 80: `event.device`: an event has no `device`; known: \
         `tenant`, `invoice`, `reference`, `title`, `metadata`, `price`, `payers`, `time_us`",
    );
    let error = parse(&EMITTED.replace("event.args.locker", "event.reference")).unwrap_err();
    assert!(error.what.contains("has no `reference`"), "{error}");
}

#[test]
fn the_schema_knows_the_causes() {
    let schema = json_schema();
    let on = schema["properties"]["on"]["oneOf"].as_array().unwrap();
    let kinds: Vec<_> = on.iter().map(|one| one["required"][0].clone()).collect();
    assert_eq!(kinds, ["telemetry", "payment", "chain", "access", "seal"]);
    assert_eq!(schema["then"]["required"][0], "when");
    let steps = &schema["properties"]["steps"]["items"]["oneOf"];
    for step in steps.as_array().unwrap() {
        assert!(step["properties"]["finality"].is_object());
        assert!(step["properties"]["undo"].is_object());
    }
}

const CALLS: &str = r#"id: calls
version: 1
on: { telemetry: { devices: "*", name: t } }
when: { above: 1 }
steps:
  - id: state
    use: chain.call
    with: { chain: local, address: "0x5FbDB2315678afecb367f032d93F642f64180aa3", function: "stateOf(uint256) returns (uint8)", arguments: ["{{ event.seq }}"] }
  - id: pay
    use: chain.send
    with: { chain: local, address: "0x5FbDB2315678afecb367f032d93F642f64180aa3", function: "open(uint256)", arguments: [7, "{{ steps.state.result }}"], gas: 90000, until: final }
  - { id: tip, use: chain.send, with: { chain: local, address: "0x5FbDB2315678afecb367f032d93F642f64180aa3", value: "1000" } }
"#;

#[test]
fn contracts_are_called_and_sent_to_also_because_of_telemetry() {
    use stencil_workflow::Effect;
    use stencil_workflow::template::Scope;
    let calls = parse(CALLS).unwrap();
    let scope = Scope::new(
        &serde_json::json!({ "seq": 12 }),
        [("state", &serde_json::json!({ "result": "2" }))],
    );
    let Effect::ChainCall(call) = calls.steps[0].action.effect(&scope).unwrap() else {
        panic!()
    };
    assert_eq!(call.arguments, [serde_json::json!(12)]);
    let Effect::ChainSend(send) = calls.steps[1].action.effect(&scope).unwrap() else {
        panic!()
    };
    let (signature, arguments) = send.function.unwrap();
    assert_eq!(signature, "open(uint256)");
    assert_eq!(arguments, [serde_json::json!(7), serde_json::json!("2")]);
    assert!(send.value.is_zero() && send.until_final && send.gas == 90_000);
    let Effect::ChainSend(tip) = calls.steps[2].action.effect(&scope).unwrap() else {
        panic!()
    };
    assert_eq!(
        (tip.function, tip.value.to_string().as_str()),
        (None, "1000")
    );
    refused(
        CALLS,
        ", value: \"1000\"",
        "",
        "line 12, column 39: the `with` of chain.send has neither `function` nor `value`; add one, for \
         example `value: \"1000000000000000\"` (wei)",
    );
    refused(
        CALLS,
        "value: \"1000\"",
        "value: \"1.5 ether\"",
        "line 12, column 117: `value` is \"1.5 ether\"; write wei as decimal digits, for example \
         \"1000000000000000\"",
    );
    refused(
        CALLS,
        "until: final",
        "until: soon",
        "line 11, column 172: `until` is `soon`; write included (until it is in a block) or final",
    );
    refused(
        CALLS,
        "gas: 90000",
        "gas: 9",
        "line 11, column 158: `gas` is 9; write a whole number from 21000 to 30000000",
    );
    let error = parse(&CALLS.replace("steps.state.result", "steps.state.value")).unwrap_err();
    assert!(
        error.what.contains("chain.call gives no `value`"),
        "{error}"
    );
}
