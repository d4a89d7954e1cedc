//! A chain with one token, in memory: what it says, and what becomes of what is ordered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use alloy_sol_types::{SolCall as _, SolValue as _};
use async_trait::async_trait;
use stencil_payments::eip712::Domain;
use stencil_payments::invoice::{Event as InvoiceEvent, Id, Invoice, Payment, State};
use stencil_payments::money::{Amount, Asset, Token};
use stencil_payments::observation::{Block, Key};
use stencil_payments::port::{
    Called, Chain, Event, Function, InVain, KnownToken, NotOrdered, Order, Outcome, Sent, Unknown,
};
use stencil_payments::{Address, B256, Bytes, U256, abi};
use stencil_protocol::id::TenantId;
use stencil_store::{BlockMark, ChainCommit, InvoiceCommit, Store, StoredInvoice};
use tokio::sync::Notify;

use crate::chains::x402::till::{NotOpened, Till};

pub(in crate::http::tests) const CHAIN_ID: u64 = 31_337;
pub(in crate::http::tests) const TOKEN: Address = Address::repeat_byte(0x70);
pub(in crate::http::tests) const PAYEE: Address = Address::repeat_byte(0xaa);
/// What is ordered is included in the blocks after this one, one each.
const BLOCK: u64 = 7;

/// What becomes of what is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::http::tests) enum Mode {
    /// It is in the next block, and does what it should.
    #[default]
    Includes,
    /// Nothing, until [`Money::include`].
    Waits,
    /// It is in a block, and was reverted.
    Reverts,
    /// It is in a block that is final, and was reverted.
    FailsForGood,
    /// Somebody else has brought the same authorisation before it, so that it is reverted.
    IsLate,
    /// The token keeps a tenth of what it transfers.
    TakesFee,
    /// What it brings has the nonce of an invoice, and pays that.
    PaysInvoice([u8; 16]),
    /// The tenant's limit is reached.
    Refuses,
    /// It can't be known now whether it can be sent.
    IsBusy,
}

#[derive(Debug, Default)]
struct Book {
    mode: Mode,
    deaf: bool,
    balances: BTreeMap<Address, U256>,
    used: BTreeSet<(Address, B256)>,
    /// Those of them that are used in a block that is final.
    used_for_good: BTreeSet<(Address, B256)>,
    sent: BTreeMap<String, Sent>,
    ordered: Vec<Order>,
    /// The time that orders are taken at, µs since the epoch.
    now_us: i64,
    ordered_us: BTreeMap<String, i64>,
    /// The number of the newest observation.
    seq: u64,
    /// Where the escrow says that each hold is.
    hold: u8,
    /// Since which block it is held, where it is.
    held_from: u64,
    /// The first block whose state nodes have still.
    state_from: u64,
}

/// The chain `local`.
pub(in crate::http::tests) struct Money {
    store: Store,
    tokens: Vec<KnownToken>,
    book: Mutex<Book>,
    stepped: Notify,
    /// Nobody can be sent to pay on it.
    pub(in crate::http::tests) unusable: Mutex<Option<String>>,
}

