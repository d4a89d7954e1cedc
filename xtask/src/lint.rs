//! Formatting, lints, and the rules on dependencies.

use std::path::Path;
use std::process::Command;

use crate::{board, contracts, shell, tools};

/// Runs every check that needs no test.
pub(crate) fn run() -> anyhow::Result<()> {
    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))?;
    shell::run(shell::cargo().args([
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))?;
    // The binary for the edge, which has the gateway's commands only.
    shell::run(shell::cargo().args([
        "clippy",
        "--locked",
        "--package",
        "stencil",
        "--bin",
        "stencil",
        "--no-default-features",
        "--features",
        "gateway",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))?;
    let deny = tools::cargo_deny()?;
    dependencies(&deny, "Cargo.toml")?;
    tools::thumb_target()?;
    for board in shell::BOARDS {
        shell::run(shell::board_cargo(board).args(["fmt", "--check"]))?;
        shell::run(shell::board_cargo(board).args([
            "clippy",
            "--locked",
            "--release",
            "--target",
            tools::THUMB,
            "--target-dir",
            &board::target().display().to_string(),
            "--quiet",
            "--",
            "-D",
            "warnings",
        ]))?;
        dependencies(&deny, &format!("{board}/Cargo.toml"))?;
    }
    contracts::lint()
}

/// The rules of `deny.toml` on what a manifest and its lock file bring in.
fn dependencies(deny: &Path, manifest: &str) -> anyhow::Result<()> {
    shell::run(Command::new(deny).current_dir(shell::root()).args([
        "--locked",
        "--config",
        "deny.toml",
        "--manifest-path",
        manifest,
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]))
}
