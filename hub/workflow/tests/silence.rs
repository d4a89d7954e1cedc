//! A silence holds for what tells people, and for nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use std::sync::Arc;

use serde_json::json;
use stencil_protocol::id::DeviceId;
use stencil_store::{
    AlarmChange, AlarmId, Alarms, Commit, Pipeline, Progress, Raised, Runs, Severity,
};
use world::{Act, START_US, Script, World, tenant};

const YAML: &str = r#"
id: freezer-warm
version: 1
on: { telemetry: { devices: "freezer-*", name: temperature } }
when: { above: -12.0 }
alarm: { severity: major }
steps:
  - id: mail
    use: mail.send
    with: { to: ops@example.org, subject: "warm", text: "warm" }
  - id: pager
    use: webhook.post
    with: { url: "https://pager.example.org/", body: {}, tells: true }
  - id: cooler
    use: webhook.post
    with: { url: "https://cooler.example.org/", body: { mail: "{{ steps.mail.message_id }}" } }
  - id: page
    use: content.publish
    with: { collection: notices, key: "{{ event.device }}" }
"#;

/// Mail goes well, and gives what it gives.
fn telling() -> Arc<Script> {
    let sent = json!({ "message_id": "<1@example.org>" });
    Script::of([("mail.send", vec![Act::Done(sent)])])
}

/// An active alarm of the workflow and the device of the runs.
async fn alarm(world: &World, device: &str) -> AlarmId {
    let id = AlarmId([device.len().try_into().unwrap(); 16]);
    let raised = Raised {
        id,
        tenant: tenant(),
        workflow: "freezer-warm".to_owned(),
        version: 1,
        device: DeviceId::parse(device).unwrap(),
        severity: Severity::Major,
        title: "warm".to_owned(),
        at_us: START_US,
        value: None,
    };
    let commit = Commit {
        position: 1,
        alarms: vec![AlarmChange::Raised(raised)],
        ..Commit::default()
    };
    world.store.commit(commit).await.unwrap();
    id
}

async fn silence(world: &World, id: &AlarmId, until_us: i64) {
    let (acme, until_us) = (tenant(), Some(until_us));
    let silenced = world.store.silence(&acme, id, until_us, "alice", START_US);
    silenced.await.unwrap();
}

fn used(script: &Script) -> Vec<&'static str> {
    script.asked().iter().map(|asked| asked.uses).collect()
}

#[tokio::test]
async fn steps_that_tell_people_are_passed_over_and_say_so() {
    let world = World::new(telling(), 0).await;
    let id = alarm(&world, "freezer-07").await;
    let until_us = START_US + 1_000;
    silence(&world, &id, until_us).await;

    let run = world.start(YAML, 1).await;
    let run = world.ended(&run).await;
    assert_eq!(run.state, Progress::Done, "{run:?}");
    assert_eq!(used(&world.script), ["webhook.post", "content.publish"]);
    let passed_over = json!({ "silenced_until_us": until_us });
    for step in &run.steps[..2] {
        assert_eq!((step.state, step.attempts), (Progress::Done, 0));
        assert_eq!(step.output.as_ref().unwrap()["passed_over"], passed_over);
    }
    // A step that asks for what the mail would have given finds nothing, and goes on.
    assert_eq!(run.steps[2].attempts, 1);
    assert_eq!(world.handle.metrics().passed_over, 2);
    let attempts = world.runs.attempts(&tenant(), &run.id).await.unwrap();
    assert!(attempts.iter().all(|attempt| attempt.step >= 2));
}

#[tokio::test]
async fn it_ends_with_its_time_and_is_of_one_device() {
    let world = World::new(telling(), 0).await;
    let id = alarm(&world, "freezer-07").await;
    let until_us = START_US + 1_000;
    silence(&world, &id, until_us).await;
    world.clock.advance(1_000);
    let run = world.start(YAML, 1).await;
    world.ended(&run).await;
    let all = [
        "mail.send",
        "webhook.post",
        "webhook.post",
        "content.publish",
    ];
    assert_eq!(used(&world.script), all);

    let world = World::new(telling(), 0).await;
    let id = alarm(&world, "freezer-8").await;
    silence(&world, &id, until_us).await;
    let run = world.start(YAML, 1).await;
    world.ended(&run).await;
    assert_eq!(used(&world.script), all);
}
