//! Changes of invoices: events come in, and what follows is kept in one transaction.

use std::collections::BTreeSet;

use stencil_payments::cause;
use stencil_payments::invoice::{Effect, Event, Id, State, What, refund};
use stencil_payments::ledger::{Entry, Side};
use stencil_protocol::id::TenantId;
use stencil_store::{
    InvoiceCommit, InvoiceEffect, JournalEntry, JournalLine, RefundMovement, StoredInvoice,
};

use super::about::{About, Kept};
use super::cashier::{At, Cashier, Refused, body, state, until_us, word};

/// How often a change is tried again that another one came before.
const MAX_RACES: u32 = 32;

/// What a change is made of: events, and what else is known about it.
pub(crate) struct Alter {
    pub(crate) events: Vec<Event>,
    pub(crate) about: Option<About>,
    /// What the hub is to do beside what the invoice says, by its key.
    pub(crate) todo: Vec<(cause::Key, Todo)>,
}

impl From<Vec<Event>> for Alter {
    fn from(events: Vec<Event>) -> Self {
        Self {
            events,
            about: None,
            todo: Vec::new(),
        }
    }
}

/// What is to be done because of an invoice.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Todo {
    /// A refund is sent, to where it has to go.
    SendRefund {
        /// Which.
        id: refund::Id,
        /// The how manieth address of it this is for, from 1; what is for an older one is over.
        #[serde(default, skip_serializing_if = "super::about::is_zero")]
        number: u32,
    },
    /// What became of a transaction by which the tenant says to have sent a refund.
    FollowRefund {
        /// Which refund.
        id: refund::Id,
        /// The how manieth transaction of it; an older one is over.
        number: u32,
    },
    /// The tenant is told that no workflow took its payment.
    NotStarted {},
    /// What the invoice says.
    #[serde(untagged)]
    Invoice(What),
}

impl Todo {
    /// Whether it is told to the tenant's webhook.
    pub(crate) fn is_told(&self) -> bool {
        !matches!(
            self,
            Self::SendRefund { .. }
                | Self::FollowRefund { .. }
                | Self::Invoice(What::RateNeeded { .. } | What::Post(_))
        )
    }
}

/// What an effect of an invoice says, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Due {
    /// What to do.
    pub(crate) what: Todo,
    /// The invoice's version that it came with.
    pub(crate) version: u64,
    /// When, µs since the epoch.
    pub(crate) at_us: i64,
}

impl Cashier {
    /// Applies an event to an invoice and keeps what follows.
    pub(crate) async fn apply(
        &self,
        tenant: &TenantId,
        id: Id,
        event: Event,
    ) -> Result<At, Refused> {
        self.alter(tenant, id, |_| Ok(vec![event.clone()].into()))
            .await
    }

