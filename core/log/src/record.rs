use std::fmt;

use bytes::Bytes;

/// A byte offset over the whole life of a log; it only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A record as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it starts.
    pub start: Position,
    /// Where it ends and the next one starts: keep this as a cursor.
    pub end: Position,
    /// What was appended. It shares memory with its neighbours (up to 256 KiB): copy what is to
    /// be kept for long.
    pub payload: Bytes,
}

/// What a record takes besides its payload.
pub(crate) const HEADER_BYTES: usize = 12;

/// The bytes before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) payload_bytes: u32,
    pub(crate) payload_crc: u32,
}

impl Header {
    pub(crate) fn to_bytes(self, position: u64) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..4].copy_from_slice(&self.payload_bytes.to_le_bytes());
        out[4..8].copy_from_slice(&self.payload_crc.to_le_bytes());
        out[8..].copy_from_slice(&self.check(position).to_le_bytes());
        out
    }

    /// `None` when these bytes are no header of a record at `position`.
    pub(crate) fn parse(bytes: &[u8], position: u64) -> Option<Self> {
        let (payload_bytes, rest) = bytes.split_first_chunk::<4>()?;
        let (payload_crc, rest) = rest.split_first_chunk::<4>()?;
        let (check, _) = rest.split_first_chunk::<4>()?;
        let header = Self {
            payload_bytes: u32::from_le_bytes(*payload_bytes),
            payload_crc: u32::from_le_bytes(*payload_crc),
        };
        (header.check(position) == u32::from_le_bytes(*check)).then_some(header)
    }

    /// Header and payload.
    pub(crate) fn record_bytes(self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.payload_bytes)
    }

    fn check(self, position: u64) -> u32 {
        let crc = crc32c::crc32c(&position.to_le_bytes());
        let crc = crc32c::crc32c_append(crc, &self.payload_bytes.to_le_bytes());
        crc32c::crc32c_append(crc, &self.payload_crc.to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_valid_at_its_position_only() {
        let header = Header {
            payload_bytes: 5,
            payload_crc: 77,
        };
        let bytes = header.to_bytes(1000);
        assert_eq!(Header::parse(&bytes, 1000), Some(header));
        assert_eq!(Header::parse(&bytes, 1001), None);
        assert_eq!(Header::parse(&bytes[..11], 1000), None);
    }

    #[test]
    fn zeros_are_no_header() {
        for position in 0..10_000 {
            assert_eq!(Header::parse(&[0; HEADER_BYTES], position), None);
        }
    }
}
