//! Formatting, lints, and the rules on dependencies.

use std::process::Command;

use crate::{shell, tools};

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
    let deny = tools::cargo_deny()?;
    shell::run(Command::new(deny).current_dir(shell::root()).args([
        "--locked",
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]))
}
