//! Runs that something on a chain has caused: what is known of the cause, and what each step makes of
//! that. What it means is no matter of the store's; it keeps it as text, and sees to it that each
//! change follows the one before, in one transaction with all that it causes: runs that are made,
//! commands to devices, and how far the reader of the chain, or of the outbox of invoices, has come.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use stencil_protocol::id::{CommandId, TenantId};

use crate::payments::{CauseKey, InvoiceEffect, InvoiceKey};
use crate::{Error, NewCommand, RunId, Trigger};

/// How many turns are kept a run; older ones are forgotten.
pub const MAX_TURNS_KEPT: u32 = 500;
/// The most steps of a run that can be told apart in [`StoredCaused::opened`].
pub const MAX_CAUSED_STEPS: u32 = 63;

/// The most runs that may lead to another, by transactions that the hub sends.
pub const MAX_CAUSING_RUNS: u32 = 64;

/// A run that led to another: it sent a transaction, and what came of that was the other's cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CausingRun {
    /// Whose it is.
    pub tenant: TenantId,
    /// The run.
    pub run: RunId,
    /// Its workflow.
    pub workflow: String,
}

/// Because of what a transaction is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentBecause<'a> {
    /// A run sends it.
    Run(&'a RunId),
    /// These runs have led to it, the first one first.
    Runs(&'a [CausingRun]),
}

/// Which runs have led to one that a commit makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// Whose it is.
    pub tenant: TenantId,
    /// The run.
    pub run: RunId,
    /// What led to it, the first one first.
    pub causes: Vec<CausingRun>,
    /// Why it is not started: it is made as one that has failed. `None`: it is started.
    pub refused: Option<String>,
}

/// What an invoice's payment starts, which is decided once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoiceStart {
    /// Whose.
    pub tenant: TenantId,
    /// Of which invoice.
    pub invoice: InvoiceKey,
    /// Since when the hub knew it as paid; `None`: that was not kept.
    pub paid_us: Option<i64>,
    /// When it was decided.
    pub at_us: i64,
    /// No workflow took it, though there had been one for it.
    pub missed: bool,
}

/// A caused run as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCaused {
    /// Whose it is.
    pub tenant: TenantId,
    /// The run.
    pub run: RunId,
    /// Names the cause.
    pub cause: CauseKey,
    /// How often it was changed, from 1.
    pub version: u64,
    /// What is known, and what each step makes of it (JSON).
    pub body: String,
    /// A bit a step, the lowest for the first: it may be done.
    pub opened: u64,
    /// When it has to be told the time, µs since the epoch. The end of a command that is under way
    /// makes it due at once.
    pub wakes_us: Option<i64>,
    /// Commands that are under way. Not read back.
    pub under_way: Vec<CommandId>,
    /// Commands that have expired, of which a device may still say that it did them. Not read back.
    pub expired: Vec<CommandId>,
    /// At which blocks more is to be known. Not read back.
    pub waits: Vec<CausedWait>,
}

/// At which blocks of a chain more is to be known of a cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CausedWait {
    /// The chain's name.
    pub chain: String,
    /// When this is the newest block.
    pub newest: Option<u64>,
    /// When this block is final.
    pub finalized: Option<u64>,
}

/// What happened to a run's cause, or what a device was told because of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TurnKind {
    /// The cause is in a block.
    Included,
    /// The cause's block has left the chain.
    Retracted,
    /// The cause is final by the chain's policy.
    Final,
    /// The cause is as deep as the step asks.
    Deep,
    /// The device is told to act.
    Act,
    /// The cause is gone: the device is told to undo it.
    Undo,
    /// The cause is gone, and the device had not begun: there is nothing to undo.
    Spared,
    /// The device has not undone it.
    NotUndone,
    /// The cause is gone, and what was done cannot be undone.
    Lost,
    /// The cause of what was lost is there again.
    Found,
}

impl TurnKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Included,
        Self::Retracted,
        Self::Final,
        Self::Deep,
        Self::Act,
        Self::Undo,
        Self::Spared,
        Self::NotUndone,
        Self::Lost,
        Self::Found,
    ];

    /// Its name in rows and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Included => "included",
            Self::Retracted => "retracted",
            Self::Final => "final",
            Self::Deep => "deep",
            Self::Act => "act",
            Self::Undo => "undo",
            Self::Spared => "spared",
            Self::NotUndone => "not_undone",
            Self::Lost => "lost",
            Self::Found => "found",
        }
    }

    /// The kind of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A turn in the history of a caused run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Turn {
    /// The step that it is about; `null`: the cause itself.
    pub step: Option<u32>,
    /// What happened.
    pub kind: TurnKind,
    /// When the hub knew.
    pub at_us: i64,
    /// The command that the device was given.
    #[schema(value_type = Option<String>)]
    pub command: Option<CommandId>,
    /// More, in words: the blocks, the command's name, why not.
    pub detail: Option<String>,
}

