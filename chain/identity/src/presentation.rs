//! How a holder shows credentials to somebody (Verifiable Credentials Data Model 2.0, section 4.13):
//! signed over what the verifier gave, so that it cannot be shown again by whoever saw it.

use serde_json::{Map, Value, json};

use crate::credential::{self, CONTEXT, Credential, Policy, Verified};
use crate::did::{self, Did};
use crate::document::{Purpose, Resolve};
use crate::multikey::Algorithm;
use crate::proof::{self, Demand, Options, Suite, attach, check, sign};
use crate::secret::SecretKey;
use crate::status::Fetched;
use crate::text::shown;
use crate::{json, status};

/// The longest presentation that is read.
pub const MAX_BYTES: usize = 1024 * 1024;
/// The most credentials of one.
pub const MAX_CREDENTIALS: usize = 8;

/// Why a presentation is none, or is refused.
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
    /// Its holder is none that can be checked.
    #[error("its holder: {0}")]
    Holder(#[from] did::Error),
    /// Its proof is not right.
    #[error("the presentation: {0}")]
    Proof(#[from] proof::Error),
    /// One of its credentials is refused.
    #[error("credential {}: {wrong}", .index + 1)]
    Credential {
        /// Which, from 0.
        index: usize,
        /// Why.
        wrong: Box<credential::Error>,
    },
    /// One of its credentials is about somebody else than who shows it.
    #[error("credential {} is not about the holder {holder}", .index + 1)]
    NotTheirs {
        /// Which, from 0.
        index: usize,
        /// Who shows it.
        holder: String,
    },
}

impl Error {
    /// Whether to try again may help: something was not there that has to be fetched.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Proof(error) => error.is_unreachable(),
            Self::Credential { wrong, .. } => wrong.is_unreachable(),
            _ => false,
        }
    }
}

/// What a verifier wants of a presentation, beside what it wants of the credentials in it.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// What it gave, which is used once.
    pub challenge: &'a str,
    /// Who it is.
    pub domain: &'a str,
    /// By which suites the holder has to sign, beside that each signature has to be right.
    pub suites: &'a [Suite],
    /// Whether each credential has to be about the holder.
    pub own: bool,
}

/// Makes a presentation that the holder signs.
///
/// # Errors
/// [`Error::Proof`].
pub fn present(
    credentials: Vec<Value>,
    holder: &Did,
    keys: &[(&SecretKey, &str)],
    created_us: i64,
    challenge: &str,
    domain: &str,
) -> Result<Map<String, Value>, Error> {
    let mut map = Map::new();
    map.insert("@context".to_owned(), json!([CONTEXT]));
    map.insert("type".to_owned(), json!(["VerifiablePresentation"]));
    map.insert("holder".to_owned(), json!(holder.as_str()));
    map.insert("verifiableCredential".to_owned(), Value::Array(credentials));
    for (key, method) in keys {
        let options = Options::authentication(method, created_us, challenge, domain);
        let proof = sign(&map, key, &options)?;
        attach(&mut map, proof)?;
    }
    Ok(map)
}

/// A presentation that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// By which algorithms its holder has signed it.
    pub by: Vec<Algorithm>,
    /// What was shown, in its order.
    pub credentials: Vec<Verified>,
}

/// A presentation whose shape is right; nothing of it is proven before [`Presentation::check`].
#[derive(Debug, Clone)]
pub struct Presentation {
    map: Map<String, Value>,
    holder: Did,
    credentials: Vec<Credential>,
}

