//! A chain as the hub sees it: the port [`Chain`] over follower, endpoints, sender and signer.

mod account;
mod options;
mod sending;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::SolValue as _;
use async_trait::async_trait;
use stencil_payments::invoice::Id;
use stencil_payments::port::{
    self, Called, Chain, Evidence, ForWallets, InVain, KnownToken, Looked, NotOrdered, Order,
    Outcome, Sent, Unknown,
};
use stencil_protocol::id::TenantId;
use stencil_store::{Brought, BroughtInVain, Chains, SendState, Sends, StoredSend};
use tokio::sync::Notify;

use crate::follower::Moment;
use crate::rpc::Quorum;
use crate::sender::{self, Sender};
use crate::signer::Signer;
use crate::{Back, Error, Follower, Progress, Settings, deploy, event, function};
use sending::Sending;

pub use account::Account;
pub use options::{Domain, Options, TokenOptions, WalletOptions};

/// Between two attempts to ask a chain about its tokens before it is followed, where it is not polled more
/// often.
const RETRY: Duration = Duration::from_secs(2);

/// A chain, followed and acted on.
pub struct Connection {
    settings: Settings,
    given: Vec<KnownToken>,
    /// What the chain has confirmed of them; nothing is taken in a token before that.
    confirmed: OnceLock<Vec<KnownToken>>,
    payments: Option<Address>,
    escrow: Option<Address>,
    anchor: Option<Address>,
    wallets: Option<ForWallets>,
    quorum: Quorum,
    chains: Arc<dyn Chains>,
    sends: Arc<dyn Sends>,
    now: Moment,
    policy: sender::Policy,
    account: Option<Sending>,
    /// Told when something was stored.
    moved: Notify,
    trouble: Mutex<Trouble>,
    /// The newest block that was heard of.
    head: Mutex<Option<port::Head>>,
    /// It is known from which block on it is followed.
    begun: AtomicBool,
}

/// What is not well: of what is heard, and of what is sent.
#[derive(Debug, Default)]
struct Trouble {
    heard: Option<Told>,
    /// Since when something was heard wrong, one after another, by the hub's clock.
    since_us: Option<i64>,
    /// The walk back that is on.
    back: Option<Back>,
    sent: Option<String>,
    /// It was asked since the start, and has answered, or is known not to.
    is_asked: bool,
    /// It is not followed because of what is heard, until people have dealt with that.
    ended: bool,
}

/// What is wrong.
#[derive(Debug, Clone)]
struct Told {
    /// In the hub's own words, which anybody may read: no endpoint's name is in it, and nothing that one
    /// has said.
    short: String,
    /// For who runs the hub.
    whole: String,
    /// It does not pass within seconds.
    lasts: bool,
}

impl Told {
    fn new(short: &str, whole: String) -> Self {
        let (short, lasts) = (short.to_owned(), false);
        Self {
            short,
            whole,
            lasts,
        }
    }

    /// What is wrong with settings, which only people can deal with.
    fn set(whole: String) -> Self {
        let (short, lasts) = (whole.clone(), true);
        Self {
            short,
            whole,
            lasts,
        }
    }

    fn of(error: &Error) -> Self {
        let short = match error {
            Error::Endpoints(trouble) => trouble.in_short(),
            _ => "somebody has to deal with what the hub's log says of it",
        };
        Self::new(short, error.to_string())
    }
}

/// For how long a chain may not be heard until nobody is sent to pay on it, µs: a call that fails now and then is
/// no trouble for who pays.
const PATIENCE_US: i64 = 15_000_000;

/// What is said of a chain between the hub's start and its first answer.
const UNASKED: &str = "it has not answered yet since the hub was started";

/// What is said of what is sent and waits.
const SENDS: &str = "what the hub sends there waits: its log says for what";

