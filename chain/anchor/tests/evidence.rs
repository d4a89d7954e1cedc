//! What a block shows of an anchor, and that nothing else passes for it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use alloy_primitives::{Address, B256, Bloom, Bytes, keccak256};
use alloy_rlp::Encodable as _;
use proptest::prelude::*;
use stencil_anchor::{Append, Fault, NotShown, Receipt, check, show};
use stencil_proof::document::AnchorForm;

const CHAIN: u64 = 31_337;
const CONTRACT: Address = Address::repeat_byte(0xa4);
const PUBLISHER: Address = Address::repeat_byte(0x0b);

fn append() -> Append {
    Append {
        series: B256::repeat_byte(1),
        previous: B256::repeat_byte(2),
        root: B256::repeat_byte(3),
        start: 100,
        end: 160,
    }
}

/// A receipt as an endpoint answers it; of the anchor, or of a transaction that has nothing to do with it.
fn receipt(index: u64, anchors: bool, status: u64) -> Receipt {
    let words = |numbers: &[B256]| numbers.iter().flat_map(|word| word.0).collect::<Vec<u8>>();
    let number = |n: u64| B256::left_padding_from(&n.to_be_bytes());
    let append = append();
    let link = append.link(CHAIN, CONTRACT, PUBLISHER, 7);
    let logs = if anchors {
        let topic =
            keccak256("Anchored(address,bytes32,bytes32,uint64,uint64,uint64,bytes32,bytes32)");
        let data = words(&[number(7), number(100), number(160), append.previous, link]);
        serde_json::json!([{
            "address": CONTRACT,
            "topics": [topic, PUBLISHER.into_word(), append.series, append.root],
            "data": Bytes::from(data),
        }])
    } else {
        serde_json::json!([{ "address": Address::ZERO, "topics": [], "data": "0x01" }])
    };
    let json = serde_json::json!({
        "transactionHash": number(1_000 + index),
        "transactionIndex": format!("{index:#x}"),
        "type": if index.is_multiple_of(2) { "0x2" } else { "0x0" },
        "status": format!("{status:#x}"),
        "cumulativeGasUsed": format!("{:#x}", 21_000 * (index + 1)),
        "logsBloom": Bloom::ZERO,
        "logs": logs,
    });
    serde_json::from_value(json).unwrap()
}

/// A header with this root of receipts: as many fields as a check looks at.
fn header(root: B256) -> Vec<u8> {
    let mut fields = Vec::new();
    for place in 0..15_u64 {
        match place {
            5 => root.encode(&mut fields),
            8 => 4_711_u64.encode(&mut fields),
            11 => 1_700_000_000_u64.encode(&mut fields),
            place => place.encode(&mut fields),
        }
    }
    let mut header = Vec::new();
    let head = alloy_rlp::Header {
        list: true,
        payload_length: fields.len(),
    };
    head.encode(&mut header);
    header.extend(fields);
    header
}

/// The root of these receipts, found as a verifier would find that another is wrong.
fn block(receipts: &[Receipt]) -> (B256, Vec<u8>) {
    let root = stencil_anchor::receipts_root_of(receipts);
    let header = header(root);
    (keccak256(&header), header)
}

fn form(receipts: &[Receipt], at: usize) -> AnchorForm {
    let (hash, header) = block(receipts);
    let tx = receipts[at].transaction_hash;
    let shown = show(hash, &header, receipts, tx).unwrap();
    assert_eq!(shown.index, at as u64);
    let append = append();
    AnchorForm {
        chain_id: CHAIN,
        contract: format!("{CONTRACT:#x}"),
        publisher: format!("{PUBLISHER:#x}"),
        series: append.series.0,
        number: 7,
        previous: append.previous.0,
        start: append.start,
        end: append.end,
        seals: 1,
        root: append.root.0,
        index: 0,
        path: Vec::new(),
        transaction: tx.0,
        block_number: 4_711,
        block_hash: hash.0,
        header,
        transaction_index: shown.index,
        receipt_path: shown.path.iter().map(|node| node.to_vec()).collect(),
    }
}

fn receipts(count: u64, anchor_at: u64) -> Vec<Receipt> {
    (0..count)
        .map(|at| receipt(at, at == anchor_at, 1))
        .collect()
}

