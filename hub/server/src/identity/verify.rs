//! Checking credentials and presentations for whoever asks.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use stencil_identity::credential::{Credential, Issuers, OnUnknown, Policy, Verified};
use stencil_identity::document::Known;
use stencil_identity::presentation::{Presentation, Wanted};
use stencil_identity::proof::{SUITES, Suite};
use stencil_identity::status::{Entry, Fetched, Standing};

use super::{Error, Identity};

/// The most issuers that a question names.
const MAX_ISSUERS: usize = 100;
/// By how much clocks may differ.
const TOLERANCE_US: i64 = 60_000_000;

/// What to check, and what for.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CredentialQuestion)]
pub(crate) struct Asked {
    /// A credential: an object, or a token (`vc+jwt`) as text. Or else `presentation`.
    #[schema(value_type = Option<stencil_store::schema::Json>)]
    credential: Option<Value>,
    /// A presentation, with the `challenge` and the `domain` that its holder was given.
    #[schema(value_type = Option<stencil_store::schema::Json>)]
    presentation: Option<Value>,
    /// What the holder was given.
    challenge: Option<String>,
    /// For whom the presentation is.
    domain: Option<String>,
    /// Whose credentials are accepted, as DIDs; without it anybody's.
    issuers: Option<BTreeSet<String>>,
    /// Of which kind a credential has to be.
    kind: Option<String>,
    /// Whom it has to be about.
    subject: Option<String>,
    /// The suites of which there has to be a proof; without it `eddsa-jcs-2022` and
    /// `mldsa44-jcs-2024`.
    suites: Option<Vec<String>>,
    /// Whether a credential is accepted of which it is not known whether it is revoked.
    #[serde(default)]
    accept_unknown_status: bool,
}

/// What came of it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CredentialVerdict)]
pub(crate) struct Verdict {
    /// Whether it is right, and such as was asked for.
    pub(crate) verified: bool,
    /// What is wrong with it.
    pub(crate) error: Option<String>,
    /// Whether to ask again later may help: something that is needed was not there.
    pub(crate) retry: bool,
    /// Of a presentation: who shows it.
    pub(crate) holder: Option<String>,
    /// The credentials.
    pub(crate) credentials: Vec<Shown>,
}

/// A credential that is right.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = VerifiedCredential)]
pub(crate) struct Shown {
    /// Who says it.
    issuer: String,
    /// The algorithms by which it is proven.
    proven_by: Vec<String>,
    /// Whether a quantum computer is not known to break one of them.
    post_quantum: bool,
    /// `good`; `unknown`: it is not known whether it is revoked.
    standing: &'static str,
    /// What is said.
    #[schema(value_type = stencil_store::schema::Json)]
    credential: Map<String, Value>,
}

impl Verdict {
    fn refused(error: impl std::fmt::Display, retry: bool) -> Self {
        Self {
            verified: false,
            error: Some(error.to_string()),
            retry,
            holder: None,
            credentials: Vec::new(),
        }
    }
}

impl Asked {
    fn suites(&self) -> Result<Vec<Suite>, Error> {
        let Some(names) = &self.suites else {
            return Ok(Policy::default().suites.to_vec());
        };
        let known = || {
            let names: Vec<&str> = SUITES.iter().map(|suite| suite.name()).collect();
            names.join(", ")
        };
        names
            .iter()
            .take(SUITES.len() + 1)
            .map(|name| {
                Suite::parse(name).ok_or_else(|| {
                    Error::Invalid(format!("`suites` has {name:?}; {} are known", known()))
                })
            })
            .collect()
    }
}

