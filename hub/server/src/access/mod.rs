//! Rights to command devices, which gateways check by themselves, also while this hub is away.
//!
//! ```text
//! payment, event of a contract → workflow → access.grant ┐
//! passport, access right (tokens) → its holder asks ─────┤
//! API ───────────────────────────────────────────────────┴→ a right: a row, and a bit in the tenant's
//!                                                            status lists
//! its holder's wallet session → a credential for some hours, with both proofs
//! the issuer's keys, policy, status lists ─MQTT→ gateways that listen for them
//! receipts of admissions ←MQTT─ gateways: checked, kept, what conflicts starts workflows
//! ```
//!
//! How a right stands is how its credential does ([`crate::identity`]): who revokes that revokes the right. A
//! right whose cause on a chain is gone is suspended, and holds again when the cause is back; one that a token
//! stands for follows the token.

mod again;
mod conflict;
mod delivery;
mod held;
pub(crate) mod history;
mod keeper;
mod left;
mod step;
mod told;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stencil_access::Grant;
use stencil_access::grant::{MAX_COMMANDS, check_command};
use stencil_access::trust;
use stencil_identity::did::Account;
use stencil_payments::Address;
use stencil_protocol::id::{DeviceId, TenantId};
use stencil_store::{
    AccessRights, CausedRuns, CredentialStanding, Judging, NewRight, RightStanding, RunId, Store,
    StoredCredential, StoredRight,
};
use stencil_workflow::caused::Caused;

use crate::identity::{Error, Identity, ToIssue};

pub(crate) use delivery::{Delivery, Telling};
pub(crate) use held::NotGiven;
pub(crate) use keeper::{Intake, Keeper};
pub(crate) use left::brought;
#[cfg(test)]
pub(crate) use told::Standings;

/// How long a credential holds where a tenant has not said otherwise: four hours.
const DEFAULT_VALID_S: u32 = 4 * 3_600;
/// The shortest and the longest time for which one does.
const VALID_S: std::ops::RangeInclusive<u32> = 60..=7 * 86_400;
/// Rights that are looked at in one go.
const AT_ONCE: u32 = 1_000;
/// For so long after a right is over, or was taken away, it follows what it was given for, µs, as its receipts may come
/// late: a payment that is gone is given up after a week.
const LATE_US: i64 = 8 * 86_400 * 1_000_000;

/// What a tenant lets its gateways admit, and for how long a credential holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AccessPolicy)]
pub(crate) struct Policy {
    /// By how much a gateway's clock may differ from the hub's, in seconds.
    #[schema(maximum = 3600)]
    tolerance_s: u32,
    /// How old a gateway's status lists may be, in seconds: for so long it admits holders without the hub,
    /// those included whose right was taken away meanwhile.
    #[schema(minimum = 60, maximum = 2_592_000)]
    staleness_s: u32,
    /// For how long a credential holds that a holder fetches, in seconds.
    #[schema(minimum = 60, maximum = 604_800)]
    valid_s: u32,
    /// The commands that rights may give at all; null: whichever they say.
    #[schema(max_items = 64, required = true)]
    commands: Option<Vec<String>>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            tolerance_s: trust::DEFAULT_TOLERANCE_S,
            staleness_s: trust::DEFAULT_STALENESS_S,
            valid_s: DEFAULT_VALID_S,
            commands: None,
        }
    }
}

impl Policy {
    /// All that it says.
    pub(crate) const FIELDS: [&str; 4] = ["tolerance_s", "staleness_s", "valid_s", "commands"];

    /// Which field is out of its bounds, and what would be right.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        if !VALID_S.contains(&self.valid_s) {
            let (least, most) = (VALID_S.start(), VALID_S.end());
            return Err(("valid_s", format!("{least} to {most} are right")));
        }
        self.at_gateways().check()
    }

    fn at_gateways(&self) -> trust::Policy {
        trust::Policy {
            tolerance_s: self.tolerance_s,
            staleness_s: self.staleness_s,
            commands: self.commands.clone(),
        }
    }
}

/// What a right says, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Body {
    chain: u64,
    commands: Vec<String>,
}

/// A right that shall be given.
#[derive(Debug, Clone, PartialEq, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewAccessRight)]
pub(crate) struct Wanted {
    /// Whose it is: an account's address.
    #[schema(min_length = 42, max_length = 42)]
    pub(crate) holder: String,
    /// The device.
    #[schema(value_type = String)]
    pub(crate) device: DeviceId,
    /// What it may be told.
    #[schema(min_items = 1, max_items = 8)]
    pub(crate) commands: Vec<String>,
    /// For how long it holds, in seconds; without it for ever.
    #[schema(minimum = 1)]
    pub(crate) valid_for_s: Option<u64>,
}

