//! Anchors on their way: when one is due, where it is, and what becomes of it.
//!
//! One anchor of a tenant is under way at a time, as each names the link before. It is in the store
//! before it is ordered, and its order has a key: so it is sent once, whatever is killed. What a
//! reorganisation takes away the sender brings back; what is lost or reverted for good lets its seals go,
//! and they are in the next one. One that was final, and whose block a reorganisation took away all the
//! same, is open again: what was shown of it is void, and none follows it until it is shown anew.

use std::time::Duration;

use stencil_anchor::{head_of, read_head, series};
use stencil_payments::port::{B256, Called, Chain, Outcome, Sent};
use stencil_proof::tree;
use stencil_protocol::id::TenantId;
use stencil_store::{AnchorSeals, Anchoring, Error};

use super::anchor::{Body, Shown, Standing, place};
use super::{LOOK, Proofs, REST};

/// The most seals of an anchor.
const MAX_SEALS: u32 = 4_096;
/// An interval ends so many seconds ago: a block may be as much behind our clock, and the contract takes none
/// that is not over.
const BEHIND_S: u64 = 3;
/// How many that were given up, one behind the other, are passed over when it is looked for one that has
/// left the chain.
const GIVEN_UP: u32 = 16;

/// From when on the next anchor may be made, in seconds since 1970, where the newest is done with.
pub(crate) fn due_s(last: Option<&Standing>, interval_s: u64, now_s: u64) -> u64 {
    last.map_or(0, |last| match last.body.shown {
        // Given up, and made by a clock that was ahead: nothing is anchored up to there.
        None if last.body.end > now_s => 0,
        _ => last.body.end.saturating_add(interval_s),
    })
}

/// Why the next anchor is not made though its interval is over; `None`: the hub's clock holds it up no longer than
/// that. The contract took the newest one, so its interval was over by the chain's time.
pub(crate) fn held_up(last: Option<&Standing>, now_s: u64) -> Option<String> {
    let body = &last?.body;
    body.shown.as_ref()?;
    let behind_s = body
        .end
        .checked_sub(now_s)
        .filter(|behind_s| *behind_s > 0)?;
    Some(format!(
        "the hub's clock is at least {behind_s} s behind that of {}: the newest anchor's interval, which was over \
         there when it was anchored, is not over by the hub's clock, and the next one begins where it ends. Set the \
         hub's clock: nothing is anchored before it has come there",
        body.chain
    ))
}

/// Why an anchor will never be whose transaction was reverted.
fn reverted(tx: B256, ahead_s: Option<u64>) -> String {
    let ahead = ahead_s.map_or_else(String::new, |ahead_s| {
        format!(
            ": its interval was not over by the chain's time, as the hub's clock was ahead when it was made, by at \
             least {ahead_s} s; set it if it still is"
        )
    });
    format!("its transaction {tx} was reverted{ahead}")
}

impl Body {
    /// By how many seconds its interval is not over; `None`: it is, or that is not known.
    fn not_over_s(&self, chain: &dyn Chain, now_s: u64) -> Option<u64> {
        let after = |time_s: u64| self.end.checked_sub(time_s).filter(|after_s| *after_s > 0);
        // The newest block is none before the one that it was reverted in.
        let by_chain = chain.head().and_then(|head| after(head.time_s));
        self.ahead_s.max(by_chain).max(after(now_s))
    }
}

impl Proofs {
    /// Does what is due; says when to look again.
    pub(super) async fn anchor_due(&self) -> Duration {
        let anchorings = match self.store.anchorings().await {
            Ok(anchorings) => anchorings,
            Err(error) => {
                tracing::warn!(%error, "seals cannot be anchored now; trying again");
                return REST;
            }
        };
        let mut next = LOOK;
        for (tenant, anchoring) in anchorings {
            match self.anchor_of_tenant(&tenant, anchoring.as_ref()).await {
                Ok(rest) => next = next.max(rest),
                // Nobody else waits for it.
                Err(error) => {
                    tracing::warn!(%tenant, %error, "seals cannot be anchored now; trying again");
                    next = REST;
                }
            }
        }
        next
    }

    async fn anchor_of_tenant(
        &self,
        tenant: &TenantId,
        anchoring: Option<&Anchoring>,
    ) -> Result<Duration, Error> {
        let last = self.newest_anchor(tenant).await?;
        if let Some(last) = &last {
            self.reopen(tenant, last.clone()).await?;
        }
        let open = self.store.open_anchors(tenant).await?;
        if let Some(anchoring) = anchoring.filter(|_| open.is_empty()) {
            return self.begin(tenant, last, anchoring).await;
        }
        let mut next = LOOK;
        // The oldest first, as each names the one before.
        for anchor in &open {
            next = next.max(self.follow(tenant, Standing::of(anchor)?).await?);
        }
        Ok(next)
    }

