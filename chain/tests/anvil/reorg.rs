//! Blocks that leave the chain.

use std::sync::Arc;

use stencil_chain::{Error, Progress};
use stencil_store::{ChainEntryKind, Chains as _};

use crate::support::followed::CHAIN;
use crate::support::{Anvil, Fault, Followed, Proxy, options};

#[tokio::test]
async fn what_is_seen_becomes_final_when_the_policy_says_so() {
    let anvil = Anvil::start().await;
    let mut followed = Followed::open(&options(&[anvil.url()])).await;
    followed.settle().await.unwrap();
    anvil.emit(1).await;
    anvil.mine(1).await;
    followed.settle().await.unwrap();
    assert_eq!(followed.told().await, ["observed 4#0", "observed 4#1"]);
    anvil.mine(1).await;
    followed.settle().await.unwrap();
    assert_eq!(followed.told().await.len(), 2, "two confirmations of three");
    anvil.mine(1).await;
    followed.settle().await.unwrap();
    assert_eq!(followed.told().await[2..], ["final 4#0", "final 4#1"]);
    assert_eq!(followed.standing().await, anvil.logs().await);
}

/// The same transaction in another block is the same effect: `log_index` and block differ,
/// transaction and ordinal do not.
#[tokio::test]
async fn a_transaction_that_is_included_again_is_retracted_and_observed_once() {
    let anvil = Anvil::start().await;
    let mut followed = Followed::open(&options(&[anvil.url()])).await;
    let tx = anvil.emit(1).await;
    anvil.mine(2).await;
    followed.settle().await.unwrap();
    anvil.reorg(2, &[(&tx, 1)]).await;
    followed.settle().await.unwrap();
    assert_eq!(
        followed.told().await,
        [
            "observed 4#0",
            "observed 4#1",
            // The newest first.
            "retracted 4#1",
            "retracted 4#0",
            "observed 5#0",
            "observed 5#1",
        ]
    );
    let entries = followed.entries().await;
    let credit = |at: usize| (entries[at].observation.tx, entries[at].observation.ordinal);
    assert_eq!(credit(0), credit(4));
    assert_eq!(credit(1), credit(5));
    assert_ne!(
        entries[0].observation.block.hash,
        entries[4].observation.block.hash
    );
    assert_eq!(followed.standing().await, anvil.logs().await);
}

#[tokio::test]
async fn a_reorganisation_deeper_than_the_policy_retracts_what_was_final_and_says_so() {
    let anvil = Anvil::start().await;
    let mut followed = Followed::open(&options(&[anvil.url()])).await;
    anvil.emit(1).await;
    anvil.mine(6).await;
    followed.settle().await.unwrap();
    assert_eq!(followed.told().await.len(), 4);
    anvil.reorg(6, &[]).await;
    followed.settle().await.unwrap();
    assert_eq!(
        followed.told().await[4..],
        ["retracted-final 4#1", "retracted-final 4#0"]
    );
    assert!(anvil.logs().await.is_empty() && followed.standing().await.is_empty());
    // What is final goes on from there.
    anvil.emit(2).await;
    anvil.mine(4).await;
    followed.settle().await.unwrap();
    assert_eq!(followed.told().await[8..], ["final 10#0", "final 10#1"]);
    assert_eq!(followed.standing().await, anvil.logs().await);
}

#[tokio::test]
async fn deeper_than_kept_stops_and_stays_stopped() {
    let anvil = Anvil::start().await;
    let settings = stencil_chain::Options {
        max_depth: Some(4),
        ..options(&[anvil.url()])
    };
    let mut followed = Followed::open(&settings).await;
    anvil.emit(1).await;
    anvil.mine(9).await;
    followed.settle().await.unwrap();
    let before = followed.told().await;
    anvil.reorg(8, &[]).await;
    let error = followed.settle().await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("deeper than the blocks that are kept"),
        "{error}"
    );
    // Nothing is guessed, and the next start does not go on as if nothing were.
    assert_eq!(followed.told().await, before);
    let state = followed.store.chain(CHAIN).await.unwrap().unwrap();
    assert!(state.stopped.is_some());
    let folder = Arc::clone(&followed.folder);
    drop(followed);
    let again = Followed::open_in(&settings, folder).await;
    assert!(matches!(again, Err(Error::Stopped { .. })));
}

