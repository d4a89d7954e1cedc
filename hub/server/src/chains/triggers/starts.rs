//! What the payment of an invoice starts: decided once, when the hub first acts on it, for the workflows that
//! are in force then.
//!
//! What is put in force later starts nothing by itself: dust that comes a month after the payment opens no
//! door. And a workflow that is replaced while the payment waits to be acted on loses nothing: the one that is
//! there by then takes it. Where none does though there was one, the tenant is told, and can have it started by
//! hand once one is in force.

use std::collections::HashSet;
use std::sync::Arc;

use stencil_payments::cause::Key;
use stencil_payments::invoice::Id;
use stencil_protocol::id::TenantId;
use stencil_store::{
    CauseKey, Error, InvoiceEffect, InvoiceKey, InvoiceStart, Progress, RunId, StoredCaused,
};
use stencil_workflow::caused::{Caused, Of, Outcome};
use stencil_workflow::definition;
use stencil_workflow::{Definition, caused_run_id};

use super::index::waits_for;
use super::invoices::{OfInvoice, Paid, event};
use super::{Because, Change, TRIES, Triggers, cause_of_invoice};
use crate::chains::change::{Due, Todo};
use crate::chains::{Kept, Refused};

/// Versions out of force that are looked through for one that had waited for a payment.
const LOOKED_THROUGH: u32 = 500;

/// What a payment has started.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Started {
    /// The invoice is paid, be it deep or not.
    pub(crate) paid: bool,
    /// No workflow took it, though there had been one for it.
    pub(crate) missed: bool,
    /// The runs, by workflow.
    pub(crate) runs: Vec<StartedRun>,
}

/// A run that a payment has started.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StartedRun {
    pub(crate) workflow: String,
    pub(crate) run: RunId,
    pub(crate) state: Progress,
    /// Why it has failed, or was not started.
    pub(crate) error: Option<String>,
}

impl Triggers {
    /// Decides what a payment starts, if that is not decided.
    pub(super) async fn decide(
        &self,
        of: OfInvoice<'_>,
        cause: &CauseKey,
        known: &[StoredCaused],
        change: &mut Change,
        take: impl FnOnce(&mut Caused, &mut Outcome) + Copy,
    ) -> Result<(), Error> {
        let Some(reference) = of.body.about.reference.as_deref() else {
            return Ok(());
        };
        let (tenant, invoice) = (of.tenant, &of.stored.invoice);
        let paid_us = of.body.about.paid_us;
        let start = self.0.store.caused.invoice_start(tenant, invoice).await?;
        // What was gone and is paid anew is decided anew, if nothing has taken it before.
        if start.is_some_and(|start| start.paid_us == paid_us || !known.is_empty()) {
            return Ok(());
        }
        let index = self.index().await?;
        let waiting: Vec<_> = index.paid(tenant, reference).collect();
        let known: HashSet<RunId> = known.iter().map(|it| it.run).collect();
        let is_new = |it: &Definition| !known.contains(&caused_run_id(tenant, &it.id, cause));
        let fresh = waiting.iter().copied().filter(|it| is_new(it)).collect();
        self.make_paid(of, cause, fresh, change, take).await?;
        let nobody = waiting.is_empty() && known.is_empty();
        let missed = nobody && self.was_waited_for(tenant, reference).await?;
        if missed {
            tracing::warn!(%tenant, invoice = %Id(*invoice), reference, "no workflow in force takes a payment");
            let tell = not_started(of, change.commit.at_us)?;
            change.commit.tells.push(tell);
        }
        change.commit.start = Some(InvoiceStart {
            tenant: tenant.clone(),
            invoice: *invoice,
            paid_us,
            at_us: change.commit.at_us,
            missed,
        });
        Ok(())
    }

    async fn make_paid(
        &self,
        of: OfInvoice<'_>,
        cause: &CauseKey,
        definitions: Vec<&Arc<Definition>>,
        change: &mut Change,
        take: impl FnOnce(&mut Caused, &mut Outcome) + Copy,
    ) -> Result<(), Error> {
        if definitions.is_empty() {
            return Ok(());
        }
        let led = self.led_by(&of.paid.txs).await?;
        let because = Because {
            cause,
            of: &Of::Invoice(hex::encode(of.stored.invoice)),
            led: &led,
            most: self.0.max_caused_runs,
        };
        for definition in definitions {
            let event = event(of.tenant, of.body, of.paid);
            let at_us = of.paid.time_us;
            change.make(of.tenant, definition, because, event, at_us, take);
        }
        Ok(())
    }

    /// Whether a workflow that is not in force has waited for payments with this reference.
    async fn was_waited_for(&self, tenant: &TenantId, reference: &str) -> Result<bool, Error> {
        let workflows = &self.0.store.workflows;
        let former = workflows.out_of_force(tenant, LOOKED_THROUGH).await?;
        Ok(former.iter().any(|workflow| {
            workflow.yaml.contains("payment")
                && definition::parse(&workflow.yaml).is_ok_and(|it| waits_for(&it, reference))
        }))
    }

