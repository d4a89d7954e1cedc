//! Endpoints that lag, lie, hang and drop.

use std::time::{Duration, Instant};

use stencil_chain::{Error, Options};
use stencil_store::Chains as _;
use tokio::sync::watch;

use crate::support::faulty::Cuttable;
use crate::support::followed::CHAIN;
use crate::support::{Anvil, Fault, Followed, Proxy, options};

#[tokio::test]
async fn an_endpoint_of_another_chain_is_named() {
    let anvil = Anvil::start_with(&["--chain-id", "7"]).await;
    let folder = tempfile::tempdir().unwrap().into();
    let error = Followed::open_in(&options(&[anvil.url()]), folder).await;
    let Err(error @ Error::Endpoints(_)) = error else {
        panic!("it was taken");
    };
    let told = error.to_string();
    let endpoint = format!("127.0.0.1:{}", anvil.port);
    assert!(
        told.contains(&endpoint) && told.contains("is of chain 7, not 31337"),
        "{told}"
    );
}

#[tokio::test]
async fn one_that_lags_holds_up_and_takes_nothing_back() {
    let anvil = Anvil::start().await;
    let proxy = Proxy::start(anvil.port).await;
    let mut followed = Followed::open(&options(&[anvil.url(), proxy.url()])).await;
    anvil.emit(1).await;
    anvil.mine(6).await;
    followed.settle().await.unwrap();
    let before = followed.told().await;
    assert_eq!(before.len(), 4);
    proxy.set(Fault::Lag(4));
    anvil.emit(2).await;
    anvil.mine(2).await;
    followed.settle().await.unwrap();
    assert_eq!(followed.told().await, before, "one alone is not believed");
    proxy.set(Fault::None);
    followed.settle().await.unwrap();
    assert_eq!(followed.told().await.len(), 6);
    assert_eq!(followed.standing().await, anvil.logs().await);
}

/// A balancer with nodes at different heights: newer answers, then older ones.
#[tokio::test]
async fn older_answers_after_newer_ones_retract_nothing() {
    let anvil = Anvil::start().await;
    let proxy = Proxy::start(anvil.port).await;
    proxy.set(Fault::Wavering(3));
    let mut followed = Followed::open(&options(&[proxy.url()])).await;
    for n in 1..=10 {
        anvil.emit(n).await;
        anvil.mine(2).await;
        for _ in 0..12 {
            // Unknown at times, never wrong.
            let _ = followed.follower.turn().await.unwrap();
        }
    }
    proxy.set(Fault::None);
    followed.settle().await.unwrap();
    let told = followed.told().await;
    assert!(
        told.iter().all(|entry| !entry.contains("retracted")),
        "{told:?}"
    );
    assert_eq!(followed.standing().await, anvil.logs().await);
}

#[tokio::test]
async fn two_that_disagree_are_named_with_what_they_disagree_on() {
    let anvil = Anvil::start().await;
    let proxy = Proxy::start(anvil.port).await;
    let mut followed = Followed::open(&options(&[anvil.url(), proxy.url()])).await;
    proxy.set(Fault::LieAboutData);
    anvil.emit(1).await;
    anvil.mine(1).await;
    let trouble = followed.trouble().await;
    for expected in [
        "disagree on what is in block 4".to_owned(),
        format!("127.0.0.1:{}", anvil.port),
        format!("127.0.0.1:{}", proxy.port),
    ] {
        assert!(trouble.contains(&expected), "{trouble}");
    }
    assert!(followed.told().await.is_empty());
    proxy.set(Fault::None);
    followed.settle().await.unwrap();
    assert_eq!(followed.standing().await, anvil.logs().await);
}

/// A single endpoint that leaves out logs is caught: all those of a transaction by the block's own bloom
/// filter, one of two with the same topics by the receipt.
#[tokio::test]
async fn logs_that_are_left_out_are_missed() {
    let anvil = Anvil::start().await;
    let proxy = Proxy::start(anvil.port).await;
    let mut followed = Followed::open(&options(&[proxy.url()])).await;
    for (last, expected) in [(2, "bloom filter"), (1, "the receipt of")] {
        anvil.emit(1).await;
        anvil.emit(2).await;
        anvil.mine(1).await;
        proxy.set(Fault::DropLogs(last));
        let trouble = followed.trouble().await;
        assert!(
            trouble.contains("are not whole") && trouble.contains(expected),
            "{trouble}"
        );
        proxy.set(Fault::None);
        followed.settle().await.unwrap();
        assert_eq!(followed.standing().await, anvil.logs().await);
    }
}

