//! Gateways' certificates over real links between real processes: revoked, renewed long before their
//! end, and after it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use stencil_crypto::Psk;
use stencil_crypto::authority::{Algorithm, Authority, Subject, Validity};
use support::mqtt::Mqtt;
use support::{Gateway, Hub, succeed, wait_for};

const MONTH_S: u64 = 30 * 24 * 3_600;

fn now_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs()
}

fn authority(hub: &Hub) -> Authority {
    Authority::open(hub.data().join("authority")).unwrap()
}

/// Gives the gateway's folder a certificate that is valid from so many seconds before now to so many
/// after. Returns its end.
fn certify(hub: &Hub, gateway: &Gateway, before: u64, from_now: i64) -> u64 {
    let subject = Subject::Gateway {
        tenant: "acme".to_owned(),
        gateway: "gw-1".to_owned(),
    };
    let end = now_s().checked_add_signed(from_now).unwrap();
    let validity = Validity::between(now_s() - before, end).unwrap();
    let issued = authority(hub).issue(&subject, validity).unwrap();
    let folder = gateway.folder();
    issued
        .write(folder.join("gw-1.pem"), folder.join("gw-1.key"))
        .unwrap();
    end
}

/// The hub lets it in with a certificate that has long to go, and the data folder holds that one alone.
fn is_renewed(hub: &Hub, gateway: &Gateway) {
    let pair = gateway.folder().join("data/certificate");
    wait_for("the certificate to be renewed", || {
        let end_us = shown(hub)["certificate_end_us"].as_u64()?;
        let files = std::fs::read_dir(&pair).ok()?;
        let mut names = files.map(|file| file.unwrap().file_name());
        let is_alone = names.next()? == "current.pem" && names.next().is_none();
        (end_us > (now_s() + MONTH_S) * 1_000_000 && is_alone).then_some(())
    });
}

fn delivers(hub: &Hub, gateway: &Gateway, psk: &Psk, boot: u32) {
    let mut device = gateway.link("freezer-07", psk);
    device.deliver(boot, 1, 3);
    hub.wait_for_ledger("freezer-07", boot, |it| it["stored"] == json!([[1, 3]]));
}

/// Whoever has the folder's own certificate, connected; the hub knows it from then on.
fn as_holder(hub: &Hub, gateway: &Gateway) -> Mqtt {
    let root = gateway.folder().join("root.pem");
    let identity = Some((gateway.folder(), "gw-1"));
    Mqtt::tls(hub.port("mqtt_strict"), &root, identity).connect("gw-1", None)
}

/// Gives the gateway one that the hub has seen, and that has ended since.
fn ended(hub: &Hub, gateway: &Gateway) {
    let end = certify(hub, gateway, 3_000, 3);
    drop(as_holder(hub, gateway));
    wait_for("the end of the certificate", || {
        (now_s() > end).then_some(())
    });
}

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
    // The fingerprint, as `stencil verify --gateway-key` takes it, is of the gateway's own file.
    let pem = std::fs::read_to_string(gateway.folder().join("gw-1.pem")).unwrap();
    let der = stencil_crypto::authority::first_of(&pem).unwrap();
    let of = stencil_crypto::authority::Description::of(&der).unwrap();
    let fingerprint = hex::encode(of.fingerprint);
    assert_eq!(shown(&hub)["fingerprint"], json!(fingerprint));
    let told = succeed(&mut hub.command(&["gateways", "show", "gw-1"]));
    assert!(
        told.contains(&format!("\nFingerprint {fingerprint}\n")),
        "{told}"
    );
    let told = succeed(&mut hub.command(&["gateways", "certificates", "gw-1"]));
    assert!(told.contains(&fingerprint), "{told}");
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

#[test]
fn it_is_renewed_long_before_its_end_also_when_a_process_is_killed_meanwhile() {
    let mut hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    let psk = gateway.add_device("freezer-07");
    // Two thirds of its time are over.
    certify(&hub, &gateway, 3_000, 1_200);
    let mut thief = copy(&gateway, &hub.dir.path().join("stolen"));
    gateway.start();
    is_renewed(&hub, &gateway);
    delivers(&hub, &gateway, &psk, 1);
    assert_eq!(states(&hub)[..2], ["current", "superseded"]);
    assert_eq!(gateway.metric("certificates_renewed_total"), 1);
    assert!(gateway.metric("certificate_end_seconds") > now_s() + MONTH_S);
    assert_eq!(audited(&hub, "gateways.renew").len(), 1);
    // A copy of the folder from before is worth nothing any more.
    thief.start();
    thief.wait_for_log(&["no uplink", "NotAuthorized"]);
    assert_eq!(thief.metric("uplink_connects_total"), 0);
    thief.kill();
    gateway.kill();
    // What is renewed is used after a restart, and there is nothing more to renew.
    gateway.start();
    delivers(&hub, &gateway, &psk, 2);
    gateway.kill();
    assert_eq!(audited(&hub, "gateways.renew").len(), 1);

    for (boot, point) in (3..).zip([
        "gateway.certificate_key",
        "gateway.certificate_before_next",
        "gateway.certificate_next",
        "gateway.certificate_before_switch",
        "gateway.certificate_switched",
    ]) {
        certify(&hub, &gateway, 3_000, 1_200);
        gateway.start_with(&[("STENCIL_CRASH", &format!("{point}:1"))]);
        wait_for(point, || {
            let end = Duration::from_millis(10);
            gateway.ended_within(end).then_some(())
        });
        gateway.start();
        is_renewed(&hub, &gateway);
        delivers(&hub, &gateway, &psk, boot);
        gateway.is_sound();
        gateway.kill();
    }
    for (boot, point) in (8..).zip(["renewal.before_kept", "renewal.after_kept"]) {
        certify(&hub, &gateway, 3_000, 1_200);
        hub.start_again(Some(&format!("{point}:1")));
        gateway.start();
        wait_for(point, || {
            let end = Duration::from_millis(10);
            hub.ended_within(end).then_some(())
        });
        // So that it asks at once again.
        gateway.kill();
        hub.start_again(None);
        gateway.start();
        is_renewed(&hub, &gateway);
        delivers(&hub, &gateway, &psk, boot);
        gateway.is_sound();
        gateway.kill();
    }
    hub.is_sound();
}

