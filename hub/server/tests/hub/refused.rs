//! What is not understood is set aside; what is not allowed is refused.

use stencil_protocol::id::Boot;

use crate::support::{Client, Sampled, TestHub, batch, device, tenant};

#[tokio::test]
async fn a_malformed_payload_is_quarantined_and_the_next_is_kept() {
    let test = TestHub::start().await;
    let gateway = test.gateway("gw-1").await;
    let topic = "stencil/v1/d/freezer-1/batch";
    gateway
        .publish(topic, b"\x00 not a batch".to_vec())
        .await
        .unwrap();
    gateway
        .publish(topic, batch(1, 1, &[Sampled("t", 1.0, 1)]))
        .await
        .unwrap();
    test.hub().caught_up().await.unwrap();
    let (store, acme) = (test.hub().store(), tenant("acme"));
    let quarantine = store.ledger.quarantine(&acme, None, 10).await.unwrap();
    assert_eq!(quarantine.items.len(), 1);
    assert_eq!(quarantine.items[0].device, Some(device("freezer-1")));
    assert_eq!(quarantine.items[0].topic, topic);
    assert!(
        quarantine.items[0].reason.starts_with("batch: "),
        "{:?}",
        quarantine.items
    );
    assert_eq!(quarantine.items[0].payload, b"\x00 not a batch");
    let ledger = store
        .ledger
        .of_device(&acme, &device("freezer-1"), None, 10)
        .await
        .unwrap();
    assert_eq!(ledger.items[0].boot, Boot(1));
    assert_eq!(test.hub().metrics().quarantined(), 1);
}

#[tokio::test]
async fn topics_of_others_are_refused_and_nothing_of_it_is_kept() {
    let test = TestHub::start().await;
    let kiosk = test.foreign("kiosk").await;
    let payload = batch(1, 1, &[Sampled("t", 1.0, 1)]);
    for topic in [
        "stencil/v1/d/freezer-1/batch",
        "stencil/v1/d/kiosk/link",
        "stencil/v1/g/gw-1/command",
    ] {
        let refused = kiosk
            .publish(topic, payload.clone())
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.contains("NotAuthorized"), "{topic}: {refused}");
    }
    assert!(!kiosk.subscribe("stencil/v1/g/gw-1/command").await);
    assert!(!kiosk.subscribe("#").await);
    // Its own is taken, on the same connection.
    kiosk
        .publish("stencil/v1/d/kiosk/batch", payload)
        .await
        .unwrap();
    test.hub().caught_up().await.unwrap();
    let store = test.hub().store();
    assert_eq!(store.devices.count(&tenant("acme")).await.unwrap(), 1);
    assert!(
        store
            .devices
            .get(&tenant("acme"), &device("kiosk"))
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn two_tenants_with_the_same_names_never_meet() {
    let test = TestHub::start().await;
    stencil_server::init(&test.data_dir(), &tenant("umbrella"), &["localhost"])
        .await
        .unwrap();
    let ours = test.gateway_of("acme", "gw-1").await;
    let theirs = test.gateway_of("umbrella", "gw-1").await;
    let topic = "stencil/v1/d/freezer-1/batch";
    ours.publish(topic, batch(1, 1, &[Sampled("t", 1.0, 1)]))
        .await
        .unwrap();
    theirs
        .publish(topic, batch(1, 1, &[Sampled("t", 2.0, 1)]))
        .await
        .unwrap();
    assert!(
        ours.is_connected(),
        "the same client id of another tenant takes nothing over"
    );
    test.hub().caught_up().await.unwrap();
    for (of, value) in [("acme", 1.0), ("umbrella", 2.0)] {
        let latest = test
            .hub()
            .store()
            .devices
            .latest(&tenant(of), &device("freezer-1"))
            .await
            .unwrap();
        assert_eq!(
            latest[0].value,
            stencil_protocol::sample::OwnedValue::Number(value),
            "{of}"
        );
    }
}

#[tokio::test]
async fn who_has_no_credential_stays_out() {
    let test = TestHub::start().await;
    let plain = test.running.addresses().plain.unwrap();
    for token in [
        "",
        "guess",
        "sd_0000000000000000000000000000000000000000000",
    ] {
        assert!(
            Client::try_token("x", plain, token).await.is_err(),
            "{token}"
        );
    }
    // An API token opens HTTP, not MQTT.
    let kind = stencil_store::TokenKind::Api {
        role: stencil_store::Role::Admin,
    };
    let tenancy = &test.hub().store().tenancy;
    let token = tenancy
        .create_token(&tenant("acme"), kind, "api", None, 1)
        .await
        .unwrap();
    assert!(
        Client::try_token("x", plain, token.secret.reveal())
            .await
            .is_err()
    );
    // A revoked one opens nothing.
    let kind = stencil_store::TokenKind::Device {
        device: device("kiosk"),
    };
    let token = tenancy
        .create_token(&tenant("acme"), kind, "kiosk", None, 1)
        .await
        .unwrap();
    Client::with_token("kiosk", plain, token.secret.reveal()).await;
    tenancy
        .revoke_token(&tenant("acme"), &token.token.id, 2)
        .await
        .unwrap();
    assert!(
        Client::try_token("kiosk", plain, token.secret.reveal())
            .await
            .is_err()
    );
}
