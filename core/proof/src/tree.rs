//! Merkle trees as in RFC 9162, section 2.1, over SHA-256.

use sha2::{Digest as _, Sha256};

/// A SHA-256.
pub type Hash = [u8; 32];

/// The most nodes of a path: of a tree of 2^64 leaves.
pub const MAX_PATH: usize = 64;

/// The hash of a leaf: of `0x00` and the entry.
#[must_use]
pub fn leaf(entry: &[u8]) -> Hash {
    Sha256::new()
        .chain_update([0])
        .chain_update(entry)
        .finalize()
        .into()
}

/// The hash of an inner node: of `0x01` and both hashes below.
fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new()
        .chain_update([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// A tree that grows, of which only its right edge is kept: at most 64 hashes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    /// Roots of the full subtrees, the largest first.
    edge: Vec<Hash>,
}

impl Tree {
    /// Adds a leaf's hash on the right.
    pub fn push(&mut self, leaf: Hash) {
        let (mut hash, mut full) = (leaf, self.size);
        while full & 1 == 1
            && let Some(left) = self.edge.pop()
        {
            hash = node(&left, &hash);
            full >>= 1;
        }
        self.edge.push(hash);
        self.size += 1;
    }

    /// How many leaves there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root; without a leaf it is the hash of nothing.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut edge = self.edge.iter().rev();
        match edge.next() {
            None => Sha256::digest([]).into(),
            Some(last) => edge.fold(*last, |right, left| node(left, &right)),
        }
    }
}

impl FromIterator<Hash> for Tree {
    fn from_iter<I: IntoIterator<Item = Hash>>(leaves: I) -> Self {
        let mut tree = Self::default();
        for leaf in leaves {
            tree.push(leaf);
        }
        tree
    }
}

/// The root of a tree with these leaves.
#[must_use]
pub fn root(leaves: &[Hash]) -> Hash {
    leaves.iter().copied().collect::<Tree>().root()
}

/// The way from a leaf to the root (section 2.1.3.1), from below; `None` if there is no such leaf.
#[must_use]
pub fn path(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    if index >= leaves.len() {
        return None;
    }
    let (mut path, mut part, mut at) = (Vec::new(), leaves, index);
    while part.len() > 1 {
        // The largest power of two that is smaller.
        let left = part.len().next_power_of_two() / 2;
        let (left, right) = part.split_at(left);
        if at < left.len() {
            path.push(root(right));
            part = left;
        } else {
            path.push(root(left));
            at -= left.len();
            part = right;
        }
    }
    path.reverse();
    Some(path)
}

/// Whether a leaf is at this place in the tree of this size and root (section 2.1.3.2).
#[must_use]
pub fn holds(leaf: Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, leaf);
    for step in path {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = node(step, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, step);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|n| leaf(&n.to_be_bytes())).collect()
    }

    /// The inputs and roots that implementations of RFC 6962 and 9162 test with.
    #[test]
    fn roots_of_the_known_inputs() {
        let inputs: [&[u8]; 8] = [
            &[],
            &[0x00],
            &[0x10],
            &[0x20, 0x21],
            &[0x30, 0x31],
            &[0x40, 0x41, 0x42, 0x43],
            &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
            &[
                0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d,
                0x6e, 0x6f,
            ],
        ];
        let all: Vec<Hash> = inputs.iter().map(|input| leaf(input)).collect();
        for (count, expected) in [
            (
                0,
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
            (
                1,
                "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            ),
            (
                3,
                "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            ),
            (
                8,
                "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
            ),
        ] {
            assert_eq!(hex::encode(root(&all[..count])), expected, "{count}");
        }
    }

    #[test]
    fn every_leaf_of_every_size_is_there_and_nowhere_else() {
        for size in 1..40_u64 {
            let all = leaves(usize::try_from(size).unwrap());
            let root = root(&all);
            for (index, hash) in (0..).zip(&all) {
                let path = path(&all, usize::try_from(index).unwrap()).unwrap();
                assert!(holds(*hash, index, size, &path, &root), "{index} of {size}");
                for other in (0..size).filter(|other| *other != index) {
                    assert!(!holds(*hash, other, size, &path, &root));
                }
                let longer = [path.as_slice(), &[[7; 32]]].concat();
                assert!(!holds(*hash, index, size, &longer, &root));
                if let Some((_, shorter)) = path.split_last() {
                    assert!(!holds(*hash, index, size, shorter, &root));
                }
            }
        }
        assert_eq!(path(&leaves(3), 3), None);
    }

    proptest! {
        #[test]
        fn a_bit_that_is_changed_is_seen(
            size in 1_usize..300,
            index in any::<prop::sample::Index>(),
            at in any::<prop::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let all = leaves(size);
            let index = index.index(size);
            let path = path(&all, index).unwrap();
            // The leaf, the path and the root, one behind the other.
            let mut hashes = [&[all[index]], path.as_slice(), &[root(&all)]].concat();
            let at = at.index(hashes.len() * 32);
            hashes[at / 32][at % 32] ^= 1 << bit;
            let (leaf, rest) = hashes.split_first().unwrap();
            let (root, path) = rest.split_last().unwrap();
            prop_assert!(!holds(*leaf, index as u64, size as u64, path, root));
        }
    }
}
