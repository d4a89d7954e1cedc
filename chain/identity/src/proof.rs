//! Proofs inside of documents (VC Data Integrity 1.0), by the suites whose canonical form is RFC
//! 8785's: `eddsa-jcs-2022`, `ecdsa-jcs-2019` and `mldsa44-jcs-2024`.
//!
//! What is signed is the hash of the proof without its value, then the hash of the document without
//! its proofs. Several proofs of a document are a *set*: none covers another, each covers the whole
//! document.

mod check;
mod hash;
mod sign;

use std::fmt;

use serde_json::{Map, Value};

use crate::did::{self, Did, KeyUrl};
use crate::document::{self, Unresolved};
use crate::multikey::{self, Algorithm};
use crate::{json, moment};

pub use self::check::{Demand, Proven, check};
pub use self::sign::{Options, attach, sign};

/// The most proofs of a document.
pub const MAX_PROOFS: usize = 8;

/// How a proof is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Suite {
    /// Ed25519 and SHA-256.
    EddsaJcs2022,
    /// ECDSA on P-256 with SHA-256, or on P-384 with SHA-384.
    EcdsaJcs2019,
    /// ML-DSA-44 and SHA-256 (a draft of the W3C's Credentials Community Group).
    MlDsa44Jcs2024,
}

/// Every suite that is known.
pub const SUITES: [Suite; 3] = [
    Suite::EddsaJcs2022,
    Suite::EcdsaJcs2019,
    Suite::MlDsa44Jcs2024,
];

