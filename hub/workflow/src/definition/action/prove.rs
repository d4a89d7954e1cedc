//! The `with` of `data.prove`.

use stencil_yaml::{Error, Fields, Node, shown, text};

use super::super::names::Before;
use super::{EffectError, checked, template};
use crate::effect::{self, DataProve};
use crate::template::{Scope, Template};

/// Which reading, with its expressions.
#[derive(Debug, PartialEq)]
pub struct ProveTemplates {
    /// The device.
    pub device: Template,
    /// The boot.
    pub boot: Template,
    /// The number.
    pub number: Template,
    /// Whether it is waited until it is anchored.
    pub until_anchored: bool,
}

impl ProveTemplates {
    pub(super) fn render(&self, scope: &Scope) -> Result<DataProve, EffectError> {
        let rendered = |field, template: &Template| {
            let text = template.text(scope);
            text.map_err(|error| EffectError::Template { field, error })
        };
        let boot = rendered("boot", &self.boot)?;
        let number = rendered("number", &self.number)?;
        Ok(DataProve {
            device: effect::device(&rendered("device", &self.device)?)?,
            boot: effect::whole("boot", &boot)?,
            number: effect::whole("number", &number)?,
            until_anchored: self.until_anchored,
        })
    }
}

pub(super) fn read(with: &Node, before: Before<'_>) -> Result<ProveTemplates, Error> {
    let known = ["device", "boot", "number", "until"];
    let fields = Fields::of(with, "the `with` of data.prove", &known)?;
    let node = fields.need("device", "\"{{ event.device }}\"")?;
    let device = template(node, "device", before)?;
    checked(&device, node, |device| effect::device(device).map(|_| ()))?;
    let boot = template(fields.need("boot", "\"{{ event.boot }}\"")?, "boot", before)?;
    let number = template(
        fields.need("number", "\"{{ event.seq }}\"")?,
        "number",
        before,
    )?;
    let until_anchored = match fields.get("until") {
        None => false,
        Some(node) => match text(node, "until")? {
            "sealed" => false,
            "anchored" => true,
            other => {
                let what = format!("`until` is {}", shown(other));
                return Err(Error::new(node.at, what, "write `sealed` or `anchored`"));
            }
        },
    };
    Ok(ProveTemplates {
        device,
        boot,
        number,
        until_anchored,
    })
}
