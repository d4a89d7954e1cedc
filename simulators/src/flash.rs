//! A device's retained memory, in a file: it survives the device's resets and
//! the simulator's own end, also by SIGKILL (but is not synced to the disk, so
//! not the end of the machine).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use stencil_crypto::rng::Os;
use stencil_firmware::retained::{MAX_STATE_BYTES, Retained, State};

/// Each slot: counter, length, state; the state has its own checksum.
const SLOT_BYTES: usize = 8_192;
const HEAD_BYTES: usize = 12;

/// Two slots, written in turn: one that was torn leaves the other.
#[derive(Debug)]
pub(crate) struct Flash {
    file: File,
    path: PathBuf,
    writes: u64,
    failing: bool,
}

impl Flash {
    /// Opens the file, or makes it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let mut flash = Self {
            file,
            path: path.to_owned(),
            writes: 0,
            failing: false,
        };
        flash.writes = flash.newest()?.map_or(0, |(writes, _)| writes);
        Ok(flash)
    }

    /// The newest whole state; a new device gets one, with a boot number of its
    /// own, so that its next boot is known before it begins.
    pub(crate) fn state_or_fresh(&mut self) -> State {
        self.load().unwrap_or_else(|| {
            let state = State::fresh(&mut Os);
            self.store(&state);
            state
        })
    }

    /// The newest whole state.
    pub(crate) fn state(&self) -> io::Result<Option<State>> {
        Ok(self.newest()?.map(|(_, state)| state))
    }

    fn newest(&self) -> io::Result<Option<(u64, State)>> {
        let slots = [self.slot(0)?, self.slot(1)?];
        Ok(slots
            .into_iter()
            .flatten()
            .max_by_key(|(writes, _)| *writes))
    }

    fn slot(&self, index: u64) -> io::Result<Option<(u64, State)>> {
        let mut bytes = [0; SLOT_BYTES];
        let mut read = 0;
        while read < SLOT_BYTES {
            let at = index * SLOT_BYTES as u64 + read as u64;
            match self.file.read_at(&mut bytes[read..], at)? {
                0 => break,
                more => read += more,
            }
        }
        let (head, body) = bytes.split_at(HEAD_BYTES);
        let (writes, length) = head.split_at(8);
        let writes = u64::from_le_bytes(writes.try_into().unwrap_or_default());
        let length = u32::from_le_bytes(length.try_into().unwrap_or_default());
        let state = usize::try_from(length)
            .ok()
            .and_then(|length| body.get(..length))
            .and_then(|body| State::decode(body).ok());
        Ok(state.map(|state| (writes, state)))
    }

    fn write(&mut self, state: &State) -> io::Result<()> {
        let mut bytes = [0; HEAD_BYTES + MAX_STATE_BYTES];
        let length = state
            .encode(&mut bytes[HEAD_BYTES..])
            .map_err(io::Error::other)?;
        let writes = self.writes + 1;
        bytes[..8].copy_from_slice(&writes.to_le_bytes());
        let length_field = u32::try_from(length).map_err(io::Error::other)?;
        bytes[8..HEAD_BYTES].copy_from_slice(&length_field.to_le_bytes());
        self.file.write_all_at(
            &bytes[..HEAD_BYTES + length],
            (writes % 2) * SLOT_BYTES as u64,
        )?;
        self.writes = writes;
        Ok(())
    }
}

impl Retained for Flash {
    fn load(&mut self) -> Option<State> {
        self.state().unwrap_or_else(|error| {
            tracing::error!(path = %self.path.display(), %error, "retained state can't be read");
            None
        })
    }

    fn store(&mut self, state: &State) {
        match self.write(state) {
            Ok(()) => self.failing = false,
            // Once, not at every sample of a full disk.
            Err(error) if !self.failing => {
                self.failing = true;
                tracing::error!(path = %self.path.display(), %error,
                    "retained state can't be written: numbers may be given twice after a restart");
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stencil_protocol::id::{Boot, Seq};

    fn state(last: u64) -> State {
        State {
            last_given: Seq(last),
            ..State::new(Boot(3))
        }
    }

    #[test]
    fn the_newest_state_survives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("freezer-01.state");
        assert_eq!(Flash::open(&path).unwrap().load(), None);
        for last in 1..=5 {
            let mut flash = Flash::open(&path).unwrap();
            flash.store(&state(last));
            assert_eq!(Flash::open(&path).unwrap().load(), Some(state(last)));
        }
    }

    #[test]
    fn a_new_device_keeps_the_boot_that_it_drew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("freezer-01.state");
        let drawn = Flash::open(&path).unwrap().state_or_fresh();
        assert_eq!(Flash::open(&path).unwrap().load(), Some(drawn.clone()));
        assert_eq!(Flash::open(&path).unwrap().state_or_fresh(), drawn);
        std::fs::remove_file(&path).unwrap();
        let after = Flash::open(&path).unwrap().state_or_fresh();
        assert_ne!(after.boot, drawn.boot); // or a chance of one in 2^30
    }

    #[test]
    fn a_torn_write_leaves_the_state_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("freezer-01.state");
        let mut flash = Flash::open(&path).unwrap();
        flash.store(&state(1)); // slot 1
        flash.store(&state(2)); // slot 0
        flash.file.write_all_at(b"garbage", 14).unwrap();
        assert_eq!(Flash::open(&path).unwrap().load(), Some(state(1)));
    }
}