impl Money {
    pub(in crate::http::tests) fn new(store: Store) -> Arc<Self> {
        let token = Token::new(Asset::erc20(CHAIN_ID, TOKEN), 6, "USDX").unwrap();
        let domain = Some(domain());
        Arc::new(Self {
            store,
            tokens: vec![KnownToken { token, domain }],
            book: Mutex::default(),
            stepped: Notify::new(),
            unusable: Mutex::default(),
        })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    pub(in crate::http::tests) fn gives(&self, to: Address, units: u64) {
        self.book().balances.insert(to, U256::from(units));
    }

    pub(in crate::http::tests) fn balance(&self, of: Address) -> u64 {
        let book = self.book();
        book.balances.get(&of).copied().unwrap_or_default().to()
    }

    /// A payer has used a nonce, or cancelled it.
    pub(in crate::http::tests) fn uses(&self, payer: Address, nonce: B256) {
        self.book().used.insert((payer, nonce));
    }

    /// The escrow says from now on that each hold is there: 0 none, 1 held.
    pub(in crate::http::tests) fn escrow_says(&self, state: u8) {
        self.book().hold = state;
    }

    /// The escrow says that each hold is held, and was made in this block.
    pub(in crate::http::tests) fn escrow_holds_from(&self, block: u64) {
        let mut book = self.book();
        (book.hold, book.held_from) = (1, block);
    }

    /// Nodes have let the state of all blocks before this one go.
    pub(in crate::http::tests) fn has_state_from(&self, block: u64) {
        self.book().state_from = block;
    }

    pub(in crate::http::tests) fn set(&self, mode: Mode) {
        self.book().mode = mode;
    }

    /// Orders are taken at this time from now on.
    pub(in crate::http::tests) fn is_at(&self, now_us: i64) {
        self.book().now_us = now_us;
    }

    /// Whether it can be asked.
    pub(in crate::http::tests) fn hears(&self, hears: bool) {
        self.book().deaf = !hears;
    }

    pub(in crate::http::tests) fn ordered(&self) -> Vec<Order> {
        self.book().ordered.clone()
    }

    /// What is in a block stays so.
    pub(in crate::http::tests) async fn finalizes(&self) {
        for sent in self.book().sent.values_mut() {
            if let Sent::Included(outcome) = *sent {
                *sent = Sent::Final(outcome);
            }
        }
        let chains = &self.store.chains;
        let state = chains.open_chain("local", CHAIN_ID, 1).await.unwrap();
        let commit = ChainCommit {
            chain: "local".into(),
            from: state.cursor,
            interest: state.interest,
            finalized: state.cursor,
            at_us: 1,
            ..ChainCommit::default()
        };
        chains.commit_chain(&commit).await.unwrap();
        let mut book = self.book();
        book.used_for_good = book.used.clone();
    }

    /// All that was ordered and is in no block comes into one.
    pub(in crate::http::tests) async fn include(&self) {
        self.include_as(Mode::Includes).await;
    }

    /// The same, and this becomes of it.
    pub(in crate::http::tests) async fn include_as(&self, mode: Mode) {
        let pending: Vec<_> = {
            let book = self.book();
            let pending = book.ordered.iter();
            let pending = pending.filter(|it| book.sent.get(&it.key) == Some(&Sent::Pending));
            pending.cloned().collect()
        };
        for order in pending {
            self.happens(&order, mode).await;
        }
    }

    /// A reorganisation takes back what was ordered last: it is in no block any more.
    pub(in crate::http::tests) async fn takes_back(&self) {
        let (order, number) = {
            let mut book = self.book();
            let order = book.ordered.last().cloned().expect("something was ordered");
            let call = abi::transferWithAuthorizationCall::abi_decode(&order.data).unwrap();
            assert!(book.used.remove(&(call.from, call.nonce)));
            *book.balances.get_mut(&call.to).unwrap() -= call.value;
            *book.balances.get_mut(&call.from).unwrap() += call.value;
            book.sent.insert(order.key.clone(), Sent::Pending);
            (order, u8::try_from(book.ordered.len()).unwrap())
        };
        let key = Key {
            chain: CHAIN_ID,
            tx: B256::repeat_byte(number),
            ordinal: 1,
        };
        let seq = self.next_seq();
        let id = order.key.strip_prefix("x402-").unwrap().parse().unwrap();
        let event = InvoiceEvent::Retracted { key, seq };
        self.observe(&order.tenant, id, event, None).await;
    }

    fn next_seq(&self) -> u64 {
        let mut book = self.book();
        book.seq += 1;
        book.seq
    }

    async fn happens(&self, order: &Order, mode: Mode) {
        let call = abi::transferWithAuthorizationCall::abi_decode(&order.data).unwrap();
        let number = u8::try_from(self.book().ordered.len()).unwrap();
        let tx = B256::repeat_byte(number);
        let block = BLOCK + u64::from(number);
        let succeeded = !matches!(mode, Mode::Reverts | Mode::FailsForGood | Mode::IsLate);
        let moved = {
            let mut book = self.book();
            let outcome = Outcome {
                tx,
                block,
                block_hash: B256::repeat_byte(9),
                succeeded,
            };
            let sent = match mode {
                Mode::FailsForGood => Sent::Final(outcome),
                _ => Sent::Included(outcome),
            };
            book.sent.insert(order.key.clone(), sent);
            if matches!(mode, Mode::Reverts | Mode::FailsForGood) {
                U256::ZERO
            } else {
                assert!(book.used.insert((call.from, call.nonce)), "used twice");
                let has = book.balances.entry(call.from).or_default();
                *has = has.checked_sub(call.value).expect("money that is there");
                let fee = match mode {
                    Mode::TakesFee => call.value / U256::from(10),
                    _ => U256::ZERO,
                };
                *book.balances.entry(call.to).or_default() += call.value - fee;
                call.value - fee
            }
        };
        if !moved.is_zero() {
            let tx = if mode == Mode::IsLate {
                B256::repeat_byte(0xff - number)
            } else {
                tx
            };
            let id = order.key.strip_prefix("x402-").expect("a purchase's");
            let id: Id = id.parse().unwrap();
            if let Mode::PaysInvoice(other) = mode {
                self.owns(&order.tenant, &other, tx).await;
            } else {
                self.credit(&order.tenant, id, tx, Amount(moved), call.from)
                    .await;
            }
        }
        // Only when what is in the block is known, it was read.
        self.read_up_to(block).await;
        self.stepped.notify_waiters();
    }

    /// The payer has brought what was ordered last by themselves, in a block that is read now.
    pub(in crate::http::tests) async fn is_brought(&self) {
        let order = self.book().ordered.last().cloned();
        let order = order.expect("something was ordered");
        let call = abi::transferWithAuthorizationCall::abi_decode(&order.data).unwrap();
        let id: Id = order.key["x402-".len()..][..32].parse().unwrap();
        let (tx, amount) = (B256::repeat_byte(0xb0), Amount(call.value));
        self.credit(&order.tenant, id, tx, amount, call.from).await;
    }

    /// The follower has looked at all blocks up to this one.
    pub(in crate::http::tests) async fn read_up_to(&self, number: u64) {
        let mark = BlockMark {
            number,
            hash: [9; 32],
        };
        let chains = &self.store.chains;
        let state = chains.open_chain("local", CHAIN_ID, 1).await.unwrap();
        if state.cursor == Some(mark) {
            return;
        }
        let commit = ChainCommit {
            chain: "local".into(),
            from: state.cursor,
            interest: state.interest,
            cursor: Some(mark),
            at_us: 1,
            ..ChainCommit::default()
        };
        chains.commit_chain(&commit).await.unwrap();
    }

    /// The cashier has seen that money came for another invoice.
    async fn owns(&self, tenant: &TenantId, invoice: &[u8; 16], tx: B256) {
        let payments = &self.store.payments;
        let mut stored = payments.invoice(tenant, invoice).await.unwrap().unwrap();
        stored.version += 1;
        let key = Key {
            chain: CHAIN_ID,
            tx,
            ordinal: 1,
        };
        let commit = InvoiceCommit {
            invoice: stored,
            is_undone: false,
            payers: Vec::new(),
            credits: vec![key.to_string()],
            refunds: Vec::new(),
            entries: vec![],
            effects: vec![],
        };
        payments.commit_invoice(&commit).await.unwrap();
    }

    /// The cashier has seen that money came.
    async fn credit(&self, tenant: &TenantId, id: Id, tx: B256, amount: Amount, from: Address) {
        let key = Key {
            chain: CHAIN_ID,
            tx,
            ordinal: 1,
        };
        let block = Block {
            number: BLOCK,
            hash: B256::repeat_byte(9),
            time_s: 1_700_000_001,
        };
        let payment = Payment {
            method: 0,
            amount,
            from,
            block,
        };
        let seq = self.next_seq();
        let event = InvoiceEvent::Credit { key, seq, payment };
        self.observe(tenant, id, event, Some(key)).await;
    }

    async fn observe(&self, tenant: &TenantId, id: Id, event: InvoiceEvent, owns: Option<Key>) {
        let payments = &self.store.payments;
        let mut stored = payments.invoice(tenant, &id.0).await.unwrap().unwrap();
        let mut body: serde_json::Value = serde_json::from_str(&stored.body).unwrap();
        let mut invoice: Invoice = serde_json::from_value(body["invoice"].clone()).unwrap();
        let was_settled = invoice.state() == State::Settled;
        invoice.apply(&event).unwrap();
        body["invoice"] = serde_json::to_value(&invoice).unwrap();
        stored.body = body.to_string();
        stored.version += 1;
        let commit = InvoiceCommit {
            invoice: stored,
            is_undone: was_settled && invoice.state() != State::Settled,
            payers: Vec::new(),
            credits: owns.iter().map(Key::to_string).collect(),
            entries: vec![],
            effects: vec![],
            refunds: Vec::new(),
        };
        payments.commit_invoice(&commit).await.unwrap();
    }
}

pub(in crate::http::tests) fn domain() -> Domain {
    Domain {
        name: "Dollar".into(),
        version: "1".into(),
        chain: CHAIN_ID,
        token: TOKEN,
    }
}

#[async_trait]
impl Chain for Money {
    fn name(&self) -> &str {
        "local"
    }

