//! Credentials issued and verified a second, by suite, and what checking a holder of a right costs a gateway,
//! as JSON.

use std::process::Command;

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::{Map, Value, json};

use crate::shell;

/// The bench of a gateway's check.
const OFFLINE: &str = "offline check at the gateway";
/// What it is to stay within, from the answer's bytes to the verdict.
const OFFLINE_AIM_MS: f64 = 5.0;

/// How to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Seconds that each figure is measured for.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
}

/// Builds, measures and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let baseline = "xtask";
    // Standard output is the result's alone.
    let mut bench = shell::cargo();
    bench
        .args([
            "bench",
            "--locked",
            "--quiet",
            "--package",
            "stencil-identity",
        ])
        .args(["--bench", "credentials", "--", "--noplot"])
        .args(["--save-baseline", baseline])
        .args(["--measurement-time", &options.seconds.to_string()])
        .stdout(std::io::stderr());
    shell::run_quietly(&mut bench)?;
    let mut gateway = shell::cargo();
    gateway
        .args([
            "bench",
            "--locked",
            "--quiet",
            "--package",
            "stencil-access",
        ])
        .args(["--bench", "admit", "--", "--noplot"])
        .args(["--save-baseline", baseline])
        .args(["--measurement-time", &options.seconds.to_string()])
        .stdout(std::io::stderr());
    shell::run_quietly(&mut gateway)?;
    let mut offline = None;
    let mut suites: Map<String, Value> = Map::new();
    for (name, mean_ns) in means(baseline)? {
        if name == OFFLINE {
            offline = Some(mean_ns);
            continue;
        }
        let (what, suite) = name.split_once('/').context("a figure's name")?;
        let figures = suites.entry(suite).or_insert_with(|| json!({}));
        figures[format!("{what}_per_s")] = json!((1e9 / mean_ns).round());
        figures[format!("{what}_us")] = json!((mean_ns / 10.0).round() / 100.0);
    }
    ensure!(
        suites.len() == 4,
        "{} of 4 suites were measured",
        suites.len()
    );
    let offline_ns = offline.context("the check at the gateway was not measured")?;
    let offline_ms = (offline_ns / 1e4).round() / 100.0;
    let result = json!({
        "cores": 1,
        "machine": machine(),
        "suites": suites,
        "offline_check": {
            "ms": offline_ms,
            "aim_ms": OFFLINE_AIM_MS,
            "within": offline_ms <= OFFLINE_AIM_MS,
        },
    });
    println!("{}", serde_json::to_string_pretty(&result)?);
    Ok(())
}

/// What criterion wrote down: names and means in ns.
fn means(baseline: &str) -> anyhow::Result<Vec<(String, f64)>> {
    let folder = shell::target().join("criterion");
    let mut means = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let figure = entry?.path().join(baseline);
        let Ok(about) = std::fs::read(figure.join("benchmark.json")) else {
            continue;
        };
        let about: Value = serde_json::from_slice(&about)?;
        let estimates: Value =
            serde_json::from_slice(&std::fs::read(figure.join("estimates.json"))?)?;
        let name = about["full_id"].as_str().context("a name")?.to_owned();
        if name == OFFLINE || name.starts_with("issue/") || name.starts_with("verify/") {
            let mean = estimates["mean"]["point_estimate"].as_f64();
            means.push((name, mean.context("a mean")?));
        }
    }
    Ok(means)
}

/// The processor's name.
fn machine() -> Option<String> {
    let text = shell::output(Command::new("lscpu").env("LC_ALL", "C"))?;
    text.lines()
        .find_map(|line| line.strip_prefix("Model name:"))
        .map(|name| name.trim().to_owned())
}
