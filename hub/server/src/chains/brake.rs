//! Payers whose signatures come to nothing on a chain.
//!
//! A signature (EIP-3009) that is good when it is looked at can be worth nothing a moment later: its payer has
//! moved the money, or cancelled it. Bringing it to the chain has cost the tenant gas by then. So what was
//! reverted is counted, a payer, chain and tenant, whether it was for an invoice or for something that is sold
//! (x402); who has too much of it is brought nothing for a time. What is counted are the tenant's own
//! transactions, as the store has them: nothing more is kept, a restart forgets nothing, and what a
//! reorganisation takes back counts no more.

use std::fmt;

use stencil_payments::Address;
use stencil_payments::invoice::{Id, State};
use stencil_payments::port::{Chain, Unknown};
use stencil_protocol::id::TenantId;
use stencil_protocol::moment;
use stencil_store::Store;

use super::Kept;

/// So many signatures of a payer may come to nothing …
const MOST_IN_VAIN: usize = 3;
/// … within this, µs: a day.
const WINDOW_US: i64 = 86_400 * 1_000_000;
/// The newest that are looked at: some of them may be paid all the same.
const LOOKED_AT: u32 = 16;

/// A payer who is brought nothing for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rests {
    /// Until then, µs since the epoch.
    pub(crate) until_us: i64,
    payer: Address,
}

impl fmt::Display for Rests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (payer, until) = (self.payer, moment::rfc3339(self.until_us));
        write!(
            f,
            "{MOST_IN_VAIN} payments that {payer:#x} has signed have failed on the chain within a day, and each has \
             cost the seller gas: from {until} on another one is taken"
        )
    }
}

/// Whether a payer of a tenant's is brought nothing on a chain now, and until when.
///
/// # Errors
/// The store can't say now.
pub(crate) async fn rests(
    store: &Store,
    chain: &dyn Chain,
    tenant: &TenantId,
    payer: Address,
    now_us: i64,
) -> Result<Option<Rests>, Unknown> {
    let since_us = now_us.saturating_sub(WINDOW_US);
    let newest_first = chain.in_vain(tenant, payer, since_us, LOOKED_AT).await?;
    if newest_first.len() < MOST_IN_VAIN {
        return Ok(None);
    }
    let mut counted = 0;
    for one in newest_first {
        if is_paid(store, tenant, one.invoice).await? {
            continue;
        }
        counted += 1;
        if counted == MOST_IN_VAIN {
            // Once this one is out of the window there are fewer.
            let until_us = one.at_us.saturating_add(WINDOW_US);
            return Ok(Some(Rests { until_us, payer }));
        }
    }
    Ok(None)
}

/// Whether an invoice is paid all the same: somebody else has brought the signature before the hub did.
async fn is_paid(store: &Store, tenant: &TenantId, id: Id) -> Result<bool, Unknown> {
    let unknown = |why: String| Unknown(why);
    let stored = store.payments.invoice(tenant, &id.0).await;
    let Some(stored) = stored.map_err(|error| unknown(error.to_string()))? else {
        return Ok(false);
    };
    let kept = Kept::read(&stored).map_err(|error| unknown(error.to_string()))?;
    Ok(matches!(
        kept.invoice.state(),
        State::Confirming | State::Settled
    ))
}
