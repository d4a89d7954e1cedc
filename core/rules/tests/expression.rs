//! Expressions: what they may hold, what they mean, and that nothing a stranger writes
//! costs more than it may.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::time::{Duration, Instant};

use harness::{Op, cuts, in_pieces, rule, whole};
use proptest::prelude::*;
use stencil_protocol::sample::Value;
use stencil_rules::{
    Bounds, Cause, Change, Condition, Engine, Error, Expression, MAX_EXPRESSION, Observation,
    Pattern, Rule,
};

fn expression(source: &str) -> Expression {
    Expression::new(source, 0).unwrap_or_else(|error| panic!("{source}: {error}"))
}

/// Whether a sample makes it fire, and how many errors that gave.
fn ask(source: &str, value: Value<'_>, unit: Option<&str>) -> (bool, u64) {
    let condition = Condition::Expression(expression(source));
    let mut engine = Engine::new(Bounds::default());
    let rule = Rule::new(Pattern::parse("*").unwrap(), Some("t"), condition).unwrap();
    engine.put(1, rule).unwrap();
    let sample = Observation {
        device: "freezer-7",
        name: "t",
        time_us: 1_700_000_000_000_000,
        received_us: 1_700_000_000_000_000,
        value,
        unit,
        cause: Cause::Timed { time_us: 1 },
    };
    let mut fired = false;
    engine.observe(&sample, |_, _, change| {
        fired = matches!(change, Change::Fired(_))
    });
    (fired, engine.metrics().errors)
}

#[test]
fn what_expressions_mean() {
    let warm = Value::Number(31.5);
    for (source, value, expected) in [
        ("event.value > 30.0 && event.value < 80", warm, true),
        ("event.value > 30.0 && event.value < 31", warm, false),
        ("event.value > 30", Value::Integer(31), true),
        ("event.value == 31", Value::Integer(31), true),
        ("event.value * 2.0 > 60.0", Value::Integer(31), true),
        ("int(event.value) % 2 == 1", Value::Integer(31), true),
        ("!(event.value <= 30.0) || event.name == 'x'", warm, true),
        ("-30.5 < event.value", Value::Number(-30.0), true),
        ("event.value == \"open\"", Value::Text("open"), true),
        ("event.value != \"open\"", Value::Text("ajar"), true),
        (
            "event.value.startsWith(\"err\")",
            Value::Text("err-7"),
            true,
        ),
        ("event.value", Value::Bool(true), true),
        ("event.value == true", Value::Bool(false), false),
        ("event.unit == \"degC\"", warm, true),
        ("event.unit in [\"K\", \"degC\"]", warm, true),
        ("event.unit in [\"K\"]", warm, false),
        (
            "event.device == 'freezer-7' && event.value >= 31.5",
            warm,
            true,
        ),
        (
            "[\"freezer\", \"cellar\"].exists(kind, event.device.startsWith(kind))",
            warm,
            true,
        ),
        ("[30.0, 40.0].all(limit, event.value < limit)", warm, false),
        (
            "[1.0, 2.0].map(x, x * 20.0).exists_one(x, event.value > x) || true",
            warm,
            true,
        ),
        ("event.time_us > 1600000000000000", warm, true),
        (
            "size(event.device) == 9 ? event.value > 30.0 : false",
            warm,
            true,
        ),
    ] {
        // One macro in what another goes over is a macro in a macro.
        if source.contains(".map(") {
            assert!(Expression::new(source, 0).is_err());
            continue;
        }
        assert_eq!(ask(source, value, Some("degC")), (expected, 0), "{source}");
    }
    assert_eq!(ask("event.unit == null", warm, None), (true, 0));
    assert_eq!(ask("event.unit != \"degC\"", warm, None), (true, 0));
}

