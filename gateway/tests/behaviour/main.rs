//! The gateway as devices, the hub and an operator meet it: real links, real TLS, real kills.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation
)]

mod access;
mod back_fill;
mod bounds;
mod commands;
mod delivery;
mod device;
mod ends;
mod field;
mod full_disk;
mod hub;
mod images;
mod keys;
mod kill;
mod links;
mod mqtt;
mod operator;
mod place;
mod seals;
mod serial;
mod startup;

use std::time::Duration;

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Fails a test instead of letting it hang.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it took too long")
}
