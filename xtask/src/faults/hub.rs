//! A hub process over a data folder.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::plan::Plan;
use crate::bench::http::Client;
use crate::shell;

/// How long anything of a hub may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks.
pub(super) const PAUSE: Duration = Duration::from_millis(10);

/// The binary and the folder.
pub(super) struct Site {
    pub(super) stencil: PathBuf,
    pub(super) folder: PathBuf,
}

impl Site {
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("hub")
    }

    /// What all hubs here have logged.
    pub(super) fn log(&self) -> anyhow::Result<String> {
        let path = self.log_path();
        std::fs::read_to_string(&path).with_context(|| path.display().to_string())
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("hub.log")
    }

    /// Begins to start a hub: a sound one, or with what the plan wants.
    pub(super) fn spawn(&self, plan: Option<&Plan>) -> anyhow::Result<Child> {
        let path = self.log_path();
        let log = File::options().create(true).append(true).open(&path);
        // A file that may not grow is an error for the hub, not its end.
        let mut command = Command::new("sh");
        command
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
            .arg(&self.stencil)
            .args(["--log", "warn", "hub", "--output", "json", "--data-dir"])
            .arg(self.data())
            .args(["--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"])
            .args(["--mqtt-plain", "127.0.0.1:0"])
            .env("STENCIL_HUB_CONNECT__WEBHOOK__ALLOW_LOOPBACK", "true")
            .env("NO_COLOR", "1")
            .env_remove("STENCIL_LOG_FAULTS")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.with_context(|| path.display().to_string())?);
        if let Some(plan) = plan {
            let interval = plan.commit_interval_ms.to_string();
            command.env("STENCIL_HUB_PIPELINE__COMMIT_INTERVAL_MS", interval);
            if let Some(faults) = &plan.disk {
                command.env("STENCIL_LOG_FAULTS", faults);
            }
        }
        command.spawn().context("the hub")
    }

    /// Starts a hub, and waits until it listens.
    pub(super) fn start(&self, plan: Option<&Plan>) -> anyhow::Result<Hub> {
        let mut hub = Hub {
            child: self.spawn(plan)?,
            http: SocketAddr::from(([127, 0, 0, 1], 0)),
            mqtt: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let stdout = hub.child.stdout.take().context("no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let told: Value = serde_json::from_str(&line).with_context(|| {
            format!(
                "the hub does not start; its log: {}",
                self.log_path().display()
            )
        })?;
        let address = |what: &str| -> anyhow::Result<SocketAddr> {
            Ok(told[what]
                .as_str()
                .context("an address of the hub")?
                .parse()?)
        };
        (hub.http, hub.mqtt) = (address("http")?, address("mqtt_plain")?);
        Ok(hub)
    }
}

/// A running hub; it is killed when it is dropped.
pub(super) struct Hub {
    child: Child,
    http: SocketAddr,
    pub(super) mqtt: SocketAddr,
}

impl Hub {
    /// Speaks to it with a token.
    pub(super) fn client(&self, token: &str) -> Client {
        Client::new(self.http, token)
    }

    /// Its answer to whether it is ready.
    pub(super) fn ready(&self) -> anyhow::Result<bool> {
        Ok(self.client("").status("/readyz")? == 200)
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// A figure of its metrics.
    pub(super) fn metric(&self, name: &str) -> anyhow::Result<u64> {
        let page = self.client("").send("GET", "/metrics", "text/plain", "")?;
        let mut lines = page.lines();
        lines
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
            .with_context(|| format!("{name} is not among the metrics"))
    }

    /// Waits until all that is logged is applied.
    pub(super) fn drained(&self) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let end = self.metric("stencil_hub_log_end_bytes")?;
            let position = self.metric("stencil_hub_pipeline_position_bytes")?;
            if position >= end {
                return Ok(());
            }
            ensure!(
                Instant::now() < until,
                "position {position} of {end} after a restart"
            );
            std::thread::sleep(PAUSE);
        }
    }

    /// Bounds the files of the process from now on, in bytes; `None` lifts the bound.
    pub(super) fn bound_files(&self, bytes: Option<u64>) -> anyhow::Result<()> {
        let soft = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        let pid = self.child.id().to_string();
        let mut command = Command::new("prlimit");
        command.args(["--pid", &pid, &format!("--fsize={soft}:")]);
        shell::output(&mut command).context("prlimit (Debian: util-linux)")?;
        Ok(())
    }

    /// SIGKILL.
    pub(super) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // Ended already, unless something went wrong.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The shorter one of the store's files that grow with its commits, in bytes.
pub(super) fn smallest_growing_file(data: &Path) -> u64 {
    let length = |name: &str| data.join(name).metadata().map_or(0, |it| it.len());
    length("hub.sqlite").min(length("hub.sqlite-wal"))
}
