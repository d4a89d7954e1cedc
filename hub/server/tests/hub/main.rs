//! A whole hub with real MQTT clients over TCP and TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod asking;
mod back_pressure;
mod certificates;
mod command;
mod erase;
mod foreign;
mod full_disk;
mod history;
mod killed;
mod ledger;
mod links;
mod listening;
mod refused;
mod renewal;
mod restart;
mod revoked;
mod rollout;
mod seal_marks;
mod setup;
mod slow_receiver;
mod storing;
mod support;
mod workflow;
