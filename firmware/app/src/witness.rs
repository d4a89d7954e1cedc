//! Someone who watches what a device gives and does.

use stencil_protocol::command::{Command, State};
use stencil_protocol::id::{Boot, Seq};

use crate::clock::Stamp;
use crate::sensor::Reading;

/// Is told of every number that is given and every command that is carried
/// out. A product needs none: `()` watches nothing. A simulator keeps its own
/// books here, against which the hub's are held.
pub trait Witness {
    /// `reading` has got a number. Called after the number was retained and
    /// before the sample can leave. `stamp` is the time on it.
    fn given(&mut self, boot: Boot, seq: Seq, reading: &Reading<'_>, stamp: Stamp) {
        let _ = (boot, seq, reading, stamp);
    }

    /// The gateway has told the time for the first time: readings of this boot
    /// that were shown with the counter's time were taken `offset_us` later.
    fn time_known(&mut self, boot: Boot, offset_us: i64) {
        let _ = (boot, offset_us);
    }

    /// A command was carried out at `at_us`; `outcome` is `Done` or `Failed`.
    fn executed(&mut self, boot: Boot, command: &Command<'_>, outcome: State, at_us: i64) {
        let _ = (boot, command, outcome, at_us);
    }

    /// The gateway holds all numbers of this boot up to `through`.
    fn acknowledged(&mut self, boot: Boot, through: Seq) {
        let _ = (boot, through);
    }
}

impl Witness for () {}
