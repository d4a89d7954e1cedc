//! Expressions in rules: what is taken can be asked of any sample, and says the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stencil_protocol::sample::Value;
use stencil_rules::{
    Bounds, Cause, Condition, Engine, Expression, MAX_EXPRESSION, Observation, Pattern, Rule,
};

fuzz_target!(|source: &str| {
    let Ok(expression) = Expression::new(source, 0) else {
        return;
    };
    assert!(source.len() <= MAX_EXPRESSION);
    assert_eq!(
        Expression::new(expression.source(), 0).as_ref(),
        Ok(&expression)
    );
    let values = [
        Value::Number(1.5),
        Value::Integer(i64::MIN),
        Value::Bool(true),
        Value::Text("open"),
    ];
    for value in values {
        let told = [0, 1].map(|_| {
            let pattern = Pattern::parse("*").expect("a pattern");
            let condition = Condition::Expression(expression.clone());
            let rule = Rule::new(pattern, Some("t"), condition).expect("a rule");
            let mut engine = Engine::new(Bounds::default());
            engine.put(0, rule).expect("there is room");
            let sample = Observation {
                device: "freezer-1",
                name: "t",
                time_us: 1,
                received_us: 1,
                value,
                unit: None,
                cause: Cause::Timed { time_us: 1 },
            };
            let mut told = 0;
            engine.observe(&sample, |_, _, _| told += 1);
            (told, engine.metrics())
        });
        assert_eq!(told[0], told[1]);
    }
});
