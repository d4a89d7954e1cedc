//! What of a chain is looked at: addresses, topics, transfers of the native coin. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use alloy_primitives::{Address, B256, Bloom, BloomInput, keccak256};
use stencil_store::{WatchKind, Watched};

/// What of one address is watched, by whomever.
#[derive(Debug, Default, Clone)]
struct Wanted {
    any_event: bool,
    topics: BTreeSet<B256>,
    /// Third topics, by the first.
    third: BTreeMap<B256, HashSet<B256>>,
    /// First topics that are watched only beside another event.
    beside: BTreeSet<B256>,
    native: bool,
}

/// All that is watched. Asking it costs the same for ten watches and for ten thousand, but for the
/// look at a bloom filter, which costs three bits an address or account.
#[derive(Debug, Default, Clone)]
pub struct Interest {
    version: u64,
    by_address: HashMap<Address, Wanted>,
    /// Of addresses with events that are watched by themselves, and of topics: what a bloom filter is
    /// asked for.
    hashes: HashMap<Address, B256>,
    topic_hashes: HashMap<B256, B256>,
    natives: usize,
}

/// A question of `eth_getLogs`: addresses, first topics and third topics (empty: any).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Who emits.
    pub addresses: Vec<Address>,
    /// First topics; empty: any.
    pub topics: Vec<B256>,
    /// Third topics; empty: any.
    pub third: Vec<B256>,
}

