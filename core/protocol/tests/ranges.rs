//! Range sets against sets of single numbers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use stencil_protocol::ranges::RangeSet;

/// Small numbers, or the highest ones: the ends are where it goes wrong.
fn ranges() -> impl Strategy<Value = (Vec<(u64, u64)>, u64)> {
    (
        proptest::collection::vec((0u64..50, 0u64..8), 0..20),
        prop_oneof![Just(0), Just(u64::MAX - 57)],
    )
}

fn both(ranges: &[(u64, u64)], base: u64) -> (RangeSet, BTreeSet<u64>) {
    let (mut set, mut model) = (RangeSet::new(), BTreeSet::new());
    for &(first, width) in ranges {
        let range = base + first..=base + first + width;
        let before = model.len();
        model.extend(range.clone());
        assert_eq!(set.insert(range), (model.len() - before) as u64);
    }
    (set, model)
}

fn same(set: &RangeSet, model: &BTreeSet<u64>) {
    assert_eq!(&set.iter().flatten().collect::<BTreeSet<_>>(), model);
    assert_eq!(set.len(), model.len() as u64);
    assert_eq!(set.last(), model.last().copied());
    // In one way only: ordered, apart by at least one.
    let spans: Vec<_> = set.iter().collect();
    assert!(
        spans.windows(2).all(|w| *w[1].start() > w[0].end() + 1),
        "{set:?}"
    );
}

proptest! {
    #[test]
    fn are_sets((a, base) in ranges(), (b, _) in ranges(), holes in proptest::collection::vec((0u64..50, 0u64..8), 0..9)) {
        let (one, one_model) = both(&a, base);
        let (other, other_model) = both(&b, base);
        same(&one, &one_model);
        same(&one.union(&other), &(&one_model | &other_model));
        same(&one.intersect(&other), &(&one_model & &other_model));
        same(&one.subtract(&other), &(&one_model - &other_model));
        for n in 0..=57 {
            prop_assert_eq!(one.contains(base + n), one_model.contains(&(base + n)));
        }
        let bytes = minicbor::to_vec(&one).unwrap();
        prop_assert_eq!(&minicbor::decode::<RangeSet>(&bytes).unwrap(), &one);
        let json = serde_json::to_string(&one).unwrap();
        prop_assert_eq!(&serde_json::from_str::<RangeSet>(&json).unwrap(), &one);

        let (mut rest, mut rest_model) = (one, one_model);
        for (first, width) in holes {
            let range = base + first..=base + first + width;
            let before = rest_model.len();
            rest_model.retain(|n| !range.contains(n));
            prop_assert_eq!(rest.remove(range), (before - rest_model.len()) as u64);
            same(&rest, &rest_model);
        }
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(set) = minicbor::decode::<RangeSet>(&bytes) {
            // What is read is in the one form.
            prop_assert_eq!(set.iter().collect::<RangeSet>(), set);
        }
    }
}

#[test]
fn the_whole_range() {
    let mut all = RangeSet::new();
    assert_eq!(all.insert(0..=u64::MAX), u64::MAX);
    assert_eq!(all.len(), u64::MAX);
    assert_eq!(all.insert(0..=u64::MAX), 0);
    assert_eq!(all.remove(5..=5), 1);
    assert_eq!(all.spans(), 2);
    assert_eq!(all.insert(5..=5), 1);
    assert_eq!(all.spans(), 1);
    #[expect(clippy::reversed_empty_ranges, reason = "an empty range adds nothing")]
    let empty = 6..=5;
    assert_eq!(all.insert(empty.clone()), 0);
    assert_eq!(RangeSet::new().insert(empty), 0);
}

#[test]
fn a_claim_in_cbor_costs_nothing() {
    let claim = [
        0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0x01, 0x01,
    ];
    assert!(minicbor::decode::<RangeSet>(&claim).is_err());
}
