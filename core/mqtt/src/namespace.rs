//! One tenant's clients, subscriptions and retained messages.
//!
//! All of it is behind one lock: routing reads, subscribing and retaining
//! write. So a message is either retained before a subscription and sent on
//! it, or routed to it, never neither.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use stencil_strangers::{Lines, Who, shown};

use crate::engine::{Entry, RetainHandling};
use crate::message::Message;
use crate::metrics::Counters;
use crate::outbox::{Outbox, Pushed, Waiting};
use crate::reason::Code;
use crate::retained::Retained;
use crate::trie::{Subscription, Trie};
use crate::{Disconnect, Options, Qos};

/// A namespace; its name is the application's.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) name: Arc<str>,
    state: RwLock<State>,
    /// So that publishers without any subscriber keep no messages.
    subscriptions: AtomicUsize,
    keeps_retained: bool,
    lines: Arc<Lines>,
}

#[derive(Debug)]
struct State {
    trie: Trie,
    retained: Retained,
    /// Connections by session number. One that was taken over stays here until
    /// it has ended.
    members: HashMap<u64, Member>,
    /// Who owns a client id.
    clients: HashMap<Box<str>, u64>,
}

#[derive(Debug)]
struct Member {
    client_id: Box<str>,
    outbox: Arc<Outbox>,
    filters: BTreeSet<Box<str>>,
    /// Another connection has this client id now.
    replaced: bool,
}

/// As much of a topic is logged, in bytes.
pub(crate) const TOPIC_SHOWN: usize = 256;

/// There are as many clients in a namespace as are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

impl Namespace {
    pub(crate) fn new(name: Arc<str>, options: &Options, lines: Arc<Lines>) -> Self {
        Self {
            name,
            state: RwLock::new(State {
                trie: Trie::default(),
                retained: Retained::new(options.max_retained, options.max_retained_bytes),
                members: HashMap::new(),
                clients: HashMap::new(),
            }),
            subscriptions: AtomicUsize::new(0),
            keeps_retained: options.max_retained > 0,
            lines,
        }
    }

    /// Adds a connection, if there is room for another client id. One with the
    /// same client id is asked to end and gets no more messages; returns
    /// whether there was one.
    pub(crate) fn join(
        &self,
        session: u64,
        client_id: &str,
        outbox: Arc<Outbox>,
        max_clients: usize,
    ) -> Result<bool, Full> {
        let mut state = self.write();
        if state.clients.len() >= max_clients && !state.clients.contains_key(client_id) {
            return Err(Full);
        }
        let before = state.clients.insert(Box::from(client_id), session);
        if let Some(before) = before {
            state.unsubscribe_all(before);
            if let Some(member) = state.members.get_mut(&before) {
                member.replaced = true;
                member.outbox.end(Disconnect::TakenOver);
            }
        }
        state.members.insert(
            session,
            Member {
                client_id: Box::from(client_id),
                outbox,
                filters: BTreeSet::new(),
                replaced: false,
            },
        );
        self.count(&state);
        Ok(before.is_some())
    }

    /// Removes a connection and its subscriptions. Returns whether another
    /// connection has its client id.
    pub(crate) fn leave(&self, session: u64) -> bool {
        let mut state = self.write();
        state.unsubscribe_all(session);
        let member = state.members.remove(&session);
        if let Some(member) = &member
            && !member.replaced
        {
            state.clients.remove(&member.client_id);
        }
        self.count(&state);
        member.is_some_and(|member| member.replaced)
    }

