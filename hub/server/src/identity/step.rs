//! Credentials that steps of workflows issue, and what becomes of a step whose credential is not issued.

use async_trait::async_trait;
use serde_json::json;
use stencil_connect::Issuer;
use stencil_workflow::effect::CredentialIssue;
use stencil_workflow::{Failure, Performed, Request};

use super::{By, Error, Identity, Wanted};

#[async_trait]
impl Issuer for Identity {
    async fn issue(
        &self,
        request: &Request<'_>,
        wanted: &CredentialIssue,
    ) -> Result<Performed, Failure> {
        let wanted = Wanted {
            kind: wanted.kind.clone(),
            name: wanted.name.clone(),
            device: wanted.device.clone(),
            subject: wanted.subject.clone(),
            claims: wanted.claims.clone(),
            valid_for_s: wanted.valid_us.map(seconds),
            schema: None,
            token: false,
        };
        let by = By::Step(request.effect_key);
        let issued = Self::issue(self, request.tenant, &wanted, by, request.now_us).await?;
        tracing::info!(tenant = %request.tenant, credential = issued.credential,
            step = request.effect_key, "a workflow has issued a credential");
        Ok(Performed::Done(json!({
            "credential": issued.credential, "subject": issued.subject,
        })))
    }
}

/// For how long what a step gives holds, in whole seconds.
pub(crate) fn seconds(valid_us: i64) -> u64 {
    u64::try_from(valid_us / 1_000_000).unwrap_or(0)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Store(error) if error.retryable() => Self::retryable(message),
            // Somebody puts it back.
            Error::NoKey => Self::retryable(message),
            _ => Self::permanent(message),
        }
    }
}
