//! What gateways have sealed of what their devices said, and what proofs are made of.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use stencil_protocol::id::{Boot, DeviceId, GatewayId, Seq, TenantId};

use crate::seal_marks::{FoundSeal, SealMark, SealMarkFilter, SettledSeal};
use crate::{Error, Page};

/// The most certificates of a gateway by which it has signed seals; the oldest that are over go.
pub const MAX_SEALING_KEYS: u32 = 64;
/// The most batches that one question answers.
pub const MAX_SEALED_BATCHES: u32 = 16_384;

/// A SHA-256.
pub type ProofHash = [u8; 32];

/// That a gateway seals from here on, or not any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealing {
    /// The tenant.
    pub tenant: TenantId,
    /// The gateway.
    pub gateway: GatewayId,
    /// In which chain.
    pub epoch: u64,
    /// By which certificate (its SHA-256, DER); `None`: it does not any more.
    pub certificate: Option<(ProofHash, Vec<u8>)>,
}

/// A batch of a device behind a gateway that seals, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedBatch {
    /// The tenant.
    pub tenant: TenantId,
    /// The device.
    pub device: DeviceId,
    /// The boot of its numbers.
    pub boot: Boot,
    /// Its first number.
    pub first: Seq,
    /// Its last number.
    pub last: Seq,
    /// The earliest time in it.
    pub from_us: i64,
    /// The latest time in it.
    pub to_us: i64,
    /// When the hub received it.
    pub received_us: i64,
    /// Its place in the log.
    pub position: u64,
    /// The batch. Clones share it, so that to commit it again costs nothing.
    pub body: Bytes,
}

/// Which seal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SealKey {
    /// The tenant.
    pub tenant: TenantId,
    /// The gateway.
    pub gateway: GatewayId,
    /// The chain of seals.
    pub epoch: u64,
    /// The number in it.
    pub number: u64,
}

/// What the hub has found of a seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SealState {
    /// It is not looked at, or what it is over is on its way.
    Pending,
    /// The gateway has signed it, it follows the one before, and all that it is over is what the hub has.
    Verified,
    /// The hub does not have all that it is over.
    Incomplete,
    /// What it is over is not what the hub has, or it does not follow the one before.
    Mismatch,
    /// It is not signed by a certificate of the gateway that the hub knows.
    Refused,
}

impl SealState {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Verified,
        Self::Incomplete,
        Self::Mismatch,
        Self::Refused,
    ];

    /// The name as stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Verified => "verified",
            Self::Incomplete => "incomplete",
            Self::Mismatch => "mismatch",
            Self::Refused => "refused",
        }
    }

    /// The state of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }
}

/// A seal that a gateway has sent.
#[derive(Clone, PartialEq, Eq)]
pub struct NewSeal {
    /// Which one.
    pub key: SealKey,
    /// Its hash.
    pub hash: ProofHash,
    /// As it was sent, with the secret of its leaves' salts: not for logs.
    pub record: Vec<u8>,
    /// When.
    pub received_us: i64,
}

impl fmt::Debug for NewSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSeal")
            .field("key", &self.key)
            .field("hash", &self.hash)
            .field("record", &format_args!("{} bytes", self.record.len()))
            .field("received_us", &self.received_us)
            .finish()
    }
}

/// A seal as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSeal {
    /// The seal.
    pub seal: NewSeal,
    /// What was found of it.
    pub state: SealState,
    /// Why, for people.
    pub why: Option<String>,
    /// The number of the tenant's anchor that it is in, and which leaf of that it is.
    pub anchor: Option<(u64, u64)>,
}

/// Numbers of a device that are in a chunk of a seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedRun {
    /// The device.
    pub device: DeviceId,
    /// The boot.
    pub boot: Boot,
    /// The first number.
    pub first: Seq,
    /// The last number.
    pub last: Seq,
    /// Which chunk of the seal.
    pub chunk: u32,
}

/// Where and how often seals of a tenant are anchored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchoring {
    /// The chain's name.
    pub chain: String,
    /// The least time between two anchors, in seconds.
    pub interval_s: u64,
}

/// An anchor: what was sent, and what shows that it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnchor {
    /// Which one of the tenant.
    pub anchor: u64,
    /// JSON.
    pub body: String,
    /// Whether it is not done with.
    pub open: bool,
}

/// What becomes of seals when an anchor is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnchorSeals<'a> {
    /// The anchor is a new one, over these, in their order.
    Take(&'a [SealKey]),
    /// They stay where they are.
    Keep,
    /// The anchor will never be: they are free for another one.
    Release,
}

/// What the pipeline commits of seals, in the order of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProofChanges {
    /// Gateways that seal, or do not any more.
    pub sealing: Vec<(u64, Sealing)>,
    /// What devices behind them said.
    pub batches: Vec<SealedBatch>,
    /// Seals; one that is there stays as it is.
    pub seals: Vec<NewSeal>,
}

