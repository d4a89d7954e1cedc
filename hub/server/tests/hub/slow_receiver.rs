//! A receiver of webhooks that never answers: other tenants' pages are published at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stencil_store::RunFilter;

use crate::support::{Sampled, TestHub, batch, eventually, tenant};

const HEAD: &str = r#"
id: freezer-warm
version: 1
on: { telemetry: { devices: "freezer-*", name: temperature } }
when: { above: 0.0 }
steps:
"#;

#[tokio::test]
async fn another_tenants_pages_are_published() {
    // It takes connections and what comes over them, and says nothing.
    let receiver = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", receiver.local_addr().unwrap());
    let posted = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&posted);
    let receiving = tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            open.push(receiver.accept().await.unwrap());
            counting.fetch_add(1, Ordering::SeqCst);
        }
    });

    let test = TestHub::start_with(|options| {
        options.workflow.runner.max_concurrent_runs = 8;
        options.workflow.runner.drain_ms = 0;
        options.connect.webhook.allow_loopback = true;
    })
    .await;
    let (acme, umbrella) = (tenant("acme"), tenant("umbrella"));
    stencil_server::init(&test.data_dir(), &umbrella, &["localhost"])
        .await
        .unwrap();
    let hook = format!(
        "{HEAD}  - {{ id: tell, use: webhook.post, with: {{ url: \"{url}\", body: 1 }}, timeout: 5m }}\n"
    );
    let page = format!(
        "{HEAD}  - {{ id: notice, use: content.upsert, with: {{ collection: notices, \
         key: \"{{{{ event.device }}}}\", set: {{ title: warm }} }} }}\n  \
         - {{ id: page, use: content.publish, with: {{ collection: notices, \
         key: \"{{{{ event.device }}}}\" }} }}\n"
    );
    test.hub().put_workflow(&acme, &hook).await.unwrap();
    test.hub().put_workflow(&umbrella, &page).await.unwrap();

    let warm = batch(1, 1, &[Sampled("temperature", 5.0, 1)]);
    let gateway = test.gateway("gw-1").await;
    for n in 1..=20 {
        let topic = format!("stencil/v1/d/freezer-{n}/batch");
        gateway.publish(&topic, warm.clone()).await.unwrap();
    }
    let posts = || posted.load(Ordering::SeqCst);
    eventually("its share of webhooks hangs", || async { posts() >= 2 }).await;

    let other = test.gateway_of("umbrella", "gw-1").await;
    for n in 1..=5 {
        let topic = format!("stencil/v1/d/freezer-{n}/batch");
        other.publish(&topic, warm.clone()).await.unwrap();
    }
    let content = &test.hub().store().content;
    eventually("five pages are published", || async {
        let mut published = 0;
        for n in 1..=5 {
            let key = format!("freezer-{n}");
            let entry = content.published(&umbrella, "notices", &key).await;
            published += usize::from(entry.unwrap().is_some());
        }
        published == 5
    })
    .await;
    assert_eq!(posts(), 2, "a quarter of 8");
    let runs = &test.hub().store().runs;
    let waiting = runs
        .list(&acme, &RunFilter::default(), None, 100)
        .await
        .unwrap();
    assert_eq!(waiting.items.len(), 20);
    assert!(waiting.items.iter().all(|run| !run.state.is_final()));
    receiving.abort();
    test.running.shutdown().await.unwrap();
}
