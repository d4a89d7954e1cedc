//! A device's life, by the command and over real links: born at the factory, claimed by its code,
//! enrolled by the thousand, revoked, with a new key, replaced; hub and gateway are killed between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stencil_crypto::{Psk, rng};
use support::{Device, Gateway, Hub, born, stencil, succeed, wait_for};

/// How long a revocation may take to end a session, with a machine that does much else.
const SOON: Duration = Duration::from_secs(5);

/// A file of 1,000 devices, ten rows of which are wrong; with the key of the first.
fn fleet(file: &Path) -> Psk {
    let mut csv = "device,gateway,psk\n".to_owned();
    let first = Psk::generate(&mut rng::Os);
    for n in 1..=1_000 {
        let psk = match n {
            1 => first.clone(),
            _ => Psk::generate(&mut rng::Os),
        };
        let key = hex_of(&psk);
        match n % 100 {
            0 => writeln!(csv, "bulk-{n},gw-1,{}", &key[..n / 100]).unwrap(),
            _ => writeln!(csv, "bulk-{n},gw-1,{key}").unwrap(),
        }
    }
    std::fs::write(file, csv).unwrap();
    first
}

fn hex_of(psk: &Psk) -> String {
    psk.reveal().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn is_refused(gateway: &Gateway, device: &str, psk: &Psk) -> bool {
    Device::try_link(gateway.address(), device, psk).is_err()
}

/// Links as soon as the gateway has the key.
fn link(gateway: &Gateway, device: &str, psk: &Psk) -> Device {
    wait_for(&format!("{device} to be let in"), || {
        Device::try_link(gateway.address(), device, psk).ok()
    })
}

fn registration(hub: &Hub, device: &str) -> Value {
    hub.ask(&["device", "registration", device])
}

#[test]
fn a_device_from_its_birth_to_its_replacement() {
    let mut hub = Hub::start(&[]);
    let home = hub.dir.path().to_owned();
    let mut gateway = Gateway::add(&hub, "gw-1");
    gateway.start();

    // The factory makes three; who runs the hub makes them known.
    let factory = home.join("factory");
    let born = born(&hub, &factory, 3);
    let psk = |identity: &str| Psk::load(factory.join(format!("psk/{identity}.psk"))).unwrap();

    // The tenant claims one by its code, under a name of its own.
    let (identity, code) = &born[0];
    wait_for("the gateway's key", || {
        let gateways = hub.items("/api/v1/gateways");
        gateways
            .iter()
            .any(|it| !it["registered_us"].is_null())
            .then_some(())
    });
    let claimed = hub.ask(&["device", "claim", code, "--name", "freezer-07"]);
    assert_eq!(
        (&claimed["device"], &claimed["gateway"]),
        (&json!("freezer-07"), &json!("gw-1"))
    );
    let mut device = link(&gateway, identity, &psk(identity));
    device.deliver(1, 1, 5);
    hub.wait_for_latest("freezer-07", "n", &json!(5.0));
    assert!(
        is_refused(&gateway, "freezer-07", &psk(identity)),
        "the name opens nothing"
    );
    assert!(
        is_refused(&gateway, &born[1].0, &psk(&born[1].0)),
        "nobody has claimed it"
    );
    let again = hub.command(&["device", "claim", code]).output().unwrap();
    assert!(
        String::from_utf8_lossy(&again.stderr).contains("no device waits"),
        "{again:?}"
    );

    // A thousand by CSV; the gateway is killed in the middle of it, and then the hub.
    let list = home.join("fleet.csv");
    let first = fleet(&list);
    let enrolled = hub
        .command(&["device", "enrol"])
        .arg(&list)
        .output()
        .unwrap();
    let said = String::from_utf8(enrolled.stdout).unwrap();
    assert_eq!(enrolled.status.code(), Some(1), "{said}");
    assert!(said.contains("990 made, 0 unchanged, 10 failed"), "{said}");
    assert!(
        said.contains("line 101, column 3 (psk): a pre-shared key"),
        "{said}"
    );
    gateway.kill();
    gateway.start();
    gateway.wait_for_metric("keys", |keys| keys == 991);
    hub.kill();
    hub.start_again(None);
    let mut of_fleet = link(&gateway, "bulk-1", &first);
    of_fleet.deliver(7, 1, 2);
    hub.wait_for_latest("bulk-1", "n", &json!(2.0));
    wait_for("the gateway to hold everything", || {
        (hub.items("/api/v1/gateways")[0]["waiting"] == 0).then_some(())
    });

    // Revoked: its link ends, and it is not let in again, whoever is restarted.
    let mut device = link(&gateway, identity, &psk(identity));
    device.deliver(1, 6, 1);
    let began = Instant::now();
    hub.ask(&["device", "revoke", "freezer-07"]);
    wait_for("the end of the link", || {
        (gateway.metric("links") == 1).then_some(())
    });
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert!(is_refused(&gateway, identity, &psk(identity)));
    gateway.kill();
    hub.kill();
    hub.start_again(None);
    gateway.start();
    assert!(is_refused(&gateway, identity, &psk(identity)));
    assert_eq!(registration(&hub, "freezer-07")["state"], "revoked");

    // A gateway that was got at speaks on for it: accounted for, and not taken.
    gateway.kill();
    let mut thief = hub.as_gateway("acme", "gw-1");
    let stolen = support::batch::numbered(1, 7, 3);
    thief.deliver("stencil/v1/d/freezer-07/batch", &stolen);
    let ledger = hub.wait_for_ledger("freezer-07", 1, |it| it["last_given"] == 9);
    assert_eq!(ledger["dropped"]["revoked"], json!([[7, 9]]), "{ledger}");
    let set_aside = hub.items("/api/v1/quarantine");
    assert!(
        set_aside[0]["reason"]
            .as_str()
            .unwrap()
            .contains("was revoked"),
        "{set_aside:?}"
    );
    drop(thief);
    gateway.start();

    // Other hardware takes its place by its own code: a new boot, and the history goes on.
    let (other, code) = &born[1];
    hub.ask(&["device", "replace", "freezer-07", "--claim-code", code]);
    let mut device = link(&gateway, other, &psk(other));
    device.deliver(2, 1, 4);
    hub.wait_for_ledger("freezer-07", 2, |it| it["stored"] == json!([[1, 4]]));
    let before = hub.wait_for_ledger("freezer-07", 1, |it| it["last_given"] == 9);
    assert_eq!(before["stored"], json!([[1, 6]]), "{before}");
    // Of the same times, and each is kept.
    assert_eq!(hub.points("freezer-07", "n"), 10);
    assert!(is_refused(&gateway, identity, &psk(identity)));
    let found = registration(&hub, "freezer-07");
    assert_eq!(
        (&found["state"], &found["identity"]),
        (&json!("enrolled"), &json!(other))
    );

    // The device is wiped and gets a key that is made here. For a name that there is not, none is
    // left lying about.
    let fresh = home.join("fresh.psk");
    let mut wrong = hub.command(&["device", "replace", "no-such-device", "--psk-out"]);
    let refused = wrong.arg(&fresh).output().unwrap();
    assert!(!refused.status.success());
    assert!(!fresh.exists(), "{refused:?}");
    hub.ask(&[
        "device",
        "replace",
        "freezer-07",
        "--psk-out",
        fresh.to_str().unwrap(),
    ]);
    let mut device = link(&gateway, "freezer-07", &Psk::load(&fresh).unwrap());
    device.deliver(3, 1, 1);
    hub.wait_for_ledger("freezer-07", 3, |it| it["stored"] == json!([[1, 1]]));
    assert!(is_refused(&gateway, other, &psk(other)));

    hub.is_sound();
    gateway.is_sound();
    let log = hub.log();
    for born in &born {
        assert!(!log.contains(&born.1), "a code is in the log");
        assert!(!log.contains(&hex_of(&psk(&born.0))), "a key is in the log");
    }
}

/// The device application, in a process of its own.
struct Simulated(Child);

impl Simulated {
    fn start(home: &Path, gateway: &Gateway) -> Self {
        let settings = json!({
            "state_dir": home.join("state"),
            "journal_dir": home.join("journal"),
            "psk_dir": home,
            "gateways": [gateway.address().to_string()],
            "freezers": 1,
            "locks": 0,
            "rooms": 0,
            "samples_per_s": 10.0,
            "doors": { "first_s": -1.0, "every_s": 0.0 },
            "faults": { "first_s": -1.0, "every_s": 0.0 },
        });
        let file = home.join("fleet.toml");
        std::fs::write(&file, toml::to_string(&settings).unwrap()).unwrap();
        let child = stencil()
            .args(["sim", "fleet", "--config"])
            .arg(&file)
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Simulated {
    /// By SIGKILL.
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_device_gets_another_key_over_its_link_and_lives_on_with_it() {
    let mut hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    gateway.start();
    let home = hub.dir.path().join("device");
    std::fs::create_dir_all(&home).unwrap();
    let psk = Psk::generate(&mut rng::Os);
    psk.save(home.join("freezer-01.psk")).unwrap();
    let list = home.join("one.csv");
    let row = format!("device,gateway,psk\nfreezer-01,gw-1,{}\n", hex_of(&psk));
    std::fs::write(&list, row).unwrap();
    assert!(succeed(hub.command(&["device", "enrol"]).arg(&list)).contains("1 made"));
    let device = Simulated::start(&home, &gateway);
    let boots = |hub: &Hub, count: usize| {
        wait_for(&format!("samples of {count} boots"), || {
            let ledgers = hub.items("/api/v1/devices/freezer-01/ledger");
            let stored = ledgers
                .iter()
                .filter(|row| row["ledger"]["stored"] != json!([]));
            (stored.count() == count).then_some(())
        });
    };
    wait_for("the device", || {
        let answer = hub.get("/api/v1/devices/freezer-01/ledger");
        (answer.status == 200).then_some(())
    });
    boots(&hub, 1);

    hub.ask(&["device", "rotate", "freezer-01"]);
    wait_for(
        "the new key to be used, and the old one to be dropped",
        || {
            let keys = registration(&hub, "freezer-01")["keys"].clone();
            let newest = &keys[0];
            (newest["generation"] == 2 && !newest["used_us"].is_null()).then_some(())
        },
    );
    wait_for("the old key to open nothing", || {
        is_refused(&gateway, "freezer-01", &psk).then_some(())
    });
    // Whoever comes with the first key has been wiped, as far as the gateway can tell.
    gateway.wait_for_log(&["key 2", "stencil device replace freezer-01"]);

    // The device finds it after the end of all three.
    drop(device);
    gateway.kill();
    hub.kill();
    hub.start_again(None);
    gateway.start();
    let _device = Simulated::start(&home, &gateway);
    boots(&hub, 2);
    hub.is_sound();
    gateway.is_sound();
}

#[test]
fn a_backup_holds_no_key_that_opens_what_is_sealed_in_it() {
    let hub = Hub::start(&[]);
    hub.add_gateway("acme", "gw-1");
    let psk = Psk::generate(&mut rng::Os);
    let list = hub.dir.path().join("one.csv");
    std::fs::write(
        &list,
        format!("device,gateway,psk\nd-1,gw-1,{}\n", hex_of(&psk)),
    )
    .unwrap();
    assert!(succeed(hub.command(&["device", "enrol"]).arg(&list)).contains("1 made"));
    let out = hub.dir.path().join("hub.backup");
    succeed(
        stencil()
            .args(["backup", "--data-dir"])
            .arg(hub.data())
            .arg("--out")
            .arg(&out),
    );
    let backup = std::fs::read(&out).unwrap();
    let holds = |part: &[u8]| backup.windows(part.len()).any(|window| window == part);
    let key = std::fs::read(hub.data().join("keys/seal.key")).unwrap();
    assert!(!holds(&key[..32]));
    assert!(!holds(&psk.reveal()[..16]) && !holds(&hex_of(&psk).as_bytes()[..16]));

    // Restored without the key nothing is given out, and nothing new takes its place.
    let restored = hub.dir.path().join("restored");
    succeed(
        stencil()
            .args(["restore", "--from"])
            .arg(&out)
            .arg("--data-dir")
            .arg(&restored),
    );
    assert!(!restored.join("keys").exists());
}
