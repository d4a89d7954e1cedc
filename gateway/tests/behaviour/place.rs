//! A place for a gateway: its files, its devices' keys, and how to ask it over HTTP.

use std::{net::SocketAddr, path::Path};

use stencil_crypto::{Psk, authority::Authority, rng};
use stencil_gateway::{Options, Running, Service};
use stencil_protocol::id::DeviceId;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{hub::Hub, soon};

pub(crate) const TENANT: &str = "acme";
pub(crate) const GATEWAY: &str = "gw-1";

pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) authority: Authority,
}

impl Place {
    /// Files as `stencil hub add-gateway` makes them.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(dir.path().join("authority"), "Acme fleet").unwrap();
        let folder = dir.path().join("gateway");
        std::fs::create_dir_all(folder.join("psk")).unwrap();
        let issued = authority.issue_gateway(TENANT, GATEWAY).unwrap();
        issued
            .write(
                folder.join(format!("{GATEWAY}.pem")),
                folder.join(format!("{GATEWAY}.key")),
            )
            .unwrap();
        std::fs::write(folder.join("root.pem"), authority.root_pem()).unwrap();
        Self { dir, authority }
    }

    pub(crate) fn folder(&self) -> std::path::PathBuf {
        self.dir.path().join("gateway")
    }

    /// Options with free ports and quick reactions.
    pub(crate) fn options(&self, hub: &Hub) -> Options {
        let mut options = Options::in_folder(&self.folder());
        options.hub.address = hub.address.to_string();
        options.hub.max_backoff_ms = 100;
        options.link.tcp = vec!["127.0.0.1:0".parse().unwrap()];
        options.http.listen = "127.0.0.1:0".parse().unwrap();
        options
    }

    pub(crate) async fn gateway(&self, hub: &Hub) -> Gateway {
        Gateway::start(self.options(hub)).await
    }

    /// Makes a device and its key.
    pub(crate) fn device(&self, id: &str) -> (DeviceId, Psk) {
        let psk = Psk::generate(&mut rng::Os);
        psk.save(self.folder().join("psk").join(format!("{id}.psk")))
            .unwrap();
        (DeviceId::parse(id).unwrap(), psk)
    }
}

/// A gateway that runs in this process.
pub(crate) struct Gateway {
    pub(crate) running: Running,
    pub(crate) link: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Gateway {
    pub(crate) async fn start(options: Options) -> Self {
        let running = Service::start(options).await.unwrap();
        let addresses = running.addresses();
        assert_eq!(
            (addresses.tenant.as_str(), addresses.gateway.as_str()),
            (TENANT, GATEWAY)
        );
        let link = addresses.link.first().copied().unwrap_or(addresses.http);
        Self {
            running,
            link,
            http: addresses.http,
        }
    }

    pub(crate) async fn stop(self) {
        soon(self.running.shutdown()).await.unwrap();
    }

    /// The value of a metric.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        metric(self.http, name).await
    }

    /// Returns when a metric has a value that is right.
    pub(crate) async fn until(&self, name: &str, right: impl Fn(u64) -> bool) {
        until(self.http, name, right).await;
    }
}

pub(crate) async fn metric(http: SocketAddr, name: &str) -> u64 {
    let (status, body) = get(http, "/metrics").await;
    assert_eq!(status, 200);
    let prefix = format!("stencil_gateway_{name} ");
    let line = body.lines().find_map(|line| line.strip_prefix(&prefix));
    line.unwrap_or_else(|| panic!("no {name} in {body}"))
        .parse()
        .unwrap()
}

/// Asks again and again: a metric tells nobody when it changes.
pub(crate) async fn until(http: SocketAddr, name: &str, right: impl Fn(u64) -> bool) {
    soon(async {
        while !right(metric(http, name).await) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// Status and body.
pub(crate) async fn get(http: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(http).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (
        head.split(' ').nth(1).unwrap().parse().unwrap(),
        body.to_owned(),
    )
}

/// Bytes of all segments of a spool.
pub(crate) fn spool_bytes(folder: &Path) -> u64 {
    std::fs::read_dir(folder.join("data/spool"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum()
}
