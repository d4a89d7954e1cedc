//! The loss ledger and the quarantine, as they are read.

use async_trait::async_trait;
use serde::Serialize;
use stencil_protocol::id::{Boot, DeviceId, TenantId};
use stencil_protocol::ledger::BootLedger;

use crate::{Error, Page, Quarantined};

/// The ledger of one boot of one device.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct LedgerRow {
    /// The device.
    #[schema(value_type = String)]
    pub device: DeviceId,
    /// Its boot.
    #[schema(value_type = u64)]
    pub boot: Boot,
    /// What became of the boot's numbers.
    #[schema(value_type = crate::schema::BootLedger)]
    pub ledger: BootLedger,
}

/// The ledger's port. Ledgers are written by [`crate::Pipeline::commit`].
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// The tenant's ledgers, by device and boot.
    async fn list(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<LedgerRow>, Error>;

    /// The ledgers of one device, by boot; `after` is a boot.
    async fn of_device(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<LedgerRow>, Error>;

    /// What of the tenant's was quarantined, the newest first.
    async fn quarantine(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Quarantined>, Error>;

    /// How much is in the tenant's quarantine.
    async fn quarantine_count(&self, tenant: &TenantId) -> Result<u64, Error>;
}
