//! What the hub has acknowledged, on disk. It may be lost or old: what it doesn't name is published
//! again, and the hub knows it by its numbers.
//!
//! `position u64 LE ‖ its check`, in a sector of its own as earlier versions wrote it, and behind
//! it, for what was brought ahead of older things, `count u32 LE ‖ count × (start, end) u64 LE ‖
//! CRC-32C u32 LE` over position, count and stretches. Where that part is torn, its stretches are
//! published again.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use stencil_log::{Position, regular};

use super::acknowledged::{Acknowledged, MAX_AHEAD};

const POSITION_BYTES: usize = 16;
const MAX_BYTES: usize = POSITION_BYTES + 8 + MAX_AHEAD * 16;

pub(crate) struct Cursor {
    file: File,
}

impl Cursor {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        let file = regular::open(&mut options, path)?;
        Ok(Self { file })
    }

    /// `None` when there is none yet, or it is damaged.
    pub(crate) fn read(&self) -> Option<Acknowledged> {
        let mut bytes = [0; MAX_BYTES];
        let mut length = 0;
        while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, length as u64) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        let (first, rest) = bytes[..length].split_at_checked(POSITION_BYTES)?;
        let (position, check) = first.split_first_chunk::<8>()?;
        let position = u64::from_le_bytes(*position);
        if check != check_of(position) {
            return None;
        }
        let mut acknowledged = Acknowledged::up_to(Position(position));
        for (start, end) in ahead(position, rest).unwrap_or_default() {
            acknowledged.take(Position(start)..Position(end));
        }
        Some(acknowledged)
    }

    /// Returns when it is on disk.
    pub(crate) fn write(&self, acknowledged: &Acknowledged) -> io::Result<()> {
        let position = acknowledged.through().0;
        let mut bytes = Vec::with_capacity(MAX_BYTES);
        bytes.extend_from_slice(&position.to_le_bytes());
        bytes.extend_from_slice(&check_of(position));
        let stretches: Vec<_> = acknowledged.ahead().take(MAX_AHEAD).collect();
        let count = u32::try_from(stretches.len()).unwrap_or(0);
        bytes.extend_from_slice(&count.to_le_bytes());
        for stretch in stretches {
            bytes.extend_from_slice(&stretch.start.0.to_le_bytes());
            bytes.extend_from_slice(&stretch.end.0.to_le_bytes());
        }
        let crc = crc_of(position, &bytes[POSITION_BYTES..]);
        bytes.extend_from_slice(&crc.to_le_bytes());
        // Shorter than a page, so mostly in one piece; were it torn, the checks tell.
        self.file.write_all_at(&bytes, 0)?;
        self.file.sync_data()
    }
}

/// The stretches behind the position, if they are whole and of this position.
fn ahead(position: u64, bytes: &[u8]) -> Option<Vec<(u64, u64)>> {
    let (count, _) = bytes.split_first_chunk::<4>()?;
    let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    if count > MAX_AHEAD {
        return None;
    }
    let (body, rest) = bytes.split_at_checked(4 + count * 16)?;
    let (crc, _) = rest.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*crc) != crc_of(position, body) {
        return None;
    }
    let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).ok();
    body[4..]
        .chunks_exact(16)
        .map(|pair| Some((number(&pair[..8])?, number(&pair[8..])?)))
        .collect()
}

fn crc_of(position: u64, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&position.to_le_bytes()), body)
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

    fn acknowledged(through: u64, ahead: &[(u64, u64)]) -> Acknowledged {
        let mut acknowledged = Acknowledged::up_to(Position(through));
        for (start, end) in ahead {
            acknowledged.take(Position(*start)..Position(*end));
        }
        acknowledged
    }

    #[test]
    fn it_is_read_as_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cursor");
        let cursor = Cursor::open(&path).unwrap();
        assert_eq!(cursor.read(), None);
        let many: Vec<_> = (1..=MAX_AHEAD as u64)
            .map(|n| (n * 100, n * 100 + 7))
            .collect();
        for ahead in [&many[..], &[(5, 9)], &[]] {
            for position in [0, 1, 4] {
                let written = acknowledged(position, ahead);
                cursor.write(&written).unwrap();
                assert_eq!(Cursor::open(&path).unwrap().read(), Some(written));
            }
        }
        let last = Acknowledged::up_to(Position(u64::MAX));
        cursor.write(&last).unwrap();
        assert_eq!(cursor.read(), Some(last));
    }

    #[test]
    fn one_of_an_earlier_version_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cursor");
        let bytes = [77_u64.to_le_bytes(), check_of(77)].concat();
        std::fs::write(&path, bytes).unwrap();
        let read = Cursor::open(&path).unwrap().read();
        assert_eq!(read, Some(Acknowledged::up_to(Position(77))));
    }

    #[test]
    fn damage_makes_nothing_acknowledged_that_was_not() {
        let dir = tempfile::tempdir().unwrap();
        let cursor = Cursor::open(&dir.path().join("cursor")).unwrap();
        let written = acknowledged(99, &[(200, 300), (400, 500)]);
        cursor.write(&written).unwrap();
        let length = cursor.file.metadata().unwrap().len();
        for byte in 0..length {
            cursor.write(&written).unwrap();
            let mut one = [0];
            cursor.file.read_exact_at(&mut one, byte).unwrap();
            cursor.file.write_all_at(&[one[0] ^ 4], byte).unwrap();
            let expected = (byte >= 16).then(|| acknowledged(99, &[]));
            assert_eq!(cursor.read(), expected, "byte {byte}");
        }
    }
}
