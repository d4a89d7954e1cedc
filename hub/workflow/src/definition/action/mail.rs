//! The `with` of `mail.send`.

use stencil_yaml::{Content, Error, Fields, Node};

use super::super::identifier;
use super::super::names::Before;
use super::{EffectError, checked, template};
use crate::effect::{self, Mail};
use crate::template::{Scope, Template};

/// The connection of a mail that names none.
const DEFAULT_CONNECTION: &str = "default";

/// A mail with its expressions.
#[derive(Debug, PartialEq)]
pub struct MailTemplates {
    /// The name of the connection, a setting of the hub.
    pub connection: String,
    /// To whom, one address each.
    pub to: Vec<Template>,
    /// The subject.
    pub subject: Template,
    /// The text.
    pub text: Template,
    /// The same as HTML; what its expressions give is escaped.
    pub html: Option<Template>,
}

impl MailTemplates {
    pub(super) fn render(&self, scope: &Scope) -> Result<Mail, EffectError> {
        let of = |field, rendered: Result<String, _>| {
            rendered.map_err(|error| EffectError::Template { field, error })
        };
        let to = self.to.iter().map(|to| of("to", to.text(scope)));
        let html = self.html.as_ref();
        Ok(Mail {
            connection: self.connection.clone(),
            to: to.collect::<Result<_, _>>()?,
            subject: effect::subject(&of("subject", self.subject.text(scope))?),
            text: of("text", self.text.text(scope))?,
            html: html.map(|html| of("html", html.html(scope))).transpose()?,
        })
    }
}

pub(super) fn read(with: &Node, before: Before<'_>) -> Result<MailTemplates, Error> {
    let known = ["connection", "to", "subject", "text", "html"];
    let fields = Fields::of(with, "the `with` of mail.send", &known)?;
    let connection = match fields.get("connection") {
        Some(node) => identifier(node, "connection")?,
        None => DEFAULT_CONNECTION.to_owned(),
    };
    let node = fields.need("to", "ops@example.org")?;
    let to = match &node.content {
        Content::List(list) => list.iter().map(|to| recipient(to, before)).collect(),
        _ => recipient(node, before).map(|to| vec![to]),
    }?;
    effect::check_recipients(to.len())
        .map_err(|error| Error::new(node.at, error.what, error.right))?;
    let read =
        |name: &'static str, example: &str| template(fields.need(name, example)?, name, before);
    let subject = read("subject", "\"{{ event.device }} is warm\"")?;
    let text = read("text", "\"{{ event.device }}: {{ event.value }}\"")?;
    let html = fields.get("html");
    let html = html
        .map(|node| template(node, "html", before))
        .transpose()?;
    Ok(MailTemplates {
        connection,
        to,
        subject,
        text,
        html,
    })
}

fn recipient(node: &Node, before: Before<'_>) -> Result<Template, Error> {
    let to = template(node, "to", before)?;
    checked(&to, node, effect::check_address)?;
    Ok(to)
}
