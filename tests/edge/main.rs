//! Rules at gateways: the gateway's own code and the hub's pipeline find the same, to the bit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]

mod chance;
mod gaps;
mod random_streams;
mod recording;
mod site;
