use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use stencil_crypto::keyfile;
use stencil_protocol::id::DeviceId;

use crate::journal;

/// Why a simulator cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting has a value that it may not have.
    #[error("`{setting}` {why}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What would be right.
        why: &'static str,
    },
    /// A setting is out of its range.
    #[error("`{setting}` has to be {least} to {most}")]
    Range {
        /// Its name.
        setting: &'static str,
        /// The least that it may be.
        least: u64,
        /// The most that it may be.
        most: u64,
    },
    /// A file or folder cannot be used.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A device has no usable key.
    #[error("{device} has no key: {source} (`stencil gateway add-device` makes one)")]
    Key {
        /// Which device.
        device: DeviceId,
        /// What is wrong with its file.
        source: keyfile::Error,
    },
    /// A journal cannot be used.
    #[error("a journal can't be used: {0}")]
    Journal(#[from] journal::Error),
    /// The recording is not one.
    #[error("{recording}, line {line}: {why}")]
    Recording {
        /// Its name.
        recording: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what would be right.
        why: &'static str,
    },
    /// The address cannot be listened on.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What went wrong.
        source: io::Error,
    },
    /// A device's task was lost.
    #[error("a simulated device ended by a fault of the simulator: {0}")]
    Task(#[from] tokio::task::JoinError),
}