#[test]
fn what_cannot_be_said_of_a_sample_is_false_and_counted() {
    for (source, value) in [
        ("event.value > 30.0", Value::Text("31")),
        ("event.value > 30.0", Value::Bool(true)),
        ("event.value.contains(\"x\")", Value::Number(1.0)),
        ("event.value", Value::Number(1.0)),
        ("1 / (int(event.value) - 1) > 0", Value::Number(1.0)),
        (
            "int(event.value) + 9223372036854775807 > 0",
            Value::Number(1.0),
        ),
        ("double(event.unit) > 1.0", Value::Number(1.0)),
    ] {
        assert_eq!(ask(source, value, Some("degC")), (false, 1), "{source}");
    }
    let either = "event.value > 30.0 || event.device == \"freezer-7\"";
    assert_eq!(
        ask(either, Value::Text("x"), None),
        (true, 0),
        "the other side decides"
    );
}

#[test]
fn what_could_never_be_right_is_told_with_its_place_and_what_would_be() {
    let mut wrong_places = Vec::new();
    for (source, at, what, right) in [
        ("", 1, "it is empty", "event.value > 30.0"),
        ("  ", 1, "it is empty", "event.value > 30.0"),
        (
            "event.value >",
            14,
            "end of the expression",
            "event.value > 30.0",
        ),
        ("event.value > 30.0 && && true", 23, "&&", "event.value"),
        (
            "value > 30.0",
            1,
            "`value` is not known",
            "write `event.value`",
        ),
        (
            "event.value > 1.0 && event.valeu < 2.0",
            27,
            "`event.valeu` is not known",
            "`event.value`",
        ),
        (
            "temperature > 30.0",
            1,
            "`temperature` is not known",
            "texts stand in quotes",
        ),
        ("event", 1, "`event` alone", "event.value"),
        (
            "event.device == warm",
            17,
            "`warm` is not known",
            "texts stand in quotes",
        ),
        (
            "event.data.temp > 30.0",
            6,
            "`event.data` is not known",
            "`event.value`",
        ),
        (
            "event.value + 1 > 2.0",
            13,
            "`+` does not go with bool, double or string and int",
            "1.0",
        ),
        (
            "event.device > 5",
            14,
            "`>` does not go with string and int",
            "one kind",
        ),
        (
            "event.device == 5",
            14,
            "`==` does not go with string and int",
            "one kind",
        ),
        (
            "event.device && true",
            14,
            "`&&` does not go with string and bool",
            "conditions",
        ),
        (
            "!event.device",
            1,
            "`!` does not go with string",
            "conditions",
        ),
        (
            "event.value % 2 == 0",
            13,
            "`%` does not go with",
            "int(event.value) % 2",
        ),
        ("event.device", 6, "never true or false", "compare it"),
        ("1 + 2", 3, "is int, never true or false", "compare it"),
        (
            "event.value.matches(\"a\")",
            20,
            "`matches` is not known",
            "startsWith",
        ),
        ("sqrt(event.value) > 2.0", 5, "`sqrt` is not known", "size"),
        (
            "event.device.startsWith(7)",
            24,
            "`startsWith` does not take string and int",
            "quotes",
        ),
        (
            "has(event.unit)",
            4,
            "`has` is of no use",
            "event.unit != null",
        ),
        ("{\"a\": 1}[\"a\"] == 1", 1, "maps", "write a list"),
        (
            "[1, 2].exists(x, [3].exists(y, x == y))",
            28,
            "a macro in a macro",
            "at a time",
        ),
        (
            "[[1, 2].map(x, x)].exists(y, true)",
            12,
            "a macro in a macro",
            "at a time",
        ),
        (
            "event.device.exists(x, true)",
            20,
            "a macro over string",
            "behind a list",
        ),
        (
            "[1.0].exists(event, event > 1.0)",
            13,
            "hides `event`",
            "otherwise",
        ),
        (
            "\"a\u{7}\" == event.name",
            3,
            "control character",
            "leave it out",
        ),
    ] {
        let error = Expression::new(source, 0).unwrap_err();
        let Error::Expression {
            at: place,
            what: wrong,
            right: better,
        } = &error
        else {
            panic!("{source}: {error}")
        };
        assert!(
            wrong.contains(what) && better.contains(right),
            "{source}: {error}"
        );
        if *place != at {
            wrong_places.push(format!("{place} for {at}: {source}"));
        }
    }
    assert_eq!(wrong_places, [""; 0]);
}

