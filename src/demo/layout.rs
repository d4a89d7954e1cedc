//! Where the demo keeps things, and on which addresses its parts meet.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::ports;

/// The demo's tenant.
pub(crate) const TENANT: &str = "demo";
/// Its gateways.
pub(crate) const GATEWAYS: [&str; 2] = ["gateway-a", "gateway-b"];

/// By what names the hub is known to its gateways.
const SERVER_NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// The demo's folder.
pub(crate) struct Layout {
    /// The root of all.
    pub root: PathBuf,
    /// Addresses, the same at every start, so that parts find each other again.
    pub ports: Ports,
    /// The admin's API token.
    pub token: String,
    /// The operator's, who says what the tenant may spend.
    pub operator: String,
    /// Whether this start made the folder.
    pub fresh: bool,
}

/// Addresses of the parts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ports {
    /// The hub's HTTP API and live page.
    pub http: SocketAddr,
    /// The hub's strict MQTT listener.
    pub mqtt: SocketAddr,
    /// Where each gateway reaches the hub: a line that can be cut.
    pub uplinks: Vec<SocketAddr>,
    /// Where each gateway takes device links.
    pub links: Vec<SocketAddr>,
    /// Each gateway's health and metrics.
    pub gateways: Vec<SocketAddr>,
    /// Where holders of rights ask each gateway.
    #[serde(default)]
    pub access: Vec<SocketAddr>,
    /// The webhook's receiver.
    pub receiver: SocketAddr,
    /// The dev chain's RPC.
    #[serde(default = "any")]
    pub chain: SocketAddr,
}

/// Of folders that were made before there was a chain: chosen anew at each start.
fn any() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// An address that is free now; of folders that were made before there were rights.
fn any_free() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

impl Layout {
    /// Opens the demo's folder, and makes it when it isn't there. A new one gets the `usual`
    /// addresses where they are free, or else ones that nobody else looks for.
    ///
    /// # Errors
    /// When the folder can't be made, or is something else's.
    pub(crate) async fn open(root: &Path, usual: bool) -> anyhow::Result<Self> {
        let ports_file = root.join("ports.json");
        let token_file = root.join("admin.token");
        if ports_file.is_file() && token_file.is_file() {
            let mut ports: Ports = serde_json::from_slice(&std::fs::read(&ports_file)?)
                .with_context(|| format!("{} is damaged", ports_file.display()))?;
            ports.are_free()?;
            if ports.access.is_empty() {
                ports.access = GATEWAYS
                    .iter()
                    .map(|_| any_free())
                    .collect::<Result<_, _>>()?;
            }
            if ports.chain.port() == 0 {
                ports.chain = TcpListener::bind(ports.chain)?.local_addr()?;
            }
            let token = String::from_utf8(stencil_crypto::keyfile::read(&token_file)?.to_vec())
                .context("the token file is damaged")?;
            return Ok(Self {
                root: root.to_owned(),
                ports,
                token,
                operator: operator(root).await?,
                fresh: false,
            });
        }
        let begun_elsewhere = root.is_dir()
            && std::fs::read_dir(root)?.next().is_some()
            && !root.join("demo.begun").is_file();
        anyhow::ensure!(
            !begun_elsewhere,
            "{} holds something that is not a demo's; name another folder with --data-dir",
            root.display()
        );
        if root.is_dir() {
            // A first start that was cut off half-way: nothing of it was used yet.
            std::fs::remove_dir_all(root)?;
        }
        for folder in ["logs", "journal", "state"] {
            std::fs::create_dir_all(root.join(folder))?;
        }
        stencil_crypto::keyfile::folder(root.join("psk"))?;
        std::fs::write(root.join("demo.begun"), b"")?;
        let token = prepare(root).await?;
        let ports = Ports::choose(usual)?;
        stencil_crypto::keyfile::write(&token_file, token.as_bytes())?;
        std::fs::write(&ports_file, serde_json::to_vec_pretty(&ports)?)?;
        Ok(Self {
            root: root.to_owned(),
            ports,
            token,
            operator: operator(root).await?,
            fresh: true,
        })
    }

