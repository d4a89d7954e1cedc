//! Commands to devices and what became of them.

use async_trait::async_trait;
use serde::Serialize;
use stencil_protocol::command::State;
use stencil_protocol::id::{CommandId, DeviceId, GatewayId, TenantId};
use stencil_protocol::sample::OwnedValue;

use crate::{CommandStatus, Error, NewAudit, Page, PayerKey, TokenKey};

/// Commands of one holder by one token that may be unfinished at a time.
pub const MAX_HELD_COMMANDS: u32 = 8;

/// By which token an account has something done, and what that was found out by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByToken {
    /// The account.
    pub account: PayerKey,
    /// The token's contract.
    pub collection: PayerKey,
    /// The token.
    pub token: TokenKey,
    /// The device's passport: the token itself, or what that is a right to.
    pub passport: TokenKey,
    /// What the tenant lets holders do ([`StoredOwnership::body`](crate::StoredOwnership)).
    pub policy: String,
}

/// What became of a command of a holder's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queued {
    /// It is queued, and written down.
    New,
    /// It was there.
    Known,
    /// The holder has too many that are unfinished.
    TooMany,
    /// The token is another's by now, or what holders may do with the device is another thing: nothing is queued.
    Changed,
}

/// A command to queue.
#[derive(Debug, Clone, PartialEq)]
pub struct NewCommand {
    /// Its id; the device acts once an id.
    pub id: CommandId,
    /// The tenant.
    pub tenant: TenantId,
    /// The device.
    pub device: DeviceId,
    /// What to do, e.g. `lock`.
    pub name: String,
    /// With what.
    pub argument: Option<OwnedValue>,
    /// After this it is not to be done any more.
    pub expires_us: i64,
    /// The effect that it is.
    pub effect_key: Option<String>,
}

/// Why a holder's command that no gateway had yet has ended before its own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = CommandCutShort)]
pub enum CutShort {
    /// The token that it was given by went to another account.
    Sold,
    /// Nobody was known to hold that token any more.
    NoHolder,
    /// The tenant has changed what holders may do, or which passport the device has.
    NotAllowed,
}

impl CutShort {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sold, Self::NoHolder, Self::NotAllowed];

    /// The name as stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sold => "sold",
            Self::NoHolder => "no_holder",
            Self::NotAllowed => "not_allowed",
        }
    }

    /// The one of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }

    /// In words, for who has given the command. Who has the token now is not theirs to know.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Sold => {
                "the token that it was given by went to another account before a gateway had the command"
            }
            Self::NoHolder => {
                "nobody was known to hold the token that it was given by any more before a gateway had the \
                 command"
            }
            Self::NotAllowed => {
                "what holders of tokens may do with the device was changed before a gateway had the command: ask for \
                 it again if it is still allowed"
            }
        }
    }
}

/// A command as stored.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct StoredCommand {
    /// Its id.
    #[schema(value_type = String)]
    pub id: CommandId,
    /// The device.
    #[schema(value_type = String)]
    pub device: DeviceId,
    /// What to do.
    pub name: String,
    /// With what.
    #[schema(value_type = Option<crate::schema::Scalar>)]
    pub argument: Option<OwnedValue>,
    /// After this it is not to be done any more.
    pub expires_us: i64,
    /// Where it stands.
    #[schema(value_type = crate::schema::CommandState)]
    pub state: State,
    /// In words, as the device last said, or why it has expired or, with `reason`, is about to.
    pub detail: Option<String>,
    /// Why it ends before the time that was asked for, where a holder has given it and no gateway had it yet:
    /// `sold` (the token that it was given by went to another account), `no_holder` (nobody was known to hold that
    /// token any more) or `not_allowed` (the tenant has changed what holders may do, or the device's passport);
    /// null: it does not.
    pub reason: Option<CutShort>,
    /// The effect that it is.
    pub effect_key: Option<String>,
    /// When it was queued.
    pub queued_us: i64,
    /// When its state last changed (device's time for what the device reported).
    pub changed_us: i64,
    /// Since when who waits for it has been told that nobody knows what became of it: its time
    /// is over, a gateway has it, and its device has not said. The device is asked as soon as it
    /// is linked; what it says is the state then.
    pub overdue_us: Option<i64>,
}

