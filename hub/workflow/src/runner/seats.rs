//! How many runs are being worked on, and of whom.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stencil_protocol::id::TenantId;
use stencil_store::Room;

/// One for each run that may be worked on at a time, with a bound on those of
/// one tenant: whose effects hang takes no more than that.
pub(super) struct Seats {
    runs: u32,
    tenant_runs: u32,
    taken: Mutex<BTreeMap<TenantId, u32>>,
}

/// Taken as long as it lives.
pub(super) struct Seat {
    seats: Arc<Seats>,
    tenant: TenantId,
}

impl Seats {
    pub(super) fn new(runs: u32, tenant_runs: u32) -> Arc<Self> {
        Arc::new(Self {
            runs,
            tenant_runs,
            taken: Mutex::default(),
        })
    }

    /// What is free.
    pub(super) fn room(&self) -> Room {
        let busy = self.lock().clone();
        Room {
            runs: self.runs.saturating_sub(busy.values().sum()),
            tenant_runs: self.tenant_runs,
            busy,
        }
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> u32 {
        self.lock().values().sum()
    }

    pub(super) fn take(self: &Arc<Self>, tenant: &TenantId) -> Seat {
        *self.lock().entry(tenant.clone()).or_default() += 1;
        Seat {
            seats: Arc::clone(self),
            tenant: tenant.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TenantId, u32>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        if let Some(count) = taken.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.tenant);
            }
        }
    }
}
