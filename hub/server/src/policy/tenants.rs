//! Which tenants there are.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use stencil_protocol::id::TenantId;
use stencil_store::{Error, MAX_PAGE, Tenancy};

/// The tenants of the store, as far as they were asked for. Tenants are made, never deleted, so
/// that only one that is not known is looked up.
pub(super) struct Tenants {
    tenancy: Arc<dyn Tenancy>,
    known: Mutex<HashSet<TenantId>>,
}

impl Tenants {
    pub(super) fn new(tenancy: Arc<dyn Tenancy>) -> Self {
        Self {
            tenancy,
            known: Mutex::default(),
        }
    }

    /// Whether there is this tenant.
    pub(super) async fn exists(&self, tenant: &TenantId) -> Result<bool, Error> {
        if self.knows(tenant) {
            return Ok(true);
        }
        let mut after = None;
        loop {
            let page = self.tenancy.tenants(after.as_deref(), MAX_PAGE).await?;
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.extend(page.items);
            drop(known);
            match page.next {
                Some(next) if !self.knows(tenant) => after = Some(next),
                _ => return Ok(self.knows(tenant)),
            }
        }
    }

    fn knows(&self, tenant: &TenantId) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains(tenant)
    }
}
