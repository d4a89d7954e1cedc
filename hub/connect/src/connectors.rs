//! All connectors in one hand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use stencil_payments::port::Chain;
use stencil_protocol::id::{CommandId, TenantId};
use stencil_store::{Commands, Content, Sends};
use stencil_workflow::{Effect, Effects, Failure, Performed, Request};
use tokio::sync::Notify;

use crate::chain::OnChain;
use crate::credential::{Granter, Issuer};
use crate::mail::{self, Mailer};
use crate::proof::Prover;
use crate::secret::{Secret, Secrets};
use crate::webhook::{self, Webhook};
use crate::{content, device_command};

/// What connectors may be set to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Webhooks.
    pub webhook: webhook::Options,
    /// Mail connections by the name that a step's `connection` gives; a step
    /// that gives none means `default`.
    pub mail: BTreeMap<String, mail::Connection>,
    /// Secrets that workflows can name.
    pub secrets: Vec<SecretFile>,
}

/// Where a secret is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretFile {
    /// Whose workflows may name it.
    pub tenant: TenantId,
    /// Its name in `with: { secret: … }`.
    pub name: String,
    /// A file that only its owner can read, with `whsec_` and base64.
    pub file: PathBuf,
    /// Files with the secrets that this one replaces, at most
    /// [`MAX_PREVIOUS`]. As long as they stand here webhooks are signed with
    /// them, too, so that a receiver can change at its leisure.
    #[serde(default)]
    pub previous: Vec<PathBuf>,
}

/// The most previous secrets under one name.
pub const MAX_PREVIOUS: usize = 4;

/// The longest name of a mail connection, in bytes.
const MAX_NAME: usize = 64;

impl SecretFile {
    /// The secrets, the current one first.
    fn read(&self) -> Result<Vec<Secret>, Error> {
        let Self {
            tenant,
            name,
            file,
            previous,
        } = self;
        if previous.len() > MAX_PREVIOUS {
            return Err(Error::TooManyPrevious {
                tenant: tenant.clone(),
                name: name.clone(),
                count: previous.len(),
            });
        }
        let read = |file: &Path| {
            let text =
                stencil_crypto::keyfile::read_text(file).map_err(|source| Error::SecretFile {
                    tenant: tenant.clone(),
                    name: name.clone(),
                    source,
                })?;
            Secret::parse(&text).map_err(|source| Error::Secret {
                tenant: tenant.clone(),
                name: name.clone(),
                source,
            })
        };
        let all = std::iter::once(file).chain(previous);
        all.map(|file| read(file)).collect()
    }
}

/// Why connectors could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A secret's file cannot be read, or is readable for others.
    #[error("the secret `{name}` of tenant `{tenant}`: {source}")]
    SecretFile {
        /// The tenant.
        tenant: TenantId,
        /// The secret's name.
        name: String,
        /// What is wrong.
        source: stencil_crypto::keyfile::Error,
    },
    /// A secret is not one.
    #[error("the secret `{name}` of tenant `{tenant}`: {source}")]
    Secret {
        /// The tenant.
        tenant: TenantId,
        /// The secret's name.
        name: String,
        /// What is wrong.
        source: crate::secret::Error,
    },
    /// More previous secrets than are taken.
    #[error(
        "the secret `{name}` of tenant `{tenant}` has {count} previous ones; at most \
         {MAX_PREVIOUS} are taken"
    )]
    TooManyPrevious {
        /// The tenant.
        tenant: TenantId,
        /// The secret's name.
        name: String,
        /// How many there are.
        count: usize,
    },
    /// A mail connection cannot be used.
    #[error("connect.mail.{name}: {source}")]
    Mail {
        /// The connection's name.
        name: String,
        /// What is wrong.
        source: mail::Error,
    },
    /// The HTTP client could not be made.
    #[error(transparent)]
    Webhook(#[from] webhook::Error),
}

impl Options {
    /// Checks the mail connections.
    ///
    /// # Errors
    /// The key that cannot be used, and why.
    pub fn check(&self) -> Result<(), (String, String)> {
        for (name, connection) in &self.mail {
            let good = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(good) {
                let why = format!(
                    "{name:?} is no name of a connection; use 1 to {MAX_NAME} letters, digits, '-' \
                     or '_'"
                );
                return Err(("connect.mail".to_owned(), why));
            }
            if let Err(mail::Invalid { key, why }) = connection.check() {
                return Err((format!("connect.mail.{name}.{key}"), why));
            }
        }
        Ok(())
    }
}

