//! A dev chain as its clients meet it: one file a behaviour.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

mod anvil;
mod bad_input;
mod faults;
mod many_blocks;
mod pool;
mod provider;
mod sockets;
mod support;
