//! Proofs of readings, for whoever has the seals.

use async_trait::async_trait;
use stencil_workflow::effect::DataProve;
use stencil_workflow::{Failure, Performed, Request};

/// Proves what devices said.
#[async_trait]
pub trait Prover: Send + Sync + 'static {
    /// The proof of a reading, as the output `document`; later, while it is not there yet.
    ///
    /// # Errors
    /// There will never be one, or the store cannot say now.
    async fn prove(&self, request: &Request<'_>, wanted: &DataProve) -> Result<Performed, Failure>;
}
