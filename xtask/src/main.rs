//! The chores of the repository: `cargo xtask test`, `cargo xtask lint`, `cargo xtask bench`,
//! `cargo xtask faults`, `cargo xtask contracts`.
//!
//! A chore installs the tools that it needs, each by exact version, and fails when it can't:
//! nothing is skipped because something is missing.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a chore talks to the person at the terminal"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "a chore watches other processes, and has nothing else to do meanwhile"
)]

use clap::Parser;

mod bench;
mod board;
mod contracts;
mod faults;
mod lint;
mod model;
mod npm;
mod provision;
mod shell;
mod suites;
mod test;
mod tools;

/// Chores of the repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Chore {
    /// Installs what the tests need, builds everything and runs all tests.
    ///
    /// Firmware is compiled for thumbv7em-none-eabihf too. Foreign clients (mosquitto_pub,
    /// paho-mqtt) come from Debian's and Python's package registries; where apt can't be used
    /// (no root), the message says what to install by hand.
    Test(test::Options),
    /// Formatting, clippy with warnings as errors, cargo-deny (bans, licences, sources), and Slither
    /// over the contracts.
    Lint,
    /// Installs the tools of `test` and `lint`, and says where they are.
    Tools,
    /// Measures: each bench says what it compares with, and prints a table or one JSON document.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Breaks things under load, and checks that nothing is lost by it.
    #[command(subcommand)]
    Faults(faults::Faults),
    /// Compiles the contracts of `chain/contracts`, writes their ABI, bytecode and gas (or compares
    /// them with what is committed), and runs their tests.
    Contracts(contracts::Options),
    /// Writes the flash of an emulated board: the device's name, key and settings, and a signed
    /// image for the boot loader.
    Provision(provision::Options),
    /// Runs each fuzz target for a while (needs a nightly toolchain).
    Fuzz(test::FuzzOptions),
    /// Searches the symbolic models of the link handshake for attacks, and holds the outcome
    /// against what each model says that it expects (needs a nightly toolchain).
    Model,
}

fn main() -> anyhow::Result<()> {
    match Chore::parse() {
        Chore::Test(options) => test::run(&options),
        Chore::Lint => lint::run(),
        Chore::Tools => tools::report(),
        Chore::Bench(bench) => bench::run(&bench),
        Chore::Faults(faults) => faults::run(&faults),
        Chore::Contracts(options) => contracts::run(&options),
        Chore::Provision(options) => provision::run(&options),
        Chore::Fuzz(options) => test::fuzz(&options),
        Chore::Model => model::run(),
    }
}
