//! One step of a charge after the other: what is known now, what follows, kept, done.

use stencil_payments::invoice::Id;
use stencil_payments::port::{Chain, Sent};
use stencil_payments::x402::charge::{Charge, Event, Stage, What, Word};
use stencil_protocol::command::State;
use stencil_store::{Error as StoreError, NewCommand, StoredCommand};
use tokio::time::{Instant, timeout_at};

use super::answer::capture_order;
use super::command::command_id;
use super::kept::{Kept, No, later};
use super::purchase::{Bought, Paid};
use super::sales::{LOOK, Sales};

/// Between two looks at a charge that is under way, µs.
const LOOK_US: i64 = 500_000;
/// Between two looks at what is paid and not final, µs. A reorganisation that takes it back makes it due itself.
const SELDOM_US: i64 = 60_000_000;
/// Between two looks for a late word of a device, µs.
const RARELY_US: i64 = 600_000_000;
/// How long a device's late word is waited for, µs.
const LATE_WORD_US: i64 = 7 * 86_400_000_000;
/// For how long a command that undoes something is valid, µs.
const UNDO_US: i64 = 86_400_000_000;

impl Sales {
    /// Goes on with a charge as far as it goes now.
    pub(crate) async fn advance(&self, kept: Kept) -> Result<Kept, No> {
        let mut kept = kept;
        // Each round is a step of the charge, of which there are few.
        for _ in 0..8 {
            match self.step(&kept).await {
                Ok(Some(next)) => kept = next,
                Ok(None) => return Ok(kept),
                // Somebody else has gone on with it: what they did is read, and gone on from.
                Err(No::Store(StoreError::Conflict(_))) => {
                    let (tenant, id) = (&kept.stored.tenant, &kept.stored.purchase);
                    let stored = self.inner.store.offers.purchase(tenant, id).await?;
                    let stored = stored.ok_or_else(|| later("the purchase is gone"))?;
                    kept = Kept::of(stored)?;
                }
                Err(no) => return Err(no),
            }
        }
        Ok(kept)
    }

    /// One step: what is known now, what follows, kept, done. `None`: nothing follows.
    async fn step(&self, kept: &Kept) -> Result<Option<Kept>, No> {
        let inner = &self.inner;
        let (stored, purchase) = (&kept.stored, &kept.purchase);
        let Some(mut charge) = purchase.charge.clone() else {
            return Ok(None);
        };
        let Some(chain) = inner.chains.by_name(&purchase.chain) else {
            return Err(later("the hub follows its chain no more"));
        };
        let before = charge.stage();
        let now_us = inner.clock.now_us();
        let mut next = kept.clone();
        let mut effects = charge.apply(&Event::Clock { now_us });
        if charge.stage() == before
            && let Some(event) = self.news(chain.as_ref(), &mut next, before).await?
        {
            effects.extend(charge.apply(&event));
        }
        // What a payer brings by themselves for what was not done goes back.
        if before == Stage::Free && !purchase.called_off {
            let called_off = inner
                .till
                .call_off(&stored.tenant, Id(stored.purchase))
                .await;
            called_off.map_err(|not| later(&not.to_string()))?;
            next.purchase.called_off = true;
        }
        let stage = charge.stage();
        let command = self.command(kept).await?;
        let wakes_us = self
            .wakes_us(chain.as_ref(), &next, &charge, command.as_ref())
            .await?;
        let told = effects.iter().any(|effect| effect.what != What::Ask);
        let changed = next.purchase.attempt != purchase.attempt
            || next.purchase.held_by != purchase.held_by
            || next.purchase.called_off != purchase.called_off;
        let due = charge.is_over() && stored.wakes_us.is_some_and(|wakes_us| wakes_us <= now_us);
        if stage == before && !told && !changed && !due {
            // What was to be queued and then cut off is so again: it is harmless.
            if stage == Stage::Acting && command.is_none() {
                self.act(kept).await?;
            }
            return Ok(None);
        }
        // Of the device's doing nothing is kept but its charge: what undoes it goes first.
        if effects.iter().any(|effect| effect.what == What::Undo) {
            self.undo(kept, now_us).await?;
        }
        let exposure = self.after(kept, &effects).await?;
        next.stored.under_way = !charge.is_over();
        next.purchase.charge = Some(charge);
        next.stored.version += 1;
        next.stored.changed_us = now_us;
        next.stored.wakes_us = wakes_us;
        next.stored.body = next.purchase.body();
        let offers = &inner.store.offers;
        offers
            .commit_purchase(&next.stored, exposure.as_ref())
            .await?;
        stencil_crashpoint::reach("x402.charge_kept");
        for effect in &effects {
            self.done(chain.as_ref(), &next, effect.what).await?;
        }
        stencil_crashpoint::reach("x402.charge_done");
        inner.changed.notify_waiters();
        tracing::debug!(tenant = %stored.tenant, offer = stored.offer, ?before, ?stage, "a charge");
        Ok(Some(next))
    }

    /// What has become known since.
    async fn news(
        &self,
        chain: &dyn Chain,
        next: &mut Kept,
        stage: Stage,
    ) -> Result<Option<Event>, No> {
        Ok(match stage {
            Stage::Waiting => self.firm(chain, next).await?.then_some(Event::HoldFirm),
            Stage::Acting | Stage::Free => self.word(next).await?.map(Event::Word),
            Stage::Capturing | Stage::Refunding => {
                let answer = self.answer(chain, next, stage).await?;
                answer.map(Event::Answer)
            }
            Stage::Captured => {
                let paid = self.paid(next).await?;
                let undone = !matches!(paid, Paid::Firm { .. });
                undone.then_some(Event::Undone)
            }
            Stage::Lost => None,
        })
    }

