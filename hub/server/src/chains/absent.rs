//! Chains that invoices can be paid on, or where what the hub has sent is not final, and that the hub does not
//! follow any more: their tables were taken out of its settings. What happens there is not seen until they are back,
//! and nobody may be left to find that out.

use std::collections::BTreeMap;

use stencil_payments::invoice::State;
use stencil_protocol::id::TenantId;
use stencil_store::StoredInvoice;

use super::Cashier;
use super::about::Kept;
use super::cashier::word;
use crate::Check;

/// Invoices that are read at once.
const AT_ONCE: u32 = 1_000;

/// A chain that is not followed, with invoices that are not over or with what the hub has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Absent {
    /// What it was called in the settings.
    pub(crate) name: String,
    /// EIP-155 chain id.
    pub(crate) chain: u64,
    /// How many invoices can be paid on it that are not over.
    pub(crate) invoices: usize,
    /// How many transactions of the hub's there are not final, as far as is known.
    pub(crate) sends: usize,
}

impl Absent {
    /// What is to be told of it.
    pub(crate) fn why(&self) -> String {
        let invoices = match self.invoices {
            0 => None,
            1 => Some("1 invoice that is not over can be paid there".to_owned()),
            many => Some(format!(
                "{many} invoices that are not over can be paid there"
            )),
        };
        let sends = match self.sends {
            0 => None,
            1 => Some("1 transaction that the hub has sent there is not final".to_owned()),
            many => Some(format!(
                "{many} transactions that the hub has sent there are not final"
            )),
        };
        let open = [invoices, sends].into_iter().flatten();
        format!(
            "it is not followed any more, and {}: what happens there is not seen before `[chains.{}]` is in the \
             hub's settings again",
            open.collect::<Vec<_>>().join(", and "),
            self.name
        )
    }
}

impl Cashier {
    /// Which chains of open invoices, and of what the hub has sent, it does not follow, as it was at its start.
    pub(crate) fn absent(&self) -> &[Absent] {
        self.0.absent.get().map_or(&[], Vec::as_slice)
    }

    /// How the chains stand, for anybody: where one is asked, and what was said there, stands in the log. `None`:
    /// there is none, and none is missing.
    pub(crate) fn chains_check(&self) -> Option<Check> {
        let troubles = self.chains().iter().filter_map(|chain| {
            let clock = self.clock_trouble(chain.as_ref());
            let trouble = [chain.trouble_in_short(), clock].into_iter().flatten();
            let trouble = trouble.collect::<Vec<_>>().join("; ");
            (!trouble.is_empty()).then(|| format!("{}: {trouble}", chain.name()))
        });
        let absent = self.absent();
        let gone = absent.iter();
        let gone = gone.map(|absent| format!("{}: {}", absent.name, absent.why()));
        let troubles: Vec<_> = troubles.chain(gone).collect();
        let is_any = self.chains().iter().next().is_some() || !absent.is_empty();
        is_any.then(|| Check {
            name: "chains",
            problem: (!troubles.is_empty()).then(|| troubles.join("; ")),
        })
    }

    /// Looks for them, and tells of each.
    pub(super) async fn find_absent(&self) -> Result<(), stencil_store::Error> {
        let (store, now_us) = (&self.0.store, self.0.clock.now_us());
        let known = store.chains.chains().await?.into_iter();
        let gone = known.filter(|chain| self.chains().by_id(chain.chain_id).is_none());
        let names: BTreeMap<u64, String> =
            gone.map(|chain| (chain.chain_id, chain.chain)).collect();
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        // Where no chain is missing nothing is read.
        let tenants = match names.is_empty() {
            true => Vec::new(),
            false => self.all_tenants().await?,
        };
        for tenant in &tenants {
            for state in [State::New, State::Seen, State::Confirming] {
                let mut after: Option<String> = None;
                loop {
                    let page = store
                        .payments
                        .invoices(tenant, Some(word(state)), after.as_deref(), AT_ONCE)
                        .await?;
                    // One that nobody has paid, and that nobody can any more, waits for nothing; one that can't be
                    // read is told of where it is needed.
                    let waits =
                        |it: &&StoredInvoice| state != State::New || it.watched_until_us >= now_us;
                    let waiting = page.items.iter().filter(waits);
                    for kept in waiting.filter_map(|it| Kept::read(it).ok()) {
                        let chains = kept.invoice.definition().chains();
                        for chain in chains.iter().filter(|chain| names.contains_key(chain)) {
                            *counts.entry(*chain).or_default() += 1;
                        }
                    }
                    after = page.next;
                    if after.is_none() {
                        break;
                    }
                }
            }
        }
        let mut all = Vec::new();
        for (chain, name) in names {
            let invoices = counts.get(&chain).copied().unwrap_or_default();
            let mut sends = 0;
            for sender in store.sends.open_senders(&name).await? {
                sends += store.sends.open_sends(&name, sender).await?.len();
            }
            if invoices > 0 || sends > 0 {
                all.push(Absent {
                    name,
                    chain,
                    invoices,
                    sends,
                });
            }
        }
        for absent in &all {
            tracing::warn!(
                chain = absent.name,
                why = absent.why(),
                "a chain is missing"
            );
        }
        let _ = self.0.absent.set(all);
        Ok(())
    }

    async fn all_tenants(&self) -> Result<Vec<TenantId>, stencil_store::Error> {
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let tenancy = &self.0.store.tenancy;
            let page = tenancy.tenants(after.as_deref(), AT_ONCE).await?;
            all.extend(page.items);
            after = page.next;
            if after.is_none() {
                return Ok(all);
            }
        }
    }
}
