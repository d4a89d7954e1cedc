//! Which workflows in force are about payments, and which about which events.

use std::collections::HashMap;
use std::sync::Arc;

use stencil_payments::port::Event;
use stencil_protocol::id::TenantId;
use stencil_store::{Error, Store, Watch, WatchKind};
use stencil_workflow::Definition;
use stencil_workflow::definition::{self, Source};

use crate::chains::Chains;

/// A contract's event: its address and the event's first topic.
type Place = ([u8; 20], [u8; 32]);

/// What workflows in force wait for.
#[derive(Default)]
pub(super) struct Index {
    payments: HashMap<TenantId, Vec<Arc<Definition>>>,
    events: HashMap<String, HashMap<Place, Vec<Listening>>>,
}

/// A workflow that waits for an event.
pub(super) struct Listening {
    pub(super) tenant: TenantId,
    pub(super) definition: Arc<Definition>,
    pub(super) event: Arc<dyn Event>,
    /// The first block that counts.
    pub(super) from_block: u64,
}

/// Whether a workflow waits for a payment of an invoice with this reference.
pub(super) fn waits_for(definition: &Definition, reference: &str) -> bool {
    match &definition.source {
        Source::Payment(payment) => payment.reference.matches(reference),
        Source::Telemetry(_) | Source::Chain(_) | Source::Access(_) | Source::Seal(_) => false,
    }
}

impl Index {
    /// Reads what is in force, and watches what was not watched for it.
    pub(super) async fn load(store: &Store, chains: &Chains, now_us: i64) -> Result<Self, Error> {
        let mut index = Self::default();
        for (tenant, workflow) in store.workflows.active().await? {
            let Ok(definition) = definition::parse(&workflow.yaml) else {
                continue;
            };
            let definition = Arc::new(definition);
            match &definition.source {
                Source::Telemetry(_) | Source::Access(_) | Source::Seal(_) => {}
                Source::Payment(_) => {
                    let of_tenant = index.payments.entry(tenant).or_default();
                    of_tenant.push(definition);
                }
                Source::Chain(of) => {
                    let found = chains.by_name(&of.name).map(|chain| chain.event(&of.event));
                    let Some(Ok(event)) = found else {
                        tracing::warn!(%tenant, workflow = definition.id, chain = of.name,
                            "the chain of a workflow is not there, or cannot read its event: it starts nothing");
                        continue;
                    };
                    let place = (of.address.into(), event.topic0().0);
                    let listening = Listening {
                        tenant,
                        definition: Arc::clone(&definition),
                        event,
                        from_block: 0,
                    };
                    let of_chain = index.events.entry(of.name.clone()).or_default();
                    of_chain.entry(place).or_default().push(listening);
                }
            }
        }
        for (chain, events) in &mut index.events {
            let id = chains.by_name(chain).map_or(0, |chain| chain.id());
            match store.chains.open_chain(chain, id, now_us).await {
                Ok(_) => {}
                // Another chain than before has this name: it is not followed either, and says so.
                Err(Error::Conflict(why)) => {
                    tracing::warn!(chain, why, "nothing on a chain starts anything");
                    continue;
                }
                Err(error) => return Err(error),
            }
            let (_, watched) = store.chains.chain_watches(chain).await?;
            let watched: HashMap<(String, Place), u64> = watched
                .into_iter()
                .filter_map(|it| match it.watch.kind {
                    WatchKind::Event(topic0) => {
                        Some(((it.watch.owner, (it.watch.address, topic0)), it.from_block))
                    }
                    WatchKind::EventTo { .. }
                    | WatchKind::Beside(_)
                    | WatchKind::AnyEvent
                    | WatchKind::Native => None,
                })
                .collect();
            for (place, listening) in events {
                for one in listening {
                    let owner = one.tenant.as_str().to_owned();
                    one.from_block = match watched.get(&(owner.clone(), *place)) {
                        Some(from_block) => *from_block,
                        None => {
                            let watch = Watch {
                                owner,
                                address: place.0,
                                kind: WatchKind::Event(place.1),
                            };
                            store.chains.watch_chain(chain, &[watch]).await?
                        }
                    };
                }
            }
        }
        Ok(index)
    }

    /// The tenant's workflows in force that wait for a payment of an invoice with this reference.
    pub(super) fn paid<'a>(
        &'a self,
        tenant: &TenantId,
        reference: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Definition>> {
        let all = self.payments.get(tenant).into_iter().flatten();
        all.filter(move |definition| waits_for(definition, reference))
    }

    /// Who waits for an event of a contract, in a block of that number.
    pub(super) fn emitted(
        &self,
        chain: &str,
        address: [u8; 20],
        topic0: [u8; 32],
        block: u64,
    ) -> impl Iterator<Item = &Listening> {
        let of_chain = self.events.get(chain);
        let all = of_chain.and_then(|events| events.get(&(address, topic0)));
        all.into_iter()
            .flatten()
            .filter(move |one| one.from_block <= block)
    }

    /// What has to be watched: chain, for whom, address and first topic.
    pub(super) fn needed(&self) -> impl Iterator<Item = (&str, &TenantId, [u8; 20], [u8; 32])> {
        self.events.iter().flat_map(|(chain, events)| {
            events.iter().flat_map(move |(place, listening)| {
                listening
                    .iter()
                    .map(move |it| (chain.as_str(), &it.tenant, place.0, place.1))
            })
        })
    }

    pub(super) fn needs(
        &self,
        chain: &str,
        tenant: &TenantId,
        address: [u8; 20],
        topic0: [u8; 32],
    ) -> bool {
        self.emitted(chain, address, topic0, u64::MAX)
            .any(|one| one.tenant == *tenant)
    }
}
