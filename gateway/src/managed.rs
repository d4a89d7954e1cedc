//! The devices' keys that the hub gives to this gateway: a list that the hub numbers
//! (`stencil_protocol::keys`), held in memory and, sealed by a key of the gateway's own, in one
//! file that is replaced as a whole.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use minicbor::{Decoder, Encoder};
use stencil_crypto::{
    Psk, keyfile, rng,
    seal::{Place, Purpose, SecretKey, Vault},
};
use stencil_protocol::{
    id::{DeviceId, GatewayId, TenantId},
    keys::{Holds, Update},
};
use zeroize::Zeroizing;

/// The key that the hub seals to, in the data folder.
const SECRET: &str = "keys.key";
/// The list, in the data folder.
const LIST: &str = "keys.sealed";
/// The devices whose keys are not used because the mapping reads devices of these ids, in the data
/// folder: one a line.
const UNUSED: &str = "keys.unused";
/// What the list is sealed as.
const WHAT: &[u8] = b"stencil gateway keys v1";
/// The most devices in the list.
pub(crate) const MAX_DEVICES: usize = 50_000;
/// The largest file that is read: with [`MAX_DEVICES`], two keys each.
const MAX_LIST_BYTES: u64 = 16 << 20;

/// Why the list cannot be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    File(#[from] keyfile::Error),
    #[error("{}: it was not sealed by {SECRET} beside it, or is damaged; move it away, and the \
             hub sends the keys anew", .0.display())]
    Unreadable(PathBuf),
    #[error("the update cannot be read: {0}")]
    Update(#[from] stencil_protocol::keys::Error),
    #[error("the key of device {0} was not sealed to this gateway")]
    Sealed(DeviceId),
    #[error("more than {MAX_DEVICES} devices are given to this gateway")]
    TooMany,
    #[error("writing has ended unexpectedly")]
    Ended,
}

/// The list.
pub(crate) struct Managed {
    tenant: TenantId,
    gateway: GatewayId,
    file: PathBuf,
    secret: SecretKey,
    vault: Vault,
    unused: PathBuf,
    lists: Mutex<Lists>,
    /// Held by who changes what is in the list or what the mapping reads: each looks at the other's.
    turn: Mutex<()>,
}

/// The list in force, and another one that is not whole yet.
struct Lists {
    held: List,
    /// In memory only: a gateway that restarts begins it anew.
    coming: Option<List>,
    /// The devices that the mapping reads.
    mapped: HashSet<DeviceId>,
    /// Those with keys that came while the mapping read a device of that id.
    unused: BTreeSet<DeviceId>,
}

/// What the hub says of an identity.
pub(crate) enum Said {
    /// It is this device, and has these keys.
    Known {
        device: DeviceId,
        keys: Vec<(u64, Psk)>,
    },
    /// It is let in no more.
    Gone,
    /// The mapping reads a device of this id.
    Mapped,
    /// Nothing.
    Nothing,
}

#[derive(Clone, Default)]
struct List {
    epoch: u64,
    revision: u64,
    devices: HashMap<DeviceId, Held>,
    /// Whose identity it is, of those that have keys.
    identities: HashMap<DeviceId, DeviceId>,
}

/// A device in the list; without keys it is let in no more.
#[derive(Clone, PartialEq)]
struct Held {
    identity: DeviceId,
    keys: Vec<(u64, Psk)>,
}

impl Managed {
    /// Opens the list in the data folder, or begins one. Blocks.
    pub(crate) fn open(folder: &Path, tenant: TenantId, gateway: GatewayId) -> Result<Self, Error> {
        let secret = match SecretKey::load(folder.join(SECRET)) {
            Err(error) if is_missing(&error) => {
                let fresh = SecretKey::generate(&mut rng::Os);
                fresh.save(folder.join(SECRET))?;
                fresh
            }
            other => other?,
        };
        let vault = secret.vault();
        let file = folder.join(LIST);
        let list = match keyfile::read_up_to(&file, MAX_LIST_BYTES) {
            Err(error) if is_missing(&error) => List::default(),
            Err(error) => return Err(error.into()),
            Ok(sealed) => vault
                .unlock_bytes(WHAT, &sealed)
                .ok()
                .and_then(|bytes| List::read(&bytes))
                .ok_or_else(|| Error::Unreadable(file.clone()))?,
        };
        let unused = folder.join(UNUSED);
        let lists = Lists {
            held: list,
            coming: None,
            mapped: HashSet::new(),
            unused: read_unused(&unused)?,
        };
        Ok(Self {
            tenant,
            gateway,
            file,
            secret,
            vault,
            unused,
            lists: Mutex::new(lists),
            turn: Mutex::new(()),
        })
    }

