//! The cashier over a real store, into which tests write what a follower would.

mod absent;
mod ahead;
mod crash;
pub(crate) mod fake;
mod loose;
mod outbox;
mod refunds;
mod rest;
mod settle;
mod strangers;
mod told;
mod watching;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use alloy_sol_types::SolEvent;
use stencil_payments::abi;
use stencil_payments::invoice::{Definition, Id, Method, Policy, Price, Way};
use stencil_payments::money::{Amount, Asset, Token};
use stencil_payments::observation::Needs;
use stencil_payments::{Address, U256};
use stencil_protocol::id::TenantId;
use stencil_store::{
    BlockMark, ChainCommit, ChainCommitted, ChainSource, KeptBlock, Observation, Store, sqlite,
};

use super::cashier::{At, Cashier, NewInvoice};
use super::reader;
use super::{About, Chains, RateOption, Table};
use crate::Clock;
use fake::{CHAIN, CONTRACT, Fake, ID, PAYEE, TOKEN, token};

/// When the chain's block 0 was made, seconds since the epoch.
pub(crate) const START_S: u64 = 1_700_000_000;
pub(crate) const PAYER: Address = Address::repeat_byte(0xbb);
/// 2.5 TEST.
pub(crate) const DUE: u64 = 2_500_000;
const MINUTE_US: i64 = 60_000_000;

pub(crate) fn acme() -> TenantId {
    "acme".parse().unwrap()
}

/// A cashier, its store, and a follower's hand.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) chain: Arc<Fake>,
    pub(crate) cashier: Cashier,
    pub(crate) now_us: Arc<AtomicI64>,
    follower: Follower,
    _dir: Option<tempfile::TempDir>,
}

/// Writes a chain's stream, as followers do.
pub(crate) struct Follower {
    store: Store,
    branch: u8,
}

/// What a transaction leaves.
#[derive(Clone)]
pub(crate) struct Seen {
    tx: u8,
    ordinal: u32,
    source: ChainSource,
    address: Address,
    topics: Vec<[u8; 32]>,
    data: Vec<u8>,
}

pub(crate) fn event(tx: u8, ordinal: u32, address: Address, event: &impl SolEvent) -> Seen {
    let log = event.encode_log_data();
    Seen {
        tx,
        ordinal,
        source: ChainSource::Log,
        address,
        topics: log.topics().iter().map(|topic| topic.0).collect(),
        data: log.data.to_vec(),
    }
}

pub(crate) fn transfer(tx: u8, ordinal: u32, to: Address, amount: u64) -> Seen {
    let value = U256::from(amount);
    let from = PAYER;
    event(tx, ordinal, TOKEN, &abi::Transfer { from, to, value })
}

pub(crate) fn native(tx: u8, to: Address, amount: u64) -> Seen {
    Seen {
        tx,
        ordinal: 0,
        source: ChainSource::Native,
        address: to,
        topics: vec![PAYER.into_word().0],
        data: U256::from(amount).to_be_bytes::<32>().to_vec(),
    }
}

