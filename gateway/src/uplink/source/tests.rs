//! What is read of a spool with stretches that are acknowledged ahead, and with damage.

use std::{os::unix::fs::FileExt as _, path::Path, time::Duration};

use stencil_protocol::{
    batch::{Batch, DropReason, Header, Writer},
    id::{Boot, DeviceId, Seq},
    report::LossReport,
    sample::{Sample, Value},
};
use tokio::sync::watch;

use super::*;
use crate::{options, uplink::order::Order};

/// Samples of a batch.
const SAMPLES: u64 = 10;

fn open(dir: &Path, max_bytes: u64) -> Spool {
    let options = options::Spool {
        segment_bytes: 80_000,
        max_bytes,
        ..options::Spool::default()
    };
    Spool::open(dir, &options, &Arc::default()).unwrap()
}

fn entry(first: u64) -> Vec<u8> {
    let mut bytes = [0; 1024];
    let header = Header {
        boot: Boot(1),
        first: Seq(first),
        last_given: Seq(first + SAMPLES - 1),
        previous: None,
        dropped: heapless::Vec::new(),
    };
    let mut writer = Writer::new(&mut bytes, &header).unwrap();
    for _ in 0..SAMPLES {
        let sample = Sample {
            name: "temperature",
            value: Value::Number(-18.25),
            unit: Some("degC"),
            time_us: 1_750_000_000_000_000,
        };
        writer.push(&sample).unwrap();
    }
    let length = writer.finish().unwrap();
    Entry {
        kind: Kind::Batch,
        device: DeviceId::parse("freezer-07").unwrap(),
        suite: Some(1),
        payload: &bytes[..length],
    }
    .to_bytes()
}

/// Spools batches of these numbers; gives where each of their records ends.
async fn put(spool: &Spool, batches: std::ops::Range<u64>) -> Vec<Position> {
    let mut ends = Vec::new();
    for batch in batches {
        ends.push(spool.put_bytes(&entry(batch * SAMPLES + 1)).await.unwrap());
    }
    if let Some(last) = ends.last() {
        spool.log().wait(*last).await.unwrap();
    }
    ends
}

/// The first numbers of the batches that a stretch gives, and the numbers that are reported as lost,
/// until there is no more; and whether what it covers is whole.
async fn read_all(spool: &Spool, stretch: Stretch) -> (Vec<u64>, Vec<LossReport>) {
    let (from, to) = (stretch.from, stretch.to);
    let end = to.unwrap_or_else(|| *spool.committed().borrow());
    let mut source = Source::start(spool.clone(), stretch, Arc::default());
    let (mut firsts, mut reports) = (Vec::new(), Vec::new());
    let mut covered = from;
    while covered < end || to.is_some() {
        let item = tokio::time::timeout(Duration::from_secs(30), source.next());
        let Some(item) = item.await.expect("in time").unwrap() else {
            break;
        };
        assert_eq!(item.covers.start, covered, "nothing is left out");
        covered = item.covers.end;
        let Some(record) = item.record else { continue };
        let entry = Entry::parse(&record.payload).unwrap();
        match entry.kind {
            Kind::Batch => {
                let batch = Batch::decode(entry.payload).unwrap();
                firsts.push(batch.header().first.0);
            }
            Kind::Loss => reports.push(LossReport::decode(entry.payload).unwrap()),
            other => panic!("{other:?}"),
        }
    }
    assert!(covered >= end);
    (firsts, reports)
}

/// Numbers that were reported as lost, as runs.
fn runs(reports: &[LossReport]) -> Vec<(u64, u64)> {
    let dropped = reports.iter().flat_map(|report| &report.dropped);
    dropped
        .map(|dropped| {
            assert_eq!(dropped.reason, DropReason::SpoolDamaged);
            (dropped.first.0, dropped.last().0)
        })
        .collect()
}

fn all(spool: &Spool) -> Stretch {
    Stretch {
        from: spool.acknowledged().through(),
        to: None,
        acknowledged: spool.acknowledged(),
    }
}

/// Writes the cursor, as the gateway does all the time.
async fn keep(spool: &Spool) {
    let (stop, stopping) = watch::channel(false);
    stop.send_replace(true);
    spool.keep(stopping).await.unwrap();
}

#[tokio::test]
async fn what_was_brought_ahead_is_not_brought_again_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), 10 << 20);
    let ends = put(&spool, 0..100).await;
    let order = Order::new(&spool, 0, false);
    assert_eq!(order.live.from, ends[99]);
    let old = order.back_fill.unwrap();
    assert_eq!((old.from, old.to), (Position(0), Some(ends[99])));
    // What is new is acknowledged, of what is old the first ten.
    let live = put(&spool, 100..120).await;
    spool.acknowledge(ends[99]..live[9]);
    spool.acknowledge(Position(0)..ends[9]);
    keep(&spool).await;
    let waiting = spool.waiting_bytes();
    drop(spool);

    let spool = open(dir.path(), 10 << 20);
    assert_eq!(spool.waiting_bytes(), waiting);
    let (read, _) = read_all(&spool, all(&spool)).await;
    let expected: Vec<u64> = (10..100).chain(110..120).map(|n| n * SAMPLES + 1).collect();
    assert_eq!(read, expected);
    // The gap is closed: one position says it all again.
    spool.acknowledge(ends[9]..ends[99]);
    assert_eq!(spool.acknowledged(), Acknowledged::up_to(live[9]));
}

