//! From the MQTT endpoint into the ingest log: what a PUBACK vouches for.

mod record;
mod sink;

pub(crate) use record::{
    Activation, Admission, Ask, Body, Erase, GatewayGone, Published, Record, Step, Transport,
};
#[cfg(test)]
pub(crate) use record::{Messages, Publication, Publications};
pub(crate) use sink::{Ingest, MAX_APPEND_BYTES};
