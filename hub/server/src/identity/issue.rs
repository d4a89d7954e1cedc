//! Issuing credentials, each once a cause.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};
use stencil_identity::credential::{Draft, issue, issue_token};
use stencil_identity::did::Did;
use stencil_identity::schema::Schema;
use stencil_identity::status;
use stencil_protocol::id::{DeviceId, TenantId};
use stencil_store::{
    CredentialStanding, KeptCredential, STATUS_LIST_BITS, StandingSet, StoredCredential,
};
use stencil_workflow::effect::RESERVED_KINDS;

use super::lists::Purpose;
use super::{Error, Identity};

/// The longest time for which a credential is issued: 100 years.
const MAX_VALID_S: u64 = 100 * 365 * 86_400;
/// The longest name of a kind.
const MAX_KIND: usize = 64;
/// How often a bit is drawn: with three of four taken, that all are is one in 10⁸.
pub(super) const DRAWS: usize = 64;

/// What shall be said of whom.
#[derive(Debug, Clone, PartialEq, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewCredential)]
pub(crate) struct Wanted {
    /// Of which kind the credential is: letters and digits, such as `CalibrationCertificate`.
    #[schema(max_length = 64)]
    pub(crate) kind: String,
    /// What it is called, for people.
    #[schema(max_length = 200)]
    pub(crate) name: Option<String>,
    /// The device that it is about, or else `subject`.
    #[schema(value_type = Option<String>)]
    pub(crate) device: Option<DeviceId>,
    /// Whom else it is about, as a DID or another URI.
    #[schema(max_length = 2000)]
    pub(crate) subject: Option<String>,
    /// What is said. Whole numbers are within ±(2⁵³−1).
    #[schema(value_type = stencil_store::schema::Json)]
    pub(crate) claims: Map<String, Value>,
    /// For how long it holds, in seconds; without it for ever.
    #[serde(default, deserialize_with = "seconds")]
    #[schema(minimum = 1, maximum = 3_153_600_000_u64)]
    pub(crate) valid_for_s: Option<u64>,
    /// What the credential has to be like.
    pub(crate) schema: Option<SchemaOf>,
    /// As a token (`vc+jwt`, ML-DSA-65) instead of with proofs (Ed25519 and ML-DSA-44).
    #[serde(default)]
    pub(crate) token: bool,
}

/// As a request has it: what is out of its bounds is told by these, before a number so large that readers may
/// take it for another is told to be written as a text, which is right in claims alone.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let Some(asked) = Option::<Number>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let seconds = asked.as_u64().filter(|it| (1..=MAX_VALID_S).contains(it));
    seconds
        .map(Some)
        .ok_or_else(|| D::Error::custom(bounds(asked)))
}

fn bounds(asked: impl std::fmt::Display) -> String {
    format!(
        "`valid_for_s` is {asked}, it has to be a whole number of seconds, 1 to {MAX_VALID_S} (100 years); \
         without it a credential holds for ever"
    )
}

/// Who has a credential issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By<'a> {
    /// A person or a token of the tenant's, by its name.
    Caller(&'a str),
    /// A step of a workflow, by its effect key: it issues one.
    Step(&'a str),
}

impl<'a> By<'a> {
    fn cause(self) -> Option<&'a str> {
        match self {
            Self::Caller(_) => None,
            Self::Step(key) => Some(key),
        }
    }

    /// As it is kept with the credential.
    fn name(self) -> &'a str {
        match self {
            Self::Caller(who) => who,
            Self::Step(_) => "workflow",
        }
    }
}

/// A JSON schema, in the part that is described in the guide.
#[derive(Debug, Clone, PartialEq, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CredentialSchema)]
pub(crate) struct SchemaOf {
    /// Where it is published, by https; the credential names it.
    #[schema(max_length = 2000)]
    pub(crate) id: String,
    /// It.
    #[schema(value_type = stencil_store::schema::Json)]
    pub(crate) document: Value,
}

