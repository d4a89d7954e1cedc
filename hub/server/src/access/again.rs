//! Receipts that are judged again, because it became known later how their right stood when it was used.
//!
//! What waits for it is in the store, with how far it has come, so that it goes on after a kill. Workflows
//! are told before that is kept, by a run that follows from the receipt: they hear of it once.

use stencil_access::receipt::Receipt;
use stencil_store::Judged;

use super::conflict::{self, Known};
use super::keeper::{Keeper, Refused};

/// Receipts that are judged again in one transaction.
const PAGE: u32 = 64;
/// So many pages in one go: those that come in are not held up for longer.
const PAGES: u32 = 16;

impl Keeper {
    /// Judges the next receipts again for which there is a reason.
    pub(super) async fn judge_again(&self) {
        for _ in 0..PAGES {
            match self.judge_page(PAGE).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(%error, "receipts are not judged again now; trying again");
                    return;
                }
            }
        }
    }

    /// The next `limit` of them at most; `false`: there is nothing to do.
    pub(crate) async fn judge_page(&self, limit: u32) -> Result<bool, Refused> {
        let Some(of) = self.store.judging.to_judge(limit).await? else {
            return Ok(false);
        };
        let tenant = &of.tenant;
        let Some(known) = Known::read(&self.store, tenant, &of.right).await? else {
            // What is forgotten speaks for nothing and against nothing.
            self.store.judging.judged(&of, &[]).await?;
            return Ok(true);
        };
        let policy = self.rights.policy(tenant).await?;
        let tolerance_us = policy.at_gateways().tolerance_us();
        let mut judged = Vec::new();
        for kept in &of.receipts {
            // However its right stood: nobody has asked for it.
            if kept.conflict.as_deref() == Some(conflict::NONCE_USED) {
                continue;
            }
            let receipt = match Receipt::parse(&kept.body) {
                Ok(receipt) => receipt,
                Err(why) => {
                    let (gateway, number) = (&kept.gateway, kept.number);
                    tracing::error!(%tenant, %gateway, number, why, "a receipt that is kept can't be read");
                    continue;
                }
            };
            let conflict = conflict::of(&receipt, Some(&known), tolerance_us);
            if kept.conflict.as_deref() == conflict.map(|conflict| conflict.reason) {
                continue;
            }
            if let Some(conflict) = conflict
                && !kept.told
            {
                self.tell(tenant, &receipt, kept, (conflict, Some(&known)))
                    .await?;
            }
            judged.push(Judged {
                gateway: kept.gateway.clone(),
                chain: kept.chain.clone(),
                number: kept.number,
                conflict: conflict.map(|conflict| conflict.reason.to_owned()),
                told: kept.told || conflict.is_some(),
            });
        }
        stencil_crashpoint::reach("access.judged_again");
        if self.store.judging.judged(&of, &judged).await? && !judged.is_empty() {
            let (right, count) = (&of.right, judged.len());
            tracing::info!(%tenant, right, count, "receipts are judged otherwise than before");
        }
        Ok(true)
    }
}
