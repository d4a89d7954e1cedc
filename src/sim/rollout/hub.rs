//! The hub's process.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use reqwest::Method;
use serde_json::{Value, json};
use stencil_protocol::id::{GatewayId, TenantId};
use stencil_update::trust::Trust;

use super::TENANT;
use super::images::Image;
use super::process::Process;
use crate::api::Client;
use crate::ports;

/// A hub of its own.
pub(super) struct Hub {
    pub(super) client: Client,
    pub(super) kills: u32,
    /// Where gateways find it, also after a kill.
    mqtt: SocketAddr,
    dir: PathBuf,
    token: String,
    process: Process,
}

impl Hub {
    /// Makes a data folder in `dir` and starts a hub over it.
    pub(super) async fn start(dir: &Path) -> anyhow::Result<Self> {
        let data = dir.join("hub");
        let tenant = TenantId::parse(TENANT)?;
        let made = stencil_server::init(&data, &tenant, &["localhost", "127.0.0.1"]).await?;
        let token = made.admin_token.reveal().to_owned();
        let free = ports::lasting()
            .find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
            .context("no free port on 127.0.0.1")?;
        let mqtt = free.local_addr()?;
        drop(free);
        let (process, http) = serve(dir, mqtt).await?;
        Ok(Self {
            client: Client::with(&http, &token)?,
            kills: 0,
            mqtt,
            dir: dir.to_owned(),
            token,
            process,
        })
    }

    /// Where gateways find it.
    pub(super) fn mqtt(&self) -> SocketAddr {
        self.mqtt
    }

    /// A gateway's certificate, in its folder.
    pub(super) fn add_gateway(&self, gateway: &GatewayId, folder: &Path) -> anyhow::Result<()> {
        let tenant = TenantId::parse(TENANT)?;
        stencil_server::add_gateway(&self.dir.join("hub"), &tenant, gateway, folder)?;
        Ok(())
    }

    /// Says who may sign images.
    pub(super) async fn trust(&self, trust: &Trust) -> anyhow::Result<()> {
        let keys = json!({ "keys": trust.to_text() }).to_string();
        let body = Some(("application/json", keys.into_bytes()));
        let path = "/api/v1/update-trust";
        self.client.call(Method::PUT, path, body).await?;
        Ok(())
    }

    /// Pushes an image, which the hub may refuse.
    pub(super) async fn push(&self, image: &Image) -> anyhow::Result<()> {
        let length = u32::try_from(image.manifest.len())?.to_be_bytes();
        let body = [&length, &image.manifest[..], &image.payload[..]].concat();
        let body = Some(("application/octet-stream", body));
        let path = format!("/api/v1/images/{}", image.digest());
        self.client.call(Method::PUT, &path, body).await?;
        Ok(())
    }

    /// Begins a roll-out; gives it as it is shown.
    pub(super) async fn roll_out(&self, plan: &Value) -> anyhow::Result<Value> {
        self.client.post("/api/v1/rollouts", plan).await
    }

    /// SIGKILL.
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill().await
    }

    /// SIGKILL, and another start over the same data.
    pub(super) async fn kill_and_start(&mut self) -> anyhow::Result<()> {
        self.kill().await?;
        self.kills += 1;
        let (process, http) = serve(&self.dir, self.mqtt).await?;
        self.process = process;
        self.client = Client::with(&http, &self.token)?;
        Ok(())
    }
}

/// A process, and its HTTP address.
async fn serve(dir: &Path, mqtt: SocketAddr) -> anyhow::Result<(Process, String)> {
    let (data, mqtt) = (dir.join("hub"), mqtt.to_string());
    let data = data.to_str().context("the folder's name is no text")?;
    let arguments = [
        "hub",
        "--http",
        "127.0.0.1:0",
        "--mqtt",
        &mqtt,
        "--data-dir",
        data,
    ];
    // Without a pause after a start.
    let variables = [("STENCIL_HUB_PIPELINE__SETTLE_MS", "0")];
    let log = dir.join("hub.log");
    let (process, said) = Process::start(&arguments, &variables, &log).await?;
    let http = said["http"].as_str().context("no HTTP address")?;
    Ok((process, format!("http://{http}")))
}

/// The path of a roll-out.
pub(super) fn path(rollout: &Value) -> anyhow::Result<String> {
    let id = rollout["id"].as_str();
    let id = id.ok_or_else(|| anyhow!("the roll-out has no id: {rollout}"))?;
    Ok(format!("/api/v1/rollouts/{id}"))
}
