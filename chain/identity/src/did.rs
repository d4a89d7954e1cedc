//! Decentralized identifiers (DID Core 1.0, section 3.1), of three methods.
//!
//! ```
//! use stencil_identity::did::Did;
//!
//! # fn main() -> Result<(), stencil_identity::did::Error> {
//! let did = Did::parse("did:web:hub.example:tenants:acme")?;
//! assert_eq!(
//!     did.as_web().map(|web| web.url()).as_deref(),
//!     Some("https://hub.example/tenants/acme/did.json"),
//! );
//! # Ok(()) }
//! ```

mod pkh;
mod web;

use std::fmt;

use crate::multikey::{self, PublicKey};
use crate::text::shown;

pub use self::pkh::Account;
pub use self::web::Web;

/// The longest DID or DID URL that is read: a `did:key` of ML-DSA-65 twice, with a `#` between.
pub const MAX_CHARS: usize = 5_600;

/// What is wrong with a DID or DID URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is longer than any is.
    #[error("it has {0} characters; at most {MAX_CHARS} are read")]
    TooLong(usize),
    /// It is none.
    #[error("“{0}” is no DID: one is did:METHOD:ID, such as did:web:hub.example")]
    NoDid(String),
    /// Its method is not known here.
    #[error("the DID method “{0}” is not known; did:key, did:web and did:pkh are")]
    Method(String),
    /// It is a `did:key` whose key is none.
    #[error("the key of a did:key: {0}")]
    Key(#[from] multikey::Error),
    /// It is a `did:web` that names no place.
    #[error("the {part} “{text}” of a did:web: {wrong}")]
    Web {
        /// Which part of it.
        part: &'static str,
        /// That part.
        text: String,
        /// What is wrong with it.
        wrong: &'static str,
    },
    /// It is a `did:pkh` that names no account.
    #[error("the {part} “{text}” of a did:pkh: {wrong}")]
    Pkh {
        /// Which part of it.
        part: &'static str,
        /// That part.
        text: String,
        /// What is wrong with it.
        wrong: &'static str,
    },
    /// It names a key, where a DID alone is expected.
    #[error("“{0}” is a DID URL, where a DID is expected: without /, ? and #")]
    Url(String),
    /// It names no key.
    #[error("“{0}” names no key: a verification method is DID#KEY")]
    NoFragment(String),
}

/// What a DID says by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// A key.
    Key(Box<PublicKey>),
    /// A place in the Web.
    Web(Web),
    /// An account on a chain.
    Pkh(Account),
}

/// A DID. Two are the same if their texts are.
#[derive(Clone)]
pub struct Did {
    text: String,
    method: Method,
}

impl Did {
    /// Reads a DID.
    ///
    /// # Errors
    /// Each of [`Error`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_CHARS {
            return Err(Error::TooLong(text.len()));
        }
        let (method, id) = text
            .strip_prefix("did:")
            .and_then(|rest| rest.split_once(':'))
            .filter(|(method, id)| !method.is_empty() && !id.is_empty())
            .ok_or_else(|| Error::NoDid(shown(text)))?;
        if id.contains(['/', '?', '#']) {
            return Err(Error::Url(shown(text)));
        }
        let method = match method {
            "key" => Method::Key(Box::new(PublicKey::parse(id)?)),
            "web" => Method::Web(Web::parse(id)?),
            "pkh" => Method::Pkh(Account::parse(id)?),
            other => return Err(Error::Method(shown(other))),
        };
        Ok(Self {
            text: text.to_owned(),
            method,
        })
    }

    /// The `did:key` of a key.
    #[must_use]
    pub fn from_key(key: PublicKey) -> Self {
        Self {
            text: format!("did:key:{key}"),
            method: Method::Key(Box::new(key)),
        }
    }

    /// The `did:web` of a place.
    #[must_use]
    pub fn from_web(web: Web) -> Self {
        Self {
            text: format!("did:web:{web}"),
            method: Method::Web(web),
        }
    }

    /// The `did:pkh` of an account.
    #[must_use]
    pub fn from_account(account: Account) -> Self {
        Self {
            text: format!("did:pkh:{account}"),
            method: Method::Pkh(account),
        }
    }

    /// It as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it says by itself.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Where its document is, if that has to be fetched.
    #[must_use]
    pub fn as_web(&self) -> Option<&Web> {
        match &self.method {
            Method::Web(web) => Some(web),
            _ => None,
        }
    }

    /// The name of a `did:key`'s only key, or of another's key `fragment`.
    #[must_use]
    pub fn url(&self, fragment: &str) -> String {
        match &self.method {
            Method::Key(_) => format!("{self}#{}", &self.text["did:key:".len()..]),
            _ => format!("{self}#{fragment}"),
        }
    }
}

