//! Making proofs.

use serde_json::{Map, Value, json};

use super::{Error, MAX_PROOFS, Suite, hash, proofs};
use crate::document::Purpose;
use crate::moment;
use crate::multikey::{base58btc, base64url};
use crate::secret::SecretKey;

/// What a proof says beside its value.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// The name of the key, `DID#KEY`.
    pub method: &'a str,
    /// What it is for.
    pub purpose: Purpose,
    /// When it was made, in µs since the Unix epoch.
    pub created_us: Option<i64>,
    /// Until when it holds.
    pub expires_us: Option<i64>,
    /// What the verifier gave, so that it is used once.
    pub challenge: Option<&'a str>,
    /// For whom it is.
    pub domain: Option<&'a str>,
}

impl<'a> Options<'a> {
    /// An issuer's.
    #[must_use]
    pub fn assertion(method: &'a str, created_us: i64) -> Self {
        Self {
            method,
            purpose: Purpose::Assertion,
            created_us: Some(created_us),
            expires_us: None,
            challenge: None,
            domain: None,
        }
    }

    /// A holder's, for a verifier that gave a challenge.
    #[must_use]
    pub fn authentication(
        method: &'a str,
        created_us: i64,
        challenge: &'a str,
        domain: &'a str,
    ) -> Self {
        Self {
            purpose: Purpose::Authentication,
            challenge: Some(challenge),
            domain: Some(domain),
            ..Self::assertion(method, created_us)
        }
    }
}

/// Makes a proof over a document, as if it had none.
///
/// # Errors
/// [`Error::NoSuite`]: no suite makes proofs by such a key; [`Error::Canonical`]; [`Error::Secret`].
pub fn sign(
    document: &Map<String, Value>,
    key: &SecretKey,
    options: &Options<'_>,
) -> Result<Map<String, Value>, Error> {
    let algorithm = key.public_key().algorithm();
    let suite = Suite::of(algorithm).ok_or(Error::NoSuite(algorithm))?;
    let unsecured = hash::unsecured(document);
    let mut proof = Map::new();
    let mut set = |name: &str, value: Value| proof.insert(name.to_owned(), value);
    set("type", json!("DataIntegrityProof"));
    set("cryptosuite", json!(suite.name()));
    if let Some(created_us) = options.created_us {
        set("created", json!(moment::format(created_us)));
    }
    if let Some(expires_us) = options.expires_us {
        set("expires", json!(moment::format(expires_us)));
    }
    set("verificationMethod", json!(options.method));
    set("proofPurpose", json!(options.purpose.name()));
    if let Some(challenge) = options.challenge {
        set("challenge", json!(challenge));
    }
    if let Some(domain) = options.domain {
        set("domain", json!(domain));
    }
    // In mldsa44-jcs-2024 the context is signed without being repeated.
    if suite != Suite::MlDsa44Jcs2024
        && let Some(context) = unsecured.get("@context")
    {
        set("@context", context.clone());
    }
    let data = hash::data(&unsecured, proof.clone(), suite, algorithm)?;
    let signature = key.sign(&data)?;
    let value = match suite.base() {
        'u' => base64url(&signature),
        _ => base58btc(&signature),
    };
    proof.insert("proofValue".to_owned(), json!(value));
    Ok(proof)
}

/// Adds a proof to those that a document has.
///
/// # Errors
/// [`Error::Shape`], [`Error::Count`]: it has as many as it may.
pub fn attach(document: &mut Map<String, Value>, proof: Map<String, Value>) -> Result<(), Error> {
    let had = match proofs(document) {
        Ok(had) => had.len(),
        Err(Error::Count(0)) => 0,
        Err(error) => return Err(error),
    };
    if had >= MAX_PROOFS {
        return Err(Error::Count(had + 1));
    }
    let proof = Value::Object(proof);
    let all = match document.remove("proof") {
        None => proof,
        Some(Value::Array(mut items)) => {
            items.push(proof);
            Value::Array(items)
        }
        Some(first) => Value::Array(vec![first, proof]),
    };
    document.insert("proof".to_owned(), all);
    Ok(())
}
