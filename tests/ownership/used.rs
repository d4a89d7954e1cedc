//! What a gateway has admitted while the hub could not hear that the token was sold, and the hub dies while
//! it judges that again.

use std::os::unix::process::ExitStatusExt as _;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::support::{Door, Hub, http, succeed, wait_for};
use crate::world::{DEVICE, World};

/// After receipts were judged again and workflows were told, before that is kept.
pub(crate) const DIES: &str = "access.judged_again:1";

const TELLS: &str = "id: used-though-gone
version: 1
on: { access: { conflict: \"locker-*\" } }
steps:
  - id: note
    use: content.upsert
    with: { collection: conflicts, key: \"{{ event.device }}\", set: { title: \"{{ event.receipt }}\" } }
";

/// A passport that was sold while nobody could hear it, whose seller has locked the door before and after.
pub(crate) struct Used {
    pub(crate) world: World,
    pub(crate) right: String,
    /// The time of the sale's block.
    sold_s: u64,
    door: Door,
}

impl Used {
    /// The hub has the receipts, one of before the sale and two of after it, and not heard of the sale yet.
    pub(crate) fn start() -> Self {
        let world = World::start();
        let file = world.hub.dir.path().join("tells.yaml");
        std::fs::write(&file, TELLS).unwrap();
        succeed(world.hub.command(&["workflow", "apply"]).arg(&file));
        let door = Door::at(&world.hub, DEVICE);
        let (right, credential) = world.holds_right();
        let seller = world.chain.key(1);
        door.opens(&seller, &credential, "lock");
        let buy = world.to_buy(&world.listed("1000000"));
        world.chain.is_away(true);
        world.buys(&buy);
        // Each block of the chain is a second after the one before, and so it is ahead of the clock.
        let sold_s = world.chain.time_s();
        wait_for("the time of the sale", || (now_s() > sold_s).then_some(()));
        for _ in 0..2 {
            door.opens(&seller, &credential, "lock");
        }
        assert_eq!(door.told(), ["lock"; 3]);
        let used = Self {
            world,
            right,
            sold_s,
            door,
        };
        used.are_judged(&used.world.hub, &[None; 3]);
        used
    }

    /// The chain is there again, and the hub hears of it at its next start, which it does not survive.
    pub(crate) fn dies_judging(&mut self) {
        let hub = &mut self.world.hub;
        hub.kill();
        self.world.chain.is_away(false);
        hub.start_again(Some(DIES));
        assert_eq!(hub.ended().signal(), Some(9), "{DIES}");
    }

    /// Waits until this is what the receipts are judged to be, in their order.
    pub(crate) fn are_judged(&self, hub: &Hub, conflicts: &[Option<&str>; 3]) {
        wait_for(&format!("receipts to be judged {conflicts:?}"), || {
            let mut items = receipts(hub);
            items.sort_by_key(|it| it["number"].as_u64());
            let found: Vec<_> = items.iter().map(|it| it["conflict"].as_str()).collect();
            (found == *conflicts).then_some(())
        });
    }

    /// Which receipts workflows were told of, each as often as they were.
    pub(crate) fn told(&self, hub: &Hub) -> Vec<u64> {
        let runs = hub.items("/api/v1/runs?workflow=used-though-gone");
        let numbers = runs.iter().map(|run| {
            let event = &run["event"];
            assert_eq!(event["reason"], "sold", "{run}");
            assert_eq!(event["right"], self.right.as_str(), "{run}");
            let receipt = event["receipt"].as_str().unwrap();
            receipt.rsplit('/').next().unwrap().parse().unwrap()
        });
        let mut numbers: Vec<u64> = numbers.collect();
        numbers.sort_unstable();
        numbers
    }

    fn is_sound(&self) {
        self.world.hub.is_sound();
        self.door.gateway.is_sound();
    }
}

pub(crate) fn receipts(hub: &Hub) -> Vec<Value> {
    hub.items("/api/v1/access/receipts")
}

fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// Waits until receipts were judged otherwise than before so often, as the hub's log says.
fn turned(hub: &Hub, times: usize) {
    wait_for(&format!("receipts to be judged anew {times} times"), || {
        let log = hub.log();
        let said = log.matches("receipts are judged otherwise than before");
        (said.count() == times).then_some(())
    });
}

#[test]
fn receipts_are_judged_again_once_wherever_the_hub_dies_and_told_of_once() {
    let mut used = Used::start();
    assert!(used.told(&used.world.hub).is_empty());

    // Workflows were told; what they were told of is not kept yet.
    used.dies_judging();
    turned(&used.world.hub, 0);
    used.world.hub.start_again(None);
    used.are_judged(&used.world.hub, &[None, Some("sold"), Some("sold")]);
    assert_eq!(used.told(&used.world.hub), [2, 3]);
    turned(&used.world.hub, 1);
    let stood = used
        .world
        .hub
        .ask(&["access", "history", used.right.as_str()]);
    assert_eq!(stood.as_array().unwrap().len(), 1, "{stood}");
    let sold = &stood[0];
    assert_eq!(
        (&sold["standing"], &sold["by"], &sold["until_us"]),
        (&json!("sold"), &json!("cause"), &Value::Null)
    );
    assert_eq!(sold["from_us"], used.sold_s * 1_000_000);
    assert!(
        sold["known_us"].as_u64() > sold["from_us"].as_u64(),
        "{sold}"
    );

    // The sale leaves its chain, and the hub dies while it takes the blame back.
    used.world.hub.kill();
    used.world.chain.rpc("anvil_reorg", json!([1, []]));
    used.world.chain.mine(1);
    used.dies_judging();
    turned(&used.world.hub, 1);
    used.world.hub.start_again(None);
    used.are_judged(&used.world.hub, &[None; 3]);
    turned(&used.world.hub, 2);
    assert_eq!(used.told(&used.world.hub), [2, 3], "each is told of once");
    let path = format!("/api/v1/access/rights/{}", used.right);
    let right = http::get(
        used.world.hub.port("http"),
        &path,
        Some(&used.world.hub.token),
    )
    .json();
    assert_eq!(right["standing"], "good", "{right}");
    used.is_sound();
}
