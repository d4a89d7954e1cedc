//! What the hub asks a gateway at somebody's wish, and what the gateway answers: the newest lines of
//! its log, its figures, and to log more for a while.
//!
//! ```text
//! question = [number, 0, level, lines, age in µs | null, cursor | null]   lines of the log
//!          | [number, 1]                                                  figures
//!          | [number, 2, level | null, seconds]                           log so much for so long
//! piece    = [number, offset, last, bytes]                                of an answer
//! answer   = [0, at in µs, cursor, missed, more, [* [at in µs, level, text]]]
//!          | [1, at in µs, [* [name, kind, value, help]]]
//!          | [2, level | null, seconds]
//!          | [3, why]
//! cursor   = [epoch, count]
//! ```
//!
//! A question has a number that its answer repeats; the hub draws it at random, so that an answer to
//! a question of yesterday is none to one of today. An answer comes in pieces, one after the other,
//! each acknowledged before the next is sent, so that what a device measures never stands behind more
//! than one of them. All of it is bounded: what does not fit is asked for again, from a cursor on.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::Encoder;

use crate::cbor::{self, Reader};

/// The most bytes of a piece.
pub const MAX_PIECE_BYTES: usize = 4 * 1024;
/// The most bytes of an answer, all its pieces together.
pub const MAX_ANSWER_BYTES: usize = 48 * 1024;
/// The most lines of one answer.
pub const MAX_LINES: u32 = 1_000;
/// The longest line, in bytes.
pub const MAX_LINE_BYTES: usize = 2 * 1024;
/// The most figures.
pub const MAX_FIGURES: usize = 128;
/// The longest name of a figure, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// The longest explanation of a figure, in bytes.
pub const MAX_HELP_BYTES: usize = 160;
/// The longest time for which more may be logged, in seconds.
pub const MAX_LEVEL_S: u32 = 3_600;

/// Why a message cannot be read or written.
pub type Error = cbor::Error;

/// How grave a line of the log is; a higher one is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// Something is not done, or lost.
    Error = 0,
    /// Something is not as it should be.
    Warn = 1,
    /// What an operator wants to know.
    Info = 2,
    /// What helps to find a fault.
    Debug = 3,
    /// Everything.
    Trace = 4,
}

/// Up to where a log was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Of which start of the gateway.
    pub epoch: u64,
    /// How many lines there had been by then.
    pub count: u64,
}

/// A question to a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// What its answer is known by.
    pub number: u64,
    /// What is asked.
    pub what: Asked,
}

/// What is asked of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Lines of its log.
    Log(Lines),
    /// Its figures.
    Figures,
    /// To log so much for a while, whatever its settings say.
    Level {
        /// How much; `None`: as its settings say, at once.
        level: Option<Level>,
        /// For how long, at most [`MAX_LEVEL_S`].
        seconds: u32,
    },
}

/// Which lines of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines {
    /// Those of this level and the graver ones.
    pub level: Level,
    /// At most so many, and at most [`MAX_LINES`].
    pub lines: u32,
    /// None that are older, in microseconds.
    pub age_us: Option<u64>,
    /// Those that came after this.
    pub after: Option<Cursor>,
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Of the answer to which question.
    pub number: u64,
    /// From which byte of it on.
    pub offset: u32,
    /// Whether the answer ends with it.
    pub last: bool,
    /// The bytes, at most [`MAX_PIECE_BYTES`].
    pub bytes: Vec<u8>,
}

/// What a gateway answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Lines of its log.
    Log(Log),
    /// Its figures.
    Figures {
        /// When, by its clock, in microseconds since the Unix epoch.
        at_us: i64,
        /// The figures.
        figures: Vec<Figure>,
    },
    /// It logs so much for so many seconds.
    Level {
        /// How much; `None`: as its settings say.
        level: Option<Level>,
        /// For how long from now.
        seconds: u32,
    },
    /// It does not do that.
    Refused(Refusal),
}

