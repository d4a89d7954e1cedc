//! The log on a disk that fails.

use std::{
    fs::File,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    Error, Full, Gather, Health, Log, Options, Position,
    disk::{Disk, Kernel},
};

/// Writes up to a number of bytes, then has no room; syncs unless told otherwise.
#[derive(Default)]
struct Failing {
    room: AtomicU64,
    sync_fails: AtomicBool,
    read_only: AtomicBool,
}

impl Disk for Failing {
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.read_only.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(30));
        }
        let room = self.room.load(Ordering::SeqCst);
        let fits = usize::try_from(room).unwrap().min(bytes.len());
        // As a real disk does: what fits is written.
        Kernel.write(file, &bytes[..fits], offset)?;
        self.room.fetch_sub(fits as u64, Ordering::SeqCst);
        if fits < bytes.len() {
            return Err(io::Error::from_raw_os_error(28));
        }
        Ok(())
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        if self.sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(5));
        }
        Kernel.sync(file)
    }
}

fn options(dir: &std::path::Path) -> Options {
    Options {
        segment_bytes: 1 << 10,
        max_record_bytes: 500,
        max_pending_bytes: 1 << 10,
        ..Options::new(dir)
    }
}

fn read_all(log: &Log) -> Vec<Vec<u8>> {
    let mut reader = log.reader(log.oldest()).unwrap();
    std::iter::from_fn(|| reader.next().unwrap())
        .map(|record| record.payload.to_vec())
        .collect()
}

async fn until_stalled(log: &Log) {
    while !matches!(log.health(), Health::Stalled { .. }) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_full_disk_stalls_refuses_beyond_the_bound_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(Failing {
        room: AtomicU64::new(300),
        ..Failing::default()
    });
    let log = Log::open_on(options(dir.path()), Arc::clone(&disk) as Arc<dyn Disk>).unwrap();
    log.wait(log.append(&[&[1; 100], &[2; 100]]).unwrap())
        .await
        .unwrap();

    let stuck = log.append(&[&[3; 100]]).unwrap();
    until_stalled(&log).await;
    let mut kept = vec![vec![1; 100], vec![2; 100], vec![3; 100]];
    let refused = loop {
        match log.append(&[&[4; 100]]) {
            Ok(_) => kept.push(vec![4; 100]),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(refused, Error::Full(Full::Disk { max: 1024 })),
        "{refused}"
    );
    assert!(refused.is_retryable());
    assert_eq!(read_all(&log), kept[..2], "only what is on disk is read");
    assert!(*log.committed().borrow() < stuck);

    disk.room.store(u64::MAX / 2, Ordering::SeqCst);
    log.wait(log.end()).await.unwrap();
    assert_eq!(log.health(), Health::Ok);
    assert_eq!(read_all(&log), kept);
    drop(log);
    assert_eq!(read_all(&Log::open(options(dir.path())).unwrap()), kept);
}

#[tokio::test]
async fn a_disk_that_becomes_read_only_stalls_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(Failing {
        room: AtomicU64::new(u64::MAX / 2),
        ..Failing::default()
    });
    let log = Log::open_on(options(dir.path()), Arc::clone(&disk) as Arc<dyn Disk>).unwrap();
    log.wait(log.append(&[&[1; 100]]).unwrap()).await.unwrap();
    disk.read_only.store(true, Ordering::SeqCst);
    let stuck = log.append(&[&[2; 100]]).unwrap();
    until_stalled(&log).await;
    assert!(*log.committed().borrow() < stuck, "not acknowledged");
    disk.read_only.store(false, Ordering::SeqCst);
    log.wait(stuck).await.unwrap();
    assert_eq!(read_all(&log), [vec![1; 100], vec![2; 100]]);
}