impl Identity {
    /// Checks what is asked. What is wrong with the question is an error; what is wrong with the
    /// credential is a verdict.
    pub(crate) async fn verify(&self, asked: &Asked, now_us: i64) -> Result<Verdict, Error> {
        let suites = asked.suites()?;
        if asked
            .issuers
            .as_ref()
            .is_some_and(|all| all.len() > MAX_ISSUERS)
        {
            let what = format!("`issuers` names more than {MAX_ISSUERS}");
            return Err(Error::Invalid(what));
        }
        let policy = Policy {
            issuers: asked.issuers.as_ref().map_or(Issuers::Any, Issuers::These),
            suites: &suites,
            tokens: asked.suites.is_none(),
            kind: asked.kind.as_deref(),
            subject: asked.subject.as_deref(),
            on_unknown: if asked.accept_unknown_status {
                OnUnknown::Accept
            } else {
                OnUnknown::Refuse
            },
            tolerance_us: TOLERANCE_US,
        };
        match (&asked.credential, &asked.presentation) {
            (Some(credential), None) => self.credential(credential, &policy, now_us).await,
            (None, Some(shown)) => {
                let (Some(challenge), Some(domain)) = (&asked.challenge, &asked.domain) else {
                    return Err(Error::Invalid(
                        "a presentation is checked against the `challenge` and the `domain` that \
                         its holder was given"
                            .to_owned(),
                    ));
                };
                self.presentation(shown, challenge, domain, &policy, now_us)
                    .await
            }
            _ => Err(Error::Invalid(
                "either `credential` or `presentation` is what to check".to_owned(),
            )),
        }
    }

    async fn credential(
        &self,
        value: &Value,
        policy: &Policy<'_>,
        now_us: i64,
    ) -> Result<Verdict, Error> {
        let text = match value {
            Value::String(token) => token.clone(),
            other => other.to_string(),
        };
        let read = match Credential::parse(text.as_bytes()) {
            Ok(read) => read,
            Err(error) => return Ok(Verdict::refused(error, false)),
        };
        let known = self.known(read.dids()).await?;
        let lists = self.lists(read.statuses().iter()).await?;
        Ok(match read.check(policy, now_us, &known, &lists) {
            Ok(verified) => Verdict {
                verified: true,
                error: None,
                retry: false,
                holder: None,
                credentials: vec![shown(&read, &verified)],
            },
            Err(error) => Verdict::refused(&error, error.is_unreachable()),
        })
    }

    async fn presentation(
        &self,
        value: &Value,
        challenge: &str,
        domain: &str,
        policy: &Policy<'_>,
        now_us: i64,
    ) -> Result<Verdict, Error> {
        let read = match Presentation::parse(value.to_string().as_bytes()) {
            Ok(read) => read,
            Err(error) => return Ok(Verdict::refused(error, false)),
        };
        let known = self.known(read.dids()).await?;
        let lists = self.lists(read.statuses()).await?;
        let wanted = Wanted {
            challenge,
            domain,
            suites: &[],
            own: true,
        };
        Ok(match read.check(&wanted, policy, now_us, &known, &lists) {
            Ok(verified) => Verdict {
                verified: true,
                error: None,
                retry: false,
                holder: Some(read.holder().to_string()),
                credentials: read
                    .credentials()
                    .iter()
                    .zip(&verified)
                    .map(|(credential, verified)| shown(credential, verified))
                    .collect(),
            },
            Err(error) => Verdict::refused(&error, error.is_unreachable()),
        })
    }

    async fn known(&self, dids: Vec<stencil_identity::did::Did>) -> Result<Known, Error> {
        let mut known = Known::new();
        for did in dids {
            let found = self.keys_of(&did).await?;
            known.insert(&did, found);
        }
        Ok(known)
    }

    async fn lists(&self, entries: impl Iterator<Item = &Entry>) -> Result<Fetched, Error> {
        let urls: BTreeSet<&str> = entries.map(|entry| entry.list.as_str()).collect();
        let mut fetched = Fetched::new();
        for url in urls {
            let found = match self.list_at(url).await? {
                Some(list) => Ok(list),
                None => {
                    Err("this hub does not publish it, and fetches none from elsewhere".to_owned())
                }
            };
            fetched.insert(url, found);
        }
        Ok(fetched)
    }
}

fn shown(read: &Credential, verified: &Verified) -> Shown {
    Shown {
        issuer: verified.issuer.to_string(),
        proven_by: verified.by.iter().map(ToString::to_string).collect(),
        post_quantum: verified.by.iter().any(|by| by.is_post_quantum()),
        standing: match verified.standing {
            Standing::Unknown { .. } => "unknown",
            _ => "good",
        },
        credential: read.as_map().clone(),
    }
}
