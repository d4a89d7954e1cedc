//! Devices' registrations: born, claimed or enrolled, revoked, with new keys; and what each gateway
//! shall hold of their keys.
//!
//! Keys are opaque here: sealed by the hub before they come, never opened by a store. A *tag* lets
//! the hub know a secret again that it does not keep.

use async_trait::async_trait;
use serde::Serialize;
use stencil_protocol::id::{DeviceId, GatewayId, TenantId};

use crate::{Error, Page};

/// A device that a factory has made.
#[derive(Clone)]
pub struct NewBirth {
    /// The name by which it speaks.
    pub identity: DeviceId,
    /// The tag of its claim code.
    pub code_tag: [u8; 32],
    /// Its key, sealed by the hub.
    pub psk: Vec<u8>,
}

/// What became of a birth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Born {
    /// It is kept.
    Made,
    /// It was kept before, with the same code.
    Known,
    /// It was kept before and has been claimed since.
    Claimed,
    /// A device of this name was born with another code, or another device has the code.
    Differs,
}

/// A birth, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Birth {
    /// The name by which the device speaks.
    #[schema(value_type = String)]
    pub identity: DeviceId,
    /// When it was made known to the hub.
    pub born_us: i64,
    /// When a tenant claimed it; `null`: it waits.
    pub claimed_us: Option<i64>,
}

/// A device that waits to be claimed.
#[derive(Clone)]
pub struct Unclaimed {
    /// The name by which it speaks.
    pub identity: DeviceId,
    /// Its key, sealed by the hub.
    pub psk: Vec<u8>,
}

/// A key of a device.
#[derive(Clone)]
pub struct NewKey {
    /// The name by which the hardware speaks.
    pub identity: DeviceId,
    /// The key, sealed by the hub.
    pub psk: Vec<u8>,
    /// Its tag.
    pub tag: [u8; 32],
}

/// A device that a tenant takes in.
#[derive(Clone)]
pub struct Enrolment {
    /// What it is called from now on.
    pub device: DeviceId,
    /// The gateway that it speaks through.
    pub gateway: GatewayId,
    /// Its first key.
    pub key: NewKey,
    /// The tag of the claim code that is used up with it, if it is one that was born.
    pub code_tag: Option<[u8; 32]>,
}

/// What became of an enrolment. Only the first changed something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enrolled {
    /// It is taken in.
    Made,
    /// It was before, just so.
    Unchanged,
    /// It is enrolled with another key.
    OtherKey,
    /// It is enrolled at this other gateway.
    OtherGateway(Option<GatewayId>),
    /// It was revoked.
    Revoked,
    /// This device speaks by that name.
    IdentityTaken(DeviceId),
    /// This device has, or had, that key.
    KeyTaken(DeviceId),
    /// The claim code opens nothing (any more).
    NoSuchCode,
    /// The tenant has no such gateway.
    NoSuchGateway,
    /// The tenant, or the gateway, has as many devices as it may.
    Full,
}

/// What became of moving a device to another gateway. Only the first changed something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// It was at this one, and is there no more.
    From(Option<GatewayId>),
    /// It was there already.
    Unchanged,
    /// The tenant has no such gateway.
    NoSuchGateway,
    /// That gateway has as many devices as it may.
    Full,
}

/// A device that was taken in by a claim code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByCode {
    /// The device.
    pub device: DeviceId,
    /// The gateway that it speaks through.
    pub gateway: Option<GatewayId>,
    /// Whether it was revoked.
    pub revoked: bool,
    /// Whether other hardware, or a key from elsewhere, has taken the place of what the code stood for.
    pub replaced: bool,
}

/// How a device gets a new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// The one before holds until the new one was used.
    Rotate,
    /// Those before are gone at once, and so is a revocation: the device was wiped, or is other
    /// hardware.
    Replace,
}

/// A device with its next key.
#[derive(Clone)]
pub struct Renewed {
    /// The device.
    pub device: DeviceId,
    /// The generation of its newest key so far.
    pub after: u64,
    /// The next key.
    pub key: NewKey,
    /// What becomes of those before.
    pub how: Renewal,
    /// The tag of the claim code that is used up with it, if the key is that of a device that was
    /// born.
    pub code_tag: Option<[u8; 32]>,
}

