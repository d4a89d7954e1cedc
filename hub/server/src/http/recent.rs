//! A table that never holds more than so many keys: those that were asked for of late.

use std::collections::HashMap;
use std::hash::Hash;

/// Keys with their values in two halves. When the younger half is full, the older one is forgotten
/// and the younger takes its place; a key that is asked for moves to the younger one. So a key is
/// kept as long as fewer than half of the capacity came after it.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
}

impl<K: Eq + Hash, V> Recent<K, V> {
    /// An empty table for at most so many keys.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            half: (capacity / 2).max(1),
        }
    }

    /// The value of a key, which is made if there is none.
    pub(super) fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        if !self.young.contains_key(&key) && self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        let kept = self.old.remove(&key);
        self.young
            .entry(key)
            .or_insert_with(|| kept.unwrap_or_else(make))
    }

    /// The value of a key, if there is one.
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Forgets a key.
    pub(super) fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_kept_than_the_capacity_and_what_is_used_stays() {
        let mut recent = Recent::new(100);
        *recent.entry("used".to_owned(), || 0) = 7;
        for n in 0..10_000 {
            recent.entry(n.to_string(), || n);
            assert!(recent.len() <= 100);
            assert_eq!(*recent.entry("used".to_owned(), || 0), 7, "after {n}");
        }
        assert_eq!(recent.get(&"9999".to_owned()), Some(&9_999));
        assert_eq!(recent.get(&"0".to_owned()), None);
        recent.remove(&"used".to_owned());
        assert_eq!(recent.get(&"used".to_owned()), None);
    }
}
