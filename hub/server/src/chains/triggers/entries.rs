//! The stream of a chain: events of contracts, and how deep causes are.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};
use stencil_payments::observation::Depth;
use stencil_payments::port::{Address, B256, Chain};
use stencil_store::{ChainEntry, ChainEntryKind, ChainSource, ChainState, Error, ReadUpTo};
use stencil_workflow::caused::{Caused, Of, Outcome, Site};
use stencil_workflow::caused_run_id;
use stencil_workflow::definition::Source;

use super::index::Listening;
use super::{Because, Change, READER, TRIES, Triggers, cause_of_event};

/// Entries that are read at once.
const PAGE: u32 = 256;
/// When the store could not be read or written.
const AGAIN: Duration = Duration::from_secs(1);

impl Triggers {
    /// Takes what comes to a chain's stream, for as long as it is polled.
    pub(super) async fn follow(&self, chain: &dyn Chain) {
        if let Err(error) = self.narrow(chain.name()).await {
            tracing::warn!(chain = chain.name(), %error, "more is watched than is needed");
        }
        loop {
            let changed = self.0.changed.notified();
            match self.step(chain).await {
                Ok(()) => tokio::select! {
                    () = chain.stepped() => {}
                    () = changed => {}
                },
                Err(error) => {
                    tracing::warn!(chain = chain.name(), %error,
                        "what is on a chain starts nothing now; trying again");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Takes all that is in the stream, and sees what is deep enough by then.
    pub(super) async fn step(&self, chain: &dyn Chain) -> Result<(), Error> {
        let store = &self.0.store;
        // What is in force is watched, also if the chain has nothing new.
        self.index().await?;
        let Some(state) = store.chains.chain(chain.name()).await? else {
            return Ok(());
        };
        let mut position = store.chains.chain_position(chain.name(), READER).await?;
        while position < state.last_entry {
            let entries = store
                .chains
                .chain_entries(chain.name(), position, PAGE)
                .await?;
            let Some(last) = entries.last().map(|entry| entry.seq) else {
                break;
            };
            let mut kept = position;
            for entry in &entries {
                if self.entry(chain, entry).await? {
                    kept = entry.seq;
                }
            }
            if kept < last {
                let chains = &store.chains;
                chains
                    .advance_chain_reader(chain.name(), READER, last)
                    .await?;
            }
            position = last;
        }
        self.deepen(chain, &state).await
    }

    /// Takes one entry; says whether that was kept with the reader's position.
    async fn entry(&self, chain: &dyn Chain, entry: &ChainEntry) -> Result<bool, Error> {
        let seen = &entry.observation;
        if seen.source != ChainSource::Log {
            return Ok(false);
        }
        let cause = cause_of_event(chain.id(), seen);
        let (seq, now_us) = (entry.seq, self.now_us());
        let place = || {
            vec![Site {
                chain: chain.name().to_owned(),
                block: seen.block.number,
            }]
        };
        let take = |caused: &mut Caused, out: &mut Outcome| match entry.kind {
            ChainEntryKind::Observed => {
                caused.included(seq, place(), now_us, out);
                caused.clock(now_us, out);
            }
            ChainEntryKind::Retracted { .. } => caused.retracted(seq, now_us, out),
            ChainEntryKind::Final => {
                caused.deepened(seq, Depth::FINAL, now_us, out);
                caused.clock(now_us, out);
            }
        };
        let read = ReadUpTo::Entry {
            chain: chain.name().to_owned(),
            reader: READER.to_owned(),
            position: entry.seq,
        };
        let mut last = Error::Conflict(String::new());
        for _ in 0..TRIES {
            let index = self.index().await?;
            let known = self.0.store.caused.caused_by(&cause).await?;
            let mut change = Change::new(Some(read.clone()), now_us);
            for stored in &known {
                let ended = self.under_way(stored).await?;
                change.change(stored, &ended, false, take)?;
            }
            if matches!(entry.kind, ChainEntryKind::Observed)
                && let Some(topic0) = seen.topics.first()
            {
                let known: HashSet<_> = known.iter().map(|it| (&it.tenant, it.run)).collect();
                let listening: Vec<&Listening> = index
                    .emitted(chain.name(), seen.address, *topic0, seen.block.number)
                    .collect();
                // Most events are nobody's.
                let led = match listening.is_empty() {
                    true => Vec::new(),
                    false => self.led_by(&[(chain.name().to_owned(), seen.tx)]).await?,
                };
                let because = Because {
                    cause: &cause,
                    of: &Of::Event,
                    led: &led,
                    most: self.0.max_caused_runs,
                };
                for one in listening {
                    let run = caused_run_id(&one.tenant, &one.definition.id, &cause);
                    if known.contains(&(&one.tenant, run)) {
                        continue;
                    }
                    let Some(args) = one.event.decode(&seen.topics, &seen.data) else {
                        continue;
                    };
                    let (event, at_us) = event(chain, one, entry, args);
                    let (tenant, definition) = (&one.tenant, &one.definition);
                    change.make(tenant, definition, because, event, at_us, take);
                }
            }
            if change.is_empty() {
                return Ok(false);
            }
            match self.0.store.caused.commit_caused(&change.commit).await {
                Ok(_) => return Ok(true),
                Err(error @ Error::Conflict(_)) => last = error,
                // A tenant was erased meanwhile.
                Err(error @ Error::NotFound { .. }) => {
                    self.forget_index();
                    last = error;
                }
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// All up to the newest entry of `state` is taken: what is deep enough by its newest and final
    /// blocks?
    async fn deepen(&self, chain: &dyn Chain, state: &ChainState) -> Result<(), Error> {
        let Some(newest) = state.cursor else {
            return Ok(());
        };
        let finalized = state.finalized.map(|mark| mark.number);
        let port = &self.0.store.caused;
        let mut after = None;
        loop {
            let after_ref = after.as_ref().map(|(tenant, run)| (tenant, run));
            let page = port
                .caused_at(chain.name(), newest.number, finalized, after_ref, PAGE)
                .await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some((last.tenant.clone(), last.run));
            for stored in page {
                match Caused::read(&stored)?.of() {
                    Of::Invoice(invoice) => {
                        let mut id = [0; 16];
                        if hex::decode_to_slice(invoice, &mut id).is_ok() {
                            self.invoice_changed(&stored.tenant, &id, None).await?;
                        }
                    }
                    Of::Event => {
                        self.deepen_event(state, &stored.tenant, &stored.run)
                            .await?
                    }
                }
            }
        }
    }

    async fn deepen_event(
        &self,
        state: &ChainState,
        tenant: &stencil_protocol::id::TenantId,
        run: &stencil_store::RunId,
    ) -> Result<(), Error> {
        let now_us = self.now_us();
        let port = &self.0.store.caused;
        let mut last = Error::Conflict(String::new());
        for _ in 0..TRIES {
            let Some(stored) = port.caused(tenant, run).await? else {
                return Ok(());
            };
            let mut change = Change::new(None, now_us);
            let ended = self.under_way(&stored).await?;
            change.change(&stored, &ended, false, |caused, out| {
                let block = caused.places().first().map(|place| place.block);
                if let Some(depth) = block.and_then(|block| depth(state, block)) {
                    caused.deepened(state.last_entry, depth, now_us, out);
                }
            })?;
            if change.is_empty() {
                return Ok(());
            }
            match port.commit_caused(&change.commit).await {
                Ok(_) => return Ok(()),
                Err(error @ Error::Conflict(_)) => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }
}

/// How deep a block is.
pub(super) fn depth(state: &ChainState, block: u64) -> Option<Depth> {
    let above = state.cursor?.number.checked_sub(block)?;
    let is_final = state.finalized.is_some_and(|mark| mark.number >= block);
    Some(Depth {
        confirmations: u32::try_from(above.saturating_add(1)).unwrap_or(u32::MAX),
        safe: is_final,
        finalized: is_final,
    })
}

/// What templates see of an event, and when it was.
fn event(chain: &dyn Chain, one: &Listening, entry: &ChainEntry, args: Value) -> (Value, i64) {
    let seen = &entry.observation;
    let time_us = seen.time_s.saturating_mul(1_000_000);
    let time_us = i64::try_from(time_us).unwrap_or(i64::MAX);
    let signature = match &one.definition.source {
        Source::Chain(of) => of.event.as_str(),
        Source::Telemetry(_) | Source::Payment(_) | Source::Access(_) | Source::Seal(_) => "",
    };
    let name = signature.split('(').next().unwrap_or_default().trim();
    let name = name.rsplit(' ').next().unwrap_or_default();
    let event = json!({
        "tenant": one.tenant,
        "chain": chain.name(),
        "address": Address::from(seen.address).to_checksum(None),
        "event": name,
        "args": args,
        "tx": B256::from(seen.tx),
        "ordinal": seen.ordinal,
        "block": seen.block.number,
        "time_us": time_us,
    });
    (event, time_us)
}
