//! Devices that are not let in: those that were revoked.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use stencil_protocol::id::{DeviceId, TenantId};

use crate::{Principal, Role};

type EndSession = Box<dyn Fn(&Principal) + Send + Sync>;

/// The devices that the pipeline refuses, for who lets connections in. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct RefusedDevices {
    devices: Arc<Mutex<HashSet<(TenantId, DeviceId)>>>,
    end: Arc<OnceLock<EndSession>>,
}

impl RefusedDevices {
    pub(crate) fn new(devices: impl Iterator<Item = (TenantId, DeviceId)>) -> Self {
        Self {
            devices: Arc::new(Mutex::new(devices.collect())),
            end: Arc::default(),
        }
    }

    /// What ends the session of a device of its own when it is refused; once.
    pub(crate) fn ends_sessions(&self, end: impl Fn(&Principal) + Send + Sync + 'static) {
        let _ = self.end.set(Box::new(end));
    }

    /// Whether this peer is such a device.
    pub(crate) fn has(&self, peer: &Principal) -> bool {
        let Some(device) = peer.device() else {
            return false;
        };
        let devices = self.devices();
        !devices.is_empty() && devices.contains(&(peer.tenant.clone(), device.clone()))
    }

    /// A device is refused from now on, or taken again.
    pub(crate) fn set(&self, tenant: &TenantId, device: &DeviceId, refused: bool) {
        let key = (tenant.clone(), device.clone());
        if !refused {
            self.devices().remove(&key);
            return;
        }
        self.devices().insert(key);
        if let Some(end) = self.end.get() {
            end(&Principal {
                tenant: tenant.clone(),
                role: Role::Device(device.clone()),
            });
        }
    }

    /// The tenant is gone: none of its devices is one of a later tenant of its name.
    pub(crate) fn erased(&self, tenant: &TenantId) {
        self.devices().retain(|(of, _)| of != tenant);
    }

    fn devices(&self) -> MutexGuard<'_, HashSet<(TenantId, DeviceId)>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
