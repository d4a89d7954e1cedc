//! From the MQTT endpoint into the ingest log: what a PUBACK vouches for.

mod record;
mod sink;

pub(crate) use record::{Activation, Body, Erase, Publication, Record, RecordError, Transport};
pub(crate) use sink::{Ingest, MAX_APPEND_BYTES};
