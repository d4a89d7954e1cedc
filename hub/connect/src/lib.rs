//! Connectors: what workflows do to the world.
//!
//! [`Connectors`] performs the effects of `stencil_workflow`:
//!
//! | effect | by | once a key through |
//! |---|---|---|
//! | `content.upsert`, `content.publish` | the built-in content store | the effect key beside the write |
//! | `webhook.post` | an HTTP POST, [Standard Webhooks] | `Idempotency-Key` = `webhook-id` = effect key; the receiver de-duplicates |
//! | `mail.send` | SMTP | at least once, with the same `Message-ID`: the reader tells a repeat |
//! | `data.prove` | the hub's seals | it changes nothing |
//! | `device.command` | the store's queue of commands | a command id derived from the effect key; the device de-duplicates |
//!
//! A webhook goes where the tenant says, from inside of the operator's network:
//! so it goes to public addresses only, unless a setting allows others
//! ([`webhook::Options`]). The check is made on the address that is connected
//! to, not on the name. Redirects and proxies are not followed, and of an
//! answer a bounded part is read. Mail goes through servers that the operator
//! has set up, and no others.
//!
//! A receiver that hangs holds up nobody but itself: see `turns`.
//!
//! [Standard Webhooks]: https://www.standardwebhooks.com

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod chain;
mod connectors;
mod content;
mod credential;
mod device_command;
mod link;
pub mod mail;
mod proof;
mod secret;
mod trust;
mod turns;
pub mod webhook;

pub use connectors::{Connectors, Error, MAX_PREVIOUS, Options, SecretFile};
pub use credential::{Granter, Issuer};
pub use proof::Prover;
pub use secret::{Error as SecretError, Secret, Secrets};
pub use trust::Error as TlsError;
