//! What an author may write, and what is said about what they may not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use stencil_workflow::definition::{Action, Retry, json_schema, parse};
use stencil_workflow::template::{Scope, Template};

const GOOD: &str = r#"
id: freezer-warm
version: 3
on: { telemetry: { devices: "freezer-*", name: temperature } }
when: { above: -12.0, for: 3s }
steps:
  - id: notice
    use: content.upsert
    with:
      collection: notices
      key: "{{ event.device }}"
      set: { title: "Freezer {{ event.device }} is warm", value: "{{ event.value }}", tags: [cold, 1, true, null] }
    retry: { max: 5, initial: 1s, cap: 1m }
    timeout: 250ms
  - { id: page, use: content.publish, with: { collection: notices, key: "{{ steps.notice.key }}" } }
  - { id: tell, use: webhook.post, with: { url: "http://127.0.0.1:9/hook", body: { version: "{{ steps.page.version }}" }, secret: ops } }
  - { id: lock, use: device.command, with: { device: "lock-{{ event.device | replace('freezer-', '') }}", command: lock, argument: 1, expires: 30s } }
"#;

#[test]
fn a_whole_definition_is_understood() {
    let definition = parse(GOOD).unwrap();
    assert_eq!(
        (definition.id.as_str(), definition.version),
        ("freezer-warm", 3)
    );
    assert!(definition.rule().unwrap().devices.matches("freezer-07"));
    assert_eq!(
        definition.rule().unwrap().name.as_deref(),
        Some("temperature")
    );
    assert_eq!(definition.rule().unwrap().condition.hold_us(), 3_000_000);
    let uses: Vec<_> = definition
        .steps
        .iter()
        .map(|step| step.action.uses())
        .collect();
    assert_eq!(
        uses,
        [
            "content.upsert",
            "content.publish",
            "webhook.post",
            "device.command"
        ]
    );
    let notice = &definition.steps[0];
    assert_eq!(
        notice.retry,
        Retry {
            max: 5,
            initial_us: 1_000_000,
            cap_us: 60_000_000
        }
    );
    assert_eq!(notice.timeout_us, 250_000);
    assert_eq!(definition.steps[1].retry, Retry::default());
    assert!(matches!(
        definition.steps[3].action,
        Action::DeviceCommand {
            expires_us: 30_000_000,
            ..
        }
    ));
}

#[test]
fn json_is_yaml_too() {
    let json = r#"{"id":"a","version":1,"on":{"telemetry":{"devices":"*","name":"t"}},
        "when":{"below":2},"steps":[{"id":"p","use":"content.publish","with":{"collection":"c","key":"k"}}]}"#;
    assert_eq!(parse(json).unwrap().rule().unwrap().condition.hold_us(), 0);
}

/// A good definition with one piece replaced must be refused with this message.
#[track_caller]
fn refused(from: &str, to: &str, message: &str) {
    assert!(GOOD.contains(from), "{from}");
    let error = parse(&GOOD.replacen(from, to, 1)).expect_err(to);
    assert_eq!(error.to_string(), message);
}

#[test]
fn keys_that_are_unknown_missing_or_doubled() {
    refused(
        "version: 3",
        "version: 3\nverison: 4",
        "line 4, column 1: `verison` is not a key of a workflow; did you mean `version`? \
         known keys: `id`, `version`, `title`, `on`, `when`, `place`, `alarm`, `steps`",
    );
    refused(
        "timeout: 250ms",
        "concurrency: 1",
        "line 14, column 5: `concurrency` is not a key of a step; \
         known keys: `id`, `use`, `with`, `retry`, `timeout`, `finality`, `undo`",
    );
    refused(
        "name: temperature } }",
        "sample: temperature } }",
        "line 4, column 42: `sample` is not a key of `telemetry`; known keys: `devices`, `name`",
    );
    refused(
        "command: lock,",
        "comand: lock,",
        "line 17, column 107: `comand` is not a key of the `with` of device.command; \
         did you mean `command`? known keys: `device`, `command`, `argument`, `expires`",
    );
    refused(
        "version: 3\n",
        "",
        "line 2, column 1: a workflow has no `version`; add one, for example `version: 1`",
    );
    refused(
        ", expires: 30s",
        "",
        "line 17, column 44: the `with` of device.command has no `expires`; \
         add one, for example `expires: 30s`",
    );
    let twice = parse(&GOOD.replacen("version: 3", "version: 3\nversion: 4", 1)).unwrap_err();
    assert_eq!((twice.at.line, twice.at.column), (4, 1));
    assert!(
        twice.what.ends_with("the key `version` is there twice"),
        "{twice}"
    );
}

