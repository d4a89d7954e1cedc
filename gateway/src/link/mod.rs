//! The devices' links: TCP and serial lines carry frames, frames carry a handshake and then
//! sealed records.

mod connection;
mod exchange;
mod listener;
mod live;
mod serial;
mod session;
mod unreadable;
mod wire;

use std::{sync::Arc, time::Duration};

use stencil_protocol::id::GatewayId;

pub(crate) use self::{
    exchange::gateway_status,
    listener::{Places, listen},
    live::Live,
    serial::keep_open,
    unreadable::Unreadable,
};

use crate::{commands::Commands, metrics::Metrics, options, psk::KeyRing, spool::Spool};

/// What all links share.
pub(crate) struct Links {
    pub(crate) gateway: GatewayId,
    pub(crate) options: options::Link,
    pub(crate) keys: KeyRing,
    pub(crate) spool: Spool,
    pub(crate) commands: Arc<Commands>,
    pub(crate) live: Live,
    pub(crate) unreadable: Unreadable,
    pub(crate) metrics: Arc<Metrics>,
}

impl Links {
    fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.options.idle_timeout_ms)
    }
}
