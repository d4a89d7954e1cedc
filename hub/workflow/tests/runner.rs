//! Runs, from their trigger to their end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use stencil_protocol::id::CommandId;
use stencil_store::{Progress, Room, Runs};
use stencil_workflow::{Effect, Failure, Options, Performed, effect_key};
use world::{Act, START_US, Script, World, tenant};

const HEAD: &str = "
id: warm
version: 1
on: { telemetry: { devices: \"*\", name: temperature } }
when: { above: -12.0 }
steps:
";

/// One webhook, 3 retries after 1 s, 2 s, 4 s.
fn webhook() -> String {
    format!(
        "{HEAD}  - {{ id: tell, use: webhook.post, with: {{ url: \"http://h/\", body: 1 }}, \
         retry: {{ max: 3, initial: 1s, cap: 4s }}, timeout: 10s }}\n"
    )
}

fn busy() -> Act {
    Act::Fail(Failure::retryable("the receiver answered 503"))
}

#[tokio::test]
async fn steps_run_in_order_and_see_what_the_earlier_ones_gave() {
    let yaml = format!(
        "{HEAD}  - {{ id: notice, use: content.upsert, with: {{ collection: notices, key: \"{{{{ event.device }}}}\",
      set: {{ value: \"{{{{ event.value }}}}\", title: \"{{{{ event.device }}}} {{{{ event.unit }}}}\" }} }} }}
  - {{ id: page, use: content.publish, with: {{ collection: notices, key: \"v{{{{ steps.notice.version }}}}\" }} }}
  - {{ id: lock, use: device.command, with: {{ device: \"{{{{ event.device | replace('freezer', 'lock') }}}}\",
      command: lock, argument: \"{{{{ event.seq }}}}\", expires: 30s }} }}\n"
    );
    let script = Script::of([("content.upsert", vec![Act::Done(json!({ "version": 41 }))])]);
    let world = World::new(script, 0).await;
    let id = world.start(&yaml, 5).await;
    let run = world.ended(&id).await;

    assert_eq!(run.state, Progress::Done);
    assert_eq!((run.error, run.ended_us), (None, Some(START_US)));
    let steps: Vec<_> = run
        .steps
        .iter()
        .map(|s| (s.id.as_str(), s.state, s.attempts))
        .collect();
    let done = Progress::Done;
    assert_eq!(
        steps,
        [("notice", done, 1), ("page", done, 1), ("lock", done, 1)]
    );
    let asked = world.script.asked();
    let keys: Vec<_> = asked.iter().map(|asked| asked.key.clone()).collect();
    assert_eq!(
        keys,
        ["notice", "page", "lock"].map(|step| effect_key(&id, step))
    );
    let Effect::ContentUpsert { key, fields, .. } = &asked[0].effect else {
        panic!()
    };
    assert_eq!(key, "freezer-07");
    assert_eq!(
        json!(fields),
        json!({ "value": -11.5, "title": "freezer-07 degC" })
    );
    let Effect::ContentPublish { key, .. } = &asked[1].effect else {
        panic!()
    };
    assert_eq!(key, "v41");
    let Effect::DeviceCommand {
        device, argument, ..
    } = &asked[2].effect
    else {
        panic!()
    };
    assert_eq!((device.as_str(), json!(argument)), ("lock-07", json!(5)));
    world.counted(|metrics| metrics.runs_done == 1).await;
}

#[tokio::test]
async fn a_busy_receiver_costs_no_attempt() {
    let after = Duration::from_millis(700);
    let script = Script::of([("webhook.post", vec![Act::Later(after), Act::Later(after)])]);
    let world = World::new(script, 0).await;
    let id = world.start(&webhook(), 1).await;
    for asked in 1..=2 {
        world.script.asked_times(asked).await;
        world
            .counted(|metrics| metrics.put_off == asked as u64 && metrics.in_flight == 0)
            .await;
        world.clock.advance(700_000);
    }
    let run = world.ended(&id).await;
    assert_eq!((run.state, run.steps[0].attempts), (Progress::Done, 1));
    let asked: Vec<_> = world.script.asked();
    let times: Vec<_> = asked
        .iter()
        .map(|a| (a.attempt, a.now_us - START_US))
        .collect();
    assert_eq!(times, [(1, 0), (1, 700_000), (1, 1_400_000)]);
    let history = world.runs.attempts(&tenant(), &id).await.unwrap();
    assert_eq!(history.len(), 1, "{history:?}");
}

#[tokio::test]
async fn a_failed_attempt_is_made_again_later_and_later() {
    for (random, waits_us) in [(0, [500_000, 1_000_000, 2_000_000]), (u64::MAX, [0, 0, 0])] {
        let script = Script::of([("webhook.post", vec![busy(), busy(), busy()])]);
        let world = World::new(script, random).await;
        let id = world.start(&webhook(), 1).await;
        for tried in 1..=3_u32 {
            let run = world
                .until(&id, |run| {
                    run.steps.first().is_some_and(|s| s.attempts == tried)
                })
                .await;
            let step = &run.steps[0];
            assert_eq!(
                (run.state, step.state),
                (Progress::Running, Progress::Running)
            );
            assert_eq!(step.error.as_deref(), Some("the receiver answered 503"));
            let wait_us = step.next_at_us.unwrap() - world.now_us();
            let whole_us = 1_000_000 << (tried - 1);
            assert!((whole_us / 2..=whole_us).contains(&wait_us), "{wait_us}");
            if random == 0 {
                assert_eq!(wait_us, waits_us[tried as usize - 1]);
            }
            world.clock.advance(wait_us);
            let asked = world.script.asked_times(tried as usize + 1).await;
            assert_eq!(asked.last().unwrap().now_us, step.next_at_us.unwrap());
        }
        let run = world.ended(&id).await;
        assert_eq!((run.state, run.steps[0].attempts), (Progress::Done, 4));
        assert_eq!(run.steps[0].error, None);
        let history = world.runs.attempts(&tenant(), &id).await.unwrap();
        let errors: Vec<_> = history
            .iter()
            .map(|attempt| attempt.error.as_deref())
            .collect();
        let error = Some("the receiver answered 503");
        assert_eq!(errors, [error, error, error, None]);
        let keys: Vec<_> = world
            .script
            .asked()
            .into_iter()
            .map(|asked| asked.key)
            .collect();
        assert_eq!(keys, vec![effect_key(&id, "tell"); 4], "all with one key");
    }
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let failure = Failure {
        retry_after: Some(Duration::from_secs(90)),
        ..Failure::retryable("429")
    };
    let world = World::new(Script::of([("webhook.post", vec![Act::Fail(failure)])]), 0).await;
    let id = world.start(&webhook(), 1).await;
    let run = world.until(&id, |run| !run.steps.is_empty()).await;
    assert_eq!(run.steps[0].next_at_us, Some(START_US + 90_000_000));
    world.clock.advance(90_000_000);
    assert_eq!(world.ended(&id).await.state, Progress::Done);
}

#[tokio::test]
async fn attempts_are_bounded_and_the_run_says_why_it_failed() {
    let script = Script::of([("webhook.post", vec![busy(), busy(), busy(), busy(), busy()])]);
    let world = World::new(script, 0).await;
    let id = world.start(&webhook(), 1).await;
    for tried in 1..=3_u32 {
        world
            .until(&id, |run| {
                run.steps.first().is_some_and(|s| s.attempts == tried)
            })
            .await;
        world.clock.advance(4_000_000);
    }
    let run = world.ended(&id).await;
    assert_eq!((run.state, run.steps[0].attempts), (Progress::Failed, 4));
    let error = "step `tell` failed (attempt 4): the receiver answered 503";
    assert_eq!(run.error.as_deref(), Some(error));
    assert_eq!(world.script.asked().len(), 4);
    world.counted(|metrics| metrics.runs_failed == 1).await;
}

#[tokio::test]
async fn a_permanent_failure_ends_the_run_at_once_and_nothing_follows() {
    let script = Script::of([(
        "webhook.post",
        vec![Act::Fail(Failure::permanent("410 Gone"))],
    )]);
    let yaml =
        webhook() + "  - { id: page, use: content.publish, with: { collection: c, key: k } }\n";
    let world = World::new(script, 0).await;
    let id = world.start(&yaml, 1).await;
    let run = world.ended(&id).await;
    assert_eq!(run.error.as_deref(), Some("step `tell` failed: 410 Gone"));
    assert_eq!((run.steps.len(), world.script.asked().len()), (1, 1));
}

#[tokio::test]
async fn a_template_that_fails_ends_the_run_without_an_effect() {
    let yaml = format!(
        "{HEAD}  - {{ id: page, use: content.publish, with: {{ collection: c, key: \"no key {{{{ event.seq }}}}\" }} }}\n"
    );
    let world = World::new(Script::of([]), 0).await;
    let id = world.start(&yaml, 9).await;
    let run = world.ended(&id).await;
    let error = run.error.unwrap();
    assert!(
        error.starts_with("step `page` failed: `key` is \"no key 9\"; 1 to 128 letters"),
        "{error}"
    );
    assert!(world.script.asked().is_empty());
}

#[tokio::test]
async fn no_answer_in_time_is_a_failure_that_may_pass() {
    let world = World::new(Script::of([("webhook.post", vec![Act::Hang])]), 0).await;
    let id = world.start(&webhook(), 1).await;
    world.script.asked_times(1).await;
    world.clock.advance(10_000_000);
    let run = world.until(&id, |run| !run.steps.is_empty()).await;
    assert_eq!(
        run.steps[0].error.as_deref(),
        Some("no answer within 10000 ms")
    );
    world.clock.advance(1_000_000);
    assert_eq!(world.ended(&id).await.state, Progress::Done);
}

#[tokio::test]
async fn a_claim_is_renewed_as_long_as_an_effect_takes() {
    let yaml = webhook().replace("timeout: 10s", "timeout: 5m");
    let script = Script::of([("webhook.post", vec![Act::Hang])]);
    let world = World::with(script, 0, Options::default()).await;
    world.start(&yaml, 1).await;
    world.script.asked_times(1).await;
    let lease_us = i64::from(Options::default().lease_ms) * 1_000;
    for _ in 0..5 {
        let before_us = world.runs.next_due_us(&[]).await.unwrap().unwrap();
        world.clock.advance(lease_us * 2 / 3);
        let mut due_us = before_us;
        while due_us == before_us {
            tokio::task::yield_now().await;
            due_us = world.runs.next_due_us(&[]).await.unwrap().unwrap();
        }
        assert_eq!(due_us, world.now_us() + lease_us);
        let others = world
            .runs
            .claim_due(world.now_us(), lease_us, &Room::any(10))
            .await
            .unwrap();
        assert!(others.is_empty(), "nobody else gets it");
    }
    assert_eq!(world.script.asked().len(), 1);
}

#[tokio::test]
async fn an_outcome_of_a_claim_that_was_overtaken_is_dropped() {
    let world = World::new(Script::of([("webhook.post", vec![Act::Hang])]), 0).await;
    let id = world.start(&webhook(), 1).await;
    world.script.asked_times(1).await;
    // Another runner, whose clock says that the lease is over.
    let others = world
        .runs
        .claim_due(START_US + 2 * 3_600_000_000, 1, &Room::any(10))
        .await
        .unwrap();
    assert_eq!(others.len(), 1);
    world.clock.advance(10_000_000);
    world.counted(|metrics| metrics.overtaken == 1).await;
    assert!(
        world.run(&id).await.steps.is_empty(),
        "the time-out was not recorded"
    );
}

#[tokio::test]
async fn a_store_that_is_busy_is_asked_again_and_the_effect_is_not() {
    let world = World::new(Script::of([]), 0).await;
    world.runs.busy.store(2, Ordering::SeqCst);
    let id = world.start(&webhook(), 1).await;
    world.counted(|metrics| metrics.store_errors == 1).await;
    world.clock.advance(100_000);
    world.counted(|metrics| metrics.store_errors == 2).await;
    world.clock.advance(200_000);
    assert_eq!(world.ended(&id).await.state, Progress::Done);
    assert_eq!(world.script.asked().len(), 1);
}

#[tokio::test]
async fn a_step_waits_for_its_command() {
    let yaml = format!(
        "{HEAD}  - {{ id: lock, use: device.command, with: {{ device: d, command: lock, expires: 30s }} }}
  - {{ id: page, use: content.publish, with: {{ collection: c, key: \"{{{{ steps.lock.state }}}}\" }} }}\n"
    );
    let command = CommandId([3; 16]);
    let script = Script::of([("device.command", vec![Act::Wait(command)])]);
    let world = World::new(script, 0).await;
    let id = world.start(&yaml, 1).await;
    let run = world.until(&id, |run| run.state == Progress::Waiting).await;
    assert_eq!(run.steps[0].waiting_for, Some(command));
    assert_eq!(world.script.asked().len(), 1);

    // Still under way when it is looked at; then it has ended.
    world.clock.advance(60_000_000);
    let next_us = world.now_us() + 60_000_000;
    world
        .until(&id, |run| run.steps[0].next_at_us == Some(next_us))
        .await;
    let done = Ok(Performed::Done(json!({ "state": "done" })));
    world.script.commands.lock().unwrap().insert(command, done);
    world.clock.advance(60_000_000);
    let run = world.ended(&id).await;
    assert_eq!((run.state, run.steps[0].attempts), (Progress::Done, 1));
    let Effect::ContentPublish { key, .. } = &world.script.asked()[1].effect else {
        panic!()
    };
    assert_eq!(key, "done");
}

#[tokio::test]
async fn a_command_that_fails_fails_the_run() {
    let yaml = format!(
        "{HEAD}  - {{ id: lock, use: device.command, with: {{ device: d, command: lock, expires: 30s }} }}\n"
    );
    let command = CommandId([3; 16]);
    let world = World::new(
        Script::of([("device.command", vec![Act::Wait(command)])]),
        0,
    )
    .await;
    let expired = Err(Failure::permanent("d did not begin to `lock` in time"));
    world
        .script
        .commands
        .lock()
        .unwrap()
        .insert(command, expired);
    let id = world.start(&yaml, 1).await;
    world.until(&id, |run| run.state == Progress::Waiting).await;
    world.clock.advance(60_000_000);
    let run = world.ended(&id).await;
    let error = "step `lock` failed: d did not begin to `lock` in time";
    assert_eq!(run.error.as_deref(), Some(error));
}

#[tokio::test]
async fn no_more_runs_at_a_time_than_the_setting_says() {
    let hangs = (0..5).map(|_| Act::Hang).collect();
    let options = Options {
        max_concurrent_runs: 2,
        max_tenant_runs: Some(2),
        ..Options::default()
    };
    let world = World::with(Script::of([("webhook.post", hangs)]), 0, options).await;
    for seq in 1..=5 {
        world.start(&webhook(), seq).await;
    }
    for round in 1..=2_usize {
        let asked = world.script.asked_times(round * 2).await;
        assert_eq!(asked.len(), round * 2);
        assert_eq!(world.handle.metrics().in_flight, 2);
        world.clock.advance(10_000_000);
    }
    let asked = world.script.asked_times(5).await;
    let keys: std::collections::BTreeSet<_> = asked.iter().map(|asked| &asked.key).collect();
    assert!(keys.len() >= 3, "each gets its turn");
}

#[tokio::test]
async fn a_run_without_a_usable_definition_fails_and_says_so() {
    use stencil_store::{RunId, Trigger, Workflows};
    let world = World::new(Script::of([]), 0).await;
    let trigger = |workflow: &str, n: u8| Trigger {
        run: RunId([n; 32]),
        tenant: tenant(),
        workflow: workflow.to_owned(),
        version: 1,
        event: json!({}),
        at_us: 0,
        not_before_us: None,
    };
    world
        .store
        .put(&tenant(), "broken", 1, "id: broken\nwat: 1\n", 0)
        .await
        .unwrap();
    for (workflow, n, says) in [
        ("gone", 1, "there is no version 1 of workflow `gone`"),
        (
            "broken",
            2,
            "line 2, column 1: `wat` is not a key of a workflow",
        ),
    ] {
        world.runs.trigger(&trigger(workflow, n)).await.unwrap();
        world.handle.wake();
        let run = world.ended(&RunId([n; 32])).await;
        assert_eq!(run.state, Progress::Failed);
        assert!(
            run.error.as_ref().unwrap().contains(says),
            "{:?}",
            run.error
        );
    }
}

#[tokio::test]
async fn told_to_stop_it_leaves_what_hangs_to_the_next_start() {
    let world = World::new(Script::of([("webhook.post", vec![Act::Hang])]), 0).await;
    let id = world.start(&webhook(), 1).await;
    world.script.asked_times(1).await;
    world.stop.send_replace(true);
    while !world.running.is_finished() {
        world.clock.advance(100_000);
        tokio::task::yield_now().await;
    }
    let waited_us = world.now_us() - START_US;
    assert!(
        waited_us >= i64::from(Options::default().drain_ms) * 1_000,
        "{waited_us}"
    );
    assert_eq!(world.run(&id).await.state, Progress::Running);
    assert!(
        world.runs.next_due_us(&[]).await.unwrap().is_some(),
        "it is claimed again later"
    );
}
