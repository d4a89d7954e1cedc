//! Which chain of receipts was left for the one of now, until that has a receipt, which names it.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::Path,
};

use stencil_access::receipt::Head;
use stencil_log::regular;

/// Beside the file of receipts.
pub(super) const LEFT: &str = "receipts.left";

/// Keeps which chain was left, before anything else is done about it.
pub(super) fn write(folder: &Path, left: &Head) -> io::Result<()> {
    let path = folder.join(LEFT);
    let next = folder.join("receipts.left.next");
    let mut file = super::super::open_next(&next)?;
    file.write_all(&serde_json::to_vec(left).map_err(io::Error::other)?)?;
    file.sync_all()?;
    fs::rename(&next, &path)?;
    File::open(folder)?.sync_all()
}

/// Which chain was left; what cannot be read names none.
pub(super) fn read(folder: &Path) -> Option<Head> {
    let file = regular::open_to_read(folder.join(LEFT)).ok()?;
    let mut bytes = Vec::new();
    file.take(4_096).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// A receipt names the chain that was left, and this is not read any more.
pub(super) fn forget(folder: &Path) {
    if let Err(error) = fs::remove_file(folder.join(LEFT)) {
        tracing::debug!(%error, "which chain of receipts was left stays on disk");
    }
}
