//! The one place where invoices are made and changed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stencil_payments::abi;
use stencil_payments::invoice::{self, Definition, Effect, Event, Id, Invoice, Way, What};
use stencil_payments::ledger::Side;
use stencil_payments::matching::{self, PaidTo};
use stencil_payments::port::Chain;
use stencil_protocol::id::TenantId;
use stencil_store::{
    InvoiceCommit, InvoiceEffect, JournalEntry, JournalLine, Store, StoredInvoice, Watch, WatchKind,
};
use tokio::sync::{Notify, broadcast};

use super::Chains;
use super::about::{About, Kept};
use super::rates::RateSource;
use super::settings::PaymentSettings;
use super::till::{NoneFree, Till};
use crate::Clock;
use crate::metrics::CashierMetrics;

/// For how long after an invoice is over payments of it are looked for, µs: what comes later is told
/// as money of no invoice.
const LATE_US: i64 = 24 * 3_600 * 1_000_000;
/// How often a change is tried again that another one came before.
const MAX_RACES: u32 = 32;
/// Changes that a slow reader may be behind.
const CHANGES: usize = 1_024;
/// Invoices that are read at once at the start.
const AT_ONCE: u32 = 1_000;

/// Makes invoices and changes them, and knows what open ones expect. One for all chains and tenants;
/// cheap to clone.
#[derive(Clone)]
pub struct Cashier(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) chains: Chains,
    pub(super) clock: Clock,
    pub(super) rates: Arc<dyn RateSource>,
    till: Mutex<Till>,
    changes: broadcast::Sender<Change>,
    effects: Notify,
    pub(super) metrics: CashierMetrics,
}

/// An invoice has a new version. One who missed some is told so, and reads from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// Whose.
    pub(crate) tenant: TenantId,
    /// Which.
    pub(crate) invoice: Id,
    /// Its version now.
    pub(crate) version: u64,
}

/// A new invoice. Methods by [`Way::UniqueAmount`] have the price as what is due; the cashier adds
/// what makes it unique.
#[derive(Debug, Clone)]
pub(crate) struct NewInvoice {
    /// What is to be paid.
    pub(crate) definition: Definition,
    /// What for.
    pub(crate) about: About,
}

/// An invoice at a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At {
    /// How often it was changed, from 1.
    pub(crate) version: u64,
    /// When it last changed, µs since the epoch.
    pub(crate) changed_us: i64,
    /// The invoice, and what it is about.
    pub(crate) kept: Kept,
}

