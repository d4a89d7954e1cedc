//! What a wallet is asked to sign.

use rand_core::Rng as _;
use serde::{Deserialize, Serialize};
use stencil_payments::Address;
use stencil_protocol::id::TenantId;
use stencil_wallet::{Message, Moment, Terms};

/// For how long a challenge can be answered, µs.
pub(crate) const LIFE_US: i64 = 300 * 1_000_000;
/// By how much a wallet's clock may differ from the hub's, µs.
pub(crate) const TOLERANCE_US: i64 = 60 * 1_000_000;
/// Random bytes of a nonce.
const NONCE_BYTES: usize = 16;

/// One of the hub's own origins, such as `https` and `hub.example.org`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// Host, and port where it is named.
    pub(crate) domain: String,
}

/// Who wants to sign in, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// As which account.
    pub(crate) address: Address,
    /// By which chain, on which a contract wallet is asked.
    pub(crate) chain_id: u64,
    /// To which tenant; `None`: to none.
    pub(crate) tenant: Option<TenantId>,
}

/// What a message has to say that answers it: kept in the store by its nonce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Challenge {
    scheme: String,
    pub(crate) domain: String,
    pub(crate) uri: String,
    pub(crate) statement: String,
    pub(crate) chain_id: u64,
    pub(crate) address: Address,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<String>,
}

impl Challenge {
    pub(crate) fn new(asked: &Asked, origin: &Origin) -> Self {
        let Origin { scheme, domain } = origin;
        let statement = match &asked.tenant {
            Some(tenant) => {
                format!("Sign in to tenant {tenant} of Stencil Hub. This costs nothing.")
            }
            None => "Sign in to Stencil Hub. This costs nothing.".to_owned(),
        };
        Self {
            scheme: (*scheme).to_owned(),
            domain: domain.clone(),
            uri: format!("{scheme}://{domain}/login"),
            statement,
            chain_id: asked.chain_id,
            address: asked.address,
            tenant: asked.tenant.as_ref().map(TenantId::to_string),
        }
    }

    /// A fresh nonce: 32 hexadecimal digits.
    pub(crate) fn nonce() -> String {
        let mut bytes = [0; NONCE_BYTES];
        stencil_crypto::rng::Os.fill_bytes(&mut bytes);
        hex::encode(bytes)
    }

    /// The message that answers it, as the hub would have it.
    pub(crate) fn message(&self, nonce: &str, now_us: i64) -> Message {
        Message {
            scheme: None,
            domain: self.domain.clone(),
            address: self.address,
            is_checksummed: true,
            statement: Some(self.statement.clone()),
            uri: self.uri.clone(),
            chain_id: self.chain_id,
            nonce: nonce.to_owned(),
            issued_at: Moment::of(now_us),
            expiration_time: Some(Moment::of(now_us.saturating_add(LIFE_US))),
            not_before: None,
            request_id: None,
            resources: Vec::new(),
        }
    }

    /// What a message has to say.
    pub(super) fn terms<'t>(&'t self, nonce: &'t str) -> Terms<'t> {
        Terms {
            scheme: &self.scheme,
            domain: &self.domain,
            statement: Some(&self.statement),
            uri: &self.uri,
            chain_id: self.chain_id,
            nonce,
        }
    }
}
