//! What is taken, started, given up and refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use stencil_boot::model::Nor;
use stencil_boot::state::Phase;
use stencil_boot::{Config, Error, Updater};
use stencil_update::Refusal;
use stencil_update::id::Id;
use support::{Maker, Package, boot, config, header, image, layout, maker, package, program, send};

type Flash = Nor<4, 1024>;

const BLOCKS: usize = 12;

/// A device that runs version 1, confirmed, from slot 0.
fn device() -> (Flash, Config, Package) {
    let layout = layout(1024, 1, 5);
    let config = config(layout);
    let mut flash = Flash::new(BLOCKS, 1);
    let old = package(5, 1500);
    program(&mut flash, layout.slots[0], &old);
    let (started, loaded) = boot(&mut flash, &config).unwrap();
    assert_eq!((started.slot, started.trial), (0, 0));
    assert_eq!(loaded, old.image);
    (flash, config, old)
}

fn install(
    flash: &mut Flash,
    config: &Config,
    package: &Package,
) -> Result<u32, Error<stencil_boot::model::Fault>> {
    let mut updater = Updater::open(flash, *config)?;
    send(&mut updater, package, 128, &mut 0)
}

fn refusal(result: Result<u32, Error<stencil_boot::model::Fault>>) -> Refusal {
    match result {
        Err(Error::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_update_is_tried_confirmed_and_stays() {
    let (mut flash, config, _) = device();
    let new = package(6, 3000);
    assert_eq!(install(&mut flash, &config, &new).unwrap(), 0);
    let (started, loaded) = boot(&mut flash, &config).unwrap();
    assert_eq!((started.slot, started.trial), (1, 1));
    assert_eq!(loaded, new.image);
    let mut updater = Updater::open(&mut flash, config).unwrap();
    assert!(!updater.running().unwrap().confirmed);
    updater.confirm().unwrap();
    updater.confirm().unwrap();
    assert!(updater.running().unwrap().confirmed);
    assert_eq!(updater.state().confirmed, 6);
    for _ in 0..5 {
        let (started, _) = boot(&mut flash, &config).unwrap();
        assert_eq!((started.slot, started.trial), (1, 0));
    }
    // And back into the first slot.
    install(&mut flash, &config, &package(7, 100)).unwrap();
    assert_eq!(boot(&mut flash, &config).unwrap().0.slot, 0);
}

#[test]
fn an_image_that_does_not_confirm_itself_is_given_up() {
    let (mut flash, config, old) = device();
    let new = package(6, 800);
    install(&mut flash, &config, &new).unwrap();
    for trial in 1..=3 {
        let (started, _) = boot(&mut flash, &config).unwrap();
        assert_eq!((started.slot, started.trial), (1, trial));
        // While it is tried, what the loader falls back to stays as it is.
        let other = package(8, 10);
        let mut updater = Updater::open(&mut flash, config).unwrap();
        assert_eq!(updater.offer(&other.offered), Err(Error::Unconfirmed));
    }
    for _ in 0..2 {
        let (started, loaded) = boot(&mut flash, &config).unwrap();
        assert_eq!((started.slot, started.trial), (0, 0));
        assert_eq!(loaded, old.image);
    }
    let updater = Updater::open(&mut flash, config).unwrap();
    assert_eq!(updater.state().slots[1].phase, Phase::Bad);
    // The same image is not taken again; a newer one is.
    assert_eq!(
        refusal(install(&mut flash, &config, &new)),
        Refusal::KnownBad
    );
    install(&mut flash, &config, &package(7, 800)).unwrap();
    assert_eq!(boot(&mut flash, &config).unwrap().0.header.sequence, 7);
}

#[test]
fn what_is_not_for_the_device_is_refused_before_a_byte_is_written() {
    let (mut flash, config, old) = device();
    let content = image(9, 700);
    let good = header(9, &content);
    let foreign = stencil_update::Header {
        vendor: Id([1; 16]),
        ..good
    };
    let other = stencil_update::Header {
        class: Id([1; 16]),
        ..good
    };
    let before = flash.steps();
    for (header, code) in [(foreign, 2), (other, 3)] {
        let package = maker().package(&header, &content);
        assert_eq!(refusal(install(&mut flash, &config, &package)).code(), code);
    }
    assert_eq!(
        refusal(install(&mut flash, &config, &old)),
        Refusal::Old {
            given: 5,
            confirmed: 5
        }
    );
    let large = package(9, 3 * 1024 + 1);
    assert_eq!(
        refusal(install(&mut flash, &config, &large)),
        Refusal::Oversized {
            size: 3 * 1024 + 1,
            max: 3 * 1024
        }
    );
    let mut updater = Updater::open(&mut flash, config).unwrap();
    let mut garbled = large.offered;
    garbled[0] ^= 1;
    assert!(matches!(
        updater.offer(&garbled),
        Err(Error::Refused(Refusal::Header(_)))
    ));
    assert_eq!(flash.steps(), before, "something was written");
    // Exactly as large as fits.
    install(&mut flash, &config, &package(9, 3 * 1024)).unwrap();
    assert_eq!(boot(&mut flash, &config).unwrap().0.slot, 1);
}

#[test]
fn a_signature_of_another_key_is_refused_before_the_image_comes() {
    let (mut flash, config, old) = device();
    let content = image(6, 3000);
    let forged = Maker::new([6; 32]).package(&header(6, &content), &content);
    let mut updater = Updater::open(&mut flash, config).unwrap();
    let mut sent = 0;
    let result = send(&mut updater, &forged, 128, &mut sent);
    assert_eq!(refusal(result), Refusal::Signature);
    assert!(sent < 2048, "{sent} bytes were taken");
    assert_eq!(updater.state().slots[1].phase, Phase::Empty);
    assert_eq!(boot(&mut flash, &config).unwrap().1, old.image);
    // The right one is taken afterwards, though its header is the same.
    let good = maker().package(&header(6, &content), &content);
    install(&mut flash, &config, &good).unwrap();
    assert_eq!(boot(&mut flash, &config).unwrap().1, content);
}

#[test]
fn an_image_that_changed_or_is_cut_short_is_never_started() {
    let (mut flash, config, old) = device();
    let good = package(6, 3000);
    let mut changed = good.clone();
    changed.bytes[4000] ^= 4;
    assert_eq!(
        refusal(install(&mut flash, &config, &changed)),
        Refusal::Digest
    );
    let mut short = good.clone();
    short.bytes.truncate(4096);
    assert_eq!(
        refusal(install(&mut flash, &config, &short)),
        Refusal::Truncated {
            have: 4096,
            size: 5048
        }
    );
    assert_eq!(boot(&mut flash, &config).unwrap().1, old.image);
    install(&mut flash, &config, &good).unwrap();
    assert_eq!(boot(&mut flash, &config).unwrap().1, good.image);
}

#[test]
fn a_header_other_than_the_offered_one_is_refused() {
    let (mut flash, config, old) = device();
    // Signed by the right key, but not what was agreed on.
    let mut swapped = package(6, 3000);
    swapped.bytes = package(8, 3000).bytes;
    let mut sent = 0;
    let mut updater = Updater::open(&mut flash, config).unwrap();
    let result = send(&mut updater, &swapped, 128, &mut sent);
    assert_eq!(refusal(result), Refusal::Signature);
    assert!(sent < 2048, "{sent} bytes were taken");
    assert_eq!(boot(&mut flash, &config).unwrap().1, old.image);
}

#[test]
fn pieces_follow_each_other_and_end_at_the_end() {
    let (mut flash, config, _) = device();
    let new = package(6, 801);
    let mut updater = Updater::open(&mut flash, config).unwrap();
    assert_eq!(updater.write(0, &[0; 4]), Err(Error::Idle));
    assert_eq!(updater.offer(&new.offered), Ok(0));
    assert_eq!(updater.write(4, &[0; 4]), Err(Error::Gap { want: 0 }));
    assert_eq!(
        updater.write(0, &new.bytes[..3]),
        Err(Error::Piece { unit: 4 })
    );
    assert_eq!(updater.write(0, &new.bytes[..2400]), Ok(2400));
    // The same offer again, as after a link that broke: on from where it is.
    assert_eq!(updater.offer(&new.offered), Ok(2400));
    let mut beyond = new.bytes[2400..].to_vec();
    beyond.push(0);
    assert_eq!(updater.write(2400, &beyond), Err(Error::Piece { unit: 4 }));
    assert_eq!(updater.write(2400, &new.bytes[2400..]), Ok(2849));
    updater.finish().unwrap();
    assert_eq!(updater.offer(&new.offered), Ok(2849));
    assert_eq!(boot(&mut flash, &config).unwrap().1, new.image);
}

#[test]
fn an_older_image_is_not_started_even_if_it_is_put_into_a_slot() {
    let (mut flash, config, old) = device();
    install(&mut flash, &config, &package(6, 800)).unwrap();
    boot(&mut flash, &config).unwrap();
    Updater::open(&mut flash, config)
        .unwrap()
        .confirm()
        .unwrap();
    // Somebody writes the old image over the confirmed one.
    program(&mut flash, config.layout.slots[1], &old);
    assert_eq!(boot(&mut flash, &config).unwrap_err(), Error::NoImage);
}

#[test]
fn without_a_journal_the_images_speak_for_themselves() {
    let layout = layout(1024, 1, 5);
    let config = config(layout);
    let (old, new) = (package(5, 900), package(6, 900));
    for (first, second, expected) in [
        (Some(&old), None, 5),
        (None, Some(&new), 6),
        // The newer one on trial, the older one to fall back to.
        (Some(&old), Some(&new), 6),
        (Some(&new), Some(&old), 6),
        (Some(&old), Some(&old), 5),
    ] {
        let mut flash = Flash::new(BLOCKS, 1);
        for (at, package) in [first, second].into_iter().enumerate() {
            if let Some(package) = package {
                program(&mut flash, layout.slots[at], package);
            }
        }
        let (started, _) = boot(&mut flash, &config).unwrap();
        assert_eq!(started.header.sequence, expected);
        if first.is_some() && second.is_some() && expected == 6 {
            assert_eq!(started.trial, 1);
            for _ in 0..2 {
                boot(&mut flash, &config).unwrap();
            }
            assert_eq!(boot(&mut flash, &config).unwrap().0.header.sequence, 5);
        }
    }
    let mut empty = Flash::new(BLOCKS, 1);
    assert_eq!(boot(&mut empty, &config).unwrap_err(), Error::NoImage);
}

#[test]
fn a_journal_goes_round_for_years_and_wears_evenly() {
    let (mut flash, config, _) = device();
    let mut expected = 5;
    for _ in 0..40 {
        expected += 1;
        install(&mut flash, &config, &package(expected, 64)).unwrap();
        let (started, _) = boot(&mut flash, &config).unwrap();
        assert_eq!(started.header.sequence, expected);
        Updater::open(&mut flash, config)
            .unwrap()
            .confirm()
            .unwrap();
    }
    let journal = &flash.erasures()[..2];
    assert!(
        journal[0] > 5 && journal[0].abs_diff(journal[1]) <= 1,
        "{journal:?}"
    );
}

#[test]
fn a_place_of_the_journal_that_is_spoilt_is_stepped_over() {
    let (mut flash, config, _) = device();
    // The next places, as left by cuts that wrote nothing useful.
    flash.bytes_mut()[64..64 + 200].fill(0x7f);
    install(&mut flash, &config, &package(6, 64)).unwrap();
    assert_eq!(boot(&mut flash, &config).unwrap().0.header.sequence, 6);
}

#[test]
fn a_layout_that_cannot_be_is_refused() {
    let (mut flash, config, _) = device();
    for change in [
        |c: &mut Config| c.layout.slots[1] = c.layout.slots[0] + 1024,
        |c: &mut Config| c.layout.slots[1] += 1024,
        |c: &mut Config| c.layout.slots[0] += 1,
        |c: &mut Config| c.layout.journal_half = 0,
        |c: &mut Config| c.layout.slot_bytes = 2048,
        |c: &mut Config| c.layout.journal = u32::MAX - 1023,
    ] {
        let mut wrong = config;
        change(&mut wrong);
        assert!(
            matches!(boot(&mut flash, &wrong), Err(Error::Layout(_))),
            "{wrong:?}"
        );
    }
}
