//! What is erased is gone, at its place in the log and through kills; what comes later is new.

use std::path::Path;

use stencil_protocol::batch::DropReason;
use stencil_protocol::id::DeviceId;
use stencil_protocol::report::{Link, LinkEvent};
use stencil_server::Service;
use stencil_store::{AlarmFilter, LedgerRow, RunFilter, Store};

use crate::support::{
    Client, HubProcess, Sampled, TestHub, batch, device, eventually, gateway, options, prepare,
    tenant,
};

const YAML: &str = "id: warm\nversion: 1\n\
    on: { telemetry: { devices: \"freezer-*\", name: t } }\nwhen: { above: 0 }\n\
    alarm: { severity: major }\n\
    steps:\n  - id: page\n    use: content.upsert\n    \
    with: { collection: notices, key: warm, set: { at: \"{{ event.seq }}\" } }\n";

fn topic(device: &str) -> String {
    format!("stencil/v1/d/{device}/batch")
}

/// Three samples that make the rule fire, numbered from 1.
fn three() -> Vec<u8> {
    three_from(1)
}

fn three_from(first: u64) -> Vec<u8> {
    let time_us = 1_700_000_000_000_000;
    let samples = [0, 1, 2].map(|at| Sampled("t", 5.0, time_us + at * 1_000_000));
    batch(1, first, &samples)
}

/// Whether the store lists the device, and what became of its numbers: stored, erased, missing.
async fn accounted(store: &Store, name: &DeviceId) -> (bool, [u64; 3]) {
    let acme = tenant("acme");
    let listed = store.devices.get(&acme, name).await.unwrap().is_some();
    let rows = store.ledger.of_device(&acme, name, None, 10).await.unwrap();
    let (mut stored, mut erased, mut missing) = (0, 0, 0);
    for LedgerRow { ledger, .. } in &rows.items {
        stored += ledger.stored.len();
        erased += ledger.dropped_by_reason().values().sum::<u64>();
        missing += ledger.gaps().len();
        assert!(ledger.dropped.keys().all(|it| *it == DropReason::Erased));
    }
    (listed, [stored, erased, missing])
}

/// How much there is of a device: points, stored numbers, alarms.
async fn kept(store: &Store, of: &str, name: &DeviceId) -> (usize, u64, usize) {
    let tenant = tenant(of);
    let points = store.series.range(&tenant, name, "t", 0, i64::MAX, 100);
    let ledgers = store.ledger.of_device(&tenant, name, None, 10);
    let filter = AlarmFilter {
        device: Some(name.clone()),
        ..AlarmFilter::default()
    };
    let alarms = store.alarms.list(&tenant, &filter, None, 10);
    let ledgers = ledgers.await.unwrap().items;
    (
        points.await.unwrap().len(),
        ledgers.iter().map(|row| row.ledger.stored.len()).sum(),
        alarms.await.unwrap().items.len(),
    )
}

#[tokio::test]
async fn a_device_is_gone_and_may_come_back_as_a_new_one() {
    let test = TestHub::start().await;
    let acme = tenant("acme");
    test.hub().put_workflow(&acme, YAML).await.unwrap();
    let gw = test.gateway("gw-1").await;
    let (one, two) = (device("freezer-1"), device("freezer-2"));
    for name in [&one, &two] {
        gw.publish(&topic(name.as_str()), three()).await.unwrap();
    }
    // Not waited for: what was taken in before is erased, too.
    test.hub().erase_device(&acme, &one).await.unwrap();
    let store = test.hub().store();
    assert_eq!(kept(store, "acme", &one).await, (0, 0, 0));
    assert_eq!(store.devices.get(&acme, &one).await.unwrap(), None);
    assert_eq!(kept(store, "acme", &two).await, (3, 3, 1));
    // What it made happen stays.
    let all = RunFilter::default();
    let runs = store.runs.list(&acme, &all, None, 10);
    assert_eq!(runs.await.unwrap().items.len(), 2);

    // What was erased does not come back, however late it is sent again; nor does the device.
    assert_eq!(accounted(store, &one).await, (false, [0, 3, 0]));
    gw.publish(&topic("freezer-1"), three()).await.unwrap();
    test.hub().caught_up().await.unwrap();
    assert_eq!(accounted(store, &one).await, (false, [0, 3, 0]));
    let test = test.restart().await;
    let (gw, store) = (test.gateway("gw-1").await, test.hub().store());
    gw.publish(&topic("freezer-1"), three()).await.unwrap();
    test.hub().caught_up().await.unwrap();
    assert_eq!(accounted(store, &one).await, (false, [0, 3, 0]));

    // A device that goes on has a ledger without gaps, and the rule begins afresh.
    gw.publish(&topic("freezer-1"), three_from(4))
        .await
        .unwrap();
    gw.publish(&topic("freezer-1"), three()).await.unwrap();
    test.hub().caught_up().await.unwrap();
    assert_eq!(kept(store, "acme", &one).await, (3, 3, 1));
    assert_eq!(accounted(store, &one).await, (true, [3, 3, 0]));

    let test = test.restart().await;
    let (gw, store) = (test.gateway("gw-1").await, test.hub().store());
    gw.publish(&topic("freezer-1"), three()).await.unwrap();
    test.hub().caught_up().await.unwrap();
    assert_eq!(accounted(store, &one).await, (true, [3, 3, 0]));
    assert_eq!(kept(store, "acme", &one).await, (3, 3, 1));
    assert_eq!(kept(store, "acme", &two).await, (3, 3, 1));
}

