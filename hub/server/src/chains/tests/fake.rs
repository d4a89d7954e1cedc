//! A chain that says what a test has told it to say.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use stencil_payments::eip712::Domain;
use stencil_payments::money::{Amount, Asset, Token};
use stencil_payments::port::{
    Called, Chain, Event, Function, Head, InVain, KnownToken, Looked, Moved, NotOrdered, Order,
    Outcome, Sent, Unknown,
};
use stencil_payments::{Address, B256, Bytes};
use stencil_protocol::id::TenantId;
use tokio::sync::Notify;

pub(crate) const CHAIN: &str = "local";
pub(crate) const ID: u64 = 31_337;
pub(crate) const TOKEN: Address = Address::repeat_byte(0x70);
pub(crate) const CONTRACT: Address = Address::repeat_byte(0xcc);
pub(crate) const PAYEE: Address = Address::repeat_byte(0xaa);
pub(crate) const ANCHOR: Address = Address::repeat_byte(0xa4);
pub(crate) const ESCROW: Address = Address::repeat_byte(0xe5);
pub(crate) const ACCOUNT: Address = Address::repeat_byte(0xac);

pub(crate) fn token() -> Token {
    Token::new(Asset::erc20(ID, TOKEN), 6, "TEST").unwrap()
}

pub(crate) fn domain() -> Domain {
    Domain {
        name: "Test".to_owned(),
        version: "1".to_owned(),
        chain: ID,
        token: TOKEN,
    }
}

pub(crate) struct Fake {
    name: &'static str,
    id: u64,
    tokens: Vec<KnownToken>,
    answers: Mutex<HashMap<(Address, Bytes), Called>>,
    /// What calls give that were told nothing of.
    otherwise: Mutex<Result<Called, Unknown>>,
    contracts: Mutex<Vec<Address>>,
    /// Contracts of ours that nobody has named.
    pub(crate) own: Mutex<HashMap<Address, &'static str>>,
    pub(crate) orders: Mutex<Vec<Order>>,
    pub(crate) sent: Mutex<HashMap<String, Sent>>,
    pub(crate) refuses: Mutex<Option<NotOrdered>>,
    /// What was reverted of what a payer has signed, the newest first.
    pub(crate) in_vain: Mutex<HashMap<Address, Vec<InVain>>>,
    /// Orders are never answered.
    pub(crate) hangs: AtomicBool,
    /// Nobody can say where contracts are.
    pub(crate) silent: AtomicBool,
    pub(crate) stepped: Notify,
    /// It was not reached yet.
    pub(crate) unknown: AtomicBool,
    /// Why it is not reached yet.
    pub(crate) not_ready: Mutex<Option<String>>,
    /// Somebody has to deal with it.
    pub(crate) stopped: AtomicBool,
    /// Nobody can be sent to pay on it, though it was reached.
    pub(crate) unusable: Mutex<Option<String>>,
    pub(crate) head: Mutex<Option<Head>>,
    /// What transactions of others have done; it says nothing of those that are not here.
    pub(crate) looked: Mutex<HashMap<B256, Option<Looked>>>,
    /// The next nonces of accounts as of blocks; it says none of others.
    pub(crate) nonces: Mutex<HashMap<(Address, u64), u64>>,
}

impl Fake {
    pub(crate) fn new() -> Arc<Self> {
        Self::called(CHAIN, ID)
    }

    pub(crate) fn called(name: &'static str, id: u64) -> Arc<Self> {
        let known = KnownToken {
            token: token(),
            domain: Some(domain()),
        };
        Arc::new(Self {
            name,
            id,
            stopped: AtomicBool::default(),
            tokens: vec![known],
            answers: Mutex::default(),
            otherwise: Mutex::new(Ok(Called::Returned(Bytes::new()))),
            contracts: Mutex::default(),
            own: Mutex::default(),
            orders: Mutex::default(),
            sent: Mutex::default(),
            refuses: Mutex::default(),
            in_vain: Mutex::default(),
            hangs: AtomicBool::default(),
            silent: AtomicBool::default(),
            stepped: Notify::new(),
            unknown: AtomicBool::new(false),
            not_ready: Mutex::default(),
            unusable: Mutex::default(),
            head: Mutex::default(),
            looked: Mutex::default(),
            nonces: Mutex::default(),
        })
    }

    /// A call of this contract with this calldata returns so.
    pub(crate) fn answers(&self, to: Address, data: Bytes, returned: impl Into<Bytes>) {
        let called = Called::Returned(returned.into());
        self.answers.lock().unwrap().insert((to, data), called);
    }

    pub(crate) fn otherwise(&self, called: Result<Called, Unknown>) {
        *self.otherwise.lock().unwrap() = called;
    }

