//! A durable segmented log with group commit.
//!
//! The hub puts what it takes in into such a log before it acknowledges it; the gateway uses one
//! as its spool. Many writers append; one thread writes what has gathered and calls `fdatasync`
//! once for all of it; then the committed position moves on and everybody who waits is told.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! use stencil_log::{Log, Options};
//!
//! let log = Log::open(Options::new(dir.path()))?;
//! let position = log.append(&[b"first", b"second"])?; // in memory, in order
//! log.wait(position).await?;                          // on disk
//!
//! let mut reader = log.reader(log.oldest())?;
//! let first = reader.next()?.ok_or("a record")?;
//! assert_eq!(&first.payload[..], b"first");
//! log.trim(first.end)?;                               // whole segments below are deleted
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! # Positions
//! A [`Position`] is a byte offset over the whole life of the log: it only grows, also across
//! restarts and deletions. A record lies in `start..end`, and the next one starts at its `end`.
//! Keep `end` as a cursor: a reader from there gives what comes after.
//!
//! # On disk
//! `{base:020}.log` is a segment, named by the position of its first byte; positions go on
//! without a gap from one segment to the next. A segment is a 32-byte header and records, each
//! `length u32 LE ‖ CRC-32C of the payload u32 LE ‖ CRC-32C of (position ‖ length ‖ payload CRC)
//! u32 LE ‖ payload`. The position in the check makes a record valid in one place only, and the
//! check on the length lets a reader find the next good record behind damage. `synced` holds a
//! position that is known to be on disk (a hint: opening scans from there), `lock` is locked
//! (flock) while the log is open.
//!
//! # What survives what
//! - **Process killed:** all that [`Log::wait`] confirmed is there, in order. A record that was
//!   cut short is removed at the next opening ([`Recovery`] tells).
//! - **Damage:** a reader gets [`Error::Corrupt`] with the place, and may go on with
//!   [`Reader::skip_corrupt`]. Nothing is left out silently.
//! - **Disk full or read-only:** [`Health::Stalled`]; the log tries again each second and after
//!   each trim; appends are taken up to the pending bound, then refused with [`Error::Full`].
//! - **Something else in a file's place** (a link, a pipe): it is left alone. Where it is in the log
//!   already, opening fails; where the next segment is to be, the log stalls until it is moved away.
//! - **`fdatasync` fails:** [`Health::Poisoned`] until the log is opened again, because what the
//!   kernel still holds can no longer be known.
//!
//! # Faults on purpose
//! With the feature `faults`, which no release has, `STENCIL_LOG_FAULTS` lets writes and syncs of a
//! whole process fail, tear or wait: `src/unsound.rs` lists how, `cargo xtask faults` uses it.
//!
//! # Bounds
//! Each is in [`Options`]: bytes pending, bytes of a record, of a segment, of the whole log, age.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod committer;
mod directory;
mod disk;
mod error;
#[cfg(test)]
mod faults;
mod hint;
mod log;
mod observer;
mod options;
mod reader;
mod record;
mod recovery;
pub mod regular;
mod retention;
mod scanner;
mod segment;
#[cfg(any(test, feature = "faults"))]
mod unsound;

pub use error::{Error, Full};
pub use log::{Health, Log};
pub use observer::{Observer, Piece};
pub use options::{Clock, Gather, OnDrop, Options, Overflow};
pub use reader::{Reader, Skipped};
pub use record::{Position, Record};
pub use recovery::Recovery;
pub use retention::{DroppedSegment, Why};
pub use segment::{segment_base, segment_end};
