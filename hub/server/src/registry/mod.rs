//! Which devices are let in, with which keys, and how their gateways learn of it.
//!
//! A device's key comes sealed to the hub ([`HubKey`]), lies sealed in the store, and leaves sealed
//! to its gateway ([`Deliverer`]). It is open for the moment between two seals, in memory, and
//! nowhere else.

mod delivery;
mod hub_key;
mod intake;

pub(crate) use delivery::Deliverer;
pub(crate) use hub_key::{HubKey, Keys};
pub(crate) use intake::{
    ClaimRefused, Given, NO_SUCH_CODE, Prepared, RowProblem, Wanted, born, claim, code_used,
    in_the_way, no_such_gateway, prepare, renew,
};

/// The most devices of a tenant at one gateway.
pub(crate) const MAX_GATEWAY_DEVICES: u32 = 20_000;
