//! The alarm that a workflow raises.

use stencil_store::Severity;
use stencil_yaml::{Error, Fields, Node, listed, nearest, shown, text};

use super::action::template;
use super::names::Before;
use crate::template::{self as engine, Scope, Template};

/// The alarm that is raised while the rule's condition holds.
#[derive(Debug, PartialEq)]
pub struct Alarm {
    /// How bad it is.
    pub severity: Severity,
    /// What it says; without one, the workflow's title or id does.
    pub title: Option<Template>,
}

impl Alarm {
    /// What it says of an event; `None` without a title.
    ///
    /// # Errors
    /// Those of templates.
    pub fn title(&self, scope: &Scope) -> Result<Option<String>, engine::Error> {
        self.title
            .as_ref()
            .map(|title| title.text(scope))
            .transpose()
    }
}

/// `alarm: { severity, title }`
pub(super) fn read(node: &Node) -> Result<Alarm, Error> {
    let fields = Fields::of(node, "`alarm`", &["severity", "title"])?;
    let at = fields.need("severity", "major")?;
    let name = text(at, "severity")?;
    let Some(severity) = Severity::parse(name) else {
        let known = Severity::ALL.map(Severity::as_str);
        let right = match nearest(name, &known) {
            Some(near) => format!("did you mean `{near}`? known: {}", listed(&known)),
            None => format!("known: {}", listed(&known)),
        };
        return Err(Error::new(
            at.at,
            format!("`severity` is {}", shown(name)),
            right,
        ));
    };
    let title = fields
        .get("title")
        .map(|node| template(node, "title", Before::RULE));
    Ok(Alarm {
        severity,
        title: title.transpose()?,
    })
}
