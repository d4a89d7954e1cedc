//! YAML that people write, read so that what is wrong with it is said in their terms: where it
//! stands, what is wrong, and what would be right.
//!
//! [`read`] makes a tree of [`Node`]s with their places, within [`Limits`], from plain YAML 1.2:
//! anchors, merge keys and tags are refused, because a file says what it means, and duplicate keys
//! are, because one of them would be lost. [`Fields`] takes a map with known keys apart; the
//! functions beside it read the usual kinds of values. Workflows and the mapping of field devices
//! are read with it.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod error;
mod fields;
mod tree;

pub use error::{Error, Place, shown};
pub use fields::{Fields, boolean, duration_us, integer, listed, nearest, number, span, text};
pub use tree::{Content, Key, Limits, Node, read};
