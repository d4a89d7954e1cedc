//! Which gateways listen for commands.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stencil_mqtt::Event;
use stencil_protocol::id::{GatewayId, TenantId};
use tokio::sync::{broadcast, watch};

use crate::parts::told_to_end;
use crate::policy::Peer;
use crate::wake::Wakes;

/// A gateway within its tenant.
type Key = (TenantId, GatewayId);

/// The gateways that have subscribed and not gone since, with the connections on which they did:
/// one that is taken over ends after its successor has begun. Bounded by the connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Presence(Arc<Mutex<BTreeMap<Key, BTreeSet<SocketAddr>>>>);

impl Presence {
    /// All of them.
    pub(crate) fn all(&self) -> Vec<Key> {
        self.held().keys().cloned().collect()
    }

    fn came(&self, key: Key, connection: SocketAddr) {
        self.held().entry(key).or_default().insert(connection);
    }

    fn went(&self, key: &Key, connection: SocketAddr) {
        let mut held = self.held();
        if let Some(connections) = held.get_mut(key) {
            connections.remove(&connection);
            if connections.is_empty() {
                held.remove(key);
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<Key, BTreeSet<SocketAddr>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows the endpoint's events until `stop` holds true. Does nothing that takes time, so that it
/// does not fall behind.
pub(crate) async fn watch(
    mut events: broadcast::Receiver<Event<Peer>>,
    presence: Presence,
    wakes: Wakes,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = told_to_end(&mut stop) => return,
        };
        match event {
            // The policy lets a gateway subscribe to its commands and to nothing else.
            Ok(Event::Subscribed { source, .. }) => {
                if let Some(key) = gateway(&source.principal) {
                    wakes.gateway(&key.0, &key.1);
                    presence.came(key, source.peer);
                }
            }
            Ok(Event::Disconnected { source, .. }) => {
                if let Some(key) = gateway(&source.principal) {
                    presence.went(&key, source.peer);
                }
            }
            Ok(_) => {}
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "endpoint events were missed");
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

fn gateway(peer: &Peer) -> Option<Key> {
    let gateway = peer.principal.gateway()?;
    Some((peer.principal.tenant.clone(), gateway.clone()))
}
