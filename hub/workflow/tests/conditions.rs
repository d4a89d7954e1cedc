//! The forms of `when`: what each is read as, and what is said where it is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use stencil_rules::Condition;
use stencil_workflow::definition::{Definition, Error, json_schema, parse};

/// A workflow whose second line is this `when`.
fn read(when: &str) -> Result<Definition, Error> {
    parse(&format!(
        "on: {{ telemetry: {{ devices: \"freezer-*\", name: temperature }} }}\n\
         when: {when}\n\
         id: a\nversion: 1\nalarm: {{ severity: major }}\n"
    ))
}

#[test]
fn each_form_is_read_as_what_it_says() {
    for (when, kind, said) in [
        ("{ above: -12 }", "threshold", "the value is above -12"),
        (
            "{ below: 3.5, clear: 4, for: 90s }",
            "threshold",
            "the value is below 3.5 until at least 4 for 90s",
        ),
        ("{ absent: 10m }", "absence", "there is no sample for 10m"),
        (
            "{ rate: { over: 1m, above: 0.5, clear: 0.1 }, for: 3m }",
            "rate",
            "the change per second over 1m is above 0.5 until at most 0.1 for 3m",
        ),
        (
            "{ window: { of: p95, over: 1h, lateness: 2m, above: 5 } }",
            "window",
            "the p95 over 1h is above 5",
        ),
        (
            "{ window: { of: count, over: 10s, below: 3 }, for: 1m }",
            "window",
            "the count over 10s is below 3 for 1m",
        ),
        (
            "{ expr: 'event.value > 30.0 && event.unit == \"degC\"', for: 1s }",
            "expression",
            "event.value > 30.0 && event.unit == \"degC\" for 1s",
        ),
    ] {
        let definition = read(when).unwrap_or_else(|error| panic!("{when}: {error}"));
        let condition = &definition.rule().unwrap().condition;
        assert_eq!(
            (condition.kind(), condition.to_string().as_str()),
            (kind, said),
            "{when}"
        );
    }
}

#[test]
fn all_aggregates_are_known_and_the_lateness_is_30_s_but_no_longer_than_the_window() {
    for of in ["count", "mean", "min", "max", "p95"] {
        for (over, lateness_us) in [("10m", 30_000_000), ("10s", 10_000_000)] {
            let when = format!("{{ window: {{ of: {of}, over: {over}, above: 1 }} }}");
            let Condition::Window(window) = read(&when).unwrap().rule().unwrap().condition.clone()
            else {
                panic!("{when}")
            };
            assert_eq!(
                (window.of().name(), window.lateness_us()),
                (of, lateness_us)
            );
        }
    }
}