#[test]
fn what_of_admissions_at_gateways_starts_one() {
    let with = |on: &str, says: &str| {
        format!(
            "id: door\nversion: 1\non: {{ access: {on} }}\nsteps:\n  - {{ id: tell, use: content.upsert, \
             with: {{ collection: c, key: k, set: {{ says: '{{{{ event.{says} }}}}' }} }} }}\n"
        )
    };
    let source = |on: &str, says: &str| parse(&with(on, says)).map(|it| it.source.to_string());
    assert_eq!(
        source("{ conflict: 'locker-*' }", "reason").unwrap(),
        "an admission at locker-* that conflicts"
    );
    assert_eq!(
        source("{ new_chain: 'gw-*' }", "missing").unwrap(),
        "a new chain of receipts of gw-*"
    );
    // Each has fields of its own.
    source("{ new_chain: 'gw-*' }", "reason").unwrap_err();
    source("{ conflict: 'locker-*' }", "missing").unwrap_err();
    for (on, told) in [
        (
            "{ conflict: 'a', new_chain: 'b' }",
            "both `conflict` and `new_chain`",
        ),
        ("{ new_chain: '' }", "a gateway's id, or a pattern"),
        ("{ }", "`conflict`"),
        ("{ newchain: 'b' }", "did you mean `new_chain`?"),
    ] {
        let no = source(on, "tenant").unwrap_err().to_string();
        assert!(no.contains(told), "{on}: {no}");
    }
}

#[test]
fn a_right_gives_commands_by_the_rule_of_rights() {
    let with = |command: &str| {
        format!(
            "id: door\nversion: 1\non: {{ payment: {{ reference: 'r-*' }} }}\nsteps:\n  - {{ id: give, \
             use: access.grant, finality: included, with: {{ holder: '{{{{ event.payers[0] }}}}', \
             device: locker-1, commands: [\"{command}\"] }} }}\n"
        )
    };
    parse(&with("unlock.left-2")).unwrap();
    let longer = "a".repeat(33);
    let no_name = "is no name of a command";
    for (bad, why) in [
        ("un lock", no_name),
        ("öffnen", no_name),
        (
            &longer,
            "a…”, of 33 characters, is too long for the name of a command",
        ),
    ] {
        let no = parse(&with(bad)).unwrap_err().to_string();
        let rule = "1 to 32 letters, digits, '.', '_' or '-' are right";
        assert!(no.ends_with(&format!("{why}; {rule}")), "{no}");
    }
}

#[test]
fn what_is_no_yaml_is_told_without_the_parsers_insides() {
    for (yaml, why) in [
        ("id: a\n  on: b\n", "look at the indentation, the quotes"),
        ("id: \"a\nversion: 1\n", ""),
        ("id: [a, b\nversion: 1\n", ""),
        ("id: a: b\n", "look at the indentation, the quotes"),
        ("id: &a b\n", "an anchor, an alias or a merge key"),
        ("id: *a\n", "an anchor, an alias or a merge key"),
        ("a: 1\n---\nb: 2\n", "there is more than one document"),
        (
            "id: 18446744073709551615\n",
            "the number is larger than 92233",
        ),
        (
            &("[".repeat(30) + &"]".repeat(30)),
            "it is nested more than 16 deep",
        ),
    ] {
        let error = parse(yaml).unwrap_err();
        assert!(error.what.contains(why), "{yaml:?}: {error}");
        for inside in [
            "expected",
            "token",
            "event",
            "Scalar",
            "budget",
            "breach",
            "simple key",
        ] {
            assert!(!error.what.contains(inside), "{yaml:?}: {error}");
        }
    }
}

