//! Rights of those who hold a device's passport or a token that lets them use it: what a chain says of these
//! is followed, and a right goes when its token does.

use stencil_ownership::policy::{As, Refusal};
use stencil_payments::Address;
use stencil_protocol::id::{DeviceId, TenantId};
use stencil_store::{CredentialStanding, RightsOf, StoredRight};

use super::{By, Rights, Wanted, read};
use crate::chains::Owners;
use crate::chains::ownership::Refused;
use crate::identity::Error;

/// What such rights come from.
pub(super) const SOURCE: &str = "token";
/// Rights that are looked at in one go.
const AT_ONCE: u32 = 50;

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
        for command in &wanted.commands {
            let by = owners.may_command(tenant, device, account, command).await?;
            if let As::User { expires } = by {
                let now_s = u64::try_from(now_us / 1_000_000).unwrap_or(0);
                let left_s = expires.saturating_add(1).saturating_sub(now_s).max(1);
                let least = wanted
                    .valid_for_s
                    .map_or(left_s, |other_s| other_s.min(left_s));
                wanted.valid_for_s = Some(least);
            }
        }
        if let Some(before) = self.before(tenant, account, &wanted, now_us).await? {
            return Ok(before);
        }
        let by = By {
            source: SOURCE,
            key: None,
            cause: None,
        };
        Ok(self.grant(tenant, &wanted, by, now_us).await?)
    }

    /// The right that was given for the same before, and holds for as long.
    async fn before(
        &self,
        tenant: &TenantId,
        account: Address,
        wanted: &Wanted,
        now_us: i64,
    ) -> Result<Option<StoredRight>, Error> {
        let of = RightsOf::Holder(&account.0.0);
        let page = self.access.rights(of, None, 1_000).await?;
        for right in page.items {
            let holds = right.tenant == *tenant
                && right.right.source == SOURCE
                && right.right.device == wanted.device
                && right.standing == CredentialStanding::Good
                && right.right.until_us.is_none_or(|until_us| until_us > now_us)
                // A token that was lent for longer since has a right of its own.
                && right.right.until_us.is_some() == wanted.valid_for_s.is_some();
            if holds && read(&right)?.commands == wanted.commands {
                let end_us = wanted.valid_for_s.map(|seconds| {
                    let span_us = i64::try_from(seconds).unwrap_or(i64::MAX);
                    now_us.saturating_add(span_us.saturating_mul(1_000_000))
                });
                // Seconds are whole.
                let apart_us = match (right.right.until_us, end_us) {
                    (Some(one_us), Some(other_us)) => one_us.abs_diff(other_us),
                    _ => 0,
                };
                if apart_us < 2_000_000 {
                    return Ok(Some(right));
                }
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
        if right.right.source == SOURCE && right.standing == CredentialStanding::Good {
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
    /// holds again when it is back. Says how many changed.
    pub(crate) async fn follow_tokens(
        &self,
        owners: &Owners,
        after: &mut Option<(TenantId, String)>,
        now_us: i64,
    ) -> Result<usize, Error> {
        let from = after
            .as_ref()
            .map(|(tenant, right)| (tenant, right.as_str()));
        let rights = self
            .access
            .rights_from(SOURCE, now_us, from, AT_ONCE)
            .await?;
        *after = rights
            .last()
            .map(|last| (last.tenant.clone(), last.right.right.clone()));
        let mut changed = 0;
        for right in rights {
            let Some(standing) = self.stands(owners, &right).await? else {
                continue;
            };
            let (tenant, id) = (&right.tenant, &right.right.right);
            match (right.standing, standing) {
                (CredentialStanding::Good, CredentialStanding::Suspended) => {
                    self.access.set_taken(tenant, id, true).await?;
                }
                (CredentialStanding::Suspended, CredentialStanding::Good) if right.taken => {}
                // As it is, or suspended by hand.
                _ => continue,
            }
            self.identity
                .set_standing(tenant, id, standing, now_us)
                .await?;
            if standing == CredentialStanding::Good {
                self.access.set_taken(tenant, id, false).await?;
            }
            changed += 1;
            let standing = standing.as_str();
            tracing::info!(%tenant, right = id, standing, "a right follows the token that it is of");
        }
        Ok(changed)
    }

    /// How a right stands by its tokens; `None`: that is not known now.
    async fn stands(
        &self,
        owners: &Owners,
        right: &StoredRight,
    ) -> Result<Option<CredentialStanding>, Error> {
        let account = Address::from(right.right.holder);
        for command in read(right)?.commands {
            let may = owners
                .may_command(&right.tenant, &right.right.device, account, &command)
                .await;
            match may {
                Ok(_) => {}
                Err(Refused::NoPassport) => return Ok(Some(CredentialStanding::Suspended)),
                Err(Refused::Policy(Refusal::Unknown { .. } | Refusal::Ahead { .. })) => {
                    return Ok(None);
                }
                Err(Refused::Policy(_)) => return Ok(Some(CredentialStanding::Suspended)),
                Err(_) => return Ok(None),
            }
        }
        Ok(Some(CredentialStanding::Good))
    }
}
