//! `stencil rollout`: bringing a firmware image to devices.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::{Parser, Subcommand};
use serde_json::{Map, Value, json};
use stencil_rollout::Window;

use crate::api::{Client, Hub, segment};
use crate::output::{self, Format, say};
use crate::when;

/// Between two looks at a roll-out that is watched.
const LOOK: Duration = Duration::from_secs(1);
const PHASES: [&str; 8] = [
    "done",
    "installed",
    "downloading",
    "offered",
    "waiting",
    "failed",
    "timed_out",
    "skipped",
];

/// Rolls out firmware images: to a few devices first, then to the others.
///
/// A device is done when it says that it runs the image and keeps it. A roll-out pauses by itself
/// when too many have failed; nobody gets past first devices that have. Devices that are off get
/// the image when they are on again.
#[derive(Parser)]
pub(crate) struct Args {
    #[command(flatten)]
    hub: Hub,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text", global = true)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Begins a roll-out; prints its id.
    Create(Create),
    /// One roll-out and how far it has come.
    Show {
        /// The roll-out's id, from `rollout list`.
        id: String,
        /// Shows its progress until it is over or paused.
        #[arg(long)]
        watch: bool,
        /// Its devices, too.
        #[arg(long)]
        devices: bool,
        /// Only devices in this phase.
        #[arg(long, value_parser = PHASES)]
        phase: Option<String>,
    },
    /// Lists roll-outs, the newest first.
    List,
    /// Lets no further device get the image for now; those that are at it go on.
    Pause {
        /// The roll-out's id.
        id: String,
    },
    /// Has a paused roll-out go on.
    Resume {
        /// The roll-out's id.
        id: String,
    },
    /// Has the devices that failed try again.
    Retry {
        /// The roll-out's id.
        id: String,
    },
    /// Ends it: nobody else gets the image.
    Abort {
        /// The roll-out's id.
        id: String,
    },
}