    /// Opens those again whose block has left the chain: from the newest back to one that stands, as all
    /// before that do as well.
    async fn reopen(&self, tenant: &TenantId, last: Standing) -> Result<(), Error> {
        let (mut at, mut given_up) = (last, 0);
        loop {
            if self.has_left(tenant, &at.body).await? {
                given_up = 0;
                self.void(tenant, at.clone()).await?;
            } else if at.body.shown.is_some() || given_up == GIVEN_UP {
                return Ok(());
            } else if !at.open {
                given_up += 1;
            }
            let before = match at.anchor.checked_sub(1) {
                Some(number) => self.store.anchor(tenant, number).await?,
                None => None,
            };
            match before {
                Some(before) => at = Standing::of(&before)?,
                None => return Ok(()),
            }
        }
    }

    /// What was shown of an anchor is not true any more.
    async fn void(&self, tenant: &TenantId, mut at: Standing) -> Result<(), Error> {
        let Some(shown) = at.body.shown.take() else {
            return Ok(());
        };
        let why = format!(
            "a reorganisation took away block {} ({:#x}), in which it was final: proofs that name that \
             block do not hold any more, and are to be had again when it is final in another one",
            shown.block_number, shown.block_hash
        );
        tracing::error!(%tenant, anchor = at.anchor, chain = at.body.chain, why, "an anchor is open again");
        at.body.trouble = Some(why);
        at.open = true;
        self.put(tenant, &at, AnchorSeals::Keep).await?;
        stencil_crashpoint::reach("anchor.reopened");
        Ok(())
    }

    /// Makes an anchor when it is due and there is something to anchor.
    async fn begin(
        &self,
        tenant: &TenantId,
        last: Option<Standing>,
        anchoring: &Anchoring,
    ) -> Result<Duration, Error> {
        let now_s = self.now_s();
        if now_s < due_s(last.as_ref(), anchoring.interval_s, now_s) {
            return Ok(LOOK);
        }
        let Some(chain) = self.chains.by_name(&anchoring.chain) else {
            return Ok(LOOK);
        };
        let Ok((contract, publisher)) = place(chain.as_ref()) else {
            return Ok(LOOK);
        };
        let seals = self.store.unanchored(tenant, MAX_SEALS).await?;
        if seals.is_empty() {
            return Ok(LOOK);
        }
        let series = B256::from(series(tenant));
        let asked = chain
            .call(contract, head_of(publisher, series).into())
            .await;
        let head = match asked {
            Ok(Called::Returned(bytes)) => read_head(&bytes),
            Ok(Called::Reverted(_)) => None,
            // Not known now: it is asked again.
            Err(_) => return Ok(LOOK),
        };
        let Some(head) = head else {
            tracing::error!(%tenant, chain = anchoring.chain, %contract,
                "there is no StencilAnchor at this address: nothing is anchored");
            return Ok(LOOK);
        };
        let is_there = |last: &Standing| {
            let body = &last.body;
            body.shown.is_some()
                && (body.chain_id, body.contract, body.publisher, body.series)
                    == (chain.id(), contract, publisher, series)
        };
        if last
            .as_ref()
            .is_some_and(|last| is_there(last) && head.count < last.body.number)
        {
            // A reorganisation took it away, and that is not found out yet: it comes first.
            return Ok(LOOK);
        }
        let end = now_s.saturating_sub(BEHIND_S);
        let start = head
            .end
            .max(end.saturating_sub(anchoring.interval_s.max(1)));
        if start >= end {
            return Ok(LOOK);
        }
        let hashes: Vec<[u8; 32]> = seals.iter().map(|(_, hash)| *hash).collect();
        let anchor = last.map_or(1, |last| last.anchor + 1);
        let body = Body {
            chain: anchoring.chain.clone(),
            chain_id: chain.id(),
            contract,
            publisher,
            series,
            number: head.count + 1,
            previous: head.link,
            root: tree::root(&hashes).into(),
            start,
            end,
            seals: hashes.len() as u64,
            key: format!("anchor {anchor}"),
            shown: None,
            trouble: None,
            ahead_s: None,
        };
        let keys: Vec<_> = seals.into_iter().map(|(key, _)| key).collect();
        let at = Standing {
            anchor,
            body,
            open: true,
        };
        stencil_crashpoint::reach("anchor.chosen");
        match self.put(tenant, &at, AnchorSeals::Take(&keys)).await {
            Ok(()) => {}
            // Some of them were forgotten meanwhile.
            Err(Error::Conflict(_)) => return Ok(LOOK),
            Err(error) => return Err(error),
        }
        stencil_crashpoint::reach("anchor.kept");
        self.follow(tenant, at).await
    }

