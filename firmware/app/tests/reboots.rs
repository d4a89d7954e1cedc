//! Boots are reported, one after the other, however many wait.
#![allow(clippy::unwrap_used, clippy::panic)]

mod desk;
mod peer;

use std::collections::BTreeSet;

use desk::{Desk, config};
use peer::Heard;
use stencil_protocol::batch::DropReason;
use stencil_protocol::id::{Boot, Seq};

fn explained(heard: &[Heard]) -> BTreeSet<(Boot, u64)> {
    let mut numbers = BTreeSet::new();
    for heard in heard {
        let Heard::Batch { header, samples } = heard else {
            continue;
        };
        numbers.extend(samples.iter().map(|(seq, _)| (header.boot, seq.0)));
        for dropped in &header.dropped {
            assert_eq!(dropped.reason, DropReason::Reboot);
            numbers.extend((dropped.first.0..=dropped.last().0).map(|seq| (header.boot, seq)));
        }
        if let Some(previous) = header.previous {
            let lost = previous.acked.0 + 1..=previous.last.0;
            numbers.extend(lost.map(|seq| (previous.boot, seq)));
        }
    }
    numbers
}

#[test]
fn twenty_boots_without_a_gateway_are_all_accounted_for() {
    let mut desk = Desk::<8_192>::new(config());
    let first = desk.app.progress().boot;
    desk.up_lost = true;
    for _ in 0..20 {
        desk.run_ms(500);
        desk.reboot();
    }
    // Eight boots wait to be reported; the ninth goes on with its numbers.
    assert_eq!(desk.app.progress().boot, Boot(first.0 + 8));
    desk.up_lost = false;
    desk.run_ms(5_000);
    desk.app.set_measuring(false);
    desk.run_ms(5_000);
    assert!(desk.app.progress().settled, "{:?}", desk.app.progress());
    let given: BTreeSet<_> = desk
        .seen
        .borrow()
        .given
        .iter()
        .map(|(boot, seq, ..)| (*boot, seq.0))
        .collect();
    assert_eq!(explained(&desk.peer.heard), given);
}

#[test]
fn a_report_alone_is_told_without_samples() {
    let mut desk = Desk::<8_192>::new(config());
    let first = desk.app.progress().boot;
    desk.run_ms(1_000);
    desk.reboot();
    desk.app.set_measuring(false);
    desk.run_ms(1_000);
    assert!(desk.app.progress().settled);
    let last = desk.peer.heard.iter().rev().find_map(|heard| match heard {
        Heard::Batch { header, samples } => Some((header.clone(), samples.len())),
        _ => None,
    });
    let (header, samples) = last.unwrap();
    assert_eq!((header.boot, samples), (Boot(first.0 + 1), 0));
    assert_eq!(header.previous.map(|previous| previous.boot), Some(first));
}

#[test]
fn answers_that_were_lost_before_do_not_confirm_a_report_and_do_not_block_it() {
    let mut desk = Desk::<8_192>::new(config());
    desk.run_ms(1_000);
    desk.reboot();
    desk.run_ms(300);
    // Some answers get lost on a link that stays.
    desk.down_lost = true;
    desk.run_ms(900);
    desk.down_lost = false;
    desk.run_ms(1_000);
    desk.app.set_measuring(false);
    desk.run_ms(10_000);
    assert!(desk.app.progress().settled, "{:?}", desk.app.progress());
    assert_eq!(desk.app.progress().last_given, desk.app.progress().acked);
    assert!(desk.app.progress().acked > Seq(0));
}

#[test]
fn a_reset_before_the_time_is_known_loses_no_number() {
    let mut desk = Desk::<8_192>::new(config());
    desk.peer.tells_time = false;
    desk.run_ms(700);
    assert!(
        desk.peer
            .heard
            .iter()
            .all(|heard| !matches!(heard, Heard::Batch { .. }))
    );
    desk.reboot();
    desk.peer.tells_time = true;
    desk.run_ms(3_000);
    let given: BTreeSet<_> = desk
        .seen
        .borrow()
        .given
        .iter()
        .map(|(boot, seq, ..)| (*boot, seq.0))
        .collect();
    desk.app.set_measuring(false);
    desk.run_ms(3_000);
    assert_eq!(explained(&desk.peer.heard), given);
}

#[test]
fn no_number_is_given_again_after_retained_memory_was_lost() {
    let mut desk = Desk::<8_192>::new(config());
    for _ in 0..10 {
        desk.run_ms(500);
        desk.reboot();
        desk.run_ms(500);
        desk.lose_memory();
    }
    desk.run_ms(500);
    let seen = desk.seen.borrow();
    let numbers: BTreeSet<_> = seen
        .given
        .iter()
        .map(|(boot, seq, ..)| (*boot, seq.0))
        .collect();
    assert!(seen.given.len() > 50);
    assert_eq!(numbers.len(), seen.given.len());
    // Each of the eleven lives counts up from a number that it drew.
    let boots: BTreeSet<u32> = numbers.iter().map(|(boot, _)| boot.0).collect();
    let firsts = boots.iter().filter(|boot| !boots.contains(&(*boot - 1)));
    assert_eq!((boots.len(), firsts.count()), (21, 11));
    assert!(boots.iter().all(|boot| (1..=(1 << 30) + 1).contains(boot)));
}
