//! In which order what is spooled is brought to the hub.
//!
//! After a short outage: in the order of the spool. After a long one that would make what is
//! measured now wait behind all that has gathered, so then there are two streams: what is spooled
//! from the connection on, and beside it what waited, at a rate that does not hold up the first
//! ([`super::window`]). Each stream is in order by itself. What the hub acknowledges of the first is
//! remembered as a stretch beyond the cursor, also over a kill.
//!
//! Numbers make the order of batches all the same to the hub's books. Of links and images it keeps
//! what it hears last, so of these an older report is left out once a newer one of the same device
//! has gone ahead of it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use stencil_log::Position;
use stencil_protocol::id::DeviceId;

use super::source::Stretch;
use crate::spool::{Entry, Kind, Spool};

/// The most devices of which it is remembered what was said; of others an old report may come after
/// a newer one.
const MAX_DEVICES: usize = 65_536;

/// What to bring.
pub(super) struct Order {
    /// What is new; or everything, when there is no back-fill.
    pub(super) live: Stretch,
    /// What waited.
    pub(super) back_fill: Option<Stretch>,
}

impl Order {
    /// The order from now on, when this much may be brought in the spool's order; all is while
    /// rules are judged here, as the hub judges by the same records in the same order.
    pub(super) fn new(spool: &Spool, in_order_bytes: u64, judges: bool) -> Self {
        let acknowledged = spool.acknowledged();
        let from = acknowledged.through();
        let end = *spool.committed().borrow();
        let waiting_bytes = acknowledged.waiting_bytes(spool.log().oldest(), end);
        if judges || waiting_bytes <= in_order_bytes {
            return Self {
                live: Stretch {
                    from,
                    to: None,
                    acknowledged,
                },
                back_fill: None,
            };
        }
        tracing::info!(
            waiting_bytes,
            "what has gathered is brought beside what is new"
        );
        Self {
            live: Stretch {
                from: end,
                to: None,
                acknowledged: acknowledged.clone(),
            },
            back_fill: Some(Stretch {
                from,
                to: Some(end),
                acknowledged,
            }),
        }
    }
}

/// Up to where reports went ahead, by what they are about. Not on disk: a gateway that starts again
/// has no links, and says so of each as it comes.
#[derive(Default)]
pub(crate) struct Said(Mutex<HashMap<(u8, DeviceId), Position>>);

impl Said {
    /// Nothing is brought ahead of older things any more.
    pub(super) fn clear(&self) {
        self.map().clear();
    }

    /// A report goes to the hub ahead of older ones.
    pub(super) fn ahead(&self, entry: &Entry<'_>, at: Position) {
        if !is_state(entry.kind) {
            return;
        }
        let mut map = self.map();
        let key = (entry.kind as u8, entry.device.clone());
        if map.len() < MAX_DEVICES || map.contains_key(&key) {
            let newest = map.entry(key).or_default();
            *newest = at.max(*newest);
        }
    }

    /// Whether a newer report of the same device went ahead of this one.
    pub(super) fn has_newer(&self, entry: &Entry<'_>, at: Position) -> bool {
        is_state(entry.kind) && {
            let map = self.map();
            let newest = map.get(&(entry.kind as u8, entry.device.clone()));
            newest.is_some_and(|newest| *newest > at)
        }
    }

    fn map(&self) -> MutexGuard<'_, HashMap<(u8, DeviceId), Position>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the hub keeps what it hears last.
fn is_state(kind: Kind) -> bool {
    match kind {
        Kind::Link | Kind::Image => true,
        Kind::Batch
        | Kind::Status
        | Kind::Loss
        | Kind::Key
        | Kind::Judged
        | Kind::Stream
        | Kind::Seal
        | Kind::Damage => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_older_reports_of_the_same_kind_and_device_are_left_out() {
        let said = Said::default();
        let device = |id| DeviceId::parse(id).unwrap();
        let entry = |kind, id| Entry {
            kind,
            device: device(id),
            suite: None,
            payload: &[],
        };
        said.ahead(&entry(Kind::Link, "a"), Position(50));
        said.ahead(&entry(Kind::Link, "a"), Position(40));
        said.ahead(&entry(Kind::Batch, "a"), Position(60));
        assert!(said.has_newer(&entry(Kind::Link, "a"), Position(49)));
        assert!(!said.has_newer(&entry(Kind::Link, "a"), Position(50)));
        assert!(!said.has_newer(&entry(Kind::Link, "b"), Position(1)));
        assert!(!said.has_newer(&entry(Kind::Image, "a"), Position(1)));
        assert!(!said.has_newer(&entry(Kind::Batch, "a"), Position(1)));
        said.clear();
        assert!(!said.has_newer(&entry(Kind::Link, "a"), Position(1)));
    }
}
