//! What open invoices expect.

use std::collections::btree_map;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use alloy_primitives::{Address, B256};
use alloy_sol_types::SolEvent as _;
use serde::{Deserialize, Serialize};
use stencil_protocol::id::TenantId;

use super::amounts::Cursors;
use super::{Found, Log, Reason, Transaction, Unmatched, nonce};
use crate::abi;
use crate::invoice::{Definition, Id, Way};
use crate::money::{Amount, Asset};
use crate::observation::{Key, VALUE};

/// How many authorisations of one payer an invoice can take: nonces are found, not guessed.
pub const MAX_ATTEMPTS: u8 = 4;

/// Which invoice a payment is for, and by which of its methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Which invoice.
    pub invoice: Id,
    /// Which method.
    pub method: u16,
}

/// Why an invoice can't be watched. Nothing of it is then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is watched already.
    #[error("invoice {0} is watched already")]
    Known(Id),
    /// Money that comes to one address would be of two tenants.
    #[error("{0:#x} takes payments of another tenant: each tenant has addresses of its own")]
    OtherTenant(Address),
    /// Another invoice has this amount.
    #[error("another open invoice of {payee:#x} is over {amount} base units of {asset}")]
    AmountTaken {
        /// In what.
        asset: Asset,
        /// Whose.
        payee: Address,
        /// How much.
        amount: Amount,
    },
    /// Another invoice is paid by this authorisation or hold.
    #[error("another open invoice is paid by the authorisation or hold {0:#x}")]
    Taken(B256),
    /// A token by authorisation, a coin by contract only.
    #[error("the native coin can't be paid by an authorisation")]
    Native,
}

/// Where money of a tenant comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PaidTo {
    /// An address that gets an asset.
    Payee(Asset, Address),
    /// A payment contract, by its chain's EIP-155 id.
    Contract(u64, Address),
}

/// Who gets money by a transfer: an address, in an asset.
type Place = (Asset, Address);

/// What open invoices expect, by what a chain says.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// By token and nonce.
    nonces: HashMap<(Asset, B256), (Target, Address)>,
    /// By token, payer and the nonce that the payer has drawn.
    drawn: HashMap<(Asset, Address, B256), (Target, Address)>,
    /// By escrow contract and hold: who gets what is released, and whose it was.
    holds: HashMap<(u64, Address, B256), Held>,
    escrows: HashMap<(u64, Address), usize>,
    /// By payment contract and the invoice that it names: by what that can be paid with.
    named: HashMap<(u64, Address, B256), HashMap<Asset, Target>>,
    /// By payee and amount.
    amounts: HashMap<(Place, Amount), Target>,
    /// Who gets money by transfers, whose that is, and how many invoices look there.
    payees: HashMap<Place, (TenantId, usize)>,
    contracts: HashMap<(u64, Address), (TenantId, usize)>,
    /// Tokens whose logs are of interest.
    tokens: HashMap<Asset, usize>,
    /// What is watched for each invoice, and until when.
    open: HashMap<Id, (Definition, i64)>,
    /// The same by the chains on which it can be paid: each group has one time.
    until: BTreeMap<BTreeSet<u64>, BTreeSet<(i64, Id)>>,
    cursors: Cursors,
}

impl Index {
    /// An amount for a new invoice that no watched one of this payee and asset has: the first of
    /// `price + k · step`, `k` from 0 to `most`, that is free; `None` where all are taken. It is
    /// taken by [`add`](Self::add) of an invoice with this amount.
    ///
    /// Every payer pays up to `most · step` more than the price: choose a step that is worth less
    /// than a cent.
    pub fn unique(
        &mut self,
        asset: Asset,
        payee: Address,
        price: Amount,
        step: Amount,
        most: u32,
    ) -> Option<Amount> {
        let Self {
            amounts, cursors, ..
        } = self;
        let free = |amount| !amounts.contains_key(&((asset, payee), amount));
        cursors.next((asset, payee, price), step, most, free)
    }

