//! `stencil gateways logs`, `metrics` and `log-level`: what a gateway is asked as it is now.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::api::{Client, segment};
use crate::output::{self, Format, say};
use crate::when;

/// Between two questions while a log is followed.
const AGAIN: Duration = Duration::from_secs(2);
/// How long a gateway may take to answer; the hub gives up before.
const PATIENCE: Duration = Duration::from_secs(40);
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Which lines.
#[derive(clap::Args)]
pub(crate) struct Logs {
    /// The gateway.
    gateway: String,
    /// All lines since then, the oldest first: -15m, 2026-03-01T12:00:00Z; without it, the newest.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<when::Moment>,
    /// Those of this level and the graver ones.
    #[arg(long, default_value = "info", value_parser = LEVELS)]
    level: String,
    /// Lines at most, at first; with --since all there are.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1000))]
    lines: u32,
    /// Goes on with what comes, until Ctrl-C; also when the gateway goes away and comes back.
    #[arg(long, short)]
    follow: bool,
}

/// How much is logged for a while.
#[derive(clap::Args)]
pub(crate) struct Level {
    /// The gateway.
    gateway: String,
    /// How much; without it: as its settings say, at once.
    #[arg(value_parser = LEVELS)]
    level: Option<String>,
    /// For how long, at most 1h; it falls back by itself, at a restart as well.
    #[arg(long = "for", default_value = "10m", value_parser = when::span_us, value_name = "SPAN")]
    time: i64,
}

impl Logs {
    /// Asks, and prints.
    pub(crate) async fn run(&self, client: &Client, format: Format) -> anyhow::Result<()> {
        let mut path = format!(
            "/api/v1/gateways/{}/logs?level={}&limit={}",
            segment(&self.gateway),
            self.level,
            self.lines
        );
        let since = self.since.as_ref().map(|since| since.us(when::now_us()));
        if let Some(since_us) = since.transpose().map_err(anyhow::Error::msg)? {
            path.push_str(&format!("&since_us={since_us}"));
        }
        let mut after = None;
        // One document for programs, but where they read on.
        let mut whole: Option<Value> = None;
        loop {
            let asked = match &after {
                Some(after) => format!("{path}&after={after}"),
                None => path.clone(),
            };
            let answer = client.call_within(PATIENCE, Method::GET, &asked, None);
            let answer = match answer.await {
                Ok(answer) => answer,
                // It may come back; what it has logged meanwhile it says then.
                Err(error) if self.follow && after.is_some() => {
                    tracing::warn!(error = format!("{error:#}"), "asking again");
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            match (format, self.follow, &mut whole) {
                (Format::Json, false, Some(whole)) => join(whole, &answer),
                (Format::Json, false, None) => whole = Some(answer.clone()),
                _ => print(&answer, format)?,
            }
            let more = answer["more"] == true && (self.since.is_some() || after.is_some());
            after = answer["next"].as_str().map(str::to_owned);
            if more {
                continue;
            }
            if !self.follow || after.is_none() {
                return whole.as_ref().map_or(Ok(()), output::json);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

impl Level {
    /// Asks for it.
    pub(crate) async fn run(&self, client: &Client, format: Format) -> anyhow::Result<()> {
        let path = format!("/api/v1/gateways/{}/log-level", segment(&self.gateway));
        let seconds = self.time / 1_000_000;
        let body = json!({ "level": self.level, "seconds": seconds }).to_string();
        let body = Some(("application/json", body.into_bytes()));
        let answer = client.call_within(PATIENCE, Method::PUT, &path, body);
        let answer = answer.await?;
        match (format, answer["level"].as_str()) {
            (Format::Json, _) => output::json(&answer)?,
            (Format::Text, Some(level)) => say!(
                "It logs {} for {} s, and then as its settings say",
                output::escaped(level),
                answer["seconds"]
            ),
            (Format::Text, None) => say!("It logs as its settings say"),
        }
        Ok(())
    }
}

/// Asks for figures.
pub(crate) async fn metrics(client: &Client, gateway: &str, format: Format) -> anyhow::Result<()> {
    let path = format!("/api/v1/gateways/{}/metrics", segment(gateway));
    let found = client.call_within(PATIENCE, Method::GET, &path, None);
    let found = found.await?;
    let empty = Vec::new();
    let figures = found["figures"].as_array().unwrap_or(&empty);
    match format {
        Format::Json => output::json(&found)?,
        Format::Text => output::items(format, figures, &["name", "value", "help"])?,
    }
    Ok(())
}

/// Adds a page to those before.
fn join(whole: &mut Value, page: &Value) {
    for field in ["at_us", "next", "more"] {
        whole[field] = page[field].clone();
    }
    let lines = page["lines"].as_array().cloned().unwrap_or_default();
    if let Some(all) = whole["lines"].as_array_mut() {
        all.extend(lines);
    }
}

/// In JSON, one line's object a line of output, so that what is followed can be read as it comes.
fn print(answer: &Value, format: Format) -> anyhow::Result<()> {
    let missed = answer["missed"].as_u64().unwrap_or_default();
    if missed > 0 && format == Format::Text {
        tracing::warn!(missed, "lines are gone: the gateway holds its newest alone");
    }
    for line in answer["lines"].as_array().into_iter().flatten() {
        match format {
            Format::Json => say!("{}", serde_json::to_string(line)?),
            Format::Text => say!("{}", told(line)),
        }
    }
    Ok(())
}

/// A line as the gateway wrote it, with nothing in it that a terminal would obey.
fn told(line: &Value) -> String {
    let text = line["text"].as_str().unwrap_or_default();
    text.lines()
        .map(output::escaped)
        .collect::<Vec<_>>()
        .join("\n    ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_commands_no_terminal() {
        let line = json!({ "text": "one\u{1b}[2J\ntwo" });
        let told = told(&line);
        assert!(!told.contains('\u{1b}'), "{told}");
        assert!(told.ends_with("\n    two"), "{told}");
    }
}
