//! Every test of the workspace, several executables at once.
//!
//! `cargo test` runs one executable after another, and ours wait for most of their time: for a
//! process to start, a bus to fall silent, a browser to draw. So the executables that cargo builds
//! run beside each other, each with the folder of its package as its own, as cargo does it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::shell;

/// Executables that run at the same time.
const AT_ONCE: usize = 2;

/// The ones that take longest, which begin first so that none of them is what all wait for at the
/// end.
const LONG: [&str; 8] = [
    "console",
    "behaviour",
    "edge",
    "board",
    "opcua",
    "x402",
    "sim_outage",
    "demo_story",
];

/// One executable of tests.
#[derive(Debug, PartialEq, Eq)]
struct Suite {
    name: String,
    executable: PathBuf,
    folder: PathBuf,
}

/// What came of one.
struct Outcome {
    name: String,
    seconds: f64,
    failed: Option<String>,
}

/// Builds all tests and runs them, the documentation's after the others; all run to their end, and
/// the error names each executable that failed.
pub(crate) fn run(variables: &[(&str, OsString)]) -> anyhow::Result<()> {
    let mut suites = built()?;
    suites.sort_by_key(|suite| {
        LONG.iter()
            .position(|name| *name == suite.name)
            .unwrap_or(LONG.len())
    });
    let count = suites.len();
    ensure!(count > 0, "cargo built no tests");
    let waiting = Mutex::new(VecDeque::from(suites));
    let outcomes = Mutex::new(Vec::with_capacity(count));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = held(&waiting).pop_front();
                    let Some(suite) = next else { return };
                    let (outcome, said) = one(&suite, variables);
                    let mut outcomes = held(&outcomes);
                    outcomes.push(outcome);
                    // Under the lock, so that what two say is not mixed.
                    println!(
                        "     Running {} ({} of {count})\n{said}",
                        suite.executable.display(),
                        outcomes.len(),
                    );
                }
            });
        }
    });
    let mut outcomes = outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    println!("The longest:");
    for outcome in outcomes.iter().take(10) {
        println!("{:8.1} s  {}", outcome.seconds, outcome.name);
    }
    let mut documentation = shell::cargo();
    documentation
        .args(["test", "--locked", "--workspace", "--doc"])
        .envs(variables.iter().map(|(name, value)| (name, value)));
    let documentation = shell::run(&mut documentation);
    let failed: Vec<_> = outcomes
        .into_iter()
        .filter_map(|outcome| Some(format!("{}: {}", outcome.name, outcome.failed?)))
        .chain(documentation.err().map(|error| error.to_string()))
        .collect();
    if !failed.is_empty() {
        bail!("tests failed:\n{}", failed.join("\n"));
    }
    Ok(())
}

fn held<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has cargo build the tests, and reads where it put them.
fn built() -> anyhow::Result<Vec<Suite>> {
    let mut build = shell::cargo();
    build.args([
        "test",
        "--locked",
        "--workspace",
        "--no-run",
        "--message-format=json-render-diagnostics",
    ]);
    println!("$ {build:?}");
    let output = build
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("can't start cargo")?;
    ensure!(output.status.success(), "the tests can't be built");
    suites(&String::from_utf8_lossy(&output.stdout))
}

/// The executables of tests that cargo's messages name.
fn suites(messages: &str) -> anyhow::Result<Vec<Suite>> {
    let mut suites = Vec::new();
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: Value = serde_json::from_str(line).context("cargo wrote no JSON")?;
        if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
            continue;
        }
        let Some(executable) = message["executable"].as_str() else {
            continue;
        };
        let manifest = message["manifest_path"]
            .as_str()
            .context("a test has no manifest")?;
        suites.push(Suite {
            name: message["target"]["name"]
                .as_str()
                .context("a test has no name")?
                .to_owned(),
            executable: executable.into(),
            folder: Path::new(manifest)
                .parent()
                .context("a manifest is in no folder")?
                .to_path_buf(),
        });
    }
    Ok(suites)
}

/// Runs one, and gives what it wrote.
fn one(suite: &Suite, variables: &[(&str, OsString)]) -> (Outcome, String) {
    let began = Instant::now();
    let output = Command::new(&suite.executable)
        .current_dir(&suite.folder)
        .env("CARGO_MANIFEST_DIR", &suite.folder)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .output();
    let (failed, said) = match output {
        Ok(output) => (
            (!output.status.success()).then(|| output.status.to_string()),
            format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ),
        ),
        Err(error) => (Some(format!("can't be started: {error}")), String::new()),
    };
    let outcome = Outcome {
        name: suite.name.clone(),
        seconds: began.elapsed().as_secs_f64(),
        failed,
    };
    (outcome, said)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Libraries, build scripts and executables that hold no tests are passed over.
    #[test]
    fn what_cargo_built_for_tests_is_found() {
        let messages = r#"
{"reason":"build-script-executed","package_id":"a"}
{"reason":"compiler-artifact","manifest_path":"/w/a/Cargo.toml","target":{"name":"a"},"profile":{"test":false},"executable":"/t/a"}
{"reason":"compiler-artifact","manifest_path":"/w/a/Cargo.toml","target":{"name":"a"},"profile":{"test":true},"executable":"/t/deps/a-1"}
{"reason":"compiler-artifact","manifest_path":"/w/b/Cargo.toml","target":{"name":"b"},"profile":{"test":true},"executable":null}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(
            suites(messages).unwrap(),
            [Suite {
                name: "a".to_owned(),
                executable: "/t/deps/a-1".into(),
                folder: "/w/a".into(),
            }]
        );
    }

    /// A suite that fails says so, with what it wrote.
    #[test]
    fn a_failure_is_told_with_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let suite = Suite {
            name: "false".to_owned(),
            executable: "/bin/false".into(),
            folder: folder.path().to_path_buf(),
        };
        let (outcome, _) = one(&suite, &[]);
        assert_eq!(outcome.failed.as_deref(), Some("exit status: 1"));
    }
}