#[tokio::test]
async fn a_link_that_goes_on_standing_is_shown_when_its_device_is_heard_again() {
    let test = TestHub::start().await;
    let (acme, one) = (tenant("acme"), device("freezer-1"));
    let gw = test.gateway("gw-1").await;
    let link = |event| LinkEvent {
        device: device("freezer-1"),
        gateway: gateway("gw-1"),
        at_us: 1_700_000_000_000_000,
        event,
    };
    let (up, down) = (
        link(Link::Connected { suite: 1 }).encode(),
        link(Link::Disconnected).encode(),
    );
    let link_topic = "stencil/v1/d/freezer-1/link";
    let store = test.hub().store();
    gw.publish(link_topic, up).await.unwrap();
    gw.publish(&topic("freezer-1"), three()).await.unwrap();
    test.hub().erase_device(&acme, &one).await.unwrap();
    assert_eq!(store.devices.count(&acme).await.unwrap(), 0);

    gw.publish(&topic("freezer-1"), three_from(4))
        .await
        .unwrap();
    test.hub().caught_up().await.unwrap();
    let shown = store.devices.get(&acme, &one).await.unwrap().unwrap();
    assert_eq!(shown.connected, Some(true));

    // The last word of a device that is gone brings it back no more than the numbers do.
    test.hub().erase_device(&acme, &one).await.unwrap();
    gw.publish(link_topic, down).await.unwrap();
    gw.publish(&topic("freezer-1"), three_from(4))
        .await
        .unwrap();
    test.hub().caught_up().await.unwrap();
    assert_eq!(store.devices.count(&acme).await.unwrap(), 0);
    assert_eq!(accounted(store, &one).await, (false, [0, 6, 0]));
}

#[tokio::test]
async fn a_tenant_is_gone_with_its_connections_and_nothing_of_it_comes_after() {
    let test = TestHub::start().await;
    let (acme, umbrella) = (tenant("acme"), tenant("umbrella"));
    stencil_server::init(&test.data_dir(), &umbrella, &["localhost"])
        .await
        .unwrap();
    for tenant in [&acme, &umbrella] {
        test.hub().put_workflow(tenant, YAML).await.unwrap();
    }
    let gone = test.gateway_of("umbrella", "gw-1").await;
    let stays = test.gateway("gw-1").await;
    for gw in [&gone, &stays] {
        gw.publish(&topic("freezer-1"), three()).await.unwrap();
    }
    // It goes on sending while its tenant is erased, until it is cut off.
    let sending = async {
        let mut sent = 0_u32;
        while gone.publish(&topic("freezer-2"), three()).await.is_ok() {
            sent += 1;
        }
        sent
    };
    let hub = test.hub().clone();
    let (erased, sent) = tokio::join!(hub.erase_tenant(&umbrella), sending);
    erased.unwrap();
    assert!(sent < 1_000_000);
    hub.caught_up().await.unwrap();

    let store = hub.store();
    let tenants = store.tenancy.tenants(None, 10).await.unwrap();
    assert_eq!(tenants.items, std::slice::from_ref(&acme));
    for name in ["freezer-1", "freezer-2"] {
        let name = device(name);
        assert_eq!(kept(store, "umbrella", &name).await, (0, 0, 0));
        assert_eq!(store.devices.get(&umbrella, &name).await.unwrap(), None);
    }
    let freezer = device("freezer-1");
    assert_eq!(kept(store, "acme", &freezer).await, (3, 3, 1));
    // Its certificate opens nothing any more.
    let again = test.try_gateway_of("umbrella", "gw-1").await;
    assert!(again.is_err(), "a gateway of an erased tenant was let in");
    assert!(hub.put_workflow(&umbrella, YAML).await.is_err());

    drop(hub);
    let test = test.restart().await;
    let store = test.hub().store();
    assert_eq!(kept(store, "umbrella", &freezer).await, (0, 0, 0));
    assert_eq!(kept(store, "acme", &freezer).await, (3, 3, 1));
    eventually("what was erased is overwritten", || async {
        store.keeping.purge(10).await.unwrap() == 0
    })
    .await;
}

