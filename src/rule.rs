//! `stencil rule`: a draft of a workflow's rule over the past.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use clap::{Parser, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};
use stencil_protocol::moment;
use stencil_workflow::definition::MAX_BYTES;

use crate::api::{Client, Hub};
use crate::output::{self, Format, say};
use crate::when::{self, Moment, Until};

/// Characters that a stretch of time takes in the picture.
const WIDTH: usize = 64;
/// Devices that the picture shows; the table has all.
const DRAWN: usize = 20;

/// Tries rules.
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
    Test(Test),
}

/// Runs a workflow's rule over what the hub has stored, and shows when it would have fired
/// beside what was really done meanwhile.
///
/// Time is that of the samples. Nothing is changed, started or told to anybody, and the file need
/// not be applied before.
#[derive(clap::Args)]
struct Test {
    /// The YAML file.
    file: PathBuf,
    /// From this time on: -7d (before now), now, 2026-03-01 (its midnight in UTC), or
    /// 2026-03-01T12:00:00Z.
    #[arg(long, default_value = "-1d", allow_hyphen_values = true)]
    from: Moment,
    /// Up to, but not with, this time; a date alone is the end of that day in UTC.
    #[arg(long, default_value = "now", allow_hyphen_values = true)]
    to: Until,
    /// This device only.
    #[arg(long)]
    device: Option<String>,
    /// The most devices to look at, the first ones by id.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    max_devices: Option<u32>,
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Command::Test(test) = args.command;
    let body = test.body(when::now_us())?;
    let body = ("application/json", body.to_string().into_bytes());
    let client = Client::new(&args.hub)?;
    let found = client
        .call(Method::POST, "/api/v1/backtest", Some(body))
        .await?;
    match args.output {
        Format::Json => output::json(&found)?,
        Format::Text => tell(&found)?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Test {
    fn body(&self, now_us: i64) -> anyhow::Result<Value> {
        let (from_us, to_us) = (self.from.us(now_us), self.to.us(now_us));
        let from_us = from_us.map_err(anyhow::Error::msg)?;
        let to_us = to_us.map_err(anyhow::Error::msg)?;
        if from_us >= to_us {
            bail!(
                "--from {} UTC is not before --to {} UTC",
                moment::utc(from_us),
                moment::utc(to_us)
            );
        }
        let mut body = json!({
            "definition": definition(&self.file)?, "from_us": from_us, "to_us": to_us,
        });
        if let Some(device) = &self.device {
            body["device"] = device.as_str().into();
        }
        if let Some(most) = self.max_devices {
            body["max_devices"] = most.into();
        }
        Ok(body)
    }
}

/// The file's text, if it is a definition: what is wrong is said without the hub.
fn definition(file: &Path) -> anyhow::Result<String> {
    let text = crate::bounded::text(file, MAX_BYTES)?;
    stencil_workflow::definition::parse(&text)
        .map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
    Ok(text)
}

fn tell(found: &Value) -> anyhow::Result<()> {
    say!("{}", summary(found));
    let firings = items(&found["firings"]);
    if !firings.is_empty() {
        say!("");
        let rows: Vec<Value> = firings.iter().map(|firing| row(firing, found)).collect();
        let columns = [
            "device",
            "since_us",
            "at_us",
            "cleared_us",
            "value",
            "in force",
        ];
        output::items(Format::Text, &rows, &columns)?;
    }
    for line in picture(found) {
        say!("{line}");
    }
    Ok(())
}

/// What was looked at and what came of it, in a few lines.
fn summary(found: &Value) -> String {
    let text = |value: &Value| output::shown(value.as_str().unwrap_or_default());
    let at = |value: &Value| value.as_i64().map(moment::utc).unwrap_or_default();
    let mut told = format!(
        "{} version {}: {}\nfrom {} to {} UTC: {} samples of {} devices\n",
        text(&found["workflow"]),
        found["version"],
        text(&found["rule"]),
        at(&found["from_us"]),
        at(&found["to_us"]),
        found["samples"],
        found["devices"],
    );
    let (runs, alarms) = (&found["would_run"], &found["would_raise"]);
    told.push_str(&format!(
        "it would have started {runs} runs and raised {alarms} alarms; "
    ));
    let actual = items(&found["actual"]);
    let runs = actual.iter().filter(|one| one["run"].is_string()).count();
    match found["active_version"].as_u64() {
        None if actual.is_empty() => told.push_str("no version was in force"),
        None => told.push_str(&format!(
            "versions that were in force started {runs} runs and raised {} alarms",
            actual.len() - runs
        )),
        Some(version) => told.push_str(&format!(
            "version {version}, in force, started {runs} runs and raised {} alarms",
            actual.len() - runs
        )),
    }
    if let Some(reasons) = found["truncated"].as_str() {
        told.push_str(&format!("\nnot all of it: {}", output::escaped(reasons)));
        if found["through_us"] != found["to_us"] {
            told.push_str(&format!(" (up to {} UTC)", at(&found["through_us"])));
        }
    }
    told
}

/// A firing with what was done during it.
fn row(firing: &Value, found: &Value) -> Value {
    let us = |value: &Value| value.as_i64();
    let end_us = us(&firing["cleared_us"]).or(us(&found["to_us"]));
    let during = items(&found["actual"]).into_iter().filter(|one| {
        one["device"] == firing["device"]
            && us(&one["at_us"]) >= us(&firing["since_us"])
            && us(&one["at_us"]) <= end_us
    });
    let done: Vec<&str> = during
        .map(|one| {
            if one["run"].is_string() {
                "run"
            } else {
                "alarm"
            }
        })
        .collect();
    let mut row = firing.clone();
    row["in force"] = match done.as_slice() {
        [] => "nothing".into(),
        some => some.join(", ").into(),
    };
    row
}

/// For each device a line of time for the draft, and one for what was in force.
fn picture(found: &Value) -> Vec<String> {
    let us = |value: &Value| value.as_i64();
    let (Some(from_us), Some(to_us)) = (us(&found["from_us"]), us(&found["to_us"])) else {
        return Vec::new();
    };
    let (firings, actual) = (items(&found["firings"]), items(&found["actual"]));
    let mut devices: Vec<&str> = firings
        .iter()
        .chain(&actual)
        .filter_map(|one| one["device"].as_str())
        .collect();
    devices.sort_unstable();
    devices.dedup();
    let left_out = devices.len().saturating_sub(DRAWN);
    devices.truncate(DRAWN);
    let mut lines = Vec::new();
    for device in devices {
        let own = |one: &&Value| one["device"] == device;
        let would = firings.iter().filter(own).filter_map(|firing| {
            Some((
                us(&firing["at_us"])?,
                us(&firing["cleared_us"]).unwrap_or(to_us),
            ))
        });
        let did = actual.iter().filter(own).filter_map(|one| {
            let at_us = us(&one["at_us"])?;
            let end_us = match one["alarm"].is_string() {
                true => us(&one["cleared_us"]).unwrap_or(to_us),
                false => at_us,
            };
            Some((at_us, end_us))
        });
        lines.push(String::new());
        lines.push(output::shown(device));
        lines.push(format!("  draft     {}", lane(would, from_us, to_us)));
        lines.push(format!("  in force  {}", lane(did, from_us, to_us)));
    }
    if left_out > 0 {
        lines.push(format!("and {left_out} more devices: see the table"));
    }
    lines
}

/// Stretches of time as marks on a line.
fn lane(stretches: impl Iterator<Item = (i64, i64)>, from_us: i64, to_us: i64) -> String {
    let whole = i128::from(to_us) - i128::from(from_us);
    let place = |at_us: i64| {
        let part = i128::from(at_us.clamp(from_us, to_us)) - i128::from(from_us);
        let place = part * WIDTH as i128 / whole.max(1);
        usize::try_from(place).unwrap_or(0).min(WIDTH - 1)
    };
    let mut marks = ['·'; WIDTH];
    for (begin_us, end_us) in stretches {
        let (begin, end) = (place(begin_us), place(end_us.max(begin_us)));
        marks[begin..=end].fill('█');
    }
    marks.iter().collect()
}

fn items(list: &Value) -> Vec<Value> {
    list.as_array().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(words: &[&str]) -> Result<Test, String> {
        let all = ["rule", "test"].iter().chain(words).copied();
        let args = Args::try_parse_from(all).map_err(|error| error.to_string())?;
        let Command::Test(test) = args.command;
        Ok(test)
    }

    #[test]
    fn a_stretch_of_time_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("warm.yaml");
        let yaml = "id: warm\nversion: 1\non: { telemetry: { devices: \"*\", name: t } }\n\
                    when: { above: 1 }\nalarm: { severity: major }\n";
        std::fs::write(&file, yaml).unwrap();
        let file = file.to_str().unwrap();
        let now_us = 1_386_018_900_000_000;
        let body = test(&[file]).unwrap().body(now_us).unwrap();
        assert_eq!(
            body,
            json!({ "definition": yaml, "from_us": now_us - 86_400_000_000, "to_us": now_us })
        );
        let some = test(&[
            file,
            "--from",
            "-2h",
            "--to",
            "-1h",
            "--device",
            "a",
            "--max-devices",
            "3",
        ]);
        let body = some.unwrap().body(now_us).unwrap();
        assert_eq!(
            (&body["from_us"], &body["to_us"]),
            (
                &json!(now_us - 7_200_000_000),
                &json!(now_us - 3_600_000_000)
            )
        );
        assert_eq!(
            (&body["device"], &body["max_devices"]),
            (&json!("a"), &json!(3))
        );
        let turned = test(&[file, "--from", "now", "--to", "2013-12-01"]).unwrap();
        let said = turned.body(now_us).unwrap_err().to_string();
        assert!(
            said.contains("2013-12-02 21:15:00 UTC is not before --to 2013-12-02 00:00:00 UTC"),
            "{said}"
        );
        assert!(test(&[file, "--from", "yesterday"]).is_err());
        std::fs::write(file, yaml.replace("above", "abov")).unwrap();
        let said = test(&[file]).unwrap().body(now_us).unwrap_err().to_string();
        assert!(said.contains("warm.yaml: line 4, column"), "{said}");
    }

    fn found() -> Value {
        json!({
            "workflow": "warm", "version": 2, "rule": "t of *: the value is above 1",
            "from_us": 0, "to_us": 64_000_000, "through_us": 64_000_000, "samples": 9,
            "devices": 2, "truncated": null, "would_run": 0, "would_raise": 2,
            "active_version": 1,
            "firings": [
                { "device": "a", "since_us": 7_000_000, "at_us": 8_000_000,
                  "cleared_us": 10_000_000, "value": 1.5 },
                { "device": "a", "since_us": 62_000_000, "at_us": 62_000_000,
                  "cleared_us": null, "value": 2.0 },
            ],
            "actual": [
                { "device": "a", "at_us": 9_000_000, "version": 1, "run": "00" },
                { "device": "b", "at_us": 0, "version": 1, "alarm": "11", "cleared_us": 1 },
            ],
        })
    }

    #[test]
    fn what_would_have_been_stands_beside_what_was() {
        let found = found();
        let told = summary(&found);
        assert!(told.contains("from 1970-01-01 00:00:00 to 1970-01-01 00:01:04 UTC: 9 samples"));
        assert!(
            told.contains("would have started 0 runs and raised 2 alarms"),
            "{told}"
        );
        assert!(
            told.ends_with("version 1, in force, started 1 runs and raised 1 alarms"),
            "{told}"
        );
        assert_eq!(row(&found["firings"][0], &found)["in force"], "run");
        assert_eq!(row(&found["firings"][1], &found)["in force"], "nothing");
        let lines = picture(&found);
        let draft = format!("  draft     {}███{}██", "·".repeat(8), "·".repeat(51));
        assert_eq!(lines[..3], [String::new(), "a".to_owned(), draft]);
        assert_eq!(lines[7].matches('█').count(), 1);
        assert!(lines[7].starts_with("  in force  █"), "{}", lines[7]);
    }

    #[test]
    fn what_was_not_looked_at_is_said_and_moves_no_cursor() {
        let mut found = found();
        found["truncated"] = json!("there are more than 9 samples");
        found["through_us"] = json!(32_000_000);
        found["active_version"] = Value::Null;
        found["actual"] = json!([]);
        found["workflow"] = json!("a\u{1b}[2J");
        let told = summary(&found);
        assert!(told.contains("no version was in force"), "{told}");
        assert!(
            told.ends_with("more than 9 samples (up to 1970-01-01 00:00:32 UTC)"),
            "{told}"
        );
        assert!(told.contains("a\\u{1b}[2J"), "{told}");
    }
}
