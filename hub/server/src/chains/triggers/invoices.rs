//! Changes of invoices: which are paid, and how deep that is.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};
use stencil_payments::invoice::{Invoice, Payment, State};
use stencil_payments::observation::{Depth, Key};
use stencil_protocol::id::TenantId;
use stencil_store::{CauseKey, ChainState, Error, InvoiceKey, ReadUpTo, StoredInvoice};
use stencil_workflow::caused::{Caused, Outcome, Site};

use super::entries::depth;
use super::{Change, TRIES, Triggers, cause_of_invoice};
use crate::chains::Kept;

/// The reader that applies a chain's stream to invoices.
const CASHIER: &str = "cashier";

impl Triggers {
    /// Takes a change of an invoice that is kept: makes the runs that its payment causes, and tells those
    /// that it has caused. With `done`, what was to be done because of the change is done in the same
    /// transaction. Told again, or late, it changes nothing.
    ///
    /// # Errors
    /// What the store says; nothing is kept then.
    pub(crate) async fn invoice_changed(
        &self,
        tenant: &TenantId,
        invoice: &InvoiceKey,
        done: Option<&CauseKey>,
    ) -> Result<(), Error> {
        let store = &self.0.store;
        let (cause, now_us) = (cause_of_invoice(tenant, invoice), self.now_us());
        let read = done.map(|key| ReadUpTo::InvoiceEffect {
            tenant: tenant.clone(),
            key: *key,
        });
        let mut last = Error::Conflict(String::new());
        for _ in 0..TRIES {
            // The chains first: what the invoice then says is at least as new.
            let states = self.states().await?;
            let mut change = Change::new(read.clone(), now_us);
            if let Some(stored) = store.payments.invoice(tenant, invoice).await? {
                let body = Kept::read(&stored).map_err(|error| Error::Corrupt {
                    what: "invoice",
                    why: error.to_string(),
                })?;
                let paid = Paid::of(&body.invoice, &states);
                let take = |caused: &mut Caused, out: &mut Outcome| match &paid {
                    Some(paid) => {
                        caused.included(stored.version, paid.places.clone(), now_us, out);
                        if let Some(depth) = paid.depth {
                            caused.deepened(stored.version, depth, now_us, out);
                        }
                        caused.clock(now_us, out);
                    }
                    None => caused.retracted(stored.version, now_us, out),
                };
                let known = store.caused.caused_by(&cause).await?;
                for one in &known {
                    let ended = self.under_way(one).await?;
                    change.change(one, &ended, false, take)?;
                }
                if let Some(paid) = &paid {
                    let of = OfInvoice {
                        tenant,
                        stored: &stored,
                        body: &body,
                        paid,
                    };
                    self.decide(of, &cause, &known, &mut change, take).await?;
                }
            }
            if change.is_empty() && read.is_none() {
                return Ok(());
            }
            match store.caused.commit_caused(&change.commit).await {
                Ok(_) => return Ok(()),
                Err(error @ Error::Conflict(_)) => last = error,
                // The tenant was erased meanwhile, and all of its invoices.
                Err(Error::NotFound { .. }) if change.commit.runs.is_empty() => return Ok(()),
                Err(error @ Error::NotFound { .. }) => {
                    self.forget_index();
                    last = error;
                }
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// The chains by their ids, as they stood when all that was known of them had come to the invoices.
    pub(super) async fn states(&self) -> Result<States, Error> {
        let mut states = HashMap::new();
        for chain in self.0.chains.iter() {
            let chains = &self.0.store.chains;
            let Some(state) = chains.chain(chain.name()).await? else {
                continue;
            };
            let position = chains.chain_position(chain.name(), CASHIER).await?;
            let counts = position >= state.last_entry;
            states.insert(chain.id(), (state, counts));
        }
        Ok(States(states))
    }
}

/// How chains stand, by id; `true`: invoices know all of it.
pub(super) struct States(HashMap<u64, (ChainState, bool)>);

impl States {
    fn name(&self, chain: u64) -> Option<&str> {
        self.0.get(&chain).map(|(state, _)| state.chain.as_str())
    }

    fn depth(&self, key: Key, payment: &Payment) -> Option<Depth> {
        let (state, counts) = self.0.get(&key.chain)?;
        if !counts {
            return None;
        }
        depth(state, payment.block.number)
    }
}

/// An invoice that is paid.
#[derive(Clone, Copy)]
pub(super) struct OfInvoice<'a> {
    pub(super) tenant: &'a TenantId,
    pub(super) stored: &'a StoredInvoice,
    pub(super) body: &'a Kept,
    pub(super) paid: &'a Paid,
}

/// What pays an invoice.
pub(super) struct Paid {
    /// The blocks that are needed for it to be enough.
    pub(super) places: Vec<Site>,
    /// The transactions in them that are, with the names of their chains.
    pub(super) txs: Vec<(String, [u8; 32])>,
    /// How deep that is, as far as it is known.
    pub(super) depth: Option<Depth>,
    /// When the last of the blocks was made, µs.
    pub(super) time_us: i64,
}

impl Paid {
    /// `None`: it is not paid, whatever it was.
    pub(super) fn of(invoice: &Invoice, states: &States) -> Option<Self> {
        if !matches!(invoice.state(), State::Confirming | State::Settled) {
            return None;
        }
        let mut payments: Vec<(Key, &Payment)> = invoice.payments().collect();
        payments.sort_by_key(|(key, payment)| (payment.block.time_s, *key));
        // As many as are enough, in the order of their blocks' times.
        let counts: Vec<usize> = (1..=payments.len()).collect();
        let too_few = counts.partition_point(|count| {
            let these: BTreeSet<Key> = payments[..*count].iter().map(|(key, _)| *key).collect();
            !invoice.is_enough(|key, _| these.contains(&key))
        });
        let needed = &payments[..payments.len().min(too_few + 1)];
        let places = needed.iter().filter_map(|(key, payment)| {
            Some(Site {
                chain: states.name(key.chain)?.to_owned(),
                block: payment.block.number,
            })
        });
        let txs = needed
            .iter()
            .filter_map(|(key, _)| Some((states.name(key.chain)?.to_owned(), key.tx.0)));
        let time_s = needed.iter().map(|(_, payment)| payment.block.time_s).max();
        let time_us = time_s.unwrap_or(0).saturating_mul(1_000_000);
        Some(Self {
            places: places.collect(),
            txs: txs.collect(),
            depth: Self::depth(invoice, states),
            time_us: i64::try_from(time_us).unwrap_or(i64::MAX),
        })
    }

    fn depth(invoice: &Invoice, states: &States) -> Option<Depth> {
        let depths = invoice
            .payments()
            .filter_map(|(key, payment)| states.depth(key, payment));
        let confirmations: BTreeSet<u32> = depths.map(|depth| depth.confirmations).collect();
        let confirmations: Vec<u32> = confirmations.into_iter().collect();
        let enough = |counts: &dyn Fn(Depth) -> bool| {
            invoice.is_enough(|key, payment| states.depth(key, payment).is_some_and(counts))
        };
        let deep = confirmations
            .partition_point(|least| enough(&|depth: Depth| depth.confirmations >= *least));
        let confirmations = *confirmations.get(deep.checked_sub(1)?)?;
        let is_final = enough(&|depth: Depth| depth.finalized);
        Some(Depth {
            confirmations,
            safe: is_final,
            finalized: is_final,
        })
    }
}

/// What templates see of a payment.
pub(super) fn event(tenant: &TenantId, body: &Kept, paid: &Paid) -> Value {
    let definition = body.invoice.definition();
    let payers: BTreeSet<String> = body
        .invoice
        .payments()
        .map(|(_, payment)| payment.from.to_checksum(None))
        .collect();
    json!({
        "tenant": tenant,
        "invoice": definition.id,
        "reference": body.about.reference,
        "title": body.about.title,
        "metadata": body.about.metadata,
        "price": definition.price,
        "payers": payers,
        "time_us": paid.time_us,
    })
}
