//! What sessions can be resumed with: one secret a device, in memory and in a file each.
//!
//! A file may be behind what the device holds: the next generation follows from the one before,
//! and a device that shows a later one is believed. So a file that a crash kept from being written
//! costs nothing, and none that is lost locks a device out: it is refused, and makes a handshake.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use stencil_crypto::{
    keyfile,
    link::{RESUMPTION_BYTES, Resumption},
};
use stencil_protocol::id::DeviceId;

use crate::options;

/// The form of a file: version, when fresh keys were agreed on (µs since the Unix epoch, i64 BE),
/// what the session left.
const VERSION: u8 = 1;
const FILE_BYTES: usize = 1 + 8 + RESUMPTION_BYTES;
const SUFFIX: &str = ".resume";

/// The table. It is bounded: beyond, the device whose keys are the oldest is forgotten.
pub(crate) struct Resumptions {
    dir: PathBuf,
    max_devices: usize,
    max_generation: u32,
    max_age_us: i64,
    entries: Mutex<HashMap<DeviceId, Entry>>,
}

/// What is kept for a device.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) resumption: Resumption,
    /// When fresh keys were agreed on, by this machine's clock.
    pub(crate) fresh_us: i64,
}

impl Resumptions {
    /// Reads the folder, which is made when it is missing. A file that cannot be read is passed
    /// over: its device makes a handshake.
    pub(crate) fn open(dir: PathBuf, options: &options::Link) -> io::Result<Self> {
        crate::disk::make_folder(&dir)?;
        let mut entries = HashMap::new();
        for file in std::fs::read_dir(&dir)? {
            let path = file?.path();
            let device = path
                .file_name()
                .and_then(|name| name.to_str())
                .and_then(|name| DeviceId::parse(name.strip_suffix(SUFFIX)?).ok());
            let Some(device) = device else { continue };
            match read(&path) {
                Some(entry) => {
                    entries.insert(device, entry);
                }
                None => tracing::warn!(%device, "what its sessions are resumed with is damaged: \
                    the device will make a handshake"),
            }
        }
        let max_age = i64::try_from(options.fresh_keys_s).unwrap_or(i64::MAX);
        let table = Self {
            dir,
            max_devices: options.max_resumable,
            max_generation: options.max_resumptions,
            max_age_us: max_age.saturating_mul(1_000_000),
            entries: Mutex::new(entries),
        };
        while table.shed().is_some_and(|path| remove(&path)) {}
        Ok(table)
    }

    /// What to resume the device's next session with, if it may be without fresh keys.
    pub(crate) fn kept(&self, device: &DeviceId, now_us: i64) -> Option<Entry> {
        let entry = self.entries().get(device).cloned()?;
        // A clock that went back tells no age.
        let age_us = now_us.checked_sub(entry.fresh_us).filter(|age| *age >= 0)?;
        let in_time = age_us < self.max_age_us;
        let used_up = entry.resumption.generation() >= self.max_generation;
        (in_time && !used_up).then_some(entry)
    }

    /// Keeps what a confirmed session left.
    pub(crate) async fn keep(&self, device: &DeviceId, entry: Entry) {
        if self.max_generation == 0 || self.max_devices == 0 {
            return;
        }
        let mut bytes = [0; FILE_BYTES];
        let fresh_us = entry.fresh_us.to_be_bytes();
        let secret = entry.resumption.to_bytes();
        let parts = [VERSION].into_iter().chain(fresh_us).chain(*secret);
        bytes
            .iter_mut()
            .zip(parts)
            .for_each(|(to, from)| *to = from);
        self.entries().insert(device.clone(), entry);
        let forgotten = self.shed();
        let path = self.path(device);
        let written = tokio::task::spawn_blocking(move || {
            let written = keyfile::write(&path, &bytes);
            // Afterwards, as it may be this very device.
            forgotten.as_deref().map(remove);
            written
        });
        if let Ok(Err(error)) = written.await {
            tracing::warn!(%device, %error, "what its sessions are resumed with is kept in memory only");
        }
    }

