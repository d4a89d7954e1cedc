//! Where the boots of field devices end. The gateway numbers what it reads, so it is the gateway that
//! has to say after a restart how far the numbers had come, as a device of ours says it of itself: else
//! nobody would miss what lay in its memory, or at a damaged end of its spool.
//!
//! A file of slots, one a device, each written in place: no room is needed for it once it is made, so a
//! full disk does not hinder it. What stands there may be old, never ahead: an older end says less than
//! could be said, and nothing wrong. Nothing is synced; a slot that a power cut has torn is left out.
//!
//! ```text
//! slot, 256 bytes = length of the id u8 ‖ id ‖ count u8 ‖ count × end ‖ zeros ‖ CRC-32C u32 LE
//! end = boot u32 LE ‖ line u16 LE ‖ last u64 LE ‖ kept u64 LE ‖ told u8
//! ```
//!
//! The check is over whose gateway it is, too: another one's devices are not its own.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
    sync::Arc,
};

use rustix::fs::{FallocateFlags, fallocate};
use stencil_log::{Position, regular};
use stencil_protocol::{
    batch::{DropReason, Dropped, Header, Writer},
    id::{self, Boot, DeviceId, GatewayId, Seq, TenantId},
};

use crate::spool::{Entry, Kind};

/// The file, in the data folder.
const FILE: &str = "ends";
const SLOT_BYTES: usize = 256;
const END_BYTES: usize = 23;
/// Boots that are told of a device at each start: a hub that was restored from a backup may have
/// forgotten the last ones.
const MAX_ENDS: usize = 4;
/// Slots come by so many, 16 KiB.
const SLOTS_AT_ONCE: u64 = 64;
/// The most devices, four times those of a mapping.
const MAX_SLOTS: u64 = 4_096;
/// A batch without samples, with one run of dropped numbers.
const MAX_TELLING_BYTES: usize = 128;

const _: () = assert!(2 + id::MAX_BYTES + MAX_ENDS * END_BYTES + 4 <= SLOT_BYTES);

/// How far the numbers of a boot have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    boot: Boot,
    /// The line that the device hangs on, by its number.
    line: u16,
    /// The number given last.
    last: u64,
    /// Up to here they were in the spool, on disk.
    kept: u64,
    /// It was told at a start.
    told: bool,
}

#[derive(Debug)]
struct Slot {
    index: u64,
    /// The one that ended first stands first.
    ends: Vec<End>,
    /// It is not in the file as it is here.
    changed: bool,
    /// The device has had a number since the start.
    active: bool,
}

/// What comes when the spool is on disk up to a position.
#[derive(Debug)]
enum Comes {
    Kept(DeviceId, Boot, u64),
    /// These boots are told, and whether their device is still read.
    Told(DeviceId, Vec<Boot>, bool),
}

/// Numbers that were given and are not on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// How many.
    pub(crate) samples: u64,
    /// Whose.
    pub(crate) devices: Vec<DeviceId>,
}

/// The ends of the boots of this gateway's field devices.
#[derive(Debug)]
pub(crate) struct Ends {
    file: Arc<File>,
    /// Whose they are.
    seed: u32,
    slots: BTreeMap<DeviceId, Slot>,
    free: Vec<u64>,
    /// Slots in use were never more.
    next: u64,
    /// Slots that have their room on the disk.
    reserved: u64,
    cleared: BTreeSet<u64>,
    coming: VecDeque<(Position, Comes)>,
    /// There is something to note.
    changed: bool,
    failing: bool,
}

/// What is to be written.
struct Change {
    file: Arc<File>,
    reserve: Option<u64>,
    slots: Vec<(u64, [u8; SLOT_BYTES])>,
}

