//! A device's passport is sold on the market, and control moves with it; a reorganisation gives it back, and
//! wherever the hub dies it is so. A dev chain with the real contracts, and a hub, each by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod issued;
mod killed;
mod restored;
#[path = "../support/mod.rs"]
mod support;
mod used;
mod world;

use alloy_primitives::U256;
use alloy_sol_types::SolValue as _;
use serde_json::json;
use stencil_ownership::abi;

use world::{DEVICE, DID, World, refused, until};

#[test]
fn a_passport_is_sold_on_the_market_and_control_moves() {
    let mut world = World::start();
    let offer = world.listed("1000000");
    let mut elsewhere = offer.clone();
    elsewhere["chain_id"] = json!(1);
    let verdict = world.checked(&elsewhere);
    assert!(
        verdict["problem"].as_str().unwrap().contains("for chain 1"),
        "{verdict}"
    );
    world.refuses_what_is_no_good(&offer);

    let (sellers, royalties) = (
        world.chain.balance(world.seller),
        world.chain.balance(world.tenant),
    );
    world.buy(&offer);
    assert_eq!(
        world.chain.balance(world.seller) - sellers,
        U256::from(975_000)
    );
    assert_eq!(
        world.chain.balance(world.tenant) - royalties,
        U256::from(25_000)
    );
    assert_eq!(
        world.chain.balance(world.market),
        U256::ZERO,
        "the market keeps nothing"
    );
    refused(
        &world.hub,
        "the seller's refusal",
        world.seller,
        "lock",
        "neither",
    );
    refused(
        &world.hub,
        "the buyer's wait",
        world.buyer,
        "lock",
        "not final yet",
    );

    // The block goes, while the hub is dead, and the sale does not come back: neither does control.
    world.hub.kill();
    world.chain.rpc("anvil_reorg", json!([1, []]));
    world.chain.mine(1);
    world.hub.start_again(None);
    until(
        &world.hub,
        "the seller's control again",
        world.seller,
        "lock",
        "owner",
    );
    refused(
        &world.hub,
        "the buyer's refusal",
        world.buyer,
        "lock",
        "neither",
    );

    // The same listing is good again, since the sale is undone; now it stays.
    world.buy(&offer);
    world.chain.mine(6);
    until(
        &world.hub,
        "the buyer's control",
        world.buyer,
        "lock",
        "owner",
    );
    refused(
        &world.hub,
        "the seller's refusal",
        world.seller,
        "lock",
        "neither",
    );
    let verdict = world.checked(&offer);
    assert!(
        verdict["problem"].as_str().unwrap().contains("was sold"),
        "{verdict}"
    );
    let shown = world
        .hub
        .get(&format!("/api/v1/devices/{DEVICE}/passport"))
        .json();
    assert_eq!(shown["owner"], world.buyer.to_checksum(None));
    assert_eq!(shown["did"], DID);
    world.hub.is_sound();
}

#[test]
fn a_right_is_used_until_it_ends() {
    let world = World::start();
    let passport = U256::from_be_bytes(stencil_ownership::token_of(DID).unwrap().0);
    let now = world
        .chain
        .rpc("eth_getBlockByNumber", json!(["latest", false]));
    let now: U256 = now["timestamp"].as_str().unwrap().parse().unwrap();
    // `issue(address,uint256,uint64)` of `AccessRight`.
    let ends = now.to::<u64>() + 30;
    let selector = &alloy_primitives::keccak256("issue(address,uint256,uint64)")[..4];
    let arguments = (world.guest, passport, ends).abi_encode_params();
    let data = [selector, &arguments].concat();
    world
        .chain
        .transact(0, Some(world.rights), &data, U256::ZERO);
    refused(
        &world.hub,
        "the right",
        world.guest,
        "unlock",
        "not final yet",
    );
    world.chain.mine(6);
    until(
        &world.hub,
        "the guest's right",
        world.guest,
        "unlock",
        "user",
    );
    refused(
        &world.hub,
        "another command",
        world.guest,
        "lock",
        "may not command",
    );
    // It is lent to the buyer; the block that says so goes, and the guest has it again.
    let lend = abi::setUserCall {
        tokenId: U256::from(1),
        user: world.buyer,
        expires: ends,
    };
    world.chain.send(3, world.rights, &lend);
    refused(
        &world.hub,
        "the guest who has lent it",
        world.guest,
        "unlock",
        "neither",
    );
    refused(
        &world.hub,
        "the new user's wait",
        world.buyer,
        "unlock",
        "not final yet",
    );
    world.chain.rpc("anvil_reorg", json!([1, []]));
    world.chain.mine(1);
    until(
        &world.hub,
        "the guest's right again",
        world.guest,
        "unlock",
        "user",
    );
    refused(
        &world.hub,
        "whom it was lent to",
        world.buyer,
        "unlock",
        "neither",
    );
    world.tells_by_command();
    // Nothing happens on the chain any more.
    refused(&world.hub, "the end", world.guest, "unlock", "ended at");
    let shown = world
        .hub
        .get(&format!("/api/v1/devices/{DEVICE}/passport"))
        .json();
    assert_eq!(shown["rights"][0]["in_effect"], false);
    assert_eq!(shown["rights"][0]["expires_s"], ends);
    world.hub.is_sound();
}
