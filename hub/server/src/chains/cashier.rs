//! The one place where invoices are made and changed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use stencil_payments::invoice::{self, Definition, Id, Invoice};
use stencil_payments::matching;
use stencil_protocol::id::TenantId;
use stencil_store::{Page, Store, StoredInvoice};
use stencil_strangers::Lines;
use tokio::sync::{Notify, broadcast};

use super::Chains;
use super::about::{About, Kept};
use super::absent::Absent;
use super::ahead::believed_s;
use super::folding::Folding;
use super::make::Watches;
use super::metrics::CashierMetrics;
use super::one_by_one::OneByOne;
use super::rates::RateSource;
use super::settings::PaymentSettings;
use super::till::{NoneFree, Till, is_purchase};
use super::unspent::Unspent;
use crate::Clock;

/// For how long after an invoice is over payments of it are looked for, µs: what comes later is told
/// as money of no invoice.
const LATE_US: i64 = 24 * 3_600 * 1_000_000;
/// The same of a purchase, µs: what was signed for it is worth nothing afterwards. Blocks' clocks differ.
const LATE_PURCHASE_US: i64 = 600 * 1_000_000;
/// By how much the cashier may be behind the follower, µs: an invoice has to be told that it is over
/// before it is forgotten.
const BEHIND_US: i64 = 7 * 24 * 3_600 * 1_000_000;
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
    placing: tokio::sync::Mutex<()>,
    /// Held by who begins to watch something until it is needed, and by who ends what is not.
    pub(super) watching: tokio::sync::RwLock<()>,
    /// Of which invoice an authorisation is being ordered.
    pub(super) bringing: OneByOne,
    pub(super) unspent: Unspent,
    /// What strangers cause of the log.
    pub(super) lines: Lines,
    changes: broadcast::Sender<Change>,
    effects: Notify,
    /// Told when an invoice that was settled is so no more.
    pub(super) undone: Notify,
    pub(super) metrics: CashierMetrics,
    pub(super) folding: Folding,
    /// Chains of open invoices that are not followed.
    pub(super) absent: OnceLock<Vec<Absent>>,
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
    #[error("the invoice has no refund `{0}`")]
    NoRefund(stencil_payments::invoice::refund::Id),
    #[error("the hub follows no chain with id {0}")]
    NoChain(u64),
    /// Payments on a chain can't be asked for yet.
    #[error("{0}")]
    NotReady(String),
    #[error("as many invoices are open as there is room for: some have to be over first")]
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
    /// No refund can go there.
    #[error("{0}")]
    NoPlace(String),
}

