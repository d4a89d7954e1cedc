//! What made a rule fire: the identity of one sample.

use serde::Serialize;
use stencil_protocol::id::{Boot, Seq};

/// The sample that made a rule fire, by the identity that it keeps when it is
/// sent, stored or replayed again. With the device it is unique in a tenant,
/// and the keys of all effects derive from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(untagged)]
pub enum Cause {
    /// A sample of a device that numbers what it sends.
    Numbered {
        /// The boot in which the number was given.
        boot: Boot,
        /// The sample's number in that boot.
        seq: Seq,
    },
    /// A sample of a foreign device, which numbers nothing: it is known by
    /// its device, name and time.
    Timed {
        /// The sample's time, µs since the Unix epoch.
        time_us: i64,
    },
}
