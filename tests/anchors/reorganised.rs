//! The block of an anchor goes: within what is not final, and beyond it.

use std::os::unix::process::ExitStatusExt as _;

use serde_json::Value;

use crate::support::wait_for;
use crate::world::{FINAL, World};

fn block(proof: &Value) -> (u64, String) {
    let hash = proof["anchor"]["block_hash"].as_str().unwrap();
    let number = proof["anchor"]["block_number"].as_u64().unwrap();
    (number, hash.to_owned())
}

/// How many blocks go if this one does.
fn depth(world: &World, block: u64) -> u64 {
    world.chain.head() - block + 1
}

/// The transaction of a proof's anchor, as it was signed.
fn raw(world: &World, proof: &Value) -> String {
    let tx = proof["anchor"]["transaction"].as_str().unwrap();
    world.chain.raw(&format!("0x{tx}"))
}

/// An anchor that is in a block, and not final: the API says so.
fn is_on_its_way(world: &World) {
    let newest = world.newest();
    assert_eq!(newest["open"], true, "{newest}");
    assert!(newest["block_hash"].is_null(), "{newest}");
    let none = world.proof(world.last());
    assert_eq!(none.status, 409, "{none:?}");
    assert!(none.body.contains("not anchored yet"), "{none:?}");
    let sealed = world.as_far_as_it_goes(world.last());
    assert!(sealed.get("anchor").is_none(), "{sealed}");
}

/// A proof that names a block which is none of the chain's any more: who asks a node or has another hash
/// finds that out, and is told.
fn does_not_hold(world: &World, proof: &Value) {
    let (number, hash) = block(proof);
    let now = world.hash_of(number);
    assert_ne!(now, hash);
    let (code, said) = world.verify(proof, &["--rpc", world.chain.url()]);
    assert_eq!(code, 1, "{said}");
    for words in [
        format!("block {number} of the chain is 0x{now}"),
        format!("the anchor is in 0x{hash}, which is not on the chain (any more)"),
    ] {
        assert!(said.contains(&words), "{words}: {said}");
    }
    let (code, said) = world.verify(proof, &["--block-hash", &now]);
    assert_eq!(code, 1, "{said}");
    let words = format!("the anchor is in block 0x{hash}, which is none that you have named");
    assert!(said.contains(&words), "{said}");
    // Who names no block is told which one it stands on, and that this proves nothing yet.
    let (code, said) = world.verify(proof, &[]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains(&hash), "{said}");
}

/// Until the hub has found out that the block of an anchor went, and waits for it to be final again.
fn is_told(world: &World, was: &Value) {
    let (number, hash) = block(was);
    let newest = wait_for("the anchor to be open again", || {
        let newest = world.newest();
        (newest["open"] == true).then_some(newest)
    });
    let trouble = newest["trouble"].as_str().unwrap_or_default();
    let words = format!("a reorganisation took away block {number} (0x{hash})");
    assert!(trouble.contains(&words), "{newest}");
    is_on_its_way(world);
}

#[test]
fn an_anchor_that_is_not_final_comes_back_in_another_block() {
    let mut world = World::start();
    // In another block of the new branch.
    world.measure();
    world.wait_for_events(1);
    world.chain.mine(1);
    let tx = sent(&world);
    let raw = world.chain.raw(&tx);
    let was = included_in(&world, &tx);
    is_on_its_way(&world);
    world.chain.reorg(2, &[(raw.as_str(), 1)]);
    assert_eq!(included_in(&world, &tx), was + 1);
    is_on_its_way(&world);
    let proof = world.settle();
    assert_eq!(block(&proof), (was + 1, world.hash_of(was + 1)));
    world.each_is_anchored_once();

    // It waits to be in a block again, and is in the next one.
    world.measure();
    world.wait_for_events(2);
    world.chain.reorg_back_to_pool(1);
    world.settle();
    world.each_is_anchored_once();

    // It is nowhere any more: the hub sends it again, and it is the same transaction.
    world.measure();
    world.wait_for_events(3);
    let tx = sent(&world);
    world.chain.mine(FINAL - 2);
    is_on_its_way(&world);
    world.chain.reorg(FINAL - 1, &[]);
    world.wait_for_events(3);
    is_on_its_way(&world);
    let proof = world.settle();
    assert_eq!(
        format!("0x{}", proof["anchor"]["transaction"].as_str().unwrap()),
        tx
    );
    world.each_is_anchored_once();

    // The same while the hub is dead.
    world.measure();
    world.wait_for_events(4);
    world.hub.kill();
    world.chain.reorg(1, &[]);
    assert_eq!(world.events().len(), 3);
    world.hub.start_again(None);
    world.settle();
    world.each_is_anchored_once();
    world.all_is_proven(1);
}

