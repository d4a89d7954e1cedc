//! What it takes to catch up with a chain, and what open invoices cost a block, beside what they
//! should.

use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::shell;

/// How to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// How to print the result.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
    /// Blocks of the chain. Each fourth has transfers, each thousandth 150 of them.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(2_000..=500_000))]
    blocks: u64,
    /// Open invoices; each is paid once.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=20_000))]
    invoices: u64,
    /// Endpoints, which must agree.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=2))]
    endpoints: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Memory is flat when the last third of the blocks needs no more than this beyond the one before.
const FLAT_BYTES: i64 = 8 * 1024 * 1024;
/// What open invoices may cost a block, in ms: 99 of 100 that have logs, and the busy ones on average.
const MATCHING_MS: f64 = 1.0;

/// Builds, measures and prints; an error when an aim is not reached.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    eprintln!("building in the release profile");
    let build = ["build", "--release", "--locked", "--quiet"];
    let bench = ["--package", "stencil-chain", "--example", "bench_chain"];
    shell::run_quietly(shell::cargo().args(build).args(bench))?;
    let mut result = measure(options)?;
    let held = judge(&mut result)?;
    match options.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&result)?),
        Output::Text => table(&result),
    }
    if !held {
        bail!("an aim was not reached");
    }
    Ok(())
}

fn measure(options: &Options) -> anyhow::Result<Value> {
    let bench = shell::target().join("release/examples/bench_chain");
    // Where a system keeps what is temporary in memory, a sync would cost nothing.
    let folder = shell::target().join("bench");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let output = Command::new(bench)
        .args([options.blocks, options.invoices, options.endpoints].map(|n| n.to_string()))
        .env("TMPDIR", &folder)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("the bench")?;
    ensure!(
        output.status.success(),
        "the bench failed: {}",
        output.status
    );
    serde_json::from_slice(&output.stdout).context("what the bench said")
}

/// Holds the figures against the aims, and adds both.
fn judge(result: &mut Value) -> anyhow::Result<bool> {
    let growth = result["rss_growth_bytes"]
        .as_i64()
        .context("no growth of memory was measured")?;
    let of = |which: &str, what: &str| result[which][what].as_f64().context("no block was matched");
    let (p99, busy) = (of("matching_ms", "p99")?, of("matching_busy_ms", "mean")?);
    let aim = |measured: Value, aim: Value, held: bool| json!({ "measured": measured, "aim": aim, "held": held });
    let held = [
        growth <= FLAT_BYTES,
        p99 <= MATCHING_MS,
        busy <= MATCHING_MS,
    ];
    result["aims"] = json!({
        "rss_growth_bytes": aim(json!(growth), json!(FLAT_BYTES), held[0]),
        "matching_p99_ms": aim(json!(p99), json!(MATCHING_MS), held[1]),
        "matching_busy_mean_ms": aim(json!(busy), json!(MATCHING_MS), held[2]),
    });
    let held = held.into_iter().all(|held| held);
    result["held"] = json!(held);
    Ok(held)
}

fn table(result: &Value) {
    for name in [
        "blocks",
        "transfers",
        "logs",
        "endpoints",
        "caught_up_s",
        "cpu_s",
        "blocks_per_s",
        "logs_per_s",
        "bare_blocks_per_s",
        "entries_per_s",
        "file_bytes",
        "open_invoices",
        "payments",
        "matching_ms",
        "matching_busy_ms",
        "busy_logs",
    ] {
        println!("{name:20} {}", result[name]);
    }
    for name in [
        "before_bytes",
        "middle_third_bytes",
        "last_third_bytes",
        "peak_bytes",
    ] {
        println!("rss {name:20} {}", result["rss"][name]);
    }
    for (name, aim) in result["aims"].as_object().into_iter().flatten() {
        let reached = if aim["held"] == true {
            ""
        } else {
            "  not reached"
        };
        println!("{name}: {}, aim ≤ {}{reached}", aim["measured"], aim["aim"]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(growth: i64, all: f64, busy: f64) -> Value {
        json!({
            "rss_growth_bytes": growth,
            "matching_ms": { "p99": all }, "matching_busy_ms": { "mean": busy },
        })
    }

    #[test]
    fn each_aim_can_be_missed() {
        assert!(judge(&mut of(-5, 0.1, 0.9)).unwrap());
        assert!(!judge(&mut of(FLAT_BYTES + 1, 0.1, 0.9)).unwrap());
        assert!(!judge(&mut of(0, 1.1, 0.9)).unwrap());
        let mut slow = of(0, 0.1, 1.1);
        assert!(!judge(&mut slow).unwrap());
        assert_eq!(slow["held"], false);
        assert_eq!(slow["aims"]["rss_growth_bytes"]["held"], true);
        assert!(
            judge(&mut json!({})).is_err(),
            "nothing measured is no success"
        );
    }
}
