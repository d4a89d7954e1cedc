//! `stencil sim rollout`: a bad firmware image, a good one, and devices that were off.
//!
//! The hub is a process of its own, asked over its HTTP API and MQTT as by anybody; it is killed in
//! the middle. Gateways and devices are [`stencil_simulators::site`]s.

mod hub;
mod uplink;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;
use serde_json::{Value, json};
use stencil_protocol::id::{DeviceId, GatewayId};
use stencil_simulators::site::{self, Site};
use stencil_update::envelope::Envelope;
use stencil_update::header::{Header, Version};
use stencil_update::id::Id;
use stencil_update::signing::Keys;
use tokio::sync::watch;

use self::hub::Hub;
use self::uplink::Uplink;
use crate::api::Client;
use crate::output::{self, Format, say};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// Bytes of an image.
const IMAGE_BYTES: usize = 12_000;
const TENANT: &str = "acme";

/// A bad firmware image, a good one, and devices that were off.
///
/// Starts a hub, simulated gateways and devices that take firmware by the boot loader's own logic
/// on this machine, and rolls out an image whose application never talks: the first devices fall
/// back, and the roll-out pauses. Then a good one, with the hub killed in the middle: all that are
/// on run it. Then the others are switched on. Exits 0 only if all of that held.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many devices.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(10..=5_000))]
    devices: u32,
    /// Behind how many gateways.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    gateways: u32,
    /// How long each part may take, in seconds.
    #[arg(long, default_value_t = 300)]
    limit_s: u64,
    /// Where to keep data; a temporary folder that is removed if it is not given.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

/// What came out.
#[derive(Debug, Serialize)]
struct Report {
    /// All of it held.
    held: bool,
    devices: u32,
    gateways: u32,
    bad: Bad,
    good: Good,
    late: Late,
    seconds: f64,
}

/// A bad image.
#[derive(Debug, Serialize)]
struct Bad {
    held: bool,
    /// How the roll-out ended up.
    status: String,
    /// How many devices were to be first.
    canary: u64,
    /// How many devices ever installed it.
    installed: usize,
    failed: u64,
    /// How many run it in the end.
    running: usize,
}

/// A good image.
#[derive(Debug, Serialize)]
struct Good {
    held: bool,
    /// How many devices are on.
    on: u64,
    done: u64,
    failed: u64,
    /// How many devices really run it.
    running: usize,
    /// Those that are off.
    waiting: u64,
    /// How often the hub was killed meanwhile.
    hub_kills: u32,
}

/// Those that were off.
#[derive(Debug, Serialize)]
struct Late {
    held: bool,
    status: String,
    done: u64,
    running: usize,
}

