//! What is set aside because it makes no sense: with the reason, and a bound.

use stencil_protocol::id::DeviceId;
use stencil_store::{MAX_QUARANTINED_PAYLOAD, Quarantined};

use super::changes::Changes;
use super::origin::Origin;

/// Entries of one record at most; what is beyond is counted in a last one.
const MAX_ENTRIES: usize = 8;
/// Longest reason that is kept, in bytes.
const MAX_REASON_BYTES: usize = 512;

/// The rejected parts of one record.
pub(super) struct Quarantine<'a> {
    origin: &'a Origin<'a>,
    device: Option<&'a DeviceId>,
    entries: usize,
    beyond: usize,
}

impl<'a> Quarantine<'a> {
    pub(super) fn new(origin: &'a Origin<'a>, device: Option<&'a DeviceId>) -> Self {
        Self {
            origin,
            device,
            entries: 0,
            beyond: 0,
        }
    }

    /// Sets one part aside. `path` says where in the payload it was, `None`: all of it.
    pub(super) fn put(
        &mut self,
        changes: &mut Changes,
        path: Option<String>,
        reason: impl std::fmt::Display,
    ) {
        changes.tally.quarantined += 1;
        if self.entries >= MAX_ENTRIES {
            self.beyond += 1;
            return;
        }
        self.entries += 1;
        self.entry(changes, path, reason.to_string());
    }

    /// Ends the record: notes how many parts had no entry of their own.
    pub(super) fn finish(self, changes: &mut Changes) {
        if self.beyond > 0 {
            let reason = format!("{} more parts of this payload were rejected", self.beyond);
            self.entry(changes, None, reason);
        }
    }

    fn entry(&self, changes: &mut Changes, path: Option<String>, mut reason: String) {
        let payload = self.origin.payload;
        reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
        // A stranger's words are in it, and it is shown to people and kept by databases.
        let plain = |text: String| text.replace(char::is_control, "\u{fffd}");
        changes.quarantined.push(Quarantined {
            tenant: self.origin.tenant.clone(),
            device: self.device.cloned(),
            topic: plain(self.origin.topic.to_owned()),
            reason: plain(reason),
            path: path.map(plain),
            payload: payload[..payload.len().min(MAX_QUARANTINED_PAYLOAD)].to_vec(),
            at_us: self.origin.received_us,
            position: self.origin.position,
        });
    }
}
