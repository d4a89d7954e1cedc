//! All tests, and the fuzz targets.

use clap::Args;

use crate::{shell, tools};

/// Fuzz targets, one a decoder of what a stranger can send.
const FUZZ_TARGETS: &[&str] = &["batch", "command", "frame", "link", "thingsboard", "topic"];

/// What to test.
#[derive(Args)]
pub(crate) struct Options {
    /// Passed on to `cargo test`, e.g. `-p stencil-log`; without it, the whole workspace.
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

/// Gets what the tests need, compiles the firmware for its target, runs every test.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    tools::thumb_target()?;
    tools::debian()?;
    let python = tools::python()?;
    shell::run(shell::cargo().args([
        "check",
        "--locked",
        "--package",
        "stencil-firmware",
        "--target",
        tools::THUMB,
    ]))?;
    let mut tests = shell::cargo();
    tests.args(["test", "--locked"]).env("STENCIL_TEST_PYTHON", python);
    if options.cargo.is_empty() {
        tests.arg("--workspace");
    } else {
        tests.args(&options.cargo);
    }
    shell::run(&mut tests)
}

/// Runs each fuzz target; a crash fails the chore and leaves its input below `fuzz/artifacts`.
pub(crate) fn fuzz(options: &FuzzOptions) -> anyhow::Result<()> {
    for target in FUZZ_TARGETS {
        let mut cargo = std::process::Command::new("cargo");
        cargo.current_dir(shell::root().join("fuzz")).args([
            "+nightly",
            "fuzz",
            "run",
            target,
            "--",
            &format!("-max_total_time={}", options.seconds),
        ]);
        // The chore itself was started by the pinned toolchain's cargo, whose choice rustup
        // would otherwise hand on.
        cargo.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
        shell::run(&mut cargo)?;
    }
    Ok(())
}
