//! Which tenants there are.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stencil_protocol::id::TenantId;
use stencil_store::{Error, MAX_PAGE, Tenancy};

/// The tenants of the store, as far as they were asked for: only one that is not known is looked
/// up. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tenants {
    tenancy: Arc<dyn Tenancy>,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    tenants: HashSet<TenantId>,
    /// How many were erased: what was read before the last one may be out of date.
    erased: u64,
}

impl Tenants {
    pub(crate) fn new(tenancy: Arc<dyn Tenancy>) -> Self {
        Self {
            tenancy,
            known: Arc::default(),
        }
    }

    /// Whether there is this tenant.
    pub(crate) async fn exists(&self, tenant: &TenantId) -> Result<bool, Error> {
        let (mut after, mut erased) = (None, self.known().erased);
        while !self.knows(tenant) {
            let page = self.tenancy.tenants(after.as_deref(), MAX_PAGE).await?;
            let mut known = self.known();
            if known.erased != erased {
                (after, erased) = (None, known.erased);
                continue;
            }
            known.tenants.extend(page.items);
            drop(known);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(self.knows(tenant)),
            }
        }
        Ok(true)
    }

    /// Whether there is this tenant, as far as it was asked for before.
    pub(crate) fn knows(&self, tenant: &TenantId) -> bool {
        self.known().tenants.contains(tenant)
    }

    /// The tenant is gone.
    pub(crate) fn erased(&self, tenant: &TenantId) {
        let mut known = self.known();
        known.tenants.remove(tenant);
        known.erased += 1;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
