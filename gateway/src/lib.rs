//! The Linux edge: takes what devices measure, keeps it on its own disk, and brings it to the
//! hub; takes commands from the hub to the devices.
//!
//! ```text
//! device ─TCP, serial→ link: frames, post-quantum handshake, sealed records
//!   → spool: on disk, then the device is told that it may forget
//!   → uplink: MQTT 5, strict TLS, QoS 1 → the hub's PUBACK → the spool is freed
//! ```
//!
//! # What is promised
//! - A device is acknowledged after its data is on this disk; the disk is freed after the hub has
//!   acknowledged. In between the gateway may be killed at any moment.
//! - What was under way is published again after a restart or a lost connection; the device's
//!   own numbers let the hub know it. The order of a device's batches is kept, but after a long
//!   outage what is new goes before what waited.
//! - What has to be dropped (the spool's size or age) is reported to the hub by number and
//!   reason, and deleted only after the report is on disk; so are numbers that were in a damaged
//!   part of it.
//! - A disk that is full or read-only is waited for; a wrong clock costs no data.
//! - A device without its key learns and changes nothing: replays neither cut off a link nor
//!   reach the spool. Of two links with one identity the newer wins, once it has shown its key.
//! - Devices' batches pass byte for byte. One that cannot be read is never acknowledged, as nobody
//!   can say which numbers it holds: its device keeps sending it. It is counted
//!   (`batches_malformed`), and passed on once an hour for the hub to set aside with the reason.
//!
//! - Firmware images that the hub wants on devices are fetched over the same connection, verified
//!   against the keys in `images.trust`, and sent to their devices as these want them; what devices
//!   run and refuse goes to the hub like everything else.
//!
//! - Field devices, made by others and read as a mapping says (`stencil_field`), are devices to the
//!   hub like those that link: the gateway numbers what it reads of them, and says after a restart how
//!   far the numbers had come.
//! - Devices of others that speak MQTT connect to a listener of the gateway's own, if it is set; what
//!   they publish is acknowledged when its values are on this disk.
//! - What the hub wants the gateway to be like (settings, mapping) is checked as a whole, and
//!   tried: what keeps it from the hub is undone by itself, also after a kill at any moment.
//! - Holders of rights are let command devices by a page of the gateway's own, if it is set, also while
//!   the hub is away: by credentials that it checks itself, each with a receipt on disk first.
//! - The hub may ask for the newest lines of the log, without secrets, and for figures; the answer
//!   never stands before what devices measure by more than a piece of 4 KiB.
//!
//! # Running one
//! [`Service::start`] with [`Options`]; who it is, it reads from its certificate. Devices' keys come
//! from the hub, sealed to a key of the gateway's own; further ones are files in `psk_dir`. A key
//! that is taken away ends its link at once. `/readyz` says what is wrong, `/metrics` counts.
//!
//! # Bounds
//! All in [`Options`]: links, strangers, what waits for the disk (then links aren't read), the
//! spool (then the oldest is dropped and reported), publishes in flight, commands held (then the
//! hub is told that they failed).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod access;
mod answers;
mod claims;
#[doc(hidden)]
pub mod clock;
mod commands;
mod desired;
pub mod diag;
mod disk;
pub mod edge;
mod ends;
mod error;
mod field;
mod figures;
mod http;
mod identity;
mod images;
mod link;
mod logs;
mod managed;
mod metrics;
pub mod mqtt;
pub mod options;
mod psk;
mod seal;
mod service;
mod spool;
mod uplink;

pub use claims::check_ids;
pub use desired::{Running, Service};
pub use disk::wait_for_disk;
pub use error::Error;
pub use logs::{Logs, Ring};
pub use options::Options;
pub use psk::add_device;
pub use service::Addresses;
