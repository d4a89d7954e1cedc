//! Chains: one commit is all or nothing, and the stream of entries says what became of what was seen.

use proptest::prelude::*;
use stencil_store::sqlite::Options;
use stencil_store::{
    BlockMark, ChainCommit, ChainCommitted, ChainEntryKind, ChainSource, Chains, Erased, Error,
    KeptBlock, MAX_OWNER_WATCHES, Observation, Watch, WatchKind,
};

use crate::{acme, fresh, reopen};

const CHAIN: &str = "ethereum";

/// Block `number` of branch `branch`.
fn mark(number: u64, branch: u8) -> BlockMark {
    let mut hash = [branch; 32];
    hash[..8].copy_from_slice(&number.to_be_bytes());
    BlockMark { number, hash }
}

fn kept(number: u64, branch: u8) -> KeptBlock {
    KeptBlock {
        mark: mark(number, branch),
        parent: mark(number.saturating_sub(1), branch).hash,
    }
}

fn seen(number: u64, branch: u8, place: u64) -> Observation {
    Observation {
        block: mark(number, branch),
        time_s: 1_700_000_000 + number,
        source: ChainSource::Log,
        place,
        tx: [7; 32],
        ordinal: u32::try_from(place).unwrap(),
        address: [9; 20],
        topics: vec![[1; 32], [2; 32]],
        data: vec![3, 4],
    }
}

fn watch(owner: &str, address: u8, kind: WatchKind) -> Watch {
    Watch {
        owner: owner.to_owned(),
        address: [address; 20],
        kind,
    }
}

/// A step from the cursor on to `number`, with so many observations in that block.
async fn step(chains: &dyn Chains, number: u64, branch: u8, observed: u64) -> ChainCommit {
    let state = chains.chain(CHAIN).await.unwrap().unwrap();
    ChainCommit {
        chain: CHAIN.to_owned(),
        from: state.cursor,
        interest: state.interest,
        blocks: vec![kept(number, branch)],
        observed: (0..observed)
            .map(|place| seen(number, branch, place))
            .collect(),
        cursor: Some(mark(number, branch)),
        at_us: 5,
        ..ChainCommit::default()
    }
}

async fn told(chains: &dyn Chains) -> Vec<String> {
    let entries = chains.chain_entries(CHAIN, 0, 1_000).await.unwrap();
    entries
        .iter()
        .map(|entry| {
            let seen = &entry.observation;
            let kind = match entry.kind {
                ChainEntryKind::Retracted { was_final: true } => "retracted-final",
                other => other.as_str(),
            };
            format!("{} {kind} {}/{}", entry.seq, seen.block.number, seen.place)
        })
        .collect()
}

#[tokio::test]
async fn the_stream_says_what_became_of_what_was_seen() {
    let fresh = fresh().await;
    let chains = fresh.store.chains.as_ref();
    chains.open_chain(CHAIN, 1, 1).await.unwrap();
    for number in 1..=2 {
        let commit = step(chains, number, 0, 2).await;
        chains.commit_chain(&commit).await.unwrap();
    }
    let finalize = ChainCommit {
        finalized: Some(mark(1, 0)),
        blocks: vec![],
        observed: vec![],
        cursor: None,
        ..step(chains, 2, 0, 0).await
    };
    chains.commit_chain(&finalize).await.unwrap();
    let back = ChainCommit {
        retract_above: Some(0),
        blocks: vec![],
        observed: vec![],
        cursor: Some(mark(0, 0)),
        ..finalize.clone()
    };
    let back = ChainCommit {
        finalized: None,
        ..back
    };
    chains.commit_chain(&back).await.unwrap();
    // The branch comes back: what was retracted is observed again, once.
    let commit = step(chains, 1, 0, 1).await;
    chains.commit_chain(&commit).await.unwrap();
    assert_eq!(
        told(chains).await,
        [
            "1 observed 1/0",
            "2 observed 1/1",
            "3 observed 2/0",
            "4 observed 2/1",
            "5 final 1/0",
            "6 final 1/1",
            "7 retracted 2/1",
            "8 retracted 2/0",
            "9 retracted-final 1/1",
            "10 retracted-final 1/0",
            "11 observed 1/0",
        ]
    );
    let state = chains.chain(CHAIN).await.unwrap().unwrap();
    assert_eq!(
        state.finalized,
        Some(mark(0, 0)),
        "no more is final than there is"
    );
    let entries = chains.chain_entries(CHAIN, 10, 10).await.unwrap();
    assert_eq!(entries[0].observation, seen(1, 0, 0));
}

