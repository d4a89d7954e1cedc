//! What the process logs, as far as the gateway has a hand in it: how much, the newest lines in
//! memory, and these on disk for who looks into it later.

use std::{
    collections::VecDeque,
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;
use tracing::Level;

use crate::spool::stopped;

/// The most lines that are held.
const MAX_LINES: usize = 2_000;
/// And their bytes.
const MAX_BYTES: usize = 256 * 1024;
/// The longest line; the rest of it is cut off.
const MAX_LINE_BYTES: usize = 2 * 1024;
/// The file that is written on, and the one before it.
const FILES: [&str; 2] = ["current.log", "previous.log"];
/// Size at which a file is put aside.
const MAX_FILE_BYTES: u64 = 256 * 1024;
/// How often new lines go to disk.
const INTERVAL: Duration = Duration::from_secs(5);

/// Sets how much is logged: one of `error`, `warn`, `info`, `debug`, `trace`; `None`: as at the
/// start.
type SetLevel = Arc<dyn Fn(Option<&str>) + Send + Sync>;

/// What the gateway may do to the process's log. Without it, it does nothing.
#[derive(Clone, Default)]
pub struct Logs {
    set_level: Option<SetLevel>,
    ring: Arc<Ring>,
    /// Up to where lines are on disk.
    written: Arc<AtomicU64>,
}

/// The newest lines.
#[derive(Default)]
pub struct Ring(Mutex<Lines>);

#[derive(Default)]
struct Lines {
    lines: VecDeque<(Level, String)>,
    bytes: usize,
    /// How many there have been.
    count: u64,
}

impl Logs {
    /// With a function that sets how much is logged (it gets `None` for as much as at the start), and
    /// the lines that somebody fills.
    #[must_use]
    pub fn new(ring: Arc<Ring>, set_level: impl Fn(Option<&str>) + Send + Sync + 'static) -> Self {
        Self {
            set_level: Some(Arc::new(set_level)),
            ring,
            written: Arc::default(),
        }
    }

    pub(crate) fn set_level(&self, level: Option<&str>) {
        if let Some(set) = &self.set_level {
            set(level);
            tracing::debug!(level, "how much is logged is set");
        }
    }

    /// Writes new lines into the folder until `stop` holds true.
    pub(crate) async fn keep(self, folder: PathBuf, mut stop: watch::Receiver<bool>) {
        loop {
            let ends = tokio::time::timeout(INTERVAL, stopped(&mut stop)).await;
            let (logs, folder) = (self.clone(), folder.clone());
            let written = tokio::task::spawn_blocking(move || logs.write(&folder)).await;
            if let Ok(Err(error)) = written {
                // It would log this for ever: standard error has it all.
                tracing::debug!(%error, "the newest lines of the log are not on disk");
            }
            if ends.is_ok() {
                return;
            }
        }
    }

    fn write(&self, folder: &Path) -> io::Result<()> {
        let (lines, count) = self.ring.since(self.written.load(Ordering::Relaxed));
        if lines.is_empty() {
            return Ok(());
        }
        fs::create_dir_all(folder)?;
        let [current, previous] = FILES.map(|name| folder.join(name));
        if fs::metadata(&current).is_ok_and(|of| of.len() >= MAX_FILE_BYTES) {
            fs::rename(&current, previous)?;
        }
        let mut options = OpenOptions::new();
        let mut file = options
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&current)?;
        file.write_all(lines.as_bytes())?;
        self.written.store(count, Ordering::Relaxed);
        Ok(())
    }
}

impl Ring {
    /// Takes a line.
    pub fn push(&self, level: Level, line: &str) {
        let line = line.trim_end();
        let line = line[..line.floor_char_boundary(MAX_LINE_BYTES)].to_owned();
        let mut held = self.held();
        held.bytes += line.len();
        held.count += 1;
        held.lines.push_back((level, line));
        while held.lines.len() > MAX_LINES || held.bytes > MAX_BYTES {
            let Some((_, oldest)) = held.lines.pop_front() else {
                return;
            };
            held.bytes -= oldest.len();
        }
    }

    /// The newest lines of this level and those above, at most so many, the oldest first.
    #[must_use]
    pub fn last(&self, level: Level, max: usize) -> Vec<String> {
        let held = self.held();
        let fitting = held.lines.iter().rev().filter(|(of, _)| *of <= level);
        let mut lines: Vec<String> = fitting.take(max).map(|(_, line)| line.clone()).collect();
        lines.reverse();
        lines
    }

    /// What has come since there were so many, and how many there are.
    fn since(&self, count: u64) -> (String, u64) {
        let held = self.held();
        let new = usize::try_from(held.count.saturating_sub(count)).unwrap_or(usize::MAX);
        let skipped = held.lines.len().saturating_sub(new);
        let mut text = String::new();
        for (_, line) in held.lines.iter().skip(skipped) {
            text.push_str(line);
            text.push('\n');
        }
        (text, held.count)
    }

    fn held(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lines that are on disk, the oldest first. Blocks.
pub(crate) fn kept(folder: &Path) -> String {
    let mut text = String::new();
    for name in FILES.iter().rev() {
        if let Ok(file) = File::open(folder.join(name)) {
            let mut bytes = Vec::new();
            // What cannot be read is not there.
            let _ =
                io::Read::read_to_end(&mut io::Read::take(file, 2 * MAX_FILE_BYTES), &mut bytes);
            text.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
    text
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs").finish_non_exhaustive()
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_held_within_bounds() {
        let ring = Ring::default();
        for n in 0..MAX_LINES + 10 {
            let level = if n % 2 == 0 { Level::INFO } else { Level::WARN };
            ring.push(level, &format!("line {n}\n"));
        }
        assert_eq!(ring.held().lines.len(), MAX_LINES);
        assert_eq!(ring.last(Level::INFO, 2), ["line 2008", "line 2009"]);
        assert_eq!(ring.last(Level::WARN, 2), ["line 2007", "line 2009"]);
        assert!(ring.last(Level::ERROR, 2).is_empty());
        for _ in 0..1_000 {
            ring.push(Level::ERROR, &"ä".repeat(MAX_LINE_BYTES));
        }
        let held = ring.held();
        assert!(held.bytes <= MAX_BYTES);
        assert!(
            held.lines
                .iter()
                .all(|(_, line)| line.len() <= MAX_LINE_BYTES)
        );
    }

    #[test]
    fn each_line_gets_to_the_disk_once_within_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let logs = Logs::default();
        logs.ring.push(Level::INFO, "one");
        logs.write(folder.path()).unwrap();
        logs.write(folder.path()).unwrap();
        logs.ring.push(Level::INFO, "two");
        logs.write(folder.path()).unwrap();
        assert_eq!(kept(folder.path()), "one\ntwo\n");
        for _ in 0..1_000 {
            logs.ring.push(Level::INFO, &"x".repeat(1_024));
            logs.write(folder.path()).unwrap();
        }
        let bytes: u64 = FILES
            .iter()
            .map(|name| fs::metadata(folder.path().join(name)).unwrap().len())
            .sum();
        assert!(bytes <= 2 * (MAX_FILE_BYTES + 2_048), "{bytes}");
    }
}
