use std::{fs::File, io, os::unix::fs::FileExt};

use crate::regular;

/// What the committer does to files: the seam at which tests let a disk fail.
pub(crate) trait Disk: Send + Sync {
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn sync(&self, file: &File) -> io::Result<()>;
}

/// The real one.
pub(crate) struct Kernel;

impl Disk for Kernel {
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

/// Whether the disk took nothing of it, and may take it later by itself: more room would have
/// helped, being mounted for writing, or that somebody moves away what stands where a file is to be.
pub(crate) fn may_pass(error: &io::Error) -> bool {
    is_no_room(error)
        || error.kind() == io::ErrorKind::ReadOnlyFilesystem
        || regular::is_not_regular(error)
}

/// Whether more room on the disk would have helped.
pub(crate) fn is_no_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
