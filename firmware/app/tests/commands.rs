//! Commands: carried out once, answered as often as asked.
#![allow(clippy::unwrap_used, clippy::panic)]

mod desk;
mod peer;

use desk::{DEVICE, Desk, EPOCH_US, config};
use peer::Heard;
use stencil_protocol::command::{Command, State};
use stencil_protocol::id::{CommandId, DeviceId};
use stencil_protocol::link::Down;

const ID: CommandId = CommandId([5; 16]);

fn offer<const N: usize>(desk: &mut Desk<N>, device: &str, name: &str, expires_ms: i64) {
    let expires_us = EPOCH_US + desk.wall_us + expires_ms * 1_000;
    let device = DeviceId::parse(device).unwrap();
    desk.peer.send(&Down::Command(Command {
        id: ID,
        device,
        name,
        argument: None,
        expires_us,
    }));
    desk.run_ms(200);
}

fn told<const N: usize>(desk: &Desk<N>) -> Vec<State> {
    let states = desk.peer.heard.iter().filter_map(|heard| match heard {
        Heard::Status { state, .. } => Some(*state),
        _ => None,
    });
    states.collect()
}

fn ready() -> Desk<4_096> {
    let mut desk = Desk::new(config());
    desk.run_ms(300);
    desk
}

#[test]
fn is_acknowledged_then_done() {
    let mut desk = ready();
    offer(&mut desk, DEVICE, "lock", 10_000);
    assert_eq!(desk.seen.borrow().executed, [(ID, "lock".to_owned())]);
    assert_eq!(told(&desk), [State::Acknowledged, State::Done]);
    assert!(desk.app.progress().unconfirmed_commands == 0);
}

#[test]
fn a_failure_says_why() {
    let mut desk = ready();
    offer(&mut desk, DEVICE, "jam", 10_000);
    assert_eq!(told(&desk), [State::Acknowledged, State::Failed]);
    let detail = desk.peer.heard.iter().find_map(|heard| match heard {
        Heard::Status { detail, .. } => detail.clone(),
        _ => None,
    });
    assert_eq!(detail.as_deref(), Some("the bolt is jammed"));
}

#[test]
fn is_not_carried_out_again_after_a_reset_but_answered() {
    let mut desk = ready();
    offer(&mut desk, DEVICE, "lock", 60_000);
    desk.reboot();
    desk.run_ms(300);
    desk.peer.heard.clear();
    offer(&mut desk, DEVICE, "lock", 60_000);
    assert_eq!(desk.seen.borrow().executed.len(), 1);
    assert_eq!(told(&desk), [State::Done]);
    assert_eq!(desk.app.counters().commands_repeated, 1);
}

#[test]
fn is_told_again_until_it_is_confirmed_also_after_a_reset() {
    let mut desk = ready();
    desk.peer.acknowledges = false;
    offer(&mut desk, DEVICE, "lock", 60_000);
    desk.run_ms(1_000);
    assert!(told(&desk).len() >= 4);
    desk.reboot();
    desk.peer.heard.clear();
    desk.run_ms(300);
    assert_eq!(told(&desk), [State::Acknowledged, State::Done]);
    desk.peer.acknowledges = true;
    desk.run_ms(1_000);
    assert_eq!(desk.app.progress().unconfirmed_commands, 0);
}

#[test]
fn comes_too_late() {
    let mut desk = ready();
    offer(&mut desk, DEVICE, "lock", -1);
    assert!(desk.seen.borrow().executed.is_empty());
    assert_eq!(told(&desk), [State::Expired]);
}

#[test]
fn another_devices_command_is_left_alone() {
    let mut desk = ready();
    offer(&mut desk, "lock-08", "lock", 10_000);
    assert!(desk.seen.borrow().executed.is_empty());
    assert!(told(&desk).is_empty());
    assert_eq!(desk.app.counters().commands_refused, 1);
}

#[test]
fn waits_until_the_time_is_known() {
    let mut desk = Desk::<4_096>::new(config());
    desk.peer.tells_time = false;
    desk.run_ms(300);
    offer(&mut desk, DEVICE, "lock", 10_000);
    assert!(desk.seen.borrow().executed.is_empty());
    assert_eq!(desk.app.counters().commands_refused, 1);
}