/// By what a right is given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct By<'a> {
    /// What it comes from.
    pub(crate) source: &'a str,
    /// Names the cause, so that it gives one right.
    pub(crate) key: Option<&'a str>,
    /// The run and step that can lose their cause.
    pub(crate) cause: Option<(RunId, u32)>,
}

/// All rights. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Rights {
    access: Arc<dyn AccessRights>,
    judging: Arc<dyn Judging>,
    caused: Arc<dyn CausedRuns>,
    identity: Identity,
}

impl Rights {
    pub(crate) fn new(store: &Store, identity: Identity) -> Self {
        Self {
            access: Arc::clone(&store.access),
            judging: Arc::clone(&store.judging),
            caused: Arc::clone(&store.caused),
            identity,
        }
    }

    /// A tenant's policy.
    pub(crate) async fn policy(&self, tenant: &TenantId) -> Result<Policy, Error> {
        match self.access.access_policy(tenant).await? {
            None => Ok(Policy::default()),
            Some(body) => serde_json::from_str(&body).map_err(Error::failed),
        }
    }

    /// Sets it, once it was checked.
    pub(crate) async fn set_policy(
        &self,
        tenant: &TenantId,
        policy: &Policy,
        now_us: i64,
    ) -> Result<(), Error> {
        let body = serde_json::to_string(policy).map_err(Error::failed)?;
        Ok(self.access.put_access_policy(tenant, &body, now_us).await?)
    }

    /// Gives a right, or finds the one that was given by the same cause.
    pub(crate) async fn grant(
        &self,
        tenant: &TenantId,
        wanted: &Wanted,
        by: By<'_>,
        now_us: i64,
    ) -> Result<StoredRight, Error> {
        let until_us = wanted.valid_for_s.map(|seconds| {
            let span_us = i64::try_from(seconds).unwrap_or(i64::MAX);
            now_us.saturating_add(span_us.saturating_mul(1_000_000))
        });
        self.grant_until(tenant, wanted, until_us, by, now_us).await
    }

    /// The same, until a time.
    async fn grant_until(
        &self,
        tenant: &TenantId,
        wanted: &Wanted,
        until_us: Option<i64>,
        by: By<'_>,
        now_us: i64,
    ) -> Result<StoredRight, Error> {
        let grant = grant(wanted)?;
        let policy = self.policy(tenant).await?;
        let of = ToIssue {
            grant: &grant,
            cause: by.key,
            times: (now_us, end(&policy, until_us, now_us)),
            until_us,
        };
        let body = Body {
            chain: grant.holder.chain,
            commands: grant.commands.clone(),
        };
        let body = serde_json::to_string(&body).map_err(Error::failed)?;
        let right = |issued: &StoredCredential| NewRight {
            right: issued.credential.clone(),
            holder: grant.holder.address.0.0,
            device: grant.device.clone(),
            source: by.source.to_owned(),
            body: body.clone(),
            cause: by.cause,
            // That of the first time, if it was given before.
            until_us: issued.valid_until_us,
            made_us: issued.issued_us,
        };
        let access = self.access.as_ref();
        let issued = self.identity.issue_right(access, tenant, &of, right);
        let (right, is_new) = issued.await?;
        if is_new {
            let (device, source) = (&grant.device, by.source);
            tracing::info!(%tenant, %device, right, source, "a right was given");
        }
        let kept = self.access.right(tenant, &right).await?;
        kept.ok_or_else(|| Error::failed("a right that was given is not there"))
    }

    /// Takes a right away, for good.
    pub(crate) async fn revoke(
        &self,
        tenant: &TenantId,
        right: &str,
        now_us: i64,
    ) -> Result<StoredRight, Error> {
        let not_found = || Error::NotFound {
            what: "right",
            name: right.chars().take(80).collect(),
        };
        let found = self.access.right(tenant, right).await?;
        found.ok_or_else(not_found)?;
        let standing = CredentialStanding::Revoked;
        self.identity
            .set_standing(tenant, right, standing, now_us)
            .await?;
        let found = self.access.right(tenant, right).await?;
        found.ok_or_else(not_found)
    }

