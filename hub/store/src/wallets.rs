//! Accounts of chains as people: what they may do in tenants, the nonces that they sign in with, their
//! sessions without a tenant, and what they have paid.
//!
//! A wallet that signs in to a tenant has a session as others have ([`crate::Users`]).

use async_trait::async_trait;
use serde::Serialize;
use stencil_protocol::id::TenantId;

use crate::{Ended, Error, InvoiceKey, Page, PayerKey, Role, Secret};

/// Wallets with a role in one tenant.
pub const MAX_WALLETS: u32 = 10_000;
/// The longest name of a wallet, in characters.
pub const MAX_WALLET_NAME: usize = 64;
/// Roles of one wallet that are told.
pub const MAX_WALLET_ROLES: u32 = 100;
/// Sessions without a tenant of one wallet; with one more the one that was seen longest ago ends.
pub const MAX_WALLET_SESSIONS: u32 = 8;
/// Sessions without a tenant that one network has opened; the same. So nobody pushes out others' by
/// accounts of their own, which cost nothing.
pub const MAX_NETWORK_WALLET_SESSIONS: u32 = 512;
/// Sessions without a tenant of all wallets together, which anybody can open; the same.
pub const MAX_ALL_WALLET_SESSIONS: u32 = 50_000;
/// Nonces of one network that are not used; with one more its oldest goes, if that was there for
/// [`NONCE_STAYS_US`].
pub const MAX_NETWORK_NONCES: u32 = 64;
/// Nonces that are not used; with one more the oldest of all goes, if that was there as long.
pub const MAX_NONCES: u32 = 20_000;
/// For so long nobody pushes a nonce out, so that a person can read what is signed: a minute, in µs.
pub const NONCE_STAYS_US: i64 = 60_000_000;

/// An account's address.
pub type WalletKey = PayerKey;

/// A wallet with a role in a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wallet {
    /// Its address.
    pub address: WalletKey,
    /// What it may do.
    pub role: Role,
    /// EIP-155 id of the chain on which its contract is asked; `None`: it signs by its own key.
    pub chain: Option<u64>,
    /// What an admin calls it.
    pub name: Option<String>,
    /// When it got a role first.
    pub created_us: i64,
    /// When it last signed in to the tenant.
    pub signed_in_us: Option<i64>,
}

/// What came of giving a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The wallet now.
    pub wallet: Wallet,
    /// It had no role before.
    pub is_new: bool,
    /// The sessions that have ended because the role is another.
    pub ended: Ended,
}

/// A nonce to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewNonce<'n> {
    /// The nonce.
    pub nonce: &'n str,
    /// Who asked for it: an address, or who shares one.
    pub network: &'n str,
    /// What the message has to say (JSON).
    pub body: &'n str,
    /// When it is given.
    pub now_us: i64,
    /// When it is worth nothing any more.
    pub expires_us: i64,
}

/// A wallet's session without a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct WalletSession {
    /// Names the session; 16 hex digits.
    pub id: String,
    /// When it was opened.
    pub created_us: i64,
    /// When it ends whatever happens.
    pub expires_us: i64,
}

/// Whom the secret of a session without a tenant belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalletOwner {
    /// The wallet.
    pub wallet: WalletKey,
    /// The chain whose contract has said so; `None`: its own key has signed.
    pub chain: Option<u64>,
    /// The session's id.
    pub session: String,
}

/// An invoice that an account has paid, or has signed a payment of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaidInvoice {
    /// Whose invoice.
    pub tenant: TenantId,
    /// Which.
    pub invoice: InvoiceKey,
    /// When it was made.
    pub created_us: i64,
    /// The offer, where it is a purchase (x402).
    pub offer: Option<String>,
}

/// Roles, nonces, sessions without a tenant, and what accounts have paid.
#[async_trait]
pub trait Wallets: Send + Sync + 'static {
    /// Gives a wallet a role in a tenant in the place of the one it had; what it is signed in with
    /// there ends if the role or its chain is another. `chain` is where its contract is asked; without
    /// one it stays where it was. [`Error::Conflict`] if there are [`MAX_WALLETS`].
    async fn grant_wallet(
        &self,
        tenant: &TenantId,
        wallet: &WalletKey,
        role: Role,
        chain: Option<u64>,
        name: Option<&str>,
        now_us: i64,
    ) -> Result<Granted, Error>;

    /// Takes a wallet's role in a tenant; what it is signed in with there ends. `None`: it had none.
    async fn revoke_wallet(
        &self,
        tenant: &TenantId,
        wallet: &WalletKey,
    ) -> Result<Option<Ended>, Error>;

    /// The tenant's wallets, by address.
    async fn wallets(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Wallet>, Error>;

    /// One wallet of a tenant.
    async fn wallet(&self, tenant: &TenantId, wallet: &WalletKey) -> Result<Option<Wallet>, Error>;

    /// A wallet's roles, by tenant; at most [`MAX_WALLET_ROLES`]. With a chain those alone that are for
    /// its contract there.
    async fn roles_of_wallet(
        &self,
        wallet: &WalletKey,
        chain: Option<u64>,
    ) -> Result<Vec<(TenantId, Role)>, Error>;

    /// Keeps a nonce until it is used or over. How many are kept is bounded ([`MAX_NETWORK_NONCES`],
    /// [`MAX_NONCES`]): the oldest go, once they were there for [`NONCE_STAYS_US`]. `Some`: there is no
    /// room before that time, and it is not kept.
    async fn give_nonce(&self, nonce: &NewNonce<'_>) -> Result<Option<i64>, Error>;

    /// Uses a nonce, once: what the message has to say, and when it was given. `None` if it is unknown,
    /// used or over.
    async fn use_nonce(&self, nonce: &str, now_us: i64) -> Result<Option<(String, i64)>, Error>;

    /// Opens a session without a tenant. Beyond [`MAX_WALLET_SESSIONS`],
    /// [`MAX_NETWORK_WALLET_SESSIONS`] and [`MAX_ALL_WALLET_SESSIONS`] those that were seen longest ago
    /// end; of the latter two first those of accounts that have neither paid nor hold anything.
    async fn open_wallet_session(
        &self,
        wallet: &WalletKey,
        chain: Option<u64>,
        network: Option<&str>,
        expires_us: i64,
        now_us: i64,
    ) -> Result<(WalletSession, Secret), Error>;

    /// Whom the secret of a session without a tenant belongs to; `None` if it is unknown, has ended or
    /// was not used for `idle_us`. Notes that it was used.
    async fn verify_wallet_session(
        &self,
        secret: &str,
        idle_us: i64,
        now_us: i64,
    ) -> Result<Option<WalletOwner>, Error>;

    /// Ends a session without a tenant; `false` if there is none of this id.
    async fn end_wallet_session(&self, session: &str) -> Result<bool, Error>;

    /// Deletes nonces and sessions that are over at `now_us`; how many.
    async fn forget_expired_wallets(&self, idle_us: i64, now_us: i64) -> Result<u64, Error>;

    /// What an account has paid, in all tenants, the newest first.
    async fn paid_by(
        &self,
        payer: &PayerKey,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<PaidInvoice>, Error>;
}
