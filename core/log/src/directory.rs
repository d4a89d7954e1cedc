//! The log's directory: made, locked, synced.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use rustix::fs::{FlockOperation, flock};

use crate::{Error, disk::is_no_room, regular};

const LOCK: &str = "lock";
/// What is logged is its owner's alone.
const FOLDER_MODE: u32 = 0o700;
pub(crate) const FILE_MODE: u32 = 0o600;

/// Makes `dir` where it is missing, so that it is there after a power cut, too.
pub(crate) fn make(dir: &Path) -> Result<(), Error> {
    if dir.is_dir() {
        return Ok(());
    }
    let missing: Vec<&Path> = dir
        .ancestors()
        .take_while(|ancestor| !ancestor.exists())
        .collect();
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(|source| io_error("make", parent, source))?;
    }
    match DirBuilder::new().mode(FOLDER_MODE).create(dir) {
        // Somebody else was first.
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            return Err(io_error("make", dir, source));
        }
        _ => {}
    }
    for made in missing {
        if let Some(parent) = made.parent() {
            let parent = if parent.as_os_str().is_empty() {
                Path::new(".")
            } else {
                parent
            };
            sync(parent).map_err(|source| io_error("sync", parent, source))?;
        }
    }
    Ok(())
}

/// Makes the names in `dir` durable.
pub(crate) fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Holds the log's directory as long as the file is open.
pub(crate) fn lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join(LOCK);
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    let mut file = regular::open(options.mode(FILE_MODE), &path)
        .map_err(|source| io_error("open", &path, source))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let pid = Read::by_ref(&mut file)
                .take(20)
                .read_to_string(&mut text)
                .ok()
                .and_then(|_| text.trim().parse().ok());
            return Err(Error::Locked {
                dir: dir.to_owned(),
                pid,
            });
        }
        Err(errno) => return Err(io_error("lock", &path, errno.into())),
    }
    // Only for the error above: who has it. A log on a full disk can be read without it.
    let named = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    match named {
        Err(source) if !is_no_room(&source) => Err(io_error("write", &path, source)),
        _ => Ok(file),
    }
}

pub(crate) fn io_error(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io {
        action,
        path: path.to_owned(),
        source,
    }
}
