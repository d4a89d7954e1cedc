//! A disk that fails on purpose, for whoever tests a whole process: only in builds with the
//! feature `faults`, and there only when the environment asks for it.
//!
//! ```text
//! STENCIL_LOG_FAULTS=delayed,sync-fails:12
//! ```
//!
//! | fault | what the disk does |
//! |---|---|
//! | `write-fails:N` | the N-th write writes nothing and fails (EIO) |
//! | `write-torn:N` | the N-th write writes its first half and fails (EIO) |
//! | `write-dies:N` | the N-th write writes its first half, then the process is killed |
//! | `no-room:N` | the N-th write and the two after it write their first halves (ENOSPC) |
//! | `sync-fails:N` | the N-th sync fails (EIO), and what was written since the last one is gone |
//! | `sync-lies:N` | the N-th sync and all after it succeed without doing anything, and nothing is written any more: what a check on the rest must find |
//! | `sync-slow:N` | each sync takes N ms more |
//! | `delayed` | writes reach the file with the next sync only: a kill is as good as a power cut |
//!
//! The first writes and syncs are those of opening. Each fault is told in the log of the process.

use std::{
    fs::File,
    io,
    str::FromStr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustix::io::Errno;

use crate::disk::{Disk, Kernel};

/// The environment variable that names the faults.
pub(crate) const VARIABLE: &str = "STENCIL_LOG_FAULTS";
/// Writes that find no room, one after the other.
const WITHOUT_ROOM: u64 = 3;

/// Which faults there are, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    write_fails: Option<u64>,
    write_torn: Option<u64>,
    write_dies: Option<u64>,
    no_room: Option<u64>,
    sync_fails: Option<u64>,
    sync_lies: Option<u64>,
    sync_slow: Option<Duration>,
    delayed: bool,
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut plan = Self::default();
        for part in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
            if part == "delayed" {
                plan.delayed = true;
                continue;
            }
            let wrong = || format!("{VARIABLE}: `{part}` is no fault; see the log's documentation");
            let (name, number) = part.split_once(':').ok_or_else(wrong)?;
            let number: u64 = number.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?;
            match name {
                "write-fails" => plan.write_fails = Some(number),
                "write-torn" => plan.write_torn = Some(number),
                "write-dies" => plan.write_dies = Some(number),
                "no-room" => plan.no_room = Some(number),
                "sync-fails" => plan.sync_fails = Some(number),
                "sync-lies" => plan.sync_lies = Some(number),
                "sync-slow" => plan.sync_slow = Some(Duration::from_millis(number)),
                _ => return Err(wrong()),
            }
        }
        Ok(plan)
    }
}

/// The disk.
pub(crate) struct Unsound {
    plan: Plan,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    writes: u64,
    syncs: u64,
    /// What was written since the last sync: in the file, or held back from it.
    unsynced: Vec<(u64, Vec<u8>)>,
}

impl Unsound {
    pub(crate) fn new(plan: Plan) -> Self {
        Self {
            plan,
            state: Mutex::default(),
        }
    }

    /// That of the environment, if it names faults.
    #[cfg(feature = "faults")]
    pub(crate) fn from_environment() -> Result<Option<Self>, String> {
        match std::env::var(VARIABLE) {
            Ok(text) => {
                let plan = text.parse()?;
                tracing::warn!(faults = text, "this build's log fails on purpose");
                Ok(Some(Self::new(plan)))
            }
            Err(_) => Ok(None),
        }
    }

    fn put(&self, state: &mut State, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        state.unsynced.push((offset, bytes.to_vec()));
        if self.plan.delayed || self.lies(state.syncs + 1) {
            return Ok(());
        }
        Kernel.write(file, bytes, offset)
    }

    /// Whether this sync does nothing.
    fn lies(&self, sync: u64) -> bool {
        self.plan.sync_lies.is_some_and(|first| sync >= first)
    }
}

