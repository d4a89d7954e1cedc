//! Who plays: each part's settings, start, and end.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::Method;
use serde::Serialize;
use stencil_protocol::id::DeviceId;
use tokio::sync::{mpsc, oneshot};

use super::chain::Chain;
use super::chaos::{self, What};
use super::layout::{GATEWAYS, Layout};
use super::shop;
use super::story::Narrator;
use super::supervisor::{News, Recipe, Supervised};
use super::uplink::Uplink;
use crate::api::Client;
use crate::config;

/// The demo's workflows; `@RECEIVER@` is where the webhook goes.
const WORKFLOWS: [&str; 2] = [
    include_str!("workflows/freezer-warm.yaml"),
    include_str!("workflows/machine-fault.yaml"),
];

/// How long a part may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How often a part is asked whether it is ready.
const ASK: Duration = Duration::from_millis(100);

/// All parts, running.
pub(crate) struct Cast {
    hub: Supervised,
    gateways: Vec<Supervised>,
    devices: Vec<Supervised>,
    receiver: Supervised,
    uplinks: Vec<Uplink>,
    /// Where the hub says that it is ready.
    hub_ready: String,
    /// The dev chain, and who pays on it.
    pub(crate) chain: Chain,
}

/// The hub while it is stopped.
pub(crate) struct Stopped<'a> {
    again: oneshot::Sender<()>,
    hub: &'a Supervised,
    ready: String,
}

impl Stopped<'_> {
    /// Starts it, and waits until it is ready.
    pub(crate) async fn start(self) -> anyhow::Result<()> {
        drop(self.again);
        let started = ready(self.hub, &self.ready).await;
        started.context("the hub did not start again")
    }
}

impl Cast {
    /// Starts everything, in the order in which it is needed.
    ///
    /// With a `length` the story is one that ends: doors open often enough for a distribution
    /// of latencies. `broken`: with crash plans, and a receiver that drops answers.
    pub(crate) async fn start(
        layout: &Layout,
        seed: u64,
        length: Option<Duration>,
        broken: bool,
        news: mpsc::Sender<News>,
        narrator: &Narrator,
    ) -> anyhow::Result<Self> {
        let mut uplinks = Vec::new();
        for address in &layout.ports.uplinks {
            uplinks.push(Uplink::open(*address, layout.ports.mqtt).await?);
        }
        let start = |name: &str, words: &[&str], crashes: Vec<String>| {
            let mut arguments: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            arguments.push("--config".to_owned());
            arguments.push(layout.path(&format!("{name}.toml")).display().to_string());
            let recipe = Recipe {
                name: name.to_owned(),
                arguments,
                log_dir: layout.path("logs"),
            };
            Supervised::start(recipe, crashes, news.clone())
        };
        let fleet = fleet(layout, seed, length);
        let chain = Chain::start(layout, seed, news.clone())
            .await
            .context("the dev chain did not start")?;
        narrator.tell("a dev chain is up, with a dollar, passports of devices and a market on it");
        settings(layout, seed, &fleet, &chain, broken)?;
        keys(layout, &fleet)?;

        let receiver = start("receiver", &["sim", "receiver"], Vec::new())?;
        let crashes = if broken {
            chaos::hub_crashes(seed)
        } else {
            Vec::new()
        };
        let hub = start("hub", &["hub"], crashes)?;
        ready(&hub, &format!("{}/readyz", layout.base()))
            .await
            .context("the hub did not start")?;
        narrator.tell("the hub is up");
        let mut gateways = Vec::new();
        for (index, name) in GATEWAYS.iter().enumerate() {
            let crashes = if broken && index == 0 {
                chaos::gateway_crashes(seed)
            } else {
                Vec::new()
            };
            gateways.push(start(name, &["gateway"], crashes)?);
        }
        for (gateway, address) in gateways.iter().zip(&layout.ports.gateways) {
            ready(gateway, &format!("http://{address}/readyz"))
                .await
                .context("a gateway did not start")?;
        }
        narrator.tell("two gateways are up, their links to the hub are post-quantum");
        apply_workflows(layout).await?;
        shop::open(layout, &chain)
            .await
            .context("the shop did not open")?;
        narrator.tell("lockers and data are for sale, for dollars of the dev chain");
        receiver.set_ready();
        let devices = vec![
            start("fleet", &["sim", "fleet"], Vec::new())?,
            start("replay", &["sim", "replay"], Vec::new())?,
        ];
        // Nobody can ask them: one that can't run at all is given up after a few lives.
        devices.iter().for_each(Supervised::set_ready);
        narrator.tell("fifty devices and the recording of a machine are switched on");
        Ok(Self {
            hub,
            gateways,
            devices,
            receiver,
            uplinks,
            hub_ready: format!("{}/readyz", layout.base()),
            chain,
        })
    }

