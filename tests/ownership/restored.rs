//! A hub dies while it judges receipts again, and another goes on from its backup.

use serde_json::Value;

use crate::support::{Hub, stencil, succeed};
use crate::used::{Used, receipts};
use crate::world::{DEVICE, refused, until};

/// All that the hub says of who holds what, and of how rights stand and stood.
fn known(hub: &Hub, used: &Used) -> Vec<(String, Value)> {
    let world = &used.world;
    let mut paths = vec![
        "/api/v1/ownership".to_owned(),
        format!("/api/v1/devices/{DEVICE}/passport"),
        "/api/v1/access/rights".to_owned(),
        format!("/api/v1/access/rights/{}/history", used.right),
        "/api/v1/access/policy".to_owned(),
    ];
    for account in [world.seller, world.buyer, world.guest] {
        paths.push(format!("/api/v1/ownership/accounts/{account}"));
    }
    let said = paths.into_iter().map(|path| {
        let answer = hub.get(&path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let mut said = answer.json();
        // Up to when the chain was read goes on.
        if let Some(fields) = said.as_object_mut() {
            fields.remove("read_s");
        }
        (path, said)
    });
    said.collect()
}

#[test]
fn a_backup_has_rights_receipts_holders_and_what_is_still_to_be_judged() {
    let mut used = Used::start();
    let brought = receipts(&used.world.hub);
    used.dies_judging();

    let out = used.world.hub.dir.path().join("hub.backup");
    let mut command = stencil();
    command.arg("backup").arg("--data-dir");
    succeed(command.arg(used.world.hub.data()).arg("--out").arg(&out));
    let dir = tempfile::tempdir().unwrap();
    let mut command = stencil();
    command.arg("restore").arg("--from").arg(&out);
    succeed(command.arg("--data-dir").arg(dir.path().join("hub")));

    // The one that has died goes on: what it knows is what the restored one has to know.
    used.world.hub.start_again(None);
    used.are_judged(&used.world.hub, &[None, Some("sold"), Some("sold")]);
    refused(
        &used.world.hub,
        "the seller's",
        used.world.seller,
        "lock",
        "neither",
    );
    let (was, judged) = (known(&used.world.hub, &used), receipts(&used.world.hub));
    assert_eq!(used.told(&used.world.hub), [2, 3]);
    used.world.hub.kill();

    let restored = used.world.restored(dir);
    used.are_judged(&restored, &[None, Some("sold"), Some("sold")]);
    for ((path, was), (_, is)) in was.iter().zip(known(&restored, &used)) {
        assert_eq!(is, *was, "{path}");
    }
    let is = receipts(&restored);
    assert_eq!(is, judged);
    for (is, brought) in is.iter().zip(&brought) {
        for field in [
            "gateway",
            "chain",
            "number",
            "hash",
            "receipt",
            "at_us",
            "received_us",
        ] {
            assert_eq!(is[field], brought[field], "{field}");
        }
    }
    assert_eq!(used.told(&restored), [2, 3], "each is told of once");
    // It follows the chain from where it was.
    used.world.chain.mine(6);
    until(&restored, "the buyer's", used.world.buyer, "lock", "owner");
    restored.is_sound();
}
