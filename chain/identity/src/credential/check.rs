//! Checking credentials against what a verifier wants.

use std::collections::BTreeSet;

use super::{Credential, Error, whom};
use crate::did::Did;
use crate::document::{Purpose, Resolve};
use crate::multikey::Algorithm;
use crate::proof::{Demand, Suite, check};
use crate::status::{Fetched, Standing};
use crate::text::shown;
use crate::{jose, moment};

/// Whom a verifier lets say such things.
#[derive(Debug, Clone)]
pub enum Issuers<'a> {
    /// Whoever can prove it. What is said is then worth as much as they are.
    Any,
    /// These DIDs.
    These(&'a BTreeSet<String>),
}

/// What follows where it is not known how a credential stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnUnknown {
    /// It is refused.
    #[default]
    Refuse,
    /// It is accepted, and the answer says so.
    Accept,
}

/// What a verifier wants.
#[derive(Debug, Clone)]
pub struct Policy<'a> {
    /// Whom it lets say such things.
    pub issuers: Issuers<'a>,
    /// The suites of which there has to be a proof.
    pub suites: &'a [Suite],
    /// Whether a token does instead of proofs. It is by ML-DSA-65 alone: who takes one relies on that
    /// one algorithm, whatever `suites` are.
    pub tokens: bool,
    /// Of which kind it has to be.
    pub kind: Option<&'a str>,
    /// Whom it has to be about.
    pub subject: Option<&'a str>,
    /// What follows where it is not known how it stands.
    pub on_unknown: OnUnknown,
    /// By how much clocks may differ, in µs.
    pub tolerance_us: i64,
}

impl Default for Policy<'_> {
    /// Proofs by Ed25519 and ML-DSA-44, of anybody; no tokens.
    fn default() -> Self {
        Self {
            issuers: Issuers::Any,
            suites: &[Suite::EddsaJcs2022, Suite::MlDsa44Jcs2024],
            tokens: false,
            kind: None,
            subject: None,
            on_unknown: OnUnknown::Refuse,
            tolerance_us: 60_000_000,
        }
    }
}

/// A credential that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Who says it.
    pub issuer: Did,
    /// By which algorithms it is proven.
    pub by: Vec<Algorithm>,
    /// How it stands: good, or not known where the policy accepts that.
    pub standing: Standing,
}

impl Credential {
    /// Checks it.
    ///
    /// # Errors
    /// The first of [`Error`] that is wrong with it, what is cheap first. What a policy asks for and
    /// is not so is told apart from what is wrong for everybody by its variant.
    pub fn check(
        &self,
        policy: &Policy<'_>,
        now_us: i64,
        resolve: &dyn Resolve,
        lists: &Fetched,
    ) -> Result<Verified, Error> {
        let issuer = Did::parse(self.issuer()).map_err(Error::Issuer)?;
        if let Issuers::These(accepted) = policy.issuers
            && !accepted.contains(issuer.as_str())
        {
            return Err(Error::NotAccepted(shown(issuer.as_str())));
        }
        if let Some(kind) = policy.kind
            && self.kinds().all(|found| found != kind)
        {
            return Err(Error::Kind(kind.to_owned()));
        }
        if let Some(subject) = policy.subject {
            let found = self.subjects();
            if found.as_slice() != [Some(subject)] {
                return Err(Error::Subject {
                    found: whom(&found),
                    expected: shown(subject),
                });
            }
        }
        if let Some(from_us) = self.valid_from_us()
            && from_us > now_us.saturating_add(policy.tolerance_us)
        {
            return Err(Error::NotYet(moment::format(from_us)));
        }
        if let Some(until_us) = self.valid_until_us()
            && until_us.saturating_add(policy.tolerance_us) <= now_us
        {
            return Err(Error::Expired(moment::format(until_us)));
        }
        let by = self.proven(&issuer, policy, now_us, resolve)?;
        let standing = lists.standing(issuer.as_str(), self.statuses());
        match &standing {
            Standing::Revoked => return Err(Error::Revoked),
            Standing::Suspended => return Err(Error::Suspended),
            Standing::Unknown { list, why } if policy.on_unknown == OnUnknown::Refuse => {
                return Err(Error::StatusUnknown {
                    list: shown(list),
                    why: why.clone(),
                });
            }
            Standing::Unknown { .. } | Standing::Good => {}
        }
        Ok(Verified {
            issuer,
            by,
            standing,
        })
    }

    fn proven(
        &self,
        issuer: &Did,
        policy: &Policy<'_>,
        now_us: i64,
        resolve: &dyn Resolve,
    ) -> Result<Vec<Algorithm>, Error> {
        if let Some(token) = &self.token {
            if !policy.tokens {
                return Err(Error::TokenNotTaken);
            }
            jose::parse(token)?.check(Some(issuer), resolve)?;
            return Ok(vec![Algorithm::MlDsa65]);
        }
        let demand = Demand {
            purpose: Purpose::Assertion,
            suites: policy.suites,
            by: Some(issuer),
            challenge: None,
            domain: None,
            now_us,
            tolerance_us: policy.tolerance_us,
        };
        let proven = check(self.as_map(), &demand, resolve)?;
        Ok(proven.into_iter().map(|proof| proof.algorithm).collect())
    }
}
