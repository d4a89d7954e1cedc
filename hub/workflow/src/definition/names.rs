//! Whether the names that a template uses will be there.

use stencil_yaml::{Error, Place, listed, nearest};

use super::step::Step;
use crate::event::FIELDS;
use crate::template::Template;

/// What a step's templates can name, and what it can ask for.
#[derive(Clone, Copy)]
pub(super) struct Before<'a> {
    /// The steps before.
    pub(super) steps: &'a [Step],
    /// The fields of `event`.
    pub(super) fields: &'static [&'static str],
    /// Whether the workflow's cause is on a chain.
    pub(super) is_on_chain: bool,
}

impl Before<'static> {
    /// Of a rule on telemetry, before its first step.
    pub(super) const RULE: Self = Self {
        steps: &[],
        fields: FIELDS,
        is_on_chain: false,
    };
}

/// Checks each name of a template at `at` against the event's fields and the
/// outputs of the steps before.
pub(super) fn check(template: &Template, at: Place, before: Before<'_>) -> Result<(), Error> {
    template
        .names()
        .iter()
        .try_for_each(|name| check_name(name, at, before))
}

fn check_name(name: &str, at: Place, before: Before<'_>) -> Result<(), Error> {
    let mut parts = name.split('.');
    match (parts.next().unwrap_or_default(), parts.next(), parts.next()) {
        ("event" | "steps", None, _) => Ok(()),
        ("event", Some(field), _) => among(
            field,
            before.fields,
            at,
            format!("`{name}`: an event has no `{field}`"),
        ),
        ("steps", Some(id), output) => {
            let ids: Vec<&str> = before.steps.iter().map(|step| step.id.as_str()).collect();
            let Some(step) = before.steps.iter().find(|step| step.id == id) else {
                let what = format!("`{name}`: no step before this one has the id `{id}`");
                return if ids.is_empty() {
                    Err(Error::new(
                        at,
                        what,
                        "this is the first step: only `event` is there",
                    ))
                } else {
                    among(id, &ids, at, what)
                };
            };
            let Some(output) = output else { return Ok(()) };
            let uses = step.action.uses();
            among(
                output,
                step.action.outputs(),
                at,
                format!("`{name}`: {uses} gives no `{output}`"),
            )
        }
        (root, _, _) => among(
            root,
            &["event", "steps"],
            at,
            format!("`{name}`: there is no `{root}`"),
        ),
    }
}

fn among(name: &str, known: &[&str], at: Place, what: String) -> Result<(), Error> {
    if known.contains(&name) {
        return Ok(());
    }
    let right = match nearest(name, known) {
        Some(near) => format!("did you mean `{near}`? known: {}", listed(known)),
        None => format!("known: {}", listed(known)),
    };
    Err(Error::new(at, what, right))
}
