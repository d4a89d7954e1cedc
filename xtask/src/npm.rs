//! What chores and tests take from npm: the packages of `chain/contracts/package-lock.json` and
//! `tests/foreign/*/package-lock.json`, each at its version and with its checksum, below the target
//! folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::{shell, tools};

/// The folder beside whose `node_modules` the contracts are laid: compiler, test runner and base
/// contracts are found from there by relative paths, wherever the target folder is.
pub(crate) fn contracts() -> anyhow::Result<PathBuf> {
    let folder = shell::target().join("contracts");
    let source = shell::root().join("chain").join("contracts");
    install(&folder, &source)?;
    Ok(folder)
}

/// The node on which tests run what follows and pays.
pub(crate) fn anvil() -> anyhow::Result<PathBuf> {
    program(&contracts()?, "anvil")
}

/// The compiler's and test runner's driver.
pub(crate) fn forge() -> anyhow::Result<PathBuf> {
    program(&contracts()?, "forge")
}

/// The folder with the clients that buy from a hub over x402.
pub(crate) fn clients() -> anyhow::Result<PathBuf> {
    let folder = shell::target().join("x402-clients");
    let source = shell::root().join("tests").join("foreign").join("x402");
    install(&folder, &source)?;
    Ok(folder)
}

/// The folder with the suites that proofs are compared with.
pub(crate) fn identity() -> anyhow::Result<PathBuf> {
    let folder = shell::target().join("identity-suites");
    let source = shell::root().join("tests").join("foreign").join("identity");
    install(&folder, &source)?;
    Ok(folder)
}

/// The folder with the reference implementation of EIP-4361.
pub(crate) fn siwe() -> anyhow::Result<PathBuf> {
    let folder = shell::target().join("siwe-client");
    let source = shell::root().join("tests").join("foreign").join("siwe");
    install(&folder, &source)?;
    Ok(folder)
}

/// Installs what the lock file of `source` names into `folder`, unless it is there already.
fn install(folder: &Path, source: &Path) -> anyhow::Result<()> {
    let lock = std::fs::read_to_string(source.join("package-lock.json"))?;
    let stamp = folder.join("installed.json");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    tools::node()?;
    std::fs::create_dir_all(folder)?;
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(source.join(name), folder.join(name))?;
    }
    // No package's own scripts run: each has its program inside it.
    shell::run_quietly(
        Command::new("npm")
            .current_dir(folder)
            .stdout(std::io::stderr())
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]),
    )
    .context(
        "contracts and clients need Node.js 18 or later with npm (Debian: apt-get install npm)",
    )?;
    std::fs::write(stamp, lock)?;
    Ok(())
}

/// The program itself, in the package for this machine. The script in `.bin` would start it as a
/// child, which lives on when a test kills the script.
fn program(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let packages = folder.join("node_modules").join("@foundry-rs");
    let prefix = format!("{name}-");
    for package in std::fs::read_dir(&packages)? {
        let package = package?;
        let program = package.path().join("bin").join(name);
        if package.file_name().to_string_lossy().starts_with(&prefix) && program.is_file() {
            return Ok(program);
        }
    }
    bail!(
        "{} has no {name} for this machine: the packages are there for Linux, macOS and Windows on \
         x64, and for Linux and macOS on arm64",
        packages.display()
    )
}
