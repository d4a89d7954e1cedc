//! What devices, gateways and the hub say to each other.
//!
//! A device numbers each sample: `(boot, sequence)`, the sequence starts at 1
//! in each boot. It packs samples into a [`batch`], which passes the gateway
//! and MQTT byte for byte, so that the hub accounts for the device's own
//! numbers. What is dropped on the way is reported by number and reason, and
//! the [`ledger`] adds it up: given = stored + dropped, or there is a gap.
//!
//! | module | what it holds | needs |
//! |---|---|---|
//! | [`id`] | tenant, gateway, device, boot, sequence, command ids | |
//! | [`sample`] | one measurement: name, value, unit, event time in µs | |
//! | [`batch`] | numbered samples of one boot, with what was dropped | |
//! | [`command`] | what the hub asks of a device, and how far it came | |
//! | [`link`] | messages inside the encrypted records between MCU and gateway | |
//! | [`frame`] | the bytes of that link on TCP or a serial line | |
//! | [`fragment`] | long messages in parts over a line that loses some | |
//! | [`transfer`] | firmware images over that link | |
//! | [`line`] | field protocols, where a suite would be named | |
//! | [`topic`] | MQTT topic names within a tenant | |
//! | [`report`] | gateway → hub: losses, links coming and going | `alloc` |
//! | [`image`] | hub ↔ gateway: firmware images, and what devices say of them | `alloc` |
//! | [`desired`] | hub → gateway: what it shall be like; gateway → hub: what it is like | `alloc` |
//! | [`question`] | hub ↔ gateway: lines of its log, figures, at somebody's wish | `alloc` |
//! | [`keys`] | hub → gateway: devices' keys, sealed; gateway → hub: which it holds | `alloc` |
//! | [`renewal`] | gateway ↔ hub: the gateway's certificate, renewed | `alloc` |
//! | [`ranges`], [`ledger`] | which numbers are stored, dropped, missing | `alloc` |
//! | [`moment`] | points in time for people | `alloc` |
//! | [`foreign`] | ThingsBoard JSON of devices that number nothing | `std` |
//!
//! Binary forms are CBOR (RFC 8949) with definite lengths only, written in one
//! place ([`cbor`]); maps have small integer keys, and keys that a reader does
//! not know are skipped. Each decoder takes any bytes: it returns an error that
//! says what was wrong and where, it never panics and never allocates more than
//! the input is long. Without features the crate is `no_std` and does not
//! allocate.
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod batch;
pub mod cbor;
pub mod command;
#[cfg(feature = "alloc")]
pub mod desired;
#[cfg(feature = "std")]
pub mod foreign;
pub mod fragment;
pub mod frame;
pub mod id;
#[cfg(feature = "alloc")]
pub mod image;
#[cfg(feature = "alloc")]
pub mod keys;
#[cfg(feature = "alloc")]
pub mod ledger;
pub mod line;
pub mod link;
#[cfg(feature = "alloc")]
pub mod moment;
#[cfg(feature = "alloc")]
pub mod question;
#[cfg(feature = "alloc")]
pub mod ranges;
#[cfg(feature = "alloc")]
pub mod renewal;
#[cfg(feature = "alloc")]
pub mod report;
pub mod sample;
pub mod topic;
pub mod transfer;
