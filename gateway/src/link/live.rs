//! Which devices are linked. Of two links with one identity the newer wins.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use stencil_protocol::id::DeviceId;
use tokio::sync::Notify;

/// The live links.
#[derive(Clone, Default)]
pub(crate) struct Live(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    links: HashMap<DeviceId, Entry>,
    last_number: u64,
}

struct Entry {
    number: u64,
    signals: Arc<Signals>,
}

#[derive(Default)]
struct Signals {
    superseded: Notify,
    commands: Notify,
    check: Notify,
}

/// A link's place in the table; it is left when this is dropped.
pub(crate) struct Place {
    live: Live,
    device: DeviceId,
    number: u64,
    signals: Arc<Signals>,
}

impl Live {
    /// Enters a link; an older one of the same device is told to end.
    pub(crate) fn enter(&self, device: DeviceId) -> Place {
        let mut table = self.table();
        table.last_number += 1;
        let number = table.last_number;
        let signals = Arc::new(Signals::default());
        let entry = Entry {
            number,
            signals: Arc::clone(&signals),
        };
        if let Some(older) = table.links.insert(device.clone(), entry) {
            older.signals.superseded.notify_one();
        }
        drop(table);
        Place {
            live: self.clone(),
            device,
            number,
            signals,
        }
    }

    /// Tells the device's link, if there is one, that there are commands.
    pub(crate) fn wake(&self, device: &DeviceId) {
        if let Some(entry) = self.table().links.get(device) {
            entry.signals.commands.notify_one();
        }
    }

    /// Tells the device's link, if there is one, to see whether its key still stands.
    pub(crate) fn check(&self, device: &DeviceId) {
        if let Some(entry) = self.table().links.get(device) {
            entry.signals.check.notify_one();
        }
    }

    /// Tells all links to see whether their keys still stand.
    pub(crate) fn check_all(&self) {
        for entry in self.table().links.values() {
            entry.signals.check.notify_one();
        }
    }

    /// Whether the device is linked.
    pub(crate) fn is_linked(&self, device: &DeviceId) -> bool {
        self.table().links.contains_key(device)
    }

    /// How many devices are linked.
    pub(crate) fn len(&self) -> usize {
        self.table().links.len()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Tells links apart.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Returns when a newer link of the device has come.
    pub(crate) async fn superseded(&self) {
        self.signals.superseded.notified().await;
    }

    /// Returns when there are commands.
    pub(crate) async fn commands(&self) {
        self.signals.commands.notified().await;
    }

    /// Returns when its key may not stand any more, or another one is there for it.
    pub(crate) async fn check(&self) {
        self.signals.check.notified().await;
    }

    /// Does something if this is still the device's link; no newer one enters meanwhile, so it
    /// must not block.
    pub(crate) fn if_current<T>(&self, act: impl FnOnce() -> T) -> Option<T> {
        let table = self.live.table();
        let current = table.links.get(&self.device)?.number == self.number;
        current.then(act)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.live.table();
        if table
            .links
            .get(&self.device)
            .is_some_and(|entry| entry.number == self.number)
        {
            table.links.remove(&self.device);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newer_link_wins_and_the_older_leaves_it_alone() {
        let live = Live::default();
        let device = DeviceId::parse("a").unwrap();
        let older = live.enter(device.clone());
        let newer = live.enter(device.clone());
        older.superseded().await;
        assert_eq!(older.if_current(|| ()), None);
        assert_eq!(newer.if_current(|| ()), Some(()));
        drop(older);
        assert_eq!(live.len(), 1);
        live.wake(&device);
        newer.commands().await;
        drop(newer);
        assert_eq!(live.len(), 0);
        live.wake(&device);
    }
}
