//! New invoices: what makes them known to the chains, and durable before anybody can pay.

use std::collections::BTreeSet;

use stencil_payments::abi;
use stencil_payments::invoice::{Definition, Invoice, Way};
use stencil_payments::matching::PaidTo;
use stencil_payments::port::Chain;
use stencil_protocol::id::TenantId;
use stencil_store::{InvoiceCommit, StoredInvoice, Watch, WatchKind};

use super::about::Kept;
use super::cashier::{At, Cashier, NewInvoice, Refused, body, state, until_us};

impl Cashier {
    /// Makes an invoice; when this returns, payments of it are looked for, whatever happens to the
    /// hub. One whose id is there already is not made again, and given as it is.
    pub(crate) async fn create(&self, new: NewInvoice) -> Result<At, Refused> {
        // In a task of its own: whoever asked may go away, and what is half made would stay expected.
        let this = self.clone();
        let made = tokio::spawn(async move { this.make(new).await }).await;
        made.unwrap_or_else(|error| Err(Refused::Not(error.to_string())))
    }

    async fn make(&self, new: NewInvoice) -> Result<At, Refused> {
        let NewInvoice {
            mut definition,
            about,
        } = new;
        let (id, tenant) = (definition.id, definition.tenant.clone());
        if let Some(there) = self.invoice(&tenant, id).await? {
            return Ok(there);
        }
        definition.validate()?;
        self.watch(&definition).await?;
        let (invoice, until_us) = {
            let mut till = self.till();
            if !till.has_room(&tenant) {
                return Err(Refused::Full);
            }
            till.make_unique(&mut definition)?;
            let invoice = Invoice::new(definition)?;
            let until_us = until_us(&invoice);
            till.add(&invoice, 1, until_us)?;
            (invoice, until_us)
        };
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
            payers: Vec::new(),
            credits: Vec::new(),
            entries: Vec::new(),
            effects: Vec::new(),
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
        let chains: BTreeSet<u64> = definition
            .methods
            .iter()
            .map(|method| method.token.asset().chain)
            .collect();
        for chain in chains {
            let followed = self.0.chains.by_id(chain).ok_or(Refused::NoChain(chain))?;
            let of_chain = definition
                .methods
                .iter()
                .filter(|method| method.token.asset().chain == chain);
            let mut watches = BTreeSet::new();
            for method in of_chain {
                let token = method.token.asset().contract;
                if let Some(token) = token {
                    watches.extend(token_kinds().map(|kind| (token.0.0, kind)));
                }
                match method.way {
                    Way::Contract(contract) => {
                        watches.insert((contract.0.0, WatchKind::Event(abi::PAID.0)));
                    }
                    Way::Hold { escrow, .. } => {
                        watches.insert((escrow.0.0, WatchKind::Event(abi::RELEASED.0)));
                    }
                    _ if token.is_none() => {
                        watches.insert((method.payee.0.0, WatchKind::Native));
                    }
                    _ => {}
                }
            }
            self.watch_places(followed.as_ref(), &definition.tenant, watches)
                .await?;
        }
        Ok(())
    }

    async fn watch_places(
        &self,
        chain: &dyn Chain,
        tenant: &TenantId,
        places: BTreeSet<([u8; 20], WatchKind)>,
    ) -> Result<(), stencil_store::Error> {
        let watches: Vec<Watch> = places
            .into_iter()
            .map(|(address, kind)| Watch {
                owner: tenant.to_string(),
                address,
                kind,
            })
            .collect();
        let chains = &self.0.store.chains;
        chains.watch_chain(chain.name(), &watches).await?;
        Ok(())
    }

    /// Has the chains look at a tenant's places, and looks at them, invoice or not.
    pub(crate) async fn hold(
        &self,
        tenant: &TenantId,
        places: BTreeSet<PaidTo>,
    ) -> Result<(), Refused> {
        for chain in self.0.chains.iter() {
            let mut watches = BTreeSet::new();
            for place in &places {
                match *place {
                    PaidTo::Payee(asset, payee) if asset.chain == chain.id() => {
                        match asset.contract {
                            Some(token) => {
                                watches.extend(token_kinds().map(|kind| (token.0.0, kind)));
                            }
                            None => {
                                watches.insert((payee.0.0, WatchKind::Native));
                            }
                        }
                    }
                    PaidTo::Contract(of, contract) if of == chain.id() => {
                        watches.insert((contract.0.0, WatchKind::Event(abi::PAID.0)));
                    }
                    PaidTo::Payee(..) | PaidTo::Contract(..) => {}
                }
            }
            if !watches.is_empty() {
                self.watch_places(chain.as_ref(), tenant, watches).await?;
            }
        }
        self.till().hold(tenant, places)?;
        Ok(())
    }
}

fn token_kinds() -> impl Iterator<Item = WatchKind> {
    [abi::TRANSFER, abi::AUTHORIZATION_USED]
        .into_iter()
        .map(|topic| WatchKind::Event(topic.0))
}
