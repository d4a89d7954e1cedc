//! Credentials that steps issue.

use async_trait::async_trait;
use stencil_workflow::effect::CredentialIssue;
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
