//! MQTT devices: what they publish, as readings. The gateway listens; here is what its messages
//! mean by a mapping, without a socket.
//!
//! - [`Table`]: which client may use which topics, and whose points are on them.
//! - [`Offers`]: messages on their way in. Each has a ticket, which comes out behind all that was
//!   read from it ([`Said::Ticket`](crate::Said::Ticket)): whoever spools it knows then what may be
//!   acknowledged.
//! - [`Heard`]: what was heard while a mapping is tried, or not written yet.

mod decode;
mod heard;
mod offers;
mod table;
mod time;

use std::{future::Future, pin::Pin};

use stencil_protocol::line::Line;

pub(crate) use self::decode::decode;
pub use self::{
    heard::Heard,
    offers::{Full, Offer, Offered, Offers},
    table::Table,
};
use crate::port::{Sink, Source};

/// Has nothing to do: its devices come by themselves.
pub(crate) struct Waiting;

impl Source for Waiting {
    fn line(&self) -> Line {
        Line::MqttPlain
    }

    fn run(self: Box<Self>, _sink: Sink) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::pending())
    }
}
