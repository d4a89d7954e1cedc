//! Checking proofs.

use serde_json::{Map, Value};

use super::{Error, Suite, Wrong, hash, is_by, proofs};
use crate::did::{Did, KeyUrl};
use crate::document::{Purpose, Resolve};
use crate::multikey::{Algorithm, multibase};
use crate::text::shown;
use crate::{json, moment};

/// What a verifier asks of a document's proofs.
#[derive(Debug, Clone)]
pub struct Demand<'a> {
    /// What they are for.
    pub purpose: Purpose,
    /// The suites of which there has to be a proof. Beside these, each proof that is there has to be
    /// right.
    pub suites: &'a [Suite],
    /// Whose keys they have to be by.
    pub by: Option<&'a Did>,
    /// What the verifier gave, which each has to repeat. A proof that has one where none was given is
    /// wrong: it was made for somebody else.
    pub challenge: Option<&'a str>,
    /// Whom they have to be for, with the same rule.
    pub domain: Option<&'a str>,
    /// Now, in µs since the Unix epoch.
    pub now_us: i64,
    /// By how much clocks may differ, in µs.
    pub tolerance_us: i64,
}

/// A key by which a document is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// How it was made.
    pub suite: Suite,
    /// Of which kind its key is.
    pub algorithm: Algorithm,
    /// Whose key it is by.
    pub by: Did,
    /// The key's name.
    pub method: String,
    /// When it says that it was made, in µs since the Unix epoch.
    pub created_us: Option<i64>,
}

/// Checks each proof of a document, and that those that are demanded are there. Several by one key are one:
/// whoever has that key can make any number of them.
///
/// # Errors
/// [`Error::Bad`] for the first proof that is wrong; [`Error::Missing`]; [`Error::Count`] and
/// [`Error::Shape`]; [`Error::Canonical`].
pub fn check(
    document: &Map<String, Value>,
    demand: &Demand<'_>,
    resolve: &dyn Resolve,
) -> Result<Vec<Proven>, Error> {
    let proofs = proofs(document)?;
    let unsecured = hash::unsecured(document);
    let mut proven: Vec<Proven> = Vec::with_capacity(proofs.len());
    for (index, proof) in proofs.iter().enumerate() {
        let one = one(&unsecured, proof, demand, resolve).map_err(|stop| match stop {
            Stop::Wrong(suite, wrong) => Error::Bad {
                index,
                count: proofs.len(),
                suite,
                wrong,
            },
            Stop::Whole(error) => error,
        })?;
        if proven.iter().all(|other| other.method != one.method) {
            proven.push(one);
        }
    }
    match demand
        .suites
        .iter()
        .find(|suite| proven.iter().all(|proof| proof.suite != **suite))
    {
        Some(missing) => Err(Error::Missing(*missing)),
        None => Ok(proven),
    }
}

enum Stop {
    Wrong(Option<Suite>, Box<Wrong>),
    Whole(Error),
}

