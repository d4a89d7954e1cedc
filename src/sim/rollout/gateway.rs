//! A gateway's process.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use stencil_crypto::{Psk, rng};
use stencil_protocol::id::{DeviceId, GatewayId};
use stencil_update::trust::Trust;
use tokio::sync::watch;

use super::hub::Hub;
use super::process::Process;

/// Its folder, as `stencil hub add-gateway` makes it, and its process.
pub(super) struct Gateway {
    pub(super) kills: u32,
    folder: PathBuf,
    log: PathBuf,
    /// Where devices find it: another port after each start.
    address: watch::Sender<String>,
    process: Process,
}

impl Gateway {
    /// Makes a gateway in `dir` and starts it.
    pub(super) async fn start(
        dir: &Path,
        hub: &Hub,
        id: &GatewayId,
        trust: &Trust,
    ) -> anyhow::Result<Self> {
        let folder = dir.join(id.as_str());
        hub.add_gateway(id, &folder)?;
        let at = hub.mqtt().to_string();
        crate::gateway::write_config(&folder, id, &at, Some(&trust.to_text()))?;
        stencil_crypto::keyfile::folder(folder.join("psk"))?;
        let log = dir.join(format!("{id}.log"));
        let (process, address) = serve(&folder, &log).await?;
        Ok(Self {
            kills: 0,
            folder,
            log,
            address: watch::Sender::new(address),
            process,
        })
    }

    /// Where it is, now and later.
    pub(super) fn address(&self) -> watch::Receiver<String> {
        self.address.subscribe()
    }

    /// A new key for a device, which a running gateway takes, too.
    pub(super) fn add_device(&self, device: &DeviceId) -> anyhow::Result<Psk> {
        let psk = Psk::generate(&mut rng::Os);
        let file = self.folder.join("psk").join(format!("{device}.psk"));
        psk.save(&file)?;
        Ok(psk)
    }

    /// SIGKILL.
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill().await
    }

    /// SIGKILL, and another start over the same data.
    pub(super) async fn kill_and_start(&mut self) -> anyhow::Result<()> {
        self.kill().await?;
        self.kills += 1;
        let (process, address) = serve(&self.folder, &self.log).await?;
        self.process = process;
        self.address.send_replace(address);
        Ok(())
    }
}

/// A process, and where devices find it.
async fn serve(folder: &Path, log: &Path) -> anyhow::Result<(Process, String)> {
    let config = folder.join("gateway.toml");
    let config = config.to_str().context("the folder's name is no text")?;
    let variables = [
        ("STENCIL_GATEWAY_LINK__TCP", "[\"127.0.0.1:0\"]"),
        ("STENCIL_GATEWAY_HTTP__LISTEN", "127.0.0.1:0"),
        ("STENCIL_GATEWAY_HUB__MAX_BACKOFF_MS", "1000"),
    ];
    let arguments = ["gateway", "--config", config];
    let (process, said) = Process::start(&arguments, &variables, log).await?;
    let address = said["link"][0].as_str().context("no link's address")?;
    Ok((process, address.to_owned()))
}
