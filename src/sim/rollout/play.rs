//! The stage: hub, gateways, devices; and the order of the parts.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use serde_json::{Value, json};
use stencil_protocol::id::{DeviceId, GatewayId};
use stencil_simulators::Reconnect;
use stencil_simulators::nodes::{self, Born, Claims, Nodes};

use super::Args;
use super::gateway::Gateway;
use super::hub::Hub;
use super::images::{CLASS, GOOD, Image, Maker, class_id};
use super::report::{PowerCuts, Report};
use crate::output::note;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// Between two lines of progress.
const TELL: Duration = Duration::from_secs(2);
/// How often the power of a device goes at most while it installs an image. A new image is started
/// three times, and a start that the power cuts is one of these.
const POWER_CUTS: usize = 2;
/// A class of devices that no image is for.
const OTHER_CLASS: &str = "valve";
/// The image that a device got past the hub has this sequence number: all of the story are older.
const NEWER: u64 = 9;

/// All that plays.
pub(super) struct Play {
    pub(super) hub: Hub,
    pub(super) gateways: Vec<Gateway>,
    pub(super) nodes: Nodes,
    pub(super) maker: Maker,
    pub(super) stranger: Maker,
    pub(super) on: Vec<DeviceId>,
    pub(super) off: Vec<DeviceId>,
    limit: Duration,
}

/// A device that must not take the story's image, and says that it would.
pub(super) struct Odd {
    pub(super) device: &'static str,
    /// Why it must not.
    pub(super) what: &'static str,
    /// What it has to answer.
    pub(super) outcome: stencil_protocol::transfer::Outcome,
}

/// All of them.
pub(super) const ODD: [Odd; 3] = {
    use stencil_protocol::transfer::Outcome;
    [
        Odd {
            device: "odd-newer",
            what: "an older image at a device that runs a newer one",
            outcome: Outcome::OLD,
        },
        Odd {
            device: "odd-class",
            what: "another class's image at a device",
            outcome: Outcome::FOREIGN_CLASS,
        },
        Odd {
            device: "odd-key",
            what: "an image at a device that trusts another key",
            outcome: Outcome::SIGNATURE,
        },
    ]
};

/// Plays all of it.
pub(super) async fn play(args: &Args, dir: &Path) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let mut play = Play::begin(args, dir).await?;
    play.all_are_known().await?;
    let bad = play.bad().await?;
    let (image, rollout, good) = play.good().await?;
    let late = play.late(&image, &rollout).await?;
    let refused = play.refused(&image).await?;
    let (downloads, trials) = play.nodes.power_cuts();
    let report = Report {
        held: bad.held && good.held && late.held && refused.held,
        devices: args.devices,
        gateways: args.gateways,
        seed: args.seed,
        bad,
        good,
        late,
        refused,
        power_cuts: PowerCuts { downloads, trials },
        hub_kills: play.hub.kills,
        gateway_kills: play.gateways.iter().map(|gateway| gateway.kills).sum(),
        seconds: begun.elapsed().as_secs_f64(),
    };
    play.end().await?;
    Ok(report)
}

impl Play {
    async fn begin(args: &Args, dir: &Path) -> anyhow::Result<Self> {
        note!(
            "a hub, {} gateways, {} devices; data and logs in {}",
            args.gateways,
            args.devices,
            dir.display()
        );
        let hub = Hub::start(dir).await?;
        let maker = Maker::new(&dir.join("keys"))?;
        let stranger = Maker::new(&dir.join("stranger"))?;
        hub.trust(maker.trust()).await?;
        let mut gateways = Vec::new();
        for gateway in 0..args.gateways {
            let id = GatewayId::parse(&format!("gw-{gateway}"))?;
            gateways.push(Gateway::start(dir, &hub, &id, maker.trust()).await?);
        }
        let devices = u64::from(args.devices);
        let nodes = Nodes::new(nodes::Options {
            seed: args.seed,
            // Images are verified right after a measurement; in all some hundred of these a second.
            sample_interval: Duration::from_millis((devices * 4).clamp(500, 5_000)),
            // Handshakes take the most: some hundred of those a second.
            spread: Duration::from_millis(devices * 5),
            reconnect: Reconnect::default(),
            power_cuts: POWER_CUTS,
        });
        let mut play = Self {
            hub,
            gateways,
            nodes,
            maker,
            stranger,
            on: Vec::new(),
            off: Vec::new(),
            limit: Duration::from_secs(args.limit_s),
        };
        play.populate(args.devices)?;
        Ok(play)
    }

    /// Makes all devices, and switches them on once, so that the hub knows them.
    fn populate(&mut self, devices: u32) -> anyhow::Result<()> {
        let factory = self.maker.image(1, GOOD)?;
        let identity = self.maker.identity(CLASS);
        for number in 0..devices {
            let device = DeviceId::parse(&format!("node-{number:04}"))?;
            let gateway = usize::try_from(number)? % self.gateways.len();
            let born = self.born(device.clone(), gateway, &factory)?;
            self.nodes.add(Born { identity, ..born });
            // One of ten is off later.
            match number % 10 {
                9 => self.off.push(device),
                _ => self.on.push(device),
            }
        }
        let newer = self.maker.image(NEWER, GOOD)?;
        let other = self.maker.image_for(OTHER_CLASS, 1, GOOD)?;
        let strange = self.stranger.image(1, GOOD)?;
        for odd in &ODD {
            let device = DeviceId::parse(odd.device)?;
            let born = match odd.device {
                "odd-newer" => Born {
                    claims: Claims::Sequence(1),
                    ..self.born(device, 0, &newer)?
                },
                "odd-class" => Born {
                    identity: self.maker.identity(OTHER_CLASS),
                    claims: Claims::Class(class_id(CLASS)),
                    ..self.born(device, 0, &other)?
                },
                _ => Born {
                    identity: self.stranger.identity(CLASS),
                    ..self.born(device, 0, &strange)?
                },
            };
            self.nodes.add(born);
            self.nodes.switch(&DeviceId::parse(odd.device)?, true);
        }
        for device in self.on.iter().chain(&self.off) {
            self.nodes.switch(device, true);
        }
        Ok(())
    }

