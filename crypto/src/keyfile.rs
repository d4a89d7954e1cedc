//! Files that hold secrets: readable by their owner only, replaced as a whole.
//!
//! ```no_run
//! # fn main() -> Result<(), stencil_crypto::keyfile::Error> {
//! use stencil_crypto::{Psk, rng};
//!
//! let psk = Psk::generate(&mut rng::Os);
//! psk.save("/var/lib/stencil/psk/freezer-07.psk")?; // 64 hexadecimal digits, mode 0600
//! assert_eq!(Psk::load("/var/lib/stencil/psk/freezer-07.psk")?, psk);
//! # Ok(()) }
//! ```

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rand_core::{CryptoRng, Rng};
use zeroize::Zeroizing;

use crate::psk::{self, PSK_BYTES, Psk};
use crate::rng;

/// The largest file that is read: no key or certificate chain comes near it.
pub const MAX_BYTES: u64 = 256 * 1024;

const SECRET_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o700;

/// Why a key file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Others than the owner may read or write the file.
    #[error("{} holds a secret but has mode {mode:03o}; only its owner may have access: chmod 600 {}",
            path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is larger than [`MAX_BYTES`] (or what else is the most), or is none.
    #[error("{} is no key file: it is no regular file, or larger than {max_bytes} bytes",
            path.display())]
    NoKeyFile {
        /// The file.
        path: PathBuf,
        /// The most that it may have.
        max_bytes: u64,
    },
    /// The file is not text.
    #[error("{} is not text, where PEM or hexadecimal digits are expected", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// The file holds no pre-shared key.
    #[error("{}: {source}", path.display())]
    Psk {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: psk::Error,
    },
}

/// Writes a secret, mode 0600, atomically: after a crash the file is the old or the
/// new one, never a part.
///
/// # Errors
/// [`Error::Io`].
pub fn write(path: impl AsRef<Path>, secret: &[u8]) -> Result<(), Error> {
    replace(path.as_ref(), secret, SECRET_MODE)
}

/// Writes what everyone may read (a certificate), mode 0644, as atomically.
///
/// # Errors
/// [`Error::Io`].
pub fn write_public(path: impl AsRef<Path>, contents: &[u8]) -> Result<(), Error> {
    replace(path.as_ref(), contents, PUBLIC_MODE)
}

/// Reads a secret that [`write()`] wrote.
///
/// # Errors
/// [`Error::Exposed`] if group or others have any access to it; [`Error::NoKeyFile`];
/// [`Error::Io`].
pub fn read(path: impl AsRef<Path>) -> Result<Zeroizing<Vec<u8>>, Error> {
    read_checked(path.as_ref(), true, MAX_BYTES)
}

/// Reads a secret that may be larger than a key: at most `max_bytes`.
///
/// # Errors
/// As [`read`].
pub fn read_up_to(path: impl AsRef<Path>, max_bytes: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
    read_checked(path.as_ref(), true, max_bytes)
}

/// Reads a secret that is text.
///
/// # Errors
/// As [`read`], and [`Error::NotText`].
pub fn read_text(path: impl AsRef<Path>) -> Result<Zeroizing<String>, Error> {
    let path = path.as_ref();
    text(path, read(path)?)
}

/// Reads what [`write_public`] wrote; who else may read it doesn't matter.
///
/// # Errors
/// [`Error::NoKeyFile`], [`Error::NotText`], [`Error::Io`].
pub fn read_public_text(path: impl AsRef<Path>) -> Result<String, Error> {
    let path = path.as_ref();
    text(path, read_checked(path, false, MAX_BYTES)?).map(|text| (*text).clone())
}

/// Opens a file to read it, if it is a regular one. A pipe would wait for somebody who writes, and a
/// device may have no end; what would be right is said.
///
/// # Errors
/// What the operating system says, or that it is none.
pub fn open(path: impl AsRef<Path>) -> io::Result<File> {
    let path = path.as_ref();
    // Before it is opened, as that alone waits for a pipe's other end; and of what was opened, as
    // that may be another one by now.
    regular(&std::fs::metadata(path)?)?;
    let file = File::open(path)?;
    regular(&file.metadata()?)?;
    Ok(file)
}

fn regular(metadata: &Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    let is = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("it is {is}, and a regular file is wanted"),
    ))
}

/// Makes a folder for secrets, mode 0700, and those above it as usual. One that is there is left as
/// it is; where others may look into it or write to it, its mode is returned.
///
/// # Errors
/// What the operating system says.
pub fn folder(path: impl AsRef<Path>) -> io::Result<Option<u32>> {
    let path = path.as_ref();
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        std::fs::create_dir_all(above)?;
    }
    match DirBuilder::new().mode(FOLDER_MODE).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => return made.map(|()| None),
    }
    let mode = std::fs::metadata(path)?.permissions().mode() & 0o777;
    Ok((mode & 0o077 != 0).then_some(mode))
}

impl Psk {
    /// Draws a new key.
    #[must_use]
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        loop {
            let mut bytes = Zeroizing::new([0; PSK_BYTES]);
            rng.fill_bytes(bytes.as_mut());
            if let Ok(psk) = Self::from_bytes(*bytes) {
                return psk;
            }
        }
    }

    /// Reads the key from a file of 64 hexadecimal digits.
    ///
    /// # Errors
    /// As [`read_text`], and [`Error::Psk`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Self::from_hex(&read_text(path)?).map_err(|source| Error::Psk {
            path: path.to_owned(),
            source,
        })
    }

    /// Writes the key to a file of 64 hexadecimal digits, mode 0600.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let mut text = Zeroizing::new(hex::encode(self.as_bytes()));
        text.push('\n');
        write(path, text.as_bytes())
    }
}

fn replace(path: &Path, contents: &[u8], mode: u32) -> Result<(), Error> {
    let io = |action| {
        move |source| Error::Io {
            action,
            path: path.to_owned(),
            source,
        }
    };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or_else(|| {
        io("write")(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the path names no file",
        ))
    })?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{:016x}.new", rng::Os.next_u64()));
    let temporary = directory.join(temporary);

    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(contents)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    })();
    if let Err(source) = written {
        // Nothing more can be done if this fails too; the error to report is the first.
        let _ = std::fs::remove_file(&temporary);
        return Err(io("write")(source));
    }
    // The rename is durable once the directory is.
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(io("sync"))
}

fn read_checked(path: &Path, secret: bool, max_bytes: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
    let io = |source| Error::Io {
        action: "read",
        path: path.to_owned(),
        source,
    };
    // A pipe would wait for its other end.
    if std::fs::metadata(path).is_ok_and(|of| !of.is_file()) {
        return Err(Error::NoKeyFile {
            path: path.to_owned(),
            max_bytes,
        });
    }
    let file = File::open(path).map_err(io)?;
    // Of the open file and not of the path, which may be another one by now.
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() || metadata.len() > max_bytes {
        return Err(Error::NoKeyFile {
            path: path.to_owned(),
            max_bytes,
        });
    }
    let mode = metadata.permissions().mode() & 0o777;
    if secret && mode & 0o077 != 0 {
        return Err(Error::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let capacity = usize::try_from(metadata.len()).unwrap_or(0) + 1;
    let mut contents = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(max_bytes)
        .read_to_end(&mut contents)
        .map_err(io)?;
    Ok(contents)
}

fn text(path: &Path, contents: Zeroizing<Vec<u8>>) -> Result<Zeroizing<String>, Error> {
    match std::str::from_utf8(&contents) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(Error::NotText {
            path: path.to_owned(),
        }),
    }
}
