//! Commands on their way to gateways: sent when they are queued, again when a gateway comes back,
//! and expired when their time is over.

mod contest;
mod dispatcher;
mod port;
mod sessions;

pub(crate) use contest::{Contest, note};
pub(crate) use dispatcher::Dispatcher;
pub(crate) use port::WakingCommands;
pub(crate) use sessions::Sessions;
