//! Transactions that are sent once, whatever happens meanwhile.
//!
//! A send has a key and gets its nonce durably before anything is signed; each signature is stored
//! before anybody sees it. So whatever is broadcast is known here, and a restart broadcasts the same
//! bytes again. All attempts of a send share its nonce: the chain takes one of them, and that one
//! counts. What is not known to be in a block is *pending*, never failed.

mod decide;
mod fees;
pub mod gas;
mod nonces;
mod refusals;

pub use decide::{Action, Policy, View, decide};
pub use fees::Fees;
pub use refusals::Refused;

use std::sync::Arc;

use alloy_consensus::TxEip1559;
use alloy_primitives::{Address, B256, TxKind, U256};
use futures_util::future::join_all;
use stencil_store::{
    Brought, Chains, NewSend, SendAttempt, SendOutcome, SendState, Sends, StoredSend,
};

use crate::follower::Moment;
use crate::rpc::{Failure, Quorum, Trouble};
use crate::signer::{self, Signer};
use crate::{Settings, look};
use nonces::Nonces;
use refusals::{Refusals, Told};

/// Sends of which endpoints are asked at once where they are.
const ASKED_AT_ONCE: usize = 8;

/// What shall be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Whose spending it is.
    pub tenant: String,
    /// Names it within the tenant: the same key is sent once.
    pub key: String,
    /// Who is called or paid.
    pub receiver: Address,
    /// Native coin that goes along, in wei.
    pub value: U256,
    /// Calldata.
    pub data: Vec<u8>,
    /// The most gas.
    pub gas: u64,
    /// Which token it moves and how much, in its smallest unit: for the tenant's limit.
    pub token: Option<(Address, U256)>,
    /// What a payer has signed, where it brings that to the chain.
    pub brings: Option<Brought>,
}

/// Why nothing was sent, or the loop stops.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The endpoints.
    #[error("{0}")]
    Endpoints(#[from] Trouble),
    /// The signer.
    #[error(transparent)]
    Signer(#[from] signer::Error),
    /// The store: among others, that a tenant may not spend so much.
    #[error(transparent)]
    Store(#[from] stencil_store::Error),
    /// With so little gas no node takes it.
    #[error(
        "gas {gas} is too little: a transaction with {bytes} bytes of calldata comes with at least {least}, \
         before its contract does anything (EIP-2028, EIP-7623)"
    )]
    TooLittleGas {
        /// The gas.
        gas: u64,
        /// The least.
        least: u64,
        /// Bytes of calldata.
        bytes: usize,
    },
    /// With so much gas no node takes it.
    #[error(
        "gas {gas} is too much: a transaction comes with at most {} (EIP-7825)",
        gas::CAP
    )]
    TooMuchGas {
        /// The gas.
        gas: u64,
    },
    /// The account can't pay it.
    #[error(
        "account {account} has {has} wei, and this takes {wants}: its value, and what its gas may cost now"
    )]
    Balance {
        /// The account.
        account: Address,
        /// What it has, in wei.
        has: U256,
        /// What it would take, in wei.
        wants: U256,
    },
    /// The account can't pay it beside what is under way.
    #[error(
        "account {account} has {has} wei, of which what is under way may take {held}, and this takes {wants}: \
         order it again once that is in a block"
    )]
    Held {
        /// The account.
        account: Address,
        /// What it has, in wei.
        has: U256,
        /// What sends that are in no block yet may take of it.
        held: U256,
        /// What it would take, in wei.
        wants: U256,
    },
}

impl Error {
    /// Whether it may go otherwise with the same order later.
    pub fn passes(&self) -> bool {
        match self {
            Self::Endpoints(_) | Self::Signer(_) | Self::Held { .. } => true,
            Self::Store(error) => error.retryable(),
            Self::TooLittleGas { .. } | Self::TooMuchGas { .. } | Self::Balance { .. } => false,
        }
    }
}

