//! Writing a journal so that nothing is missing in it, whenever the simulator
//! is killed and however full the disk is.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use stencil_firmware::{Reading, Stamp, State, Witness};
use stencil_protocol::command::{Command, State as CommandState};
use stencil_protocol::id::{Boot, DeviceId, Seq};
use stencil_protocol::ranges::RangeSet;

use super::{Error, Line, SUFFIX, lines};

/// How much of a journal's end is looked at when it is opened.
const TAIL_BYTES: u64 = 64 * 1024;
/// How many lines other than numbers a shortened journal keeps.
const KEPT_EVENTS: usize = 10_000;

/// The journal of one device. Each line is handed to the operating system
/// before the call returns, so that it survives the simulator.
#[derive(Debug)]
pub(crate) struct Journal {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    bytes: u64,
    max_bytes: u64,
    /// The highest number that the file has of the newest boot in it.
    last: Option<(Boot, Seq)>,
    /// Numbers that could not be written yet.
    owed: Option<(Boot, Seq, Seq)>,
}

impl Journal {
    /// Opens or makes the journal of `device` in `dir`. A torn last line is cut.
    pub(crate) fn open(dir: &Path, device: &DeviceId, max_bytes: u64) -> Result<Self, Error> {
        let path = dir.join(format!("{device}{SUFFIX}"));
        let io = |source| Error::Io {
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io)?;
        let (bytes, last) = tail(&file).map_err(io)?;
        file.set_len(bytes).map_err(io)?;
        file.seek(SeekFrom::Start(bytes)).map_err(io)?;
        let inner = Inner {
            path,
            file,
            bytes,
            max_bytes,
            last,
            owed: None,
        };
        Ok(Self {
            inner: Mutex::new(inner),
        })
    }

    /// Writes a line that gives no number.
    pub(crate) fn note(&self, line: &Line<'_>) {
        self.inner().append(line);
    }

    /// Notes the numbers that retained memory knows and this file does not:
    /// given in the moment in which the simulator was killed.
    pub(crate) fn catch_up(&self, state: &State) {
        let mut inner = self.inner();
        let from = match inner.last {
            Some((boot, last)) if boot == state.boot => last.0,
            _ => 0,
        };
        if state.last_given.0 > from {
            inner.given(state.boot, Seq(from + 1), state.last_given, None);
        }
    }

