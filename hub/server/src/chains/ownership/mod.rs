//! Who controls devices by what chains say: passports, rights to use, and a tenant's policy.
//!
//! ```text
//! stream of a chain → reader: which token changed hands → tokens and position, one transaction
//! final block → look: contracts that were asked once are asked again, beside the reader
//! an account's command → may_command: policy, the device's tokens, the clock
//! ```
//!
//! A token's owner loses control with the block that says so, and the next one has it when that block is
//! final (or at once, as the tenant has set). A reorganisation gives it back. That a right is over is
//! no event of a chain: it is compared with the hub's clock at each command.

pub(crate) mod documents;
mod look;
pub(crate) mod market;
mod reader;
mod rights;
pub(crate) mod settings;
#[cfg(test)]
mod tests;
mod turns;

use std::sync::Arc;

use stencil_ownership::abi::SolCall;
use stencil_ownership::holder::{Gain, Owner, Token};
use stencil_ownership::policy::{self, As, Known, Refusal};
use stencil_payments::Address;
use stencil_payments::port::{Called, Chain, Unknown};
use stencil_protocol::id::{DeviceId, TenantId};
use stencil_store::{ByToken, DevicePassport, Error, HeldToken, Store};

use crate::chains::Chains;
use crate::clock::Clock;
use crate::parts::{Parts, told_to_end};

pub(crate) use reader::READER;
pub(crate) use rights::{HeldRight, HeldRights};
pub(crate) use settings::{OwnershipSettings, followed_before, follows};
pub(crate) use turns::Turns;

/// Rights of one account to use one device that are looked at; more than one are rare.
const MAX_RIGHTS: u32 = 100;
/// Rights to use one device that are shown.
const MAX_SHOWN: u32 = 200;

/// What is known of who holds which device, and what they may do. Cheap to make.
#[derive(Clone)]
pub(crate) struct Owners {
    store: Store,
    chains: Chains,
    clock: Clock,
}

/// What is known of a device's passport and rights.
pub(crate) struct Control {
    pub(crate) settings: OwnershipSettings,
    /// The settings as they are kept.
    policy: String,
    pub(crate) passport: DevicePassport,
    pub(crate) token: Option<Token>,
    pub(crate) rights: Vec<(HeldToken, Token)>,
    /// Up to when what is kept of tokens is what the chain has said, in seconds since 1970; 0: nothing was
    /// read.
    pub(crate) read_s: u64,
}

/// Why it can't be said, or not be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// The tenant lets no tokens control its devices, or the device has no passport.
    #[error("no passport controls this device")]
    NoPassport,
    /// The policy.
    #[error(transparent)]
    Policy(#[from] Refusal),
    /// A chain does not answer.
    #[error("the chain does not answer now: {0}")]
    Unknown(#[from] Unknown),
    /// Too much is asked of the chain at the moment.
    #[error("{0}")]
    Busy(String),
    /// A contract says something that it can't.
    #[error("{0}")]
    Contract(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] Error),
}

impl Owners {
    pub(crate) fn new(store: Store, chains: Chains, clock: Clock) -> Self {
        Self {
            store,
            chains,
            clock,
        }
    }

    /// Follows what chains say of tokens.
    pub(crate) fn run(&self, parts: &mut Parts) {
        for chain in self.chains.iter() {
            let (owners, chain) = (self.clone(), Arc::clone(chain));
            let (asking, asked) = (self.clone(), Arc::clone(&chain));
            parts.effect("owners of a chain", |mut stop| async move {
                tokio::select! {
                    () = owners.follow(chain.as_ref()) => {}
                    () = told_to_end(&mut stop) => {}
                }
                Ok(())
            });
            parts.effect("contracts of passports", |mut stop| async move {
                tokio::select! {
                    () = asking.look_always(asked.as_ref()) => {}
                    () = told_to_end(&mut stop) => {}
                }
                Ok(())
            });
        }
    }

    /// How a tenant lets tokens control its devices; `None`: not at all.
    pub(crate) async fn settings(
        &self,
        tenant: &TenantId,
    ) -> Result<Option<OwnershipSettings>, Error> {
        let stored = self.store.ownership.ownership(tenant).await?;
        stored
            .map(|stored| OwnershipSettings::read(&stored))
            .transpose()
    }

    /// What is known of a device's tokens: its passport, and rights of `holder` or of all.
    pub(crate) async fn control(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        holder: Option<&Address>,
    ) -> Result<Control, Refused> {
        let port = &self.store.ownership;
        let stored = port.ownership(tenant).await?.ok_or(Refused::NoPassport)?;
        let settings = OwnershipSettings::read(&stored)?;
        let passport = port.device_passport(tenant, device).await?;
        let passport = passport.ok_or(Refused::NoPassport)?;
        // Before the tokens: what they say is at least as new.
        let read_s = self.taken_s(&settings.chain).await?;
        let token = match settings.passports() {
            Some(collection) => {
                let held = port
                    .held_token(tenant, &settings.chain, &collection.0, &passport.token)
                    .await?;
                held.map(|held| kept(&held)).transpose()?
            }
            None => None,
        };
        let mut rights = Vec::new();
        if let Some(collection) = settings.access_rights() {
            let limit = if holder.is_some() {
                MAX_RIGHTS
            } else {
                MAX_SHOWN
            };
            let holder = holder.map(|holder| holder.0.0);
            let held = port
                .rights_to(
                    tenant,
                    &settings.chain,
                    &collection.0,
                    &passport.token,
                    holder.as_ref(),
                    self.now_s(),
                    limit,
                )
                .await?;
            for held in held {
                let token = kept(&held)?;
                rights.push((held, token));
            }
        }
        Ok(Control {
            settings,
            policy: stored.body,
            passport,
            token,
            rights,
            read_s,
        })
    }