impl Follower {
    fn mark(&self, number: u64) -> BlockMark {
        let mut hash = [self.branch; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        BlockMark { number, hash }
    }

    /// One more block, with these in it, seen in its time.
    pub(crate) async fn block(&self, time_s: u64, seen: &[Seen]) -> u64 {
        let at_us = i64::try_from(time_s).unwrap() * 1_000_000;
        self.block_at(time_s, at_us, seen).await
    }

    /// The same, seen at another time.
    pub(crate) async fn block_at(&self, time_s: u64, at_us: i64, seen: &[Seen]) -> u64 {
        let state = self.store.chains.chain(CHAIN).await.unwrap().unwrap();
        let number = state.cursor.map_or(0, |cursor| cursor.number + 1);
        let mark = self.mark(number);
        let place = |at: usize| u64::try_from(at).unwrap();
        let observed = seen.iter().enumerate().map(|(at, seen)| Observation {
            block: mark,
            time_s,
            source: seen.source,
            place: place(at),
            tx: [seen.tx; 32],
            ordinal: seen.ordinal,
            address: seen.address.0.0,
            topics: seen.topics.clone(),
            data: seen.data.clone(),
        });
        let commit = ChainCommit {
            chain: CHAIN.to_owned(),
            from: state.cursor,
            interest: state.interest,
            blocks: vec![KeptBlock {
                mark,
                parent: state.cursor.map_or([0; 32], |cursor| cursor.hash),
            }],
            observed: observed.collect(),
            cursor: Some(mark),
            cursor_s: Some(time_s),
            at_us,
            ..ChainCommit::default()
        };
        self.commit(commit).await;
        number
    }

    async fn commit(&self, commit: ChainCommit) {
        let done = self.store.chains.commit_chain(&commit).await.unwrap();
        assert!(matches!(done, ChainCommitted::Done { .. }));
    }

    /// All up to a block is final.
    pub(crate) async fn finalize(&self, number: u64) {
        let state = self.store.chains.chain(CHAIN).await.unwrap().unwrap();
        let commit = ChainCommit {
            chain: CHAIN.to_owned(),
            from: state.cursor,
            interest: state.interest,
            finalized: Some(self.mark(number)),
            ..ChainCommit::default()
        };
        self.commit(commit).await;
    }

    /// Blocks above this one leave the branch.
    pub(crate) async fn back_to(&mut self, number: u64) {
        let state = self.store.chains.chain(CHAIN).await.unwrap().unwrap();
        let commit = ChainCommit {
            chain: CHAIN.to_owned(),
            from: state.cursor,
            interest: state.interest,
            retract_above: Some(number),
            cursor: Some(self.mark(number)),
            ..ChainCommit::default()
        };
        self.commit(commit).await;
        self.branch += 1;
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut world = Self::at(dir.path()).await;
        world._dir = Some(dir);
        world
    }

    /// A world over what is kept in a folder.
    pub(crate) async fn at(dir: &Path) -> Self {
        let store = sqlite::open(dir.join("hub.db")).await.unwrap().store();
        for tenant in ["acme", "rival"] {
            let tenant = tenant.parse().unwrap();
            store.tenancy.create_tenant(&tenant, 0).await.unwrap();
        }
        let now_us = Arc::new(AtomicI64::new(i64::try_from(START_S).unwrap() * 1_000_000));
        let clock = {
            let now_us = Arc::clone(&now_us);
            Clock::from_fn(move || now_us.load(Ordering::SeqCst))
        };
        let chain = Fake::new();
        let chains = Chains::new(vec![chain.clone()]);
        let rates = Arc::new(Table::new(&[RateOption {
            token: "TEST".to_owned(),
            currency: "EUR".to_owned(),
            rate: "0.5".to_owned(),
        }]));
        let cashier = Cashier::open(store.clone(), chains, clock, rates)
            .await
            .unwrap();
        let follower = Follower {
            store: store.clone(),
            branch: 1,
        };
        Self {
            store,
            chain,
            cashier,
            now_us,
            follower,
            _dir: None,
        }
    }

    /// Where all of it is kept.
    pub(crate) fn folder(&self) -> &Path {
        self._dir.as_ref().unwrap().path()
    }

    /// The hub starts anew.
    pub(crate) async fn restart(&mut self) {
        let chains = self.cashier.0.chains.clone();
        self.restart_with(chains).await;
    }

    /// The same, with other chains in its settings.
    pub(crate) async fn restart_with(&mut self, chains: Chains) {
        let old = &self.cashier.0;
        let store = old.store.clone();
        let (clock, rates) = (old.clock.clone(), Arc::clone(&old.rates));
        self.cashier = Cashier::open(store, chains, clock, rates).await.unwrap();
    }

    pub(crate) async fn create(&self, definition: Definition) -> At {
        let about = About {
            reference: Some("locker-7".to_owned()),
            ..About::default()
        };
        let new = NewInvoice { definition, about };
        self.cashier.create(new).await.unwrap()
    }

    /// A block in its time: the hub's clock is at most behind it by what is believed.
    pub(crate) async fn block(&self, seconds: u64, seen: &[Seen]) -> u64 {
        let now_us = i64::try_from(START_S + seconds).unwrap() * 1_000_000 - MINUTE_US;
        self.now_us.fetch_max(now_us, Ordering::SeqCst);
        let number = self.follower.block(START_S + seconds, seen).await;
        self.catch_up().await;
        number
    }

    pub(crate) async fn finalize(&self, number: u64) {
        self.follower.finalize(number).await;
        self.catch_up().await;
    }

    pub(crate) async fn back_to(&mut self, number: u64) {
        self.follower.back_to(number).await;
        self.catch_up().await;
    }

    pub(crate) async fn catch_up(&self) {
        while reader::step(&self.cashier, self.chain.as_ref())
            .await
            .unwrap()
        {}
    }

    pub(crate) async fn invoice(&self, n: u8) -> At {
        self.cashier.invoice(&acme(), id(n)).await.unwrap().unwrap()
    }

    pub(crate) async fn state(&self, n: u8) -> String {
        super::cashier::state(&self.invoice(n).await.kept.invoice)
    }

    /// What accounts hold: debits less credits.
    pub(crate) async fn holds(&self) -> BTreeMap<String, i128> {
        let balances = self.store.payments.balances(&acme()).await.unwrap();
        let held = balances.into_iter().map(|balance| {
            let [debits, credits] = [&balance.debits, &balance.credits];
            let net = debits.parse::<i128>().unwrap() - credits.parse::<i128>().unwrap();
            (balance.account, net)
        });
        held.filter(|(_, net)| *net != 0).collect()
    }

    pub(crate) async fn unmatched(&self, tenant: &TenantId) -> Vec<serde_json::Value> {
        let page = self
            .store
            .payments
            .unmatched(tenant, None, 100)
            .await
            .unwrap();
        let bodies = page
            .items
            .iter()
            .map(|stray| serde_json::from_str(&stray.body).unwrap());
        bodies.collect()
    }
}

pub(crate) fn id(n: u8) -> Id {
    Id([n; 16])
}

pub(crate) fn method(token: Token, way: Way, needs: Needs, due: u64) -> Method {
    let price = Price::Token {
        asset: token.asset(),
        amount: Amount::from(due),
    };
    Method::priced(&price, token, None, PAYEE, way, needs).unwrap()
}

/// An invoice over 2.5 TEST, which can be paid for a quarter of an hour.
pub(crate) fn invoice(n: u8, way: Way, needs: Needs) -> Definition {
    definition(n, method(token(), way, needs, DUE))
}

pub(crate) fn coin(n: u8, way: Way) -> Definition {
    let coin = Token::new(Asset::native(ID), 18, "ETH").unwrap();
    definition(n, method(coin, way, Needs::Confirmations(1), DUE))
}

pub(crate) fn definition(n: u8, method: Method) -> Definition {
    let created_us = i64::try_from(START_S).unwrap() * 1_000_000;
    Definition {
        id: id(n),
        tenant: acme(),
        price: Price::Token {
            asset: method.token.asset(),
            amount: method.due,
        },
        methods: vec![method],
        created_us,
        expires_us: created_us + 15 * MINUTE_US,
        policy: Policy::DEFAULT,
    }
}

/// What a token leaves of an authorisation that pays an invoice.
pub(crate) fn authorised(tx: u8, n: u8, amount: u64) -> Vec<Seen> {
    let nonce = stencil_payments::matching::nonce(ID, TOKEN, PAYEE, id(n), 0);
    let used = abi::AuthorizationUsed {
        authorizer: PAYER,
        nonce,
    };
    vec![event(tx, 0, TOKEN, &used), transfer(tx, 1, PAYEE, amount)]
}

/// What the payment contract leaves.
pub(crate) fn paid(tx: u8, n: u8, token: Address, amount: u64) -> Vec<Seen> {
    let paid = abi::Paid {
        invoiceId: abi::invoice_id(id(n)),
        payer: PAYER,
        token,
        amount: U256::from(amount),
        received: U256::from(amount),
    };
    let mut seen = vec![event(tx, 1, CONTRACT, &paid)];
    if !token.is_zero() {
        seen.insert(0, transfer(tx, 0, PAYEE, amount));
    }
    seen
}
