//! What a tenant is told of what came to nothing: authorisations that its limits leave no room for, and
//! webhooks that are not taken. Since the hub was started, as what still waits is tried again after that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stencil_payments::invoice::Id;
use stencil_protocol::id::TenantId;
use stencil_strangers::Who;

use super::cashier::Cashier;

/// The last authorisation of a payer that was refused since the hub was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotBrought {
    /// For which invoice.
    pub(crate) invoice: Id,
    /// Why, where the tenant's limits are the cause; `None`: the hub's log says it.
    pub(crate) why: Option<String>,
    /// When, µs since the epoch.
    pub(crate) at_us: i64,
    /// How many were since the start.
    pub(crate) times: u64,
}

/// The last webhook that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotTold {
    /// Of which invoice.
    pub(crate) invoice: Id,
    /// Why.
    pub(crate) why: String,
    /// When, µs since the epoch.
    pub(crate) at_us: i64,
    /// The how manieth attempt that was.
    pub(crate) attempt: u32,
}

/// The last of each tenant.
#[derive(Debug, Default)]
pub(super) struct Unspent {
    brought: Mutex<HashMap<TenantId, NotBrought>>,
    told: Mutex<HashMap<TenantId, NotTold>>,
}

fn locked<T>(all: &Mutex<T>) -> MutexGuard<'_, T> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Unspent {
    fn note(&self, tenant: &TenantId, mut not: NotBrought) {
        let mut all = locked(&self.brought);
        let before = all.get(tenant).map_or(0, |before| before.times);
        not.times = before.saturating_add(1);
        all.insert(tenant.clone(), not);
    }

    pub(super) fn tenant_gone(&self, tenant: &TenantId) {
        locked(&self.brought).remove(tenant);
        locked(&self.told).remove(tenant);
    }
}

impl Cashier {
    /// A webhook was not taken.
    pub(crate) fn not_told(&self, tenant: &TenantId, not: NotTold) {
        locked(&self.0.unspent.told).insert(tenant.clone(), not);
    }

    /// One of an invoice was.
    pub(super) fn told(&self, tenant: &TenantId, invoice: Id) {
        let mut all = locked(&self.0.unspent.told);
        if all.get(tenant).is_some_and(|not| not.invoice == invoice) {
            all.remove(tenant);
        }
    }

    /// The last webhook of a tenant that was not taken, until one of the same invoice is.
    pub(crate) fn last_not_told(&self, tenant: &TenantId) -> Option<NotTold> {
        locked(&self.0.unspent.told).get(tenant).cloned()
    }

    /// An authorisation was refused: for the tenant, and once for the log, as whoever has an invoice's link
    /// can cause any number.
    pub(super) fn not_brought(&self, tenant: &TenantId, invoice: Id, why: &str) {
        if self.may_log(tenant, "an authorisation is not brought") {
            tracing::warn!(%tenant, %invoice, why, "an authorisation is not brought");
        }
        let by_limit = ["would spend", "no limit is set"];
        let told = by_limit.iter().any(|it| why.contains(it));
        let not = NotBrought {
            invoice,
            why: told.then(|| why.to_owned()),
            at_us: self.0.clock.now_us(),
            times: 0,
        };
        self.0.unspent.note(tenant, not);
    }

    /// The last authorisation of a tenant's payers that was refused.
    pub(crate) fn last_not_brought(&self, tenant: &TenantId) -> Option<NotBrought> {
        locked(&self.0.unspent.brought).get(tenant).cloned()
    }

    /// Whether a line that a tenant's payers cause may be written, or is counted.
    pub(super) fn may_log(&self, tenant: &TenantId, cause: &'static str) -> bool {
        let who = Who::Named(Arc::from(tenant.as_str()));
        self.0.lines.may_write(who, cause)
    }
}