impl Disk for Unsound {
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.writes += 1;
        let nth = state.writes;
        let half = &bytes[..bytes.len() / 2];
        if self.plan.write_fails == Some(nth) {
            return Err(injected("write-fails", Errno::IO));
        }
        if self.plan.write_torn == Some(nth) {
            self.put(&mut state, file, half, offset)?;
            return Err(injected("write-torn", Errno::IO));
        }
        if self.plan.write_dies == Some(nth) {
            // Into the file, whatever is held back: this is what shall be found.
            Kernel.write(file, half, offset)?;
            let _ = injected("write-dies", Errno::IO);
            kill();
        }
        let without_room = self.plan.no_room.map(|first| first..first + WITHOUT_ROOM);
        if without_room.is_some_and(|range| range.contains(&nth)) {
            self.put(&mut state, file, half, offset)?;
            return Err(injected("no-room", Errno::NOSPC));
        }
        self.put(&mut state, file, bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.syncs += 1;
        if let Some(pause) = self.plan.sync_slow {
            #[allow(
                clippy::disallowed_methods,
                reason = "a disk that is slow holds up the thread that writes to it"
            )]
            std::thread::sleep(pause);
        }
        let unsynced = std::mem::take(&mut state.unsynced);
        if self.lies(state.syncs) {
            return Ok(());
        }
        if self.plan.sync_fails == Some(state.syncs) {
            // As after a failed write-back: the pages are marked clean, and the disk has not them.
            if let Some(kept) = unsynced.iter().map(|(offset, _)| *offset).min() {
                let length = file.metadata()?.len();
                file.set_len(length.min(kept))?;
            }
            return Err(injected("sync-fails", Errno::IO));
        }
        if self.plan.delayed {
            for (offset, bytes) in &unsynced {
                Kernel.write(file, bytes, *offset)?;
            }
        }
        Kernel.sync(file)
    }
}

fn injected(fault: &str, errno: Errno) -> io::Error {
    tracing::warn!(fault, "a fault was injected");
    errno.into()
}

fn kill() -> ! {
    let own = rustix::process::getpid();
    let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
    // Only if the kernel refused.
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Log, Options};
    use std::sync::Arc;

    fn open(dir: &std::path::Path, plan: &str) -> Log {
        let disk = Arc::new(Unsound::new(plan.parse().unwrap()));
        Log::open_on(Options::new(dir), disk).unwrap()
    }

    /// What can be read, up to a place where the log knows that something is lost.
    fn payloads(dir: &std::path::Path) -> Vec<Vec<u8>> {
        let log = Log::open(Options::new(dir)).unwrap();
        let mut reader = log.reader(log.oldest()).unwrap();
        std::iter::from_fn(|| reader.next().ok().flatten())
            .map(|record| record.payload.to_vec())
            .collect()
    }

    #[test]
    fn a_typing_error_is_told() {
        assert_eq!("".parse(), Ok(Plan::default()));
        let both: Plan = "delayed, sync-fails:3".parse().unwrap();
        assert!(both.delayed && both.sync_fails == Some(3));
        for bad in ["sync-fails", "sync-fails:0", "sync-fail:1", "delayed:1"] {
            let error = bad.parse::<Plan>().unwrap_err();
            assert!(error.contains(bad), "{error}");
        }
    }

    #[tokio::test]
    async fn what_a_failed_sync_has_lost_was_not_confirmed() {
        for plan in ["sync-fails:3", "delayed,sync-fails:3"] {
            let dir = tempfile::tempdir().unwrap();
            // Opening syncs the segment's header.
            let log = open(dir.path(), plan);
            log.wait(log.append(&[b"first"]).unwrap()).await.unwrap();
            let lost = log.wait(log.append(&[b"second"]).unwrap()).await;
            assert!(matches!(lost, Err(Error::Poisoned(_))), "{lost:?}");
            drop(log);
            assert_eq!(payloads(dir.path()), [b"first"]);
        }
    }

    #[tokio::test]
    async fn a_torn_write_is_not_confirmed_and_not_read() {
        for plan in ["write-torn:3", "write-fails:3"] {
            let dir = tempfile::tempdir().unwrap();
            let log = open(dir.path(), plan);
            log.wait(log.append(&[b"first"]).unwrap()).await.unwrap();
            let lost = log.wait(log.append(&[b"second"]).unwrap()).await;
            assert!(matches!(lost, Err(Error::Poisoned(_))), "{lost:?}");
            drop(log);
            assert_eq!(payloads(dir.path()), [b"first"]);
        }
    }

    #[tokio::test]
    async fn a_disk_that_lies_loses_what_was_confirmed() {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path(), "sync-lies:3");
        log.wait(log.append(&[b"first"]).unwrap()).await.unwrap();
        log.wait(log.append(&[b"second"]).unwrap()).await.unwrap();
        drop(log);
        assert_eq!(payloads(dir.path()), [b"first"]);
    }

    #[tokio::test]
    async fn delayed_writes_are_not_in_the_file_before_their_sync() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = File::options()
            .create_new(true)
            .write(true)
            .open(&path)
            .unwrap();
        let disk = Unsound::new("delayed".parse().unwrap());
        disk.write(&file, b"ab", 0).unwrap();
        disk.write(&file, b"cd", 2).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"");
        disk.sync(&file).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"abcd");
    }
}
