//! The devices' links: TCP and serial lines carry frames, frames carry a handshake, or what
//! is left of an earlier one, and then sealed records.

mod connection;
mod exchange;
mod handshake;
mod listener;
mod live;
mod resumption;
mod serial;
mod session;
mod strangers;
mod transfer;
mod unreadable;
mod wire;

use std::{sync::Arc, time::Duration};

use stencil_protocol::id::GatewayId;

pub(crate) use self::{
    exchange::gateway_status,
    handshake::Porter,
    listener::{Places, listen},
    live::Live,
    resumption::Resumptions,
    serial::keep_open,
    strangers::Strangers,
    unreadable::Unreadable,
};

use crate::{
    commands::Commands, edge::Edge, images::Images, metrics::Metrics, options, psk::KeyRing,
    spool::Spool,
};

/// What all links share.
pub(crate) struct Links {
    pub(crate) gateway: GatewayId,
    pub(crate) options: options::Link,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) porter: Porter,
    pub(crate) resumptions: Resumptions,
    pub(crate) spool: Spool,
    pub(crate) edge: Arc<Edge>,
    pub(crate) commands: Arc<Commands>,
    pub(crate) live: Live,
    pub(crate) images: Arc<Images>,
    pub(crate) unreadable: Unreadable,
    pub(crate) strangers: Strangers,
    pub(crate) metrics: Arc<Metrics>,
}

impl Links {
    fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.options.idle_timeout_ms)
    }
}
