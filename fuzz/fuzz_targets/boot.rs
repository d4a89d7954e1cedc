//! Flash that holds two signed images, changed anywhere and with any journal: no panic, and what is
//! started is one of the two, whole; the application's side takes any offer and any piece.
#![no_main]

use std::sync::OnceLock;

use hbs_lms::{HssParameter, LmotsAlgorithm, LmsAlgorithm, Sha256_256};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest as _, Sha256};
use stencil_boot::model::Nor;
use stencil_boot::{Config, Layout, Updater, start};
use stencil_update::Header;
use stencil_update::device::digest;
use stencil_update::header::{HEADER_BYTES, Version, prelude};
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

struct Scene {
    config: Config,
    packages: [Vec<u8>; 2],
}

fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(|| {
        // The library holds megabytes on the stack.
        let thread = std::thread::Builder::new().stack_size(64 << 20);
        thread.spawn(make).expect("a thread").join().expect("keys")
    })
}

fn make() -> Scene {
    let parameters = [HssParameter::<Sha256_256>::new(
        LmotsAlgorithm::LmotsW8,
        LmsAlgorithm::LmsH10,
    )];
    let seed = hbs_lms::Seed::from([1; 32]);
    let (mut key, public) = hbs_lms::keygen(&parameters, &seed, None).expect("a key");
    let (vendor, class) = (Id([1; 16]), Id([2; 16]));
    let packages = [3_u64, 4].map(|sequence| {
        let image = vec![sequence.to_le_bytes()[0]; 500];
        let header = Header {
            vendor,
            class,
            sequence,
            size: 500,
            digest: digest(&image),
            version: Version::new("1").expect("a version"),
        };
        let header = header.encode().expect("a header");
        let signature = key.try_sign_with_aux(&header, None).expect("a signature");
        let signature = signature.as_ref().try_into().expect("its length");
        [&prelude(&header, &signature), &image[..]].concat()
    });
    Scene {
        config: Config {
            layout: LAYOUT,
            vendor,
            class,
            key: PublicKey::from_bytes(public.as_slice()).expect("a key"),
            max_trials: 3,
        },
        packages,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let scene = scene();
    let mut flash = Nor::<4, BLOCK>::new(14, 1);
    for (package, at) in scene.packages.iter().zip(LAYOUT.slots) {
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
        let started = start(&mut flash, &scene.config, |offset, piece| {
            loaded.truncate(offset as usize);
            loaded.extend_from_slice(piece);
        });
        if started.is_ok() {
            let whole = scene
                .packages
                .iter()
                .any(|package| package[2048..] == loaded);
            assert!(whole, "something else was started");
        }
        if let Ok(mut updater) = Updater::open(&mut flash, scene.config) {
            let head: [u8; HEADER_BYTES] = scene.packages[1][..HEADER_BYTES]
                .try_into()
                .expect("a header");
            if let Ok(from) = updater.offer(&head) {
                let _ = updater.write(from, &rest[..rest.len().min(SLOT) / 4 * 4]);
                let _ = updater.finish();
            }
        }
    }
});