#[tokio::test]
async fn a_log_closed_on_a_full_disk_opens_again_with_what_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(Failing {
        room: AtomicU64::new(200),
        ..Failing::default()
    });
    let log = Log::open_on(options(dir.path()), disk).unwrap();
    log.wait(log.append(&[&[1; 100]]).unwrap()).await.unwrap();
    let stuck = log.append(&[&[2; 100]]).unwrap();
    until_stalled(&log).await;
    let waiting = tokio::spawn({
        let mut committed = log.committed();
        async move {
            committed
                .wait_for(|committed| *committed >= stuck)
                .await
                .is_err()
        }
    });
    drop(log);
    assert!(
        waiting.await.unwrap(),
        "who waits is told that it won't come"
    );

    let log = Log::open(options(dir.path())).unwrap();
    assert_eq!(read_all(&log), [vec![1; 100]]);
    assert!(log.recovery().torn_bytes > 0);
}

#[tokio::test]
async fn a_failed_sync_poisons_until_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(Failing {
        room: AtomicU64::new(u64::MAX / 2),
        ..Failing::default()
    });
    let log = Log::open_on(options(dir.path()), Arc::clone(&disk) as Arc<dyn Disk>).unwrap();
    let first = log.append(&[b"first"]).unwrap();
    log.wait(first).await.unwrap();
    disk.sync_fails.store(true, Ordering::SeqCst);
    let second = log.append(&[b"second"]).unwrap();
    let error = log.wait(second).await.unwrap_err();
    assert!(
        matches!(&error, Error::Poisoned(why) if why.contains("syncing")),
        "{error}"
    );

    disk.sync_fails.store(false, Ordering::SeqCst);
    assert!(matches!(log.append(&[b"third"]), Err(Error::Poisoned(_))));
    assert!(matches!(log.retain(0).await, Err(Error::Poisoned(_))));
    assert!(matches!(log.health(), Health::Poisoned { .. }));
    assert_eq!(*log.committed().borrow(), first, "never published");
    assert_eq!(read_all(&log), [b"first".to_vec()]);
    drop(log);

    let log = Log::open(options(dir.path())).unwrap();
    assert_eq!(read_all(&log)[0], b"first");
    log.wait(log.append(&[b"fourth"]).unwrap()).await.unwrap();
    assert_eq!(read_all(&log).last().unwrap(), b"fourth");
}

#[tokio::test]
async fn who_waits_for_retention_is_told_when_the_log_is_poisoned() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(Failing {
        room: AtomicU64::new(200),
        ..Failing::default()
    });
    let log = Log::open_on(options(dir.path()), Arc::clone(&disk) as Arc<dyn Disk>).unwrap();
    log.append(&[&[1; 400]]).unwrap();
    until_stalled(&log).await;
    let retaining = tokio::spawn({
        let log = log.clone();
        async move { log.retain(0).await }
    });
    tokio::task::yield_now().await;
    disk.sync_fails.store(true, Ordering::SeqCst);
    disk.room.store(u64::MAX / 2, Ordering::SeqCst);
    let retained = tokio::time::timeout(Duration::from_secs(30), retaining).await;
    assert!(matches!(
        retained.expect("an answer").unwrap(),
        Err(Error::Poisoned(_))
    ));
}

#[tokio::test]
async fn a_panicking_hook_poisons_instead_of_losing() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        max_bytes: Some(2 << 10),
        overflow: crate::Overflow::DropOldest,
        on_drop: Some(Arc::new(|_, _| panic!("a hook with a bug"))),
        ..options(dir.path())
    };
    let log = Log::open(options).unwrap();
    let error = loop {
        match log.append(&[&[0; 400]]) {
            Ok(position) => match log.wait(position).await {
                Ok(()) => {}
                Err(error) => break error,
            },
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Poisoned(_)), "{error}");
    assert_eq!(log.oldest(), Position(0));
}

/// Counts syncs.
#[derive(Default)]
struct Counting(AtomicU64);

impl Disk for Counting {
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        Kernel.write(file, bytes, offset)
    }

    fn sync(&self, _: &File) -> io::Result<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// A log that gathers for an hour, or for 1,000 bytes.
