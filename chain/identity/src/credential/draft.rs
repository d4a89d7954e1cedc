//! Making credentials.

use serde_json::{Map, Value, json};

use super::{CONTEXT, Credential, Error, MAX_BYTES};
use crate::proof::{Options, attach, sign};
use crate::secret::SecretKey;
use crate::{jose, json, moment, status};

/// What shall be said.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The credential's own id, a URL.
    pub id: Option<String>,
    /// Of which kinds it is, beside `VerifiableCredential`.
    pub kinds: Vec<String>,
    /// What it is called, for people.
    pub name: Option<String>,
    /// Who says it, a DID.
    pub issuer: String,
    /// From when on, in µs since the Unix epoch.
    pub valid_from_us: i64,
    /// Until when.
    pub valid_until_us: Option<i64>,
    /// What is said; `id` in it is whom it is about.
    pub subject: Map<String, Value>,
    /// Which lists say how it stands.
    pub statuses: Vec<status::Entry>,
    /// Where the schema is that it follows.
    pub schema: Option<String>,
}

impl Draft {
    /// One that says this, for ever.
    #[must_use]
    pub fn new(issuer: &str, valid_from_us: i64, subject: Map<String, Value>) -> Self {
        Self {
            id: None,
            kinds: Vec::new(),
            name: None,
            issuer: issuer.to_owned(),
            valid_from_us,
            valid_until_us: None,
            subject,
            statuses: Vec::new(),
            schema: None,
        }
    }

    /// The credential without proofs.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Json`]: what would come of it is none, or too long.
    pub fn build(self) -> Result<Map<String, Value>, Error> {
        let mut map = Map::new();
        let mut set = |name: &str, value: Value| map.insert(name.to_owned(), value);
        set("@context", json!([CONTEXT]));
        if let Some(id) = self.id {
            set("id", json!(id));
        }
        let is_list = self
            .kinds
            .iter()
            .any(|kind| kind == "BitstringStatusListCredential");
        let mut kinds = vec!["VerifiableCredential".to_owned()];
        kinds.extend(self.kinds);
        set("type", json!(kinds));
        if let Some(name) = self.name {
            set("name", json!(name));
        }
        set("issuer", json!(self.issuer));
        set("validFrom", json!(moment::format(self.valid_from_us)));
        if let Some(until_us) = self.valid_until_us {
            set("validUntil", json!(moment::format(until_us)));
        }
        set("credentialSubject", Value::Object(self.subject));
        match self.statuses.as_slice() {
            [] => {}
            [one] => {
                set("credentialStatus", one.to_value());
            }
            several => {
                let all: Vec<Value> = several.iter().map(status::Entry::to_value).collect();
                set("credentialStatus", Value::Array(all));
            }
        }
        if let Some(schema) = self.schema {
            set(
                "credentialSchema",
                json!({ "id": schema, "type": "JsonSchema" }),
            );
        }
        // Read as a verifier reads it, so that nobody issues what nobody takes.
        let text = json::canonical(&map).map_err(|error| Error::Json(error.to_string()))?;
        let most = if is_list {
            status::MAX_BYTES
        } else {
            MAX_BYTES
        };
        Credential::parse_up_to(&text, most)?;
        Ok(map)
    }
}

/// Issues a credential with a proof by each key; a key comes with its name, `DID#KEY`.
///
/// # Errors
/// [`Error::Proof`]: a key makes no proofs, or there are too many.
pub fn issue(
    draft: Map<String, Value>,
    keys: &[(&SecretKey, &str)],
    created_us: i64,
) -> Result<Map<String, Value>, Error> {
    let mut issued = draft;
    for (key, method) in keys {
        let proof = sign(&issued, key, &Options::assertion(method, created_us))?;
        attach(&mut issued, proof)?;
    }
    Ok(issued)
}

/// Issues a credential as a token, by a key of ML-DSA-65.
///
/// # Errors
/// [`Error::Token`].
pub fn issue_token(
    draft: &Map<String, Value>,
    key: &SecretKey,
    method: &str,
) -> Result<String, Error> {
    Ok(jose::sign(draft, key, method)?)
}
