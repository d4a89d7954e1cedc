//! How parts of the hub tell each other that there is something to do. Nothing is carried but the
//! fact: the truth is in the store, and a wake that comes twice does no harm.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use stencil_protocol::id::{GatewayId, TenantId};
use tokio::sync::Notify;

/// Wakes the runner of workflows, the dispatcher of commands, and who overwrites what was erased.
/// Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wakes {
    runner: Arc<Notify>,
    purge: Arc<Notify>,
    dispatcher: Arc<Dispatcher>,
}

#[derive(Debug, Default)]
struct Dispatcher {
    notify: Notify,
    /// Gateways that can be reached again; at most as many as are connected.
    gateways: Mutex<BTreeSet<(TenantId, GatewayId)>>,
}

impl Wakes {
    /// Runs may be due.
    pub(crate) fn runner(&self) {
        self.runner.notify_one();
    }

    /// Waits until the runner was woken.
    pub(crate) async fn runner_woken(&self) {
        self.runner.notified().await;
    }

    /// Something was erased and is to be overwritten.
    pub(crate) fn purge(&self) {
        self.purge.notify_one();
    }

    /// Waits until something was erased.
    pub(crate) async fn purge_woken(&self) {
        self.purge.notified().await;
    }

    /// Commands may be queued.
    pub(crate) fn dispatcher(&self) {
        self.dispatcher.notify.notify_one();
    }

    /// A gateway has (again) become able to take commands of a device.
    pub(crate) fn gateway(&self, tenant: &TenantId, gateway: &GatewayId) {
        let mut gateways = self
            .dispatcher
            .gateways
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        gateways.insert((tenant.clone(), gateway.clone()));
        drop(gateways);
        self.dispatcher.notify.notify_one();
    }

    /// Waits until the dispatcher was woken.
    pub(crate) async fn dispatcher_woken(&self) {
        self.dispatcher.notify.notified().await;
    }

    /// The gateways that were named since the last call.
    pub(crate) fn take_gateways(&self) -> BTreeSet<(TenantId, GatewayId)> {
        std::mem::take(
            &mut *self
                .dispatcher
                .gateways
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}