#[test]
fn values_of_the_wrong_kind_or_size() {
    refused(
        "version: 3",
        "version: 0",
        "line 3, column 10: `version` is 0; write a whole number from 1 to 2147483647",
    );
    refused(
        "version: 3",
        "version: three",
        "line 3, column 10: `version` is text; write a whole number from 1 to 2147483647",
    );
    refused(
        "id: freezer-warm",
        "id: freezer/warm",
        "line 2, column 5: `id` is `freezer/warm`; write 1 to 48 letters, digits, '.', '_' or '-', \
         beginning with a letter or digit",
    );
    refused(
        "id: freezer-warm",
        "id: 7",
        "line 2, column 5: `id` is a number; write text; put it in quotes when it looks like \
         a number, true, false or null",
    );
    refused(
        "for: 3s",
        "for: 3",
        "line 5, column 28: `for` is a number; write a whole number with its unit: \
         250ms, 3s, 1m, 2h or 7d",
    );
    refused(
        "for: 3s",
        "for: 31d",
        "line 5, column 28: `for` is `31d`; between 0s and 30d are allowed",
    );
    refused(
        "above: -12.0",
        "above: warm",
        "line 5, column 16: `above` is text; write a number, for example -12.0",
    );
    refused(
        "above: -12.0",
        "above: -12.0, below: 3",
        "line 5, column 30: `when` has both `above` and `below`; \
         write one of them; two conditions are two workflows",
    );
    refused(
        "above: -12.0, ",
        "",
        "line 5, column 7: `when` says no condition; add one of `above`, `below`, `absent`, `rate`, \
         `window`, `expr`, for example `above: -12.0`",
    );
    refused(
        "\"freezer-*\"",
        "\"sites/*\"",
        "line 4, column 29: the device pattern \"sites/*\" holds '/' at character 6: letters, digits, \
         '.', '_', '-', '*' and '?' are allowed; write a device id, or a pattern such as \"freezer-*\"",
    );
    refused(
        "cap: 1m",
        "cap: 1ms",
        "line 13, column 40: `cap` is `1ms`; between 1s and 1d are allowed",
    );
    refused(
        "max: 5",
        "max: 5000",
        "line 13, column 19: `max` is 5000; write a whole number from 0 to 1000",
    );
    refused(
        "id: page",
        "id: the-page",
        "line 15, column 11: the step's `id` is `the-page`; write 1 to 32 lower-case letters, digits \
         or '_', beginning with a letter, so that templates can say steps.<id>",
    );
    refused(
        "id: page",
        "id: notice",
        "line 15, column 11: there is a step `notice` already; give each step an id of its own",
    );
    refused(
        "http://127",
        "ftp://127",
        "line 16, column 49: `url` is `ftp://127.0.0.1:9/hook`; \
         write a URL that begins with https:// or http://",
    );
    refused(
        "argument: 1",
        "argument: [1]",
        "line 17, column 132: `argument` is a list; write a number, true, false or text",
    );
    refused(
        "use: webhook.post",
        "use: webhook.pots",
        "line 16, column 22: there is no `webhook.pots` to use; did you mean `webhook.post`? \
         known: `content.upsert`, `content.publish`, `webhook.post`, `mail.send`, `device.command`, `chain.call`, `chain.send`, `credential.issue`, `access.grant`, `data.prove`",
    );
    refused(
        "collection: notices\n",
        "collection: no/tices\n",
        "line 10, column 19: `collection` is \"no/tices\"; 1 to 128 letters, digits, '.', '_' or '-', \
         beginning with a letter or digit, are allowed",
    );
}

#[test]
fn templates_are_checked_when_they_are_read() {
    refused(
        "{{ steps.notice.key }}",
        "{{ steps.notice.key",
        "line 15, column 73: `{{` is not closed; close it with `}}`",
    );
    refused(
        "{{ steps.notice.key }}",
        "{{ event.devcie }}",
        "line 15, column 73: `event.devcie`: an event has no `devcie`; did you mean `device`? known: \
         `tenant`, `device`, `name`, `value`, `unit`, `time_us`, `since_us`, `boot`, `seq`",
    );
    refused(
        "{{ steps.notice.key }}",
        "{{ steps.tell.status }}",
        "line 15, column 73: `steps.tell.status`: no step before this one has the id `tell`; \
         known: `notice`",
    );
    refused(
        "{{ steps.notice.key }}",
        "{{ steps.notice.url }}",
        "line 15, column 73: `steps.notice.url`: content.upsert gives no `url`; \
         known: `collection`, `key`, `version`",
    );
    refused(
        "{{ event.device }}",
        "{{ steps.page.key }}",
        "line 11, column 12: `steps.page.key`: no step before this one has the id `page`; \
         this is the first step: only `event` is there",
    );
    refused(
        "{{ event.value }}",
        "{{ now() }}",
        "line 12, column 66: `now`: there is no `now`; known: `event`, `steps`",
    );
    refused(
        "{{ event.value }}",
        "{{ event.value + }}",
        "line 12, column 66: `event.value +` is not an expression: unexpected end of input, \
         expected expression; write for example {{ event.device }} or {{ event.value | round(1) }}",
    );
}

