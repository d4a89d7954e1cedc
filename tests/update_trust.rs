//! Other keys sign firmware from now on: a gateway that is there changes over by itself when the ones
//! before have signed it, and keeps that; without it the hub's word changes nothing at a gateway.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::Path;

use support::{Gateway, Hub, stencil, succeed, text, wait_for};

#[test]
fn a_gateway_changes_over_when_the_keys_before_have_signed_it() {
    let hub = Hub::start(&[]);
    let dir = hub.dir.path().to_owned();
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let trust = |folder: &str, further: &[&str]| {
        let keys = path(&format!("{folder}/trust.keys"));
        let mut command = hub.command(&["image", "trust", &keys]);
        command.args(further).output().unwrap()
    };
    succeed(stencil().args(["update", "keygen", "--out", &path("first")]));
    assert!(trust("first", &[]).status.success());
    // A new gateway is given them.
    let mut gateway = Gateway::add(&hub, "gw-1");
    gateway.start();
    wait_for("the gateway", || {
        let gateways = hub.items("/api/v1/gateways");
        let is_there = gateways.iter().any(|it| !it["registered_us"].is_null());
        is_there.then_some(())
    });

    let mut follow = stencil();
    follow.args(["update", "succeed", "--keys", &path("first")]);
    succeed(follow.args(["--out", &path("second")]));
    let succession = path("second/succession");
    let told = trust("second", &["--succession", &succession]);
    assert!(told.status.success(), "{}", text(&told));
    assert!(
        text(&told).contains("gateways change over"),
        "{}",
        text(&told)
    );
    gateway.wait_for_log(&["other keys sign images from now on"]);
    let kept = std::fs::read_to_string(gateway.folder().join("data/update-successions")).unwrap();
    assert!(kept.contains("signed-ml-dsa-65"), "{kept}");
    let set = |gateway: &Gateway| read(&gateway.folder().join("trust.keys"));
    assert_eq!(set(&gateway), read(&dir.join("first/trust.keys")));
    gateway.kill();
    gateway.start();
    gateway.wait_for_log(&["other keys have followed those of images.trust"]);

    // The old folder has nothing to sign with any more, and its succession is none to those that followed.
    let image = path("app.bin");
    std::fs::write(&image, b"an image").unwrap();
    let mut sign = stencil();
    sign.args([
        "update",
        "sign",
        "--keys",
        &path("first"),
        "--image",
        &image,
    ])
    .args(["--vendor", "acme.example", "--class", "freezer-node"])
    .args([
        "--sequence",
        "1",
        "--version",
        "1",
        "--out",
        &path("app.suit"),
    ]);
    let refused = sign.output().unwrap();
    assert!(!refused.status.success() && text(&refused).contains("lms.key"));
    let again = trust("second", &["--succession", &succession]);
    assert!(!again.status.success());
    assert!(text(&again).contains("trusted are"), "{}", text(&again));

    // Keys that nobody before has signed: the hub takes its admin's word, a gateway does not.
    succeed(stencil().args(["update", "keygen", "--out", &path("strange")]));
    let told = trust("strange", &[]);
    assert!(text(&told).contains("by hand"), "{}", text(&told));
    gateway.kill();
    gateway.start();
    let still = std::fs::read_to_string(gateway.folder().join("data/update-successions"));
    assert_eq!(still.unwrap(), kept);
    // By hand: into the place of those that it has, and a new start.
    std::fs::copy(
        dir.join("strange/trust.keys"),
        gateway.folder().join("trust.keys"),
    )
    .unwrap();
    gateway.kill();
    gateway.start();
    gateway.wait_until_it_says(&["ok"]);
    let another = Gateway::add(&hub, "gw-2");
    assert_eq!(set(&another), set(&gateway));
    hub.is_sound();
    gateway.is_sound();
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap()
}