    fn id(&self) -> u64 {
        CHAIN_ID
    }

    fn account(&self) -> Option<Address> {
        Some(Address::repeat_byte(0x0b))
    }

    fn tokens(&self) -> &[KnownToken] {
        &self.tokens
    }

    fn payments(&self) -> Option<Address> {
        None
    }

    fn escrow(&self) -> Option<Address> {
        None
    }

    fn event(&self, signature: &str) -> Result<Arc<dyn Event>, String> {
        Err(format!("{signature}: nobody watches events here"))
    }

    fn function(&self, signature: &str) -> Result<Arc<dyn Function>, String> {
        Err(format!("{signature}: nobody calls functions here"))
    }

    async fn call(&self, to: Address, data: Bytes) -> Result<Called, Unknown> {
        let book = self.book();
        if book.deaf {
            return Err(Unknown("no endpoint answers".into()));
        }
        let returned = |bytes: Vec<u8>| Ok(Called::Returned(bytes.into()));
        if abi::stateOfCall::abi_decode(&data).is_ok() {
            return returned(U256::from(book.hold).abi_encode());
        }
        assert_eq!(to, TOKEN, "the token is asked");
        if let Ok(call) = abi::authorizationStateCall::abi_decode(&data) {
            let used = book.used.contains(&(call.authorizer, call.nonce));
            return returned(used.abi_encode());
        }
        if let Ok(call) = abi::balanceOfCall::abi_decode(&data) {
            let balance = book.balances.get(&call.account).copied();
            return returned(balance.unwrap_or_default().abi_encode());
        }
        let call = abi::transferWithAuthorizationCall::abi_decode(&data).expect("a settlement");
        let balance = book.balances.get(&call.from).copied();
        let used = book.used.contains(&(call.from, call.nonce));
        if used || balance.unwrap_or_default() < call.value {
            return Ok(Called::Reverted("it can't be transferred".into()));
        }
        returned(vec![])
    }

