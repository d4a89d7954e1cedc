//! What the process logs, as far as the gateway has a hand in it: how much, the newest lines in
//! memory, and these on disk for who looks into it later.

use std::{
    collections::VecDeque,
    fmt,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use stencil_crypto::rng;
use stencil_log::regular;
use tokio::sync::watch;
use tracing::Level;

use crate::{clock, spool::stopped};

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
    levels: Arc<Mutex<Levels>>,
}

/// How much is logged.
#[derive(Default)]
struct Levels {
    /// As the settings say; `None`: as at the start.
    settled: Option<String>,
    /// For a while, until then. In memory alone: a restart ends it, too.
    raised: Option<(String, Instant)>,
}

/// The newest lines.
pub struct Ring {
    lines: Mutex<Lines>,
    /// Names the numbering of the lines.
    epoch: u64,
}

#[derive(Default)]
struct Lines {
    lines: VecDeque<Held>,
    bytes: usize,
    /// How many there have been.
    count: u64,
}

/// A line.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) level: Level,
    pub(crate) at_us: i64,
    /// By a clock that nobody sets.
    pub(crate) at: Instant,
    pub(crate) text: String,
}

/// The lines that are held, and where they stand among all there have been.
pub(crate) struct Newest {
    pub(crate) lines: Vec<Held>,
    /// The number of the first, from 0; the last one's is one below `count`.
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) epoch: u64,
}

impl Logs {
    /// With a function that sets how much is logged (it gets `None` for as much as at the start), and
    /// the lines that somebody fills.
    #[must_use]
    pub fn new(ring: Arc<Ring>, set_level: impl Fn(Option<&str>) + Send + Sync + 'static) -> Self {
        Self {
            set_level: Some(Arc::new(set_level)),
            ring,
            ..Self::default()
        }
    }

    /// Has so much logged as settings say; what was asked for a while goes on.
    pub(crate) fn set_level(&self, level: Option<&str>) {
        let mut levels = self.levels();
        levels.settled = level.map(str::to_owned);
        if levels.raised.is_none() {
            self.apply(level);
        }
    }

    /// Has so much logged for a while; `None`: as settings say, from now on.
    pub(crate) fn raise(&self, level: Option<&str>, time: Duration) {
        let mut levels = self.levels();
        match level {
            Some(level) => {
                self.apply(Some(level));
                levels.raised = Some((level.to_owned(), Instant::now() + time));
                let seconds = time.as_secs();
                tracing::info!(level, seconds, "the hub has so much logged for a while");
            }
            None => self.fall_back(&mut levels),
        }
    }

    /// What was raised for a while, and for how long still.
    #[cfg(test)]
    fn raised(&self) -> Option<(String, Duration)> {
        let levels = self.levels();
        let (level, until) = levels.raised.as_ref()?;
        Some((
            level.clone(),
            until.saturating_duration_since(Instant::now()),
        ))
    }

    /// The lines that somebody fills.
    pub(crate) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Ends what was asked for a while and is over.
    fn settle(&self, now: Instant) {
        let mut levels = self.levels();
        if levels
            .raised
            .as_ref()
            .is_some_and(|(_, until)| now >= *until)
        {
            self.fall_back(&mut levels);
        }
    }

    fn fall_back(&self, levels: &mut Levels) {
        if levels.raised.take().is_some() {
            tracing::info!("so much is logged as the settings say again");
            self.apply(levels.settled.as_deref());
        }
    }

    fn apply(&self, level: Option<&str>) {
        if let Some(set) = &self.set_level {
            set(level);
            tracing::debug!(level, "how much is logged is set");
        }
    }

    /// When to look again: soon for new lines, sooner where a while ends before.
    fn pause(&self) -> Duration {
        let levels = self.levels();
        let raised = levels.raised.as_ref();
        let left = raised.map(|(_, until)| until.saturating_duration_since(Instant::now()));
        left.map_or(INTERVAL, |left| left.min(INTERVAL))
    }

