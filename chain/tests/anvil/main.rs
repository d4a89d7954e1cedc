//! The follower against Foundry's anvil: reorganisations, endpoints that fail, catching up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod catching_up;
mod endpoints;
mod reorg;
mod sending;
mod watching;
