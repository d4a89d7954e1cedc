//! Flash that holds two signed images, changed anywhere and with any journal: no panic, and what is
//! started is one of the two, whole; the application's side takes any offer and any piece.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sha2::{Digest as _, Sha256};
use stencil_boot::model::Nor;
use stencil_boot::{Config, Layout, Updater, start};
use stencil_update::header::HEADER_BYTES;
use stencil_update::id::Id;
use stencil_update::lms::PublicKey;

const BLOCK: usize = 512;
const SLOT: usize = 6 * BLOCK;
const LAYOUT: Layout = Layout {
    journal: 0,
    journal_half: 512,
    slots: [1024, 1024 + 3072],
    slot_bytes: 3072,
};

/// As `build.rs` has signed them, with the key below.
const PACKAGES: [&[u8]; 2] = [
    include_bytes!(concat!(env!("OUT_DIR"), "/boot-package-3")),
    include_bytes!(concat!(env!("OUT_DIR"), "/boot-package-4")),
];
const KEY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/boot-key"));

fn config() -> Config {
    Config {
        layout: LAYOUT,
        vendor: Id([1; 16]),
        class: Id([2; 16]),
        key: PublicKey::from_bytes(KEY).expect("a key"),
        max_trials: 3,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let config = config();
    let mut flash = Nor::<4, BLOCK>::new(14, 1);
    for (package, at) in PACKAGES.iter().zip(LAYOUT.slots) {
        flash.bytes_mut()[at as usize..][..package.len()].copy_from_slice(package);
    }
    let Some((plan, rest)) = bytes.split_first() else {
        return;
    };
    let mut rest = rest;
    // Records with a right check, then changes anywhere.
    for place in 0..usize::from(plan % 16) {
        let Some((body, later)) = rest.split_at_checked(52) else {
            break;
        };
        rest = later;
        let mut record = [b"SJ\x01\x00", body].concat();
        let check = Sha256::digest(&record);
        record.extend_from_slice(&check[..8]);
        flash.bytes_mut()[64 * place..][..64].copy_from_slice(&record);
    }
    for change in rest.chunks_exact(3).take(40) {
        let at = usize::from(change[0]) << 8 | usize::from(change[1]);
        let length = flash.bytes_mut().len();
        flash.bytes_mut()[at % length] = change[2];
    }
    for _ in 0..3 {
        let mut loaded = Vec::new();
        let started = start(&mut flash, &config, |offset, piece| {
            loaded.truncate(offset as usize);
            loaded.extend_from_slice(piece);
        });
        if started.is_ok() {
            let whole = PACKAGES.iter().any(|package| package[2048..] == loaded);
            assert!(whole, "something else was started");
        }
        if let Ok(mut updater) = Updater::open(&mut flash, config) {
            let head: [u8; HEADER_BYTES] = PACKAGES[1][..HEADER_BYTES]
                .try_into()
                .expect("a header");
            if let Ok(from) = updater.offer(&head) {
                let _ = updater.write(from, &rest[..rest.len().min(SLOT) / 4 * 4]);
                let _ = updater.finish();
            }
        }
    }
});
