//! A message on its way to subscribers.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::Qos;
use crate::engine::Forwarded;

/// A message, shared by all queues that it waits in.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) topic: Arc<str>,
    pub(crate) payload: Bytes,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    /// When nobody needs it any more (MQTT 5 Message Expiry Interval).
    pub(crate) expires: Option<Instant>,
    /// MQTT 5 properties that are passed on as they came.
    pub(crate) forwarded: Forwarded,
}

impl Message {
    pub(crate) fn new(topic: &str, payload: Bytes, qos: Qos, retain: bool) -> Self {
        Self {
            topic: Arc::from(topic),
            payload,
            qos,
            retain,
            expires: None,
            forwarded: Forwarded::default(),
        }
    }

    /// What it costs to keep, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.topic.len() + self.payload.len() + self.forwarded.bytes()
    }

    pub(crate) fn expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }
}
