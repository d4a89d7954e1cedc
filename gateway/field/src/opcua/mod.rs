//! OPC UA: subscriptions to values of a server (Part 4, section 5.13), over opc.tcp. It is read
//! only: nothing is ever written to a server, and no method is called.
//!
//! Which library does it, what it is kept from, and why, is in decision 20.

mod browse;
mod files;
mod guard;
mod items;
mod sequence;
mod session;
mod skeleton;
mod subscription;
mod try_once;
mod value;
mod work;

pub(crate) use self::skeleton::{point_name, quoted};
pub use self::{
    browse::{Browsed, Offer, Variable, look, offers},
    files::{Made, make_identity},
    skeleton::skeleton,
};
pub(crate) use self::{subscription::Subscriber, try_once::try_all};
