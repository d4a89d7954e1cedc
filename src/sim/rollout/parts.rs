//! The parts of the story.

use std::collections::BTreeSet;

use anyhow::ensure;
use serde_json::{Value, json};
use stencil_protocol::id::DeviceId;
use stencil_simulators::nodes::BAD;

use super::images::{GOOD, Image};
use super::play::{ODD, Odd, Play, count};
use super::report::{Bad, Good, Late, NotTaken, Refused};
use crate::output::note;

/// What is killed when so many tenths of the devices are done.
const KILLS: [(u64, Victim); 3] = [(3, Victim::Hub), (5, Victim::Gateway), (7, Victim::Hub)];

#[derive(Clone, Copy)]
enum Victim {
    Hub,
    Gateway,
}

impl Play {
    pub(super) async fn bad(&mut self) -> anyhow::Result<Bad> {
        note!("a bad image: its application never talks");
        let image = self.maker.image(2, BAD)?;
        self.hub.push(&image).await?;
        let (path, canary) = self.roll_out(&image).await?;
        let paused = self
            .until_rollout("the roll-out to pause", &path, |shown| {
                Ok(shown["status"] != "running")
            })
            .await?;
        // Those that are at it come to their end, too.
        let ended = self
            .until_rollout("the first devices to fall back", &path, |shown| {
                let at_it = ["offered", "downloading", "installed"].map(|it| count(shown, it));
                Ok(at_it.iter().sum::<u64>() == 0)
            })
            .await?;
        let (digest, name) = (image.header.digest, image.header.name()?);
        let reached = self.nodes.count(|life| life.begun.contains(&name));
        let fell_back = self.nodes.count(|life| {
            let runs_another = life
                .runs
                .is_some_and(|it| it.confirmed && it.digest != digest);
            life.trials.contains_key(&digest) && life.hangs > 0 && runs_another
        });
        let runs_it = |life: &stencil_simulators::nodes::Life| {
            life.runs.is_some_and(|it| it.digest == digest)
        };
        let running = self.nodes.count(runs_it);
        let failed = count(&ended, "failed");
        let abort = format!("{path}/abort");
        self.hub.client.post(&abort, &json!({})).await?;
        let status = paused["status"].as_str().unwrap_or_default().to_owned();
        note!("  {status}: {reached} of the first {canary} devices took it, {fell_back} fell back");
        let held = status == "paused"
            && paused["why"]["by"] == "failures"
            && reached > 0
            && u64::try_from(reached)? <= canary
            && fell_back == reached
            && failed == u64::try_from(reached)?
            && count(&ended, "done") == 0
            && running == 0;
        Ok(Bad {
            held,
            status,
            canary,
            reached,
            fell_back,
            failed,
            running,
        })
    }

    /// Gives the image and the roll-out's path, too.
    pub(super) async fn good(&mut self) -> anyhow::Result<(Image, String, Good)> {
        note!("a good image; the power of devices goes now and then");
        let image = self.maker.image(3, GOOD)?;
        self.hub.push(&image).await?;
        let (path, _) = self.roll_out(&image).await?;
        let on = u64::try_from(self.on.len())?;
        let mut too_early = BTreeSet::new();
        for (tenths, victim) in KILLS {
            self.until_rollout("the roll-out to go on", &path, |shown| {
                is_running(shown)?;
                Ok(count(shown, "done") * 10 >= on * tenths)
            })
            .await?;
            too_early.extend(self.done_too_early(&path, &image).await?);
            match (victim, self.gateways.first_mut()) {
                (Victim::Gateway, Some(gateway)) => {
                    note!("  a gateway is killed");
                    gateway.kill_and_start().await?;
                }
                (Victim::Hub | Victim::Gateway, _) => {
                    note!("  the hub is killed");
                    self.hub.kill_and_start().await?;
                }
            }
        }
        let shown = self
            .until_rollout("all that are on to run it", &path, |shown| {
                is_running(shown)?;
                Ok(count(shown, "done") >= on)
            })
            .await?;
        too_early.extend(self.done_too_early(&path, &image).await?);
        let running = self.nodes.count(|life| life.keeps(&image.header.digest));
        let done = count(&shown, "done");
        let failed = count(&shown, "failed") + count(&shown, "timed_out");
        let waiting = count(&shown, "waiting");
        note!("  {running} of {on} run it, {waiting} wait");
        let held = failed == 0
            && done == on
            && u64::try_from(running)? == on
            && too_early.is_empty()
            && waiting == u64::try_from(self.off.len())?;
        let good = Good {
            held,
            on,
            done,
            failed,
            running,
            done_too_early: too_early.len(),
            waiting,
        };
        Ok((image, path, good))
    }

