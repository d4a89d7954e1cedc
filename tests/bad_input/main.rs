//! What strangers, broken devices and mistaken operators bring: it costs them only, and is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod link_records;
mod malformed_mqtt;
mod malformed_payload;
mod operator;
mod output;
mod settings;
mod tenants;