/// Sends from one account of one chain.
pub struct Sender {
    settings: Settings,
    policy: Policy,
    quorum: Quorum,
    signer: Arc<dyn Signer>,
    sends: Arc<dyn Sends>,
    chains: Arc<dyn Chains>,
    now: Moment,
    nonces: Nonces,
    refusals: Refusals,
    /// Of which nonce it was unknown where it is when it was looked at last, and why.
    unknown: Option<(u64, String)>,
}

/// What is seen once for all sends of a turn.
struct Seen {
    finalized: Option<u64>,
    next: u64,
    next_final: Option<u64>,
    market: Fees,
}

impl Sender {
    /// `chains` has to be followed for sends to become final.
    pub fn new(
        settings: Settings,
        policy: Policy,
        signer: Arc<dyn Signer>,
        sends: Arc<dyn Sends>,
        chains: Arc<dyn Chains>,
        now: Moment,
    ) -> Result<Self, crate::Error> {
        Ok(Self {
            quorum: Quorum::new(&settings)?,
            settings,
            policy,
            signer,
            sends,
            chains,
            now,
            nonces: Nonces::default(),
            refusals: Refusals::default(),
            unknown: None,
        })
    }

    /// Takes an order: its nonce is reserved when this returns, and it will be sent. The same key
    /// again gives the send that it names, whatever account and fees are set today. What no node would take
    /// gets no nonce.
    pub async fn order(&self, order: Order) -> Result<StoredSend, Error> {
        // A u64 times a u128.
        let most_fee =
            U256::from(order.gas).saturating_mul(U256::from(self.policy.most_fee_per_gas));
        let send = NewSend {
            chain: self.settings.name.clone(),
            sender: self.signer.address().into_array(),
            tenant: order.tenant,
            key: order.key,
            receiver: order.receiver.into_array(),
            value: order.value.to_be_bytes(),
            data: order.data,
            gas: order.gas,
            most_fee: most_fee.to_be_bytes(),
            token: order
                .token
                .map(|(token, amount)| (token.into_array(), amount.to_be_bytes())),
            brings: order.brings,
        };
        if let Some(there) = self.sends.send(&send.tenant, &send.key).await?
            && there.send.does_the_same(&send)
        {
            return Ok(there);
        }
        gas::check(send.gas, &send.data)?;
        // Who waits for a place asks again and again, and the endpoints are those of all.
        self.has_place(&send.tenant).await?;
        let next = self.can_pay(&send).await?;
        let reserved = self.sends.reserve_send(&send, next, (self.now)()).await?;
        stencil_crashpoint::reach("send.reserved");
        Ok(reserved)
    }

    /// Whether a tenant may have one more send that is not final: [`stencil_store::Error::Full`] if not. No endpoint
    /// is asked.
    pub async fn has_place(&self, tenant: &str) -> Result<(), stencil_store::Error> {
        let account = self.signer.address().into_array();
        let chain = &self.settings.name;
        self.sends.has_place(chain, account, tenant).await
    }

    /// Whether the account can pay a send beside those that are under way; gives its next nonce.
    async fn can_pay(&self, send: &NewSend) -> Result<u64, Error> {
        let account = self.signer.address();
        let market = self.quorum.fees(&self.policy).await?;
        let takes = |send: &NewSend, fee: u128| {
            let gas = U256::from(send.gas).saturating_mul(U256::from(fee));
            U256::from_be_bytes(send.value).saturating_add(gas)
        };
        // In this order: what comes into a block meanwhile counts once at the most.
        let has = self.quorum.balance(account).await?;
        let next = self.quorum.transaction_count(account, "latest").await?;
        let wants = takes(send, market.max);
        if wants > has {
            return Err(Error::Balance {
                account,
                has,
                wants,
            });
        }
        let mut held = U256::ZERO;
        for other in self.sends.open_sends(&send.chain, send.sender).await? {
            if other.nonce >= next {
                let signed = other.attempts.last().map_or(0, |last| last.max_fee);
                held = held.saturating_add(takes(&other.send, signed.max(market.max)));
            }
        }
        if wants > has.saturating_sub(held) {
            return Err(Error::Held {
                account,
                has,
                held,
                wants,
            });
        }
        Ok(next)
    }

