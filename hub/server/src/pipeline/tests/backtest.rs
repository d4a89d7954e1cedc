//! What a backtest says is what the pipeline did, for the same rule and samples that came in order.

use proptest::prelude::*;
use stencil_store::{Commit, sqlite};
use stencil_workflow::definition;

use super::harness::{
    Entry, Harness, Item, RECEIVED_US, batch, device, publish_batch, since_1970, tenant,
};
use crate::backtest::{BacktestOptions, Backtests, Question};

const DEVICES: [&str; 2] = ["freezer-1", "freezer-2"];
const S: i64 = 1_000_000;
/// Two samples of one device are less than a day apart.
const DAY_US: i64 = 86_400 * S;

const CONDITIONS: [&str; 6] = [
    "{ above: 0.5 }",
    "{ above: 0.5, clear: -0.5 }",
    "{ below: 0.0, for: 3s }",
    "{ above: 0.0, clear: -1.0, for: 5s }",
    "{ expr: \"event.value > 0.25 && event.value < 2.0\", for: 1s }",
    "{ rate: { over: 10s, above: 0.1 } }",
];

fn rule(condition: &str) -> String {
    format!(
        "id: rule\nversion: 1\non: {{ telemetry: {{ devices: \"freezer-*\", name: t }} }}\n\
         when: {condition}\n\
         steps:\n  - {{ id: page, use: content.publish, with: {{ collection: notices, key: a }} }}\n"
    )
}

/// A sample: of which device, how long after the one before, and what. In quarters, so that limits
/// are met exactly now and then.
type Sampled = (usize, i64, i32);

fn sampled() -> impl Strategy<Value = Sampled> {
    (0..DEVICES.len(), 1..4 * S, -12..12_i32)
}

/// Device, since when, and when: what fired.
type Fired = Vec<(String, i64, i64)>;

/// What the pipeline did, and what a backtest over what it stored says.
fn both(condition: &str, samples: &[Sampled]) -> (Fired, Fired) {
    let yaml = rule(condition);
    let version = Some(1);
    let mut log = vec![Entry::Activate {
        workflow: "rule".to_owned(),
        version,
    }];
    let mut time_us = RECEIVED_US - DAY_US;
    let mut given = [0; DEVICES.len()];
    for (at, after_us, quarters) in samples {
        time_us += after_us;
        given[*at] += 1;
        let item = Item::Number("t", time_us, f64::from(*quarters) / 4.0);
        let payload = batch(1, given[*at], given[*at], None, &[item]);
        log.push(publish_batch(&device(DEVICES[*at]), payload));
    }
    let mut harness = Harness::with(&log, since_1970(), &[&yaml]);
    let disk = harness.finish();
    let mut did: Fired = disk
        .triggers
        .values()
        .map(|trigger| {
            let event = &trigger.event;
            let device = event["device"].as_str().unwrap().to_owned();
            (device, event["since_us"].as_i64().unwrap(), trigger.at_us)
        })
        .collect();
    did.sort();

    let commit = Commit {
        position: 1,
        points: disk.points.clone().into(),
        twins: disk.twins.values().cloned().collect(),
        ..Commit::default()
    };
    let definition = definition::parse(&yaml).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let said = runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite::open(folder.path().join("hub.db"))
            .await
            .unwrap()
            .store();
        store.tenancy.create_tenant(&tenant(), 0).await.unwrap();
        store.pipeline.commit(commit).await.unwrap();
        let question = Question {
            tenant: &tenant(),
            definition: &definition,
            from_us: RECEIVED_US - DAY_US,
            to_us: RECEIVED_US,
            device: None,
            max_devices: None,
        };
        let backtests = Backtests::new(BacktestOptions::default());
        backtests.run(&store, &question).await.unwrap()
    });
    assert_eq!(said.would_run, said.firings.len() as u64);
    let firings = said.firings.into_iter();
    let mut would: Fired = firings
        .map(|firing| (firing.device.to_string(), firing.since_us, firing.at_us))
        .collect();
    would.sort();
    (did, would)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn it_would_have_fired_when_it_did(
        condition in prop::sample::select(&CONDITIONS[..]),
        samples in prop::collection::vec(sampled(), 1..80),
    ) {
        let (did, would) = both(condition, &samples);
        prop_assert_eq!(did, would, "{}", condition);
    }
}

#[test]
fn each_condition_fires_at_all() {
    // A slow wave, over its limits for long.
    let wave = |n: i32| ((n % 24) - 12).abs() - 6;
    let samples: Vec<Sampled> = (0..100)
        .flat_map(|n| [(0, S, wave(n)), (1, S, wave(n))])
        .collect();
    for condition in CONDITIONS {
        let (did, would) = both(condition, &samples);
        assert!(did.len() >= 4, "{condition} fired {} times", did.len());
        assert_eq!(did, would, "{condition}");
    }
}
