//! A copy of a log is taken while its owner writes, and opens as a log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Read as _;
use std::path::Path;

use stencil_log::{Error, Log, Observer, Options, Position};

fn options(dir: &Path) -> Options {
    Options {
        segment_bytes: 1_000,
        max_record_bytes: 500,
        ..Options::new(dir)
    }
}

fn copy(observer: &Observer, from: Position, to: Position, into: &Path) {
    for mut piece in observer.pieces(from, to).unwrap() {
        let mut bytes = Vec::new();
        std::io::Read::by_ref(&mut piece.file)
            .take(piece.bytes)
            .read_to_end(&mut bytes)
            .unwrap();
        assert_eq!(bytes.len() as u64, piece.bytes);
        std::fs::write(into.join(&piece.name), bytes).unwrap();
    }
}

fn numbers(log: &Log, from: Position) -> Vec<u32> {
    let mut reader = log.reader(from).unwrap();
    let mut found = Vec::new();
    while let Some(record) = reader.next().unwrap() {
        found.push(u32::from_le_bytes(record.payload[..4].try_into().unwrap()));
    }
    found
}

#[tokio::test]
async fn what_was_confirmed_is_in_the_copy_also_when_it_is_trimmed_meanwhile() {
    let (dir, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = Log::open(options(dir.path())).unwrap();
    let mut ends = Vec::new();
    for number in 0..40_u32 {
        let mut payload = number.to_le_bytes().to_vec();
        payload.resize(100, 0);
        let end = log.append(&[&payload]).unwrap();
        log.wait(end).await.unwrap();
        ends.push(end);
    }
    let mut observer = Observer::open(dir.path()).unwrap();
    let end = observer.end().unwrap();
    assert_eq!(end, ends[39]);
    // Its owner goes on: more is written, and what the copy needs is deleted.
    let more = log.append(&[&[9; 100][..]]).unwrap();
    log.wait(more).await.unwrap();
    log.trim(ends[35]).unwrap();
    assert!(log.oldest() > ends[20]);

    copy(&observer, ends[20], end, into.path());
    let copied = Log::open(options(into.path())).unwrap();
    assert_eq!(copied.end(), end);
    assert_eq!(numbers(&copied, ends[20]), Vec::from_iter(21..40));
    assert_eq!(copied.recovery().torn_bytes, 0);

    let gone = Observer::open(dir.path())
        .unwrap()
        .pieces(ends[0], end)
        .unwrap_err();
    assert!(matches!(gone, Error::Trimmed { .. }), "{gone}");
}

#[tokio::test]
async fn a_record_that_is_being_written_is_left_out() {
    let (dir, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = Log::open(options(dir.path())).unwrap();
    let end = log.append(&[b"good"]).unwrap();
    log.wait(end).await.unwrap();
    drop(log);
    let segment = dir.path().join("00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes.extend([7; 5]);
    std::fs::write(&segment, bytes).unwrap();

    let mut observer = Observer::open(dir.path()).unwrap();
    assert_eq!(observer.end().unwrap(), end);
    copy(&observer, end, end, into.path());
    let copied = Log::open(options(into.path())).unwrap();
    assert_eq!((copied.end(), copied.recovery().torn_bytes), (end, 0));
}

#[test]
fn a_log_that_was_never_written_has_nothing_to_copy() {
    let dir = tempfile::tempdir().unwrap();
    let mut observer = Observer::open(dir.path()).unwrap();
    assert_eq!(observer.end().unwrap(), Position(0));
    assert!(
        observer
            .pieces(Position(0), Position(0))
            .unwrap()
            .is_empty()
    );
}
