//! Chains, and what comes of them: the hub's side of payments.
//!
//! ```text
//! Chain::run: follower → numbered stream in the store (observed, retracted, final)
//!   → reader: which invoice is it of? → cashier: invoice, credits, journal, effects in one transaction
//!   → the reader's position
//!   → triggers: runs of workflows, and what devices are told and untold
//!   → ownership: who holds the passports of devices, and rights to use them
//! ```

mod about;
mod absent;
mod ahead;
pub(crate) mod authorization;
pub(crate) mod brake;
mod cashier;
mod change;
pub(crate) mod checkout;
mod folding;
pub(crate) mod known_contract;
mod make;
mod metrics;
mod one_by_one;
pub(crate) mod outbox;
pub(crate) mod ownership;
mod rates;
mod reader;
pub(crate) mod refund_address;
mod refund_gone;
mod refund_place;
pub(crate) mod refund_told;
pub(crate) mod room;
pub(crate) mod settings;
#[cfg(test)]
pub(crate) mod tests;
mod till;
mod triggers;
mod unspent;
mod unwatch;
pub(crate) mod view;
pub(crate) mod x402;

use std::sync::Arc;
use std::time::Duration;

use stencil_payments::port::Chain;
use stencil_workflow::Effects;
use tokio::sync::Notify;

use crate::parts::{Parts, told_to_end};

pub(crate) use about::{About, Kept, RefundTo};
pub(crate) use absent::Absent;
pub use cashier::Cashier;
pub(crate) use cashier::{At, NewInvoice, Refused, word};
pub(crate) use ownership::Owners;
pub use rates::RateOption;
pub(crate) use rates::{Table, check as check_rates};
pub(crate) use reader::READER;
pub(crate) use settings::PaymentSettings;
pub use triggers::Triggers;
pub(crate) use triggers::{Started, WakingCaused};
pub(crate) use unspent::NotTold;

/// Who reads the stream of each chain: nothing of it is forgotten that one of them has not taken.
pub(crate) const READERS: [&str; 3] = [reader::READER, triggers::READER, ownership::READER];

/// Between two starts of a chain that ended because of something that people have to deal with.
const REST: Duration = Duration::from_secs(30);

/// The chains that the hub follows and acts on.
#[derive(Clone)]
pub(crate) struct Chains {
    all: Arc<[Arc<dyn Chain>]>,
    resumed: Arc<Notify>,
}

impl Chains {
    pub(crate) fn new(all: Vec<Arc<dyn Chain>>) -> Self {
        Self {
            all: all.into(),
            resumed: Arc::default(),
        }
    }

    /// Each of them, in the order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<dyn Chain>> {
        self.all.iter()
    }

    /// One of them by its name.
    pub(crate) fn by_name(&self, name: &str) -> Option<&Arc<dyn Chain>> {
        self.iter().find(|chain| chain.name() == name)
    }

    /// One of them by its EIP-155 chain id.
    pub(crate) fn by_id(&self, id: u64) -> Option<&Arc<dyn Chain>> {
        self.iter().find(|chain| chain.id() == id)
    }

    /// One that was stopped may go on.
    pub(crate) fn resumed(&self) {
        self.resumed.notify_waiters();
    }

    /// Whether somebody can be sent to pay on a chain now.
    ///
    /// # Errors
    /// Why not, in words for who pays.
    pub(crate) fn usable(&self, id: u64) -> Result<(), String> {
        match self.by_id(id) {
            Some(chain) => chain.usable(),
            None => Err("the hub does not follow its chain any more".to_owned()),
        }
    }

    /// Follows all of them. That one can't be followed ends neither the hub nor another.
    pub(crate) fn run(&self, parts: &mut Parts) {
        for chain in self.iter() {
            let (chain, resumed) = (Arc::clone(chain), Arc::clone(&self.resumed));
            parts.effect("chain", |mut stop| async move {
                tokio::select! {
                    () = follow(chain.as_ref(), &resumed) => {}
                    () = told_to_end(&mut stop) => {}
                }
                Ok(())
            });
        }
    }
}

impl Cashier {
    /// Tells invoices of what the chains say, and does what follows; `listeners` are told first.
    pub(crate) fn run(
        &self,
        effects: Arc<dyn Effects>,
        listeners: Vec<Arc<dyn outbox::Listener>>,
        parts: &mut Parts,
    ) {
        let outbox = outbox::Outbox::new(self.clone(), effects, listeners);
        parts.effect("what invoices ask for", |stop| async move {
            outbox.run(stop).await;
            Ok(())
        });
        for chain in self.chains().iter() {
            let (cashier, chain) = (self.clone(), Arc::clone(chain));
            parts.effect("cashier", |mut stop| async move {
                tokio::select! {
                    () = reader::run(cashier, chain.as_ref()) => {}
                    () = told_to_end(&mut stop) => {}
                }
                Ok(())
            });
        }
    }
}

async fn follow(chain: &dyn Chain, resumed: &Notify) {
    loop {
        // What is said while it ends is heard.
        let mut again = std::pin::pin!(resumed.notified());
        again.as_mut().enable();
        if let Err(why) = chain.run().await {
            tracing::error!(chain = chain.name(), why, "the chain is not followed");
        }
        tokio::select! {
            () = again => {}
            () = tokio::time::sleep(REST) => {}
        }
    }
}
