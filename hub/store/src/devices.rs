//! Devices as the hub last heard of them.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use stencil_protocol::id::{DeviceId, GatewayId, TenantId};
use stencil_protocol::sample::OwnedValue;

use crate::{Error, Page};

/// What the hops between a device and the hub negotiated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LinkInfo {
    /// Device ↔ gateway: the suite's name; `None` where there is no such hop.
    pub suite: Option<String>,
    /// Gateway (or device) ↔ hub: the TLS group's name; `None` without TLS.
    pub group: Option<String>,
    /// Whether every hop was post-quantum.
    pub post_quantum: bool,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Device {
    /// Its id.
    #[schema(value_type = String)]
    pub id: DeviceId,
    /// The gateway that it was last heard through; `None`: directly.
    #[schema(value_type = Option<String>)]
    pub gateway: Option<GatewayId>,
    /// Whether it numbers what it sends. Foreign devices don't, so no gap of
    /// theirs can be known.
    pub numbered: bool,
    /// Whether its link is up, by the last word of its gateway; `None` if nobody
    /// ever told.
    pub connected: Option<bool>,
    /// When the link last came up or went down.
    pub link_changed_us: Option<i64>,
    /// What its link negotiated.
    pub link: Option<LinkInfo>,
    /// The newest event time of its values.
    pub last_event_us: Option<i64>,
    /// When the hub last received something from it.
    pub last_received_us: Option<i64>,
    /// When the hub last received something of it through `gateway`, news of its
    /// link included.
    #[serde(skip)]
    pub heard_us: Option<i64>,
}

/// The newest value (by event time) of one name of a device.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Latest {
    /// The sample's name.
    pub name: String,
    /// The value.
    #[schema(value_type = crate::schema::Scalar)]
    pub value: OwnedValue,
    /// Its unit.
    pub unit: Option<String>,
    /// Event time.
    pub time_us: i64,
    /// When the hub received it.
    pub received_us: i64,
    /// How it came.
    pub link: Option<LinkInfo>,
}

/// Which devices to find; what is `None` holds for all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceFilter {
    /// Those whose id has this in it, whatever the case of its letters.
    pub search: Option<String>,
    /// Those whose link is so.
    pub linked: Option<Linked>,
    /// Those last heard through this gateway.
    pub gateway: Option<GatewayId>,
    /// Those whose every hop was post-quantum when they were last heard, or those of whom it is
    /// known that one was not.
    pub post_quantum: Option<bool>,
    /// What counts as linked.
    pub standing: Standing,
}

/// How a device's link is, as far as anybody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Linked {
    /// Its link is up.
    Connected,
    /// Its link is down.
    CutOff,
    /// Nobody ever told.
    Unknown,
}

/// What was heard through a gateway before its session ended does not say that a device is linked
/// now. The default takes every word as it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// What was heard before this counts for no gateway.
    pub since_us: i64,
    /// When gateways' sessions ended.
    pub ended: Vec<(GatewayId, i64)>,
}

/// How many devices there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct DeviceCounts {
    /// All of them.
    pub devices: u64,
    /// Whose link is up.
    pub connected: u64,
    /// Whose link is down.
    pub cut_off: u64,
    /// Whose every hop was post-quantum when it was last heard.
    pub post_quantum: u64,
    /// Of whom it is known that a hop was not.
    pub not_post_quantum: u64,
}

/// The newest values of one device, for a list of devices.
#[derive(Debug, Clone, PartialEq)]
pub struct Newest {
    /// The device.
    pub device: DeviceId,
    /// The first of them, by name.
    pub values: Vec<Latest>,
    /// How many names it has.
    pub names: u64,
}

/// The most devices that one [`Devices::newest`] answers.
pub const MAX_NEWEST: usize = 500;

/// Devices and their latest values.
#[async_trait]
pub trait Devices: Send + Sync + 'static {
    /// The tenant's devices, by id.
    async fn list(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Device>, Error>;

    /// One device.
    async fn get(&self, tenant: &TenantId, device: &DeviceId) -> Result<Option<Device>, Error>;

    /// How many devices the tenant has.
    async fn count(&self, tenant: &TenantId) -> Result<u64, Error>;

    /// The device's newest values, by name; at most [`crate::MAX_PAGE`].
    async fn latest(&self, tenant: &TenantId, device: &DeviceId) -> Result<Vec<Latest>, Error>;

    /// The newest value of one name of every device that has it, by device: what a
    /// page over the fleet shows.
    async fn latest_of(
        &self,
        tenant: &TenantId,
        name: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<(DeviceId, Latest)>, Error>;

    /// The tenant's devices that a filter lets through, by id.
    async fn find(
        &self,
        tenant: &TenantId,
        filter: &DeviceFilter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Device>, Error>;

    /// The tenant's devices that were heard last, the newest first; looks at all of them.
    async fn recent(&self, tenant: &TenantId, limit: u32) -> Result<Vec<Device>, Error>;

    /// How many devices the tenant has, by their links.
    async fn counts(&self, tenant: &TenantId, standing: &Standing) -> Result<DeviceCounts, Error>;

    /// The gateways that the tenant's devices were last heard through, by id; at most
    /// [`crate::MAX_PAGE`].
    async fn gateways(&self, tenant: &TenantId) -> Result<Vec<GatewayId>, Error>;

    /// The newest values of several devices (the first [`MAX_NEWEST`] of them), `each` of one
    /// device at most, in one query. Who has none is not in it.
    async fn newest(
        &self,
        tenant: &TenantId,
        devices: &[DeviceId],
        each: u32,
    ) -> Result<Vec<Newest>, Error>;
}
