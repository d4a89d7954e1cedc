//! Reads a chain's stream, and tells invoices of it.
//!
//! Entries are read, matched, applied and committed, and only then is the position advanced. All of
//! it may happen again: what an invoice knows already changes nothing.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use stencil_payments::invoice::{Event, Id, Payment};
use stencil_payments::matching::{Found, Log, Reason, Transaction, Unmatched, Value};
use stencil_payments::money::Amount;
use stencil_payments::observation::{Block, Depth, Key, VALUE};
use stencil_payments::port::Chain;
use stencil_payments::{Address, B256, LogData, U256};
use stencil_protocol::id::TenantId;
use stencil_store::{
    ChainEntry, ChainEntryKind, ChainSource, MAX_CHAIN_ENTRIES, Observation, UnmatchedCredit,
};

use super::ahead::believed_s;
use super::cashier::{Cashier, Refused};

/// The cashier's name among a chain's readers.
pub(crate) const READER: &str = "cashier";
/// Until it is tried again after the store has refused.
const RETRY: Duration = Duration::from_secs(1);

/// Between two looks at what is watched for nothing, µs.
const UNWATCH_US: i64 = 86_400 * 1_000_000;

/// Tells invoices of what a chain says, for ever.
pub(super) async fn run(cashier: Cashier, chain: &dyn Chain) {
    begin(&cashier, chain).await;
    let mut next_us = i64::MIN;
    loop {
        match step(&cashier, chain).await {
            Ok(true) => {}
            Ok(false) => {
                let now_us = cashier.0.clock.now_us();
                if now_us >= next_us {
                    next_us = now_us.saturating_add(UNWATCH_US);
                    if let Err(error) = cashier.unwatch(chain).await {
                        tracing::warn!(chain = chain.name(), %error, "more is watched than is needed");
                    }
                }
                chain.stepped().await;
            }
            Err(error) => {
                tracing::warn!(chain = chain.name(), %error, "payments are not looked at now");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Waits until the chain has confirmed its tokens: before, nobody knows whose money it is that comes in
/// one of them, and what is of no invoice would be passed over.
pub(super) async fn begin(cashier: &Cashier, chain: &dyn Chain) {
    while !chain.is_confirmed() {
        chain.stepped().await;
    }
    while let Err(error) = cashier.hold_all().await {
        tracing::warn!(chain = chain.name(), %error, "payments are not looked at now");
        tokio::time::sleep(RETRY).await;
    }
}

/// Takes a page of the stream; `false`: there was none, and all that follows from how far the chain was
/// read is done, too.
pub(crate) async fn step(cashier: &Cashier, chain: &dyn Chain) -> Result<bool, Refused> {
    let chains = &cashier.0.store.chains;
    let name = chain.name();
    let position = chains.chain_position(name, READER).await?;
    // Before the entries: what was read when there is nothing more is as true then.
    let state = chains.chain(name).await?;
    let mut page = chains
        .chain_entries(name, position, MAX_CHAIN_ENTRIES)
        .await?;
    if page.is_empty() {
        let Some(state) = state else {
            return Ok(false);
        };
        if state.last_entry > position {
            return Ok(true);
        }
        if let Some(read_s) = state.read_s {
            cashier.read_up_to(chain.id(), read_s);
        }
        if let Some(cursor) = state.cursor {
            deepen(cashier, chain.id(), cursor.number, position).await?;
        }
        wake(cashier).await?;
        {
            let mut till = cashier.till();
            till.final_up_to(chain.id(), state.finalized.map(|last| last.number));
            till.sweep();
        }
        // All that a final block has was taken: nothing of it is told anew.
        if let Some(last) = state.finalized {
            cashier.fold_strays(chain.id(), last.number).await;
        }
        return Ok(false);
    }
    // A transaction must not be torn apart: what begins is read to its end.
    while page.len() % (MAX_CHAIN_ENTRIES as usize) == 0 {
        let last = page.last().map_or(position, |entry| entry.seq);
        let more = chains.chain_entries(name, last, MAX_CHAIN_ENTRIES).await?;
        let Some(first) = more.first() else { break };
        let whole = page
            .iter()
            .rposition(|entry| !together(entry, first))
            .map_or(0, |at| at + 1);
        if whole > 0 {
            page.truncate(whole);
            break;
        }
        page.extend(more);
    }
    let mut rest = &page[..];
    while let Some(first) = rest.first() {
        let end = rest
            .iter()
            .position(|entry| !together(entry, first))
            .unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        rest = after;
        match first.kind {
            ChainEntryKind::Observed => observed(cashier, chain.id(), run).await?,
            ChainEntryKind::Retracted { .. } | ChainEntryKind::Final => {
                followed(cashier, chain.id(), run).await?;
            }
        }
    }
    let last = page.last().map_or(position, |entry| entry.seq);
    stencil_crashpoint::reach("cashier.before_position");
    chains.advance_chain_reader(name, READER, last).await?;
    stencil_crashpoint::reach("cashier.after_position");
    let metrics = &cashier.0.metrics;
    metrics
        .entries
        .fetch_add(page.len() as u64, Ordering::Relaxed);
    Ok(true)
}

/// Whether two entries say the same of one block.
fn together(one: &ChainEntry, other: &ChainEntry) -> bool {
    one.kind == other.kind && one.observation.block == other.observation.block
}

/// What is in a block.
pub(super) async fn observed(
    cashier: &Cashier,
    chain: u64,
    run: &[ChainEntry],
) -> Result<(), Refused> {
    let Some(first) = run.first() else {
        return Ok(());
    };
    let block = Block {
        number: first.observation.block.number,
        hash: first.observation.block.hash.into(),
        time_s: believed_s(
            first.observation.time_s,
            first.at_us,
            cashier.max_ahead_us(chain),
        ),
    };
    cashier.read_up_to(chain, first.observation.time_s);
    let mut transactions: BTreeMap<u64, (B256, Vec<&ChainEntry>)> = BTreeMap::new();
    let mut order: BTreeMap<B256, u64> = BTreeMap::new();
    for entry in run {
        let tx = B256::from(entry.observation.tx);
        let at = *order.entry(tx).or_insert(entry.seq);
        transactions
            .entry(at)
            .or_insert_with(|| (tx, Vec::new()))
            .1
            .push(entry);
    }
    for (tx, entries) in transactions.into_values() {
        let mut seqs: BTreeMap<u32, u64> = BTreeMap::new();
        let mut logs = Vec::new();
        let mut value = None;
        for entry in entries {
            match entry.observation.source {
                ChainSource::Log => {
                    seqs.insert(entry.observation.ordinal, entry.seq);
                    logs.extend(log(&entry.observation));
                }
                ChainSource::Native => {
                    seqs.insert(VALUE, entry.seq);
                    value = native(&entry.observation);
                }
            }
        }
        logs.sort_by_key(|log: &Log| log.ordinal);
        let found = {
            let till = cashier.till();
            let transaction = Transaction {
                chain,
                hash: tx,
                value,
                logs: &logs,
            };
            let found = till.index.look(&transaction);
            let owned = found.into_iter().map(|found| {
                let whose = match &found {
                    Found::Credit { target, .. } => {
                        let definition = till.index.definition(target.invoice);
                        definition.map(|definition| definition.tenant.clone())
                    }
                    Found::Unmatched(unmatched) => till.index.owner(unmatched).cloned(),
                };
                (found, whose)
            });
            owned.collect::<Vec<_>>()
        };
        for (found, whose) in found {
            let Some(whose) = whose else { continue };
            let key = match &found {
                Found::Credit { key, .. } | Found::Unmatched(Unmatched { key, .. }) => *key,
            };
            let seq = seqs.get(&key.ordinal).copied().unwrap_or_default();
            credit(cashier, whose, found, block, seq).await?;
        }
    }
    Ok(())
}

/// A movement of money to a tenant.
async fn credit(
    cashier: &Cashier,
    whose: TenantId,
    found: Found,
    block: Block,
    seq: u64,
) -> Result<(), Refused> {
    let (key, amount, from) = match &found {
        Found::Credit {
            key, amount, from, ..
        } => (*key, *amount, *from),
        Found::Unmatched(unmatched) => (unmatched.key, unmatched.amount, unmatched.from),
    };
    let payments = &cashier.0.store.payments;
    // Whose it was it stays, also when another invoice would fit it by now.
    if let Some((tenant, invoice)) = payments.credit_owner(&key.to_string()).await? {
        let applied = cashier
            .alter(&tenant, Id(invoice), |kept| {
                let known = kept.invoice.last_payment(&key);
                let event = known.map(|known| Event::Credit {
                    key,
                    seq,
                    payment: Payment {
                        method: known.method,
                        amount,
                        from,
                        block,
                    },
                });
                Ok(event.into_iter().collect::<Vec<_>>().into())
            })
            .await;
        return taken(applied.map(drop), &key);
    }
    let unmatched = match found {
        // Anybody can have a payment contract tell of a token of their own.
        Found::Unmatched(unmatched) if !cashier.takes(unmatched.asset) => {
            count(&cashier.0.metrics.unknown_tokens);
            return Ok(());
        }
        Found::Unmatched(unmatched) => unmatched,
        Found::Credit { target, .. } => {
            let payment = Payment {
                method: target.method,
                amount,
                from,
                block,
            };
            let event = Event::Credit { key, seq, payment };
            let error = match cashier.apply(&whose, target.invoice, event).await {
                Ok(_) => {
                    count(&cashier.0.metrics.credits);
                    return Ok(());
                }
                Err(error) if error.retryable() => return Err(error),
                Err(error) => error,
            };
            // Anybody can send next to nothing any number of times.
            if cashier.may_log(&whose, "a payment is not taken") {
                tracing::warn!(%key, invoice = %target.invoice, %error,
                    "a payment is not taken: it is kept as money of no invoice");
            }
            let definition = cashier.till().index.definition(target.invoice).cloned();
            let method =
                definition.and_then(|of| of.methods.into_iter().nth(usize::from(target.method)));
            let Some(method) = method else {
                return Ok(());
            };
            let reason = if matches!(error, Refused::NoInvoice(_)) {
                cashier.till().remove(target.invoice);
                Reason::Invoice
            } else {
                Reason::Refused
            };
            Unmatched {
                key,
                asset: method.token.asset(),
                to: method.payee,
                from,
                amount,
                reason,
            }
        }
    };
    let body = serde_json::to_string(&Stray {
        unmatched: &unmatched,
        block,
    });
    let body = body.map_err(|error| Refused::Not(error.to_string()))?;
    let stray = UnmatchedCredit {
        credit: key.to_string(),
        body,
        at_us: cashier.0.clock.now_us(),
    };
    match payments.put_unmatched(&whose, &stray).await {
        Ok(true) => {
            count(&cashier.0.metrics.unmatched);
            cashier.0.folding.came(key.chain, &whose, stray.at_us);
        }
        Ok(false) => {}
        Err(error) => return taken(Err(error.into()), &key),
    }
    Ok(())
}

/// Money that is of no invoice, as it is kept.
#[derive(Debug, serde::Serialize)]
struct Stray<'a> {
    #[serde(flatten)]
    unmatched: &'a Unmatched,
    block: Block,
}

/// What became of what was in a block.
async fn followed(cashier: &Cashier, chain: u64, run: &[ChainEntry]) -> Result<(), Refused> {
    for entry in run {
        let observation = &entry.observation;
        let ordinal = match observation.source {
            ChainSource::Native => VALUE,
            ChainSource::Log => observation.ordinal,
        };
        let key = Key {
            chain,
            tx: observation.tx.into(),
            ordinal,
        };
        let seq = entry.seq;
        let payments = &cashier.0.store.payments;
        let name = key.to_string();
        // The store is asked, whatever is looked for now: an invoice can be over long before its payment is final.
        let Some((tenant, invoice)) = payments.credit_owner(&name).await? else {
            if matches!(entry.kind, ChainEntryKind::Retracted { .. }) {
                payments.forget_unmatched(&name).await?;
            }
            continue;
        };
        let event = if entry.kind == ChainEntryKind::Final {
            let depth = Depth::FINAL;
            Event::Depth { key, seq, depth }
        } else {
            count(&cashier.0.metrics.retracted);
            Event::Retracted { key, seq }
        };
        let applied = cashier.apply(&tenant, Id(invoice), event).await;
        taken(applied.map(drop), &key)?;
    }
    Ok(())
}

/// Tells invoices of payments that are deep enough by now, all that the chain had said up to `seq`
/// being known.
async fn deepen(cashier: &Cashier, chain: u64, newest: u64, seq: u64) -> Result<(), Refused> {
    let deep = cashier.till().deep_enough(chain, newest);
    for (tenant, id) in deep {
        let applied = cashier
            .alter(&tenant, id, |kept| {
                let on_chain = kept
                    .invoice
                    .payments()
                    .filter(|(key, _)| key.chain == chain);
                let deeper = on_chain.filter_map(|(key, payment)| {
                    let blocks = newest.checked_sub(payment.block.number)?.saturating_add(1);
                    let depth = Depth {
                        confirmations: u32::try_from(blocks).unwrap_or(u32::MAX),
                        ..Depth::default()
                    };
                    Some((key, depth))
                });
                let firm: Vec<Key> = kept.invoice.firm_payments().map(|(key, _)| key).collect();
                let events = deeper
                    .filter(|(key, _)| !firm.contains(key))
                    .map(|(key, depth)| Event::Depth { key, seq, depth });
                Ok(events.collect::<Vec<_>>().into())
            })
            .await;
        settled(cashier, id, applied.map(drop))?;
    }
    Ok(())
}

/// Tells invoices how late it is that want to know.
async fn wake(cashier: &Cashier) -> Result<(), Refused> {
    let woken = cashier.till().woken();
    for (tenant, id) in woken {
        let Some(now_us) = cashier.till().now_us(id) else {
            continue;
        };
        let applied = cashier.apply(&tenant, id, Event::Clock { now_us }).await;
        settled(cashier, id, applied.map(drop))?;
    }
    Ok(())
}

/// An invoice that can't be changed must not hold up the others.
fn settled(cashier: &Cashier, id: Id, applied: Result<(), Refused>) -> Result<(), Refused> {
    match applied {
        Err(error) if !error.retryable() => {
            tracing::error!(invoice = %id, %error, "an invoice can't be changed");
            cashier.till().remove(id);
            Ok(())
        }
        other => other,
    }
}

/// What can't be taken is told, and does not hold up what comes after it.
fn taken(applied: Result<(), Refused>, key: &Key) -> Result<(), Refused> {
    match applied {
        Err(error) if !error.retryable() => {
            tracing::error!(%key, %error, "an observation of a payment is not taken");
            Ok(())
        }
        other => other,
    }
}

fn count(counter: &std::sync::atomic::AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn log(observation: &Observation) -> Option<Log> {
    let topics = observation.topics.iter().copied().map(B256::from).collect();
    let data = LogData::new(topics, observation.data.clone().into())?;
    Some(Log {
        ordinal: observation.ordinal,
        address: observation.address.into(),
        data,
    })
}

fn native(observation: &Observation) -> Option<Value> {
    let sender = observation.topics.first()?;
    let amount = <[u8; 32]>::try_from(observation.data.as_slice()).ok()?;
    Some(Value {
        from: Address::from_word(B256::from(*sender)),
        to: observation.address.into(),
        amount: Amount(U256::from_be_bytes(amount)),
    })
}