#[test]
fn a_gateway_that_was_off_until_after_its_end_comes_home() {
    let hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    let psk = gateway.add_device("freezer-07");
    ended(&hub, &gateway);
    // With a certificate that has ended nobody speaks for a device, or hears what a gateway hears.
    let mut thief = as_holder(&hub, &gateway);
    for topic in ["keys", "command", "desired"] {
        let code = thief.subscribe(&format!("stencil/v1/g/gw-1/{topic}"));
        assert!(code >= 0x80, "{topic}: {code:#x}");
    }
    let batch = support::batch::numbered(1, 4, 3);
    thief
        .publish("stencil/v1/d/freezer-07/batch", &batch)
        .unwrap();
    let answer = thief.acknowledged(Duration::from_secs(5));
    assert!(answer.is_none_or(|it| !it.is_success()), "{answer:?}");
    drop(thief);

    gateway.start();
    // What its devices send meanwhile is kept, and gets there.
    delivers(&hub, &gateway, &psk, 1);
    is_renewed(&hub, &gateway);
    gateway.wait_for_log(&["certificate has ended"]);
    hub.wait_for_log(&["it may have it renewed, and nothing else", "gw-1"]);
    gateway.is_sound();
    gateway.kill();

    // Not if it was revoked meanwhile, nor with one that the hub has never seen.
    ended(&hub, &gateway);
    hub.ask(&["gateways", "revoke", "gw-1"]);
    gateway.start();
    gateway.wait_for_log(&["no uplink", "Banned"]);
    gateway.wait_until_it_says(&["uplink: not connected", "this gateway was revoked"]);
    gateway.kill();
    let mut other = Gateway::add(&hub, "gw-2");
    let subject = Subject::parse("stencil:tenant/acme/gateway/gw-2").unwrap();
    let validity = Validity::between(now_s() - 3_000, now_s() - 10).unwrap();
    let issued = authority(&hub).issue(&subject, validity).unwrap();
    let file = |end: &str| other.folder().join(format!("gw-2.{end}"));
    issued.write(file("pem"), file("key")).unwrap();
    other.start();
    other.wait_for_log(&["no uplink", "BadUserNamePassword"]);
    hub.is_sound();
}

#[test]
fn where_the_operator_allows_no_delay_it_stays_out() {
    let hub = Hub::start_with(&[], &[("STENCIL_HUB_MQTT__LATE_CERTIFICATE_DAYS", "0")]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    ended(&hub, &gateway);
    gateway.start();
    gateway.wait_for_metric("uplink_failures_total", |failures| failures >= 3);
    assert_eq!(gateway.metric("uplink_connects_total"), 0);
    gateway.wait_until_it_says(&["uplink: not connected"]);
    gateway.is_sound();
}

#[test]
fn a_hub_whose_own_certificate_has_ended_is_reached_and_renews_nothing_without_its_authority() {
    let mut hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    let psk = gateway.add_device("freezer-07");
    certify(&hub, &gateway, 3_000, 1_200);
    hub.kill();
    let names = ["localhost", "127.0.0.1"];
    let validity = Validity::between(now_s() - 3_000, now_s() - 1_000).unwrap();
    let issued = authority(&hub).issue_server_with(&names, Algorithm::MlDsa65, validity);
    let server = hub.data().join("server");
    issued
        .unwrap()
        .write(server.join("server.pem"), server.join("server.key"))
        .unwrap();
    // It would renew it with that.
    let key = hub.data().join("authority/root.key");
    let away = hub.dir.path().join("root.key");
    std::fs::rename(&key, &away).unwrap();
    hub.start_again(None);
    gateway.start();
    delivers(&hub, &gateway, &psk, 1);
    gateway.wait_for_log(&["does not renew", "authority is not at hand"]);
    assert_eq!(gateway.metric("renewals_refused_total"), 1);
    gateway.kill();

    // Whoever wants it strict has it so.
    gateway.change(|settings| {
        settings["hub"]
            .as_table_mut()
            .unwrap()
            .insert("late_certificate_days".to_owned(), 0.into());
    });
    gateway.start();
    gateway.wait_for_metric("uplink_failures_total", |failures| failures >= 3);
    assert_eq!(gateway.metric("uplink_connects_total"), 0);
    // With its authority it renews its own at a start.
    std::fs::rename(&away, &key).unwrap();
    hub.start_again(None);
    gateway.wait_for_metric("uplink_connects_total", |connects| connects >= 1);
    gateway.is_sound();
    hub.is_sound();
}
