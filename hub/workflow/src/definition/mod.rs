//! What a workflow's author writes.
//!
//! ```yaml
//! id: freezer-warm
//! version: 1
//! on: { telemetry: { devices: "freezer-*", name: temperature } }
//! when: { above: -12.0, for: 3s }
//! steps:
//!   - id: notice
//!     use: content.upsert
//!     with:
//!       collection: notices
//!       key: "{{ event.device }}"
//!       set: { title: "Freezer {{ event.device }} is warm", value: "{{ event.value }}" }
//!     retry: { max: 5, initial: 1s, cap: 1m }
//!     timeout: 10s
//!   - { id: page, use: content.publish, with: { collection: notices, key: "{{ event.device }}" } }
//! ```
//!
//! [`parse`] checks all of it: unknown keys, templates, names that templates
//! use, limits. What it accepts can be run; what it refuses it refuses with the
//! place, what is wrong, and what would be right ([`Error`]).

mod action;
mod error;
mod fields;
mod input;
mod names;
mod schema;
mod step;
mod tree;

use stencil_rules::{Condition, MAX_HOLD_US, Pattern, Rule, Threshold};

pub use action::{Action, EffectError, MAX_EXPIRES_US};
pub use error::{Error, Place};
pub use input::Input;
pub use schema::json_schema;
pub use step::{MAX_RETRIES, MAX_TIMEOUT_US, Retry, Step};
pub use tree::MAX_BYTES;

use fields::{Fields, duration_us, integer, number, text};
use tree::{Content, Node};

/// The most steps of a workflow.
pub const MAX_STEPS: usize = 32;

/// The longest id of a workflow, in bytes.
pub const MAX_ID: usize = 48;

/// A workflow that was understood.
#[derive(Debug, PartialEq)]
pub struct Definition {
    /// Its id within a tenant: `[A-Za-z0-9][A-Za-z0-9._-]{0,47}`.
    pub id: String,
    /// Its version, from 1. A version never changes; runs are pinned to one.
    pub version: u32,
    /// When it runs.
    pub rule: Rule,
    /// What it does, one step after the other; at least one.
    pub steps: Vec<Step>,
}

/// Reads a definition.
///
/// # Errors
/// The first thing that is wrong, in the order of checks.
pub fn parse(yaml: &str) -> Result<Definition, Error> {
    let root = tree::read(yaml)?;
    let fields = Fields::of(
        &root,
        "a workflow",
        &["id", "version", "on", "when", "steps"],
    )?;
    let id = identifier(fields.need("id", "freezer-warm")?, "id")?;
    let version = integer(
        fields.need("version", "1")?,
        "version",
        1,
        i64::from(i32::MAX),
    )?;
    let (devices, name) = trigger(fields.need(
        "on",
        "{ telemetry: { devices: \"freezer-*\", name: temperature } }",
    )?)?;
    let threshold = condition(fields.need("when", "{ above: -12.0, for: 3s }")?, &name)?;
    let steps = steps(fields.need("steps", "[{ id: …, use: content.upsert, with: … }]")?)?;
    Ok(Definition {
        id,
        version: u32::try_from(version).unwrap_or(u32::MAX),
        rule: Rule { devices, threshold },
        steps,
    })
}

fn identifier(node: &Node, name: &str) -> Result<String, Error> {
    let id = text(node, name)?;
    let good = id.len() <= MAX_ID
        && id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && id
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c));
    if !good {
        return Err(Error::new(
            node.at,
            format!("`{name}` is {}", error::shown(id)),
            format!(
                "write 1 to {MAX_ID} letters, digits, '.', '_' or '-', beginning with a letter or digit"
            ),
        ));
    }
    Ok(id.to_owned())
}

/// `on: { telemetry: { devices, name } }`
fn trigger(node: &Node) -> Result<(Pattern, String), Error> {
    let on = Fields::of(node, "`on`", &["telemetry"])?;
    let telemetry = on.need("telemetry", "{ devices: \"freezer-*\", name: temperature }")?;
    let fields = Fields::of(telemetry, "`telemetry`", &["devices", "name"])?;
    let devices = fields.need("devices", "\"freezer-*\"")?;
    let pattern = Pattern::parse(text(devices, "devices")?).map_err(|error| {
        Error::new(
            devices.at,
            error.to_string(),
            "write a device id, or a pattern such as \"freezer-*\"",
        )
    })?;
    let name = fields.need("name", "temperature")?;
    Ok((pattern, text(name, "name")?.to_owned()))
}

/// `when: { above | below, for }`
fn condition(node: &Node, name: &str) -> Result<Threshold, Error> {
    let fields = Fields::of(node, "`when`", &["above", "below", "for"])?;
    let condition = match (fields.get("above"), fields.get("below")) {
        (Some(limit), None) => Condition::Above(number(limit, "above")?),
        (None, Some(limit)) => Condition::Below(number(limit, "below")?),
        (Some(_), Some(second)) => {
            let right = "write one of them; two conditions are two workflows";
            return Err(Error::new(
                second.at,
                "`when` has both `above` and `below`",
                right,
            ));
        }
        (None, None) => {
            let right = "add one, for example `above: -12.0`";
            return Err(Error::new(
                node.at,
                "`when` has neither `above` nor `below`",
                right,
            ));
        }
    };
    let hold_us = fields
        .get("for")
        .map_or(Ok(0), |node| duration_us(node, "for", 0, MAX_HOLD_US))?;
    Threshold::new(name, condition, hold_us)
        .map_err(|error| Error::new(node.at, error.to_string(), "correct `name` or `for`"))
}

fn steps(node: &Node) -> Result<Vec<Step>, Error> {
    let Content::List(items) = &node.content else {
        let right = "write a list: each step begins with `- id:`";
        return Err(Error::new(
            node.at,
            format!("`steps` is {}", node.kind()),
            right,
        ));
    };
    if items.is_empty() || items.len() > MAX_STEPS {
        return Err(Error::new(
            node.at,
            format!("there are {} steps", items.len()),
            format!("write 1 to {MAX_STEPS}"),
        ));
    }
    let mut steps: Vec<Step> = Vec::with_capacity(items.len());
    for item in items {
        let step = step::read(item, &steps)?;
        steps.push(step);
    }
    Ok(steps)
}
