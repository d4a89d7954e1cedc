//! New invoices: what makes them known to the chains, and durable before anybody can pay.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use stencil_payments::abi;
use stencil_payments::invoice::{Definition, Invoice, Way};
use stencil_payments::matching::PaidTo;
use stencil_payments::money::Asset;
use stencil_payments::{Address, B256};
use stencil_protocol::id::TenantId;
use stencil_store::{InvoiceCommit, StoredInvoice, Watch, WatchKind};

use super::about::Kept;
use super::cashier::{At, Cashier, NewInvoice, Refused, body, state, until_us};

impl Cashier {
    /// Makes an invoice; when this returns, payments of it are looked for, whatever happens to the
    /// hub. One whose id is there already is not made again, and given as it is.
    pub(crate) async fn create(&self, new: NewInvoice) -> Result<At, Refused> {
        self.create_by(new, false).await
    }

    /// The same by those of its methods for which there are amounts that no other open invoice has.
    pub(crate) async fn create_by_what_is_free(&self, new: NewInvoice) -> Result<At, Refused> {
        self.create_by(new, true).await
    }

    async fn create_by(&self, new: NewInvoice, may_lack: bool) -> Result<At, Refused> {
        // In a task of its own: whoever asked may go away, and what is half made would stay expected.
        let this = self.clone();
        let made = tokio::spawn(async move { this.make(new, may_lack).await }).await;
        made.unwrap_or_else(|error| Err(Refused::Not(error.to_string())))
    }

    async fn make(&self, new: NewInvoice, may_lack: bool) -> Result<At, Refused> {
        let NewInvoice {
            mut definition,
            about,
        } = new;
        let (id, tenant) = (definition.id, definition.tenant.clone());
        if let Some(there) = self.invoice(&tenant, id).await? {
            return Ok(there);
        }
        definition.validate()?;
        // What is watched for it is needed by nothing else until it is expected.
        let watching = self.0.watching.read().await;
        self.watch(&definition).await?;
        let (invoice, until_us) = {
            let mut till = self.till();
            if !till.has_room(&definition) {
                return Err(Refused::Full);
            }
            till.make_unique(&mut definition, may_lack)?;
            let invoice = Invoice::new(definition)?;
            let until_us = until_us(&invoice);
            till.add(&invoice, 1, until_us)?;
            (invoice, until_us)
        };
        drop(watching);
        let now_us = self.0.clock.now_us();
        let kept = Kept { invoice, about };
        let stored = StoredInvoice {
            tenant: tenant.clone(),
            invoice: id.0,
            version: 1,
            state: state(&kept.invoice),
            body: body(&kept).map_err(|error| Refused::Corrupt(id, error))?,
            wakes_us: kept.invoice.wakes_us(),
            watched_until_us: until_us,
            created_us: kept.invoice.definition().created_us,
            changed_us: now_us,
        };
        let commit = InvoiceCommit {
            invoice: stored,
            is_undone: false,
            payers: Vec::new(),
            credits: Vec::new(),
            entries: Vec::new(),
            effects: Vec::new(),
            refunds: Vec::new(),
        };
        stencil_crashpoint::reach("cashier.before_created");
        if let Err(error) = self.0.store.payments.commit_invoice(&commit).await {
            self.till().remove(id);
            // The same may have been made meanwhile.
            if matches!(error, stencil_store::Error::Conflict(_))
                && let Some(there) = self.invoice(&tenant, id).await?
            {
                return Ok(there);
            }
            return Err(error.into());
        }
        stencil_crashpoint::reach("cashier.created");
        self.tell(&tenant, id, 1);
        Ok(At {
            version: 1,
            changed_us: now_us,
            kept,
        })
    }

    /// Has the chains look for payments of an invoice, durably.
    async fn watch(&self, definition: &Definition) -> Result<(), Refused> {
        for method in &definition.methods {
            let chain = method.token.asset().chain;
            let followed = self.0.chains.by_id(chain).ok_or(Refused::NoChain(chain))?;
            followed.ready().map_err(Refused::NotReady)?;
        }
        let mut watches = Watches::default();
        watches.of_invoice(definition);
        Ok(self.watch_all(watches).await?)
    }

