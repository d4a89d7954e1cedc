//! Whatever flash holds: no panic, and nothing is started but a signed image.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use proptest::prelude::*;
use stencil_boot::Updater;
use stencil_boot::model::Nor;
use support::{Package, boot, config, layout, package, program};

type Flash = Nor<4, 512>;

fn packages() -> &'static [Package; 2] {
    static PACKAGES: std::sync::OnceLock<[Package; 2]> = std::sync::OnceLock::new();
    PACKAGES.get_or_init(|| [package(3, 400), package(4, 500)])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Two good images and a journal, then bytes are changed anywhere.
    #[test]
    fn a_spoilt_device_starts_a_whole_image_or_none(
        changes in proptest::collection::vec((0_usize..7168, any::<u8>()), 1..40),
        with_journal: bool,
    ) {
        let layout = layout(512, 1, 6);
        let config = config(layout);
        let mut flash = Flash::new(14, 7);
        for (package, at) in packages().iter().zip(layout.slots) {
            program(&mut flash, at, package);
        }
        if with_journal {
            boot(&mut flash, &config).unwrap();
        }
        for (at, value) in changes {
            flash.bytes_mut()[at] = value;
        }
        for _ in 0..5 {
            let Ok((started, loaded)) = boot(&mut flash, &config) else {
                break;
            };
            let package = packages().iter().find(|p| p.header == started.header).unwrap();
            prop_assert_eq!(&loaded, &package.image);
            let mut updater = Updater::open(&mut flash, config).unwrap();
            let _ = updater.offer(&packages()[1].offered);
        }
    }

    /// A journal of well-formed records whose fields are arbitrary.
    #[test]
    fn an_arbitrary_journal_never_starts_a_half_written_image(
        bodies in proptest::collection::vec(any::<[u8; 52]>(), 1..16),
        phases in proptest::collection::vec((0_u8..8, 0_u8..8), 16),
        damaged in 0_usize..500,
    ) {
        use sha2::Digest as _;
        let layout = layout(512, 1, 6);
        let config = config(layout);
        let mut flash = Flash::new(14, 7);
        program(&mut flash, layout.slots[0], &packages()[0]);
        program(&mut flash, layout.slots[1], &packages()[1]);
        let spoilt = layout.slots[1] as usize + 2048 + damaged;
        flash.bytes_mut()[spoilt] ^= 1;
        for (place, body) in bodies.iter().enumerate() {
            let mut record = vec![b'S', b'J', 1, 0];
            record.extend_from_slice(body);
            (record[16], record[36]) = phases[place];
            let check = sha2::Sha256::digest(&record);
            record.extend_from_slice(&check[..8]);
            flash.bytes_mut()[64 * place..][..64].copy_from_slice(&record);
        }
        if let Ok((started, loaded)) = boot(&mut flash, &config) {
            prop_assert_eq!(started.slot, 0);
            prop_assert_eq!(loaded, packages()[0].image.clone());
        }
    }
}
