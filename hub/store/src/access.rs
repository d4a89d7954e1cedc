//! Rights to command devices that gateways check by themselves, what tenants let them admit, and the
//! receipts of whom they have.
//!
//! A right's id is that of its credential ([`crate::Credentials`]), whose standing is the right's. What
//! a right, a policy or a receipt says is text here.

use async_trait::async_trait;
use stencil_protocol::command::State;
use stencil_protocol::id::{CommandId, DeviceId, GatewayId, TenantId};

use crate::{CredentialStanding, Error, KeptCredential, Page, RunId, StoredCredential, WalletKey};

/// The most rights of a tenant.
pub const MAX_RIGHTS: u32 = 100_000;
/// What rights come from that tokens stand for: their holders ask for them, who need be nobody of the tenant's.
pub const TOKEN_SOURCE: &str = "token";
/// The most rights of one account from [`TOKEN_SOURCE`] to one device.
pub const MAX_TOKEN_RIGHTS: u32 = 16;
/// The most rights of all accounts from [`TOKEN_SOURCE`] to one device.
pub const MAX_DEVICE_TOKEN_RIGHTS: u32 = 1_000;
/// The most receipts of a tenant that are kept; with more the oldest go.
pub const MAX_RECEIPTS: u32 = 1_000_000;

/// A right as it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRight {
    /// Its credential's id.
    pub right: String,
    /// Whose it is.
    pub holder: WalletKey,
    /// The device.
    pub device: DeviceId,
    /// What it comes from, such as `payment`.
    pub source: String,
    /// What it says (JSON).
    pub body: String,
    /// The caused run and its step by which it was given, which can be taken back; `None`: by nothing on
    /// a chain.
    pub cause: Option<(RunId, u32)>,
    /// Until when it holds, µs since the epoch; `None`: for ever.
    pub until_us: Option<i64>,
    /// When it was given.
    pub made_us: i64,
}

/// Whose rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RightsOf<'a> {
    /// Those that a tenant has given.
    Tenant(&'a TenantId),
    /// Those of an account, in all tenants.
    Holder(&'a WalletKey),
}

/// A right, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRight {
    /// Whose device.
    pub tenant: TenantId,
    /// The right as it was given.
    pub right: NewRight,
    /// How it stands.
    pub standing: CredentialStanding,
    /// What has caused it is gone, and it is suspended because of that.
    pub taken: bool,
    /// Since when.
    pub changed_us: i64,
    /// Its place in the tenant's status lists.
    pub list: u32,
    /// Which bit.
    pub bit: u32,
    /// How often what is known of its standings has changed.
    pub revision: u64,
}

/// A receipt as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReceipt {
    /// Which gateway has noted it.
    pub gateway: GatewayId,
    /// In which chain.
    pub chain: String,
    /// The number in it.
    pub number: u64,
    /// The SHA-256 of `body`.
    pub hash: [u8; 32],
    /// As it was signed.
    pub body: String,
    /// The right that it names.
    pub right: String,
    /// What became of its command.
    pub outcome: String,
    /// Whether the one before was known.
    pub follows: bool,
    /// Why its holder should not have been admitted; `None`: nothing speaks against it.
    pub conflict: Option<String>,
    /// Whether workflows were told of a conflict.
    pub told: bool,
    /// When somebody was admitted, by the gateway's clock.
    pub at_us: i64,
    /// When the hub got it.
    pub received_us: i64,
}

/// A receipt that a gateway brings, and by what it was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BroughtReceipt {
    /// The receipt.
    pub receipt: StoredReceipt,
    /// The [`StoredRight::revision`] of its right then; `None`: there was no such right.
    pub revision: Option<u64>,
}