#[test]
fn only_absence_may_be_about_samples_of_any_name() {
    let of_any = |when: &str| {
        parse(&format!(
            "id: a\nversion: 1\non: {{ telemetry: {{ devices: \"*\" }} }}\nwhen: {when}\n\
             alarm: {{ severity: warning }}\n"
        ))
    };
    assert_eq!(of_any("{ absent: 1m }").unwrap().rule().unwrap().name, None);
    assert_eq!(
        of_any("{ above: 1 }").unwrap_err().to_string(),
        "line 3, column 18: `telemetry` has no `name`; add one, for example `name: temperature`"
    );
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_what_would_be_right() {
    for (when, message) in [
        (
            "{ for: 3s }",
            "line 2, column 7: `when` says no condition; add one of `above`, `below`, `absent`, \
             `rate`, `window`, `expr`, for example `above: -12.0`",
        ),
        (
            "{ abov: 1 }",
            "line 2, column 9: `abov` is not a key of `when`; did you mean `above`? known keys: \
             `above`, `below`, `clear`, `absent`, `rate`, `window`, `expr`, `for`",
        ),
        (
            "{ above: 1, absent: 3s }",
            "line 2, column 27: `when` has both `above` and `absent`; write one of them; two \
             conditions are two workflows",
        ),
        (
            "{ above: 5, clear: 6 }",
            "line 2, column 26: a condition that begins above 5 cannot end at 6; write at most 5, \
             where the condition ends",
        ),
        (
            "{ absent: 1m, for: 1m }",
            "line 2, column 26: `for` does not go with `absent`; leave it out: `absent` is a time \
             already",
        ),
        (
            "{ absent: 100ms }",
            "line 2, column 17: `absent` is `100ms`; between 1s and 30d are allowed",
        ),
        (
            "{ rate: { above: 1 } }",
            "line 2, column 15: `rate` has no `over`; add one, for example `over: 1m`",
        ),
        (
            "{ rate: { over: 1m } }",
            "line 2, column 15: `rate` has neither `above` nor `below`; add one, for example \
             `above: 5.0`",
        ),
        (
            "{ rate: { over: 8d, above: 1 } }",
            "line 2, column 23: `over` is `8d`; between 1s and 7d are allowed",
        ),
        (
            "{ rate: { over: 1m, above: 1 }, clear: 1 }",
            "line 2, column 46: `clear` does not go with `rate`; leave it out; `rate` and `window` \
             have a `clear` of their own",
        ),
        (
            "{ window: { of: avg, over: 1m, above: 1 } }",
            "line 2, column 23: `of` is `avg`; known: `count`, `mean`, `min`, `max`, `p95`",
        ),
        (
            "{ window: { of: maen, over: 1m, above: 1 } }",
            "line 2, column 23: `of` is `maen`; did you mean `mean`? known: `count`, `mean`, `min`, \
             `max`, `p95`",
        ),
        (
            "{ window: { of: mean, over: 1m, lateness: 2m, above: 1 } }",
            "line 2, column 49: `lateness` is `2m`; between 0s and 1m are allowed",
        ),
        (
            "{ window: { of: mean, over: 1m, above: 1, for: 1m } }",
            "line 2, column 49: `for` is not a key of `window`; known keys: `of`, `over`, \
             `lateness`, `above`, `below`, `clear`",
        ),
        (
            "{ expr: 7 }",
            "line 2, column 15: `expr` is a number; write text; put it in quotes when it looks like \
             a number, true, false or null",
        ),
        (
            "{ expr: \"value > 30.0\" }",
            "line 2, column 15: `expr`, character 1: `value` is not known; write `event.value`",
        ),
        (
            "{ expr: \"event.value + 1 > 30.0\" }",
            "line 2, column 15: `expr`, character 13: `+` does not go with bool, double or string \
             and int; write the number with a point, as in `1.0`: numbers of samples are doubles",
        ),
        (
            "{ expr: \"event.value >\" }",
            "line 2, column 15: `expr`, character 14: mismatched input 'end of the expression'; \
             write a condition such as `event.value > 30.0 && event.value < 80.0`",
        ),
    ] {
        let error = read(when).expect_err(when);
        assert_eq!(error.to_string(), message, "{when}");
    }
}

/// The keys of an object in the schema.
fn keys(schema: &Value) -> Vec<&str> {
    let properties = schema["properties"].as_object().unwrap();
    properties.keys().map(String::as_str).collect()
}

#[test]
fn the_schema_knows_the_same_forms() {
    let schema = json_schema();
    let forms = schema["properties"]["when"]["oneOf"].as_array().unwrap();
    let mut known: Vec<Vec<&str>> = forms.iter().map(keys).collect();
    known.sort();
    assert_eq!(
        known,
        [
            vec!["above", "clear", "for"],
            vec!["absent"],
            vec!["below", "clear", "for"],
            vec!["expr", "for"],
            vec!["for", "rate"],
            vec!["for", "window"],
        ]
    );
    let inner = |form: &str| {
        let found = forms
            .iter()
            .find(|schema| schema["required"] == json!([form]))
            .unwrap();
        found["properties"][form]["oneOf"]
            .as_array()
            .unwrap()
            .clone()
    };
    let rates: Vec<Value> = inner("rate");
    assert_eq!(keys(&rates[0]), ["above", "clear", "over"]);
    let windows: Vec<Value> = inner("window");
    assert_eq!(
        keys(&windows[1]),
        ["below", "clear", "lateness", "of", "over"]
    );
    assert_eq!(
        windows[0]["properties"]["of"]["enum"],
        json!(["count", "mean", "min", "max", "p95"])
    );
    // An alarm makes steps optional, and the other way round.
    assert_eq!(schema["required"], json!(["id", "version", "on"]));
    assert_eq!(schema["then"], json!({ "required": ["when"] }));
    assert_eq!(
        schema["anyOf"],
        json!([{ "required": ["alarm"] }, { "required": ["steps"] }])
    );
    let severities = &schema["properties"]["alarm"]["properties"]["severity"]["enum"];
    for severity in severities.as_array().unwrap() {
        let severity = severity.as_str().unwrap();
        let yaml = format!(
            "id: a\nversion: 1\non: {{ telemetry: {{ devices: \"*\", name: t }} }}\n\
             when: {{ above: 1 }}\nalarm: {{ severity: {severity} }}\n"
        );
        assert!(parse(&yaml).is_ok(), "{severity}");
    }
}
