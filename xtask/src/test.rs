//! All tests, and the fuzz targets.

use clap::Args;

use crate::{contracts, faults, npm, shell, suites, tools};

/// What to test.
#[derive(Args)]
pub(crate) struct Options {
    /// Passed on to `cargo test`, e.g. `-p stencil-log`; without it, the whole workspace, several
    /// executables at once.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    cargo: Vec<String>,
}

/// How long to fuzz.
#[derive(Args)]
pub(crate) struct FuzzOptions {
    /// Seconds a target.
    #[arg(long, default_value_t = 30)]
    seconds: u32,
}

/// Gets what the tests need, compiles the contracts and runs their tests, compiles the firmware for its
/// target, runs every test, and a few rounds of faults.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    tools::thumb_target()?;
    tools::debian()?;
    let python = tools::python()?;
    let anvil = npm::anvil()?;
    let clients = npm::clients()?;
    let identity = npm::identity()?;
    let siwe = npm::siwe()?;
    if options.cargo.is_empty() {
        contracts::check()?;
    }
    shell::run(shell::cargo().args([
        "check",
        "--locked",
        "--package",
        "stencil-firmware",
        "--package",
        "stencil-boot",
        "--target",
        tools::THUMB,
    ]))?;
    let variables = [
        ("STENCIL_TEST_PYTHON", python.into_os_string()),
        ("STENCIL_TEST_ANVIL", anvil.into_os_string()),
        ("STENCIL_TEST_X402", clients.into_os_string()),
        ("STENCIL_TEST_IDENTITY", identity.into_os_string()),
        ("STENCIL_TEST_SIWE", siwe.into_os_string()),
    ];
    if options.cargo.is_empty() {
        suites::run(&variables)?;
    } else {
        let mut tests = shell::cargo();
        tests
            .args(["test", "--locked"])
            .args(&options.cargo)
            .envs(variables);
        shell::run(&mut tests)?;
    }
    if options.cargo.is_empty() {
        faults::short()?;
    }
    Ok(())
}

/// Targets of which a minute has too few executions for their inputs to grow from nothing: they begin
/// with long ones. The one verifies signatures, the other compiles expressions.
const SLOW: [&str; 2] = ["boot", "rule_expression"];

/// Runs each fuzz target; a crash fails the chore and leaves its input below `fuzz/artifacts`.
pub(crate) fn fuzz(options: &FuzzOptions) -> anyhow::Result<()> {
    tools::cargo_fuzz()?;
    let folder = shell::root().join("fuzz");
    let mut targets: Vec<_> = std::fs::read_dir(folder.join("fuzz_targets"))?
        .filter_map(|entry| {
            Some(
                entry
                    .ok()?
                    .path()
                    .file_stem()?
                    .to_string_lossy()
                    .into_owned(),
            )
        })
        .collect();
    targets.sort();
    anyhow::ensure!(!targets.is_empty(), "{} has no targets", folder.display());
    for target in targets {
        let seconds = format!("-max_total_time={}", options.seconds);
        let mut fuzz = tools::nightly_cargo();
        fuzz.current_dir(&folder).args(["fuzz", "run", &target]);
        let seeds = folder.join("seeds").join(&target);
        if seeds.is_dir() {
            let corpus = folder.join("corpus").join(&target);
            std::fs::create_dir_all(&corpus)?;
            fuzz.args([corpus, seeds]);
        }
        fuzz.args(["--", &seconds]);
        if SLOW.contains(&target.as_str()) {
            fuzz.arg("-len_control=0");
        }
        shell::run(&mut fuzz)?;
    }
    Ok(())
}
