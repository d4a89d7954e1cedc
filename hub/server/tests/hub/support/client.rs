//! An MQTT 5 client that others wrote.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::mqttbytes::v5::{Packet, PublishProperties};
use rumqttc::{AsyncClient, Event, MqttOptions, PublishOptions, QoS, TlsConfiguration, Transport};
use stencil_crypto::tls::{self, Identity, Policy, Roots};
use stencil_server::Credentials;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A connected client; its connection ends with it.
pub(crate) struct Client {
    client: AsyncClient,
    received: mpsc::UnboundedReceiver<(String, Vec<u8>)>,
    pump: JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Client {
    /// Over strict TLS with a certificate of the fleet authority.
    pub(crate) async fn with_certificate(
        id: &str,
        address: SocketAddr,
        files: &Credentials,
    ) -> Self {
        Self::try_certificate(id, address, files).await.unwrap()
    }

    /// As [`Client::with_certificate`]; the reason if it is not let in.
    pub(crate) async fn try_certificate(
        id: &str,
        address: SocketAddr,
        files: &Credentials,
    ) -> Result<Self, String> {
        let roots = Roots::load(&files.root).unwrap();
        let identity = Identity::load(&files.chain, &files.key).unwrap();
        let config = tls::client(Policy::Strict, &roots, Some(&identity)).unwrap();
        Self::connect(over(id, address, config)).await
    }

    /// Over this TLS, with a device's token.
    pub(crate) async fn over_tls(
        address: SocketAddr,
        config: Arc<rustls::ClientConfig>,
        token: &str,
    ) -> Result<Self, String> {
        let mut options = over("client", address, config);
        options.set_credentials(token, "");
        Self::connect(options).await
    }

    /// Over plain TCP with a device's token as user name.
    pub(crate) async fn with_token(id: &str, address: SocketAddr, token: &str) -> Self {
        Self::try_token(id, address, token).await.unwrap()
    }

    /// As [`Client::with_token`]; the reason if it is not let in.
    pub(crate) async fn try_token(
        id: &str,
        address: SocketAddr,
        token: &str,
    ) -> Result<Self, String> {
        let mut options = MqttOptions::new(id, ("127.0.0.1", address.port()));
        options.set_credentials(token, "");
        Self::connect(options).await
    }

    async fn connect(mut options: MqttOptions) -> Result<Self, String> {
        options.set_keep_alive(30);
        // Pieces of images are larger than the library's own bound.
        options.set_max_packet_size(Some(64 * 1024));
        let (client, mut events) = AsyncClient::builder(options).capacity(1_000).build();
        let connecting = async {
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => return Ok(()),
                    Ok(_) => {}
                    Err(error) => return Err(error.to_string()),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), connecting)
            .await
            .map_err(|_| "no CONNACK".to_owned())??;
        let (sender, received) = mpsc::unbounded_channel();
        let pump = tokio::spawn(async move {
            // Ends with the connection: a test that goes on then fails by its notices.
            while let Ok(event) = events.poll().await {
                if let Event::Incoming(Packet::Publish(publish)) = event {
                    let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                    let _ = sender.send((topic, publish.payload.to_vec()));
                }
            }
        });
        Ok(Self {
            client,
            received,
            pump,
        })
    }

    /// Publishes with QoS 1 and waits for the PUBACK.
    pub(crate) async fn publish(
        &self,
        topic: &str,
        payload: impl Into<Vec<u8>>,
    ) -> Result<(), String> {
        self.publish_with(topic, payload, &[]).await
    }

    /// As [`Client::publish`] with MQTT 5 user properties.
    pub(crate) async fn publish_with(
        &self,
        topic: &str,
        payload: impl Into<Vec<u8>>,
        properties: &[(&str, &str)],
    ) -> Result<(), String> {
        let user_properties = properties
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let properties = PublishProperties {
            user_properties,
            ..PublishProperties::default()
        };
        let options = PublishOptions::new(QoS::AtLeastOnce).properties(properties);
        let publish = self
            .client
            .publish_tracked(topic, payload.into(), options)
            .await;
        let notice = publish.map_err(|_| "the connection has ended".to_owned())?;
        tokio::time::timeout(Duration::from_secs(30), notice.wait_completion_async())
            .await
            .expect("no PUBACK within 30 s")
            .map_err(|error| error.to_string())
    }

    /// Subscribes with QoS 1 and waits for the SUBACK; false if it is refused.
    pub(crate) async fn subscribe(&self, filter: &str) -> bool {
        let notice = self
            .client
            .subscribe_tracked(filter, QoS::AtLeastOnce)
            .await
            .unwrap();
        notice.wait_completion_async().await.is_ok()
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> (String, Vec<u8>) {
        tokio::time::timeout(Duration::from_secs(30), self.received.recv())
            .await
            .expect("no message within 30 s")
            .expect("the connection is open")
    }

    /// Whether the connection is still there.
    pub(crate) fn is_connected(&self) -> bool {
        !self.pump.is_finished()
    }
}

fn over(id: &str, address: SocketAddr, config: Arc<rustls::ClientConfig>) -> MqttOptions {
    let mut options = MqttOptions::new(id, ("localhost", address.port()));
    options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(config)));
    options
}
