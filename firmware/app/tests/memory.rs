//! The application fits into a microcontroller's memory.
#![allow(clippy::unwrap_used, clippy::panic)]

mod desk;
mod peer;

use desk::DeskBoard;
use stencil_firmware::App;

#[test]
fn takes_twelve_kibibytes_beside_its_samples() {
    const SAMPLES: usize = 4_096;
    let beside = size_of::<App<DeskBoard, SAMPLES>>() - SAMPLES;
    assert!(beside <= 12 * 1_024, "{beside}");
    assert!(beside > 8 * 1_024, "say so in the crate's docs: {beside}");
}
