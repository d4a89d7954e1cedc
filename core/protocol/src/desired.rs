//! What a gateway shall be like, and what it says that it is like.
//!
//! ```text
//! desired = [0, epoch, revision, [* [section, digest, length]]]   hub → gateway
//!         | [1, digest, offset, bytes]                            hub → gateway: a piece
//! state   = [0, { 0: version: text, 1: started in µs, 2: at in µs,
//!                 ? 3: [epoch, revision],                         what it runs with
//!                 ? 4: [epoch, revision, verdict, at in µs, [* flaw]],
//!                 5: spool bytes, 6: of these waiting, 7: links,
//!                 ? 8: certificate's end in µs,
//!                 ? 9: field devices, ? 10: few, ? 11: few }]     gateway → hub
//!         | [1, digest, offset]                                   gateway → hub: asks for a piece
//! flaw    = [section | null, line, column, text]
//! few     = [how many there are, [* device]]                      the first of them
//! ```
//!
//! A desired state is a set of sections, each a text that is named by its SHA-256, so that what has
//! not changed is not sent again. The hub names it whenever the gateway says what it is like and
//! has another one; the gateway asks for the sections that it does not hold, piece by piece, checks
//! all of it, tries it, and says what became of it ([`Verdict`]). A revision is judged once: the hub
//! gives another number to what is to be tried again. Another epoch is another numbering.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::Encoder;

use crate::cbor::{self, Reader, need, once};
use crate::id::DeviceId;

/// The longest text of one section, in bytes.
pub const MAX_SECTION_BYTES: usize = 1024 * 1024;
/// The most bytes in one piece.
pub const MAX_PIECE_BYTES: usize = 24 * 1024;
/// The most that is told to be wrong with one desired state.
pub const MAX_FLAWS: usize = 16;
/// The longest text of a flaw, in bytes.
pub const MAX_FLAW_BYTES: usize = 512;
/// The longest version, in bytes.
pub const MAX_VERSION_BYTES: usize = 32;

/// The most devices that are named of some.
pub const MAX_FEW: usize = 16;

/// Why a message cannot be read or written.
pub type Error = cbor::Error;

/// The SHA-256 of a section's text.
pub type Digest = [u8; 32];

/// A part of what a gateway shall be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Section {
    /// Its settings, as far as they can be set from afar.
    Settings = 0,
    /// What it reads over field protocols.
    Mapping = 1,
}

/// Which desired state: the second is higher, or the first another one, for each later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Revision {
    /// Which numbering.
    pub epoch: u64,
    /// Its number in it.
    pub number: u64,
}

/// A section as it is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// Which.
    pub section: Section,
    /// Of what text.
    pub digest: Digest,
    /// How long that is, in bytes.
    pub length: u32,
}

/// What the hub says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Desired {
    /// What the gateway shall be like; a section that is not named is as its own files say.
    Be {
        /// Which desired state.
        revision: Revision,
        /// Its sections, each at most once.
        sections: Vec<Named>,
    },
    /// A piece of a section.
    Piece {
        /// Of which text.
        digest: Digest,
        /// From which byte on.
        offset: u32,
        /// The bytes, at most [`MAX_PIECE_BYTES`]; none: the hub has no such text (any more).
        bytes: Vec<u8>,
    },
}

/// What a gateway says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// What it is like.
    State(State),
    /// It asks for a piece.
    Fetch {
        /// Of which text.
        digest: Digest,
        /// From which byte on.
        offset: u32,
    },
}

