//! The gateway's process is killed again and again: what a device was told to be safe gets to the
//! hub, in any case.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use stencil_crypto::Psk;
use stencil_gateway::{Options, Service};
use stencil_protocol::{
    id::{Boot, DeviceId, Seq},
    link::Up,
};

use crate::{
    device::{Device, Told, batch},
    hub::{Hub, ledger},
    place::{Place, until},
    soon,
};

const OPTIONS: &str = "STENCIL_GATEWAY_CHILD_OPTIONS";

/// Not a test by itself: the process that the tests below kill.
#[test]
fn child() {
    let Ok(options) = std::env::var(OPTIONS) else {
        return;
    };
    let options: Options = serde_json::from_str(&options).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let running = Service::start(options).await.unwrap();
        let addresses = serde_json::to_string(&running.addresses()).unwrap();
        println!("\naddresses {addresses}");
        panic!("{}", running.failed().await);
    });
}

/// A gateway's process.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) link: SocketAddr,
    pub(crate) http: SocketAddr,
    /// Where holders ask, if they may.
    pub(crate) access: Option<SocketAddr>,
}

impl Process {
    pub(crate) async fn start(options: &Options, crash: &str) -> Self {
        let started = Self::try_start(options, crash).await;
        started.expect("the gateway starts")
    }

    /// `None`: it has ended before it was up.
    pub(crate) async fn try_start(options: &Options, crash: &str) -> Option<Self> {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["kill::child", "--exact", "--nocapture", "--test-threads=1"])
            .env(OPTIONS, serde_json::to_string(options).unwrap())
            .env("STENCIL_CRASH", crash)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let out = child.stdout.take().unwrap();
        let addresses = tokio::task::spawn_blocking(move || {
            let mut lines = BufReader::new(out).lines().map(Result::unwrap);
            let found = lines.find_map(|line| line.strip_prefix("addresses ").map(str::to_owned));
            // Read on, or the child would be stopped by a full pipe.
            std::thread::spawn(move || lines.for_each(drop));
            found
        });
        let Some(addresses) = soon(addresses).await.unwrap() else {
            child.wait().unwrap();
            return None;
        };
        let addresses: serde_json::Value = serde_json::from_str(&addresses).unwrap();
        let parse = |value: &serde_json::Value| value.as_str().unwrap().parse().unwrap();
        Some(Self {
            child,
            link: parse(&addresses["link"][0]),
            http: parse(&addresses["http"]),
            access: addresses["access"].as_str().map(|at| at.parse().unwrap()),
        })
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A device that numbers on, whatever happens to its gateway.
pub(crate) struct Sender {
    pub(crate) id: DeviceId,
    pub(crate) psk: Psk,
    pub(crate) acked: u64,
}

impl Sender {
    /// Sends batches until `batches` more are safe or the gateway is gone; true in the first case.
    pub(crate) async fn send(&mut self, link: SocketAddr, batches: u64) -> bool {
        let mut device = Device::answered(link, &self.id, &self.psk).await;
        // The hub may have acknowledged that the device is linked, and the gateway been killed at that.
        if !device.greets().await {
            return false;
        }
        let end = self.acked + batches * 10;
        while self.acked < end {
            let sent = batch(1, self.acked + 1, 10);
            if device.try_say(&Up::Batch(&sent)).await.is_err() {
                return false;
            }
            match device.told().await {
                Some(Told::Ack(Boot(1), through)) => {
                    assert_eq!(through, Seq(self.acked + 10));
                    self.acked = through.0;
                }
                Some(other) => panic!("{other:?}"),
                None => return false,
            }
        }
        true
    }
}

async fn all_arrives(crashes: &[&str], batches_before_kill: u64) {
    arrives(crashes, batches_before_kill, 1 << 20).await;
}

async fn arrives(crashes: &[&str], batches_before_kill: u64, in_order_bytes: u64) {
    let place = Place::new();
    let hub = Hub::started(&place.authority).await;
    let mut options = place.options(&hub);
    options.hub.in_order_bytes = in_order_bytes;
    let (id, psk) = place.device("freezer-07");
    let mut sender = Sender {
        id: id.clone(),
        psk,
        acked: 0,
    };
    for crash in crashes {
        let mut gateway = Process::start(&options, crash).await;
        let survived = sender.send(gateway.link, batches_before_kill).await;
        if crash.is_empty() {
            assert!(survived);
            gateway.kill();
        } else {
            // The point is reached sooner or later: nothing else ends this process.
            soon(async {
                while gateway.child.try_wait().unwrap().is_none() {
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
            })
            .await;
        }
    }
    let gateway = Process::start(&options, "").await;
    assert!(sender.send(gateway.link, 5).await);
    let given = sender.acked;
    let kept = hub
        .until(|kept| ledger(kept, &id, Boot(1)).stored.len() >= given)
        .await;
    let ledger = ledger(&kept, &id, Boot(1));
    assert!(ledger.gaps().is_empty());
    assert_eq!(ledger.stored.last(), Some(given));
    until(gateway.http, "spool_waiting_bytes", |bytes| bytes == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_time() {
    all_arrives(&["", "", "", ""], 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_the_spool_and_the_devices_acknowledgement() {
    all_arrives(
        &[
            "gateway.before_ack:1",
            "gateway.before_ack:7",
            "gateway.before_ack:30",
        ],
        50,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_the_hubs_acknowledgement_and_the_spool() {
    all_arrives(
        &[
            "gateway.before_trim:1",
            "gateway.before_trim:5",
            "gateway.before_trim:9",
        ],
        50,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_what_is_new_goes_before_what_is_old() {
    let crashes = [
        "gateway.before_trim:1",
        "",
        "gateway.before_ack:20",
        "gateway.before_trim:25",
        "",
    ];
    arrives(&crashes, 50, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_spools_sync() {
    all_arrives(&["log.after_write:3", "log.after_write:20"], 50).await;
}
