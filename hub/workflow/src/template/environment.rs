//! The engine that evaluates expressions, with little in it and limits set.

use std::sync::LazyLock;

use minijinja::{Environment, ErrorKind, Expression, UndefinedBehavior, Value, filters, tests};

use super::{Error, MAX_FUEL, MAX_OUTPUT};

/// The filters of expressions. `times` multiplies numbers, `cut` keeps the
/// first characters of a text, `datetime` shows a time in µs as UTC in
/// RFC 3339; the rest are Jinja's.
pub const FILTERS: &[&str] = &[
    "abs",
    "capitalize",
    "cut",
    "datetime",
    "default",
    "first",
    "float",
    "int",
    "last",
    "length",
    "lower",
    "replace",
    "round",
    "string",
    "times",
    "title",
    "trim",
    "upper",
];

/// The tests of expressions (`is defined`, `is not none`), Jinja's.
pub const TESTS: &[&str] = &[
    "defined",
    "undefined",
    "none",
    "number",
    "string",
    "true",
    "false",
    "endingwith",
    "startingwith",
];

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(MAX_FUEL));
    environment.set_recursion_limit(50);
    environment.add_filter("abs", filters::abs);
    environment.add_filter("capitalize", filters::capitalize);
    environment.add_filter("cut", cut);
    environment.add_filter("datetime", stencil_protocol::moment::rfc3339);
    environment.add_filter("default", filters::default);
    environment.add_filter("first", filters::first);
    environment.add_filter("float", filters::float);
    environment.add_filter("int", filters::int);
    environment.add_filter("last", filters::last);
    environment.add_filter("length", filters::length);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("replace", replace);
    environment.add_filter("round", filters::round);
    environment.add_filter("string", filters::string);
    environment.add_filter("times", times);
    environment.add_filter("title", filters::title);
    environment.add_filter("trim", filters::trim);
    environment.add_filter("upper", filters::upper);
    environment.add_test("defined", tests::is_defined);
    environment.add_test("undefined", tests::is_undefined);
    environment.add_test("none", tests::is_none);
    environment.add_test("number", tests::is_number);
    environment.add_test("string", tests::is_string);
    environment.add_test("true", tests::is_true);
    environment.add_test("false", tests::is_false);
    environment.add_test("endingwith", tests::is_endingwith);
    environment.add_test("startingwith", tests::is_startingwith);
    environment
});

/// Compiles one expression.
pub(super) fn compile(source: &str) -> Result<Expression<'static, 'static>, Error> {
    ENVIRONMENT
        .compile_expression_owned(source.to_owned())
        .map_err(|error| Error::Syntax {
            what: format!("`{source}` is not an expression: {}", detail(&error)),
            right: "write for example {{ event.device }} or {{ event.value | round(1) }}"
                .to_owned(),
        })
}

/// Evaluates one expression; what is not defined is an error.
pub(super) fn evaluate(
    source: &str,
    compiled: &Expression<'static, 'static>,
    scope: &Value,
) -> Result<Value, Error> {
    let value = compiled
        .eval(scope.clone())
        .map_err(|error| match error.kind() {
            ErrorKind::UndefinedError => Error::Undefined {
                expression: source.to_owned(),
            },
            ErrorKind::OutOfFuel => failed(source, format!("it takes more than {MAX_FUEL} steps")),
            _ => failed(source, detail(&error)),
        })?;
    if value.is_undefined() {
        return Err(Error::Undefined {
            expression: source.to_owned(),
        });
    }
    Ok(value)
}

fn failed(source: &str, why: String) -> Error {
    Error::Failed {
        expression: source.to_owned(),
        why,
    }
}

fn detail(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => detail.to_owned(),
        None => error.kind().to_string(),
    }
}

fn invalid(why: &'static str) -> minijinja::Error {
    minijinja::Error::new(ErrorKind::InvalidOperation, why)
}

/// Jinja's `replace`, with a bound on what comes out.
fn replace(text: &str, from: &str, to: &str) -> Result<String, minijinja::Error> {
    let grown = text.matches(from).count().saturating_mul(to.len());
    if text.len().saturating_add(grown) > MAX_OUTPUT {
        return Err(invalid("the replaced text is too long"));
    }
    Ok(text.replace(from, to))
}

/// The first `count` characters of a text.
fn cut(text: &str, count: usize) -> String {
    text.chars().take(count).collect()
}

/// A product of numbers; text cannot be multiplied.
fn times(left: f64, right: f64) -> Result<f64, minijinja::Error> {
    let product = left * right;
    if product.is_finite() {
        Ok(product)
    } else {
        Err(invalid("the product is not finite"))
    }
}

#[cfg(test)]
mod tests_of_filters {
    use super::*;

    #[test]
    fn the_lists_are_what_there_is() {
        for filter in FILTERS {
            let known = compile(&format!("'1' | {filter}")).unwrap().eval(());
            let unknown = known.is_err_and(|e| e.kind() == ErrorKind::UnknownFilter);
            assert!(!unknown, "{filter}");
        }
        for test in TESTS {
            let known = compile(&format!("'1' is {test}")).unwrap().eval(());
            assert!(
                !known.is_err_and(|e| e.kind() == ErrorKind::UnknownTest),
                "{test}"
            );
        }
    }

    #[test]
    fn replace_cannot_blow_up() {
        assert!(replace(&"a".repeat(1_000), "a", &"b".repeat(1_000)).is_err());
        assert!(replace("abc", "", &"b".repeat(MAX_OUTPUT)).is_err());
        assert_eq!(replace("freezer-07", "freezer-", "").unwrap(), "07");
    }
}
