//! Who controls devices by what a chain says: a tenant's policy, which device has which passport, and
//! what is known of passports and rights. What a policy or a token's body means is no matter of the
//! store's; it keeps them as text, and sees to it that each change follows the one before, in one
//! transaction with the position of the reader that made it.

use async_trait::async_trait;
use serde::Serialize;
use stencil_protocol::id::{DeviceId, TenantId};

use crate::{Error, Page, PayerKey};

/// Tokens of one tenant that are known; of those beyond nothing is kept.
pub const MAX_HELD_TOKENS: u32 = 100_000;
/// Documents of one tenant.
pub const MAX_DOCUMENTS: u32 = 10_000;
/// The longest document, in bytes.
pub const MAX_DOCUMENT: usize = 64 * 1024;

/// A token's id: 32 bytes, big-endian.
pub type TokenKey = [u8; 32];

/// How a tenant lets tokens control its devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOwnership {
    /// Whose.
    pub tenant: TenantId,
    /// On which chain.
    pub chain: String,
    /// Which tokens, and what their holders may do (JSON).
    pub body: String,
    /// When it was set, µs since the epoch.
    pub changed_us: i64,
}

/// Which tokens are followed with a policy from now on, and were not, or not all the time, before: what is
/// kept of them may be of before. It is put aside, and their contracts have to be asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Anew {
    /// The policy's body as it was when this was found out; `None`: there was no policy.
    pub before: Option<String>,
    /// All contracts of the policy's, on its chain: what is kept of others is not asked about any more.
    pub followed: Vec<PayerKey>,
    /// Those of them whose tokens are followed anew.
    pub collections: Vec<PayerKey>,
    /// Which of these is that of passports: those of all devices are asked for.
    pub passports: Option<PayerKey>,
    /// What is kept of a token that has to be asked (JSON).
    pub body: String,
}

/// A device's passport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePassport {
    /// Whose device.
    pub tenant: TenantId,
    /// The device.
    pub device: DeviceId,
    /// The passport's id.
    pub token: TokenKey,
    /// The DID of which that is the hash, where it was said.
    pub did: Option<String>,
    /// When it was set, µs since the epoch.
    pub created_us: i64,
}

/// What a tenant knows of a passport or a right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldToken {
    /// Whose knowledge.
    pub tenant: TenantId,
    /// On which chain.
    pub chain: String,
    /// The contract.
    pub collection: PayerKey,
    /// The token.
    pub token: TokenKey,
    /// How often it was changed, from 1.
    pub version: u64,
    /// What the chain's stream has said (JSON).
    pub body: String,
    /// Who owns or uses it by the newest of that.
    pub holder: Option<PayerKey>,
    /// Of a right: for which device's passport it is.
    pub passport: Option<TokenKey>,
    /// Of a right: its last second, since 1970.
    pub ends_s: Option<u64>,
    /// The block as of which the contract was asked; it has to be asked again when that is final.
    pub looked: Option<u64>,
    /// When it was changed, µs since the epoch.
    pub changed_us: i64,
}

/// Changes of tokens, and how far the reader has come that made them.
#[derive(Debug, Clone, Default)]
pub struct HeldCommit {
    /// Tokens after the change; each version is that of before and one, 1 for a new one.
    pub tokens: Vec<HeldToken>,
    /// The device's passport that one of them is: it is set with them, or not at all.
    pub passport: Option<DevicePassport>,
    /// Chain, reader and the entry up to which it has read.
    pub read: Option<(String, String, u64)>,
}

/// Which collections' tokens a tenant follows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Followed {
    /// On which chain.
    pub chain: String,
    /// The contracts.
    pub collections: Vec<PayerKey>,
}

/// A device that an account may control.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldDevice {
    /// Whose device.
    pub tenant: TenantId,
    /// The device.
    pub device: DeviceId,
}

/// A document that tokens name by its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What it is, as a media type.
    pub media_type: String,
    /// The document.
    pub body: Vec<u8>,
}

/// A document, without what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct DocumentHead {
    /// SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// What it is.
    pub media_type: String,
    /// How long it is.
    pub bytes: u64,
    /// When it came.
    pub created_us: i64,
}

