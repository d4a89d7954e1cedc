//! DIDs of the hub, its tenants, and their gateways and devices; credentials that tenants issue.
//!
//! A tenant's keys follow from one seed, which lies sealed in the store and is open while something
//! is signed. Each tenant's DID is a `did:web` below the hub's, which follows from the address that
//! people reach the hub at.

mod access;
mod issue;
mod kept;
mod keys;
mod lists;
mod names;
mod resolve;
mod step;
mod verify;

use std::sync::Arc;

use stencil_identity::did::Did;
use stencil_protocol::id::TenantId;
use stencil_store::{Certificates, Credentials, Devices, Gateways, Registry, Store};

use crate::registry::HubKey;

pub(crate) use access::ToIssue;
pub(crate) use issue::{By, Wanted};
pub(crate) use kept::Kept;
pub(crate) use lists::Purpose;
pub(crate) use step::seconds;
pub(crate) use verify::{Asked, Verdict};

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The hub has no name that a DID can be made of.
    #[error("{0}")]
    NoName(String),
    /// The hub's own key is missing.
    #[error(
        "the hub's key is missing by which the keys of issuers are sealed: who runs the hub puts it back"
    )]
    NoKey,
    /// Too many ask at the moment.
    #[error("too many credentials are checked at the moment: try again shortly")]
    Crowded,
    /// What was asked for cannot be so.
    #[error("{0}")]
    Invalid(String),
    /// There is no such thing.
    #[error("there is no {what} {name}")]
    NotFound {
        /// The kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A DID leads to no document here.
    #[error(transparent)]
    NoDocument(stencil_identity::document::Unresolved),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] stencil_store::Error),
    /// It should have been possible.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    pub(crate) fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Everything about DIDs and credentials that the hub does. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Identity {
    credentials: Arc<dyn Credentials>,
    devices: Arc<dyn Devices>,
    registry: Arc<dyn Registry>,
    gateways: Arc<dyn Gateways>,
    certificates: Arc<dyn Certificates>,
    key: HubKey,
    url: Arc<str>,
    kept: Kept,
}

impl Identity {
    /// Over a store, with the hub's own key and the address that people reach it at.
    pub(crate) fn new(store: &Store, key: &HubKey, url: &str) -> Self {
        Self {
            credentials: Arc::clone(&store.credentials),
            devices: Arc::clone(&store.devices),
            registry: Arc::clone(&store.registry),
            gateways: Arc::clone(&store.gateways),
            certificates: Arc::clone(&store.certificates),
            key: key.clone(),
            url: Arc::from(url),
            kept: Kept::default(),
        }
    }

    /// The same with what others have made already.
    pub(crate) fn sharing(mut self, kept: &Kept) -> Self {
        self.kept = kept.clone();
        self
    }

    /// What is made once.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The hub's DID.
    pub(crate) fn hub_did(&self) -> Result<Did, Error> {
        names::hub(&self.url)
            .map(Did::from_web)
            .map_err(Error::NoName)
    }

    /// A tenant's DID.
    pub(crate) fn tenant_did(&self, tenant: &TenantId) -> Result<Did, Error> {
        let hub = names::hub(&self.url).map_err(Error::NoName)?;
        let below = hub.below(&[names::TENANTS, tenant.as_str()]);
        below.map(Did::from_web).map_err(Error::failed)
    }
}
