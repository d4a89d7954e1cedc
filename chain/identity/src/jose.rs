//! Credentials in a token (Securing Verifiable Credentials using JOSE and COSE, section 3.1): a
//! compact JWS of type `vc+jwt`, by ML-DSA-65 (RFC 9964).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::did::{self, Did, KeyUrl};
use crate::document::{self, Purpose, Resolve, Unresolved};
use crate::json;
use crate::multikey::{Algorithm, BadSignature};
use crate::secret::{self, SecretKey};
use crate::text::shown;

/// The longest token that is read.
pub const MAX_BYTES: usize = 1024 * 1024;
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// The name of the algorithm and the type of the token.
const ALG: &str = "ML-DSA-65";
const TYP: &str = "vc+jwt";

/// Why a token is refused or cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is no token.
    #[error("it is no compact JWS: {0}")]
    Form(&'static str),
    /// A part of it is no JSON.
    #[error("its {part}: {wrong}")]
    Json {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        wrong: String,
    },
    /// Its header does not say what it should.
    #[error("its header's {member} is {found}, where {expected} is expected")]
    Header {
        /// Which member.
        member: &'static str,
        /// What it says.
        found: String,
        /// What it should say.
        expected: &'static str,
    },
    /// It names extensions that have to be understood.
    #[error("its header has crit: none of its extensions are understood")]
    Critical,
    /// A claim of the token contradicts the credential in it.
    #[error("its claim {claim} is {found}, where the credential has {expected}")]
    Claim {
        /// Which claim.
        claim: &'static str,
        /// What it says.
        found: String,
        /// What the credential says.
        expected: String,
    },
    /// Its key has no name.
    #[error("its kid: {0}")]
    Kid(#[from] did::Error),
    /// Its key is not known.
    #[error(transparent)]
    Unresolved(#[from] Unresolved),
    /// Its key may not be used so.
    #[error(transparent)]
    Key(#[from] document::Error),
    /// Its key is of another kind.
    #[error("its key is of {0}, not of ML-DSA-65")]
    Algorithm(Algorithm),
    /// Its key is not that of whom it should be.
    #[error("its key is that of {found}, not of {expected}")]
    NotBy {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// It is not by this key, or was changed.
    #[error("{0}")]
    Signature(#[from] BadSignature),
    /// The key could not be used.
    #[error(transparent)]
    Secret(#[from] secret::Error),
}

/// Makes a token of a credential without proofs.
///
/// # Errors
/// [`Error::Algorithm`]: the key is not of ML-DSA-65; [`Error::Json`]; [`Error::Secret`].
pub fn sign(
    credential: &Map<String, Value>,
    key: &SecretKey,
    method: &str,
) -> Result<String, Error> {
    let algorithm = key.public_key().algorithm();
    if algorithm != Algorithm::MlDsa65 {
        return Err(Error::Algorithm(algorithm));
    }
    let header = json!({ "alg": ALG, "cty": "vc", "kid": method, "typ": TYP });
    let part = |part, value: &Value| -> Result<String, Error> {
        let text = json::canonical(value).map_err(|error| Error::Json {
            part,
            wrong: error.to_string(),
        })?;
        Ok(URL_SAFE_NO_PAD.encode(text))
    };
    let signed = format!(
        "{}.{}",
        part("header", &header)?,
        part("payload", &Value::Object(credential.clone()))?
    );
    let signature = key.sign(signed.as_bytes())?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// A token, taken apart but not checked.
#[derive(Debug)]
pub struct Token<'a> {
    /// The name of its key.
    pub method: KeyUrl,
    /// The credential in it.
    pub credential: Map<String, Value>,
    /// From when on the token holds (`nbf`), in µs since the Unix epoch.
    pub not_before_us: Option<i64>,
    /// Until when (`exp`).
    pub expires_us: Option<i64>,
    signed: &'a str,
    signature: Vec<u8>,
}

/// Takes a token apart.
///
/// # Errors
/// [`Error::Form`], [`Error::Json`], [`Error::Header`], [`Error::Critical`], [`Error::Kid`],
/// [`Error::Claim`].
pub fn parse(token: &str) -> Result<Token<'_>, Error> {
    if token.len() > MAX_BYTES {
        return Err(Error::Form("it is longer than 1 MiB"));
    }
    let (signed, signature) = token
        .rsplit_once('.')
        .ok_or(Error::Form("it has no points"))?;
    let (header, payload) = signed
        .split_once('.')
        .filter(|(_, payload)| !payload.contains('.'))
        .ok_or(Error::Form("it has not two points"))?;
    let decode = |text: &str| {
        URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| Error::Form("a part of it is no base64url without padding"))
    };
    let object = |part, text: &[u8], most| {
        json::parse_object(text, most).map_err(|error| Error::Json {
            part,
            wrong: error.to_string(),
        })
    };
    let header = object("header", &decode(header)?, MAX_HEADER_BYTES)?;
    if header.contains_key("crit") {
        return Err(Error::Critical);
    }
    says(&header, "alg", ALG, true)?;
    says(&header, "typ", TYP, true)?;
    says(&header, "cty", "vc", false)?;
    let method = KeyUrl::parse(
        header
            .get("kid")
            .and_then(Value::as_str)
            .unwrap_or_default(),
    )?;
    let mut credential = object("payload", &decode(payload)?, MAX_BYTES)?;
    claims(&mut credential)?;
    let not_before_us = numeric_date(&mut credential, "nbf")?;
    let expires_us = numeric_date(&mut credential, "exp")?;
    // When it was made binds nobody, and is no part of the credential.
    numeric_date(&mut credential, "iat")?;
    Ok(Token {
        method,
        credential,
        not_before_us,
        expires_us,
        signed,
        signature: decode(signature)?,
    })
}

impl Token<'_> {
    /// Checks its signature, and that its key is one that `by` may say things by.
    ///
    /// # Errors
    /// [`Error::NotBy`], [`Error::Unresolved`], [`Error::Key`], [`Error::Algorithm`],
    /// [`Error::Signature`].
    pub fn check(&self, by: Option<&Did>, resolve: &dyn Resolve) -> Result<(), Error> {
        if let Some(by) = by
            && *by != self.method.did
        {
            return Err(Error::NotBy {
                found: shown(self.method.did.as_str()),
                expected: shown(by.as_str()),
            });
        }
        let document = resolve.resolve(&self.method.did)?;
        let key = document.key(&self.method.text, Purpose::Assertion)?;
        if key.algorithm() != Algorithm::MlDsa65 {
            return Err(Error::Algorithm(key.algorithm()));
        }
        Ok(key.verify(self.signed.as_bytes(), &self.signature)?)
    }
}

fn says(
    header: &Map<String, Value>,
    member: &'static str,
    expected: &'static str,
    needed: bool,
) -> Result<(), Error> {
    let found = match header.get(member) {
        None if !needed => return Ok(()),
        None => "missing".to_owned(),
        Some(Value::String(text)) if text == expected => return Ok(()),
        Some(Value::String(text)) => format!("“{}”", shown(text)),
        Some(other) => json::kind(other).to_owned(),
    };
    Err(Error::Header {
        member,
        found,
        expected,
    })
}

/// Claims of the token that name what the credential names, too, have to agree with it; they are no
/// part of it.
fn claims(credential: &mut Map<String, Value>) -> Result<(), Error> {
    let issuer = match credential.get("issuer") {
        Some(Value::Object(issuer)) => issuer.get("id").cloned(),
        other => other.cloned(),
    };
    for (claim, expected) in [
        ("iss", issuer),
        ("jti", credential.get("id").cloned()),
        (
            "sub",
            credential
                .get("credentialSubject")
                .and_then(|subject| subject.get("id"))
                .cloned(),
        ),
    ] {
        if let Some(found) = credential.remove(claim)
            && Some(&found) != expected.as_ref()
        {
            let text = |value: &Value| shown(&value.to_string());
            return Err(Error::Claim {
                claim,
                found: text(&found),
                expected: expected.as_ref().map_or_else(|| "none".to_owned(), text),
            });
        }
    }
    // Whoever adds a proof signs it as a document; in a token it would be unsigned by anybody. And one
    // that is for somebody (`aud`) is not for whoever reads it here.
    for claim in ["vc", "vp", "proof", "aud"] {
        if credential.contains_key(claim) {
            return Err(Error::Claim {
                claim,
                found: "there".to_owned(),
                expected: "none".to_owned(),
            });
        }
    }
    Ok(())
}

/// Takes a NumericDate (RFC 7519, section 2: seconds, perhaps with a fraction) out of the claims, in µs
/// since the Unix epoch.
fn numeric_date(
    claims: &mut Map<String, Value>,
    claim: &'static str,
) -> Result<Option<i64>, Error> {
    let Some(found) = claims.remove(claim) else {
        return Ok(None);
    };
    let wrong = || Error::Claim {
        claim,
        found: shown(&found.to_string()),
        expected: "no such time: a number of seconds is one".to_owned(),
    };
    if let Some(seconds) = found.as_i64() {
        return Ok(Some(seconds.saturating_mul(1_000_000)));
    }
    let seconds = found.as_f64().ok_or_else(wrong)?;
    // Where it is beyond what µs can say, the nearest that they can.
    #[allow(clippy::cast_possible_truncation)]
    Ok(Some((seconds * 1e6) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Known;

    fn key(algorithm: Algorithm) -> (SecretKey, Did) {
        let key = SecretKey::from_seed(algorithm, &[9; 32]).expect("a key");
        let did = Did::from_key(key.public_key().clone());
        (key, did)
    }

    fn credential(issuer: &Did) -> Map<String, Value> {
        let value = json!({
            "@context": ["https://www.w3.org/ns/credentials/v2"],
            "id": "urn:uuid:1",
            "type": ["VerifiableCredential"],
            "issuer": issuer.as_str(),
            "credentialSubject": { "id": "did:web:hub.example", "reading": 21.5 },
        });
        value.as_object().cloned().expect("an object")
    }

    /// A token with this header and payload, signed by the key.
    fn signed(key: &SecretKey, header: &Value, payload: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(header), part(payload));
        let signature = key.sign(text.as_bytes()).expect("a signature");
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    #[test]
    fn a_token_is_read_and_a_changed_one_is_refused() {
        let (key, did) = key(Algorithm::MlDsa65);
        let credential = credential(&did);
        let token = sign(&credential, &key, &did.url("key")).expect("a token");
        let read = parse(&token).expect("a token");
        assert_eq!(read.credential, credential);
        assert_eq!(read.check(Some(&did), &Known::new()), Ok(()));
        let other = Did::parse("did:web:hub.example").expect("a DID");
        let error = read.check(Some(&other), &Known::new());
        assert!(matches!(error, Err(Error::NotBy { .. })), "{error:?}");

        let payload = token.split('.').nth(1).expect("a payload");
        let changed = String::from_utf8(URL_SAFE_NO_PAD.decode(payload).expect("base64"))
            .expect("UTF-8")
            .replace("21.5", "21.6");
        let changed = token.replace(payload, &URL_SAFE_NO_PAD.encode(changed));
        let error = parse(&changed)
            .expect("a token")
            .check(Some(&did), &Known::new());
        assert_eq!(error, Err(Error::Signature(BadSignature)));
    }

    #[test]
    fn headers_that_say_something_else() {
        let (key, did) = key(Algorithm::MlDsa65);
        let kid = did.url("key");
        let payload = Value::Object(credential(&did));
        let header = json!({ "alg": "ML-DSA-65", "typ": "vc+jwt", "kid": kid });
        assert!(parse(&signed(&key, &header, &payload)).is_ok());
        for (member, value, wrong) in [
            ("alg", json!("none"), "alg is “none”"),
            ("alg", json!("HS256"), "alg is “HS256”"),
            ("alg", json!(["ML-DSA-65"]), "alg is an array"),
            ("typ", json!("JWT"), "typ is “JWT”"),
            ("cty", json!("vp"), "cty is “vp”"),
            ("crit", json!(["b64"]), "none of its extensions"),
            ("kid", json!("key-1"), "names no key"),
            ("kid", json!(null), "names no key"),
        ] {
            let mut header = header.clone();
            header[member] = value;
            let error = parse(&signed(&key, &header, &payload))
                .expect_err(wrong)
                .to_string();
            assert!(error.contains(wrong), "{error}");
        }
        for (claim, value, wrong) in [
            ("iss", json!("did:web:other.example"), "claim iss"),
            ("sub", json!("did:web:other.example"), "claim sub"),
            ("jti", json!("urn:uuid:2"), "claim jti"),
            ("vc", json!({}), "claim vc"),
            ("proof", json!({}), "claim proof"),
            ("aud", json!("did:web:other.example"), "claim aud"),
            ("exp", json!("1795900000"), "claim exp"),
            ("nbf", json!(null), "claim nbf"),
            ("iat", json!([1]), "claim iat"),
        ] {
            let mut payload = payload.clone();
            payload[claim] = value;
            let error = parse(&signed(&key, &header, &payload))
                .expect_err(wrong)
                .to_string();
            assert!(error.contains(wrong), "{error}");
        }
        for text in ["", ".", "..", "a.b", "a.b.c.d", "!.!.!"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_tokens_times_are_read_and_are_no_part_of_the_credential() {
        let (key, did) = key(Algorithm::MlDsa65);
        let header = json!({ "alg": "ML-DSA-65", "typ": "vc+jwt", "kid": did.url("key") });
        let plain = credential(&did);
        for (exp, expires_us) in [
            (json!(1_795_900_000), 1_795_900_000_000_000),
            (json!(1_795_900_000.5), 1_795_900_000_500_000),
            (json!(-1), -1_000_000),
            (json!(1e300), i64::MAX),
        ] {
            let mut payload = Value::Object(plain.clone());
            payload["exp"] = exp;
            payload["nbf"] = json!(7);
            payload["iat"] = json!(8);
            let token = signed(&key, &header, &payload);
            let read = parse(&token).expect("a token");
            assert_eq!(read.expires_us, Some(expires_us));
            assert_eq!(read.not_before_us, Some(7_000_000));
            assert_eq!(read.credential, plain);
        }
    }

    #[test]
    fn keys_of_other_kinds_make_no_tokens() {
        let (key, did) = key(Algorithm::MlDsa44);
        let error = sign(&credential(&did), &key, &did.url("key"));
        assert_eq!(error, Err(Error::Algorithm(Algorithm::MlDsa44)));
        let header = json!({ "alg": "ML-DSA-65", "typ": "vc+jwt", "kid": did.url("key") });
        let token = signed(&key, &header, &Value::Object(credential(&did)));
        let error = parse(&token)
            .expect("a token")
            .check(Some(&did), &Known::new());
        assert_eq!(error, Err(Error::Algorithm(Algorithm::MlDsa44)));
    }
}
