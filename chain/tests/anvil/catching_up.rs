//! Many blocks at once.

use stencil_chain::Options;

use crate::support::{Anvil, Fault, Followed, Proxy, options};

/// A chain of 300 blocks with something in some of them.
async fn grown() -> Anvil {
    let anvil = Anvil::start().await;
    for n in 1..=10 {
        anvil.emit(n).await;
        anvil.emit(100 + n).await;
        anvil.mine(30).await;
    }
    anvil
}

fn settings(endpoints: &[String]) -> Options {
    Options {
        range_first: Some(100),
        range_max: Some(200),
        range_margin: Some(16),
        ..options(endpoints)
    }
}

#[tokio::test]
async fn ranges_find_what_blocks_have_and_shrink_where_they_are_too_large() {
    let anvil = grown().await;
    let proxy = Proxy::start(anvil.port).await;
    proxy.set(Fault::RangeLimit(40));
    let mut followed = Followed::open(&settings(&[proxy.url(), anvil.url()])).await;
    followed.settle().await.unwrap();
    assert_eq!(followed.standing().await, anvil.logs().await);
    assert_eq!(
        followed.entries().await.len(),
        80,
        "40 logs, all of them final"
    );
    // 300 blocks of which 10 have something: nothing like a question a block.
    assert!(
        proxy.calls("eth_getBlockByNumber") < 200,
        "{}",
        proxy.calls("eth_getBlockByNumber")
    );
}

/// One endpoint alone, of which the index over ranges is not whole.
#[tokio::test]
async fn a_range_that_leaves_out_a_log_is_caught_without_a_second_endpoint() {
    let anvil = grown().await;
    let proxy = Proxy::start(anvil.port).await;
    let mut followed = Followed::open(&settings(&[proxy.url()])).await;
    proxy.set(Fault::DropLogOfRange);
    let trouble = followed.trouble().await;
    assert!(trouble.contains("by the range"), "{trouble}");
    proxy.set(Fault::None);
    followed.settle().await.unwrap();
    assert_eq!(followed.standing().await, anvil.logs().await);
}

#[tokio::test]
async fn a_reorganisation_after_catching_up_finds_its_way_back() {
    let anvil = grown().await;
    let mut followed = Followed::open(&settings(&[anvil.url()])).await;
    followed.settle().await.unwrap();
    // Beyond the margin, into blocks that were gone through by range.
    anvil.reorg(35, &[]).await;
    followed.settle().await.unwrap();
    assert_eq!(followed.standing().await, anvil.logs().await);
}