    /// Devices that are done for the hub, and have never kept the image.
    async fn done_too_early(&self, path: &str, image: &Image) -> anyhow::Result<Vec<DeviceId>> {
        let list = format!("{path}/devices?phase=done&limit=1000");
        let mut early = Vec::new();
        for row in self.hub.client.list(&list).await? {
            let device = DeviceId::parse(row["device"].as_str().unwrap_or_default())?;
            let life = self.nodes.life(&device);
            if !life.is_some_and(|life| life.keeps(&image.header.digest)) {
                early.push(device);
            }
        }
        Ok(early)
    }

    pub(super) async fn late(&mut self, image: &Image, path: &str) -> anyhow::Result<Late> {
        note!("those that were off are switched on");
        for device in &self.off {
            self.nodes.switch(device, true);
        }
        let all = self.on.len() + self.off.len();
        let shown = self
            .until_rollout("those that were off to run it", path, |shown| {
                Ok(shown["status"] != "running")
            })
            .await?;
        let running = self.nodes.count(|life| life.keeps(&image.header.digest));
        let done = count(&shown, "done");
        let status = shown["status"].as_str().unwrap_or_default().to_owned();
        note!("  {status}: {running} of {all} devices run it");
        Ok(Late {
            held: status == "finished" && running == all && done == u64::try_from(all)?,
            status,
            done,
            running,
        })
    }

    pub(super) async fn refused(&mut self, image: &Image) -> anyhow::Result<Refused> {
        note!("images that must not be taken");
        let strange = self.stranger.image(4, GOOD)?;
        let old = self.maker.image(2, GOOD)?;
        let by_hub = vec![
            self.pushed("a stranger's image at the hub", &strange, "signature")
                .await,
            self.pushed("an older image at the hub", &old, "has to be higher")
                .await,
        ];
        let plan = json!({
            "image": image.digest(), "devices": "odd-*", "canary": { "percent": 100 },
            "waves": [100], "per_gateway": 20, "progress_timeout_s": 120,
        });
        let path = super::hub::path(&self.hub.roll_out(&plan).await?)?;
        let all = u64::try_from(ODD.len())?;
        self.until_rollout("devices to refuse it", &path, |shown| {
            let ended = ["done", "failed", "timed_out", "skipped"].map(|it| count(shown, it));
            Ok(ended.iter().sum::<u64>() == all)
        })
        .await?;
        let devices = self.hub.client.list(&format!("{path}/devices")).await?;
        let mut by_devices = Vec::new();
        for odd in &ODD {
            by_devices.push(self.judged(odd, &devices, image)?);
        }
        for not_taken in by_hub.iter().chain(&by_devices) {
            note!("  {}: {}", not_taken.what, not_taken.said);
        }
        let mut all = by_hub.iter().chain(&by_devices);
        Ok(Refused {
            held: all.all(|it| it.held),
            by_hub,
            by_devices,
        })
    }

    /// An image that the hub has to refuse for this reason.
    async fn pushed(&self, what: &'static str, image: &Image, why: &str) -> NotTaken {
        let said = match self.hub.push(image).await {
            Ok(()) => "it was taken".to_owned(),
            Err(error) => error.to_string(),
        };
        let held = said.contains(why);
        NotTaken { held, what, said }
    }

    /// A device's own refusal, as the hub shows it; what it runs is what it ran before, and nothing
    /// of the image was ever started.
    fn judged(&self, odd: &Odd, devices: &[Value], image: &Image) -> anyhow::Result<NotTaken> {
        let row = devices.iter().find(|row| row["device"] == odd.device);
        let detail = row.and_then(|row| row["detail"].as_str());
        let said = detail.unwrap_or_default().to_owned();
        let digest = image.header.digest;
        let life = self.nodes.life(&DeviceId::parse(odd.device)?);
        let is_as_before = life.is_some_and(|life| {
            let runs_another = life
                .runs
                .is_some_and(|it| it.confirmed && it.digest != digest);
            runs_another && !life.trials.contains_key(&digest)
        });
        let has_failed = row.is_some_and(|row| row["phase"] == "failed");
        Ok(NotTaken {
            held: has_failed && said == odd.outcome.to_string() && is_as_before,
            what: odd.what,
            said,
        })
    }
}

/// Nothing but more time is needed.
fn is_running(rollout: &Value) -> anyhow::Result<()> {
    let status = rollout["status"].as_str().unwrap_or_default();
    ensure!(status == "running", "the roll-out is {status}: {rollout}");
    Ok(())
}
