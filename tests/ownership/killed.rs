//! The hub dies while it reads what became of a passport.

use std::os::unix::process::ExitStatusExt as _;

use serde_json::json;

use crate::world::{World, refused, until};

/// Before and after what was read is kept.
const WAY: [&str; 2] = ["ownership.before_commit", "ownership.after_commit"];

#[test]
fn wherever_the_hub_dies_control_is_whose_the_chain_says() {
    let mut world = World::start();
    let offer = world.listed("1000000");
    for point in WAY {
        let dies = format!("{point}:1");
        world.hub.start_again(Some(&dies));
        world.buy(&offer);
        assert_eq!(world.hub.ended().signal(), Some(9), "{point}");
        world.hub.start_again(None);
        refused(&world.hub, "the wait", world.buyer, "lock", "not final yet");
        refused(&world.hub, "the seller's", world.seller, "lock", "neither");

        // The sale goes from the chain again.
        world.hub.start_again(Some(&dies));
        world.chain.rpc("anvil_reorg", json!([1, []]));
        world.chain.mine(1);
        assert_eq!(world.hub.ended().signal(), Some(9), "{point}, taken back");
        world.hub.start_again(None);
        until(&world.hub, "the seller's", world.seller, "lock", "owner");
        refused(&world.hub, "the buyer's", world.buyer, "lock", "neither");
    }
    // It is sold for good, and the hub dies at the block that makes it final.
    world.buy(&offer);
    refused(&world.hub, "the wait", world.buyer, "lock", "not final yet");
    world.hub.start_again(Some("ownership.before_commit:1"));
    world.chain.mine(6);
    assert_eq!(world.hub.ended().signal(), Some(9), "final");
    world.hub.start_again(None);
    until(&world.hub, "the buyer's", world.buyer, "lock", "owner");
    refused(&world.hub, "the seller's", world.seller, "lock", "neither");
    world.hub.is_sound();
}
