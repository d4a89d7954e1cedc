//! The servers that are measured, each a process of its own that is ended when it is dropped.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde_json::Value;

use super::{http, text};
use crate::shell;

/// Which server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    /// The hub.
    Ours,
    /// Debian's mosquitto.
    Mosquitto,
    /// The bare loop.
    Bare,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Mosquitto => "mosquitto",
            Self::Bare => "bare",
        }
    }
}

/// How long a server may take to listen, or to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a server.
const PAUSE: Duration = Duration::from_millis(3);

/// A running server.
pub(super) struct Server {
    child: Child,
    mqtt: SocketAddr,
    http: Option<SocketAddr>,
}

impl Server {
    /// A hub over a folder that `hub init` has made, with a listener without TLS.
    pub(super) fn hub(stencil: &Path, data: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(stencil)
            .args(["--log", "warn", "hub", "--output", "json", "--data-dir"])
            .arg(data)
            .args(["--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"])
            .args(["--mqtt-plain", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("the hub")?;
        let line = first_line(&mut child)?;
        let told: Value = serde_json::from_str(&line).context("what the hub said")?;
        let address = |what: &str| -> anyhow::Result<SocketAddr> {
            let address = told[what].as_str().context("an address of the hub")?;
            Ok(address.parse()?)
        };
        Ok(Self {
            mqtt: address("mqtt_plain")?,
            http: Some(address("http")?),
            child,
        })
    }

    /// Mosquitto without persistence.
    pub(super) fn mosquitto(folder: &Path) -> anyhow::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = folder.join("mosquitto.conf");
        let settings = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_dest none\n",
            address.port()
        );
        std::fs::write(&config, settings)?;
        let child = Command::new(crate::tools::MOSQUITTO)
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .spawn()
            .context("mosquitto")?;
        let server = Self {
            child,
            mqtt: address,
            http: None,
        };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > until {
                bail!("mosquitto does not listen");
            }
            std::thread::sleep(PAUSE);
        }
        Ok(server)
    }

    /// The bare loop.
    pub(super) fn bare(bare: &Path, folder: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(bare)
            .arg(folder.join("bare.log"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("the bare loop")?;
        let line = first_line(&mut child)?;
        Ok(Self {
            mqtt: line.trim().parse().context("the bare loop's address")?,
            http: None,
            child,
        })
    }

    /// Where it takes MQTT.
    pub(super) fn mqtt(&self) -> SocketAddr {
        self.mqtt
    }

    /// Where it takes HTTP.
    pub(super) fn http(&self) -> anyhow::Result<SocketAddr> {
        self.http.context("only the hub has HTTP")
    }

    /// Waits until the hub has applied all that is in its log; says when that was, µs since the
    /// Unix epoch. By then as many samples must be stored as were sent.
    pub(super) fn drained(&self, sent: u64, patience: Duration) -> anyhow::Result<u64> {
        let client = http::Client::new(self.http()?, "");
        let until = Instant::now() + patience;
        loop {
            let page = client.send("GET", "/metrics", "text/plain", "")?;
            let value = |name: &str| -> anyhow::Result<u64> {
                page.lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
                    .with_context(|| format!("{name} is not among the metrics"))
            };
            let position = value("stencil_hub_pipeline_position_bytes")?;
            let end = value("stencil_hub_log_end_bytes")?;
            let stored = value("stencil_hub_samples_stored_total")?;
            if position >= end && stored >= sent {
                let duplicate = value("stencil_hub_samples_duplicate_total")?;
                let aside = value("stencil_hub_quarantined_parts_total")?;
                if (stored, duplicate, aside) != (sent, 0, 0) {
                    bail!("{sent} sent: {stored} stored, {duplicate} duplicate, {aside} set aside");
                }
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
                return Ok(u64::try_from(now.as_micros())?);
            }
            if Instant::now() > until {
                bail!("{stored} of {sent} samples stored, position {position} of {end}");
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// User and system time so far, in seconds.
    pub(super) fn cpu(&self) -> anyhow::Result<f64> {
        let stat = text(Path::new(&format!("/proc/{}/stat", self.child.id())))?;
        // Fields 14 and 15 of the line, counted behind the name in parentheses (proc(5)).
        let (_, fields) = stat
            .rsplit_once(')')
            .context("the line of /proc/PID/stat")?;
        let ticks: f64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<f64>().ok())
            .sum();
        let hertz = shell::output(Command::new("getconf").arg("CLK_TCK"))
            .and_then(|text| text.trim().parse::<f64>().ok())
            .unwrap_or(100.0);
        Ok(ticks / hertz)
    }

    /// The most memory that it has had, in MB.
    pub(super) fn peak_rss_mb(&self) -> anyhow::Result<f64> {
        let status = text(Path::new(&format!("/proc/{}/status", self.child.id())))?;
        let kib: f64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next())
            .context("VmHWM")?
            .parse()?;
        Ok(kib * 1024.0 / 1e6)
    }

    /// Ends it as an operator would.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.child.id().to_string();
        shell::output(Command::new("kill").args(["-TERM", &pid])).context("kill")?;
        let until = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > until {
                bail!("a server does not end");
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already, unless something went wrong.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn first_line(child: &mut Child) -> anyhow::Result<String> {
    let stdout = child.stdout.take().context("no output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    if line.is_empty() {
        bail!("a server ended before it listened");
    }
    Ok(line)
}