#[test]
fn a_place_is_counted_in_characters_over_lines() {
    let error = Expression::new("event.name == 'ä' &&\n  foo", 0).unwrap_err();
    let Error::Expression { at, .. } = error else {
        panic!()
    };
    assert_eq!(at, 24, "{error}");
    let error = Expression::new("event.name == 'ä' &&\n  )", 0).unwrap_err();
    let Error::Expression { at, .. } = error else {
        panic!()
    };
    assert_eq!(at, 24, "{error}");
}

#[test]
fn what_asks_nothing_of_a_sample_is_refused() {
    for (source, what) in [
        ("true", "is true whatever"),
        ("!true", "is false whatever"),
        ("1 < 2", "asks nothing of the sample"),
        ("'a' in ['a', 'b']", "asks nothing of the sample"),
        ("[1, 2].exists(x, x > 1)", "asks nothing of the sample"),
        ("event.value > 30.0 || true", "is true whatever"),
        ("false && event.value > 30.0", "is false whatever"),
        ("event.value > 30.0 ? true : true", "is true whatever"),
        ("true ? false : event.value > 30.0", "is false whatever"),
    ] {
        let Err(Error::Expression { what: told, .. }) = Expression::new(source, 0) else {
            panic!("taken: {source}");
        };
        assert!(told.contains(what), "{source}: {told}");
    }
    for source in [
        "event.value == true",
        "event.value > 30.0 && true",
        "event.value > 30.0 ? true : false",
        "[1.0].exists(x, event.value > x)",
        "'err' in [event.value]",
    ] {
        assert!(Expression::new(source, 0).is_ok(), "{source}");
    }
}

#[test]
fn what_is_too_much_is_refused() {
    for source in [
        format!("event.name == \"{}\"", "x".repeat(MAX_EXPRESSION)),
        format!("{}event.value > 1.0{}", "(".repeat(49), ")".repeat(49)),
        format!("event.value{} > 1.0", " + 1.0".repeat(100)),
        format!("{}true", "!".repeat(200)),
        format!("{}true", "true ? ".repeat(100)),
        format!("true{}", " in [true]".repeat(60)),
        format!("event{}", ".value".repeat(130)),
    ] {
        assert!(
            matches!(Expression::new(&source, 0), Err(Error::Expression { .. })),
            "{source}"
        );
    }
    // As deep as it goes, on the small stack of a worker thread.
    let deep = format!("{}event.value > 1.0{}", "(".repeat(48), ")".repeat(48));
    let long = format!("event.value{} > 1.0", " + 1.0".repeat(60));
    let sources = [
        deep,
        long,
        format!("{}(event.value > 1.0)", "!".repeat(120)),
    ];
    let thread = std::thread::Builder::new().stack_size(2 << 20);
    let checked = thread.spawn(move || {
        for source in sources {
            expression(&source);
            ask(&source, Value::Number(1.0), None);
        }
    });
    checked.unwrap().join().unwrap();
}

#[test]
fn simple_comparisons_need_no_interpreter() {
    for (source, is_native) in [
        ("event.value > 30.0 && event.value < 80", true),
        (
            "!(event.value >= -1) || 5u <= event.value || event.unit != 'K'",
            true,
        ),
        ("event.value == 9007199254740993", false),
        ("event.value > 15.0 * 2.0", false),
        ("event.value", false),
        ("event.device.startsWith('x')", false),
    ] {
        assert_eq!(expression(source).is_native(), is_native, "{source}");
    }
}

/// Comparisons as [`simple_comparisons_need_no_interpreter`] knows them.
fn simple() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        (-40_i32..40).prop_map(|whole| whole.to_string()),
        (-40_i32..40).prop_map(|quarter| format!("{:?}", f64::from(quarter) / 4.0)),
        (0_u32..9).prop_map(|whole| format!("{whole}u")),
    ];
    let comparison = prop_oneof![
        Just("<"),
        Just("<="),
        Just(">"),
        Just(">="),
        Just("=="),
        Just("!=")
    ];
    let equality = prop_oneof![Just("=="), Just("!=")];
    let field = prop_oneof![Just("device"), Just("name"), Just("unit")];
    let text = prop_oneof![Just("freezer-7"), Just("t"), Just("K"), Just("degC")];
    let leaf = prop_oneof![
        (comparison.clone(), number.clone()).prop_map(|(is, n)| format!("event.value {is} {n}")),
        (number, comparison).prop_map(|(n, is)| format!("{n} {is} event.value")),
        (field, equality, text)
            .prop_map(|(field, is, text)| format!("event.{field} {is} '{text}'")),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} || {b}")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

