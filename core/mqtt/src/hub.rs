//! What all connections of an endpoint share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stencil_strangers::{Bounds, Lines, Places};
use tokio::sync::broadcast;

use crate::message::Message;
use crate::metrics::Counters;
use crate::namespace::{Full, Namespace};
use crate::outbox::Outbox;
use crate::{Disconnect, Error, Event, Options, Source, topic};

/// Bounds, counters, events and namespaces.
pub(crate) struct Hub<Pr> {
    pub(crate) options: Options,
    pub(crate) counters: Counters,
    pub(crate) events: broadcast::Sender<Event<Pr>>,
    pub(crate) places: Places,
    /// Lines of the log about who is not let in, by address.
    pub(crate) strangers: Lines,
    /// And about clients that were, by namespace.
    pub(crate) clients: Arc<Lines>,
    /// Joining, leaving and forgetting a namespace happen under this lock, so
    /// that there is never a second one of a name.
    namespaces: Mutex<HashMap<Arc<str>, Arc<Namespace>>>,
    sessions: AtomicU64,
}

impl<Pr: Clone + Send + Sync + 'static> Hub<Pr> {
    pub(crate) fn new(options: Options) -> Self {
        let (events, _) = broadcast::channel(options.event_queue.max(1));
        let places = Places::new(Bounds {
            connections: options.max_connections,
            strangers: options.max_connecting,
            strangers_per_address: options.max_connecting_per_address,
        });
        Self {
            options,
            counters: Counters::default(),
            events,
            places,
            strangers: Lines::default(),
            clients: Arc::default(),
            namespaces: Mutex::default(),
            sessions: AtomicU64::new(1),
        }
    }

    /// A number for a connection, or for a client id to make up.
    pub(crate) fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes a connection known in its namespace until the result is dropped,
    /// if there is room for another client.
    pub(crate) fn join(
        self: &Arc<Self>,
        namespace: &str,
        session: u64,
        source: Arc<Source<Pr>>,
    ) -> Result<Membership<Pr>, Full> {
        let outbox = Arc::new(Outbox::new(
            self.options.outbound_queue,
            self.options.outbound_queue_bytes,
        ));
        let mut namespaces = self.namespaces();
        let namespace = self.open(&mut namespaces, namespace);
        let max_clients = self.options.max_namespace_clients;
        let outbox_there = Arc::clone(&outbox);
        match namespace.join(session, &source.client_id, outbox_there, max_clients) {
            Ok(false) => {}
            Ok(true) => self.counters.takeovers.one(),
            Err(full) => {
                forget_idle(&mut namespaces, &namespace);
                return Err(full);
            }
        }
        drop(namespaces);
        Ok(Membership {
            hub: Arc::clone(self),
            namespace,
            session,
            source,
            outbox,
            reason: Disconnect::Lost,
        })
    }

    pub(crate) fn publish(&self, namespace: &str, message: Message) -> Result<usize, Error> {
        topic::check_name(&message.topic, (&self.options).into())?;
        let max_bytes = self.options.max_packet_bytes as usize;
        if message.bytes() > max_bytes {
            return Err(Error::TooLarge {
                bytes: message.bytes(),
                max_bytes,
            });
        }
        let mut namespaces = self.namespaces();
        let namespace = if message.retain {
            self.open(&mut namespaces, namespace)
        } else {
            let Some(namespace) = namespaces.get(namespace).map(Arc::clone) else {
                return Ok(0);
            };
            drop(namespaces);
            return Ok(namespace.route(message, None, &self.counters).receivers);
        };
        let routed = namespace.route(message, None, &self.counters);
        forget_idle(&mut namespaces, &namespace);
        match routed.retained_full {
            true => Err(Error::RetainedFull),
            false => Ok(routed.receivers),
        }
    }

    pub(crate) fn listeners(&self, namespace: &str, topic: &str) -> usize {
        let namespace = self.namespaces().get(namespace).map(Arc::clone);
        namespace.map_or(0, |namespace| namespace.listeners(topic))
    }

    pub(crate) fn disconnect(&self, namespace: &str, client_id: &str) -> bool {
        let namespace = self.namespaces().get(namespace).map(Arc::clone);
        namespace.is_some_and(|n| n.end(client_id, Disconnect::Administrative))
    }

    pub(crate) fn disconnect_namespace(&self, namespace: &str) -> usize {
        let namespace = self.namespaces().get(namespace).map(Arc::clone);
        namespace.map_or(0, |n| n.end_all(Disconnect::Administrative))
    }

    pub(crate) fn disconnect_namespaces(&self, which: impl Fn(&str) -> bool) -> usize {
        let picked: Vec<_> = {
            let namespaces = self.namespaces();
            let picked = namespaces.iter().filter(|(name, _)| which(name));
            picked.map(|(_, namespace)| Arc::clone(namespace)).collect()
        };
        let ended = picked.iter().map(|n| n.end_all(Disconnect::Administrative));
        ended.sum()
    }

    /// Tells who listens; nobody need to.
    pub(crate) fn tell(&self, event: Event<Pr>) {
        let _ = self.events.send(event);
    }

    fn open(
        &self,
        namespaces: &mut HashMap<Arc<str>, Arc<Namespace>>,
        name: &str,
    ) -> Arc<Namespace> {
        if let Some(namespace) = namespaces.get(name) {
            return Arc::clone(namespace);
        }
        let name: Arc<str> = Arc::from(name);
        let namespace = Arc::new(Namespace::new(
            Arc::clone(&name),
            &self.options,
            Arc::clone(&self.clients),
        ));
        namespaces.insert(name, Arc::clone(&namespace));
        namespace
    }

    fn namespaces(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Namespace>>> {
        self.namespaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget_idle(namespaces: &mut HashMap<Arc<str>, Arc<Namespace>>, namespace: &Namespace) {
    if namespace.is_idle() {
        namespaces.remove(&namespace.name);
    }
}

/// A connection's place in its namespace; left when this is dropped, however
/// the connection ends.
pub(crate) struct Membership<Pr: Clone + Send + Sync + 'static> {
    hub: Arc<Hub<Pr>>,
    pub(crate) namespace: Arc<Namespace>,
    pub(crate) session: u64,
    pub(crate) source: Arc<Source<Pr>>,
    pub(crate) outbox: Arc<Outbox>,
    /// Why the connection ended; for the event.
    pub(crate) reason: Disconnect,
}

impl<Pr: Clone + Send + Sync + 'static> Drop for Membership<Pr> {
    fn drop(&mut self) {
        self.outbox.end(self.reason);
        let mut namespaces = self.hub.namespaces();
        let replaced = self.namespace.leave(self.session);
        forget_idle(&mut namespaces, &self.namespace);
        drop(namespaces);
        self.hub.tell(Event::Disconnected {
            namespace: Arc::clone(&self.namespace.name),
            source: Arc::clone(&self.source),
            reason: match replaced {
                true => Disconnect::TakenOver,
                false => self.reason,
            },
        });
    }
}