/// Lines of a log, the oldest first: the newest there are, or, with an age or a cursor in the
/// question, those from there on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// When, by the gateway's clock, in microseconds since the Unix epoch.
    pub at_us: i64,
    /// From where to ask on.
    pub next: Cursor,
    /// Lines of any level that came after the cursor and are gone.
    pub missed: u64,
    /// Whether there is more after this.
    pub more: bool,
    /// The lines.
    pub lines: Vec<Line>,
}

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When, by the gateway's clock, in microseconds since the Unix epoch.
    pub at_us: i64,
    /// How grave it is.
    pub level: Level,
    /// What it says, at most [`MAX_LINE_BYTES`].
    pub text: String,
}

/// A number that a gateway counts or measures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Its name, at most [`MAX_NAME_BYTES`]: letters of ASCII, digits and `_`.
    pub name: String,
    /// What kind of number it is.
    pub kind: Kind,
    /// The number.
    pub value: u64,
    /// What it says, at most [`MAX_HELP_BYTES`].
    pub help: String,
}

/// What kind of number a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// It only grows, from 0 at a start.
    Counter = 0,
    /// It is what it is now.
    Gauge = 1,
}

/// Why a gateway does not do what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// Its version does not know the question.
    Unknown = 0,
    /// Its own files let nothing be set from afar.
    NotAllowed = 1,
    /// It was asked too much of late.
    TooOften = 2,
}

impl Level {
    /// All there are, the gravest first.
    pub const ALL: [Self; 5] = [
        Self::Error,
        Self::Warn,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];

    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// The level of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

impl Kind {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Counter, Self::Gauge];

    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

impl Refusal {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Unknown, Self::NotAllowed, Self::TooOften];
}

impl core::fmt::Display for Cursor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:016x}-{}", self.epoch, self.count)
    }
}

impl Cursor {
    /// A cursor as it is written for people and programs.
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, count) = text.split_once('-')?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if epoch.len() != 16 || !digits(epoch) || count.len() > 20 || !digits(count) {
            return None;
        }
        Some(Self {
            epoch: u64::from_str_radix(epoch, 16).ok()?,
            count: count.parse().ok()?,
        })
    }

    fn write(self, e: &mut Encoder<Vec<u8>>) -> Written {
        e.array(2)?.u64(self.epoch)?.u64(self.count)?.ok()
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Error> {
        let further = list(r, "an epoch and a count", 2)?;
        let cursor = Self {
            epoch: r.u64("an epoch")?,
            count: r.u64("a count")?,
        };
        skip(r, further)?;
        Ok(cursor)
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

impl Question {
    /// The question's bytes.
    pub fn encode(&self) -> Vec<u8> {
        written(|e| match self.what {
            Asked::Log(of) => {
                e.array(6)?.u64(self.number)?.u8(0)?;
                e.u8(of.level as u8)?.u32(of.lines)?;
                match of.age_us {
                    Some(age_us) => e.u64(age_us)?,
                    None => e.null()?,
                };
                match of.after {
                    Some(after) => after.write(e),
                    None => e.null()?.ok(),
                }
            }
            Asked::Figures => e.array(2)?.u64(self.number)?.u8(1)?.ok(),
            Asked::Level { level, seconds } => {
                e.array(4)?.u64(self.number)?.u8(2)?;
                write_level(e, level)?;
                e.u32(seconds)?.ok()
            }
        })
    }

    /// Reads a question that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        const WHAT: &str = "a question";
        let mut r = Reader::new(bytes);
        let length = r.array("a question: a list")?;
        let number = r.u64("a question's number")?;
        let kind = r.u64("a question's kind")?;
        let (what, known) = match kind {
            0 => {
                let level = read_level(&mut r)?;
                let lines = r.u32("a number of lines")?;
                if lines > MAX_LINES {
                    return Err(too_long("lines", MAX_LINES as usize));
                }
                let age_us = match r.null()? {
                    true => None,
                    false => Some(r.u64("an age")?),
                };
                let after = match r.null()? {
                    true => None,
                    false => Some(Cursor::read(&mut r)?),
                };
                let lines = Lines {
                    level,
                    lines,
                    age_us,
                    after,
                };
                (Asked::Log(lines), 6)
            }
            1 => (Asked::Figures, 2),
            2 => {
                let level = read_no_level(&mut r)?;
                let seconds = r.u32("seconds")?;
                if seconds > MAX_LEVEL_S {
                    return Err(too_long("seconds", MAX_LEVEL_S as usize));
                }
                (Asked::Level { level, seconds }, 4)
            }
            _ => return Err(unknown(WHAT, "is unknown, known are 0 to 2")),
        };
        end(&mut r, WHAT, length, known)?;
        Ok(Self { number, what })
    }

    /// The number of what may be a question that this version does not know.
    pub fn number(bytes: &[u8]) -> Option<u64> {
        let mut r = Reader::new(bytes);
        r.array("a question: a list").ok()?;
        r.u64("a question's number").ok()
    }
}

impl Piece {
    /// The piece's bytes. [`Error::TooLong`] with more than [`MAX_PIECE_BYTES`].
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        fits("bytes", self.bytes.len(), MAX_PIECE_BYTES)?;
        Ok(written(|e| {
            e.array(4)?.u64(self.number)?.u32(self.offset)?;
            e.bool(self.last)?.bytes(&self.bytes)?.ok()
        }))
    }

    /// Reads a piece that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut r = Reader::new(bytes);
        let further = list(&mut r, "a piece of an answer: a list", 4)?;
        let piece = Self {
            number: r.u64("a question's number")?,
            offset: r.u32("an offset")?,
            last: r.bool("whether it is the last")?,
            bytes: r.bytes("bytes", MAX_PIECE_BYTES)?.to_vec(),
        };
        skip(&mut r, further)?;
        r.end()?;
        Ok(piece)
    }
}

