//! How deep the cause of a step has to be, and how a device's action is undone if the cause goes
//! away all the same: `finality` and `undo`.

use stencil_payments::observation::Needs;
use stencil_payments::physical::{self, MAX_PATIENCE_US, Terms};
use stencil_yaml::{Content, Error, Fields, Node, duration_us, integer, shown, text};

use super::action::{self, Action, MAX_EXPIRES_US};
use super::input::Input;
use super::names::Before;
use crate::effect::{self, Effect};
use crate::template::{Scope, Template};

/// The most confirmations that a step can ask for.
pub const MAX_CONFIRMATIONS: u32 = 100_000;

/// How long to wait whether a cause is included again, where the workflow does not say: a minute.
const DEFAULT_PATIENCE_US: i64 = 60 * 1_000_000;
/// Within which time an undoing command must be begun, where the workflow does not say: a day.
const DEFAULT_EXPIRES_US: i64 = 86_400 * 1_000_000;

/// What a step asks of its cause on a chain.
#[derive(Debug, PartialEq)]
pub struct Finality {
    /// How deep it has to be.
    pub needs: Needs,
    /// What is done when the cause goes away after a device was told to act; `None` for steps that
    /// tell no device.
    pub undo: Option<Undo>,
}

/// What is done about an action whose cause is gone.
#[derive(Debug, PartialEq)]
pub enum Undo {
    /// Nothing can be.
    Nothing,
    /// A command to the same device.
    Command(UndoCommand),
}

/// The command that undoes another.
#[derive(Debug, PartialEq)]
pub struct UndoCommand {
    /// What to do.
    pub command: Template,
    /// With what.
    pub argument: Option<Input>,
    /// How long after it is given it may still be begun, in µs. Default a day.
    pub expires_us: i64,
    /// How long to wait whether the cause is included again, in µs. Default a minute.
    pub patience_us: i64,
}

impl Finality {
    /// The terms of [`physical`]. A step that tells no device has nothing to undo: once its cause is
    /// gone it only waits again, unless it was done.
    #[must_use]
    pub fn terms(&self) -> Terms {
        let undo = match &self.undo {
            Some(Undo::Nothing) => physical::Undo::Nothing,
            Some(Undo::Command(command)) => physical::Undo::Compensate {
                patience_us: command.patience_us,
            },
            None => physical::Undo::Compensate { patience_us: 0 },
        };
        Terms {
            needs: self.needs,
            undo,
        }
    }
}

/// "3 confirmations", as in "waits for …".
#[must_use]
pub fn named(needs: Needs) -> String {
    match needs {
        Needs::Confirmations(0 | 1) => "a block with its cause".to_owned(),
        Needs::Confirmations(count) => format!("{count} confirmations"),
        Needs::Safe => "its cause to be safe".to_owned(),
        Needs::Finalized => "its cause to be final".to_owned(),
    }
}

impl UndoCommand {
    /// The command as an effect on a device.
    pub(crate) fn effect(
        &self,
        device: &Template,
        scope: &Scope,
    ) -> Result<Effect, action::EffectError> {
        action::command_effect(
            device,
            &self.command,
            self.argument.as_ref(),
            self.expires_us,
            scope,
        )
    }
}

/// Reads `finality` and `undo` of a step that does `action`.
pub(super) fn read(
    step: &Fields<'_>,
    action: &Action,
    before: Before<'_>,
) -> Result<Option<Finality>, Error> {
    let (finality, undo) = (step.get("finality"), step.get("undo"));
    let is_command = matches!(action, Action::DeviceCommand { .. });
    if !before.is_on_chain {
        return match finality
            .map(|it| ("finality", it))
            .or(undo.map(|it| ("undo", it)))
        {
            None => Ok(None),
            Some((key, node)) => Err(Error::new(
                node.at,
                format!("`{key}` does not go with `on: {{ telemetry: … }}`"),
                "leave it out: only what has its cause on a chain can lose it",
            )),
        };
    }
    if !is_command {
        if let Some(node) = undo {
            return Err(Error::new(
                node.at,
                format!("`undo` does not go with {}", action.uses()),
                "leave it out: only a device.command can be undone",
            ));
        }
        let needs = finality.map_or(Ok(Needs::Finalized), needs)?;
        return Ok(Some(Finality { needs, undo: None }));
    }
    let node = step.need("finality", "final")?;
    let needs = needs(node)?;
    let undo_node = step.need("undo", "{ command: close, patience: 1m }")?;
    let finality = Finality {
        needs,
        undo: Some(read_undo(undo_node, before)?),
    };
    finality.terms().validate().map_err(|error| {
        Error::new(
            node.at,
            format!("`finality` is not deep enough: {error}"),
            "write `finality: final`, `finality: { confirmations: 12 }`, or an `undo` with a command",
        )
    })?;
    Ok(Some(finality))
}

fn needs(node: &Node) -> Result<Needs, Error> {
    let right = "write included, { confirmations: 3 }, safe or final";
    if matches!(node.content, Content::Map(_)) {
        let fields = Fields::of(node, "`finality`", &["confirmations"])?;
        let count = fields.need("confirmations", "3")?;
        let count = integer(count, "confirmations", 1, i64::from(MAX_CONFIRMATIONS))?;
        return Ok(Needs::Confirmations(
            u32::try_from(count).unwrap_or(MAX_CONFIRMATIONS),
        ));
    }
    let Content::Text(name) = &node.content else {
        let what = format!("`finality` is {}", node.kind());
        return Err(Error::new(node.at, what, right));
    };
    match name.as_str() {
        "included" => Ok(Needs::Confirmations(1)),
        "safe" => Ok(Needs::Safe),
        "final" => Ok(Needs::Finalized),
        other => {
            let what = format!("`finality` is {}", shown(other));
            Err(Error::new(node.at, what, right))
        }
    }
}

fn read_undo(node: &Node, before: Before<'_>) -> Result<Undo, Error> {
    if !matches!(node.content, Content::Map(_)) {
        return match text(node, "undo")? {
            "none" => Ok(Undo::Nothing),
            other => Err(Error::new(
                node.at,
                format!("`undo` is {}", shown(other)),
                "write none, or the command that undoes it: { command: close, patience: 1m }",
            )),
        };
    }
    let known = ["command", "argument", "expires", "patience"];
    let fields = Fields::of(node, "`undo`", &known)?;
    let at = fields.need("command", "close")?;
    let command = action::template(at, "command", before)?;
    action::checked(&command, at, effect::check_command)?;
    let argument = fields
        .get("argument")
        .map(|node| action::argument(node, before))
        .transpose()?;
    let time = |key: &str, least: i64, most: i64, default: i64| match fields.get(key) {
        Some(node) => duration_us(node, key, least, most),
        None => Ok(default),
    };
    Ok(Undo::Command(UndoCommand {
        command,
        argument,
        expires_us: time("expires", 1_000_000, MAX_EXPIRES_US, DEFAULT_EXPIRES_US)?,
        patience_us: time("patience", 0, MAX_PATIENCE_US, DEFAULT_PATIENCE_US)?,
    }))
}
