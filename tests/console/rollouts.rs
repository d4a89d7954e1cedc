//! A roll-out as somebody follows it in a browser: its first device, its progress, a pause and how
//! it goes on, a pause by itself, its end; and one that is for nobody.

use std::path::Path;

use serde_json::Value;
use stencil_protocol::id::{DeviceId, GatewayId};
use stencil_protocol::image::{Digest, Told, What};
use stencil_protocol::report::{Link, LinkEvent};
use stencil_update::id::Id;

use crate::Visit;
use crate::pages::everywhere;
use crate::support::mqtt::Mqtt;
use crate::support::{Hub, stencil, succeed, text};

const VENDOR: &str = "acme.example";
const CLASS: &str = "freezer-node";
const DEVICES: [&str; 4] = ["freezer-1", "freezer-2", "freezer-3", "freezer-4"];

#[test]
fn a_roll_out_is_followed_paused_and_ended() {
    let hub = Hub::start(&[]);
    let digest = pushed(&hub);
    let mut fleet = Fleet::linked(&hub);
    let visit = Visit::of(&hub);
    for_nobody(&visit, &hub, &digest);

    let begun = create(
        &hub,
        &digest,
        "freezer-*",
        &["--max-failed", "10", "--min-finished", "2"],
    );
    let path = format!("/rollouts/{}", begun["id"].as_str().unwrap());
    visit.open("/rollouts");
    visit.browser.click(&format!("a[href='{path}']"));
    visit.browser.wait_for_path("the roll-out", |at| at == path);
    visit.browser.wait_for_text("#stream", "Live");
    visit.mark();
    let first = its_canary(&visit, &hub, &mut fleet, &path);
    pauses_and_resumes(&visit, &hub, &path);
    pauses_by_itself_and_ends(&visit, &hub, &mut fleet, (&path, &first));
    visit.is_the_same();

    let mut faults = everywhere(&visit, "rollout", || visit.open(&path));
    faults.extend(everywhere(&visit, "rollouts", || visit.open("/rollouts")));
    assert!(faults.is_empty(), "{faults:#?}");
    visit.is_clean();
    hub.is_sound();
}

/// A pattern with a slip is refused; who says that the devices are yet to come is believed.
fn for_nobody(visit: &Visit, hub: &Hub, digest: &str) {
    let mut slip = hub.command(&[
        "rollout",
        "create",
        digest,
        "--devices",
        "frezer-*",
        "--watch",
    ]);
    let output = slip.output().unwrap();
    let said = text(&output);
    assert!(!output.status.success(), "{said}");
    assert!(
        said.contains("no device that the hub has heard of matches `frezer-*`"),
        "{said}"
    );
    let waits = create(hub, digest, "cooler-*", &["--wait-for-devices"]);
    let id = waits["id"].as_str().unwrap();
    let shown = succeed(&mut hub.command(&["rollout", "show", id]));
    assert!(
        shown.contains("cooler-* matches no device; it waits for such to come"),
        "{shown}"
    );
    let browser = &visit.browser;
    visit.open("/rollouts");
    browser.wait_for_text("#rollouts", "matches no device");
    browser.click("#rollouts th a");
    browser.wait_for_text("#rollout [role=status]", "It matches no device");
    browser.click("#do-abort");
    browser.wait_for_text("#rollout .badge", "aborted");
}

/// The first device has its turn, loads the image, tries it, and keeps it.
fn its_canary(visit: &Visit, hub: &Hub, fleet: &mut Fleet, path: &str) -> String {
    let browser = &visit.browser;
    browser.wait_for_text(
        "#rollout",
        "0 of 4 devices run the image. Whose turn it is: the first 1",
    );
    let first = in_phase(hub, path, "offered").remove(0);
    let digest = fleet.digest;
    let have = What::Has {
        digest,
        have: 400,
        of: 1_000,
    };
    fleet.says(&first, have);
    browser.wait_for_text("#rollout tbody tr", "40 %");
    fleet.says(&first, What::Installs { digest });
    fleet.says(&first, fleet.runs(true));
    browser.wait_for_text("#rollout .badge", "installed");
    fleet.says(&first, fleet.runs(false));
    browser.wait_for_text("#rollout", "1 of 4 devices run the image");
    browser.wait_for_text("#rollout .timeline", "The first devices run it well");
    browser.wait_for_text("#rollout", "wave 1: 2 devices");
    first
}

fn pauses_and_resumes(visit: &Visit, hub: &Hub, path: &str) {
    let browser = &visit.browser;
    browser.click("#do-pause");
    browser.wait_for_text("#told", "Paused: those that are at it go on");
    browser.wait_for_text("#rollout [role=status]", "somebody paused it");
    assert_eq!(status(hub, path), "paused");
    // With the keyboard alone.
    browser.tab_to("#do-resume");
    browser.press("\u{e007}");
    browser.wait_for_text("#told", "It goes on");
    browser.find("#do-pause");
    assert_eq!(status(hub, path), "running");
}

