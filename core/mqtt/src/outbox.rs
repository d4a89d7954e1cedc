//! Messages that wait for one subscriber, and the wish to end its connection.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::message::Message;
use crate::{Disconnect, Qos};

/// A message as it waits for one subscriber.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub(crate) message: Arc<Message>,
    /// The lower of what was published and what was granted.
    pub(crate) qos: Qos,
    /// The retain flag to send.
    pub(crate) retain: bool,
    /// The identifiers of all subscriptions that led here.
    pub(crate) identifiers: Vec<u32>,
}

/// A queue with two bounds. Any task may push; one connection takes.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    /// Woken when there is something to take or to end.
    changed: Notify,
    max_messages: usize,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Waiting>,
    bytes: usize,
    end: Option<Disconnect>,
    /// So that an overflow is logged once, not once a message.
    overflowing: bool,
}

/// What became of a message that was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    Queued,
    /// The queue was full.
    Dropped {
        /// It is the first since there was room.
        first: bool,
    },
    /// The connection is about to end.
    Ended,
}

impl Outbox {
    pub(crate) fn new(max_messages: usize, max_bytes: usize) -> Self {
        Self {
            state: Mutex::default(),
            changed: Notify::new(),
            max_messages,
            max_bytes,
        }
    }

    /// Puts a message at the end of the queue, if there is room.
    pub(crate) fn push(&self, waiting: Waiting) -> Pushed {
        let bytes = waiting.message.bytes();
        let mut state = self.state();
        if state.end.is_some() {
            return Pushed::Ended;
        }
        if state.queue.len() >= self.max_messages
            || state.bytes.saturating_add(bytes) > self.max_bytes
        {
            let first = !state.overflowing;
            state.overflowing = true;
            return Pushed::Dropped { first };
        }
        state.overflowing = false;
        state.bytes += bytes;
        state.queue.push_back(waiting);
        drop(state);
        self.changed.notify_one();
        Pushed::Queued
    }

    /// Takes the first message if `may_send` its quality of service.
    pub(crate) fn take(&self, may_send: impl FnOnce(Qos) -> bool) -> Option<Waiting> {
        let mut state = self.state();
        if !may_send(state.queue.front()?.qos) {
            return None;
        }
        let waiting = state.queue.pop_front()?;
        state.bytes = state.bytes.saturating_sub(waiting.message.bytes());
        Some(waiting)
    }

    /// Asks the connection to end. The first reason stays.
    pub(crate) fn end(&self, reason: Disconnect) {
        self.state().end.get_or_insert(reason);
        self.changed.notify_one();
    }

    /// Why the connection shall end, if it shall.
    pub(crate) fn ended(&self) -> Option<Disconnect> {
        self.state().end
    }

    /// Waits for a message or the wish to end. One waiter only.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn waiting(bytes: usize) -> Waiting {
        Waiting {
            message: Arc::new(Message::new(
                "t",
                Bytes::from(vec![0; bytes - 1]),
                Qos::AtLeastOnce,
                false,
            )),
            qos: Qos::AtLeastOnce,
            retain: false,
            identifiers: Vec::new(),
        }
    }

    #[test]
    fn bounded_by_count_and_bytes() {
        let outbox = Outbox::new(2, 100);
        assert_eq!(outbox.push(waiting(10)), Pushed::Queued);
        assert_eq!(outbox.push(waiting(91)), Pushed::Dropped { first: true });
        assert_eq!(outbox.push(waiting(90)), Pushed::Queued);
        assert_eq!(outbox.push(waiting(1)), Pushed::Dropped { first: true });
        assert_eq!(outbox.push(waiting(1)), Pushed::Dropped { first: false });
        assert!(outbox.take(|_| false).is_none());
        assert_eq!(outbox.take(|_| true).unwrap().message.bytes(), 10);
        assert_eq!(outbox.push(waiting(10)), Pushed::Queued);
        outbox.end(Disconnect::TakenOver);
        outbox.end(Disconnect::Administrative);
        assert_eq!(outbox.ended(), Some(Disconnect::TakenOver));
        assert_eq!(outbox.push(waiting(1)), Pushed::Ended);
    }
}
