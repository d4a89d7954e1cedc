//! What an issuer says of a subject (Verifiable Credentials Data Model 2.0): making, issuing,
//! reading and checking.

mod check;
mod draft;

use serde_json::{Map, Value};

use crate::did::{self, Did};
use crate::text::shown;
use crate::{jose, json, moment, proof, status};

pub use self::check::{Issuers, OnUnknown, Policy, Verified};
pub use self::draft::{Draft, issue, issue_token};

/// What each credential's `@context` begins with.
pub const CONTEXT: &str = "https://www.w3.org/ns/credentials/v2";
/// The longest credential that is read.
pub const MAX_BYTES: usize = 256 * 1024;
/// The most entries of a list inside of one (contexts, types, statuses, schemas, subjects).
pub const MAX_ENTRIES: usize = 16;

/// Why a credential is none, or is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is no JSON that can be signed.
    #[error("{0}")]
    Json(String),
    /// A member has not the shape that it should have.
    #[error("its {member} {wrong}")]
    Shape {
        /// Which.
        member: &'static str,
        /// What is wrong with it.
        wrong: String,
    },
    /// Its issuer is none that can be checked.
    #[error("its issuer: {0}")]
    Issuer(did::Error),
    /// Its issuer is not one whom the verifier lets say such things.
    #[error("its issuer {0} is not one that is accepted")]
    NotAccepted(String),
    /// It is of another kind than is asked for.
    #[error("its type does not have {0}, which is asked for")]
    Kind(String),
    /// It is about somebody else.
    #[error("it is about {found}, where {expected} is asked for")]
    Subject {
        /// Whom it is about.
        found: String,
        /// Whom it should be about.
        expected: String,
    },
    /// It does not hold yet.
    #[error("it is valid from {0} on, which is yet to come")]
    NotYet(String),
    /// It holds no more.
    #[error("it was valid until {0}")]
    Expired(String),
    /// Its proofs are not right.
    #[error(transparent)]
    Proof(#[from] proof::Error),
    /// The token that it came in is not right.
    #[error(transparent)]
    Token(#[from] jose::Error),
    /// It came in a token, which the verifier does not take.
    #[error("it came in a token (vc+jwt), where proofs are demanded")]
    TokenNotTaken,
    /// It names no list that is understood.
    #[error("its credentialStatus: {0}")]
    Status(#[from] status::Error),
    /// It is withdrawn for good.
    #[error("it is revoked")]
    Revoked,
    /// It does not hold for now.
    #[error("it is suspended")]
    Suspended,
    /// Whether it is revoked is not known, and the verifier takes none of which that is so.
    #[error("whether it is revoked is not known: the status list {list} is not there: {why}")]
    StatusUnknown {
        /// Which list.
        list: String,
        /// Why it is not there.
        why: String,
    },
}

impl Error {
    /// Whether to try again may help: something was not there that has to be fetched.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::StatusUnknown { .. } => true,
            Self::Proof(error) => error.is_unreachable(),
            Self::Token(jose::Error::Unresolved(error)) => {
                matches!(error, crate::document::Unresolved::Unreachable { .. })
            }
            _ => false,
        }
    }
}

fn shape(member: &'static str, wrong: impl Into<String>) -> Error {
    Error::Shape {
        member,
        wrong: wrong.into(),
    }
}

/// A credential whose shape is right; nothing of it is proven before [`Credential::check`].
#[derive(Debug, Clone)]
pub struct Credential {
    map: Map<String, Value>,
    /// The token that it came in.
    token: Option<String>,
    issuer: String,
    valid_from_us: Option<i64>,
    valid_until_us: Option<i64>,
    statuses: Vec<status::Entry>,
}