/// A caused run after a change, and what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CausedChange {
    /// The run after the change; its version is that of before and one, 1 for a new one.
    pub caused: StoredCaused,
    /// What happened, in order.
    pub turns: Vec<Turn>,
}

/// What is read up to where, once a commit is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadUpTo {
    /// A reader of a chain's stream has taken it up to this entry.
    Entry {
        /// The chain.
        chain: String,
        /// The reader.
        reader: String,
        /// The entry's number.
        position: u64,
    },
    /// Something that was to be done because of an invoice is done.
    InvoiceEffect {
        /// Whose.
        tenant: TenantId,
        /// Its name.
        key: CauseKey,
    },
}

/// Changes of caused runs with all that they cause.
#[derive(Debug, Clone, Default)]
pub struct CausedCommit {
    /// Runs to make; one that is there stays as it is.
    pub runs: Vec<Trigger>,
    /// Caused runs that are new or changed.
    pub changes: Vec<CausedChange>,
    /// Commands to queue. To a device that was revoked they have failed at once.
    pub commands: Vec<NewCommand>,
    /// What led to those of `runs` that others led to.
    pub lineages: Vec<Lineage>,
    /// What a payment starts is decided with that.
    pub start: Option<InvoiceStart>,
    /// What is to be told because of that invoice; once, by its key.
    pub tells: Vec<InvoiceEffect>,
    /// What is read with that.
    pub read: Option<ReadUpTo>,
    /// When, µs since the epoch.
    pub at_us: i64,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CausedCommitted {
    /// Runs that were made, and may begin.
    pub started: u64,
    /// Runs that were made as ones that have failed ([`Lineage::refused`]).
    pub refused: u64,
    /// Runs that waited for a step that may be done now.
    pub woken: u64,
    /// Commands that were queued.
    pub queued: u64,
}

/// Runs that something on a chain has caused.
#[async_trait]
pub trait CausedRuns: Send + Sync + 'static {
    /// Keeps changes with all that they cause, or nothing of it. [`Error::Conflict`] when a version is
    /// not the one after that which is there: read it again, and apply to that. [`Error::NotFound`]:
    /// the tenant is gone.
    async fn commit_caused(&self, commit: &CausedCommit) -> Result<CausedCommitted, Error>;

    /// What a cause has made of all tenants, by tenant and run.
    async fn caused_by(&self, cause: &CauseKey) -> Result<Vec<StoredCaused>, Error>;

    /// One caused run.
    async fn caused(&self, tenant: &TenantId, run: &RunId) -> Result<Option<StoredCaused>, Error>;

    /// Those that want to be told that time, or a command's end, the one that waits longest first.
    async fn waking_caused(&self, now_us: i64, limit: u32) -> Result<Vec<StoredCaused>, Error>;

    /// When the next one does.
    async fn next_waking_caused(&self) -> Result<Option<i64>, Error>;

    /// Those of which more is known when these are a chain's newest and final blocks, after the one of
    /// this tenant and run.
    async fn caused_at(
        &self,
        chain: &str,
        newest: u64,
        finalized: Option<u64>,
        after: Option<(&TenantId, &RunId)>,
        limit: u32,
    ) -> Result<Vec<StoredCaused>, Error>;

    /// Notes what leads to what is about to be sent by a key, before it is ordered. What is noted stays.
    /// [`Error::NotFound`]: there is no such run.
    async fn will_send(
        &self,
        tenant: &TenantId,
        key: &str,
        because: SentBecause<'_>,
    ) -> Result<(), Error>;

    /// The runs that led to a transaction, the one that sent it last; empty: the hub has not sent it
    /// because of a run.
    async fn causes_of(&self, chain: &str, tx: &[u8; 32]) -> Result<Vec<CausingRun>, Error>;

    /// What was decided of an invoice's payment.
    async fn invoice_start(
        &self,
        tenant: &TenantId,
        invoice: &InvoiceKey,
    ) -> Result<Option<InvoiceStart>, Error>;

    /// What happened to a run's cause, in order.
    async fn turns(&self, tenant: &TenantId, run: &RunId) -> Result<Vec<Turn>, Error>;
}
