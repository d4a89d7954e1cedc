//! DID documents (DID Core 1.0; Controlled Identifiers 1.0): which keys a DID has, and what each may
//! be used for.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::did::{Did, KeyUrl, Method};
use crate::json;
use crate::multikey::{self, PublicKey};
use crate::text::shown;

/// The longest document that is read.
pub const MAX_BYTES: usize = 256 * 1024;
/// The most keys of a document.
pub const MAX_KEYS: usize = 64;

const CONTEXT: &str = "https://www.w3.org/ns/did/v1";
const MULTIKEY_CONTEXT: &str = "https://w3id.org/security/multikey/v1";

/// What a key may be used for (a *verification relationship*).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// To say something, as an issuer does.
    Assertion,
    /// To show that one is who one says, as a holder does.
    Authentication,
}

impl Purpose {
    /// As proofs and documents call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Assertion => "assertionMethod",
            Self::Authentication => "authentication",
        }
    }
}

/// What is wrong with a document, or why it has no such key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is no JSON object.
    #[error("the document of {did}: {wrong}")]
    Json {
        /// Whose.
        did: String,
        /// What is wrong.
        wrong: String,
    },
    /// It is the document of another.
    #[error("the document that was found for {did} is that of “{found}”: its id has to be the DID")]
    Other {
        /// Whose it should be.
        did: String,
        /// Whose it is.
        found: String,
    },
    /// A member has not the shape that it should have.
    #[error("the document of {did}: {at} {wrong}")]
    Shape {
        /// Whose.
        did: String,
        /// Which member.
        at: String,
        /// What is wrong with it.
        wrong: &'static str,
    },
    /// There is no such key.
    #[error("the document of {did} has no key “{key}”")]
    NoKey {
        /// Whose.
        did: String,
        /// Which.
        key: String,
    },
    /// The key may not be used for that.
    #[error("the document of {did} does not list “{key}” under {}: it may not be used for that", .purpose.name())]
    Purpose {
        /// Whose.
        did: String,
        /// Which key.
        key: String,
        /// For what.
        purpose: Purpose,
    },
    /// The key is not written as one that is understood.
    #[error("the key “{key}” is of type “{kind}”; keys of type Multikey are understood")]
    Kind {
        /// Which key.
        key: String,
        /// Its type.
        kind: String,
    },
    /// The key is none.
    #[error("the key “{key}”: {wrong}")]
    Key {
        /// Which key.
        key: String,
        /// What is wrong with it.
        wrong: multikey::Error,
    },
    /// The key is another's.
    #[error("the key “{key}” is controlled by “{controller}”, not by {did}")]
    Controller {
        /// Whose document it is.
        did: String,
        /// Which key.
        key: String,
        /// Who controls it.
        controller: String,
    },
}

/// A key as a document has it: what is wrong with it is told when it is asked for.
#[derive(Debug, Clone)]
struct Listed {
    key: Result<PublicKey, Error>,
    purposes: Vec<Purpose>,
}

/// A document.
#[derive(Debug, Clone)]
pub struct Document {
    did: Did,
    keys: BTreeMap<String, Listed>,
    value: Value,
}

impl Document {
    /// The document that a DID says by itself: of a `did:key` and a `did:pkh`; `None` of a `did:web`,
    /// which is fetched.
    #[must_use]
    pub fn of(did: &Did) -> Option<Self> {
        match did.method() {
            Method::Key(key) => Some(Self::with_keys(did, &[("key", key)])),
            Method::Pkh(_) => {
                let method = did.url("blockchainAccountId");
                let value = json!({
                    "@context": [
                        CONTEXT,
                        { "blockchainAccountId": "https://w3id.org/security#blockchainAccountId",
                          "EcdsaSecp256k1RecoveryMethod2020":
                            "https://identity.foundation/EcdsaSecp256k1RecoverySignature2020#EcdsaSecp256k1RecoveryMethod2020" },
                    ],
                    "id": did.as_str(),
                    "verificationMethod": [{
                        "id": method,
                        "type": "EcdsaSecp256k1RecoveryMethod2020",
                        "controller": did.as_str(),
                        "blockchainAccountId": &did.as_str()["did:pkh:".len()..],
                    }],
                    "authentication": [method],
                    "assertionMethod": [method],
                });
                Self::read(did, value).ok()
            }
            Method::Web(_) => None,
        }
    }

