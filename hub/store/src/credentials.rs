//! Credentials that tenants have issued, how each stands, and the seeds of the keys that they issue by.
//!
//! Seeds and bodies are opaque here: a seed was sealed by the hub before it comes.

use async_trait::async_trait;
use serde::Serialize;
use stencil_protocol::id::TenantId;

use crate::{Error, Page};

/// Bits of a status list.
pub const STATUS_LIST_BITS: u32 = 131_072;
/// The most credentials of a tenant: those that hold, and those that ended a while ago.
pub const MAX_CREDENTIALS: u32 = 1_000_000;

/// How a credential stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialStanding {
    /// It holds.
    Good,
    /// It does not hold for now.
    Suspended,
    /// It is withdrawn for good.
    Revoked,
}

impl CredentialStanding {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Good, Self::Suspended, Self::Revoked];

    /// The name as stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
        }
    }

    /// The standing of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }
}

/// A credential as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCredential {
    /// Its id, a URN.
    pub credential: String,
    /// Of which kind it is.
    pub kind: String,
    /// Whom it is about.
    pub subject: String,
    /// In which of the tenant's status lists it has a bit, from 1.
    pub list: u32,
    /// Which bit.
    pub bit: u32,
    /// How it stands.
    pub standing: CredentialStanding,
    /// The effect key of the step that has issued it.
    pub cause: Option<String>,
    /// Who has had it issued; `None`: that is not known, or it is of a right to command a device.
    pub issued_by: Option<String>,
    /// What was given out (JSON).
    pub body: String,
    /// When it was issued, µs since the epoch.
    pub issued_us: i64,
    /// Until when it is valid; `None`: for ever.
    pub valid_until_us: Option<i64>,
    /// When its standing last changed.
    pub changed_us: i64,
}

/// What became of keeping a credential. Only the first changed something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptCredential {
    /// It is kept.
    Made,
    /// Its cause has issued this one before.
    Before(Box<StoredCredential>),
    /// Another one has its bit.
    BitTaken,
}

/// What became of a change of a credential's standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandingSet {
    /// It is so from now on.
    Set,
    /// It was so before.
    Unchanged,
    /// It is revoked, and that is for good.
    Revoked,
    /// What it was given for is gone, so it is suspended until that is back: nobody lets it hold before.
    Taken,
    /// There is no such credential.
    NotFound,
}

/// Credentials, and the seeds of their issuers.
#[async_trait]
pub trait Credentials: Send + Sync + 'static {
    /// The sealed seed of the tenant's keys.
    async fn issuer(&self, tenant: &TenantId) -> Result<Option<Vec<u8>>, Error>;

    /// Whether a tenant of this name has issued, be it that it was erased since.
    async fn has_issued(&self, tenant: &TenantId) -> Result<bool, Error>;

    /// Keeps a seed unless there is one, and gives the one that is kept. [`Error::NotFound`]: there is
    /// no such tenant.
    async fn put_issuer(
        &self,
        tenant: &TenantId,
        sealed: &[u8],
        now_us: i64,
    ) -> Result<Vec<u8>, Error>;

    /// The status list in which the next credential gets a bit, from 1: one is left before it is
    /// full, so that a bit that is drawn is mostly free.
    async fn open_status_list(&self, tenant: &TenantId) -> Result<u32, Error>;

    /// Keeps a credential. [`Error::Conflict`]: the tenant has [`MAX_CREDENTIALS`].
    async fn keep_credential(
        &self,
        tenant: &TenantId,
        credential: &StoredCredential,
    ) -> Result<KeptCredential, Error>;

    /// One credential.
    async fn credential(
        &self,
        tenant: &TenantId,
        credential: &str,
    ) -> Result<Option<StoredCredential>, Error>;

    /// The credential that a step has issued.
    async fn credential_of_cause(
        &self,
        tenant: &TenantId,
        cause: &str,
    ) -> Result<Option<StoredCredential>, Error>;

    /// The tenant's credentials, the newest first, without what was given out: `body` is empty.
    async fn credentials(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<StoredCredential>, Error>;

    /// Forgets credentials of all tenants that ended before that time, at most `limit`; how many. A bit of
    /// theirs may be drawn again: they have ended, whatever it says. Rights to open doors stay, for the
    /// receipts that name them.
    async fn forget_ended_credentials(&self, before_us: i64, limit: u32) -> Result<u64, Error>;

    /// Sets how a credential stands because somebody wants it so. One that is suspended by its cause
    /// ([`Judging::set_by_cause`](crate::Judging::set_by_cause)) does not hold for that:
    /// [`StandingSet::Taken`].
    async fn set_standing(
        &self,
        tenant: &TenantId,
        credential: &str,
        standing: CredentialStanding,
        now_us: i64,
    ) -> Result<StandingSet, Error>;

    /// The bits of a status list whose credentials stand so, in order; `None`: the tenant has no such
    /// list.
    async fn status_bits(
        &self,
        tenant: &TenantId,
        list: u32,
        standing: CredentialStanding,
    ) -> Result<Option<Vec<u32>>, Error>;
}
