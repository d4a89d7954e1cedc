//! A device is given another key over the link.
#![allow(clippy::unwrap_used, clippy::panic)]

mod desk;
mod peer;

use desk::{Desk, config, psk};
use peer::Heard;
use stencil_crypto::Psk;
use stencil_firmware::State;
use stencil_firmware::retained::Keys;
use stencil_protocol::link::{Down, Secret};

fn key(byte: u8) -> Psk {
    Psk::from_bytes([byte; 32]).unwrap()
}

fn begun<const N: usize>(desk: &Desk<N>) -> Vec<&'static str> {
    let of = |heard: &Heard| match heard {
        Heard::Hello(_) => Some("fresh"),
        Heard::Resume(_) => Some("resumed"),
        _ => None,
    };
    desk.peer.heard.iter().filter_map(of).collect()
}

fn keys<const N: usize>(desk: &Desk<N>) -> Option<Keys> {
    State::decode(&desk.seen.borrow().retained).unwrap().keys
}

/// The generations of the key in force and of the one that waits.
fn generations<const N: usize>(desk: &Desk<N>) -> (Option<u64>, Option<u64>) {
    keys(desk).map_or((None, None), |keys| {
        let of = |given: Option<stencil_firmware::retained::Given>| given.map(|g| g.generation);
        (of(keys.in_force), of(keys.next))
    })
}

fn give<const N: usize>(desk: &mut Desk<N>, generation: u64, byte: u8) {
    desk.peer.send(&Down::Key {
        generation,
        key: Secret([byte; 32]),
    });
}

fn settles<const N: usize>(desk: &mut Desk<N>) {
    desk.app.set_measuring(false);
    desk.run_ms(2_000);
    assert!(desk.app.progress().settled);
}

#[test]
fn a_session_comes_of_the_new_key_at_once_and_the_old_one_is_dropped() {
    let mut desk = Desk::<4_096>::new(config());
    desk.run_ms(500);
    for (generation, byte) in [(2, 0xb2), (3, 0xb3)] {
        desk.peer.other = Some(key(byte));
        give(&mut desk, generation, byte);
        desk.run_ms(500);
        assert_eq!(generations(&desk), (Some(generation), None));
        desk.peer.psk = key(byte);
        desk.peer.other = None;
        // Told again, as on each new link.
        give(&mut desk, generation, byte);
        desk.run_ms(500);
    }
    assert_eq!(begun(&desk), ["fresh", "fresh", "fresh"]);
    desk.reboot();
    desk.run_ms(500);
    desk.peer.forgetful = true;
    desk.reboot();
    desk.run_ms(500);
    assert_eq!(begun(&desk)[3..], ["resumed", "fresh"]);
    settles(&mut desk);
}

#[test]
fn who_knows_the_old_key_is_not_the_gateway_any_more() {
    let mut desk = Desk::<4_096>::new(config());
    desk.run_ms(500);
    desk.peer.other = Some(key(0xb2));
    give(&mut desk, 2, 0xb2);
    desk.run_ms(500);
    desk.peer.other = None;
    desk.peer.forgetful = true;
    desk.reboot();
    desk.run_ms(60_000);
    assert_eq!(begun(&desk), ["fresh", "fresh"]);
    assert!(!desk.peer.is_up());
}

#[test]
fn the_old_key_holds_while_the_gateway_refuses_the_new_one() {
    let mut desk = Desk::<4_096>::new(config());
    desk.run_ms(500);
    give(&mut desk, 2, 0xb2);
    desk.run_ms(2_000);
    assert_eq!(begun(&desk), ["fresh", "fresh"]);
    assert!(desk.peer.is_up());
    assert_eq!(generations(&desk), (None, Some(2)));
    give(&mut desk, 2, 0xb2);
    desk.run_ms(2_000);
    assert_eq!(
        begun(&desk),
        ["fresh", "fresh"],
        "it does not go round in circles"
    );
    // Another one in its place.
    desk.peer.other = Some(key(0xb3));
    give(&mut desk, 3, 0xb3);
    desk.run_ms(500);
    assert_eq!(generations(&desk), (Some(3), None));
    settles(&mut desk);
}

#[test]
fn a_reset_in_the_middle_loses_neither_key() {
    let mut desk = Desk::<4_096>::new(config());
    desk.run_ms(500);
    give(&mut desk, 2, 0xb2);
    let down = desk.peer.take_out();
    desk.wire.0.borrow_mut().down.extend(down);
    desk.app.poll();
    assert_eq!(generations(&desk), (None, Some(2)));
    desk.peer.other = Some(key(0xb2));
    desk.reboot();
    desk.run_ms(500);
    assert_eq!(generations(&desk), (Some(2), None));
    assert_eq!(keys(&desk).unwrap().instead_of, psk());
    settles(&mut desk);
}

#[test]
fn a_device_that_is_provisioned_anew_forgets_what_it_was_given() {
    let mut desk = Desk::<4_096>::new(config());
    desk.run_ms(500);
    desk.peer.other = Some(key(0xb2));
    give(&mut desk, 2, 0xb2);
    desk.run_ms(500);
    desk.config.psk = key(0xc1);
    desk.peer.psk = key(0xc1);
    desk.peer.other = None;
    desk.reboot();
    desk.run_ms(500);
    assert!(desk.peer.is_up());
    assert_eq!(keys(&desk), None);
    settles(&mut desk);
}