    /// A document with these keys, each for all purposes, under these names.
    #[must_use]
    pub fn with_keys(did: &Did, keys: &[(&str, &PublicKey)]) -> Self {
        let names: Vec<String> = keys.iter().map(|(name, _)| did.url(name)).collect();
        let methods: Vec<Value> = keys
            .iter()
            .zip(&names)
            .map(|((_, key), name)| {
                // The key of a did:key is written as the DID has it.
                let text = match did.method() {
                    Method::Key(_) => did.as_str()["did:key:".len()..].to_owned(),
                    _ => key.to_string(),
                };
                json!({
                    "id": name,
                    "type": "Multikey",
                    "controller": did.as_str(),
                    "publicKeyMultibase": text,
                })
            })
            .collect();
        let mut value = json!({
            "@context": [CONTEXT, MULTIKEY_CONTEXT],
            "id": did.as_str(),
            "verificationMethod": methods,
            "authentication": names,
            "assertionMethod": names,
        });
        if matches!(did.method(), Method::Key(_)) {
            value["capabilityInvocation"] = json!(names);
            value["capabilityDelegation"] = json!(names);
        }
        let listed = keys.iter().zip(names).map(|((_, key), name)| {
            let listed = Listed {
                key: Ok((*key).clone()),
                purposes: vec![Purpose::Assertion, Purpose::Authentication],
            };
            (name, listed)
        });
        Self {
            did: did.clone(),
            keys: listed.collect(),
            value,
        }
    }

    /// Reads what was fetched for `did`.
    ///
    /// # Errors
    /// [`Error::Json`], [`Error::Other`], [`Error::Shape`].
    pub fn parse(did: &Did, text: &[u8]) -> Result<Self, Error> {
        let value = json::parse_object(text, MAX_BYTES).map_err(|wrong| Error::Json {
            did: shown(did.as_str()),
            wrong: wrong.to_string(),
        })?;
        Self::read(did, Value::Object(value))
    }

    fn read(did: &Did, value: Value) -> Result<Self, Error> {
        let shape = |at: &str, wrong| Error::Shape {
            did: shown(did.as_str()),
            at: at.to_owned(),
            wrong,
        };
        match value.get("id").and_then(Value::as_str) {
            Some(id) if id == did.as_str() => {}
            found => {
                return Err(Error::Other {
                    did: shown(did.as_str()),
                    found: shown(found.unwrap_or("nobody")),
                });
            }
        }
        let mut document = Self {
            did: did.clone(),
            keys: BTreeMap::new(),
            value: Value::Null,
        };
        for (n, method) in array(&value, "verificationMethod")
            .map_err(|wrong| shape("verificationMethod", wrong))?
            .iter()
            .enumerate()
        {
            let at = format!("verificationMethod[{n}]");
            let method = method
                .as_object()
                .ok_or_else(|| shape(&at, "is no object"))?;
            document
                .add(method, None)
                .map_err(|wrong| shape(&at, wrong))?;
        }
        for purpose in [Purpose::Assertion, Purpose::Authentication] {
            let name = purpose.name();
            for (n, entry) in array(&value, name)
                .map_err(|wrong| shape(name, wrong))?
                .iter()
                .enumerate()
            {
                let at = format!("{name}[{n}]");
                match entry {
                    Value::String(id) => {
                        // What names a key of another document is not looked up.
                        if let Some(listed) = document.keys.get_mut(&absolute(did, id)) {
                            listed.purposes.push(purpose);
                        }
                    }
                    Value::Object(method) => document
                        .add(method, Some(purpose))
                        .map_err(|wrong| shape(&at, wrong))?,
                    _ => return Err(shape(&at, "is neither a key nor the name of one")),
                }
            }
        }
        document.value = value;
        Ok(document)
    }