#[test]
fn limits_on_the_number_of_steps_and_the_size() {
    let head = GOOD.split("steps:").next().unwrap();
    let step = |n: usize| {
        format!("  - {{ id: s{n}, use: content.publish, with: {{ collection: c, key: k }} }}\n")
    };
    let with = |count: usize| format!("{head}steps:\n{}", (0..count).map(step).collect::<String>());
    assert_eq!(parse(&with(32)).unwrap().steps.len(), 32);
    let error = parse(&with(33)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 7, column 3: there are 33 steps; write 1 to 32"
    );
    assert!(
        parse(&format!("{head}steps: []\n"))
            .unwrap_err()
            .what
            .contains("0 steps")
    );
    let long = "x".repeat(2_049);
    let error = parse(&GOOD.replacen("{{ event.value }}", &long, 1)).unwrap_err();
    assert!(
        error.what.contains("the template has 2049 bytes"),
        "{error}"
    );
    for text in ["", "[]", "7", "---\n", "\0", "a: b: c", "\u{feff}"] {
        assert!(parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn the_schema_names_the_same_keys() {
    let schema = json_schema();
    assert_eq!(
        schema["required"],
        serde_json::json!(["id", "version", "on"])
    );
    assert_eq!(
        schema["anyOf"],
        serde_json::json!([{ "required": ["alarm"] }, { "required": ["steps"] }])
    );
    let kinds = schema["properties"]["when"]["oneOf"].as_array().unwrap();
    for when in [
        "{ above: 1.0, clear: 0.5, for: 1s }",
        "{ below: 1.0 }",
        "{ absent: 5m }",
        "{ rate: { over: 1m, above: 1.0, clear: 0.5 }, for: 1m }",
        "{ window: { of: p95, over: 10m, lateness: 1m, below: 1.0 } }",
        "{ expr: \"event.value > 1.0\", for: 1s }",
    ] {
        let yaml = format!(
            "id: a\nversion: 1\ntitle: A\non: {{ telemetry: {{ devices: a, name: n }} }}\n\
             when: {when}\nalarm: {{ severity: minor, title: t }}\n"
        );
        assert_eq!(
            parse(&yaml).unwrap().alarm.unwrap().severity.as_str(),
            "minor"
        );
        let kind = when.split([' ', ':']).nth(1).unwrap();
        let of_kind = kinds.iter().filter(|one| one["required"][0] == kind);
        assert_eq!(of_kind.count(), 1, "{kind}");
    }
    let steps = schema["properties"]["steps"]["items"]["oneOf"]
        .as_array()
        .unwrap();
    let definition = parse(GOOD).unwrap();
    for step in &definition.steps {
        let uses = step.action.uses();
        let found = steps
            .iter()
            .find(|schema| schema["properties"]["use"]["const"] == uses);
        let with = &found.unwrap()["properties"]["with"];
        assert_eq!(with["additionalProperties"], false, "{uses}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_cut_or_disturbed_definition_makes_it_panic(
        at in 0..GOOD.len(),
        cut in 0_usize..40,
        put in prop_oneof!["[\\[\\]{}:,\"'|>&*!%@`#?-]{0,4}", "\\PC{0,4}", "[ \\t\\n]{0,3}"],
    ) {
        let end = (at + cut).min(GOOD.len());
        let disturbed = format!("{}{put}{}", &GOOD[..at], &GOOD[end..]);
        if let Err(error) = parse(&disturbed) {
            prop_assert!(!error.what.is_empty() && !error.right.is_empty(), "{error}");
        }
    }

    #[test]
    fn no_template_makes_it_panic(source in prop_oneof![
        "\\PC{0,60}",
        "[{}%#'\"|. a-c0-9~+/()\\[\\]*-]{0,40}",
        "\\{\\{ [a-c0-9 .|()~+'-]{0,30} \\}\\}",
    ]) {
        let scope = Scope::new(&serde_json::json!({ "a": 1.5, "b": "text" }), []);
        if let Ok(template) = Template::parse(&source) {
            let _ = (template.text(&scope), template.value(&scope), template.names());
        }
    }
}
