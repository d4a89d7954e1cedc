//! What a backup says of itself.

use serde::{Deserialize, Serialize};

/// The manifest. `position` is what it vouches for: nothing that was acknowledged before that
/// place in the log is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The format; this version writes and reads [`Manifest::FORMAT`].
    pub format: u32,
    /// The version of the hub that took it.
    pub hub: String,
    /// When it was taken, µs since the Unix epoch.
    pub taken_us: i64,
    /// The log's position up to which everything is in the backup.
    pub position: u64,
    /// The log's position up to which it is applied in the store; a hub applies the rest when it
    /// starts.
    pub applied: u64,
    /// The version of the store's schema.
    pub schema: i64,
    /// All entries before the manifest, in their order.
    pub files: Vec<Entry>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its path within the data directory, with `/`.
    pub path: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its permissions.
    pub mode: u32,
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: String,
}

impl Manifest {
    /// The format of this version.
    pub const FORMAT: u32 = 1;
}

/// Only the format, of a manifest of any version.
#[derive(Deserialize)]
pub(super) struct Format {
    pub(super) format: u32,
}
