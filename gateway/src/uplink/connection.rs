//! One MQTT connection to the hub.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use rumqttc::{
    AsyncClient, Broker, ClientError, ConnectionError, Event, EventLoop, Incoming, MqttOptions,
    PublishNotice, PublishOptions, QoS, SubscribeNoticeError, TlsConfiguration, Transport,
    mqttbytes::v5::{ConnectReturnCode, PublishProperties},
};
use stencil_protocol::id::GatewayId;
use tokio::{net::TcpStream, sync::mpsc, task::JoinHandle, time::timeout};

use crate::options;

/// Messages from the hub that may wait; then the connection isn't read.
const INCOMING: usize = 64;
/// The largest packet that is taken from the hub.
const MAX_INCOMING_BYTES: u32 = 64 << 10;

/// Why there is no connection any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    #[error("{0}")]
    Connection(#[from] ConnectionError),
    #[error("it took too long to connect")]
    TooSlow,
    #[error("its address or name cannot be used: {0}")]
    Address(String),
    #[error("the MQTT client refuses: {0}")]
    Client(String),
    #[error("the hub doesn't let us hear commands: {0}")]
    Subscribe(#[from] SubscribeNoticeError),
    #[error("the hub doesn't take what we publish now: {0}")]
    Publish(String),
    #[error("the connection's task has ended")]
    Ended,
    #[error("the gateway's certificate is renewed")]
    Renewed,
    #[error("the spool: {0}")]
    Spool(#[from] stencil_log::Error),
}

impl Lost {
    /// Whether the hub has refused who we are, so that another certificate may be taken.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Connection(ConnectionError::ConnectionRefused(_) | ConnectionError::Tls(_))
        )
    }
}

impl Lost {
    /// The same for people: what a hub means by the code with which it refuses a gateway.
    pub(crate) fn told(&self) -> String {
        let Self::Connection(ConnectionError::ConnectionRefused(code)) = self else {
            return self.to_string();
        };
        let means = match code {
            ConnectReturnCode::Banned => "this gateway was revoked",
            ConnectReturnCode::NotAuthorized => {
                "a later certificate of this gateway was used, and this one lets nobody in any more"
            }
            ConnectReturnCode::BadUserNamePassword => {
                "the hub knows later certificates of this gateway, or this one has ended"
            }
            _ => return self.to_string(),
        };
        format!("the hub refuses it: {means} ({code:?})")
    }
}

/// A message from the hub.
pub(crate) struct Message {
    pub(crate) topic: Bytes,
    pub(crate) payload: Bytes,
}

/// A connection; closed when it is dropped.
pub(crate) struct Connection {
    client: AsyncClient,
    incoming: mpsc::Receiver<Message>,
    driver: JoinHandle<Result<(), ConnectionError>>,
    timeout: Duration,
    max_packet_bytes: usize,
}

impl Connection {
    /// Connects; returns when the hub has accepted us.
    pub(crate) async fn open(
        hub: &options::Hub,
        gateway: &GatewayId,
        tls: Arc<rustls::ClientConfig>,
    ) -> Result<Self, Lost> {
        let connect_timeout = Duration::from_millis(hub.connect_timeout_ms);
        let (_, port) = hub.target().map_err(Lost::Address)?;
        let name = hub.expected_name().map_err(Lost::Address)?;
        // The name is what the certificate is checked against; where to connect to is said below.
        let mut options = MqttOptions::new(gateway.as_str(), Broker::tcp(name, port));
        let address = hub.address.clone();
        options
            .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls)))
            .set_socket_connector(move |_, _| {
                let address = address.clone();
                async move {
                    let stream = TcpStream::connect(&address).await?;
                    stream.set_nodelay(true)?;
                    Ok(stream)
                }
            })
            .set_max_packet_size(Some(MAX_INCOMING_BYTES))
            .set_keep_alive(hub.keep_alive_s)
            .set_clean_start(true)
            .set_connect_timeout(connect_timeout)
            .set_outgoing_inflight_upper_limit(hub.max_in_flight);
        let (client, mut events) = AsyncClient::builder(options)
            .capacity(usize::from(hub.max_in_flight))
            .try_build()
            .map_err(|error| Lost::Client(error.to_string()))?;
        let max_packet_bytes = timeout(connect_timeout, connack(&mut events))
            .await
            .map_err(|_| Lost::TooSlow)??;
        let (to, incoming) = mpsc::channel(INCOMING);
        let driver = tokio::spawn(drive(events, to));
        Ok(Self {
            client,
            incoming,
            driver,
            timeout: connect_timeout,
            max_packet_bytes,
        })
    }

    /// Returns when the hub has confirmed.
    pub(crate) async fn subscribe(&mut self, topic: &str) -> Result<(), Lost> {
        let subscribing = async {
            let notice = self
                .client
                .subscribe_tracked(topic, QoS::AtLeastOnce)
                .await?;
            Ok::<_, Lost>(notice.wait_completion_async().await?)
        };
        match timeout(self.timeout, subscribing).await {
            Ok(Err(Lost::Subscribe(SubscribeNoticeError::Recv))) | Err(_) => {
                Err(self.why_lost().await)
            }
            Ok(other) => other,
        }
    }

    /// Hands a publish over; the notice tells when it is acknowledged.
    pub(crate) async fn publish(
        &self,
        topic: String,
        payload: Bytes,
        user_properties: Vec<(String, String)>,
    ) -> Result<PublishNotice, Lost> {
        let properties = PublishProperties {
            user_properties,
            ..PublishProperties::default()
        };
        let options = PublishOptions::at_least_once().properties(properties);
        Ok(self.client.publish_tracked(topic, payload, options).await?)
    }

    /// The largest packet that the hub takes.
    pub(crate) fn max_packet_bytes(&self) -> usize {
        self.max_packet_bytes
    }

    /// The next message from the hub; `None` when the connection is lost.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        self.incoming.recv().await
    }

    /// What an error that its end has caused comes from.
    pub(crate) async fn reason(&mut self, lost: Lost) -> Lost {
        match lost {
            Lost::Ended => self.why_lost().await,
            lost => lost,
        }
    }

    /// Why it is lost; ends it if it isn't.
    pub(crate) async fn why_lost(&mut self) -> Lost {
        // The reason comes with the end of the driver, a moment after what it has caused.
        match timeout(Duration::from_secs(1), &mut self.driver).await {
            Ok(Ok(Err(error))) => Lost::Connection(error),
            Ok(_) => Lost::Ended,
            Err(_) => Lost::TooSlow,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl From<ClientError> for Lost {
    fn from(error: ClientError) -> Self {
        Self::Client(error.to_string())
    }
}

/// Returns the largest packet that the hub takes, in bytes.
async fn connack(events: &mut EventLoop) -> Result<usize, Lost> {
    loop {
        if let Event::Incoming(Incoming::ConnAck(connack)) = events.poll().await? {
            let max = connack
                .properties
                .and_then(|properties| properties.max_packet_size);
            return Ok(max
                .and_then(|max| usize::try_from(max).ok())
                .unwrap_or(usize::MAX));
        }
    }
}

/// Polls the connection to its end. It is never polled again after that, or it would connect
/// anew behind our back.
async fn drive(mut events: EventLoop, to: mpsc::Sender<Message>) -> Result<(), ConnectionError> {
    loop {
        if let Event::Incoming(Incoming::Publish(publish)) = events.poll().await? {
            let message = Message {
                topic: publish.topic,
                payload: publish.payload,
            };
            if to.send(message).await.is_err() {
                return Ok(());
            }
        }
    }
}
