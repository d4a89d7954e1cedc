//! What of a chain is looked at: addresses, first topics, transfers of the native coin. Pure.

use std::collections::{BTreeSet, HashMap};

use alloy_primitives::{Address, B256, Bloom, BloomInput, keccak256};
use stencil_store::{WatchKind, Watched};

/// What of one address is watched, by whomever.
#[derive(Debug, Default, Clone)]
struct Wanted {
    any_event: bool,
    topics: BTreeSet<B256>,
    native: bool,
}

/// All that is watched. Asking it costs the same for ten watches and for ten thousand, but for the
/// look at a bloom filter, which costs three bits an address.
#[derive(Debug, Default, Clone)]
pub struct Interest {
    version: u64,
    by_address: HashMap<Address, Wanted>,
    /// Of addresses with events, and of topics: what a bloom filter is asked for.
    hashes: HashMap<Address, B256>,
    topic_hashes: HashMap<B256, B256>,
    natives: usize,
}

/// A question of `eth_getLogs`: addresses, and first topics (empty: any).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Who emits.
    pub addresses: Vec<Address>,
    /// First topics; empty: any.
    pub topics: Vec<B256>,
}

/// Addresses in one question.
const MAX_ADDRESSES: usize = 500;

impl Interest {
    /// Of watches, which are the state with number `version`.
    pub fn new(version: u64, watches: &[Watched]) -> Self {
        let mut interest = Self {
            version,
            ..Self::default()
        };
        for watched in watches {
            let address = Address::from(watched.watch.address);
            let wanted = interest.by_address.entry(address).or_default();
            match watched.watch.kind {
                WatchKind::Event(topic0) => {
                    let topic0 = B256::from(topic0);
                    wanted.topics.insert(topic0);
                    interest
                        .topic_hashes
                        .entry(topic0)
                        .or_insert_with(|| keccak256(topic0));
                }
                WatchKind::AnyEvent => wanted.any_event = true,
                WatchKind::Native => {
                    interest.natives += usize::from(!wanted.native);
                    wanted.native = true;
                    continue;
                }
            }
            interest
                .hashes
                .entry(address)
                .or_insert_with(|| keccak256(address));
        }
        interest
    }

    /// The number of this state.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether any event is watched.
    pub fn has_events(&self) -> bool {
        !self.hashes.is_empty()
    }

    /// Whether transfers of the native coin to any address are watched.
    pub fn has_natives(&self) -> bool {
        self.natives > 0
    }

    /// Whether this log is watched.
    pub fn wants_log(&self, address: Address, topics: &[B256]) -> bool {
        self.by_address.get(&address).is_some_and(|wanted| {
            wanted.any_event
                || topics
                    .first()
                    .is_some_and(|first| wanted.topics.contains(first))
        })
    }

    /// Whether transfers of the native coin to this address are watched.
    pub fn wants_native(&self, to: Address) -> bool {
        self.by_address.get(&to).is_some_and(|wanted| wanted.native)
    }

    /// Whether a block with this filter may have a log that is watched; `false` is certain.
    pub fn may_be_in(&self, bloom: &Bloom) -> bool {
        let has = |hash: &B256| bloom.contains_input(BloomInput::Hash(*hash));
        self.hashes.iter().any(|(address, hash)| {
            has(hash)
                && self.by_address.get(address).is_some_and(|wanted| {
                    wanted.any_event
                        || wanted
                            .topics
                            .iter()
                            .any(|topic| self.topic_hashes.get(topic).is_some_and(&has))
                })
        })
    }

    /// What to ask `eth_getLogs` for, in questions of bounded size. The answers may have more than
    /// is watched.
    pub fn filters(&self) -> Vec<Filter> {
        let mut by_event = Vec::new();
        let mut any = Vec::new();
        let mut topics = BTreeSet::new();
        for address in self.hashes.keys() {
            let Some(wanted) = self.by_address.get(address) else {
                continue;
            };
            if wanted.any_event {
                any.push(*address);
            } else {
                by_event.push(*address);
                topics.extend(wanted.topics.iter().copied());
            }
        }
        by_event.sort_unstable();
        any.sort_unstable();
        let topics: Vec<B256> = topics.into_iter().collect();
        let chunks = |addresses: &[Address], topics: &[B256]| -> Vec<Filter> {
            addresses
                .chunks(MAX_ADDRESSES)
                .map(|addresses| Filter {
                    addresses: addresses.to_vec(),
                    topics: topics.to_vec(),
                })
                .collect()
        };
        let mut filters = chunks(&by_event, &topics);
        filters.extend(chunks(&any, &[]));
        filters
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stencil_store::Watch;

    use super::*;

    fn watched(address: u8, kind: WatchKind) -> Watched {
        Watched {
            watch: Watch {
                owner: "acme".to_owned(),
                address: [address; 20],
                kind,
            },
            from_block: 0,
        }
    }

    fn address(n: u8) -> Address {
        Address::from([n; 20])
    }

    fn topic(n: u8) -> B256 {
        B256::from([n; 32])
    }

    #[test]
    fn each_kind_of_watch_wants_its_own() {
        let interest = Interest::new(
            3,
            &[
                watched(1, WatchKind::Event([7; 32])),
                watched(2, WatchKind::AnyEvent),
                watched(3, WatchKind::Native),
            ],
        );
        assert!(interest.wants_log(address(1), &[topic(7), topic(9)]));
        assert!(!interest.wants_log(address(1), &[topic(9), topic(7)]));
        assert!(!interest.wants_log(address(1), &[]));
        assert!(interest.wants_log(address(2), &[]));
        assert!(!interest.wants_log(address(3), &[topic(7)]));
        assert!(interest.wants_native(address(3)) && !interest.wants_native(address(2)));
        assert!(interest.has_natives() && interest.has_events());
        assert_eq!(interest.filters().len(), 2);
    }

    #[test]
    fn questions_are_of_bounded_size_and_leave_nobody_out() {
        let watches: Vec<Watched> = (0..1_203_u16)
            .map(|n| {
                let mut watch = watched(0, WatchKind::Event([1; 32]));
                watch.watch.address[..2].copy_from_slice(&n.to_be_bytes());
                watch
            })
            .collect();
        let filters = Interest::new(0, &watches).filters();
        assert_eq!(filters.len(), 3);
        assert!(filters.iter().all(|filter| filter.topics == [topic(1)]));
        let asked: BTreeSet<Address> = filters.into_iter().flat_map(|f| f.addresses).collect();
        assert_eq!(asked.len(), 1_203);
    }

    proptest! {
        /// What a filter denies is not there: the rule on which a block is passed over.
        #[test]
        fn a_log_that_is_watched_is_never_denied(
            logs in proptest::collection::vec((0..6_u8, proptest::collection::vec(0..5_u8, 0..4)), 0..40),
            watches in proptest::collection::vec((0..6_u8, 0..6_u8), 0..6),
        ) {
            let watches: Vec<Watched> = watches
                .into_iter()
                .map(|(a, t)| match t {
                    5 => watched(a, WatchKind::AnyEvent),
                    t => watched(a, WatchKind::Event([t; 32])),
                })
                .collect();
            let interest = Interest::new(0, &watches);
            let mut bloom = Bloom::ZERO;
            let mut wanted = false;
            for (a, topics) in &logs {
                let topics: Vec<B256> = topics.iter().copied().map(topic).collect();
                bloom.accrue_raw_log(address(*a), &topics);
                wanted |= interest.wants_log(address(*a), &topics);
            }
            prop_assert!(!wanted || interest.may_be_in(&bloom));
            prop_assert!(!Interest::default().may_be_in(&bloom));
        }
    }
}
