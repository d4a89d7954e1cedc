//! The states of all rules on all devices, each at a place of its own.

use crate::Condition;
use crate::memory::Memory;

/// What one rule remembers about one device.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) rule: u32,
    pub(crate) device: Box<str>,
    /// The rule's: beside the memory, so that judging a sample touches one place.
    pub(crate) condition: Condition,
    pub(crate) memory: Memory,
    /// When `advance` has to look at it, µs; listed in the engine's queue.
    pub(crate) queued_us: Option<i64>,
    /// Listed in the engine's changes.
    pub(crate) changed: bool,
}

/// A list with places that are used again.
#[derive(Debug, Default)]
pub(crate) struct States {
    list: Vec<Option<Held>>,
    free: Vec<u32>,
}

impl States {
    pub(crate) fn len(&self) -> usize {
        self.list.len() - self.free.len()
    }

    pub(crate) fn get(&self, place: u32) -> Option<&Held> {
        self.list.get(place as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, place: u32) -> Option<&mut Held> {
        self.list.get_mut(place as usize)?.as_mut()
    }

    pub(crate) fn insert(&mut self, held: Held) -> u32 {
        if let Some(place) = self.free.pop() {
            self.list[place as usize] = Some(held);
            return place;
        }
        self.list.push(Some(held));
        // `Bounds::max_states` is held below this by the engine.
        u32::try_from(self.list.len() - 1).unwrap_or(u32::MAX)
    }

    pub(crate) fn remove(&mut self, place: u32) -> Option<Held> {
        let held = self.list.get_mut(place as usize)?.take()?;
        self.free.push(place);
        Some(held)
    }
}