fn one(
    unsecured: &Map<String, Value>,
    proof: &Map<String, Value>,
    demand: &Demand<'_>,
    resolve: &dyn Resolve,
) -> Result<Proven, Stop> {
    let wrong = |wrong: Wrong| Stop::Wrong(None, Box::new(wrong));
    if text(proof, "type").map_err(wrong)? != "DataIntegrityProof" {
        return Err(wrong(Wrong::Member {
            member: "type",
            wrong: "is not DataIntegrityProof".to_owned(),
        }));
    }
    let name = text(proof, "cryptosuite").map_err(wrong)?;
    let suite = Suite::parse(name).ok_or_else(|| wrong(Wrong::Suite(shown(name))))?;
    let wrong = |wrong: Wrong| Stop::Wrong(Some(suite), Box::new(wrong));
    let created_us = says(proof, demand).map_err(wrong)?;
    let method = text(proof, "verificationMethod").map_err(wrong)?;
    if let Some(by) = demand.by
        && !is_by(proof, by.as_str())
    {
        return Err(wrong(Wrong::NotBy {
            found: shown(method.split('#').next().unwrap_or(method)),
            expected: shown(by.as_str()),
        }));
    }
    let method = KeyUrl::parse(method).map_err(|error| wrong(error.into()))?;
    let document = resolve
        .resolve(&method.did)
        .map_err(|error| wrong(error.into()))?;
    let key = document
        .key(&method.text, demand.purpose)
        .map_err(|error| wrong(error.into()))?;
    if !suite.takes(key.algorithm()) {
        return Err(wrong(Wrong::Algorithm {
            algorithm: key.algorithm(),
            suite,
        }));
    }
    let value = text(proof, "proofValue").map_err(wrong)?;
    if !value.starts_with(suite.base()) {
        return Err(wrong(Wrong::Member {
            member: "proofValue",
            wrong: format!(
                "does not begin with {}, as those of {suite} do",
                suite.base()
            ),
        }));
    }
    let signature = multibase(value).map_err(|error| wrong(Wrong::Value(error)))?;
    let mut options = proof.clone();
    options.remove("proofValue");
    let covered;
    let unsecured = match proof.get("@context") {
        None => unsecured,
        Some(context) => {
            if !begins(unsecured.get("@context"), context) {
                return Err(wrong(Wrong::Context));
            }
            // Whoever passes a document on may have added contexts of their own.
            let mut as_signed = unsecured.clone();
            as_signed.insert("@context".to_owned(), context.clone());
            covered = as_signed;
            &covered
        }
    };
    let data = hash::data(unsecured, options, suite, key.algorithm()).map_err(Stop::Whole)?;
    key.verify(&data, &signature)
        .map_err(|error| wrong(error.into()))?;
    Ok(Proven {
        suite,
        algorithm: key.algorithm(),
        by: method.did,
        method: method.text,
        created_us,
    })
}

/// Checks what a proof says of itself; gives when it was made.
fn says(proof: &Map<String, Value>, demand: &Demand<'_>) -> Result<Option<i64>, Wrong> {
    if proof.contains_key("previousProof") {
        return Err(Wrong::Chain);
    }
    let purpose = text(proof, "proofPurpose")?;
    if purpose != demand.purpose.name() {
        return Err(Wrong::NotFor {
            member: "proofPurpose",
            found: format!("“{}”", shown(purpose)),
            expected: format!("“{}”", demand.purpose.name()),
        });
    }
    for (member, expected) in [("challenge", demand.challenge), ("domain", demand.domain)] {
        let found = proof.get(member);
        if found.and_then(Value::as_str) != expected || (expected.is_none() && found.is_some()) {
            let quoted = |text: &str| format!("“{}”", shown(text));
            return Err(Wrong::NotFor {
                member,
                found: match found {
                    None => "missing".to_owned(),
                    Some(Value::String(text)) => quoted(text),
                    Some(other) => json::kind(other).to_owned(),
                },
                expected: expected.map_or_else(|| "none".to_owned(), quoted),
            });
        }
    }
    let created_us = time(proof, "created")?;
    if let Some(expires_us) = time(proof, "expires")?
        && expires_us.saturating_add(demand.tolerance_us) <= demand.now_us
    {
        return Err(Wrong::Expired(moment::format(expires_us)));
    }
    Ok(created_us)
}

fn text<'a>(proof: &'a Map<String, Value>, member: &'static str) -> Result<&'a str, Wrong> {
    let wrong = |wrong: String| Wrong::Member { member, wrong };
    match proof.get(member) {
        None => Err(wrong("is missing".to_owned())),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(wrong(format!(
            "is {}, where a string is expected",
            json::kind(other)
        ))),
    }
}

fn time(proof: &Map<String, Value>, member: &'static str) -> Result<Option<i64>, Wrong> {
    if !proof.contains_key(member) {
        return Ok(None);
    }
    moment::parse(text(proof, member)?)
        .map(Some)
        .map_err(|wrong| Wrong::Time { member, wrong })
}

/// Whether a document's contexts begin with those of a proof, in their order.
fn begins(document: Option<&Value>, proof: &Value) -> bool {
    let list = |value: &Value| match value {
        Value::Array(items) => items.clone(),
        one => vec![one.clone()],
    };
    document.is_some_and(|document| list(document).starts_with(&list(proof)))
}