impl Ends {
    /// Reads what a start before has left, and makes room for `devices`. Blocks.
    ///
    /// # Errors
    /// The file cannot be opened or read.
    pub(crate) fn open(
        folder: &Path,
        tenant: &TenantId,
        gateway: &GatewayId,
        devices: usize,
    ) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        let file = regular::open(options.mode(0o600), folder.join(FILE))?;
        let seed = crc32c::crc32c(format!("{tenant}\n{gateway}\n").as_bytes());
        let mut ends = Self {
            file: Arc::new(file),
            seed,
            slots: BTreeMap::new(),
            free: Vec::new(),
            next: 0,
            reserved: 0,
            cleared: BTreeSet::new(),
            coming: VecDeque::new(),
            changed: false,
            failing: false,
        };
        ends.read()?;
        // Now, as the disk may be full later.
        let wanted = (ends.slots.len() + devices) as u64;
        if wanted > 0 {
            ends.reserved = round(wanted).max(ends.reserved);
            if let Err(error) = make_room(&ends.file, ends.reserved) {
                ends.reserved = 0;
                tracing::warn!(%error, "where the numbers of field devices end cannot be noted \
                    now: what is lost with this gateway's memory would not be missed");
            }
        }
        Ok(ends)
    }

    fn read(&mut self) -> io::Result<()> {
        let slots = (self.file.metadata()?.len() / SLOT_BYTES as u64).min(MAX_SLOTS);
        let mut bytes = [0; SLOT_BYTES];
        for index in 0..slots {
            self.file.read_exact_at(&mut bytes, offset(index))?;
            match parse(self.seed, &bytes) {
                Some((device, ends)) if !self.slots.contains_key(&device) => {
                    let slot = Slot {
                        index,
                        ends,
                        changed: false,
                        active: false,
                    };
                    self.slots.insert(device, slot);
                }
                _ => self.free.push(index),
            }
        }
        // The first is taken first.
        self.free.reverse();
        self.next = slots;
        self.reserved = slots;
        Ok(())
    }

    /// What is to be told at a start, as entries for the spool: the newest boot of each device first;
    /// what was told before `again`, too.
    pub(crate) fn tellings(&self, again: bool) -> Vec<(DeviceId, Vec<u8>)> {
        let told = |(device, slot): (&DeviceId, &Slot)| {
            let ends = slot.ends.iter().rev().filter(|end| again || !end.told);
            let entries = ends.filter_map(|end| telling(device, end));
            entries
                .map(|entry| (device.clone(), entry))
                .collect::<Vec<_>>()
        };
        self.slots.iter().flat_map(told).collect()
    }

    /// The last of what is to be told of a device is in the spool at this position. One that is not
    /// `read` any more is forgotten when that is on disk.
    pub(crate) fn told(&mut self, device: DeviceId, position: Position, read: bool) {
        let slot = self.slots.get(&device).filter(|slot| !slot.active);
        let boots = slot.into_iter().flat_map(|slot| &slot.ends);
        let boots = boots.map(|end| end.boot).collect();
        let told = Comes::Told(device, boots, read);
        self.coming.push_back((position, told));
    }

    /// A number was given.
    pub(crate) fn given(&mut self, device: &DeviceId, boot: Boot, line: u16, last: Seq) {
        if !self.slots.contains_key(device) {
            let Some(index) = self.take_slot() else {
                return;
            };
            let slot = Slot {
                index,
                ends: Vec::new(),
                changed: false,
                active: true,
            };
            self.slots.insert(device.clone(), slot);
        }
        let Some(slot) = self.slots.get_mut(device) else {
            return;
        };
        (slot.changed, slot.active, self.changed) = (true, true, true);
        match slot.ends.iter_mut().rfind(|end| end.boot == boot) {
            Some(end) => (end.last, end.line) = (end.last.max(last.0), line),
            None => {
                if slot.ends.len() >= MAX_ENDS {
                    slot.ends.remove(0);
                }
                slot.ends.push(End {
                    boot,
                    line,
                    last: last.0,
                    kept: 0,
                    told: false,
                });
            }
        }
    }

    fn take_slot(&mut self) -> Option<u64> {
        if let Some(index) = self.free.pop() {
            return Some(index);
        }
        if self.next < MAX_SLOTS {
            self.next += 1;
            return Some(self.next - 1);
        }
        // In the place of one that has been told and says nothing.
        let idle = self.slots.iter().find(|(_, slot)| !slot.active);
        let device = idle.map(|(device, _)| device.clone())?;
        self.slots.remove(&device).map(|slot| slot.index)
    }

    /// Numbers up to `through` are in the spool, and on disk with what lies before `position`.
    pub(crate) fn spooled(
        &mut self,
        device: &DeviceId,
        boot: Boot,
        through: Seq,
        position: Position,
    ) {
        let kept = Comes::Kept(device.clone(), boot, through.0);
        self.coming.push_back((position, kept));
    }

    /// The spool is on disk up to here.
    pub(crate) fn committed(&mut self, position: Position) {
        while let Some((_, comes)) = self.coming.pop_front_if(|(at, _)| *at <= position) {
            match comes {
                Comes::Kept(device, boot, through) => {
                    let Some(slot) = self.slots.get_mut(&device) else {
                        continue;
                    };
                    if let Some(end) = slot.ends.iter_mut().find(|end| end.boot == boot) {
                        end.kept = end.kept.max(through);
                        (slot.changed, self.changed) = (true, true);
                    }
                }
                Comes::Told(device, boots, read) => {
                    let Some(slot) = self.slots.get_mut(&device) else {
                        continue;
                    };
                    for end in slot.ends.iter_mut().filter(|end| boots.contains(&end.boot)) {
                        end.told = true;
                    }
                    (slot.changed, self.changed) = (true, true);
                    if !read && !slot.active {
                        self.cleared.insert(slot.index);
                        self.free.push(slot.index);
                        self.slots.remove(&device);
                    }
                }
            }
        }
    }

    /// Whether all that went into the spool is on disk.
    pub(crate) fn is_settled(&self) -> bool {
        self.coming.is_empty()
    }

    /// Whether there is something to note.
    pub(crate) fn has_changed(&self) -> bool {
        self.changed
    }

    /// Numbers given since the start that are not on disk.
    pub(crate) fn left(&self) -> Left {
        let mut left = Left::default();
        for (device, slot) in self.slots.iter().filter(|(_, slot)| slot.active) {
            let ended = slot.ends.last();
            let open = ended.map_or(0, |end| end.last.saturating_sub(end.kept));
            if open > 0 {
                left.samples += open;
                left.devices.push(device.clone());
            }
        }
        left
    }

    /// Writes what has changed; what cannot be written is tried again with the next one.
    pub(crate) async fn note(&mut self) {
        let change = self.take_change();
        if change.slots.is_empty() {
            return;
        }
        let written: BTreeSet<u64> = change.slots.iter().map(|(index, _)| *index).collect();
        let reserve = change.reserve;
        let writing = tokio::task::spawn_blocking(move || change.write());
        let done = writing
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
        match done {
            Ok(()) => {
                self.reserved = reserve.unwrap_or(self.reserved);
                self.failing = false;
            }
            Err(error) => {
                if !self.failing {
                    tracing::warn!(%error, "where the numbers of field devices end is not noted: \
                        what is lost with this gateway's memory would not be missed");
                }
                (self.failing, self.changed) = (true, true);
                for slot in self.slots.values_mut() {
                    slot.changed |= written.contains(&slot.index);
                }
            }
        }
    }

    fn take_change(&mut self) -> Change {
        self.changed = false;
        let mut slots = Vec::new();
        for index in std::mem::take(&mut self.cleared) {
            slots.push((index, [0; SLOT_BYTES]));
        }
        for (device, slot) in self.slots.iter_mut().filter(|(_, slot)| slot.changed) {
            slot.changed = false;
            slots.push((slot.index, to_bytes(self.seed, device, &slot.ends)));
        }
        let most = slots.iter().map(|(index, _)| index + 1).max();
        let reserve = most.filter(|most| *most > self.reserved).map(round);
        Change {
            file: Arc::clone(&self.file),
            reserve,
            slots,
        }
    }
}

