//! The one way to standard output.
//!
//! Who reads no further, such as `head`, has what they wanted: from then on nothing is written, and
//! the command ends as it would have otherwise, its exit code included. Any other failure, such as
//! a full disk, is kept and told at the end ([`failure`]): what was written is not the whole answer.

use std::fmt::Arguments;
use std::io::{Error, ErrorKind, Write};
use std::sync::OnceLock;

/// What ended it.
static ENDED: OnceLock<Error> = OnceLock::new();

/// Writes a line to standard output, formatted as by `println!`.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::output::line(format_args!($($text)*))
    };
}

/// Writes a line to standard error, formatted as by `eprintln!`, if anybody is there to read it.
macro_rules! note {
    ($($text:tt)*) => {
        $crate::output::error_line(format_args!($($text)*))
    };
}

pub(crate) use {note, say};

/// Standard output for what is too large to be put together first. Its errors need not be looked
/// at but to stop.
#[derive(Debug, Default)]
pub(crate) struct Stdout;

/// See [`say!`].
pub(crate) fn line(text: Arguments<'_>) {
    // One write, so that a line of a program that is read line by line is whole.
    let _ = Stdout.write_all(format!("{text}\n").as_bytes());
}

/// Writes a text as it is.
pub(crate) fn text(text: &str) {
    let _ = Stdout.write_all(text.as_bytes());
    let _ = Stdout.flush();
}

/// See [`note!`].
pub(crate) fn error_line(text: Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Whether nobody reads on.
pub(crate) fn is_closed() -> bool {
    ENDED.get().is_some_and(is_quiet)
}

/// Why standard output does not have the whole answer, though somebody reads it.
pub(crate) fn failure() -> Option<&'static Error> {
    ENDED.get().filter(|error| !is_quiet(error))
}

fn is_quiet(error: &Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe
}

fn tried<T>(attempt: impl FnOnce() -> std::io::Result<T>) -> std::io::Result<T> {
    if let Some(ended) = ENDED.get() {
        return Err(ended.kind().into());
    }
    attempt().inspect_err(|error| {
        if error.kind() != ErrorKind::Interrupted {
            let same = match error.raw_os_error() {
                Some(code) => Error::from_raw_os_error(code),
                None => error.kind().into(),
            };
            // The first one counts.
            let _ = ENDED.set(same);
        }
    })
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        tried(|| std::io::stdout().write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        tried(|| std::io::stdout().flush())
    }
}