#[tokio::test]
async fn little_is_brought_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), 10 << 20);
    let ends = put(&spool, 0..5).await;
    assert!(Order::new(&spool, ends[4].0, false).back_fill.is_none());
    assert!(Order::new(&spool, ends[4].0 - 1, false).back_fill.is_some());
    // The hub judges by what rules here have judged by, and in that order.
    assert!(Order::new(&spool, 0, true).back_fill.is_none());
    spool.acknowledge(ends[0]..ends[4]);
    let order = Order::new(&spool, ends[0].0, false);
    assert!(order.back_fill.is_none());
    assert_eq!(order.live.from, Position(0));
    assert_eq!(read_all(&spool, order.live).await.0, [1]);
}

#[tokio::test]
async fn what_the_hub_has_is_not_reported_as_lost_when_it_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), 160_000);
    let ends = put(&spool, 0..200).await;
    spool.acknowledge(ends[49]..ends[149]);
    // Until the file that all of it was in has gone.
    let mut batch = 200;
    while spool.log().oldest() <= ends[199] {
        put(&spool, batch..batch + 1).await;
        batch += 1;
    }
    let stretch = Stretch {
        from: Position(0),
        to: Some(spool.log().end()),
        acknowledged: Acknowledged::default(),
    };
    let (_, reports) = read_all(&spool, stretch).await;
    let lost = reports.iter().flat_map(|report| &report.dropped);
    let lost: Vec<_> = lost.map(|run| (run.first.0, run.last().0)).collect();
    assert_eq!(lost[0], (1, 50 * SAMPLES), "{lost:?}");
    assert_eq!(lost[1].0, 150 * SAMPLES + 1, "{lost:?}");
}

/// Overwrites a byte of each of these stretches of the first file.
fn damage(dir: &Path, at: impl IntoIterator<Item = u64>) {
    let path = dir.join(format!("spool/{:020}.log", 0));
    let file = std::fs::File::options().write(true).open(path).unwrap();
    for at in at {
        file.write_all_at(&[0xa5; 3], 32 + at).unwrap();
    }
}

#[tokio::test]
async fn a_damaged_part_costs_what_is_in_it_and_is_reported_by_number() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), 10 << 20);
    let ends = put(&spool, 0..50).await;
    // The tenth and eleventh, and the thirtieth.
    damage(
        dir.path(),
        [ends[9].0 + 20, ends[10].0 + 20, ends[29].0 + 20],
    );
    let (read, _) = read_all(&spool, all(&spool)).await;
    let expected: Vec<u64> = (0..50)
        .filter(|n| ![10, 11, 30].contains(n))
        .map(|n| n * SAMPLES + 1)
        .collect();
    assert_eq!(read, expected);
    let (_, reports) = read_all(&spool, all(&spool)).await;
    let first_reading = &runs(&reports)[..2];
    assert_eq!(first_reading, [(101, 120), (301, 310)]);
}

#[tokio::test]
async fn damage_where_the_back_fill_ends_is_seen_in_what_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), 10 << 20);
    let ends = put(&spool, 0..20).await;
    damage(dir.path(), [ends[18].0 + 20]);
    let old = Order::new(&spool, 0, false).back_fill.unwrap();
    let live = put(&spool, 20..22).await;
    spool.acknowledge(ends[19]..live[1]);
    assert_eq!(read_all(&spool, old).await.0.len(), 19);
    let reports = Stretch {
        from: live[1],
        to: Some(spool.log().end()),
        acknowledged: Acknowledged::default(),
    };
    let (_, reports) = read_all(&spool, reports).await;
    assert_eq!(runs(&reports), [(191, 200)]);
}

#[tokio::test]
async fn an_end_that_the_disk_has_lost_is_reported_by_number() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), 10 << 20);
    let ends = put(&spool, 0..20).await;
    drop(spool);
    // The last three are cut off, the first of them in the middle.
    let path = dir.path().join(format!("spool/{:020}.log", 0));
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_len(32 + ends[16].0 + 20).unwrap();
    let spool = open(dir.path(), 10 << 20);
    let more = put(&spool, 20..22).await;
    assert!(more[0] > ends[19], "no position is given twice");
    let (read, _) = read_all(&spool, all(&spool)).await;
    assert_eq!(read.len(), 17 + 2);
    let (_, reports) = read_all(&spool, all(&spool)).await;
    assert_eq!(runs(&reports)[0], (171, 200));
}

#[tokio::test]
async fn a_spool_that_was_replaced_by_an_older_one_is_brought_whole() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), 10 << 20);
    let ends = put(&spool, 0..20).await;
    spool.acknowledge(Position(0)..ends[9]);
    spool.acknowledge(ends[14]..ends[19]);
    keep(&spool).await;
    drop(spool);
    let path = dir.path().join(format!("spool/{:020}.log", 0));
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_len(32 + ends[4].0).unwrap();
    std::fs::remove_file(dir.path().join("spool/synced")).unwrap();
    let spool = open(dir.path(), 10 << 20);
    let (read, _) = read_all(&spool, all(&spool)).await;
    assert_eq!(read, [1, 11, 21, 31, 41]);
    assert!(put(&spool, 20..21).await[0] > ends[19]);
}
