//! A disk without room: nothing is acknowledged that is not kept, reading works, and it goes on by
//! itself when there is room.

use rustls::crypto::aws_lc_rs;

use crate::support::{Client, device};
use crate::support::{HubProcess, Sampled, batch, eventually, gateway, prepare, tenant};

const TOPIC: &str = "stencil/v1/d/freezer-1/batch";

fn sample(seq: u64) -> Vec<u8> {
    batch(1, seq, &[Sampled("t", 1.0, i64::try_from(seq).unwrap())])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_or_lost_while_the_disk_is_full() {
    let _ = aws_lc_rs::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().to_owned();
    let token = prepare(&data_dir).await.admin_token;
    let acme = tenant("acme");
    let files = stencil_server::add_gateway(&data_dir, &acme, &gateway("gw-1"), &data_dir).unwrap();
    let hub = HubProcess::start(&data_dir, "");
    let client = Client::with_certificate("gw-1", hub.strict, &files).await;
    client.publish(TOPIC, sample(1)).await.unwrap();

    let http = reqwest::Client::new();
    let get = |path: &str| {
        let request = http.get(format!("http://{}{path}", hub.http));
        request.bearer_auth(token.reveal()).send()
    };
    let ready = || async { get("/readyz").await.unwrap().status() == 200 };
    let stored = || async {
        let ledger = get("/api/v1/ledger").await.unwrap().text().await.unwrap();
        let ledger: serde_json::Value = serde_json::from_str(&ledger).unwrap();
        ledger["items"][0]["ledger"]["stored"].clone()
    };
    eventually("the first is stored", || async {
        stored().await == serde_json::json!([[1, 1]])
    })
    .await;

    hub.limit_files(Some(0));
    let waiting = tokio::spawn(async move {
        for seq in 2..=20 {
            client.publish(TOPIC, sample(seq)).await.unwrap();
        }
    });
    eventually("it says that it is not ready", || async { !ready().await }).await;
    let problem = get("/readyz").await.unwrap().text().await.unwrap();
    assert!(problem.contains("cannot write"), "{problem}");
    assert!(!waiting.is_finished(), "nothing could be kept");
    // Reading works.
    let devices = get("/api/v1/devices").await.unwrap();
    assert_eq!(devices.status(), 200);
    assert!(
        devices
            .text()
            .await
            .unwrap()
            .contains(device("freezer-1").as_str())
    );
    assert!(!waiting.is_finished());

    hub.limit_files(None);
    waiting.await.unwrap();
    eventually("all is stored", || async {
        stored().await == serde_json::json!([[1, 20]])
    })
    .await;
    eventually("it is ready", ready).await;
}
