//! What goes wrong is told by its name, and ends when it ends.

use super::*;
use crate::peer::{HOLDING, ModbusPeer};

const POINT: &str = "      p: { holding: 0, type: u16 }\n";
const FAST: &str = "timeout: 300ms, retries: 0, max-backoff: 1s";

async fn gone(read: &mut Read) {
    while !matches!(read.next().await, Said::Gone { .. }) {}
}

async fn linked(read: &mut Read) {
    while !matches!(read.next().await, Said::Linked { .. }) {}
}

#[tokio::test]
async fn a_point_that_is_refused_loses_no_other() {
    let mut peer = ModbusPeer::tcp();
    peer.set(1, HOLDING, 98, &[98, 99]);
    peer.set(1, HOLDING, 200, &[200]);
    // 100 to 199 are not there, and the gap between 99 and 103 is bridged at first.
    let points = "      a: { holding: 98, type: u16 }\n      b: { holding: 99, type: u16 }\n      \
                  wrong: { holding: 103, type: u16 }\n      c: { holding: 200, type: u16 }\n      \
                  kind: { input: 150, type: u16 }\n";
    let mut read = Read::start(&one(&peer.connection(), "timeout: 5s", points));
    let told = read
        .text(
            "d",
            "wrong.fault",
            "illegal data address (Modbus exception 2)",
        )
        .await;
    assert_eq!(told, "illegal data address (Modbus exception 2)");
    read.wait("d", "a", integer(98)).await;
    read.wait("d", "b", integer(99)).await;
    read.wait("d", "c", integer(200)).await;
    read.shown(true).await;
    // Told once, and asked for less and less often.
    peer.set(1, HOLDING, 98, &[1]);
    for _ in 0..50 {
        if let Said::Sample { sample, .. } = read.next().await {
            assert_ne!(sample.name, "wrong.fault");
        }
    }
    assert_eq!(read.field.counts().faults.get(), 2, "one a point");
}

#[tokio::test]
async fn each_exception_has_its_name() {
    let mut peer = ModbusPeer::tcp();
    let mut read = Read::start(&one(
        &peer.connection(),
        "timeout: 5s, max-backoff: 1s",
        POINT,
    ));
    read.wait("d", "p", integer(0)).await;
    for (code, says) in [
        (1, "illegal function (Modbus exception 1)"),
        (3, "illegal data value (Modbus exception 3)"),
        (4, "server device failure (Modbus exception 4)"),
        (6, "server device busy (Modbus exception 6)"),
    ] {
        peer.mode(1, "exception", code);
        read.text("d", "p.fault", says).await;
    }
    peer.mode(1, "ok", 0);
    read.text("d", "p.fault", "ok").await;
    // A gateway's word about the device behind it.
    peer.mode(1, "exception", 11);
    read.text(
        "d",
        "field.status",
        "gateway target device failed to respond",
    )
    .await;
    gone(&mut read).await;
    peer.mode(1, "ok", 0);
    linked(&mut read).await;
    read.wait("d", "p", integer(0)).await;
}

