//! Firmware images, what devices run, and roll-outs.
//!
//! A roll-out's state and its devices' are the pipeline's: they are changed by its commits alone
//! ([`crate::Commit::rollouts`]), so that they follow the log. What they mean is no matter of the
//! store's; it keeps them as text.

use async_trait::async_trait;
use serde::Serialize;
use stencil_protocol::id::{DeviceId, GatewayId, TenantId};

use crate::{Error, Page};

/// The most images of a tenant.
pub const MAX_IMAGES: u32 = 1_000;
/// The most roll-outs of a tenant that are kept; with one more the oldest that is over goes.
pub const MAX_ROLLOUTS: u32 = 10_000;

/// The most successions of a tenant's keys that are kept.
pub const MAX_SUCCESSIONS: u32 = 100;

/// The SHA-256 of an image's payload.
pub type ImageDigest = [u8; 32];
/// A roll-out's id.
pub type RolloutKey = [u8; 16];

/// Who may sign a tenant's updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateTrust {
    /// The public keys, as text.
    pub keys: String,
    /// Vendor and class of the devices that they may be for; none: any.
    pub classes: Vec<([u8; 16], [u8; 16])>,
    /// When it was last set.
    pub changed_us: i64,
}

/// An image whose signatures were verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The SHA-256 of its payload.
    pub digest: ImageDigest,
    /// The vendor's UUID.
    pub vendor: [u8; 16],
    /// The class's UUID.
    pub class: [u8; 16],
    /// Its place in the order of its class's images.
    pub sequence: u64,
    /// What people call it.
    pub version: String,
    /// The payload's length in bytes.
    pub size: u32,
    /// Manifest and signatures, as they were pushed.
    pub envelope: Vec<u8>,
    /// When it was pushed.
    pub pushed_us: i64,
}

/// What a device said last that it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceImage {
    /// The device.
    pub device: DeviceId,
    /// The gateway that it said so through.
    pub gateway: Option<GatewayId>,
    /// The image's digest.
    pub digest: ImageDigest,
    /// Its sequence number.
    pub sequence: u64,
    /// Vendor and class of the device, as one text.
    pub class: String,
    /// The image's version, if the device knows it.
    pub version: Option<String>,
    /// It runs on trial.
    pub trial: bool,
    /// When the hub was told.
    pub reported_us: i64,
}

/// The last image that a device did not take, or went back from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceVerdict {
    /// The device.
    pub device: DeviceId,
    /// The image's digest.
    pub digest: ImageDigest,
    /// Why, in words.
    pub reason: String,
    /// When the hub was told.
    pub reported_us: i64,
}

/// A device as a roll-out meets it at first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The device.
    pub device: DeviceId,
    /// The gateway through which it was last heard.
    pub gateway: Option<GatewayId>,
    /// Its link was up when it was last heard of.
    pub connected: bool,
    /// What it runs, if it has said so.
    pub image: Option<DeviceImage>,
}

/// A roll-out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRollout {
    /// Its id.
    pub id: RolloutKey,
    /// The image.
    pub image: ImageDigest,
    /// What was asked for (JSON).
    pub plan: String,
    /// Where it stands, in a word; `starting` before it has begun.
    pub status: String,
    /// What the pipeline keeps of it (JSON); `None` before it has begun.
    pub head: Option<String>,
    /// When it was asked for.
    pub created_us: i64,
    /// When its state last changed.
    pub changed_us: i64,
}

/// One device of a roll-out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutDevice {
    /// The device.
    pub device: DeviceId,
    /// The gateway that it was last heard through.
    pub gateway: Option<GatewayId>,
    /// How far it has come, in a word.
    pub phase: String,
    /// How much of the image it has.
    pub percent: Option<u8>,
    /// In words.
    pub detail: Option<String>,
    /// Since when.
    pub since_us: i64,
    /// What the pipeline keeps of it (JSON).
    pub body: String,
}

/// What a roll-out told people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RolloutNotice {
    /// When.
    pub at_us: i64,
    /// What (JSON).
    pub body: String,
}

/// An image that a device is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The device.
    pub device: DeviceId,
    /// By which roll-out.
    pub rollout: RolloutKey,
    /// The image.
    pub image: ImageDigest,
}

/// What a commit changes of a roll-out: all of it is absolute, and may be repeated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RolloutChange {
    /// Roll-outs whose state changed.
    pub heads: Vec<RolloutHead>,
    /// Devices whose state changed, by roll-out.
    pub devices: Vec<(TenantId, RolloutKey, RolloutDevice)>,
    /// What was told, in order.
    pub notices: Vec<(TenantId, RolloutKey, RolloutNotice)>,
    /// What devices said that they run.
    pub images: Vec<(TenantId, DeviceImage)>,
    /// What devices did not take, or went back from.
    pub verdicts: Vec<(TenantId, DeviceVerdict)>,
}

