//! Invoices, whose each movement of money is, the journal, and what is to be done.
//!
//! What an invoice's state means is no matter of the store's; it keeps it as text, and sees to it
//! that each change follows the one before, in one transaction with all that it causes.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use stencil_protocol::id::TenantId;

use crate::{Error, Page};

/// An invoice's id.
pub type InvoiceKey = [u8; 16];
/// The name of an effect or an entry, which follows from its cause.
pub type CauseKey = [u8; 32];

/// The longest key of a movement of money, in bytes.
pub const MAX_CREDIT_KEY: usize = 128;

/// An invoice as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredInvoice {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its id.
    pub invoice: InvoiceKey,
    /// How often it was changed, from 1.
    pub version: u64,
    /// Where it stands, in a word.
    pub state: String,
    /// Its state (JSON).
    pub body: String,
    /// When time alone may change it, µs since the epoch.
    pub wakes_us: Option<i64>,
    /// Until when payments of it are looked for, µs since the epoch.
    pub watched_until_us: i64,
    /// When it was made.
    pub created_us: i64,
    /// When it last changed.
    pub changed_us: i64,
}

/// One line of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalLine {
    /// Which account.
    pub account: String,
    /// On its debit side, else on its credit side.
    pub is_debit: bool,
    /// How much: decimal digits.
    pub amount: String,
}

/// A balanced entry of the journal. That it balances is checked again here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// Its name.
    pub key: CauseKey,
    /// In what.
    pub asset: String,
    /// When, µs since the epoch.
    pub at_us: i64,
    /// Why, for people.
    pub memo: String,
    /// Its lines.
    pub lines: Vec<JournalLine>,
}

/// What was booked on an account, side by side, as decimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalBalance {
    /// In what.
    pub asset: String,
    /// Which account.
    pub account: String,
    /// The sum of its debits.
    pub debits: String,
    /// The sum of its credits.
    pub credits: String,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoiceEffect {
    /// Its name.
    pub key: CauseKey,
    /// What (JSON).
    pub body: String,
}

/// Something that is due to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueEffect {
    /// Whose.
    pub tenant: TenantId,
    /// Because of which invoice.
    pub invoice: InvoiceKey,
    /// Its place in the order of the tenant's effects.
    pub number: u64,
    /// What.
    pub effect: InvoiceEffect,
    /// How often it was tried.
    pub attempts: u32,
    /// It was done before, and is only told again.
    pub again: bool,
}

/// A change of an invoice with all that it causes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoiceCommit {
    /// The invoice after the change; its version is that of before and one, 1 for a new one. Of an
    /// invoice that is there, `created_us` stays as it was.
    pub invoice: StoredInvoice,
    /// Whether it was settled before and is so no more: a purchase that it is, of something that a device has done,
    /// is to be looked at from then on ([`Offers::waking_purchases`](crate::Offers::waking_purchases)).
    pub is_undone: bool,
    /// Who has paid it so far, as the chains say.
    pub payers: Vec<[u8; 20]>,
    /// Movements of money that are this invoice's from now on.
    pub credits: Vec<String>,
    /// What goes into the journal.
    pub entries: Vec<JournalEntry>,
    /// What is to be done, in order.
    pub effects: Vec<InvoiceEffect>,
    /// By which movements its refunds were sent that the tenant has told of; what was told before and is not
    /// here serves none any more. Empty: none was ever told.
    pub refunds: Vec<RefundMovement>,
}

/// The movement of money by which a refund was sent. It serves one refund, of all invoices of all tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundMovement {
    /// Which refund.
    pub refund: CauseKey,
    /// Which movement; `None`: what was told did not send it.
    pub movement: Option<String>,
}

/// Money that came and is of no invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnmatchedCredit {
    /// Which movement.
    pub credit: String,
    /// What it is (JSON).
    pub body: String,
    /// When it was noticed.
    pub at_us: i64,
}

