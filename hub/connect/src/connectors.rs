//! All connectors in one hand.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use stencil_protocol::id::{CommandId, TenantId};
use stencil_store::{Commands, Content};
use stencil_workflow::{Effect, Effects, Failure, Performed, Request};
use tokio::sync::Notify;

use crate::secret::{Secret, Secrets};
use crate::webhook::{self, Webhook};
use crate::{content, device_command};

/// What connectors may be set to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Webhooks.
    pub webhook: webhook::Options,
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
    /// The HTTP client could not be made.
    #[error(transparent)]
    Webhook(#[from] webhook::Error),
}

/// Performs effects.
pub struct Connectors {
    content: Arc<dyn Content>,
    commands: Arc<dyn Commands>,
    webhook: Webhook,
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
        for SecretFile { tenant, name, file } in &options.secrets {
            let text =
                stencil_crypto::keyfile::read_text(file).map_err(|source| Error::SecretFile {
                    tenant: tenant.clone(),
                    name: name.clone(),
                    source,
                })?;
            let secret = Secret::parse(&text).map_err(|source| Error::Secret {
                tenant: tenant.clone(),
                name: name.clone(),
                source,
            })?;
            secrets.insert(tenant.clone(), name.clone(), secret);
        }
        let webhook = Webhook::new(&options.webhook, secrets)?;
        Ok(Self {
            content,
            commands,
            webhook,
            queued: Arc::new(Notify::new()),
        })
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
