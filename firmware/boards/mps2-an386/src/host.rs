//! Files of the host, by semihosting (Arm's "Semihosting for AArch32 and AArch64").
//!
//! Each write is one call and on the host's file when the call comes back: an emulator that is
//! killed leaves the file as it was after the last call.

use core::fmt;
use core::fmt::Write as _;

use cortex_m_semihosting::{debug, hio, nr, syscall};
use heapless::String;

/// The longest path, its end included.
const MAX_PATH: usize = 160;
/// The longest command line.
const MAX_LINE: usize = 512;

/// How a file is opened (SYS_OPEN's modes "rb" and "r+b").
#[derive(Clone, Copy)]
pub(crate) enum Mode {
    #[allow(dead_code, reason = "the loader has no such file")]
    Read = 1,
    Update = 3,
}

/// Why a file cannot be used.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Error {
    /// The path is too long.
    Path,
    /// The host does not open it.
    Open,
    /// The host does not read, write or seek it.
    Access,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "the file's path is longer than 159 bytes",
            Self::Open => "the host cannot open the file",
            Self::Access => "the host cannot read or write the file",
        })
    }
}

/// A file.
#[derive(Debug)]
pub(crate) struct File(usize);

impl File {
    pub(crate) fn open(path: &str, mode: Mode) -> Result<Self, Error> {
        let mut named: String<MAX_PATH> = String::new();
        named.push_str(path).map_err(|_| Error::Path)?;
        named.push('\0').map_err(|_| Error::Path)?;
        // SAFETY: the host reads the path of the given length; it lives until the call is over.
        #[allow(unsafe_code)]
        let handle = unsafe { syscall!(OPEN, named.as_ptr(), mode as usize, path.len()) };
        if handle == usize::MAX {
            return Err(Error::Open);
        }
        Ok(Self(handle))
    }

    pub(crate) fn length(&self) -> Result<usize, Error> {
        // SAFETY: the call takes the handle alone.
        #[allow(unsafe_code)]
        let length = unsafe { syscall!(FLEN, self.0) };
        (length != usize::MAX)
            .then_some(length)
            .ok_or(Error::Access)
    }

    pub(crate) fn seek(&mut self, at: u32) -> Result<(), Error> {
        // SAFETY: the call takes numbers alone.
        #[allow(unsafe_code)]
        let failed = unsafe { syscall!(SEEK, self.0, at as usize) };
        (failed == 0).then_some(()).ok_or(Error::Access)
    }

    pub(crate) fn read(&mut self, out: &mut [u8]) -> Result<(), Error> {
        // SAFETY: the host writes at most `out.len()` bytes to `out`, which is borrowed for the
        // whole call.
        #[allow(unsafe_code)]
        let missing = unsafe { syscall!(READ, self.0, out.as_mut_ptr(), out.len()) };
        (missing == 0).then_some(()).ok_or(Error::Access)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        // SAFETY: the host reads `bytes.len()` bytes from `bytes`, which is borrowed for the
        // whole call.
        #[allow(unsafe_code)]
        let missing = unsafe { syscall!(WRITE, self.0, bytes.as_ptr(), bytes.len()) };
        (missing == 0).then_some(()).ok_or(Error::Access)
    }
}

/// The command line: words `name=value`.
pub(crate) struct Arguments(String<MAX_LINE>);

/// A word that has to be there is not.
pub(crate) struct MissingArgument(&'static str);

impl fmt::Display for MissingArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the semihosting command line has no {}FILE (-semihosting-config arg=...)",
            self.0
        )
    }
}

impl Arguments {
    pub(crate) fn read() -> Self {
        let mut line = [0_u8; MAX_LINE];
        let mut block = [line.as_mut_ptr() as usize, line.len()];
        // SAFETY: the host writes at most as many bytes as the block says to `line`, and the
        // length to the block; both live until the call is over.
        #[allow(unsafe_code)]
        let failed =
            unsafe { cortex_m_semihosting::syscall1(nr::GET_CMDLINE, block.as_mut_ptr() as usize) };
        let length = if failed == 0 {
            block[1].min(MAX_LINE)
        } else {
            0
        };
        let mut text = String::new();
        let said = core::str::from_utf8(&line[..length]).unwrap_or_default();
        let _ = text.push_str(said.trim_end_matches('\0'));
        Self(text)
    }

    /// What follows `name`, such as `flash=`.
    pub(crate) fn value(&self, name: &'static str) -> Result<&str, MissingArgument> {
        self.0
            .split(' ')
            .find_map(|word| word.strip_prefix(name))
            .ok_or(MissingArgument(name))
    }
}

/// Says on the host's console why the board does not start, and ends with exit code 1.
pub(crate) fn refuse(why: &dyn fmt::Display) -> ! {
    if let Ok(mut console) = hio::hstderr() {
        let _ = writeln!(console, "the board does not start: {why}");
    }
    loop {
        debug::exit(debug::EXIT_FAILURE);
    }
}
