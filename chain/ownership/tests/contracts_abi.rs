//! What this package says to the contracts is what they understand: held against the ABI that is
//! committed with their bytecode.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use alloy_primitives::keccak256;
use alloy_sol_types::{SolCall, SolEvent, SolStruct};
use serde_json::Value;
use stencil_ownership::abi;

const PASSPORT: &str = include_str!("../../contracts/artifacts/DevicePassport.json");
const RIGHT: &str = include_str!("../../contracts/artifacts/AccessRight.json");
const MARKET: &str = include_str!("../../contracts/artifacts/StencilMarket.json");

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

fn knows<C: SolCall>(artifact: &str, returns: &str) {
    let functions = entries(artifact, "function");
    let found = functions
        .iter()
        .find(|(signature, _)| keccak256(signature)[..4] == C::SELECTOR);
    let (_, entry) = found.unwrap_or_else(|| panic!("no function {}", C::SIGNATURE));
    assert_eq!(types(&entry["outputs"]), returns, "{}", C::SIGNATURE);
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
fn passports_are_spoken_to_as_they_understand() {
    knows::<abi::ownerOfCall>(PASSPORT, "(address)");
    knows::<abi::issueCall>(PASSPORT, "(uint256)");
    knows::<abi::metadataOfCall>(PASSPORT, "(bytes32)");
    knows::<abi::tokenURICall>(PASSPORT, "(string)");
    knows::<abi::isApprovedForAllCall>(PASSPORT, "(bool)");
    knows::<abi::getApprovedCall>(PASSPORT, "(address)");
    knows::<abi::supportsInterfaceCall>(PASSPORT, "(bool)");
    emits::<abi::Transfer>(PASSPORT);
}

#[test]
fn rights_are_spoken_to_as_they_understand() {
    knows::<abi::ownerOfCall>(RIGHT, "(address)");
    knows::<abi::userOfCall>(RIGHT, "(address)");
    knows::<abi::userExpiresCall>(RIGHT, "(uint256)");
    knows::<abi::rightOfCall>(RIGHT, "((uint256,uint64))");
    emits::<abi::Transfer>(RIGHT);
    emits::<abi::UpdateUser>(RIGHT);
    emits::<abi::Issued>(RIGHT);
    let id = abi::setUserCall::SELECTOR
        .iter()
        .zip(abi::userOfCall::SELECTOR)
        .zip(abi::userExpiresCall::SELECTOR)
        .map(|((a, b), c)| a ^ b ^ c)
        .collect::<Vec<u8>>();
    assert_eq!(id, abi::ERC_4907, "ERC-4907 names itself by its functions");
}

#[test]
fn the_market_is_spoken_to_as_it_understands() {
    knows::<abi::buyCall>(MARKET, "()");
    knows::<abi::cancelCall>(MARKET, "()");
    knows::<abi::stateOfCall>(MARKET, "(uint8)");
    knows::<abi::digestOfCall>(MARKET, "(bytes32)");
    knows::<abi::royaltyOfCall>(MARKET, "(address,uint256)");
    let source = include_str!("../../contracts/src/StencilMarket.sol");
    assert!(
        source.contains(&format!("\"{}\"", abi::Listing::eip712_root_type())),
        "the type that is signed"
    );
    assert!(
        source.contains("EIP712(\"Stencil Market\", \"1\")"),
        "the domain"
    );
}