/// What a gateway is like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Its program's version, at most [`MAX_VERSION_BYTES`].
    pub version: String,
    /// When it was started, by its clock, in microseconds since the Unix epoch.
    pub started_us: i64,
    /// When it says so, by its clock.
    pub at_us: i64,
    /// With which desired state it runs; `None`: as its own files say.
    pub runs: Option<Revision>,
    /// The last desired state that it was given, and what became of it.
    pub last: Option<Judged>,
    /// Bytes of its spool.
    pub spool_bytes: u64,
    /// Of these, what the hub has not acknowledged.
    pub waiting_bytes: u64,
    /// Devices that are linked.
    pub links: u32,
    /// When its certificate ends.
    pub certificate_end_us: Option<i64>,
    /// Field devices that it reads.
    pub field_devices: Option<u32>,
    /// Of these, those that do not answer.
    pub silent: Option<Few>,
    /// Devices whose keys, which the hub gave, it does not use: it reads field devices of these ids.
    pub unused_keys: Option<Few>,
}

/// Devices: how many, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Few {
    /// How many there are.
    pub count: u32,
    /// The first by their ids, at most [`MAX_FEW`].
    pub first: Vec<DeviceId>,
}

/// What became of a desired state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Which.
    pub revision: Revision,
    /// What became of it.
    pub verdict: Verdict,
    /// When, by the gateway's clock.
    pub at_us: i64,
    /// Why, for what is not taken: at most [`MAX_FLAWS`].
    pub flaws: Vec<Flaw>,
}

/// What became of a desired state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// The gateway works by it.
    Applied = 0,
    /// It has errors: nothing was changed.
    Refused = 1,
    /// It was tried, and the one before is in force again.
    RolledBack = 2,
    /// It is being tried.
    Trying = 3,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// In which section; `None`: in none alone.
    pub section: Option<Section>,
    /// In which line, from 1; 0: in none alone.
    pub line: u64,
    /// From which column on, from 1; 0 with a line of 0.
    pub column: u64,
    /// What is wrong, and what would be right; at most [`MAX_FLAW_BYTES`].
    pub what: String,
}

impl Section {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Settings, Self::Mapping];

    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Mapping => "mapping",
        }
    }

    /// The section of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

impl core::fmt::Display for Section {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

impl Verdict {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Applied, Self::Refused, Self::RolledBack, Self::Trying];

    /// What people and the API call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Refused => "refused",
            Self::RolledBack => "rolled_back",
            Self::Trying => "trying",
        }
    }
}

impl Flaw {
    /// A flaw with its text cut to what may be sent.
    pub fn new(section: Option<Section>, line: u64, column: u64, what: impl Into<String>) -> Self {
        let mut what = what.into();
        what.truncate(what.floor_char_boundary(MAX_FLAW_BYTES));
        Self {
            section,
            line,
            column,
            what,
        }
    }

    /// One that is in no section alone.
    pub fn of_all(what: impl Into<String>) -> Self {
        Self::new(None, 0, 0, what)
    }
}

impl Few {
    /// Of these devices.
    pub fn of(mut devices: Vec<DeviceId>) -> Self {
        let count = u32::try_from(devices.len()).unwrap_or(u32::MAX);
        devices.sort_unstable();
        devices.truncate(MAX_FEW);
        Self {
            count,
            first: devices,
        }
    }