    /// Whether numbers wait to be written: the disk is full or gone.
    pub(crate) fn is_behind(&self) -> bool {
        self.inner().owed.is_some()
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Notes numbers, with the line for them or as a span.
    fn given(&mut self, boot: Boot, first: Seq, last: Seq, line: Option<&Line<'_>>) {
        let span = Line::Span { boot, first, last };
        if !self.append(line.unwrap_or(&span)) {
            self.owed = match self.owed {
                Some((owed, from, _)) if owed == boot => Some((boot, from, last)),
                // Boots are told apart; an older debt is one of a boot that the
                // catch-up of the next start finds.
                _ => Some((boot, first, last)),
            };
        }
        self.last = Some((boot, last));
    }

    /// Appends what is owed, then the line. Returns whether the line is there.
    fn append(&mut self, line: &Line<'_>) -> bool {
        if let Some((boot, first, last)) = self.owed
            && self.write(&Line::Span { boot, first, last })
        {
            tracing::info!(path = %self.path.display(), "the journal can be written again");
            self.owed = None;
        }
        if self.owed.is_some() || !self.write(line) {
            return false;
        }
        if self.bytes > self.max_bytes
            && let Err(error) = self.shorten()
        {
            tracing::warn!(%error, "the journal can't be shortened");
            // Not at every line from now on.
            self.max_bytes = self.max_bytes.saturating_mul(2);
        }
        true
    }

    fn write(&mut self, line: &Line<'_>) -> bool {
        let mut text = match serde_json::to_vec(line) {
            Ok(text) => text,
            Err(error) => {
                tracing::error!(%error, "a journal's line can't be written as JSON");
                return false;
            }
        };
        text.push(b'\n');
        if let Err(error) = self.file.write_all(&text) {
            if self.owed.is_none() {
                tracing::error!(path = %self.path.display(), %error,
                    "the journal can't be written: the device stops measuring");
            }
            // What was written of it may not stay in the middle of the file.
            let _ = self.file.set_len(self.bytes);
            let _ = self.file.seek(SeekFrom::Start(self.bytes));
            return false;
        }
        self.bytes += text.len() as u64;
        true
    }

    /// Replaces the numbers' lines by spans, and keeps the newest other lines.
    fn shorten(&mut self) -> Result<(), Error> {
        let mut given: BTreeMap<Boot, RangeSet> = BTreeMap::new();
        let mut events = VecDeque::new();
        lines(&self.path, |line| match line {
            Line::Given { boot, seq, .. } => {
                given.entry(boot).or_default().insert(seq.0..=seq.0);
            }
            Line::Span { boot, first, last } => {
                given.entry(boot).or_default().insert(first.0..=last.0);
            }
            event => {
                if events.len() == KEPT_EVENTS {
                    events.pop_front();
                }
                events.extend(serde_json::to_vec(&event).ok());
            }
        })?;
        let mut text = Vec::new();
        for (boot, numbers) in &given {
            for span in numbers.iter() {
                let (first, last) = (Seq(*span.start()), Seq(*span.end()));
                events.extend(
                    serde_json::to_vec(&Line::Span {
                        boot: *boot,
                        first,
                        last,
                    })
                    .ok(),
                );
            }
        }
        for event in events {
            text.extend(event);
            text.push(b'\n');
        }
        let fresh = self.path.with_extension("tmp");
        let io = |source| Error::Io {
            path: fresh.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&fresh)
            .map_err(io)?;
        file.write_all(&text).map_err(io)?;
        fs::rename(&fresh, &self.path).map_err(io)?;
        self.file = file;
        self.bytes = text.len() as u64;
        // Spans alone may be large after very many boots.
        self.max_bytes = self.max_bytes.max(self.bytes.saturating_mul(2));
        Ok(())
    }
}

/// Where the last whole line ends, and the last number in the file's end.
fn tail(file: &File) -> std::io::Result<(u64, Option<(Boot, Seq)>)> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(TAIL_BYTES);
    let mut bytes = vec![0; usize::try_from(length - from).unwrap_or(0)];
    file.read_exact_at(&mut bytes, from)?;
    let whole = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let last = bytes[..whole]
        .rsplit(|byte| *byte == b'\n')
        .find_map(|text| {
            match serde_json::from_slice(text) {
                Ok(Line::Given { boot, seq, .. }) => Some((boot, seq)),
                Ok(Line::Span { boot, last, .. }) => Some((boot, last)),
                // A newer boot that gave no number yet.
                _ => None,
            }
        });
    Ok((from + whole as u64, last))
}

/// The journal as the firmware's witness.
#[derive(Clone, Debug)]
pub(crate) struct Book(pub(crate) Arc<Journal>);

impl Witness for Book {
    fn given(&mut self, boot: Boot, seq: Seq, reading: &Reading<'_>, stamp: Stamp) {
        let (time_us, counter_us) = match stamp {
            Stamp::Wall(time_us) => (Some(time_us), None),
            Stamp::Counter(counter_us) => (None, Some(counter_us)),
        };
        let line = Line::Given {
            boot,
            seq,
            time_us,
            counter_us,
            name: reading.name.into(),
            value: reading.value.into(),
            unit: reading.unit.map(Into::into),
        };
        self.0.inner().given(boot, seq, seq, Some(&line));
    }

    fn time_known(&mut self, boot: Boot, offset_us: i64) {
        self.0.note(&Line::Clock { boot, offset_us });
    }

