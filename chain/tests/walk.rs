//! The walk against a model: random branches, which change also while the walk goes back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(
    clippy::cast_possible_truncation,
    reason = "numbers of blocks that a test has made"
)]

use std::collections::HashMap;

use alloy_primitives::{B256, keccak256};
use proptest::prelude::*;
use stencil_chain::walk::{Link, Step, Walk, Want};

/// A chain that can turn; blocks of branches that it left are still found by hash.
struct Chain {
    blocks: Vec<Link>,
    by_hash: HashMap<B256, Link>,
    made: u64,
}

impl Chain {
    fn new(blocks: u64) -> Self {
        let mut chain = Self {
            blocks: Vec::new(),
            by_hash: HashMap::new(),
            made: 0,
        };
        (0..blocks).for_each(|_| chain.mine());
        chain
    }

    fn mine(&mut self) {
        self.made += 1;
        let link = Link {
            number: self.blocks.len() as u64,
            hash: keccak256(self.made.to_be_bytes()),
            parent: self.blocks.last().map_or(B256::ZERO, |last| last.hash),
        };
        self.by_hash.insert(link.hash, link);
        self.blocks.push(link);
    }

    /// `depth` blocks go, `blocks` others come.
    fn turn(&mut self, depth: usize, blocks: usize) {
        let left = self.blocks.len().saturating_sub(depth).max(1);
        self.blocks.truncate(left);
        (0..blocks).for_each(|_| self.mine());
    }
}

/// A follower without a network: what it has stored is a stack of blocks.
struct Followed {
    walk: Walk,
    stored: Vec<Link>,
}

impl Followed {
    fn new(chain: &Chain, max_kept: u64) -> Self {
        Self {
            walk: Walk::new([chain.blocks[0]], max_kept).unwrap(),
            stored: vec![chain.blocks[0]],
        }
    }

    /// One answer. `false`: nothing is new.
    fn step(&mut self, chain: &Chain) -> Result<bool, Link> {
        let newest = *chain.blocks.last().unwrap();
        let link = match self.walk.want() {
            Want::Hash(_, hash) => chain.by_hash[&hash],
            Want::Number(number) => match chain.blocks.get(number as usize) {
                Some(link) => *link,
                None => newest,
            },
        };
        match self.walk.offer(link) {
            Step::Extend(link) => {
                assert_eq!(link.parent, self.stored.last().unwrap().hash);
                self.walk.extend(link);
                self.stored.push(link);
            }
            Step::Back => {}
            Step::Rewind { to, gone } => {
                // The newest first, and exactly what was stored above.
                for link in &gone {
                    assert_eq!(self.stored.pop().as_ref(), Some(link));
                }
                assert_eq!(self.stored.last(), Some(&to));
                self.walk.rewind(to);
            }
            Step::Known => return Ok(false),
            Step::TooDeep(oldest) => return Err(oldest),
        }
        assert_eq!(Some(&self.walk.tip()), self.stored.last());
        Ok(true)
    }

    fn settle(&mut self, chain: &Chain) -> Result<(), Link> {
        for _ in 0..10_000 {
            if !self.step(chain)? {
                return Ok(());
            }
        }
        panic!("it does not come to an end");
    }
}

#[derive(Debug, Clone)]
enum Event {
    Mine(usize),
    Turn(usize, usize),
    Steps(usize),
    Restart,
    Forget,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        (1..6_usize).prop_map(Event::Mine),
        (1..12_usize, 0..14_usize).prop_map(|(depth, blocks)| Event::Turn(depth, blocks)),
        (1..20_usize).prop_map(Event::Steps),
        Just(Event::Restart),
        Just(Event::Forget),
    ];
    proptest::collection::vec(event, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_stored_becomes_the_chain_whatever_happened(events in events()) {
        let mut chain = Chain::new(3);
        let mut followed = Followed::new(&chain, 1_000);
        for event in events {
            match event {
                Event::Mine(blocks) => (0..blocks).for_each(|_| chain.mine()),
                Event::Turn(depth, blocks) => chain.turn(depth, blocks),
                Event::Steps(steps) => for _ in 0..steps {
                    followed.step(&chain).unwrap();
                },
                Event::Restart => {
                    followed.walk = Walk::new(followed.stored.iter().copied(), 1_000).unwrap();
                }
                Event::Forget => followed.walk.forget_other(),
            }
        }
        // A chain that has only become shorter is one that lags, until it has another block.
        chain.mine();
        let longest = followed.stored.len().max(chain.blocks.len()) + 1;
        while chain.blocks.len() < longest {
            chain.mine();
        }
        followed.settle(&chain).unwrap();
        prop_assert_eq!(&followed.stored, &chain.blocks);
    }

    #[test]
    fn deeper_than_kept_is_said_and_never_papered_over(
        kept in 1..20_u64, blocks in 1..60_usize, depth in 1..60_usize, more in 1..10_usize,
    ) {
        let mut chain = Chain::new(1);
        let mut followed = Followed::new(&chain, kept);
        (0..blocks).for_each(|_| chain.mine());
        followed.settle(&chain).unwrap();
        prop_assert!(followed.walk.tip().number - followed.walk.oldest().number < kept);
        let depth = depth.min(blocks);
        let before = chain.blocks.clone();
        chain.turn(depth, depth + more);
        let common = before.len() - depth;
        let settled = followed.settle(&chain);
        // The newest common block has to be among the kept ones.
        if (before.len() - common) < kept.min(before.len() as u64) as usize {
            settled.unwrap();
            prop_assert_eq!(&followed.stored, &chain.blocks);
        } else {
            prop_assert!(settled.is_err());
            prop_assert_eq!(&followed.stored, &before);
        }
    }
}

/// Where blocks are missing between the kept ones, as after catching up by ranges, all above the
/// newest common one of those that are kept goes.
#[test]
fn a_gap_between_kept_blocks_is_walked_through() {
    let mut chain = Chain::new(41);
    let old = chain.blocks.clone();
    let kept = [0, 10, 20, 38, 39, 40].map(|number| old[number]);
    let mut walk = Walk::new(kept, 1_000).unwrap();
    chain.turn(10, 15);
    let mut asked = 0;
    let step = loop {
        let link = match walk.want() {
            Want::Number(number) => chain.blocks[number as usize],
            Want::Hash(_, hash) => chain.by_hash[&hash],
        };
        asked += 1;
        match walk.offer(link) {
            Step::Back => {}
            other => break other,
        }
    };
    assert_eq!(
        step,
        Step::Rewind {
            to: old[20],
            gone: vec![old[40], old[39], old[38]],
        }
    );
    assert_eq!(asked, 1 + 20, "block 41, and 40 to 21 by hash");
}

/// A shorter chain of another branch is one that turned; one of ours is one that lags.
#[test]
fn a_newest_block_below_ours_counts_only_if_it_is_another() {
    let mut chain = Chain::new(10);
    let mut followed = Followed::new(&chain, 100);
    followed.settle(&chain).unwrap();
    let lagging = chain.blocks[6];
    assert_eq!(followed.walk.offer(lagging), Step::Known);
    chain.turn(5, 2);
    assert_eq!(chain.blocks.len(), 7);
    followed.settle(&chain).unwrap();
    assert_eq!(followed.stored, chain.blocks);
}
