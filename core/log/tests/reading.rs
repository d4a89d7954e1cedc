//! Readers see what is committed, in order, and can wait for more.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use stencil_log::{Error, Log, Options, Position};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_follows_many_writers() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(Options {
        segment_bytes: 10_000,
        max_record_bytes: 1_000,
        ..Options::new(dir.path())
    })
    .unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8_u32 {
        let log = log.clone();
        writers.spawn(async move {
            for n in 0..500_u32 {
                let records = [[writer, 2 * n], [writer, 2 * n + 1]]
                    .map(|pair| pair.map(u32::to_le_bytes).concat());
                let position = log.append(&[&records[0], &records[1]]).unwrap();
                if n % 50 == 0 {
                    log.wait(position).await.unwrap();
                }
            }
        });
    }
    let mut reader = log.reader(Position(0)).unwrap();
    let mut next = [0_u32; 8];
    let mut position = Position(0);
    while next.iter().sum::<u32>() < 8 * 1000 {
        match reader.next().unwrap() {
            Some(record) => {
                assert_eq!(record.start, position);
                position = record.end;
                let writer = u32::from_le_bytes(record.payload[..4].try_into().unwrap());
                let n = u32::from_le_bytes(record.payload[4..].try_into().unwrap());
                assert_eq!(n, next[writer as usize]);
                next[writer as usize] += 1;
            }
            None => reader.wait().await.unwrap(),
        }
    }
    writers.join_all().await;
    assert!(reader.next().unwrap().is_none());
    assert_eq!(reader.position(), log.end());
    assert!(log.segments() > 5);
}

#[tokio::test]
async fn records_may_be_empty_and_up_to_the_bound() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(Options {
        max_record_bytes: 600_000,
        ..Options::new(dir.path())
    })
    .unwrap();
    let large = vec![9; 600_000];
    log.wait(log.append(&[b"", &large, b""]).unwrap())
        .await
        .unwrap();
    let mut reader = log.reader(Position(0)).unwrap();
    let read: Vec<_> = std::iter::from_fn(|| reader.next().unwrap())
        .map(|record| record.payload.len())
        .collect();
    assert_eq!(read, [0, 600_000, 0]);

    let too_large = log.append(&[b"fits", &vec![0; 600_001]]).unwrap_err();
    assert!(matches!(
        too_large,
        Error::TooLarge {
            bytes: 600_001,
            max: 600_000
        }
    ));
    assert!(!too_large.is_retryable());
    assert_eq!(log.end(), reader.position(), "all or none");
}

#[tokio::test]
async fn what_is_not_committed_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(Options::new(dir.path())).unwrap();
    let mut reader = log.reader(Position(0)).unwrap();
    for n in 0..200_u32 {
        let position = log.append(&[&n.to_le_bytes()]).unwrap();
        while let Some(record) = reader.next().unwrap() {
            assert!(record.end <= *log.committed().borrow());
        }
        if n % 7 == 0 {
            log.wait(position).await.unwrap();
            while reader.next().unwrap().is_some() {}
            assert!(reader.position() >= position);
        }
    }
}
