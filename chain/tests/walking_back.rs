//! While a follower walks back to where another branch leaves its own nobody knows what the chain still has: that
//! is told, and nobody is sent to pay there, until it is known.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use stencil_chain::Progress;
use stencil_chain::connection::{Connection, Options};
use stencil_devchain::{DevChain, Endpoint, Mining};
use stencil_payments::port::Chain as _;
use stencil_store::sqlite::{self, Sqlite};
use stencil_store::{Chains as _, Store};
use support::followed::CHAIN;
use support::world::{run, until};
use support::{Fault, Followed, Proxy, options};

/// When it is in tests that look a turn at a time, µs.
const NOW_US: i64 = 1_000_000;
/// The hub's clock in the one that waits.
static CLOCK_US: AtomicI64 = AtomicI64::new(NOW_US);

async fn chain(blocks: u64) -> (DevChain, Endpoint) {
    let chain = DevChain::start(stencil_devchain::Options {
        mining: Mining::Manual,
        ..stencil_devchain::Options::default()
    });
    chain.mine(blocks);
    let endpoint = chain.listen(0).await.unwrap();
    (chain, endpoint)
}

/// What the follower knows of a walk back after each turn, as far as it goes: where it is, and whether that is
/// told.
async fn walks(followed: &mut Followed) -> Vec<(u64, bool)> {
    let mut all = Vec::new();
    loop {
        match followed.follower.turn().await.unwrap() {
            Progress::Stepped => {}
            Progress::UpToDate => {
                assert_eq!(followed.follower.back(), None);
                return all;
            }
            other => panic!("{other:?}"),
        }
        let back = followed.follower.back();
        all.extend(back.map(|back| (back.at, back.is_told(NOW_US))));
    }
}

#[tokio::test]
async fn a_walk_back_is_told_from_where_it_reaches_what_was_final_and_only_until_it_ends() {
    let (chain, endpoint) = chain(20).await;
    let mut followed = Followed::open(&options(&[endpoint.url()])).await;
    followed.settle().await.unwrap();
    assert_eq!(followed.follower.back(), None);
    // Every day.
    chain.reorg(2, &[], false).unwrap();
    assert_eq!(walks(&mut followed).await, [(19, false)]);
    chain.mine(1);
    followed.settle().await.unwrap();
    chain.reorg(2, &[], false).unwrap();
    chain.mine(1);
    assert_eq!(walks(&mut followed).await, [(21, false), (20, false)]);
    // Blocks up to 20 are final, of 22.
    chain.reorg(6, &[], false).unwrap();
    let told = [(21, false), (20, true), (19, true), (18, true), (17, true)];
    assert_eq!(walks(&mut followed).await, told);
}

struct Followers {
    store: Sqlite,
    proxy: Proxy,
    _folder: tempfile::TempDir,
}

impl Followers {
    async fn of(endpoint: &Endpoint) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            store: sqlite::open(folder.path().join("hub.db")).await.unwrap(),
            proxy: Proxy::start(endpoint.address().port()).await,
            _folder: folder,
        }
    }

    fn connect(&self, now: fn() -> i64) -> Arc<Connection> {
        let mut options = Options {
            follow: options(&[self.proxy.url()]),
            ..Options::default()
        };
        options.follow.name = None;
        options.follow.max_behind_s = Some(0);
        let store = Store::of(Arc::new(self.store.clone()));
        Arc::new(Connection::new(CHAIN, &options, None, &store, now).unwrap())
    }

    /// Once all up to a block was read.
    async fn read(&self, connection: &Connection, number: u64) {
        until(connection, async || {
            let state = self.store.chain(CHAIN).await.unwrap()?;
            (state.cursor?.number == number).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_to_pay_while_a_deep_reorganisation_is_walked_back() {
    let (chain, endpoint) = chain(40).await;
    let followers = Followers::of(&endpoint).await;
    let connection = followers.connect(|| NOW_US);
    let _running = run(&connection);
    followers.read(&connection, 40).await;
    until(&connection, async || connection.usable().ok()).await;
    assert_eq!(connection.trouble(), None);
    let slow = Duration::from_millis(100);
    followers.proxy.set(Fault::SlowByHash(slow));
    chain.reorg(30, &[], false).unwrap();
    let told = until(&connection, async || connection.trouble()).await;
    let begins = "its branch has changed, and the hub walks back to where the new one begins: ";
    assert!(told.starts_with(begins), "{told}");
    assert!(
        told.contains(" blocks so far, to block ") && told.contains("for 0 s"),
        "{told}"
    );
    assert!(connection.trouble_in_short().unwrap().starts_with(begins));
    let why = connection.usable().unwrap_err();
    let begins = format!("the chain dev can't be used now: {begins}");
    assert!(why.starts_with(&begins), "{why}");
    assert!(connection.ready().is_ok());
    until(&connection, async || connection.usable().ok()).await;
    assert_eq!(connection.trouble(), None);
    followers.proxy.set(Fault::None);
    followers.read(&connection, 40).await;
    let state = followers.store.chain(CHAIN).await.unwrap().unwrap();
    assert_eq!(state.cursor.unwrap().hash, chain.head().hash.0);
}

/// Its depth says nothing then.
#[tokio::test(flavor = "multi_thread")]
async fn a_walk_back_that_does_not_get_on_is_told_after_some_seconds() {
    let (chain, endpoint) = chain(10).await;
    let followers = Followers::of(&endpoint).await;
    let connection = followers.connect(|| CLOCK_US.load(Ordering::SeqCst));
    let _running = run(&connection);
    followers.read(&connection, 10).await;
    followers.proxy.set(Fault::NoneByHash);
    chain.reorg(2, &[], false).unwrap();
    until(&connection, async || connection.trouble()).await;
    assert!(connection.usable().is_ok(), "it may be over in a moment");
    CLOCK_US.fetch_add(5_500_000, Ordering::SeqCst);
    let why = connection.usable().unwrap_err();
    assert!(
        why.contains("its branch has changed") && why.contains("2 blocks so far, to block 9"),
        "{why}"
    );
    assert!(connection.trouble().unwrap().contains("for 5 s"));
    followers.proxy.set(Fault::None);
    until(&connection, async || connection.usable().ok()).await;
    followers.read(&connection, 10).await;
    assert_eq!(connection.trouble(), None);
}
