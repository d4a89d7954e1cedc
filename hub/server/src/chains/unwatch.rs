//! What chains no longer have to look at for payments.

use std::collections::HashSet;

use stencil_payments::abi;
use stencil_payments::port::{Address, Chain};
use stencil_store::{Error, Store, Watch, WatchKind};
use stencil_workflow::definition::{self, Source};

use super::cashier::Cashier;
use super::make::Watches;

impl Cashier {
    /// Has all chains look no more at what neither settings nor an invoice needs that is looked for.
    pub(crate) async fn unwatch_all(&self) {
        for chain in self.chains().iter().filter(|chain| chain.is_confirmed()) {
            if let Err(error) = self.unwatch(chain.as_ref()).await {
                tracing::warn!(chain = chain.name(), %error, "more is watched than is needed");
            }
        }
    }

    /// The same of one chain, whose tokens are confirmed: before that settings say less than they mean.
    pub(super) async fn unwatch(&self, chain: &dyn Chain) -> Result<(), Error> {
        // Whoever makes an invoice watches first, and has it expected then.
        let _alone = self.0.watching.write().await;
        let (name, chains) = (chain.name(), &self.0.store.chains);
        if chains.chain(name).await?.is_none() {
            return Ok(());
        }
        let needed = {
            let mut needed = Watches::default();
            self.till().watches(&mut needed);
            needed.of_chain(chain.id())
        };
        let (_, watched) = chains.chain_watches(name).await?;
        let watched = watched.into_iter().map(|it| it.watch);
        let unneeded = watched.filter(|watch| of_payments(&watch.kind) && !needed.contains(watch));
        let mut gone: Vec<Watch> = unneeded.collect();
        if gone
            .iter()
            .any(|watch| matches!(watch.kind, WatchKind::Event(_)))
        {
            let listened = listened(&self.0.store, name).await?;
            gone.retain(|watch| {
                let is_event = matches!(watch.kind, WatchKind::Event(_));
                !is_event || !listened.contains(&(watch.owner.clone(), watch.address))
            });
        }
        if !gone.is_empty() {
            tracing::info!(
                chain = name,
                count = gone.len(),
                "is watched no more for payments"
            );
            chains.unwatch_chain(name, &gone).await?;
        }
        Ok(())
    }
}

/// The contracts whose events workflows in force wait for, by tenant.
pub(super) async fn listened(
    store: &Store,
    chain: &str,
) -> Result<HashSet<(String, [u8; 20])>, Error> {
    let active = store.workflows.active().await?;
    let listened = active.into_iter().filter_map(|(tenant, workflow)| {
        let Source::Chain(of) = definition::parse(&workflow.yaml).ok()?.source else {
            return None;
        };
        let contract: Address = of.address;
        (of.name == chain).then(|| (tenant.to_string(), contract.0.0))
    });
    Ok(listened.collect())
}

/// Whether payments are known by it. Events of payment contracts workflows may wait for, too.
fn of_payments(kind: &WatchKind) -> bool {
    match kind {
        WatchKind::EventTo { .. } | WatchKind::Beside(_) | WatchKind::Native => true,
        WatchKind::Event(topic0) => [abi::PAID.0, abi::RELEASED.0].contains(topic0),
        WatchKind::AnyEvent => false,
    }
}