impl Refused {
    /// Whether the same may go well later.
    pub(super) fn retryable(&self) -> bool {
        match self {
            Self::Store(error) => error.retryable(),
            Self::NotReady(_) => true,
            _ => false,
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
            placing: tokio::sync::Mutex::default(),
            watching: tokio::sync::RwLock::default(),
            bringing: OneByOne::default(),
            unspent: Unspent::default(),
            lines: Lines::default(),
            changes: broadcast::Sender::new(CHANGES),
            effects: Notify::new(),
            undone: Notify::new(),
            metrics: CashierMetrics::default(),
            folding: Folding::default(),
            absent: OnceLock::new(),
        }));
        this.fill().await?;
        this.find_absent().await?;
        Ok(this)
    }

    async fn fill(&self) -> Result<(), stencil_store::Error> {
        let (store, mut till) = (&self.0.store, Till::default());
        // Up to when each chain was read.
        let mut reads_us = BTreeMap::new();
        for chain in self.0.chains.iter() {
            let now_us = self.0.clock.now_us();
            let state = store
                .chains
                .open_chain(chain.name(), chain.id(), now_us)
                .await?;
            till.follows(chain.id());
            let read_s = state.read_s.unwrap_or(0);
            let read_s = believed_s(read_s, now_us, chain.max_ahead_us());
            reads_us.insert(chain.id(), micros(read_s));
        }
        let mut watches = Watches::default();
        // Those that may still be paid come first: the amount of one that is over may be another's by now.
        for may_be_paid in [true, false] {
            let (till, watches) = (&mut till, &mut watches);
            self.fill_with(till, watches, &reads_us, may_be_paid)
                .await?;
        }
        if till.len() > 0 {
            tracing::info!(invoices = till.len(), "payments are looked for");
        }
        *self.till() = till;
        // An older hub may have looked for other things.
        self.watch_all(watches).await?;
        self.hold_all().await
    }

    /// Looks at the places of all tenants' settings, as far as the chains have confirmed their tokens by
    /// now.
    pub(super) async fn hold_all(&self) -> Result<(), stencil_store::Error> {
        let _placing = self.placing().await;
        for (tenant, body) in self.0.store.payments.all_payment_settings().await? {
            let places = match PaymentSettings::read(&body) {
                Ok(settings) => settings.places(&self.0.chains),
                Err(error) => {
                    tracing::error!(%tenant, %error, "settings of payments can't be read");
                    continue;
                }
            };
            match self.hold(&tenant, places).await {
                Ok(()) => {}
                Err(Refused::Store(error)) => return Err(error),
                Err(error) => {
                    tracing::error!(%tenant, %error, "payments to an address are not looked for");
                }
            }
        }
        Ok(())
    }

    /// Takes up invoices that may still be paid, or those that are over and may not have been told so.
    async fn fill_with(
        &self,
        till: &mut Till,
        watches: &mut Watches,
        reads_us: &BTreeMap<u64, i64>,
        may_be_paid: bool,
    ) -> Result<(), stencil_store::Error> {
        let from_us = reads_us.values().min().copied().unwrap_or(i64::MAX);
        let from_us = from_us.saturating_sub(BEHIND_US);
        let mut after: Option<(TenantId, [u8; 16])> = None;
        loop {
            let cursor = after.as_ref().map(|(tenant, id)| (tenant, id));
            let payments = &self.0.store.payments;
            let page = payments.watched_invoices(from_us, cursor, AT_ONCE).await?;
            for stored in &page {
                let id = Id(stored.invoice);
                let kept = match Kept::read(stored) {
                    Ok(kept) => kept,
                    Err(error) => {
                        tracing::error!(invoice = %id, %error, "an invoice is not looked after");
                        continue;
                    }
                };
                // Each chain has a time of its own: one that is silent holds nothing of the others.
                let chains = kept.invoice.definition().chains();
                let read = chains.iter().filter_map(|chain| reads_us.get(chain)).min();
                let read_us = read.copied().unwrap_or(i64::MAX);
                let until_us = stored.watched_until_us;
                let is_told = until_us <= read_us.saturating_sub(BEHIND_US);
                if is_told || (until_us > read_us) != may_be_paid {
                    continue;
                }
                watches.of_invoice(kept.invoice.definition());
                match till.add(&kept.invoice, stored.version, until_us) {
                    Ok(()) => {}
                    Err(matching::Error::AmountTaken { .. }) if !may_be_paid => {
                        tracing::debug!(invoice = %id, "it is over, and its amount is another's");
                    }
                    Err(error) => {
                        tracing::error!(invoice = %id, %error, "an invoice is not looked after");
                    }
                }
            }
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some((last.tenant.clone(), last.invoice));
        }
    }

    /// For who changes where tenants are paid, one at a time: what is set and what is looked at have to
    /// be one.
    pub(crate) async fn placing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.placing.lock().await
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

    /// What it counts.
    pub(crate) fn metrics(&self) -> &CashierMetrics {
        &self.0.metrics
    }

    /// Tells of each new version of an invoice from now on.
    #[allow(dead_code, reason = "for who acts on payments; tests listen")]
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

    /// A tenant's invoices (in one state), the newest first.
    pub(crate) async fn invoices(
        &self,
        tenant: &TenantId,
        state: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<At>, Refused> {
        let payments = &self.0.store.payments;
        let page = payments.invoices(tenant, state, after, limit).await?;
        let items = page.items.iter().map(At::read).collect::<Result<_, _>>()?;
        Ok(Page {
            items,
            next: page.next,
        })
    }

    /// One invoice by its id, for who pays it.
    pub(crate) async fn by_id(&self, id: Id) -> Result<Option<At>, Refused> {
        let stored = self.0.store.payments.invoice_by_id(&id.0).await?;
        stored.as_ref().map(At::read).transpose()
    }

    /// Forgets a tenant that was erased.
    pub(crate) fn tenant_gone(&self, tenant: &TenantId) {
        self.till().tenant_gone(tenant);
        self.0.unspent.tenant_gone(tenant);
    }

    /// Tells who listens of a new version.
    pub(super) fn tell(&self, tenant: &TenantId, invoice: Id, version: u64) {
        // Nobody may be listening.
        let _ = self.0.changes.send(Change {
            tenant: tenant.clone(),
            invoice,
            version,
        });
    }
}

impl At {
    pub(super) fn read(stored: &StoredInvoice) -> Result<Self, Refused> {
        let id = Id(stored.invoice);
        let kept = Kept::read(stored);
        Ok(Self {
            version: stored.version,
            changed_us: stored.changed_us,
            kept: kept.map_err(|error| Refused::Corrupt(id, error.to_string()))?,
        })
    }
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

/// An invoice with what it is about, as it is kept.
pub(super) fn body(kept: &Kept) -> Result<String, String> {
    serde_json::to_string(kept).map_err(|error| error.to_string())
}

/// Until when payments of an invoice are looked for.
pub(super) fn until_us(invoice: &Invoice) -> i64 {
    let late_us = match is_purchase(invoice.definition()) {
        true => LATE_PURCHASE_US,
        false => LATE_US,
    };
    invoice.closes_us().saturating_add(late_us)
}

pub(super) fn micros(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX)
}