#[tokio::test]
async fn a_name_that_is_given_again_lets_in_nobody_of_the_tenant_before() {
    let test = TestHub::start().await;
    let (umbrella, data, hub) = (tenant("umbrella"), test.data_dir(), test.hub().clone());
    let strict = test.running.addresses().strict;
    let made = async || {
        let made = stencil_server::init(&data, &umbrella, &["localhost"]).await;
        made.unwrap();
    };
    let issue = |folder: &str| {
        let out = test.dir.path().join(folder);
        let gateway = stencil_server::add_gateway(&data, &umbrella, &gateway("gw-1"), &out);
        let [lock, door] = ["lock-1", "door-1"]
            .map(|name| stencil_server::add_device(&data, &umbrella, &device(name), &out).unwrap());
        [gateway.unwrap(), lock, door]
    };
    made().await;
    let before = issue("before");
    let mut open = Vec::new();
    for (name, files) in ["gw-1", "lock-1", "door-1"].into_iter().zip(&before) {
        open.push(Client::with_certificate(name, strict, files).await);
    }
    open[2]
        .publish("stencil/v1/d/door-1/batch", three())
        .await
        .unwrap();
    hub.caught_up().await.unwrap();
    let (registry, door) = (&hub.store().registry, device("door-1"));
    let revoked = registry.revoke(&umbrella, &door, hub.now_us()).await;
    assert!(revoked.unwrap());
    hub.admit_device(&umbrella, &door, true).await.unwrap();
    // Certificates have whole seconds.
    let second = |us: i64| us / 1_000_000;
    let issued_us = hub.now_us();
    hub.erase_tenant(&umbrella).await.unwrap();
    eventually("the next second", async || {
        second(hub.now_us()) > second(issued_us)
    })
    .await;
    made().await;

    for (name, files) in ["gw-1", "lock-1", "door-1"].into_iter().zip(&before) {
        let again = Client::try_certificate(name, strict, files).await;
        assert!(again.is_err(), "{name} of the tenant before was let in");
    }
    eventually("the connections of before end", async || {
        open.iter().all(|client| !client.is_connected())
    })
    .await;
    // Its own are let in, also one whose name was revoked before.
    for (name, files) in ["gw-1", "lock-1", "door-1"]
        .into_iter()
        .zip(&issue("after"))
    {
        Client::with_certificate(name, strict, files).await;
    }
}

/// Erases in a process that dies at `crash`; then what was erased is gone, and only that.
async fn erases_through(crash: &str) {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path()).await;
    let running = Service::start(options(dir.path())).await.unwrap();
    let acme = tenant("acme");
    running.hub().put_workflow(&acme, YAML).await.unwrap();
    let files = stencil_server::add_gateway(dir.path(), &acme, &gateway("gw-1"), dir.path());
    let files = files.unwrap();
    let client = Client::with_certificate("gw-1", running.addresses().strict, &files).await;
    for name in ["freezer-1", "freezer-2"] {
        client.publish(&topic(name), three()).await.unwrap();
    }
    running.hub().caught_up().await.unwrap();
    drop(client);
    running.shutdown().await.unwrap();

    let hub = HubProcess::start_erasing(dir.path(), crash, "freezer-1");
    hub.died();
    assert_eq!(
        still_there(dir.path()).await,
        crash.starts_with("pipeline.before")
    );

    let running = Service::start(options(dir.path())).await.unwrap();
    running.hub().caught_up().await.unwrap();
    let store = running.hub().store();
    let (one, two) = (device("freezer-1"), device("freezer-2"));
    assert_eq!(kept(store, "acme", &one).await, (0, 0, 0));
    assert_eq!(kept(store, "acme", &two).await, (3, 3, 1));
    let client = Client::with_certificate("gw-1", running.addresses().strict, &files).await;
    client.publish(&topic("freezer-1"), three()).await.unwrap();
    running.hub().caught_up().await.unwrap();
    assert_eq!(accounted(store, &one).await, (false, [0, 3, 0]));
    let more = three_from(4);
    client.publish(&topic("freezer-1"), more).await.unwrap();
    running.hub().caught_up().await.unwrap();
    assert_eq!(kept(store, "acme", &one).await, (3, 3, 1));
    assert_eq!(accounted(store, &one).await, (true, [3, 3, 0]));
    running.shutdown().await.unwrap();
}

/// Whether the store has the device.
async fn still_there(data_dir: &Path) -> bool {
    let path = stencil_server::Layout::new(data_dir).store();
    let store = stencil_store::sqlite::open(path).await.unwrap().store();
    let kept = kept(&store, "acme", &device("freezer-1")).await;
    kept == (3, 3, 1)
}

#[tokio::test]
async fn a_kill_before_the_store_has_erased() {
    erases_through("pipeline.before_erase:1").await;
}

#[tokio::test]
async fn a_kill_after_the_store_has_erased() {
    erases_through("pipeline.after_erase:1").await;
}
