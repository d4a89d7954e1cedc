//! Roots over verified seals, kept by a contract.
//!
//! One anchor of a tenant is under way at a time, as each names the link before. It is in the store
//! before it is ordered, and its order has a key: so it is sent once, whatever is killed. What a
//! reorganisation takes away the sender brings back; what is lost or reverted for good lets its seals go,
//! and they are in the next one.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use stencil_anchor::{Append, head_of, read_head, series};
use stencil_payments::Address;
use stencil_payments::money::Amount;
use stencil_payments::port::{B256, Bytes, Called, Chain, Order, Outcome, Sent};
use stencil_proof::document::AnchorForm;
use stencil_proof::tree;
use stencil_protocol::id::TenantId;
use stencil_store::{Anchoring, Error, StoredAnchor, StoredSeal};

use super::{LOOK, Proofs, REST};

/// The most seals of an anchor.
const MAX_SEALS: u32 = 4_096;
/// An interval ends so many seconds ago: a block may be as much behind our clock, and the contract takes none
/// that is not over.
const BEHIND_S: u64 = 3;
/// More gas than `append` needs: three words of storage that are new, and its event.
const GAS: u64 = 250_000;

/// What is kept of an anchor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Body {
    pub(crate) chain: String,
    pub(crate) chain_id: u64,
    pub(crate) contract: Address,
    pub(crate) publisher: Address,
    pub(crate) series: B256,
    /// Which one of the series on the chain.
    pub(crate) number: u64,
    pub(crate) previous: B256,
    pub(crate) root: B256,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) seals: u64,
    /// What names its order.
    pub(crate) key: String,
    /// What shows that it is there; `None`: it is not final.
    pub(crate) shown: Option<Shown>,
    /// Why it is not there yet, or never.
    pub(crate) trouble: Option<String>,
}

/// What shows that an anchor is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shown {
    pub(crate) transaction: B256,
    pub(crate) block_number: u64,
    pub(crate) block_hash: B256,
    header: Bytes,
    transaction_index: u64,
    receipt_path: Vec<Bytes>,
}

/// An anchor as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) anchor: u64,
    pub(crate) body: Body,
    pub(crate) open: bool,
}

impl Body {
    fn append(&self) -> Append {
        Append {
            series: self.series,
            previous: self.previous,
            root: self.root,
            start: self.start,
            end: self.end,
        }
    }

    fn order(&self, tenant: &TenantId) -> Order {
        Order {
            tenant: tenant.clone(),
            key: self.key.clone(),
            to: self.contract,
            value: Amount::default(),
            data: self.append().call().into(),
            gas: GAS,
            moves: None,
        }
    }

    /// As a document has it; where the seal is in it is for who knows the seal to say.
    fn form(&self) -> Option<AnchorForm> {
        let shown = self.shown.as_ref()?;
        let address = |address: Address| format!("{address:#x}");
        Some(AnchorForm {
            chain_id: self.chain_id,
            contract: address(self.contract),
            publisher: address(self.publisher),
            series: self.series.0,
            number: self.number,
            previous: self.previous.0,
            start: self.start,
            end: self.end,
            seals: self.seals,
            root: self.root.0,
            index: 0,
            path: Vec::new(),
            transaction: shown.transaction.0,
            block_number: shown.block_number,
            block_hash: shown.block_hash.0,
            header: shown.header.to_vec(),
            transaction_index: shown.transaction_index,
            receipt_path: shown
                .receipt_path
                .iter()
                .map(|node| node.to_vec())
                .collect(),
        })
    }
}

impl Proofs {
    /// The anchor of a seal, as a document has it; `None`: it is not in one that is final.
    pub(super) async fn anchor_of(
        &self,
        tenant: &TenantId,
        seal: &StoredSeal,
    ) -> Result<Option<AnchorForm>, Error> {
        let Some((anchor, leaf)) = seal.anchor else {
            return Ok(None);
        };
        let Some(stored) = self.store.anchor(tenant, anchor).await? else {
            return Ok(None);
        };
        let Some(mut form) = body(&stored)?.form() else {
            return Ok(None);
        };
        let leaves = self.store.anchored_seals(tenant, anchor).await?;
        let place = usize::try_from(leaf).unwrap_or(usize::MAX);
        let Some(path) = tree::path(&leaves, place) else {
            return Ok(None);
        };
        // Some of them may be forgotten.
        if leaves.len() as u64 != form.seals || tree::root(&leaves) != form.root {
            return Ok(None);
        }
        (form.index, form.path) = (leaf, path);
        Ok(Some(form))
    }

