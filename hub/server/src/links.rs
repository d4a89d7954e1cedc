//! Whether a device's link still stands, as far as the hub can know.
//!
//! A gateway tells when a device's link comes up and goes down; that is in the store. It can tell
//! nothing while its own session is gone: then its devices count as not linked, until the hub hears
//! of each again. So too after a start of the hub, which has no sessions yet. Nothing of this is
//! stored: it follows from what was heard when (by the hub's clock, which should not be set back),
//! and so never contradicts a link event that comes late.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use stencil_protocol::id::{DeviceId, GatewayId, TenantId};
use stencil_store::{
    Device, DeviceCounts, DeviceFilter, Devices, Error, Latest, Newest, Page, Standing,
};

/// Since when what was heard counts. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Links(Arc<Mutex<Ends>>);

#[derive(Debug)]
struct Ends {
    /// What was heard before this counts for no gateway.
    since_us: i64,
    /// When gateways' sessions last ended; as many as have a certificate at most.
    of: HashMap<(TenantId, GatewayId), i64>,
}

impl Links {
    /// Nothing was heard before `since_us`.
    pub(crate) fn since(since_us: i64) -> Self {
        let of = HashMap::new();
        Self(Arc::new(Mutex::new(Ends { since_us, of })))
    }

    /// A gateway's session has ended.
    pub(crate) fn ended(&self, tenant: &TenantId, gateway: &GatewayId, at_us: i64) {
        let key = (tenant.clone(), gateway.clone());
        self.ends().of.insert(key, at_us);
    }

    /// Any session may have ended.
    pub(crate) fn all_ended(&self, at_us: i64) {
        let of = HashMap::new();
        *self.ends() = Ends {
            since_us: at_us,
            of,
        };
    }

    /// Whether what was heard through a gateway at `heard_us` was so in its present session.
    pub(crate) fn stands(
        &self,
        tenant: &TenantId,
        gateway: Option<&GatewayId>,
        heard_us: Option<i64>,
    ) -> bool {
        let Some(gateway) = gateway else {
            return true;
        };
        let ends = self.ends();
        let ended_us = ends.of.get(&(tenant.clone(), gateway.clone()));
        heard_us.is_some_and(|heard_us| {
            heard_us >= ends.since_us && ended_us.is_none_or(|ended_us| heard_us > *ended_us)
        })
    }

    /// The same as the store asks for it.
    fn standing(&self, tenant: &TenantId) -> Standing {
        let ends = self.ends();
        let of = ends.of.iter();
        let ended = of
            .filter(|((of, _), _)| of == tenant)
            .map(|((_, gateway), ended_us)| (gateway.clone(), *ended_us));
        Standing {
            since_us: ends.since_us,
            ended: ended.collect(),
        }
    }

    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A [`Devices`] port that shows as linked only whose link stands.
pub(crate) struct LinkedDevices {
    pub(crate) inner: Arc<dyn Devices>,
    pub(crate) links: Links,
}

impl LinkedDevices {
    fn shown(&self, tenant: &TenantId, mut device: Device) -> Device {
        if device.connected == Some(true) {
            let gateway = device.gateway.as_ref();
            device.connected = Some(self.links.stands(tenant, gateway, device.heard_us));
        }
        device
    }
}

#[async_trait]
impl Devices for LinkedDevices {
    async fn list(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Device>, Error> {
        let page = self.inner.list(tenant, after, limit).await?;
        Ok(page.map(|device| self.shown(tenant, device)))
    }

    async fn get(&self, tenant: &TenantId, device: &DeviceId) -> Result<Option<Device>, Error> {
        let found = self.inner.get(tenant, device).await?;
        Ok(found.map(|device| self.shown(tenant, device)))
    }

    async fn count(&self, tenant: &TenantId) -> Result<u64, Error> {
        self.inner.count(tenant).await
    }

    async fn latest(&self, tenant: &TenantId, device: &DeviceId) -> Result<Vec<Latest>, Error> {
        self.inner.latest(tenant, device).await
    }

    async fn latest_of(
        &self,
        tenant: &TenantId,
        name: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<(DeviceId, Latest)>, Error> {
        self.inner.latest_of(tenant, name, after, limit).await
    }

    async fn find(
        &self,
        tenant: &TenantId,
        filter: &DeviceFilter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Device>, Error> {
        let filter = DeviceFilter {
            standing: self.links.standing(tenant),
            ..filter.clone()
        };
        self.inner.find(tenant, &filter, after, limit).await
    }

    async fn recent(&self, tenant: &TenantId, limit: u32) -> Result<Vec<Device>, Error> {
        let found = self.inner.recent(tenant, limit).await?;
        let shown = found.into_iter().map(|device| self.shown(tenant, device));
        Ok(shown.collect())
    }

    async fn counts(&self, tenant: &TenantId, _: &Standing) -> Result<DeviceCounts, Error> {
        let standing = self.links.standing(tenant);
        self.inner.counts(tenant, &standing).await
    }

    async fn gateways(&self, tenant: &TenantId) -> Result<Vec<GatewayId>, Error> {
        self.inner.gateways(tenant).await
    }

    async fn newest(
        &self,
        tenant: &TenantId,
        devices: &[DeviceId],
        each: u32,
    ) -> Result<Vec<Newest>, Error> {
        self.inner.newest(tenant, devices, each).await
    }
}