/// A registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Registration {
    /// The device.
    #[schema(value_type = String)]
    pub device: DeviceId,
    /// The gateway that it speaks through.
    #[schema(value_type = Option<String>)]
    pub gateway: Option<GatewayId>,
    /// `enrolled` or `revoked`.
    pub state: RegistrationState,
    /// The name by which the hardware speaks, where it has a key of the hub.
    #[schema(value_type = Option<String>)]
    pub identity: Option<DeviceId>,
    /// The number of its newest key; 0: it never had one of the hub.
    pub generation: u64,
    /// Whether its gateway holds all of this.
    pub delivered: bool,
    /// Whether a new key waits to be used by the device.
    pub rotating: bool,
    /// When it was taken in.
    pub enrolled_us: i64,
    /// When it last changed.
    pub changed_us: i64,
    /// When it was revoked.
    pub revoked_us: Option<i64>,
}

/// Whether a device is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationState {
    /// It is.
    Enrolled,
    /// It is no more.
    Revoked,
}

/// A key that a device has or had, without the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct DeviceKey {
    /// Its number.
    pub generation: u64,
    /// The name by which the hardware spoke.
    #[schema(value_type = String)]
    pub identity: DeviceId,
    /// When it was made.
    pub made_us: i64,
    /// When it was first used, by its gateway's clock.
    pub used_us: Option<i64>,
    /// Since when it opens nothing.
    pub ended_us: Option<i64>,
    /// Why: `rotated`, `replaced`, `revoked`.
    pub ended_why: Option<String>,
}

/// A gateway of a tenant, and what it has to hold of devices' keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RegisteredGateway {
    /// The gateway.
    #[schema(value_type = String)]
    pub gateway: GatewayId,
    /// Since when it has its present key; `null`: it has not connected yet.
    pub registered_us: Option<i64>,
    /// Devices that it shall let in.
    pub devices: u64,
    /// Changes that it does not hold yet.
    pub waiting: u64,
    /// When it last came with another key than it had before; `null`: never. All keys of its devices
    /// are sealed to the new one.
    pub rekeyed_us: Option<i64>,
    /// When somebody last spoke by its name while it was connected, again and again: two have its
    /// certificate. `null`: never.
    pub contested_us: Option<i64>,
}

/// What a gateway says that it holds, by the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayHolds {
    /// The tenant.
    pub tenant: TenantId,
    /// The gateway.
    pub gateway: GatewayId,
    /// Of which list.
    pub epoch: u64,
    /// Everything up to this revision.
    pub revision: u64,
    /// The key to seal to, where it says so.
    pub public_key: Option<Vec<u8>>,
    /// When the hub received it.
    pub received_us: i64,
}

/// A gateway has come with another key to seal to than it had before, by the log: with it it is
/// given all keys of its devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayRekeyed {
    /// The tenant.
    pub tenant: TenantId,
    /// The gateway.
    pub gateway: GatewayId,
    /// Whether it was added again since it told the key before: it was set up anew.
    pub added_again: bool,
}

/// A device has used a key, by the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUsed {
    /// The tenant.
    pub tenant: TenantId,
    /// Who says so. The word of another gateway than the device's own changes nothing.
    pub gateway: GatewayId,
    /// The device.
    pub device: DeviceId,
    /// Which of its keys.
    pub generation: u64,
    /// When, by its gateway's clock.
    pub at_us: i64,
}

/// Whether the pipeline takes what a device sends, by the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// The tenant.
    pub tenant: TenantId,
    /// The device.
    pub device: DeviceId,
    /// It does not.
    pub refused: bool,
}

/// The next changes for a gateway.
pub struct Delivery {
    /// Of which list.
    pub epoch: u64,
    /// The revision that they follow.
    pub after: u64,
    /// The revision that is reached with them.
    pub through: u64,
    /// The revision that the list has reached.
    pub last: u64,
    /// To which they are to be sealed.
    pub public_key: Vec<u8>,
    /// The entries.
    pub entries: Vec<Placed>,
}

/// An entry of a gateway's list.
pub struct Placed {
    /// The device.
    pub device: DeviceId,
    /// The name by which the hardware speaks.
    pub identity: DeviceId,
    /// Its keys with their generations, each sealed by the hub; none: it is let in no more.
    pub keys: Vec<(u64, Vec<u8>)>,
}