/// Runs it.
pub(crate) async fn run(args: &Args, stop: watch::Receiver<bool>) -> anyhow::Result<ExitCode> {
    let temporary = match &args.data_dir {
        Some(_) => None,
        None => Some(Folder::new()?),
    };
    let dir = match (&args.data_dir, &temporary) {
        (Some(dir), _) => dir.clone(),
        (None, Some(folder)) => folder.0.clone(),
        (None, None) => bail!("there is no folder to keep data in"),
    };
    let mut stopped = stop;
    let report = tokio::select! {
        report = play(args, &dir) => report?,
        _ = stopped.wait_for(|stop| *stop) => bail!("it was stopped"),
    };
    match args.output {
        Format::Json => output::json(&report)?,
        Format::Text => tell(&report),
    }
    Ok(match report.held {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

async fn play(args: &Args, dir: &std::path::Path) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let mut hub = Hub::start(dir).await?;
    let mut play = Play::begin(args, dir, &hub).await?;
    play.all_are_known(&hub).await?;
    let bad = play.bad(&hub).await?;
    let (good, rollout) = play.good(&mut hub).await?;
    let late = play.late(&hub, &rollout).await?;
    hub.stop().await?;
    Ok(Report {
        held: bad.held && good.held && late.held,
        devices: args.devices,
        gateways: args.gateways,
        bad,
        good,
        late,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// All that is on this side of the hub.
struct Play {
    keys: Keys,
    uplinks: Vec<Uplink>,
    on: Vec<DeviceId>,
    off: Vec<DeviceId>,
    limit: Duration,
}

impl Play {
    async fn begin(args: &Args, dir: &std::path::Path, hub: &Hub) -> anyhow::Result<Self> {
        let mut keys = Keys::generate(&dir.join("keys"))?;
        let factory = signed(&mut keys, 1, &image(1, b"OK"))?;
        let trust = json!({ "keys": keys.trust().to_text() }).to_string();
        let body = ("application/json", trust.into_bytes());
        let put = reqwest::Method::PUT;
        hub.client
            .call(put, "/api/v1/update-trust", Some(body))
            .await?;
        let (mut uplinks, mut on, mut off) = (Vec::new(), Vec::new(), Vec::new());
        for gateway in 0..args.gateways {
            let id = GatewayId::parse(&format!("gw-{gateway}"))?;
            let mine = (0..args.devices).filter(|device| device % args.gateways == gateway);
            let devices: Vec<DeviceId> = mine
                .map(|device| DeviceId::parse(&format!("node-{device:04}")))
                .collect::<Result<_, _>>()?;
            // One of ten is off.
            for (place, device) in devices.iter().enumerate() {
                match (place + 1) % 10 {
                    0 => off.push(device.clone()),
                    _ => on.push(device.clone()),
                }
            }
            let site = Site::new(site::Options {
                gateway: id.clone(),
                devices,
                trust: keys.trust().clone(),
                factory: factory.clone(),
            })?;
            let credentials = hub.add_gateway(&id)?;
            uplinks.push(Uplink::start(site, &id, &credentials, hub.mqtt)?);
        }
        let play = Self {
            keys,
            uplinks,
            on,
            off,
            limit: Duration::from_secs(args.limit_s),
        };
        // Each has been on once, so that the hub knows it.
        play.switch(&play.on, true);
        play.switch(&play.off, true);
        Ok(play)
    }

    fn switch(&self, devices: &[DeviceId], on: bool) {
        for uplink in &self.uplinks {
            uplink.site(|site| {
                for device in devices {
                    site.switch(device, on);
                }
            });
        }
    }

    /// Waits until the hub knows all devices, then switches some of them off.
    async fn all_are_known(&self, hub: &Hub) -> anyhow::Result<()> {
        let all = self.on.len() + self.off.len();
        self.until("the hub to know all devices", async || {
            let devices = hub.client.list("/api/v1/devices?limit=1000").await?;
            let connected = devices.iter().filter(|device| device["connected"] == true);
            Ok((connected.count() == all).then_some(()))
        })
        .await?;
        self.switch(&self.off, false);
        let on = self.on.len();
        self.until("some to be off", async || {
            let devices = hub.client.list("/api/v1/devices?limit=1000").await?;
            let connected = devices.iter().filter(|device| device["connected"] == true);
            Ok((connected.count() == on).then_some(()))
        })
        .await
    }

    async fn bad(&mut self, hub: &Hub) -> anyhow::Result<Bad> {
        let digest = self.push(hub, 2, site::BAD).await?;
        let begun = create(&hub.client, &digest).await?;
        let canary = begun["turn"].as_u64().unwrap_or_default();
        let path = path(&begun)?;
        let paused = self
            .until("the roll-out to pause", async || {
                let shown = hub.client.get(&path).await?;
                Ok((shown["status"] != "running").then_some(shown))
            })
            .await?;
        // Those that are at it come to their end, too.
        let ended = self
            .until("the first devices to fall back", async || {
                let shown = hub.client.get(&path).await?;
                let at_it = ["offered", "downloading", "installed"]
                    .map(|phase| shown["counts"][phase].as_u64().unwrap_or_default());
                Ok((at_it.iter().sum::<u64>() == 0).then_some(shown))
            })
            .await?;
        let installed = self.sum(|site| site.installed(&digest.0));
        let running = self.sum(|site| site.running(&digest.0));
        let failed = ended["counts"]["failed"].as_u64().unwrap_or_default();
        let abort = format!("{path}/abort");
        hub.client.post(&abort, &json!({})).await?;
        let status = paused["status"].as_str().unwrap_or_default().to_owned();
        let none_else = u64::try_from(installed)? <= canary;
        let held = status == "paused"
            && paused["why"]["by"] == "failures"
            && failed > 0
            && none_else
            && running == 0
            && ended["counts"]["done"] == 0;
        Ok(Bad {
            held,
            status,
            canary,
            installed,
            failed,
            running,
        })
    }

    async fn good(&mut self, hub: &mut Hub) -> anyhow::Result<(Good, String)> {
        let digest = self.push(hub, 3, b"OK").await?;
        let path = path(&create(&hub.client, &digest).await?)?;
        let on = u64::try_from(self.on.len())?;
        let done = |shown: &Value| shown["counts"]["done"].as_u64().unwrap_or_default();
        // In the middle, and once more near the end.
        for part in [3, 7] {
            self.until("the roll-out to go on", async || {
                let shown = hub.client.get(&path).await?;
                Ok((done(&shown) * 10 >= on * part).then_some(()))
            })
            .await?;
            hub.kill_and_start().await?;
        }
        let shown = self
            .until("all that are on to run it", async || {
                let shown = hub.client.get(&path).await?;
                ensure!(
                    shown["status"] == "running",
                    "the roll-out is {}",
                    shown["status"]
                );
                Ok((done(&shown) >= on).then_some(shown))
            })
            .await?;
        let running = self.sum(|site| site.running(&digest.0));
        let counts = &shown["counts"];
        let count = |phase: &str| counts[phase].as_u64().unwrap_or_default();
        let failed = count("failed") + count("timed_out");
        let waiting = count("waiting");
        let good = Good {
            held: failed == 0
                && u64::try_from(running)? == on
                && waiting == u64::try_from(self.off.len())?
                && done(&shown) == on,
            on,
            done: done(&shown),
            failed,
            running,
            waiting,
            hub_kills: hub.kills,
        };
        Ok((good, path))
    }

    async fn late(&self, hub: &Hub, path: &str) -> anyhow::Result<Late> {
        self.switch(&self.off, true);
        let all = self.on.len() + self.off.len();
        let shown = self
            .until("those that were off to run it", async || {
                let shown = hub.client.get(path).await?;
                Ok((shown["status"] != "running").then_some(shown))
            })
            .await?;
        let image = shown["plan"]["image"]["digest"].as_str();
        let digest: stencil_rollout::Digest = image.unwrap_or_default().parse()?;
        let running = self.sum(|site| site.running(&digest.0));
        let done = shown["counts"]["done"].as_u64().unwrap_or_default();
        let status = shown["status"].as_str().unwrap_or_default().to_owned();
        Ok(Late {
            held: status == "finished" && running == all && done == u64::try_from(all)?,
            status,
            done,
            running,
        })
    }

    async fn push(
        &mut self,
        hub: &Hub,
        sequence: u64,
        begins: &[u8],
    ) -> anyhow::Result<stencil_rollout::Digest> {
        let payload = image(sequence, begins);
        let (manifest, payload) = signed(&mut self.keys, sequence, &payload)?;
        let digest = Envelope::decode(&manifest)?.claims().digest;
        let digest = stencil_rollout::Digest(digest);
        let length = u32::try_from(manifest.len())?.to_be_bytes();
        let body = [&length, &manifest[..], &payload[..]].concat();
        let body = ("application/octet-stream", body);
        let path = format!("/api/v1/images/{digest}");
        hub.client
            .call(reqwest::Method::PUT, &path, Some(body))
            .await?;
        Ok(digest)
    }

    fn sum(&self, count: impl Fn(&Site) -> usize) -> usize {
        let uplinks = self.uplinks.iter();
        uplinks.map(|uplink| uplink.site(|site| count(site))).sum()
    }

    async fn until<T>(
        &self,
        what: &str,
        mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let begun = Instant::now();
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            ensure!(
                begun.elapsed() < self.limit,
                "waited {} s in vain for {what}",
                self.limit.as_secs()
            );
            tokio::time::sleep(LOOK).await;
        }
    }
}

async fn create(client: &Client, digest: &stencil_rollout::Digest) -> anyhow::Result<Value> {
    let plan = json!({
        "image": digest, "devices": "node-*", "canary": { "percent": 5 }, "waves": [25, 100],
        "max_failed_percent": 10, "min_finished": 10, "per_gateway": 20,
        "progress_timeout_s": 120,
    });
    client.post("/api/v1/rollouts", &plan).await
}

fn path(rollout: &Value) -> anyhow::Result<String> {
    let id = rollout["id"].as_str().context("the roll-out has no id")?;
    Ok(format!("/api/v1/rollouts/{id}"))
}

/// An image that begins so.
fn image(sequence: u64, begins: &[u8]) -> Vec<u8> {
    let mut noise = sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let rest = std::iter::from_fn(|| {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        Some(noise.to_le_bytes()[2])
    });
    begins
        .iter()
        .copied()
        .chain(rest)
        .take(IMAGE_BYTES)
        .collect()
}

/// Manifest and payload.
fn signed(keys: &mut Keys, sequence: u64, payload: &[u8]) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    let vendor = Id::of_vendor("acme.example");
    let header = Header {
        vendor,
        class: Id::of_class(vendor, "node"),
        sequence,
        size: u32::try_from(payload.len())?,
        digest: stencil_update::device::digest(payload),
        version: Version::new(&format!("1.{sequence}.0"))?,
    };
    Ok((keys.sign(&header)?.encode(), payload.to_vec()))
}

fn tell(report: &Report) {
    let Report {
        bad, good, late, ..
    } = report;
    let held = |held: bool| if held { "held" } else { "DID NOT HOLD" };
    say!(
        "bad image: {}; {} of the first {} installed it and fell back, {} run it: {}",
        bad.status,
        bad.installed,
        bad.canary,
        bad.running,
        held(bad.held)
    );
    say!(
        "good image: {} of {} that are on run it, {} wait, the hub was killed {} times: {}",
        good.running,
        good.on,
        good.waiting,
        good.hub_kills,
        held(good.held)
    );
    say!(
        "those that were off: {}; {} of {} devices run it: {}",
        late.status,
        late.running,
        report.devices,
        held(late.held)
    );
}

/// A folder that goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let mut name = [0; 8];
        rand_core::Rng::fill_bytes(&mut stencil_crypto::rng::Os, &mut name);
        let name = format!("stencil-sim-rollout-{}", hex::encode(name));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