    /// Watches for payments of an invoice until `until_us`, µs since the epoch. Until then its unique
    /// amounts are not given to others: let that be as long as a late payment may come.
    ///
    /// # Errors
    /// An invoice that is watched already; an address of another tenant; an amount that is taken.
    pub fn add(&mut self, definition: &Definition, until_us: i64) -> Result<(), Error> {
        let id = definition.id;
        if self.open.contains_key(&id) {
            return Err(Error::Known(id));
        }
        let mut amounts = BTreeSet::new();
        for method in &definition.methods {
            let asset = method.token.asset();
            let place = (asset, method.payee);
            let whose = match method.way {
                Way::Contract(contract) => self.contracts.get(&(asset.chain, contract)),
                _ => self.payees.get(&place),
            };
            if whose.is_some_and(|(tenant, _)| *tenant != definition.tenant) {
                let shown = if let Way::Contract(contract) = method.way {
                    contract
                } else {
                    method.payee
                };
                return Err(Error::OtherTenant(shown));
            }
            match method.way {
                Way::Authorization | Way::Nonce { .. } if asset.contract.is_none() => {
                    return Err(Error::Native);
                }
                Way::Nonce { payer, nonce } if self.drawn.contains_key(&(asset, payer, nonce)) => {
                    return Err(Error::Taken(nonce));
                }
                Way::Hold { escrow, hold, .. }
                    if self.holds.contains_key(&(asset.chain, escrow, hold)) =>
                {
                    return Err(Error::Taken(hold));
                }
                Way::UniqueAmount => {
                    let unique = (place, method.due);
                    if self.amounts.contains_key(&unique) || !amounts.insert(unique) {
                        let (payee, amount) = (method.payee, method.due);
                        return Err(Error::AmountTaken {
                            asset,
                            payee,
                            amount,
                        });
                    }
                }
                Way::Authorization | Way::Contract(_) | Way::Nonce { .. } | Way::Hold { .. } => {}
            }
        }
        self.put(definition);
        self.open.insert(id, (definition.clone(), until_us));
        let group = self.until.entry(definition.chains()).or_default();
        group.insert((until_us, id));
        Ok(())
    }

    fn put(&mut self, definition: &Definition) {
        let tenant = &definition.tenant;
        for (at, method) in (0_u16..).zip(&definition.methods) {
            let target = Target {
                invoice: definition.id,
                method: at,
            };
            let asset = method.token.asset();
            let place = (asset, method.payee);
            *self.tokens.entry(asset).or_default() += 1;
            match method.way {
                Way::Authorization => {
                    for nonce in nonces(definition.id, asset, method.payee) {
                        self.nonces.insert((asset, nonce), (target, method.payee));
                    }
                    count(self.payees.entry(place), tenant);
                }
                Way::Contract(contract) => {
                    let named = (asset.chain, contract, abi::invoice_id(definition.id));
                    self.named.entry(named).or_default().insert(asset, target);
                    count(self.contracts.entry((asset.chain, contract)), tenant);
                }
                Way::UniqueAmount => {
                    self.amounts.insert((place, method.due), target);
                    count(self.payees.entry(place), tenant);
                }
                Way::Nonce { payer, nonce } => {
                    let drawn = (asset, payer, nonce);
                    self.drawn.insert(drawn, (target, method.payee));
                    count(self.payees.entry(place), tenant);
                }
                Way::Hold {
                    escrow,
                    hold,
                    payer,
                } => {
                    let held = Held {
                        target,
                        asset,
                        payer,
                        payee: method.payee,
                    };
                    self.holds.insert((asset.chain, escrow, hold), held);
                    *self.escrows.entry((asset.chain, escrow)).or_default() += 1;
                    count(self.payees.entry(place), tenant);
                }
            }
        }
    }