    /// Whether nothing would be lost by forgetting this namespace.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.read();
        state.members.is_empty() && state.retained.is_empty()
    }

    /// Whether a message could reach anybody.
    pub(crate) fn has_subscriptions(&self) -> bool {
        self.subscriptions.load(Ordering::Acquire) > 0
    }

    /// Asks the connection with this client id to end.
    pub(crate) fn end(&self, client_id: &str, reason: Disconnect) -> bool {
        let state = self.read();
        let member = state
            .clients
            .get(client_id)
            .and_then(|session| state.members.get(session));
        if let Some(member) = member {
            member.outbox.end(reason);
        }
        member.is_some()
    }

    /// Ends all connections; returns how many there are.
    pub(crate) fn end_all(&self, reason: Disconnect) -> usize {
        let state = self.read();
        for member in state.members.values() {
            member.outbox.end(reason);
        }
        state.members.len()
    }

    /// Puts a subscription in force and queues the retained messages that it
    /// asks for. The filter is well-formed and allowed.
    pub(crate) fn subscribe(
        &self,
        session: u64,
        entry: &Entry,
        identifier: Option<u32>,
        options: &Options,
        counters: &Counters,
    ) -> Result<(), Code> {
        let mut state = self.write();
        let state = &mut *state;
        let len = state.trie.len();
        let Some(member) = state.members.get_mut(&session) else {
            return Err(Code::IMPLEMENTATION);
        };
        if member.replaced {
            return Err(Code::IMPLEMENTATION);
        }
        let new = !member.filters.contains(&*entry.filter);
        if new
            && (member.filters.len() >= options.max_subscriptions
                || len >= options.max_namespace_subscriptions)
        {
            return Err(Code::QUOTA);
        }
        if new {
            member.filters.insert(Box::from(&*entry.filter));
        }
        state.trie.insert(
            &entry.filter,
            Subscription {
                session,
                outbox: Arc::clone(&member.outbox),
                qos: entry.qos,
                no_local: entry.no_local,
                retain_as_published: entry.retain_as_published,
                identifier,
            },
        );
        let wanted = match entry.retain_handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => new,
            RetainHandling::DoNotSend => false,
        };
        if wanted {
            for message in state.retained.matching(&entry.filter, Instant::now()) {
                let waiting = Waiting {
                    message: Arc::clone(message),
                    qos: message.qos.min(entry.qos),
                    retain: true,
                    identifiers: identifier.into_iter().collect(),
                };
                push(&member.outbox, waiting, &member.client_id, counters);
            }
        }
        self.count(state);
        Ok(())
    }

    /// Ends a subscription; returns whether there was one.
    pub(crate) fn unsubscribe(&self, session: u64, filter: &str) -> bool {
        let mut state = self.write();
        let state = &mut *state;
        let existed = state
            .members
            .get_mut(&session)
            .is_some_and(|member| member.filters.remove(filter));
        if existed {
            state.trie.remove(filter, session);
        }
        self.count(state);
        existed
    }

    /// Queues a message for its subscribers and keeps it when it is to be
    /// retained. Returns in how many queues it was put, and whether there was
    /// no room to retain it.
    pub(crate) fn route(
        &self,
        message: Message,
        publisher: Option<u64>,
        counters: &Counters,
    ) -> Routed {
        let message = Arc::new(message);
        if !message.retain {
            return Routed {
                receivers: self.read().send(&message, publisher, counters),
                retained_full: false,
            };
        }
        let mut state = self.write();
        let kept = state.retained.keep(&message, Instant::now());
        if kept.is_err() {
            counters.retained_refused.one();
            self.not_kept(&message.topic);
        }
        Routed {
            receivers: state.send(&message, publisher, counters),
            retained_full: kept.is_err(),
        }
    }

    fn not_kept(&self, topic: &str) {
        let topic = shown(topic, TOPIC_SHOWN);
        if !self.keeps_retained {
            // Nothing is wrong: clients cannot know, and mark what they send all the same.
            tracing::debug!(
                namespace = &*self.name,
                %topic,
                "a message marked as retained is passed on, and not kept: no retained messages \
                 are kept here"
            );
        } else if self.lines.may_write(
            Who::Named(Arc::clone(&self.name)),
            "retained message not kept",
        ) {
            tracing::warn!(
                namespace = &*self.name,
                %topic,
                "retained message not kept: the namespace has no room for more"
            );
        }
    }

    /// How many connections a message with this topic would go to.
    pub(crate) fn listeners(&self, topic: &str) -> usize {
        let state = self.read();
        let mut sessions = BTreeSet::new();
        state.trie.matches(topic, &mut |subscription| {
            sessions.insert(subscription.session);
        });
        sessions.len()
    }

    fn count(&self, state: &State) {
        self.subscriptions
            .store(state.trie.len(), Ordering::Release);
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Routed {
    pub(crate) receivers: usize,
    pub(crate) retained_full: bool,
}

impl State {
    fn unsubscribe_all(&mut self, session: u64) {
        let Some(member) = self.members.get_mut(&session) else {
            return;
        };
        for filter in std::mem::take(&mut member.filters) {
            self.trie.remove(&filter, session);
        }
    }

    /// Each subscriber gets the message once, with the best of its
    /// subscriptions and all their identifiers (§3.3.4).
    fn send(&self, message: &Arc<Message>, publisher: Option<u64>, counters: &Counters) -> usize {
        let mut covering: Vec<&Subscription> = Vec::new();
        self.trie.matches(&message.topic, &mut |subscription| {
            if !(subscription.no_local && Some(subscription.session) == publisher) {
                covering.push(subscription);
            }
        });
        covering.sort_unstable_by_key(|subscription| subscription.session);
        let mut receivers = 0;
        for group in covering.chunk_by(|a, b| a.session == b.session) {
            let Some(first) = group.first() else { continue };
            let granted = group.iter().map(|s| s.qos).max().unwrap_or(Qos::AtMostOnce);
            let waiting = Waiting {
                message: Arc::clone(message),
                qos: message.qos.min(granted),
                retain: message.retain && group.iter().any(|s| s.retain_as_published),
                identifiers: group.iter().filter_map(|s| s.identifier).collect(),
            };
            let client_id = self
                .members
                .get(&first.session)
                .map_or("", |member| &*member.client_id);
            receivers += usize::from(push(&first.outbox, waiting, client_id, counters));
        }
        receivers
    }
}

fn push(outbox: &Outbox, waiting: Waiting, client_id: &str, counters: &Counters) -> bool {
    match outbox.push(waiting) {
        Pushed::Queued => true,
        Pushed::Dropped { first } => {
            counters.queue_full.one();
            if first {
                tracing::warn!(
                    client_id,
                    "messages dropped: the subscriber's queue is full"
                );
            }
            false
        }
        Pushed::Ended => false,
    }
}