impl Connection {
    /// A chain called `name`; its signer is unlocked already ([`Account::unlock`]).
    pub fn new(
        name: &str,
        options: &Options,
        signer: Option<Arc<dyn Signer>>,
        store: &stencil_store::Store,
        now: Moment,
    ) -> Result<Self, Error> {
        let settings = options.settle(name)?;
        let given = options.known_tokens(settings.chain_id)?;
        options.check_contracts()?;
        let sender = |signer: &Arc<dyn Signer>| {
            let policy = options.policy();
            let (sends, chains) = (store.sends.clone(), store.chains.clone());
            Sender::new(settings.clone(), policy, signer.clone(), sends, chains, now)
        };
        let account = match signer {
            None => None,
            Some(signer) => Some(Sending {
                address: signer.address(),
                orders: sender(&signer)?,
                turns: tokio::sync::Mutex::new(sender(&signer)?),
                ordered: Notify::new(),
            }),
        };
        Ok(Self {
            quorum: Quorum::new(&settings)?,
            given,
            confirmed: OnceLock::new(),
            payments: options.contract("payments", options.payments.as_deref())?,
            escrow: options.contract("escrow", options.escrow.as_deref())?,
            anchor: options.contract("anchor", options.anchor.as_deref())?,
            wallets: options.for_wallets()?,
            chains: store.chains.clone(),
            sends: store.sends.clone(),
            now,
            policy: options.policy(),
            account,
            moved: Notify::new(),
            trouble: Mutex::default(),
            head: Mutex::default(),
            begun: AtomicBool::new(false),
            settings,
        })
    }

    fn has_trouble(&self, trouble: Option<Told>) {
        let now_us = (self.now)();
        let mut troubles = self.troubles();
        troubles.since_us = match &trouble {
            Some(_) => troubles.since_us.or(Some(now_us)),
            None => None,
        };
        troubles.heard = trouble;
        troubles.is_asked = true;
        troubles.ended = false;
    }

    /// That its newest block is too old, if it is. What was not heard of yet is not.
    fn still(&self) -> Option<Told> {
        let most = self.settings.max_behind?;
        let head = self.head()?;
        let behind_us = (self.now)().saturating_sub(micros(head.time_s));
        let behind = Duration::from_micros(u64::try_from(behind_us).ok()?);
        (behind > most).then(|| Told {
            short: format!("it stands still: its newest block is {} s old", behind.as_secs()),
            whole: format!(
                "it stands still: its newest block, {}, is of {} s behind the hub's clock, more than \
                 `follow.max_behind_s` ({}); where a block comes only when there is something in it, set that to 0",
                head.number,
                behind.as_secs(),
                most.as_secs()
            ),
            lasts: true,
        })
    }

    /// That it is not known which of the blocks that were read the chain still has, where that is more than an
    /// ordinary reorganisation.
    fn walks_back(&self, trouble: &Trouble) -> Option<Told> {
        let now_us = (self.now)();
        let Back { blocks, at, .. } = trouble.back.filter(|back| back.is_told(now_us))?;
        let lasts_s = trouble.back.map_or(0, |back| back.lasts_s(now_us));
        let blocks = match blocks {
            1 => "1 block".to_owned(),
            many => format!("{many} blocks"),
        };
        Some(Told {
            short: format!(
                "its branch has changed, and the hub walks back to where the new one begins: {blocks} so far, \
                 to block {at}"
            ),
            whole: format!(
                "its branch has changed, and the hub walks back to where the new one begins: {blocks} so far, \
                 to block {at}, for {lasts_s} s; what of these is to be retracted is known once it is there"
            ),
            lasts: true,
        })
    }

    /// That nothing is known of it yet: what was not asked is not well.
    fn unasked(trouble: &Trouble) -> Option<Told> {
        (!trouble.is_asked).then(|| Told::new(UNASKED, UNASKED.to_owned()))
    }

