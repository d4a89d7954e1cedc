//! History is freed when the operator says so, and not before.

use stencil_store::RunFilter;

use crate::support::{Sampled, TestHub, batch, device, eventually, tenant};

const DAY_US: i64 = 86_400 * 1_000_000;

#[tokio::test]
async fn what_is_older_than_its_bound_goes() {
    let test = TestHub::start_with(|options| {
        options.retention.series_days = Some(30);
        options.retention.runs_days = Some(30);
        options.retention.sweep_interval_s = 1;
        // So that chunks are sealed, which is what is freed.
        options.store.max_unsealed_points = 2;
        options.store.chunk_points = 2;
    })
    .await;
    let acme = tenant("acme");
    let yaml = "id: any\nversion: 1\n\
        on: { telemetry: { devices: \"*\", name: t } }\nwhen: { above: 0 }\n\
        steps:\n  - id: page\n    use: content.upsert\n    \
        with: { collection: notices, key: warm, set: { at: \"{{ event.seq }}\" } }\n";
    test.hub().put_workflow(&acme, yaml).await.unwrap();
    let gateway = test.gateway("gw-1").await;
    let now_us = test.hub().now_us();
    let samples: Vec<Sampled> = [100, 99, 98, 97, 2, 1]
        .map(|days| Sampled("t", 1.0, now_us - days * DAY_US))
        .to_vec();
    gateway
        .publish("stencil/v1/d/freezer-1/batch", batch(1, 1, &samples))
        .await
        .unwrap();
    test.hub().caught_up().await.unwrap();
    let (store, freezer) = (test.hub().store(), device("freezer-1"));
    eventually("old points are gone", || async {
        let points = store
            .series
            .range(&acme, &freezer, "t", 0, i64::MAX, 10)
            .await
            .unwrap();
        points.len() == 2
    })
    .await;
    // The run ended just now, whatever its event's time.
    eventually("the run is done", || async {
        let runs = store
            .runs
            .list(&acme, &RunFilter::default(), None, 10)
            .await
            .unwrap();
        runs.items.len() == 1 && runs.items[0].ended_us.is_some()
    })
    .await;
}
