//! Messages on their way from the listener to the readings.

use std::sync::Arc;

use stencil_protocol::line::Line;
use tokio::sync::mpsc;

/// How many reads of sockets may wait.
const MAX_WAITING: usize = 64;

/// What one read of a client's socket brought.
#[derive(Clone, Debug, PartialEq)]
pub struct Offered {
    /// The client's user name.
    pub client: Arc<str>,
    /// What it came over.
    pub line: Line,
    /// The messages, in their order.
    pub messages: Vec<Offer>,
    /// Comes out behind them.
    pub ticket: u64,
}

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: Vec<u8>,
    /// Whether it is marked as retained.
    pub is_retained: bool,
    /// When it came: microseconds since the Unix epoch.
    pub at_us: i64,
}

/// Takes messages in.
#[derive(Clone, Debug)]
pub struct Offers(mpsc::Sender<Offered>);

/// There is no room now, or nothing is read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Offers {
    pub(crate) fn channel() -> (Self, mpsc::Receiver<Offered>) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        (Self(sender), receiver)
    }

    /// Takes messages in, if there is room. `offered` is called only then.
    ///
    /// # Errors
    /// [`Full`].
    pub fn offer(&self, offered: impl FnOnce() -> Offered) -> Result<(), Full> {
        let place = self.0.try_reserve().map_err(|_| Full)?;
        place.send(offered());
        Ok(())
    }
}