impl Change {
    fn write(self) -> io::Result<()> {
        if let Some(slots) = self.reserve {
            make_room(&self.file, slots)?;
        }
        for (index, bytes) in self.slots {
            self.file.write_all_at(&bytes, offset(index))?;
        }
        Ok(())
    }
}

fn round(slots: u64) -> u64 {
    slots.next_multiple_of(SLOTS_AT_ONCE).min(MAX_SLOTS)
}

fn offset(index: u64) -> u64 {
    index * SLOT_BYTES as u64
}

/// Takes room on the disk, so that none is needed when a slot is written.
fn make_room(file: &File, slots: u64) -> io::Result<()> {
    let length = slots * SLOT_BYTES as u64;
    match fallocate(file, FallocateFlags::empty(), 0, length) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            let held = file.metadata()?.len();
            let missing = usize::try_from(length.saturating_sub(held)).unwrap_or(0);
            file.write_all_at(&vec![0; missing], held)
        }
        done => done.map_err(io::Error::from),
    }
}

/// A boot's end in a batch without samples, as its device would say it: numbers up to the last were
/// given, and those that were not on disk went with the gateway's memory. What came nonetheless counts
/// as what it is, at the hub.
fn telling(device: &DeviceId, end: &End) -> Option<Vec<u8>> {
    let mut header = Header {
        boot: end.boot,
        first: Seq(end.last.checked_add(1)?),
        last_given: Seq(end.last),
        previous: None,
        dropped: Default::default(),
    };
    let lost = end.last.saturating_sub(end.kept);
    if lost > 0 {
        // A run has a count of 32 bits: what is beyond it is a gap.
        let count = u32::try_from(lost).unwrap_or(u32::MAX);
        let dropped = Dropped {
            first: Seq(end.kept + 1),
            count,
            reason: DropReason::Reboot,
        };
        header.dropped.push(dropped).ok()?;
    }
    let mut payload = [0; MAX_TELLING_BYTES];
    let length = Writer::new(&mut payload, &header).ok()?.finish().ok()?;
    let entry = Entry {
        kind: Kind::Batch,
        device: device.clone(),
        suite: Some(end.line),
        payload: &payload[..length],
    };
    Some(entry.to_bytes())
}

