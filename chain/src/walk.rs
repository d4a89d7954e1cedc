//! Which block is next, and what leaves the branch: pure.
//!
//! The walk keeps the newest blocks of the branch that is followed. Offered the block after its
//! newest, it extends when the parents fit. Where they don't, it asks for the other branch's blocks
//! one by one **by hash**, downwards, until one stands on a block that is kept: that one is common,
//! all above it is gone. So an answer that belongs to a third branch can't be mixed in.
//!
//! What is offered changes nothing by itself: the caller stores what a step says, and then tells
//! the walk ([`Walk::extend`], [`Walk::rewind`]).

use std::collections::BTreeMap;

use alloy_primitives::B256;

/// A block and what it stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// The hash of the block before.
    pub parent: B256,
}

/// What the walk wants to be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// The block of the chain with this number.
    Number(u64),
    /// The block with this hash, which has this number.
    Hash(u64, B256),
}

/// What an offered block means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is the next one of our branch.
    Extend(Link),
    /// Our branch is no longer the chain's; more has to be known ([`Walk::want`]).
    Back,
    /// The chain goes on from `to`; `gone` has left it, the newest first.
    Rewind {
        /// The newest common block.
        to: Link,
        /// What is kept above it.
        gone: Vec<Link>,
    },
    /// Nothing: it is a block that we have, or not one that was asked for.
    Known,
    /// No block that is kept is part of the chain any more.
    TooDeep(Link),
}

/// The branch that is followed, and what is being found out about another.
#[derive(Debug, Clone)]
pub struct Walk {
    kept: BTreeMap<u64, Link>,
    max_kept: u64,
    other: Option<(u64, B256)>,
}

impl Walk {
    /// A walk over the blocks that are kept, ascending; there has to be one. Numbers may be missing
    /// among the older ones. `max_kept` is how many numbers it reaches back.
    pub fn new(kept: impl IntoIterator<Item = Link>, max_kept: u64) -> Option<Self> {
        let kept: BTreeMap<_, _> = kept.into_iter().map(|link| (link.number, link)).collect();
        if kept.is_empty() {
            return None;
        }
        Some(Self {
            kept,
            max_kept: max_kept.max(1),
            other: None,
        })
    }

    /// The newest block of our branch.
    #[expect(
        clippy::expect_used,
        reason = "a walk has a block from its beginning on"
    )]
    pub fn tip(&self) -> Link {
        *self.kept.last_key_value().expect("a walk has a block").1
    }

    /// The oldest block that is kept.
    #[expect(
        clippy::expect_used,
        reason = "a walk has a block from its beginning on"
    )]
    pub fn oldest(&self) -> Link {
        *self.kept.first_key_value().expect("a walk has a block").1
    }

    /// The kept block with a number.
    pub fn kept(&self, number: u64) -> Option<Link> {
        self.kept.get(&number).copied()
    }

    /// The newest kept block that is not above a number.
    pub fn kept_up_to(&self, number: u64) -> Option<Link> {
        let (_, link) = self.kept.range(..=number).next_back()?;
        Some(*link)
    }

    /// The number below which blocks are not kept when the branch ends with `tip`.
    pub fn keep_from(&self, tip: u64) -> u64 {
        (tip + 1).saturating_sub(self.max_kept)
    }

    /// What to offer next.
    pub fn want(&self) -> Want {
        match self.other {
            Some((number, hash)) => Want::Hash(number, hash),
            None => Want::Number(self.tip().number + 1),
        }
    }

    /// What was asked for by hash is not to be had any more: the chain has turned again.
    pub fn forget_other(&mut self) {
        self.other = None;
    }

    /// Takes a block that was asked for, or the chain's newest one where that is not above ours.
    pub fn offer(&mut self, link: Link) -> Step {
        if let Some((number, hash)) = self.other {
            if (link.number, link.hash) != (number, hash) {
                return Step::Known;
            }
            return self.descend(link);
        }
        let tip = self.tip();
        if link.number == tip.number + 1 {
            if link.parent == tip.hash {
                return Step::Extend(link);
            }
            return self.go_back(tip.number, link.parent);
        }
        match self.kept(link.number) {
            Some(ours) if ours.hash != link.hash => self.descend(link),
            _ => Step::Known,
        }
    }

    /// `link` is of the other branch, at a height that ours has, too.
    fn descend(&mut self, link: Link) -> Step {
        let Some(below) = link.number.checked_sub(1) else {
            return Step::TooDeep(self.oldest());
        };
        if let Some(to) = self.kept(below).filter(|ours| ours.hash == link.parent) {
            self.other = None;
            let gone = self.kept.range(link.number..).rev().map(|(_, link)| *link);
            return Step::Rewind {
                to,
                gone: gone.collect(),
            };
        }
        self.go_back(below, link.parent)
    }

    fn go_back(&mut self, number: u64, hash: B256) -> Step {
        let oldest = self.oldest();
        if number <= oldest.number {
            self.other = None;
            return Step::TooDeep(oldest);
        }
        self.other = Some((number, hash));
        Step::Back
    }

    /// The branch has become longer by a block, or by a range that ends with it.
    pub fn extend(&mut self, link: Link) {
        self.other = None;
        self.kept.insert(link.number, link);
        let from = self.keep_from(link.number);
        while self.kept.len() > 1 && self.oldest().number < from {
            self.kept.pop_first();
        }
    }

    /// The branch ends with a common block from now on.
    pub fn rewind(&mut self, to: Link) {
        self.other = None;
        self.kept.split_off(&(to.number + 1));
        self.kept.insert(to.number, to);
    }
}