/// Addresses, and third topics, in one question.
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
            let mut hashed = |topic: B256| {
                let hash = || keccak256(topic);
                interest.topic_hashes.entry(topic).or_insert_with(hash);
            };
            match watched.watch.kind {
                WatchKind::Event(topic0) => {
                    wanted.topics.insert(topic0.into());
                    hashed(topic0.into());
                }
                WatchKind::EventTo { topic0, to } => {
                    let third = Address::from(to).into_word();
                    wanted.third.entry(topic0.into()).or_default().insert(third);
                    hashed(topic0.into());
                    hashed(third);
                }
                WatchKind::AnyEvent => wanted.any_event = true,
                WatchKind::Beside(topic0) => {
                    wanted.beside.insert(topic0.into());
                    continue;
                }
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

    /// Whether this log is watched by itself.
    pub fn wants_log(&self, address: Address, topics: &[B256]) -> bool {
        self.by_address.get(&address).is_some_and(|wanted| {
            wanted.any_event
                || topics.first().is_some_and(|first| {
                    wanted.topics.contains(first)
                        || topics.get(2).is_some_and(|third| {
                            let of_first = wanted.third.get(first);
                            of_first.is_some_and(|thirds| thirds.contains(third))
                        })
                })
        })
    }

    /// Whether this log is watched where its transaction has another one of its contract that is
    /// watched by itself.
    pub fn wants_beside(&self, address: Address, topics: &[B256]) -> bool {
        let wanted = self.by_address.get(&address);
        let first = topics.first();
        wanted.is_some_and(|wanted| first.is_some_and(|first| wanted.beside.contains(first)))
    }

    /// Whether transfers of the native coin to this address are watched.
    pub fn wants_native(&self, to: Address) -> bool {
        self.by_address.get(&to).is_some_and(|wanted| wanted.native)
    }

    /// Whether a block with this filter may have a log that is watched; `false` is certain.
    pub fn may_be_in(&self, bloom: &Bloom) -> bool {
        let has = |hash: &B256| bloom.contains_input(BloomInput::Hash(*hash));
        let has_topic = |topic: &B256| self.topic_hashes.get(topic).is_some_and(has);
        self.hashes.iter().any(|(address, hash)| {
            has(hash)
                && self.by_address.get(address).is_some_and(|wanted| {
                    wanted.any_event
                        || wanted.topics.iter().any(has_topic)
                        || wanted
                            .third
                            .iter()
                            .any(|(first, thirds)| has_topic(first) && thirds.iter().any(has_topic))
                })
        })
    }

    /// What to ask `eth_getLogs` for, in questions of bounded size. The answers may have more than
    /// is watched by itself, the same more than once, and not what is watched beside it.
    pub fn filters(&self) -> Vec<Filter> {
        let (mut by_event, mut any, mut by_third) = (Vec::new(), Vec::new(), Vec::new());
        let (mut topics, mut firsts, mut thirds) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for address in self.hashes.keys() {
            let Some(wanted) = self.by_address.get(address) else {
                continue;
            };
            if wanted.any_event {
                any.push(*address);
                continue;
            }
            if !wanted.topics.is_empty() {
                by_event.push(*address);
                topics.extend(wanted.topics.iter().copied());
            }
            if !wanted.third.is_empty() {
                by_third.push(*address);
                firsts.extend(wanted.third.keys().copied());
                thirds.extend(wanted.third.values().flatten().copied());
            }
        }
        for addresses in [&mut by_event, &mut any, &mut by_third] {
            addresses.sort_unstable();
        }
        let topics: Vec<B256> = topics.into_iter().collect();
        let firsts: Vec<B256> = firsts.into_iter().collect();
        let thirds: Vec<B256> = thirds.into_iter().collect();
        let mut filters = Vec::new();
        for (addresses, topics) in [(&by_event, &topics), (&any, &Vec::new())] {
            filters.extend(addresses.chunks(MAX_ADDRESSES).map(|addresses| Filter {
                addresses: addresses.to_vec(),
                topics: topics.clone(),
                third: Vec::new(),
            }));
        }
        for addresses in by_third.chunks(MAX_ADDRESSES) {
            filters.extend(thirds.chunks(MAX_ADDRESSES).map(|third| Filter {
                addresses: addresses.to_vec(),
                topics: firsts.clone(),
                third: third.to_vec(),
            }));
        }
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

    /// Of a token, what goes to an account that is watched, and what its contract says beside that.
    #[test]
    fn a_token_is_watched_by_who_is_paid() {
        let to = |account: u8| WatchKind::EventTo {
            topic0: [7; 32],
            to: [account; 20],
        };
        let word = |account: u8| address(account).into_word();
        let interest = Interest::new(
            0,
            &[
                watched(1, to(0xaa)),
                watched(1, to(0xab)),
                watched(1, WatchKind::Beside([8; 32])),
                watched(2, WatchKind::Beside([8; 32])),
            ],
        );
        let wants = |of: u8, topics: &[B256]| interest.wants_log(address(of), topics);
        assert!(wants(1, &[topic(7), word(1), word(0xaa)]));
        assert!(wants(1, &[topic(7), word(1), word(0xab)]));
        // To somebody else, from one who is watched, another event, another token.
        assert!(!wants(1, &[topic(7), word(1), word(0xac)]));
        assert!(!wants(1, &[topic(7), word(0xaa), word(1)]));
        assert!(!wants(1, &[topic(9), word(1), word(0xaa)]));
        assert!(!wants(2, &[topic(7), word(1), word(0xaa)]));
        assert!(!wants(1, &[topic(7), word(0xaa)]));
        assert!(!wants(1, &[topic(8)]) && interest.wants_beside(address(1), &[topic(8)]));
        assert!(!interest.wants_beside(address(1), &[topic(7)]));
        assert!(!interest.wants_beside(address(3), &[topic(8)]));
        let filter = Filter {
            addresses: vec![address(1)],
            topics: vec![topic(7)],
            third: vec![word(0xaa), word(0xab)],
        };
        assert_eq!(interest.filters(), [filter]);
        let mut bloom = Bloom::ZERO;
        bloom.accrue_raw_log(address(1), &[topic(7), word(1), word(0xac)]);
        assert!(!interest.may_be_in(&bloom), "a block with others' only");
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

        let to: Vec<Watched> = watches
            .iter()
            .map(|watch| {
                let kind = WatchKind::EventTo {
                    topic0: [1; 32],
                    to: watch.watch.address,
                };
                watched(9, kind)
            })
            .collect();
        let filters = Interest::new(0, &to).filters();
        assert_eq!(filters.len(), 3);
        let asked: BTreeSet<B256> = filters.into_iter().flat_map(|f| f.third).collect();
        assert_eq!(asked.len(), 1_203);
    }

    proptest! {
        /// What a filter denies is not there: the rule on which a block is passed over.
        #[test]
        fn a_log_that_is_watched_is_never_denied(
            logs in proptest::collection::vec((0..6_u8, proptest::collection::vec(0..5_u8, 0..4)), 0..40),
            watches in proptest::collection::vec((0..6_u8, 0..6_u8, 0..8_u8), 0..6),
        ) {
            let watches: Vec<Watched> = watches
                .into_iter()
                .map(|(a, t, to)| match t {
                    5 => watched(a, WatchKind::AnyEvent),
                    t if to < 5 => {
                        // Topics of logs are words of one byte; so are accounts' here.
                        let third = WatchKind::EventTo { topic0: [t; 32], to: [to; 20] };
                        watched(a, third)
                    }
                    t => watched(a, WatchKind::Event([t; 32])),
                })
                .collect();
            let interest = Interest::new(0, &watches);
            let mut bloom = Bloom::ZERO;
            let mut wanted = false;
            for (a, topics) in &logs {
                let mut topics: Vec<B256> = topics.iter().copied().map(topic).collect();
                if let Some(third) = topics.get_mut(2) {
                    *third = address(third[0]).into_word();
                }
                bloom.accrue_raw_log(address(*a), &topics);
                wanted |= interest.wants_log(address(*a), &topics);
            }
            prop_assert!(!wanted || interest.may_be_in(&bloom));
            prop_assert!(!Interest::default().may_be_in(&bloom));
        }
    }
}
