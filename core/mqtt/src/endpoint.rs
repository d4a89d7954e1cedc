//! The endpoint and the application's handle on it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};

use crate::commits::Commits;
use crate::hub::Hub;
use crate::message::Message;
use crate::metrics::Metrics;
use crate::{Error, Event, Options, Policy, Qos, Sink, listener};

/// An MQTT server for one policy and one sink. Cheap to clone; all clones and
/// all listeners share clients, subscriptions and bounds.
pub struct Endpoint<P: Policy, S: Sink<P::Principal>> {
    pub(crate) hub: Arc<Hub<P::Principal>>,
    pub(crate) policy: Arc<P>,
    pub(crate) sink: Arc<S>,
    pub(crate) commits: Arc<Commits>,
}

impl<P: Policy, S: Sink<P::Principal>> Endpoint<P, S> {
    /// An endpoint without listeners: see [`serve`](Self::serve).
    pub fn new(options: Options, policy: Arc<P>, sink: Arc<S>) -> Self {
        Self {
            hub: Arc::new(Hub::new(options)),
            policy,
            sink,
            commits: Arc::default(),
        }
    }

    /// Accepts connections until `shutdown` holds `true` or its sender is
    /// gone; then ends the connections that came in here: what they have
    /// published is committed and acknowledged first, bounded by
    /// [`Options::drain_timeout`].
    ///
    /// With `tls` every connection is a TLS one by that configuration;
    /// without, it is plain TCP. Several listeners may run at once, each in a
    /// task of its own.
    pub async fn serve(
        &self,
        listener: TcpListener,
        tls: Option<Arc<rustls::ServerConfig>>,
        shutdown: watch::Receiver<bool>,
    ) {
        self.commits.follow(self.sink.committed());
        listener::serve(self.clone(), listener, tls, shutdown).await;
    }

    /// The application's side of this endpoint.
    #[must_use]
    pub fn handle(&self) -> Handle<P::Principal> {
        Handle {
            hub: Arc::clone(&self.hub),
        }
    }
}

impl<P: Policy, S: Sink<P::Principal>> Clone for Endpoint<P, S> {
    fn clone(&self) -> Self {
        Self {
            hub: Arc::clone(&self.hub),
            policy: Arc::clone(&self.policy),
            sink: Arc::clone(&self.sink),
            commits: Arc::clone(&self.commits),
        }
    }
}

impl<P: Policy, S: Sink<P::Principal>> fmt::Debug for Endpoint<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").finish_non_exhaustive()
    }
}

/// What the application does with an endpoint while it serves.
pub struct Handle<Pr> {
    hub: Arc<Hub<Pr>>,
}

impl<Pr: Clone + Send + Sync + 'static> Handle<Pr> {
    /// Sends a message to the subscribers of a namespace; it doesn't pass the
    /// sink. Returns in how many subscribers' queues it was put: a subscriber
    /// whose queue is full doesn't count.
    ///
    /// With `retain` the message is also kept for later subscribers, in memory
    /// and until the process ends; an empty payload then deletes what is kept.
    ///
    /// # Errors
    /// When the topic is not a valid name, the message is too large, or there
    /// is no room to retain it.
    pub fn publish(
        &self,
        namespace: &str,
        topic: &str,
        payload: impl Into<Bytes>,
        qos: Qos,
        retain: bool,
    ) -> Result<usize, Error> {
        let message = Message::new(topic, payload.into(), qos, retain);
        self.hub.publish(namespace, message)
    }

    /// How many subscribers of a namespace would get a message on this topic now.
    #[must_use]
    pub fn listeners(&self, namespace: &str, topic: &str) -> usize {
        self.hub.listeners(namespace, topic)
    }

    /// Ends the connection of a client id, such as when its credential was
    /// revoked. Returns whether there was one.
    pub fn disconnect(&self, namespace: &str, client_id: &str) -> bool {
        self.hub.disconnect(namespace, client_id)
    }

    /// Ends the connections of all client ids of a namespace, such as when the credential was
    /// revoked to which it belongs. Returns how many there were.
    pub fn disconnect_namespace(&self, namespace: &str) -> usize {
        self.hub.disconnect_namespace(namespace)
    }

    /// Ends the connections of all namespaces that `which` picks, such as when their tenant is
    /// gone. Returns how many there were.
    pub fn disconnect_namespaces(&self, which: impl Fn(&str) -> bool) -> usize {
        self.hub.disconnect_namespaces(which)
    }

    /// Events from now on. A reader that lags more than
    /// [`Options::event_queue`] behind gets
    /// [`Lagged`](broadcast::error::RecvError::Lagged), and then should look
    /// at the state itself.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event<Pr>> {
        self.hub.events.subscribe()
    }

    /// The counters now.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.hub.counters.snapshot(self.hub.places.figures())
    }
}

impl<Pr> Clone for Handle<Pr> {
    fn clone(&self) -> Self {
        Self {
            hub: Arc::clone(&self.hub),
        }
    }
}

impl<Pr> fmt::Debug for Handle<Pr> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}