#[test]
fn an_anchor_that_was_final_is_told_and_shown_anew() {
    let mut world = World::start();
    // It never comes back by itself.
    world.measure();
    let old = world.settle();
    let (number, _) = block(&old);
    assert!(depth(&world, number) >= FINAL);
    world.chain.reorg(depth(&world, number), &[]);
    does_not_hold(&world, &old);
    is_told(&world, &old);
    let new = world.settle();
    assert_ne!(block(&new), block(&old));
    does_not_hold(&world, &old);
    world.each_is_anchored_once();
    world.all_is_proven(1);

    // It is in another block of the same number, at once and as deep, while the hub is dead: nothing is
    // pending then, and nothing is missing.
    world.measure();
    let old = world.settle();
    let (number, _) = block(&old);
    let raw = raw(&world, &old);
    world.hub.kill();
    world
        .chain
        .reorg(depth(&world, number), &[(raw.as_str(), 0)]);
    does_not_hold(&world, &old);
    world.hub.start_again(None);
    let new = wait_for("a proof with the new block", || {
        let answer = world.proof(world.last());
        let proof = (answer.status == 200).then(|| answer.json())?;
        (block(&proof) != block(&old)).then_some(proof)
    });
    assert_eq!(block(&new), (number, world.hash_of(number)));
    world.settle();
    world.each_is_anchored_once();
    world.all_is_proven(1);
}

#[test]
fn several_anchors_that_were_final_go_at_once() {
    let mut world = World::start();
    let mut old = Vec::new();
    for _ in 0..3 {
        world.measure();
        old.push(world.settle());
    }
    let (number, _) = block(&old[1]);
    world.chain.reorg(depth(&world, number), &[]);
    is_told(&world, &old[2]);
    // The first one stands.
    let (code, said) = world.verify(&old[0], &["--rpc", world.chain.url()]);
    assert_eq!(code, 0, "{said}");
    // What is new meanwhile comes behind them.
    world.measure();
    world.settle();
    for old in &old[1..] {
        does_not_hold(&world, old);
    }
    world.each_is_anchored_once();
    world.all_is_proven(1);

    // Killed when it has found that out.
    let old = world.settle();
    world.hub.start_again(Some("anchor.reopened:1"));
    world.chain.reorg(depth(&world, block(&old).0), &[]);
    assert_eq!(world.hub.ended().signal(), Some(9));
    world.hub.start_again(None);
    is_told(&world, &old);
    world.settle();
    world.each_is_anchored_once();
    world.all_is_proven(1);
}

/// The newest transaction of the hub's account.
fn sent(world: &World) -> String {
    let head = world.chain.head();
    (0..=head)
        .rev()
        .find_map(|number| {
            let block = world.chain.rpc(
                "eth_getBlockByNumber",
                serde_json::json!([format!("{number:#x}"), false]),
            );
            block["transactions"][0].as_str().map(str::to_owned)
        })
        .expect("a transaction")
}

/// The number of the block that a transaction is in.
fn included_in(world: &World, tx: &str) -> u64 {
    let receipt = world
        .chain
        .rpc("eth_getTransactionReceipt", serde_json::json!([tx]));
    crate::support::chain::number(&receipt["blockNumber"])
}
