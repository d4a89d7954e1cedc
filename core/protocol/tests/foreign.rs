//! ThingsBoard JSON: what is right is kept, what is not is named with its place.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use stencil_protocol::foreign::{Error, MAX_BYTES, MAX_REJECTED, MAX_SAMPLES, Parsed, thingsboard};
use stencil_protocol::sample::OwnedValue;

const NOW: i64 = 1_700_000_000_000_000;

fn parse(json: &str) -> Parsed {
    thingsboard::parse(json.as_bytes(), NOW).unwrap()
}

fn taken(json: &str) -> Vec<(String, OwnedValue, i64)> {
    let parsed = parse(json);
    assert_eq!(parsed.rejected, [], "{json}");
    parsed
        .samples
        .into_iter()
        .map(|s| (s.name, s.value, s.time_us))
        .collect()
}

fn rejected(json: &str) -> Vec<(String, String)> {
    parse(json)
        .rejected
        .into_iter()
        .map(|r| (r.path, r.reason))
        .collect()
}

#[test]
fn the_forms_of_thingsboard() {
    let t = |value: OwnedValue, at| ("t".to_owned(), value, at);
    assert_eq!(taken(r#"{"t": 1.5}"#), [t(OwnedValue::Number(1.5), NOW)]);
    assert_eq!(
        taken(r#"{"ts": 1500, "values": {"t": -3}}"#),
        [t(OwnedValue::Integer(-3), 1_500_000)]
    );
    assert_eq!(
        taken(r#"[{"t": true}, {"ts": 2, "values": {"t": "on"}}]"#),
        [
            t(OwnedValue::Bool(true), NOW),
            t(OwnedValue::Text("on".into()), 2_000)
        ]
    );
    // Without `values` beside it, `ts` is a key like any other, as on ThingsBoard.
    assert_eq!(
        taken(r#"{"ts": 5}"#),
        [("ts".into(), OwnedValue::Integer(5), NOW)]
    );
    assert_eq!(taken("{}"), []);
    assert_eq!(taken("[]"), []);
}

#[test]
fn the_rest_is_kept() {
    let parsed = parse(r#"{"a": 1, "b": null, "c": {"d": 1}, "e": [1], "f": 2}"#);
    let names: Vec<_> = parsed.samples.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["a", "f"]);
    let paths: Vec<_> = parsed.rejected.iter().map(|r| r.path.as_str()).collect();
    assert_eq!(paths, ["$.b", "$.c", "$.e"]);
}

#[test]
fn a_number_that_is_too_large_costs_only_itself() {
    for (json, path) in [
        (r#"{"a": 1, "b": 1e999, "c": 2}"#, "$.b"),
        (
            r#"[{"ts": 1, "values": {"a": 1, "b": -1e999, "c": 2}}]"#,
            "$[0].values.b",
        ),
    ] {
        let parsed = parse(json);
        let names: Vec<_> = parsed.samples.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["a", "c"], "{json}");
        assert_eq!(
            rejected(json),
            [(path.to_owned(), "a number that is too large".to_owned())]
        );
    }
    assert_eq!(
        rejected(r#"{"ts": 1e999, "values": {"a": 1}}"#)[0].0,
        "$.ts"
    );
    // A surrogate without its other half is no text.
    assert_eq!(rejected(r#"{"a": "\ud800", "b": 1}"#)[0].0, "$.a");
    assert_eq!(parse(r#"{"a": "\ud83d\ude00"}"#).samples.len(), 1);
}

#[test]
fn each_rejection_has_its_place_and_reason() {
    let long = "k".repeat(65);
    for (json, path, reason) in [
        (r#"[{"a":1}, 7]"#, "$[1]", "a number, not an object"),
        (
            r#"[{"ts":1,"values":{"a":null}}]"#,
            "$[0].values.a",
            "null, not a number",
        ),
        (
            r#"{"ts":"1","values":{"a":1}}"#,
            "$.ts",
            "not a time in whole milliseconds",
        ),
        (
            r#"{"ts":9223372036854775807,"values":{"a":1}}"#,
            "$.ts",
            "not a time",
        ),
        (
            r#"{"ts":1,"values":7}"#,
            "$.values",
            "a number, not an object",
        ),
        (r#"{"":1}"#, "$.", "a sample's name may not be empty"),
        (
            &format!(r#"{{"{long}":1}}"#),
            &format!("$.{}…", &long[..64]),
            "a sample's name may have",
        ),
    ] {
        let found = rejected(json);
        assert_eq!(found.len(), 1, "{json}");
        assert_eq!(found[0].0, path);
        assert!(found[0].1.starts_with(reason), "{}", found[0].1);
    }
}

#[test]
fn what_is_no_json_is_told_with_line_and_column() {
    let Err(Error::Json { line, column, what }) = thingsboard::parse(b"{\n \"a\": }", NOW) else {
        panic!("taken");
    };
    assert_eq!((line, column, what.as_str()), (2, 7, "expected value"));
    let deep = "[".repeat(1000);
    assert!(matches!(
        thingsboard::parse(deep.as_bytes(), NOW),
        Err(Error::Json { .. })
    ));
    let error = thingsboard::parse(b"7", NOW).unwrap_err();
    assert_eq!(error, Error::Shape { found: "a number" });
    assert!(error.to_string().contains(r#"{"key": value}"#), "{error}");
    let long = vec![b' '; MAX_BYTES + 1];
    assert_eq!(
        thingsboard::parse(&long, NOW),
        Err(Error::TooLong {
            bytes: MAX_BYTES + 1
        })
    );
}

#[test]
fn counts_are_bounded() {
    let many: Vec<String> = (0..MAX_SAMPLES + 5)
        .map(|n| format!("\"k{n}\":{n}"))
        .collect();
    let parsed = parse(&format!("{{{}}}", many.join(",")));
    assert_eq!(parsed.samples.len(), MAX_SAMPLES);
    assert_eq!(parsed.rejected.len(), 1);
    assert!(parsed.rejected[0].reason.starts_with("5 values beyond"));

    let many: Vec<String> = (0..MAX_REJECTED + 7)
        .map(|n| format!("\"k{n}\":null"))
        .collect();
    let parsed = parse(&format!("{{{}}}", many.join(",")));
    assert_eq!(parsed.rejected.len(), MAX_REJECTED + 1);
    assert!(parsed.rejected[MAX_REJECTED].reason.starts_with("7 more"));
}

proptest! {
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = thingsboard::parse(&bytes, NOW);
    }

    #[test]
    fn any_text_of_json_characters(text in "[\\[\\]{}\":,0-9a-z.eE+-]{0,60}", now in any::<i64>()) {
        if let Ok(parsed) = thingsboard::parse(text.as_bytes(), now) {
            for sample in parsed.samples {
                prop_assert_eq!(sample.as_ref().check(), Ok(()));
            }
        }
    }
}
