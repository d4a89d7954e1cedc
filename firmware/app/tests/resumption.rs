//! A device that slept takes its session up again, and agrees on fresh keys when it is time.
#![allow(clippy::unwrap_used, clippy::panic)]

mod desk;
mod peer;

use desk::{Desk, config};
use peer::Heard;
use stencil_firmware::State;

fn begun<const N: usize>(desk: &Desk<N>) -> Vec<&'static str> {
    let of = |heard: &Heard| match heard {
        Heard::Hello(_) => Some("fresh"),
        Heard::Resume(_) => Some("resumed"),
        _ => None,
    };
    desk.peer.heard.iter().filter_map(of).collect()
}

fn generation<const N: usize>(desk: &Desk<N>) -> Option<u32> {
    let state = State::decode(&desk.seen.borrow().retained).unwrap();
    state.kept.map(|kept| kept.resumption.generation())
}

#[test]
fn after_a_reset_and_after_a_lost_link() {
    let mut desk = Desk::<4_096>::new(config());
    desk.run_ms(500);
    assert_eq!(generation(&desk), Some(0));
    desk.reboot();
    desk.run_ms(500);
    desk.connect();
    desk.run_ms(500);
    assert_eq!(begun(&desk), ["fresh", "resumed", "resumed"]);
    assert_eq!(generation(&desk), Some(2));
    assert_eq!(desk.peer.kept.as_ref().unwrap().generation(), 2);
    let counters = desk.app.link_counters();
    assert_eq!(
        (counters.handshakes, counters.resumed, counters.refused),
        (2, 2, 0)
    );
    desk.app.set_measuring(false);
    desk.run_ms(500);
    assert!(desk.app.progress().settled);
}

#[test]
fn fresh_keys_after_so_many_resumptions() {
    let mut config = config();
    config.max_resumptions = 2;
    let mut desk = Desk::<4_096>::new(config);
    desk.run_ms(300);
    for _ in 0..6 {
        desk.reboot();
        desk.run_ms(300);
    }
    let expected = [
        "fresh", "resumed", "resumed", "fresh", "resumed", "resumed", "fresh",
    ];
    assert_eq!(begun(&desk), expected);
}

#[test]
fn fresh_keys_after_so_long_on_a_link_that_lasts_and_across_resets() {
    let mut config = config();
    config.fresh_keys_us = 3_000_000;
    let mut desk = Desk::<4_096>::new(config);
    desk.run_ms(2_000);
    desk.reboot();
    desk.run_ms(500);
    assert_eq!(begun(&desk), ["fresh", "resumed"]);
    desk.run_ms(1_500);
    assert_eq!(begun(&desk), ["fresh", "resumed", "fresh"]);
    desk.run_ms(3_000);
    assert_eq!(begun(&desk), ["fresh", "resumed", "fresh", "fresh"]);
    desk.app.set_measuring(false);
    desk.run_ms(500);
    assert!(desk.app.progress().settled);
}

#[test]
fn a_gateway_that_forgot_gets_a_handshake_at_once() {
    let mut desk = Desk::<4_096>::new(config());
    desk.run_ms(500);
    desk.peer.forgetful = true;
    desk.reboot();
    desk.run_ms(200);
    assert_eq!(begun(&desk), ["fresh", "fresh"]);
    assert!(desk.peer.is_up());
    desk.peer.forgetful = false;
    desk.reboot();
    desk.run_ms(200);
    assert_eq!(begun(&desk), ["fresh", "fresh", "resumed"]);
}

#[test]
fn a_reset_before_the_first_record_locks_nobody_out() {
    let mut desk = Desk::<4_096>::new(config());
    desk.run_ms(500);
    for _ in 0..10 {
        // The answer comes, and nothing of the device's after it.
        desk.reboot();
        for _ in 0..20 {
            if desk.app.link_counters().handshakes > 0 {
                break;
            }
            desk.seen.borrow_mut().clock_us += 10_000;
            desk.peer.now_us += 10_000;
            desk.app.poll();
            let up: Vec<u8> = desk.wire.0.borrow_mut().up.drain(..).collect();
            if desk.app.link_counters().handshakes == 0 {
                desk.peer.feed(&up);
            }
            let down = desk.peer.take_out();
            desk.wire.0.borrow_mut().down.extend(down);
        }
        assert_eq!(desk.app.link_counters().resumed, 1);
    }
    assert_eq!(generation(&desk), Some(10));
    assert_eq!(
        desk.peer.kept.as_ref().unwrap().generation(),
        9,
        "it heard of none"
    );
    desk.reboot();
    desk.run_ms(300);
    assert!(desk.peer.is_up());
    assert_eq!(desk.peer.kept.as_ref().unwrap().generation(), 11);
    assert!(begun(&desk)[1..].iter().all(|how| *how == "resumed"));
}

#[test]
fn a_device_without_retained_memory_makes_a_handshake_each_time() {
    let mut desk = Desk::<4_096>::new(config());
    desk.run_ms(300);
    desk.lose_memory();
    desk.run_ms(300);
    assert_eq!(begun(&desk), ["fresh", "fresh"]);
}
