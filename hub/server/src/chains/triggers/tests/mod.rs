//! Whatever a chain does, and wherever the hub is killed: what devices do is what the chain says.

mod chain;
mod fuse;
mod loops;
mod narrow;
mod payments;
mod reorganised;
mod sending;
mod starts;
mod world;
