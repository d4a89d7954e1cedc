//! What tenants sell for single payments (x402), what was bought, and what payers may owe.
//!
//! What a body means is no matter of the store's; it sees to it that each change of a purchase
//! follows the one before, in one transaction with what its payer has under way.

use async_trait::async_trait;
use stencil_protocol::id::{CommandId, TenantId};

use crate::{Error, InvoiceKey, Page};

/// The most offers of a tenant.
pub const MAX_OFFERS: u32 = 1_000;
/// The most device commands of all tenants that are under way for single payments.
pub const MAX_UNDER_WAY: u32 = 900;
/// How many times as many as are free a tenant has of them at most: one alone has four fifths.
pub const UNDER_WAY_SHARE: u32 = 4;
/// The longest name of an offer, in bytes.
pub const MAX_OFFER_NAME: usize = 64;

/// An address of an account.
pub type PayerKey = [u8; 20];

/// An offer as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOffer {
    /// Its name within the tenant.
    pub offer: String,
    /// What is sold and for how much (JSON).
    pub body: String,
    /// When it was made, µs since the epoch.
    pub created_us: i64,
    /// When it was last set.
    pub changed_us: i64,
}

/// A purchase as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPurchase {
    /// Who has sold it.
    pub tenant: TenantId,
    /// Its id, which is that of its invoice.
    pub purchase: InvoiceKey,
    /// How often it was changed, from 1.
    pub version: u64,
    /// Of which offer.
    pub offer: String,
    /// Who pays.
    pub payer: PayerKey,
    /// What was bought and where it stands (JSON).
    pub body: String,
    /// When it is to be looked at without being asked for, µs since the epoch.
    pub wakes_us: Option<i64>,
    /// Whether it is a device command's that is under way, and takes a place.
    pub under_way: bool,
    /// The device command that it waits for.
    pub command: Option<CommandId>,
    /// When it was made.
    pub created_us: i64,
    /// When it last changed.
    pub changed_us: i64,
}

/// What a payer has under way with a tenant, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredExposure {
    /// In what.
    pub asset: String,
    /// Who.
    pub payer: PayerKey,
    /// How often it was changed, from 1.
    pub version: u64,
    /// What (JSON).
    pub body: String,
}

/// Offers, purchases, and what payers have under way.
#[async_trait]
pub trait Offers: Send + Sync + 'static {
    /// Makes an offer or sets it anew, and says whether it is new. It is paid at these addresses, by
    /// EIP-155 chain id. [`Error::Conflict`]: the tenant has [`MAX_OFFERS`], or one of the addresses
    /// takes payments of another tenant.
    async fn put_offer(
        &self,
        tenant: &TenantId,
        offer: &str,
        body: &str,
        payees: &[(u64, [u8; 20])],
        now_us: i64,
    ) -> Result<bool, Error>;

    /// Takes an offer away; `false`: there was none. What was bought of it stays.
    async fn remove_offer(&self, tenant: &TenantId, offer: &str) -> Result<bool, Error>;

    /// One offer.
    async fn offer(&self, tenant: &TenantId, offer: &str) -> Result<Option<StoredOffer>, Error>;

    /// The tenant's offers, by name.
    async fn offers(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<StoredOffer>, Error>;

    /// Keeps a change of a purchase, with what its payer has under way after it, or nothing of it.
    /// The versions are those of before and one, 1 for a new one. [`Error::Conflict`] when one of
    /// them is not: read again.
    async fn commit_purchase(
        &self,
        purchase: &StoredPurchase,
        exposure: Option<&StoredExposure>,
    ) -> Result<(), Error>;

    /// Keeps a new purchase of a device command in the same way, and takes a place for it; `false`: there is none,
    /// and nothing was kept. There are [`MAX_UNDER_WAY`], and a tenant has so many times what is free at most
    /// ([`UNDER_WAY_SHARE`]): so whoever takes all that one tenant can have leaves each other tenant some.
    async fn commission_purchase(
        &self,
        purchase: &StoredPurchase,
        exposure: &StoredExposure,
    ) -> Result<bool, Error>;

    /// Whether there is a place for one more. Who asks this first spares asking chains for nothing; it is counted
    /// again where a purchase is kept.
    async fn has_place(&self, tenant: &TenantId) -> Result<bool, Error>;

    /// One purchase.
    async fn purchase(
        &self,
        tenant: &TenantId,
        purchase: &InvoiceKey,
    ) -> Result<Option<StoredPurchase>, Error>;

    /// The purchase that waits for a command.
    async fn purchase_of_command(
        &self,
        tenant: &TenantId,
        command: &CommandId,
    ) -> Result<Option<StoredPurchase>, Error>;

    /// The tenant's purchases, the newest first.
    async fn purchases(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<StoredPurchase>, Error>;

    /// Purchases of all tenants that are to be looked at by then, the one that waits longest first; those behind
    /// `after`, which was given before.
    async fn waking_purchases(
        &self,
        now_us: i64,
        after: Option<&StoredPurchase>,
        limit: u32,
    ) -> Result<Vec<StoredPurchase>, Error>;

    /// Those of a payer's with a tenant that are to be looked at by then.
    async fn waking_purchases_of(
        &self,
        tenant: &TenantId,
        payer: &PayerKey,
        now_us: i64,
        limit: u32,
    ) -> Result<Vec<StoredPurchase>, Error>;

    /// What a payer has under way with a tenant.
    async fn exposure(
        &self,
        tenant: &TenantId,
        asset: &str,
        payer: &PayerKey,
    ) -> Result<Option<StoredExposure>, Error>;

    /// Changes what a payer has under way, by itself. [`Error::Conflict`] as above.
    async fn put_exposure(&self, tenant: &TenantId, exposure: &StoredExposure)
    -> Result<(), Error>;
}
