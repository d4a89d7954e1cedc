//! What a gateway goes by: the issuer's keys, the policy, and signed status lists, as the hub has said.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stencil_identity::credential::{self, Credential, Issuers, OnUnknown};
use stencil_identity::did::{self, Did};
use stencil_identity::document::{Document, Known};
use stencil_identity::multikey::{self, PublicKey};
use stencil_identity::proof::Suite;
use stencil_identity::status::{self, Fetched, List};

use crate::grant::check_command;

/// The suites of which a credential and a status list need a proof each.
pub const SUITES: [Suite; 2] = [Suite::EddsaJcs2022, Suite::MlDsa44Jcs2024];
/// By how much clocks may differ where a tenant has not said otherwise, in seconds.
pub const DEFAULT_TOLERANCE_S: u32 = 120;
/// How old a status list may be where a tenant has not said otherwise, in seconds: a day.
pub const DEFAULT_STALENESS_S: u32 = 86_400;
/// The most that a tenant may let clocks differ: an hour.
pub const MAX_TOLERANCE_S: u32 = 3_600;
/// The oldest that a tenant may let status lists be: 30 days.
pub const MAX_STALENESS_S: u32 = 30 * 86_400;
/// The most status lists of a tenant that a gateway keeps, two for 98,304 credentials: about 2 MiB of memory
/// for the lists as they were signed and their bits, and as much of its disk at the most.
pub const MAX_LISTS: usize = 32;
/// So many of them are named in [`Terms::lists`]: gateways of before the others were take no terms with more.
pub const MAX_NEWEST: usize = 8;
/// The most commands that a policy can name.
pub const MAX_POLICY_COMMANDS: usize = 64;

/// What a tenant lets its gateways admit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// By how much the gateway's clock may differ from the issuer's, in seconds.
    pub tolerance_s: u32,
    /// How old a status list may be, in seconds: for so long a gateway that the hub does not reach goes
    /// on admitting. What was revoked meanwhile is admitted until then.
    pub staleness_s: u32,
    /// The commands that rights may give at all; `None`: whichever they say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commands: Option<Vec<String>>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            tolerance_s: DEFAULT_TOLERANCE_S,
            staleness_s: DEFAULT_STALENESS_S,
            commands: None,
        }
    }
}

impl Policy {
    /// Whether it is within its bounds.
    ///
    /// # Errors
    /// Which field is not, and what would be right.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if self.tolerance_s > MAX_TOLERANCE_S {
            return Err(("tolerance_s", format!("0 to {MAX_TOLERANCE_S} are right")));
        }
        if !(60..=MAX_STALENESS_S).contains(&self.staleness_s) {
            return Err(("staleness_s", format!("60 to {MAX_STALENESS_S} are right")));
        }
        let commands = self.commands.as_deref().unwrap_or_default();
        if commands.len() > MAX_POLICY_COMMANDS {
            let right = format!("at most {MAX_POLICY_COMMANDS} names of commands are right");
            return Err(("commands", right));
        }
        commands
            .iter()
            .try_for_each(|name| check_command(name))
            .map_err(|why| ("commands", why.to_string()))
    }

    /// By how much clocks may differ, in µs.
    #[must_use]
    pub fn tolerance_us(&self) -> i64 {
        i64::from(self.tolerance_s) * 1_000_000
    }

    /// How old a list may be, in µs.
    #[must_use]
    pub fn staleness_us(&self) -> i64 {
        i64::from(self.staleness_s) * 1_000_000
    }
}

/// A key of the issuer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// What follows on the DID's `#`.
    pub name: String,
    /// The key as Multikey.
    pub key: String,
}

/// Who the hub says that a gateway is to this, and by whom and what it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The gateway's own DID, which challenges name.
    pub gateway: String,
    /// The issuer's DID.
    pub issuer: String,
    /// Its keys.
    pub keys: Vec<Key>,
    /// The policy.
    pub policy: Policy,
    /// Where the newest status lists are published in which bits of credentials may be, at most
    /// [`MAX_NEWEST`].
    pub lists: Vec<String>,
    /// Where the older ones are; with the newest at most [`MAX_LISTS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub older: Vec<String>,
}

impl Terms {
    /// Whether bits of credentials may be in the list that is published there.
    #[must_use]
    pub fn names(&self, list: &str) -> bool {
        self.all_lists().any(|it| it == list)
    }

    /// Where all lists are published, the newest first.
    pub fn all_lists(&self) -> impl Iterator<Item = &str> {
        self.lists.iter().chain(&self.older).map(String::as_str)
    }
}

/// What the hub tells a gateway (JSON).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// By whom and what it goes.
    Terms(Terms),
    /// A status list as its issuer publishes it.
    List(Value),
    /// Up to where the hub has the gateway's receipts.
    Held(crate::receipt::Head),
    /// Nothing is admitted here: the tenant has given no rights.
    Nothing,
}

