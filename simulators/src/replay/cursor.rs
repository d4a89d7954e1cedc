//! Where a replay goes on after the simulator was restarted.
//!
//! Numbers are given row by row, so the row behind a boot's first number and
//! the last acknowledged number say which rows the gateway holds. The rows
//! after those are given again, under new numbers.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use stencil_firmware::State;

use crate::Error;

/// Row `row` of the recording got the number `first_seq` in `boot`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cursor {
    boot: u32,
    first_seq: u64,
    row: usize,
}

impl Cursor {
    /// The row with which the boot after `state` begins; noted in `path`
    /// before the boot is.
    pub(crate) fn resume(path: &Path, state: &State) -> Result<usize, Error> {
        let io = |source| Error::File {
            path: path.to_owned(),
            source,
        };
        let held: Option<Cursor> = match std::fs::read(path) {
            Ok(bytes) => Some(
                serde_json::from_slice(&bytes)
                    .map_err(|e| io(io::Error::new(io::ErrorKind::InvalidData, e)))?,
            ),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(io(e)),
        };
        let row = match held {
            Some(cursor) if cursor.boot == state.boot.0 => cursor.row + cursor.delivered(state),
            // That boot never began.
            Some(cursor) => cursor.row,
            None => 0,
        };
        let next = state.clone().next_boot();
        let cursor = Cursor {
            boot: next.boot.0,
            first_seq: next.last_given.0 + 1,
            row,
        };
        let fresh = path.with_extension("cursor.tmp");
        let bytes = serde_json::to_vec(&cursor).map_err(|e| io(e.into()))?;
        std::fs::write(&fresh, bytes)
            .and_then(|()| std::fs::rename(&fresh, path))
            .map_err(io)?;
        Ok(row)
    }

    fn delivered(&self, state: &State) -> usize {
        let acked = (state.acked.0 + 1).saturating_sub(self.first_seq);
        usize::try_from(acked).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stencil_protocol::id::{Boot, Seq};

    #[test]
    fn goes_on_behind_the_last_acknowledged_row() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("machine-01.cursor");
        let fresh = State::new(Boot(7));
        assert_eq!(Cursor::resume(&path, &fresh).unwrap(), 0);
        // Killed before the boot began, then again.
        assert_eq!(Cursor::resume(&path, &fresh).unwrap(), 0);
        let mut state = fresh.next_boot();
        (state.last_given, state.acked) = (Seq(90), Seq(70));
        assert_eq!(Cursor::resume(&path, &state).unwrap(), 70);
        assert_eq!(Cursor::resume(&path, &state).unwrap(), 70);
        let mut state = state.next_boot();
        (state.last_given, state.acked) = (Seq(5), Seq(5));
        assert_eq!(Cursor::resume(&path, &state).unwrap(), 75);
    }

    #[test]
    fn a_boot_that_keeps_its_number_loses_no_row() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("machine-01.cursor");
        let mut state = State::new(Boot(7));
        // So many boots without an acknowledgement that the number stays.
        for _ in 0..20 {
            assert_eq!(Cursor::resume(&path, &state).unwrap(), 0);
            state = state.next_boot();
            state.last_given = Seq(state.last_given.0 + 10);
        }
        state.acked = Seq(state.last_given.0 - 4);
        assert_eq!(Cursor::resume(&path, &state).unwrap(), 6);
    }

    #[test]
    fn a_broken_cursor_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("machine-01.cursor");
        std::fs::write(&path, "{").unwrap();
        let error = Cursor::resume(&path, &State::new(Boot(7)))
            .unwrap_err()
            .to_string();
        assert!(error.contains("machine-01.cursor"), "{error}");
    }
}
