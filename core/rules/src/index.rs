//! Which rules can match a device and name, without looking at all of them.

use std::collections::{BTreeMap, HashMap};

use crate::{Pattern, Rule};

/// Rules by the name they look at, and by the literal start of their pattern.
/// A rule's place is its number in the engine.
#[derive(Debug, Default)]
pub(crate) struct Index {
    named: HashMap<String, Names>,
    /// Those that look at samples of any name.
    unnamed: Names,
}

#[derive(Debug, Default)]
struct Names {
    /// Patterns without a wildcard: the whole device id.
    exact: HashMap<String, Vec<u32>>,
    /// Others, by their length up to the first wildcard, then by that text.
    prefixes: BTreeMap<usize, HashMap<String, Vec<u32>>>,
}

impl Index {
    pub(crate) fn insert(&mut self, place: u32, rule: &Rule) {
        let names = match &rule.name {
            Some(name) => self.named.entry(name.clone()).or_default(),
            None => &mut self.unnamed,
        };
        names.list(&rule.devices).push(place);
    }

    pub(crate) fn remove(&mut self, place: u32, rule: &Rule) {
        match &rule.name {
            Some(name) => {
                if let Some(names) = self.named.get_mut(name) {
                    names.remove(place, &rule.devices);
                    if names.exact.is_empty() && names.prefixes.is_empty() {
                        self.named.remove(name);
                    }
                }
            }
            None => self.unnamed.remove(place, &rule.devices),
        }
    }

    /// The places of rules that may concern this device and name; whether the
    /// whole pattern matches is for the caller to see.
    pub(crate) fn candidates<'a>(
        &'a self,
        device: &'a str,
        name: &str,
    ) -> impl Iterator<Item = u32> + 'a {
        let named = self.named.get(name).into_iter();
        named
            .chain(std::iter::once(&self.unnamed))
            .flat_map(move |names| names.candidates(device))
    }
}

impl Names {
    fn list(&mut self, devices: &Pattern) -> &mut Vec<u32> {
        let prefix = devices.prefix();
        let lists = if prefix.len() == devices.as_str().len() {
            &mut self.exact
        } else {
            self.prefixes.entry(prefix.len()).or_default()
        };
        lists.entry(prefix.to_owned()).or_default()
    }

    fn remove(&mut self, place: u32, devices: &Pattern) {
        let prefix = devices.prefix();
        let drop_from = |lists: &mut HashMap<String, Vec<u32>>| {
            if let Some(list) = lists.get_mut(prefix) {
                list.retain(|&other| other != place);
                if list.is_empty() {
                    lists.remove(prefix);
                }
            }
        };
        if prefix.len() == devices.as_str().len() {
            drop_from(&mut self.exact);
        } else if let Some(lists) = self.prefixes.get_mut(&prefix.len()) {
            drop_from(lists);
            if lists.is_empty() {
                self.prefixes.remove(&prefix.len());
            }
        }
    }

    fn candidates<'a>(&'a self, device: &'a str) -> impl Iterator<Item = u32> + 'a {
        let exact = self.exact.get(device);
        let prefixes = self.prefixes.iter().filter_map(move |(&length, lists)| {
            let start = device.get(..length)?;
            lists.get(start)
        });
        exact.into_iter().chain(prefixes).flatten().copied()
    }
}