/// Reorganisations of every depth, one after the other, with and without the transactions.
#[tokio::test]
async fn many_reorganisations_leave_what_the_chain_has() {
    let anvil = Anvil::start().await;
    let settings = options(&[anvil.url()]);
    let mut followed = Followed::open(&settings).await;
    for round in 1..=12_u8 {
        let tx = anvil.emit(round).await;
        anvil.mine(1).await;
        anvil.emit(100 + round).await;
        anvil.mine(u64::from(round)).await;
        if round % 3 != 0 {
            followed.settle().await.unwrap();
        }
        let depth = u64::from(round) + 1;
        let again: &[(&str, u64)] = if round % 2 == 0 { &[(&tx, 0)] } else { &[] };
        anvil.reorg(depth, again).await;
        if round % 4 == 0 {
            // A restart in the middle of it.
            let _ = followed.follower.turn().await.unwrap();
            let folder = Arc::clone(&followed.folder);
            followed = Followed::open_in(&settings, folder).await.unwrap();
        }
        anvil.mine(1).await;
        followed.settle().await.unwrap();
        assert_eq!(
            followed.standing().await,
            anvil.logs().await,
            "round {round}"
        );
    }
    let retracted = followed.entries().await;
    let retracted = retracted
        .iter()
        .filter(|entry| matches!(entry.kind, ChainEntryKind::Retracted { .. }));
    assert!(retracted.count() >= 12, "it was not about nothing");
}

/// Each failure in between would begin the walk anew, and it would never come to its end.
#[tokio::test]
async fn a_long_walk_back_ends_also_where_every_other_answer_fails() {
    let anvil = Anvil::start().await;
    let proxy = Proxy::start(anvil.port).await;
    let mut followed = Followed::open(&options(&[proxy.url()])).await;
    anvil.emit(1).await;
    anvil.mine(10).await;
    followed.settle().await.unwrap();
    anvil.reorg(8, &[]).await;
    anvil.emit(2).await;
    anvil.mine(1).await;
    proxy.set(Fault::EveryOtherByHash);
    let mut failed = 0;
    while let Progress::Unknown(_) | Progress::Stepped = match followed.follower.turn().await {
        Ok(progress) => {
            failed += u32::from(matches!(progress, Progress::Unknown(_)));
            progress
        }
        Err(error) => panic!("{error}"),
    } {
        assert!(failed < 40, "it begins anew again and again");
    }
    assert!(failed > 2, "nothing failed");
    assert_eq!(followed.standing().await, anvil.logs().await);
}

/// The other branch is gone while it is walked down, and the endpoint does not say so in words that are
/// known.
#[tokio::test]
async fn a_branch_that_goes_in_the_middle_of_a_walk_is_not_asked_for_for_ever() {
    let anvil = Anvil::start().await;
    let proxy = Proxy::start(anvil.port).await;
    let mut followed = Followed::open(&options(&[proxy.url()])).await;
    anvil.emit(1).await;
    anvil.mine(10).await;
    followed.settle().await.unwrap();
    anvil.reorg(8, &[]).await;
    for _ in 0..2 {
        assert_eq!(followed.follower.turn().await.unwrap(), Progress::Stepped);
    }
    anvil.reorg(9, &[]).await;
    anvil.emit(2).await;
    anvil.mine(1).await;
    proxy.set(Fault::OddWords);
    let mut failed = 0;
    loop {
        match followed.follower.turn().await.unwrap() {
            Progress::UpToDate => break,
            Progress::Unknown(_) => failed += 1,
            _ => {}
        }
        assert!(failed < 20, "it asks for ever");
    }
    assert!(failed > 0, "the branch was there");
    assert_eq!(followed.standing().await, anvil.logs().await);
}
