//! Checking credentials and presentations for whoever asks.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use stencil_identity::credential::{Credential, Issuers, OnUnknown, Policy, Verified};
use stencil_identity::did::Did;
use stencil_identity::document::{Known, Purpose, Resolve as _};
use stencil_identity::multikey::Algorithm;
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
    /// The suites of which each credential has to have a proof; without it `eddsa-jcs-2022` and
    /// `mldsa44-jcs-2024`.
    suites: Option<Vec<String>>,
    /// The suites by which a presentation's holder has to have signed; without it `mldsa44-jcs-2024` where the
    /// holder has such a key.
    holder_suites: Option<Vec<String>>,
    /// Whether a token (`vc+jwt`) is accepted in the place of a credential with proofs. It is by ML-DSA-65
    /// alone, whatever `suites` are.
    #[serde(default)]
    tokens: bool,
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
    /// Of a presentation: the algorithms by which its holder has signed it.
    pub(crate) holder_proven_by: Vec<String>,
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
            holder_proven_by: Vec::new(),
            credentials: Vec::new(),
        }
    }
}

/// What was read, and nothing of it is proven.
enum Read {
    Credential(Credential),
    Presentation(Presentation),
}

impl Read {
    fn dids(&self) -> Vec<Did> {
        match self {
            Self::Credential(read) => read.dids(),
            Self::Presentation(read) => read.dids(),
        }
    }

    fn lists(&self) -> BTreeSet<String> {
        let entries: Vec<&Entry> = match self {
            Self::Credential(read) => read.statuses().iter().collect(),
            Self::Presentation(read) => read.statuses().collect(),
        };
        entries
            .into_iter()
            .map(|entry| entry.list.clone())
            .collect()
    }
}

/// A question that makes sense.
struct Question {
    asked: Asked,
    suites: Vec<Suite>,
    holder_suites: Option<Vec<Suite>>,
}

impl Asked {
    fn question(self) -> Result<Question, Error> {
        let suites = match &self.suites {
            None => Policy::default().suites.to_vec(),
            Some(names) => suites_of("suites", names)?,
        };
        let holder_suites = self.holder_suites.as_deref();
        let holder_suites = holder_suites.map(|names| suites_of("holder_suites", names));
        let holder_suites = holder_suites.transpose()?;
        if self
            .issuers
            .as_ref()
            .is_some_and(|all| all.len() > MAX_ISSUERS)
        {
            let what = format!("`issuers` names more than {MAX_ISSUERS}");
            return Err(Error::Invalid(what));
        }
        match (&self.credential, &self.presentation) {
            (Some(_), None) => {}
            (None, Some(_)) if self.challenge.is_some() && self.domain.is_some() => {}
            (None, Some(_)) => {
                return Err(Error::Invalid(
                    "a presentation is checked against the `challenge` and the `domain` that its \
                     holder was given"
                        .to_owned(),
                ));
            }
            _ => {
                return Err(Error::Invalid(
                    "either `credential` or `presentation` is what to check".to_owned(),
                ));
            }
        }
        Ok(Question {
            asked: self,
            suites,
            holder_suites,
        })
    }
}

fn suites_of(field: &str, names: &[String]) -> Result<Vec<Suite>, Error> {
    let known = || {
        let names: Vec<&str> = SUITES.iter().map(|suite| suite.name()).collect();
        names.join(", ")
    };
    names
        .iter()
        .take(SUITES.len() + 1)
        .map(|name| {
            Suite::parse(name).ok_or_else(|| {
                Error::Invalid(format!("`{field}` has {name:?}; {} are known", known()))
            })
        })
        .collect()
}

impl Question {
    fn read(&self) -> Result<Read, String> {
        if let Some(shown) = &self.asked.presentation {
            let read = Presentation::parse(shown.to_string().as_bytes());
            return read
                .map(Read::Presentation)
                .map_err(|error| error.to_string());
        }
        let text = match &self.asked.credential {
            Some(Value::String(token)) => token.clone(),
            other => other.clone().unwrap_or_default().to_string(),
        };
        let read = Credential::parse(text.as_bytes());
        read.map(Read::Credential)
            .map_err(|error| error.to_string())
    }