impl Answer {
    /// The answer's bytes. [`Error::TooLong`] where something is beyond its bound.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let bytes = match self {
            Self::Log(log) => {
                fits("lines", log.lines.len(), MAX_LINES as usize)?;
                for line in &log.lines {
                    fits("line", line.text.len(), MAX_LINE_BYTES)?;
                }
                written(|e| {
                    e.array(6)?.u8(0)?.i64(log.at_us)?;
                    log.next.write(e)?;
                    e.u64(log.missed)?.bool(log.more)?;
                    e.array(log.lines.len() as u64)?;
                    for line in &log.lines {
                        e.array(3)?.i64(line.at_us)?;
                        e.u8(line.level as u8)?.str(&line.text)?;
                    }
                    Ok(())
                })
            }
            Self::Figures { at_us, figures } => {
                fits("figures", figures.len(), MAX_FIGURES)?;
                for figure in figures {
                    fits("name", figure.name.len(), MAX_NAME_BYTES)?;
                    fits("help", figure.help.len(), MAX_HELP_BYTES)?;
                }
                written(|e| {
                    e.array(3)?.u8(1)?.i64(*at_us)?;
                    e.array(figures.len() as u64)?;
                    for figure in figures {
                        e.array(4)?.str(&figure.name)?.u8(figure.kind as u8)?;
                        e.u64(figure.value)?.str(&figure.help)?;
                    }
                    Ok(())
                })
            }
            Self::Level { level, seconds } => written(|e| {
                e.array(3)?.u8(2)?;
                write_level(e, *level)?;
                e.u32(*seconds)?.ok()
            }),
            Self::Refused(why) => written(|e| e.array(2)?.u8(3)?.u8(*why as u8)?.ok()),
        };
        fits("answer", bytes.len(), MAX_ANSWER_BYTES)?;
        Ok(bytes)
    }

    /// Reads an answer that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        const WHAT: &str = "an answer";
        fits("answer", bytes.len(), MAX_ANSWER_BYTES)?;
        let mut r = Reader::new(bytes);
        let length = r.array("an answer: a list")?;
        let kind = r.u64("an answer's kind")?;
        let (answer, known) = match kind {
            0 => (Self::Log(Log::read(&mut r)?), 6),
            1 => {
                let at_us = r.i64("a time")?;
                let figures = items(&mut r, "figures", MAX_FIGURES, Figure::read)?;
                (Self::Figures { at_us, figures }, 3)
            }
            2 => {
                let level = read_no_level(&mut r)?;
                let seconds = r.u32("seconds")?;
                (Self::Level { level, seconds }, 3)
            }
            3 => {
                let why = r.u8("a reason")?;
                let why = Refusal::ALL.into_iter().find(|one| *one as u8 == why);
                let why = why.ok_or_else(|| unknown("reason", "is unknown, known are 0 to 2"))?;
                (Self::Refused(why), 2)
            }
            _ => return Err(unknown(WHAT, "is unknown, known are 0 to 3")),
        };
        end(&mut r, WHAT, length, known)?;
        Ok(answer)
    }
}

