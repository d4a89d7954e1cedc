//! What a workflow's author writes.
//!
//! ```yaml
//! id: freezer-warm
//! version: 1
//! title: Freezer too warm
//! on: { telemetry: { devices: "freezer-*", name: temperature } }
//! when: { above: -12.0, for: 3s, clear: -14.0 }
//! alarm: { severity: major, title: "{{ event.device }} is warm: {{ event.value }}" }
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
//! With `place: { gateways: "site-*" }` the rule is judged by gateways first, which do the first
//! step, a `device.command`, by themselves ([`Placement`]).
//!
//! With `on: { payment: … }` or `on: { chain: … }` the cause is on a chain, which can take it back:
//! then each step says how deep the cause has to be, and a `device.command` how it is undone
//! ([`Finality`]).
//!
//! [`parse`] checks all of it: unknown keys, templates, names that templates
//! use, limits. What it accepts can be run; what it refuses it refuses with the
//! place, what is wrong, and what would be right ([`Error`]).

mod action;
mod alarm;
mod finality;
mod input;
mod itself;
mod names;
mod place;
mod rule;
mod schema;
mod source;
mod step;

use names::Before;
use stencil_edge::Placed;
use stencil_rules::Rule;
use stencil_yaml::{Content, Fields, Limits, Node, integer, shown, text};

pub use action::{
    Action, CallTemplates, CredentialTemplates, EffectError, FunctionTemplates, GrantTemplates,
    MAX_ARGUMENTS, MAX_EXPIRES_US, MailTemplates, ProveTemplates, SendTemplates,
};
pub use alarm::Alarm;
pub use finality::{Finality, MAX_CONFIRMATIONS, Undo, UndoCommand, named};
pub use input::Input;
pub use place::{Otherwise, Placement};
pub use rule::DEFAULT_LATENESS_US;
pub use schema::json_schema;
pub use source::{AccessCause, ChainEvent, MAX_SIGNATURE, Payment, SealMismatch, Source};
pub use stencil_yaml::{Error, Place, nearest};
pub use step::{MAX_RETRIES, MAX_TIMEOUT_US, Retry, Step};

/// The most bytes of a definition.
pub const MAX_BYTES: usize = 64 * 1024;

const LIMITS: Limits = Limits {
    what: "the definition",
    max_bytes: MAX_BYTES,
    max_depth: 16,
    max_nodes: 4_096,
};

/// The most steps of a workflow.
pub const MAX_STEPS: usize = 32;

/// The longest id of a workflow, in bytes.
pub const MAX_ID: usize = 48;

/// The longest title of a workflow, in characters.
pub const MAX_TITLE: usize = 120;

/// A workflow that was understood.
#[derive(Debug, PartialEq)]
pub struct Definition {
    /// Its id within a tenant: `[A-Za-z0-9][A-Za-z0-9._-]{0,47}`.
    pub id: String,
    /// Its version, from 1. A version never changes; runs are pinned to one.
    pub version: u32,
    /// What people call it, if not by its id.
    pub title: Option<String>,
    /// What it runs because of.
    pub source: Source,
    /// Where it is judged first, if not at the hub alone.
    pub place: Option<Placement>,
    /// The alarm that is raised while the rule's condition holds.
    pub alarm: Option<Alarm>,
    /// What it does, one step after the other; at least one, unless there is an alarm.
    pub steps: Vec<Step>,
}

impl Definition {
    /// The rule on what devices measure; none where the cause is on a chain.
    pub fn rule(&self) -> Option<&Rule> {
        self.source.rule()
    }

    /// What gateways are given of it; none if it has no place at them.
    pub fn placed(&self) -> Option<Placed> {
        let (rule, place) = (self.rule()?, self.place.as_ref());
        place::placed(&self.id, self.version, rule, &self.steps, place)
    }
}

/// Reads a definition.
///
/// # Errors
/// The first thing that is wrong, in the order of checks.
pub fn parse(yaml: &str) -> Result<Definition, Error> {
    let root = stencil_yaml::read(yaml, &LIMITS)?;
    let fields = Fields::of(
        &root,
        "a workflow",
        &[
            "id", "version", "title", "on", "when", "place", "alarm", "steps",
        ],
    )?;
    let id = identifier(fields.need("id", "freezer-warm")?, "id")?;
    let version = integer(
        fields.need("version", "1")?,
        "version",
        1,
        i64::from(i32::MAX),
    )?;
    let title = fields.get("title").map(title).transpose()?;
    let source = source::read(&fields)?;
    let alarm = fields.get("alarm").map(alarm::read).transpose()?;
    let steps = match (fields.get("steps"), &alarm) {
        (None, Some(_)) => Vec::new(),
        (Some(node), alarm) => steps(node, alarm.is_some(), &source)?,
        (None, None) if source.rule().is_none() => {
            return Err(Error::new(
                fields.at,
                "a workflow has no `steps`",
                "add them, for example `steps: [{ id: …, use: content.upsert, with: … }]`",
            ));
        }
        (None, None) => {
            return Err(Error::new(
                fields.at,
                "a workflow has neither `alarm` nor `steps`",
                "add one, for example `alarm: { severity: major }` or \
                 `steps: [{ id: …, use: content.upsert, with: … }]`",
            ));
        }
    };
    let place = match (fields.get("place"), source.rule()) {
        (Some(node), Some(rule)) => Some(place::read(node, rule, &steps)?),
        _ => None,
    };
    Ok(Definition {
        id,
        version: u32::try_from(version).unwrap_or(u32::MAX),
        title,
        source,
        place,
        alarm,
        steps,
    })
}

/// `title: Freezer too warm`
fn title(node: &Node) -> Result<String, Error> {
    let title = text(node, "title")?;
    let length = title.chars().count();
    if title.trim().is_empty() || length > MAX_TITLE || title.chars().any(char::is_control) {
        return Err(Error::new(
            node.at,
            format!("`title` is {}", shown(title)),
            format!("write 1 to {MAX_TITLE} characters in one line"),
        ));
    }
    Ok(title.to_owned())
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
            format!("`{name}` is {}", shown(id)),
            format!(
                "write 1 to {MAX_ID} letters, digits, '.', '_' or '-', beginning with a letter or digit"
            ),
        ));
    }
    Ok(id.to_owned())
}

/// The steps; none only where there is an alarm.
fn steps(node: &Node, or_alarm: bool, source: &Source) -> Result<Vec<Step>, Error> {
    let Content::List(items) = &node.content else {
        let right = "write a list: each step begins with `- id:`";
        return Err(Error::new(
            node.at,
            format!("`steps` is {}", node.kind()),
            right,
        ));
    };
    let least = usize::from(!or_alarm);
    if items.len() < least || items.len() > MAX_STEPS {
        return Err(Error::new(
            node.at,
            format!("there are {} steps", items.len()),
            format!("write {least} to {MAX_STEPS}"),
        ));
    }
    let mut steps: Vec<Step> = Vec::with_capacity(items.len());
    for item in items {
        let before = Before {
            steps: &steps,
            fields: source.fields(),
            is_on_chain: source.is_on_chain(),
        };
        let step = step::read(item, before)?;
        steps.push(step);
    }
    Ok(steps)
}