    /// A transaction is in a block, and has made such transfers of the token, or of the coin.
    pub(crate) fn has(&self, tx: B256, block: u64, moves: &[(Option<Address>, Address, u64)]) {
        let outcome = Outcome {
            tx,
            block,
            block_hash: B256::repeat_byte(7),
            succeeded: true,
        };
        let moves = (0_u32..)
            .zip(moves)
            .map(|(ordinal, (token, to, amount))| Moved {
                ordinal,
                token: *token,
                from: PAYEE,
                to: *to,
                amount: Amount::from(*amount),
            });
        let moves = moves.collect();
        let (sender, nonce) = (PAYEE, u64::from(tx[0]));
        let looked = Some(Looked {
            outcome,
            sender,
            nonce,
            moves,
        });
        self.looked.lock().unwrap().insert(tx, looked);
    }

    pub(crate) fn is_contract(&self, address: Address) {
        self.contracts.lock().unwrap().push(address);
    }
}

#[async_trait]
impl Chain for Fake {
    fn name(&self) -> &str {
        self.name
    }

    fn id(&self) -> u64 {
        self.id
    }

    fn account(&self) -> Option<Address> {
        Some(ACCOUNT)
    }

    fn tokens(&self) -> &[KnownToken] {
        if self.is_confirmed() {
            &self.tokens
        } else {
            &[]
        }
    }

    fn most_fee_per_gas(&self) -> Option<u128> {
        Some(500_000_000_000)
    }

    fn is_confirmed(&self) -> bool {
        !self.unknown.load(Ordering::SeqCst)
    }

    fn payments(&self) -> Option<Address> {
        Some(CONTRACT)
    }

    fn escrow(&self) -> Option<Address> {
        Some(ESCROW)
    }

    fn anchor(&self) -> Option<Address> {
        Some(ANCHOR)
    }

    fn event(&self, _: &str) -> Result<Arc<dyn Event>, String> {
        Err("no test asks for events".to_owned())
    }

    fn function(&self, _: &str) -> Result<Arc<dyn Function>, String> {
        Err("no test asks for functions".to_owned())
    }

    async fn call(&self, to: Address, data: Bytes) -> Result<Called, Unknown> {
        let known = self.answers.lock().unwrap().get(&(to, data)).cloned();
        known.map_or_else(|| self.otherwise.lock().unwrap().clone(), Ok)
    }

    async fn has_code(&self, address: Address) -> Result<bool, Unknown> {
        if self.silent.load(Ordering::SeqCst) {
            return Err(Unknown("nobody answers".to_owned()));
        }
        Ok(self.contracts.lock().unwrap().contains(&address))
    }

    async fn own_contract(&self, address: Address) -> Result<Option<&'static str>, Unknown> {
        if self.silent.load(Ordering::SeqCst) {
            return Err(Unknown("nobody answers".to_owned()));
        }
        Ok(self.own.lock().unwrap().get(&address).copied())
    }

    async fn order(&self, order: &Order) -> Result<Sent, NotOrdered> {
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if let Some(why) = self.refuses.lock().unwrap().clone() {
            return Err(why);
        }
        self.orders.lock().unwrap().push(order.clone());
        let mut sent = self.sent.lock().unwrap();
        Ok(*sent.entry(order.key.clone()).or_insert(Sent::Pending))
    }

    async fn sent(&self, _: &TenantId, key: &str) -> Result<Option<Sent>, Unknown> {
        Ok(self.sent.lock().unwrap().get(key).copied())
    }

    async fn in_vain(
        &self,
        _: &TenantId,
        payer: Address,
        since_us: i64,
        limit: u32,
    ) -> Result<Vec<InVain>, Unknown> {
        let of = self.in_vain.lock().unwrap().get(&payer).cloned();
        let all = of.unwrap_or_default().into_iter();
        let since = all.filter(|it| it.at_us > since_us);
        Ok(since.take(usize::try_from(limit).unwrap()).collect())
    }

    async fn look_up(&self, tx: B256) -> Result<Option<Looked>, Unknown> {
        let known = self.looked.lock().unwrap().get(&tx).cloned();
        known.ok_or_else(|| Unknown("nobody answers".to_owned()))
    }

    async fn next_nonce(&self, account: Address, block: u64) -> Result<u64, Unknown> {
        let next = self.nonces.lock().unwrap().get(&(account, block)).copied();
        next.ok_or_else(|| Unknown("nobody answers".to_owned()))
    }

    async fn stepped(&self) {
        self.stepped.notified().await;
    }

    async fn run(&self) -> Result<(), String> {
        std::future::pending().await
    }

    fn trouble(&self) -> Option<String> {
        self.unusable.lock().unwrap().clone()
    }

    fn head(&self) -> Option<Head> {
        *self.head.lock().unwrap()
    }

    fn usable(&self) -> Result<(), String> {
        self.ready()?;
        self.unusable.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    fn ready(&self) -> Result<(), String> {
        if self.stopped.load(Ordering::SeqCst) {
            return Err(format!("the chain {} is not followed now", self.name));
        }
        self.not_ready.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}
