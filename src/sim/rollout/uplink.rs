//! A site's connection to the hub: MQTT 5 over strict TLS, made again whenever it is lost.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rumqttc::mqttbytes::QoS;
use rumqttc::{
    AsyncClient, Event, Incoming, MqttOptions, PublishOptions, TlsConfiguration, Transport,
};
use stencil_crypto::tls::{self, Identity, Policy, Roots};
use stencil_protocol::id::GatewayId;
use stencil_protocol::topic::Topic;
use stencil_server::Credentials;
use stencil_simulators::site::Site;
use tokio::task::JoinHandle;

/// Between two steps of a site.
const STEP: Duration = Duration::from_millis(20);
/// Between two attempts to connect.
const AGAIN: Duration = Duration::from_millis(300);
/// The largest message of the hub.
const MAX_PACKET: u32 = 64 * 1024;

/// A site and its connection; it ends with this.
pub(super) struct Uplink {
    site: Arc<Mutex<Site>>,
    task: JoinHandle<()>,
}

impl Uplink {
    /// Connects, and works until it is dropped.
    pub(super) fn start(
        site: Site,
        gateway: &GatewayId,
        credentials: &Credentials,
        hub: SocketAddr,
    ) -> anyhow::Result<Self> {
        let roots = Roots::load(&credentials.root)?;
        let identity = Identity::load(&credentials.chain, &credentials.key)?;
        let tls = tls::client(Policy::Strict, &roots, Some(&identity))?;
        let mut options = MqttOptions::new(gateway.as_str(), ("localhost", hub.port()));
        options
            .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls)))
            .set_max_packet_size(Some(MAX_PACKET))
            .set_clean_start(true);
        let site = Arc::new(Mutex::new(site));
        let its = Arc::clone(&site);
        let task = tokio::spawn(async move {
            loop {
                connected(&its, options.clone()).await;
                tokio::time::sleep(AGAIN).await;
            }
        });
        Ok(Self { site, task })
    }

    /// Looks at the site, or does something to it.
    pub(super) fn site<T>(&self, look: impl FnOnce(&mut Site) -> T) -> T {
        look(&mut self.site.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Uplink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection, to its end.
async fn connected(site: &Arc<Mutex<Site>>, options: MqttOptions) {
    let (client, mut events) = AsyncClient::builder(options).capacity(1_000).build();
    let mut stepping: Option<JoinHandle<()>> = None;
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                let work = work(Arc::clone(site), client.clone());
                stepping = Some(tokio::spawn(work));
            }
            Ok(Event::Incoming(Incoming::Publish(publish))) => {
                let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                if let Ok(topic) = Topic::parse(&topic) {
                    let mut site = site.lock().unwrap_or_else(PoisonError::into_inner);
                    site.take(&topic, &publish.payload);
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::info!(%error, "a simulated gateway has lost the hub");
                break;
            }
        }
    }
    if let Some(stepping) = stepping {
        stepping.abort();
    }
}

/// Lets the site work, and publishes what it says.
async fn work(site: Arc<Mutex<Site>>, client: AsyncClient) {
    let topics = site.lock().unwrap_or_else(PoisonError::into_inner).topics();
    for topic in topics {
        let topic = topic.to_string();
        if client.subscribe(topic, QoS::AtLeastOnce).await.is_err() {
            return;
        }
    }
    let mut is_first = true;
    loop {
        let its = Arc::clone(&site);
        let was_first = std::mem::take(&mut is_first);
        let step = tokio::task::spawn_blocking(move || {
            let mut site = its.lock().unwrap_or_else(PoisonError::into_inner);
            if was_first {
                site.connected();
            }
            site.step(now_us())
        });
        let Ok(messages) = step.await else {
            return;
        };
        for (topic, payload) in messages {
            let publish = client.publish(
                topic.to_string(),
                payload,
                PublishOptions::new(QoS::AtLeastOnce),
            );
            if publish.await.is_err() {
                return;
            }
        }
        tokio::time::sleep(STEP).await;
    }
}

fn now_us() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
