//! Rounds of load and faults against a hub's ingest.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::books::Receiver;
use super::check::{self, Found};
use super::device::{Device, Load};
use super::hub::{self, Hub, PATIENCE, PAUSE, Site};
use super::plan::{Kind, Plan, Random};
use crate::shell;

const TENANT: &str = "acme";
/// How long a hub that must not acknowledge is listened to.
const SILENCE: Duration = Duration::from_millis(400);

/// What to do.
#[derive(Args)]
pub(crate) struct Options {
    /// Rounds.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rounds: u32,
    /// Devices that send, each over a connection of its own.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) devices: u32,
    /// What moments and faults follow from; the time of the start if it is not given.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Plays one round on a disk that lies about its syncs, and exits 0 if the loss was found:
    /// shows that these checks can fail.
    #[arg(long)]
    pub(crate) control: bool,
    /// How to print the result.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: Output,
}

impl Options {
    /// A few rounds, at moments of their own each time.
    pub(super) fn short(control: bool) -> Self {
        Self {
            rounds: 6,
            devices: 4,
            seed: None,
            control,
            output: Output::Text,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

/// Counts over all rounds.
#[derive(Default)]
struct Tally {
    rounds: BTreeMap<Kind, u32>,
    kills: u32,
    /// Hubs that ended by themselves at their fault.
    ended: u32,
    /// Faults after which the hub had to be red, and those after which it was not.
    poisoned: u32,
    not_told: u32,
    /// Hubs that acknowledged after their log had failed.
    lied: u32,
    /// Hubs that did not go on when there was room again.
    stuck: u32,
    /// Faults that did not come about in time.
    without_fault: u32,
    problems: Vec<String>,
}

/// Builds, plays the rounds, prints; an error when something did not hold.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let seed = match options.seed {
        Some(seed) => seed,
        None => u64::try_from(now_us()?)?,
    };
    let site = prepare()?;
    eprintln!("seed {seed}, data in {}", site.folder.display());
    let result = play(options, seed, &site)?;
    match options.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&result)?),
        Output::Text => {
            for (name, value) in result.as_object().into_iter().flatten() {
                println!("{name:28} {value}");
            }
        }
    }
    if options.control {
        ensure!(
            result["held"] == false && result["lost"].as_u64() > Some(0),
            "a disk that lies about its syncs was not found out (seed {seed})"
        );
    } else if result["held"] != true {
        bail!(
            "it did not hold (seed {seed}); the data is kept in {}",
            site.folder.display()
        );
    }
    std::fs::remove_dir_all(&site.folder).with_context(|| site.folder.display().to_string())
}

/// A binary whose log can fail, and a folder.
fn prepare() -> anyhow::Result<Site> {
    eprintln!("building with the feature `faults`");
    let build = ["build", "--locked", "--quiet", "--package", "stencil"];
    shell::run_quietly(shell::cargo().args(build).args(["--features", "faults"]))?;
    let target = shell::target();
    let folder = target.join("faults").join(std::process::id().to_string());
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    // Another build replaces the one there.
    let stencil = folder.join("stencil");
    std::fs::copy(target.join("debug/stencil"), &stencil).context("the hub's binary")?;
    Ok(Site { stencil, folder })
}

