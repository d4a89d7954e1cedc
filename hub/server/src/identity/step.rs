//! Credentials that steps of workflows issue.

use async_trait::async_trait;
use serde_json::json;
use stencil_connect::Issuer;
use stencil_workflow::effect::CredentialIssue;
use stencil_workflow::{Failure, Performed, Request};

use super::{Error, Identity, Wanted};

#[async_trait]
impl Issuer for Identity {
    async fn issue(
        &self,
        request: &Request<'_>,
        wanted: &CredentialIssue,
    ) -> Result<Performed, Failure> {
        let valid_for_s = wanted
            .valid_us
            .map(|us| u64::try_from(us / 1_000_000).unwrap_or(0));
        let wanted = Wanted {
            kind: wanted.kind.clone(),
            name: wanted.name.clone(),
            device: wanted.device.clone(),
            subject: wanted.subject.clone(),
            claims: wanted.claims.clone(),
            valid_for_s,
            schema: None,
            token: false,
        };
        let cause = Some(request.effect_key);
        let issued = Self::issue(self, request.tenant, &wanted, cause, request.now_us).await;
        let issued = issued.map_err(failure)?;
        tracing::info!(tenant = %request.tenant, credential = issued.credential, step = cause,
            "a workflow has issued a credential");
        Ok(Performed::Done(json!({
            "credential": issued.credential, "subject": issued.subject,
        })))
    }
}

fn failure(error: Error) -> Failure {
    let message = error.to_string();
    match error {
        Error::Store(error) if error.retryable() => Failure::retryable(message),
        // Somebody puts it back.
        Error::NoKey => Failure::retryable(message),
        _ => Failure::permanent(message),
    }
}
