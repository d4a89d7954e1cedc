//! `stencil alarm`: what is active, and taking note of it.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Parser, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};
use stencil_protocol::moment;

use crate::api::{Client, Hub};
use crate::output::{self, Format, say};
use crate::when::{self, Moment};

/// Shows alarms, takes note of them, and silences them.
///
/// An alarm is a state: it is active for as long as its workflow's rule holds for its device.
/// To acknowledge it says that somebody knows. To silence it keeps the workflow from telling
/// people about that device for a time; the alarm is still shown.
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
    /// Lists alarms, those that were raised last first; without a flag the active ones.
    List(List),
    /// One alarm and what happened to it.
    Show {
        /// The alarm's id, from `alarm list`.
        id: String,
    },
    /// Takes note of an alarm.
    Ack {
        /// The alarm's id, from `alarm list`.
        id: String,
        /// What there is to say.
        #[arg(long)]
        note: Option<String>,
    },
    /// Lets an alarm's workflow tell nobody about its device for a time, at most 30 days.
    Silence(Silence),
}

#[derive(clap::Args)]
struct List {
    /// Those that have ended, too.
    #[arg(long)]
    all: bool,
    /// Those that nobody has taken note of.
    #[arg(long)]
    unacknowledged: bool,
    /// Alarms of this device only.
    #[arg(long)]
    device: Option<String>,
    /// Alarms of this workflow only.
    #[arg(long)]
    workflow: Option<String>,
    /// Alarms of this severity only.
    #[arg(long, value_parser = ["warning", "minor", "major", "critical"])]
    severity: Option<String>,
    /// The most alarms to show.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

#[derive(clap::Args)]
struct Silence {
    /// The alarm's id, from `alarm list`.
    id: String,
    #[command(flatten)]
    end: End,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct End {
    /// For so long from now, such as 30m, 8h, 2d.
    #[arg(long = "for", value_parser = when::span_us)]
    span_us: Option<i64>,
    /// Until then: 2026-03-01T12:00:00Z.
    #[arg(long)]
    until: Option<Moment>,
    /// Ends the silence now.
    #[arg(long)]
    stop: bool,
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.hub)?;
    match args.command {
        Command::List(list) => {
            let items = client
                .newest(&list.path(), usize::try_from(list.limit)?)
                .await?;
            let mut columns = vec!["raised_us", "severity", "device", "title", "workflow"];
            if list.all {
                columns.push("cleared_us");
            }
            columns.extend(["acknowledged.by", "silenced_until_us", "id"]);
            output::items(args.output, &items, &columns)?;
        }
        Command::Show { id } => {
            let path = path(&id)?;
            let alarm = client.get(&path).await?;
            let history = client.get(&format!("{path}/history")).await?;
            match args.output {
                Format::Json => output::json(&json!({
                    "alarm": alarm,
                    "history": history["items"],
                }))?,
                Format::Text => {
                    say!("{}", told(&alarm));
                    let events = history["items"].as_array().cloned().unwrap_or_default();
                    let columns = ["at_us", "kind", "by", "note", "until_us"];
                    output::items(Format::Text, &events, &columns)?;
                }
            }
        }
        Command::Ack { id, note } => {
            let path = format!("{}/acknowledge", path(&id)?);
            let body = match note {
                Some(note) => json!({ "note": note }),
                None => json!({}),
            };
            answer(args.output, &post(&client, &path, &body).await?)?;
        }
        Command::Silence(silence) => {
            let path = format!("{}/silence", path(&silence.id)?);
            let body = silence.body(when::now_us()).map_err(anyhow::Error::msg)?;
            answer(args.output, &post(&client, &path, &body).await?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl List {
    fn path(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if !self.all {
            query.append_pair("active", "true");
        }
        if self.unacknowledged {
            query.append_pair("acknowledged", "false");
        }
        for (name, value) in [
            ("device", &self.device),
            ("workflow", &self.workflow),
            ("severity", &self.severity),
        ] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        query.append_pair("limit", &self.limit.min(1_000).to_string());
        format!("/api/v1/alarms?{}", query.finish())
    }
}

impl Silence {
    fn body(&self, now_us: i64) -> Result<Value, String> {
        Ok(match (self.end.span_us, &self.end.until) {
            (Some(span_us), _) => json!({ "until_us": now_us.saturating_add(span_us) }),
            (None, Some(until)) => json!({ "until_us": until.us(now_us)? }),
            (None, None) => json!({}),
        })
    }
}

/// The alarm's address; what is no id asks for nothing else.
fn path(id: &str) -> anyhow::Result<String> {
    if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        bail!(
            "{} is no alarm's id, which is 32 hexadecimal digits: `stencil alarm list` shows them",
            output::escaped(id)
        );
    }
    Ok(format!("/api/v1/alarms/{}", id.to_ascii_lowercase()))
}

async fn post(client: &Client, path: &str, body: &Value) -> anyhow::Result<Value> {
    let body = ("application/json", body.to_string().into_bytes());
    client.call(Method::POST, path, Some(body)).await
}

fn answer(format: Format, alarm: &Value) -> anyhow::Result<()> {
    match format {
        Format::Json => output::json(alarm)?,
        Format::Text => say!("{}", told(alarm)),
    }
    Ok(())
}

/// An alarm in a few lines.
fn told(alarm: &Value) -> String {
    let text = |name: &str| output::escaped(alarm[name].as_str().unwrap_or_default());
    let time = |value: &Value| {
        value
            .as_i64()
            .map(|at_us| format!("{} UTC", moment::utc(at_us)))
    };
    let mut told = format!(
        "{} ({}): {}\n  workflow {} version {}, device {}",
        text("title"),
        text("severity"),
        match time(&alarm["cleared_us"]) {
            None => "active".to_owned(),
            Some(at) => format!("cleared {at}, {}", text("cleared_why")),
        },
        text("workflow"),
        alarm["version"],
        text("device"),
    );
    if let Some(at) = time(&alarm["raised_us"]) {
        told.push_str(&format!("\n  raised {at}"));
    }
    let mark = &alarm["acknowledged"];
    match time(&mark["at_us"]) {
        None => told.push_str("\n  not acknowledged"),
        Some(at) => {
            let by = output::escaped(mark["by"].as_str().unwrap_or_default());
            told.push_str(&format!("\n  acknowledged {at} by {by}"));
            if let Some(note) = mark["note"].as_str() {
                told.push_str(&format!(": {}", output::escaped(note)));
            }
        }
    }
    if let Some(until) = time(&alarm["silenced_until_us"]) {
        told.push_str(&format!(
            "\n  silenced until {until} by {}",
            text("silenced_by")
        ));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence(words: &[&str]) -> Result<Value, String> {
        let mut all = vec!["alarm", "silence", "00"];
        all.extend(words);
        match Args::try_parse_from(all)
            .map_err(|error| error.to_string())?
            .command
        {
            Command::Silence(silence) => silence.body(1_000_000),
            _ => unreachable!(),
        }
    }

    #[test]
    fn a_silence_needs_one_end() {
        assert_eq!(
            silence(&["--for", "2s"]),
            Ok(json!({ "until_us": 3_000_000 }))
        );
        assert_eq!(
            silence(&["--until", "1970-01-01T00:00:09Z"]),
            Ok(json!({ "until_us": 9_000_000 }))
        );
        assert_eq!(silence(&["--stop"]), Ok(json!({})));
        assert!(silence(&[]).is_err());
        assert!(silence(&["--for", "2s", "--stop"]).is_err());
        assert!(silence(&["--for", "2"]).unwrap_err().contains("2h"));
    }

    #[test]
    fn filters_are_asked_of_the_hub() {
        let list = |words: &[&str]| match Args::try_parse_from(
            ["alarm", "list"].iter().chain(words).copied(),
        )
        .unwrap()
        .command
        {
            Command::List(list) => list.path(),
            _ => unreachable!(),
        };
        assert_eq!(list(&[]), "/api/v1/alarms?active=true&limit=100");
        assert_eq!(
            list(&[
                "--all",
                "--device",
                "a&b",
                "--severity",
                "major",
                "--limit",
                "5000"
            ]),
            "/api/v1/alarms?device=a%26b&severity=major&limit=1000"
        );
    }

    #[test]
    fn an_alarm_is_told_in_full_and_moves_no_cursor() {
        let mut alarm = json!({
            "title": "a\u{1b}[2J is warm", "severity": "major", "workflow": "warm", "version": 2,
            "device": "a", "raised_us": 1_386_018_900_000_000_i64, "cleared_us": null,
            "acknowledged": null, "silenced_until_us": null,
        });
        let text = told(&alarm);
        assert!(
            text.contains("\\u{1b}[2J is warm (major): active"),
            "{text}"
        );
        assert!(text.contains("raised 2013-12-02 21:15:00 UTC"), "{text}");
        assert!(text.contains("not acknowledged"), "{text}");
        alarm["cleared_us"] = json!(1_386_018_901_000_000_i64);
        alarm["cleared_why"] = json!("the value is back");
        alarm["acknowledged"] =
            json!({ "at_us": 1_386_018_900_000_000_i64, "by": "user ann", "note": "seen" });
        let text = told(&alarm);
        assert!(text.contains("cleared 2013-12-02 21:15:01 UTC, the value is back"));
        assert!(text.contains("by user ann: seen"), "{text}");
    }

    #[test]
    fn what_is_no_id_asks_for_nothing() {
        assert!(path("../tokens").is_err());
        assert!(path(&"g".repeat(32)).is_err());
        let id = "ab".repeat(16);
        assert_eq!(
            path(&id.to_uppercase()).unwrap(),
            format!("/api/v1/alarms/{id}")
        );
    }
}
