//! What a step does: the kinds of `use`, each with its own `with`.

mod access;
mod chain;
mod credential;
mod mail;
mod prove;

use std::collections::BTreeMap;

use serde_json::Value;
use stencil_yaml::{
    Content, Error, Fields, Node, boolean, duration_us, listed, nearest, shown, text,
};

use super::input::{self, Input};
use super::names::{self, Before};
use crate::effect::{self, Effect};
use crate::template::{self as engine, Scope, Template};

pub use access::GrantTemplates;
pub use chain::{CallTemplates, FunctionTemplates, MAX_ARGUMENTS, SendTemplates};
pub use credential::CredentialTemplates;
pub use mail::MailTemplates;
pub use prove::ProveTemplates;

/// The longest time within which a command must be begun: 7 days, in µs.
pub const MAX_EXPIRES_US: i64 = 7 * 86_400 * 1_000_000;

const USES: &[&str] = &[
    "content.upsert",
    "content.publish",
    "webhook.post",
    "mail.send",
    "device.command",
    "chain.call",
    "chain.send",
    "credential.issue",
    "access.grant",
    "data.prove",
];

/// What a step does.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Sets fields of an entry of the built-in content store (a draft).
    ContentUpsert {
        /// The collection.
        collection: Template,
        /// The entry's key.
        key: Template,
        /// The fields.
        set: BTreeMap<String, Input>,
    },
    /// Publishes an entry's newest version.
    ContentPublish {
        /// The collection.
        collection: Template,
        /// The entry's key.
        key: Template,
    },
    /// Posts JSON to a URL.
    WebhookPost {
        /// Where to.
        url: Template,
        /// What.
        body: Input,
        /// The name of the secret that signs it; the secret itself is a
        /// setting of the hub.
        secret: Option<String>,
        /// Whether it is a way to tell people, as to a chat or a pager: then a
        /// silence holds for it, too. By default it is not, because a call that
        /// switches something must not fail to come for a silence.
        tells: bool,
    },
    /// Sends a mail.
    MailSend(MailTemplates),
    /// Calls a function of a contract; nothing is sent.
    ChainCall(CallTemplates),
    /// Sends a transaction, and waits until it is in a block, or final.
    ChainSend(SendTemplates),
    /// Issues a credential.
    CredentialIssue(CredentialTemplates),
    /// Lets somebody command a device, by its gateway alone.
    AccessGrant(GrantTemplates),
    /// Waits for the proof of what a device said.
    DataProve(ProveTemplates),
    /// Tells a device to do something, and waits for the end of that.
    DeviceCommand {
        /// The device.
        device: Template,
        /// What to do.
        command: Template,
        /// With what.
        argument: Option<Input>,
        /// How long after the command is given it may still be begun, in µs.
        expires_us: i64,
    },
}

/// Why a step's effect cannot be known: its templates, or what they gave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EffectError {
    /// A template failed.
    #[error("`{field}`: {error}")]
    Template {
        /// The field of `with`.
        field: &'static str,
        /// Why.
        error: engine::Error,
    },
    /// A template rendered to something that cannot be used.
    #[error(transparent)]
    Invalid(#[from] effect::Invalid),
}

