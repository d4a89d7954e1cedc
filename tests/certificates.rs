//! Gateways' certificates over real links between real processes: revoked, renewed long before their
//! end, and after it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::{Gateway, Hub, succeed, wait_for};

/// A copy of a gateway's folder, as a thief has it.
fn copy(gateway: &Gateway, to: &Path) -> Gateway {
    succeed(Command::new("cp").arg("-r").arg(gateway.folder()).arg(to));
    Gateway::over(to)
}

/// The hub's word on the gateway.
fn shown(hub: &Hub) -> Value {
    hub.ask(&["gateways", "show", "gw-1"])
}

fn is_connected(hub: &Hub) {
    wait_for("the uplink", || {
        (shown(hub)["connected"] == true).then_some(())
    });
}

/// The states of the gateway's certificates, the newest first.
fn states(hub: &Hub) -> Vec<String> {
    let items = hub.ask(&["gateways", "certificates", "gw-1"]);
    let items = items["items"].as_array().or(items.as_array()).unwrap();
    let state = |it: &Value| it["state"].as_str().unwrap().to_owned();
    items.iter().map(state).collect()
}

fn audited(hub: &Hub, action: &str) -> Vec<Value> {
    let mut log = hub.items("/api/v1/audit?limit=1000");
    log.retain(|it| it["action"] == action);
    log
}

#[test]
fn a_revoked_gateway_is_cut_off_and_stays_out_until_it_is_made_anew() {
    let hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    let psk = gateway.add_device("freezer-07");
    gateway.start();
    let mut device = gateway.link("freezer-07", &psk);
    device.deliver(1, 1, 3);
    hub.wait_for_ledger("freezer-07", 1, |it| it["stored"] == json!([[1, 3]]));
    is_connected(&hub);
    assert_eq!(states(&hub), ["current"]);
    let mut other = Gateway::add(&hub, "gw-2");
    other.start();

    // Nobody but an admin does that, and of no gateway that there is not.
    let slip = hub.command(&["gateways", "revoke", "gw-7"]).output();
    assert!(support::text(&slip.unwrap()).contains("gw-7"));
    let told = succeed(&mut hub.command(&["gateways", "revoke", "gw-1"]));
    assert!(told.contains("gw-1 is revoked"), "{told}");
    // At once: the answer comes after the end of its connection.
    assert_eq!(shown(&hub)["connected"], false);
    assert!(shown(&hub)["revoked_us"].is_i64());
    assert_eq!(states(&hub), ["revoked"]);
    let before = gateway.metric("uplink_connects_total");
    gateway.wait_for_log(&["no uplink", "Banned"]);
    let failures = gateway.metric("uplink_failures_total");
    gateway.wait_for_metric("uplink_failures_total", |now| now >= failures + 3);
    assert_eq!(gateway.metric("uplink_connects_total"), before);
    hub.wait_for_log(&["is not let in", "gw-1", "revoked"]);
    let refused = audited(&hub, "gateways.connect");
    assert_eq!(refused[0]["outcome"], "refused", "{refused:?}");
    assert_eq!(
        audited(&hub, "gateways.revoke").len(),
        2,
        "one of them in vain"
    );
    // What the devices say is kept meanwhile; the other gateway is as it was.
    device.deliver(1, 4, 3);
    assert_eq!(hub.ask(&["gateways", "show", "gw-2"])["connected"], true);

    // It is made anew under the same name; the stolen one stays out.
    let stolen = hub.dir.path().join("stolen");
    let mut thief = copy(&gateway, &stolen);
    gateway.kill();
    let mut anew = hub.make_anew(&gateway, "gw-1");
    anew.start();
    is_connected(&hub);
    thief.start();
    thief.wait_for_log(&["no uplink", "Banned"]);
    thief.wait_for_metric("uplink_failures_total", |failures| failures >= 3);
    assert_eq!(thief.metric("uplink_connects_total"), 0);
    // Its spool is its own: what had waited goes home with the new certificate.
    hub.wait_for_ledger("freezer-07", 1, |it| it["stored"] == json!([[1, 6]]));
    assert_eq!(states(&hub), ["current", "revoked"]);
    assert_eq!(shown(&hub)["revoked_us"], Value::Null);
    hub.is_sound();
}

#[test]
fn a_later_certificate_of_the_same_name_keeps_the_one_before_out() {
    let mut hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    gateway.start();
    is_connected(&hub);
    let mut thief = copy(&gateway, &hub.dir.path().join("stolen"));
    gateway.kill();
    let mut anew = hub.make_anew(&gateway, "gw-1");
    // Both are good until the later one is used.
    assert_eq!(states(&hub), ["issued", "current"]);
    anew.start();
    is_connected(&hub);
    assert_eq!(states(&hub), ["current", "superseded"]);
    thief.start();
    thief.wait_for_log(&["no uplink", "NotAuthorized"]);
    // A restart of the hub forgets none of it.
    hub.start_again(None);
    thief.wait_for_metric("uplink_failures_total", |failures| failures >= 3);
    assert_eq!(thief.metric("uplink_connects_total"), 0);
    is_connected(&hub);
    assert_eq!(states(&hub), ["current", "superseded"]);
    hub.is_sound();
}
