//! Gateways' certificates: which of them let a gateway in.
//!
//! A certificate that was used last is `current`. One that was issued and not used yet is let in, too,
//! and becomes the current one by that; those before it are then `superseded`. Whoever comes with one
//! of those, or with a `revoked` one, is not let in again.

use async_trait::async_trait;
use serde::Serialize;
use stencil_protocol::id::{GatewayId, TenantId};

use crate::Error;

/// The SHA-256 of a certificate's DER, or of a public key.
pub type Fingerprint = [u8; 32];

/// The most certificates of a gateway that are remembered; the oldest that are over go.
pub const MAX_GATEWAY_CERTIFICATES: u32 = 64;

/// How far the fleet authority dates certificates back, as clocks differ.
const DATED_BACK_US: i64 = 3_600 * 1_000_000;

/// Whether a certificate is older than the tenant whose name is in it: it was issued for another one,
/// which had the name before and was erased. Both times are of the hub's own clock; a certificate's has
/// whole seconds.
#[must_use]
pub fn is_of_former_tenant(not_before_us: i64, tenant_made_us: i64) -> bool {
    let made_us = tenant_made_us - tenant_made_us.rem_euclid(1_000_000);
    not_before_us < made_us.saturating_sub(DATED_BACK_US)
}

/// A certificate of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCertificate {
    /// What it is known by.
    pub fingerprint: Fingerprint,
    /// Its serial number, in hexadecimal digits.
    pub serial: String,
    /// The SHA-256 of its public key.
    pub key: Fingerprint,
    /// From when on it is valid.
    pub not_before_us: i64,
    /// Until when.
    pub not_after_us: i64,
}

/// How far a certificate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CertificateState {
    /// It was issued, and not used yet.
    Issued,
    /// The gateway uses it.
    Current,
    /// A later one was used.
    Superseded,
    /// It was revoked.
    Revoked,
}

impl CertificateState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Issued, Self::Current, Self::Superseded, Self::Revoked];

    /// The name as stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Current => "current",
            Self::Superseded => "superseded",
            Self::Revoked => "revoked",
        }
    }

    /// The state of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }
}

/// A certificate that a gateway has or had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct GatewayCertificate {
    /// The SHA-256 of the certificate, in hexadecimal digits.
    #[serde(serialize_with = "in_hex")]
    #[schema(value_type = String)]
    pub fingerprint: Fingerprint,
    /// Its serial number, in hexadecimal digits.
    pub serial: String,
    /// `issued` (not used yet), `current`, `superseded` or `revoked`.
    pub state: CertificateState,
    /// Whether it is the successor of another one, which the gateway has asked for.
    pub renewed: bool,
    /// From when on it is valid.
    pub not_before_us: i64,
    /// Until when.
    pub not_after_us: i64,
    /// Since when the hub knows it.
    pub made_us: i64,
    /// When it was first used; `null`: not yet.
    pub used_us: Option<i64>,
    /// Since when it lets nobody in; `null`: it does.
    pub ended_us: Option<i64>,
}

fn in_hex<S: serde::Serializer>(bytes: &Fingerprint, serializer: S) -> Result<S::Ok, S::Error> {
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    serializer.serialize_str(&digits.collect::<String>())
}

/// What a certificate that a gateway comes with is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presented {
    /// The one that it used last.
    Current,
    /// One that was issued, used for the first time now: the others, which are these, let nobody in any
    /// more.
    First(Vec<Fingerprint>),
    /// One that the hub had not heard of, and no older than those that it had: as
    /// [`Presented::First`].
    Met(Vec<Fingerprint>),
    /// The gateway has used a later one.
    Superseded,
    /// It was revoked, or the gateway was.
    Revoked,
    /// One that the hub has not heard of, older than those that it has.
    Unknown,
    /// One that the hub has not heard of, older than the tenant: see [`is_of_former_tenant`].
    Former,
}

/// What is to be renewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewable {
    /// It is the current one; from when until when it is valid.
    Current {
        /// From when on it is valid.
        not_before_us: i64,
        /// Until when.
        not_after_us: i64,
        /// When a successor was last made for it.
        last_us: Option<i64>,
    },
    /// A successor for this key was made before, and not used: its chain.
    Made(String),
    /// It is none that the gateway may use.
    Not,
}

/// Gateways' certificates.
#[async_trait]
pub trait Certificates: Send + Sync + 'static {
    /// Makes a gateway one of the tenant's, with a certificate that was issued to it. One that was
    /// revoked is let in again with that.
    async fn add_certified(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        certificate: &NewCertificate,
        now_us: i64,
    ) -> Result<(), Error>;

    /// A gateway comes with this certificate. One that the hub has not heard of is taken where it
    /// knows none of the gateway, or only older ones of one that is let in: it stands in the audit log
    /// then, as does the first use of one that was issued. With `in_time` false, its time is over: it
    /// has to be known.
    async fn present(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        certificate: &NewCertificate,
        in_time: bool,
        now_us: i64,
    ) -> Result<Presented, Error>;

    /// Whether the certificate of this fingerprint can have a successor for this key.
    async fn renewable(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        of: &Fingerprint,
        key: &Fingerprint,
    ) -> Result<Renewable, Error>;

    /// Keeps a successor, in place of those that were not used; `false`: the one that it renews is no
    /// longer current.
    async fn keep_renewed(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        of: &Fingerprint,
        certificate: &NewCertificate,
        chain: &str,
        now_us: i64,
    ) -> Result<bool, Error>;

    /// Revokes a gateway: none of its certificates lets anybody in any more, and nothing is sealed to
    /// its key. `None`: it was revoked before; else the certificates that this concerned.
    ///
    /// # Errors
    /// [`Error::NotFound`]: the tenant has no such gateway.
    async fn revoke_gateway(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        now_us: i64,
    ) -> Result<Option<Vec<Fingerprint>>, Error>;

    /// Those of a gateway, the newest first.
    async fn certificates(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
    ) -> Result<Vec<GatewayCertificate>, Error>;

    /// How many current ones end before this. For the hub's own counters.
    async fn ending_before(&self, before_us: i64) -> Result<u64, Error>;
}
