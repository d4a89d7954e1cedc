//! How old what is spooled is: by a time that passes while the gateway runs, and only then.
//!
//! The system's clock is no measure of it. One that starts in 1970 and is set later, or in 2036 and
//! is put right, would make everything too old at once. So time that the gateway is switched off
//! does not count: what waits is kept longer then, within the spool's bound in bytes.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
    time::Instant,
};

use stencil_log::regular;

const BYTES: usize = 12;

/// A time that never jumps; beyond that it is some time in microseconds.
pub(crate) struct Age {
    file: File,
    started: Instant,
    base_us: i64,
}

impl Age {
    /// Goes on from what the file says, or begins at `now_us`.
    pub(crate) fn open(path: &Path, now_us: i64) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        let file = regular::open(&mut options, path)?;
        let base_us = read(&file).unwrap_or(now_us);
        Ok(Self {
            file,
            started: Instant::now(),
            base_us,
        })
    }

    pub(crate) fn now_us(&self) -> i64 {
        let passed_us = i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.base_us.saturating_add(passed_us)
    }

    /// Notes it. Not synced: what is lost of it in a power cut makes things a little younger.
    pub(crate) fn note(&self) -> io::Result<()> {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&self.now_us().to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..8]);
        bytes[8..].copy_from_slice(&crc.to_le_bytes());
        self.file.write_all_at(&bytes, 0)
    }
}

fn read(file: &File) -> Option<i64> {
    let mut bytes = [0; BYTES];
    file.read_exact_at(&mut bytes, 0).ok()?;
    let (time_us, crc) = bytes.split_first_chunk::<8>()?;
    (crc32c::crc32c(time_us).to_le_bytes() == *crc).then(|| i64::from_le_bytes(*time_us))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_where_it_was_whatever_the_clock_says() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("age");
        let age = Age::open(&path, 1_000_000_000).unwrap();
        let first = age.now_us();
        assert!((1_000_000_000..1_060_000_000).contains(&first));
        age.note().unwrap();
        for wrong_us in [0, i64::MAX, -5] {
            let again = Age::open(&path, wrong_us).unwrap().now_us();
            assert!((first..first + 60_000_000).contains(&again));
        }
        std::fs::write(&path, [1; BYTES]).unwrap();
        assert!(
            Age::open(&path, 7).unwrap().now_us() < 60_000_000,
            "damage is noticed"
        );
    }
}
