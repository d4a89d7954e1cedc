//! Signed packages, and a device's life on the flash model.
#![allow(dead_code)]

use std::sync::{Mutex, OnceLock};

use hbs_lms::{HssParameter, LmotsAlgorithm, LmsAlgorithm, Sha256_256, SigningKey};
use stencil_boot::model::{Fault, Nor};
use stencil_boot::{Config, Error, Layout, Started, Updater, start};
use stencil_update::device::digest;
use stencil_update::header::{HEADER_BYTES, Header, Version, prelude};
use stencil_update::id::Id;
use stencil_update::lms::PublicKey;

pub(crate) const VENDOR: Id = Id([0xaa; 16]);
pub(crate) const CLASS: Id = Id([0xbb; 16]);

pub(crate) struct Maker {
    key: SigningKey<Sha256_256>,
    aux: Vec<u8>,
    pub(crate) public: PublicKey,
}

/// The library holds megabytes on the stack.
fn with_room<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(64 << 20)
            .spawn_scoped(scope, run)
            .unwrap()
            .join()
            .unwrap()
    })
}

/// One key for all tests of a process: its tree takes a second.
pub(crate) fn maker() -> std::sync::MutexGuard<'static, Maker> {
    static MAKER: OnceLock<Mutex<Maker>> = OnceLock::new();
    MAKER
        .get_or_init(|| Mutex::new(Maker::new([5; 32])))
        .lock()
        .unwrap()
}

impl Maker {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        with_room(|| Self::computed(seed))
    }

    fn computed(seed: [u8; 32]) -> Self {
        let parameters = [HssParameter::new(
            LmotsAlgorithm::LmotsW8,
            LmsAlgorithm::LmsH10,
        )];
        let mut aux = vec![0; 64 * 1024];
        let mut slice = aux.as_mut_slice();
        let (key, public) =
            hbs_lms::keygen(&parameters, &hbs_lms::Seed::from(seed), Some(&mut slice)).unwrap();
        let used = slice.len();
        aux.truncate(used);
        Maker {
            key,
            aux,
            public: PublicKey::from_bytes(public.as_slice()).unwrap(),
        }
    }

    pub(crate) fn package(&mut self, header: &Header, image: &[u8]) -> Package {
        let bytes = header.encode().unwrap();
        let mut aux = self.aux.as_mut_slice();
        let key = &mut self.key;
        let signature = with_room(|| key.try_sign_with_aux(&bytes, Some(&mut aux)).unwrap());
        let signature = signature.as_ref().try_into().unwrap();
        let mut package = prelude(&bytes, &signature).to_vec();
        package.extend_from_slice(image);
        Package {
            header: *header,
            offered: bytes,
            bytes: package,
            image: image.to_vec(),
        }
    }
}

#[derive(Clone)]
pub(crate) struct Package {
    pub(crate) header: Header,
    pub(crate) offered: [u8; HEADER_BYTES],
    pub(crate) bytes: Vec<u8>,
    pub(crate) image: Vec<u8>,
}

pub(crate) fn header(sequence: u64, image: &[u8]) -> Header {
    Header {
        vendor: VENDOR,
        class: CLASS,
        sequence,
        size: image.len().try_into().unwrap(),
        digest: digest(image),
        version: Version::new(&format!("1.{sequence}.0")).unwrap(),
    }
}

/// An image of this length whose bytes differ by sequence number.
pub(crate) fn image(sequence: u64, length: usize) -> Vec<u8> {
    let mut noise = sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            noise.to_le_bytes()[2]
        })
        .collect()
}

pub(crate) fn package(sequence: u64, length: usize) -> Package {
    let image = image(sequence, length);
    maker().package(&header(sequence, &image), &image)
}

pub(crate) fn config(layout: Layout) -> Config {
    Config {
        layout,
        vendor: VENDOR,
        class: CLASS,
        key: maker().public,
        max_trials: 3,
    }
}

/// The layout of a flash with blocks of `block` bytes.
pub(crate) fn layout(block: u32, half_blocks: u32, slot_blocks: u32) -> Layout {
    let half = half_blocks * block;
    let slot = slot_blocks * block;
    Layout {
        journal: 0,
        journal_half: half,
        slots: [2 * half, 2 * half + slot],
        slot_bytes: slot,
    }
}

/// Puts a package into a slot as a factory does.
pub(crate) fn program<const W: usize, const E: usize>(
    flash: &mut Nor<W, E>,
    at: u32,
    package: &Package,
) {
    flash.bytes_mut()[at as usize..][..package.bytes.len()].copy_from_slice(&package.bytes);
}

/// Starts, and collects what was loaded.
pub(crate) fn boot<const W: usize, const E: usize>(
    flash: &mut Nor<W, E>,
    config: &Config,
) -> Result<(Started, Vec<u8>), Error<Fault>> {
    let mut loaded = Vec::new();
    let started = start(flash, config, |offset, piece| {
        loaded.truncate(offset as usize);
        loaded.extend_from_slice(piece);
    })?;
    Ok((started, loaded))
}

/// Sends the package from where the device wants it, in pieces of `piece` bytes; says where it
/// began.
pub(crate) fn send<const W: usize, const E: usize>(
    updater: &mut Updater<&mut Nor<W, E>>,
    package: &Package,
    piece: usize,
    sent: &mut u32,
) -> Result<u32, Error<Fault>> {
    let from = updater.offer(&package.offered)?;
    let mut next = from;
    while (next as usize) < package.bytes.len() {
        let at = next as usize;
        let end = (at + piece).min(package.bytes.len());
        next = updater.write(next, &package.bytes[at..end])?;
        *sent = next;
    }
    updater.finish()?;
    Ok(from)
}
