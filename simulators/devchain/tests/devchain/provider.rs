//! alloy's own provider, against a dev chain.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::support::{CHAIN_ID, Client, Draft, GWEI, counter, key, start};
use alloy_network::{EthereumWallet, TransactionBuilder as _};
use alloy_primitives::{Address, U256};
use alloy_provider::{Provider as _, ProviderBuilder};
use alloy_rpc_types_eth::{BlockNumberOrTag, Filter, TransactionRequest};
use stencil_devchain::{Included, Options};

#[tokio::test]
async fn a_provider_with_a_wallet_deploys_calls_and_reads() {
    let chain = start(Options::default());
    let endpoint = chain.listen(0).await.unwrap();
    let account = chain.accounts()[0].clone();
    let provider = ProviderBuilder::new()
        .wallet(EthereumWallet::from(account.signer().unwrap()))
        .connect_http(endpoint.url().parse().unwrap());

    assert_eq!(provider.get_chain_id().await.unwrap(), CHAIN_ID);
    let deploy = TransactionRequest::default().with_deploy_code(counter());
    let receipt = provider
        .send_transaction(deploy)
        .await
        .unwrap()
        .get_receipt()
        .await
        .unwrap();
    assert!(receipt.status());
    let contract = receipt.contract_address.unwrap();
    assert_eq!(contract, account.address.create(0));
    assert_eq!(provider.get_code_at(contract).await.unwrap().len(), 20);

    let call = TransactionRequest::default()
        .with_to(contract)
        .with_input(U256::from(7).to_be_bytes_vec());
    let receipt = provider
        .send_transaction(call.clone())
        .await
        .unwrap()
        .get_receipt()
        .await
        .unwrap();
    assert_eq!(receipt.inner.logs().len(), 1);
    let filter = Filter::new()
        .address(contract)
        .event_signature(alloy_primitives::B256::from(U256::from(7)))
        .from_block(BlockNumberOrTag::Earliest);
    let logs = provider.get_logs(&filter).await.unwrap();
    assert_eq!(logs, receipt.inner.logs());
    let by_hash = Filter::new().at_block_hash(receipt.block_hash.unwrap());
    assert_eq!(provider.get_logs(&by_hash).await.unwrap(), logs);
    assert_eq!(
        provider.get_storage_at(contract, U256::ZERO).await.unwrap(),
        U256::ONE
    );
    let returned = provider.call(call).await.unwrap();
    assert_eq!(U256::from_be_slice(&returned), U256::from(2));
}

#[tokio::test]
async fn hashes_and_roots_are_what_their_contents_give() {
    let chain = start(Options::default());
    let endpoint = chain.listen(0).await.unwrap();
    let provider = ProviderBuilder::new().connect_http(endpoint.url().parse().unwrap());
    let from = chain.accounts()[0].signer().unwrap();
    chain
        .submit(Draft::create(&counter(), 0).sign(&from))
        .unwrap();
    let contract = from.address().create(0);
    for nonce in 1..4 {
        chain
            .submit(Draft::to(contract, nonce).input(nonce).sign(&from))
            .unwrap();
    }
    let mut parent = None;
    for number in 0..=4 {
        let block = provider
            .get_block_by_number(number.into())
            .full()
            .await
            .unwrap()
            .unwrap();
        assert_eq!(block.header.hash, block.header.inner.hash_slow());
        let transactions: Vec<_> = block
            .transactions
            .txns()
            .map(|transaction| transaction.inner.inner().clone())
            .collect();
        assert_eq!(
            block.header.transactions_root,
            alloy_consensus::proofs::calculate_transaction_root(&transactions)
        );
        let receipts = provider
            .get_block_receipts(number.into())
            .await
            .unwrap()
            .unwrap();
        let consensus: Vec<_> = receipts
            .iter()
            .map(|receipt| receipt.inner.clone().into_primitives_receipt())
            .collect();
        assert_eq!(
            block.header.receipts_root,
            alloy_consensus::proofs::calculate_receipt_root(&consensus)
        );
        assert_eq!(
            block.header.gas_used,
            receipts.iter().map(|r| r.gas_used).sum::<u64>()
        );
        if let Some(parent) = parent {
            assert_eq!(block.header.parent_hash, parent);
        }
        parent = Some(block.header.hash);
    }
}

#[tokio::test]
async fn a_reorg_takes_logs_away_and_brings_others() {
    let chain = start(Options::default());
    let endpoint = chain.listen(0).await.unwrap();
    let provider = ProviderBuilder::new().connect_http(endpoint.url().parse().unwrap());
    let from = chain.accounts()[0].signer().unwrap();
    chain
        .submit(Draft::create(&counter(), 0).sign(&from))
        .unwrap();
    let contract = from.address().create(0);
    let first = Draft::to(contract, 1).input(1).sign(&from);
    let second = Draft::to(contract, 2).input(2).sign(&from);
    let first_hash = chain.submit(first.clone()).unwrap();
    let second_hash = chain.submit(second).unwrap();
    let before = provider
        .get_transaction_receipt(first_hash)
        .await
        .unwrap()
        .unwrap();

    // The same transaction again, one block later; the other one is gone.
    let included = [Included {
        raw: first,
        block: 1,
    }];
    chain.reorg(2, &included, false).unwrap();
    assert_eq!(chain.head().number, 3);
    let after = provider
        .get_transaction_receipt(first_hash)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(after.block_number, Some(3));
    assert_ne!(after.block_hash, before.block_hash);
    assert_eq!(
        provider.get_transaction_receipt(second_hash).await.unwrap(),
        None
    );
    assert_eq!(
        provider.get_storage_at(contract, U256::ZERO).await.unwrap(),
        U256::ONE
    );
    let gone = Filter::new().at_block_hash(before.block_hash.unwrap());
    let error = provider.get_logs(&gone).await.unwrap_err().to_string();
    assert!(error.contains("unknown block"), "{error}");
    assert_eq!(
        provider
            .get_transaction_count(from.address())
            .await
            .unwrap(),
        2
    );
}

