//! What had to hold, asked of the hub's API, the devices' journals and the receiver's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use stencil_protocol::command::State;
use stencil_simulators::{journal, receiver, replay};

use super::cast::{self, Cast};
use super::layout::{Layout, TENANT};
use super::report::{Counts, Latency, Report};
use super::shop;
use super::story::{id, is_final};
use crate::api::Client;
use crate::reconcile::{account::Account, gather};

/// Fifty simulated devices and the recording.
const DEVICES: usize = 51;
/// An open door warms a freezer beyond the rule's limit, and for the rule's hold time, within
/// this time; twice over, since a sensor may fail meanwhile.
const WARMING_US: i64 = 20_000_000;
/// Between two looks at something that is still settling.
const LOOK: Duration = Duration::from_millis(300);

/// Waits until every number has an account and every run has ended, or `limit` has passed: the
/// checks say what is missing then.
pub(crate) async fn settle(client: &Client, limit: Duration) {
    let settled = async {
        loop {
            if is_settled(client).await.unwrap_or(false) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    // Not settled in time: the checks find it and say so.
    let _ = tokio::time::timeout(limit, settled).await;
}

async fn is_settled(client: &Client) -> anyhow::Result<bool> {
    let ledgers = gather::ledgers(client).await?;
    let runs = client.list("/api/v1/runs?limit=1000").await?;
    Ok(runs.iter().all(is_final) && Account::of(&ledgers, None, Vec::new()).held)
}

/// Everything, each as a step of the report.
pub(crate) async fn all(
    report: &mut Report,
    layout: &Layout,
    client: &Client,
    cast: &Cast,
    chaos: bool,
    ended_us: i64,
) {
    report.outcome("every link is post-quantum", links(client).await);
    report.outcome(
        "the recording is stored value by value",
        recording(client).await,
    );
    match Runs::fetch(client).await {
        Ok(runs) => {
            report.outcome(
                "an open door starts a workflow, which ends",
                runs.doors(layout, ended_us),
            );
            report.outcome("the recording's two faults are found", runs.faults());
            report.outcome("each page is published", runs.pages(client).await);
            report.outcome("each webhook is acted on once", runs.webhooks(layout));
            report.outcome(
                "each lock command is carried out once",
                runs.commands(layout, if chaos { 0 } else { shop::COMMANDS }),
            );
            report.latency_ms = Latency::of(runs.latencies_ms.clone());
        }
        Err(error) => report.step("runs can be read", false, format!("{error:#}")),
    }
    if chaos {
        let (hub, gateways) = cast.restarts();
        report.step(
            "parts were killed meanwhile",
            hub >= 4 && gateways >= 3,
            format!("the hub came back {hub} times, gateways {gateways} times"),
        );
    }
    let account = reconcile(layout, client).await;
    if let Ok(account) = &account {
        report.counts = Counts {
            sent: account.sent,
            stored: account.stored,
            duplicate: account.duplicate,
            dropped: account.dropped_total(),
        };
    }
    report.outcome(
        "every number has an account",
        account.and_then(|account| {
            let faults: Vec<String> = account
                .faults
                .iter()
                .map(|fault| fault.describe())
                .collect();
            ensure!(account.held, "{}: {}", account.summary(), faults.join("; "));
            ensure!(account.sent > 0, "nothing was sent");
            Ok(account.summary())
        }),
    );
}

async fn reconcile(layout: &Layout, client: &Client) -> anyhow::Result<Account> {
    let ledgers = gather::ledgers(client).await?;
    let given = gather::journals(&layout.path("journal"))?;
    Ok(Account::of(
        &ledgers,
        Some(&given),
        gather::unnumbered(client).await?,
    ))
}

async fn links(client: &Client) -> anyhow::Result<String> {
    let devices = client.list("/api/v1/devices?limit=1000").await?;
    ensure!(
        devices.len() == DEVICES,
        "{} of {DEVICES} devices are known",
        devices.len()
    );
    let mut kinds = BTreeSet::new();
    for device in &devices {
        let link = &device["link"];
        ensure!(
            link["post_quantum"] == true,
            "{} has the link {link}",
            device["id"]
        );
        kinds.insert(format!(
            "{} to the gateway, {} to the hub",
            link["suite"].as_str().unwrap_or("nothing"),
            link["group"].as_str().unwrap_or("nothing")
        ));
    }
    Ok(format!(
        "{DEVICES} devices: {}",
        kinds.into_iter().collect::<Vec<_>>().join("; ")
    ))
}

/// Holds the stored series against the file, value by value. Where the file gives several values for
/// one moment, the others follow it by a microsecond each.
async fn recording(client: &Client) -> anyhow::Result<String> {
    let mut wanted: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
    let mut readings = 0;
    let recording = replay::Recording::open(Path::new(""))?;
    for point in recording.points() {
        let at = wanted.entry(point.time_us).or_default();
        at.push(point.value.to_bits());
        readings += 1;
    }
    let device = cast::recording()?;
    let mut stored = BTreeMap::new();
    let mut from_us = i64::MIN;
    loop {
        let page = client
            .get(&format!(
                "/api/v1/devices/{device}/series/temperature?from_us={from_us}&limit=10000"
            ))
            .await?;
        let points = page["items"].as_array().context("no points")?;
        for point in points {
            let time_us = point["time_us"]
                .as_i64()
                .context("a point without a time")?;
            let value = point["value"].as_f64();
            stored.insert(time_us, value.context("a point without a number")?);
        }
        match stored.last_key_value() {
            Some((&last, _)) if !points.is_empty() => from_us = last + 1,
            _ => break,
        }
    }
    let mut differing = 0;
    for (&time_us, values) in &mut wanted {
        let behind = i64::try_from(values.len())?;
        let range = stored.range(time_us..time_us + behind);
        let mut found: Vec<u64> = range.map(|(_, value)| value.to_bits()).collect();
        found.sort_unstable();
        values.sort_unstable();
        differing += usize::from(found != *values);
    }
    ensure!(
        differing == 0 && stored.len() == readings,
        "{} of {readings} readings are stored, {differing} moments are missing or differ",
        stored.len()
    );
    Ok(format!(
        "{readings} readings at {} moments, equal to the bit",
        wanted.len()
    ))
}

/// All runs with their steps.
struct Runs {
    doors: Vec<Value>,
    faults: Vec<Value>,
    latencies_ms: Vec<f64>,
}

impl Runs {
    async fn fetch(client: &Client) -> anyhow::Result<Self> {
        let mut runs = Self {
            doors: Vec::new(),
            faults: Vec::new(),
            latencies_ms: Vec::new(),
        };
        for run in client.list("/api/v1/runs?limit=1000").await? {
            if run["workflow"] == "freezer-warm" {
                let whole = client.get(&format!("/api/v1/runs/{}", id(&run))).await?;
                runs.latencies_ms.extend(latency_ms(&whole));
                runs.doors.push(whole);
            } else if run["workflow"] == "machine-fault" {
                runs.faults.push(run);
            }
        }
        Ok(runs)
    }

    /// Every freezer whose door was left open early enough has a run. A door that is opened again
    /// while its freezer is still warm fires nothing: the rule has not seen it cold since.
    fn doors(&self, layout: &Layout, ended_us: i64) -> anyhow::Result<String> {
        let doors = journal::read(layout.path("journal"))?.doors;
        let opened = doors.iter().filter(|door| door.open).count();
        ensure!(
            !self.doors.is_empty(),
            "no run, although {opened} doors were left open"
        );
        all_done(&self.doors)?;
        let warm: BTreeSet<&str> = self
            .doors
            .iter()
            .filter_map(|run| run["event"]["device"].as_str())
            .collect();
        for door in doors
            .iter()
            .filter(|door| door.open && door.at_us + WARMING_US < ended_us)
        {
            ensure!(
                warm.contains(door.device.as_str()),
                "the door of {} was left open, and nothing came of it",
                door.device
            );
        }
        Ok(format!(
            "doors were left open {opened} times at {} freezers; {} runs, all done",
            doors
                .iter()
                .map(|door| &door.device)
                .collect::<BTreeSet<_>>()
                .len(),
            self.doors.len()
        ))
    }

    fn faults(&self) -> anyhow::Result<String> {
        all_done(&self.faults)?;
        let times: Vec<i64> = self
            .faults
            .iter()
            .filter_map(|run| run["event"]["time_us"].as_i64())
            .collect();
        ensure!(
            times.len() == 2,
            "{} runs instead of 2: {times:?}",
            times.len()
        );
        Ok("two runs of the recording's own time, both done".to_owned())
    }

    async fn pages(&self, client: &Client) -> anyhow::Result<String> {
        let mut pages = BTreeSet::new();
        for run in &self.doors {
            let device = run["event"]["device"]
                .as_str()
                .context("a run without a device")?;
            if pages.insert(device.to_owned()) {
                let path = format!("/p/{TENANT}/notices/{device}");
                let (status, page) = client.public(&path).await?;
                ensure!(status == 200, "{path} answers {status}");
                ensure!(
                    page.contains(&format!("{device} is warm")),
                    "{path} lacks its title"
                );
            }
        }
        ensure!(!pages.is_empty(), "there is no page");
        Ok(format!("{} public pages", pages.len()))
    }

    /// Each effect key that a run holds was acted on exactly once, and no other key ever.
    fn webhooks(&self, layout: &Layout) -> anyhow::Result<String> {
        let mut acts: BTreeMap<String, u32> = keys(&self.doors, "webhook.post")
            .map(|key| (key, 0))
            .collect();
        let mut requests = 0;
        let mut dropped = 0;
        for line in receiver::read(layout.path("receiver.jsonl"))? {
            requests += 1;
            dropped += u32::from(!line.answered);
            let count = acts
                .get_mut(&line.key)
                .with_context(|| format!("a webhook of no run: {}", line.key))?;
            *count += u32::from(line.acted);
        }
        for (key, count) in &acts {
            ensure!(*count == 1, "{key} was acted on {count} times");
        }
        Ok(format!(
            "{} effects, {requests} requests, {dropped} answers dropped, each acted on once",
            acts.len()
        ))
    }

    /// `of_shop`: how many commands its locks have carried out.
    fn commands(&self, layout: &Layout, of_shop: usize) -> anyhow::Result<String> {
        let mut wanted: BTreeMap<String, u32> = self
            .doors
            .iter()
            .filter_map(|run| step(run, "device.command"))
            .filter_map(|step| step["output"]["command"].as_str())
            .map(|command| (command.to_owned(), 0))
            .collect();
        ensure!(
            wanted.len() == self.doors.len(),
            "{} runs name {} commands",
            self.doors.len(),
            wanted.len()
        );
        let mut in_shop = BTreeSet::new();
        for executed in journal::read(layout.path("journal"))?.executed {
            if shop::LOCKS.contains(&executed.device.as_str()) {
                ensure!(
                    in_shop.insert(executed.id.to_string()),
                    "{} carried out {} twice",
                    executed.device,
                    executed.id
                );
                continue;
            }
            let count = wanted
                .get_mut(&executed.id.to_string())
                .with_context(|| format!("{} carried out a command of no run", executed.device))?;
            ensure!(
                executed.outcome == State::Done,
                "{} failed",
                executed.device
            );
            *count += 1;
        }
        for (command, count) in &wanted {
            ensure!(
                *count == 1,
                "command {command} was carried out {count} times"
            );
        }
        ensure!(
            in_shop.len() == of_shop,
            "the shop's locks carried out {} commands, not {of_shop}",
            in_shop.len()
        );
        Ok(format!(
            "{} commands, each carried out and acknowledged once",
            wanted.len() + of_shop
        ))
    }
}

fn all_done(runs: &[Value]) -> anyhow::Result<()> {
    let open: Vec<String> = runs
        .iter()
        .filter(|run| run["state"] != "done")
        .map(|run| {
            format!(
                "{} of {} is {}: {}",
                run["workflow"], run["event"]["device"], run["state"], run["error"]
            )
        })
        .collect();
    ensure!(
        open.is_empty(),
        "{} of {} runs are not done: {}",
        open.len(),
        runs.len(),
        open.join("; ")
    );
    Ok(())
}

fn step<'a>(run: &'a Value, uses: &str) -> Option<&'a Value> {
    run["steps"]
        .as_array()?
        .iter()
        .find(|step| step["use"] == uses)
}

fn keys<'a>(runs: &'a [Value], uses: &'a str) -> impl Iterator<Item = String> + 'a {
    runs.iter()
        .filter_map(move |run| step(run, uses)?["effect_key"].as_str())
        .map(str::to_owned)
}

/// From the measurement that fired the rule to the end of the attempt that published the page.
#[allow(clippy::cast_precision_loss, reason = "milliseconds of a demo")]
fn latency_ms(run: &Value) -> Option<f64> {
    let index = step(run, "content.publish")?["index"].as_u64()?;
    let published_us = run["attempts"]
        .as_array()?
        .iter()
        .filter(|attempt| attempt["step"].as_u64() == Some(index) && attempt["error"].is_null())
        .filter_map(|attempt| attempt["ended_us"].as_i64())
        .max()?;
    Some((published_us - run["event"]["time_us"].as_i64()?) as f64 / 1_000.0)
}
