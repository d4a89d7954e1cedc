//! Damage in the middle: told, with the place, and with a way on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, path::Path};

use stencil_log::{Error, Log, Options, Position};

fn options(dir: &Path) -> Options {
    Options {
        segment_bytes: 1000,
        max_record_bytes: 200,
        ..Options::new(dir)
    }
}

/// 40 records of 100 bytes in segments of 9 × 112 bytes.
async fn written(dir: &Path) {
    let log = Log::open(options(dir)).unwrap();
    for n in 0..40 {
        log.wait(log.append(&[&[n; 100]]).unwrap()).await.unwrap();
    }
}

fn segments(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    paths.sort();
    paths
}

/// What can be read, and where damage was met.
fn read_over_damage(log: &Log) -> (Vec<u8>, Vec<(Position, Position)>) {
    let mut reader = log.reader(log.oldest()).unwrap();
    let (mut read, mut skipped) = (Vec::new(), Vec::new());
    loop {
        match reader.next() {
            Ok(Some(record)) => {
                assert!(record.payload.iter().all(|byte| *byte == record.payload[0]));
                read.push(record.payload[0]);
            }
            Ok(None) => return (read, skipped),
            Err(Error::Corrupt { at, .. }) => {
                assert_eq!(at, reader.position());
                let skip = reader.skip_corrupt().unwrap().unwrap();
                assert_eq!(skip.from, at);
                assert!(skip.to > skip.from);
                skipped.push((skip.from, skip.to));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn any_flipped_bit_costs_one_record_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path()).await;
    let path = &segments(dir.path())[1]; // records 8..16
    let whole = fs::read(path).unwrap();
    let log = Log::open(options(dir.path())).unwrap();
    for bit in (32 * 8..whole.len() * 8).step_by(3) {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(path, &damaged).unwrap();
        let lost = 8 + u8::try_from((bit / 8 - 32) / 112).unwrap();
        let (read, skipped) = read_over_damage(&log);
        let expected: Vec<u8> = (0..40).filter(|n| *n != lost).collect();
        assert_eq!(read, expected, "bit {bit}");
        let from = u64::from(lost) * 112;
        assert_eq!(skipped, [(Position(from), Position(from + 112))]);
    }
}

#[tokio::test]
async fn a_missing_segment_and_a_cut_one_are_told() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path()).await;
    let paths = segments(dir.path());
    fs::remove_file(&paths[1]).unwrap();
    fs::OpenOptions::new()
        .write(true)
        .open(&paths[2])
        .unwrap()
        .set_len(32 + 112 + 50)
        .unwrap();
    let log = Log::open(options(dir.path())).unwrap();
    let (read, skipped) = read_over_damage(&log);
    let expected: Vec<u8> = (0..40)
        .filter(|n| !(8..16).contains(n) && !(17..24).contains(n))
        .collect();
    assert_eq!(read, expected);
    assert_eq!(
        skipped,
        [
            (Position(8 * 112), Position(16 * 112)),
            (Position(17 * 112), Position(24 * 112))
        ]
    );
}

#[tokio::test]
async fn damage_in_the_unsynced_tail_keeps_what_is_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(Options::new(dir.path())).unwrap();
    log.wait(log.append(&[&[1; 100], &[2; 100], &[3; 100]]).unwrap())
        .await
        .unwrap();
    drop(log);
    fs::remove_file(dir.path().join("synced")).unwrap();
    let path = &segments(dir.path())[0];
    let mut bytes = fs::read(path).unwrap();
    bytes[32 + 112 + 50] ^= 1;
    fs::write(path, bytes).unwrap();

    let log = Log::open(Options::new(dir.path())).unwrap();
    assert_eq!(log.recovery().damaged, [(Position(112), Position(224))]);
    assert_eq!(log.recovery().torn_bytes, 0);
    assert_eq!(read_over_damage(&log).0, [1, 3]);
}

#[tokio::test]
async fn a_damaged_header_of_the_last_segment_is_restored() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(Options::new(dir.path())).unwrap();
    log.wait(log.append(&[&[1; 100]]).unwrap()).await.unwrap();
    drop(log);
    let path = &segments(dir.path())[0];
    let whole = fs::read(path).unwrap();
    let mut bytes = whole.clone();
    bytes[10] ^= 1;
    fs::write(path, bytes).unwrap();
    let log = Log::open(Options::new(dir.path())).unwrap();
    assert_eq!(read_over_damage(&log).0, [1]);
    assert_eq!(fs::read(path).unwrap()[..16], whole[..16]);
}

#[tokio::test]
async fn a_cursor_of_another_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(Options::new(dir.path())).unwrap();
    let error = log.reader(Position(5)).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Ahead {
                from: Position(5),
                end: Position(0)
            }
        ),
        "{error}"
    );
    log.wait(log.append(&[&[1; 100]]).unwrap()).await.unwrap();
    // Not the start of a record: refused by the check, not read as one.
    let error = log.reader(Position(5)).unwrap().next().unwrap_err();
    assert!(
        matches!(
            error,
            Error::Corrupt {
                at: Position(5),
                ..
            }
        ),
        "{error}"
    );
}