impl RolloutChange {
    /// Nothing changes.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
            && self.devices.is_empty()
            && self.notices.is_empty()
            && self.images.is_empty()
            && self.verdicts.is_empty()
    }
}

/// A roll-out's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutHead {
    /// The tenant.
    pub tenant: TenantId,
    /// The roll-out.
    pub id: RolloutKey,
    /// Where it stands, in a word.
    pub status: String,
    /// It need not be loaded any more.
    pub is_over: bool,
    /// What is kept of it (JSON).
    pub head: String,
    /// When.
    pub changed_us: i64,
}

/// A roll-out that is not over, with all of its devices.
pub type OpenRollout = (TenantId, StoredRollout, Vec<RolloutDevice>);

/// Images and roll-outs.
#[async_trait]
pub trait Rollouts: Send + Sync + 'static {
    /// Who may sign the tenant's updates; `None`: nobody yet.
    async fn trust(&self, tenant: &TenantId) -> Result<Option<UpdateTrust>, Error>;

    /// Sets who may sign the tenant's updates.
    async fn set_trust(&self, tenant: &TenantId, trust: &UpdateTrust) -> Result<(), Error>;

    /// Sets who may sign the tenant's updates, after those with `before` as the SHA-256 of their
    /// keys' text, who have signed `succession`. [`Error::Conflict`] when these keys are not trusted
    /// any more, and when [`MAX_SUCCESSIONS`] are kept.
    async fn succeed_trust(
        &self,
        tenant: &TenantId,
        before: &[u8; 32],
        succession: &str,
        trust: &UpdateTrust,
    ) -> Result<(), Error>;

    /// The succession that the keys with this SHA-256 of their text have signed.
    async fn succession(
        &self,
        tenant: &TenantId,
        before: &[u8; 32],
    ) -> Result<Option<String>, Error>;

    /// Keeps that an update was signed by this leaf of an LMS key (the SHA-256 of its public key,
    /// and of the signature). [`Error::Conflict`] when the leaf has signed something else: whoever
    /// has both signatures can sign what he likes.
    async fn spend_leaf(
        &self,
        tenant: &TenantId,
        key: &[u8; 32],
        leaf: u32,
        signature: &[u8; 32],
    ) -> Result<(), Error>;

    /// Keeps an image whose payload is on disk; `false` if exactly it is there already.
    /// [`Error::Conflict`] when the payload is there under another manifest, when an image of its
    /// class is as new or newer, or when there are as many as there may be.
    async fn put_image(&self, tenant: &TenantId, image: &Image) -> Result<bool, Error>;

    /// One image.
    async fn image(&self, tenant: &TenantId, digest: &ImageDigest) -> Result<Option<Image>, Error>;

    /// The tenant's images, the one that was pushed last at first.
    async fn images(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Image>, Error>;

    /// Whether any tenant has an image with this payload.
    async fn is_payload_needed(&self, digest: &ImageDigest) -> Result<bool, Error>;

    /// What a device said last that it runs.
    async fn device_image(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
    ) -> Result<Option<DeviceImage>, Error>;

    /// The last image that a device did not take, or went back from.
    async fn device_verdict(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
    ) -> Result<Option<DeviceVerdict>, Error>;

    /// All devices of the tenant, in order, as a roll-out meets them; at most `limit`, after this
    /// one.
    async fn candidates(
        &self,
        tenant: &TenantId,
        after: Option<&DeviceId>,
        limit: u32,
    ) -> Result<Vec<Candidate>, Error>;

    /// Asks for a roll-out; `false` if this one was asked for before. [`Error::Conflict`] when its
    /// id belongs to another.
    async fn create(
        &self,
        tenant: &TenantId,
        id: &RolloutKey,
        image: &ImageDigest,
        plan: &str,
        now_us: i64,
    ) -> Result<bool, Error>;

    /// All roll-outs that are not over, of all tenants.
    async fn open(&self) -> Result<Vec<OpenRollout>, Error>;

    /// One roll-out.
    async fn get(&self, tenant: &TenantId, id: &RolloutKey)
    -> Result<Option<StoredRollout>, Error>;

    /// The tenant's roll-outs, the newest first.
    async fn list(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<StoredRollout>, Error>;

    /// How many devices of a roll-out are in each phase.
    async fn counts(&self, tenant: &TenantId, id: &RolloutKey)
    -> Result<Vec<(String, u32)>, Error>;

    /// A roll-out's devices (in one phase), in order.
    async fn devices(
        &self,
        tenant: &TenantId,
        id: &RolloutKey,
        phase: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<RolloutDevice>, Error>;

    /// What a roll-out has told people, the newest first, at most `limit`.
    async fn notices(
        &self,
        tenant: &TenantId,
        id: &RolloutKey,
        limit: u32,
    ) -> Result<Vec<RolloutNotice>, Error>;

    /// The images that devices behind this gateway are to run.
    async fn wanted(&self, tenant: &TenantId, gateway: &GatewayId) -> Result<Vec<Wanted>, Error>;
}
