//! From the MQTT endpoint into the ingest log: what a PUBACK vouches for.

mod record;
mod sink;

pub(crate) use record::{Activation, Body, Publication, Record, Transport};
pub(crate) use sink::{Ingest, MAX_APPEND_BYTES};
