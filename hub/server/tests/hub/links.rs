//! Devices whose gateway is gone are not shown as linked.

use stencil_protocol::report::{Link, LinkEvent};
use stencil_server::{LiveEvent, Next};

use crate::support::{Client, Sampled, TestHub, batch, device, eventually, gateway, tenant};

const UP: Link = Link::Connected { suite: 1 };

/// The gateway says what became of a device's link.
async fn link(client: &Client, name: &str, at_us: i64, link: Link) {
    let event = LinkEvent {
        device: device(name),
        gateway: gateway("gw-1"),
        at_us,
        event: link,
    };
    let topic = format!("stencil/v1/d/{name}/link");
    client.publish(&topic, event.encode()).await.unwrap();
}

/// The device's sample with this number.
async fn sample(client: &Client, name: &str, seq: u64) {
    let time_us = i64::try_from(seq).unwrap();
    let payload = batch(1, seq, &[Sampled("t", 1.0, time_us)]);
    let topic = format!("stencil/v1/d/{name}/batch");
    client.publish(&topic, payload).await.unwrap();
}

async fn linked(test: &TestHub, name: &str) -> bool {
    test.hub().caught_up().await.unwrap();
    let devices = &test.hub().store().devices;
    let found = devices.get(&tenant("acme"), &device(name)).await.unwrap();
    found.unwrap().connected.unwrap()
}

/// The same of all devices, by their list.
async fn all_linked(test: &TestHub) -> Vec<bool> {
    let devices = &test.hub().store().devices;
    let listed = devices.list(&tenant("acme"), None, 10).await.unwrap();
    let linked = listed.items.iter().map(|device| device.connected.unwrap());
    linked.collect()
}

/// A hub with two devices that are linked.
async fn two_linked() -> (TestHub, Client) {
    let test = TestHub::start().await;
    let gw = test.gateway("gw-1").await;
    for name in ["lock-1", "room-1"] {
        link(&gw, name, 10, UP).await;
        sample(&gw, name, 1).await;
        assert!(linked(&test, name).await, "{name}");
    }
    (test, gw)
}

#[tokio::test]
async fn they_are_again_when_they_are_heard_of() {
    let (test, gw) = two_linked().await;
    let mut live = test.hub().live().subscribe(tenant("acme"));
    assert_eq!(all_linked(&test).await, [true, true]);
    drop(gw);
    eventually("both are cut off", || async {
        !linked(&test, "lock-1").await && !linked(&test, "room-1").await
    })
    .await;
    assert_eq!(all_linked(&test).await, [false, false]);
    let Next::Event(LiveEvent::GatewayLost { gateway, .. }) = live.next().await else {
        panic!("the gateway's end is shown")
    };
    assert_eq!(gateway.as_str(), "gw-1");

    let gw = test.gateway("gw-1").await;
    sample(&gw, "room-1", 2).await;
    assert!(linked(&test, "room-1").await);
    assert!(
        !linked(&test, "lock-1").await,
        "nothing was heard of it yet"
    );
    link(&gw, "lock-1", 20, UP).await;
    assert!(linked(&test, "lock-1").await);
}

#[tokio::test]
async fn what_a_gateway_tells_late_still_holds() {
    let (test, gw) = two_linked().await;
    drop(gw);
    eventually("cut off", || async { !linked(&test, "room-1").await }).await;
    // While it was away the device's link ended; a sample from before comes late.
    let gw = test.gateway("gw-1").await;
    link(&gw, "room-1", 20, Link::Disconnected).await;
    sample(&gw, "room-1", 2).await;
    assert!(!linked(&test, "room-1").await);
    link(&gw, "room-1", 30, UP).await;
    assert!(linked(&test, "room-1").await);
    // An end that is older than that.
    link(&gw, "room-1", 25, Link::Disconnected).await;
    assert!(linked(&test, "room-1").await);
}

#[tokio::test]
async fn a_session_that_is_taken_over_cuts_nobody_off() {
    let (test, old) = two_linked().await;
    let mut live = test.hub().live().subscribe(tenant("acme"));
    let new = test.gateway("gw-1").await;
    eventually("the old connection ends", || async { !old.is_connected() }).await;
    drop(old);
    assert!(linked(&test, "lock-1").await);
    // The next thing that happens is not the loss of the gateway.
    link(&new, "lock-1", 20, UP).await;
    let next = live.next().await;
    assert!(
        matches!(next, Next::Event(LiveEvent::Link { connected, .. }) if connected),
        "{next:?}"
    );
}

#[tokio::test]
async fn after_a_start_nobody_is_until_it_is_heard_of() {
    let (test, gw) = two_linked().await;
    let test = test.restart().await;
    drop(gw);
    assert!(!linked(&test, "lock-1").await && !linked(&test, "room-1").await);
    let gw = test.gateway("gw-1").await;
    assert!(!linked(&test, "room-1").await);
    sample(&gw, "room-1", 2).await;
    assert!(linked(&test, "room-1").await);
    assert!(!linked(&test, "lock-1").await);
}
