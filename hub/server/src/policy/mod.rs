//! Who may connect over MQTT, and what they may say and hear.

mod authenticate;
mod permission;

pub(crate) use authenticate::namespace;
pub(crate) use authenticate::{HubPolicy, Peer};