    /// A chain that was followed before goes on from there.
    async fn begins(&self) {
        if let Ok(Some(state)) = self.chains.chain(&self.settings.name).await
            && state.cursor.is_some()
            && state.stopped.is_none()
        {
            self.begun.store(true, Ordering::Relaxed);
        }
    }

    fn troubles(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn view(&self, to: Address, signature: [u8; 4]) -> Result<Called, Unknown> {
        self.call(to, Bytes::copy_from_slice(&signature)).await
    }

    /// Compares what is set of tokens and contracts with what the chain says: with other decimals a
    /// price would be wrong by powers of ten, with another domain no authorisation would do.
    async fn confirm(&self) -> Result<(), Told> {
        if self.confirmed.get().is_some() {
            return Ok(());
        }
        let mut told = None;
        for token in self.given.clone() {
            loop {
                match self.confirm_token(&token).await {
                    Ok(Ok(())) => break,
                    Ok(Err(why)) => return Err(Told::set(why)),
                    Err(Unknown(why)) => {
                        if told.as_ref() != Some(&why) {
                            let chain = &self.settings.name;
                            tracing::warn!(chain, why, "its tokens can't be confirmed yet");
                            told = Some(why.clone());
                        }
                        let short = "its endpoints do not say yet what its tokens are";
                        self.has_trouble(Some(Told::new(short, why)));
                        tokio::time::sleep(self.settings.poll_interval.min(RETRY)).await;
                    }
                }
            }
        }
        let _ = self.confirmed.set(self.given.clone());
        Ok(())
    }

    async fn confirm_token(&self, known: &KnownToken) -> Result<Result<(), String>, Unknown> {
        let Some(contract) = known.token.asset().contract else {
            return Ok(Ok(()));
        };
        let symbol = known.token.symbol();
        // decimals()
        let decimals = match self.view(contract, [0x31, 0x3c, 0xe5, 0x67]).await? {
            Called::Returned(word) => U256::abi_decode(&word).ok(),
            Called::Reverted(_) => None,
        };
        let set = known.token.decimals();
        match decimals {
            Some(found) if found == U256::from(set) => {}
            Some(found) => {
                return Ok(Err(format!(
                    "tokens: {symbol} at {contract} has {found} decimals, and {set} are set"
                )));
            }
            None => {
                return Ok(Err(format!(
                    "tokens: {symbol}: {contract} is no ERC-20 token with `decimals()` on chain {}",
                    self.settings.chain_id
                )));
            }
        }
        let Some(domain) = &known.domain else {
            return Ok(Ok(()));
        };
        // DOMAIN_SEPARATOR()
        let separator = match self.view(contract, [0x36, 0x44, 0xe5, 0x15]).await? {
            Called::Returned(word) => B256::abi_decode(&word).ok(),
            Called::Reverted(_) => None,
        };
        if separator == Some(domain.separator()) {
            return Ok(Ok(()));
        }
        Ok(Err(format!(
            "tokens: {symbol}: `eip712` is name {:?}, version {:?}, and the contract's domain is another: \
             see its `eip712Domain()` or `name()` and `version()`",
            domain.name, domain.version
        )))
    }

    async fn follow(&self) -> Result<(), Told> {
        let follower = Follower::open(self.settings.clone(), self.chains.clone(), self.now);
        let mut follower = follower.await.map_err(|error| Told::of(&error))?;
        let mut pace = follower.pace();
        loop {
            let progress = follower.next(&mut pace).await;
            if let Some(head) = follower.head() {
                *self.head.lock().unwrap_or_else(PoisonError::into_inner) = Some(port::Head {
                    number: head.number,
                    time_s: head.time_s,
                });
            }
            self.troubles().back = follower.back();
            match progress.map_err(|error| Told::of(&error))? {
                Progress::Stepped => {
                    self.has_trouble(None);
                    // The first step stores where it begins.
                    self.begun.store(true, Ordering::Relaxed);
                    self.moved.notify_waiters();
                }
                Progress::UpToDate => self.has_trouble(None),
                Progress::Unknown(trouble) => {
                    let lasts = matches!(trouble, crate::rpc::Trouble::Behind { .. });
                    let told = Told::new(trouble.in_short(), trouble.to_string());
                    self.has_trouble(Some(Told { lasts, ..told }));
                }
                Progress::NotStored(why) => {
                    let short = "what is seen there can't be stored";
                    self.has_trouble(Some(Told::new(short, why)));
                }
            }
        }
    }
}

#[async_trait]
impl Chain for Connection {
    fn name(&self) -> &str {
        &self.settings.name
    }

