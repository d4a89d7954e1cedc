//! Retained messages of one namespace (MQTT 5 §3.3.1.3).
//!
//! Kept in memory: they end with the process, like the sessions.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use crate::message::Message;
use crate::topic;

/// The last retained message of each topic, within two bounds.
#[derive(Debug)]
pub(crate) struct Retained {
    messages: BTreeMap<Arc<str>, Arc<Message>>,
    bytes: usize,
    max_messages: usize,
    max_bytes: usize,
}

/// There is no room for another message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

impl Retained {
    pub(crate) fn new(max_messages: usize, max_bytes: usize) -> Self {
        Self {
            messages: BTreeMap::new(),
            bytes: 0,
            max_messages,
            max_bytes,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Keeps a message in place of the one before; an empty payload deletes.
    /// What was kept before stays when there is no room.
    pub(crate) fn keep(&mut self, message: &Arc<Message>, now: Instant) -> Result<(), Full> {
        if message.payload.is_empty() {
            self.forget(&message.topic);
            return Ok(());
        }
        if !self.has_room(message) {
            self.sweep(now);
            if !self.has_room(message) {
                return Err(Full);
            }
        }
        self.forget(&message.topic);
        self.bytes += message.bytes();
        self.messages
            .insert(Arc::clone(&message.topic), Arc::clone(message));
        Ok(())
    }

    /// What a new subscription with this filter gets.
    pub(crate) fn matching<'a>(
        &'a self,
        filter: &'a str,
        now: Instant,
    ) -> impl Iterator<Item = &'a Arc<Message>> {
        let prefix = literal_prefix(filter);
        self.messages
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(name, _)| name.starts_with(prefix))
            .map(|(_, message)| message)
            .filter(move |message| !message.expired(now) && topic::matches(filter, &message.topic))
    }

    fn has_room(&self, message: &Message) -> bool {
        let (count, bytes) = match self.messages.get(&message.topic) {
            Some(old) => (self.messages.len() - 1, self.bytes - old.bytes()),
            None => (self.messages.len(), self.bytes),
        };
        count < self.max_messages && bytes.saturating_add(message.bytes()) <= self.max_bytes
    }

    fn forget(&mut self, name: &str) {
        if let Some(old) = self.messages.remove(name) {
            self.bytes -= old.bytes();
        }
    }

    fn sweep(&mut self, now: Instant) {
        let bytes = &mut self.bytes;
        self.messages.retain(|_, message| {
            let expired = message.expired(now);
            if expired {
                *bytes -= message.bytes();
            }
            !expired
        });
    }
}

/// What every name that a filter covers starts with. `a/#` covers `a` too.
fn literal_prefix(filter: &str) -> &str {
    match filter.find(['+', '#']) {
        Some(at) => {
            let prefix = filter.get(..at).unwrap_or_default();
            prefix.strip_suffix('/').unwrap_or(prefix)
        }
        None => filter,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::Qos;

    fn message(topic: &str, payload: &'static str) -> Arc<Message> {
        Arc::new(Message::new(
            topic,
            Bytes::from_static(payload.as_bytes()),
            Qos::AtLeastOnce,
            true,
        ))
    }

    fn found(retained: &Retained, filter: &str, now: Instant) -> Vec<String> {
        retained
            .matching(filter, now)
            .map(|message| message.topic.to_string())
            .collect()
    }

    #[test]
    fn keeps_replaces_and_deletes() {
        let now = Instant::now();
        let mut retained = Retained::new(10, 1000);
        for name in ["a", "a/b", "a/b/c", "ab", "b"] {
            retained.keep(&message(name, "1"), now).unwrap();
        }
        assert_eq!(found(&retained, "a/#", now), ["a", "a/b", "a/b/c"]);
        assert_eq!(found(&retained, "a/+", now), ["a/b"]);
        assert_eq!(found(&retained, "+", now), ["a", "ab", "b"]);
        assert_eq!(found(&retained, "#", now).len(), 5);
        assert_eq!(found(&retained, "a/b", now), ["a/b"]);
        retained.keep(&message("a/b", "22"), now).unwrap();
        assert_eq!(retained.matching("a/b", now).next().unwrap().payload, "22");
        retained.keep(&message("a/b", ""), now).unwrap();
        assert!(found(&retained, "a/b", now).is_empty());
        for name in ["a", "a/b/c", "ab", "b"] {
            retained.keep(&message(name, ""), now).unwrap();
        }
        assert!(retained.is_empty());
        assert_eq!(retained.bytes, 0);
    }

    #[test]
    fn bounded_by_count_and_bytes() {
        let now = Instant::now();
        let mut retained = Retained::new(2, 10);
        retained.keep(&message("a", "123"), now).unwrap();
        assert_eq!(retained.keep(&message("b", "1234567"), now), Err(Full));
        retained.keep(&message("b", "1"), now).unwrap();
        assert_eq!(retained.keep(&message("c", "1"), now), Err(Full));
        // In place of the one before, not beside it.
        retained.keep(&message("a", "1234567"), now).unwrap();
        assert_eq!(retained.keep(&message("a", "12345678"), now), Err(Full));
        assert_eq!(
            retained.matching("a", now).next().unwrap().payload,
            "1234567"
        );
    }

    #[test]
    fn expired_ones_make_room() {
        let now = Instant::now();
        let later = now + Duration::from_secs(2);
        let mut retained = Retained::new(1, 100);
        let mut short = Message::clone(&message("a", "1"));
        short.expires = Some(now + Duration::from_secs(1));
        retained.keep(&Arc::new(short), now).unwrap();
        assert_eq!(retained.keep(&message("b", "1"), now), Err(Full));
        assert!(found(&retained, "a", later).is_empty());
        retained.keep(&message("b", "1"), later).unwrap();
        assert_eq!(found(&retained, "#", later), ["b"]);
    }
}