    /// The devices with keys in a data folder; nothing is made there. Blocks.
    pub(crate) fn look(folder: &Path) -> Result<HashSet<DeviceId>, Error> {
        let file = folder.join(LIST);
        let sealed = match keyfile::read_up_to(&file, MAX_LIST_BYTES) {
            Err(error) if is_missing(&error) => return Ok(HashSet::new()),
            other => other?,
        };
        let vault = SecretKey::load(folder.join(SECRET))?.vault();
        let bytes = vault.unlock_bytes(WHAT, &sealed).ok();
        let list = bytes.and_then(|bytes| List::read(&bytes));
        let list = list.ok_or(Error::Unreadable(file))?;
        let mut devices: HashSet<DeviceId> = list.keyed().cloned().collect();
        for device in read_unused(&folder.join(UNUSED))? {
            devices.remove(&device);
        }
        Ok(devices)
    }

    /// Waits for the turn to say what the mapping reads. Blocks.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mapping reads these devices from now on: keys of theirs are not used, whoever had the
    /// turn has looked that there is none that is, or they give way. Blocks.
    pub(crate) fn read_by_mapping(
        &self,
        mapped: HashSet<DeviceId>,
        _turn: &MutexGuard<'_, ()>,
    ) -> Result<(), Error> {
        let unused = self.lists().held.unused(&mapped);
        self.keep_unused(&unused)?;
        let mut lists = self.lists();
        lists.mapped = mapped;
        lists.unused = unused;
        Ok(())
    }

    /// The mapping has the ids that it had before the parts of the gateway were started anew.
    pub(crate) fn inherit(&self, before: &Self) {
        let mapped = before.lists().mapped.clone();
        self.lists().mapped = mapped;
    }

    /// Whether the mapping reads a device of this id.
    pub(crate) fn is_mapped(&self, device: &DeviceId) -> bool {
        self.lists().mapped.contains(device)
    }

    /// The devices whose keys are not used, as the mapping reads devices of these ids.
    pub(crate) fn unused(&self) -> Vec<DeviceId> {
        self.lists().unused.iter().cloned().collect()
    }

    /// What the hub says of an identity.
    pub(crate) fn said(&self, identity: &DeviceId) -> Said {
        let lists = self.lists();
        let list = &lists.held;
        if let Some(device) = list.identities.get(identity)
            && let Some(held) = list.devices.get(device)
        {
            if lists.mapped.contains(device) {
                return Said::Mapped;
            }
            return Said::Known {
                device: device.clone(),
                keys: held.keys.clone(),
            };
        }
        // Its name belongs to other hardware now, or to nobody.
        if list.devices.contains_key(identity) {
            return Said::Gone;
        }
        Said::Nothing
    }

    /// The newest key of a device that has not used it yet is to be given to it, if its `in_use`
    /// is an older one.
    pub(crate) fn newer(&self, device: &DeviceId, in_use: u64) -> Option<(u64, Psk)> {
        let lists = self.lists();
        let newest = lists.held.devices.get(device)?.keys.last()?;
        (newest.0 > in_use).then(|| newest.clone())
    }

    /// What the gateway holds, for the hub: of the list that is coming, if there is one.
    pub(crate) fn holds(&self, with_key: bool) -> Holds {
        let public_key = with_key.then(|| self.secret.public_key().to_bytes());
        let lists = self.lists();
        let list = lists.coming.as_ref().unwrap_or(&lists.held);
        Holds {
            epoch: list.epoch,
            revision: list.revision,
            public_key,
        }
    }

    /// Whether the device has a key that is used.
    pub(crate) fn has(&self, device: &DeviceId) -> bool {
        let lists = self.lists();
        let held = lists.held.devices.get(device);
        held.is_some_and(|held| !held.keys.is_empty()) && !lists.unused.contains(device)
    }

    /// The devices that have keys that are used.
    pub(crate) fn devices(&self) -> Vec<DeviceId> {
        let lists = self.lists();
        let devices = lists.held.keyed();
        devices
            .filter(|device| !lists.unused.contains(*device))
            .cloned()
            .collect()
    }

    /// How many devices have a key.
    pub(crate) fn len(&self) -> usize {
        self.lists().held.identities.len()
    }

