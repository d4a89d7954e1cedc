//! An OPC UA server (asyncua), set up as the guide says, from its nodes to the hub: a gateway and a
//! hub in processes of their own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)] // the field package's own tests use the rest
#[path = "support/opcua.rs"]
mod opcua;
mod support;

use opcua::OpcUaPeer;
use serde_json::{Value, json};
use support::{Gateway, Hub, stencil, succeed, wait_for};

/// 2026-01-02 03:04:05 UTC: a time that only the server can have said.
const SOURCE_MS: i64 = 1_767_323_045_000;

fn path(peer: &OpcUaPeer, name: &str) -> String {
    peer.file(name).display().to_string()
}

/// The options that name the files of a secured connection.
fn secured(peer: &OpcUaPeer) -> Vec<String> {
    let mut options = vec!["--security".into(), "Basic256Sha256".into()];
    for (option, name) in [
        ("--server-certificate", "kept.pem"),
        ("--certificate", "opcua.pem"),
        ("--key", "opcua.key"),
    ] {
        options.extend([option.into(), path(peer, name)]);
    }
    options
}

fn device(hub: &Hub, name: &str) -> Value {
    let answer = hub.get(&format!("/api/v1/devices/{name}"));
    serde_json::from_str(&answer.body).unwrap_or(Value::Null)
}

#[test]
fn a_server_is_set_up_as_the_guide_says_and_its_values_keep_their_times() {
    let mut peer = OpcUaPeer::start();
    let at = |ms: i64| json!({ "source_ms": SOURCE_MS + ms });
    peer.set_with("temp", 21.5, "Double", at(0));

    // The gateway's own certificate, the server's, and what it has.
    succeed(stencil().args([
        "gateway",
        "opcua-key",
        "--name",
        "gw-1",
        "--out",
        &path(&peer, ""),
    ]));
    let url = peer.url().to_owned();
    let kept = path(&peer, "kept.pem");
    let scan = ["gateway", "scan", "opcua", &url];
    let offers = succeed(stencil().args(scan).args(["--keep-certificate", &kept]));
    assert!(offers.contains("Basic256Sha256"), "{offers}");
    let skeleton = succeed(stencil().args(scan).args(secured(&peer)));
    assert!(skeleton.contains("ns=2;s=temp"), "{skeleton}");
    let file = peer.file("mapping.yaml");
    std::fs::write(&file, &skeleton).unwrap();
    let table = succeed(stencil().args(["gateway", "check"]).arg(&file));
    assert!(table.contains("21.5"), "{table}");

    let mapping = format!(
        r#"version: 1
connections:
  line:
    opcua:
      url: "{url}"
      server-certificate: {kept}
      certificate: {}
      key: {}
    max-backoff: 1s
devices:
  press-1:
    connection: line
    every: 100ms
    points:
      temperature: {{ node: "ns=2;s=temp", unit: Cel }}
"#,
        path(&peer, "opcua.pem"),
        path(&peer, "opcua.key"),
    );
    let mut hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    gateway.set_mapping(&mapping);
    gateway.start();
    let latest = hub.wait_for_latest("press-1", "temperature", &json!(21.5));
    assert_eq!(latest["unit"], "Cel", "{latest}");
    assert_eq!(latest["time_us"], json!(SOURCE_MS * 1000), "{latest}");
    assert_eq!(latest["link"]["suite"], json!("opcua"), "{latest}");
    assert_eq!(latest["link"]["post_quantum"], json!(false), "{latest}");

    // While the hub is away what the server says is kept, with its times.
    hub.kill();
    for step in 1..=3_i32 {
        let spooled = gateway.metric("samples_spooled_total");
        peer.set_with(
            "temp",
            f64::from(step),
            "Double",
            at(i64::from(step) * 1000),
        );
        gateway.wait_for_metric("samples_spooled_total", |now| now > spooled);
    }
    // A gateway that is killed there subscribes anew.
    gateway.kill();
    gateway.start();
    hub.start_again(None);
    peer.set_with("temp", 4.0, "Double", at(4000));
    hub.wait_for_latest("press-1", "temperature", &json!(4.0));
    for step in 1..=4_i32 {
        wait_for("each value with its time", || {
            let points = hub.items("/api/v1/devices/press-1/series/temperature?limit=1000");
            let time_us = (SOURCE_MS + i64::from(step) * 1000) * 1000;
            points
                .iter()
                .any(|point| {
                    point["value"] == json!(f64::from(step)) && point["time_us"] == json!(time_us)
                })
                .then_some(())
        });
    }

    // The server goes, which is shown, and comes back.
    peer.listen(false);
    wait_for("the device to be away", || {
        (device(&hub, "press-1")["connected"] == false).then_some(())
    });
    peer.listen(true);
    peer.set_with("temp", 5.0, "Double", at(5000));
    hub.wait_for_latest("press-1", "temperature", &json!(5.0));

    assert!(gateway.stop().success());
    wait_for("the books to be whole", || {
        let output = hub.command(&["reconcile", "--output", "json"]).output();
        output.unwrap().status.success().then_some(())
    });
    gateway.is_sound();
    hub.is_sound();
}