    /// Watches for payments of an invoice until then, where that is later than was said.
    pub fn extend(&mut self, id: Id, until_us: i64) {
        let Some((definition, known_us)) = self.open.get_mut(&id) else {
            return;
        };
        if until_us <= *known_us {
            return;
        }
        let before = (std::mem::replace(known_us, until_us), id);
        let group = self.until.entry(definition.chains()).or_default();
        group.remove(&before);
        group.insert((until_us, id));
    }

    /// No longer watches for an invoice; `false` where it was not watched.
    pub fn remove(&mut self, id: Id) -> bool {
        let Some((definition, until_us)) = self.open.remove(&id) else {
            return false;
        };
        if let btree_map::Entry::Occupied(mut group) = self.until.entry(definition.chains()) {
            group.get_mut().remove(&(until_us, id));
            if group.get().is_empty() {
                group.remove();
            }
        }
        for method in &definition.methods {
            let asset = method.token.asset();
            let place = (asset, method.payee);
            fewer(self.tokens.entry(asset));
            match method.way {
                Way::Authorization => {
                    for nonce in nonces(id, asset, method.payee) {
                        self.nonces.remove(&(asset, nonce));
                    }
                    release(self.payees.entry(place));
                }
                Way::Contract(contract) => {
                    let named = (asset.chain, contract, abi::invoice_id(id));
                    self.named.remove(&named);
                    release(self.contracts.entry((asset.chain, contract)));
                }
                Way::UniqueAmount => {
                    self.amounts.remove(&(place, method.due));
                    release(self.payees.entry(place));
                }
                Way::Nonce { payer, nonce } => {
                    self.drawn.remove(&(asset, payer, nonce));
                    release(self.payees.entry(place));
                }
                Way::Hold { escrow, hold, .. } => {
                    self.holds.remove(&(asset.chain, escrow, hold));
                    fewer(self.escrows.entry((asset.chain, escrow)));
                    release(self.payees.entry(place));
                }
            }
        }
        if self.open.is_empty() {
            self.cursors.clear();
        }
        true
    }

    /// No longer watches for invoices whose time is over on each chain on which they can be paid; gives
    /// which. `now_us` says up to when a chain was read, µs since the epoch; `None`: it is not read, and
    /// nothing is waited for from there. Those of which `keeps` says so are watched for all the same.
    pub fn expire(
        &mut self,
        now_us: impl Fn(u64) -> Option<i64>,
        keeps: impl Fn(Id) -> bool,
    ) -> Vec<Id> {
        let mut over = Vec::new();
        for (chains, group) in &self.until {
            let read = chains.iter().filter_map(|chain| now_us(*chain)).min();
            let read_us = read.unwrap_or(i64::MAX);
            let ended = group
                .iter()
                .take_while(|(until_us, _)| *until_us <= read_us);
            over.extend(ended.map(|(_, id)| *id).filter(|id| !keeps(*id)));
        }
        for id in &over {
            self.remove(*id);
        }
        over
    }

    /// Looks at what comes to an address until that is [let go](Self::let_go), whether an invoice is
    /// watched for or not: what comes there is the tenant's, and never lost.
    ///
    /// # Errors
    /// An address of another tenant.
    pub fn hold(&mut self, tenant: &TenantId, place: PaidTo) -> Result<(), Error> {
        let (whose, shown) = match place {
            PaidTo::Payee(asset, payee) => (self.payees.get(&(asset, payee)), payee),
            PaidTo::Contract(chain, contract) => (self.contracts.get(&(chain, contract)), contract),
        };
        if whose.is_some_and(|(of, _)| of != tenant) {
            return Err(Error::OtherTenant(shown));
        }
        match place {
            PaidTo::Payee(asset, payee) => {
                *self.tokens.entry(asset).or_default() += 1;
                count(self.payees.entry((asset, payee)), tenant);
            }
            PaidTo::Contract(chain, contract) => {
                count(self.contracts.entry((chain, contract)), tenant);
            }
        }
        Ok(())
    }

