//! An anvil of its own for each test, a proxy that fails on purpose, a follower with its store, and a dev
//! chain with connections to it.
#![allow(
    dead_code,
    unused_imports,
    reason = "each test uses its part of this module"
)]

pub(crate) mod anvil;
pub(crate) mod faulty;
pub(crate) mod followed;
pub(crate) mod json_rpc;
pub(crate) mod world;

pub(crate) use anvil::{Anvil, EMITTER};
pub(crate) use faulty::{Fault, Proxy};
pub(crate) use followed::{Followed, options};
