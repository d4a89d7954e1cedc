//! Opens files that are to be regular ones, and no others. A link in a folder of data would have what
//! it leads to emptied and written over, and opening a pipe waits for its other end.

use std::{
    error::Error as StdError,
    fmt,
    fs::{self, File, FileType, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
};

use rustix::fs::OFlags;

/// What stands where a regular file is to be. Within an [`io::Error`].
#[derive(Debug)]
pub struct NotRegular {
    /// The file's name.
    pub name: String,
    /// What it is.
    pub is: &'static str,
}

impl fmt::Display for NotRegular {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, is } = self;
        write!(
            f,
            "`{name}` is {is}, and a regular file is wanted there: move it away"
        )
    }
}

impl StdError for NotRegular {}

/// Opens a file as `options` say, if it is a regular one itself or is made. Follows no link, and waits
/// for no pipe.
///
/// # Errors
/// What the operating system says, or [`NotRegular`].
pub fn open(options: &mut OpenOptions, path: impl AsRef<Path>) -> io::Result<File> {
    let path = path.as_ref();
    // Looked at before, so that no device is opened, which may be felt; the flags are for what is put
    // there in between.
    if let Ok(found) = fs::symlink_metadata(path) {
        check(path, found.file_type())?;
    }
    // The flags are small positive numbers.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY)
        .bits()
        .cast_signed();
    let file = options.custom_flags(flags).open(path)?;
    check(path, file.metadata()?.file_type())?;
    Ok(file)
}

/// Opens a regular file to read it.
///
/// # Errors
/// As [`open`].
pub fn open_to_read(path: impl AsRef<Path>) -> io::Result<File> {
    open(OpenOptions::new().read(true), path)
}

/// The content of a regular file that is no longer than `max_bytes`.
///
/// # Errors
/// As [`open`], and [`io::ErrorKind::FileTooLarge`].
pub fn read(path: impl AsRef<Path>, max_bytes: u64) -> io::Result<Vec<u8>> {
    let file = open_to_read(path)?;
    let length = file.metadata()?.len();
    let mut bytes = Vec::with_capacity(usize::try_from(length.min(max_bytes)).unwrap_or(0));
    file.take(max_bytes.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        let why = format!("it has more than {max_bytes} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

/// Whether it is for what stands in a file's place that it could not be opened.
#[must_use]
pub fn is_not_regular(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|why| why.is::<NotRegular>())
}

/// Whether what was found there is a regular file.
pub(crate) fn check(path: &Path, found: FileType) -> io::Result<()> {
    let is = if found.is_file() {
        return Ok(());
    } else if found.is_symlink() {
        "a symbolic link"
    } else if found.is_dir() {
        "a folder"
    } else if found.is_fifo() {
        "a pipe"
    } else if found.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    let name = path.file_name().unwrap_or(path.as_os_str());
    let name = name.to_string_lossy().into_owned();
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        NotRegular { name, is },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_is_opened_and_what_a_link_leads_to_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        fs::write(&target, "dear").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let dangling = dir.path().join("dangling");
        std::os::unix::fs::symlink(dir.path().join("new"), &dangling).unwrap();
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let socket = dir.path().join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let folder = dir.path().join("folder");
        fs::create_dir(&folder).unwrap();
        for (path, is) in [
            (&link, "a symbolic link"),
            (&dangling, "a symbolic link"),
            (&pipe, "a pipe"),
            (&socket, "a socket"),
            (&folder, "a folder"),
        ] {
            let mut write = OpenOptions::new();
            write.create(true).truncate(true).write(true);
            for error in [open(&mut write, path).err(), open_to_read(path).err()] {
                let error = error.unwrap();
                assert!(is_not_regular(&error), "{error}");
                assert!(error.to_string().contains(is), "{error}");
            }
        }
        assert_eq!(fs::read(&target).unwrap(), b"dear");
        assert!(!dir.path().join("new").exists());
        assert_eq!(read(&target, 4).unwrap(), b"dear");
        let long = read(&target, 3).unwrap_err();
        assert_eq!(long.kind(), io::ErrorKind::FileTooLarge);
        assert!(!is_not_regular(&long));
    }
}
