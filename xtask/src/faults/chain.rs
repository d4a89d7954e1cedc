//! Rounds of payments on a chain that turns.

use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use serde_json::Value;

use super::ingest::Output;
use crate::shell;

/// What is killed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Of {
    /// A hub that is paid.
    Hub,
    /// `stencil chain follow` alone: faster.
    Follower,
}

/// What to do.
#[derive(Args)]
pub(crate) struct Options {
    /// Rounds.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// What happens follows from it; the time of the start if it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// What is killed and looked at.
    #[arg(long, value_enum, default_value = "hub")]
    of: Of,
    /// Plays one round in which a payment is lost on the way to the check, and exits 0 if the loss was
    /// found: shows that these checks can fail.
    #[arg(long)]
    control: bool,
    /// How to print the result.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

/// Builds, plays the rounds, prints; an error when something did not hold.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let seed = match options.seed {
        Some(seed) => seed,
        None => {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
            u64::try_from(since.as_micros())?
        }
    };
    eprintln!("building");
    // The workspace's features: with those of one package, each dependency would be built once more.
    let build = ["build", "--locked", "--quiet", "--workspace"];
    let what = ["--bin", "stencil", "--example", "faults_chain"];
    shell::run_quietly(shell::cargo().args(build).args(what))?;
    let target = shell::target();
    let folder = target
        .join("faults")
        .join(format!("chain-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    // Another build replaces the one there.
    let stencil = folder.join("stencil");
    std::fs::copy(target.join("debug/stencil"), &stencil).context("the binary")?;
    eprintln!("seed {seed}, data in {}", folder.display());
    let rounds = if options.control { 1 } else { options.rounds };
    let output = Command::new(target.join("debug/examples/faults_chain"))
        .arg(match options.of {
            Of::Hub => "hub",
            Of::Follower => "follower",
        })
        .arg(&stencil)
        .arg(&folder)
        .args([rounds.to_string(), seed.to_string()])
        .arg(if options.control { "control" } else { "sound" })
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("the load tool")?;
    ensure!(
        output.status.success(),
        "the load tool failed: {} (seed {seed})",
        output.status
    );
    let result: Value =
        serde_json::from_slice(&output.stdout).context("what the load tool said")?;
    match options.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&result)?),
        Output::Text => {
            for (name, value) in result.as_object().into_iter().flatten() {
                println!("{name:28} {value}");
            }
        }
    }
    if options.control {
        let found = result["problems"]
            .as_array()
            .is_some_and(|it| !it.is_empty());
        ensure!(found, "a lost payment was not found out (seed {seed})");
    } else if result["held"] != true {
        bail!(
            "it did not hold (seed {seed}); the data is kept in {}",
            folder.display()
        );
    }
    std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())
}