#[tokio::test]
async fn a_commit_from_elsewhere_or_with_an_old_interest_stores_nothing() {
    let fresh = fresh().await;
    let chains = fresh.store.chains.as_ref();
    chains.open_chain(CHAIN, 1, 1).await.unwrap();
    let first = step(chains, 1, 0, 1).await;
    chains.commit_chain(&first).await.unwrap();
    // A second follower that stood where the first did.
    let error = chains.commit_chain(&first).await.unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error}");
    let before = step(chains, 2, 0, 1).await;
    let from = chains
        .watch_chain(CHAIN, &[watch("acme", 1, WatchKind::Native)])
        .await
        .unwrap();
    assert_eq!(from, 2);
    assert_eq!(
        chains.commit_chain(&before).await.unwrap(),
        ChainCommitted::InterestChanged
    );
    assert_eq!(told(chains).await, ["1 observed 1/0"]);
    // Asked again in the same words, nothing changes.
    let again = chains
        .watch_chain(CHAIN, &[watch("acme", 1, WatchKind::Native)])
        .await;
    again.unwrap();
    let state = chains.chain(CHAIN).await.unwrap().unwrap();
    assert_eq!(state.interest, 1);
    // An observation that is there and not retracted makes the whole commit fail.
    let mut twice = step(chains, 2, 0, 1).await;
    twice.observed.push(seen(1, 0, 0));
    let error = chains.commit_chain(&twice).await.unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error}");
    assert_eq!(told(chains).await.len(), 1);
}

#[tokio::test]
async fn watches_belong_to_their_owner_and_readers_never_go_back() {
    let fresh = fresh().await;
    let chains = fresh.store.chains.as_ref();
    chains.open_chain(CHAIN, 1, 1).await.unwrap();
    let acme = watch("acme", 1, WatchKind::Event([5; 32]));
    let other = watch("other", 1, WatchKind::Event([5; 32]));
    chains
        .watch_chain(CHAIN, &[acme.clone(), other.clone()])
        .await
        .unwrap();
    chains.unwatch_chain(CHAIN, &[acme]).await.unwrap();
    let (version, watched) = chains.chain_watches(CHAIN).await.unwrap();
    assert_eq!(version, 2);
    assert_eq!(watched.len(), 1);
    assert_eq!(watched[0].watch, other);

    let commit = step(chains, 1, 0, 5).await;
    chains.commit_chain(&commit).await.unwrap();
    for (position, stands) in [(3, 3), (2, 3), (5, 5)] {
        chains
            .advance_chain_reader(CHAIN, "runs", position)
            .await
            .unwrap();
        assert_eq!(chains.chain_position(CHAIN, "runs").await.unwrap(), stands);
    }
    let beyond = chains.advance_chain_reader(CHAIN, "runs", 6).await;
    assert!(matches!(beyond, Err(Error::Invalid { .. })));
}

/// How many entries went of those that are older than `before_us`.
async fn forget(chains: &dyn Chains, before_us: i64) -> u64 {
    let readers = ["cashier", "runs"];
    let forgotten = chains.forget_chain_entries(CHAIN, &readers, before_us, 1_000);
    forgotten.await.unwrap()
}