impl Suite {
    /// Its name, as `cryptosuite` has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EddsaJcs2022 => "eddsa-jcs-2022",
            Self::EcdsaJcs2019 => "ecdsa-jcs-2019",
            Self::MlDsa44Jcs2024 => "mldsa44-jcs-2024",
        }
    }

    /// The suite of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        SUITES.into_iter().find(|suite| suite.name() == name)
    }

    /// The suite by which keys of this kind make proofs.
    #[must_use]
    pub fn of(algorithm: Algorithm) -> Option<Self> {
        SUITES.into_iter().find(|suite| suite.takes(algorithm))
    }

    /// Whether keys of this kind make such proofs.
    #[must_use]
    pub fn takes(self, algorithm: Algorithm) -> bool {
        match self {
            Self::EddsaJcs2022 => algorithm == Algorithm::Ed25519,
            Self::EcdsaJcs2019 => matches!(algorithm, Algorithm::P256 | Algorithm::P384),
            Self::MlDsa44Jcs2024 => algorithm == Algorithm::MlDsa44,
        }
    }

    /// Whether a quantum computer is not known to break it.
    #[must_use]
    pub fn is_post_quantum(self) -> bool {
        self == Self::MlDsa44Jcs2024
    }

    /// With which letter its proofs' values begin.
    fn base(self) -> char {
        match self {
            Self::EddsaJcs2022 | Self::EcdsaJcs2019 => 'z',
            Self::MlDsa44Jcs2024 => 'u',
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is wrong with one proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// A member is missing, or not of the kind that it should be.
    #[error("its {member} {wrong}")]
    Member {
        /// Which.
        member: &'static str,
        /// What is wrong with it.
        wrong: String,
    },
    /// It is of a suite that is not understood.
    #[error(
        "its suite “{0}” is not understood; eddsa-jcs-2022, ecdsa-jcs-2019 and mldsa44-jcs-2024 are"
    )]
    Suite(String),
    /// It builds on another proof.
    #[error("it builds on another proof (previousProof), which is not understood")]
    Chain,
    /// It is not for what the verifier asks for.
    #[error("its {member} is {found}, where {expected} is demanded")]
    NotFor {
        /// Which member says so.
        member: &'static str,
        /// What it says.
        found: String,
        /// What it should say.
        expected: String,
    },
    /// It names a time that is none.
    #[error("its {member}: {wrong}")]
    Time {
        /// Which member.
        member: &'static str,
        /// What is wrong with it.
        wrong: moment::Error,
    },
    /// It holds no more.
    #[error("it expired at {0}")]
    Expired(String),
    /// It names no key.
    #[error("its verificationMethod: {0}")]
    Method(#[from] did::Error),
    /// Its key is not known.
    #[error("{0}")]
    Unresolved(#[from] Unresolved),
    /// Its key may not be used so.
    #[error("{0}")]
    Key(#[from] document::Error),
    /// Its key is of another kind.
    #[error("its key is of {algorithm}, by which {suite} makes no proofs")]
    Algorithm {
        /// Of which kind the key is.
        algorithm: Algorithm,
        /// The proof's suite.
        suite: Suite,
    },
    /// Its key is not that of whom it should be.
    #[error("its key is that of {found}, not of {expected}")]
    NotBy {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// The document's contexts do not begin with the proof's.
    #[error("its @context is not what the document's begins with")]
    Context,
    /// Its value is no signature.
    #[error("its proofValue: {0}")]
    Value(multikey::Error),
    /// It is not over this document, or not by this key.
    #[error("{0}")]
    Signature(#[from] multikey::BadSignature),
}

/// Why a document is not proven, or could not be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The document has no proof, or too many.
    #[error("it has {0} proofs, where from 1 to {MAX_PROOFS} are expected")]
    Count(usize),
    /// What should be proofs is something else.
    #[error("its proof is {0}, where an object or an array of objects is expected")]
    Shape(&'static str),
    /// One of its proofs is wrong, whatever the others are.
    #[error("proof {} of {count}{}: {wrong}", .index + 1, suite_of(.suite))]
    Bad {
        /// Which, from 0.
        index: usize,
        /// How many there are.
        count: usize,
        /// Its suite, if it is one that is understood.
        suite: Option<Suite>,
        /// What is wrong with it.
        wrong: Box<Wrong>,
    },
    /// A proof that was demanded is missing.
    #[error("a proof of {0} is demanded, and there is none")]
    Missing(Suite),
    /// Its canonical form cannot be made.
    #[error("its canonical form: {0}")]
    Canonical(String),
    /// The key signs nothing by a suite.
    #[error("no suite makes proofs by {0} keys; Ed25519 and ML-DSA-44 keys do")]
    NoSuite(Algorithm),
    /// The key could not be used.
    #[error(transparent)]
    Secret(#[from] crate::secret::Error),
}

impl Error {
    /// Whether to try again may help: something was not there that has to be fetched.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Bad { wrong, .. }
            if matches!(**wrong, Wrong::Unresolved(Unresolved::Unreachable { .. })))
    }
}

impl From<json::Error> for Error {
    fn from(error: json::Error) -> Self {
        Self::Canonical(error.to_string())
    }
}

fn suite_of(suite: &Option<Suite>) -> String {
    suite.map_or_else(String::new, |suite| format!(" ({suite})"))
}

/// The proofs of a document.
fn proofs(document: &Map<String, Value>) -> Result<Vec<&Map<String, Value>>, Error> {
    let proofs: Vec<_> = match document.get("proof") {
        None => Vec::new(),
        Some(Value::Object(proof)) => vec![proof],
        Some(Value::Array(items)) => {
            if items.len() > MAX_PROOFS {
                return Err(Error::Count(items.len()));
            }
            items
                .iter()
                .map(|item| {
                    item.as_object()
                        .ok_or_else(|| Error::Shape(json::kind(item)))
                })
                .collect::<Result<_, _>>()?
        }
        Some(other) => return Err(Error::Shape(json::kind(other))),
    };
    if proofs.is_empty() {
        return Err(Error::Count(0));
    }
    Ok(proofs)
}

/// Whether a proof says that it is by a key of `did`. By its text: a stranger's key costs time to read,
/// and a proof that is not by whom it should be is refused whatever its key is.
fn is_by(proof: &Map<String, Value>, did: &str) -> bool {
    let method = proof.get("verificationMethod").and_then(Value::as_str);
    method.is_some_and(|method| method.split('#').next() == Some(did))
}

/// The DID `by`, if a proof of the document says that it is by one of its keys: no other's document is
/// needed to check them.
pub(crate) fn dids_of(document: &Map<String, Value>, by: &str) -> Vec<Did> {
    let proofs = proofs(document).unwrap_or_default();
    let some = proofs.into_iter().any(|proof| is_by(proof, by));
    some.then(|| Did::parse(by).ok())
        .flatten()
        .into_iter()
        .collect()
}

/// The DIDs whose documents are needed to check the proofs of a document by whomever, each once.
#[must_use]
pub fn dids(document: &Map<String, Value>) -> Vec<Did> {
    let mut dids: Vec<Did> = proofs(document)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|proof| proof.get("verificationMethod")?.as_str())
        .filter_map(|method| Some(KeyUrl::parse(method).ok()?.did))
        .collect();
    dids.sort();
    dids.dedup();
    dids
}
