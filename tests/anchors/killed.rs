//! The hub dies on the way of an anchor.

use std::os::unix::process::ExitStatusExt as _;

use crate::support::wait_for;
use crate::world::World;

/// Each point of the way, and whether it is reached only when further blocks make the anchor final.
const WAY: [(&str, bool); 10] = [
    ("anchor.chosen", false),
    ("anchor.kept", false),
    ("send.reserved", false),
    ("anchor.ordered", false),
    ("send.signed", false),
    ("send.broadcast", false),
    ("anchor.included", false),
    ("anchor.final", true),
    ("anchor.shown", true),
    ("anchor.recorded", true),
];

#[test]
fn wherever_the_hub_dies_each_seal_is_anchored_once() {
    let mut world = World::start();
    world.measure();
    world.settle();
    for (point, goes_on) in WAY {
        let before = world.last();
        world.hub.start_again(Some(&format!("{point}:1")));
        world.measure();
        wait_for(&format!("the hub's end at {point}"), || {
            if goes_on {
                world.chain.mine(1);
            }
            world
                .hub
                .ended_within(std::time::Duration::from_millis(100))
                .then_some(())
        });
        assert_eq!(world.hub.ended().signal(), Some(9), "{point}");
        // What is said while there is no hub is sealed, and comes later.
        world.measure();
        world.hub.start_again(None);
        world.settle();
        world.each_is_anchored_once();
        world.all_is_proven(before + 1);
    }
    world.all_is_proven(1);
}

/// Another account has a series of its own, to which what was chosen for the one before does not belong.
#[test]
fn what_was_not_sent_is_given_up_when_the_hub_has_another_account() {
    let mut world = World::start();
    world.hub.start_again(Some("anchor.kept:1"));
    world.measure();
    assert_eq!(world.hub.ended().signal(), Some(9));
    world.sends_from(0);
    world.hub.start_again(None);
    let proof = world.settle();
    let account = format!("{:#x}", world.chain.account(0));
    assert_eq!(proof["anchor"]["publisher"], account);
    assert_eq!(world.newest()["anchor"], 2);
    assert_eq!(world.events().len(), 1, "the one before sent nothing");
    world.all_is_proven(1);
    if std::env::var_os("STENCIL_UPDATE_VECTORS").is_some() {
        let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/proof");
        std::fs::write(format!("{seeds}/anchored.json"), proof.to_string()).unwrap();
    }
}
