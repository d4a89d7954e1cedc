//! A fleet over real links: its books and what the gateways heard agree to the
//! last number, whatever breaks in between.
#![allow(clippy::unwrap_used, clippy::panic)]

mod gateway;

use std::path::Path;

use gateway::peer::Heard;
use gateway::{Gateway, enrol};
use stencil_protocol::command::State;
use stencil_protocol::sample::OwnedValue;
use stencil_simulators::fleet::{self, Doors, FaultKind, Faults, Options};
use stencil_simulators::{Error, Reconnect, journal};
use tokio::sync::watch;

fn options(dir: &Path, gateways: &[&Gateway]) -> Options {
    let options = Options {
        state_dir: dir.join("state"),
        journal_dir: dir.join("journal"),
        psk_dir: dir.join("psk"),
        gateways: gateways
            .iter()
            .map(|gateway| gateway.address.to_string())
            .collect(),
        freezers: 4,
        locks: 4,
        rooms: 2,
        samples_per_s: 20.0,
        speed: 600.0,
        doors: Doors {
            first_s: -1.0,
            ..Doors::default()
        },
        faults: Faults {
            first_s: -1.0,
            ..Faults::default()
        },
        reconnect: Reconnect {
            initial_ms: 10,
            max_ms: 100,
            timeout_ms: 1_000,
        },
        ..Options::default()
    };
    enrol(&options.psk_dir, &options.devices().unwrap());
    options
}