/// Invoices and the journal.
#[async_trait]
pub trait Payments: Send + Sync + 'static {
    /// Keeps a change with all that it causes, or nothing of it. [`Error::Conflict`] when the
    /// invoice's version is not the one before (read it again and apply the event to that), when a
    /// movement is another invoice's or another refund's, or when an entry's or effect's name is another's.
    async fn commit_invoice(&self, commit: &InvoiceCommit) -> Result<(), Error>;

    /// One invoice.
    async fn invoice(
        &self,
        tenant: &TenantId,
        invoice: &InvoiceKey,
    ) -> Result<Option<StoredInvoice>, Error>;

    /// An invoice by its id alone, which nobody can guess.
    async fn invoice_by_id(&self, invoice: &InvoiceKey) -> Result<Option<StoredInvoice>, Error>;

    /// The tenant's invoices (in one state), the newest first.
    async fn invoices(
        &self,
        tenant: &TenantId,
        state: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<StoredInvoice>, Error>;

    /// Invoices of all tenants for which payments are looked for at that time, in the order of
    /// tenant and id, after this one.
    async fn watched_invoices(
        &self,
        now_us: i64,
        after: Option<(&TenantId, &InvoiceKey)>,
        limit: u32,
    ) -> Result<Vec<StoredInvoice>, Error>;

    /// Invoices of all tenants that want to be told that time, the one that waits longest first.
    async fn waking_invoices(&self, now_us: i64, limit: u32) -> Result<Vec<StoredInvoice>, Error>;

    /// Whose a movement of money is.
    async fn credit_owner(&self, credit: &str) -> Result<Option<(TenantId, InvoiceKey)>, Error>;

    /// What of a tenant's movements of money a transaction has made: of which invoice each is, in the order of their
    /// names, which begin with `of` (the chain and the transaction); `None`: of none. At most so many.
    async fn credits_of(
        &self,
        tenant: &TenantId,
        of: &str,
        limit: u32,
    ) -> Result<Vec<Option<InvoiceKey>>, Error>;

    /// Which refund of which invoice a movement has sent, as far as tenants have told so.
    async fn refund_by_movement(
        &self,
        movement: &str,
    ) -> Result<Option<(TenantId, InvoiceKey, CauseKey)>, Error>;

    /// Keeps money that is of no invoice; `false` if this movement is known already.
    async fn put_unmatched(
        &self,
        tenant: &TenantId,
        unmatched: &UnmatchedCredit,
    ) -> Result<bool, Error>;

    /// Forgets money that is of no invoice, since the chain no longer has it; `false` if there is no
    /// such.
    async fn forget_unmatched(&self, credit: &str) -> Result<bool, Error>;

    /// Keeps one for these, which are forgotten: what they came to, under a key of its own. All of it or nothing;
    /// [`Error::Conflict`] where one of them is not the tenant's money of no invoice any more.
    async fn fold_unmatched(
        &self,
        tenant: &TenantId,
        folded: &[String],
        into: &UnmatchedCredit,
    ) -> Result<(), Error>;

    /// The tenant's money that is of no invoice, the newest first. A cursor is `AT_US:CREDIT`: what is before that
    /// follows.
    async fn unmatched(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<UnmatchedCredit>, Error>;

    /// What is due to be done at that time, of all tenants, in order.
    async fn due_invoice_effects(&self, now_us: i64, limit: u32) -> Result<Vec<DueEffect>, Error>;

    /// What of an invoice is to be done and stands before this one, in order; at most 100.
    async fn invoice_effects_before(
        &self,
        tenant: &TenantId,
        invoice: &InvoiceKey,
        number: u64,
    ) -> Result<Vec<InvoiceEffect>, Error>;

    /// All that was done because of an invoice is to be done again, by the same keys. Gives how much
    /// that is.
    async fn redo_invoice_effects(
        &self,
        tenant: &TenantId,
        invoice: &InvoiceKey,
        now_us: i64,
    ) -> Result<u64, Error>;

    /// It was done; `false` if it was before.
    async fn invoice_effect_done(
        &self,
        tenant: &TenantId,
        key: &CauseKey,
        now_us: i64,
    ) -> Result<bool, Error>;

    /// It has to be tried again at that time.
    async fn retry_invoice_effect(
        &self,
        tenant: &TenantId,
        key: &CauseKey,
        due_us: i64,
    ) -> Result<(), Error>;

    /// Forgets what was done before that time because of the tenant's invoices that payments are no longer
    /// looked for since then, `limit` at most. It can't be done again afterwards. Gives how much went.
    async fn forget_invoice_effects(
        &self,
        tenant: &TenantId,
        before_us: i64,
        limit: u32,
    ) -> Result<u64, Error>;

    /// The tenant's journal from its beginning, in order.
    async fn journal(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<JournalEntry>, Error>;

    /// How the tenant takes payments (JSON), if it has said so.
    async fn payment_settings(&self, tenant: &TenantId) -> Result<Option<String>, Error>;

    /// All tenants' settings of payments.
    async fn all_payment_settings(&self) -> Result<Vec<(TenantId, String)>, Error>;

    /// Sets how the tenant takes payments, and at which addresses of which chains (EIP-155 chain ids):
    /// these and no others are the tenant's then. [`Error::Conflict`]: one is another tenant's.
    async fn set_payment_settings(
        &self,
        tenant: &TenantId,
        body: &str,
        payees: &[(u64, [u8; 20])],
        now_us: i64,
    ) -> Result<(), Error>;

    /// Whether an address takes payments of a tenant on a chain (EIP-155), by its settings or its offers. Whose it
    /// is, is not told.
    async fn is_payee(&self, chain: u64, address: &[u8; 20]) -> Result<bool, Error>;

    /// How many effects are due to be done at that time, and since when the oldest is.
    async fn invoice_effects_waiting(&self, now_us: i64) -> Result<(u64, Option<i64>), Error>;

    /// What the tenant's accounts hold, in the order of assets and accounts.
    async fn balances(&self, tenant: &TenantId) -> Result<Vec<JournalBalance>, Error>;
}