/// Why what the hub has said cannot be gone by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A DID is none.
    #[error("{0}")]
    Did(#[from] did::Error),
    /// A key is none.
    #[error("the key “{name}”: {wrong}")]
    Key {
        /// Which.
        name: String,
        /// What is wrong with it.
        wrong: multikey::Error,
    },
    /// It has more lists than are kept.
    #[error("it names {0} status lists; at most {MAX_LISTS} are kept")]
    TooMany(usize),
    /// A status list is none.
    #[error("the status list: {0}")]
    Credential(#[from] credential::Error),
    /// A status list is refused.
    #[error("the status list {url}: {wrong}")]
    List {
        /// Where it is published.
        url: String,
        /// What is wrong with it.
        wrong: status::Error,
    },
    /// It is a list that is not gone by.
    #[error("the status list {0} is none of those that are gone by")]
    Other(String),
    /// It is older than the one that is there.
    #[error("the status list {0} is older than the one that is there")]
    Older(String),
    /// It does not say when it was made.
    #[error("the status list {0} has no validFrom")]
    NoTime(String),
}

/// What a gateway goes by, checked.
#[derive(Debug, Clone)]
pub struct Trust {
    terms: Terms,
    pub(crate) issuers: BTreeSet<String>,
    pub(crate) known: Known,
    pub(crate) lists: Fetched,
    /// When each list was made.
    made_us: BTreeMap<String, i64>,
}

impl Trust {
    /// Of what the hub has said; no list is there yet.
    ///
    /// # Errors
    /// [`Error::Did`], [`Error::Key`], [`Error::TooMany`].
    pub fn new(terms: Terms) -> Result<Self, Error> {
        let count = terms.all_lists().count();
        if count > MAX_LISTS {
            return Err(Error::TooMany(count));
        }
        Did::parse(&terms.gateway)?;
        let issuer = Did::parse(&terms.issuer)?;
        let keys = terms
            .keys
            .iter()
            .map(|key| {
                let read = PublicKey::parse(&key.key).map_err(|wrong| Error::Key {
                    name: key.name.chars().take(40).collect(),
                    wrong,
                })?;
                Ok((key.name.as_str(), read))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let named: Vec<_> = keys.iter().map(|(name, key)| (*name, key)).collect();
        let mut known = Known::new();
        known.insert(&issuer, Ok(Document::with_keys(&issuer, &named)));
        Ok(Self {
            issuers: BTreeSet::from([issuer.to_string()]),
            known,
            lists: Fetched::new(),
            made_us: BTreeMap::new(),
            terms,
        })
    }

    /// What the hub has said.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.terms.policy
    }

    /// When a list was made, µs since the epoch; `None`: it is not there.
    #[must_use]
    pub fn made_us(&self, list: &str) -> Option<i64> {
        self.made_us.get(list).copied()
    }

    /// Whether a list that is there was made later than now, by more than clocks may differ: this clock is
    /// wrong, or the issuer's was.
    #[must_use]
    pub fn is_ahead(&self, list: &str, now_us: i64) -> bool {
        self.made_us(list)
            .is_some_and(|made_us| made_us.saturating_sub(now_us) > self.policy().tolerance_us())
    }

    /// Lets a list go, as if it had never come.
    pub fn forget_list(&mut self, list: &str) {
        if self.made_us.remove(list).is_some() {
            self.lists.insert(list, Err("it was let go".to_owned()));
        }
    }

    /// Until when holders are admitted by the lists that are there, µs since the epoch; `None`: a list is
    /// missing.
    #[must_use]
    pub fn admits_until_us(&self) -> Option<i64> {
        let made = self.terms.all_lists().map(|list| self.made_us(list));
        let oldest_us = made.min()??;
        Some(oldest_us.saturating_add(self.policy().staleness_us()))
    }

    /// Takes a status list; gives where it is published. It is checked by the same keys and suites as
    /// credentials are; its age is looked at when a credential is.
    ///
    /// # Errors
    /// Each of [`Error`] that is about lists.
    pub fn take_list(&mut self, list: &Value) -> Result<String, Error> {
        let text = list.to_string();
        let credential = Credential::parse(text.as_bytes())?;
        let url: String = credential
            .id()
            .unwrap_or_default()
            .chars()
            .take(2_000)
            .collect();
        if !self.terms.names(&url) {
            return Err(Error::Other(url));
        }
        let Some(made_us) = credential.valid_from_us() else {
            return Err(Error::NoTime(url));
        };
        if self
            .made_us
            .get(&url)
            .is_some_and(|before_us| *before_us > made_us)
        {
            return Err(Error::Older(url));
        }
        let policy = self.demand();
        // As it was when it was made: how old it may be is the policy's to say, and not the list's.
        let read = List::check(text.as_bytes(), &url, &policy, made_us, &self.known);
        let read = read.map_err(|wrong| Error::List {
            url: url.clone(),
            wrong,
        })?;
        self.lists.insert(&url, Ok(read));
        self.made_us.insert(url.clone(), made_us);
        Ok(url)
    }

    /// What is demanded of credentials and lists.
    pub(crate) fn demand(&self) -> credential::Policy<'_> {
        credential::Policy {
            issuers: Issuers::These(&self.issuers),
            suites: &SUITES,
            tokens: false,
            kind: None,
            subject: None,
            on_unknown: OnUnknown::Refuse,
            tolerance_us: self.policy().tolerance_us(),
        }
    }
}
