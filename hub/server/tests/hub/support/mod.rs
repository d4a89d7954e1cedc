//! A hub in a temporary directory, and those who talk to it.

mod batches;
mod client;
mod hub;
mod process;

pub(crate) use batches::{Sampled, batch, batch_bytes};
pub(crate) use client::Client;
pub(crate) use hub::{TENANT, TestHub, device, eventually, gateway, options, prepare, tenant};
pub(crate) use process::HubProcess;
