//! Modbus over TCP and over serial lines (Modbus Application Protocol 1.1b3, Modbus Messaging on
//! TCP/IP 1.0b, Modbus over Serial Line 1.02). It is read only: nothing is ever written to a
//! device.

pub(crate) mod address;
mod bus;
mod counted;
mod decode;
mod look;
mod plan;
mod poll;
mod try_once;

pub(crate) use self::{look::look, poll::Poller, try_once::try_all};