    /// What an invoice's payment has started; `None`: there is no such invoice.
    pub(crate) async fn started(
        &self,
        tenant: &TenantId,
        invoice: Id,
    ) -> Result<Option<Started>, Refused> {
        let store = &self.0.store;
        let Some(body) = self.body(tenant, invoice).await? else {
            return Ok(None);
        };
        let states = self.states().await?;
        let cause = cause_of_invoice(tenant, &invoice.0);
        let known = store.caused.caused_by(&cause).await?;
        let mut ids: HashSet<RunId> = known.iter().map(|it| it.run).collect();
        // Of one that was not started nothing more is known than that.
        if let Some(reference) = body.about.reference.as_deref() {
            let index = self.index().await?;
            let waiting = index.paid(tenant, reference);
            ids.extend(waiting.map(|it| caused_run_id(tenant, &it.id, &cause)));
        }
        let mut runs = Vec::new();
        for id in ids {
            if let Some(run) = store.runs.get(tenant, &id).await? {
                runs.push(StartedRun {
                    workflow: run.workflow,
                    run: run.id,
                    state: run.state,
                    error: run.error,
                });
            }
        }
        runs.sort_by(|one, other| (&one.workflow, one.run).cmp(&(&other.workflow, other.run)));
        let start = store.caused.invoice_start(tenant, &invoice.0).await?;
        let paid = Paid::of(&body.invoice, &states).is_some();
        Ok(Some(Started {
            paid,
            missed: paid && runs.is_empty() && start.is_some_and(|start| start.missed),
            runs,
        }))
    }

    /// Has a payment start the workflows that are in force now, as far as it has not started them.
    ///
    /// # Errors
    /// [`Refused::Not`]: it is not paid, or there is nothing to start: why.
    pub(crate) async fn start_by_hand(
        &self,
        tenant: &TenantId,
        invoice: Id,
    ) -> Result<Started, Refused> {
        let mut last = Error::Conflict(String::new());
        for _ in 0..TRIES {
            match self.start_now(tenant, invoice).await {
                Ok(()) => {
                    let started = self.started(tenant, invoice).await?;
                    return started.ok_or(Refused::NoInvoice(invoice));
                }
                Err(Refused::Store(error @ Error::Conflict(_))) => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last.into())
    }

    async fn start_now(&self, tenant: &TenantId, invoice: Id) -> Result<(), Refused> {
        let store = &self.0.store;
        // The chains first: what the invoice then says is at least as new.
        let states = self.states().await?;
        let stored = store.payments.invoice(tenant, &invoice.0).await?;
        let stored = stored.ok_or(Refused::NoInvoice(invoice))?;
        let body =
            Kept::read(&stored).map_err(|error| Refused::Corrupt(invoice, error.to_string()))?;
        let Some(paid) = Paid::of(&body.invoice, &states) else {
            let why = "the invoice is not paid: workflows start when it is, and not before";
            return Err(Refused::Not(why.to_owned()));
        };
        let Some(reference) = body.about.reference.as_deref() else {
            let why = "the invoice has no reference, by which workflows know what they wait for";
            return Err(Refused::Not(why.to_owned()));
        };
        let index = self.index().await?;
        let cause = cause_of_invoice(tenant, &invoice.0);
        let mut waiting = Vec::new();
        let mut started = Vec::new();
        for definition in index.paid(tenant, reference) {
            let run = caused_run_id(tenant, &definition.id, &cause);
            match store.runs.get(tenant, &run).await? {
                Some(_) => started.push(format!("`{}` by run {run}", definition.id)),
                None => waiting.push(definition),
            }
        }
        if waiting.is_empty() {
            return Err(Refused::Not(match &started[..] {
                [] => format!(
                    "no workflow is in force that waits for payments of `{reference}`: put one in force \
                     (`on: {{ payment: {{ reference: … }} }}`), and start it again"
                ),
                _ => format!("it has been started already: {}", started.join(", ")),
            }));
        }
        let now_us = self.now_us();
        let take = |caused: &mut Caused, out: &mut Outcome| {
            caused.included(stored.version, paid.places.clone(), now_us, out);
            if let Some(depth) = paid.depth {
                caused.deepened(stored.version, depth, now_us, out);
            }
            caused.clock(now_us, out);
        };
        let of = OfInvoice {
            tenant,
            stored: &stored,
            body: &body,
            paid: &paid,
        };
        let mut change = Change::new(None, now_us);
        self.make_paid(of, &cause, waiting, &mut change, take)
            .await?;
        change.commit.start = Some(InvoiceStart {
            tenant: tenant.clone(),
            invoice: invoice.0,
            paid_us: body.about.paid_us,
            at_us: now_us,
            missed: false,
        });
        store.caused.commit_caused(&change.commit).await?;
        Ok(())
    }

    async fn body(&self, tenant: &TenantId, invoice: Id) -> Result<Option<Kept>, Refused> {
        let stored = self.0.store.payments.invoice(tenant, &invoice.0).await?;
        let body = stored.map(|stored| Kept::read(&stored)).transpose();
        body.map_err(|error| Refused::Corrupt(invoice, error.to_string()))
    }
}

/// Tells the tenant that no workflow took a payment: once for each time that it is paid.
fn not_started(of: OfInvoice<'_>, at_us: i64) -> Result<InvoiceEffect, Error> {
    let invoice: &InvoiceKey = &of.stored.invoice;
    let since = of.body.about.paid_us.unwrap_or_default().to_be_bytes();
    let parts: [&[u8]; 3] = [of.tenant.as_str().as_bytes(), invoice, &since];
    let due = Due {
        what: Todo::NotStarted {},
        version: of.stored.version,
        at_us,
    };
    let body = serde_json::to_string(&due).map_err(|error| Error::Corrupt {
        what: "effect",
        why: error.to_string(),
    })?;
    let key = Key::of("stencil/hub/payment-not-started", &parts).0;
    Ok(InvoiceEffect { key, body })
}