    /// The newest anchor of a tenant.
    pub(crate) async fn newest_anchor(&self, tenant: &TenantId) -> Result<Option<Standing>, Error> {
        let stored = self.store.last_anchor(tenant).await?;
        let stands = |stored: StoredAnchor| {
            Ok(Standing {
                anchor: stored.anchor,
                body: body(&stored)?,
                open: stored.open,
            })
        };
        stored.map(stands).transpose()
    }

    /// Where a chain of the hub's could anchor: its contract, and its account.
    pub(crate) fn anchors_on(&self, chain: &str) -> Result<(), String> {
        let Some(chain) = self.chains.by_name(chain) else {
            return Err(format!(
                "the hub follows no chain `{}`: its operator sets one as [chains.NAME]",
                chain.chars().take(64).collect::<String>()
            ));
        };
        place(chain.as_ref()).map(drop)
    }

    /// Does what is due; says when to look again.
    pub(super) async fn anchor_due(&self) -> Duration {
        match self.anchor_all().await {
            Ok(()) => LOOK,
            Err(error) => {
                tracing::warn!(%error, "seals cannot be anchored now; trying again");
                REST
            }
        }
    }

    async fn anchor_all(&self) -> Result<(), Error> {
        for (tenant, anchoring) in self.store.anchorings().await? {
            let last = self.newest_anchor(&tenant).await?;
            match (last, anchoring) {
                (Some(last), _) if last.open => self.follow(&tenant, last).await?,
                (last, Some(anchoring)) => self.begin(&tenant, last, &anchoring).await?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes an anchor when it is due and there is something to anchor.
    async fn begin(
        &self,
        tenant: &TenantId,
        last: Option<Standing>,
        anchoring: &Anchoring,
    ) -> Result<(), Error> {
        let now_s = u64::try_from(self.clock.now_us() / 1_000_000).unwrap_or(0);
        let due = last
            .as_ref()
            .map_or(0, |last| last.body.end.saturating_add(anchoring.interval_s));
        if now_s < due {
            return Ok(());
        }
        let Some(chain) = self.chains.by_name(&anchoring.chain) else {
            return Ok(());
        };
        let Ok((contract, publisher)) = place(chain.as_ref()) else {
            return Ok(());
        };
        let seals = self.store.unanchored(tenant, MAX_SEALS).await?;
        if seals.is_empty() {
            return Ok(());
        }
        let series = B256::from(series(tenant));
        let asked = chain
            .call(contract, head_of(publisher, series).into())
            .await;
        let head = match asked {
            Ok(Called::Returned(bytes)) => read_head(&bytes),
            Ok(Called::Reverted(_)) => None,
            // Not known now: it is asked again.
            Err(_) => return Ok(()),
        };
        let Some(head) = head else {
            tracing::error!(%tenant, chain = anchoring.chain, %contract,
                "there is no StencilAnchor at this address: nothing is anchored");
            return Ok(());
        };
        let end = now_s.saturating_sub(BEHIND_S);
        let start = head
            .end
            .max(end.saturating_sub(anchoring.interval_s.max(1)));
        if start >= end {
            return Ok(());
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
        };
        let keys: Vec<_> = seals.into_iter().map(|(key, _)| key).collect();
        let stored = stored(anchor, &body, true);
        let now_us = self.clock.now_us();
        match self.store.put_anchor(tenant, &stored, &keys, now_us).await {
            Ok(_) => {}
            // Some of them were forgotten meanwhile.
            Err(Error::Conflict(_)) => return Ok(()),
            Err(error) => return Err(error),
        }
        stencil_crashpoint::reach("anchor.kept");
        let open = Standing {
            anchor,
            body,
            open: true,
        };
        self.follow(tenant, open).await
    }

    /// Sees where an anchor is, and sends it if it was not.
    async fn follow(&self, tenant: &TenantId, mut at: Standing) -> Result<(), Error> {
        let Some(chain) = self.chains.by_name(&at.body.chain) else {
            return self
                .troubled(tenant, at, "the hub does not follow its chain any more")
                .await;
        };
        let Ok(sent) = chain.sent(tenant, &at.body.key).await else {
            return Ok(());
        };
        let sent = match sent {
            Some(sent) => sent,
            None => match chain.order(&at.body.order(tenant)).await {
                Ok(sent) => sent,
                Err(why) => return self.troubled(tenant, at, &why.to_string()).await,
            },
        };
        stencil_crashpoint::reach("anchor.ordered");
        match sent {
            Sent::Pending | Sent::Included(_) => Ok(()),
            Sent::Lost => {
                let why = "its transaction will never be in a block";
                self.let_go(tenant, at, why).await
            }
            Sent::Final(Outcome {
                succeeded: false,
                tx,
                ..
            }) => {
                let why = format!("its transaction {tx} was reverted");
                self.let_go(tenant, at, &why).await
            }
            Sent::Final(_) => match chain.evidence(tenant, &at.body.key).await {
                Ok(Some(shown)) => {
                    at.body.shown = Some(Shown {
                        transaction: shown.transaction,
                        block_number: shown.block_number,
                        block_hash: shown.block_hash,
                        header: shown.header,
                        transaction_index: shown.transaction_index,
                        receipt_path: shown.receipt_path,
                    });
                    // What is given away is what everybody can check.
                    let checked = at.body.form().map(|form| stencil_anchor::check(&form));
                    if let Some(Err(fault)) = checked {
                        at.body.shown = None;
                        return self.troubled(tenant, at, &fault.to_string()).await;
                    }
                    at.body.trouble = None;
                    tracing::info!(%tenant, anchor = at.anchor, seals = at.body.seals,
                        chain = at.body.chain, "seals are anchored");
                    self.set(tenant, &at.body, at.anchor, false).await
                }
                Ok(None) => Ok(()),
                Err(why) => self.troubled(tenant, at, &why.0).await,
            },
        }
    }

    /// Notes why an anchor is not done with, once.
    async fn troubled(&self, tenant: &TenantId, mut at: Standing, why: &str) -> Result<(), Error> {
        if at.body.trouble.as_deref() == Some(why) {
            return Ok(());
        }
        tracing::warn!(%tenant, anchor = at.anchor, why, "an anchor waits");
        at.body.trouble = Some(why.to_owned());
        self.set(tenant, &at.body, at.anchor, true).await
    }

    /// An anchor that will never be: its seals are for the next one.
    async fn let_go(&self, tenant: &TenantId, mut at: Standing, why: &str) -> Result<(), Error> {
        tracing::error!(%tenant, anchor = at.anchor, why, "an anchor is given up; its seals are \
            anchored by the next one");
        at.body.trouble = Some(why.to_owned());
        let stored = stored(at.anchor, &at.body, false);
        let now_us = self.clock.now_us();
        self.store.let_anchor_go(tenant, &stored, now_us).await
    }

    async fn set(
        &self,
        tenant: &TenantId,
        body: &Body,
        anchor: u64,
        open: bool,
    ) -> Result<(), Error> {
        let stored = stored(anchor, body, open);
        let now_us = self.clock.now_us();
        self.store.set_anchor(tenant, &stored, now_us).await
    }
}

fn place(chain: &dyn Chain) -> Result<(Address, Address), String> {
    let name = chain.name();
    let contract = chain.anchor().ok_or_else(|| {
        format!("no contract is set to anchor on {name}: `anchor` in [chains.{name}] of the hub's settings")
    })?;
    let account = chain.account().ok_or_else(|| {
        format!("the hub has no account on {name}: `account` in [chains.{name}] of its settings")
    })?;
    Ok((contract, account))
}

fn stored(anchor: u64, body: &Body, open: bool) -> StoredAnchor {
    StoredAnchor {
        anchor,
        // Texts and numbers: this cannot fail.
        body: serde_json::to_string(body).unwrap_or_default(),
        open,
    }
}

fn body(stored: &StoredAnchor) -> Result<Body, Error> {
    serde_json::from_str(&stored.body)
        .map_err(|error| Error::Unavailable(format!("an anchor cannot be read: {error}")))
}
