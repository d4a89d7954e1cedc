//! The `with` of `access.grant`.

use stencil_access::grant::MAX_COMMANDS;
use stencil_yaml::{Content, Error, Fields, Node, duration_us};

use super::super::names::Before;
use super::{EffectError, checked, template};
use crate::effect::{self, AccessGrant};
use crate::template::{Scope, Template};

/// The longest time for which a right is given: 100 years, in µs.
const MAX_VALID_US: i64 = 100 * 365 * 86_400 * 1_000_000;

/// A right with its expressions.
#[derive(Debug, PartialEq)]
pub struct GrantTemplates {
    /// Whose it is.
    pub holder: Template,
    /// The device.
    pub device: Template,
    /// What it may be told.
    pub commands: Vec<Template>,
    /// For how long it holds, in µs.
    pub valid_us: Option<i64>,
}

impl GrantTemplates {
    pub(super) fn render(&self, scope: &Scope) -> Result<AccessGrant, EffectError> {
        let text = |field, template: &Template| {
            let rendered = template.text(scope);
            rendered.map_err(|error| EffectError::Template { field, error })
        };
        let commands = self.commands.iter();
        let commands = commands.map(|command| text("commands", command));
        Ok(AccessGrant {
            holder: text("holder", &self.holder)?,
            device: effect::device(&text("device", &self.device)?)?,
            commands: commands.collect::<Result<_, _>>()?,
            valid_us: self.valid_us,
        })
    }
}

pub(super) fn read(with: &Node, before: Before<'_>) -> Result<GrantTemplates, Error> {
    let known = ["holder", "device", "commands", "valid"];
    let fields = Fields::of(with, "the `with` of access.grant", &known)?;
    let node = fields.need("holder", "\"{{ event.payers[0] }}\"")?;
    let holder = template(node, "holder", before)?;
    checked(&holder, node, |text| {
        let read = super::super::source::read_address(text);
        read.map(drop)
            .map_err(|(what, right)| effect::Invalid { what, right })
    })?;
    let node = fields.need("device", "locker-1")?;
    let device = template(node, "device", before)?;
    checked(&device, node, |device| effect::device(device).map(|_| ()))?;
    let node = fields.need("commands", "[open]")?;
    let right = format!("write 1 to {MAX_COMMANDS} commands, for example `commands: [open]`");
    let Content::List(items) = &node.content else {
        return Err(Error::new(
            node.at,
            format!("`commands` is {}", node.kind()),
            right,
        ));
    };
    if !(1..=MAX_COMMANDS).contains(&items.len()) {
        let what = format!("`commands` has {} entries", items.len());
        return Err(Error::new(node.at, what, right));
    }
    let mut commands = Vec::with_capacity(items.len());
    for item in items {
        let command = template(item, "commands", before)?;
        checked(&command, item, effect::check_given)?;
        commands.push(command);
    }
    let valid_us = fields
        .get("valid")
        .map(|node| duration_us(node, "valid", 1_000_000, MAX_VALID_US))
        .transpose()?;
    Ok(GrantTemplates {
        holder,
        device,
        commands,
        valid_us,
    })
}