impl PartialEq for Did {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Did {}

impl PartialOrd for Did {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Did {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The name of a verification method: `DID#KEY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUrl {
    /// Whose key it is.
    pub did: Did,
    /// The whole of it.
    pub text: String,
}

impl KeyUrl {
    /// Reads one. A `did:key` alone stands for its only key.
    ///
    /// # Errors
    /// As [`Did::parse`], and [`Error::NoFragment`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_CHARS {
            return Err(Error::TooLong(text.len()));
        }
        let Some((did, fragment)) = text.split_once('#') else {
            let did = Did::parse(text).map_err(|_| Error::NoFragment(shown(text)))?;
            if !matches!(did.method(), Method::Key(_)) {
                return Err(Error::NoFragment(shown(text)));
            }
            let text = did.url("");
            return Ok(Self { did, text });
        };
        if fragment.is_empty() || fragment.contains('#') {
            return Err(Error::NoFragment(shown(text)));
        }
        Ok(Self {
            did: Did::parse(did)?,
            text: text.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_did() {
        let long = format!("did:web:{}", "a".repeat(MAX_CHARS));
        for (text, wrong) in [
            ("", "is no DID"),
            ("did", "is no DID"),
            ("did:key", "is no DID"),
            ("did::x", "is no DID"),
            ("did:key:", "is no DID"),
            ("DID:web:hub.example", "is no DID"),
            ("did:ethr:0x1", "“ethr” is not known"),
            ("did:key:z6Mk#z6Mk", "where a DID is expected"),
            ("did:web:hub.example/x", "where a DID is expected"),
            (long.as_str(), "at most 5600 are read"),
        ] {
            let error = Did::parse(text).expect_err(text).to_string();
            assert!(error.contains(wrong), "{text}: {error}");
        }
    }

    #[test]
    fn names_of_keys() {
        let url = KeyUrl::parse("did:web:hub.example#key-1").expect("a name");
        assert_eq!(url.did.as_str(), "did:web:hub.example");
        for text in [
            "did:web:hub.example",
            "did:web:hub.example#",
            "did:web:hub.example#a#b",
        ] {
            let error = KeyUrl::parse(text).expect_err(text);
            assert!(matches!(error, Error::NoFragment(_)), "{text}: {error}");
        }
        // A path or a query names something else than a key.
        assert!(KeyUrl::parse("did:web:hub.example/x#key-1").is_err());
        assert!(KeyUrl::parse("did:web:hub.example?v=1#key-1").is_err());
    }

    proptest! {
        #[test]
        fn what_is_read_is_printed_as_it_was(text in "did:(key|web|pkh|x):[\\PC]{0,60}") {
            if let Ok(did) = Did::parse(&text) {
                prop_assert_eq!(did.to_string(), text.clone());
                let again = match did.method() {
                    Method::Key(key) => Did::from_key((**key).clone()),
                    Method::Web(web) => Did::from_web(web.clone()),
                    Method::Pkh(account) => Did::from_account(*account),
                };
                prop_assert_eq!(again.as_str().to_lowercase(), text.to_lowercase());
            }
        }
    }
}
