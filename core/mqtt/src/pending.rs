//! What waits for its commit, in the order in which it came.

use std::collections::VecDeque;

use crate::message::Message;
use crate::reason::Code;

/// A PUBACK to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) id: u16,
    pub(crate) code: Code,
}

/// What one socket read has brought: sent and routed when the sink has
/// committed `position`.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) position: u64,
    /// In the order of their PUBLISH packets (MQTT 5 §4.6).
    pub(crate) acks: Vec<Ack>,
    pub(crate) messages: Vec<Message>,
}

impl Batch {
    fn bytes(&self) -> usize {
        self.messages.iter().map(Message::bytes).sum()
    }
}

/// A queue of batches.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    queue: VecDeque<Batch>,
    bytes: usize,
    last: u64,
}

impl Pending {
    pub(crate) fn push(&mut self, batch: Batch) {
        self.last = self.last.max(batch.position);
        self.bytes += batch.bytes();
        self.queue.push_back(batch);
    }

    /// The first batch, if it is committed.
    pub(crate) fn due(&mut self, committed: u64) -> Option<Batch> {
        if self.queue.front()?.position > committed {
            return None;
        }
        let batch = self.queue.pop_front()?;
        self.bytes -= batch.bytes();
        Some(batch)
    }

    /// What has to be committed for the first batch to be due.
    pub(crate) fn next(&self) -> Option<u64> {
        self.queue.front().map(|batch| batch.position)
    }

    /// The position of the last batch ever pushed: when something that needs
    /// no commit of its own is due.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes of the messages that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Qos;

    #[test]
    fn in_order_and_only_when_committed() {
        let mut pending = Pending::default();
        for position in [5, 9] {
            pending.push(Batch {
                position,
                acks: Vec::new(),
                messages: vec![Message::new(
                    "t",
                    Bytes::from_static(b"123"),
                    Qos::AtLeastOnce,
                    false,
                )],
            });
        }
        assert_eq!((pending.len(), pending.bytes()), (2, 8));
        assert!(pending.due(4).is_none());
        assert_eq!(pending.due(8).unwrap().position, 5);
        assert!(pending.due(8).is_none());
        assert_eq!(pending.due(20).unwrap().position, 9);
        assert!(pending.is_empty());
        assert_eq!((pending.last(), pending.bytes()), (9, 0));
    }
}