/// Seals, what they are over, and anchors.
#[async_trait]
pub trait Proofs: Send + Sync + 'static {
    /// Seals that are pending, of all tenants, those first that came first; at most 65,536.
    async fn pending_seals(&self, limit: u32) -> Result<Vec<SealKey>, Error>;
    /// A seal.
    async fn seal(&self, key: &SealKey) -> Result<Option<StoredSeal>, Error>;
    /// The certificate with this SHA-256 by which a gateway says that it seals.
    async fn sealing_key(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        fingerprint: &ProofHash,
    ) -> Result<Option<Vec<u8>>, Error>;
    /// Batches that have some of these numbers, in the order of the log; at most
    /// [`MAX_SEALED_BATCHES`].
    async fn sealed_batches(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        boot: Boot,
        first: Seq,
        last: Seq,
    ) -> Result<Vec<SealedBatch>, Error>;
    /// Batches that may have something of this time, in the order of the log; at most 256.
    async fn sealed_batches_at(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        time_us: i64,
    ) -> Result<Vec<SealedBatch>, Error>;
    /// Says what was found of a pending seal; nothing is done of one that is not pending any more. One
    /// that is wrong is marked, written into the audit log and told to workflows in the same
    /// transaction, up to [`MAX_SEAL_MARKS`](crate::MAX_SEAL_MARKS) marks of its gateway.
    async fn settle_seal(
        &self,
        key: &SealKey,
        found: &FoundSeal<'_>,
        now_us: i64,
    ) -> Result<SettledSeal, Error>;
    /// Marks of seals that are wrong, the newest first.
    async fn seal_marks(
        &self,
        tenant: &TenantId,
        filter: &SealMarkFilter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<SealMark>, Error>;
    /// How many seals of each gateway are marked; gateways without a mark are left out.
    async fn marked_gateways(&self, tenant: &TenantId) -> Result<Vec<(GatewayId, u64)>, Error>;
    /// Takes the marks of a seal away, which stays what it was found to be. `false`: it has none.
    async fn clear_seal_marks(&self, key: &SealKey) -> Result<bool, Error>;
    /// The verified seal that a reading is in, and in which chunk of it: one that is anchored, if there
    /// is one.
    async fn seal_of(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        boot: Boot,
        seq: Seq,
    ) -> Result<Option<(StoredSeal, u32)>, Error>;
    /// Seals of a tenant, the newest first, of this state, if it is given.
    async fn seals(
        &self,
        tenant: &TenantId,
        state: Option<SealState>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<StoredSeal>, Error>;

    /// Where a tenant's seals are anchored.
    async fn anchoring(&self, tenant: &TenantId) -> Result<Option<Anchoring>, Error>;
    /// Sets it; `None`: nowhere.
    async fn set_anchoring(
        &self,
        tenant: &TenantId,
        anchoring: Option<&Anchoring>,
        now_us: i64,
    ) -> Result<(), Error>;
    /// All tenants whose seals are anchored, and those that have anchors.
    async fn anchorings(&self) -> Result<Vec<(TenantId, Option<Anchoring>)>, Error>;
    /// The newest anchor of a tenant.
    async fn last_anchor(&self, tenant: &TenantId) -> Result<Option<StoredAnchor>, Error>;
    /// An anchor of a tenant.
    async fn anchor(&self, tenant: &TenantId, anchor: u64) -> Result<Option<StoredAnchor>, Error>;
    /// Hashes of verified seals that are in no anchor, those first that came first.
    async fn unanchored(
        &self,
        tenant: &TenantId,
        limit: u32,
    ) -> Result<Vec<(SealKey, ProofHash)>, Error>;
    /// Anchors of a tenant that are not done with, the oldest first; at most 256.
    async fn open_anchors(&self, tenant: &TenantId) -> Result<Vec<StoredAnchor>, Error>;
    /// Makes an anchor or replaces what is said of one, and with it what becomes of its seals.
    /// `false`, and nothing is changed: there is one of this number already ([`AnchorSeals::Take`]), or
    /// there is none. [`Error::Conflict`]: a seal is in another one, or is not there any more.
    async fn put_anchor(
        &self,
        tenant: &TenantId,
        anchor: &StoredAnchor,
        seals: AnchorSeals<'_>,
        now_us: i64,
    ) -> Result<bool, Error>;
    /// Hashes of an anchor's seals, in the order of its leaves.
    async fn anchored_seals(&self, tenant: &TenantId, anchor: u64)
    -> Result<Vec<ProofHash>, Error>;

    /// Forgets up to `limit` batches that came before `before_us`, and seals that did; says how many.
    async fn forget_sealed(
        &self,
        tenant: &TenantId,
        before_us: i64,
        limit: u32,
    ) -> Result<u64, Error>;
}
