//! A crash leaves the end of the last record half-written, at any byte.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, path::Path};

use stencil_log::{Error, Log, Options, Position, Reader};

const RECORDS: [&[u8]; 3] = [b"the first", b"the second, longer", b"the last one"];

fn segment(dir: &Path) -> std::path::PathBuf {
    dir.join(format!("{:020}.log", 0))
}

/// A log of three records, closed; no hint, as after a crash.
async fn written(dir: &Path) -> Vec<u8> {
    let log = Log::open(Options::new(dir)).unwrap();
    log.wait(log.append(&RECORDS).unwrap()).await.unwrap();
    drop(log);
    fs::remove_file(dir.join("synced")).unwrap();
    fs::read(segment(dir)).unwrap()
}

fn payloads(reader: &mut Reader) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| reader.next().unwrap())
        .map(|record| record.payload.to_vec())
        .collect()
}

#[tokio::test]
async fn cut_at_every_byte_of_the_last_record() {
    let dir = tempfile::tempdir().unwrap();
    let whole = written(dir.path()).await;
    let last = whole.len() - RECORDS[2].len() - 12;
    for length in last..whole.len() {
        fs::write(segment(dir.path()), &whole[..length]).unwrap();
        let _ = fs::remove_file(dir.path().join("synced"));
        let log = Log::open(Options::new(dir.path())).unwrap();
        assert_eq!(log.recovery().torn_bytes, (length - last) as u64);
        assert_eq!(log.end(), Position(last as u64 - 32));
        log.wait(log.append(&[b"after"]).unwrap()).await.unwrap();
        let mut reader = log.reader(Position(0)).unwrap();
        assert_eq!(
            payloads(&mut reader),
            [RECORDS[0], RECORDS[1], b"after"],
            "cut at {length}"
        );
    }
}

#[tokio::test]
async fn every_bit_of_the_last_record() {
    let dir = tempfile::tempdir().unwrap();
    let whole = written(dir.path()).await;
    let last = whole.len() - RECORDS[2].len() - 12;
    for bit in last * 8..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(segment(dir.path()), &damaged).unwrap();
        let _ = fs::remove_file(dir.path().join("synced"));
        let log = Log::open(Options::new(dir.path())).unwrap();
        let mut reader = log.reader(Position(0)).unwrap();
        assert_eq!(payloads(&mut reader), &RECORDS[..2], "bit {bit}");
    }
}

#[tokio::test]
async fn zeros_behind_the_end_are_cut() {
    let dir = tempfile::tempdir().unwrap();
    let mut whole = written(dir.path()).await;
    whole.resize(whole.len() + 10_000, 0);
    fs::write(segment(dir.path()), &whole).unwrap();
    let log = Log::open(Options::new(dir.path())).unwrap();
    assert_eq!(log.recovery().torn_bytes, 10_000);
    assert_eq!(payloads(&mut log.reader(Position(0)).unwrap()), RECORDS);
}

#[tokio::test]
async fn a_segment_that_was_being_made_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let whole = written(dir.path()).await;
    let base = whole.len() as u64 - 32;
    for length in 0..32 {
        let next = dir.path().join(format!("{base:020}.log"));
        fs::write(&next, &whole[..length]).unwrap();
        let log = Log::open(Options::new(dir.path())).unwrap();
        assert_eq!(payloads(&mut log.reader(Position(0)).unwrap()), RECORDS);
        log.wait(log.append(&[b"after"]).unwrap()).await.unwrap();
        assert_eq!(
            payloads(&mut log.reader(Position(base)).unwrap()),
            [b"after"]
        );
        drop(log);
        fs::remove_file(next).unwrap();
        fs::remove_file(dir.path().join("synced")).unwrap();
    }
}

#[tokio::test]
async fn what_was_synced_and_is_gone_is_told_and_its_positions_are_not_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(Options::new(dir.path())).unwrap();
    let end = log.append(&RECORDS).unwrap();
    log.wait(end).await.unwrap();
    drop(log); // leaves the hint at the end
    let file = fs::OpenOptions::new()
        .write(true)
        .open(segment(dir.path()))
        .unwrap();
    file.set_len(60).unwrap();

    let log = Log::open(Options::new(dir.path())).unwrap();
    assert_eq!(log.recovery().lost, Some((Position(21), end)));
    log.wait(log.append(&[b"after"]).unwrap()).await.unwrap();
    let mut reader = log.reader(Position(0)).unwrap();
    assert_eq!(&reader.next().unwrap().unwrap().payload[..], RECORDS[0]);
    let error = reader.next().unwrap_err();
    assert!(
        matches!(
            error,
            Error::Corrupt {
                segment: 0,
                at: Position(21),
                ..
            }
        ),
        "{error}"
    );
    let skipped = reader.skip_corrupt().unwrap().unwrap();
    assert_eq!((skipped.from, skipped.to), (Position(21), end));
    assert_eq!(&reader.next().unwrap().unwrap().payload[..], b"after");
}

#[tokio::test]
async fn positions_that_a_reader_has_seen_are_not_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let whole = written(dir.path()).await;
    let end = Position(whole.len() as u64 - 32);
    // No hint, and the end is gone: only the reader knows how long the log was.
    fs::write(segment(dir.path()), &whole[..60]).unwrap();
    let seen = Options {
        seen: Some(end),
        ..Options::new(dir.path())
    };
    let log = Log::open(seen.clone()).unwrap();
    assert_eq!(log.recovery().lost, Some((Position(21), end)));
    log.wait(log.append(&[b"after"]).unwrap()).await.unwrap();
    assert_eq!(
        payloads(&mut log.reader(end).unwrap()),
        [b"after"],
        "the reader goes on where it was"
    );
    drop(log);
    let log = Log::open(seen.clone()).unwrap();
    assert_eq!(log.recovery().lost, None, "told once");
    drop(log);

    // The same when all of it is gone.
    fs::remove_dir_all(dir.path()).unwrap();
    let log = Log::open(seen).unwrap();
    assert_eq!((log.oldest(), log.end()), (end, end));
}

#[tokio::test]
async fn opening_scans_from_the_hint_only() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(Options::new(dir.path())).unwrap();
    let record = vec![7; 100_000];
    for _ in 0..40 {
        log.wait(log.append(&[&record]).unwrap()).await.unwrap();
    }
    fs::copy(
        dir.path().join("synced"),
        dir.path().join("hint-of-a-crash"),
    )
    .unwrap();
    drop(log);
    fs::rename(
        dir.path().join("hint-of-a-crash"),
        dir.path().join("synced"),
    )
    .unwrap();
    let log = Log::open(Options::new(dir.path())).unwrap();
    let scanned = log.recovery().scanned_bytes;
    assert!(
        scanned <= 400_000,
        "{scanned} of 4,000,480 bytes were scanned"
    );
    drop(log);
    let log = Log::open(Options::new(dir.path())).unwrap();
    assert_eq!(log.recovery().scanned_bytes, 0, "closed in order");
    assert_eq!(payloads(&mut log.reader(Position(0)).unwrap()).len(), 40);
}
