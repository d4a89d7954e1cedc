//! Who may connect over MQTT, and what they may say and hear.

mod authenticate;
mod certificates;
mod permission;
mod refused;
mod tenants;

pub(crate) use authenticate::{HubPolicy, Peer};
pub(crate) use authenticate::{namespace, token_namespace};
pub(crate) use certificates::{Gate, described};
pub(crate) use refused::RefusedDevices;
pub(crate) use tenants::Tenants;