/// Policies, passports, rights and their documents.
#[allow(
    clippy::too_many_arguments,
    reason = "whose rights are asked for, of what, when, and which page"
)]
#[async_trait]
pub trait Ownership: Send + Sync + 'static {
    /// Sets a tenant's policy in the place of the one before, and puts aside what is kept of tokens that
    /// are followed anew, in one transaction; where it is another one, what holders have queued and no gateway has
    /// ends. [`Error::Conflict`]: the policy before is another by now.
    async fn put_ownership(&self, ownership: &StoredOwnership, anew: &Anew) -> Result<(), Error>;
    /// Takes it away; `false`: there was none. Nothing is asked any more, and what holders have queued ends.
    async fn remove_ownership(&self, tenant: &TenantId, now_us: i64) -> Result<bool, Error>;
    /// A tenant's policy.
    async fn ownership(&self, tenant: &TenantId) -> Result<Option<StoredOwnership>, Error>;
    /// Those of all tenants, for the hub's own readers.
    async fn all_ownership(&self) -> Result<Vec<StoredOwnership>, Error>;

    /// Says which passport a device has, in the place of another, whose holders' queued commands end.
    /// [`Error::Conflict`]: another device of the tenant has it.
    async fn put_device_passport(&self, passport: &DevicePassport) -> Result<(), Error>;
    /// A device has no passport any more; `false`: it had none. What holders have queued for it ends.
    async fn remove_device_passport(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        now_us: i64,
    ) -> Result<bool, Error>;
    /// Which device of a tenant's has this passport.
    async fn device_with(
        &self,
        tenant: &TenantId,
        passport: &TokenKey,
    ) -> Result<Option<DeviceId>, Error>;
    /// A device's passport.
    async fn device_passport(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
    ) -> Result<Option<DevicePassport>, Error>;

    /// What is known of a token.
    async fn held_token(
        &self,
        tenant: &TenantId,
        chain: &str,
        collection: &PayerKey,
        token: &TokenKey,
    ) -> Result<Option<HeldToken>, Error>;
    /// Rights to use the device with this passport, those of one holder or of all: first those that run at
    /// `now_s`, seconds since 1970, of these those that end last; then those that are over.
    async fn rights_to(
        &self,
        tenant: &TenantId,
        chain: &str,
        collection: &PayerKey,
        passport: &TokenKey,
        holder: Option<&PayerKey>,
        now_s: u64,
        limit: u32,
    ) -> Result<Vec<HeldToken>, Error>;
    /// Rights of one account to use devices of a tenant, each with its device: first those that run at
    /// `now_s`, seconds since 1970, of these those that end last; then those that are over. What is for a
    /// passport that no device of the tenant's has is left out.
    async fn rights_of(
        &self,
        tenant: &TenantId,
        chain: &str,
        collection: &PayerKey,
        holder: &PayerKey,
        now_s: u64,
        limit: u32,
    ) -> Result<Vec<(DeviceId, HeldToken)>, Error>;
    /// Devices whose passport an account holds, or which it has a right to use, in all tenants; the
    /// cursor is the tenant and the device.
    async fn devices_held(
        &self,
        holder: &PayerKey,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<HeldDevice>, Error>;
    /// Tokens of a tenant whose contract was asked as of a block that is final by now.
    async fn looked_tokens(
        &self,
        tenant: &TenantId,
        chain: &str,
        finalized: u64,
        limit: u32,
    ) -> Result<Vec<HeldToken>, Error>;
    /// Keeps changes of tokens: all of it is stored, or nothing. Of a tenant's tokens beyond
    /// [`MAX_HELD_TOKENS`] nothing is kept, and what a token's former holder has queued by it expires; gives how
    /// many were not. [`Error::Conflict`]: a token was changed meanwhile, or is one too many and no reader's, or
    /// another device has the passport.
    async fn commit_held(&self, commit: &HeldCommit) -> Result<u64, Error>;

    /// Forgets up to `limit` of a tenant's tokens that are good for nothing any more: rights that ended
    /// before `before_us`; if there is none, tokens of nobody that were not changed since; and if there is none,
    /// those of other collections than `followed`, where that is said. Says how many: 0 means that none
    /// is left.
    async fn forget_held(
        &self,
        tenant: &TenantId,
        followed: Option<&Followed>,
        before_us: i64,
        limit: u32,
    ) -> Result<u64, Error>;
    /// How many tokens are kept of a tenant.
    async fn held_count(&self, tenant: &TenantId) -> Result<u64, Error>;

    /// Keeps a document, and says what is kept: if it is there, that is what came first. `true`: it is new.
    /// [`Error::Conflict`]: there are [`MAX_DOCUMENTS`].
    async fn put_document(
        &self,
        tenant: &TenantId,
        sha256: &TokenKey,
        document: &Document,
        now_us: i64,
    ) -> Result<(bool, DocumentHead), Error>;
    /// A document by its hash, whichever tenant keeps it: what it says is its name.
    async fn document(&self, sha256: &TokenKey) -> Result<Option<Document>, Error>;
    /// A tenant's documents, by their hash.
    async fn documents(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<DocumentHead>, Error>;
    /// Forgets a document; `false`: there was none.
    async fn remove_document(&self, tenant: &TenantId, sha256: &TokenKey) -> Result<bool, Error>;
}
