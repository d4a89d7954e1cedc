//! Data and devices for single payments, as a stranger buys them: real hub, chain, gateway and device,
//! clients that others wrote, and a hub that is killed at every step of a purchase.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../chain/tests/support/json_rpc.rs"]
#[allow(dead_code, reason = "the follower's own tests use the rest")]
mod json_rpc;
#[path = "../support/mod.rs"]
mod support;

mod brake;
mod commands;
mod crashes;
mod series;
mod shop;
