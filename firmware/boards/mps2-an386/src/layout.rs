//! Where things are: in flash, and in the machine's memory. The chores and tests that write
//! flash files read this file, too.

use stencil_boot::Layout;

/// The smallest unit of flash that is erased.
pub(crate) const BLOCK: u32 = 8_192;

/// The provision: the first block.
pub(crate) const PROVISION_FROM: u32 = 0;
/// Whose images are started ([`stencil_boot::Identity`]): in the provision's block.
pub(crate) const IDENTITY_FROM: u32 = 4_096;
/// The retained state: eight blocks.
pub(crate) const STATE_FROM: u32 = BLOCK;
/// Behind the retained state.
pub(crate) const STATE_TO: u32 = 9 * BLOCK;
/// Blocks of a slot: 160 KiB of image, behind its header and signature.
const SLOT_BLOCKS: u32 = 21;

/// The loader's journal, two blocks, and the two slots.
pub(crate) const LAYOUT: Layout = Layout {
    journal: STATE_TO,
    journal_half: BLOCK,
    slots: [11 * BLOCK, (11 + SLOT_BLOCKS) * BLOCK],
    slot_bytes: SLOT_BLOCKS * BLOCK,
};
/// The blocks that the flash has to have.
pub(crate) const BLOCKS: u32 = 11 + 2 * SLOT_BLOCKS;

/// How often a new image is started without talking to its gateway.
pub(crate) const MAX_TRIALS: u8 = 3;

/// Where an image runs, and where its vectors are; `app.x` says the same to the linker.
pub(crate) const APPLICATION: u32 = 0x0001_0000;
