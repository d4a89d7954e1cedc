//! Rights of those who hold a device's passport or a token that lets them use it: what a chain says of these
//! is followed, and a right goes when its token does.

use stencil_ownership::policy::{As, Refusal};
use stencil_payments::Address;
use stencil_protocol::id::{DeviceId, TenantId};
use stencil_store::{CredentialStanding, RightStanding, StoodAs, StoredRight, TOKEN_SOURCE};

use super::{By, LATE_US, Rights, Wanted, read};
use crate::chains::Owners;
use crate::chains::ownership::{Refused, Turns};
use crate::identity::Error;

/// Rights that are looked at in one go.
const AT_ONCE: u32 = 50;
/// Of those that are over.
const ENDED_AT_ONCE: u32 = 10;

/// Why a right is not given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotGiven {
    /// By the tokens that the account holds.
    #[error(transparent)]
    Tokens(#[from] Refused),
    /// As any other right.
    #[error(transparent)]
    Right(#[from] Error),
}

impl Rights {
    /// The right of an account that holds a device's passport or a right to use it, to tell the device
    /// these things: the one that it has been given already, or a new one.
    pub(crate) async fn of_tokens(
        &self,
        owners: &Owners,
        (tenant, device): (&TenantId, &DeviceId),
        account: Address,
        commands: Vec<String>,
        now_us: i64,
    ) -> Result<StoredRight, NotGiven> {
        let mut wanted = Wanted {
            holder: account.to_checksum(None),
            device: device.clone(),
            commands,
            valid_for_s: None,
        };
        // What makes no sense is told before a chain is asked about.
        super::grant(&wanted)?;
        // In whichever order, and however often: it is one right.
        wanted.commands = sorted(wanted.commands);
        let mut until_us: Option<i64> = None;
        for command in &wanted.commands {
            let by = owners.may_command(tenant, device, account, command).await?;
            if let As::User { expires } = by {
                // The user has it for all of that second (ERC-4907).
                let end_s = i64::try_from(expires.saturating_add(1)).unwrap_or(i64::MAX);
                let end_us = end_s.saturating_mul(1_000_000);
                until_us = Some(until_us.map_or(end_us, |other_us| other_us.min(end_us)));
            }
        }
        let before = self.before(tenant, account, &wanted, until_us, now_us);
        if let Some(before) = before.await? {
            return Ok(before);
        }
        let by = By {
            source: TOKEN_SOURCE,
            key: None,
            cause: None,
        };
        let granted = self.grant_until(tenant, &wanted, until_us, by, now_us);
        Ok(granted.await?)
    }

    /// The right that was given for the same before, and holds for as long.
    async fn before(
        &self,
        tenant: &TenantId,
        account: Address,
        wanted: &Wanted,
        until_us: Option<i64>,
        now_us: i64,
    ) -> Result<Option<StoredRight>, Error> {
        let given = self
            .access
            .rights_of_tokens(tenant, &wanted.device, &account.0.0, now_us);
        for right in given.await? {
            let holds = right.standing == CredentialStanding::Good
                // A token that was lent for longer since has a right of its own.
                && right.right.until_us == until_us;
            if holds && sorted(read(&right)?.commands) == wanted.commands {
                return Ok(Some(right));
            }
        }
        Ok(None)
    }

    /// A short-lived credential of a right, for its holder; with its end. One that a token stands for is given
    /// only while it is known who holds the token: what is given holds for hours at doors that ask nobody.
    pub(crate) async fn fresh_credential(
        &self,
        owners: &Owners,
        right: &StoredRight,
        now_us: i64,
    ) -> Result<(serde_json::Map<String, serde_json::Value>, i64), NotGiven> {
        if right.right.source == TOKEN_SOURCE && right.standing == CredentialStanding::Good {
            let account = Address::from(right.right.holder);
            for command in read(right)?.commands {
                let (tenant, device) = (&right.tenant, &right.right.device);
                owners
                    .may_command(tenant, device, account, &command)
                    .await?;
            }
        }
        Ok(self.credential(right, now_us).await?)
    }

    /// Looks at the next rights that tokens stand for: whose token is gone, their right is suspended, and
    /// holds again when it is back, each as of the block that says so. Says how many changed.
    pub(crate) async fn follow_tokens(
        &self,
        owners: &Owners,
        after: &mut Option<(TenantId, String)>,
        now_us: i64,
    ) -> Result<usize, Error> {
        self.follow(owners, after, now_us, None).await
    }

    /// The same of rights that are over, or were taken away, for not long: what becomes known late of the time when
    /// they were not counts for their receipts.
    pub(crate) async fn follow_ended(
        &self,
        owners: &Owners,
        after: &mut Option<(TenantId, String)>,
        now_us: i64,
    ) -> Result<usize, Error> {
        let ended_us = now_us.saturating_sub(LATE_US);
        self.follow(owners, after, now_us, Some(ended_us)).await
    }

    async fn follow(
        &self,
        owners: &Owners,
        after: &mut Option<(TenantId, String)>,
        now_us: i64,
        ended_us: Option<i64>,
    ) -> Result<usize, Error> {
        let from = after
            .as_ref()
            .map(|(tenant, right)| (tenant, right.as_str()));
        let limit = match ended_us {
            None => AT_ONCE,
            Some(_) => ENDED_AT_ONCE,
        };
        let rights = self
            .access
            .rights_from(TOKEN_SOURCE, now_us, ended_us, from, limit)
            .await?;
        *after = rights
            .last()
            .map(|last| (last.tenant.clone(), last.right.right.clone()));
        let mut changed = 0;
        for right in rights {
            let Some(stands) = self.stands(owners, &right, ended_us.is_some()).await? else {
                continue;
            };
            let stood = match stands {
                Stands::Holds { since_us } => {
                    self.held_again(owners, &right, since_us, now_us).await?
                }
                Stands::Gone(standing) => self.gone(owners, &right, standing, now_us).await?,
            };
            let (Some((_, first_us)), Some((standing, from_us))) = (stood.first(), stood.last())
            else {
                continue;
            };
            // That its token is lent or sold to another after it was over, or taken away, is no sale of it.
            let taken_away = right.standing == CredentialStanding::Revoked;
            let taken_us = taken_away.then_some(right.changed_us);
            let mut ends = right.right.until_us.into_iter().chain(taken_us);
            if ended_us.is_some() && ends.any(|end_us| end_us <= *first_us) {
                continue;
            }
            let (tenant, id) = (&right.tenant, &right.right.right);
            self.judging
                .set_by_cause(tenant, id, &stood, now_us)
                .await?;
            changed += 1;
            let standing = standing.as_str();
            tracing::info!(%tenant, right = id, standing, from_us, "a right follows the token that it is of");
        }
        Ok(changed)
    }

    /// What is to be noted of a right whose holder has the token by which it may command, since a time if
    /// that is known; nothing: it is as it was.
    async fn held_again(
        &self,
        owners: &Owners,
        right: &StoredRight,
        since_us: Option<i64>,
        now_us: i64,
    ) -> Result<Vec<(RightStanding, i64)>, Error> {
        let was_there = right.right.made_us;
        // It came to its holder before the right was given, and never left.
        if !right.taken && since_us.is_none_or(|since_us| since_us <= was_there) {
            return Ok(Vec::new());
        }
        let last = self.by_cause(right).await?;
        let after_us = last.map_or(was_there, |last| last.from_us.max(was_there));
        if !right.taken && since_us.is_none_or(|since_us| since_us <= after_us) {
            return Ok(Vec::new());
        }
        let Some(turns) = self.turns(owners, right).await? else {
            return Ok(Vec::new());
        };
        let changes = turns.after(after_us, !right.taken);
        let is_held = changes.last().is_some_and(|(_, has)| *has);
        match last.map(|last| last.standing) {
            // Sold and bought back since it was last looked at, too.
            None | Some(RightStanding::Held | RightStanding::Sold) if is_held => {
                Ok(noted(&changes))
            }
            _ if !right.taken => Ok(Vec::new()),
            // The sale has left its chain: it never was.
            Some(RightStanding::Sold) if turns.is_known && turns.had_any(after_us) => {
                Ok(vec![(RightStanding::Held, after_us)])
            }
            _ => Ok(vec![(RightStanding::Held, now_us)]),
        }
    }

    /// What is to be noted of a right whose holder may not command any more; nothing: it is as it was.
    async fn gone(
        &self,
        owners: &Owners,
        right: &StoredRight,
        mut standing: RightStanding,
        now_us: i64,
    ) -> Result<Vec<(RightStanding, i64)>, Error> {
        let last = self.by_cause(right).await?;
        let is_so = |standing| {
            let is_taken = right.taken && right.standing != CredentialStanding::Good;
            is_taken && last.is_some_and(|last| last.standing == standing)
        };
        if is_so(standing) {
            return Ok(Vec::new());
        }
        let mut stood = vec![(standing, now_us)];
        if standing == RightStanding::Sold {
            let Some(turns) = self.turns(owners, right).await? else {
                return Ok(Vec::new());
            };
            let made_us = right.right.made_us;
            let after_us = last.map_or(made_us, |last| last.from_us.max(made_us));
            let changes = turns.after(after_us, !right.taken);
            if !turns.is_known {
                standing = RightStanding::Unknown;
                stood = vec![(standing, now_us)];
            } else if changes.last().is_some_and(|(_, has)| !has) {
                stood = noted(&changes);
            } else {
                // From here on it was taken for its holder's.
                let floor_us = match last.map(|last| last.standing) {
                    Some(RightStanding::Held) => after_us,
                    _ => made_us,
                };
                let from_us = match turns.last_gone_us() {
                    Some(gone_us) if gone_us > floor_us => gone_us,
                    // It was given when the sale was not known yet.
                    Some(_) if !turns.had_any(floor_us) => floor_us,
                    _ => now_us,
                };
                stood = vec![(standing, from_us)];
            }
        }
        Ok(match is_so(standing) {
            true => Vec::new(),
            false => stood,
        })
    }

    /// How a right stands by its token, as was noted last.
    async fn by_cause(&self, right: &StoredRight) -> Result<Option<StoodAs>, Error> {
        let stood = self
            .judging
            .standings(&right.tenant, &right.right.right)
            .await?;
        Ok(stood.into_iter().rfind(|stood| stood.by_cause))
    }

    /// When its holder had something by which it could command; `None`: that is not known now.
    async fn turns(&self, owners: &Owners, right: &StoredRight) -> Result<Option<Turns>, Error> {
        let account = Address::from(right.right.holder);
        let turns = owners.turns_of(&right.tenant, &right.right.device, account);
        match turns.await {
            Ok(turns) => Ok(Some(turns)),
            Err(Refused::Store(error)) => Err(error.into()),
            Err(_) => Ok(None),
        }
    }

    /// How a right stands by its tokens; `None`: that is not known now.
    async fn stands(
        &self,
        owners: &Owners,
        right: &StoredRight,
        is_over: bool,
    ) -> Result<Option<Stands>, Error> {
        let account = Address::from(right.right.holder);
        let mut since_us = None;
        for command in read(right)?.commands {
            let since = owners
                .may_since(&right.tenant, &right.right.device, account, &command)
                .await;
            let gone = match since {
                Ok(since_s) => {
                    let micros = |time_s: u64| i64::try_from(time_s).ok()?.checked_mul(1_000_000);
                    since_us = since_us.max(since_s.and_then(micros));
                    continue;
                }
                Err(Refused::NoPassport) => RightStanding::NotAllowed,
                Err(Refused::Policy(why)) => match why {
                    Refusal::Unknown { .. } | Refusal::Ahead { .. } => return Ok(None),
                    // It has come to the holder, or its contract was asked anew: what was before stands until then.
                    Refusal::NotFinal => return Ok(None),
                    // As it should be.
                    Refusal::Over { .. } if is_over => return Ok(None),
                    Refusal::NotThis { .. } => RightStanding::NotAllowed,
                    _ => RightStanding::Sold,
                },
                Err(_) => return Ok(None),
            };
            return Ok(Some(Stands::Gone(gone)));
        }
        Ok(Some(Stands::Holds { since_us }))
    }
}

/// How a right stands by its tokens.
#[derive(Debug, Clone, Copy)]
enum Stands {
    /// It holds, since a time if that is known.
    Holds { since_us: Option<i64> },
    /// It does not, so.
    Gone(RightStanding),
}

/// Commands in order, each once.
fn sorted(mut commands: Vec<String>) -> Vec<String> {
    commands.sort_unstable();
    commands.dedup();
    commands
}

/// Times at which an account had a token no more or again, as standings of its right.
fn noted(changes: &[(i64, bool)]) -> Vec<(RightStanding, i64)> {
    let noted = changes.iter().map(|(at_us, has)| match has {
        true => (RightStanding::Held, *at_us),
        false => (RightStanding::Sold, *at_us),
    });
    noted.collect()
}