    fn levels(&self) -> MutexGuard<'_, Levels> {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes new lines into the folder until `stop` holds true.
    pub(crate) async fn keep(self, folder: PathBuf, mut stop: watch::Receiver<bool>) {
        loop {
            let ends = tokio::time::timeout(self.pause(), stopped(&mut stop)).await;
            self.settle(Instant::now());
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
        crate::disk::make_folder(folder)?;
        let [current, previous] = FILES.map(|name| folder.join(name));
        if fs::metadata(&current).is_ok_and(|of| of.len() >= MAX_FILE_BYTES) {
            fs::rename(&current, previous)?;
        }
        let mut options = OpenOptions::new();
        let mut file = regular::open(options.append(true).create(true).mode(0o600), &current)?;
        file.write_all(lines.as_bytes())?;
        self.written.store(count, Ordering::Relaxed);
        Ok(())
    }
}

impl Ring {
    /// Takes a line.
    pub fn push(&self, level: Level, line: &str) {
        let line = line.trim_end();
        let text = line[..line.floor_char_boundary(MAX_LINE_BYTES)].to_owned();
        let mut held = self.held();
        held.bytes += text.len();
        held.count += 1;
        held.lines.push_back(Held {
            level,
            at_us: clock::now_us(),
            at: Instant::now(),
            text,
        });
        while held.lines.len() > MAX_LINES || held.bytes > MAX_BYTES {
            let Some(oldest) = held.lines.pop_front() else {
                return;
            };
            held.bytes -= oldest.text.len();
        }
    }

    /// All that are held.
    pub(crate) fn newest(&self) -> Newest {
        let held = self.held();
        Newest {
            first: held.count.saturating_sub(held.lines.len() as u64),
            lines: held.lines.iter().cloned().collect(),
            count: held.count,
            epoch: self.epoch,
        }
    }

    /// What has come since there were so many, and how many there are.
    fn since(&self, count: u64) -> (String, u64) {
        let held = self.held();
        let new = usize::try_from(held.count.saturating_sub(count)).unwrap_or(usize::MAX);
        let skipped = held.lines.len().saturating_sub(new);
        let mut text = String::new();
        for line in held.lines.iter().skip(skipped) {
            text.push_str(&line.text);
            text.push('\n');
        }
        (text, held.count)
    }

    fn held(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Ring {
    fn default() -> Self {
        let mut epoch = [0; 8];
        rand_core::Rng::fill_bytes(&mut rng::Os, &mut epoch);
        Self {
            lines: Mutex::default(),
            epoch: u64::from_le_bytes(epoch),
        }
    }
}

/// The lines that are on disk, the oldest first. Blocks.
pub(crate) fn kept(folder: &Path) -> String {
    let mut text = String::new();
    for name in FILES.iter().rev() {
        if let Ok(file) = regular::open_to_read(folder.join(name)) {
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
        let newest = ring.newest();
        assert_eq!((newest.lines.len(), newest.first), (MAX_LINES, 10));
        assert_eq!(newest.count, MAX_LINES as u64 + 10);
        assert_eq!(newest.lines[MAX_LINES - 1].text, "line 2009");
        assert_eq!(newest.lines[MAX_LINES - 1].level, Level::WARN);
        for _ in 0..1_000 {
            ring.push(Level::ERROR, &"ä".repeat(MAX_LINE_BYTES));
        }
        let held = ring.held();
        assert!(held.bytes <= MAX_BYTES);
        assert!(
            held.lines
                .iter()
                .all(|line| line.text.len() <= MAX_LINE_BYTES)
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

    #[test]
    fn what_is_logged_for_a_while_falls_back_to_what_the_settings_say_then() {
        let set: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
        let logs = Logs::new(Arc::default(), {
            let set = Arc::clone(&set);
            move |level| set.lock().unwrap().push(level.map(str::to_owned))
        });
        let last = || set.lock().unwrap().last().unwrap().clone();
        logs.set_level(Some("warn"));
        assert_eq!(last().as_deref(), Some("warn"));
        logs.raise(Some("debug"), Duration::from_secs(600));
        assert_eq!(last().as_deref(), Some("debug"));
        // Other settings meanwhile count afterwards.
        logs.set_level(Some("error"));
        assert_eq!(last().as_deref(), Some("debug"));
        let (level, left) = logs.raised().unwrap();
        assert!(level == "debug" && left > Duration::from_secs(590));
        logs.settle(Instant::now() + Duration::from_secs(599));
        assert_eq!(last().as_deref(), Some("debug"));
        logs.settle(Instant::now() + Duration::from_secs(601));
        assert_eq!(last().as_deref(), Some("error"));
        logs.raise(Some("trace"), Duration::from_secs(600));
        logs.raise(None, Duration::ZERO);
        assert_eq!(last().as_deref(), Some("error"));
        assert_eq!(logs.pause(), INTERVAL);
    }
}
