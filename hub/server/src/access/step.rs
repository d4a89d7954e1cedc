//! Rights that steps of workflows give.

use async_trait::async_trait;
use serde_json::json;
use stencil_connect::Granter;
use stencil_payments::Address;
use stencil_workflow::effect::AccessGrant;
use stencil_workflow::{Failure, Performed, Request};

use super::{By, Rights, Wanted};
use crate::identity::Error;

#[async_trait]
impl Granter for Rights {
    async fn grant(
        &self,
        request: &Request<'_>,
        wanted: &AccessGrant,
    ) -> Result<Performed, Failure> {
        let valid_for_s = wanted
            .valid_us
            .map(|us| u64::try_from(us / 1_000_000).unwrap_or(0));
        let wanted = Wanted {
            holder: wanted.holder.clone(),
            device: wanted.device.clone(),
            commands: wanted.commands.clone(),
            valid_for_s,
        };
        let by = By {
            source: match request.cause {
                Some(_) => "payment",
                None => "workflow",
            },
            key: Some(request.effect_key),
            cause: request.cause.map(|(run, step)| (*run, step)),
        };
        let given = Self::grant(self, request.tenant, &wanted, by, request.now_us).await;
        let given = given.map_err(failure)?;
        let holder = Address::from(given.right.holder).to_checksum(None);
        Ok(Performed::Done(
            json!({ "right": given.right.right, "holder": holder }),
        ))
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
