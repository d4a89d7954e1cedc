//! Which tenants there are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stencil_protocol::id::TenantId;
use stencil_store::{Error, Tenancy};

/// The tenants of the store, as far as they were asked for: only one that is not known is looked
/// up. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tenants {
    tenancy: Arc<dyn Tenancy>,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// When each was made. One that was erased may be made again, and is another one then.
    tenants: HashMap<TenantId, i64>,
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
        Ok(self.made_us(tenant).await?.is_some())
    }

    /// When this tenant was made; `None`: there is none.
    pub(crate) async fn made_us(&self, tenant: &TenantId) -> Result<Option<i64>, Error> {
        loop {
            let erased = {
                let known = self.known();
                if let Some(made_us) = known.tenants.get(tenant) {
                    return Ok(Some(*made_us));
                }
                known.erased
            };
            let found = self.tenancy.tenant_made(tenant).await?;
            let mut known = self.known();
            if known.erased != erased {
                continue;
            }
            if let Some(made_us) = found {
                known.tenants.insert(tenant.clone(), made_us);
            }
            return Ok(found);
        }
    }

    /// Whether there is this tenant, made at this time, as far as it was asked for before.
    pub(crate) fn has(&self, tenant: &TenantId, made_us: i64) -> bool {
        self.known().tenants.get(tenant) == Some(&made_us)
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