    /// No longer looks at what comes to an address that was held once more than it was let go.
    pub fn let_go(&mut self, place: PaidTo) {
        match place {
            PaidTo::Payee(asset, payee) => {
                fewer(self.tokens.entry(asset));
                release(self.payees.entry((asset, payee)));
            }
            PaidTo::Contract(chain, contract) => release(self.contracts.entry((chain, contract))),
        }
    }

    /// Whether an asset is one that a tenant is paid in: the coin, or a token of an invoice or of settings.
    #[must_use]
    pub fn knows(&self, asset: Asset) -> bool {
        asset.contract.is_none() || self.tokens.contains_key(&asset)
    }

    /// Whose money is that matches no invoice.
    #[must_use]
    pub fn owner(&self, unmatched: &Unmatched) -> Option<&TenantId> {
        let payee = self.payees.get(&(unmatched.asset, unmatched.to));
        let contract = (unmatched.asset.chain, unmatched.to);
        let whose = payee.or_else(|| self.contracts.get(&contract))?;
        Some(&whose.0)
    }

    /// What an invoice that is watched for was made as.
    #[must_use]
    pub fn definition(&self, id: Id) -> Option<&Definition> {
        Some(&self.open.get(&id)?.0)
    }

    /// How many invoices are watched for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The contracts whose logs are to be asked for: tokens, payment contracts and escrows of a chain.
    #[must_use]
    pub fn addresses(&self, chain: u64) -> BTreeSet<Address> {
        let tokens = self.tokens.keys().filter(|asset| asset.chain == chain);
        let contracts = self.contracts.keys().chain(self.escrows.keys());
        let contracts = contracts.filter(|(of, _)| *of == chain);
        let tokens = tokens.filter_map(|asset| asset.contract);
        tokens
            .chain(contracts.map(|(_, contract)| *contract))
            .collect()
    }

    /// The movements of a transaction to those who are watched, each once, in the order of their
    /// keys.
    #[must_use]
    pub fn look(&self, transaction: &Transaction<'_>) -> Vec<Found> {
        let mut transfers = Vec::new();
        let mut used = Vec::new();
        let mut paid = Vec::new();
        let mut released = Vec::new();
        for log in transaction.logs {
            let asset = Asset::erc20(transaction.chain, log.address);
            if self.tokens.contains_key(&asset) {
                if let Ok(transfer) = abi::Transfer::decode_log_data(&log.data) {
                    transfers.push(Moved {
                        log,
                        asset,
                        transfer,
                        taken: false,
                    });
                } else if let Ok(event) = abi::AuthorizationUsed::decode_log_data(&log.data) {
                    used.push((log, asset, event));
                }
            } else if self
                .contracts
                .contains_key(&(transaction.chain, log.address))
                && let Ok(event) = abi::Paid::decode_log_data(&log.data)
            {
                paid.push((log, event));
            } else if self.escrows.contains_key(&(transaction.chain, log.address))
                && let Ok(event) = abi::Released::decode_log_data(&log.data)
            {
                released.push((log, event));
            }
        }
        let mut found = Vec::new();
        for (log, event) in paid {
            self.named(transaction, log, &event, &mut transfers, &mut found);
        }
        for (log, event) in released {
            self.released(transaction, log, &event, &mut transfers, &mut found);
        }
        for (at, (log, asset, event)) in used.iter().enumerate() {
            let next = used[at + 1..]
                .iter()
                .find(|(_, token, other)| token == asset && other.authorizer == event.authorizer);
            let next = next.map(|(log, ..)| log.ordinal);
            self.authorised(
                transaction,
                (log, *asset, next),
                event,
                &mut transfers,
                &mut found,
            );
        }
        for moved in transfers.iter().filter(|moved| !moved.taken) {
            let abi::Transfer { from, to, value } = moved.transfer;
            let key = key(transaction, moved.log.ordinal);
            self.plain(key, moved.asset, (from, to, Amount(value)), &mut found);
        }
        if let Some(value) = transaction.value {
            let asset = Asset::native(transaction.chain);
            let parts = (value.from, value.to, value.amount);
            self.plain(key(transaction, VALUE), asset, parts, &mut found);
        }
        found.sort_by_key(|found| match found {
            Found::Credit { key, .. } | Found::Unmatched(Unmatched { key, .. }) => *key,
        });
        found
    }

