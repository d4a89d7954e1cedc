//! The contracts: what is committed is what the sources give, and their own tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::Args;

use crate::{npm, shell, tools};

mod artifact;
mod gas;

/// What is compared, and what is written.
#[derive(Args)]
pub(crate) struct Options {
    /// Fails where ABI, bytecode or gas differ from what is committed, and writes nothing.
    #[arg(long)]
    check: bool,
    /// Only lints and Slither, as `cargo xtask lint` runs them.
    #[arg(long, conflicts_with = "check")]
    lint: bool,
}

/// What forge reads, below `chain/contracts`.
const SOURCES: &[&str] = &["src", "dev", "test"];
const FILES: &[&str] = &["foundry.toml", "slither.config.json", "solc.mjs"];
/// What forge measures, below `chain/contracts`: a file a contract.
const GAS: &str = "gas";

/// Builds the contracts, writes their artifacts and gas (or compares them), and runs their tests.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if options.lint {
        return lint();
    }
    let folder = lay_out()?;
    let source = source();
    // Without the tests, so that these can't change what is built; they come to it below.
    shell::run(forge(&folder)?.args(["build", "--force", "src", "dev"]))?;
    let mut files = artifact::all(&folder)?;
    shell::run(
        forge(&folder)?
            .arg("test")
            .env("FORGE_SNAPSHOT_CHECK", options.check.to_string()),
    )
    .with_context(|| {
        if options.check {
            "where only gas differs, `cargo xtask contracts` writes what it is now"
        } else {
            "the contracts' tests failed"
        }
    })?;
    files.extend(read_all(&folder, GAS)?);
    let readme = PathBuf::from("README.md");
    files.push((readme.clone(), gas::tables(&source.join(readme), &files)?));
    if options.check {
        compare(&source, &files)?;
        println!("the artifacts of chain/contracts are what the sources give");
    } else {
        write(&source, &files)?;
    }
    Ok(())
}

/// Fails unless what is committed is what the sources give, and the contracts pass their tests.
pub(crate) fn check() -> anyhow::Result<()> {
    run(&Options {
        check: true,
        lint: false,
    })
}

/// forge's lints and Slither's detectors over what tenants deploy and the well-behaved tokens. A
/// finding that stays has its reason beside it in the source.
pub(crate) fn lint() -> anyhow::Result<()> {
    let folder = lay_out()?;
    shell::run(forge(&folder)?.args(["lint", "--deny", "warnings", "src", "dev"]))?;
    // Slither reads what was built with this flag, and finds one build alone.
    shell::run(forge(&folder)?.args(["build", "--force", "--build-info", "src", "dev"]))?;
    // It asks forge for its settings.
    let programs = npm::forge()?;
    let mut path = vec![programs.parent().unwrap_or(&folder).to_owned()];
    path.extend(std::env::split_paths(
        &std::env::var_os("PATH").unwrap_or_default(),
    ));
    shell::run(
        Command::new(tools::slither()?)
            .current_dir(&folder)
            .env("PATH", std::env::join_paths(path)?)
            .arg("."),
    )
    .context("Slither has found something in the contracts")
}

fn source() -> PathBuf {
    shell::root().join("chain").join("contracts")
}

/// Copies the sources beside the packages from npm.
pub(crate) fn lay_out() -> anyhow::Result<PathBuf> {
    let folder = npm::contracts()?;
    for name in SOURCES.iter().chain(&[GAS]) {
        let to = folder.join(name);
        if to.exists() {
            std::fs::remove_dir_all(&to)?;
        }
        let from = source().join(name);
        if from.exists() {
            copy_folder(&from, &to)?;
        }
    }
    for name in FILES {
        std::fs::copy(source().join(name), folder.join(name))?;
    }
    Ok(folder)
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn forge(folder: &Path) -> anyhow::Result<Command> {
    let mut forge = Command::new(npm::forge()?);
    // Settings of the person's own would change the bytecode.
    for (name, _) in std::env::vars_os() {
        let shown = name.to_string_lossy();
        if shown.starts_with("FOUNDRY_") || shown.starts_with("DAPP_") {
            forge.env_remove(&name);
        }
    }
    forge.current_dir(folder);
    Ok(forge)
}

/// The files of a folder with their contents, by their path below `base`.
fn read_all(base: &Path, folder: &str) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(base.join(folder))
        .with_context(|| format!("the tests have left nothing in {folder}"))?
    {
        let path = entry?.path();
        let text = std::fs::read_to_string(&path)?;
        files.push((path.strip_prefix(base)?.to_owned(), text));
    }
    files.sort();
    Ok(files)
}

/// Fails unless each file is there with these contents, and no other artifact is.
fn compare(base: &Path, files: &[(PathBuf, String)]) -> anyhow::Result<()> {
    for (path, wanted) in files {
        let found = std::fs::read_to_string(base.join(path)).unwrap_or_default();
        if found.trim_end() != wanted.trim_end() {
            bail!(
                "chain/contracts/{} is not what the sources give; `cargo xtask contracts` writes it",
                path.display()
            );
        }
    }
    if let Some(stray) = strays(base, files)?.first() {
        bail!(
            "{} has no source any more; `cargo xtask contracts` removes it",
            stray.display()
        );
    }
    Ok(())
}

fn write(base: &Path, files: &[(PathBuf, String)]) -> anyhow::Result<()> {
    for (path, text) in files {
        let path = base.join(path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, format!("{}\n", text.trim_end()))?;
    }
    for stray in strays(base, files)? {
        std::fs::remove_file(stray)?;
    }
    Ok(())
}

/// Generated files that nothing generates any more.
fn strays(base: &Path, files: &[(PathBuf, String)]) -> anyhow::Result<Vec<PathBuf>> {
    let mut strays = Vec::new();
    for folder in [artifact::FOLDER, artifact::DEV_FOLDER, GAS] {
        let Ok(entries) = std::fs::read_dir(base.join(folder)) else {
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            let known = files.iter().any(|(file, _)| base.join(file) == path);
            if path.is_file() && !known {
                strays.push(path);
            }
        }
    }
    Ok(strays)
}
