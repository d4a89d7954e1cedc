//! The devices' own books: what each one measured and did, written before a
//! sample can leave, against which the hub's loss ledger is held.
//!
//! One append-only file a device, `{device}.jsonl`, one JSON object a line:
//!
//! ```text
//! {"what":"boot","boot":2,"at_us":1700000000000000}
//! {"what":"given","boot":2,"seq":1,"time_us":1700000000100000,"name":"temperature","value":-18.2,"unit":"degC"}
//! {"what":"executed","boot":2,"id":"…","name":"lock","outcome":"done","at_us":1700000000200000}
//! ```
//! A number that was given before the gateway had told the time has
//! `counter_us` in place of `time_us`; the next `clock` line of that boot has
//! the difference. Beyond a size, old `given` lines become `span` lines: the
//! numbers without the values.

mod read;
mod write;

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

pub use read::{Door, Executed, Given, Journals, lines, read, read_device};
use serde::{Deserialize, Serialize};
use stencil_protocol::command::State;
use stencil_protocol::id::{Boot, CommandId, Seq};
use stencil_protocol::sample::OwnedValue;
pub(crate) use write::{Book, Journal};

/// One line. Times are microseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Line<'a> {
    /// The device started.
    Boot {
        /// The boot that begins.
        boot: Boot,
        /// When.
        at_us: i64,
    },
    /// A number was given to a sample.
    Given {
        /// In this boot.
        boot: Boot,
        /// The number.
        seq: Seq,
        /// The time on the sample, if it was known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time_us: Option<i64>,
        /// Otherwise the board's counter.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        counter_us: Option<i64>,
        /// The series.
        name: Cow<'a, str>,
        /// The value.
        value: OwnedValue,
        /// The unit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unit: Option<Cow<'a, str>>,
    },
    /// Numbers that were given, without their values: shortened, or given in
    /// the moment in which the simulator was killed.
    Span {
        /// In this boot.
        boot: Boot,
        /// From this number.
        first: Seq,
        /// Up to and with this one.
        last: Seq,
    },
    /// The gateway told the time for the first time in this boot.
    Clock {
        /// In this boot.
        boot: Boot,
        /// What to add to a `counter_us` of this boot.
        offset_us: i64,
    },
    /// A command was carried out.
    Executed {
        /// In this boot.
        boot: Boot,
        /// Its id.
        id: CommandId,
        /// What it was, such as `lock`.
        name: Cow<'a, str>,
        /// `done` or `failed`.
        outcome: State,
        /// When.
        at_us: i64,
    },
    /// A door was opened or closed.
    Door {
        /// Whether it is open now.
        open: bool,
        /// By whom: `someone`, or the lock's device id.
        by: Cow<'a, str>,
        /// When.
        at_us: i64,
    },
    /// A fault began.
    Fault {
        /// Which: `stuck`, `silent`, `noisy`, `wrong_clock`, `reboot`, `link_cut`,
        /// `poor_line`.
        kind: Cow<'a, str>,
        /// For how long, in milliseconds.
        for_ms: u64,
        /// When.
        at_us: i64,
    },
}

/// Why a journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file or folder cannot be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A line is not one of a journal.
    #[error("{}, line {line}: {source}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A file's name is not a device id.
    #[error("{} is not named after a device: {source}", path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// What is wrong with the name.
        source: stencil_protocol::id::Error,
    },
}

/// The end of a journal's file name.
const SUFFIX: &str = ".jsonl";