    async fn call_at(&self, to: Address, data: Bytes, block: u64) -> Result<Called, Unknown> {
        if abi::stateOfCall::abi_decode(&data).is_ok() {
            let book = self.book();
            if block < book.state_from {
                return Err(Unknown("missing trie node".into()));
            }
            let held = book.hold == 1 && block >= book.held_from;
            let word = U256::from(u8::from(held)).abi_encode();
            return Ok(Called::Returned(word.into()));
        }
        let chains = &self.store.chains;
        let state = chains.open_chain("local", CHAIN_ID, 1).await.unwrap();
        let last = state.finalized.map(|last| last.number);
        assert_eq!(last, Some(block), "nobody asks of others");
        let call = abi::authorizationStateCall::abi_decode(&data).expect("the nonce");
        assert_eq!(to, TOKEN, "the token is asked");
        let book = self.book();
        let used = book.used_for_good.contains(&(call.authorizer, call.nonce));
        Ok(Called::Returned(used.abi_encode().into()))
    }

    async fn has_code(&self, _: Address) -> Result<bool, Unknown> {
        Ok(false)
    }

    async fn order(&self, order: &Order) -> Result<Sent, NotOrdered> {
        let mode = {
            let mut book = self.book();
            if let Some(sent) = book.sent.get(&order.key) {
                return Ok(*sent);
            }
            if book.mode == Mode::Refuses {
                return Err(NotOrdered::Refused("the limit is reached".into()));
            }
            if book.mode == Mode::IsBusy {
                return Err(NotOrdered::Unknown("no endpoint answers".into()));
            }
            book.ordered.push(order.clone());
            let now_us = book.now_us;
            book.ordered_us.insert(order.key.clone(), now_us);
            book.sent.insert(order.key.clone(), Sent::Pending);
            book.mode
        };
        if mode != Mode::Waits {
            self.happens(order, mode).await;
        }
        Ok(self.book().sent[&order.key])
    }

