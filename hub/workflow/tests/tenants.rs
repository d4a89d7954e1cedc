//! Tenants beside each other: what is slow for one is not slow for another.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use stencil_protocol::id::TenantId;
use stencil_store::{Progress, Tenancy};
use stencil_workflow::{Failure, Options};
use world::{Act, START_US, Script, World};

const HEAD: &str = "
id: warm
version: 1
on: { telemetry: { devices: \"*\", name: temperature } }
when: { above: -12.0 }
steps:
";

fn webhook() -> String {
    format!(
        "{HEAD}  - {{ id: tell, use: webhook.post, with: {{ url: \"http://h/\", body: 1 }}, \
         timeout: 5m }}\n"
    )
}

fn page() -> String {
    format!(
        "{HEAD}  - {{ id: page, use: content.publish, with: {{ collection: c, key: k }}, \
         retry: {{ max: 3, initial: 1s, cap: 4s }} }}\n"
    )
}

async fn with_second(world: &World) -> TenantId {
    let second = TenantId::parse("umbrella").unwrap();
    world.store.create_tenant(&second, START_US).await.unwrap();
    second
}

fn options() -> Options {
    Options {
        max_concurrent_runs: 8,
        // Nothing but an end, a wake or a time that was asked for makes it look.
        lease_ms: 3_600_000,
        idle_ms: 3_600_000,
        ..Options::default()
    }
}

#[tokio::test]
async fn a_receiver_that_hangs_takes_a_quarter_and_pages_of_others_go_on() {
    let script = Script::of([
        ("webhook.post", vec![Act::Hang; 50]),
        // A page whose first attempt fails has to be looked at again in time, too.
        (
            "content.publish",
            vec![Act::Fail(Failure::retryable("busy"))],
        ),
    ]);
    let world = World::with(script, 0, options()).await;
    let second = with_second(&world).await;
    for seq in 1..=20 {
        world.start(&webhook(), seq).await;
    }
    world.script.asked_times(2).await;
    for seq in 1..=5 {
        let id = world.start_of(&second, &page(), seq).await;
        if seq == 1 {
            let failed = |run: &stencil_store::Run| !run.steps.is_empty();
            let run = world.until_of(&second, &id, failed).await;
            let again_us = run.steps[0].next_at_us.unwrap();
            world.clock.advance(again_us - world.now_us());
        }
        let ended = |run: &stencil_store::Run| run.state.is_final();
        let run = world.until_of(&second, &id, ended).await;
        assert_eq!(run.state, Progress::Done);
    }
    let asked = world.script.asked();
    let hooks = asked.iter().filter(|asked| asked.uses == "webhook.post");
    assert_eq!(hooks.count(), 2, "a quarter of 8");
    world.counted(|metrics| metrics.in_flight == 2).await;
}

#[tokio::test]
async fn a_tenant_alone_has_as_much_as_is_set() {
    let options = Options {
        max_tenant_runs: Some(100),
        ..options()
    };
    let script = Script::of([("webhook.post", vec![Act::Hang; 50])]);
    let world = World::with(script, 0, options).await;
    for seq in 1..=20 {
        world.start(&webhook(), seq).await;
    }
    world.script.asked_times(8).await;
    assert_eq!(world.handle.metrics().in_flight, 8);
}
