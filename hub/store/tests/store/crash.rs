//! SIGKILL at any moment leaves state, position and points of the same commit.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use stencil_protocol::id::{Boot, Seq};
use stencil_protocol::ledger::BootLedger;
use stencil_protocol::sample::OwnedValue;
use stencil_store::sqlite::Options;
use stencil_store::{Commit, Store};

use crate::{acme, at, device, point, reopen, twin};

const FOLDER: &str = "STENCIL_STORE_CRASH_FOLDER";

fn options() -> Options {
    Options {
        chunk_points: 16,
        max_tail_rows: 8,
        ..Options::default()
    }
}

/// Commit `n` says `n` in every part of the state.
fn commit(n: u64) -> Commit {
    let time = i64::try_from(n).unwrap();
    let mut ledger = BootLedger::default();
    for seq in 1..=n {
        ledger.store(Seq(seq));
    }
    let mut slow = point("slow", time, OwnedValue::Integer(time));
    slow.device = device("slow");
    // At the same times, so that their chunks keep them in common.
    let mut points = vec![
        point("count", time, OwnedValue::Integer(time)),
        point("level", time, OwnedValue::Integer(-time)),
    ];
    if n.is_multiple_of(7) {
        points.push(slow);
    }
    Commit {
        ledgers: vec![(acme(), device("freezer-1"), Boot(1), ledger)],
        twins: vec![twin("freezer-1", time, 1.0)],
        points: points.into(),
        ..at(n)
    }
}

async fn agreed_position(store: &Store) -> u64 {
    let loaded = store.pipeline.load(1).await.unwrap();
    let position = loaded.position;
    let time = i64::try_from(position).unwrap();
    let id = device("freezer-1");
    let points = store
        .series
        .range(&acme(), &id, "count", 0, i64::MAX, 100_000)
        .await
        .unwrap();
    let times: Vec<i64> = points.iter().map(|point| point.time_us).collect();
    assert_eq!(
        times,
        (1..=time).collect::<Vec<_>>(),
        "at position {position}"
    );
    let levels = store
        .series
        .range(&acme(), &id, "level", 0, i64::MAX, 100_000)
        .await
        .unwrap();
    let level = |(point, time): (&stencil_store::SeriesPoint, &i64)| {
        point.time_us == *time && point.value == OwnedValue::Integer(-time)
    };
    assert!(levels.len() == times.len() && levels.iter().zip(&times).all(level));
    let slow = store
        .series
        .range(&acme(), &device("slow"), "slow", 0, i64::MAX, 100_000)
        .await;
    assert_eq!(slow.unwrap().len() as u64, position / 7);
    if position > 0 {
        assert_eq!(loaded.ledgers[0].3.stored.len(), position);
        assert_eq!(loaded.twins[0].time_us, time);
    }
    position
}

#[test]
fn state_position_and_points_agree_after_every_kill() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut position = 0;
    for round in 0..6 {
        let acknowledged = kill_after(folder.path(), 3 + round * 17);
        let found = runtime
            .block_on(async { agreed_position(&reopen(folder.path(), options()).await).await });
        assert!(
            found >= acknowledged,
            "commit {acknowledged} was lost, {found} is left"
        );
        assert!(found >= position + 3 + round * 17);
        position = found;
    }
}

/// Runs the committing child and kills it when it has reported `commits` of them.
fn kill_after(folder: &Path, commits: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crash::the_child_that_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = 0;
    let mut seen = 0;
    while seen < commits {
        let line = lines.next().expect("the child ended by itself").unwrap();
        if let Some(number) = line.split("committed ").nth(1) {
            acknowledged = number.trim().parse().unwrap();
            seen += 1;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    acknowledged
}

#[test]
#[ignore = "run by the test above, as a process of its own"]
fn the_child_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = reopen(Path::new(&folder), options()).await;
        let mut position = agreed_position(&store).await;
        loop {
            position += 1;
            store.pipeline.commit(commit(position)).await.unwrap();
            println!("committed {position}");
        }
    });
}
