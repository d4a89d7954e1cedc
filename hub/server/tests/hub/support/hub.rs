//! A hub in a temporary directory.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use stencil_protocol::id::{DeviceId, GatewayId, TenantId};
use stencil_server::{Hub, Init, Options, Running, Service};
use stencil_store::{Secret, TokenKind};
use tempfile::TempDir;

use super::Client;

pub(crate) const TENANT: &str = "acme";

pub(crate) fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

pub(crate) fn device(name: &str) -> DeviceId {
    DeviceId::parse(name).unwrap()
}

pub(crate) fn gateway(name: &str) -> GatewayId {
    GatewayId::parse(name).unwrap()
}

/// Free ports on loopback, and intervals that suit a test.
pub(crate) fn options(data_dir: &Path) -> Options {
    let any = "127.0.0.1:0".parse().unwrap();
    let mut options = Options {
        data_dir: data_dir.to_owned(),
        ..Options::default()
    };
    options.http.listen = any;
    options.mqtt.strict = any;
    options.mqtt.plain = Some(any);
    options.pipeline.commit_interval_ms = 1;
    options.pipeline.retry_ms = 20;
    // The times of these tests begin at 0.
    options.pipeline.min_time_s = 0;
    options.dispatch.sweep_interval_ms = 50;
    options.dispatch.expiry_grace_ms = 0;
    options
}

/// Makes a hub's directory with a tenant.
pub(crate) async fn prepare(data_dir: &Path) -> Init {
    stencil_server::init(data_dir, &tenant(TENANT), &["localhost", "127.0.0.1"])
        .await
        .unwrap()
}

/// A running hub; its directory goes with it.
pub(crate) struct TestHub {
    pub(crate) dir: TempDir,
    pub(crate) running: Running,
}

impl TestHub {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        prepare(&dir.path().join("hub")).await;
        let mut options = options(&dir.path().join("hub"));
        change(&mut options);
        let running = Service::start(options).await.unwrap();
        Self { dir, running }
    }

    /// Ends it well and starts it again over the same directory.
    pub(crate) async fn restart(self) -> Self {
        let options = self.hub().options().clone();
        self.running.shutdown().await.unwrap();
        let running = Service::start(options).await.unwrap();
        Self {
            dir: self.dir,
            running,
        }
    }

    pub(crate) fn hub(&self) -> &Hub {
        self.running.hub()
    }

    pub(crate) fn data_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("hub")
    }

    /// A gateway of the first tenant over strict TLS with its certificate.
    pub(crate) async fn gateway(&self, name: &str) -> Client {
        self.gateway_of(TENANT, name).await
    }

    pub(crate) async fn gateway_of(&self, of: &str, name: &str) -> Client {
        let out = self.dir.path().join(of);
        let files =
            stencil_server::add_gateway(&self.data_dir(), &tenant(of), &gateway(name), &out)
                .unwrap();
        Client::with_certificate(name, self.running.addresses().strict, &files).await
    }

    /// As [`TestHub::gateway_of`]; the reason if it is not let in.
    pub(crate) async fn try_gateway_of(&self, of: &str, name: &str) -> Result<Client, String> {
        let out = self.dir.path().join(format!("{of}-again"));
        let files =
            stencil_server::add_gateway(&self.data_dir(), &tenant(of), &gateway(name), &out)
                .unwrap();
        Client::try_certificate(name, self.running.addresses().strict, &files).await
    }

    /// A device's token.
    pub(crate) async fn token(&self, name: &str) -> Secret {
        let kind = TokenKind::Device {
            device: device(name),
        };
        let tenancy = &self.hub().store().tenancy;
        let now_us = self.hub().now_us();
        tenancy
            .create_token(&tenant(TENANT), kind, name, None, now_us)
            .await
            .unwrap()
            .secret
    }

    /// A foreign device over the plain listener.
    pub(crate) async fn foreign(&self, name: &str) -> Client {
        let token = self.token(name).await;
        Client::with_token(
            name,
            self.running.addresses().plain.unwrap(),
            token.reveal(),
        )
        .await
    }
}

/// Asks again until it holds; at most 30 s.
pub(crate) async fn eventually<F>(what: &str, mut holds: impl FnMut() -> F)
where
    F: Future<Output = bool>,
{
    let asking = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(30), asking).await;
    assert!(in_time.is_ok(), "not within 30 s: {what}");
}