    fn executed(&mut self, boot: Boot, command: &Command<'_>, outcome: CommandState, at_us: i64) {
        let name = command.name.into();
        self.0.note(&Line::Executed {
            boot,
            id: command.id,
            name,
            outcome,
            at_us,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::read;
    use stencil_firmware::Taken;
    use stencil_protocol::sample::Value;

    fn device() -> DeviceId {
        DeviceId::parse("freezer-01").unwrap()
    }

    fn open(dir: &Path, max_bytes: u64) -> Book {
        Book(Arc::new(Journal::open(dir, &device(), max_bytes).unwrap()))
    }

    fn give(book: &mut Book, seqs: std::ops::RangeInclusive<u64>) {
        let reading = Reading {
            name: "temperature",
            value: Value::Number(-18.5),
            unit: Some("degC"),
            taken: Taken::Now,
        };
        for seq in seqs {
            book.given(Boot(1), Seq(seq), &reading, Stamp::Wall(1_000));
        }
    }

    #[test]
    fn a_torn_line_is_cut_and_what_memory_knows_is_added() {
        let dir = tempfile::tempdir().unwrap();
        give(&mut open(dir.path(), 1 << 20), 1..=3);
        let path = dir.path().join("freezer-01.jsonl");
        let mut text = fs::read(&path).unwrap();
        text.extend(b"{\"what\":\"giv");
        fs::write(&path, text).unwrap();
        assert_eq!(read(dir.path()).unwrap().count(), 3);
        let mut book = open(dir.path(), 1 << 20);
        let state = State {
            last_given: Seq(5),
            ..State::new(Boot(1))
        };
        book.0.catch_up(&state);
        give(&mut book, 6..=6);
        let journals = read(dir.path()).unwrap();
        assert_eq!(journals.count(), 6);
        assert_eq!(journals.numbers().last().unwrap().1.seq, Seq(6));
    }

    #[test]
    fn a_long_journal_is_shortened_and_keeps_every_number_and_event() {
        let dir = tempfile::tempdir().unwrap();
        let mut book = open(dir.path(), 20_000);
        give(&mut book, 1..=300);
        book.0.note(&Line::Door {
            open: true,
            by: "someone".into(),
            at_us: 5,
        });
        give(&mut book, 301..=900);
        let bytes = fs::metadata(dir.path().join("freezer-01.jsonl"))
            .unwrap()
            .len();
        assert!(bytes < 21_000, "{bytes}");
        let journals = read(dir.path()).unwrap();
        assert_eq!(
            journals.given[&(device(), Boot(1))]
                .iter()
                .collect::<Vec<_>>(),
            [1..=900]
        );
        assert_eq!(journals.doors.len(), 1);
        // The writer goes on in the new file.
        give(&mut open(dir.path(), 20_000), 901..=901);
        assert_eq!(read(dir.path()).unwrap().count(), 901);
    }

    #[test]
    fn numbers_of_a_disk_that_fails_are_written_when_it_works_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut book = open(dir.path(), 1 << 20);
        give(&mut book, 1..=3);
        // A handle that cannot be written to stands for a full disk.
        let path = dir.path().join("freezer-01.jsonl");
        let works = std::mem::replace(&mut book.0.inner().file, File::open(&path).unwrap());
        give(&mut book, 4..=6);
        assert!(book.0.is_behind());
        assert_eq!(read(dir.path()).unwrap().count(), 3);
        book.0.inner().file = works;
        give(&mut book, 7..=7);
        assert!(!book.0.is_behind());
        assert_eq!(read(dir.path()).unwrap().count(), 7);
    }

    #[test]
    fn a_wrong_line_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("freezer-01.jsonl");
        let good = r#"{"what":"boot","boot":1,"at_us":1}"#;
        fs::write(&path, format!("{good}\n{{\"what\":\"lunch\"}}\n{good}\n")).unwrap();
        let error = read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("freezer-01.jsonl, line 2"), "{error}");
    }
}
