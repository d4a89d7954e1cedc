//! What made a rule fire or clear: the identity of one sample, or of a moment.

use serde::Serialize;
use stencil_protocol::id::{Boot, Seq};

/// What made a rule fire or clear. A sample has the identity that it keeps when
/// it is sent, stored or replayed again. With rule and device a cause names one
/// change, and the keys of all effects derive from it.
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
    /// That nothing came: a silence is known by when the device was last heard.
    Silence {
        /// When that was, µs since the Unix epoch.
        since_us: i64,
    },
    /// A window that was judged: known by its end.
    Window {
        /// The end of the window, µs since the Unix epoch.
        end_us: i64,
    },
}