    fn add(
        &mut self,
        method: &Map<String, Value>,
        purpose: Option<Purpose>,
    ) -> Result<(), &'static str> {
        if self.keys.len() >= MAX_KEYS {
            return Err("is one key too many: at most 64 are read");
        }
        let text = |name: &str| method.get(name).and_then(Value::as_str);
        let id = text("id").ok_or("has no id")?;
        let id = absolute(&self.did, id);
        let parsed = KeyUrl::parse(&id).map_err(|_| "has an id that is no DID#KEY")?;
        if parsed.did != self.did {
            return Err("has an id below another DID");
        }
        let kind = text("type").ok_or("has no type")?;
        let controller = text("controller").ok_or("has no controller")?;
        let key = if controller != self.did.as_str() {
            Err(Error::Controller {
                did: shown(self.did.as_str()),
                key: shown(&id),
                controller: shown(controller),
            })
        } else if kind == "Multikey" {
            PublicKey::parse(text("publicKeyMultibase").unwrap_or_default()).map_err(|wrong| {
                Error::Key {
                    key: shown(&id),
                    wrong,
                }
            })
        } else {
            Err(Error::Kind {
                key: shown(&id),
                kind: shown(kind),
            })
        };
        let listed = Listed {
            key,
            purposes: purpose.into_iter().collect(),
        };
        match self.keys.insert(id, listed) {
            None => Ok(()),
            Some(_) => Err("has the id of another key"),
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn did(&self) -> &Did {
        &self.did
    }

    /// It as JSON.
    #[must_use]
    pub fn as_value(&self) -> &Value {
        &self.value
    }

    /// The key `name`, if it may be used for `purpose`.
    ///
    /// # Errors
    /// [`Error::NoKey`], [`Error::Purpose`], [`Error::Kind`], [`Error::Key`], [`Error::Controller`].
    pub fn key(&self, name: &str, purpose: Purpose) -> Result<&PublicKey, Error> {
        let listed = self.keys.get(name).ok_or_else(|| Error::NoKey {
            did: shown(self.did.as_str()),
            key: shown(name),
        })?;
        if !listed.purposes.contains(&purpose) {
            return Err(Error::Purpose {
                did: shown(self.did.as_str()),
                key: shown(name),
                purpose,
            });
        }
        listed.key.as_ref().map_err(Clone::clone)
    }

    /// Of which kinds the keys are that may be used for that.
    pub fn algorithms(&self, purpose: Purpose) -> impl Iterator<Item = multikey::Algorithm> {
        self.keys
            .values()
            .filter(move |listed| listed.purposes.contains(&purpose))
            .filter_map(|listed| listed.key.as_ref().ok())
            .map(PublicKey::algorithm)
    }
}

/// The name of a key, which a document may write from its `#` on.
fn absolute(did: &Did, id: &str) -> String {
    if id.starts_with('#') {
        format!("{did}{id}")
    } else {
        id.to_owned()
    }
}

fn array<'a>(value: &'a Value, name: &str) -> Result<&'a [Value], &'static str> {
    match value.get(name) {
        None => Ok(&[]),
        Some(Value::Array(items)) if items.len() <= MAX_KEYS => Ok(items),
        Some(Value::Array(_)) => Err("has more than 64 keys"),
        Some(_) => Err("is no array"),
    }
}

/// Where documents come from. Whoever checks something fetches what [`crate::proof::dids`] names
/// before, and says here what came of it.
pub trait Resolve {
    /// The document of `did`.
    ///
    /// # Errors
    /// Why there is none.
    fn resolve(&self, did: &Did) -> Result<Document, Unresolved>;
}

/// Why the document of a DID is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unresolved {
    /// It could not be fetched, or was not. To try again may help.
    #[error("the document of {did} is not there: {why}")]
    Unreachable {
        /// Whose.
        did: String,
        /// Why.
        why: String,
    },
    /// There is none, and there will be none.
    #[error("{did} has no document any more: {why}")]
    Gone {
        /// Whose.
        did: String,
        /// Why.
        why: String,
    },
    /// What was fetched is no document of it.
    #[error(transparent)]
    Bad(#[from] Error),
}

/// Documents that are known, and those that DIDs say by themselves.
#[derive(Debug, Clone, Default)]
pub struct Known {
    documents: BTreeMap<String, Result<Document, Unresolved>>,
}

impl Known {
    /// None but what DIDs say by themselves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what came of fetching the document of `did`.
    pub fn insert(&mut self, did: &Did, found: Result<Document, Unresolved>) {
        self.documents.insert(did.as_str().to_owned(), found);
    }
}

