//! A real file system without room. Mounting one needs root; where it cannot be mounted this says
//! so, and the same is tested with a disk that is made to fail (src/faults.rs).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

use std::{fs, path::Path, process::Command, time::Duration};

use stencil_log::{Error, Full, Health, Log, Options};

struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[tokio::test]
async fn the_log_waits_for_room_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
        .arg(dir.path())
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        eprintln!("left out: no small file system can be mounted here");
        return;
    }
    let _mounted = Mounted(dir.path());
    let other = dir.path().join("somebody-else");
    fs::write(&other, vec![1; 100_000]).unwrap();
    let options = Options {
        segment_bytes: 40_000,
        max_record_bytes: 1_000,
        max_pending_bytes: 20_000,
        ..Options::new(dir.path().join("log"))
    };
    let log = Log::open(options.clone()).unwrap();

    let mut appended = 0_u32;
    loop {
        match log.append(&[&[&appended.to_le_bytes()[..], &[7; 500]].concat()]) {
            Ok(_) => appended += 1,
            Err(Error::Full(Full::Pending { .. })) => {
                let next = log.committed().changed().await;
                next.unwrap();
            }
            Err(Error::Full(Full::Disk { .. })) => break,
            Err(error) => panic!("{error}"),
        }
        if matches!(log.health(), Health::Ok) {
            tokio::task::yield_now().await;
        }
    }
    let Health::Stalled { why, .. } = log.health() else {
        panic!("{:?}", log.health())
    };
    assert!(why.contains("No space left"), "{why}");
    let committed = log.committed().borrow().0;
    assert!(committed < log.end().0);

    // Room by trimming is used at once, not at the next second.
    let mut reader = log.reader(log.oldest()).unwrap();
    let mut seen = 0_u32;
    while log.segments() > 1 && seen < 90 {
        let record = reader.next().unwrap().unwrap();
        assert_eq!(record.payload[..4], seen.to_le_bytes());
        seen += 1;
    }
    log.trim(reader.position()).unwrap();
    tokio::time::timeout(Duration::from_secs(20), log.wait(log.end()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(log.health(), Health::Ok);

    // Room that somebody else makes is found.
    fs::remove_file(other).unwrap();
    drop(reader);
    let end = log.end();
    drop(log);
    let log = Log::open(options).unwrap();
    assert_eq!((log.end(), log.recovery().torn_bytes), (end, 0));
    let mut reader = log.reader(log.oldest()).unwrap();
    let mut next = None;
    while let Some(record) = reader.next().unwrap() {
        let n = u32::from_le_bytes(record.payload[..4].try_into().unwrap());
        assert!(next.is_none_or(|next| next == n));
        next = Some(n + 1);
    }
    assert_eq!(next, Some(appended));
}
