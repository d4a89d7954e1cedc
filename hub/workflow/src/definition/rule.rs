//! A rule on what devices measure: `telemetry` and `when`.

use stencil_rules::{
    Absence, Aggregate, Condition, Expression, Finite, Level, Limit, MAX_HOLD_US, MAX_RATE_US,
    MAX_SILENCE_US, MAX_WINDOW_US, MIN_RATE_US, MIN_SILENCE_US, MIN_WINDOW_US, Pattern, Rate, Rule,
    Threshold, Window,
};
use stencil_yaml::{Error, Fields, Node, duration_us, listed, nearest, number, shown, text};

/// How late a sample may be for a window that does not say: 30 s, in µs.
pub const DEFAULT_LATENESS_US: i64 = 30 * 1_000_000;

/// The keys of which `when` has exactly one: each is a kind of condition.
const KINDS: &[&str] = &["above", "below", "absent", "rate", "window", "expr"];

/// Reads `telemetry` and `when`.
pub(super) fn read(telemetry: &Node, when: &Node) -> Result<Rule, Error> {
    let fields = Fields::of(telemetry, "`telemetry`", &["devices", "name"])?;
    let devices = fields.need("devices", "\"freezer-*\"")?;
    let pattern = Pattern::parse(text(devices, "devices")?).map_err(|error| {
        Error::new(
            devices.at,
            error.to_string(),
            "write a device id, or a pattern such as \"freezer-*\"",
        )
    })?;
    let condition = condition(when)?;
    let name = match (fields.get("name"), &condition) {
        (None, Condition::Absence(_)) => None,
        _ => Some(fields.need("name", "temperature")?),
    };
    let at = name.map_or(telemetry.at, |node| node.at);
    let name = name.map(|node| text(node, "name")).transpose()?;
    Rule::new(pattern, name, condition)
        .map_err(|error| Error::new(at, error.to_string(), "correct `name`"))
}

/// `when: { … }`
fn condition(node: &Node) -> Result<Condition, Error> {
    let known = [
        "above", "below", "clear", "absent", "rate", "window", "expr", "for",
    ];
    let fields = Fields::of(node, "`when`", &known)?;
    let mut kinds = KINDS
        .iter()
        .filter_map(|kind| fields.get(kind).map(|node| (*kind, node)));
    let Some((kind, first)) = kinds.next() else {
        let right = format!("add one of {}, for example `above: -12.0`", listed(KINDS));
        return Err(Error::new(node.at, "`when` says no condition", right));
    };
    if let Some((other, second)) = kinds.next() {
        return Err(Error::new(
            second.at,
            format!("`when` has both `{kind}` and `{other}`"),
            "write one of them; two conditions are two workflows",
        ));
    }
    let only_with = |key: &str, kinds: &[&str], right: &str| match fields.get(key) {
        Some(node) if !kinds.contains(&kind) => Err(Error::new(
            node.at,
            format!("`{key}` does not go with `{kind}`"),
            right,
        )),
        _ => Ok(()),
    };
    only_with(
        "clear",
        &["above", "below"],
        "leave it out; `rate` and `window` have a `clear` of their own",
    )?;
    only_with(
        "for",
        &["above", "below", "rate", "window", "expr"],
        "leave it out: `absent` is a time already",
    )?;
    let hold_us = fields
        .get("for")
        .map_or(Ok(0), |node| duration_us(node, "for", 0, MAX_HOLD_US))?;
    let wrong = |error: stencil_rules::Error| {
        Error::new(first.at, error.to_string(), format!("correct `{kind}`"))
    };
    Ok(match kind {
        "absent" => {
            let silence_us = duration_us(first, "absent", MIN_SILENCE_US, MAX_SILENCE_US)?;
            Condition::Absence(Absence::new(silence_us).map_err(wrong)?)
        }
        "rate" => Condition::Rate(rate(first, hold_us)?),
        "window" => Condition::Window(window(first, hold_us)?),
        "expr" => Condition::Expression(expression(first, hold_us)?),
        _ => {
            let level = level(&fields, "`when`")?;
            Condition::Threshold(Threshold::new(level, hold_us).map_err(wrong)?)
        }
    })
}