impl Wanted {
    /// Whether it can be issued at all, whoever it is about.
    pub(crate) fn check(&self) -> Result<(), String> {
        let kind = &self.kind;
        if kind.is_empty()
            || kind.len() > MAX_KIND
            || !kind.starts_with(|c: char| c.is_ascii_alphabetic())
            || !kind.chars().all(|c| c.is_ascii_alphanumeric())
        {
            return Err(format!(
                "`kind` has 1 to {MAX_KIND} letters and digits, beginning with a letter"
            ));
        }
        if RESERVED_KINDS.contains(&kind.as_str()) {
            return Err(format!(
                "`kind` is {kind}, which means something else already"
            ));
        }
        if self.name.as_ref().is_some_and(|name| name.len() > 200) {
            return Err("`name` has more than 200 bytes".to_owned());
        }
        match (&self.device, &self.subject) {
            (Some(_), None) => {}
            (None, Some(subject)) => {
                let good = subject.len() <= 2_000
                    && subject
                        .split_once(':')
                        .is_some_and(|(scheme, rest)| is_scheme(scheme) && !rest.is_empty())
                    && !subject.chars().any(|c| c.is_control() || c == ' ');
                if !good {
                    return Err("`subject` is no DID or other URI".to_owned());
                }
                if subject.starts_with("did:") {
                    Did::parse(subject).map_err(|error| format!("`subject`: {error}"))?;
                }
            }
            _ => return Err("either `device` or `subject` says whom it is about".to_owned()),
        }
        if self.claims.is_empty() {
            return Err("`claims` says nothing".to_owned());
        }
        if self.claims.contains_key("id") {
            return Err("`claims` has `id`, which `device` or `subject` says".to_owned());
        }
        if let Some(seconds) = self.valid_for_s
            && !(1..=MAX_VALID_S).contains(&seconds)
        {
            return Err(bounds(seconds));
        }
        if let Some(schema) = &self.schema {
            if schema.id.len() > 2_000 || !schema.id.starts_with("https://") {
                return Err("the `id` of `schema` is no https address".to_owned());
            }
            Schema::parse(schema.document.to_string().as_bytes())
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// RFC 3986, section 3.1.
fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

impl Identity {
    /// Issues a credential, or finds the one that its cause has issued before.
    pub(crate) async fn issue(
        &self,
        tenant: &TenantId,
        wanted: &Wanted,
        by: By<'_>,
        now_us: i64,
    ) -> Result<StoredCredential, Error> {
        let cause = by.cause();
        if let Some(cause) = cause
            && let Some(before) = self.credentials.credential_of_cause(tenant, cause).await?
        {
            return Ok(before);
        }
        wanted.check().map_err(Error::Invalid)?;
        let subject = self.subject(tenant, wanted).await?;
        let issuer = self.issuer_or_new(tenant, now_us).await?;
        let list = self.credentials.open_status_list(tenant).await?;
        let id = urn();
        for _ in 0..DRAWS {
            let bit = draw();
            let draft = self.draft(
                tenant,
                &issuer.did,
                wanted,
                &subject,
                (&id, list, bit),
                now_us,
            )?;
            let body = if wanted.token {
                let (key, name) = issuer.token()?;
                Value::String(issue_token(&draft, key, name).map_err(Error::failed)?)
            } else {
                Value::Object(issue(draft, &issuer.proving(), now_us).map_err(Error::failed)?)
            };
            let stored = StoredCredential {
                credential: id.clone(),
                kind: wanted.kind.clone(),
                subject: subject.clone(),
                list,
                bit,
                standing: CredentialStanding::Good,
                cause: cause.map(str::to_owned),
                issued_by: Some(by.name().to_owned()),
                body: body.to_string(),
                issued_us: now_us,
                valid_until_us: until(wanted, now_us),
                changed_us: now_us,
            };
            stencil_crashpoint::reach("credential.signed");
            match self.credentials.keep_credential(tenant, &stored).await? {
                KeptCredential::Made => {
                    stencil_crashpoint::reach("credential.kept");
                    return Ok(stored);
                }
                KeptCredential::Before(before) => return Ok(*before),
                KeptCredential::BitTaken => {}
            }
        }
        Err(Error::failed("no free bit of the status list was found"))
    }

    /// Revokes a credential, suspends it, or lets it hold again.
    pub(crate) async fn set_standing(
        &self,
        tenant: &TenantId,
        credential: &str,
        standing: CredentialStanding,
        now_us: i64,
    ) -> Result<StoredCredential, Error> {
        let not_found = || Error::NotFound {
            what: "credential",
            name: credential.to_owned(),
        };
        let set = self
            .credentials
            .set_standing(tenant, credential, standing, now_us);
        match set.await? {
            StandingSet::Set | StandingSet::Unchanged => {}
            StandingSet::NotFound => return Err(not_found()),
            StandingSet::Taken => {
                return Err(Error::Store(stencil_store::Error::Conflict(
                    "what it was given for is no longer on its chain, so it is suspended, and holds again by \
                     itself when that is back; where somebody has suspended it as well, resume it then"
                        .to_owned(),
                )));
            }
            StandingSet::Revoked => {
                return Err(Error::Store(stencil_store::Error::Conflict(
                    "the credential is revoked, and that is for good: issue another one".to_owned(),
                )));
            }
        }
        let found = self.credentials.credential(tenant, credential).await?;
        found.ok_or_else(not_found)
    }

    async fn subject(&self, tenant: &TenantId, wanted: &Wanted) -> Result<String, Error> {
        let Some(device) = &wanted.device else {
            return Ok(wanted.subject.clone().unwrap_or_default());
        };
        if !self.has_device(tenant, device).await? {
            return Err(Error::NotFound {
                what: "device",
                name: device.to_string(),
            });
        }
        Ok(self.device_did(tenant, device)?.to_string())
    }

    fn draft(
        &self,
        tenant: &TenantId,
        issuer: &Did,
        wanted: &Wanted,
        subject: &str,
        (id, list, bit): (&str, u32, u32),
        now_us: i64,
    ) -> Result<Map<String, Value>, Error> {
        let mut claims = Map::new();
        claims.insert("id".to_owned(), Value::String(subject.to_owned()));
        claims.extend(wanted.claims.clone());
        let entry = |purpose: Purpose| {
            Ok::<_, Error>(status::Entry {
                purpose: purpose.into(),
                list: self.list_url(tenant, purpose, list)?,
                index: usize::try_from(bit).map_err(Error::failed)?,
            })
        };
        let draft = Draft {
            id: Some(id.to_owned()),
            kinds: vec![wanted.kind.clone()],
            name: wanted.name.clone(),
            valid_until_us: until(wanted, now_us),
            statuses: vec![entry(Purpose::Revocation)?, entry(Purpose::Suspension)?],
            schema: wanted.schema.as_ref().map(|schema| schema.id.clone()),
            ..Draft::new(issuer.as_str(), now_us, claims)
        };
        let draft = draft
            .build()
            .map_err(|error| Error::Invalid(error.to_string()))?;
        if let Some(schema) = &wanted.schema {
            Schema::parse(schema.document.to_string().as_bytes())
                .map_err(|error| Error::Invalid(error.to_string()))?
                .check(&Value::Object(draft.clone()))
                .map_err(|error| {
                    Error::Invalid(format!("it does not follow {}: {error}", schema.id))
                })?;
        }
        Ok(draft)
    }
}

fn until(wanted: &Wanted, now_us: i64) -> Option<i64> {
    let span_us = i64::try_from(wanted.valid_for_s?)
        .ok()?
        .saturating_mul(1_000_000);
    Some(now_us.saturating_add(span_us))
}

/// A random UUID (version 4) as a URN.
pub(super) fn urn() -> String {
    let mut bytes = [0; 16];
    rand_core::Rng::fill_bytes(&mut stencil_crypto::rng::Os, &mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex::encode(bytes);
    format!(
        "urn:uuid:{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// A bit that nobody can guess from those before: the next number would tell how many are issued.
pub(super) fn draw() -> u32 {
    let mut bytes = [0; 4];
    rand_core::Rng::fill_bytes(&mut stencil_crypto::rng::Os, &mut bytes);
    // A power of two: no bit is likelier.
    u32::from_be_bytes(bytes) % STATUS_LIST_BITS
}
