//! Proofs that steps of workflows wait for.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use stencil_connect::Prover;
use stencil_protocol::id::{Boot, Seq};
use stencil_workflow::effect::DataProve;
use stencil_workflow::{Failure, Performed, Request};

use super::{NotProven, Proofs, Until, Which};

/// How soon it is looked for a proof again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[async_trait]
impl Prover for Proofs {
    async fn prove(&self, request: &Request<'_>, wanted: &DataProve) -> Result<Performed, Failure> {
        let which = Which::Numbered {
            boot: Boot(wanted.boot),
            seq: Seq(wanted.number),
        };
        let until = match wanted.until_anchored {
            true => Until::Anchored,
            false => Until::Sealed,
        };
        let document = self.document(request.tenant, &wanted.device, &which, until);
        match document.await {
            Ok(document) => {
                let anchored = document.anchor.is_some();
                Ok(Performed::Done(json!({
                    "document": document.to_json(), "anchored": anchored,
                })))
            }
            Err(NotProven::NotYet(_)) => Ok(Performed::Later(LOOK_AGAIN)),
            Err(NotProven::NotFound(why)) => Err(Failure::permanent(why)),
            Err(NotProven::Store(error)) if error.retryable() => {
                Err(Failure::retryable(error.to_string()))
            }
            Err(NotProven::Store(error)) => Err(Failure::permanent(error.to_string())),
        }
    }
}
