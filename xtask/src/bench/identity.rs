//! Credentials issued and verified a second, by suite, and what checking a holder of a right costs a
//! gateway.

use std::process::Command;

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use crate::shell;

/// The bench of a gateway's check.
const OFFLINE: &str = "offline check at the gateway";
/// What it is to stay within, from the answer's bytes to the verdict.
const OFFLINE_AIM_MS: f64 = 5.0;

/// How to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// How to print the result.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
    /// Seconds that each figure is measured for.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Builds, measures and prints; an error when the aim is not reached.
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
    match options.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&result)?),
        Output::Text => table(&result),
    }
    if offline_ms > OFFLINE_AIM_MS {
        bail!("the check at the gateway takes {offline_ms} ms, more than {OFFLINE_AIM_MS}");
    }
    Ok(())
}

fn table(result: &Value) {
    println!(
        "{:<24} {:>10} {:>10}",
        "a second, on one core", "issued", "verified"
    );
    for (suite, figures) in result["suites"].as_object().into_iter().flatten() {
        let of = |what: &str| match figures[what].as_f64() {
            Some(rate) => format!("{rate:.0}"),
            None => "–".to_owned(),
        };
        println!(
            "{suite:<24} {:>10} {:>10}",
            of("issue_per_s"),
            of("verify_per_s")
        );
    }
    let check = &result["offline_check"];
    println!(
        "check of a holder at the gateway: {} ms (at most {})",
        check["ms"], check["aim_ms"]
    );
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