    fn write(&self, e: &mut Encoder<Vec<u8>>) -> Written {
        e.array(2)?.u32(self.count)?;
        e.array(self.first.len() as u64)?;
        for device in &self.first {
            e.str(device.as_str())?;
        }
        Ok(())
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Error> {
        let further = list(r, "how many devices, and the first of them", 2)?;
        let count = r.u32("a number of devices")?;
        let length = r.array("a list of devices")?;
        if length > MAX_FEW as u64 {
            return Err(too_long("devices", MAX_FEW));
        }
        let first = (0..length).map(|_| device(r)).collect::<Result<_, _>>()?;
        skip(r, further)?;
        Ok(Self { count, first })
    }
}

impl core::fmt::Display for Flaw {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if let Some(section) = self.section {
            write!(f, "{section}")?;
            if self.line > 0 {
                write!(f, ", line {}, column {}", self.line, self.column)?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.what)
    }
}

/// Writing into a Vec cannot fail.
type Written = Result<(), minicbor::encode::Error<core::convert::Infallible>>;

fn written(write: impl FnOnce(&mut Encoder<Vec<u8>>) -> Written) -> Vec<u8> {
    let mut e = Encoder::new(Vec::new());
    let written = write(&mut e);
    debug_assert!(written.is_ok(), "a Vec takes all");
    e.into_writer()
}

impl Desired {
    /// The message's bytes. [`Error::TooLong`] with more than [`MAX_PIECE_BYTES`].
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        if let Self::Piece { bytes, .. } = self {
            fits("bytes", bytes.len(), MAX_PIECE_BYTES)?;
        }
        Ok(written(|e| match self {
            Self::Be { revision, sections } => {
                e.array(4)?.u8(0)?.u64(revision.epoch)?;
                e.u64(revision.number)?.array(sections.len() as u64)?;
                for one in sections {
                    e.array(3)?.u8(one.section as u8)?;
                    e.bytes(&one.digest)?.u32(one.length)?;
                }
                Ok(())
            }
            Self::Piece {
                digest,
                offset,
                bytes,
            } => {
                e.array(4)?.u8(1)?.bytes(digest)?.u32(*offset)?;
                e.bytes(bytes)?.ok()
            }
        }))
    }

    /// Reads a message that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        let length = r.array("what is desired: a list")?;
        let kind = r.u64("the kind of what is desired")?;
        let further = length.checked_sub(4).ok_or(Error::Missing {
            field: "what is desired",
        })?;
        let desired = match kind {
            0 => Self::Be {
                revision: Revision {
                    epoch: r.u64("an epoch")?,
                    number: r.u64("a revision")?,
                },
                sections: read_sections(&mut r)?,
            },
            1 => Self::Piece {
                digest: digest(&mut r)?,
                offset: r.u32("an offset")?,
                bytes: r.bytes("bytes", MAX_PIECE_BYTES)?.to_vec(),
            },
            _ => return Err(unknown("what is desired", "is unknown, known are 0 and 1")),
        };
        skip(&mut r, further)?;
        r.end()?;
        Ok(desired)
    }
}

impl Said {
    /// The message's bytes. [`Error::TooLong`] with a text beyond its bound, or too many flaws.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        match self {
            Self::State(state) => state.encode(),
            Self::Fetch { digest, offset } => Ok(written(|e| {
                e.array(3)?.u8(1)?.bytes(digest)?.u32(*offset)?.ok()
            })),
        }
    }

    /// Reads a message that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        let length = r.array("what a gateway says: a list")?;
        let kind = r.u64("the kind of what a gateway says")?;
        let field = "what a gateway says";
        let (said, fields) = match kind {
            0 if length >= 2 => (Self::State(State::read(&mut r)?), 2),
            1 if length >= 3 => {
                let digest = digest(&mut r)?;
                let offset = r.u32("an offset")?;
                (Self::Fetch { digest, offset }, 3)
            }
            0 | 1 => return Err(Error::Missing { field }),
            _ => return Err(unknown(field, "is unknown, known are 0 and 1")),
        };
        skip(&mut r, length - fields)?;
        r.end()?;
        Ok(said)
    }
}