fn play(options: &Options, seed: u64, site: &Site) -> anyhow::Result<Value> {
    let mut random = Random::new(seed);
    let receiver = Receiver::start(&site.stencil, &site.folder)?;
    let token = init(site)?;
    let devices = furnish(options, site, &token, &receiver)?;
    let mut tally = Tally::default();
    let mut checked = vec![0; devices.len()];
    let mut last = Found::default();
    let rounds = if options.control { 1 } else { options.rounds };
    for round in 0..rounds {
        let plan = match options.control {
            true => Plan::control(&mut random),
            false => Plan::new(round, &mut random),
        };
        *tally.rounds.entry(plan.kind).or_default() += 1;
        let before = acknowledged(&devices);
        one(&plan, site, &devices, &mut tally)
            .with_context(|| format!("round {}: {plan:?}", round + 1))?;
        let hub = site.start(None)?;
        let found = verify(&hub, &token, &devices, &receiver, &checked)?;
        checked = devices
            .iter()
            .map(|it| it.acknowledged.load(Ordering::Acquire))
            .collect();
        eprintln!(
            "round {:3} {:14} {:6} acknowledged, {} lost, {} effects, {} twice, {} missing",
            round + 1,
            plan.kind.name(),
            acknowledged(&devices) - before,
            found.lost,
            found.effects,
            found.effects_twice,
            found.effects_missing
        );
        let problems = found
            .problems
            .iter()
            .map(|it| format!("round {}: {it}", round + 1));
        tally.problems.extend(problems);
        last = found;
        hub.kill()?;
    }
    // Once more all of it, over a hub that only reads.
    let hub = site.start(None)?;
    let all = verify(&hub, &token, &devices, &receiver, &vec![0; devices.len()])?;
    tally.problems.extend(all.problems.iter().cloned());
    hub.kill()?;
    for device in &devices {
        let faults = device.faults.lock().unwrap_or_else(PoisonError::into_inner);
        tally.problems.extend(faults.iter().cloned());
    }
    if site.log()?.contains("panicked") {
        tally.problems.push("a hub has panicked".to_owned());
    }
    let lost = last.lost.max(all.lost);
    let held = tally.problems.is_empty()
        && all.effects > 0
        && lost + all.effects_twice + all.effects_missing == 0
        && tally.lied + tally.not_told + tally.stuck + tally.without_fault == 0;
    let kinds: BTreeMap<&str, u32> = tally
        .rounds
        .iter()
        .map(|(kind, count)| (kind.name(), *count))
        .collect();
    Ok(json!({
        "held": held,
        "seed": seed,
        "rounds": rounds,
        "kinds": kinds,
        "devices": options.devices,
        "kills": tally.kills,
        "ended_at_the_fault": tally.ended,
        "sent": devices.iter().map(|it| it.sent.load(Ordering::Acquire)).sum::<u64>(),
        "acked": acknowledged(&devices),
        "stored": all.stored,
        "dropped": all.dropped,
        "lost": lost,
        "effects": all.effects,
        "effects_twice": all.effects_twice,
        "effects_missing": all.effects_missing,
        "logs_failed": tally.poisoned,
        "logs_failed_but_ready": tally.not_told,
        "acked_after_the_log_failed": tally.lied,
        "stuck_with_room_again": tally.stuck,
        "faults_that_did_not_come": tally.without_fault,
        "problems": tally.problems,
    }))
}

/// One round: a hub with a fault, load, and its end.
fn one(plan: &Plan, site: &Site, devices: &[Arc<Device>], tally: &mut Tally) -> anyhow::Result<()> {
    if plan.kind == Kind::KillAtStart {
        let mut starting = site.spawn(Some(plan))?;
        std::thread::sleep(plan.kill_start_after);
        starting.kill()?;
        starting.wait()?;
        tally.kills += 1;
    }
    let injected = |site: &Site| -> anyhow::Result<usize> {
        Ok(site.log()?.matches("a fault was injected").count())
    };
    let before = injected(site)?;
    let mut hub = site.start(Some(plan))?;
    let acknowledged_before = acknowledged(devices);
    let load = Load::start(devices, hub.mqtt);
    let until = Instant::now() + PATIENCE;
    while acknowledged(devices) == acknowledged_before && !hub.has_ended()? {
        ensure!(Instant::now() < until, "nothing is acknowledged");
        std::thread::sleep(PAUSE);
    }
    if plan.kind.is_awaited() {
        let until = Instant::now() + PATIENCE;
        while injected(site)? == before && !hub.has_ended()? {
            if Instant::now() > until {
                tally.without_fault += 1;
                break;
            }
            std::thread::sleep(PAUSE);
        }
    }
    if plan.kind.poisons() {
        poisoned(&mut hub, devices, tally)?;
    } else if plan.kind == Kind::NoFileGrows {
        no_file_grows(plan, site, &hub, devices, tally)?;
    } else {
        std::thread::sleep(plan.kill_after);
    }
    match hub.has_ended()? {
        true => tally.ended += 1,
        false => tally.kills += 1,
    }
    hub.kill()?;
    load.stop()
}

