//! The `with` of `credential.issue`.

use std::collections::BTreeMap;

use stencil_yaml::{Error, Fields, Node, duration_us, text};

use super::super::input::{self, Input};
use super::super::names::Before;
use super::{EffectError, checked, template};
use crate::effect::{self, CredentialIssue};
use crate::template::{Scope, Template};

/// The longest time for which a credential is issued: 100 years, in µs.
const MAX_VALID_US: i64 = 100 * 365 * 86_400 * 1_000_000;
/// The longest kind.
const MAX_KIND: usize = 64;

/// A credential with its expressions.
#[derive(Debug, PartialEq)]
pub struct CredentialTemplates {
    /// Of which kind it is.
    pub kind: String,
    /// What it is called, for people.
    pub name: Option<Template>,
    /// The device that it is about.
    pub device: Option<Template>,
    /// Whom else it is about.
    pub subject: Option<Template>,
    /// What is said.
    pub claims: BTreeMap<String, Input>,
    /// For how long it holds, in µs.
    pub valid_us: Option<i64>,
}

impl CredentialTemplates {
    pub(super) fn render(&self, scope: &Scope) -> Result<CredentialIssue, EffectError> {
        let text = |field, template: &Option<Template>| {
            template
                .as_ref()
                .map(|template| template.text(scope))
                .transpose()
                .map_err(|error| EffectError::Template { field, error })
        };
        let mut claims = serde_json::Map::new();
        for (name, input) in &self.claims {
            let rendered = input.render(scope);
            let field = "claims";
            let value = rendered.map_err(|error| EffectError::Template { field, error })?;
            claims.insert(name.clone(), value);
        }
        let device = text("device", &self.device)?;
        Ok(CredentialIssue {
            kind: self.kind.clone(),
            name: text("name", &self.name)?,
            device: device.as_deref().map(effect::device).transpose()?,
            subject: text("subject", &self.subject)?,
            claims,
            valid_us: self.valid_us,
        })
    }
}

pub(super) fn read(with: &Node, before: Before<'_>) -> Result<CredentialTemplates, Error> {
    let known = ["kind", "name", "device", "subject", "claims", "valid"];
    let fields = Fields::of(with, "the `with` of credential.issue", &known)?;
    let node = fields.need("kind", "CalibrationCertificate")?;
    let kind = text(node, "kind")?;
    if kind.len() > MAX_KIND
        || !kind.starts_with(|c: char| c.is_ascii_alphabetic())
        || !kind.chars().all(|c| c.is_ascii_alphanumeric())
    {
        let right = "write letters and digits, at most 64, such as CalibrationCertificate";
        return Err(Error::new(node.at, format!("`kind` is {kind:?}"), right));
    }
    if effect::RESERVED_KINDS.contains(&kind) {
        let right = "take a name of its own, such as CalibrationCertificate";
        let what = format!("`kind` is {kind}, which means something else already");
        return Err(Error::new(node.at, what, right));
    }
    let read = |name: &'static str| {
        let node = fields.get(name);
        node.map(|node| template(node, name, before)).transpose()
    };
    let (name, device, subject) = (read("name")?, read("device")?, read("subject")?);
    if let (Some(device), Some(node)) = (&device, fields.get("device")) {
        checked(device, node, |device| effect::device(device).map(|_| ()))?;
    }
    if device.is_some() == subject.is_some() {
        let what = "credential.issue needs one of `device` and `subject`";
        let right = "write whom it is about, for example `device: \"{{ event.device }}\"`";
        return Err(Error::new(with.at, what, right));
    }
    let node = fields.need("claims", "{ deviation: \"{{ event.value }}\" }")?;
    let Input::Map(claims) = input::read(node, before)? else {
        let right = "write a map, for example `claims: { deviation: \"{{ event.value }}\" }`";
        return Err(Error::new(
            node.at,
            format!("`claims` is {}", node.kind()),
            right,
        ));
    };
    if claims.is_empty() || claims.contains_key("id") {
        let right = "say something of the subject; its id is `device` or `subject`";
        return Err(Error::new(node.at, "`claims` is empty, or has `id`", right));
    }
    let valid_us = fields
        .get("valid")
        .map(|node| duration_us(node, "valid", 1_000_000, MAX_VALID_US))
        .transpose()?;
    Ok(CredentialTemplates {
        kind: kind.to_owned(),
        name,
        device,
        subject,
        claims,
        valid_us,
    })
}
