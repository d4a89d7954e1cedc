//! The bounds of an endpoint. Every queue, table and wait has one.

use std::time::Duration;

/// Settings of an [`Endpoint`](crate::Endpoint). All have safe defaults;
/// nothing here is per tenant unless its name says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Sockets open at once over all listeners, whatever state they are in.
    /// One more is closed as soon as it was accepted.
    pub max_connections: usize,
    /// Sockets that have not completed TLS and CONNECT yet. Keeps strangers
    /// from taking the places of known clients. With one more, an old one makes
    /// way: see [`stencil_strangers::Places`].
    pub max_connecting: usize,
    /// Such sockets of one address (in IPv6, of a /64).
    pub max_connecting_per_address: usize,
    /// Clients of one namespace at once: so that nobody takes all places with one credential.
    pub max_namespace_clients: usize,
    /// How long TLS handshake, CONNECT and authentication may take together.
    pub connect_timeout: Duration,
    /// How long one write may wait for a client that doesn't read.
    pub write_timeout: Duration,
    /// How long a connection that ends waits for the commit of what it has
    /// published, and a listener that ends for its connections.
    pub drain_timeout: Duration,
    /// The longest keep-alive granted, in seconds; 0 sets no bound. A v5
    /// client that asks for more, or for none, is told this one (Server Keep
    /// Alive); a 3.1.1 client can't be told and keeps what it asked for.
    pub max_keep_alive_s: u16,
    /// After how much silence TCP itself asks whether the other end is still
    /// there: the only way to notice that a 3.1.1 client without keep-alive is
    /// gone.
    pub tcp_keepalive: Option<Duration>,
    /// The largest CONNECT that is read, in bytes with its header; the bound
    /// for all who have not been let in.
    pub max_connect_bytes: u32,
    /// The largest packet that is read, in bytes with its header.
    pub max_packet_bytes: u32,
    /// QoS 1 publishes of a v5 client that may wait for their PUBACK.
    pub receive_maximum: u16,
    /// Socket reads of one connection that may wait for their commit. Then
    /// the connection is no longer read until some are committed.
    pub max_pending_reads: usize,
    /// Bytes of messages of one connection that may wait for their commit.
    pub max_pending_bytes: usize,
    /// How often a sink that was full is tried again when it doesn't commit
    /// anything in the meantime.
    pub sink_retry: Duration,
    /// Longest client id, in bytes.
    pub max_client_id_bytes: usize,
    /// Longest topic name or filter, in bytes.
    pub max_topic_bytes: usize,
    /// Most levels of a topic name or filter.
    pub max_topic_levels: usize,
    /// Topic aliases that a v5 client may use; 0 forbids them.
    pub topic_alias_maximum: u16,
    /// Subscriptions of one connection.
    pub max_subscriptions: usize,
    /// Subscriptions of one namespace.
    pub max_namespace_subscriptions: usize,
    /// Retained messages of one namespace.
    pub max_retained: usize,
    /// Bytes of the retained messages (topic and payload) of one namespace.
    pub max_retained_bytes: usize,
    /// Messages that may wait for one subscriber. One more is dropped for this
    /// subscriber and counted.
    pub outbound_queue: usize,
    /// Bytes (topic and payload) that may wait for one subscriber.
    pub outbound_queue_bytes: usize,
    /// QoS 1 messages sent to one subscriber and not acknowledged by it. A v5
    /// client may lower it (Receive Maximum).
    pub outbound_in_flight: u16,
    /// Events that a slow reader of [`Handle::events`](crate::Handle::events)
    /// may lag behind before it is told that it lost some.
    pub event_queue: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            max_connecting: 1_500,
            max_connecting_per_address: 1_000,
            max_namespace_clients: 1_000,
            connect_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
            max_keep_alive_s: 600,
            tcp_keepalive: Some(Duration::from_secs(60)),
            max_connect_bytes: 16 * 1024,
            max_packet_bytes: 256 * 1024,
            receive_maximum: 1_024,
            max_pending_reads: 64,
            max_pending_bytes: 1024 * 1024,
            sink_retry: Duration::from_millis(50),
            max_client_id_bytes: 128,
            max_topic_bytes: 512,
            max_topic_levels: 32,
            topic_alias_maximum: 16,
            max_subscriptions: 64,
            max_namespace_subscriptions: 100_000,
            max_retained: 10_000,
            max_retained_bytes: 16 * 1024 * 1024,
            outbound_queue: 1_000,
            outbound_queue_bytes: 4 * 1024 * 1024,
            outbound_in_flight: 64,
            event_queue: 4_096,
        }
    }
}
