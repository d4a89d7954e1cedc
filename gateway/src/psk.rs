//! The devices' keys: what the hub gives, and one file each of those that an operator adds, read
//! at each handshake. Where both speak of a device, the hub's word holds.

use std::{
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use stencil_crypto::{Psk, keyfile, rng};
use stencil_protocol::id::DeviceId;
use tokio::sync::watch;

use crate::{
    Error,
    link::Live,
    managed::{Managed, Said},
    spool::stopped,
};

/// How often the folder of the keys is looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Makes the key that a device behind a gateway shares with it, as `{device}.psk` in `psk_dir`.
///
/// # Errors
/// [`Error::PskExists`]: a device's key is never replaced by the way, that would cut it off;
/// [`Error::File`] and [`Error::Key`] when it cannot be written.
pub fn add_device(psk_dir: &Path, device: &DeviceId) -> Result<PathBuf, Error> {
    secret_folder(psk_dir)?;
    let path = psk_dir.join(format!("{device}.psk"));
    if path.exists() {
        return Err(Error::PskExists(path));
    }
    Psk::generate(&mut rng::Os).save(&path)?;
    Ok(path)
}

/// Makes a folder for secrets where there is none; says so where others may look into one.
pub(crate) fn secret_folder(path: &Path) -> Result<(), Error> {
    let loose = keyfile::folder(path).map_err(|source| Error::File {
        action: "make",
        path: path.to_owned(),
        source,
    })?;
    if let Some(mode) = loose {
        warn_of(path, mode);
    }
    Ok(())
}

/// Says so where others than its owner may look into a folder with secrets that is there.
pub(crate) fn look_at_folder(path: &Path) {
    let mode = path.metadata().map(|of| of.permissions().mode() & 0o777);
    if let Ok(mode) = mode
        && mode & 0o077 != 0
    {
        warn_of(path, mode);
    }
}

fn warn_of(path: &Path, mode: u32) {
    let (path, mode) = (path.display(), format!("{mode:03o}"));
    tracing::warn!(%path, mode, "a folder with secrets is open to others: chmod 700 is right");
}

/// Finds keys.
pub(crate) struct KeyRing {
    dir: PathBuf,
    pub(crate) managed: Arc<Managed>,
}

/// Who has come, and the keys that it may have.
pub(crate) struct Known {
    /// What the device is called.
    pub(crate) device: DeviceId,
    /// The newest last; where the hub gave them, with their generations.
    pub(crate) keys: Vec<(Option<u64>, Psk)>,
}

/// The key with which a session was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) identity: DeviceId,
    /// `None`: that of a file.
    pub(crate) generation: Option<u64>,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Missing {
    #[error("there is no key for it: the hub has given none, and there is no file {}", .0.display())]
    Unknown(PathBuf),
    #[error("the hub has taken its key away")]
    Gone,
    #[error(
        "the gateway's mapping reads a device of this id, so that its key is not used: their values \
         would be taken for those of one device"
    )]
    Mapped,
    #[error("its key cannot be used: {0}")]
    Unusable(#[from] keyfile::Error),
    #[error("its key could not be read")]
    Ended,
}

impl KeyRing {
    pub(crate) fn new(dir: PathBuf, managed: Arc<Managed>) -> Self {
        Self { dir, managed }
    }

    /// Who `identity` is, and its keys. An id holds no path separators and doesn't start with a
    /// dot.
    pub(crate) async fn known(&self, identity: &DeviceId) -> Result<Known, Missing> {
        match self.managed.said(identity) {
            Said::Known { device, keys } => {
                let keys = keys
                    .into_iter()
                    .map(|(generation, psk)| (Some(generation), psk));
                return Ok(Known {
                    device,
                    keys: keys.collect(),
                });
            }
            Said::Gone => return Err(Missing::Gone),
            Said::Mapped => return Err(Missing::Mapped),
            Said::Nothing if self.managed.is_mapped(identity) => return Err(Missing::Mapped),
            Said::Nothing => {}
        }
        let path = self.file(identity);
        let read = tokio::task::spawn_blocking(move || match Psk::load(&path) {
            Err(keyfile::Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(Missing::Unknown(path))
            }
            other => other.map_err(Missing::from),
        });
        let psk = read.await.unwrap_or(Err(Missing::Ended))?;
        Ok(Known {
            device: identity.clone(),
            keys: vec![(None, psk)],
        })
    }

    /// Whether a device is one that may link here. Looks at a file at most.
    pub(crate) fn has(&self, device: &DeviceId) -> bool {
        self.managed.has(device) || !self.managed.is_mapped(device) && self.file(device).is_file()
    }

    /// Where a device's key is that an operator adds.
    pub(crate) fn file(&self, device: &DeviceId) -> PathBuf {
        self.dir.join(format!("{device}.psk"))
    }

    /// The devices that may link here. Blocks.
    pub(crate) fn devices(&self) -> Vec<DeviceId> {
        let mut devices = self.managed.devices();
        let files = std::fs::read_dir(&self.dir).into_iter().flatten();
        devices.extend(files.flatten().filter_map(|file| {
            let name = file.file_name();
            let name = name.to_str()?.strip_suffix(".psk")?;
            DeviceId::parse(name).ok()
        }));
        devices.retain(|device| !self.managed.is_mapped(device));
        devices.sort_unstable();
        devices.dedup();
        devices
    }

    /// Whether a session of `device` that was begun with this key may go on. What cannot be read
    /// now takes nothing away.
    pub(crate) async fn stands(&self, device: &DeviceId, used: &Used) -> bool {
        match self.known(&used.identity).await {
            Ok(known) => {
                known.device == *device && known.keys.iter().any(|(of, _)| *of == used.generation)
            }
            Err(Missing::Unknown(_) | Missing::Gone | Missing::Mapped) => false,
            Err(Missing::Unusable(_) | Missing::Ended) => true,
        }
    }

    /// Looks at the folder of the keys until `stop` holds true: links whose key is gone are told.
    pub(crate) async fn watch(self: Arc<Self>, live: Live, mut stop: watch::Receiver<bool>) {
        let mut seen = None;
        loop {
            let dir = self.dir.clone();
            let changed = tokio::task::spawn_blocking(move || changed(&dir)).await;
            let changed = changed.unwrap_or(None);
            if seen.is_some() && changed != seen {
                live.check_all();
            }
            seen = changed.or(seen);
            let pause = tokio::time::timeout(WATCH_INTERVAL, stopped(&mut stop)).await;
            if pause.is_ok() {
                return;
            }
        }
    }
}

/// When a file was last added to a folder or taken from it.
fn changed(dir: &Path) -> Option<SystemTime> {
    std::fs::metadata(dir).ok()?.modified().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_keys_is_its_owners() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("psk");
        let device = DeviceId::parse("freezer-01").unwrap();
        let path = add_device(&folder, &device).unwrap();
        let mode = folder.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(Psk::load(path).is_ok());
        // One that is there stays as it is.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&folder, open).unwrap();
        add_device(&folder, &DeviceId::parse("freezer-02").unwrap()).unwrap();
        let mode = folder.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
    }
}
