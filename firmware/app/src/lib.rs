//! The device application over embedded-hal: measure, number, keep, send, obey.
//!
//! A board names its parts in a [`Board`], builds an [`App`] and calls
//! [`App::poll`] from its main loop. There is no allocator, no operating
//! system and no thread: everything that is due is done in a poll, everything
//! that would wait is remembered, and all memory is the application's own
//! (`BUFFER` bytes for samples and under 12 KiB beside).
//!
//! **Numbers.** Each sample gets a number when it is measured: `(boot, seq)`,
//! `seq` from 1 in each boot. The number is in retained memory before the
//! sample is anywhere else. Samples wait in a ring until the gateway says that
//! they are on its disk; when the ring is full, the oldest go, and the header
//! of every following batch says which, until that is acknowledged too. After
//! a reset, the numbers that were in the ring are gone: each boot tells the
//! last number of the boot before, and how far that was acknowledged. So each
//! number that was ever given is delivered or accounted for. A device that
//! starts without [`retained`] memory draws its boot number at random, so that
//! none of its numbers is one that it gave before.
//!
//! **Link.** The board brings bytes (a UART, a TCP connection); the
//! application makes the post-quantum handshake of `stencil_crypto` on a new
//! link, sends one batch at a time, and sends again what is not acknowledged in
//! time. The line may lose, repeat, reorder and damage frames: the handshake's
//! long messages go in fragments of which only the lost ones go again, and a
//! record that was altered or repeated is dropped and counted. After a reset or
//! a lost link the session is resumed, as long as [`retained`] memory holds its
//! secret; fresh keys are agreed on at the interval of the [`Config`].
//!
//! **Time** comes from the gateway. Samples that are older than the first
//! message that tells it wait with the board's counter and are corrected in
//! the ring.
//!
//! **Keys** that the gateway gives take the place of the one that the device was
//! provisioned with, once a session has come of them.
//!
//! **Commands** are carried out at most once, also across resets, as long as
//! retained memory lasts; their statuses are told until confirmed.
//!
//! **Updates.** A board with two slots for images brings a `stencil_boot::Updater`
//! ([`App::with_slots`]): the application tells what runs, receives what the gateway
//! offers a chunk at a time, confirms a new image when it has heard of the gateway in
//! a session, and asks for a reset ([`Poll::reset`]) when a whole one waits.
//!
//! | module | what it holds |
//! |---|---|
//! | [`app`] | the application and its poll |
//! | [`board`] | what a board brings: link and parts |
//! | [`sensor`], [`actuator`] | SHT4x, TMP105, switches; digital output |
//! | [`clock`] | counter and wall clock |
//! | [`retained`], [`pages`] | what survives a reset; on NOR flash |
//! | [`provision`] | what a device is born with |
//! | [`entropy`] | noise, its health tests, the generator |
//! | [`commands`] | at most once, told until confirmed |
//! | [`link`] | frames, handshake, resumption, records |
//! | [`slots`], [`update`] | what keeps images; receiving one |
//! | [`witness`] | who watches, for simulators |
//! | `model` | register-level models of chips, with the feature of that name |
//!
//! What is bounded, and what happens at the bound: the ring (drops the oldest,
//! told), the link's bytes a poll, unreported boots
//! ([`retained::UNREPORTED_BOOTS`]: the boot number stays), open and
//! remembered commands ([`commands::OPEN_COMMANDS`],
//! [`commands::CLOSED_COMMANDS`]: further ones are not carried out).
#![no_std]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod actuator;
pub mod app;
pub mod board;
mod buffer;
pub mod clock;
pub mod commands;
pub mod config;
pub mod entropy;
pub mod link;
#[cfg(feature = "model")]
pub mod model;
mod outbox;
pub mod pages;
pub mod provision;
pub mod retained;
pub mod sensor;
pub mod slots;
pub mod update;
pub mod witness;

pub use actuator::{Actuator, DigitalOutput};
pub use app::{App, Counters, Poll, Progress};
pub use board::{Board, Link, Parts};
pub use buffer::MAX_ENTRY_BYTES;
pub use clock::{Clock, Stamp};
pub use config::Config;
pub use entropy::Entropy;
pub use link::{LinkCounters, LinkState};
pub use pages::Pages;
pub use retained::{Retained, State};
pub use sensor::{DigitalInput, Reading, Sensor, Sht4x, Taken, Tmp105};
pub use slots::Slots;
pub use witness::Witness;
