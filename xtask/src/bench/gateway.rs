//! What a gateway costs and gives, beside what it should: the binary for the edge as it is released,
//! that is, in the profile `edge`.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::shell;

/// How to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// How to print the result.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// A figure, what it should be, and whether less is better.
const AIMS: [(&str, f64, bool); 5] = [
    ("idle_rss_bytes", 25e6, true),
    ("cpu_core_share", 0.10, true),
    ("spool_in_per_s", 200_000.0, false),
    ("spool_out_per_s", 200_000.0, false),
    ("binary_bytes", 15e6, true),
];

/// Builds, measures and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    eprintln!("building in the profile edge");
    let build = ["build", "--profile", "edge", "--locked", "--quiet"];
    let edge = ["--package", "stencil", "--no-default-features"];
    let gateway = ["--features", "gateway"];
    shell::run_quietly(shell::cargo().args(build).args(edge).args(gateway))?;
    let bench = ["--package", "stencil-gateway", "--example", "bench_gateway"];
    shell::run_quietly(shell::cargo().args(build).args(bench))?;
    let binary = shell::target().join("edge/stencil");
    let mut result = measure(&binary)?;
    let bytes = std::fs::metadata(&binary)
        .with_context(|| binary.display().to_string())?
        .len();
    result["binary_bytes"] = json!(bytes);
    match options.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&result)?),
        Output::Text => table(&result),
    }
    Ok(())
}

fn measure(binary: &Path) -> anyhow::Result<Value> {
    let bench = shell::target().join("edge/examples/bench_gateway");
    // Where a system keeps what is temporary in memory, a sync would cost nothing.
    let folder = shell::target().join("bench");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let output = Command::new(bench)
        .arg(binary)
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

fn table(result: &Value) {
    println!("{:20} {:>14} {:>14}", "", "measured", "aim");
    for (name, aim, less_is_better) in AIMS {
        let measured = result[name].as_f64().unwrap_or(f64::NAN);
        let reached = (measured <= aim) == less_is_better;
        let sign = if less_is_better { "≤" } else { "≥" };
        println!(
            "{name:20} {measured:>14} {sign} {aim:>12}{}",
            if reached { "" } else { "  not reached" }
        );
    }
    let more = [
        "links_rss_bytes",
        "peak_rss_bytes",
        "spool_out_in_order_per_s",
        "samples",
        "samples_a_batch",
        "spool_bytes",
        "start_up_ms",
    ];
    for name in more {
        println!("{name}: {}", result[name]);
    }
}
