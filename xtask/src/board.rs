//! Images of the emulated board: built, signed, and written to a flash file.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use stencil_boot::Identity;
use stencil_update::device::digest;
use stencil_update::header::{Header, Version};
use stencil_update::id::Id;
use stencil_update::signing::Keys;

use crate::{shell, tools};

pub(crate) mod elf;
#[path = "../../firmware/boards/mps2-an386/src/layout.rs"]
#[allow(dead_code, reason = "the board uses the others")]
pub(crate) mod layout;

const BOARD: &str = "firmware/boards/mps2-an386";
/// Who makes the board, and what it is.
const VENDOR: &str = "stencil.example";
const CLASS: &str = "mps2-an386";

/// The programs of the board.
pub(crate) struct Programs {
    /// The boot loader, which the emulator starts.
    pub(crate) boot: PathBuf,
    /// The application, which the loader starts from the flash.
    pub(crate) application: PathBuf,
}

/// Where images of boards are built.
pub(crate) fn target() -> PathBuf {
    shell::target().join("boards")
}

/// Builds loader and application.
pub(crate) fn build() -> anyhow::Result<Programs> {
    tools::thumb_target()?;
    let target = target();
    shell::run_quietly(
        shell::board_cargo(BOARD)
            .args(["build", "--release", "--locked", "--quiet"])
            .args(["--target", tools::THUMB, "--target-dir"])
            .arg(&target),
    )?;
    let folder = target.join(tools::THUMB).join("release");
    Ok(Programs {
        boot: folder.join("boot"),
        application: folder.join("mps2-an386"),
    })
}

/// Signs a program with the keys in `keys`, which are drawn if there are none yet, and puts it
/// into slot A of the flash in `flash`, with what the loader is to know of it. The journal is
/// erased: the image counts as the one from the factory.
pub(crate) fn install(
    flash: &Path,
    program: &Path,
    keys: &Path,
    version: &str,
    sequence: u64,
    trial_seconds: u32,
) -> anyhow::Result<()> {
    let image = elf::Elf::read(program)?.image(layout::APPLICATION)?;
    ensure!(
        image.len() <= layout::LAYOUT.max_image() as usize,
        "the image has {} bytes; a slot takes {}",
        image.len(),
        layout::LAYOUT.max_image()
    );
    let mut keys = if keys.exists() {
        Keys::open(keys)?
    } else {
        Keys::generate(keys)?
    };
    let vendor = Id::of_vendor(VENDOR);
    let header = Header {
        vendor,
        class: Id::of_class(vendor, CLASS),
        sequence,
        size: u32::try_from(image.len())?,
        digest: digest(&image),
        version: Version::new(version)?,
    };
    let signed = keys.sign(&header)?.verify(keys.trust())?;
    let identity = Identity {
        vendor,
        class: header.class,
        key: *keys.trust().lms(),
        trial_seconds,
    };

    let mut bytes = std::fs::read(flash).with_context(|| flash.display().to_string())?;
    ensure!(
        bytes.len() >= (layout::BLOCKS * layout::BLOCK) as usize,
        "{} has {} bytes; the board needs {} blocks of {}",
        flash.display(),
        bytes.len(),
        layout::BLOCKS,
        layout::BLOCK
    );
    let mut put = |at: u32, content: &[u8]| {
        bytes[at as usize..][..content.len()].copy_from_slice(content);
    };
    put(layout::IDENTITY_FROM, &identity.encode());
    let (journal, slot) = (layout::LAYOUT.journal, layout::LAYOUT.slots[0]);
    put(
        journal,
        &vec![0xff; 2 * layout::LAYOUT.journal_half as usize],
    );
    put(slot, &vec![0xff; layout::LAYOUT.slot_bytes as usize]);
    let prelude = signed.prelude()?;
    put(slot, &prelude);
    put(slot + u32::try_from(prelude.len())?, &image);
    std::fs::write(flash, bytes).with_context(|| flash.display().to_string())
}
