//! Which commands are of the receipts that wait.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
};

use stencil_protocol::id::CommandId;

/// At most as many as there are receipts. Cheap to clone: all clones are one.
///
/// Beside the receipts, as those are locked while one is written: each word of each device on each command is
/// looked up here, and nearly all are on commands of the hub's.
#[derive(Debug, Clone, Default)]
pub(in crate::access) struct Theirs(Arc<RwLock<HashSet<CommandId>>>);

impl Theirs {
    /// Whether the receipt of this command waits.
    pub(in crate::access) fn has(&self, command: CommandId) -> bool {
        let commands = self.0.read().unwrap_or_else(PoisonError::into_inner);
        commands.contains(&command)
    }

    pub(super) fn add(&self, commands: impl IntoIterator<Item = CommandId>) {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        held.extend(commands);
    }

    pub(super) fn remove(&self, command: CommandId) {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        held.remove(&command);
    }
}