impl State {
    fn encode(&self) -> Result<Vec<u8>, Error> {
        fits("version", self.version.len(), MAX_VERSION_BYTES)?;
        for few in self.silent.iter().chain(&self.unused_keys) {
            fits("devices", few.first.len(), MAX_FEW)?;
        }
        if let Some(last) = &self.last {
            fits("flaws", last.flaws.len(), MAX_FLAWS)?;
            for flaw in &last.flaws {
                fits("flaw", flaw.what.len(), MAX_FLAW_BYTES)?;
            }
        }
        let optional = [
            self.runs.is_some(),
            self.last.is_some(),
            self.certificate_end_us.is_some(),
            self.field_devices.is_some(),
            self.silent.is_some(),
            self.unused_keys.is_some(),
        ];
        let fields = 6 + optional.into_iter().filter(|is| *is).count() as u64;
        Ok(written(|e| {
            e.array(2)?.u8(0)?.map(fields)?;
            e.u8(0)?.str(&self.version)?.u8(1)?.i64(self.started_us)?;
            e.u8(2)?.i64(self.at_us)?;
            if let Some(runs) = self.runs {
                e.u8(3)?.array(2)?.u64(runs.epoch)?.u64(runs.number)?;
            }
            if let Some(last) = &self.last {
                e.u8(4)?.array(5)?.u64(last.revision.epoch)?;
                e.u64(last.revision.number)?.u8(last.verdict as u8)?;
                e.i64(last.at_us)?.array(last.flaws.len() as u64)?;
                for flaw in &last.flaws {
                    e.array(4)?;
                    match flaw.section {
                        Some(section) => e.u8(section as u8)?,
                        None => e.null()?,
                    };
                    e.u64(flaw.line)?.u64(flaw.column)?.str(&flaw.what)?;
                }
            }
            e.u8(5)?.u64(self.spool_bytes)?;
            e.u8(6)?.u64(self.waiting_bytes)?.u8(7)?.u32(self.links)?;
            if let Some(end) = self.certificate_end_us {
                e.u8(8)?.i64(end)?;
            }
            if let Some(devices) = self.field_devices {
                e.u8(9)?.u32(devices)?;
            }
            if let Some(silent) = &self.silent {
                silent.write(e.u8(10)?)?;
            }
            if let Some(unused) = &self.unused_keys {
                unused.write(e.u8(11)?)?;
            }
            Ok(())
        }))
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Error> {
        let (mut version, mut started, mut at, mut runs, mut last) = (None, None, None, None, None);
        let (mut spool, mut waiting, mut links, mut end) = (None, None, None, None);
        let (mut devices, mut silent, mut unused) = (None, None, None);
        for _ in 0..r.map("what a gateway is like: a map")? {
            match r.key()? {
                Some(0) => once(
                    &mut version,
                    r.str("version", MAX_VERSION_BYTES)?,
                    "version",
                )?,
                Some(1) => once(&mut started, r.i64("a time")?, "started")?,
                Some(2) => once(&mut at, r.i64("a time")?, "at")?,
                Some(3) => once(&mut runs, read_revision(r)?, "runs")?,
                Some(4) => once(&mut last, Judged::read(r)?, "last")?,
                Some(5) => once(&mut spool, r.u64("bytes of the spool")?, "spool")?,
                Some(6) => once(&mut waiting, r.u64("bytes that wait")?, "waiting")?,
                Some(7) => once(&mut links, r.u32("a number of links")?, "links")?,
                Some(8) => once(&mut end, r.i64("a time")?, "certificate's end")?,
                Some(9) => once(&mut devices, r.u32("a number of devices")?, "field devices")?,
                Some(10) => once(&mut silent, Few::read(r)?, "silent devices")?,
                Some(11) => once(&mut unused, Few::read(r)?, "unused keys")?,
                Some(_) | None => r.skip()?,
            }
        }
        Ok(Self {
            version: need(version, "version")?.into(),
            started_us: need(started, "started")?,
            at_us: need(at, "at")?,
            runs,
            last,
            spool_bytes: need(spool, "spool")?,
            waiting_bytes: need(waiting, "waiting")?,
            links: need(links, "links")?,
            certificate_end_us: end,
            field_devices: devices,
            silent,
            unused_keys: unused,
        })
    }
}

impl Judged {
    fn read(r: &mut Reader<'_>) -> Result<Self, Error> {
        let further = list(r, "a desired state and what became of it", 5)?;
        let revision = Revision {
            epoch: r.u64("an epoch")?,
            number: r.u64("a revision")?,
        };
        let verdict = r.u8("a verdict")?;
        let verdict = Verdict::ALL
            .into_iter()
            .find(|one| *one as u8 == verdict)
            .ok_or_else(|| unknown("verdict", "is unknown, known are 0 to 3"))?;
        let at_us = r.i64("a time")?;
        let length = r.array("a list of flaws")?;
        if length > MAX_FLAWS as u64 {
            return Err(too_long("flaws", MAX_FLAWS));
        }
        let flaws = (0..length)
            .map(|_| Flaw::read(r))
            .collect::<Result<_, _>>()?;
        skip(r, further)?;
        Ok(Self {
            revision,
            verdict,
            at_us,
            flaws,
        })
    }
}

impl Flaw {
    fn read(r: &mut Reader<'_>) -> Result<Self, Error> {
        let further = list(r, "a flaw: a list", 4)?;
        let section = match r.null()? {
            true => None,
            false => Some(read_section(r)?),
        };
        let flaw = Self {
            section,
            line: r.u64("a line")?,
            column: r.u64("a column")?,
            what: r.str("flaw", MAX_FLAW_BYTES)?.into(),
        };
        skip(r, further)?;
        Ok(flaw)
    }
}

fn read_sections(r: &mut Reader<'_>) -> Result<Vec<Named>, Error> {
    let length = r.array("a list of sections")?;
    if length > Section::ALL.len() as u64 {
        return Err(too_long("sections", Section::ALL.len()));
    }
    let mut sections: Vec<Named> = Vec::new();
    for _ in 0..length {
        let further = list(r, "a section, its digest and its length", 3)?;
        let section = read_section(r)?;
        if sections.iter().any(|one| one.section == section) {
            return Err(Error::Twice { field: "section" });
        }
        let digest = digest(r)?;
        let length = r.u32("a length")?;
        if length as usize > MAX_SECTION_BYTES {
            return Err(too_long("section", MAX_SECTION_BYTES));
        }
        skip(r, further)?;
        sections.push(Named {
            section,
            digest,
            length,
        });
    }
    Ok(sections)
}

fn read_section(r: &mut Reader<'_>) -> Result<Section, Error> {
    let number = r.u8("a section")?;
    let mut all = Section::ALL.into_iter();
    let section = all.find(|one| *one as u8 == number);
    section.ok_or_else(|| unknown("section", "is unknown, known are 0 and 1"))
}

fn read_revision(r: &mut Reader<'_>) -> Result<Revision, Error> {
    let further = list(r, "an epoch and a revision", 2)?;
    let revision = Revision {
        epoch: r.u64("an epoch")?,
        number: r.u64("a revision")?,
    };
    skip(r, further)?;
    Ok(revision)
}

/// Begins a list; how many items it has beyond those that are known.
fn list(r: &mut Reader<'_>, expected: &'static str, known: u64) -> Result<u64, Error> {
    let at = r.at();
    let length = r.array(expected)?;
    length
        .checked_sub(known)
        .ok_or(Error::Unexpected { at, expected })
}

fn skip(r: &mut Reader<'_>, items: u64) -> Result<(), Error> {
    (0..items).try_for_each(|_| r.skip())
}

fn device(r: &mut Reader<'_>) -> Result<DeviceId, Error> {
    let id = r.str("device", crate::id::MAX_BYTES)?;
    DeviceId::parse(id).map_err(|_| unknown("device", "is no id of a device"))
}

fn digest(r: &mut Reader<'_>) -> Result<Digest, Error> {
    let at = r.at();
    let bytes = r.bytes("digest", 32)?;
    Digest::try_from(bytes).map_err(|_| Error::Unexpected {
        at,
        expected: "a digest of 32 bytes",
    })
}

fn fits(field: &'static str, length: usize, max: usize) -> Result<(), Error> {
    if length > max {
        return Err(too_long(field, max));
    }
    Ok(())
}

fn too_long(field: &'static str, max: usize) -> Error {
    Error::TooLong { field, max }
}

fn unknown(field: &'static str, why: &'static str) -> Error {
    Error::Invalid { field, why }
}
