//! The bounds on the whole log: refuse, or drop the oldest and say what was dropped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use stencil_log::{Error, Full, Log, Options, Overflow, Position, Why};

fn options(dir: &Path) -> Options {
    Options {
        segment_bytes: 1120, // ten records of 100 bytes
        max_record_bytes: 1000,
        max_bytes: Some(4480),
        ..Options::new(dir)
    }
}

async fn append(log: &Log, n: u8) -> Result<Position, Error> {
    let position = log.append(&[&[n; 100]])?;
    log.wait(position).await?;
    Ok(position)
}

fn read(log: &Log) -> Vec<Vec<u8>> {
    let mut reader = log.reader(log.oldest()).unwrap();
    std::iter::from_fn(|| reader.next().unwrap())
        .map(|record| record.payload.to_vec())
        .collect()
}

#[tokio::test]
async fn a_full_log_refuses_until_trimmed() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(options(dir.path())).unwrap();
    let mut taken = Vec::new();
    let error = loop {
        match append(&log, 1).await {
            Ok(position) => taken.push(position),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, Error::Full(Full::Bytes { max: 4480 })),
        "{error}"
    );
    assert_eq!(taken.len(), 40);
    log.trim(taken[8]).unwrap();
    assert!(append(&log, 2).await.is_err(), "no whole segment is free");
    log.trim(taken[9]).unwrap();
    assert_eq!(log.oldest(), taken[9]);
    append(&log, 2).await.unwrap();
    assert!(log.bytes() <= 4480);
}

#[tokio::test]
async fn a_full_log_drops_the_oldest_and_the_report_takes_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let options = Options {
        overflow: Overflow::DropOldest,
        on_drop: Some(Arc::new({
            let seen = Arc::clone(&seen);
            move |records, why| {
                assert_eq!(why, Why::Bytes);
                let dropped: Vec<u8> = records.map(|record| record.payload[0]).collect();
                seen.lock().unwrap().push(dropped.clone());
                vec![[b"dropped ", &dropped[..]].concat()]
            }
        })),
        ..options(dir.path())
    };
    let log = Log::open(options.clone()).unwrap();
    for n in 0..40 {
        append(&log, n).await.unwrap();
    }
    assert!(seen.lock().unwrap().is_empty());
    // Three were used by somebody: these are no loss.
    log.trim(Position(3 * 112)).unwrap();
    append(&log, 40).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [(3..10).collect::<Vec<u8>>()]);
    assert_eq!(log.oldest(), Position(1120));
    log.wait(log.end()).await.unwrap();
    let mut expected: Vec<Vec<u8>> = (10..=40).map(|n| vec![n; 100]).collect();
    expected.push([&b"dropped "[..], &[3, 4, 5, 6, 7, 8, 9]].concat());
    assert_eq!(read(&log), expected);
    drop(log);
    let log = Log::open(options).unwrap();
    assert_eq!(read(&log), expected);
    assert_eq!(log.oldest(), Position(1120));
}

#[tokio::test]
async fn what_is_too_old_is_dropped_also_from_the_segment_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let now_us = Arc::new(AtomicI64::new(4_000_000_000_000_000)); // beyond the files' own times
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Log::open(Options {
        max_age: Some(Duration::from_secs(60)),
        clock: Arc::new({
            let now_us = Arc::clone(&now_us);
            move || now_us.load(Ordering::SeqCst)
        }),
        on_drop: Some(Arc::new({
            let seen = Arc::clone(&seen);
            move |records, why| {
                assert_eq!(why, Why::Age);
                seen.lock()
                    .unwrap()
                    .extend(records.map(|record| record.payload[0]));
                Vec::new()
            }
        })),
        ..options(dir.path())
    })
    .unwrap();
    let tick = |seconds: i64| now_us.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    for n in 0..25 {
        append(&log, n).await.unwrap();
        tick(1);
    }
    assert!(
        log.retain(now_us.load(Ordering::SeqCst))
            .await
            .unwrap()
            .is_empty()
    );
    tick(44); // the first is 69 s old; the first segment's last is 60 s old
    let dropped = log.retain(now_us.load(Ordering::SeqCst)).await.unwrap();
    assert!(dropped.is_empty());
    tick(1);
    let dropped = log.retain(now_us.load(Ordering::SeqCst)).await.unwrap();
    assert_eq!(dropped.len(), 1);
    assert_eq!((dropped[0].records, dropped[0].damaged_bytes), (10, 0));
    assert_eq!(*seen.lock().unwrap(), (0..10).collect::<Vec<u8>>());
    tick(100);
    log.retain(now_us.load(Ordering::SeqCst)).await.unwrap();
    assert_eq!(log.bytes(), 0);
    assert_eq!(*seen.lock().unwrap(), (0..25).collect::<Vec<u8>>());
}