    /// Takes an update. What comes into force by it is on disk when this returns; returns the
    /// devices for which it changed something. One update at a time. Blocks.
    ///
    /// Another list (another epoch: the hub was restored from a backup, say) comes into force as a
    /// whole, with its last piece. Until then the one before holds: no device is shut out because
    /// its entry has not come yet, nor if the hub is gone half-way.
    ///
    /// A key of a device that the mapping reads is held and not used, until no mapping reads it.
    pub(crate) fn apply(&self, update: &[u8]) -> Result<Vec<DeviceId>, Error> {
        let update = Update::decode(update)?;
        let _turn = self.turn();
        let (before, coming) = {
            let lists = self.lists();
            (lists.held.clone(), lists.coming.clone())
        };
        let is_of = |list: &List| list.epoch == update.epoch;
        let mut list = match coming.filter(is_of) {
            Some(coming) => coming,
            None if is_of(&before) => before.clone(),
            // It begins in the middle of a list that is not known here: the hub is told so.
            None if update.after != 0 => return Ok(Vec::new()),
            None => List {
                epoch: update.epoch,
                ..List::default()
            },
        };
        let is_fresh = list.revision == 0 && !is_of(&before);
        if !is_fresh && (update.after > list.revision || update.through <= list.revision) {
            // Something between is missing, or it is known already.
            return Ok(Vec::new());
        }
        let mut opener = match update.encapsulated.as_slice() {
            [] => None,
            encapsulated => self.secret.opener(Purpose::Delivery, encapsulated).ok(),
        };
        for entry in update.entries {
            let mut keys = Vec::with_capacity(entry.keys.len());
            for key in &entry.keys {
                let place = Place {
                    tenant: self.tenant.as_str(),
                    gateway: self.gateway.as_str(),
                    device: entry.device.as_str(),
                    generation: key.generation,
                };
                let opened = opener
                    .as_mut()
                    .and_then(|opener| opener.open(place, &key.sealed).ok());
                let psk = opened.ok_or_else(|| Error::Sealed(entry.device.clone()))?;
                keys.push((key.generation, psk));
            }
            list.put(entry.device, entry.identity, keys);
        }
        if list.devices.len() > MAX_DEVICES {
            return Err(Error::TooMany);
        }
        list.revision = update.through;
        // A gateway that had nothing shuts nobody out: each piece is in force at once.
        if !is_of(&before) && !before.devices.is_empty() && update.through < update.last {
            self.lists().coming = Some(list);
            return Ok(Vec::new());
        }
        let changed = before.differences(&list);
        self.keep(list, None)?;
        Ok(changed)
    }

    /// The device has used a key: those before it are let go. True if there were some; on disk
    /// then. Blocks.
    pub(crate) fn used(&self, device: &DeviceId, generation: u64) -> Result<bool, Error> {
        let _turn = self.turn();
        let (mut list, mut coming) = {
            let lists = self.lists();
            (lists.held.clone(), lists.coming.clone())
        };
        if let Some(coming) = &mut coming {
            coming.use_key(device, generation);
        }
        if !list.use_key(device, generation) {
            return Ok(false);
        }
        self.keep(list, coming)?;
        Ok(true)
    }

    /// Writes a list, which is in force when it is on disk.
    fn keep(&self, list: List, coming: Option<List>) -> Result<(), Error> {
        let bytes = list.write();
        let sealed = self.vault.lock_bytes(WHAT, &bytes, &mut rng::Os);
        let sealed = sealed.map_err(|_| Error::Ended)?;
        // First those that are not used: a key that is in force after a kill would be in use.
        let unused = list.unused(&self.lists().mapped);
        self.keep_unused(&unused)?;
        stencil_crashpoint::reach("gateway.before_keys");
        keyfile::write(&self.file, &sealed)?;
        stencil_crashpoint::reach("gateway.after_keys");
        let mut lists = self.lists();
        lists.held = list;
        lists.coming = coming;
        lists.unused = unused;
        Ok(())
    }