/// Performs effects.
pub struct Connectors {
    content: Arc<dyn Content>,
    commands: Arc<dyn Commands>,
    webhook: Webhook,
    mailer: Mailer,
    chains: Option<OnChain>,
    issuer: Option<Arc<dyn Issuer>>,
    granter: Option<Arc<dyn Granter>>,
    prover: Option<Arc<dyn Prover>>,
    queued: Arc<Notify>,
}

impl Connectors {
    /// Connectors over a store; reads the files of the secrets.
    ///
    /// # Errors
    /// [`Error`]: a secret's file, the roots to trust.
    pub fn new(
        options: &Options,
        content: Arc<dyn Content>,
        commands: Arc<dyn Commands>,
    ) -> Result<Self, Error> {
        let mut secrets = Secrets::default();
        for file in &options.secrets {
            let SecretFile { tenant, name, .. } = file;
            secrets.insert(tenant.clone(), name.clone(), file.read()?);
        }
        let mailer =
            Mailer::new(&options.mail).map_err(|(name, source)| Error::Mail { name, source })?;
        let webhook = Webhook::new(&options.webhook, secrets)?;
        Ok(Self {
            content,
            commands,
            webhook,
            mailer,
            chains: None,
            issuer: None,
            granter: None,
            prover: None,
            queued: Arc::new(Notify::new()),
        })
    }

    /// With the chains that workflows may call and send to.
    #[must_use]
    pub fn on_chains(mut self, chains: Vec<Arc<dyn Chain>>, sends: Arc<dyn Sends>) -> Self {
        self.chains = Some(OnChain::new(chains, sends));
        self
    }

    /// With whoever issues credentials by tenants' keys.
    #[must_use]
    pub fn issuing(mut self, issuer: Arc<dyn Issuer>) -> Self {
        self.issuer = Some(issuer);
        self
    }

    /// With whoever gives rights to command devices.
    #[must_use]
    pub fn granting(mut self, granter: Arc<dyn Granter>) -> Self {
        self.granter = Some(granter);
        self
    }

    /// With whoever proves what devices said.
    #[must_use]
    pub fn proving(mut self, prover: Arc<dyn Prover>) -> Self {
        self.prover = Some(prover);
        self
    }

    fn chains(&self) -> Result<&OnChain, Failure> {
        let none = || Failure::permanent("the hub follows no chains");
        self.chains.as_ref().ok_or_else(none)
    }

    /// Notified when a command was queued: the dispatcher waits for it.
    pub fn queued(&self) -> Arc<Notify> {
        self.queued.clone()
    }
}

#[async_trait]
impl Effects for Connectors {
    async fn perform(&self, request: &Request<'_>) -> Result<Performed, Failure> {
        match request.effect {
            Effect::ContentUpsert {
                collection,
                key,
                fields,
            } => content::upsert(&*self.content, request, collection, key, fields).await,
            Effect::ContentPublish { collection, key } => {
                content::publish(&*self.content, request, collection, key).await
            }
            Effect::WebhookPost { url, body, secret } => {
                self.webhook
                    .post(request, url, body, secret.as_deref())
                    .await
            }
            Effect::MailSend(mail) => self.mailer.send(request, mail).await,
            Effect::ChainCall(call) => self.chains()?.call(call).await,
            Effect::ChainSend(send) => self.chains()?.send(request, send).await,
            Effect::CredentialIssue(wanted) => match &self.issuer {
                Some(issuer) => issuer.issue(request, wanted).await,
                None => Err(Failure::permanent("the hub issues no credentials")),
            },
            Effect::AccessGrant(grant) => match &self.granter {
                Some(granter) => granter.grant(request, grant).await,
                None => Err(Failure::permanent("the hub gives no rights")),
            },
            Effect::DataProve(wanted) => match &self.prover {
                Some(prover) => prover.prove(request, wanted).await,
                None => Err(Failure::permanent("the hub keeps no seals")),
            },
            Effect::DeviceCommand {
                device,
                command,
                argument,
                expires_us,
            } => {
                let command = device_command::new(request, device, command, argument, *expires_us);
                let performed =
                    device_command::queue(&*self.commands, &command, request.now_us).await;
                self.queued.notify_one();
                performed
            }
        }
    }

    async fn settle(&self, tenant: &TenantId, command: &CommandId) -> Result<Performed, Failure> {
        device_command::settle(&*self.commands, tenant, command).await
    }
}

/// A failure of the store, as a step's.
pub(crate) fn store_failed(error: &stencil_store::Error) -> Failure {
    let message = error.to_string();
    if error.retryable() {
        Failure::retryable(message)
    } else {
        Failure::permanent(message)
    }
}