/// A device of the wave goes back to its old image: all that came since somebody last looked has failed,
/// and it stops. They try again, and then somebody has enough of it.
fn pauses_by_itself_and_ends(
    visit: &Visit,
    hub: &Hub,
    fleet: &mut Fleet,
    (path, first): (&str, &str),
) {
    let browser = &visit.browser;
    let second = in_phase(hub, path, "offered").remove(0);
    assert_ne!(second, first);
    let reason = "it did not start three times".to_owned();
    let digest = fleet.digest;
    fleet.says(&second, What::GaveUp { digest, reason });
    let why = "It does not go on: 1 of 1 that are finished have failed.";
    browser.wait_for_text("#rollout [role=status]", why);
    browser.wait_for_text("#rollout .timeline", "Too many have failed");
    browser.wait_for_text("#rollout tbody tr", "it did not start three times");
    assert_eq!(status(hub, path), "paused");
    browser.click("#do-retry");
    browser.wait_for_text("#told", "They try again");
    browser.find("#do-pause");
    assert_eq!(in_phase(hub, path, "failed"), Vec::<String>::new());
    browser.click("#do-abort");
    browser.wait_for_text("#told", "Aborted: nobody else gets it");
    browser.wait_for_text("#rollout .badge", "aborted");
    assert!(browser.look("#do-pause, #do-resume, #do-abort").is_none());
    assert_eq!(status(hub, path), "aborted");
}

/// An image that is signed and on the hub: its digest.
fn pushed(hub: &Hub) -> String {
    let dir = hub.dir.path();
    let (keys, image, manifest) = (dir.join("keys"), dir.join("app.bin"), dir.join("app.suit"));
    std::fs::write(&image, [0x5a; 1_000]).unwrap();
    succeed(stencil().args(["update", "keygen", "--out"]).arg(&keys));
    let mut sign = stencil();
    sign.args(["update", "sign", "--vendor", VENDOR, "--class", CLASS])
        .args(["--sequence", "7", "--version", "1.4.0"]);
    for (option, path) in [("--keys", &keys), ("--image", &image), ("--out", &manifest)] {
        sign.arg(option).arg(path);
    }
    succeed(&mut sign);
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    succeed(&mut hub.command(&["image", "trust", &path(&keys.join("trust.keys"))]));
    let pushed = hub.ask(&[
        "image",
        "push",
        &path(&image),
        "--manifest",
        &path(&manifest),
    ]);
    pushed["digest"].as_str().unwrap().to_owned()
}

fn create(hub: &Hub, digest: &str, devices: &str, further: &[&str]) -> Value {
    let plan = ["--canary", "1", "--waves", "50,100"];
    let create = ["rollout", "create", digest, "--devices", devices];
    hub.ask(&[&create[..], &plan, further].concat())
}

fn status(hub: &Hub, path: &str) -> String {
    let shown = hub.get(&format!("/api/v1{path}")).json();
    shown["status"].as_str().unwrap().to_owned()
}

fn in_phase(hub: &Hub, path: &str, phase: &str) -> Vec<String> {
    let devices = hub.items(&format!("/api/v1{path}/devices?phase={phase}"));
    let names = devices
        .iter()
        .map(|it| it["device"].as_str().unwrap().to_owned());
    names.collect()
}

/// A gateway with devices that speak as the test has them.
struct Fleet {
    gateway: Mqtt,
    class: String,
    digest: Digest,
}

impl Fleet {
    fn linked(hub: &Hub) -> Self {
        let vendor = Id::of_vendor(VENDOR);
        let class = [vendor, Id::of_class(vendor, CLASS)].map(|id| hex::encode(id.0));
        let mut fleet = Self {
            gateway: hub.as_gateway("acme", "gw-1"),
            class: class.join("/"),
            digest: stencil_update::device::digest(&[0x5a; 1_000]),
        };
        // A gateway is there when it listens for commands.
        let granted = fleet.gateway.subscribe("stencil/v1/g/gw-1/command");
        assert!(granted < 0x80, "{granted:#x}");
        for name in DEVICES {
            let event = LinkEvent {
                device: DeviceId::parse(name).unwrap(),
                gateway: GatewayId::parse("gw-1").unwrap(),
                at_us: 1,
                event: Link::Connected { suite: 1 },
            };
            let topic = format!("stencil/v1/d/{name}/link");
            fleet.gateway.deliver(&topic, &event.encode());
            let first = What::Runs {
                digest: [1; 32],
                sequence: 0,
                class: fleet.class.clone(),
                trial: false,
                version: None,
            };
            fleet.says(name, first);
        }
        crate::support::wait_for("the devices", || {
            (hub.items("/api/v1/devices").len() == DEVICES.len()).then_some(())
        });
        fleet
    }

    fn says(&mut self, name: &str, what: What) {
        let device = DeviceId::parse(name).unwrap();
        let told = Told {
            device,
            at_us: 1,
            what,
        };
        let topic = format!("stencil/v1/d/{name}/image");
        self.gateway.deliver(&topic, &told.encode().unwrap());
    }

    fn runs(&self, trial: bool) -> What {
        What::Runs {
            digest: self.digest,
            sequence: 7,
            class: self.class.clone(),
            trial,
            version: Some("1.4.0".to_owned()),
        }
    }
}