impl Action {
    /// The name of its kind: `content.upsert`.
    pub fn uses(&self) -> &'static str {
        match self {
            Self::ContentUpsert { .. } => "content.upsert",
            Self::ContentPublish { .. } => "content.publish",
            Self::WebhookPost { .. } => "webhook.post",
            Self::MailSend(_) => "mail.send",
            Self::DeviceCommand { .. } => "device.command",
            Self::ChainCall(_) => "chain.call",
            Self::ChainSend(_) => "chain.send",
            Self::CredentialIssue(_) => "credential.issue",
            Self::AccessGrant(_) => "access.grant",
            Self::DataProve(_) => "data.prove",
        }
    }

    /// Whether it tells people something and does nothing else: it is passed over while the
    /// workflow is silenced for the device.
    pub fn tells(&self) -> bool {
        match self {
            Self::MailSend(_) => true,
            Self::WebhookPost { tells, .. } => *tells,
            Self::ContentUpsert { .. }
            | Self::ContentPublish { .. }
            | Self::DeviceCommand { .. }
            | Self::ChainCall(_)
            | Self::ChainSend(_)
            | Self::CredentialIssue(_)
            | Self::DataProve(_)
            | Self::AccessGrant(_) => false,
        }
    }

    /// The names of what it gives to later steps.
    pub fn outputs(&self) -> &'static [&'static str] {
        match self {
            Self::ContentUpsert { .. } | Self::ContentPublish { .. } => {
                &["collection", "key", "version"]
            }
            Self::WebhookPost { .. } => &["status", "body", "link"],
            Self::MailSend(_) => &["message_id", "accepted", "refused", "answer", "link"],
            Self::DeviceCommand { .. } => &["command", "state", "detail"],
            Self::ChainCall(_) => &["result"],
            Self::ChainSend(_) => &["tx", "block", "state"],
            Self::CredentialIssue(_) => &["credential", "subject"],
            Self::AccessGrant(_) => &["right", "holder"],
            Self::DataProve(_) => &["document", "anchored"],
        }
    }

    /// The effect of the step in one run, with all templates rendered: the same
    /// for the same event and outputs, however often it is asked for.
    ///
    /// # Errors
    /// [`EffectError`]; trying again does not help.
    pub fn effect(&self, scope: &Scope) -> Result<Effect, EffectError> {
        let text = |field, template: &Template| {
            template
                .text(scope)
                .map_err(|error| EffectError::Template { field, error })
        };
        let value = |field, input: &Input| {
            input
                .render(scope)
                .map_err(|error| EffectError::Template { field, error })
        };
        let effect = match self {
            Self::ContentUpsert {
                collection,
                key,
                set,
            } => {
                let mut fields = serde_json::Map::new();
                for (name, input) in set {
                    fields.insert(name.clone(), value("set", input)?);
                }
                Effect::ContentUpsert {
                    collection: text("collection", collection)?,
                    key: text("key", key)?,
                    fields,
                }
            }
            Self::ContentPublish { collection, key } => Effect::ContentPublish {
                collection: text("collection", collection)?,
                key: text("key", key)?,
            },
            Self::WebhookPost {
                url, body, secret, ..
            } => Effect::WebhookPost {
                url: text("url", url)?,
                body: value("body", body)?,
                secret: secret.clone(),
            },
            Self::MailSend(templates) => Effect::MailSend(templates.render(scope)?),
            Self::ChainCall(templates) => Effect::ChainCall(templates.render(scope)?),
            Self::ChainSend(templates) => Effect::ChainSend(templates.render(scope)?),
            Self::CredentialIssue(templates) => Effect::CredentialIssue(templates.render(scope)?),
            Self::AccessGrant(templates) => Effect::AccessGrant(templates.render(scope)?),
            Self::DataProve(templates) => Effect::DataProve(templates.render(scope)?),
            Self::DeviceCommand {
                device,
                command,
                argument,
                expires_us,
            } => {
                return command_effect(device, command, argument.as_ref(), *expires_us, scope);
            }
        };
        effect.check()?;
        Ok(effect)
    }
}

/// A command to a device, with its templates rendered.
pub(super) fn command_effect(
    device: &Template,
    command: &Template,
    argument: Option<&Input>,
    expires_us: i64,
    scope: &Scope,
) -> Result<Effect, EffectError> {
    let text = |field, template: &Template| {
        let rendered = template.text(scope);
        rendered.map_err(|error| EffectError::Template { field, error })
    };
    let argument = match argument {
        Some(input) => {
            let rendered = input.render(scope);
            let field = "argument";
            effect::argument(rendered.map_err(|error| EffectError::Template { field, error })?)?
        }
        None => None,
    };
    let effect = Effect::DeviceCommand {
        device: effect::device(&text("device", device)?)?,
        command: text("command", command)?,
        argument,
        expires_us,
    };
    effect.check()?;
    Ok(effect)
}

/// Reads `use` and `with`.
pub(super) fn read(uses: &Node, with: &Node, before: Before<'_>) -> Result<Action, Error> {
    let kind = text(uses, "use")?;
    match kind {
        "content.upsert" => {
            let fields = Fields::of(
                with,
                "the `with` of content.upsert",
                &["collection", "key", "set"],
            )?;
            let set = fields.need("set", "{ title: \"…\" }")?;
            let Input::Map(set) = input::read(set, before)? else {
                let right = "write a map of fields, for example `set: { title: \"…\" }`";
                return Err(Error::new(
                    set.at,
                    format!("`set` is {}", set.kind()),
                    right,
                ));
            };
            let collection = key(&fields, "collection", "notices", before)?;
            let key = key(&fields, "key", "\"{{ event.device }}\"", before)?;
            Ok(Action::ContentUpsert {
                collection,
                key,
                set,
            })
        }
        "content.publish" => {
            let fields = Fields::of(
                with,
                "the `with` of content.publish",
                &["collection", "key"],
            )?;
            let collection = key(&fields, "collection", "notices", before)?;
            let key = key(&fields, "key", "\"{{ event.device }}\"", before)?;
            Ok(Action::ContentPublish { collection, key })
        }
        "webhook.post" => webhook(with, before),
        "mail.send" => mail::read(with, before).map(Action::MailSend),
        "device.command" => command(with, before),
        "chain.call" => chain::call(with, before).map(Action::ChainCall),
        "chain.send" => chain::send(with, before).map(Action::ChainSend),
        "credential.issue" => credential::read(with, before).map(Action::CredentialIssue),
        "access.grant" => access::read(with, before).map(Action::AccessGrant),
        "data.prove" => prove::read(with, before).map(Action::DataProve),
        other => {
            let right = match nearest(other, USES) {
                Some(near) => format!("did you mean `{near}`? known: {}", listed(USES)),
                None => format!("known: {}", listed(USES)),
            };
            Err(Error::new(
                uses.at,
                format!("there is no {} to use", shown(other)),
                right,
            ))
        }
    }
}