    /// Sees where an anchor is, and sends it if it was not; says when to look again.
    async fn follow(&self, tenant: &TenantId, mut at: Standing) -> Result<Duration, Error> {
        let Some(chain) = self.chains.by_name(&at.body.chain) else {
            return self
                .troubled(tenant, at, "the hub does not follow its chain any more")
                .await;
        };
        let Ok(sent) = chain.sent(tenant, &at.body.key).await else {
            return Ok(LOOK);
        };
        let sent = match sent {
            Some(sent) => sent,
            // Another account has another series, to which it does not belong.
            None if chain
                .account()
                .is_some_and(|account| account != at.body.publisher) =>
            {
                let why = "the hub's account there is another one since, and it was not sent";
                return self.let_go(tenant, at, why).await;
            }
            None => match chain.order(&at.body.order(tenant)).await {
                Ok(sent) => sent,
                Err(why) => return self.troubled(tenant, at, &why.to_string()).await,
            },
        };
        stencil_crashpoint::reach("anchor.ordered");
        match sent {
            Sent::Pending => Ok(LOOK),
            Sent::Included(outcome) => {
                stencil_crashpoint::reach("anchor.included");
                let is_told = outcome.succeeded || at.body.ahead_s.is_some();
                let ahead_s = at.body.not_over_s(chain.as_ref(), self.now_s());
                match ahead_s {
                    // When this is final the chain's time may be past it, and nothing shows it any more.
                    Some(_) if !is_told => {
                        at.body.ahead_s = ahead_s;
                        self.troubled(tenant, at, &reverted(outcome.tx, ahead_s))
                            .await
                    }
                    _ => Ok(LOOK),
                }
            }
            Sent::Lost => {
                let why = "its transaction will never be in a block";
                self.let_go(tenant, at, why).await
            }
            Sent::Final(Outcome {
                succeeded: false,
                tx,
                ..
            }) => {
                at.body.ahead_s = at.body.not_over_s(chain.as_ref(), self.now_s());
                let why = reverted(tx, at.body.ahead_s);
                self.let_go(tenant, at, &why).await
            }
            Sent::Final(_) => {
                stencil_crashpoint::reach("anchor.final");
                match chain.evidence(tenant, &at.body.key).await {
                    Ok(Some(shown)) => {
                        at.body.shown = Some(Shown {
                            transaction: shown.transaction,
                            block_number: shown.block_number,
                            block_hash: shown.block_hash,
                            header: shown.header,
                            transaction_index: shown.transaction_index,
                            receipt_path: shown.receipt_path,
                        });
                        self.shown(tenant, at).await
                    }
                    Ok(None) => Ok(LOOK),
                    Err(why) => self.troubled(tenant, at, &why.0).await,
                }
            }
        }
    }

    /// Done with, if what shows an anchor is what everybody can check: that is given away.
    async fn shown(&self, tenant: &TenantId, mut at: Standing) -> Result<Duration, Error> {
        let checked = at.body.form().map(|form| stencil_anchor::check(&form));
        if let Some(Err(fault)) = checked {
            at.body.shown = None;
            return self.troubled(tenant, at, &fault.to_string()).await;
        }
        stencil_crashpoint::reach("anchor.shown");
        (at.body.trouble, at.body.ahead_s) = (None, None);
        at.open = false;
        self.put(tenant, &at, AnchorSeals::Keep).await?;
        tracing::info!(%tenant, anchor = at.anchor, seals = at.body.seals, chain = at.body.chain,
            "seals are anchored");
        stencil_crashpoint::reach("anchor.recorded");
        Ok(LOOK)
    }

    /// Notes why an anchor is not done with, once; each look asks the chain, so it is not looked soon.
    async fn troubled(
        &self,
        tenant: &TenantId,
        mut at: Standing,
        why: &str,
    ) -> Result<Duration, Error> {
        if at.body.trouble.as_deref() == Some(why) {
            return Ok(REST);
        }
        tracing::warn!(%tenant, anchor = at.anchor, why, "an anchor waits");
        at.body.trouble = Some(why.to_owned());
        self.put(tenant, &at, AnchorSeals::Keep).await?;
        Ok(REST)
    }

    /// An anchor that will never be: its seals are for the next one.
    async fn let_go(
        &self,
        tenant: &TenantId,
        mut at: Standing,
        why: &str,
    ) -> Result<Duration, Error> {
        tracing::error!(%tenant, anchor = at.anchor, why, "an anchor is given up; its seals are \
            anchored by the next one");
        at.body.trouble = Some(why.to_owned());
        at.open = false;
        self.put(tenant, &at, AnchorSeals::Release).await?;
        Ok(LOOK)
    }

    /// Seconds since 1970.
    pub(super) fn now_s(&self) -> u64 {
        u64::try_from(self.clock.now_us() / 1_000_000).unwrap_or(0)
    }

    async fn put(
        &self,
        tenant: &TenantId,
        at: &Standing,
        seals: AnchorSeals<'_>,
    ) -> Result<(), Error> {
        let now_us = self.clock.now_us();
        let stored = at.stored();
        let is_put = self.store.put_anchor(tenant, &stored, seals, now_us);
        if is_put.await? {
            return Ok(());
        }
        Err(Error::Conflict(format!(
            "anchor {} of {tenant} is not as it was a moment ago",
            at.anchor
        )))
    }
}
