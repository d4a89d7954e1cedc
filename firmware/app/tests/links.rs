//! What may happen to a link: strangers, noise, stalls, silence.
#![allow(clippy::unwrap_used, clippy::panic)]

mod desk;
mod peer;

use desk::{Desk, config, psk};
use peer::{Heard, Peer};
use stencil_crypto::Psk;
use stencil_firmware::LinkState;
use stencil_protocol::frame::Kind;
use stencil_protocol::link::Down;

fn batches<const N: usize>(desk: &Desk<N>) -> usize {
    desk.peer
        .heard
        .iter()
        .filter(|heard| matches!(heard, Heard::Batch { .. }))
        .count()
}

#[test]
fn a_gateway_with_another_key_gets_nothing() {
    let mut desk = Desk::<4_096>::new(config());
    desk.peer = Peer::new(Psk::from_bytes([9; 32]).unwrap(), 1);
    desk.run_ms(20_000);
    assert!(desk.peer.heard.is_empty());
    assert!(desk.app.link_counters().refused >= 4);
    assert_eq!(desk.app.progress().acked.0, 0);
    // With the right key at last, nothing was lost but what did not fit.
    desk.peer = Peer::new(psk(), 1);
    desk.connect();
    desk.run_ms(2_000);
    assert!(desk.app.progress().acked.0 > 0);
}

#[test]
fn a_record_that_is_sent_again_is_dropped_and_counted() {
    let mut desk = Desk::<4_096>::new(config());
    desk.run_ms(1_000);
    let before = desk.app.link_counters();
    desk.peer.replay_last_record();
    desk.run_ms(10);
    let after = desk.app.link_counters();
    assert_eq!(after.bad_records, before.bad_records + 1);
    assert_eq!(after.handshakes, before.handshakes);
    desk.run_ms(1_000);
    assert_eq!(desk.app.link_counters().bad_records, after.bad_records);
}

#[test]
fn noise_and_forged_records_change_nothing() {
    let mut desk = Desk::<4_096>::new(config());
    desk.run_ms(500);
    let acked = desk.app.progress().acked;
    desk.peer.put(Kind::Record, &[0xaa; 60]);
    desk.peer.put(Kind::Record, &[]);
    desk.peer.put(Kind::Fragment, &[1; 20]);
    // No zero behind the noise: the one in front of the next frame ends it.
    desk.wire.0.borrow_mut().down.extend([7; 5_000]);
    desk.run_ms(50);
    let counters = desk.app.link_counters();
    assert_eq!(counters.bad_records, 2);
    assert!(counters.bad_frames >= 2, "{counters:?}");
    desk.run_ms(500);
    assert!(desk.app.progress().acked > acked);
}

#[test]
fn a_link_that_stalls_in_the_middle_of_a_frame_goes_on_there() {
    let mut desk = Desk::<4_096>::new(config());
    desk.run_ms(500);
    desk.wire.0.borrow_mut().room = Some(30);
    let poll = desk.run_ms(900);
    assert!(poll.wants_write);
    // Nothing to do but to measure until the link takes more: no idle polling.
    let now_us = desk.seen.borrow().clock_us;
    assert!(poll.next_us > now_us, "{poll:?} at {now_us}");
    let given = desk.app.progress().last_given;
    assert!(given.0 >= 13, "it measures on: {given:?}");
    desk.wire.0.borrow_mut().room = None;
    desk.run_ms(500);
    assert!(desk.app.progress().acked >= given);
    assert_eq!(desk.peer.garbage, 0);
    assert_eq!(desk.app.link_counters().handshakes, 1);
}

#[test]
fn a_gateway_that_restarted_on_the_same_line_gets_a_new_handshake() {
    let mut desk = Desk::<4_096>::new(config());
    desk.run_ms(500);
    desk.peer.forget();
    desk.run_ms(3_000);
    assert_eq!(desk.app.link_counters().handshakes, 2);
    assert!(desk.app.progress().acked.0 >= 30);
}

#[test]
fn a_silent_gateway_gets_batches_again_then_handshakes_then_the_link_is_given_up() {
    let mut desk = Desk::<4_096>::new(config());
    desk.run_ms(500);
    let sent = desk.app.counters().batches;
    desk.up_lost = true;
    let mut given_up = false;
    for _ in 0..2_000 {
        let mut seen = desk.seen.borrow_mut();
        seen.clock_us += 10_000;
        drop(seen);
        if desk.app.poll().link == LinkState::Down {
            given_up = true;
            break;
        }
    }
    assert!(given_up);
    assert!(desk.app.take_link().is_some());
    assert!(desk.app.counters().batches >= sent + 4);
    assert!(desk.app.link_counters().refused >= 4);
}

#[test]
fn a_link_that_takes_nothing_any_more_is_given_up() {
    let mut desk = Desk::<4_096>::new(config());
    desk.run_ms(500);
    desk.wire.0.borrow_mut().room = Some(0);
    for _ in 0..3_000 {
        desk.seen.borrow_mut().clock_us += 10_000;
        if desk.app.poll().link == LinkState::Down {
            return;
        }
    }
    panic!("the link is still held: {:?}", desk.app.link_counters());
}

#[test]
fn a_closed_link_is_noticed() {
    let mut desk = Desk::<4_096>::new(config());
    desk.run_ms(500);
    desk.wire.0.borrow_mut().closed = true;
    assert_eq!(desk.app.poll().link, LinkState::Down);
}

#[test]
fn a_refusal_that_anyone_can_forge_costs_time_but_no_sample() {
    let mut desk = Desk::<4_096>::new(config());
    for _ in 0..6 {
        desk.run_ms(700);
        desk.peer.put(Kind::Refused, &[1]);
    }
    desk.run_ms(3_000);
    desk.app.set_measuring(false);
    desk.run_ms(2_000);
    let progress = desk.app.progress();
    assert!(progress.settled);
    assert_eq!(desk.app.counters().dropped_samples, 0);
    assert!(batches(&desk) > 0);
}

#[test]
fn a_quiet_link_is_kept_open() {
    let mut desk = Desk::<4_096>::new(config());
    desk.app.set_measuring(false);
    desk.run_ms(16_000);
    let pings = desk
        .peer
        .heard
        .iter()
        .filter(|heard| **heard == Heard::Ping)
        .count();
    assert_eq!(pings, 4, "one to confirm the handshake, then one in 5 s");
}

#[test]
fn a_time_that_cannot_be_is_ignored() {
    let mut desk = Desk::<4_096>::new(config());
    desk.peer.tells_time = false;
    desk.run_ms(100);
    desk.peer.send(&Down::Time { now_us: 0 });
    desk.run_ms(500);
    assert_eq!(batches(&desk), 0);
}