#[derive(clap::Args)]
struct Create {
    /// The image's digest, from `stencil image list`.
    image: String,
    /// Which devices: a pattern of ids, such as 'freezer-*'.
    #[arg(long)]
    devices: String,
    /// Only devices behind this gateway; may be given more than once.
    #[arg(long = "gateway")]
    gateways: Vec<String>,
    /// The devices that get it first: how many, or a share such as 5%.
    #[arg(long, value_parser = portion)]
    canary: Option<Value>,
    /// Up to how many of a hundred have their turn then, such as 25,50,100.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=100))]
    waves: Vec<u8>,
    /// Pause when more than so many of a hundred have failed.
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=100))]
    max_failed: Option<u8>,
    /// Do not pause for that before so many are finished.
    #[arg(long)]
    min_finished: Option<u32>,
    /// A device that shows no progress for so long has timed out, such as 30m.
    #[arg(long, value_parser = when::span_us)]
    timeout: Option<i64>,
    /// When devices may be offered it: from, to, and how far local time is from UTC, such as
    /// 22:00-05:30+02:00.
    #[arg(long)]
    window: Option<String>,
    /// So many devices behind one gateway at a time.
    #[arg(long)]
    per_gateway: Option<u32>,
    /// Begin also if no device that is known matches, and wait for such to come.
    #[arg(long)]
    wait_for_devices: bool,
    /// Shows its progress until it is over or paused.
    #[arg(long)]
    watch: bool,
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.hub)?;
    let format = args.output;
    match args.command {
        Command::Create(create) => {
            let begun = client.post("/api/v1/rollouts", &create.body()).await?;
            let id = begun["id"].as_str().unwrap_or_default().to_owned();
            if create.watch {
                return watch(&client, &path(&id)?, format).await;
            }
            match format {
                Format::Json => output::json(&begun)?,
                Format::Text => say!("{id}"),
            }
        }
        Command::Show {
            id,
            watch: is_watched,
            devices,
            phase,
        } => {
            let path = path(&id)?;
            if is_watched {
                return watch(&client, &path, format).await;
            }
            let rollout = client.get(&path).await?;
            let rows = match devices || phase.is_some() {
                true => {
                    let phase = phase.map(|phase| format!("&phase={phase}"));
                    let phase = phase.unwrap_or_default();
                    let devices = format!("{path}/devices?limit=1000{phase}");
                    Some(client.list(&devices).await?)
                }
                false => None,
            };
            match (format, rows) {
                (Format::Json, Some(devices)) => {
                    output::json(&json!({ "rollout": rollout, "devices": devices }))?;
                }
                (Format::Json, None) => output::json(&rollout)?,
                (Format::Text, rows) => {
                    say!("{}", planned(&rollout["plan"]));
                    say!("{}", told(&rollout));
                    if let Some(rows) = rows {
                        let columns = [
                            "device", "phase", "percent", "gateway", "since_us", "detail",
                        ];
                        output::items(Format::Text, &rows, &columns)?;
                    }
                }
            }
        }
        Command::List => {
            let items = client.list("/api/v1/rollouts?limit=1000").await?;
            let columns = [
                "created_us",
                "status",
                "plan.devices",
                "counts.done",
                "counts.waiting",
                "counts.failed",
                "counts.timed_out",
                "id",
            ];
            output::items(format, &items, &columns)?;
        }
        Command::Pause { id } => ask(&client, format, &id, "pause").await?,
        Command::Resume { id } => ask(&client, format, &id, "resume").await?,
        Command::Retry { id } => ask(&client, format, &id, "retry").await?,
        Command::Abort { id } => ask(&client, format, &id, "abort").await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask(client: &Client, format: Format, id: &str, step: &str) -> anyhow::Result<()> {
    let asked = format!("{}/{step}", path(id)?);
    let rollout = client.post(&asked, &json!({})).await?;
    match format {
        Format::Json => output::json(&rollout),
        Format::Text => {
            say!("{}", told(&rollout));
            Ok(())
        }
    }
}

/// Shows each change until the roll-out is over or paused. Succeeds when every device is done or
/// was left out.
async fn watch(client: &Client, path: &str, format: Format) -> anyhow::Result<ExitCode> {
    let mut before = String::new();
    loop {
        let rollout = client.get(path).await?;
        let now = told(&rollout);
        if format == Format::Text && now != before {
            say!("{now}");
            before = now;
        }
        let status = rollout["status"].as_str().unwrap_or_default();
        if !matches!(status, "starting" | "running") {
            if format == Format::Json {
                output::json(&rollout)?;
            }
            let failures = ["failed", "timed_out"].map(|phase| rollout["counts"][phase].as_u64());
            let is_good = status == "finished" && failures.iter().all(|count| *count == Some(0));
            return Ok(if is_good {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Create {
    fn body(&self) -> Value {
        let mut body = Map::new();
        body.insert("image".into(), json!(self.image));
        body.insert("devices".into(), json!(self.devices));
        if !self.gateways.is_empty() {
            body.insert("gateways".into(), json!(self.gateways));
        }
        if !self.waves.is_empty() {
            body.insert("waves".into(), json!(self.waves));
        }
        if self.wait_for_devices {
            body.insert("wait_for_devices".into(), json!(true));
        }
        for (name, value) in [
            ("canary", self.canary.clone()),
            ("max_failed_percent", self.max_failed.map(|it| json!(it))),
            ("min_finished", self.min_finished.map(|it| json!(it))),
            (
                "progress_timeout_s",
                self.timeout.map(|us| json!(us / 1_000_000)),
            ),
            ("window", self.window.as_ref().map(|it| json!(it))),
            ("per_gateway", self.per_gateway.map(|it| json!(it))),
        ] {
            if let Some(value) = value {
                body.insert(name.into(), value);
            }
        }
        Value::Object(body)
    }
}

/// How many devices, or which share of them.
fn portion(text: &str) -> Result<Value, String> {
    let bad = || format!("{text} is neither a number of devices nor a share such as 5%");
    match text.strip_suffix('%') {
        Some(percent) => {
            let percent: u8 = percent.parse().map_err(|_| bad())?;
            Ok(json!({ "percent": percent }))
        }
        None => {
            let devices: u32 = text.parse().map_err(|_| bad())?;
            Ok(json!({ "devices": devices }))
        }
    }
}

/// What was asked for, in a line.
fn planned(plan: &Value) -> String {
    let text = |value: &Value| output::escaped(value.as_str().unwrap_or("?"));
    let image = &plan["image"];
    let mut planned = format!(
        "image {} (class {}, sequence {}) for {}",
        text(&image["digest"]),
        text(&image["class"]),
        image["sequence"],
        text(&plan["devices"])
    );
    let listed = |list: &Value, unit: &str| {
        let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
        let items = items.iter().map(|item| match item.as_str() {
            Some(text) => output::escaped(text),
            None => format!("{item}{unit}"),
        });
        items.collect::<Vec<_>>().join(", ")
    };
    let gateways = listed(&plan["gateways"], "");
    if !gateways.is_empty() {
        planned.push_str(&format!(" behind {gateways}"));
    }
    let canary = match (&plan["canary"]["devices"], &plan["canary"]["percent"]) {
        (Value::Null, percent) => format!("{percent}%"),
        (devices, _) => devices.to_string(),
    };
    let waves = listed(&plan["waves"], "%");
    planned.push_str(&format!("; canary {canary}, waves {waves}"));
    if let Some(window) = plan["window"].as_str() {
        planned.push_str(&format!(", window {}", output::escaped(window)));
    }
    planned
}

/// A roll-out in a line or two.
fn told(rollout: &Value) -> String {
    let counts = &rollout["counts"];
    let all: u64 = PHASES
        .iter()
        .filter_map(|phase| counts[phase].as_u64())
        .sum();
    if all == 0 && rollout["why"].is_null() {
        let status = output::escaped(rollout["status"].as_str().unwrap_or_default());
        let pattern = output::escaped(rollout["plan"]["devices"].as_str().unwrap_or_default());
        let waits = match status.as_str() {
            "starting" | "running" => "; it waits for such to come",
            _ => "",
        };
        return format!("{status}: {pattern} matches no device{waits}");
    }
    let skipped = counts["skipped"].as_u64().unwrap_or_default();
    let mut told = format!(
        "{}: {} of {} done",
        output::escaped(rollout["status"].as_str().unwrap_or_default()),
        counts["done"],
        all - skipped,
    );
    for phase in PHASES.iter().skip(1) {
        match counts[phase].as_u64() {
            None | Some(0) => {}
            Some(count) => told.push_str(&format!(", {count} {}", phase.replace('_', " "))),
        }
    }
    let status = rollout["status"].as_str().unwrap_or_default();
    let window = rollout["plan"]["window"].as_str();
    let is_closed = |window: &str| {
        let window: Result<Window, _> = window.parse();
        window.is_ok_and(|window| !window.is_open(when::now_us()))
    };
    told.push_str(&match rollout["stage"].as_u64() {
        _ if matches!(status, "finished" | "aborted") => String::new(),
        Some(0) => format!("; the first {} have their turn", rollout["turn"]),
        Some(wave) => format!("; wave {wave}: {} have their turn", rollout["turn"]),
        None => String::new(),
    });
    if let Some(window) = window.filter(|window| status == "running" && is_closed(window)) {
        told.push_str(&format!(
            "; nobody further is offered it until its window, {}, opens",
            output::escaped(window)
        ));
    }
    let why = &rollout["why"];
    if why["by"] == "failures" {
        let (failed, finished) = (&why["failed"], &why["finished"]);
        told.push_str(&format!(
            "\n  {failed} of {finished} that are finished have failed"
        ));
    } else if let Some(why) = why["why"].as_str() {
        told.push_str(&format!("\n  {}", output::escaped(why)));
    }
    told
}

/// The roll-out's address; what is no id asks for nothing else.
fn path(id: &str) -> anyhow::Result<String> {
    if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        bail!(
            "{} is no roll-out's id, which is 32 hexadecimal digits: `stencil rollout list` shows \
             them",
            output::escaped(id)
        );
    }
    Ok(format!(
        "/api/v1/rollouts/{}",
        segment(&id.to_ascii_lowercase())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(words: &[&str]) -> Result<Value, String> {
        let all = ["rollout", "create", "ab", "--devices", "a-*"];
        let args = Args::try_parse_from(all.iter().chain(words).copied());
        match args.map_err(|error| error.to_string())?.command {
            Command::Create(create) => Ok(create.body()),
            _ => unreachable!(),
        }
    }

    #[test]
    fn what_is_not_given_is_left_to_the_hub() {
        let least = json!({ "image": "ab", "devices": "a-*" });
        assert_eq!(body(&[]), Ok(least.clone()));
        let words = "--canary 5% --waves 25,100 --timeout 30m --window 22:00-05:30Z --gateway g";
        let words: Vec<&str> = words.split(' ').collect();
        let mut most = least;
        most["canary"] = json!({ "percent": 5 });
        most["waves"] = json!([25, 100]);
        most["progress_timeout_s"] = json!(1_800);
        most["window"] = json!("22:00-05:30Z");
        most["gateways"] = json!(["g"]);
        assert_eq!(body(&words), Ok(most));
        let waits = json!({ "image": "ab", "devices": "a-*", "wait_for_devices": true });
        assert_eq!(body(&["--wait-for-devices"]), Ok(waits));
        assert_eq!(
            body(&["--canary", "3"]).unwrap()["canary"],
            json!({ "devices": 3 })
        );
        for bad in [
            ["--canary", "x%"],
            ["--canary", "-1"],
            ["--waves", "0"],
            ["--waves", "101"],
        ] {
            assert!(body(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn one_is_told_with_why_it_does_not_go_on() {
        let rollout = json!({
            "status": "paused", "stage": 0, "turn": 3,
            "why": { "by": "failures", "failed": 2, "finished": 3 },
            "counts": { "done": 1, "installed": 0, "downloading": 0, "offered": 0, "waiting": 7,
                "failed": 1, "timed_out": 1, "skipped": 4 },
        });
        assert_eq!(
            told(&rollout),
            "paused: 1 of 10 done, 7 waiting, 1 failed, 1 timed out, 4 skipped; the first 3 have \
             their turn\n  2 of 3 that are finished have failed"
        );
        let nobody = json!({
            "status": "running", "stage": 0, "turn": 0, "why": null, "matches": 0,
            "plan": { "devices": "frezer-*" }, "counts": { "done": 0, "waiting": 0 },
        });
        assert_eq!(
            told(&nobody),
            "running: frezer-* matches no device; it waits for such to come"
        );
        assert!(path("../tokens").is_err());
        // Over, nobody has a turn.
        let mut over = rollout.clone();
        over["status"] = json!("aborted");
        over["why"] = Value::Null;
        assert!(!told(&over).contains("turn"), "{}", told(&over));
    }

    #[test]
    fn what_was_asked_for_and_a_window_that_is_closed_are_told() {
        let day_us = 24 * 3_600 * 1_000_000;
        let minute = |at_us: i64| at_us.rem_euclid(day_us) / 60_000_000;
        let clock = |minute: i64| format!("{:02}:{:02}", minute / 60 % 24, minute % 60);
        let now = minute(when::now_us());
        let window = |from: i64, to: i64| format!("{}-{}Z", clock(now + from), clock(now + to));
        let (closed, open) = (window(720, 780), window(1_380, 1_500));
        let mut rollout = json!({
            "status": "running", "stage": 1, "turn": 3, "counts": { "done": 1, "waiting": 7 },
            "plan": {
                "image": { "digest": "ab", "class": "c", "sequence": 7 }, "devices": "a-*",
                "gateways": ["g1", "g2"], "canary": { "percent": 5 }, "waves": [25, 100],
                "window": closed,
            },
        });
        assert_eq!(
            planned(&rollout["plan"]),
            format!(
                "image ab (class c, sequence 7) for a-* behind g1, g2; canary 5%, waves 25%, 100%, \
                 window {closed}"
            )
        );
        assert!(
            told(&rollout).contains("until its window"),
            "{}",
            told(&rollout)
        );
        rollout["plan"]["window"] = json!(open);
        assert!(!told(&rollout).contains("window"), "{}", told(&rollout));
    }
}
