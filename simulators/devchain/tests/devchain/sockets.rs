//! Subscriptions: heads and logs as they come, and as a reorg takes them away.

use std::time::Duration;

use crate::support::{Draft, counter, start};
use alloy_primitives::{B256, U256};
use alloy_provider::{Provider as _, ProviderBuilder, WsConnect};
use alloy_rpc_types_eth::Filter;
use futures_util::StreamExt as _;
use stencil_devchain::{DevChain, Endpoint, Faults, Included, Options};

/// What a test waits for at most.
const SOON: Duration = Duration::from_secs(20);

async fn connect(endpoint: &Endpoint) -> impl alloy_provider::Provider {
    // One that does not connect again by itself: that a connection ends is what is to be seen.
    let url = WsConnect::new(endpoint.ws_url());
    ProviderBuilder::new().connect_ws(url).await.unwrap()
}

async fn next<T>(stream: &mut (impl futures_util::Stream<Item = T> + Unpin)) -> T {
    tokio::time::timeout(SOON, stream.next())
        .await
        .expect("nothing came")
        .expect("the subscription ended")
}

/// A contract on the chain, and the key that made it with its next nonce at 1.
fn deployed(
    chain: &DevChain,
) -> (
    alloy_primitives::Address,
    alloy_signer_local::PrivateKeySigner,
) {
    let from = chain.accounts()[0].signer().unwrap();
    chain
        .submit(Draft::create(&counter(), 0).sign(&from))
        .unwrap();
    (from.address().create(0), from)
}

#[tokio::test]
async fn heads_and_logs_are_told_and_taken_back() {
    let chain = start(Options::default());
    let endpoint = chain.listen(0).await.unwrap();
    let (contract, from) = deployed(&chain);
    let provider = connect(&endpoint).await;
    let mut heads = provider.subscribe_blocks().await.unwrap().into_stream();
    let filter = Filter::new().address(contract);
    let mut logs = provider
        .subscribe_logs(&filter)
        .await
        .unwrap()
        .into_stream();
    let mut others = provider
        .subscribe_logs(&filter.clone().event_signature(B256::from(U256::from(2))))
        .await
        .unwrap()
        .into_stream();

    let raw = Draft::to(contract, 1).input(1).sign(&from);
    let hash = chain.submit(raw.clone()).unwrap();
    let head = next(&mut heads).await;
    assert_eq!(head.hash, chain.head().hash);
    assert_eq!(head.hash, head.inner.hash_slow());
    let first = next(&mut logs).await;
    assert_eq!(first.transaction_hash, Some(hash));
    assert!(!first.removed);
    chain
        .submit(Draft::to(contract, 2).input(2).sign(&from))
        .unwrap();
    next(&mut heads).await;
    let second = next(&mut logs).await;
    assert_eq!(next(&mut others).await, second);

    chain
        .reorg(2, &[Included { raw, block: 1 }], false)
        .unwrap();
    // Oldest first, each as it was told, but removed.
    for told in [&first, &second] {
        let gone = next(&mut logs).await;
        assert!(gone.removed);
        assert_eq!(
            alloy_rpc_types_eth::Log {
                removed: false,
                ..gone
            },
            *told
        );
    }
    assert!(next(&mut others).await.removed);
    let again = next(&mut logs).await;
    assert!(!again.removed);
    assert_eq!(again.transaction_hash, Some(hash));
    assert_eq!(again.block_number, Some(3));
    assert_ne!(again.block_hash, first.block_hash);
    for number in [2, 3] {
        assert_eq!(next(&mut heads).await.number, number);
    }
}

#[tokio::test]
async fn a_lagging_endpoint_tells_later_and_never_of_what_it_had_not_seen() {
    let chain = start(Options::default());
    let endpoint = chain.listen(0).await.unwrap();
    let (contract, from) = deployed(&chain);
    endpoint
        .set_faults(Faults {
            lag_blocks: 2,
            ..Faults::default()
        })
        .unwrap();
    let provider = connect(&endpoint).await;
    let mut heads = provider.subscribe_blocks().await.unwrap().into_stream();
    let mut logs = provider
        .subscribe_logs(&Filter::new().address(contract))
        .await
        .unwrap()
        .into_stream();
    chain
        .submit(Draft::to(contract, 1).input(1).sign(&from))
        .unwrap();
    assert_eq!(provider.get_block_number().await.unwrap(), 0);
    // Reorganised away before it was seen: nobody hears of it.
    chain.reorg(1, &[], false).unwrap();
    chain
        .submit(Draft::to(contract, 1).input(2).sign(&from))
        .unwrap();
    chain.mine(2);
    assert_eq!(next(&mut heads).await.number, 2);
    assert_eq!(next(&mut heads).await.number, 3);
    let log = next(&mut logs).await;
    assert!(!log.removed);
    assert_eq!(log.topics(), [B256::from(U256::from(2))]);
    // Seen, and then reorganised away.
    chain.reorg(3, &[], false).unwrap();
    assert!(next(&mut logs).await.removed);
}

#[tokio::test]
async fn a_subscription_falls_silent_or_skips_a_head_as_it_is_told() {
    let chain = start(Options::default());
    let endpoint = chain.listen(0).await.unwrap();
    let provider = connect(&endpoint).await;
    let mut heads = provider.subscribe_blocks().await.unwrap().into_stream();
    let set = |faults: Faults| endpoint.set_faults(faults).unwrap();
    set(Faults {
        skip_head_permille: 1_000,
        ..Faults::default()
    });
    chain.mine(3);
    // Answers come after the notifications before them: these were not sent.
    while provider.get_block_number().await.unwrap() < 3 {}
    provider.get_chain_id().await.unwrap();
    set(Faults::default());
    chain.mine(1);
    let seen = next(&mut heads).await.number;
    assert!(seen > 1, "the first head was skipped, {seen} was told");
    set(Faults {
        silent_permille: 1_000,
        ..Faults::default()
    });
    chain.mine(1);
    let mut more = provider.subscribe_blocks().await.unwrap().into_stream();
    chain.mine(1);
    assert!(
        tokio::time::timeout(Duration::from_millis(300), more.next())
            .await
            .is_err()
    );
    assert_eq!(provider.get_block_number().await.unwrap(), 6);
}

#[tokio::test]
async fn closing_an_endpoint_closes_its_sockets_and_no_others() {
    let chain = start(Options::default());
    let (one, other) = (
        chain.listen(0).await.unwrap(),
        chain.listen(0).await.unwrap(),
    );
    let provider = connect(&other).await;
    let raw = |endpoint: &Endpoint| {
        let address = endpoint.address();
        async move { tokio::net::TcpStream::connect(address).await }
    };
    let mut held = raw(&one).await.unwrap();
    // An answer shows that it is served, and it stays open for more.
    let ask = b"PUT / HTTP/1.1\r\nhost: here\r\ncontent-length: 0\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut held, ask)
        .await
        .unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"over a WebSocket") {
        let read = tokio::io::AsyncReadExt::read_buf(&mut held, &mut answer);
        assert!(tokio::time::timeout(SOON, read).await.unwrap().unwrap() > 0);
    }
    one.drop_connections();
    let mut byte = [0];
    let read = tokio::time::timeout(SOON, tokio::io::AsyncReadExt::read(&mut held, &mut byte));
    assert_eq!(read.await.unwrap().unwrap_or(0), 0);
    assert!(raw(&one).await.is_ok(), "it listens on");
    assert_eq!(provider.get_block_number().await.unwrap(), 0);
    drop(one);
    assert_eq!(provider.get_block_number().await.unwrap(), 0);
}
