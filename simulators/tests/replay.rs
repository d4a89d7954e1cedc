//! The recording arrives whole and in order, with its own timestamps.
#![allow(clippy::unwrap_used, clippy::panic)]

mod gateway;

use std::path::Path;

use gateway::{Gateway, enrol};
use stencil_protocol::id::DeviceId;
use stencil_protocol::sample::OwnedValue;
use stencil_simulators::replay::{self, Options, Recording};
use stencil_simulators::{Reconnect, journal};
use tokio::sync::watch;

fn options(dir: &Path, gateway: &Gateway) -> Options {
    let psk_dir = dir.join("psk");
    let device = DeviceId::parse("machine-01").unwrap();
    if !psk_dir.join("machine-01.psk").exists() {
        enrol(&psk_dir, [&device]);
    }
    Options {
        state_dir: dir.join("state"),
        journal_dir: dir.join("journal"),
        psk_dir,
        gateway: gateway.address.to_string(),
        reconnect: Reconnect {
            initial_ms: 10,
            max_ms: 100,
            timeout_ms: 1_000,
        },
        stay: false,
        ..Options::default()
    }
}

fn arrived(gateway: &Gateway) -> Vec<(i64, f64)> {
    let notes = gateway.notes.lock().unwrap();
    let values = notes.stored.values().map(|sample| match sample.value {
        OwnedValue::Number(value) => (sample.time_us, value),
        _ => panic!("a number"),
    });
    values.collect()
}

fn recorded() -> Vec<(i64, f64)> {
    let recording = Recording::open(Path::new("")).unwrap();
    recording
        .points()
        .iter()
        .map(|point| (point.time_us, point.value))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_value_arrives_once_and_the_replay_ends() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&dir.path().join("psk")).await;
    let (_stop, stopped) = watch::channel(false);
    let outcome = replay::run(options(dir.path(), &gateway), stopped)
        .await
        .unwrap();
    assert_eq!((outcome.given, outcome.unsettled.len()), (22_695, 0));
    assert_eq!(arrived(&gateway), recorded());
    gateway.reconcile(&journal::read(dir.path().join("journal")).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_on_after_a_restart_with_what_was_not_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let psk_dir = dir.path().join("psk");
    let mut gateway = Gateway::start(&psk_dir).await;
    for round in 1..=3 {
        let (stop, stopped) = watch::channel(false);
        let options = Options {
            drain_s: 0.0,
            ..options(dir.path(), &gateway)
        };
        let running = tokio::spawn(replay::run(options, stopped));
        gateway
            .until("a part", |notes| notes.stored.len() > round * 3_000)
            .await;
        // In the middle: the link dies with the replay's process.
        gateway.kill().await;
        stop.send(true).unwrap();
        running.await.unwrap().unwrap();
        gateway = gateway.restart(&psk_dir).await;
    }
    let (_stop, stopped) = watch::channel(false);
    let outcome = replay::run(options(dir.path(), &gateway), stopped)
        .await
        .unwrap();
    assert!(outcome.unsettled.is_empty());
    gateway.reconcile(&journal::read(dir.path().join("journal")).unwrap());
    // Values that were given twice were given with the same time.
    let sorted = |mut values: Vec<(i64, f64)>| {
        values.sort_by(|a, b| a.partial_cmp(b).unwrap());
        values.dedup();
        values
    };
    assert_eq!(sorted(arrived(&gateway)), sorted(recorded()));
    // What had arrived but was not acknowledged when a process died is given again: at most one
    // batch a round.
    let again = 3 * stencil_protocol::batch::MAX_SAMPLES as u64;
    assert!(
        outcome.given < 22_695 - 9_000 + again,
        "it began anew: {}",
        outcome.given
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_to_its_speed() {
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("r.csv");
    let rows =
        "timestamp,value\n2024-01-01 00:00:00,1\n2024-01-01 00:00:10,2\n2024-01-01 01:00:00,3\n";
    std::fs::write(&recording, rows).unwrap();
    let gateway = Gateway::start(&dir.path().join("psk")).await;
    // 10 s are 0.1 s, the hour would be 36 s.
    let options = Options {
        recording,
        speed: 100.0,
        ..options(dir.path(), &gateway)
    };
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(replay::run(options, stopped));
    gateway.until("two", |notes| notes.stored.len() == 2).await;
    stop.send(true).unwrap();
    assert_eq!(running.await.unwrap().unwrap().given, 2);
}

#[tokio::test]
async fn a_wrong_setting_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&dir.path().join("psk")).await;
    let good = options(dir.path(), &gateway);
    for (options, name) in [
        (
            Options {
                device: "a/b".into(),
                ..good.clone()
            },
            "`device`",
        ),
        (
            Options {
                speed: -1.0,
                ..good.clone()
            },
            "`speed`",
        ),
        (
            Options {
                name: String::new(),
                ..good.clone()
            },
            "`name`",
        ),
        (
            Options {
                recording: "missing.csv".into(),
                ..good.clone()
            },
            "missing.csv",
        ),
    ] {
        let (_stop, stopped) = watch::channel(false);
        let error = replay::run(options, stopped).await.unwrap_err().to_string();
        assert!(error.starts_with(name), "{error}");
    }
}
