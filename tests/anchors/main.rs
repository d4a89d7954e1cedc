//! Seals are anchored once: wherever the hub is killed on the way, and whatever reorganisations do with the
//! block. A dev chain with the real contract, a hub, and a gateway that seals, each by itself; each proof is
//! checked by `stencil verify`, which asks the chain and not the hub.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod killed;
mod reorganised;
#[path = "../support/mod.rs"]
mod support;
mod world;