    /// Who is paid by a method of an invoice that is watched.
    fn payee(&self, target: Target) -> Option<Address> {
        let (definition, _) = self.open.get(&target.invoice)?;
        let method = definition.methods.get(usize::from(target.method))?;
        Some(method.payee)
    }

    /// What the payment contract says. The transfer to the payee that it made stands before it, and is no
    /// payment of its own.
    fn named(
        &self,
        transaction: &Transaction<'_>,
        log: &Log,
        event: &abi::Paid,
        transfers: &mut [Moved<'_>],
        found: &mut Vec<Found>,
    ) {
        let asset = if event.token.is_zero() {
            Asset::native(transaction.chain)
        } else {
            Asset::erc20(transaction.chain, event.token)
        };
        let (amount, from) = (Amount(event.received), event.payer);
        if amount.is_zero() {
            return;
        }
        let key = key(transaction, log.ordinal);
        let named = self
            .named
            .get(&(transaction.chain, log.address, event.invoiceId));
        let target = named.and_then(|methods| methods.get(&asset)).copied();
        // A token may tell of its fee behind what the payee gets, or before it.
        let payee = target.and_then(|target| self.payee(target));
        let its = |moved: &&mut Moved<'_>| {
            let to = moved.transfer.to;
            !moved.taken
                && moved.asset == asset
                && moved.log.ordinal < log.ordinal
                && (moved.transfer.from == event.payer || moved.transfer.from == log.address)
                && to != log.address
                && match payee {
                    Some(payee) => to == payee,
                    None => self.payees.contains_key(&(asset, to)),
                }
        };
        if let Some(moved) = transfers.iter_mut().rev().find(its) {
            moved.taken = true;
        }
        found.push(if let Some(target) = target {
            Found::Credit {
                key,
                target,
                amount,
                from,
            }
        } else {
            let reason = if named.is_some() {
                Reason::Asset
            } else {
                Reason::Invoice
            };
            Found::Unmatched(Unmatched {
                key,
                asset,
                to: log.address,
                from,
                amount,
                reason,
            })
        });
    }