    /// Whether an account may give a device a command now.
    ///
    /// # Errors
    /// [`Refused::Policy`] says why not.
    pub(crate) async fn may_command(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        account: Address,
        command: &str,
    ) -> Result<As, Refused> {
        let may = self.by_token(tenant, device, account, command).await;
        may.map(|(by, _)| by)
    }

    /// The same, and since when it has the token by which it may, by the time of the block that says so, in
    /// seconds since 1970; `None`: that is not known.
    ///
    /// # Errors
    /// [`Refused::Policy`] says why not.
    pub(crate) async fn may_since(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        account: Address,
        command: &str,
    ) -> Result<Option<u64>, Refused> {
        let control = self.control(tenant, device, Some(&account)).await?;
        let by = self.by(&control, account, command)?;
        let policy = control.settings.policy();
        let token = match by {
            As::Owner => control.token.as_ref(),
            As::User { expires } => {
                let mut rights = control.rights.iter().map(|(_, token)| token);
                rights.find(|token| uses(token, policy.gain, account, expires))
            }
        };
        let turns = token.map(|token| token.turns(account));
        let last = turns.and_then(|turns| turns.last().copied());
        Ok(last.filter(|turn| turn.has).and_then(|turn| turn.time_s))
    }

    /// As what an account may give a device a command now.
    fn by(&self, control: &Control, account: Address, command: &str) -> Result<As, Refusal> {
        let rights: Vec<Token> = control.rights.iter().map(|(_, it)| it.clone()).collect();
        let known = Known {
            passport: control.token.as_ref(),
            rights: &rights,
            read_s: control.read_s,
        };
        let policy = control.settings.policy();
        policy::may_command(&policy, &known, account, command, self.now_s())
    }

    /// The same, and by which token.
    ///
    /// # Errors
    /// [`Refused::Policy`] says why not.
    pub(crate) async fn by_token(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        account: Address,
        command: &str,
    ) -> Result<(As, ByToken), Refused> {
        let control = self.control(tenant, device, Some(&account)).await?;
        let by = self.by(&control, account, command)?;
        let policy = control.settings.policy();
        let passport = control.settings.passports().map(Address::into_array);
        let (collection, token) = match by {
            As::Owner => (passport, control.passport.token),
            As::User { expires } => {
                let mut rights = control.rights.iter();
                let right = rights.find(|(_, token)| uses(token, policy.gain, account, expires));
                right.map_or((passport, control.passport.token), |(right, _)| {
                    (Some(right.collection), right.token)
                })
            }
        };
        let by_token = ByToken {
            account: account.into_array(),
            collection: collection.ok_or(Refused::NoPassport)?,
            token,
            passport: control.passport.token,
            policy: control.policy,
        };
        Ok((by, by_token))
    }

    /// Whether an account has anything to do with a device, by what is known: it owns the passport, is going
    /// to, or has a right to use it.
    pub(crate) async fn holds(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        account: Address,
    ) -> Result<bool, Refused> {
        let control = match self.control(tenant, device, Some(&account)).await {
            Ok(control) => control,
            Err(Refused::NoPassport) => return Ok(false),
            Err(error) => return Err(error),
        };
        let owner = control.token.map(|token| token.owner(Gain::Included));
        let mut rights = control.rights.iter();
        Ok(owner == Some(Owner::Is(account))
            || rights.any(|(_, token)| {
                let user = token.user(Gain::Included);
                user.is_some_and(|user| user.account == account)
            }))
    }

    /// Whether a tenant's tokens are on this chain, so that who holds them is who has signed as a contract there.
    /// `None`: by the account's own key, which is its on each chain.
    pub(crate) async fn are_on(
        &self,
        tenant: &TenantId,
        chain: Option<u64>,
    ) -> Result<bool, Refused> {
        let Some(id) = chain else { return Ok(true) };
        let Some(settings) = self.settings(tenant).await? else {
            return Ok(false);
        };
        let chain = self.chains.by_name(&settings.chain);
        Ok(chain.is_some_and(|chain| chain.id() == id))
    }

    fn now_us(&self) -> i64 {
        self.clock.now_us()
    }

    /// Seconds since 1970, by the hub's clock.
    pub(crate) fn now_s(&self) -> u64 {
        u64::try_from(self.now_us() / 1_000_000).unwrap_or(0)
    }

    pub(crate) fn chain(&self, name: &str) -> Result<&Arc<dyn Chain>, Refused> {
        let missing = || Refused::Busy(format!("the hub follows no chain {name:?} now"));
        self.chains.by_name(name).ok_or_else(missing)
    }
}

/// Whether an account uses a right up to and with this second.
fn uses(token: &Token, gain: Gain, account: Address, expires: u64) -> bool {
    let user = token.user(gain);
    user.is_some_and(|user| user.account == account && user.expires == expires)
}

/// What is kept of a token.
fn kept(held: &HeldToken) -> Result<Token, Error> {
    serde_json::from_str(&held.body).map_err(|error| Error::Corrupt {
        what: "token",
        why: format!("{}: {error}", hex::encode(held.token)),
    })
}

/// Asks a contract something; `None`: it was reverted, or gave something else.
async fn ask<C: SolCall>(
    chain: &dyn Chain,
    contract: Address,
    call: &C,
) -> Result<Option<C::Return>, Unknown> {
    match chain.call(contract, call.abi_encode().into()).await? {
        Called::Returned(bytes) => Ok(C::abi_decode_returns(&bytes).ok()),
        Called::Reverted(_) => Ok(None),
    }
}
