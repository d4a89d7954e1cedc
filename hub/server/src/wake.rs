//! How parts of the hub tell each other that there is something to do. Nothing is carried but the
//! fact: the truth is in the store, and a wake that comes twice does no harm.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use stencil_protocol::id::{GatewayId, TenantId};
use tokio::sync::Notify;

/// Wakes the runner of workflows, who acts because of chains, the dispatchers of commands and of keys, and who overwrites what
/// was erased.
/// Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wakes {
    runner: Arc<Notify>,
    purge: Arc<Notify>,
    caused: Arc<Notify>,
    dispatcher: Arc<Dispatcher>,
    keys: Arc<Dispatcher>,
}

#[derive(Debug, Default)]
struct Dispatcher {
    notify: Notify,
    /// Gateways that can be reached again; at most as many as are connected.
    gateways: Mutex<BTreeSet<(TenantId, GatewayId)>>,
}

impl Dispatcher {
    fn add(&self, tenant: &TenantId, gateway: &GatewayId) {
        let mut gateways = self.gateways.lock().unwrap_or_else(PoisonError::into_inner);
        gateways.insert((tenant.clone(), gateway.clone()));
        drop(gateways);
        self.notify.notify_one();
    }

    fn take(&self) -> BTreeSet<(TenantId, GatewayId)> {
        std::mem::take(&mut *self.gateways.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Wakes {
    /// Runs may be due, or commands have ended.
    pub(crate) fn runner(&self) {
        self.runner.notify_one();
        self.caused.notify_one();
    }

    /// Causes on chains may have to be told the time earlier.
    pub(crate) fn caused(&self) {
        self.caused.notify_one();
    }

    /// Waits until causes on chains may have to be told something.
    pub(crate) async fn caused_woken(&self) {
        self.caused.notified().await;
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
        self.dispatcher.add(tenant, gateway);
    }

    /// Keys of devices may have changed, or are held by a gateway now.
    pub(crate) fn keys(&self) {
        self.keys.notify.notify_one();
    }

    /// A gateway has (again) begun to listen for keys.
    pub(crate) fn keys_of(&self, tenant: &TenantId, gateway: &GatewayId) {
        self.keys.add(tenant, gateway);
    }

    /// Waits until keys may have changed.
    pub(crate) async fn keys_woken(&self) {
        self.keys.notify.notified().await;
    }

    /// The gateways that were named since the last call.
    pub(crate) fn take_keys_of(&self) -> BTreeSet<(TenantId, GatewayId)> {
        self.keys.take()
    }

    /// Waits until the dispatcher was woken.
    pub(crate) async fn dispatcher_woken(&self) {
        self.dispatcher.notify.notified().await;
    }

    /// The gateways that were named since the last call.
    pub(crate) fn take_gateways(&self) -> BTreeSet<(TenantId, GatewayId)> {
        self.dispatcher.take()
    }
}
