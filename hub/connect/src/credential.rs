//! Credentials that steps issue.

use async_trait::async_trait;
use stencil_workflow::effect::{AccessGrant, CredentialIssue};
use stencil_workflow::{Failure, Performed, Request};

/// Whoever issues credentials by tenants' keys.
#[async_trait]
pub trait Issuer: Send + Sync + 'static {
    /// Issues a credential, or finds the one that was issued under the request's effect key: its id is
    /// the output `credential`, whom it is about `subject`.
    async fn issue(
        &self,
        request: &Request<'_>,
        wanted: &CredentialIssue,
    ) -> Result<Performed, Failure>;
}

/// Whoever gives rights to command devices.
#[async_trait]
pub trait Granter: Send + Sync + 'static {
    /// Gives a right, or finds the one that was given under the request's effect key: its id is the output
    /// `right`, whose it is `holder`. Where the request has a cause, the right holds as long as that does.
    async fn grant(
        &self,
        request: &Request<'_>,
        wanted: &AccessGrant,
    ) -> Result<Performed, Failure>;
}