fn to_bytes(seed: u32, device: &DeviceId, ends: &[End]) -> [u8; SLOT_BYTES] {
    let id = device.as_str().as_bytes();
    let mut body = Vec::with_capacity(SLOT_BYTES);
    // An id has at most 48 bytes, and there are at most `MAX_ENDS` ends.
    body.push(u8::try_from(id.len()).unwrap_or(0));
    body.extend_from_slice(id);
    body.push(u8::try_from(ends.len()).unwrap_or(0));
    for end in ends {
        body.extend_from_slice(&end.boot.0.to_le_bytes());
        body.extend_from_slice(&end.line.to_le_bytes());
        body.extend_from_slice(&end.last.to_le_bytes());
        body.extend_from_slice(&end.kept.to_le_bytes());
        body.push(end.told.into());
    }
    body.resize(SLOT_BYTES - 4, 0);
    let crc = crc32c::crc32c_append(seed, &body);
    let mut bytes = [0; SLOT_BYTES];
    bytes[..SLOT_BYTES - 4].copy_from_slice(&body);
    bytes[SLOT_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn parse(seed: u32, bytes: &[u8; SLOT_BYTES]) -> Option<(DeviceId, Vec<End>)> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c_append(seed, body).to_le_bytes() != *crc {
        return None;
    }
    let (length, rest) = body.split_first()?;
    let (id, rest) = rest.split_at_checked((*length).into())?;
    let device = DeviceId::parse(std::str::from_utf8(id).ok()?).ok()?;
    let (count, rest) = rest.split_first()?;
    let ends = rest.get(..usize::from(*count) * END_BYTES)?;
    let ends = ends.chunks_exact(END_BYTES).map(end);
    let ends: Vec<End> = ends.collect::<Option<_>>()?;
    (!ends.is_empty() && ends.len() <= MAX_ENDS).then_some((device, ends))
}

fn end(bytes: &[u8]) -> Option<End> {
    let (boot, rest) = bytes.split_first_chunk::<4>()?;
    let (line, rest) = rest.split_first_chunk::<2>()?;
    let (last, rest) = rest.split_first_chunk::<8>()?;
    let (kept, rest) = rest.split_first_chunk::<8>()?;
    let end = End {
        boot: Boot(u32::from_le_bytes(*boot)),
        line: u16::from_le_bytes(*line),
        last: u64::from_le_bytes(*last),
        kept: u64::from_le_bytes(*kept),
        told: *rest.first()? != 0,
    };
    (end.kept <= end.last && end.last < Seq::MAX.0).then_some(end)
}

#[cfg(test)]
mod tests;
