//! Where published messages go: something that keeps them.

use std::net::SocketAddr;

use tokio::sync::watch;

use crate::Transport;

/// Takes what clients publish and says when it is durable. The endpoint sends
/// a PUBACK only for what this has committed.
///
/// `P` is the principal of the [`Policy`](crate::Policy).
pub trait Sink<P>: Send + Sync + 'static {
    /// Takes all messages of one socket read, in order; all or none. Returns
    /// the position that [`committed`](Self::committed) must reach before they
    /// are acknowledged. Positions grow from call to call.
    ///
    /// Must not block: it runs on the thread that serves the connections.
    ///
    /// # Errors
    /// [`SinkError::Full`] keeps the messages with the connection, stops
    /// reading it and tries again; [`SinkError::Failed`] ends the connection
    /// without an acknowledgement.
    fn append(&self, from: &Source<P>, batch: &[Publish<'_>]) -> Result<u64, SinkError>;

    /// The position up to which everything is durable.
    fn committed(&self) -> watch::Receiver<u64>;
}

/// Why a [`Sink`] took nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// No room now; worth another try.
    #[error("the sink is full")]
    Full,
    /// It can't take this, now or later.
    #[error("the sink failed: {0}")]
    Failed(String),
}

/// Where a message came from: facts about its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source<P> {
    /// Who the policy says it is.
    pub principal: P,
    /// What carries the connection.
    pub transport: Transport,
    /// The client id.
    pub client_id: String,
    /// The other end of the socket.
    pub peer: SocketAddr,
}

/// One published message, borrowed from the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Topic name, well-formed, without wildcards, aliases resolved.
    pub topic: &'a str,
    /// The payload as it came.
    pub payload: &'a [u8],
    /// Quality of service that the client asked for.
    pub qos: Qos,
    /// Whether the message is to be retained.
    pub retain: bool,
    /// MQTT 5 Content Type.
    pub content_type: Option<&'a str>,
    /// MQTT 5 User Properties in their order.
    pub user_properties: Vec<(&'a str, &'a str)>,
}

/// Quality of service. QoS 2 is not offered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qos {
    /// 0: sent once, not acknowledged.
    AtMostOnce = 0,
    /// 1: acknowledged; may come twice.
    AtLeastOnce = 1,
}
