//! The board's programs, and images that are signed for it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use stencil_boot::Identity;
use stencil_update::header::{Header, Version};
use stencil_update::id::Id;
use stencil_update::signing::Keys;

use crate::{elf, layout};

/// What the board is made of.
pub(crate) struct Programs {
    /// The boot loader.
    pub(crate) boot: PathBuf,
    /// The application's image.
    pub(crate) application: Vec<u8>,
}

/// Builds the programs, once a test process.
pub(crate) fn programs() -> &'static Programs {
    static PROGRAMS: OnceLock<Programs> = OnceLock::new();
    PROGRAMS.get_or_init(build)
}

fn build() -> Programs {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("firmware/boards/mps2-an386");
    // Below the folder that this test was built in, where the next run finds it.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("boards");
    let status = Command::new(env!("CARGO"))
        .current_dir(&folder)
        .args(["build", "--release", "--locked", "--quiet"])
        .args(["--target", "thumbv7em-none-eabihf", "--target-dir"])
        .arg(&target)
        .status()
        .expect("cargo starts");
    assert!(status.success(), "the board's image does not build");
    let folder = target.join("thumbv7em-none-eabihf/release");
    let program = elf::Elf::read(&folder.join("mps2-an386")).unwrap();
    Programs {
        boot: folder.join("boot"),
        application: program.image(layout::APPLICATION).unwrap(),
    }
}

/// Who signs images.
pub(crate) struct Maker {
    dir: tempfile::TempDir,
    keys: Keys,
}

/// A signed image.
pub(crate) struct Image {
    pub(crate) header: Header,
    pub(crate) manifest: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    /// As a slot has it: header, signature, image.
    pub(crate) package: Vec<u8>,
}

impl Maker {
    /// With new keys.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::generate(&dir.path().join("keys")).unwrap();
        Self { dir, keys }
    }

    /// The file of the public keys.
    pub(crate) fn trust(&self) -> PathBuf {
        self.dir.path().join("keys/trust.keys")
    }

    /// What a board's flash says of these keys.
    pub(crate) fn identity(&self, trial_seconds: u32) -> Identity {
        let vendor = Id::of_vendor("maker.example");
        Identity {
            vendor,
            class: Id::of_class(vendor, "m4"),
            key: *self.keys.trust().lms(),
            trial_seconds,
        }
    }

    /// Signs an image.
    pub(crate) fn image(&mut self, sequence: u64, payload: Vec<u8>) -> Image {
        let Identity { vendor, class, .. } = self.identity(1);
        let header = Header {
            vendor,
            class,
            sequence,
            size: payload.len().try_into().unwrap(),
            digest: stencil_update::device::digest(&payload),
            version: Version::new(&format!("1.{sequence}")).unwrap(),
        };
        let envelope = self.keys.sign(&header).unwrap();
        let manifest = envelope.encode();
        let verified = envelope.verify(self.keys.trust()).unwrap();
        let package = [&verified.prelude().unwrap()[..], &payload].concat();
        Image {
            header,
            manifest,
            payload,
            package,
        }
    }

    /// The application, with some bytes behind it that make it another image.
    pub(crate) fn application(&mut self, sequence: u64) -> Image {
        let mut payload = programs().application.clone();
        payload.extend(sequence.to_le_bytes());
        self.image(sequence, payload)
    }
}