    /// A folder or file below the root.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The address of the live page.
    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.ports.http)
    }
}

/// Makes the hub's data folder and the gateways' keys.
async fn prepare(root: &Path) -> anyhow::Result<String> {
    let hub = root.join("hub");
    let tenant = stencil_protocol::id::TenantId::parse(TENANT)?;
    let made = stencil_server::init(&hub, &tenant, &SERVER_NAMES).await?;
    for name in GATEWAYS {
        let gateway = stencil_protocol::id::GatewayId::parse(name)?;
        stencil_server::add_gateway(&hub, &tenant, &gateway, &root.join(name))?;
    }
    Ok(made.admin_token.reveal().to_owned())
}

/// The operator's token, made where there is none yet.
async fn operator(root: &Path) -> anyhow::Result<String> {
    let file = root.join("operator.token");
    if file.is_file() {
        let token = stencil_crypto::keyfile::read(&file)?.to_vec();
        return String::from_utf8(token).context("the operator's token file is damaged");
    }
    let (token, _) = stencil_server::add_operator(&root.join("hub"), "demo", 0).await?;
    stencil_crypto::keyfile::write(&file, token.reveal().as_bytes())?;
    Ok(token.reveal().to_owned())
}

impl Ports {
    /// Free ports, all held at once while they are chosen so that they differ.
    fn choose(usual: bool) -> anyhow::Result<Self> {
        let mut held = Vec::new();
        let mut free = |wish: u16| -> anyhow::Result<SocketAddr> {
            let wish = Some(wish).filter(|wish| usual && *wish > 0);
            let listener = wish
                .into_iter()
                .chain(ports::lasting())
                .find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
                .context("no free port on 127.0.0.1")?;
            let address = listener.local_addr()?;
            held.push(listener);
            Ok(address)
        };
        Ok(Self {
            http: free(8080)?,
            mqtt: free(8883)?,
            uplinks: GATEWAYS.iter().map(|_| free(0)).collect::<Result<_, _>>()?,
            links: GATEWAYS.iter().map(|_| free(0)).collect::<Result<_, _>>()?,
            gateways: GATEWAYS.iter().map(|_| free(0)).collect::<Result<_, _>>()?,
            access: GATEWAYS.iter().map(|_| free(0)).collect::<Result<_, _>>()?,
            receiver: free(0)?,
            chain: free(0)?,
        })
    }

    /// Refuses when somebody else listens on one of them: his answers would be taken for ours.
    fn are_free(&self) -> anyhow::Result<()> {
        let Self {
            http,
            mqtt,
            uplinks,
            links,
            gateways,
            access,
            receiver,
            chain,
        } = self;
        let lists = [uplinks, links, gateways, access].into_iter().flatten();
        for address in [http, mqtt, receiver, chain].into_iter().chain(lists) {
            TcpListener::bind(address).with_context(|| {
                format!(
                    "this demo's address {address} is in use; if the demo runs already, end it, \
                     or begin another with --data-dir"
                )
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_differ_and_are_usual_only_when_asked_for() {
        let ports = Ports::choose(false).unwrap();
        let mut all = vec![ports.http, ports.mqtt, ports.receiver, ports.chain];
        all.extend(
            ports
                .uplinks
                .iter()
                .chain(&ports.links)
                .chain(&ports.gateways)
                .chain(&ports.access),
        );
        assert!(
            all.iter()
                .all(|address| (20_000..30_000).contains(&address.port()))
        );
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 12);
    }

    #[test]
    fn an_address_in_use_is_named() {
        let ports = Ports::choose(false).unwrap();
        ports.are_free().unwrap();
        let _taken = TcpListener::bind(ports.links[1]).unwrap();
        let error = ports.are_free().unwrap_err().to_string();
        assert!(error.contains(&ports.links[1].to_string()), "{error}");
    }
}
