//! The hub's process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use stencil_protocol::id::{GatewayId, TenantId};
use stencil_server::Credentials;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::TENANT;
use crate::api::Client;

/// How long it may take to start.
const START: Duration = Duration::from_secs(60);

/// A hub of its own.
pub(super) struct Hub {
    pub(super) client: Client,
    /// Where gateways find it, also after a kill.
    pub(super) mqtt: SocketAddr,
    pub(super) kills: u32,
    dir: PathBuf,
    token: String,
    child: Child,
}

impl Hub {
    /// Makes a data folder in `dir` and starts a hub over it.
    pub(super) async fn start(dir: &Path) -> anyhow::Result<Self> {
        let data = dir.join("hub");
        let tenant = TenantId::parse(TENANT)?;
        let made = stencil_server::init(&data, &tenant, &["localhost", "127.0.0.1"]).await?;
        let token = made.admin_token.reveal().to_owned();
        let (child, http, mqtt) = serve(dir, "127.0.0.1:0").await?;
        Ok(Self {
            client: Client::with(&http, &token)?,
            mqtt,
            kills: 0,
            dir: dir.to_owned(),
            token,
            child,
        })
    }

    /// A gateway's certificate.
    pub(super) fn add_gateway(&self, gateway: &GatewayId) -> anyhow::Result<Credentials> {
        let (data, out) = (self.dir.join("hub"), self.dir.join("gateways"));
        let tenant = TenantId::parse(TENANT)?;
        let out = out.join(gateway.as_str());
        Ok(stencil_server::add_gateway(&data, &tenant, gateway, &out)?)
    }

    /// SIGKILL, and another start over the same data.
    pub(super) async fn kill_and_start(&mut self) -> anyhow::Result<()> {
        self.child.kill().await?;
        self.kills += 1;
        let (child, http, _) = serve(&self.dir, &self.mqtt.to_string()).await?;
        self.child = child;
        self.client = Client::with(&http, &self.token)?;
        Ok(())
    }

    /// Its end.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}

/// A process, and where it listens: HTTP, MQTT.
async fn serve(dir: &Path, mqtt: &str) -> anyhow::Result<(Child, String, SocketAddr)> {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("hub.log"))?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["hub", "--output", "json", "--http", "127.0.0.1:0", "--mqtt"])
        .arg(mqtt)
        .arg("--data-dir")
        .arg(dir.join("hub"))
        // Without a pause after a start, and with as many requests as the gateways' devices make.
        .env("STENCIL_HUB_PIPELINE__SETTLE_MS", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .context("the hub's process")?;
    let stdout = child.stdout.take().context("the hub's output")?;
    let mut line = String::new();
    let mut stdout = BufReader::new(stdout);
    let read = tokio::time::timeout(START, stdout.read_line(&mut line)).await;
    ensure!(
        matches!(read, Ok(Ok(1..))),
        "the hub has not said where it listens; its log is {}",
        dir.join("hub.log").display()
    );
    let said: Value = serde_json::from_str(&line)?;
    let http = said["http"].as_str().context("no HTTP address")?;
    let mqtt = said["mqtt_strict"].as_str().context("no MQTT address")?;
    Ok((child, format!("http://{http}"), mqtt.parse()?))
}
