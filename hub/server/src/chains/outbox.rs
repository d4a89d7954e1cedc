//! What is to be done because of invoices: workflows, webhooks, refunds, rates for what came late.
//!
//! Each effect is done by its key until it is done: what a kill cuts off is done again, and whoever
//! takes it knows the key. Before an attempt that reaches others the next one is dated, so that what brings
//! the hub down does not do so at once again; workflows are told before that. Webhooks
//! of one invoice go out in its order; a receiver that hangs holds up nothing but itself. So does a chain:
//! what asks one is done in tasks of its own.

mod refunds;
mod seats;
mod told;
mod webhook;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use stencil_payments::invoice::{Event, Id, Price, What};
use stencil_protocol::id::TenantId;
use stencil_store::DueEffect;
use stencil_workflow::Effects;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::cashier::{Cashier, Refused};
use super::change::{Due, Todo};
use super::triggers::Triggers;
pub(super) use refunds::key as refund_key;
use seats::{Seat, Seats};

/// Effects that are looked at in one turn.
const AT_ONCE: u32 = 100;
/// Invoices whose webhooks are under way at one time.
const MOST_FLYING: usize = 64;
/// Until it is looked again where nothing wakes.
const REST: Duration = Duration::from_secs(2);
/// Between attempts: doubled from the least, which is longer than a webhook may take, to the most.
const LEAST_RETRY_US: i64 = 15 * 1_000_000;
const MOST_RETRY_US: i64 = 3_600 * 1_000_000;
/// How long a chain, or who says what a token costs, is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
/// Until what found no seat looks for one again.
const NO_SEAT: Duration = Duration::from_secs(5);
/// How often an effect that nobody takes is tried: over about four days.
const MOST_ATTEMPTS: u32 = 100;

/// Who does something at once when an invoice changes, before anybody is told. It is called again
/// where a kill came between, so it has to be done once by the effect's key.
#[async_trait]
pub(crate) trait Listener: Send + Sync + 'static {
    /// Something is to be done because of an invoice.
    async fn due(&self, tenant: &TenantId, invoice: Id, due: &Due) -> Result<(), Refused>;
}

/// Workflows: runs that a payment causes, and what a reorganisation undoes.
#[async_trait]
impl Listener for Triggers {
    async fn due(&self, tenant: &TenantId, invoice: Id, due: &Due) -> Result<(), Refused> {
        if due.what.is_told() {
            self.invoice_changed(tenant, &invoice.0, None).await?;
        }
        Ok(())
    }
}

/// Does what invoices ask for.
pub(crate) struct Outbox {
    cashier: Cashier,
    effects: Arc<dyn Effects>,
    listeners: Vec<Arc<dyn Listener>>,
    /// Invoices whose webhooks are under way.
    flying: Arc<Mutex<HashSet<Place>>>,
    /// What is asked of chains for invoices.
    seats: Arc<Seats>,
    deliveries: JoinSet<()>,
}

type Place = (TenantId, [u8; 16]);

/// What came of doing an effect.
enum Did {
    /// It is done.
    Done,
    /// It has to be tried again, after so long at least.
    Again(String, Option<Duration>),
    /// It is under way, and to be looked at again after so long; no failure.
    UnderWay(Duration),
    /// It can't be done, and won't be.
    Never(String),
}

impl Outbox {
    pub(crate) fn new(
        cashier: Cashier,
        effects: Arc<dyn Effects>,
        listeners: Vec<Arc<dyn Listener>>,
    ) -> Self {
        Self {
            cashier,
            effects,
            listeners,
            flying: Arc::default(),
            seats: Arc::default(),
            deliveries: JoinSet::new(),
        }
    }