    /// Lets one blow fall.
    pub(crate) async fn strike(&self, what: What, narrator: &Narrator) {
        match what {
            What::KillHub => {
                narrator.tell("chaos: SIGKILL to the hub");
                self.hub.kill(None).await;
            }
            What::KillGateway(index) => {
                if let (Some(gateway), Some(name)) = (self.gateways.get(index), GATEWAYS.get(index))
                {
                    narrator.tell(format!("chaos: SIGKILL to {name}"));
                    gateway.kill(None).await;
                }
            }
            What::CutUplink(index) | What::MendUplink(index) => {
                if let (Some(uplink), Some(name)) = (self.uplinks.get(index), GATEWAYS.get(index)) {
                    if what == What::CutUplink(index) {
                        narrator.tell(format!("chaos: {name} loses its uplink"));
                        uplink.cut();
                    } else {
                        narrator.tell(format!("chaos: {name} has its uplink again"));
                        uplink.mend();
                    }
                }
            }
        }
    }

    /// Stops the hub, until what this gives is told to start it.
    pub(crate) async fn stop_hub(&self) -> anyhow::Result<Stopped<'_>> {
        Ok(Stopped {
            again: self.hub.pause().await?,
            hub: &self.hub,
            ready: self.hub_ready.clone(),
        })
    }

    /// How often the hub and the gateways were started again.
    pub(crate) fn restarts(&self) -> (u32, u32) {
        (
            self.hub.restarts(),
            self.gateways.iter().map(Supervised::restarts).sum(),
        )
    }

    /// Ends the devices: they stop measuring, and hand in what they have.
    pub(crate) async fn drain(&self, limit: Duration) -> anyhow::Result<String> {
        for simulator in &self.devices {
            simulator.finish(limit).await?;
        }
        Ok("every number was acknowledged by a gateway".to_owned())
    }

    /// Ends everything, sources first, so that nothing is left on the way.
    pub(crate) async fn end(self, narrator: &Narrator) -> anyhow::Result<()> {
        let mut failures = Vec::new();
        let groups = [
            self.devices,
            self.gateways,
            vec![self.hub],
            vec![self.receiver, self.chain.process],
        ];
        for group in groups {
            let ends: Vec<_> = group
                .into_iter()
                .map(|part| tokio::spawn(part.stop()))
                .collect();
            for end in ends {
                if let Err(error) = end.await? {
                    narrator.tell(format!("{error:#}"));
                    failures.push(error);
                }
            }
        }
        failures.into_iter().next().map_or(Ok(()), Err)
    }
}

/// The fleet's settings.
fn fleet(
    layout: &Layout,
    seed: u64,
    length: Option<Duration>,
) -> stencil_simulators::fleet::Options {
    let mut options = stencil_simulators::fleet::Options {
        state_dir: layout.path("state"),
        journal_dir: layout.path("journal"),
        psk_dir: layout.path("psk"),
        gateways: layout.ports.links.iter().map(ToString::to_string).collect(),
        seed,
        drain_s: 30.0,
        // Two of them are lockers that are for hire, one is sold.
        freezers: 20,
        locks: 23,
        rooms: 7,
        ..stencil_simulators::fleet::Options::default()
    };
    if length.is_some() {
        options.doors.first_s = 4.0;
        options.doors.every_s = 2.0;
        options.faults.first_s = 8.0;
        options.faults.every_s = 3.0;
    } else {
        options.doors.every_s = 20.0;
    }
    options
}