impl Log {
    fn read(r: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Self {
            at_us: r.i64("a time")?,
            next: Cursor::read(r)?,
            missed: r.u64("how many are missed")?,
            more: r.bool("whether there is more")?,
            lines: items(r, "lines", MAX_LINES as usize, Line::read)?,
        })
    }
}

impl Line {
    fn read(r: &mut Reader<'_>) -> Result<Self, Error> {
        let further = list(r, "a line: a list", 3)?;
        let line = Self {
            at_us: r.i64("a time")?,
            level: read_level(r)?,
            text: r.str("line", MAX_LINE_BYTES)?.into(),
        };
        skip(r, further)?;
        Ok(line)
    }
}

impl Figure {
    fn read(r: &mut Reader<'_>) -> Result<Self, Error> {
        let further = list(r, "a figure: a list", 4)?;
        let name = r.str("name", MAX_NAME_BYTES)?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(is_name) {
            let why = "has to be of letters, digits and `_`";
            return Err(unknown("name", why));
        }
        let kind = r.u8("a kind")?;
        let kind = Kind::ALL.into_iter().find(|one| *one as u8 == kind);
        let figure = Self {
            name: name.into(),
            kind: kind.ok_or_else(|| unknown("kind", "is unknown, known are 0 and 1"))?,
            value: r.u64("a value")?,
            help: r.str("help", MAX_HELP_BYTES)?.into(),
        };
        skip(r, further)?;
        Ok(figure)
    }
}

fn write_level(e: &mut Encoder<Vec<u8>>, level: Option<Level>) -> Written {
    match level {
        Some(level) => e.u8(level as u8)?,
        None => e.null()?,
    };
    Ok(())
}

fn read_level(r: &mut Reader<'_>) -> Result<Level, Error> {
    let number = r.u8("a level")?;
    let level = Level::ALL.into_iter().find(|one| *one as u8 == number);
    level.ok_or_else(|| unknown("level", "is unknown, known are 0 to 4"))
}

fn read_no_level(r: &mut Reader<'_>) -> Result<Option<Level>, Error> {
    match r.null()? {
        true => Ok(None),
        false => read_level(r).map(Some),
    }
}

/// A list of at most so many.
fn items<T>(
    r: &mut Reader<'_>,
    field: &'static str,
    max: usize,
    mut read: impl FnMut(&mut Reader<'_>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let length = r.array(field)?;
    if length > max as u64 {
        return Err(too_long(field, max));
    }
    (0..length).map(|_| read(r)).collect()
}

/// Begins a list; how many items it has beyond those that are known.
fn list(r: &mut Reader<'_>, expected: &'static str, known: u64) -> Result<u64, Error> {
    let at = r.at();
    let length = r.array(expected)?;
    length
        .checked_sub(known)
        .ok_or(Error::Unexpected { at, expected })
}

/// Ends a message that is a list of so many, of which so many are read.
fn end(r: &mut Reader<'_>, field: &'static str, length: u64, known: u64) -> Result<(), Error> {
    let further = length.checked_sub(known).ok_or(Error::Missing { field })?;
    skip(r, further)?;
    r.end()
}

fn skip(r: &mut Reader<'_>, items: u64) -> Result<(), Error> {
    (0..items).try_for_each(|_| r.skip())
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