/// Rights, policies and receipts.
#[async_trait]
pub trait AccessRights: Send + Sync + 'static {
    /// Keeps a right and the credential that it is, both or neither; where it is not [`KeptCredential::Made`],
    /// neither is kept. [`Error::Conflict`] as [`AccessRights::put_right`] and
    /// [`Credentials::keep_credential`](crate::Credentials::keep_credential).
    async fn issue_right(
        &self,
        tenant: &TenantId,
        credential: &StoredCredential,
        right: &NewRight,
    ) -> Result<KeptCredential, Error>;

    /// Keeps a right whose credential is there; `false`: it is there. [`Error::Conflict`]: the tenant has
    /// [`MAX_RIGHTS`] that are not over.
    ///
    /// Of those from [`TOKEN_SOURCE`] that are neither over nor revoked an account has [`MAX_TOKEN_RIGHTS`] to one
    /// device, and all together have [`MAX_DEVICE_TOKEN_RIGHTS`]. With more the one ends that has been suspended
    /// the longest because its token is gone; [`Error::Conflict`]: there is none.
    async fn put_right(&self, tenant: &TenantId, right: &NewRight) -> Result<bool, Error>;

    /// The rights from [`TOKEN_SOURCE`] that an account has to a device and that are neither over at `now_us` nor
    /// revoked, the newest first; 1,000 at most, of before they were bounded.
    async fn rights_of_tokens(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        holder: &WalletKey,
        now_us: i64,
    ) -> Result<Vec<StoredRight>, Error>;

    /// One right.
    async fn right(&self, tenant: &TenantId, right: &str) -> Result<Option<StoredRight>, Error>;

    /// A tenant's rights, or an account's in all tenants, the newest first.
    async fn rights(
        &self,
        whose: RightsOf<'_>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<StoredRight>, Error>;

    /// Forgets up to `limit` of a tenant's rights that ended, or were revoked, before `before_us`, with their
    /// credentials and their history; says how many. Their bits of status lists are others' then: nothing that was signed for
    /// them may hold any more.
    async fn forget_ended_rights(
        &self,
        tenant: &TenantId,
        before_us: i64,
        limit: u32,
    ) -> Result<u64, Error>;

    /// Rights that stand otherwise than what is known of their causes: those that hold, or are not known to be
    /// taken, though their step is not open, and those that are taken though it is. Neither those that were
    /// over at `now_us`, nor those that were revoked then.
    async fn rights_adrift(&self, now_us: i64, limit: u32) -> Result<Vec<StoredRight>, Error>;

    /// Rights from this source, after one: those that are neither over at `now_us` nor revoked, or those that are
    /// one of these since a time, and were not before.
    async fn rights_from(
        &self,
        source: &str,
        now_us: i64,
        ended_since_us: Option<i64>,
        after: Option<(&TenantId, &str)>,
        limit: u32,
    ) -> Result<Vec<StoredRight>, Error>;

    /// The status lists in which rights of a tenant that are not over have bits.
    async fn access_lists(&self, tenant: &TenantId, now_us: i64) -> Result<Vec<u32>, Error>;

    /// What a tenant lets its gateways admit; `None`: it has said nothing.
    async fn access_policy(&self, tenant: &TenantId) -> Result<Option<String>, Error>;

    /// Sets it.
    async fn put_access_policy(
        &self,
        tenant: &TenantId,
        body: &str,
        now_us: i64,
    ) -> Result<(), Error>;

    /// The last receipt of a chain of a gateway's: number and hash.
    async fn last_receipt(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        chain: &str,
    ) -> Result<Option<(u64, [u8; 32])>, Error>;

    /// The chain of which the receipt is that came last by the hub's clock, with the number and hash of the
    /// last one in it. Where that clock was ahead once, it may be one that the gateway has left since.
    async fn newest_chain(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
    ) -> Result<Option<(String, u64, [u8; 32])>, Error>;

    /// A receipt.
    async fn receipt(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        chain: &str,
        number: u64,
    ) -> Result<Option<StoredReceipt>, Error>;

    /// The receipt of a tenant's that names this command: its gateway gave it by itself.
    async fn receipt_of(
        &self,
        tenant: &TenantId,
        command: &CommandId,
    ) -> Result<Option<StoredReceipt>, Error>;

    /// Up to `limit` of a gateway's receipts whose challenge has this nonce, of whichever chain.
    async fn receipts_of_nonce(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        nonce: &str,
        limit: u32,
    ) -> Result<Vec<StoredReceipt>, Error>;

    /// Says what became of the command of a receipt, where that was not known. What its device says in the
    /// pipeline does the same.
    async fn put_outcome(
        &self,
        tenant: &TenantId,
        command: &CommandId,
        outcome: State,
    ) -> Result<(), Error>;

    /// Keeps receipts, all or none; those that are there stay as they are. One whose right stands
    /// otherwise by now is to be judged again.
    async fn keep_receipts(
        &self,
        tenant: &TenantId,
        receipts: &[BroughtReceipt],
    ) -> Result<(), Error>;

    /// A tenant's receipts, the newest first.
    async fn receipts(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<StoredReceipt>, Error>;
}