    fn id(&self) -> u64 {
        self.settings.chain_id
    }

    fn account(&self) -> Option<Address> {
        self.account.as_ref().map(|account| account.address)
    }

    fn tokens(&self) -> &[KnownToken] {
        self.confirmed.get().map_or(&[], Vec::as_slice)
    }

    fn for_wallets(&self) -> Option<&ForWallets> {
        self.wallets.as_ref()
    }

    fn max_ahead_us(&self) -> i64 {
        i64::try_from(self.settings.max_ahead.as_micros()).unwrap_or(i64::MAX)
    }

    fn most_fee_per_gas(&self) -> Option<u128> {
        let sends = self.account.is_some();
        sends.then_some(self.policy.most_fee_per_gas)
    }

    fn is_confirmed(&self) -> bool {
        self.given.is_empty() || self.confirmed.get().is_some()
    }

    fn payments(&self) -> Option<Address> {
        self.payments
    }

    fn escrow(&self) -> Option<Address> {
        self.escrow
    }

    fn anchor(&self) -> Option<Address> {
        self.anchor
    }

    fn event(&self, signature: &str) -> Result<Arc<dyn port::Event>, String> {
        let signature = event::Signature::parse(signature).map_err(|error| error.to_string())?;
        Ok(Arc::new(signature))
    }

    fn function(&self, signature: &str) -> Result<Arc<dyn port::Function>, String> {
        Ok(Arc::new(function::Signature::parse(signature)?))
    }

    async fn call(&self, to: Address, data: Bytes) -> Result<Called, Unknown> {
        let called = self.quorum.contract(to, &data).await;
        called.map_err(|trouble| Unknown(trouble.to_string()))
    }

    async fn call_at(&self, to: Address, data: Bytes, block: u64) -> Result<Called, Unknown> {
        let called = self.quorum.contract_at(to, &data, block).await;
        called.map_err(|trouble| Unknown(trouble.to_string()))
    }

    async fn next_nonce(&self, account: Address, block: u64) -> Result<u64, Unknown> {
        let block = format!("{block:#x}");
        let next = self.quorum.transaction_count(account, &block).await;
        next.map_err(|trouble| Unknown(trouble.to_string()))
    }

    async fn tried(&self, order: &Order) -> Result<Called, Unknown> {
        let Some(from) = self.account() else {
            return self.call(order.to, order.data.clone()).await;
        };
        let tried = self.quorum.tried(from, order).await;
        tried.map_err(|trouble| Unknown(trouble.to_string()))
    }

    async fn has_code(&self, address: Address) -> Result<bool, Unknown> {
        let code = self.quorum.code(address).await;
        let code = code.map_err(|trouble| Unknown(trouble.to_string()))?;
        Ok(!code.is_empty())
    }

    async fn own_contract(&self, address: Address) -> Result<Option<&'static str>, Unknown> {
        let code = self.quorum.code(address).await;
        let code = code.map_err(|trouble| Unknown(trouble.to_string()))?;
        Ok(deploy::known(&code))
    }

    async fn look_up(&self, tx: B256) -> Result<Option<Looked>, Unknown> {
        let found = self.quorum.look_up(tx).await;
        found.map_err(|trouble| Unknown(trouble.to_string()))
    }