/// A command that ran out of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RanOut {
    /// The tenant.
    pub tenant: TenantId,
    /// The command.
    pub command: CommandId,
    /// Its state now: expired, or that in which it is overdue.
    pub state: State,
    /// The gateway through which its device was last heard.
    pub gateway: Option<GatewayId>,
}

/// Whether a command is to be handed to a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    /// Nobody has got it before.
    First,
    /// A gateway may have it already.
    Again,
    /// It is not: it has ended, ran out of time or was cut short, or there is no such command. Nothing
    /// was noted.
    NotDue,
}

/// Up to where a list of commands was read: when the last one was queued, and its id.
pub type AfterCommand = (i64, CommandId);

/// A command that a gateway should have.
#[derive(Debug, Clone, PartialEq)]
pub struct Outstanding {
    /// The tenant.
    pub tenant: TenantId,
    /// The gateway through which its device was last heard; `None`: unknown.
    pub gateway: Option<GatewayId>,
    /// The command.
    pub command: StoredCommand,
}

/// Commands.
#[async_trait]
pub trait Commands: Send + Sync + 'static {
    /// Queues a command; `false` if its id exists already (nothing changes then).
    /// [`Error::Conflict`] if the id or effect key belongs to another command.
    async fn queue(&self, command: &NewCommand, now_us: i64) -> Result<bool, Error>;

    /// The same for who holds a token, in one transaction with the entry of the audit log that says so,
    /// of which `keep` are kept. Of one account and token no more than [`MAX_HELD_COMMANDS`] are unfinished
    /// at a time; [`Queued::TooMany`]: it would be one more. [`Queued::Changed`]: what `by` says is not so any more, so
    /// that what ends the holder's commands would not have ended this one.
    async fn queue_held(
        &self,
        command: &NewCommand,
        by: &ByToken,
        entry: &NewAudit,
        keep: u32,
        now_us: i64,
    ) -> Result<Queued, Error>;

    /// Commands for devices behind this gateway, the oldest first: those that are
    /// queued or sent and not expired at `now_us`; and those that were handed over
    /// before they expired, whose devices are linked and have not said what became
    /// of them: they are asked.
    async fn outstanding(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        now_us: i64,
        after: Option<AfterCommand>,
        limit: u32,
    ) -> Result<Vec<StoredCommand>, Error>;

    /// Commands of all tenants that are queued (not yet sent) and not expired, the
    /// oldest first: what the dispatcher has to send.
    async fn queued(
        &self,
        now_us: i64,
        after: Option<AfterCommand>,
        limit: u32,
    ) -> Result<Vec<Outstanding>, Error>;

    /// Notes that the command is about to be handed to this gateway: from then on
    /// nobody but gateways and the device can say what became of it. One that no
    /// gateway has yet is handed over only while it is due: it may have ended since
    /// it was listed.
    async fn mark_sent(
        &self,
        tenant: &TenantId,
        command: &CommandId,
        gateway: &GatewayId,
        now_us: i64,
    ) -> Result<Marked, Error>;

    /// Applies a status; `false` if the command is unknown or its state does not
    /// allow it. Wakes the step that waits for it.
    async fn status(&self, status: &CommandStatus) -> Result<bool, Error>;

    /// Commands of all tenants that ran out of time, at most `limit`: those that no
    /// gateway has got are expired; of those that one has got it is noted that they
    /// are overdue, once. Wakes the steps that wait for them, and returns them.
    ///
    /// A device's own word may still be on its way: call with `now_us` set back by
    /// the delay that is granted to it.
    async fn expire(&self, now_us: i64, limit: u32) -> Result<Vec<RanOut>, Error>;

    /// One command.
    async fn get(
        &self,
        tenant: &TenantId,
        command: &CommandId,
    ) -> Result<Option<StoredCommand>, Error>;

    /// A command that an account has queued by a token that it held.
    async fn held_command(
        &self,
        tenant: &TenantId,
        account: &PayerKey,
        command: &CommandId,
    ) -> Result<Option<StoredCommand>, Error>;

    /// The tenant's commands (of one device), the newest first.
    async fn list(
        &self,
        tenant: &TenantId,
        device: Option<&DeviceId>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<StoredCommand>, Error>;
}