#[test]
fn an_anchor_is_found_wherever_it_is_in_its_block() {
    for (count, at) in [
        (1, 0),
        (2, 0),
        (2, 1),
        (17, 16),
        (130, 0),
        (130, 127),
        (130, 128),
        (300, 299),
    ] {
        let form = form(&receipts(count, at), usize::try_from(at).unwrap());
        let anchored = check(&form).unwrap();
        assert_eq!(
            (anchored.block_number, anchored.block_time_s),
            (4_711, 1_700_000_000)
        );
        assert_eq!(
            (anchored.contract, anchored.publisher),
            (CONTRACT, PUBLISHER)
        );
    }
}

#[test]
fn everything_else_is_refused() {
    let good = form(&receipts(20, 5), 5);
    let fault = |change: &dyn Fn(&mut AnchorForm)| {
        let mut changed = good.clone();
        change(&mut changed);
        check(&changed).unwrap_err()
    };
    for change in [
        (&|it: &mut AnchorForm| it.root[0] ^= 1) as &dyn Fn(&mut AnchorForm),
        &|it| it.previous[0] ^= 1,
        &|it| it.series[0] ^= 1,
        &|it| it.number = 8,
        &|it| it.start -= 1,
        &|it| it.end += 1,
        // A listing of another chain, contract or account.
        &|it| it.chain_id = 1,
        &|it| it.contract = format!("{:#x}", Address::repeat_byte(1)),
        &|it| it.publisher = format!("{:#x}", Address::repeat_byte(1)),
    ] {
        assert_eq!(fault(change), Fault::Event);
    }
    assert!(matches!(
        fault(&|it| it.block_hash[0] ^= 1),
        Fault::Header(_)
    ));
    assert!(matches!(fault(&|it| it.header[40] ^= 1), Fault::Header(_)));
    assert!(matches!(
        fault(&|it| it.block_number += 1),
        Fault::Number { held: 4_711, .. }
    ));
    assert_eq!(fault(&|it| it.transaction_index = 6), Fault::Path);
    assert_eq!(fault(&|it| drop(it.receipt_path.pop())), Fault::Path);
    assert_eq!(fault(&|it| it.receipt_path.clear()), Fault::Path);
    assert!(matches!(
        fault(&|it| it.contract = "0x12".to_owned()),
        Fault::Address("contract")
    ));
    // A transaction beside it, and one that was reverted.
    let mut beside = form(&receipts(20, 5), 6);
    beside.root = good.root;
    assert_eq!(check(&beside), Err(Fault::Event));
    let mut reverted = receipts(3, 1);
    reverted[1] = receipt(1, true, 0);
    assert_eq!(check(&form(&reverted, 1)), Err(Fault::Reverted));
}

#[test]
fn what_an_endpoint_says_is_shown_only_if_it_fits() {
    let mut receipts = receipts(4, 1);
    let (hash, header) = block(&receipts);
    let tx = receipts[1].transaction_hash;
    assert_eq!(
        show(B256::ZERO, &header, &receipts, tx),
        Err(NotShown::Header)
    );
    assert_eq!(
        show(hash, &header, &receipts, B256::ZERO),
        Err(NotShown::Transaction)
    );
    receipts[2].cumulative_gas_used += alloy_primitives::U64::from(1);
    assert_eq!(show(hash, &header, &receipts, tx), Err(NotShown::Receipts));
    receipts.truncate(3);
    assert_eq!(show(hash, &header, &receipts, tx), Err(NotShown::Receipts));
}

/// As the contract says itself: `linkOf` of `chain/contracts`.
#[test]
fn calldata_and_link_are_those_of_the_contract() {
    let artifact: serde_json::Value =
        serde_json::from_str(include_str!("../../contracts/artifacts/StencilAnchor.json")).unwrap();
    let functions = artifact["abi"].as_array().unwrap();
    let has = |name: &str| functions.iter().any(|it| it["name"] == name);
    assert!(has("append") && has("headOf") && has("Anchored"));
    let call = append().call();
    let selector = keccak256("append(bytes32,bytes32,bytes32,uint64,uint64)");
    assert_eq!(call[..4], selector[..4]);
    assert_eq!(call.len(), 4 + 5 * 32);
    assert_eq!(call[36..68], append().previous[..]);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        header: Vec<u8>,
        nodes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..4),
        index: u64,
    ) {
        let mut form = form(&receipts(2, 0), 0);
        form.block_hash = keccak256(&header).0;
        form.header = header;
        prop_assert!(check(&form).is_err());
        let mut form = self::form(&receipts(2, 0), 0);
        form.receipt_path = nodes;
        form.transaction_index = index;
        prop_assert!(check(&form).is_err());
    }
}
