//! Up to where the hub has acknowledged. It may be lost or old: what lies behind it is published
//! again, and the hub knows it by its numbers.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use stencil_log::Position;

const BYTES: usize = 16;

pub(crate) struct Cursor {
    file: File,
}

impl Cursor {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)?;
        Ok(Self { file })
    }

    /// `None` when there is none yet, or it is damaged.
    pub(crate) fn read(&self) -> Option<Position> {
        let mut bytes = [0; BYTES];
        self.file.read_exact_at(&mut bytes, 0).ok()?;
        let (position, check) = bytes.split_first_chunk::<8>()?;
        let position = u64::from_le_bytes(*position);
        (check == check_of(position)).then_some(Position(position))
    }

    /// Returns when it is on disk.
    pub(crate) fn write(&self, position: Position) -> io::Result<()> {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&position.0.to_le_bytes());
        bytes[8..].copy_from_slice(&check_of(position.0));
        // Shorter than a sector, so in one piece; were it torn, the check tells.
        self.file.write_all_at(&bytes, 0)?;
        self.file.sync_data()
    }
}

/// Guards against a torn or foreign file, not against malice.
fn check_of(position: u64) -> [u8; 8] {
    (!position)
        .rotate_left(23)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_written_and_damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cursor");
        let cursor = Cursor::open(&path).unwrap();
        assert_eq!(cursor.read(), None);
        for position in [0, 1, u64::MAX] {
            cursor.write(Position(position)).unwrap();
            assert_eq!(
                Cursor::open(&path).unwrap().read(),
                Some(Position(position))
            );
        }
        for byte in 0..16 {
            cursor.write(Position(99)).unwrap();
            let mut one = [0];
            cursor.file.read_exact_at(&mut one, byte).unwrap();
            cursor.file.write_all_at(&[one[0] ^ 4], byte).unwrap();
            assert_eq!(cursor.read(), None, "byte {byte}");
        }
    }
}