#[tokio::test]
async fn what_all_have_taken_goes_when_it_is_old_and_nothing_more_comes_of_it() {
    let fresh = fresh().await;
    let chains = fresh.store.chains.as_ref();
    chains.open_chain(CHAIN, 1, 1).await.unwrap();
    for number in 1..=4_u64 {
        let commit = ChainCommit {
            at_us: i64::try_from(number).unwrap() * 10,
            keep_from: number.saturating_sub(1),
            ..step(chains, number, 0, 2).await
        };
        chains.commit_chain(&commit).await.unwrap();
    }
    let finalize = ChainCommit {
        finalized: Some(mark(2, 0)),
        blocks: vec![],
        cursor: None,
        at_us: 50,
        ..step(chains, 4, 0, 0).await
    };
    chains.commit_chain(&finalize).await.unwrap();
    let left = async || {
        let told = told(chains).await;
        told.into_iter().next()
    };
    // A reader that has kept no position has taken nothing, one that nobody has named counts as well.
    chains
        .advance_chain_reader(CHAIN, "runs", 10)
        .await
        .unwrap();
    assert_eq!(forget(chains, 1_000).await, 0);
    chains
        .advance_chain_reader(CHAIN, "cashier", 3)
        .await
        .unwrap();
    chains.advance_chain_reader(CHAIN, "slow", 1).await.unwrap();
    assert_eq!(forget(chains, 1_000).await, 1);
    assert_eq!(left().await.unwrap(), "2 observed 1/1");
    let slow = chains.chain_entries(CHAIN, 1, 100).await.unwrap();
    assert_eq!(slow.len(), 11, "who lags has all that it has not taken");
    chains
        .advance_chain_reader(CHAIN, "slow", 10)
        .await
        .unwrap();
    assert_eq!(forget(chains, 1_000).await, 2);
    chains
        .advance_chain_reader(CHAIN, "cashier", 10)
        .await
        .unwrap();
    // Not what is younger, and not what may be final or retracted one day.
    assert_eq!(forget(chains, 20).await, 0);
    assert_eq!(forget(chains, 1_000).await, 1);
    assert_eq!(left().await.unwrap(), "5 observed 3/0");
    // What is within reach of walking back is retracted, also if its entries are gone.
    let back = ChainCommit {
        retract_above: Some(2),
        blocks: vec![],
        cursor: Some(mark(2, 0)),
        at_us: 60,
        ..step(chains, 4, 0, 0).await
    };
    chains.commit_chain(&back).await.unwrap();
    assert_eq!(told(chains).await.last().unwrap(), "16 retracted 3/0");
    for reader in ["runs", "cashier", "slow"] {
        chains
            .advance_chain_reader(CHAIN, reader, 16)
            .await
            .unwrap();
    }
    assert_eq!(forget(chains, 1_000).await, 12, "all is final or retracted");
    assert!(told(chains).await.is_empty());
    // The stream goes on with the next number, and the same blocks may come again.
    let again = ChainCommit {
        at_us: 70,
        ..step(chains, 3, 0, 2).await
    };
    chains.commit_chain(&again).await.unwrap();
    let back = ChainCommit {
        retract_above: Some(1),
        blocks: vec![],
        cursor: Some(mark(1, 0)),
        at_us: 80,
        ..step(chains, 4, 0, 0).await
    };
    chains.commit_chain(&back).await.unwrap();
    assert_eq!(
        told(chains).await,
        [
            "17 observed 3/0",
            "18 observed 3/1",
            "19 retracted 3/1",
            "20 retracted 3/0",
            "21 retracted-final 2/1",
            "22 retracted-final 2/0",
        ],
        "what is final stays known within reach of walking back"
    );
}

#[tokio::test]
async fn what_is_forgotten_takes_no_room() {
    let fresh = fresh().await;
    let chains = fresh.store.chains.as_ref();
    chains.open_chain(CHAIN, 1, 1).await.unwrap();
    for number in 1..=40_u64 {
        let commit = ChainCommit {
            keep_from: number.saturating_sub(3),
            finalized: Some(mark(number, 0)),
            ..step(chains, number, 0, 20).await
        };
        chains.commit_chain(&commit).await.unwrap();
        let last = chains.chain(CHAIN).await.unwrap().unwrap().last_entry;
        for reader in ["cashier", "runs"] {
            chains
                .advance_chain_reader(CHAIN, reader, last)
                .await
                .unwrap();
        }
    }
    let readers = ["cashier", "runs"];
    let mut gone = 0;
    loop {
        let some = chains
            .forget_chain_entries(CHAIN, &readers, 1_000, 64)
            .await;
        let some = some.unwrap();
        assert!(some <= 64, "in portions");
        gone += some;
        if some == 0 {
            break;
        }
    }
    assert_eq!(gone, 2 * 40 * 20);
    // A few more looks take the observations that are behind.
    for _ in 0..20 {
        forget(chains, 1_000).await;
    }
    // Only those of the blocks that are kept are there still: the same block can't be seen again.
    let kept = chains.chain_blocks(CHAIN).await.unwrap();
    let oldest = kept[0].mark.number;
    let seen_again = async |number: u64| {
        let commit = ChainCommit {
            blocks: vec![],
            cursor: None,
            observed: vec![seen(number, 0, 0)],
            ..step(chains, 40, 0, 0).await
        };
        chains.commit_chain(&commit).await.is_ok()
    };
    assert!(!seen_again(oldest).await);
    assert!(seen_again(oldest - 1).await);
    assert!(seen_again(1).await);
}

