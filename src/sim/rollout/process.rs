//! A part of the story: `stencil` with some arguments, in a process of its own.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::shutdown;

/// How long one may take to start.
const START: Duration = Duration::from_secs(60);
/// The one variable that parts share with this process: what to log.
const LOG_VARIABLE: &str = "STENCIL_LOG";
/// Lines of its log that are shown when a part does not start.
const LAST_LINES: usize = 5;

/// A process that runs; it is killed when this is dropped.
pub(super) struct Process {
    child: Child,
    /// Held open: its end is the part's end.
    _stdin: Option<ChildStdin>,
}

impl Process {
    /// Starts a part, and waits until it says in JSON where it listens. Its log is appended to.
    pub(super) async fn start(
        arguments: &[&str],
        variables: &[(&str, &str)],
        log: &Path,
    ) -> anyhow::Result<(Self, Value)> {
        let part = arguments.first().copied().unwrap_or_default();
        let file = std::fs::File::options().create(true).append(true).open(log);
        let file = file.with_context(|| format!("can't write {}", log.display()))?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(arguments)
            .args(["--output", "json"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            // Ctrl-C at the terminal is for this process, which then ends its parts.
            .process_group(0)
            .kill_on_drop(true);
        // What the shell holds for a hub of the user's own is not meant for these.
        for (name, _) in std::env::vars_os() {
            let is_ours = |name: &str| name.starts_with("STENCIL_") && name != LOG_VARIABLE;
            if name.to_str().is_some_and(is_ours) {
                command.env_remove(name);
            }
        }
        command.envs(variables.iter().copied());
        command.env(shutdown::WITH_STDIN, "1");
        let child = command.spawn();
        let mut child = child.with_context(|| format!("can't start the {part}"))?;
        // Taken out of the child: waiting for it would close this first.
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("it has no output")?;
        let mut line = String::new();
        let mut stdout = BufReader::new(stdout);
        let read = tokio::time::timeout(START, stdout.read_line(&mut line)).await;
        if !matches!(read, Ok(Ok(1..))) {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<&str> = said.lines().collect();
            let last = lines.get(lines.len().saturating_sub(LAST_LINES)..);
            let last = last.unwrap_or_default().join("\n  ");
            bail!("the {part} has not said where it listens; its log ends so:\n  {last}");
        }
        let process = Self {
            child,
            _stdin: stdin,
        };
        Ok((process, serde_json::from_str(&line)?))
    }

    /// SIGKILL, and its end.
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}
