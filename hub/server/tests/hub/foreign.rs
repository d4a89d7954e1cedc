//! A device that was made for another platform.

use stencil_protocol::sample::OwnedValue;

use crate::support::{TestHub, device, tenant};

const TOPIC: &str = "v1/devices/me/telemetry";

#[tokio::test]
async fn foreign_json_shows_up_and_repetitions_do_not() {
    let test = TestHub::start().await;
    let kiosk = test.foreign("kiosk").await;
    let values = r#"{"ts": 1700000000000, "values": {"temperature": 21.5, "door": "open"}}"#;
    kiosk.publish(TOPIC, values).await.unwrap();
    test.hub().caught_up().await.unwrap();
    // Once more after it is stored; its value must not replace the first.
    let again = r#"{"ts": 1700000000000, "values": {"temperature": 99.9}}"#;
    kiosk.publish(TOPIC, again).await.unwrap();
    kiosk
        .publish(TOPIC, r#"[{"temperature": 22}, {"nested": {"a": 1}}]"#)
        .await
        .unwrap();
    test.hub().caught_up().await.unwrap();

    let (store, acme, kiosk) = (test.hub().store(), tenant("acme"), device("kiosk"));
    let points = store
        .series
        .range(&acme, &kiosk, "temperature", 0, i64::MAX, 10)
        .await
        .unwrap();
    assert_eq!(points.len(), 2);
    assert_eq!(points[0].time_us, 1_700_000_000_000_000);
    assert_eq!(points[0].value, OwnedValue::Number(21.5));
    assert_eq!(points[1].value, OwnedValue::Integer(22));
    let latest = store.devices.latest(&acme, &kiosk).await.unwrap();
    let door = latest.iter().find(|latest| latest.name == "door").unwrap();
    assert_eq!(door.value, OwnedValue::Text("open".to_owned()));
    assert!(
        !door.link.as_ref().unwrap().post_quantum,
        "plain TCP is not"
    );
    let known = store.devices.get(&acme, &kiosk).await.unwrap().unwrap();
    assert!(!known.numbered);
    let quarantine = store.ledger.quarantine(&acme, None, 10).await.unwrap();
    assert_eq!(quarantine.items[0].path.as_deref(), Some("$[1].nested"));
    assert_eq!(test.hub().metrics().samples_duplicate(), 1);
}
