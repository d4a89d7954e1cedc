//! From a sample to a published page and a locked door.

use std::time::Duration;

use stencil_protocol::command::{Command, MAX_STATUS_BYTES, State, Status};
use stencil_server::Error;
use stencil_store::{Progress, Run, RunFilter};

use crate::support::{Sampled, TestHub, batch, device, eventually, tenant};

fn yaml(version: u32, above: f64) -> String {
    format!(
        r#"
id: freezer-warm
version: {version}
on: {{ telemetry: {{ devices: "freezer-*", name: temperature }} }}
when: {{ above: {above:?}, for: 2s }}
steps:
  - id: notice
    use: content.upsert
    with:
      collection: notices
      key: "{{{{ event.device }}}}"
      set: {{ title: "v{version}: {{{{ event.device }}}} is warm", value: "{{{{ event.value }}}}" }}
  - {{ id: page, use: content.publish, with: {{ collection: notices, key: "{{{{ event.device }}}}" }} }}
  - id: lock
    use: device.command
    with:
      device: "lock-{{{{ event.device | replace('freezer-', '') }}}}"
      command: lock
      expires: 30s
"#
    )
}

async fn runs(test: &TestHub) -> Vec<Run> {
    let filter = RunFilter::default();
    test.hub()
        .store()
        .runs
        .list(&tenant("acme"), &filter, None, 100)
        .await
        .unwrap()
        .items
}

/// Samples a second apart.
fn seconds(first: u64, values: &[f64]) -> Vec<u8> {
    let base = 1_700_000_000_000_000;
    let samples: Vec<Sampled> = (first..)
        .zip(values)
        .map(|(at, value)| {
            Sampled(
                "temperature",
                *value,
                base + i64::try_from(at).unwrap() * 1_000_000,
            )
        })
        .collect();
    batch(1, first, &samples)
}