    /// Changes an invoice as `how` says of the invoice as it stands; asked again where another change
    /// came before. What changes nothing is not kept.
    pub(crate) async fn alter(
        &self,
        tenant: &TenantId,
        id: Id,
        how: impl Fn(&Kept) -> Result<Alter, Refused>,
    ) -> Result<At, Refused> {
        let payments = &self.0.store.payments;
        let mut races = 0;
        loop {
            let stored = payments.invoice(tenant, &id.0).await?;
            let stored = stored.ok_or(Refused::NoInvoice(id))?;
            let at = At::read(&stored)?;
            let alter = how(&at.kept)?;
            let more = alter.todo.clone();
            let Some((kept, effects)) = self.next(&at.kept, alter)? else {
                self.till().changed(&at.kept.invoice, at.version);
                return Ok(at);
            };
            let now_us = self.0.clock.now_us();
            let commit = self.commit(&stored, &kept, &effects, more, now_us)?;
            stencil_crashpoint::reach("cashier.before_commit");
            match payments.commit_invoice(&commit).await {
                Ok(()) => {}
                Err(stencil_store::Error::Conflict(_)) if races < MAX_RACES => {
                    races += 1;
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            stencil_crashpoint::reach("cashier.after_commit");
            let version = commit.invoice.version;
            self.till().changed(&kept.invoice, version);
            if !commit.effects.is_empty() {
                self.wake_effects();
            }
            if commit.is_undone {
                self.0.undone.notify_one();
            }
            self.tell(tenant, id, version);
            return Ok(At {
                version,
                changed_us: now_us,
                kept,
            });
        }
    }

    /// The invoice after a change, with what is to be done; `None` where nothing changes.
    fn next(&self, before: &Kept, alter: Alter) -> Result<Option<(Kept, Vec<Effect>)>, Refused> {
        let mut invoice = before.invoice.clone();
        let mut effects = Vec::new();
        let id = invoice.definition().id;
        let clock = self.till().now_us(id);
        let mut told = false;
        for event in &alter.events {
            let mut after = invoice.clone();
            let caused = after.apply(event)?;
            if after == invoice {
                continue;
            }
            // What changes something is dated; what is known already must not be kept again.
            if let (false, Some(now_us)) = (told, clock) {
                told = true;
                let mut dated = invoice.clone();
                let mut all = dated.apply(&Event::Clock { now_us })?;
                all.extend(dated.apply(event)?);
                effects.extend(all);
                invoice = dated;
            } else {
                effects.extend(caused);
                invoice = after;
            }
        }
        let mut about = alter.about.unwrap_or_else(|| before.about.clone());
        about.paid_us = match invoice.state() {
            State::Confirming | State::Settled => match before.invoice.state() {
                State::Confirming | State::Settled => about.paid_us,
                _ => Some(self.0.clock.now_us()),
            },
            _ => None,
        };
        let kept = Kept { invoice, about };
        Ok((kept != *before).then_some((kept, effects)))
    }

    fn commit(
        &self,
        before: &StoredInvoice,
        kept: &Kept,
        effects: &[Effect],
        more: Vec<(cause::Key, Todo)>,
        now_us: i64,
    ) -> Result<InvoiceCommit, Refused> {
        let id = Id(before.invoice);
        let version = before.version + 1;
        let mut entries = Vec::new();
        let mut todo = Vec::new();
        let mut all = Vec::new();
        for effect in effects {
            if let What::Post(entry) = &effect.what {
                entries.push(journal(entry));
            } else {
                all.push((effect.key, Todo::Invoice(effect.what.clone())));
            }
        }
        all.extend(more);
        for (key, what) in all {
            let due = Due {
                what,
                version,
                at_us: now_us,
            };
            let body = serde_json::to_string(&due);
            let body = body.map_err(|error| Refused::Corrupt(id, error.to_string()))?;
            let key = key.0;
            todo.push(InvoiceEffect { key, body });
        }
        let invoice = StoredInvoice {
            version,
            state: state(&kept.invoice),
            body: body(kept).map_err(|error| Refused::Corrupt(id, error))?,
            wakes_us: kept.invoice.wakes_us(),
            watched_until_us: before.watched_until_us.max(until_us(&kept.invoice)),
            changed_us: now_us,
            ..before.clone()
        };
        let payers: BTreeSet<[u8; 20]> = kept
            .invoice
            .payments()
            .map(|(_, payment)| payment.from.0.0)
            .collect();
        let told = kept.about.told.iter().map(|(id, told)| RefundMovement {
            refund: id.0,
            movement: (!told.failed).then(|| told.movement.clone()),
        });
        Ok(InvoiceCommit {
            invoice,
            is_undone: before.state == word(State::Settled)
                && kept.invoice.state() != State::Settled,
            payers: payers.into_iter().collect(),
            credits: kept
                .invoice
                .payments()
                .map(|(key, _)| key.to_string())
                .collect(),
            entries,
            effects: todo,
            refunds: told.collect(),
        })
    }
}

fn journal(entry: &Entry) -> JournalEntry {
    let lines = entry.lines().iter().map(|line| JournalLine {
        account: line.account.to_string(),
        is_debit: line.side == Side::Debit,
        amount: line.amount.to_string(),
    });
    JournalEntry {
        key: entry.key().0,
        asset: entry.asset().to_string(),
        at_us: entry.at_us(),
        memo: entry.memo().to_owned(),
        lines: lines.collect(),
    }
}
