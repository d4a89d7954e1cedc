//! Images, and who signs them.

use std::path::Path;
use std::sync::Arc;

use stencil_simulators::nodes::Identity;
use stencil_update::header::{Header, Version};
use stencil_update::id::Id;
use stencil_update::signing::Keys;
use stencil_update::trust::Trust;

/// Bytes of an image.
const IMAGE_BYTES: usize = 12_000;
/// How long a new image may take to talk to its gateway, in seconds.
const TRIAL_SECONDS: u32 = 60;
/// The class of the fleet's devices.
pub(super) const CLASS: &str = "node";
/// What a good image begins with.
pub(super) const GOOD: &[u8] = b"OK";

/// Who makes devices and signs their images.
pub(super) struct Maker(Keys);

/// A signed image.
pub(super) struct Image {
    pub(super) header: Header,
    pub(super) manifest: Vec<u8>,
    pub(super) payload: Vec<u8>,
    /// As a slot has it: header, signature, image.
    pub(super) package: Arc<[u8]>,
}

impl Maker {
    /// With new keys in this folder.
    pub(super) fn new(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self(Keys::generate(folder)?))
    }

    /// The public keys.
    pub(super) fn trust(&self) -> &Trust {
        self.0.trust()
    }

    /// What the flash of a device of this class says of its maker.
    pub(super) fn identity(&self, class: &str) -> Identity {
        Identity {
            vendor: vendor(),
            class: class_id(class),
            key: *self.trust().lms(),
            trial_seconds: TRIAL_SECONDS,
        }
    }

    /// Signs an image for the fleet's devices that begins so.
    pub(super) fn image(&mut self, sequence: u64, begins: &[u8]) -> anyhow::Result<Image> {
        self.image_for(CLASS, sequence, begins)
    }

    /// Signs an image for devices of a class.
    pub(super) fn image_for(
        &mut self,
        class: &str,
        sequence: u64,
        begins: &[u8],
    ) -> anyhow::Result<Image> {
        let payload = payload(sequence, begins);
        let header = Header {
            vendor: vendor(),
            class: class_id(class),
            sequence,
            size: u32::try_from(payload.len())?,
            digest: stencil_update::device::digest(&payload),
            version: Version::new(&format!("1.{sequence}.0"))?,
        };
        let envelope = self.0.sign(&header)?;
        let manifest = envelope.encode();
        let verified = envelope.verify(self.0.trust())?;
        let package = [&verified.prelude()?[..], &payload].concat().into();
        Ok(Image {
            header,
            manifest,
            payload,
            package,
        })
    }
}

impl Image {
    /// What it is called by.
    pub(super) fn digest(&self) -> stencil_rollout::Digest {
        stencil_rollout::Digest(self.header.digest)
    }
}

fn vendor() -> Id {
    Id::of_vendor("acme.example")
}

/// The id of a class of the one maker's devices.
pub(super) fn class_id(class: &str) -> Id {
    Id::of_class(vendor(), class)
}

/// Bytes that begin so, and are others for each sequence number.
fn payload(sequence: u64, begins: &[u8]) -> Vec<u8> {
    let mut noise = sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let rest = std::iter::from_fn(|| {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        Some(noise.to_le_bytes()[2])
    });
    let begins = begins.iter().copied();
    begins.chain(rest).take(IMAGE_BYTES).collect()
}
