//! Subscriptions by topic level, for one namespace.
//!
//! A name is looked up by walking its levels, so the cost follows the levels
//! and the wildcards, not the number of subscriptions.

use std::collections::HashMap;
use std::sync::Arc;

use crate::Qos;
use crate::outbox::Outbox;

/// What one subscriber asked for with one filter.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    /// The connection that subscribed.
    pub(crate) session: u64,
    /// Where its messages go.
    pub(crate) outbox: Arc<Outbox>,
    /// The granted quality of service.
    pub(crate) qos: Qos,
    /// Don't send back what this connection has published.
    pub(crate) no_local: bool,
    /// Keep the retain flag as it was published.
    pub(crate) retain_as_published: bool,
    /// Sent along with each message (MQTT 5 Subscription Identifier).
    pub(crate) identifier: Option<u32>,
}

/// All subscriptions of a namespace. Filters are well-formed and their depth
/// is bounded by the caller.
#[derive(Debug, Default)]
pub(crate) struct Trie {
    root: Node,
    len: usize,
}

#[derive(Debug, Default)]
struct Node {
    children: HashMap<Box<str>, Node>,
    /// Subscriptions whose filter ends here.
    here: Vec<Subscription>,
    /// Subscriptions whose filter ends with `#` below this level.
    below: Vec<Subscription>,
}

impl Trie {
    /// How many subscriptions there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a subscription, or replaces the one of this session and filter.
    /// Returns whether it is new.
    pub(crate) fn insert(&mut self, filter: &str, subscription: Subscription) -> bool {
        let mut node = &mut self.root;
        let mut list = None;
        for level in filter.split('/') {
            if level == "#" {
                list = Some(&mut node.below);
                break;
            }
            node = node.children.entry(Box::from(level)).or_default();
        }
        let list = match list {
            Some(list) => list,
            None => &mut node.here,
        };
        match list.iter_mut().find(|s| s.session == subscription.session) {
            Some(old) => {
                *old = subscription;
                false
            }
            None => {
                list.push(subscription);
                self.len += 1;
                true
            }
        }
    }

    /// Removes the subscription of this session and filter. Returns whether
    /// there was one.
    pub(crate) fn remove(&mut self, filter: &str, session: u64) -> bool {
        let levels: Vec<&str> = filter.split('/').collect();
        let removed = self.root.remove(&levels, session);
        if removed {
            self.len -= 1;
        }
        removed
    }

    /// Calls `each` for every subscription that covers a name.
    pub(crate) fn matches<'a>(&'a self, name: &str, each: &mut impl FnMut(&'a Subscription)) {
        // §4.7.2: wildcards in the first level don't cover names with `$`.
        self.root.matches(Some(name), name.starts_with('$'), each);
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.here.is_empty() && self.below.is_empty()
    }

    fn remove(&mut self, levels: &[&str], session: u64) -> bool {
        let list = match levels.split_first() {
            None => &mut self.here,
            Some((&"#", _)) => &mut self.below,
            Some((level, rest)) => {
                let Some(child) = self.children.get_mut(*level) else {
                    return false;
                };
                let removed = child.remove(rest, session);
                if child.is_empty() {
                    self.children.remove(*level);
                }
                return removed;
            }
        };
        let before = list.len();
        list.retain(|subscription| subscription.session != session);
        list.len() < before
    }

    fn matches<'a>(
        &'a self,
        rest: Option<&str>,
        reserved: bool,
        each: &mut impl FnMut(&'a Subscription),
    ) {
        if !reserved {
            self.below.iter().for_each(&mut *each);
        }
        let Some(rest) = rest else {
            self.here.iter().for_each(each);
            return;
        };
        let (level, rest) = match rest.split_once('/') {
            Some((level, rest)) => (level, Some(rest)),
            None => (rest, None),
        };
        if let Some(child) = self.children.get(level) {
            child.matches(rest, false, each);
        }
        if !reserved && let Some(child) = self.children.get("+") {
            child.matches(rest, false, each);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::topic;

    fn subscription(session: u64) -> Subscription {
        Subscription {
            session,
            outbox: Arc::new(Outbox::new(1, 1)),
            qos: Qos::AtMostOnce,
            no_local: false,
            retain_as_published: false,
            identifier: None,
        }
    }

    fn sessions(trie: &Trie, name: &str) -> BTreeSet<u64> {
        let mut found = BTreeSet::new();
        trie.matches(name, &mut |s| {
            assert!(found.insert(s.session), "reported twice");
        });
        found
    }

    #[test]
    fn replaces_and_prunes() {
        let mut trie = Trie::default();
        assert!(trie.insert("a/+/c", subscription(1)));
        assert!(!trie.insert("a/+/c", subscription(1)));
        assert!(trie.insert("a/#", subscription(2)));
        assert_eq!(trie.len(), 2);
        assert!(!trie.remove("a/+/c", 2));
        assert!(!trie.remove("a/x", 1));
        assert!(trie.remove("a/+/c", 1));
        assert!(trie.remove("a/#", 2));
        assert_eq!(trie.len(), 0);
        assert!(trie.root.is_empty());
    }

    /// Filters from few levels, so that they often meet.
    fn filter() -> impl Strategy<Value = String> {
        (
            prop::collection::vec(prop::sample::select(vec!["a", "b", "", "+", "$s"]), 1..5),
            any::<bool>(),
        )
            .prop_map(|(mut levels, all)| {
                if all {
                    levels.push("#");
                }
                levels.join("/")
            })
            .prop_filter("a filter is not empty", |filter| !filter.is_empty())
    }

    proptest! {
        /// The trie finds what matching one by one finds, after any changes.
        #[test]
        fn finds_what_matches(
            filters in prop::collection::vec(filter(), 1..20),
            removed in prop::collection::vec(any::<bool>(), 20),
            name in prop::collection::vec(prop::sample::select(vec!["a", "b", "", "$s"]), 1..6),
        ) {
            let name = name.join("/");
            let mut trie = Trie::default();
            for (session, filter) in filters.iter().enumerate() {
                trie.insert(filter, subscription(session as u64));
            }
            let mut wanted = BTreeSet::new();
            for (session, filter) in filters.iter().enumerate() {
                if removed[session] {
                    prop_assert!(trie.remove(filter, session as u64));
                } else if topic::matches(filter, &name) {
                    wanted.insert(session as u64);
                }
            }
            prop_assert_eq!(sessions(&trie, &name), wanted);
            for (session, filter) in filters.iter().enumerate() {
                trie.remove(filter, session as u64);
            }
            prop_assert!(trie.root.is_empty());
        }
    }
}