/// `above` or `below`, and perhaps `clear`.
fn level(fields: &Fields<'_>, whose: &str) -> Result<Level, Error> {
    let limit = match (fields.get("above"), fields.get("below")) {
        (Some(limit), None) => Limit::Above(finite(limit, "above")?),
        (None, Some(limit)) => Limit::Below(finite(limit, "below")?),
        (Some(_), Some(second)) => {
            return Err(Error::new(
                second.at,
                format!("{whose} has both `above` and `below`"),
                "write one of them; two conditions are two workflows",
            ));
        }
        (None, None) => {
            return Err(Error::new(
                fields.at,
                format!("{whose} has neither `above` nor `below`"),
                "add one, for example `above: 5.0`",
            ));
        }
    };
    let node = fields.get("clear");
    let clear = node.map(|node| finite(node, "clear")).transpose()?;
    Level::new(limit, clear).map_err(|error| {
        let right = match limit {
            Limit::Above(limit) => format!("write at most {limit}, where the condition ends"),
            Limit::Below(limit) => format!("write at least {limit}, where the condition ends"),
        };
        let at = node.map_or(fields.at, |node| node.at);
        Error::new(at, error.to_string(), right)
    })
}

/// `rate: { over, above | below, clear }`
fn rate(node: &Node, hold_us: i64) -> Result<Rate, Error> {
    let fields = Fields::of(node, "`rate`", &["over", "above", "below", "clear"])?;
    let over = fields.need("over", "1m")?;
    let over_us = duration_us(over, "over", MIN_RATE_US, MAX_RATE_US)?;
    let level = level(&fields, "`rate`")?;
    Rate::new(over_us, level, hold_us)
        .map_err(|error| Error::new(over.at, error.to_string(), "correct `over`"))
}

/// `window: { of, over, lateness, above | below, clear }`
fn window(node: &Node, hold_us: i64) -> Result<Window, Error> {
    let known = ["of", "over", "lateness", "above", "below", "clear"];
    let fields = Fields::of(node, "`window`", &known)?;
    let of = fields.need("of", "mean")?;
    let name = text(of, "of")?;
    let Some(aggregate) = Aggregate::ALL.into_iter().find(|one| one.name() == name) else {
        let known = Aggregate::ALL.map(Aggregate::name);
        let right = match nearest(name, &known) {
            Some(near) => format!("did you mean `{near}`? known: {}", listed(&known)),
            None => format!("known: {}", listed(&known)),
        };
        return Err(Error::new(of.at, format!("`of` is {}", shown(name)), right));
    };
    let over = fields.need("over", "10m")?;
    let over_us = duration_us(over, "over", MIN_WINDOW_US, MAX_WINDOW_US)?;
    let lateness_us = match fields.get("lateness") {
        Some(node) => duration_us(node, "lateness", 0, over_us)?,
        None => DEFAULT_LATENESS_US.min(over_us),
    };
    let level = level(&fields, "`window`")?;
    Window::new(aggregate, over_us, lateness_us, level, hold_us)
        .map_err(|error| Error::new(over.at, error.to_string(), "correct `over`"))
}

/// `expr: "event.value > 30.0"`
fn expression(node: &Node, hold_us: i64) -> Result<Expression, Error> {
    Expression::new(text(node, "expr")?, hold_us).map_err(|error| match error {
        stencil_rules::Error::Expression { at, what, right } => {
            Error::new(node.at, format!("`expr`, character {at}: {what}"), right)
        }
        other => Error::new(node.at, other.to_string(), "correct `expr`"),
    })
}

/// A number that a limit can be.
fn finite(node: &Node, name: &str) -> Result<Finite, Error> {
    let value = number(node, name)?;
    Finite::new(value).ok_or_else(|| {
        let right = "write a number, for example -12.0";
        Error::new(node.at, format!("`{name}` is {value}"), right)
    })
}
