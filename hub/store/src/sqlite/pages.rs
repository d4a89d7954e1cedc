//! Pages of the database file.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::Error;

/// Bytes of a page of a new file. A chunk takes whole pages but for what is over, and that should
/// be little: of pages of 4,096 bytes, SQLite's default, a quarter stays empty (decision 3).
pub(super) const NEW_PAGE_BYTES: u32 = 2_048;

/// To which size the write-ahead log may grow before it is carried over to the file: 1,000 pages
/// of SQLite's default size, as is SQLite's default.
const LOG_BYTES: u32 = 4_096_000;

/// Bytes of a page of this file: what its header says, or what it will be if it is new.
pub(super) fn page_bytes(path: &Path) -> Result<u32, Error> {
    let unreadable = |error: std::io::Error| {
        Error::Unavailable(format!("{} cannot be read: {error}", path.display()))
    };
    let mut header = Vec::with_capacity(18);
    let file = File::open(path).map_err(unreadable)?;
    file.take(18).read_to_end(&mut header).map_err(unreadable)?;
    // https://www.sqlite.org/fileformat.html#the_database_header
    Ok(match header.get(16..18) {
        Some([0, 1]) => 65_536,
        Some([high, low]) if [*high, *low] != [0, 0] => {
            u32::from(u16::from_be_bytes([*high, *low]))
        }
        _ => NEW_PAGE_BYTES,
    })
}

/// Pages of the write-ahead log at which it is carried over.
pub(super) fn checkpoint_pages(page_bytes: u32) -> u32 {
    LOG_BYTES / page_bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_how_large_a_page_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hub.db");
        let with = |size: [u8; 2]| {
            let mut header = b"SQLite format 3\0".to_vec();
            header.extend(size);
            std::fs::write(&file, header).unwrap();
            page_bytes(&file).unwrap()
        };
        assert_eq!(with([0x10, 0]), 4_096);
        assert_eq!(with([0, 1]), 65_536);
        std::fs::write(&file, "").unwrap();
        assert_eq!(page_bytes(&file).unwrap(), NEW_PAGE_BYTES);
        assert!(page_bytes(folder.path().join("none").as_path()).is_err());
    }
}