    /// Has the chains look, durably. Those that the hub doesn't follow are left out.
    pub(super) async fn watch_all(&self, watches: Watches) -> Result<(), stencil_store::Error> {
        for (chain, watches) in watches.0 {
            let Some(chain) = self.0.chains.by_id(chain) else {
                continue;
            };
            let watches: Vec<Watch> = watches.into_iter().map(watch).collect();
            let chains = &self.0.store.chains;
            chains.watch_chain(chain.name(), &watches).await?;
        }
        Ok(())
    }

    /// Has the chains look at a tenant's places, and looks at them, invoice or not.
    pub(crate) async fn hold(
        &self,
        tenant: &TenantId,
        places: BTreeSet<PaidTo>,
    ) -> Result<(), Refused> {
        let mut watches = Watches::default();
        watches.of_places(tenant, &places);
        let _watching = self.0.watching.read().await;
        self.watch_all(watches).await?;
        self.till().hold(tenant, places)?;
        Ok(())
    }
}

/// What chains have to look at, by their ids: for whom, at which address, for what. Of a token that is what
/// its payees get: what all others do with it is nobody's matter here, and there may be much of it.
#[derive(Debug, Default)]
pub(super) struct Watches(BTreeMap<u64, BTreeSet<(String, [u8; 20], WatchKind)>>);

fn watch((owner, address, kind): (String, [u8; 20], WatchKind)) -> Watch {
    Watch {
        owner,
        address,
        kind,
    }
}

impl Watches {
    /// Those of one chain.
    pub(super) fn of_chain(mut self, chain: u64) -> HashSet<Watch> {
        let of_chain = self.0.remove(&chain).unwrap_or_default();
        of_chain.into_iter().map(watch).collect()
    }

    /// By which an invoice is known to be paid.
    pub(super) fn of_invoice(&mut self, definition: &Definition) {
        let tenant = &definition.tenant;
        for method in &definition.methods {
            let asset = method.token.asset();
            match method.way {
                Way::Contract(contract) => self.event(tenant, asset.chain, contract, abi::PAID),
                Way::Hold { escrow, .. } => self.event(tenant, asset.chain, escrow, abi::RELEASED),
                _ if asset.contract.is_none() => self.payee(tenant, asset, method.payee),
                _ => {}
            }
            if asset.contract.is_some() {
                self.payee(tenant, asset, method.payee);
            }
        }
    }

    /// By which is known what comes to places of a tenant.
    pub(super) fn of_places(&mut self, tenant: &TenantId, places: &BTreeSet<PaidTo>) {
        for place in places {
            match *place {
                PaidTo::Payee(asset, payee) => self.payee(tenant, asset, payee),
                PaidTo::Contract(chain, contract) => {
                    self.event(tenant, chain, contract, abi::PAID);
                }
            }
        }
    }

    /// What somebody gets of an asset; of a token also by which authorisation (EIP-3009).
    fn payee(&mut self, tenant: &TenantId, asset: Asset, payee: Address) {
        let Some(token) = asset.contract else {
            return self.put(tenant, asset.chain, payee, WatchKind::Native);
        };
        let transfers = WatchKind::EventTo {
            topic0: abi::TRANSFER.0,
            to: payee.0.0,
        };
        self.put(tenant, asset.chain, token, transfers);
        let authorisations = WatchKind::Beside(abi::AUTHORIZATION_USED.0);
        self.put(tenant, asset.chain, token, authorisations);
    }

    fn event(&mut self, tenant: &TenantId, chain: u64, contract: Address, topic0: B256) {
        self.put(tenant, chain, contract, WatchKind::Event(topic0.0));
    }

    fn put(&mut self, tenant: &TenantId, chain: u64, address: Address, kind: WatchKind) {
        let of_chain = self.0.entry(chain).or_default();
        of_chain.insert((tenant.to_string(), address.0.0, kind));
    }
}
