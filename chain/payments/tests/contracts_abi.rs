//! What this package says to the contracts is what they understand: held against the ABI that is
//! committed with their bytecode.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use alloy_primitives::keccak256;
use alloy_sol_types::{SolCall, SolEvent, SolStruct};
use serde_json::Value;
use stencil_payments::abi;

const PAYMENTS: &str = include_str!("../../contracts/artifacts/StencilPayments.json");
const ESCROW: &str = include_str!("../../contracts/artifacts/StencilEscrow.json");
const DOLLAR: &str = include_str!("../../contracts/artifacts/dev/DevDollar.json");

/// The entries of one kind in an artifact's ABI, by their signature.
fn entries(artifact: &str, kind: &str) -> Vec<(String, Value)> {
    let artifact: Value = serde_json::from_str(artifact).unwrap();
    let entries: Vec<_> = artifact["abi"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["type"] == kind)
        .map(|entry| {
            let name = entry["name"].as_str().unwrap();
            (format!("{name}{}", types(&entry["inputs"])), entry.clone())
        })
        .collect();
    assert!(!entries.is_empty(), "the ABI has no {kind}");
    entries
}

/// `(bytes32,address)`, a struct as its parts.
fn types(inputs: &Value) -> String {
    let types: Vec<String> = inputs
        .as_array()
        .unwrap()
        .iter()
        .map(|input| {
            let name = input["type"].as_str().unwrap();
            name.strip_prefix("tuple").map_or_else(
                || name.to_owned(),
                |array| format!("{}{array}", types(&input["components"])),
            )
        })
        .collect();
    format!("({})", types.join(","))
}

fn knows<C: SolCall>(artifact: &str) {
    let found = entries(artifact, "function")
        .iter()
        .any(|(signature, _)| keccak256(signature)[..4] == C::SELECTOR);
    assert!(found, "no function {}", C::SIGNATURE);
}

/// The event is there, and indexes as many of its fields: a log with other topics is not decoded.
fn emits<E: SolEvent>(artifact: &str) {
    let events = entries(artifact, "event");
    let (_, event) = events
        .iter()
        .find(|(signature, _)| keccak256(signature) == E::SIGNATURE_HASH)
        .unwrap_or_else(|| panic!("no event {}", E::SIGNATURE));
    let indexed = event["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|input| input["indexed"] == true)
        .count();
    let topics = <E::TopicList as alloy_sol_types::TopicList>::COUNT;
    assert_eq!(indexed + 1, topics, "topics of {}", E::SIGNATURE);
}

#[test]
fn the_payment_contract_is_spoken_to_as_it_understands() {
    knows::<abi::payCall>(PAYMENTS);
    knows::<abi::payNativeCall>(PAYMENTS);
    knows::<abi::payWithAuthorizationCall>(PAYMENTS);
    emits::<abi::Paid>(PAYMENTS);
}

#[test]
fn the_escrow_is_understood() {
    knows::<abi::holdCall>(ESCROW);
    knows::<abi::holdWithAuthorizationCall>(ESCROW);
    knows::<abi::releaseCall>(ESCROW);
    knows::<abi::refundCall>(ESCROW);
    knows::<abi::stateOfCall>(ESCROW);
    emits::<abi::Held>(ESCROW);
    emits::<abi::Released>(ESCROW);
    emits::<abi::Refunded>(ESCROW);
}

#[test]
fn terms_have_their_fields_in_the_contracts_order() {
    let functions = entries(ESCROW, "function");
    let (_, hold) = functions
        .iter()
        .find(|(signature, _)| signature.starts_with("hold("))
        .unwrap();
    let fields: Vec<_> = hold["inputs"][0]["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| {
            let part = |key: &str| field[key].as_str().unwrap();
            format!("{} {}", part("type"), part("name"))
        })
        .collect();
    assert_eq!(
        <abi::Terms as SolStruct>::eip712_root_type(),
        format!("Terms({})", fields.join(","))
    );
}

#[test]
fn the_token_of_dev_chains_speaks_eip_3009() {
    knows::<abi::transferCall>(DOLLAR);
    knows::<abi::transferWithAuthorizationCall>(DOLLAR);
    knows::<abi::bytes_form::transferWithAuthorizationCall>(DOLLAR);
    knows::<abi::authorizationStateCall>(DOLLAR);
    emits::<abi::Transfer>(DOLLAR);
    emits::<abi::AuthorizationUsed>(DOLLAR);
    emits::<abi::AuthorizationCanceled>(DOLLAR);
}

/// Deployed code is whole: no library is to be linked, and no metadata is at its end, whose hash would
/// change with the path of a source.
#[test]
fn bytecode_is_whole_and_has_no_metadata() {
    for artifact in [PAYMENTS, ESCROW, DOLLAR] {
        let artifact: Value = serde_json::from_str(artifact).unwrap();
        for code in ["bytecode", "deployedBytecode"] {
            let code = artifact[code].as_str().unwrap();
            let code = hex::decode(code.strip_prefix("0x").unwrap()).unwrap();
            assert!(code.len() > 1_000);
            // "ipfs" and "solc", as they stand in the compiler's CBOR.
            for mark in [&b"dipfs"[..], b"dsolc"] {
                assert!(!code.windows(mark.len()).any(|window| window == mark));
            }
        }
        assert!(artifact["deployedBytecode"].as_str().unwrap().len() <= 2 + 2 * 24_576);
    }
}
