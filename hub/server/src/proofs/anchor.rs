//! Roots over verified seals, kept by a contract: what is kept of them, and what a proof has of them.

use serde::{Deserialize, Serialize};
use stencil_anchor::Append;
use stencil_payments::Address;
use stencil_payments::money::Amount;
use stencil_payments::port::{B256, Bytes, Chain, Order, Sent};
use stencil_proof::document::AnchorForm;
use stencil_proof::tree;
use stencil_protocol::id::TenantId;
use stencil_store::{Error, StoredAnchor, StoredSeal};

use super::Proofs;

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
    /// By how many seconds, at least, its interval was not over when its transaction was reverted: the hub's clock
    /// was ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ahead_s: Option<u64>,
}

/// What shows that an anchor is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shown {
    pub(crate) transaction: B256,
    pub(crate) block_number: u64,
    pub(crate) block_hash: B256,
    pub(super) header: Bytes,
    pub(super) transaction_index: u64,
    pub(super) receipt_path: Vec<Bytes>,
}

/// An anchor as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) anchor: u64,
    pub(crate) body: Body,
    pub(crate) open: bool,
}

impl Standing {
    pub(super) fn of(stored: &StoredAnchor) -> Result<Self, Error> {
        Ok(Self {
            anchor: stored.anchor,
            body: body(stored)?,
            open: stored.open,
        })
    }

    pub(super) fn stored(&self) -> StoredAnchor {
        StoredAnchor {
            anchor: self.anchor,
            // Texts and numbers: this cannot fail.
            body: serde_json::to_string(&self.body).unwrap_or_default(),
            open: self.open,
        }
    }
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

    pub(super) fn order(&self, tenant: &TenantId) -> Order {
        Order {
            tenant: tenant.clone(),
            key: self.key.clone(),
            to: self.contract,
            value: Amount::default(),
            data: self.append().call().into(),
            gas: GAS,
            moves: None,
            brings: None,
        }
    }

    /// As a document has it; where the seal is in it is for who knows the seal to say.
    pub(super) fn form(&self) -> Option<AnchorForm> {
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
        let body = body(&stored)?;
        let Some(mut form) = body.form() else {
            return Ok(None);
        };
        if self.has_left(tenant, &body).await? {
            return Ok(None);
        }
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

    /// Whether the block that an anchor was final in is none of the chain any more, as far as the chain is
    /// followed: a reorganisation went deeper than its policy.
    pub(super) async fn has_left(&self, tenant: &TenantId, body: &Body) -> Result<bool, Error> {
        let (Some(shown), Some(chain)) = (&body.shown, self.chains.by_name(&body.chain)) else {
            return Ok(false);
        };
        let sent = chain.sent(tenant, &body.key).await;
        Ok(match sent.map_err(|why| Error::Unavailable(why.0))? {
            Some(Sent::Final(outcome)) => outcome.block_hash != shown.block_hash,
            Some(_) => true,
            None => false,
        })
    }

    /// The newest anchor of a tenant.
    pub(crate) async fn newest_anchor(&self, tenant: &TenantId) -> Result<Option<Standing>, Error> {
        let stored = self.store.last_anchor(tenant).await?;
        stored.as_ref().map(Standing::of).transpose()
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
}

/// Where a chain's anchors are kept, and who anchors.
pub(super) fn place(chain: &dyn Chain) -> Result<(Address, Address), String> {
    let name = chain.name();
    let contract = chain.anchor().ok_or_else(|| {
        format!("no contract is set to anchor on {name}: `anchor` in [chains.{name}] of the hub's settings")
    })?;
    let account = chain.account().ok_or_else(|| {
        format!("the hub has no account on {name}: `account` in [chains.{name}] of its settings")
    })?;
    Ok((contract, account))
}

fn body(stored: &StoredAnchor) -> Result<Body, Error> {
    serde_json::from_str(&stored.body)
        .map_err(|error| Error::Unavailable(format!("an anchor cannot be read: {error}")))
}