    /// Writes which keys are not used, if that has changed.
    fn keep_unused(&self, unused: &BTreeSet<DeviceId>) -> Result<(), Error> {
        let before = self.lists().unused.clone();
        for device in unused.difference(&before) {
            tracing::error!(
                %device,
                "the hub has given a key for a device whose id the mapping reads: the key is not used. \
                 Give the device in the mapping another id, or revoke the key at the hub"
            );
        }
        if *unused != before {
            let names: String = unused.iter().map(|device| format!("{device}\n")).collect();
            keyfile::write(&self.unused, names.as_bytes())?;
        }
        Ok(())
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    /// The devices that have keys.
    fn keyed(&self) -> impl Iterator<Item = &DeviceId> {
        let devices = self.devices.iter();
        devices
            .filter(|(_, held)| !held.keys.is_empty())
            .map(|(device, _)| device)
    }

    /// Those of them that a mapping reads.
    fn unused(&self, mapped: &HashSet<DeviceId>) -> BTreeSet<DeviceId> {
        self.keyed()
            .filter(|device| mapped.contains(*device))
            .cloned()
            .collect()
    }

    fn put(&mut self, device: DeviceId, identity: DeviceId, keys: Vec<(u64, Psk)>) {
        if let Some(before) = self.devices.get(&device)
            && self.identities.get(&before.identity) == Some(&device)
        {
            self.identities.remove(&before.identity);
        }
        if !keys.is_empty() {
            self.identities.insert(identity.clone(), device.clone());
        }
        self.devices.insert(device, Held { identity, keys });
    }

    /// Lets go of the keys of a device before one that it has used; true if there were some.
    fn use_key(&mut self, device: &DeviceId, generation: u64) -> bool {
        let Some(held) = self.devices.get_mut(device) else {
            return false;
        };
        let before = held.keys.len();
        held.keys.retain(|(of, _)| *of >= generation);
        held.keys.len() != before
    }

    /// The devices that are let in otherwise by `other`.
    fn differences(&self, other: &Self) -> Vec<DeviceId> {
        let gone = self.devices.keys();
        let gone = gone.filter(|device| !other.devices.contains_key(*device));
        let changed = other.devices.iter();
        let changed = changed.filter(|(device, held)| self.devices.get(*device) != Some(*held));
        gone.chain(changed.map(|(device, _)| device))
            .cloned()
            .collect()
    }

    /// `[epoch, revision, [* [device, identity, [* [generation, key]]]]]` in CBOR.
    fn write(&self) -> Zeroizing<Vec<u8>> {
        // Room for all of it at once: a buffer that grows leaves copies behind.
        let mut e = Encoder::new(Vec::with_capacity(64 + self.devices.len() * 200));
        // Writing to a Vec cannot fail.
        let _ = (|| {
            e.array(3)?.u64(self.epoch)?.u64(self.revision)?;
            e.array(self.devices.len() as u64)?;
            for (device, held) in &self.devices {
                e.array(3)?
                    .str(device.as_str())?
                    .str(held.identity.as_str())?;
                e.array(held.keys.len() as u64)?;
                for (generation, psk) in &held.keys {
                    e.array(2)?.u64(*generation)?.bytes(psk.reveal())?;
                }
            }
            e.ok()
        })();
        Zeroizing::new(e.into_writer())
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut d = Decoder::new(bytes);
        let array = |d: &mut Decoder<'_>, of: Option<u64>| {
            let length = d.array().ok()??;
            (of.is_none_or(|of| of == length)).then_some(length)
        };
        array(&mut d, Some(3))?;
        let mut list = Self {
            epoch: d.u64().ok()?,
            revision: d.u64().ok()?,
            ..Self::default()
        };
        for _ in 0..array(&mut d, None)? {
            array(&mut d, Some(3))?;
            let device = DeviceId::parse(d.str().ok()?).ok()?;
            let identity = DeviceId::parse(d.str().ok()?).ok()?;
            let mut keys = Vec::new();
            for _ in 0..array(&mut d, None)? {
                array(&mut d, Some(2))?;
                let generation = d.u64().ok()?;
                keys.push((generation, Psk::from_slice(d.bytes().ok()?).ok()?));
            }
            list.put(device, identity, keys);
        }
        (d.position() == bytes.len()).then_some(list)
    }
}

/// The names in a file; none without it.
fn read_unused(path: &Path) -> Result<BTreeSet<DeviceId>, Error> {
    let names = match keyfile::read_up_to(path, MAX_LIST_BYTES) {
        Err(error) if is_missing(&error) => return Ok(BTreeSet::new()),
        other => other?,
    };
    let names = std::str::from_utf8(&names).unwrap_or_default();
    Ok(names
        .lines()
        .filter_map(|name| DeviceId::parse(name).ok())
        .collect())
}

fn is_missing(error: &keyfile::Error) -> bool {
    matches!(error, keyfile::Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests;
