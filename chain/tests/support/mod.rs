//! An anvil of its own for each test, a proxy that fails on purpose, and a follower with its store.
#![allow(
    dead_code,
    unused_imports,
    reason = "each test uses its part of this module"
)]

pub(crate) mod anvil;
pub(crate) mod faulty;
pub(crate) mod followed;
pub(crate) mod json_rpc;

pub(crate) use anvil::{Anvil, EMITTER};
pub(crate) use faulty::{Fault, Proxy};
pub(crate) use followed::{Followed, options};
