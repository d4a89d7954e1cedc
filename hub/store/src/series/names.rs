//! Which series there are, as far as it is known without asking the database.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use stencil_protocol::id::{DeviceId, TenantId};

/// What a series is called.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) tenant: TenantId,
    pub(crate) device: DeviceId,
    pub(crate) name: String,
}

impl Key {
    /// Whose series it is.
    pub(crate) fn owner(&self) -> Owner {
        Owner {
            tenant: self.tenant.clone(),
            device: self.device.clone(),
        }
    }
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    pub(crate) tenant: TenantId,
    pub(crate) device: DeviceId,
}

/// What is known of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// Its number.
    pub(crate) series: i64,
    /// Its unit as stored.
    pub(crate) unit: Option<String>,
}

/// The names of series, and which of them belong to the same device.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: HashMap<Key, Known>,
    owners: HashMap<i64, Arc<Owner>>,
    devices: HashMap<Arc<Owner>, BTreeSet<i64>>,
}

impl Names {
    pub(crate) fn get(&self, key: &Key) -> Option<&Known> {
        self.known.get(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Remembers what a series is called.
    pub(crate) fn learn(&mut self, key: Key, known: Known) {
        if !self.owners.contains_key(&known.series) {
            let owner = Arc::new(key.owner());
            let held = self.devices.get_key_value(&owner);
            let owner = held.map_or(owner, |(held, _)| held.clone());
            self.owners.insert(known.series, owner.clone());
            self.devices.entry(owner).or_default().insert(known.series);
        }
        self.known.insert(key, known);
    }

    /// Forgets all series but these.
    pub(crate) fn keep(&mut self, kept: impl Fn(i64) -> bool) {
        self.known.retain(|_, known| kept(known.series));
        self.owners.retain(|series, _| kept(*series));
        self.devices.retain(|_, series| {
            series.retain(|series| kept(*series));
            !series.is_empty()
        });
    }

    /// Whose series it is.
    pub(crate) fn owner(&self, series: i64) -> Option<Arc<Owner>> {
        self.owners.get(&series).cloned()
    }

    /// The series of a device.
    pub(crate) fn of(&self, owner: &Owner) -> impl Iterator<Item = i64> + '_ {
        self.devices.get(owner).into_iter().flatten().copied()
    }

    /// The series of a tenant.
    pub(crate) fn of_tenant(&self, tenant: &TenantId) -> impl Iterator<Item = i64> + '_ {
        let tenant = tenant.clone();
        let of_it = self.known.iter().filter(move |it| it.0.tenant == tenant);
        of_it.map(|(_, known)| known.series)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(device: &str, name: &str) -> Key {
        Key {
            tenant: TenantId::parse("acme").unwrap(),
            device: DeviceId::parse(device).unwrap(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn the_series_of_a_device_are_known_together_until_they_are_forgotten() {
        let mut names = Names::default();
        let known = |series| Known { series, unit: None };
        names.learn(key("a", "t"), known(1));
        names.learn(key("b", "t"), known(2));
        names.learn(key("a", "h"), known(3));
        names.learn(key("a", "h"), known(3));
        let a = names.owner(3).unwrap();
        assert_eq!(names.of(&a).collect::<Vec<_>>(), [1, 3]);
        names.keep(|series| series != 3);
        assert_eq!(names.of(&a).collect::<Vec<_>>(), [1]);
        assert!(names.owner(3).is_none() && names.get(&key("a", "h")).is_none());
        names.keep(|series| series == 2);
        assert_eq!((names.of(&a).count(), names.len()), (0, 1));
    }
}