fn gathering(dir: &std::path::Path) -> (Log, Arc<Counting>) {
    let disk = Arc::new(Counting::default());
    let options = Options {
        segment_bytes: 1 << 20,
        max_pending_bytes: 1 << 20,
        gather: Some(Gather {
            pause: Duration::from_secs(3_600),
            bytes: 1_000,
        }),
        ..options(dir)
    };
    let log = Log::open_on(options, Arc::clone(&disk) as Arc<dyn Disk>).unwrap();
    (log, disk)
}

#[tokio::test]
async fn what_gathers_is_synced_once_when_it_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    let (log, disk) = gathering(dir.path());
    let soon = Duration::from_secs(30);
    // The first finds nothing before it, and waits for nothing.
    let first = log.append(&[&[0; 88]]).unwrap();
    let waited = tokio::time::timeout(soon, log.wait(first)).await;
    waited.expect("at once").unwrap();
    let before = disk.0.load(Ordering::SeqCst);
    for n in 1..10 {
        log.append(&[&[n; 88]]).unwrap();
    }
    assert_eq!(*log.committed().borrow(), first, "900 bytes are held back");
    let last = log.append(&[&[10; 88]]).unwrap();
    let waited = tokio::time::timeout(soon, log.wait(last)).await;
    waited.expect("1,000 bytes are enough").unwrap();
    assert_eq!(disk.0.load(Ordering::SeqCst), before + 1);
    assert_eq!(read_all(&log).len(), 11);
}

#[tokio::test]
async fn what_gathers_is_held_back_by_no_end_and_holds_up_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = gathering(dir.path());
    let first = log.append(&[&[0; 88]]).unwrap();
    log.wait(first).await.unwrap();
    log.append(&[&[1; 88]]).unwrap();
    let retained = tokio::time::timeout(Duration::from_secs(30), log.retain(0)).await;
    assert_eq!(retained.expect("at once").unwrap(), []);
    drop(log);
    assert_eq!(read_all(&Log::open(options(dir.path())).unwrap()).len(), 2);
}

#[tokio::test]
async fn what_gathers_waits_no_longer_than_the_pause() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        gather: Some(Gather {
            pause: Duration::from_millis(50),
            bytes: 1_000,
        }),
        ..options(dir.path())
    };
    let log = Log::open(options).unwrap();
    for n in 0..3 {
        let position = log.append(&[&[n; 88]]).unwrap();
        let waited = tokio::time::timeout(Duration::from_secs(30), log.wait(position)).await;
        waited.expect("after the pause").unwrap();
    }
}

/// A link in the place of a segment: what it leads to stays as it is.
#[tokio::test]
async fn a_link_in_the_place_of_a_segment_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let log_dir = dir.path().join("log");
    let target = dir.path().join("target");
    std::fs::write(&target, "dear").unwrap();
    drop(Log::open(options(&log_dir)).unwrap());
    for name in ["00000000000000077777.log", "lock", "synced"] {
        let path = log_dir.join(name);
        let kept = std::fs::read(&path).ok();
        let _ = std::fs::remove_file(&path);
        std::os::unix::fs::symlink(&target, &path).unwrap();
        let why = Log::open(options(&log_dir)).err().unwrap().to_string();
        let says = [name, "a symbolic link", "move it away"];
        assert!(says.iter().all(|says| why.contains(says)), "{why}");
        std::fs::remove_file(&path).unwrap();
        if let Some(kept) = kept {
            std::fs::write(&path, kept).unwrap();
        }
    }

    // Where the next one goes, while the log is written to.
    let log = Log::open(options(&log_dir)).unwrap();
    let first = log.append(&[&[1; 500]]).unwrap();
    log.wait(first).await.unwrap();
    let next = log_dir.join(crate::segment::name(2 * first.0));
    std::os::unix::fs::symlink(&target, &next).unwrap();
    log.append(&[&[2; 500]]).unwrap();
    log.append(&[&[3; 500]]).unwrap();
    until_stalled(&log).await;
    assert_eq!(std::fs::read(&target).unwrap(), b"dear");
    std::fs::remove_file(&next).unwrap();
    log.wait(log.end()).await.unwrap();
    assert_eq!(read_all(&log).len(), 3);
    assert_eq!(std::fs::read(&target).unwrap(), b"dear");
}