/// What a stranger may write: pieces of the language in any order, or anything.
fn source() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "event",
        ".value",
        ".unit",
        ".device",
        "event.value",
        "event.time_us",
        " > ",
        " == ",
        " && ",
        " || ",
        "!",
        "-",
        " + ",
        " * ",
        " / ",
        " % ",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ", ",
        ": ",
        " ? ",
        " in ",
        "1",
        "2.5",
        "9223372036854775807",
        "3u",
        "\"a\"",
        "'",
        "\"",
        "r'\\",
        "b'x'",
        "true",
        "null",
        ".exists(x, ",
        ".map(x, ",
        ".all(",
        "x",
        "size(",
        "has(",
        "int(",
        "string(",
        "dyn(",
        "optional.of(",
        ".?",
        "[?",
        "`",
        "\\",
        "é",
        "\n",
        "//",
        "type(",
        "1e999",
        "0x",
        "@result",
    ]);
    prop_oneof![
        4 => prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat()),
        1 => any::<String>(),
        1 => simple(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn native_and_interpreted_agree(source in simple(), value in -40_i32..40, whole in any::<bool>()) {
        let value = match whole {
            true => Value::Integer(i64::from(value)),
            false => Value::Number(f64::from(value) / 4.0),
        };
        prop_assert!(expression(&source).is_native());
        // Not native: the interpreter has both sides evaluated.
        let interpreted = format!("({source}) && size(event.device) == 9");
        prop_assert!(!expression(&interpreted).is_native());
        for unit in [None, Some("K")] {
            prop_assert_eq!(ask(&source, value, unit), ask(&interpreted, value, unit), "{}", source);
        }
    }

    #[test]
    fn nothing_a_stranger_writes_panics_or_takes_long(source in source()) {
        let began = Instant::now();
        if let Ok(expression) = Expression::new(&source, 0) {
            prop_assert_eq!(expression.source(), &source);
            for value in [Value::Number(1.5), Value::Integer(-3), Value::Bool(true), Value::Text("a")] {
                ask(&source, value, None);
            }
        }
        // Generous: builds without optimisation on a busy machine.
        prop_assert!(began.elapsed() < Duration::from_secs(20), "{}", source);
    }

    #[test]
    fn whole_or_in_pieces(values in prop::collection::vec(-8_i32..8, 0..60), cuts in cuts()) {
        let rules = [
            ("cel", rule("*", Condition::Expression(Expression::new("event.value * 1.0 > 0.0", 2).unwrap()))),
            ("native", rule("*", Condition::Expression(Expression::new("event.value > 0", 2).unwrap()))),
        ];
        let ops: Vec<Op> = values.iter().enumerate().map(|(at, value)| Op::Sample {
            device: 0,
            time_us: at as i64,
            received_us: at as i64,
            value: f64::from(*value),
            seq: at as u64 + 1,
        }).collect();
        let told = whole(&rules, &ops);
        prop_assert_eq!(&told, &in_pieces(&rules, &ops, &cuts));
        // By the definition: three samples in a row, a microsecond apart, and none before.
        let of = |key| harness::of(&told, key, harness::DEVICES[0]);
        prop_assert_eq!(of("cel"), of("native"));
        let mut row = 0;
        let mut expected = Vec::new();
        for (at, value) in values.iter().enumerate() {
            if *value > 0 {
                row += 1;
                if row == 3 { expected.push((true, at as i64)); }
            } else {
                if row >= 3 { expected.push((false, at as i64)); }
                row = 0;
            }
        }
        let told: Vec<(bool, i64)> = of("cel").iter()
            .map(|change| (matches!(change, Change::Fired(_)), change.at_us())).collect();
        prop_assert_eq!(told, expected);
    }
}