/// The log has failed: it must be told, and nothing may be acknowledged any more.
fn poisoned(hub: &mut Hub, devices: &[Arc<Device>], tally: &mut Tally) -> anyhow::Result<()> {
    tally.poisoned += 1;
    let until = Instant::now() + PATIENCE;
    // A hub that has ended takes nothing either.
    while !hub.has_ended()? && hub.ready().unwrap_or(false) {
        if Instant::now() > until {
            tally.not_told += 1;
            break;
        }
        std::thread::sleep(PAUSE);
    }
    if let Some(device) = devices.first()
        && device.probe(hub.mqtt, SILENCE)
    {
        tally.lied += 1;
    }
    Ok(())
}

/// Neither log nor store can grow for a while.
fn no_file_grows(
    plan: &Plan,
    site: &Site,
    hub: &Hub,
    devices: &[Arc<Device>],
    tally: &mut Tally,
) -> anyhow::Result<()> {
    std::thread::sleep(plan.kill_after / 2);
    let bound = hub::smallest_growing_file(&site.data()) + plan.room;
    hub.bound_files(Some(bound))?;
    std::thread::sleep(plan.kill_after);
    if !plan.room_again {
        return Ok(());
    }
    hub.bound_files(None)?;
    let before = acknowledged(devices);
    let until = Instant::now() + PATIENCE;
    while acknowledged(devices) == before || !hub.ready()? {
        if Instant::now() > until {
            tally.stuck += 1;
            break;
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn verify(
    hub: &Hub,
    token: &str,
    devices: &[Arc<Device>],
    receiver: &Receiver,
    from: &[u64],
) -> anyhow::Result<Found> {
    hub.drained()?;
    ensure!(hub.ready()?, "a hub that was started again is not ready");
    check::all(hub, token, devices, receiver, from)
}

fn acknowledged(devices: &[Arc<Device>]) -> u64 {
    let all = devices.iter();
    all.map(|it| it.acknowledged.load(Ordering::Acquire)).sum()
}

/// Makes the data folder; gives the admin's token.
fn init(site: &Site) -> anyhow::Result<String> {
    let output = Command::new(&site.stencil)
        .args(["--log", "warn", "hub", "init", "--output", "json"])
        .args(["--tenant", TENANT, "--data-dir"])
        .arg(site.data())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("`hub init`")?;
    ensure!(
        output.status.success(),
        "`hub init` failed: {}",
        output.status
    );
    let made: Value = serde_json::from_slice(&output.stdout).context("what `hub init` said")?;
    Ok(made["admin_token"]
        .as_str()
        .context("no admin token")?
        .to_owned())
}

/// Puts the workflow in force, and makes the devices.
fn furnish(
    options: &Options,
    site: &Site,
    token: &str,
    receiver: &Receiver,
) -> anyhow::Result<Vec<Arc<Device>>> {
    let hub = site.start(None)?;
    let client = hub.client(token);
    client.send(
        "PUT",
        "/api/v1/workflows/warm",
        "application/yaml",
        &workflow(&receiver.url),
    )?;
    // In the past, so that no reading is ahead of its time.
    let began_us = now_us()? - 24 * 3_600 * 1_000_000;
    let devices = (0..options.devices)
        .map(|index| {
            let name = format!("load-{index}");
            let wanted = json!({ "kind": "device", "device": name, "name": name });
            let made = client.send(
                "POST",
                "/api/v1/tokens",
                "application/json",
                &wanted.to_string(),
            )?;
            let made: Value = serde_json::from_str(&made).context("a made token")?;
            let token = made["token"].as_str().context("no token")?.to_owned();
            Ok(Arc::new(Device::new(name, token, began_us)))
        })
        .collect::<anyhow::Result<_>>();
    hub.kill()?;
    devices
}

fn workflow(url: &str) -> String {
    format!(
        "id: warm\nversion: 1\n\
         on: {{ telemetry: {{ devices: \"load-*\", name: n }} }}\n\
         when: {{ above: 0 }}\n\
         steps:\n  \
         - {{ id: notice, use: content.upsert, with: {{ collection: notices, \
         key: \"{{{{ event.device }}}}-{{{{ event.seq }}}}\", set: {{ value: \"{{{{ event.value }}}}\" }} }} }}\n  \
         - {{ id: tell, use: webhook.post, with: {{ url: \"{url}\", \
         body: {{ device: \"{{{{ event.device }}}}\", seq: \"{{{{ event.seq }}}}\" }} }}, \
         retry: {{ max: 12, initial: 50ms, cap: 500ms }} }}\n"
    )
}

fn now_us() -> anyhow::Result<i64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(i64::try_from(since.as_micros())?)
}