    /// Does what is due until told to end.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            self.cashier.0.lines.say_counts();
            match self.turn().await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, "what invoices ask for can't be done now");
                }
            }
            tokio::select! {
                () = self.cashier.effects_woken() => {}
                () = tokio::time::sleep(REST) => {}
                () = crate::parts::told_to_end(&mut stop) => return,
            }
        }
    }

    /// Waits until what is under way has come to an end.
    #[cfg(test)]
    pub(crate) async fn landed(&mut self) {
        while self.deliveries.join_next().await.is_some() {}
    }

    /// Begins what is due; whether there may be more.
    pub(crate) async fn turn(&mut self) -> Result<bool, Refused> {
        while self.deliveries.try_join_next().is_some() {}
        let payments = Arc::clone(&self.cashier.0.store.payments);
        let now_us = self.cashier.0.clock.now_us();
        let due = payments.due_invoice_effects(now_us, AT_ONCE).await?;
        let more = due.len() == AT_ONCE as usize;
        let mut told: BTreeMap<Place, Vec<(DueEffect, Due)>> = BTreeMap::new();
        let mut asked = Vec::new();
        for one in due {
            let Ok(due) = serde_json::from_str::<Due>(&one.effect.body) else {
                tracing::error!(tenant = %one.tenant, "an effect of an invoice can't be read");
                payments
                    .invoice_effect_done(&one.tenant, &one.effect.key, now_us)
                    .await?;
                continue;
            };
            // Who acts on invoices is told of all that is due before anybody else is, and before it is
            // dated: what a kill cuts off there is told at the next start, and not when an attempt is due.
            // What was done and is only told again causes nothing anew.
            let acted = match one.again {
                true => Ok(()),
                false => self.act(&one, &due).await,
            };
            // The next attempt is dated before this one, which may be cut off.
            let next_us = now_us.saturating_add(backoff_us(one.attempts));
            payments
                .retry_invoice_effect(&one.tenant, &one.effect.key, next_us)
                .await?;
            if let Err(error) = acted {
                tracing::warn!(tenant = %one.tenant, %error, "what an invoice causes has to wait");
                continue;
            }
            if due.what.is_told() {
                let place = (one.tenant.clone(), one.invoice);
                told.entry(place).or_default().push((one, due));
            } else {
                asked.push((one, due));
            }
        }
        for (place, effects) in told {
            self.fly(place, effects);
        }
        for (one, due) in asked {
            let tenant = one.tenant.clone();
            if let Err(error) = self.ask(one, due).await {
                tracing::warn!(%tenant, %error, "what an invoice asks for has to wait");
            }
        }
        Ok(more)
    }

    async fn act(&self, one: &DueEffect, due: &Due) -> Result<(), Refused> {
        for listener in &self.listeners {
            listener.due(&one.tenant, Id(one.invoice), due).await?;
        }
        Ok(())
    }

    /// Tells the tenant's webhook of one invoice, in a task of its own.
    fn fly(&mut self, place: Place, effects: Vec<(DueEffect, Due)>) {
        {
            let mut flying = self.flying.lock().unwrap_or_else(PoisonError::into_inner);
            // What does not get a seat has its next attempt.
            if flying.len() >= MOST_FLYING || !flying.insert(place.clone()) {
                return;
            }
        }
        let landing = Landing(Arc::clone(&self.flying), place);
        let (cashier, connectors) = (self.cashier.clone(), Arc::clone(&self.effects));
        self.deliveries.spawn(async move {
            let _landing = landing;
            for (one, due) in effects {
                match deliver(&cashier, connectors.as_ref(), &one, &due).await {
                    Ok(true) => {}
                    // What comes after it waits for it.
                    Ok(false) => return,
                    Err(error) => {
                        tracing::warn!(tenant = %one.tenant, %error, "a webhook has to wait");
                        return;
                    }
                }
            }
        });
    }

    /// Does what a chain is asked for, in a task of its own: one at a time for an invoice, and so many for
    /// a chain.
    async fn ask(&mut self, one: DueEffect, due: Due) -> Result<(), Refused> {
        let place = (one.tenant.clone(), one.invoice);
        let is_refund = matches!(
            due.what,
            Todo::SendRefund { .. } | Todo::FollowRefund { .. }
        );
        let chain = match &due.what {
            Todo::SendRefund { id, .. } | Todo::FollowRefund { id, .. } => {
                let at = self.cashier.invoice(&one.tenant, Id(one.invoice)).await?;
                at.and_then(|at| refunds::chain(&at, *id))
            }
            Todo::Invoice(_) | Todo::NotStarted {} => None,
        };
        let Some(seat) = self.seats.take(place, chain) else {
            // A refund is looked at for hours, so its next attempt may be dated late.
            if is_refund {
                self.cashier.note(&one, Did::UnderWay(NO_SEAT)).await?;
            }
            return Ok(());
        };
        let cashier = self.cashier.clone();
        self.deliveries.spawn(async move {
            if let Err(error) = perform(&cashier, &one, &due, seat).await {
                tracing::warn!(tenant = %one.tenant, %error, "what an invoice asks for has to wait");
            }
        });
        Ok(())
    }
}

async fn perform(
    cashier: &Cashier,
    one: &DueEffect,
    due: &Due,
    _seat: Seat,
) -> Result<(), Refused> {
    let done = async {
        match &due.what {
            Todo::Invoice(What::RateNeeded { method }) => rate(cashier, one, *method).await,
            Todo::SendRefund { id, number } => {
                let invoice = Id(one.invoice);
                refunds::send(cashier, &one.tenant, invoice, (*id, *number)).await
            }
            Todo::FollowRefund { id, number } => {
                let invoice = Id(one.invoice);
                told::follow(cashier, &one.tenant, invoice, (*id, *number)).await
            }
            Todo::Invoice(_) | Todo::NotStarted {} => Ok(Did::Done),
        }
    };
    // What is cut off here is done again, by the same key.
    let did = match tokio::time::timeout(PATIENCE, done).await {
        Ok(did) => did?,
        Err(_) => Did::UnderWay(NO_SEAT),
    };
    cashier.note(one, did).await.map(drop)
}