fn webhook(with: &Node, before: Before<'_>) -> Result<Action, Error> {
    let fields = Fields::of(
        with,
        "the `with` of webhook.post",
        &["url", "body", "secret", "tells"],
    )?;
    let node = fields.need("url", "\"https://example.org/hook\"")?;
    let url = template(node, "url", before)?;
    let start = url.source().to_ascii_lowercase();
    if !["http://", "https://", "{{"]
        .iter()
        .any(|good| start.starts_with(good))
    {
        let right = "write a URL that begins with https:// or http://";
        return Err(Error::new(
            node.at,
            format!("`url` is {}", shown(url.source())),
            right,
        ));
    }
    let body = input::read(
        fields.need("body", "{ device: \"{{ event.device }}\" }")?,
        before,
    )?;
    let secret = match fields.get("secret") {
        Some(node) => Some(super::identifier(node, "secret")?),
        None => None,
    };
    let tells = match fields.get("tells") {
        Some(node) => boolean(node, "tells")?,
        None => false,
    };
    Ok(Action::WebhookPost {
        url,
        body,
        secret,
        tells,
    })
}

fn command(with: &Node, before: Before<'_>) -> Result<Action, Error> {
    let known = ["device", "command", "argument", "expires"];
    let fields = Fields::of(with, "the `with` of device.command", &known)?;
    let node = fields.need("device", "\"{{ event.device }}\"")?;
    let device = template(node, "device", before)?;
    checked(&device, node, |device| effect::device(device).map(|_| ()))?;
    let node = fields.need("command", "lock")?;
    let command = template(node, "command", before)?;
    checked(&command, node, effect::check_command)?;
    let argument = fields
        .get("argument")
        .map(|node| argument(node, before))
        .transpose()?;
    let node = fields.need("expires", "30s")?;
    let expires_us = duration_us(node, "expires", 1_000_000, MAX_EXPIRES_US)?;
    Ok(Action::DeviceCommand {
        device,
        command,
        argument,
        expires_us,
    })
}

pub(super) fn argument(node: &Node, before: Before<'_>) -> Result<Input, Error> {
    if matches!(node.content, Content::List(_) | Content::Map(_)) {
        let right = "write a number, true, false or text";
        return Err(Error::new(
            node.at,
            format!("`argument` is {}", node.kind()),
            right,
        ));
    }
    let input = input::read(node, before)?;
    if let Input::Literal(value) = &input {
        let check = effect::argument(Value::clone(value)).map(|_| ());
        check.map_err(|error| Error::new(node.at, error.what.clone(), error.right))?;
    }
    Ok(input)
}

/// A collection or key, checked now if there is no expression in it.
fn key(
    fields: &Fields<'_>,
    name: &'static str,
    example: &str,
    before: Before<'_>,
) -> Result<Template, Error> {
    let node = fields.need(name, example)?;
    let template = template(node, name, before)?;
    checked(&template, node, |text| effect::check_key(name, text))?;
    Ok(template)
}

pub(super) fn checked(
    template: &Template,
    node: &Node,
    check: impl Fn(&str) -> Result<(), effect::Invalid>,
) -> Result<(), Error> {
    let Some(text) = template.literal() else {
        return Ok(());
    };
    check(text).map_err(|error| Error::new(node.at, error.what, error.right))
}

/// A text with expressions, compiled, its names checked.
pub(super) fn template(node: &Node, name: &str, before: Before<'_>) -> Result<Template, Error> {
    let template = Template::parse(text(node, name)?).map_err(|error| match error {
        engine::Error::Syntax { what, right } => Error::new(node.at, what, right),
        other => Error::new(node.at, other.to_string(), "correct the template"),
    })?;
    names::check(&template, node.at, before)?;
    Ok(template)
}
