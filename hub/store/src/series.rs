//! Time series: what a device measured under one name, by event time.

use async_trait::async_trait;
use serde::Serialize;
use stencil_protocol::id::{DeviceId, TenantId};
use stencil_protocol::sample::OwnedValue;

use crate::Error;

pub(crate) mod chunk;
mod column;
pub(crate) mod head;
pub(crate) mod names;
pub(crate) mod seal;
pub(crate) mod stamps;
pub(crate) mod tail;
pub(crate) mod value;

/// The most points in a chunk: a bound for whoever decodes one.
pub(crate) const MAX_POINTS: usize = 8_192;

/// The most points that one [`Series::range`] answers.
pub const MAX_RANGE: u32 = 100_000;

/// A point of a series.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct SeriesPoint {
    /// Event time.
    pub time_us: i64,
    /// The value.
    #[schema(value_type = crate::schema::Scalar)]
    pub value: OwnedValue,
}

/// A series of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SeriesName {
    /// The sample's name.
    pub name: String,
    /// The newest unit given.
    pub unit: Option<String>,
}

/// Time series. Points come in by [`crate::Commit::points`].
#[async_trait]
pub trait Series: Send + Sync + 'static {
    /// The points of a series with `from_us <= time_us < to_us`, by time, the
    /// first `limit` (at most [`MAX_RANGE`]) of them. There is one point a time:
    /// of several that came for one the others are at the next times that are
    /// free. An unknown series is empty.
    async fn range(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        name: &str,
        from_us: i64,
        to_us: i64,
        limit: u32,
    ) -> Result<Vec<SeriesPoint>, Error>;

    /// Whether a point came for exactly this time: foreign devices number nothing,
    /// so this is how their repetitions are known. It may also say so of a time that
    /// only a point has which made way for another.
    async fn contains(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        name: &str,
        time_us: i64,
    ) -> Result<bool, Error>;

    /// The series of a device, by name; at most [`crate::MAX_PAGE`].
    async fn names(&self, tenant: &TenantId, device: &DeviceId) -> Result<Vec<SeriesName>, Error>;

    /// Frees sealed points of the tenant that are older than `before_us`, chunk by
    /// chunk (a chunk goes when its newest point is older). Returns how many
    /// points were freed.
    async fn expire(&self, tenant: &TenantId, before_us: i64) -> Result<u64, Error>;
}
