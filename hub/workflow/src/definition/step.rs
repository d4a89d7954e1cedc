//! One step: what it does, how long it may take, how often it is tried.

use stencil_yaml::{Error, Fields, Node, duration_us, integer, shown, text};

use super::action::{self, Action};
use super::finality::{self, Finality};
use super::names::Before;

/// The most retries that a step may ask for.
pub const MAX_RETRIES: u32 = 1_000;

/// The longest time-out of an attempt: 5 minutes, in µs.
pub const MAX_TIMEOUT_US: i64 = 300 * 1_000_000;

/// The longest wait between two attempts: a day, in µs.
const MAX_WAIT_US: i64 = 86_400 * 1_000_000;

const MAX_STEP_ID: usize = 32;

/// One step of a workflow.
#[derive(Debug, PartialEq)]
pub struct Step {
    /// Its id within the workflow: `[a-z_][a-z0-9_]{0,31}`, so that templates
    /// can say `steps.<id>`.
    pub id: String,
    /// What it does.
    pub action: Action,
    /// How it is tried again.
    pub retry: Retry,
    /// How long an attempt may take, in µs. Default 10 s.
    pub timeout_us: i64,
    /// What it asks of its cause, if that is on a chain.
    pub finality: Option<Finality>,
}

/// How a step is tried again when it fails in a way that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// The most retries after the first attempt. Default 10.
    pub max: u32,
    /// The wait before the first retry, in µs; it doubles with each further
    /// one. Default 1 s.
    pub initial_us: i64,
    /// The longest wait, in µs. Default 1 minute.
    pub cap_us: i64,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max: 10,
            initial_us: 1_000_000,
            cap_us: 60_000_000,
        }
    }
}

impl Retry {
    /// The wait before the attempt that follows `attempts` failed ones, in µs,
    /// without jitter.
    pub fn wait_us(&self, attempts: u32) -> i64 {
        let doublings = attempts.saturating_sub(1).min(40);
        self.initial_us
            .saturating_mul(1_i64 << doublings)
            .clamp(0, self.cap_us)
    }
}

pub(super) fn read(node: &Node, before: Before<'_>) -> Result<Step, Error> {
    let known = ["id", "use", "with", "retry", "timeout", "finality", "undo"];
    let fields = Fields::of(node, "a step", &known)?;
    let id_node = fields.need("id", "notice")?;
    let id = step_id(id_node)?;
    if before.steps.iter().any(|step| step.id == id) {
        let right = "give each step an id of its own";
        return Err(Error::new(
            id_node.at,
            format!("there is a step {} already", shown(&id)),
            right,
        ));
    }
    let uses = fields.need("use", "content.upsert")?;
    let with = fields.need("with", "{ … }")?;
    let action = action::read(uses, with, before)?;
    let retry = fields
        .get("retry")
        .map_or(Ok(Retry::default()), read_retry)?;
    let timeout_us = match fields.get("timeout") {
        Some(node) => duration_us(node, "timeout", 100_000, MAX_TIMEOUT_US)?,
        None => 10_000_000,
    };
    let finality = finality::read(&fields, &action, before)?;
    Ok(Step {
        id,
        action,
        retry,
        timeout_us,
        finality,
    })
}

fn step_id(node: &Node) -> Result<String, Error> {
    let id = text(node, "id")?;
    let good = id.len() <= MAX_STEP_ID
        && id.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && id
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if good {
        return Ok(id.to_owned());
    }
    Err(Error::new(
        node.at,
        format!("the step's `id` is {}", shown(id)),
        format!(
            "write 1 to {MAX_STEP_ID} lower-case letters, digits or '_', beginning with a letter, so that templates can say steps.<id>"
        ),
    ))
}

fn read_retry(node: &Node) -> Result<Retry, Error> {
    let fields = Fields::of(node, "`retry`", &["max", "initial", "cap"])?;
    let mut retry = Retry::default();
    if let Some(node) = fields.get("max") {
        let max = integer(node, "max", 0, i64::from(MAX_RETRIES))?;
        retry.max = u32::try_from(max).unwrap_or(MAX_RETRIES);
    }
    if let Some(node) = fields.get("initial") {
        retry.initial_us = duration_us(node, "initial", 1_000, MAX_WAIT_US)?;
    }
    match fields.get("cap") {
        Some(node) => retry.cap_us = duration_us(node, "cap", retry.initial_us, MAX_WAIT_US)?,
        None => retry.cap_us = retry.cap_us.max(retry.initial_us),
    }
    Ok(retry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap() {
        let retry = Retry {
            max: 5,
            initial_us: 1_000,
            cap_us: 5_000,
        };
        let waits: Vec<i64> = (1..=5).map(|attempts| retry.wait_us(attempts)).collect();
        assert_eq!(waits, [1_000, 2_000, 4_000, 5_000, 5_000]);
        assert_eq!(retry.wait_us(u32::MAX), 5_000);
        let long = Retry {
            max: 1,
            initial_us: MAX_WAIT_US,
            cap_us: MAX_WAIT_US,
        };
        assert_eq!(long.wait_us(1_000), MAX_WAIT_US);
    }
}