    /// What an authorisation moved: the transfer by its token from its signer to the payee that stands next
    /// to it, behind it as USD Coin has it, or before; a token may tell of its fee between the two. A nonce
    /// of an invoice that moved money to somebody else has paid nothing. `next` is where the same signer's
    /// next authorisation stands.
    fn authorised(
        &self,
        transaction: &Transaction<'_>,
        (log, asset, next): (&Log, Asset, Option<u32>),
        event: &abi::AuthorizationUsed,
        transfers: &mut [Moved<'_>],
        found: &mut Vec<Found>,
    ) {
        let drawn = (asset, event.authorizer, event.nonce);
        let its = self.nonces.get(&(asset, event.nonce));
        let Some((target, payee)) = its.or_else(|| self.drawn.get(&drawn)) else {
            return;
        };
        let (payer, payee) = (event.authorizer, *payee);
        // Who pays themselves has paid nothing.
        if payee == payer {
            return;
        }
        let by_payer = |moved: &Moved<'_>| moved.asset == asset && moved.transfer.from == payer;
        let its = |moved: &Moved<'_>| !moved.taken && by_payer(moved) && moved.transfer.to == payee;
        // What stands behind the payer's next authorisation is of that one.
        let end = next.unwrap_or(u32::MAX);
        let behind = transfers
            .iter()
            .position(|moved| its(moved) && (log.ordinal..end).contains(&moved.log.ordinal));
        let at = behind.or_else(|| {
            // Before it, where nothing of the payer's stands behind: that would be what this one moved.
            let moved_behind = transfers.iter().any(|moved| {
                by_payer(moved) && (log.ordinal..end).contains(&moved.log.ordinal) && !moved.taken
            });
            let before = |moved: &Moved<'_>| its(moved) && moved.log.ordinal < log.ordinal;
            (!moved_behind).then(|| transfers.iter().rposition(before))?
        });
        let Some(moved) = at.map(|at| &mut transfers[at]) else {
            return;
        };
        let amount = Amount(moved.transfer.value);
        if amount.is_zero() {
            return;
        }
        moved.taken = true;
        let key = key(transaction, moved.log.ordinal);
        let from = event.authorizer;
        found.push(Found::Credit {
            key,
            target: *target,
            amount,
            from,
        });
    }

    /// What the escrow has released of a hold. The transfer that it makes to the payee stands behind
    /// it, and is no payment of its own; there is none where the payee could not be paid, and the
    /// contract keeps it for them.
    fn released(
        &self,
        transaction: &Transaction<'_>,
        log: &Log,
        event: &abi::Released,
        transfers: &mut [Moved<'_>],
        found: &mut Vec<Found>,
    ) {
        let hold = (transaction.chain, log.address, event.holdId);
        let (Some(held), amount) = (self.holds.get(&hold), Amount(event.captured)) else {
            return;
        };
        if amount.is_zero() {
            return;
        }
        let its = |moved: &&mut Moved<'_>| {
            !moved.taken
                && moved.asset == held.asset
                && moved.log.ordinal > log.ordinal
                && moved.transfer.from == log.address
                && moved.transfer.to == held.payee
                && moved.transfer.value == event.captured
        };
        if let Some(moved) = transfers.iter_mut().find(its) {
            moved.taken = true;
        }
        found.push(Found::Credit {
            key: key(transaction, log.ordinal),
            target: held.target,
            amount,
            from: held.payer,
        });
    }

    /// What was just sent.
    fn plain(
        &self,
        key: Key,
        asset: Asset,
        (from, to, amount): (Address, Address, Amount),
        found: &mut Vec<Found>,
    ) {
        // Who sends something to themselves has not got more by it.
        if amount.is_zero() || from == to || !self.payees.contains_key(&(asset, to)) {
            return;
        }
        found.push(match self.amounts.get(&((asset, to), amount)) {
            Some(target) => Found::Credit {
                key,
                target: *target,
                amount,
                from,
            },
            None => {
                let reason = Reason::Amount;
                Found::Unmatched(Unmatched {
                    key,
                    asset,
                    to,
                    from,
                    amount,
                    reason,
                })
            }
        });
    }
}

/// Who gets what is released of a hold.
#[derive(Clone, Copy, Debug)]
struct Held {
    target: Target,
    asset: Asset,
    payer: Address,
    payee: Address,
}

/// A transfer of a token, and whether it is explained.
struct Moved<'a> {
    log: &'a Log,
    asset: Asset,
    transfer: abi::Transfer,
    taken: bool,
}

fn key(transaction: &Transaction<'_>, ordinal: u32) -> Key {
    Key {
        chain: transaction.chain,
        tx: transaction.hash,
        ordinal,
    }
}

fn nonces(id: Id, asset: Asset, payee: Address) -> impl Iterator<Item = B256> {
    let token = asset.contract.unwrap_or_default();
    (0..MAX_ATTEMPTS).map(move |attempt| nonce(asset.chain, token, payee, id, attempt))
}

fn count<K>(entry: Entry<'_, K, (TenantId, usize)>, tenant: &TenantId) {
    entry.or_insert_with(|| (tenant.clone(), 0)).1 += 1;
}

fn fewer<K>(entry: Entry<'_, K, usize>) {
    if let Entry::Occupied(mut entry) = entry {
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}

fn release<K>(entry: Entry<'_, K, (TenantId, usize)>) {
    if let Entry::Occupied(mut entry) = entry {
        entry.get_mut().1 -= 1;
        if entry.get().1 == 0 {
            entry.remove();
        }
    }
}