#[tokio::test]
async fn a_warm_freezer_is_published_and_its_door_locked() {
    let test = TestHub::start().await;
    let put = test
        .hub()
        .put_workflow(&tenant("acme"), &yaml(1, -12.0))
        .await
        .unwrap();
    assert_eq!(
        (put.id.as_str(), put.version, put.created),
        ("freezer-warm", 1, true)
    );

    let mut gw = test.gateway("gw-1").await;
    assert!(gw.subscribe("stencil/v1/g/gw-1/command").await);
    // The lock is heard of, so that its gateway is known.
    gw.publish(
        "stencil/v1/d/lock-07/batch",
        batch(1, 1, &[Sampled("locked", 0.0, 1)]),
    )
    .await
    .unwrap();
    gw.publish(
        "stencil/v1/d/freezer-07/batch",
        seconds(1, &[-18.0, -11.0, -10.0, -9.0, -8.0]),
    )
    .await
    .unwrap();

    let (_, payload) = gw.next().await;
    let command = Command::decode(&payload).unwrap();
    assert_eq!(
        (command.name, command.device.clone()),
        ("lock", device("lock-07"))
    );

    let content = &test.hub().store().content;
    let page = content
        .published(&tenant("acme"), "notices", "freezer-07")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(page.version.fields["title"], "v1: freezer-07 is warm");

    for state in [State::Acknowledged, State::Done] {
        let status = Status {
            id: command.id,
            state,
            at_us: 1,
            detail: None,
        };
        let mut bytes = vec![0; MAX_STATUS_BYTES];
        let length = status.encode(&mut bytes).unwrap();
        gw.publish("stencil/v1/d/lock-07/status", &bytes[..length])
            .await
            .unwrap();
    }
    eventually("the run is done", || async {
        runs(&test)
            .await
            .iter()
            .all(|run| run.state == Progress::Done)
    })
    .await;
    let runs = runs(&test).await;
    assert_eq!(runs.len(), 1);
    assert_eq!(
        runs[0].event["seq"], 4,
        "two seconds after the first warm sample"
    );
    assert_eq!(runs[0].steps.len(), 3);
    test.running.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_new_version_rules_at_once_and_runs_keep_theirs() {
    let test = TestHub::start().await;
    let gw = test.gateway("gw-1").await;
    let topic = "stencil/v1/d/freezer-1/batch";
    let acme = tenant("acme");
    test.hub().put_workflow(&acme, &yaml(1, 0.0)).await.unwrap();
    gw.publish(topic, seconds(1, &[5.0, 5.0, 5.0, -5.0]))
        .await
        .unwrap();
    // Put while the first may not even be applied yet: its place is in the log.
    test.hub()
        .put_workflow(&acme, &yaml(2, 10.0))
        .await
        .unwrap();
    gw.publish(topic, seconds(5, &[5.0, 5.0, 5.0, 50.0, 50.0, 50.0, -5.0]))
        .await
        .unwrap();
    test.hub()
        .activate_workflow(&acme, "freezer-warm", None)
        .await
        .unwrap();
    gw.publish(topic, seconds(12, &[50.0, 50.0, 50.0]))
        .await
        .unwrap();
    test.hub().caught_up().await.unwrap();
    let mut fired: Vec<_> = runs(&test)
        .await
        .iter()
        .map(|run| (run.version, run.event["seq"].as_u64().unwrap()))
        .collect();
    fired.sort_unstable();
    assert_eq!(fired, [(1, 3), (2, 10)]);

    // Still so after a restart, and what was out of force stays out.
    let test = test.restart().await;
    let gw = test.gateway("gw-1").await;
    gw.publish(topic, seconds(15, &[-5.0, 50.0, 50.0, 50.0]))
        .await
        .unwrap();
    test.hub().caught_up().await.unwrap();
    assert_eq!(runs(&test).await.len(), 2);
    test.hub()
        .activate_workflow(&acme, "freezer-warm", Some(1))
        .await
        .unwrap();
    gw.publish(topic, seconds(19, &[5.0, 5.0, 5.0]))
        .await
        .unwrap();
    test.hub().caught_up().await.unwrap();
    let runs = runs(&test).await;
    assert_eq!(runs.len(), 3);
    assert!(
        runs.iter()
            .any(|run| run.version == 1 && run.event["seq"] == 21),
        "{runs:?}"
    );
}

#[tokio::test]
async fn what_a_rule_has_seen_survives_a_restart() {
    let test = TestHub::start().await;
    test.hub()
        .put_workflow(&tenant("acme"), &yaml(1, 0.0))
        .await
        .unwrap();
    let topic = "stencil/v1/d/freezer-1/batch";
    let gw = test.gateway("gw-1").await;
    gw.publish(topic, seconds(1, &[5.0, 5.0])).await.unwrap();
    drop(gw);
    let test = test.restart().await;
    let gw = test.gateway("gw-1").await;
    gw.publish(topic, seconds(3, &[5.0])).await.unwrap();
    test.hub().caught_up().await.unwrap();
    assert_eq!(runs(&test).await.len(), 1);
}

#[tokio::test]
async fn a_change_that_a_kill_kept_from_the_log_is_in_force_after_the_start() {
    let test = TestHub::start().await;
    let acme = tenant("acme");
    test.hub().put_workflow(&acme, &yaml(1, 0.0)).await.unwrap();
    // What a kill between the store and the log leaves.
    let (text, now_us) = (yaml(2, 10.0), test.hub().now_us());
    test.hub()
        .store()
        .workflows
        .put(&acme, "freezer-warm", 2, &text, now_us)
        .await
        .unwrap();
    let test = test.restart().await;
    // A change of a user comes after it.
    test.hub()
        .put_workflow(&acme, &yaml(3, 20.0))
        .await
        .unwrap();
    let gw = test.gateway("gw-1").await;
    gw.publish(
        "stencil/v1/d/freezer-1/batch",
        seconds(1, &[15.0, 15.0, 15.0, 25.0, 25.0, 25.0]),
    )
    .await
    .unwrap();
    test.hub().caught_up().await.unwrap();
    let runs = runs(&test).await;
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].version, &runs[0].event["seq"]), (3, &6.into()));
}

#[tokio::test]
async fn bad_definitions_and_too_many_are_refused() {
    let test = TestHub::start_with(|options| options.workflow.max_active = 1).await;
    let acme = tenant("acme");
    let error = test
        .hub()
        .put_workflow(&acme, "id: x\nversions: 1\n")
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("line 2") && text.contains("did you mean `version`"),
        "{text}"
    );
    test.hub().put_workflow(&acme, &yaml(1, 0.0)).await.unwrap();
    let again = test.hub().put_workflow(&acme, &yaml(1, 0.0)).await.unwrap();
    assert!(!again.created);
    let changed = test.hub().put_workflow(&acme, &yaml(1, 1.0)).await;
    assert!(matches!(
        changed,
        Err(Error::Store(stencil_store::Error::Conflict(_)))
    ));
    let other = yaml(1, 0.0).replace("freezer-warm", "another");
    let many = test.hub().put_workflow(&acme, &other).await;
    assert!(
        matches!(many, Err(Error::TooManyWorkflows { max: 1 })),
        "{many:?}"
    );
    // Another tenant has its own.
    stencil_server::init(&test.data_dir(), &tenant("umbrella"), &["localhost"])
        .await
        .unwrap();
    test.hub()
        .put_workflow(&tenant("umbrella"), &other)
        .await
        .unwrap();
    tokio::time::timeout(Duration::from_secs(10), test.running.shutdown())
        .await
        .unwrap()
        .unwrap();
}
