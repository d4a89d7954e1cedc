//! Nonces that are not as they should be: used by somebody else, or not used any more.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Address;
use stencil_store::{SendState, StoredSend};

use super::{Error, Sender};

/// What was seen of nonces since the start.
#[derive(Debug, Default)]
pub(super) struct Nonces {
    /// Since when one is seen to be used, for good, by none of ours.
    missed: BTreeMap<u64, i64>,
    /// At which block one was first seen to be used by none of ours.
    used_by: BTreeMap<u64, u64>,
    /// Since when one is sent again that was final.
    again: BTreeMap<u64, i64>,
    /// What wants a signature that can't be made.
    unsigned: BTreeSet<u64>,
    /// The account's next one, where nothing is held that has it, and something that comes after it.
    gap: Option<u64>,
}

impl Nonces {
    /// The account's next nonce, and the first one of what is looked at.
    pub(super) fn looked(&mut self, next: u64, first: Option<u64>) {
        self.gap = first.is_some_and(|first| first > next).then_some(next);
        self.unsigned.clear();
    }

    /// Whether a nonce is used, and by none of ours, as far as anybody says.
    pub(super) fn is_used(&mut self, nonce: u64, is_used: bool) {
        if !is_used {
            self.missed.remove(&nonce);
            self.used_by.remove(&nonce);
        }
    }

    /// Notes that a nonce is used by none of ours for good; whether that is new.
    pub(super) fn misses(&mut self, nonce: u64, now_us: i64) -> bool {
        let is_new = !self.missed.contains_key(&nonce);
        self.missed.entry(nonce).or_insert(now_us);
        is_new
    }

    pub(super) fn missed_since_us(&self, nonce: u64) -> Option<i64> {
        self.missed.get(&nonce).copied()
    }

    pub(super) fn again_us(&self, nonce: u64) -> Option<i64> {
        self.again.get(&nonce).copied()
    }

    /// Notes that it wants a signature, and the account's key is not there.
    pub(super) fn wants_signature(&mut self, nonce: u64) {
        self.unsigned.insert(nonce);
    }

    /// What had a nonce is in a block, or over.
    pub(super) fn arrived(&mut self, nonce: u64) {
        self.again.remove(&nonce);
        self.missed.remove(&nonce);
        self.used_by.remove(&nonce);
    }

    pub(super) fn trouble(&self, account: Address) -> Option<String> {
        let mut all = Vec::new();
        if let Some(gap) = self.gap {
            all.push(format!(
                "nothing that the hub holds has nonce {gap} of {account}, and what it sends waits for \
                 that: send any transaction with this nonce from the account"
            ));
        }
        if !self.again.is_empty() {
            all.push(format!(
                "a reorganisation took away what {account} had sent and was final: it is sent again, \
                 nonces {}",
                listed(self.again.keys())
            ));
        }
        if !self.missed.is_empty() {
            all.push(format!(
                "another transaction used what is a nonce of the hub's, so the key of {account} is in \
                 use elsewhere: nonces {}",
                listed(self.missed.keys())
            ));
        }
        if !self.unsigned.is_empty() {
            all.push(format!(
                "what was to be sent from {account}, which was the hub's account before, wants a signature, \
                 nonces {}: set that account again until it is through, or use the nonces by transactions \
                 of your own",
                listed(self.unsigned.iter())
            ));
        }
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// The first few.
fn listed<'a>(nonces: impl ExactSizeIterator<Item = &'a u64>) -> String {
    const SHOWN: usize = 8;
    let more = nonces.len().saturating_sub(SHOWN);
    let shown: Vec<_> = nonces.take(SHOWN).map(u64::to_string).collect();
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

impl Sender {
    /// The account's next nonce at a final block, as far as it follows from what was seen, where no
    /// endpoint knows what accounts were at that block: a nonce that is used ever since a block that is
    /// final now is used for good.
    pub(super) async fn used_for_good(
        &mut self,
        nonce: u64,
        next: u64,
        finalized: u64,
    ) -> Result<Option<u64>, Error> {
        let by = match self.nonces.used_by.get(&nonce) {
            Some(by) => *by,
            None => {
                let newest = self.quorum.newest("latest").await?.link.number;
                *self.nonces.used_by.entry(nonce).or_insert(newest)
            }
        };
        Ok((by <= finalized).then_some(next))
    }

    /// Whether the chain has another block in the place of the one that a send was final in.
    pub(super) async fn is_gone(&self, send: &StoredSend) -> Result<bool, Error> {
        let SendState::Final(was) = send.state else {
            return Ok(false);
        };
        // A chain that is shorter than that tells nothing yet: an endpoint may begin anew.
        match self.quorum.header_at(was.block.number).await {
            Ok(header) => Ok(header.link.hash.0 != was.block.hash),
            Err(trouble) if trouble.passes() => Ok(false),
            Err(trouble) => Err(trouble.into()),
        }
    }

    /// Sends again what was final, the same bytes.
    pub(super) async fn take_back(&mut self, send: &StoredSend, now_us: i64) -> Result<(), Error> {
        let SendState::Final(was) = send.state else {
            return Ok(());
        };
        tracing::error!(
            chain = self.settings.name,
            tenant = send.send.tenant,
            key = send.send.key,
            nonce = send.nonce,
            tx = hex::encode(was.tx),
            block = was.block.number,
            "a reorganisation took away a transaction that was final: it is sent again"
        );
        let (chain, sender) = (&self.settings.name, send.send.sender);
        self.sends
            .take_back_send(chain, sender, send.nonce, was.block)
            .await?;
        stencil_crashpoint::reach("send.taken_back");
        self.nonces.again.insert(send.nonce, now_us);
        self.broadcast(&send.attempts).await;
        Ok(())
    }
}
