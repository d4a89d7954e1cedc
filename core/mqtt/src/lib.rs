//! An MQTT 3.1.1 and 5 endpoint that acknowledges after commit.
//!
//! MQTT brokers acknowledge a message when they have it in memory. This one
//! asks a [`Sink`] to keep it, and sends the PUBACK when the sink says that it
//! is durable, so that a client may forget what was acknowledged. It is a
//! library: who may connect and do what is decided by a [`Policy`], and what a
//! message means is none of its business.
//!
//! # The way of a message
//!
//! ```text
//! socket ─read→ packets ─Policy::may_publish→ Sink::append (one call a read) → position
//!   … Sink::committed() ≥ position → PUBACKs, one write → subscribers in the same namespace
//! ```
//!
//! The reads that wait for their commit form a queue per connection. When it
//! is full, or when the sink has no room, the connection isn't read any more:
//! TCP holds the client back, and nothing is dropped. A connection that ends
//! is drained first, so that what was published right before a DISCONNECT
//! still reaches its subscribers.
//!
//! # Tenants
//!
//! A [`Policy`] puts every client into a namespace. Topics, client ids and
//! retained messages of one namespace are invisible to all others; there is
//! no topic by which a client could name another namespace.
//!
//! # What is offered
//!
//! QoS 0 and 1, retained messages, wills, topic aliases from clients,
//! subscription options and identifiers, flow control both ways, takeover of a
//! client id by a newer connection. Sessions end with their connection, QoS 2
//! and shared subscriptions are not offered; a v5 client is told so in the
//! CONNACK.
//!
//! # Example
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use stencil_mqtt::{Endpoint, Options, Policy, Sink};
//! # async fn run<P: Policy, S: Sink<P::Principal>>(policy: Arc<P>, sink: Arc<S>)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! let endpoint = Endpoint::new(Options::default(), policy, sink);
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let (stop, shutdown) = tokio::sync::watch::channel(false);
//! let handle = endpoint.handle();
//! let serving = tokio::spawn(async move { endpoint.serve(listener, None, shutdown).await });
//! handle.publish("tenant", "greeting", "hello", stencil_mqtt::Qos::AtLeastOnce, false)?;
//! stop.send(true)?;
//! serving.await?;
//! # Ok(())
//! # }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod certificate;
mod commits;
mod connect;
mod connection;
mod drain;
mod endpoint;
mod engine;
mod error;
mod event;
mod frame;
mod hub;
mod intake;
mod listener;
mod message;
mod metrics;
mod namespace;
mod options;
mod outbox;
mod pending;
mod policy;
mod reason;
mod retained;
mod sink;
mod tls;
pub mod topic;
mod trie;
mod wire;

pub use endpoint::{Endpoint, Handle};
pub use error::Error;
pub use event::{Disconnect, Event};
pub use metrics::Metrics;
pub use options::Options;
pub use policy::{Connect, Policy, Refused, RefusedCode, Transport, Version};
pub use sink::{Publish, Qos, Sink, SinkError, Source};