    async fn has_place(&self, tenant: &TenantId) -> Result<bool, Unknown> {
        let Some(account) = &self.account else {
            return Ok(true);
        };
        match account.orders.has_place(tenant.as_str()).await {
            Ok(()) => Ok(true),
            Err(stencil_store::Error::Full(_)) => Ok(false),
            Err(error) => Err(Unknown(error.to_string())),
        }
    }

    async fn order(&self, order: &Order) -> Result<Sent, NotOrdered> {
        let Some(account) = &self.account else {
            return Err(NotOrdered::NoAccount(self.settings.name.clone()));
        };
        let ordered = account.orders.order(sender::Order {
            tenant: order.tenant.to_string(),
            key: order.key.clone(),
            receiver: order.to,
            value: order.value.0,
            data: order.data.to_vec(),
            gas: order.gas,
            token: order.moves.map(|(token, amount)| (token, amount.0)),
            brings: order.brings.map(|brings| Brought {
                payer: brings.payer.into_array(),
                invoice: brings.invoice.0,
                is_sale: brings.is_sale,
            }),
        });
        let send = ordered.await.map_err(|error| {
            // Why is for people; that the store has found it is not.
            let why = match &error {
                sender::Error::Store(
                    stencil_store::Error::Conflict(why) | stencil_store::Error::Full(why),
                ) => why.clone(),
                other => other.to_string(),
            };
            match error.passes() {
                true => NotOrdered::Unknown(why),
                false => NotOrdered::Refused(why),
            }
        })?;
        account.ordered.notify_one();
        Ok(stands(&send))
    }

    async fn why_lost(&self, tenant: &TenantId, key: &str) -> Result<Option<String>, Unknown> {
        let send = self.sends.send(tenant.as_str(), key).await;
        let send = send.map_err(|error| Unknown(error.to_string()))?;
        let send = send.filter(|send| stands(send) == Sent::Lost);
        Ok(send
            .as_ref()
            .and_then(StoredSend::given_up)
            .map(str::to_owned))
    }

    async fn sent(&self, tenant: &TenantId, key: &str) -> Result<Option<Sent>, Unknown> {
        let send = self.sends.send(tenant.as_str(), key).await;
        let send = send.map_err(|error| Unknown(error.to_string()))?;
        Ok(send.as_ref().map(stands))
    }

    async fn in_vain(
        &self,
        tenant: &TenantId,
        payer: Address,
        since_us: i64,
        limit: u32,
    ) -> Result<Vec<InVain>, Unknown> {
        let (tenant, chain) = (tenant.as_str(), self.name());
        let payer = payer.into_array();
        let found = self
            .sends
            .brought_in_vain(tenant, chain, payer, since_us, limit);
        let found = found.await.map_err(|error| Unknown(error.to_string()))?;
        let of = |it: BroughtInVain| InVain {
            invoice: Id(it.invoice),
            at_us: it.reserved_us,
        };
        Ok(found.into_iter().map(of).collect())
    }

    async fn evidence(&self, tenant: &TenantId, key: &str) -> Result<Option<Evidence>, Unknown> {
        let send = self.sends.send(tenant.as_str(), key).await;
        let send = send.map_err(|error| Unknown(error.to_string()))?;
        let Some(SendState::Final(outcome)) = send.map(|send| send.state) else {
            return Ok(None);
        };
        let (block, tx) = (B256::from(outcome.block.hash), B256::from(outcome.tx));
        let shown = self.quorum.evidence(block, tx).await;
        shown.map(Some).map_err(Unknown)
    }

    async fn stepped(&self) {
        let moved = self.moved.notified();
        let _ = tokio::time::timeout(self.settings.poll_interval, moved).await;
    }

