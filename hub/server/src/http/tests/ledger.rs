//! The loss ledger and the quarantine.

use serde_json::json;
use stencil_protocol::ledger::BootLedger;

use super::Served;

#[tokio::test]
async fn each_number_is_accounted_for() {
    let served = Served::start().await;
    let list = served.read("/api/v1/ledger").await.ok();
    assert_eq!(list["items"][0]["device"], "freezer-marked");
    assert_eq!(list["items"][0]["boot"], 4);
    let ledger = &list["items"][0]["ledger"];
    assert_eq!(ledger["stored"], json!([[1, 120]]));
    assert_eq!(ledger["dropped"], json!({ "buffer_full": [[121, 122]] }));
    // It can be read back and held against the device's own numbers.
    let read: BootLedger = serde_json::from_value(ledger.clone()).unwrap();
    assert!(read.gaps().is_empty());
    let own = served
        .read("/api/v1/devices/freezer-marked/ledger")
        .await
        .ok();
    assert_eq!(own["items"], list["items"]);
    let foreign = served
        .read("/api/v1/devices/a-foreign-marked/ledger")
        .await
        .ok();
    assert_eq!(foreign["items"], json!([]));
}

#[tokio::test]
async fn what_was_not_understood_is_shown() {
    let served = Served::start().await;
    let item = &served.read("/api/v1/quarantine").await.ok()["items"][0];
    assert_eq!(item["reason"], "not a batch");
    assert_eq!(item["payload"], "ff00");
    assert_eq!(item["device"], "freezer-marked");
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let served = Served::start().await;
    for path in ["/api/v1/ledger?limit=0", "/api/v1/quarantine?after=never"] {
        served.read(path).await.problem(400);
    }
    served
        .read("/api/v1/devices/none/ledger")
        .await
        .problem(404);
}