#[tokio::test]
async fn each_kind_of_watch_is_kept_as_it_is() {
    let fresh = fresh().await;
    let chains = fresh.store.chains.as_ref();
    chains.open_chain(CHAIN, 1, 1).await.unwrap();
    let to = |account| WatchKind::EventTo {
        topic0: [5; 32],
        to: [account; 20],
    };
    let kinds = [
        WatchKind::AnyEvent,
        WatchKind::Beside([6; 32]),
        WatchKind::Event([5; 32]),
        WatchKind::Native,
        to(7),
        to(8),
    ];
    let watches = kinds.map(|kind| watch("acme", 1, kind));
    chains.watch_chain(CHAIN, &watches).await.unwrap();
    let watched = async || {
        let (_, watched) = chains.chain_watches(CHAIN).await.unwrap();
        let watched = watched.into_iter().map(|it| it.watch);
        watched.collect::<Vec<_>>()
    };
    assert_eq!(watched().await, watches);
    chains
        .unwatch_chain(CHAIN, &[watch("acme", 1, to(7))])
        .await
        .unwrap();
    assert_eq!(watched().await.len(), 5);
    assert!(!watched().await.contains(&watch("acme", 1, to(7))));
}

#[tokio::test]
async fn one_owner_watches_so_much_and_leaves_others_room() {
    let fresh = fresh().await;
    let chains = fresh.store.chains.as_ref();
    chains.open_chain(CHAIN, 1, 1).await.unwrap();
    let of = |owner: &str, n: u32| {
        let mut to = [0; 20];
        to[..4].copy_from_slice(&n.to_be_bytes());
        let kind = WatchKind::EventTo {
            topic0: [1; 32],
            to,
        };
        watch(owner, 1, kind)
    };
    let most: Vec<Watch> = (0..MAX_OWNER_WATCHES).map(|n| of("acme", n)).collect();
    chains.watch_chain(CHAIN, &most).await.unwrap();
    // What is there already is no more.
    chains.watch_chain(CHAIN, &most[..3]).await.unwrap();
    let more = [of("acme", MAX_OWNER_WATCHES)];
    let error = chains.watch_chain(CHAIN, &more).await.unwrap_err();
    assert!(error.to_string().contains("at most 10000"), "{error}");
    let (_, watched) = chains.chain_watches(CHAIN).await.unwrap();
    assert_eq!(watched.len(), most.len());
    chains.watch_chain(CHAIN, &[of("other", 0)]).await.unwrap();
    chains.unwatch_chain(CHAIN, &most[..1]).await.unwrap();
    chains.watch_chain(CHAIN, &more).await.unwrap();
}

#[tokio::test]
async fn a_tenant_that_is_erased_watches_no_more() {
    let fresh = fresh().await;
    let chains = fresh.store.chains.as_ref();
    chains.open_chain(CHAIN, 1, 1).await.unwrap();
    let others = watch("other", 1, WatchKind::AnyEvent);
    let watches = [watch("acme", 1, WatchKind::AnyEvent), others.clone()];
    chains.watch_chain(CHAIN, &watches).await.unwrap();
    let erased = Erased::Tenant(acme());
    fresh.store.keeping.erase(1, &erased).await.unwrap();
    let (version, watched) = chains.chain_watches(CHAIN).await.unwrap();
    assert_eq!(version, 2, "a follower has to notice");
    assert_eq!(watched.len(), 1);
    assert_eq!(watched[0].watch, others);
}

