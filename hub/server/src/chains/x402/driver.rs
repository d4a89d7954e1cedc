//! Goes on with charges for what devices do: by commands' ends, by what chains say, by the clock.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use stencil_payments::x402::charge::{Charge, Stage};
use stencil_store::StoredPurchase;
use tokio::sync::watch;
use tokio::time::timeout;

use super::kept::{Kept, No};
use super::sales::Sales;
use crate::parts::told_to_end;

/// Between two looks while charges are under way.
const BUSY: Duration = Duration::from_millis(250);
/// Between two looks while none is.
const IDLE: Duration = Duration::from_secs(5);
/// After the chain was asked of one.
const ASKED: Duration = Duration::from_millis(500);
/// After something could not be done now.
const AGAIN: Duration = Duration::from_secs(2);
/// Charges that are read at once.
const PAGE: u32 = 250;
/// Charges that are gone on with at one time.
const AT_ONCE: usize = 8;

impl Sales {
    /// Goes on with charges until told to end.
    pub(crate) async fn run(&self, mut stop: watch::Receiver<bool>) {
        let mut rests: HashMap<[u8; 16], Instant> = HashMap::new();
        loop {
            self.inner.lines.say_counts();
            let looked = tokio::select! {
                () = told_to_end(&mut stop) => return,
                looked = self.look(&mut rests) => looked,
            };
            let pause = match looked {
                Ok(0) => IDLE,
                Ok(_) => BUSY,
                Err(error) => {
                    tracing::warn!(%error, "charges can't be gone on with now; later again");
                    AGAIN
                }
            };
            tokio::select! {
                () = told_to_end(&mut stop) => return,
                _ = timeout(pause, self.inner.wake.notified()) => {}
                // What was paid is so no more: its charge is due by then.
                () = self.inner.till.undone() => {}
            }
        }
    }

    /// Goes on with all that is due; gives how many that were.
    async fn look(
        &self,
        rests: &mut HashMap<[u8; 16], Instant>,
    ) -> Result<usize, stencil_store::Error> {
        let now_us = self.inner.clock.now_us();
        let now = Instant::now();
        rests.retain(|_, until| *until > now);
        let (mut count, mut last) = (0, None);
        // What waits stays due by its old time: it must not keep what comes behind it from being looked at.
        loop {
            let offers = &self.inner.store.offers;
            let due = offers.waking_purchases(now_us, last.as_ref(), PAGE).await?;
            let Some(end) = due.last() else {
                return Ok(count);
            };
            last = Some(end.clone());
            count += due.len();
            self.go_on_with(due, rests).await;
        }
    }

    async fn go_on_with(&self, due: Vec<StoredPurchase>, rests: &mut HashMap<[u8; 16], Instant>) {
        let now = Instant::now();
        let due = due
            .into_iter()
            .filter(|stored| !rests.contains_key(&stored.purchase));
        let due: Vec<_> = due.collect();
        let mut steps = futures_util::stream::iter(due)
            .map(|stored| async move { (stored.purchase, self.go_on(stored).await) })
            .buffer_unordered(AT_ONCE);
        while let Some((id, went)) = steps.next().await {
            let rest = went.unwrap_or_else(|no| {
                tracing::warn!(
                    purchase = hex::encode(id),
                    ?no,
                    "a charge can't be gone on with now; later again"
                );
                Some(AGAIN)
            });
            if let Some(rest) = rest {
                rests.insert(id, now + rest);
            }
        }
    }

    /// One look, for tests.
    #[cfg(test)]
    pub(crate) async fn look_now(&self) {
        let went = self.look(&mut HashMap::new()).await;
        went.expect("the store is there");
    }

    /// Goes on with a charge; gives for how long it is left alone then.
    async fn go_on(&self, stored: StoredPurchase) -> Result<Option<Duration>, No> {
        let kept = self.advance(Kept::of(stored)?).await?;
        let stage = kept.purchase.charge.as_ref().map(Charge::stage);
        Ok(match stage {
            // The chain is asked at each look.
            Some(Stage::Waiting | Stage::Capturing | Stage::Refunding) => Some(ASKED),
            _ => None,
        })
    }
}
