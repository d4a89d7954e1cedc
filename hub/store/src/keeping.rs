//! How long a tenant's history is kept, and how what is not kept goes.

use async_trait::async_trait;
use stencil_protocol::id::{DeviceId, TenantId};

use crate::Error;

/// How long history of one kind is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// As long as the disk has room.
    Always,
    /// So many days, at least 1 and at most [`MAX_KEEP_DAYS`].
    Days(u32),
}

/// The longest time that can be asked for, in days; more is for good.
pub const MAX_KEEP_DAYS: u32 = 36_500;

/// What a tenant has set of its own; `None` follows the hub's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Points of time series, by their event time.
    pub series: Option<Keep>,
    /// Runs, from their end on.
    pub runs: Option<Keep>,
    /// Alarms, from when they were cleared on.
    pub alarms: Option<Keep>,
    /// What could not be understood.
    pub quarantine: Option<Keep>,
    /// Who changed what.
    pub audit: Option<Keep>,
}

/// What one call freed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Chunks of series.
    pub chunks: u64,
    /// The points in them.
    pub points: u64,
}

/// Whose data is erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Erased {
    /// All that is kept of one device: points, newest values, states of rules, commands, alarms,
    /// quarantined payloads, and that it is listed. Of its ledgers it stays, with the device's id,
    /// up to which number each boot had counted ([`BootLedger::erase`]), so that these numbers stay
    /// explained and are not taken for new when they come late; of a link that stands, that it does,
    /// until it ends or the device is heard again. Seals over what it said stay, which name it and
    /// hold hashes. Runs that it started, what they published, audit
    /// entries and its tokens stay.
    ///
    /// [`BootLedger::erase`]: stencil_protocol::ledger::BootLedger::erase
    Device(TenantId, DeviceId),
    /// All of a tenant, and the tenant.
    Tenant(TenantId),
}

/// Retention and erasure.
#[async_trait]
pub trait Keeping: Send + Sync + 'static {
    /// What the tenant has set.
    async fn retention(&self, tenant: &TenantId) -> Result<Retention, Error>;

    /// Replaces what the tenant has set.
    async fn set_retention(
        &self,
        tenant: &TenantId,
        retention: &Retention,
        now_us: i64,
    ) -> Result<(), Error>;

    /// Frees up to `limit` of the tenant's chunks of which all points are older than `before_us`.
    /// Fewer than `limit` means that no more are there. Points that are not in chunks yet are put
    /// into some first when they are that old, so that also a device that says little is
    /// forgotten; a chunk that holds newer points as well goes when the newest of them is older.
    async fn forget_points(
        &self,
        tenant: &TenantId,
        before_us: i64,
        limit: u32,
    ) -> Result<Forgotten, Error>;

    /// Forgets up to `limit` quarantined payloads of before `before_us`; returns how many.
    async fn forget_quarantined(
        &self,
        tenant: &TenantId,
        before_us: i64,
        limit: u32,
    ) -> Result<u64, Error>;

    /// Erases, and moves the pipeline's position to `position`, in one transaction: an erasure has
    /// its place in the order of things, and what the log holds before that place is never applied
    /// again. To be called by the pipeline only, between two commits; may be repeated.
    ///
    /// Nobody finds any of it when this returns. Chunks of series may still be in the file:
    /// [`Keeping::purge`] overwrites them.
    async fn erase(&self, position: u64, erased: &Erased) -> Result<(), Error>;

    /// Overwrites and frees up to `limit` chunks of what was erased; returns how many. Fewer than
    /// `limit` means that all is gone.
    async fn purge(&self, limit: u32) -> Result<u64, Error>;
}