    /// A short-lived credential of a right by how it stands here; with its end. Whoever gives it to a holder takes
    /// [`Self::fresh_credential`].
    pub(crate) async fn credential(
        &self,
        right: &StoredRight,
        now_us: i64,
    ) -> Result<(serde_json::Map<String, serde_json::Value>, i64), Error> {
        let conflict = |why: &str| Error::Store(stencil_store::Error::Conflict(why.to_owned()));
        match right.standing {
            CredentialStanding::Good => {}
            CredentialStanding::Revoked => return Err(conflict("the right was taken away")),
            CredentialStanding::Suspended if right.taken => {
                let why = "what the right was given for is no longer on its chain: it holds again if \
                           that comes back";
                return Err(conflict(why));
            }
            CredentialStanding::Suspended => {
                return Err(conflict("the right does not hold for now"));
            }
        }
        if right
            .right
            .until_us
            .is_some_and(|until_us| until_us <= now_us)
        {
            return Err(conflict("the right is over"));
        }
        let policy = self.policy(&right.tenant).await?;
        let until_us = end(&policy, right.right.until_us, now_us);
        let credential = self
            .identity
            .renewed_right(right, &read(right)?, (now_us, until_us))
            .await?;
        Ok((credential, until_us))
    }

    /// Suspends rights whose cause is gone, and lets those hold again whose cause is back. Those, too, that are
    /// over or were taken away for not long, as they were never paid for: their receipts are judged by that. Says how
    /// many changed.
    pub(crate) async fn follow_causes(&self, now_us: i64) -> Result<usize, Error> {
        let ended_us = now_us.saturating_sub(LATE_US);
        let adrift = self.access.rights_adrift(ended_us, AT_ONCE).await?;
        let mut changed = 0;
        for right in adrift {
            let (tenant, id) = (&right.tenant, &right.right.right);
            let Some((run, step)) = right.right.cause else {
                continue;
            };
            let Some(stored) = self.caused.caused(tenant, &run).await? else {
                continue;
            };
            let caused = Caused::read(&stored)?;
            let is_good = right.standing == CredentialStanding::Good;
            let standing = if caused.is_given_up() {
                RightStanding::GivenUp
            } else if caused.is_open(step) {
                RightStanding::Held
            } else {
                RightStanding::TakenBack
            };
            let is_so = match standing {
                RightStanding::Held => !right.taken,
                RightStanding::TakenBack => right.taken && !is_good,
                _ => false,
            };
            if is_so {
                continue;
            }
            let stood = [(standing, now_us)];
            self.judging
                .set_by_cause(tenant, id, &stood, now_us)
                .await?;
            changed += 1;
            let standing = standing.as_str();
            tracing::info!(%tenant, right = id, standing, "a right follows what it was given for");
        }
        Ok(changed)
    }
}

/// What a right that is kept says.
pub(crate) fn read(right: &StoredRight) -> Result<Grant, Error> {
    let body: Body = serde_json::from_str(&right.right.body).map_err(Error::failed)?;
    Ok(Grant {
        holder: Account {
            chain: body.chain,
            address: Address::from(right.right.holder),
        },
        device: right.right.device.clone(),
        commands: body.commands,
    })
}

/// Until when a credential holds that is given now.
fn end(policy: &Policy, right_until_us: Option<i64>, now_us: i64) -> i64 {
    let until_us = now_us.saturating_add(i64::from(policy.valid_s) * 1_000_000);
    right_until_us
        .map_or(until_us, |end_us| end_us.min(until_us))
        .max(now_us)
}

fn grant(wanted: &Wanted) -> Result<Grant, Error> {
    let wrong = |field: &str, right: &str| Error::Invalid(format!("`{field}`: {right}"));
    let holder =
        crate::chains::settings::address(&wanted.holder).map_err(|why| wrong("holder", &why))?;
    let count = wanted.commands.len();
    if !(1..=MAX_COMMANDS).contains(&count) {
        let right = format!("1 to {MAX_COMMANDS} names of commands are right");
        return Err(wrong("commands", &right));
    }
    for name in &wanted.commands {
        check_command(name).map_err(|why| wrong("commands", &why.to_string()))?;
    }
    if wanted.valid_for_s == Some(0) {
        return Err(wrong("valid_for_s", "at least 1 is right"));
    }
    Ok(Grant {
        // An account of its own key is the same on each chain; CAIP-10 wants one named.
        holder: Account {
            chain: 1,
            address: holder,
        },
        device: wanted.device.clone(),
        commands: wanted.commands.clone(),
    })
}