    /// The account.
    pub fn account(&self) -> Address {
        self.signer.address()
    }

    /// Looks at all sends that are not over, and at those that were final and are not any more, and does
    /// what each wants: first those that have no signature yet, then the others. Gives what was done, by
    /// nonce; what is unknown at the moment is looked at again the next time.
    pub async fn turn(&mut self) -> Result<Vec<(u64, Action)>, Error> {
        let mut done = Vec::new();
        self.turn_noting(&mut done).await?;
        done.sort_unstable_by_key(|(nonce, _)| *nonce);
        Ok(done)
    }

    /// The same; what was done is noted, and there also where the turn comes to no end.
    pub(crate) async fn turn_noting(&mut self, done: &mut Vec<(u64, Action)>) -> Result<(), Error> {
        let account = self.signer.address();
        self.unknown = None;
        let (chain, sender) = (self.settings.name.clone(), account.into_array());
        let mut sends = self.sends.open_sends(&chain, sender).await?;
        let last_final = self.sends.last_final_nonce(&chain, sender).await?;
        if sends.is_empty() && last_final.is_none() {
            return Ok(());
        }
        let next = self.quorum.transaction_count(account, "latest").await?;
        if last_final.is_some_and(|last| last >= next) {
            sends.extend(self.sends.final_sends(&chain, sender, next).await?);
            sends.sort_by_key(|send| send.nonce);
        }
        let first = sends.first().map(|send| send.nonce);
        self.nonces.looked(next, first);
        self.refusals.looked(next);
        if sends.is_empty() {
            return Ok(());
        }
        let finalized = self
            .chains
            .chain(&chain)
            .await?
            .and_then(|state| state.finalized)
            .map(|mark| mark.number);
        let next_final = match finalized {
            Some(number) => {
                let tag = format!("{number:#x}");
                // State of a while ago is not everywhere.
                match self.quorum.transaction_count(account, &tag).await {
                    Ok(next) => Some(next),
                    Err(trouble) if trouble.passes() => None,
                    Err(trouble) => return Err(trouble.into()),
                }
            }
            None => None,
        };
        let market = self.quorum.fees(&self.policy).await?;
        let seen = Seen {
            finalized,
            next,
            next_final,
            market,
        };
        // What has no signature is in no block, and nobody has to be asked where it is. It may wait for little:
        // what a payer has signed holds for a minute.
        let (new, sent): (Vec<_>, Vec<_>) =
            sends.into_iter().partition(|send| send.attempts.is_empty());
        let mut failed = None;
        for send in new {
            // A signer that does not answer holds up what wants a signature, and not what has one.
            if let Err(error) = self.one(&send, None, &seen, done).await {
                failed = Some(error);
                break;
            }
        }
        let mut is_silent = false;
        for sends in sent.chunks(ASKED_AT_ONCE) {
            let outcomes = join_all(sends.iter().map(|send| self.outcome(send))).await;
            // Endpoints that disagree answer: one that has lost the receipts of a block says so of all that is there.
            let was_silent = is_silent;
            is_silent = !outcomes.iter().any(|outcome| {
                matches!(
                    outcome,
                    Ok(_) | Err(Error::Endpoints(Trouble::Disagree { .. }))
                )
            });
            for (send, outcome) in sends.iter().zip(outcomes) {
                match outcome {
                    Ok(outcome) => self.one(send, outcome, &seen, done).await?,
                    // It is looked at again the next time, and holds up no other, unless nothing can be known now
                    // of what was asked before it either.
                    Err(Error::Endpoints(trouble))
                        if trouble.passes() && !(is_silent && was_silent) =>
                    {
                        self.unknown = Some((send.nonce, trouble.to_string()));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Does what a send wants that is there, or in no block.
    async fn one(
        &mut self,
        send: &StoredSend,
        outcome: Option<SendOutcome>,
        seen: &Seen,
        done: &mut Vec<(u64, Action)>,
    ) -> Result<(), Error> {
        let Seen {
            finalized, next, ..
        } = *seen;
        let is_used = outcome.is_none() && next > send.nonce;
        self.nonces.is_used(send.nonce, is_used);
        let next_final = match (seen.next_final, finalized) {
            (None, Some(finalized)) if is_used => {
                self.used_for_good(send.nonce, next, finalized).await?
            }
            (next_final, _) => next_final,
        };
        let mut view = View {
            now_us: (self.now)(),
            outcome,
            finalized,
            next,
            next_final,
            market: seen.market,
            missed_since_us: self.nonces.missed_since_us(send.nonce),
            is_gone: outcome.is_none() && next <= send.nonce && self.is_gone(send).await?,
            again_us: self.nonces.again_us(send.nonce),
            refused: self.refusals.of(send.nonce),
            may_give_up: false,
            can_sign: self.signer.can_sign(),
        };
        view.may_give_up = self.may_give_up(send, &view).await?;
        let action = decide(send, &view, &self.policy);
        self.act(send, &action, &view).await?;
        done.push((send.nonce, action));
        Ok(())
    }

    /// What holds up what is sent; `None`: all is well.
    pub fn trouble(&self) -> Option<String> {
        let account = self.signer.address();
        let unknown = self.unknown.as_ref().map(|(nonce, why)| {
            format!("it is unknown where what has nonce {nonce} of {account} is: {why}")
        });
        let all = [
            self.nonces.trouble(account),
            self.refusals.trouble(account),
            unknown,
        ];
        let all: Vec<String> = all.into_iter().flatten().collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// Which of the attempts is in a block, as enough endpoints say.
    async fn outcome(&self, send: &StoredSend) -> Result<Option<SendOutcome>, Error> {
        for attempt in &send.attempts {
            let found = self.quorum.included(B256::from(attempt.tx)).await?;
            if let Some(found) = found {
                return Ok(Some(SendOutcome {
                    tx: attempt.tx,
                    block: look::mark(found.link),
                    // The empty one in its place does nothing of what was ordered.
                    succeeded: found.succeeded && attempt.gives_up.is_none(),
                    fee: found.fee.map(|fee| fee.to_be_bytes()),
                }));
            }
        }
        Ok(None)
    }

    async fn act(&mut self, send: &StoredSend, action: &Action, view: &View) -> Result<(), Error> {
        match action {
            Action::Sign(fees) => {
                let last = send.attempts.last();
                let gives_up = last.and_then(|attempt| attempt.gives_up.clone());
                self.sign(send, *fees, gives_up, view).await
            }
            Action::GiveUp(fees) => {
                let why = self.refusals.why(send.nonce);
                tracing::warn!(
                    chain = self.settings.name,
                    tenant = send.send.tenant,
                    key = send.send.key,
                    nonce = send.nonce,
                    why,
                    "endpoints keep refusing it: an empty transaction takes its place"
                );
                self.sign(send, *fees, Some(why), view).await
            }
            Action::Unsigned => {
                self.nonces.wants_signature(send.nonce);
                self.broadcast(&send.attempts).await;
                Ok(())
            }
            Action::Broadcast => {
                let told = self.broadcast(&send.attempts).await;
                self.told(send, &told, view);
                Ok(())
            }
            Action::State(state) => self.set(send, *state).await,
            Action::Missed => {
                if self.nonces.misses(send.nonce, view.now_us) {
                    tracing::warn!(
                        chain = self.settings.name,
                        nonce = send.nonce,
                        "the nonce was used by another transaction: the key is in use elsewhere"
                    );
                }
                Ok(())
            }
            Action::TakeBack => self.take_back(send, view.now_us).await,
            Action::Wait => Ok(()),
        }
    }

    /// What is refused before it is its turn may be taken then.
    fn told(&mut self, send: &StoredSend, told: &Told, view: &View) {
        if view.next == send.nonce {
            self.refusals.told(send.nonce, told, view.now_us);
        }
    }

    /// Signs what was ordered or, where it is given up, an empty transaction in its place.
    async fn sign(
        &mut self,
        send: &StoredSend,
        fees: Fees,
        gives_up: Option<String>,
        view: &View,
    ) -> Result<(), Error> {
        let ordered = TxEip1559 {
            chain_id: self.settings.chain_id,
            nonce: send.nonce,
            gas_limit: send.send.gas,
            max_fee_per_gas: fees.max,
            max_priority_fee_per_gas: fees.priority,
            to: TxKind::Call(send.send.receiver.into()),
            value: U256::from_be_bytes(send.send.value),
            access_list: alloy_eips::eip2930::AccessList::default(),
            input: send.send.data.clone().into(),
        };
        let transaction = match gives_up {
            None => ordered,
            Some(_) => TxEip1559 {
                gas_limit: gas::OF_EMPTY,
                to: TxKind::Call(self.signer.address()),
                value: U256::ZERO,
                input: alloy_primitives::Bytes::new(),
                ..ordered
            },
        };
        let signed = self.signer.sign(&transaction).await?;
        let attempt = SendAttempt {
            tx: signed.tx,
            raw: signed.raw,
            max_fee: fees.max,
            max_priority: fees.priority,
            signed_us: (self.now)(),
            gives_up,
        };
        let number = u32::try_from(send.attempts.len()).unwrap_or(u32::MAX);
        self.sends
            .add_attempt(
                &self.settings.name,
                send.send.sender,
                send.nonce,
                number,
                &attempt,
            )
            .await?;
        stencil_crashpoint::reach("send.signed");
        let told = self.broadcast(std::slice::from_ref(&attempt)).await;
        self.told(send, &told, view);
        stencil_crashpoint::reach("send.broadcast");
        Ok(())
    }

    /// The newest first: where it is taken, the others are not needed. What endpoints say of it decides
    /// nothing: only a block does. What enough of them refuse for what it is, is given up after a while.
    async fn broadcast(&self, attempts: &[SendAttempt]) -> Told {
        let mut told = Told::Unknown;
        for (back, attempt) in attempts.iter().rev().enumerate() {
            let said = self.quorum.broadcast(&attempt.raw).await;
            let taken = said.iter().any(|(_, answer)| answer.is_ok());
            let mut refused = Vec::new();
            for (endpoint, answer) in said {
                if let Err(failure) = answer {
                    tracing::debug!(chain = self.settings.name, endpoint, %failure, "not taken");
                    if matches!(failure, Failure::NotTaken(_)) {
                        // Without the endpoint's name: tenants read it, too.
                        refused.push(failure.to_string());
                    }
                }
            }
            if taken {
                return Told::Taken;
            }
            if back == 0 && refused.len() >= self.quorum.agree() {
                refused.dedup();
                told = Told::Refused(refused.join("; "));
            }
        }
        told
    }

    async fn set(&mut self, send: &StoredSend, state: SendState) -> Result<(), Error> {
        if state == SendState::Lost {
            tracing::error!(
                chain = self.settings.name,
                nonce = send.nonce,
                "the nonce was used by a transaction that is none of ours: the key is in use elsewhere"
            );
        }
        self.sends
            .set_send_state(&self.settings.name, send.send.sender, send.nonce, state)
            .await?;
        if state != SendState::Pending {
            self.nonces.arrived(send.nonce);
            self.refusals.over(send.nonce);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender")
            .field("chain", &self.settings.name)
            .field("account", &self.signer.address())
            .finish_non_exhaustive()
    }
}
