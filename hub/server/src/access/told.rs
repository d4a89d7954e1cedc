//! What a tenant's gateways go by, as it was made last: the policy, and signed status lists.

use std::collections::HashMap;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use stencil_access::trust::MAX_LISTS;
use stencil_protocol::id::TenantId;

use super::Rights;
use crate::identity::{Error, Purpose};

/// Lists are signed anew after a part of the time for which they may be gone by, but not more often and not
/// more seldom than this.
const FRESH_S: (u32, u32) = (10, 600);

/// What the gateways of one tenant go by.
pub(crate) struct Standing {
    /// Of all that it follows from.
    digest: [u8; 32],
    made_us: i64,
    pub(super) policy: stencil_access::Policy,
    pub(super) numbers: Vec<u32>,
    /// Signed when it was made, and not before: a gateway counts their age from their signatures on.
    pub(crate) lists: Vec<Value>,
}

/// The same of all whose gateways listen.
#[derive(Default)]
pub(crate) struct Standings(HashMap<TenantId, Standing>);

impl Standings {
    /// What a tenant's go by.
    pub(crate) fn of(&self, tenant: &TenantId) -> Option<&Standing> {
        self.0.get(tenant)
    }

    /// Forgets tenants none of whose gateways listen.
    pub(super) fn retain(&mut self, listens: impl Fn(&TenantId) -> bool) {
        self.0.retain(|tenant, _| listens(tenant));
    }

    /// Looks whether a tenant's gateways have to be told something else, or the same anew.
    pub(crate) async fn look(
        &mut self,
        rights: &Rights,
        tenant: &TenantId,
        now_us: i64,
    ) -> Result<bool, Error> {
        let policy = rights.policy(tenant).await?.at_gateways();
        let mut numbers = rights.access.access_lists(tenant, now_us).await?;
        // The newest: a right of longer ago is refused by gateways.
        let left_out = numbers.len().saturating_sub(MAX_LISTS / 2);
        numbers.truncate(MAX_LISTS / 2);
        let mut digest = Sha256::new();
        digest.update(serde_json::to_vec(&policy).map_err(Error::failed)?);
        for number in &numbers {
            for purpose in [Purpose::Revocation, Purpose::Suspension] {
                let bits = rights.identity.set_bits(tenant, purpose, *number).await?;
                digest.update(number.to_be_bytes());
                digest.update((bits.len() as u64).to_be_bytes());
                bits.iter().for_each(|bit| digest.update(bit.to_be_bytes()));
            }
        }
        let digest: [u8; 32] = digest.finalize().into();
        let fresh_s = (policy.staleness_s / 4).clamp(FRESH_S.0, FRESH_S.1);
        let fresh_us = i64::from(fresh_s) * 1_000_000;
        let told = self.0.get(tenant);
        // The hub's clock may have been set back by what clocks may differ anyway: gateways take no list that is
        // older than the one they have, so what is revoked now stands in one of that time.
        let tolerated_us = policy.tolerance_us();
        let made_us = told
            .map(|told| told.made_us)
            .filter(|before_us| (1..=tolerated_us).contains(&before_us.saturating_sub(now_us)))
            .unwrap_or(now_us);
        if let Some(told) = told
            && told.digest == digest
            && (0..fresh_us).contains(&made_us.saturating_sub(told.made_us))
        {
            return Ok(false);
        }
        if left_out > 0 {
            tracing::error!(%tenant, left_out, "rights that hold are in more status lists than gateways keep: \
                the oldest ones are refused there, and have to be given anew");
        }
        let mut lists = Vec::new();
        for number in &numbers {
            for purpose in [Purpose::Revocation, Purpose::Suspension] {
                let list = rights
                    .identity
                    .list_signed_now(tenant, purpose, *number, made_us);
                lists.extend(list.await?.map(Value::Object));
            }
        }
        let standing = Standing {
            digest,
            made_us,
            policy,
            numbers,
            lists,
        };
        self.0.insert(tenant.clone(), standing);
        Ok(true)
    }
}
