//! The benches: programs of the packages that they measure, built as they are released and run
//! with the arguments that were given.

use clap::{Args, Subcommand};

use crate::shell;

mod chain;
mod gateway;
mod identity;
mod ingest;
pub(crate) mod mcu;
mod series;
pub(crate) use ingest::http;

/// What to measure.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// Messages a second through the hub's whole pipeline, beside mosquitto and a bare loop.
    Ingest(ingest::Options),
    /// Bytes a point, points a second and ranges of time series, beside rows in PostgreSQL.
    Series(series::Options),
    /// Flash, RAM and instructions of the device application on a Cortex-M4, beside pqm4.
    Mcu(mcu::Options),
    /// Memory, CPU time and speed of the gateway's own binary, and how large that is.
    Gateway(gateway::Options),
    /// Blocks and logs a second when catching up with a chain, and what 10,000 open invoices cost.
    Chain(chain::Options),
    /// Credentials issued and verified a second, by suite.
    Identity(identity::Options),
    /// What a sample costs with 1, 100 and 10,000 rules.
    Rules(Arguments),
}

/// Passed on to the bench.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Such as `--output json`; `--help` lists all.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Builds and runs a bench. What it measured goes to standard output, all else to standard error.
pub(crate) fn run(bench: &Bench) -> anyhow::Result<()> {
    match bench {
        Bench::Ingest(options) => ingest::run(options),
        Bench::Gateway(options) => gateway::run(options),
        Bench::Chain(options) => chain::run(options),
        Bench::Identity(options) => identity::run(options),
        Bench::Mcu(options) => mcu::run(options),
        Bench::Series(options) => series::run(options),
        Bench::Rules(arguments) => example("stencil-rules", "bench_rules", arguments),
    }
}

fn example(package: &str, name: &str, arguments: &Arguments) -> anyhow::Result<()> {
    let cargo = [
        "run",
        "--release",
        "--locked",
        "--quiet",
        "--package",
        package,
    ];
    shell::run_quietly(
        shell::cargo()
            .args(cargo)
            .args(["--example", name, "--"])
            .args(&arguments.rest),
    )
}