impl Presentation {
    /// Reads one.
    ///
    /// # Errors
    /// [`Error::Json`], [`Error::Shape`], [`Error::Holder`], [`Error::Credential`].
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let shape = |member, wrong: &str| Error::Shape {
            member,
            wrong: wrong.to_owned(),
        };
        let map =
            json::parse_object(text, MAX_BYTES).map_err(|error| Error::Json(error.to_string()))?;
        let first = |member: &str| match map.get(member) {
            Some(Value::Array(items)) => items.first().cloned(),
            other => other.cloned(),
        };
        if first("@context") != Some(json!(CONTEXT)) {
            return Err(shape(
                "@context",
                "does not begin with that of credentials 2.0",
            ));
        }
        let kinds = map.get("type");
        if kinds != Some(&json!("VerifiablePresentation"))
            && !kinds
                .and_then(Value::as_array)
                .is_some_and(|kinds| kinds.contains(&json!("VerifiablePresentation")))
        {
            return Err(shape("type", "does not have VerifiablePresentation"));
        }
        let holder = match map.get("holder") {
            Some(Value::String(holder)) => holder,
            Some(Value::Object(holder)) => match holder.get("id") {
                Some(Value::String(id)) => id,
                _ => return Err(shape("holder", "has no id")),
            },
            _ => return Err(shape("holder", "is neither a DID nor an object with an id")),
        };
        let holder = Did::parse(holder)?;
        let items = match map.get("verifiableCredential") {
            Some(Value::Array(items)) => items.clone(),
            Some(one @ Value::Object(_)) => vec![one.clone()],
            _ => return Err(shape("verifiableCredential", "has no credentials")),
        };
        if items.is_empty() || items.len() > MAX_CREDENTIALS {
            return Err(shape("verifiableCredential", "has none, or more than 8"));
        }
        let credentials = items
            .into_iter()
            .enumerate()
            .map(|(index, item)| match item {
                Value::Object(map) => {
                    Credential::from_map(map).map_err(|wrong| Error::Credential {
                        index,
                        wrong: Box::new(wrong),
                    })
                }
                _ => Err(shape("verifiableCredential", "has what is no object")),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            map,
            holder,
            credentials,
        })
    }

    /// Who shows it.
    #[must_use]
    pub fn holder(&self) -> &Did {
        &self.holder
    }

    /// What is shown.
    #[must_use]
    pub fn credentials(&self) -> &[Credential] {
        &self.credentials
    }

    /// The DIDs whose documents are needed to check it, each once.
    #[must_use]
    pub fn dids(&self) -> Vec<Did> {
        let mut dids = proof::dids_of(&self.map, self.holder.as_str());
        dids.extend(self.credentials.iter().flat_map(Credential::dids));
        dids.sort();
        dids.dedup();
        dids
    }

    /// Which lists say how its credentials stand.
    pub fn statuses(&self) -> impl Iterator<Item = &status::Entry> {
        self.credentials.iter().flat_map(Credential::statuses)
    }

    /// Checks it, and each credential.
    ///
    /// # Errors
    /// [`Error::Proof`], [`Error::NotTheirs`], [`Error::Credential`].
    pub fn check(
        &self,
        wanted: &Wanted<'_>,
        policy: &Policy<'_>,
        now_us: i64,
        resolve: &dyn Resolve,
        lists: &Fetched,
    ) -> Result<Presented, Error> {
        let demand = Demand {
            purpose: Purpose::Authentication,
            suites: wanted.suites,
            by: Some(&self.holder),
            challenge: Some(wanted.challenge),
            domain: Some(wanted.domain),
            now_us,
            tolerance_us: policy.tolerance_us,
        };
        let proven = check(&self.map, &demand, resolve)?;
        let credentials = self
            .credentials
            .iter()
            .enumerate()
            .map(|(index, credential)| {
                let holder = self.holder.as_str();
                if wanted.own && credential.subjects().as_slice() != [Some(holder)] {
                    return Err(Error::NotTheirs {
                        index,
                        holder: shown(holder),
                    });
                }
                credential
                    .check(policy, now_us, resolve, lists)
                    .map_err(|wrong| Error::Credential {
                        index,
                        wrong: Box::new(wrong),
                    })
            })
            .collect::<Result<_, _>>()?;
        Ok(Presented {
            by: proven.into_iter().map(|proof| proof.algorithm).collect(),
            credentials,
        })
    }
}
