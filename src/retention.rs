//! `stencil retention`: for how long history is kept.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::{Client, Hub};
use crate::output::{self, Format};

const PATH: &str = "/api/v1/retention";
const KINDS: [&str; 5] = ["series", "runs", "alarms", "quarantine", "audit"];
/// The most days that can be asked for.
const MAX_DAYS: u32 = 36_500;

/// Shows and sets for how long a tenant's history is kept.
///
/// Needs an admin's token. What is older than is set is freed from the hub's next look on (every
/// hour by default) and cannot be had back.
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
    /// Shows what the tenant has set, and what is in force with the hub's defaults.
    Show,
    /// Sets one kind or more; others stay as they are. Each is a number of days (30d), `always`,
    /// or `default` for what the hub does.
    Set(Set),
}

#[derive(clap::Args)]
#[group(required = true, multiple = true)]
struct Set {
    /// Points of time series, by their event time.
    #[arg(long, value_parser = kept)]
    series: Option<Value>,
    /// Runs, from their end on.
    #[arg(long, value_parser = kept)]
    runs: Option<Value>,
    /// Alarms, from when they were cleared on.
    #[arg(long, value_parser = kept)]
    alarms: Option<Value>,
    /// What could not be understood.
    #[arg(long, value_parser = kept)]
    quarantine: Option<Value>,
    /// Who changed what: 30d or more.
    #[arg(long, value_parser = kept)]
    audit: Option<Value>,
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.hub)?;
    let mut answer = client.get(PATH).await?;
    if let Command::Set(set) = args.command {
        let body = set.over(&answer["set"]).to_string();
        let body = ("application/json", body.into_bytes());
        answer = client.call(Method::PUT, PATH, Some(body)).await?;
    }
    match args.output {
        Format::Json => output::json(&answer)?,
        Format::Text => output::items(Format::Text, &rows(&answer), &["kind", "set", "in force"])?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Set {
    /// What was set, with these changes.
    fn over(&self, set: &Value) -> Value {
        let mut all = json!({});
        let changes = [
            &self.series,
            &self.runs,
            &self.alarms,
            &self.quarantine,
            &self.audit,
        ];
        for (kind, change) in KINDS.iter().zip(changes) {
            let key = format!("{kind}_days");
            all[&key] = change.as_ref().unwrap_or(&set[&key]).clone();
        }
        all
    }
}

fn rows(answer: &Value) -> Vec<Value> {
    let said = |value: &Value| match value {
        Value::Number(days) => format!("{days} days"),
        Value::String(always) => always.clone(),
        _ => "default".to_owned(),
    };
    let row = |kind: &&str| {
        let key = format!("{kind}_days");
        json!({
            "kind": kind, "set": said(&answer["set"][&key]),
            "in force": said(&answer["in_force"][&key]),
        })
    };
    KINDS.iter().map(row).collect()
}

/// `30d`, `always` or `default`.
fn kept(text: &str) -> Result<Value, String> {
    match text {
        "always" => return Ok("always".into()),
        "default" => return Ok(Value::Null),
        _ => {}
    }
    let days = text
        .strip_suffix('d')
        .and_then(|days| days.parse::<u32>().ok());
    match days {
        Some(days) if (1..=MAX_DAYS).contains(&days) => Ok(days.into()),
        _ => Err(format!(
            "{text:?} is none of: 1d to {MAX_DAYS}d, always, default"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(words: &[&str]) -> Result<Set, String> {
        let all = ["retention", "set"].iter().chain(words).copied();
        match Args::try_parse_from(all)
            .map_err(|error| error.to_string())?
            .command
        {
            Command::Set(set) => Ok(set),
            Command::Show => unreachable!(),
        }
    }

    #[test]
    fn what_is_not_named_stays() {
        let before = json!({
            "series_days": 7, "runs_days": "always", "alarms_days": null, "quarantine_days": 3,
            "audit_days": 9,
        });
        let after = set(&[
            "--series",
            "30d",
            "--quarantine",
            "default",
            "--audit",
            "always",
        ]);
        assert_eq!(
            after.unwrap().over(&before),
            json!({
                "series_days": 30, "runs_days": "always", "alarms_days": null,
                "quarantine_days": null, "audit_days": "always",
            })
        );
        assert!(set(&[]).is_err());
        for wrong in ["0d", "30", "36501d", "-1d", "never", "1.5d"] {
            let said = set(&[&format!("--runs={wrong}")]).err().unwrap();
            assert!(said.contains("always"), "{wrong}: {said}");
        }
    }

    #[test]
    fn what_is_in_force_is_shown_beside_what_is_set() {
        let answer = json!({
            "set": { "series_days": 30, "runs_days": null },
            "in_force": { "series_days": 30, "runs_days": 365, "alarms_days": "always" },
        });
        let rows = rows(&answer);
        assert_eq!(
            rows[0],
            json!({ "kind": "series", "set": "30 days", "in force": "30 days" })
        );
        assert_eq!(
            rows[1],
            json!({ "kind": "runs", "set": "default", "in force": "365 days" })
        );
        assert_eq!(rows[2]["in force"], "always");
    }
}