#[tokio::test]
async fn a_connection_that_ends_is_made_again() {
    let mut peer = ModbusPeer::tcp();
    let mut read = Read::start(&one(&peer.connection(), FAST, POINT));
    read.wait("d", "p", integer(0)).await;
    peer.listen(false);
    read.text("d", "field.status", "connection refused").await;
    gone(&mut read).await;
    peer.listen(true);
    peer.set(1, HOLDING, 0, &[7]);
    linked(&mut read).await;
    read.wait("d", "p", integer(7)).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_asked_for_again() {
    let mut peer = ModbusPeer::tcp();
    let settings = "timeout: 2s, retries: 0, max-backoff: 1s";
    let mut read = Read::start(&one(&peer.connection(), settings, POINT));
    read.wait("d", "p", integer(0)).await;
    peer.mode(1, "close", 0);
    read.text("d", "field.status", "closed by the other side")
        .await;
    peer.mode(1, "ok", 0);
    linked(&mut read).await;
    read.wait("d", "p", integer(0)).await;
}

async fn slow(mut peer: ModbusPeer) {
    let mut read = Read::start(&one(&peer.connection(), FAST, POINT));
    read.wait("d", "p", integer(0)).await;
    peer.mode(1, "slow", 900);
    read.text("d", "field.status", "no answer within 3").await;
    gone(&mut read).await;
    // What comes too late is no answer to another question.
    peer.mode(1, "ok", 0);
    peer.set(1, HOLDING, 0, &[5]);
    linked(&mut read).await;
    read.wait("d", "p", |value| {
        assert_eq!(*value, OwnedValue::Integer(5));
        true
    })
    .await;
}

#[tokio::test]
async fn slow_answers_over_tcp() {
    slow(ModbusPeer::tcp()).await;
}

#[tokio::test]
async fn slow_answers_over_a_serial_line() {
    slow(ModbusPeer::rtu()).await;
}

async fn nonsense(mut peer: ModbusPeer) {
    let points = "      p: { holding: 0, type: u32 }\n";
    let mut read = Read::start(&one(&peer.connection(), FAST, points));
    read.wait("d", "p", integer(0)).await;
    for (mode, argument, says) in [
        ("garbage", 0, "no"),
        ("unit", 2, "not of who was asked"),
        ("function", 4, "not to function 3"),
    ] {
        peer.mode(1, mode, argument);
        let told = read.text("d", "field.status", says).await;
        assert_ne!(told, "ok", "{mode}");
        peer.mode(1, "ok", 0);
        linked(&mut read).await;
        read.wait("d", "p", integer(0)).await;
    }
    peer.mode(1, "short", 0);
    read.text("d", "p.fault", "holds 1 values, 2 were asked for")
        .await;
    peer.mode(1, "ok", 0);
    read.text("d", "p.fault", "ok").await;
}

#[tokio::test]
async fn nonsense_over_tcp() {
    nonsense(ModbusPeer::tcp()).await;
}

#[tokio::test]
async fn nonsense_over_a_serial_line() {
    nonsense(ModbusPeer::rtu()).await;
}

#[tokio::test]
async fn values_that_are_none_are_told() {
    let mut peer = ModbusPeer::tcp();
    peer.set(1, HOLDING, 0, &[0x7fc0, 0, 0x01ff, 999]);
    let points = "      nan: { holding: 0, type: f32 }\n      text: { holding: 2, type: string, length: 2 }\n      \
                  high: { holding: 3, type: u16, scale: 0.1, valid: [0, 50] }\n";
    let mut read = Read::start(&one(&peer.connection(), "timeout: 5s", points));
    read.text("d", "nan.fault", "the device gives no number")
        .await;
    read.text("d", "text.fault", "no text").await;
    let told = read.text("d", "high.fault", "99.9").await;
    assert_eq!(told, "99.9 is outside of what is valid, 0 to 50");
    peer.set(1, HOLDING, 3, &[499]);
    read.text("d", "high.fault", "ok").await;
    read.wait("d", "high", |value| *value == OwnedValue::Number(49.9))
        .await;
}

#[tokio::test]
async fn one_silent_unit_does_not_stop_the_others_of_its_line() {
    let mut peer = ModbusPeer::rtu();
    let yaml = format!(
        "version: 1\nconnections:\n  c: {{ {}, timeout: 300ms, retries: 1, max-backoff: 1h }}\ndevices:\n  \
         good: {{ connection: c, unit: 1, points: {{ p: {{ holding: 0, type: u16, every: 100ms }} }} }}\n  \
         bad: {{ connection: c, unit: 2, points: {{ p: {{ holding: 0, type: u16, every: 100ms }} }} }}\n  \
         none: {{ connection: c, unit: 99, points: {{ p: {{ holding: 0, type: u16, every: 100ms }} }} }}\n",
        peer.connection()
    );
    peer.mode(2, "silent", 0);
    let mut read = Read::start(&yaml);
    read.text("bad", "field.status", "no answer within 3").await;
    read.text("none", "field.status", "no answer within 3")
        .await;
    for n in 1..=20 {
        peer.set(1, HOLDING, 0, &[n]);
        read.wait("good", "p", integer(n.into())).await;
    }
    // Two times at first, then once after a second, two, four …
    assert!(peer.requests(2) <= 2 + 6, "{}", peer.requests(2));
    peer.mode(2, "ok", 0);
    read.wait("bad", "p", integer(0)).await;
    read.wait("good", "p", integer(20)).await;
}

#[tokio::test]
async fn noise_on_the_line_costs_no_more_than_an_answer() {
    let mut peer = ModbusPeer::rtu();
    let mut read = Read::start(&one(
        &peer.connection(),
        "timeout: 500ms, retries: 2",
        POINT,
    ));
    read.wait("d", "p", integer(0)).await;
    for n in 1..=10u16 {
        peer.noise("00ff5501030400");
        peer.set(1, HOLDING, 0, &[n]);
        read.wait("d", "p", |value| {
            let OwnedValue::Integer(given) = value else {
                panic!("{value:?}")
            };
            assert!(
                (0..=10).contains(given),
                "noise was taken for a value: {given}"
            );
            *given == i64::from(n)
        })
        .await;
    }
}

#[tokio::test]
async fn a_line_that_is_not_there_is_told_and_one_that_comes_is_read() {
    let mut peer = ModbusPeer::rtu();
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("ttyUSB0");
    let connection = format!("modbus-rtu: {}", link.display());
    let mut read = Read::start(&one(&connection, FAST, POINT));
    let told = read.text("d", "field.status", "no connection to").await;
    assert!(told.contains("there is no such file"), "{told}");
    std::os::unix::fs::symlink(peer.place(), &link).unwrap();
    peer.set(1, HOLDING, 0, &[3]);
    linked(&mut read).await;
    read.wait("d", "p", integer(3)).await;
}