#[tokio::test]
async fn a_name_stands_for_one_chain() {
    let fresh = fresh().await;
    let chains = fresh.store.chains.as_ref();
    chains.open_chain(CHAIN, 1, 1).await.unwrap();
    let error = chains.open_chain(CHAIN, 137, 1).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("another chain wants another name"),
        "{error}"
    );
    for name in ["", "a b", "a\n", &"x".repeat(65)] {
        let error = chains.open_chain(name, 1, 1).await;
        assert!(matches!(error, Err(Error::Invalid { .. })), "{name:?}");
    }
    let error = chains.chain_watches("nobody").await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    chains.stop_chain(CHAIN, Some("too deep"), 2).await.unwrap();
    drop(fresh.store.clone());
    let again = reopen(fresh.folder.path(), Options::default()).await;
    let state = again.chains.open_chain(CHAIN, 1, 3).await.unwrap();
    assert_eq!(state.stopped.as_deref(), Some("too deep"));
    again.chains.stop_chain(CHAIN, None, 4).await.unwrap();
    assert_eq!(again.chains.chains().await.unwrap()[0].stopped, None);
}

#[derive(Debug, Clone)]
enum Event {
    Extend(u64),
    Back(usize),
    Finalize(usize),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever happens, the entries read in their order give what is in the branch.
    #[test]
    fn the_entries_add_up_to_the_branch(events in proptest::collection::vec(prop_oneof![
        3 => (0..3_u64).prop_map(Event::Extend),
        1 => (1..5_usize).prop_map(Event::Back),
        1 => (0..4_usize).prop_map(Event::Finalize),
    ], 1..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fresh = fresh().await;
            let chains = fresh.store.chains.as_ref();
            chains.open_chain(CHAIN, 1, 1).await.unwrap();
            let mut branch: Vec<(BlockMark, u64)> = vec![(mark(0, 0), 0)];
            let start = step(chains, 0, 0, 0).await;
            chains.commit_chain(&start).await.unwrap();
            let mut name = 0_u8;
            for event in events {
                let tip = branch.last().unwrap().0;
                let commit = match event {
                    Event::Extend(observed) => {
                        branch.push((mark(tip.number + 1, name), observed));
                        step(chains, tip.number + 1, name, observed).await
                    }
                    Event::Back(depth) => {
                        name += 1;
                        let left = branch.len().saturating_sub(depth).max(1);
                        branch.truncate(left);
                        let to = branch.last().unwrap().0;
                        ChainCommit {
                            retract_above: Some(to.number),
                            blocks: vec![],
                            observed: vec![],
                            cursor: Some(to),
                            ..step(chains, 0, 0, 0).await
                        }
                    }
                    Event::Finalize(back) => ChainCommit {
                        finalized: Some(branch[branch.len().saturating_sub(1 + back)].0),
                        blocks: vec![],
                        cursor: None,
                        ..step(chains, 0, 0, 0).await
                    },
                };
                chains.commit_chain(&commit).await.unwrap();
            }
            let mut standing: Vec<([u8; 32], u64)> = Vec::new();
            let mut last = 0;
            for entry in chains.chain_entries(CHAIN, 0, 1_000).await.unwrap() {
                assert_eq!(entry.seq, last + 1);
                last = entry.seq;
                let key = (entry.observation.block.hash, entry.observation.place);
                match entry.kind {
                    ChainEntryKind::Observed => standing.push(key),
                    ChainEntryKind::Retracted { .. } => assert_eq!(standing.pop(), Some(key)),
                    ChainEntryKind::Final => assert!(standing.contains(&key)),
                }
            }
            let expected: Vec<([u8; 32], u64)> = branch
                .iter()
                .flat_map(|(mark, observed)| (0..*observed).map(|place| (mark.hash, place)))
                .collect();
            assert_eq!(standing, expected);
            let blocks = chains.chain_blocks(CHAIN).await.unwrap();
            let blocks: Vec<BlockMark> = blocks.iter().map(|block| block.mark).collect();
            assert_eq!(blocks, branch.iter().map(|(mark, _)| *mark).collect::<Vec<_>>());
        });
    }
}
