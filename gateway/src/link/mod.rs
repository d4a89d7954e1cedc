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
mod transfer;
mod unreadable;
mod wire;

use std::{sync::Arc, time::Duration};

use stencil_protocol::id::GatewayId;
use stencil_strangers::Lines;
use tokio::{sync::watch, time::MissedTickBehavior};

pub(crate) use self::{
    exchange::gateway_status,
    handshake::Porter,
    listener::{listen, places},
    live::Live,
    resumption::Resumptions,
    serial::keep_open,
    unreadable::Unreadable,
};

use crate::{
    access::Access,
    commands::Commands,
    edge::Edge,
    images::Images,
    metrics::Metrics,
    options,
    psk::KeyRing,
    spool::{Spool, stopped},
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
    /// Whose commands are not the hub's.
    pub(crate) access: Option<Arc<Access>>,
    pub(crate) live: Live,
    pub(crate) images: Arc<Images>,
    pub(crate) unreadable: Unreadable,
    /// Lines of the log that strangers cause.
    pub(crate) strangers: Lines,
    pub(crate) metrics: Arc<Metrics>,
}

impl Links {
    /// Says now and then what strangers caused again and again, until `stop` holds true.
    pub(crate) async fn say_counts(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(Lines::EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.strangers.say_counts(),
                () = stopped(&mut stop) => return,
            }
        }
    }

    fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.options.idle_timeout_ms)
    }
}