    async fn sent(&self, _: &TenantId, key: &str) -> Result<Option<Sent>, Unknown> {
        Ok(self.book().sent.get(key).copied())
    }

    async fn in_vain(
        &self,
        tenant: &TenantId,
        payer: Address,
        since_us: i64,
        limit: u32,
    ) -> Result<Vec<InVain>, Unknown> {
        let book = self.book();
        let failed = book.ordered.iter().rev().filter(|order| {
            let failed = matches!(
                book.sent.get(&order.key),
                Some(Sent::Included(it) | Sent::Final(it)) if !it.succeeded
            );
            failed && order.tenant == *tenant
        });
        let found = failed.filter_map(|order| {
            let brings = order.brings.filter(|it| it.payer == payer)?;
            let (invoice, at_us) = (brings.invoice, book.ordered_us[&order.key]);
            (at_us > since_us).then_some(InVain { invoice, at_us })
        });
        Ok(found.take(usize::try_from(limit).unwrap()).collect())
    }

    async fn stepped(&self) {
        self.stepped.notified().await;
    }

    async fn run(&self) -> Result<(), String> {
        std::future::pending().await
    }

    fn trouble(&self) -> Option<String> {
        None
    }

    fn usable(&self) -> Result<(), String> {
        self.unusable.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

/// Where invoices are made and nobody looks at chains: [`Money`] says what came.
pub(in crate::http::tests) struct Drawer(pub(in crate::http::tests) Store);

#[async_trait]
impl Till for Drawer {
    async fn open(
        &self,
        definition: stencil_payments::invoice::Definition,
        _: &str,
    ) -> Result<(), NotOpened> {
        let (tenant, id) = (definition.tenant.clone(), definition.id);
        let (created_us, until_us) = (definition.created_us, definition.expires_us);
        let invoice = Invoice::new(definition).unwrap();
        let invoice = StoredInvoice {
            tenant: tenant.clone(),
            invoice: id.0,
            version: 1,
            state: "new".into(),
            body: serde_json::json!({ "invoice": invoice, "about": {} }).to_string(),
            wakes_us: None,
            watched_until_us: until_us,
            created_us,
            changed_us: created_us,
        };
        let commit = InvoiceCommit {
            invoice,
            is_undone: false,
            payers: Vec::new(),
            credits: vec![],
            entries: vec![],
            effects: vec![],
            refunds: Vec::new(),
        };
        match self.0.payments.commit_invoice(&commit).await {
            Ok(()) | Err(stencil_store::Error::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn call_off(&self, tenant: &TenantId, id: Id) -> Result<(), NotOpened> {
        let payments = &self.0.payments;
        let mut stored = payments.invoice(tenant, &id.0).await?.unwrap();
        let mut body: serde_json::Value = serde_json::from_str(&stored.body).unwrap();
        let mut invoice: Invoice = serde_json::from_value(body["invoice"].clone()).unwrap();
        invoice.apply(&InvoiceEvent::Cancel).unwrap();
        body["invoice"] = serde_json::to_value(&invoice).unwrap();
        (stored.body, stored.state) = (body.to_string(), "cancelled".into());
        stored.version += 1;
        let commit = InvoiceCommit {
            invoice: stored,
            is_undone: false,
            payers: Vec::new(),
            credits: vec![],
            entries: vec![],
            effects: vec![],
            refunds: Vec::new(),
        };
        Ok(payments.commit_invoice(&commit).await?)
    }

    async fn undone(&self) {
        std::future::pending().await
    }
}