impl Credential {
    /// Reads a credential: an object with proofs, a token, or an object that holds a token
    /// (`EnvelopedVerifiableCredential`).
    ///
    /// # Errors
    /// [`Error::Json`], [`Error::Shape`], [`Error::Status`], [`Error::Token`].
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        Self::parse_up_to(text, MAX_BYTES)
    }

    pub(crate) fn parse_up_to(text: &[u8], max_bytes: usize) -> Result<Self, Error> {
        let trimmed = text.trim_ascii();
        if !trimmed.starts_with(b"{")
            && let Ok(token) = std::str::from_utf8(trimmed)
            && token.contains('.')
        {
            if token.len() > max_bytes {
                return Err(Error::Token(jose::Error::Form("it is too long")));
            }
            return Self::from_token(token);
        }
        let map =
            json::parse_object(text, max_bytes).map_err(|error| Error::Json(error.to_string()))?;
        Self::from_map(map)
    }

    /// Reads a credential that was taken out of something, by [`json::parse`].
    ///
    /// # Errors
    /// As [`Credential::parse`].
    pub fn from_map(map: Map<String, Value>) -> Result<Self, Error> {
        if map.get("type").is_some_and(|kind| {
            kind == "EnvelopedVerifiableCredential"
                || kind.as_array().is_some_and(|kinds| {
                    kinds
                        .iter()
                        .any(|kind| kind == "EnvelopedVerifiableCredential")
                })
        }) {
            let token = map
                .get("id")
                .and_then(Value::as_str)
                .and_then(|id| id.strip_prefix("data:application/vc+jwt,"))
                .ok_or_else(|| shape("id", "does not begin with data:application/vc+jwt,"))?;
            return Self::from_token(token);
        }
        Self::read(map, None)
    }

    fn from_token(token: &str) -> Result<Self, Error> {
        let read = jose::parse(token)?;
        let mut credential = Self::read(read.credential, Some(token.to_owned()))?;
        // What the token says of its own times holds beside what the credential says: the narrower.
        credential.valid_from_us = credential.valid_from_us.max(read.not_before_us);
        credential.valid_until_us = match (credential.valid_until_us, read.expires_us) {
            (Some(until), Some(expires)) => Some(until.min(expires)),
            (until, expires) => until.or(expires),
        };
        Ok(credential)
    }

    fn read(map: Map<String, Value>, token: Option<String>) -> Result<Self, Error> {
        let contexts = list(&map, "@context")?;
        if contexts.first().and_then(|first| first.as_str()) != Some(CONTEXT) {
            return Err(shape("@context", format!("does not begin with {CONTEXT}")));
        }
        if !list(&map, "type")?
            .iter()
            .any(|kind| *kind == "VerifiableCredential")
        {
            return Err(shape("type", "does not have VerifiableCredential"));
        }
        if map.get("id").is_some_and(|id| !id.is_string()) {
            return Err(shape("id", "is no string"));
        }
        let issuer = match map.get("issuer") {
            Some(Value::String(issuer)) => issuer,
            Some(Value::Object(issuer)) => match issuer.get("id") {
                Some(Value::String(id)) => id,
                _ => return Err(shape("issuer", "has no id")),
            },
            _ => return Err(shape("issuer", "is neither a DID nor an object with an id")),
        }
        .clone();
        let subjects = list(&map, "credentialSubject")?;
        if subjects.is_empty()
            || !subjects
                .iter()
                .all(|subject| subject.as_object().is_some_and(|map| !map.is_empty()))
        {
            return Err(shape(
                "credentialSubject",
                "is no object that says something",
            ));
        }
        let time = |member: &'static str| match map.get(member) {
            None => Ok(None),
            Some(Value::String(text)) => moment::parse(text)
                .map(Some)
                .map_err(|error| shape(member, format!("is none: {error}"))),
            Some(_) => Err(shape(member, "is no string")),
        };
        let (valid_from_us, valid_until_us) = (time("validFrom")?, time("validUntil")?);
        if let (Some(from), Some(until)) = (valid_from_us, valid_until_us)
            && until < from
        {
            return Err(shape("validUntil", "is before its validFrom"));
        }
        let statuses = list(&map, "credentialStatus")?
            .into_iter()
            .map(status::Entry::read)
            .collect::<Result<_, _>>()?;
        for schema in list(&map, "credentialSchema")? {
            let has = |member| schema.get(member).is_some_and(Value::is_string);
            if !has("id") || !has("type") {
                return Err(shape("credentialSchema", "has no id or no type"));
            }
        }
        Ok(Self {
            issuer,
            valid_from_us,
            valid_until_us,
            statuses,
            token,
            map,
        })
    }

    /// All that it says.
    #[must_use]
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.map
    }

    /// Its own id, which it need not have.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.map.get("id").and_then(Value::as_str)
    }

    /// Who says it.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Of which kinds it is.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        list(&self.map, "type")
            .unwrap_or_default()
            .into_iter()
            .filter_map(Value::as_str)
    }

    /// The ids of whom it is about; a subject need not have one.
    #[must_use]
    pub fn subjects(&self) -> Vec<Option<&str>> {
        list(&self.map, "credentialSubject")
            .unwrap_or_default()
            .into_iter()
            .map(|subject| subject.get("id").and_then(Value::as_str))
            .collect()
    }

    /// From when on, in µs since the Unix epoch; of a token not before its `nbf`.
    #[must_use]
    pub fn valid_from_us(&self) -> Option<i64> {
        self.valid_from_us
    }

    /// Until when, in µs since the Unix epoch; of a token not after its `exp`.
    #[must_use]
    pub fn valid_until_us(&self) -> Option<i64> {
        self.valid_until_us
    }

    /// Which lists say how it stands.
    #[must_use]
    pub fn statuses(&self) -> &[status::Entry] {
        &self.statuses
    }

    /// The DIDs whose documents are needed to check it: its issuer's, if a proof says that it is by
    /// one of the issuer's keys. Of what is by others' it is refused without reading these.
    #[must_use]
    pub fn dids(&self) -> Vec<Did> {
        match &self.token {
            Some(token) => jose::parse(token)
                .map(|token| vec![token.method.did])
                .unwrap_or_default(),
            None => proof::dids_of(&self.map, &self.issuer),
        }
    }
}

/// What is one thing or a list of them.
fn list<'a>(map: &'a Map<String, Value>, member: &'static str) -> Result<Vec<&'a Value>, Error> {
    match map.get(member) {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) if items.len() <= MAX_ENTRIES => Ok(items.iter().collect()),
        Some(Value::Array(items)) => Err(shape(
            member,
            format!(
                "has {} entries; at most {MAX_ENTRIES} are read",
                items.len()
            ),
        )),
        Some(one) => Ok(vec![one]),
    }
}

fn whom(subjects: &[Option<&str>]) -> String {
    match subjects {
        [Some(one)] => shown(one),
        [None] => "nobody by name".to_owned(),
        several => format!("{} subjects", several.len()),
    }
}