    /// A device with a key at its gateway.
    fn born(&self, device: DeviceId, gateway: usize, image: &Image) -> anyhow::Result<Born> {
        let Some(gateway) = self.gateways.get(gateway) else {
            bail!("there is no such gateway");
        };
        Ok(Born {
            psk: gateway.add_device(&device)?,
            gateway: gateway.address(),
            device,
            identity: self.maker.identity(CLASS),
            package: Arc::clone(&image.package),
            claims: Claims::Truth,
        })
    }

    /// Waits until the hub knows all devices, then switches some of them off.
    async fn all_are_known(&mut self) -> anyhow::Result<()> {
        let all = self.on.len() + self.off.len() + ODD.len();
        self.until_connected("the hub to know all devices", all)
            .await?;
        for device in &self.off {
            self.nodes.switch(device, false);
        }
        let rest = all - self.off.len();
        self.until_connected("some to be off", rest).await?;
        note!("the hub knows all; {} are switched off", self.off.len());
        Ok(())
    }

    /// The end of all parts, so that nobody writes any more.
    async fn end(mut self) -> anyhow::Result<()> {
        drop(self.nodes);
        for gateway in &mut self.gateways {
            gateway.kill().await?;
        }
        self.hub.kill().await
    }

    async fn until_connected(&self, what: &str, so_many: usize) -> anyhow::Result<()> {
        self.until(what, async || {
            let devices = self.hub.client.list("/api/v1/devices?limit=1000").await?;
            let connected = devices.iter().filter(|it| it["connected"] == true).count();
            let text = format!("{connected} devices are linked, {so_many} are to be");
            Ok(Seen {
                found: (connected == so_many).then_some(()),
                text,
            })
        })
        .await
    }

    /// Begins a roll-out of an image that was pushed; gives its path, and how many are the canary.
    pub(super) async fn roll_out(&self, image: &Image) -> anyhow::Result<(String, u64)> {
        let plan = json!({
            "image": image.digest(), "devices": "node-*", "canary": { "percent": 5 },
            "waves": [25, 100], "max_failed_percent": 10, "min_finished": 10, "per_gateway": 20,
            "progress_timeout_s": 120,
        });
        let begun = self.hub.roll_out(&plan).await?;
        let canary = begun["turn"].as_u64().unwrap_or_default();
        Ok((super::hub::path(&begun)?, canary))
    }

    /// Looks at a roll-out until it is as it should be.
    pub(super) async fn until_rollout(
        &self,
        what: &str,
        path: &str,
        so: impl Fn(&Value) -> anyhow::Result<bool>,
    ) -> anyhow::Result<Value> {
        self.until(what, async || {
            let shown = self.hub.client.get(path).await?;
            let text = told(&shown);
            Ok(Seen {
                found: so(&shown)?.then_some(shown),
                text,
            })
        })
        .await
    }

    /// Looks until there is something; tells how it goes meanwhile.
    pub(super) async fn until<T>(
        &self,
        what: &str,
        mut look: impl AsyncFnMut() -> anyhow::Result<Seen<T>>,
    ) -> anyhow::Result<T> {
        let begun = Instant::now();
        let (mut told, mut told_at) = (String::new(), begun);
        loop {
            let Seen { found, text } = look().await?;
            if let Some(found) = found {
                return Ok(found);
            }
            if let Some((device, why)) = self.nodes.dead() {
                bail!("{device} does not start any more: {why}");
            }
            ensure!(
                begun.elapsed() < self.limit,
                "waited {} s in vain for {what}: {text}",
                self.limit.as_secs()
            );
            if told_at.elapsed() >= TELL && told != text {
                note!("  {text}");
                (told, told_at) = (text, Instant::now());
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// What a look shows.
pub(super) struct Seen<T> {
    /// What was looked for, if it is there.
    pub(super) found: Option<T>,
    /// How far it is.
    pub(super) text: String,
}

/// How many devices of a roll-out are in a phase.
pub(super) fn count(rollout: &Value, phase: &str) -> u64 {
    rollout["counts"][phase].as_u64().unwrap_or_default()
}

/// A roll-out in a line.
fn told(rollout: &Value) -> String {
    let phases = stencil_rollout::Phase::NAMES.iter();
    let counts: Vec<String> = phases
        .map(|phase| (phase, count(rollout, phase)))
        .filter(|(_, count)| *count > 0)
        .map(|(phase, count)| format!("{count} {}", phase.replace('_', " ")))
        .collect();
    let status = rollout["status"].as_str().unwrap_or_default();
    format!("{status}: {}", counts.join(", "))
}