/// Registrations and what follows from them.
#[async_trait]
pub trait Registry: Send + Sync + 'static {
    /// Keeps births; an answer each, in order.
    async fn bear(&self, births: &[NewBirth], now_us: i64) -> Result<Vec<Born>, Error>;

    /// Births, by identity. For operators.
    async fn births(&self, after: Option<&str>, limit: u32) -> Result<Page<Birth>, Error>;

    /// The device that waits to be claimed with the code of this tag.
    async fn unclaimed(&self, code_tag: &[u8; 32]) -> Result<Option<Unclaimed>, Error>;

    /// The device of the tenant that was taken in by the code of this tag, most lately.
    async fn by_code(
        &self,
        tenant: &TenantId,
        code_tag: &[u8; 32],
    ) -> Result<Option<ByCode>, Error>;

    /// Makes a gateway one of the tenant's, before it has connected.
    async fn add_gateway(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        now_us: i64,
    ) -> Result<(), Error>;

    /// Whether the tenant has this gateway: it was added, or has connected.
    async fn has_gateway(&self, tenant: &TenantId, gateway: &GatewayId) -> Result<bool, Error>;

    /// The ids of the tenant's gateways, in order; at most [`crate::MAX_PAGE`].
    async fn gateway_ids(&self, tenant: &TenantId) -> Result<Vec<GatewayId>, Error>;

    /// Notes, also in the audit log, that two speak by the name of a gateway, and take its place
    /// from each other.
    async fn contested(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        now_us: i64,
    ) -> Result<(), Error>;

    /// Takes devices in; an answer each, in order. At most `max_devices` of the tenant at one
    /// gateway, which has to be one of the tenant's.
    async fn enrol(
        &self,
        tenant: &TenantId,
        enrolments: &[Enrolment],
        max_devices: u32,
        now_us: i64,
    ) -> Result<Vec<Enrolled>, Error>;

    /// One registration.
    async fn registration(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
    ) -> Result<Option<Registration>, Error>;

    /// The tenant's registrations, by device; those of one gateway, of one state.
    async fn registrations(
        &self,
        tenant: &TenantId,
        gateway: Option<&GatewayId>,
        state: Option<RegistrationState>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Registration>, Error>;

    /// The newest keys that a device has had, the newest first; at most [`crate::MAX_PAGE`].
    async fn device_keys(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
    ) -> Result<Vec<DeviceKey>, Error>;

    /// Revokes a device, also one that was only ever heard; `false` if it was before. Its keys are
    /// gone with that, and its commands that were not done have failed.
    async fn revoke(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        now_us: i64,
    ) -> Result<bool, Error>;

    /// Gives a device its next key. Answers as for an enrolment: [`Enrolled::Made`], or what stands
    /// in the way.
    ///
    /// # Errors
    /// [`Error::NotFound`]: it is not registered. [`Error::Conflict`]: its newest key is another one
    /// than was taken for it; or it is to be rotated while an earlier rotation is not done.
    async fn renew(
        &self,
        tenant: &TenantId,
        renewed: &Renewed,
        now_us: i64,
    ) -> Result<Enrolled, Error>;

    /// Has a device speak through another gateway: that one is given its keys, the one before is
    /// to forget them.
    ///
    /// # Errors
    /// [`Error::NotFound`]: it is not registered.
    async fn move_device(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        gateway: &GatewayId,
        max_devices: u32,
        now_us: i64,
    ) -> Result<Moved, Error>;

    /// The tenant's gateways, by id; at most [`crate::MAX_PAGE`].
    async fn registered_gateways(&self, tenant: &TenantId)
    -> Result<Vec<RegisteredGateway>, Error>;

    /// Gateways that do not hold everything yet and can be sealed to. For the hub's own loop.
    async fn behind(&self, limit: u32) -> Result<Vec<(TenantId, GatewayId)>, Error>;

    /// The next changes for a gateway, at most `limit`; `None` if it holds everything or has no
    /// key.
    async fn delivery(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        limit: u32,
    ) -> Result<Option<Delivery>, Error>;

    /// Makes the lists of all gateways others, to be given to them from the beginning: what they hold
    /// may be of a later state than this database, which was restored from a backup.
    async fn renumber(&self) -> Result<(), Error>;

    /// Devices of which the pipeline does not do yet what was decided. For the hub's own loop.
    async fn unsettled(&self, limit: u32) -> Result<Vec<Admission>, Error>;

    /// Whether anything is kept that the hub has sealed.
    async fn has_sealed(&self) -> Result<bool, Error>;
}
