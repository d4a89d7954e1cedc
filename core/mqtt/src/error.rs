//! What can go wrong for the application that uses an endpoint.

use crate::topic;

/// An error of a [`Handle`](crate::Handle).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The topic name can't be published on.
    #[error("topic: {0}")]
    Topic(#[from] topic::Error),
    /// The message is larger than the largest MQTT packet that is allowed.
    #[error("a message of {bytes} bytes is larger than the bound of {max_bytes}")]
    TooLarge {
        /// Bytes of topic and payload.
        bytes: usize,
        /// The bound.
        max_bytes: usize,
    },
    /// The message is to be retained, and the namespace keeps as many retained
    /// messages or bytes as it may. Nobody received it.
    #[error("the namespace has no room for another retained message")]
    RetainedFull,
}
