//! Rights that steps of workflows give.

use async_trait::async_trait;
use serde_json::json;
use stencil_connect::Granter;
use stencil_payments::Address;
use stencil_workflow::effect::AccessGrant;
use stencil_workflow::{Failure, Performed, Request};

use super::{By, Rights, Wanted};
use crate::identity::seconds;

#[async_trait]
impl Granter for Rights {
    async fn grant(
        &self,
        request: &Request<'_>,
        wanted: &AccessGrant,
    ) -> Result<Performed, Failure> {
        let wanted = Wanted {
            holder: wanted.holder.clone(),
            device: wanted.device.clone(),
            commands: wanted.commands.clone(),
            valid_for_s: wanted.valid_us.map(seconds),
        };
        let by = By {
            source: match request.cause {
                Some(_) => "payment",
                None => "workflow",
            },
            key: Some(request.effect_key),
            cause: request.cause.map(|(run, step)| (*run, step)),
        };
        let given = Self::grant(self, request.tenant, &wanted, by, request.now_us).await?;
        let holder = Address::from(given.right.holder).to_checksum(None);
        Ok(Performed::Done(
            json!({ "right": given.right.right, "holder": holder }),
        ))
    }
}