    fn policy(&self) -> Policy<'_> {
        let asked = &self.asked;
        Policy {
            issuers: asked.issuers.as_ref().map_or(Issuers::Any, Issuers::These),
            suites: &self.suites,
            tokens: asked.tokens,
            kind: asked.kind.as_deref(),
            subject: asked.subject.as_deref(),
            on_unknown: if asked.accept_unknown_status {
                OnUnknown::Accept
            } else {
                OnUnknown::Refuse
            },
            tolerance_us: TOLERANCE_US,
        }
    }

    fn check(&self, read: &Read, now_us: i64, known: &Known, lists: &Fetched) -> Verdict {
        match read {
            Read::Credential(read) => match read.check(&self.policy(), now_us, known, lists) {
                Ok(verified) => Verdict {
                    verified: true,
                    error: None,
                    retry: false,
                    holder: None,
                    holder_proven_by: Vec::new(),
                    credentials: vec![shown(read, &verified)],
                },
                Err(error) => Verdict::refused(&error, error.is_unreachable()),
            },
            Read::Presentation(read) => self.presented(read, now_us, known, lists),
        }
    }

    fn presented(
        &self,
        read: &Presentation,
        now_us: i64,
        known: &Known,
        lists: &Fetched,
    ) -> Verdict {
        let own;
        let suites = match &self.holder_suites {
            Some(suites) => suites.as_slice(),
            None => {
                own = holders_own(read.holder(), known);
                own.as_slice()
            }
        };
        let wanted = Wanted {
            challenge: self.asked.challenge.as_deref().unwrap_or_default(),
            domain: self.asked.domain.as_deref().unwrap_or_default(),
            suites,
            own: true,
        };
        match read.check(&wanted, &self.policy(), now_us, known, lists) {
            Ok(presented) => Verdict {
                verified: true,
                error: None,
                retry: false,
                holder: Some(read.holder().to_string()),
                holder_proven_by: names(&presented.by),
                credentials: read
                    .credentials()
                    .iter()
                    .zip(&presented.credentials)
                    .map(|(credential, verified)| shown(credential, verified))
                    .collect(),
            },
            Err(error) => Verdict::refused(&error, error.is_unreachable()),
        }
    }
}

/// What a holder has to sign by where nobody says: by the post-quantum key, if there is one. Else who breaks
/// the other one alone would show what is theirs.
fn holders_own(holder: &Did, known: &Known) -> Vec<Suite> {
    let Ok(document) = known.resolve(holder) else {
        return Vec::new();
    };
    let has = document
        .algorithms(Purpose::Authentication)
        .any(|algorithm| algorithm == Algorithm::MlDsa44);
    has.then_some(Suite::MlDsa44Jcs2024).into_iter().collect()
}

impl Identity {
    /// Checks what is asked. What is wrong with the question is an error; what is wrong with the
    /// credential is a verdict.
    pub(crate) async fn verify(&self, asked: Asked, now_us: i64) -> Result<Verdict, Error> {
        let question = asked.question()?;
        let room = self.kept.room()?;
        // Not where others' requests are answered: a stranger says how much there is to do.
        let (room, question, read) = apart(move || {
            let read = question.read();
            (room, question, read)
        })
        .await?;
        let read = match read {
            Ok(read) => read,
            Err(error) => return Ok(Verdict::refused(error, false)),
        };
        let known = self.known(read.dids()).await?;
        let lists = self.lists(read.lists()).await?;
        apart(move || {
            let verdict = question.check(&read, now_us, &known, &lists);
            drop(room);
            verdict
        })
        .await
    }

    async fn known(&self, dids: Vec<Did>) -> Result<Known, Error> {
        let mut known = Known::new();
        for did in dids {
            let found = self.keys_of(&did).await?;
            known.insert(&did, found);
        }
        Ok(known)
    }

    async fn lists(&self, urls: BTreeSet<String>) -> Result<Fetched, Error> {
        let mut fetched = Fetched::new();
        for url in urls {
            let found = match self.list_at(&url).await? {
                Some(list) => Ok(list),
                None => {
                    Err("this hub does not publish it, and fetches none from elsewhere".to_owned())
                }
            };
            fetched.insert(&url, found);
        }
        Ok(fetched)
    }
}

/// On a thread of its own.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(Error::failed)
}

fn names(algorithms: &[Algorithm]) -> Vec<String> {
    algorithms.iter().map(ToString::to_string).collect()
}

fn shown(read: &Credential, verified: &Verified) -> Shown {
    Shown {
        issuer: verified.issuer.to_string(),
        proven_by: names(&verified.by),
        post_quantum: verified.by.iter().any(|by| by.is_post_quantum()),
        standing: match verified.standing {
            Standing::Unknown { .. } => "unknown",
            _ => "good",
        },
        credential: read.as_map().clone(),
    }
}

#[cfg(test)]
mod tests {
    use stencil_identity::document::Document;
    use stencil_identity::secret::SecretKey;

    use super::*;

    #[test]
    fn who_has_a_post_quantum_key_signs_by_it() {
        let did = Did::parse("did:web:d.example").unwrap();
        let key = |algorithm| SecretKey::from_seed(algorithm, &[7; 32]).unwrap();
        let (ed25519, ml_dsa) = (key(Algorithm::Ed25519), key(Algorithm::MlDsa44));
        let document = |keys: &[(&str, &SecretKey)]| {
            let keys: Vec<_> = keys
                .iter()
                .map(|(name, key)| (*name, key.public_key()))
                .collect();
            let mut known = Known::new();
            known.insert(&did, Ok(Document::with_keys(&did, &keys)));
            known
        };
        let one = document(&[("a", &ed25519)]);
        assert_eq!(holders_own(&did, &one), []);
        let both = document(&[("a", &ed25519), ("b", &ml_dsa)]);
        assert_eq!(holders_own(&did, &both), [Suite::MlDsa44Jcs2024]);
        assert_eq!(holders_own(&did, &Known::new()), []);
    }
}