#[tokio::test]
async fn a_header_that_is_not_what_was_hashed_is_not_taken() {
    let anvil = Anvil::start().await;
    let proxy = Proxy::start(anvil.port).await;
    let mut followed = Followed::open(&options(&[proxy.url()])).await;
    followed.settle().await.unwrap();
    proxy.set(Fault::LieAboutHeaders);
    anvil.mine(1).await;
    let trouble = followed.trouble().await;
    assert!(trouble.contains("the header of block"), "{trouble}");
    proxy.set(Fault::None);
    followed.settle().await.unwrap();
}

#[tokio::test]
async fn silence_and_refusals_are_unknown_within_the_time_that_is_set() {
    let anvil = Anvil::start().await;
    let proxy = Proxy::start(anvil.port).await;
    let settings = Options {
        call_timeout_ms: Some(200),
        max_answer_kib: Some(64),
        ..options(&[proxy.url()])
    };
    let mut followed = Followed::open(&settings).await;
    followed.settle().await.unwrap();
    anvil.emit(1).await;
    anvil.mine(3).await;
    for (fault, expected) in [
        (Fault::Hang, "no answer within 200 ms"),
        (Fault::Unavailable, "HTTP status 503"),
        (Fault::Bloat(100_000), "more than 64 KiB"),
    ] {
        proxy.set(fault.clone());
        let begun = Instant::now();
        let told = followed.trouble().await;
        assert!(told.contains(expected), "{fault:?}: {told}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{fault:?}");
        assert!(followed.told().await.is_empty());
    }
    proxy.set(Fault::None);
    followed.settle().await.unwrap();
    assert_eq!(followed.standing().await, anvil.logs().await);
}

/// With polling once an hour, `newHeads` is what wakes.
#[tokio::test]
async fn a_subscription_wakes_the_follower() {
    let anvil = Anvil::start().await;
    let ws = Cuttable::start(anvil.port).await;
    let settings = Options {
        wake: Some(format!("ws://127.0.0.1:{}", ws.port)),
        poll_interval_ms: Some(3_600_000),
        ..options(&[anvil.url()])
    };
    let mut accepted = ws.accepted.clone();
    let running = Running::start(&settings).await;
    accepted.wait_for(|count| *count > 0).await.unwrap();
    anvil.emit(1).await;
    // The subscription may begin a moment after the connection: blocks come until one has woken.
    running
        .until(async |entries| {
            anvil.mine(1).await;
            entries > 0
        })
        .await;
}

#[tokio::test]
async fn a_subscription_that_drops_costs_no_more_than_the_poll_interval() {
    let anvil = Anvil::start().await;
    let ws = Cuttable::start(anvil.port).await;
    let settings = Options {
        wake: Some(format!("ws://127.0.0.1:{}", ws.port)),
        poll_interval_ms: Some(50),
        ..options(&[anvil.url()])
    };
    let mut accepted = ws.accepted.clone();
    let running = Running::start(&settings).await;
    accepted.wait_for(|count| *count > 0).await.unwrap();
    ws.cut();
    anvil.emit(1).await;
    anvil.mine(3).await;
    running.until(async |entries| entries == 4).await;
}

/// A follower that runs by itself.
struct Running {
    store: stencil_store::sqlite::Sqlite,
    _stop: watch::Sender<bool>,
    _folder: std::sync::Arc<tempfile::TempDir>,
}

impl Running {
    async fn start(settings: &Options) -> Self {
        let followed = Followed::open(settings).await;
        let (stop, stopped) = watch::channel(false);
        let store = followed.store.clone();
        let follower = followed.follower;
        tokio::spawn(async move {
            follower.run(stopped, async |_| Ok(())).await.unwrap();
        });
        Self {
            store,
            _stop: stop,
            _folder: followed.folder,
        }
    }

    async fn until(&self, mut enough: impl AsyncFnMut(usize) -> bool) {
        let begun = Instant::now();
        loop {
            let entries = self.store.chain_entries(CHAIN, 0, 100).await.unwrap();
            if enough(entries.len()).await {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{entries:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