impl Resolve for Known {
    fn resolve(&self, did: &Did) -> Result<Document, Unresolved> {
        if let Some(document) = Document::of(did) {
            return Ok(document);
        }
        self.documents
            .get(did.as_str())
            .cloned()
            .unwrap_or_else(|| {
                Err(Unresolved::Unreachable {
                    did: shown(did.as_str()),
                    why: "it was not fetched".to_owned(),
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::multikey::Algorithm;
    use crate::secret::SecretKey;

    fn did(text: &str) -> Did {
        Did::parse(text).expect(text)
    }

    fn key(seed: u8) -> PublicKey {
        SecretKey::from_seed(Algorithm::Ed25519, &[seed; 32])
            .expect("a key")
            .public_key()
            .clone()
    }

    #[test]
    fn a_document_that_was_made_is_read_back() {
        let hub = did("did:web:hub.example");
        let made = Document::with_keys(&hub, &[("key-1", &key(1)), ("key-2", &key(2))]);
        let text = made.as_value().to_string();
        let read = Document::parse(&hub, text.as_bytes()).expect("a document");
        let name = "did:web:hub.example#key-2";
        assert_eq!(read.key(name, Purpose::Assertion), Ok(&key(2)));
        let error = read.key("did:web:hub.example#key-3", Purpose::Assertion);
        assert!(matches!(error, Err(Error::NoKey { .. })), "{error:?}");
        let other = did("did:web:other.example");
        let error = Document::parse(&other, text.as_bytes()).expect_err("another's");
        assert!(
            error.to_string().contains("its id has to be the DID"),
            "{error}"
        );
    }

    #[test]
    fn a_key_is_used_for_what_it_is_listed_under_alone() {
        let hub = did("did:web:hub.example");
        let text = json!({
            "id": "did:web:hub.example",
            "verificationMethod": [
                { "id": "#a", "type": "Multikey", "controller": "did:web:hub.example",
                  "publicKeyMultibase": key(1).to_string() },
                { "id": "#old", "type": "JsonWebKey2020", "controller": "did:web:hub.example" },
                { "id": "#theirs", "type": "Multikey", "controller": "did:web:other.example",
                  "publicKeyMultibase": key(3).to_string() },
                { "id": "#broken", "type": "Multikey", "controller": "did:web:hub.example",
                  "publicKeyMultibase": "z6Mk" },
            ],
            "assertionMethod": ["#a", "did:web:hub.example#old", "#theirs", "#broken", "#gone"],
            "authentication": [
                { "id": "#in", "type": "Multikey", "controller": "did:web:hub.example",
                  "publicKeyMultibase": key(2).to_string() },
            ],
        })
        .to_string();
        let document = Document::parse(&hub, text.as_bytes()).expect("a document");
        let ask = |fragment: &str, purpose| {
            document.key(&format!("did:web:hub.example#{fragment}"), purpose)
        };
        assert_eq!(ask("a", Purpose::Assertion), Ok(&key(1)));
        assert_eq!(ask("in", Purpose::Authentication), Ok(&key(2)));
        for (name, purpose, wrong) in [
            ("a", Purpose::Authentication, "does not list"),
            ("in", Purpose::Assertion, "does not list"),
            ("old", Purpose::Assertion, "of type Multikey are understood"),
            (
                "theirs",
                Purpose::Assertion,
                "controlled by “did:web:other.example”",
            ),
            ("broken", Purpose::Assertion, "multicodec of no key"),
            ("gone", Purpose::Assertion, "has no key"),
        ] {
            let error = ask(name, purpose).expect_err(name).to_string();
            assert!(error.contains(wrong), "{name}: {error}");
        }
    }

    #[test]
    fn documents_that_are_none() {
        let hub = did("did:web:hub.example");
        let method =
            |id: &str| json!({ "id": id, "type": "Multikey", "controller": "did:web:hub.example" });
        let with = |member: &str, value: Value| {
            let mut document = json!({ "id": "did:web:hub.example" });
            document[member] = value;
            document.to_string()
        };
        for (text, wrong) in [
            ("[]".to_owned(), "an array, where an object"),
            ("{}".to_owned(), "that of “nobody”"),
            (with("verificationMethod", json!({})), "is no array"),
            (
                with("verificationMethod", json!([1])),
                "verificationMethod[0] is no object",
            ),
            (with("verificationMethod", json!([{}])), "has no id"),
            (
                with("verificationMethod", json!([method("did:web:x.example#a")])),
                "an id below another DID",
            ),
            (
                with("verificationMethod", json!([method("#a"), method("#a")])),
                "verificationMethod[1] has the id of another key",
            ),
            (
                with("assertionMethod", json!([7])),
                "neither a key nor the name",
            ),
            (
                with("verificationMethod", json!(vec![method("#a"); 65])),
                "more than 64 keys",
            ),
        ] {
            let error = Document::parse(&hub, text.as_bytes())
                .expect_err(&text)
                .to_string();
            assert!(error.contains(wrong), "{text}: {error}");
        }
    }

    #[test]
    fn an_account_has_a_document_whose_key_is_not_a_multikey() {
        let account = did("did:pkh:eip155:1:0xb9c5714089478a327f09197987f16f9e5d936e8a");
        let document = Document::of(&account).expect("a document");
        let method = &document.as_value()["verificationMethod"][0];
        assert_eq!(
            method["blockchainAccountId"],
            "eip155:1:0xb9c5714089478a327f09197987f16f9e5d936e8a"
        );
        let name = method["id"].as_str().expect("a name");
        let error = document.key(name, Purpose::Authentication);
        assert!(matches!(error, Err(Error::Kind { .. })), "{error:?}");
    }
}