    /// Forgets the device with the oldest keys, if there are too many; its file is to go too.
    fn shed(&self) -> Option<PathBuf> {
        let mut entries = self.entries();
        if entries.len() <= self.max_devices {
            return None;
        }
        let oldest = entries.iter().min_by_key(|(_, entry)| entry.fresh_us);
        let oldest = oldest.map(|(device, _)| device.clone())?;
        entries.remove(&oldest);
        Some(self.path(&oldest))
    }

    /// An id holds no path separators and doesn't start with a dot.
    fn path(&self, device: &DeviceId) -> PathBuf {
        self.dir.join(format!("{device}{SUFFIX}"))
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<DeviceId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> Option<Entry> {
    let bytes = keyfile::read(path).ok()?;
    let bytes: &[u8; FILE_BYTES] = bytes.as_slice().try_into().ok()?;
    let (&[version, ..], rest) = (bytes, bytes.get(1..)?);
    let (fresh_us, rest) = rest.split_first_chunk()?;
    let resumption = Resumption::from_bytes(rest.try_into().ok()?).ok()?;
    (version == VERSION).then(|| Entry {
        resumption,
        fresh_us: i64::from_be_bytes(*fresh_us),
    })
}

/// Whether the file is gone.
fn remove(path: &Path) -> bool {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "cannot be removed");
            false
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_US: i64 = 24 * 3_600 * 1_000_000;

    fn resumption(generation: u32) -> Resumption {
        let mut bytes = [7; RESUMPTION_BYTES];
        bytes[..2].copy_from_slice(&[0, 1]);
        bytes[2..6].copy_from_slice(&generation.to_be_bytes());
        Resumption::from_bytes(&bytes).unwrap()
    }

    fn entry(generation: u32, fresh_us: i64) -> Entry {
        Entry {
            resumption: resumption(generation),
            fresh_us,
        }
    }

    fn device(n: u32) -> DeviceId {
        DeviceId::parse(&format!("d-{n}")).unwrap()
    }

    fn options(max_resumable: usize) -> options::Link {
        options::Link {
            max_resumable,
            ..options::Link::default()
        }
    }

    #[tokio::test]
    async fn it_survives_a_restart_and_is_readable_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let open = || Resumptions::open(dir.path().join("resumption"), &options(10)).unwrap();
        open().keep(&device(1), entry(3, 5)).await;
        let again = open();
        let kept = again.kept(&device(1), 6).unwrap();
        assert!(kept.resumption == resumption(3) && kept.fresh_us == 5);
        assert!(again.kept(&device(2), 6).is_none());
        let path = dir.path().join("resumption/d-1.resume");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // Damaged in any way, it is as if it were not there.
        let whole = std::fs::read(&path).unwrap();
        for (length, version) in [(whole.len() - 1, 1), (0, 1), (whole.len(), 2)] {
            let mut bytes = whole[..length].to_vec();
            bytes
                .first_mut()
                .into_iter()
                .for_each(|byte| *byte = version);
            std::fs::write(&path, bytes).unwrap();
            assert!(open().kept(&device(1), 6).is_none());
        }
    }

    #[tokio::test]
    async fn it_is_bounded_in_number_age_and_uses() {
        let dir = tempfile::tempdir().unwrap();
        let table = Resumptions::open(dir.path().to_owned(), &options(3)).unwrap();
        for n in [4, 2, 5, 1, 3] {
            table.keep(&device(n), entry(0, i64::from(n))).await;
        }
        let kept = |table: &Resumptions| -> Vec<u32> {
            (1..=5)
                .filter(|n| table.kept(&device(*n), 10).is_some())
                .collect()
        };
        assert_eq!(kept(&table), [3, 4, 5]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
        let smaller = Resumptions::open(dir.path().to_owned(), &options(1)).unwrap();
        assert_eq!(kept(&smaller), [5]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);

        assert!(table.kept(&device(5), 5 + DAY_US - 1).is_some());
        assert!(table.kept(&device(5), 5 + DAY_US).is_none());
        assert!(table.kept(&device(5), 4).is_none(), "the clock went back");
        table.keep(&device(5), entry(95, 5)).await;
        assert!(table.kept(&device(5), 10).is_some());
        table.keep(&device(5), entry(96, 5)).await;
        assert!(table.kept(&device(5), 10).is_none());
    }
}