    /// Does what a charge says, which does nothing if it was done.
    async fn done(&self, chain: &dyn Chain, kept: &Kept, what: What) -> Result<(), No> {
        match what {
            What::Command => self.act(kept).await,
            What::Capture => self.capture(chain, kept).await,
            // A hold is given back by whoever looks next where it is.
            What::Refund | What::Ask => Ok(()),
            What::Undo | What::Free | What::Charged { .. } | What::Uncharged | What::Loss => Ok(()),
        }
    }

    /// Gives the device its command, once; its invoice is there by then.
    async fn act(&self, kept: &Kept) -> Result<(), No> {
        self.invoice(kept).await?;
        let (
            Some(charge),
            Bought::Command {
                device,
                name,
                argument,
                ..
            },
        ) = (&kept.purchase.charge, &kept.purchase.bought)
        else {
            return Ok(());
        };
        let command = NewCommand {
            id: command_id("stencil/x402-command", charge.terms()),
            tenant: kept.stored.tenant.clone(),
            device: device.clone(),
            name: name.clone(),
            argument: argument.clone(),
            expires_us: charge.terms().act_by_us,
            effect_key: None,
        };
        self.queue(&command).await?;
        stencil_crashpoint::reach("x402.acting");
        Ok(())
    }

    async fn undo(&self, kept: &Kept, now_us: i64) -> Result<(), No> {
        let Bought::Command {
            device,
            undo: Some(undo),
            ..
        } = &kept.purchase.bought
        else {
            return Ok(());
        };
        let Some(charge) = &kept.purchase.charge else {
            return Ok(());
        };
        let command = NewCommand {
            id: command_id("stencil/x402-undo", charge.terms()),
            tenant: kept.stored.tenant.clone(),
            device: device.clone(),
            name: undo.name.clone(),
            argument: undo.argument.clone(),
            expires_us: now_us.saturating_add(UNDO_US),
            effect_key: None,
        };
        self.queue(&command).await
    }

    async fn queue(&self, command: &NewCommand) -> Result<(), No> {
        let (store, now_us) = (&self.inner.store, self.inner.clock.now_us());
        match store.commands.queue(command, now_us).await {
            // A device that was revoked takes none: its time goes by, and nothing is charged.
            Ok(_) | Err(StoreError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn capture(&self, chain: &dyn Chain, kept: &Kept) -> Result<(), No> {
        let order = capture_order(kept);
        self.order(chain, kept, &order).await.map(drop)
    }

    /// What the device says of its command.
    async fn word(&self, kept: &Kept) -> Result<Option<Word>, No> {
        let command = self.command(kept).await?;
        Ok(command.and_then(|command| match command.state {
            State::Done => Some(Word::Done),
            State::Failed | State::Expired => Some(Word::NotDone),
            State::Queued | State::Sent | State::Acknowledged => None,
        }))
    }

    /// The command of a charge.
    pub(crate) async fn command(&self, kept: &Kept) -> Result<Option<StoredCommand>, No> {
        let Some(id) = kept.stored.command else {
            return Ok(None);
        };
        let commands = &self.inner.store.commands;
        Ok(commands.get(&kept.stored.tenant, &id).await?)
    }

    /// Waits until a charge may have changed, at most until then; and reads it.
    ///
    /// # Errors
    /// The store.
    pub(crate) async fn changed(&self, kept: Kept, until: Instant) -> Result<Kept, No> {
        let look = until.min(Instant::now() + LOOK);
        let _ = timeout_at(look, self.inner.changed.notified()).await;
        let (tenant, id) = (&kept.stored.tenant, &kept.stored.purchase);
        let stored = self.inner.store.offers.purchase(tenant, id).await?;
        match stored {
            Some(stored) => Ok(Kept::of(stored)?),
            None => Err(later("the purchase is gone")),
        }
    }

    /// When a charge is to be looked at without being asked for.
    async fn wakes_us(
        &self,
        chain: &dyn Chain,
        kept: &Kept,
        charge: &Charge,
        command: Option<&StoredCommand>,
    ) -> Result<Option<i64>, No> {
        let now_us = self.inner.clock.now_us();
        let until_us = charge.terms().act_by_us.saturating_add(LATE_WORD_US);
        let after = |span_us: i64| Some(now_us.saturating_add(span_us));
        Ok(match charge.stage() {
            Stage::Waiting | Stage::Acting | Stage::Capturing | Stage::Refunding => after(LOOK_US),
            Stage::Free if !kept.purchase.called_off => after(LOOK_US),
            // A reorganisation can undo it until it is final.
            Stage::Captured => {
                let order = capture_order(kept);
                let sent = chain.sent(&order.tenant, &order.key).await;
                let is_final = matches!(sent, Ok(Some(Sent::Final(_))));
                after(SELDOM_US).filter(|_| !is_final && now_us < until_us)
            }
            // The device can still say that it has acted.
            Stage::Free | Stage::Lost => {
                let settled = command.is_none_or(|command| command.state.is_settled());
                after(RARELY_US).filter(|_| !settled && now_us < until_us)
            }
        })
    }
}