#[tokio::test]
async fn refusals_are_worded_as_geth_does() {
    let chain = start(Options {
        mining: stencil_devchain::Mining::Manual,
        ..Options::default()
    });
    let endpoint = chain.listen(0).await.unwrap();
    let client = Client::new(endpoint.url());
    let from = chain.accounts()[0].signer().unwrap();
    let to = Address::repeat_byte(9);
    let waiting = Draft::to(to, 0).fees(10 * GWEI, GWEI).sign(&from);
    client.send(&waiting).await;
    let refused = |raw: alloy_primitives::Bytes| {
        let client = client.clone();
        async move {
            let error = client
                .error("eth_sendRawTransaction", serde_json::json!([raw]))
                .await;
            assert_eq!(error["code"], -32_000, "{error}");
            error["message"].as_str().unwrap().to_owned()
        }
    };
    assert_eq!(refused(waiting).await, "already known");
    // A tenth more in both fees, and no less.
    for (fee, tip) in [(10 * GWEI, GWEI), (11 * GWEI, GWEI), (10 * GWEI, 2 * GWEI)] {
        let again = Draft::to(to, 0).value(1).fees(fee, tip).sign(&from);
        assert_eq!(refused(again).await, "replacement transaction underpriced");
    }
    let replacing = Draft::to(to, 0)
        .value(1)
        .fees(11 * GWEI, 11 * GWEI / 10)
        .sign(&from);
    let replaced = client.send(&replacing).await;
    chain.mine(1);
    let receipt = client
        .call("eth_getTransactionReceipt", serde_json::json!([replaced]))
        .await;
    assert_eq!(receipt["status"], "0x1");
    assert_eq!(
        refused(Draft::to(to, 0).value(2).sign(&from)).await,
        "nonce too low: next nonce 1, tx nonce 0"
    );
    assert_eq!(
        refused(replacing).await,
        "nonce too low: next nonce 1, tx nonce 0"
    );
    let poor = refused(Draft::to(to, 0).value(1).sign(&key(1))).await;
    assert!(
        poor.starts_with("insufficient funds for gas * price + value: balance 0, tx cost"),
        "{poor}"
    );
    let draft = Draft::to(to, 1);
    let other_chain = Draft {
        chain_id: 1,
        ..draft.clone()
    }
    .sign(&from);
    assert_eq!(
        refused(other_chain).await,
        "invalid sender: invalid chain id for signer: have 1 want 31337"
    );
    assert_eq!(
        refused(draft.sign_legacy(&from, false)).await,
        "only replay-protected (EIP-155) transactions allowed over RPC"
    );
    let little = Draft {
        gas_limit: 20_999,
        ..draft.clone()
    }
    .sign(&from);
    assert_eq!(
        refused(little).await,
        "intrinsic gas too low: gas 20999, minimum needed 21000"
    );
    let much = Draft {
        gas_limit: 30_000_001,
        ..draft.clone()
    }
    .sign(&from);
    assert_eq!(refused(much).await, "exceeds block gas limit");
    let capped = Draft {
        gas_limit: 16_777_217,
        ..draft.clone()
    }
    .sign(&from);
    assert_eq!(
        refused(capped).await,
        "transaction gas limit too high (cap: 16777216, tx: 16777217)"
    );
    let tip = refused(draft.clone().fees(GWEI, 2 * GWEI).sign(&from)).await;
    assert!(
        tip.starts_with("max priority fee per gas higher than max fee per gas"),
        "{tip}"
    );
    assert_eq!(
        refused(vec![3, 1, 2].into()).await,
        "transaction type not supported"
    );
    assert_eq!(refused(vec![].into()).await, "typed transaction too short");
    let garbage = refused(vec![2, 0xc0].into()).await;
    assert!(garbage.starts_with("rlp: "), "{garbage}");
    // Types 0 and 1 are taken.
    client.send(&draft.sign_legacy(&from, true)).await;
    client
        .send(&Draft { nonce: 2, ..draft }.sign_2930(&from))
        .await;
    chain.mine(1);
    assert_eq!(client.number().await, 2);
    let block = client
        .call("eth_getBlockByNumber", serde_json::json!(["latest", true]))
        .await;
    let types: Vec<_> = block["transactions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["type"].clone())
        .collect();
    assert_eq!(types, ["0x0", "0x1"]);
}