fn told_done(heard: &[(String, Heard)], lock: &str) -> bool {
    heard.iter().any(|(device, heard)| {
        device == lock
            && matches!(
                heard,
                Heard::Status {
                    state: State::Done,
                    ..
                }
            )
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_door_warms_the_freezer_until_the_lock_pulls_it_shut() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&dir.path().join("psk")).await;
    let doors = Doors {
        first_s: 1.0,
        first_freezer: 3,
        every_s: 0.0,
        open_s: 1_000.0,
    };
    let options = Options {
        doors,
        ..options(dir.path(), &[&gateway])
    };
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(fleet::run(options, stopped));
    let degrees = |notes: &gateway::Notes| match notes.latest("freezer-03", "temperature") {
        Some(sample) => match sample.value {
            OwnedValue::Number(degc) => degc,
            _ => panic!("a number"),
        },
        None => f64::NEG_INFINITY,
    };
    let bool_of = |notes: &gateway::Notes, device: &str, name: &str| {
        notes
            .latest(device, name)
            .map(|sample| sample.value == OwnedValue::Bool(true))
    };
    gateway
        .until("cold", |notes| {
            degrees(notes) > -22.0 && degrees(notes) < -18.0
        })
        .await;
    gateway
        .until("open", |notes| {
            bool_of(notes, "freezer-03", "door") == Some(true)
        })
        .await;
    gateway.until("warm", |notes| degrees(notes) > -12.0).await;
    gateway.command("lock-03", 1, "lock");
    gateway
        .until("shut", |notes| {
            bool_of(notes, "freezer-03", "door") == Some(false)
        })
        .await;
    gateway
        .until("bolted", |notes| {
            bool_of(notes, "lock-03", "bolt") == Some(true)
        })
        .await;
    gateway
        .until("told", |notes| told_done(&notes.heard, "lock-03"))
        .await;
    gateway
        .until("cold again", |notes| degrees(notes) < -15.0)
        .await;
    assert_eq!(
        bool_of(&gateway.notes.lock().unwrap(), "lock-02", "bolt"),
        Some(false)
    );

    stop.send(true).unwrap();
    let outcome = running.await.unwrap().unwrap();
    assert_eq!((outcome.devices, outcome.unsettled.len()), (10, 0));
    let journals = journal::read(dir.path().join("journal")).unwrap();
    assert_eq!(journals.count(), outcome.given);
    gateway.reconcile(&journals);
    assert_eq!(
        gateway.notes.lock().unwrap().stored.len() as u64,
        outcome.given
    );
    let [executed] = &journals.executed[..] else {
        panic!("{:?}", journals.executed)
    };
    assert_eq!(
        (executed.device.as_str(), executed.name.as_str()),
        ("lock-03", "lock")
    );
    let moves: Vec<_> = journals
        .doors
        .iter()
        .map(|door| (door.open, door.by.as_str()))
        .collect();
    assert_eq!(moves, [(true, "someone"), (false, "lock-03")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_agree_through_faults_and_a_gateway_that_dies() {
    let dir = tempfile::tempdir().unwrap();
    let psk_dir = dir.path().join("psk");
    let first = Gateway::start(&psk_dir).await;
    let second = first.clone();
    let faults = Faults {
        first_s: 0.1,
        every_s: 0.02,
        last_s: 0.1,
        wrong_clock_s: 2.0,
        kinds: FaultKind::ALL.to_vec(),
        spare: vec!["room-01".parse().unwrap()],
    };
    let options = Options {
        faults,
        ..options(dir.path(), &[&first, &second])
    };
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(fleet::run(options, stopped));
    first.until("some", |notes| notes.stored.len() > 500).await;
    first.kill().await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let again = first.restart(&psk_dir).await;
    let before = again.notes.lock().unwrap().stored.len();
    again
        .until("more", |notes| notes.stored.len() > before + 500)
        .await;
    stop.send(true).unwrap();
    let outcome = running.await.unwrap().unwrap();
    assert!(outcome.unsettled.is_empty(), "{outcome:?}");
    let journals = journal::read(dir.path().join("journal")).unwrap();
    again.reconcile(&journals);
    let boots = |device: &str| {
        journals
            .given
            .keys()
            .filter(|(other, _)| other.as_str() == device)
            .count()
    };
    assert!(journals.given.len() > 10, "nothing was reset");
    assert_eq!(boots("room-01"), 1, "the spared device was reset");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_agree_over_lines_that_are_poor_all_the_time() {
    let dir = tempfile::tempdir().unwrap();
    let psk_dir = dir.path().join("psk");
    let gateway = Gateway::start(&psk_dir).await;
    let faults = Faults {
        first_s: 0.0,
        every_s: 0.2,
        last_s: 60.0,
        kinds: vec![FaultKind::PoorLine, FaultKind::Reboot],
        ..Faults::default()
    };
    let options = Options {
        faults,
        drain_s: 60.0,
        samples_per_s: 5.0,
        ..options(dir.path(), &[&gateway])
    };
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(fleet::run(options, stopped));
    gateway
        .until("some", |notes| notes.stored.len() > 300)
        .await;
    let resumed = |notes: &gateway::Notes| {
        let is_resumed = |(_, heard): &&(String, Heard)| matches!(heard, Heard::Resume(_));
        notes.heard.iter().filter(is_resumed).count()
    };
    gateway.until("resumed", |notes| resumed(notes) > 3).await;
    stop.send(true).unwrap();
    let outcome = running.await.unwrap().unwrap();
    assert!(outcome.unsettled.is_empty(), "{outcome:?}");
    let journals = journal::read(dir.path().join("journal")).unwrap();
    gateway.reconcile(&journals);
}

#[tokio::test]
async fn a_missing_key_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&dir.path().join("psk")).await;
    let options = options(dir.path(), &[&gateway]);
    std::fs::remove_file(options.psk_dir.join("lock-02.psk")).unwrap();
    let (_stop, stopped) = watch::channel(false);
    let error = fleet::run(options, stopped).await.unwrap_err();
    assert!(matches!(&error, Error::Key { device, .. } if device.as_str() == "lock-02"));
    assert!(
        error.to_string().contains("stencil gateway add-device"),
        "{error}"
    );
}

#[tokio::test]
async fn a_fleet_without_a_gateway_ends_in_time_and_says_who_could_not_deliver() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&dir.path().join("psk")).await;
    let options = Options {
        drain_s: 0.3,
        ..options(dir.path(), &[&gateway])
    };
    gateway.kill().await;
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(fleet::run(options, stopped));
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    stop.send(true).unwrap();
    let outcome = running.await.unwrap().unwrap();
    assert_eq!(outcome.unsettled.len(), 10);
    let journals = journal::read(dir.path().join("journal")).unwrap();
    assert_eq!(journals.count(), outcome.given);
}