/// Takes an invoice from those that are under way, however its task ends.
struct Landing(Arc<Mutex<HashSet<Place>>>, Place);

impl Drop for Landing {
    fn drop(&mut self) {
        let mut flying = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flying.remove(&self.1);
    }
}

/// Tells a webhook in its turn; whether the next one may be told.
async fn deliver(
    cashier: &Cashier,
    connectors: &dyn Effects,
    one: &DueEffect,
    due: &Due,
) -> Result<bool, Refused> {
    let payments = &cashier.0.store.payments;
    let before = payments
        .invoice_effects_before(&one.tenant, &one.invoice, one.number)
        .await?;
    let waits = before.iter().any(|effect| {
        serde_json::from_str::<Due>(&effect.body).is_ok_and(|due| due.what.is_told())
    });
    if waits {
        return Ok(false);
    }
    let did = webhook::post(cashier, connectors, one, due).await?;
    stencil_crashpoint::reach("cashier.told");
    cashier.note(one, did).await
}

impl Cashier {
    /// Keeps what came of an effect; whether it is over.
    async fn note(&self, one: &DueEffect, did: Did) -> Result<bool, Refused> {
        let (payments, metrics) = (&self.0.store.payments, self.metrics());
        let now_us = self.0.clock.now_us();
        let (tenant, invoice) = (&one.tenant, Id(one.invoice));
        let after_us = |after: Duration| {
            let after_us = i64::try_from(after.as_micros()).unwrap_or(i64::MAX);
            now_us.saturating_add(after_us)
        };
        let over = match did {
            Did::Done => {
                metrics.effects.fetch_add(1, Ordering::Relaxed);
                true
            }
            Did::UnderWay(later) => {
                payments
                    .retry_invoice_effect(tenant, &one.effect.key, after_us(later))
                    .await?;
                false
            }
            Did::Again(why, after) if one.attempts < MOST_ATTEMPTS => {
                metrics.effects_failed.fetch_add(1, Ordering::Relaxed);
                let attempt = one.attempts + 1;
                tracing::warn!(%tenant, %invoice, why, attempt, "it is tried again");
                if let Some(after) = after {
                    payments
                        .retry_invoice_effect(tenant, &one.effect.key, after_us(after))
                        .await?;
                }
                false
            }
            Did::Again(why, _) | Did::Never(why) => {
                metrics.effects_failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%tenant, %invoice, why, "it is given up");
                true
            }
        };
        if over {
            payments
                .invoice_effect_done(tenant, &one.effect.key, now_us)
                .await?;
        }
        Ok(over)
    }
}

/// A rate for what came late.
async fn rate(cashier: &Cashier, one: &DueEffect, method: u16) -> Result<Did, Refused> {
    let id = Id(one.invoice);
    let Some(at) = cashier.invoice(&one.tenant, id).await? else {
        return Ok(Did::Done);
    };
    let definition = at.kept.invoice.definition();
    let (Some(of), Price::Fiat(price)) = (
        definition.methods.get(usize::from(method)),
        definition.price,
    ) else {
        return Ok(Did::Never("a price in a token has no rate".to_owned()));
    };
    let now_us = cashier.0.clock.now_us();
    let currency = price.currency();
    let Some(rate) = cashier.rates().rate(&of.token, currency, now_us).await else {
        let why = format!("there is no rate of {} in {currency}", of.token.symbol());
        return Ok(Did::Again(why, None));
    };
    let due = match rate.due(&price) {
        Ok(due) => due,
        Err(error) => return Ok(Did::Never(error.to_string())),
    };
    let rate = Some(rate);
    let event = Event::Repriced { method, due, rate };
    match cashier.apply(&one.tenant, id, event).await {
        // Another rate was fixed before: that one holds.
        Ok(_) | Err(Refused::Invoice(_) | Refused::NoInvoice(_)) => Ok(Did::Done),
        Err(error) => Err(error),
    }
}

fn backoff_us(attempts: u32) -> i64 {
    LEAST_RETRY_US
        .saturating_mul(1_i64 << attempts.min(16))
        .min(MOST_RETRY_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_doubled_and_bounded() {
        assert_eq!(backoff_us(0), LEAST_RETRY_US);
        assert_eq!(backoff_us(3), 8 * LEAST_RETRY_US);
        assert_eq!(backoff_us(u32::MAX), MOST_RETRY_US);
    }
}