/// Why an invoice was not made, or not changed. Nothing has happened then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("there is no invoice `{0}`")]
    NoInvoice(Id),
    #[error("the hub follows no chain with id {0}")]
    NoChain(u64),
    #[error(
        "as many invoices are open as there is room for: some have to be over first"
    )]
    Full,
    #[error(transparent)]
    NoneFree(#[from] NoneFree),
    #[error(transparent)]
    Invoice(#[from] invoice::Error),
    #[error(transparent)]
    Matching(#[from] matching::Error),
    #[error(transparent)]
    Store(#[from] stencil_store::Error),
    #[error("invoice {0} can't be read: {1}")]
    Corrupt(Id, String),
    /// What is asked can't be done to the invoice as it stands.
    #[error("{0}")]
    Not(String),
}

impl Refused {
    /// Whether the same may go well later.
    pub(super) fn retryable(&self) -> bool {
        matches!(self, Self::Store(error) if error.retryable())
    }
}

/// What a change is made of: events, and what else is known about it.
pub(crate) struct Alter {
    pub(crate) events: Vec<Event>,
    pub(crate) about: Option<About>,
}

impl From<Vec<Event>> for Alter {
    fn from(events: Vec<Event>) -> Self {
        Self {
            events,
            about: None,
        }
    }
}

impl Cashier {
    /// Reads from the store what open invoices expect.
    pub(crate) async fn open(
        store: Store,
        chains: Chains,
        clock: Clock,
        rates: Arc<dyn RateSource>,
    ) -> Result<Self, stencil_store::Error> {
        let this = Self(Arc::new(Inner {
            store,
            chains,
            clock,
            rates,
            till: Mutex::default(),
            changes: broadcast::Sender::new(CHANGES),
            effects: Notify::new(),
            metrics: CashierMetrics::default(),
        }));
        this.fill().await?;
        Ok(this)
    }

    async fn fill(&self) -> Result<(), stencil_store::Error> {
        let (store, mut till) = (&self.0.store, Till::default());
        let mut read_us = i64::MAX;
        for chain in self.0.chains.iter() {
            let now_us = self.0.clock.now_us();
            let state = store.chains.open_chain(chain.name(), chain.id(), now_us).await?;
            till.follows(chain.id());
            read_us = read_us.min(state.read_s.map_or(0, micros));
        }
        for (tenant, body) in store.payments.all_payment_settings().await? {
            let places = match PaymentSettings::read(&body) {
                Ok(settings) => settings.places(&self.0.chains),
                Err(error) => {
                    tracing::error!(%tenant, %error, "settings of payments can't be read");
                    continue;
                }
            };
            if let Err(error) = till.hold(&tenant, places) {
                tracing::error!(%tenant, %error, "payments to an address are not looked for");
            }
        }
        let mut after: Option<(TenantId, [u8; 16])> = None;
        loop {
            let cursor = after.as_ref().map(|(tenant, id)| (tenant, id));
            let page = store
                .payments
                .watched_invoices(read_us, cursor, AT_ONCE)
                .await?;
            for stored in &page {
                let id = Id(stored.invoice);
                let added = Kept::read(stored)
                    .map_err(|error| error.to_string())
                    .and_then(|kept| {
                        till.add(&kept.invoice, stored.watched_until_us)
                            .map_err(|error| error.to_string())
                    });
                if let Err(error) = added {
                    tracing::error!(invoice = %id, error, "an invoice is not looked after");
                }
            }
            let Some(last) = page.last() else { break };
            after = Some((last.tenant.clone(), last.invoice));
        }
        if till.len() > 0 {
            tracing::info!(invoices = till.len(), "payments are looked for");
        }
        *self.till() = till;
        Ok(())
    }

    pub(super) fn till(&self) -> MutexGuard<'_, Till> {
        self.0.till.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The chains.
    pub(crate) fn chains(&self) -> &Chains {
        &self.0.chains
    }

    /// What tokens cost.
    pub(crate) fn rates(&self) -> &dyn RateSource {
        self.0.rates.as_ref()
    }

    /// Tells of each new version of an invoice from now on.
    pub(crate) fn changed(&self) -> broadcast::Receiver<Change> {
        self.0.changes.subscribe()
    }

    /// Waits until something may be to be done.
    pub(crate) async fn effects_woken(&self) {
        self.0.effects.notified().await;
    }

    /// Something is to be done, or again.
    pub(crate) fn wake_effects(&self) {
        self.0.effects.notify_one();
    }

    /// How many invoices payments are looked for.
    pub(crate) fn open_invoices(&self) -> usize {
        self.till().len()
    }

    /// One invoice of a tenant.
    pub(crate) async fn invoice(&self, tenant: &TenantId, id: Id) -> Result<Option<At>, Refused> {
        let stored = self.0.store.payments.invoice(tenant, &id.0).await?;
        stored.as_ref().map(At::read).transpose()
    }

    /// One invoice by its id, for who pays it.
    pub(crate) async fn by_id(&self, id: Id) -> Result<Option<At>, Refused> {
        let stored = self.0.store.payments.invoice_by_id(&id.0).await?;
        stored.as_ref().map(At::read).transpose()
    }

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
            till.add(&invoice, until_us)?;
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
                if let Way::Contract(contract) = method.way {
                    watches.insert((contract.0.0, paid_kind()));
                } else if token.is_none() {
                    watches.insert((method.payee.0.0, WatchKind::Native));
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
                    PaidTo::Payee(asset, payee) if asset.chain == chain.id() => match asset.contract {
                        Some(token) => {
                            watches.extend(token_kinds().map(|kind| (token.0.0, kind)));
                        }
                        None => {
                            watches.insert((payee.0.0, WatchKind::Native));
                        }
                    },
                    PaidTo::Contract(of, contract) if of == chain.id() => {
                        watches.insert((contract.0.0, paid_kind()));
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

    /// Forgets a tenant that was erased.
    pub(crate) fn tenant_gone(&self, tenant: &TenantId) {
        self.till().tenant_gone(tenant);
    }

    /// Applies an event to an invoice and keeps what follows.
    pub(crate) async fn apply(
        &self,
        tenant: &TenantId,
        id: Id,
        event: Event,
    ) -> Result<At, Refused> {
        self.alter(tenant, id, |_| Ok(vec![event.clone()].into()))
            .await
    }

    /// Changes an invoice as `how` says of the invoice as it stands; asked again where another change
    /// came before. What changes nothing is not kept.
    pub(crate) async fn alter(
        &self,
        tenant: &TenantId,
        id: Id,
        how: impl Fn(&Kept) -> Result<Alter, Refused>,
    ) -> Result<At, Refused> {
        let payments = &self.0.store.payments;
        let mut races = 0;
        loop {
            let stored = payments.invoice(tenant, &id.0).await?;
            let stored = stored.ok_or(Refused::NoInvoice(id))?;
            let at = At::read(&stored)?;
            let alter = how(&at.kept)?;
            let Some((kept, effects)) = self.next(&at.kept, alter)? else {
                return Ok(at);
            };
            let now_us = self.0.clock.now_us();
            let commit = self.commit(&stored, &kept, &effects, now_us)?;
            stencil_crashpoint::reach("cashier.before_commit");
            match payments.commit_invoice(&commit).await {
                Ok(()) => {}
                Err(stencil_store::Error::Conflict(_)) if races < MAX_RACES => {
                    races += 1;
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            stencil_crashpoint::reach("cashier.after_commit");
            let version = commit.invoice.version;
            self.till().changed(&kept.invoice);
            if !commit.effects.is_empty() {
                self.wake_effects();
            }
            self.tell(tenant, id, version);
            return Ok(At {
                version,
                changed_us: now_us,
                kept,
            });
        }
    }

    /// The invoice after a change, with what is to be done; `None` where nothing changes.
    fn next(&self, before: &Kept, alter: Alter) -> Result<Option<(Kept, Vec<Effect>)>, Refused> {
        let mut invoice = before.invoice.clone();
        let mut effects = Vec::new();
        let id = invoice.definition().id;
        let clock = self.till().now_us(id);
        let mut told = false;
        for event in &alter.events {
            let mut after = invoice.clone();
            let caused = after.apply(event)?;
            if after == invoice {
                continue;
            }
            // What changes something is dated; what is known already must not be kept again.
            if let (false, Some(now_us)) = (told, clock) {
                told = true;
                let mut dated = invoice.clone();
                let mut all = dated.apply(&Event::Clock { now_us })?;
                all.extend(dated.apply(event)?);
                effects.extend(all);
                invoice = dated;
            } else {
                effects.extend(caused);
                invoice = after;
            }
        }
        let about = alter.about.unwrap_or_else(|| before.about.clone());
        let kept = Kept { invoice, about };
        Ok((kept != *before).then_some((kept, effects)))
    }

    fn commit(
        &self,
        before: &StoredInvoice,
        kept: &Kept,
        effects: &[Effect],
        now_us: i64,
    ) -> Result<InvoiceCommit, Refused> {
        let id = Id(before.invoice);
        let version = before.version + 1;
        let mut entries = Vec::new();
        let mut todo = Vec::new();
        for effect in effects {
            if let What::Post(entry) = &effect.what {
                entries.push(journal(entry));
            } else {
                let due = Due {
                    what: effect.what.clone(),
                    version,
                    at_us: now_us,
                };
                let body = serde_json::to_string(&due);
                let body = body.map_err(|error| Refused::Corrupt(id, error.to_string()))?;
                let key = effect.key.0;
                todo.push(InvoiceEffect { key, body });
            }
        }
        let invoice = StoredInvoice {
            version,
            state: state(&kept.invoice),
            body: body(kept).map_err(|error| Refused::Corrupt(id, error))?,
            wakes_us: kept.invoice.wakes_us(),
            watched_until_us: before.watched_until_us.max(until_us(&kept.invoice)),
            changed_us: now_us,
            ..before.clone()
        };
        Ok(InvoiceCommit {
            invoice,
            credits: kept.invoice.payments().map(|(key, _)| key.to_string()).collect(),
            entries,
            effects: todo,
        })
    }

    fn tell(&self, tenant: &TenantId, invoice: Id, version: u64) {
        // Nobody may be listening.
        let _ = self.0.changes.send(Change {
            tenant: tenant.clone(),
            invoice,
            version,
        });
    }
}

impl At {
    fn read(stored: &StoredInvoice) -> Result<Self, Refused> {
        let id = Id(stored.invoice);
        let kept = Kept::read(stored);
        Ok(Self {
            version: stored.version,
            changed_us: stored.changed_us,
            kept: kept.map_err(|error| Refused::Corrupt(id, error.to_string()))?,
        })
    }
}

/// What an effect of an invoice says, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Due {
    /// What to do.
    pub(crate) what: What,
    /// The invoice's version that it came with.
    pub(crate) version: u64,
    /// When, µs since the epoch.
    pub(crate) at_us: i64,
}

impl std::fmt::Debug for Cashier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cashier").finish_non_exhaustive()
    }
}

/// Where an invoice stands, in a word.
pub(crate) fn state(invoice: &Invoice) -> String {
    word(invoice.state()).to_owned()
}

/// A state in a word, as the store and the API have it.
pub(crate) fn word(state: invoice::State) -> &'static str {
    use invoice::State;
    match state {
        State::New => "new",
        State::Seen => "seen",
        State::Confirming => "confirming",
        State::Settled => "settled",
        State::Expired => "expired",
        State::Cancelled => "cancelled",
    }
}

fn body(kept: &Kept) -> Result<String, String> {
    serde_json::to_string(kept).map_err(|error| error.to_string())
}

/// Until when payments of an invoice are looked for.
fn until_us(invoice: &Invoice) -> i64 {
    invoice.closes_us().saturating_add(LATE_US)
}

pub(super) fn micros(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX)
}

fn token_kinds() -> impl Iterator<Item = WatchKind> {
    [abi::TRANSFER, abi::AUTHORIZATION_USED]
        .into_iter()
        .map(|topic| WatchKind::Event(topic.0))
}

fn paid_kind() -> WatchKind {
    WatchKind::Event(abi::PAID.0)
}

fn journal(entry: &stencil_payments::ledger::Entry) -> JournalEntry {
    let lines = entry.lines().iter().map(|line| JournalLine {
        account: line.account.to_string(),
        is_debit: line.side == Side::Debit,
        amount: line.amount.to_string(),
    });
    JournalEntry {
        key: entry.key().0,
        asset: entry.asset().to_string(),
        at_us: entry.at_us(),
        memo: entry.memo().to_owned(),
        lines: lines.collect(),
    }
}
