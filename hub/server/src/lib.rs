//! The hub: takes in what devices and gateways say, turns it into state, and acts on it.
//!
//! # The way of a reading
//! ```text
//! MQTT endpoint ─[policy]→ [ingest] ─ one group commit → ingest log → PUBACK
//!                                                            │
//!         [pipeline]: decode → de-duplicate → points, latest values, rules → one commit
//!                                                            │
//!                 store ← runs, points, ledgers, quarantine ─┤─→ live events
//!                   │                                        └─→ wakes
//!         runner of workflows → connectors → content, webhooks, commands
//!                                                                  │
//!         gateway ←─ MQTT ←─ [dispatch] ←──────────────────────────┘
//! ```
//!
//! # What holds
//! - **A PUBACK means durable.** The endpoint acknowledges what the ingest log has on disk. The
//!   pipeline may lag, stall or die: it goes on from the position of its last commit.
//! - **State follows the log.** Ledgers, latest values, points, states of rules and the log
//!   position are one transaction. Applying a record is pure: the same log gives the same state,
//!   wherever the hub was killed in between. Also *which workflow version rules* is part of the
//!   log: a new version takes effect between two records, at once and without a restart; what was
//!   logged before it is judged by the version before, also in a replay. A run stays with the
//!   version that started it.
//! - **The tenant follows from the credential**: a certificate of the fleet authority, or a
//!   device's token. Nothing in a topic or payload can name a tenant. Each credential has an MQTT
//!   namespace of its own, so that nobody can end another's session by taking its client id.
//! - **What makes no sense is set aside** with the reason and the bytes; the rest of the payload is
//!   kept, and a rejected number is in the loss ledger.
//! - **Everything is bounded**, each bound is in [`Options`]. With a full log the endpoint stops
//!   reading (back-pressure); with a full store the pipeline waits and tries again, and reading
//!   still works.
//!
//! # Use
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use stencil_server::{Options, Service, init};
//!
//! let options = Options { data_dir: "data/hub".into(), ..Options::default() };
//! if !stencil_server::is_initialised(&options.data_dir) {
//!     let made = init(&options.data_dir, &"acme".parse()?, &["localhost", "127.0.0.1"]).await?;
//!     // made.admin_token.reveal(), made.admin_link.reveal(): shown once
//! }
//! let mut hub = Service::start(options).await?;
//! tokio::select! {
//!     error = hub.failed() => return Err(error.into()),
//!     _ = tokio::signal::ctrl_c() => hub.shutdown().await?,
//! }
//! # Ok(()) }
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod access;
mod asking;
pub mod backtest;
pub mod backup;
mod chains;
mod clock;
mod desired;
mod dispatch;
mod error;
mod expiry;
mod foundation;
mod grants;
mod health;
pub mod http;
mod hub;
mod identity;
mod ingest;
mod init;
mod layout;
mod links;
mod listeners;
mod live;
mod metrics;
mod options;
mod parts;
mod people;
mod pipeline;
mod placing;
mod policy;
mod principal;
mod private;
mod proofs;
mod rates;
mod registry;
mod renewal;
mod retention;
mod rollout;
mod runner;
mod scrape;
mod service;
mod ticks;
mod token_end;
mod wake;
mod wallets;

pub use asking::NoAnswer;
pub use chains::{Cashier, RateOption, Triggers};
pub use clock::Clock;
pub use error::Error;
pub use health::{Check, Readiness};
pub use hub::{Hub, WorkflowPut};
pub use init::{
    Credentials, FIRST_USER, Init, add_device, add_gateway, has_tenant, init, is_initialised,
    issue_admin_token, issue_gateway, update_trust,
};
pub use layout::Layout;
pub use live::{Live, LiveEvent, LiveEvents, Next};
pub use metrics::Metrics;
pub use options::{
    DispatchOptions, ExportOptions, HttpOptions, LiveOptions, LogOptions, MqttOptions, Options,
    PipelineOptions, RetentionOptions, WorkflowOptions,
};
pub use people::{add_operator, add_user, login_link, operators, remove_operator};
pub use pipeline::{Found, Replay};
pub use principal::{Principal, Role};
pub use rates::Rates;
pub use rollout::{Images, Received, Receiving};
pub use service::{Addresses, Running, Service};
pub use token_end::{MAX_DAYS as MAX_TOKEN_DAYS, USUAL_DAYS as USUAL_TOKEN_DAYS};