/// Writes each part's settings, as an operator would.
fn settings(
    layout: &Layout,
    seed: u64,
    fleet: &stencil_simulators::fleet::Options,
    chain: &Chain,
    broken: bool,
) -> anyhow::Result<()> {
    let mut hub = stencil_server::Options {
        data_dir: layout.path("hub"),
        ..Default::default()
    };
    hub.http.listen = layout.ports.http;
    hub.mqtt.strict = layout.ports.mqtt;
    hub.connect.webhook.allow_loopback = true;
    hub.chains
        .insert(chain.name.clone(), chain.settings(layout));
    write(&layout.path("hub.toml"), &hub)?;
    let addresses = layout.ports.uplinks.iter().zip(&layout.ports.links);
    let asked = layout.ports.gateways.iter().zip(&layout.ports.access);
    for ((name, (uplink, link)), (health, access)) in GATEWAYS.iter().zip(addresses).zip(asked) {
        let mut gateway = stencil_gateway::Options::in_folder(&layout.path(name));
        gateway.psk_dir = layout.path("psk");
        gateway.hub.address = uplink.to_string();
        gateway.hub.server_name = "localhost".to_owned();
        gateway.link.tcp = vec![*link];
        gateway.http.listen = *health;
        gateway.access.listen = Some(*access);
        gateway.seal.interval_s = 1;
        write(&layout.path(&format!("{name}.toml")), &gateway)?;
    }
    write(&layout.path("fleet.toml"), fleet)?;
    let replay = stencil_simulators::replay::Options {
        state_dir: layout.path("state"),
        journal_dir: layout.path("journal"),
        psk_dir: layout.path("psk"),
        gateway: layout
            .ports
            .links
            .first()
            .map(ToString::to_string)
            .unwrap_or_default(),
        drain_s: 30.0,
        ..Default::default()
    };
    write(&layout.path("replay.toml"), &replay)?;
    let receiver = stencil_simulators::receiver::Options {
        listen: layout.ports.receiver,
        journal: layout.path("receiver.jsonl"),
        seed,
        drop_fraction: if broken { chaos::DROPPED_ANSWERS } else { 0.0 },
        ..Default::default()
    };
    write(&layout.path("receiver.toml"), &receiver)
}

fn write(path: &Path, options: &impl Serialize) -> anyhow::Result<()> {
    std::fs::write(path, config::dump(options)?)
        .with_context(|| format!("can't write {}", path.display()))
}

/// Makes the keys that devices and gateways share, where they are not there yet.
fn keys(layout: &Layout, fleet: &stencil_simulators::fleet::Options) -> anyhow::Result<()> {
    for device in fleet.devices()?.into_iter().chain([recording()?]) {
        if !layout.path("psk").join(format!("{device}.psk")).exists() {
            stencil_gateway::add_device(&layout.path("psk"), &device)?;
        }
    }
    Ok(())
}

async fn apply_workflows(layout: &Layout) -> anyhow::Result<()> {
    let client = Client::with(&layout.base(), &layout.token)?;
    let receiver = format!("http://{}/hook", layout.ports.receiver);
    for text in WORKFLOWS {
        let text = text.replace("@RECEIVER@", &receiver);
        let definition = stencil_workflow::definition::parse(&text)?;
        client
            .call(
                Method::PUT,
                &format!("/api/v1/workflows/{}", definition.id),
                Some(("application/yaml", text.into_bytes())),
            )
            .await?;
    }
    Ok(())
}

/// Waits until a part says that it is ready. An answer counts only while the part runs: on its
/// address somebody else may answer.
async fn ready(part: &Supervised, url: &str) -> anyhow::Result<()> {
    let http = crate::tls::http()?
        .timeout(Duration::from_secs(2))
        .build()?;
    let waiting = async {
        loop {
            if http
                .get(url)
                .send()
                .await
                .is_ok_and(|answer| answer.status().is_success())
                && part.is_running()
            {
                part.set_ready();
                return;
            }
            tokio::time::sleep(ASK).await;
        }
    };
    tokio::time::timeout(START_LIMIT, waiting)
        .await
        .with_context(|| {
            format!(
                "{url} did not answer within {} s; see logs/",
                START_LIMIT.as_secs()
            )
        })
}

/// The recording's device.
pub(crate) fn recording() -> anyhow::Result<DeviceId> {
    Ok(DeviceId::parse(
        &stencil_simulators::replay::Options::default().device,
    )?)
}
