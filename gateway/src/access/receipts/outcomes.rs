//! What became of the commands whose receipts wait, in a file beside theirs: a line each, `COMMAND STATE`.
//!
//! The receipts go without it: a line that cannot be read is passed over, and leaves an outcome unknown.

use std::{
    collections::{HashMap, VecDeque},
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use stencil_log::regular;
use stencil_protocol::{command::State, id::CommandId};

use super::Waiting;

/// Beside the file of receipts.
pub(super) const FILE: &str = "receipts.outcomes";
/// More than the longest line has, in bytes.
const MAX_LINE: u64 = 64;

#[derive(Debug)]
pub(super) struct Outcomes {
    path: PathBuf,
    file: File,
}

impl Outcomes {
    /// Opens the file in `folder`, and says of those that wait what is in it. Blocks.
    pub(super) fn open(folder: &Path, waiting: &mut VecDeque<Waiting>) -> io::Result<Self> {
        let path = folder.join(FILE);
        let mut bytes = Vec::new();
        match regular::open_to_read(&path) {
            // The file begins anew after as many lines as receipts, each with at most two words.
            Ok(file) => {
                let lines = (waiting.len() + super::REWRITE) as u64 * 2;
                file.take(lines * MAX_LINE).read_to_end(&mut bytes)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut known: HashMap<CommandId, State> = HashMap::new();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or_default();
            let line = std::str::from_utf8(line).ok();
            let words = line.and_then(|line| line.split_once(' '));
            if let Some((command, state)) = words
                && let (Ok(command), Some(state)) = (CommandId::parse(command), State::parse(state))
                && state.is_settled()
            {
                known.insert(command, state);
            }
        }
        for waiting in waiting.iter_mut() {
            waiting.outcome = known.get(&waiting.command).copied();
        }
        let file = open(&path)?;
        // Half a line at the end must not become one with the next.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n');
        file.set_len(whole.map_or(0, |last| last as u64 + 1))?;
        Ok(Self { path, file })
    }

    /// Notes one; when this returns it is on disk. Blocks.
    pub(super) fn note(&mut self, command: CommandId, state: State) -> io::Result<()> {
        self.file.write_all(line(command, state).as_bytes())?;
        self.file.sync_data()
    }

    /// Lets go of all but those that wait. Blocks.
    pub(super) fn write_anew(&mut self, waiting: &VecDeque<Waiting>) -> io::Result<()> {
        let known = waiting
            .iter()
            .filter_map(|it| Some((it.command, it.outcome?)));
        let lines: String = known.map(|(command, state)| line(command, state)).collect();
        if lines.is_empty() {
            return self.file.set_len(0);
        }
        let next = self.path.with_extension("outcomes.next");
        let mut file = super::super::open_next(&next)?;
        file.write_all(lines.as_bytes())?;
        file.sync_all()?;
        fs::rename(&next, &self.path)?;
        self.file = open(&self.path)?;
        Ok(())
    }
}

fn line(command: CommandId, state: State) -> String {
    format!("{command} {state}\n")
}

fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = OpenOptions::new();
    regular::open(options.create(true).append(true).mode(0o600), path)
}