    async fn run(&self) -> Result<(), String> {
        let ran = async {
            self.begins().await;
            self.confirm().await?;
            tokio::select! {
                ended = self.follow() => ended,
                ended = self.send() => ended,
            }
        };
        let ran = ran.await;
        {
            let mut troubles = self.troubles();
            (troubles.sent, troubles.back) = (None, None);
        }
        ran.map_err(|told| {
            self.has_trouble(Some(told.clone()));
            self.troubles().ended = true;
            told.whole
        })
    }

    fn trouble(&self) -> Option<String> {
        let still = self.still();
        let trouble = self.troubles();
        let back = self.walks_back(&trouble);
        let unasked = Self::unasked(&trouble);
        let heard = unasked.iter().chain(&trouble.heard);
        let heard = heard.chain(&back).chain(&still);
        let all = heard.map(|heard| &heard.whole[..]);
        let all: Vec<_> = all.chain(trouble.sent.as_deref()).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    fn trouble_in_short(&self) -> Option<String> {
        let still = self.still();
        let trouble = self.troubles();
        let back = self.walks_back(&trouble);
        let unasked = Self::unasked(&trouble);
        let heard = unasked.iter().chain(&trouble.heard);
        let heard = heard.chain(&back).chain(&still);
        let sent = trouble.sent.as_ref().map(|_| SENDS);
        let all: Vec<_> = heard.map(|heard| &heard.short[..]).chain(sent).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    fn head(&self) -> Option<port::Head> {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn usable(&self) -> Result<(), String> {
        let name = &self.settings.name;
        if self.troubles().ended && self.begun.load(Ordering::Relaxed) {
            return Err(format!(
                "the chain {name} is not followed now: who runs the hub has to look after it"
            ));
        }
        self.ready()?;
        let now_us = (self.now)();
        let still = self.still();
        let trouble = self.troubles();
        let since_us = trouble.since_us.unwrap_or(now_us);
        let is_long = now_us.saturating_sub(since_us) > PATIENCE_US;
        let heard = trouble.heard.as_ref().filter(|told| told.lasts || is_long);
        let back = self.walks_back(&trouble);
        match heard.or(back.as_ref()).or(still.as_ref()) {
            None => Ok(()),
            Some(why) => Err(format!("the chain {name} can't be used now: {}", why.short)),
        }
    }

    fn ready(&self) -> Result<(), String> {
        let name = &self.settings.name;
        let trouble = self.troubles();
        if self.is_confirmed() && self.begun.load(Ordering::Relaxed) && !trouble.ended {
            return Ok(());
        }
        Err(match (&trouble.heard, trouble.ended) {
            (Some(why), true) => format!("the chain {name} is not followed: {}", why.short),
            (Some(why), false) => format!("the chain {name} was not reached yet: {}", why.short),
            (None, _) => format!("the chain {name} was not reached yet"),
        })
    }
}

impl port::Event for event::Signature {
    fn topic0(&self) -> B256 {
        Self::topic0(self)
    }

    fn decode(&self, topics: &[[u8; 32]], data: &[u8]) -> Option<serde_json::Value> {
        Self::decode(self, topics, data)
    }
}

fn micros(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX)
}

fn stands(send: &StoredSend) -> Sent {
    let outcome = |outcome: stencil_store::SendOutcome| Outcome {
        tx: outcome.tx.into(),
        block: outcome.block.number,
        block_hash: outcome.block.hash.into(),
        succeeded: outcome.succeeded,
    };
    match send.state {
        // Until it is final the nonce may come to be free again, and what was ordered be taken after all.
        SendState::Included(_) if send.given_up().is_some() => Sent::Pending,
        SendState::Final(_) if send.given_up().is_some() => Sent::Lost,
        SendState::Pending => Sent::Pending,
        SendState::Included(of) => Sent::Included(outcome(of)),
        SendState::Final(of) => Sent::Final(outcome(of)),
        SendState::Lost => Sent::Lost,
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("chain", &self.settings.name)
            .field("account", &self.account())
            .finish_non_exhaustive()
    }
}