#[tokio::test]
async fn a_reader_overtaken_is_told_where_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(Options {
        overflow: Overflow::DropOldest,
        ..options(dir.path())
    })
    .unwrap();
    append(&log, 0).await.unwrap();
    let mut reader = log.reader(Position(0)).unwrap();
    assert!(reader.next().unwrap().is_some());
    for n in 0..60 {
        append(&log, n).await.unwrap();
    }
    let Err(Error::Trimmed { oldest }) = reader.next() else {
        panic!("overtaken")
    };
    reader.seek(oldest).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().start, log.oldest());
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = [
        (
            Options {
                segment_bytes: 100,
                ..options(dir.path())
            },
            "segment_bytes",
        ),
        (
            Options {
                max_pending_bytes: 100,
                ..options(dir.path())
            },
            "max_pending_bytes",
        ),
        (
            Options {
                max_bytes: Some(2000),
                ..options(dir.path())
            },
            "two segments",
        ),
    ];
    for (options, what) in wrong {
        let error = Log::open(options).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[tokio::test]
async fn what_is_trimmed_while_it_is_dropped_takes_no_other_segment_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let trimmer: Arc<Mutex<Option<Log>>> = Arc::default();
    let log = Log::open(Options {
        overflow: Overflow::DropOldest,
        on_drop: Some(Arc::new({
            let trimmer = Arc::clone(&trimmer);
            move |records, _| {
                assert_eq!(records.count(), 10);
                // Its user has done with the very segment that is being dropped.
                if let Some(log) = trimmer.lock().unwrap().take() {
                    log.trim(Position(1120)).unwrap();
                }
                vec![b"ten are lost".to_vec()]
            }
        })),
        ..options(dir.path())
    })
    .unwrap();
    for n in 0..40 {
        append(&log, n).await.unwrap();
    }
    *trimmer.lock().unwrap() = Some(log.clone());
    append(&log, 40).await.unwrap();
    assert_eq!(log.oldest(), Position(1120));
    let expected: Vec<Vec<u8>> = (10..=40).map(|n| vec![n; 100]).collect();
    assert_eq!(read(&log), expected, "and nothing is told as lost");
}

#[tokio::test]
async fn reports_that_free_nothing_do_not_turn_the_log_round_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let drops = Arc::new(AtomicI64::new(0));
    let log = Log::open(Options {
        overflow: Overflow::DropOldest,
        on_drop: Some(Arc::new({
            let drops = Arc::clone(&drops);
            move |records, _| {
                drops.fetch_add(1, Ordering::SeqCst);
                records.map(|record| record.payload.to_vec()).collect()
            }
        })),
        ..options(dir.path())
    })
    .unwrap();
    for n in 0..100 {
        append(&log, n).await.unwrap();
    }
    let all_done = async {
        while *log.committed().borrow() != log.end() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all_done)
        .await
        .expect("an end of it");
    let count = drops.load(Ordering::SeqCst);
    assert!(count < 400, "{count}");
    assert!(read(&log).contains(&vec![99; 100]));
    assert!(log.bytes() <= 4480 + 1120);
}
