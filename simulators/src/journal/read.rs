//! Reading journals, also while they are being written.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

use stencil_protocol::command::State;
use stencil_protocol::id::{Boot, CommandId, DeviceId, Seq};
use stencil_protocol::ranges::RangeSet;

use super::{Error, Line, SUFFIX};

/// What the journals of a folder say.
#[derive(Clone, Debug, Default)]
pub struct Journals {
    /// Every number that was given, by device and boot.
    pub given: BTreeMap<(DeviceId, Boot), RangeSet>,
    /// Every command that was carried out, in order for each device.
    pub executed: Vec<Executed>,
    /// Every door that was opened or closed, in order for each device.
    pub doors: Vec<Door>,
}

/// A number that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Given {
    /// In this boot.
    pub boot: Boot,
    /// The number.
    pub seq: Seq,
}

/// A command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    /// By this device.
    pub device: DeviceId,
    /// In this boot.
    pub boot: Boot,
    /// The command.
    pub id: CommandId,
    /// What it was, such as `lock`.
    pub name: String,
    /// `Done` or `Failed`.
    pub outcome: State,
    /// When, in microseconds since the Unix epoch.
    pub at_us: i64,
}

/// A door that was opened or closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    /// Of this device.
    pub device: DeviceId,
    /// Whether it is open now.
    pub open: bool,
    /// By whom: `someone`, or the lock's device id.
    pub by: String,
    /// When, in microseconds since the Unix epoch.
    pub at_us: i64,
}

impl Journals {
    /// Every number that was given, one by one.
    pub fn numbers(&self) -> impl Iterator<Item = (&DeviceId, Given)> + '_ {
        self.given.iter().flat_map(|((device, boot), numbers)| {
            numbers.iter().flatten().map(move |seq| {
                (
                    device,
                    Given {
                        boot: *boot,
                        seq: Seq(seq),
                    },
                )
            })
        })
    }

    /// How many numbers were given.
    pub fn count(&self) -> u64 {
        self.given.values().map(RangeSet::len).sum()
    }

    fn take(&mut self, device: &DeviceId, line: Line<'_>) {
        let mut add = |boot, first: Seq, last: Seq| {
            self.given
                .entry((device.clone(), boot))
                .or_default()
                .insert(first.0..=last.0);
        };
        match line {
            Line::Given { boot, seq, .. } => add(boot, seq, seq),
            Line::Span { boot, first, last } => add(boot, first, last),
            Line::Executed {
                boot,
                id,
                name,
                outcome,
                at_us,
            } => self.executed.push(Executed {
                device: device.clone(),
                boot,
                id,
                name: name.into_owned(),
                outcome,
                at_us,
            }),
            Line::Door { open, by, at_us } => self.doors.push(Door {
                device: device.clone(),
                open,
                by: by.into_owned(),
                at_us,
            }),
            Line::Boot { .. } | Line::Clock { .. } | Line::Fault { .. } => {}
        }
    }
}

/// Reads all journals in a folder. A last line without its end, of a simulator
/// that is writing or was killed, is left out.
///
/// # Errors
/// [`Error`] with the file, and the line where one is wrong.
pub fn read(dir: impl AsRef<Path>) -> Result<Journals, Error> {
    let dir = dir.as_ref();
    let io = |source| Error::Io {
        path: dir.to_owned(),
        source,
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(io)? {
        paths.push(entry.map_err(io)?.path());
    }
    paths.sort();
    let mut journals = Journals::default();
    for path in paths {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let Some(device) = name.strip_suffix(SUFFIX) else {
            continue;
        };
        let device = DeviceId::parse(device).map_err(|source| Error::Name {
            path: path.clone(),
            source,
        })?;
        read_into(&mut journals, &device, &path)?;
    }
    Ok(journals)
}

/// Reads the journal of one device in a folder.
///
/// # Errors
/// As [`read`].
pub fn read_device(dir: impl AsRef<Path>, device: &DeviceId) -> Result<Journals, Error> {
    let mut journals = Journals::default();
    let path = dir.as_ref().join(format!("{device}{SUFFIX}"));
    read_into(&mut journals, device, &path)?;
    Ok(journals)
}

fn read_into(journals: &mut Journals, device: &DeviceId, path: &Path) -> Result<(), Error> {
    lines(path, |line| journals.take(device, line))
}

/// Shows every line of one journal in order.
///
/// # Errors
/// [`Error`] with the line that is wrong.
pub fn lines(path: impl AsRef<Path>, mut show: impl FnMut(Line<'_>)) -> Result<(), Error> {
    let path = path.as_ref();
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let mut reader = BufReader::with_capacity(256 * 1024, File::open(path).map_err(io)?);
    let mut text = Vec::new();
    let mut line = 0;
    loop {
        text.clear();
        reader.read_until(b'\n', &mut text).map_err(io)?;
        if text.pop() != Some(b'\n') {
            return Ok(());
        }
        line += 1;
        let parsed = serde_json::from_slice(&text).map_err(|source| Error::Line {
            path: path.to_owned(),
            line,
            source,
        })?;
        show(parsed);
    }
}
