//! Transactions that are sent: nonces that are taken once, signatures that are stored before anybody
//! sees them, and what tenants may spend.

use async_trait::async_trait;

use crate::{BlockMark, Error, InvoiceKey};

/// Attempts (signatures with the same nonce) of one send.
pub const MAX_SEND_ATTEMPTS: u32 = 64;
/// The longest reason for giving up a send, in bytes.
pub const MAX_GIVEN_UP: usize = 1_024;
/// Sends of one account that are not final.
pub const MAX_OPEN_SENDS: u32 = 1_000;
/// How many times what is free of [`MAX_OPEN_SENDS`] one tenant may have of them: 800 where it is alone, 444 where
/// there is another such, and some are always free for who has few.
pub const OPEN_SENDS_SHARE: u32 = 4;
/// The most bytes of calldata.
pub const MAX_SEND_DATA: usize = 128 * 1024;
/// The longest span of a limit, in seconds: 366 days.
pub const MAX_LIMIT_WINDOW_S: u32 = 366 * 86_400;

/// An amount of 256 bits, big-endian.
pub type Amount = [u8; 32];

/// A transaction that shall be sent once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSend {
    /// The chain.
    pub chain: String,
    /// Who sends: the account.
    pub sender: [u8; 20],
    /// Whose spending it is.
    pub tenant: String,
    /// Names it within the tenant: the same key is the same send, however often it is asked for.
    pub key: String,
    /// Who is called or paid.
    pub receiver: [u8; 20],
    /// Native coin that goes along, in wei.
    pub value: Amount,
    /// Calldata.
    pub data: Vec<u8>,
    /// The most gas.
    pub gas: u64,
    /// The most that gas may cost in all, in wei; it counts as spent.
    pub most_fee: Amount,
    /// Which token it moves and how much, for the tenant's limit.
    pub token: Option<([u8; 20], Amount)>,
    /// What a payer has signed, where it brings that to the chain.
    pub brings: Option<Brought>,
}

/// A payer's signature (EIP-3009) that a send brings to the chain: whether it comes to anything is in the
/// payer's hands, and its gas is the tenant's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brought {
    /// Who has signed.
    pub payer: [u8; 20],
    /// What is paid by it.
    pub invoice: InvoiceKey,
    /// Whether a stranger buys something by it (x402); else it is for an invoice that the tenant has made.
    pub is_sale: bool,
}

/// Something that a payer has signed, and that is in a block and was reverted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BroughtInVain {
    /// What was to be paid by it.
    pub invoice: InvoiceKey,
    /// When its nonce was taken, µs since the epoch.
    pub reserved_us: i64,
}

impl NewSend {
    /// Whether both come to the same on the chain. From which account, and at which fees and gas, is a
    /// matter of settings, which may be others today than when it was first asked for.
    #[must_use]
    pub fn does_the_same(&self, other: &Self) -> bool {
        let what = |send: &Self| (send.receiver, send.value, send.token);
        self.chain == other.chain && what(self) == what(other) && self.data == other.data
    }
}

/// A signature of a send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendAttempt {
    /// Hash of the transaction.
    pub tx: [u8; 32],
    /// The signed bytes (EIP-2718).
    pub raw: Vec<u8>,
    /// `maxFeePerGas`, in wei.
    pub max_fee: u128,
    /// `maxPriorityFeePerGas`, in wei.
    pub max_priority: u128,
    /// When it was signed, in microseconds since the epoch.
    pub signed_us: i64,
    /// `None`: it is what was ordered. Else it is an empty transaction that takes the nonce in its place,
    /// as no node took what was ordered: why.
    pub gives_up: Option<String>,
}

/// How a send stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendState {
    /// Not known to be in a block. That is not failure: it may come to be in one at any time.
    Pending,
    /// One of its attempts is in a block.
    Included(SendOutcome),
    /// The same, and final by the chain's policy.
    Final(SendOutcome),
    /// Never: its nonce is used, for good, by a transaction that is none of its attempts.
    Lost,
}

/// Where a send came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendOutcome {
    /// The attempt: hash of the transaction.
    pub tx: [u8; 32],
    /// The block.
    pub block: BlockMark,
    /// Whether it did what it should; `false`: it was reverted, or is an empty transaction in the place of
    /// what was ordered, and has cost its fee.
    pub succeeded: bool,
    /// What its gas was paid with, in wei, as its receipt says; `None`: that is not known.
    pub fee: Option<Amount>,
}

/// A send with its nonce and its attempts, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSend {
    /// What is sent.
    pub send: NewSend,
    /// The nonce.
    pub nonce: u64,
    /// How it stands.
    pub state: SendState,
    /// The attempts.
    pub attempts: Vec<SendAttempt>,
    /// When its nonce was taken, in microseconds since the epoch.
    pub reserved_us: i64,
}

impl StoredSend {
    /// Why it was given up, where one of its attempts that is an empty transaction is in a block, or where
    /// nothing is yet and the last one is.
    #[must_use]
    pub fn given_up(&self) -> Option<&str> {
        let attempt = match self.state {
            SendState::Included(outcome) | SendState::Final(outcome) => {
                self.attempts.iter().find(|one| one.tx == outcome.tx)
            }
            SendState::Pending => self.attempts.last(),
            SendState::Lost => None,
        };
        attempt?.gives_up.as_deref()
    }
}

/// What a tenant may spend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpendLimit {
    /// The tenant.
    pub tenant: String,
    /// The chain.
    pub chain: String,
    /// The token; `None`: the native coin, fees included.
    pub asset: Option<[u8; 20]>,
    /// In any span of so many seconds …
    pub window_s: u32,
    /// … at most this, in the smallest unit.
    pub most: Amount,
}

/// What counts as spent of a limit. Until a send is final that is the most that it may come to, and then what
/// it came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// The limit.
    pub limit: SpendLimit,
    /// What is spent within its span, in the smallest unit.
    pub used: Amount,
    /// What of it is of sends that are not final.
    pub open: Amount,
    /// When the first of what is spent leaves the span, µs since the epoch; `None`: nothing is spent.
    pub frees_us: Option<i64>,
    /// What sales to strangers have of it; `None`: all of it, as any other spending.
    pub sales: Option<SalesShare>,
}

/// What sales to strangers (x402) may spend of a tenant's limit of a chain's coin: a half, while the tenant is
/// paid by invoices on that chain. Strangers decide how many there are, and the invoices have to be brought
/// all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SalesShare {
    /// At most this, in wei.
    pub most: Amount,
    /// What they have spent of it within the limit's span.
    pub used: Amount,
}

/// A contract that workflows may call: the chain's name, and its address.
pub type Callable = (String, [u8; 20]);

/// Sends and limits.
#[async_trait]
pub trait Sends: Send + Sync + 'static {
    /// Takes a nonce for a send, in one transaction with the check of the tenant's limits; a key that
    /// is there gives the send that it names, as it was first asked for: by that account, at those fees
    /// ([`NewSend::does_the_same`]). `first_nonce` is the account's next one on the chain: it
    /// counts where the account was never used here, or was used elsewhere meanwhile.
    /// [`Error::Conflict`]: the key names another send, or a limit or the share of it that sales have
    /// ([`SalesShare`]) would be exceeded; without a limit nothing may be spent. [`Error::Full`]: so many of the
    /// account's ([`MAX_OPEN_SENDS`]), or so many of the tenant's beside what is free ([`OPEN_SENDS_SHARE`]), are
    /// not final yet.
    async fn reserve_send(
        &self,
        send: &NewSend,
        first_nonce: u64,
        at_us: i64,
    ) -> Result<StoredSend, Error>;

    /// Whether a tenant has a place for one more among the sends of an account: [`Error::Full`] as
    /// [`Self::reserve_send`] gives it. None is kept for it.
    async fn has_place(&self, chain: &str, sender: [u8; 20], tenant: &str) -> Result<(), Error>;

    /// A send by its key.
    async fn send(&self, tenant: &str, key: &str) -> Result<Option<StoredSend>, Error>;

    /// What a payer of a tenant's has signed and was reverted on a chain, of those whose nonces were taken after
    /// then: the newest first, at most so many.
    async fn brought_in_vain(
        &self,
        tenant: &str,
        chain: &str,
        payer: [u8; 20],
        since_us: i64,
        limit: u32,
    ) -> Result<Vec<BroughtInVain>, Error>;

    /// The accounts of a chain that have sends which are pending, or included and not final.
    async fn open_senders(&self, chain: &str) -> Result<Vec<[u8; 20]>, Error>;

    /// Sends of an account that are pending, or included and not final, by nonce.
    async fn open_sends(&self, chain: &str, sender: [u8; 20]) -> Result<Vec<StoredSend>, Error>;

    /// Stores a signature before it is sent. `number` is how many there are already:
    /// [`Error::Conflict`] if there are others, or the send is over. What is beyond [`MAX_GIVEN_UP`] of a
    /// reason is cut.
    async fn add_attempt(
        &self,
        chain: &str,
        sender: [u8; 20],
        nonce: u64,
        number: u32,
        attempt: &SendAttempt,
    ) -> Result<(), Error>;

    /// Stores how a send stands. What is final or lost stays so ([`Error::Conflict`]), but for
    /// [`Self::take_back_send`], and for a follower's step that goes back behind what was final
    /// ([`ChainCommit::retract_above`](crate::ChainCommit)): what was final there is included again,
    /// until it is seen where it is. [`Error::Conflict`] also where what is said to be final is not in a
    /// block that is, as far as the chain is followed.
    async fn set_send_state(
        &self,
        chain: &str,
        sender: [u8; 20],
        nonce: u64,
        state: SendState,
    ) -> Result<(), Error>;

    /// The highest nonce of an account whose send is final.
    async fn last_final_nonce(&self, chain: &str, sender: [u8; 20]) -> Result<Option<u64>, Error>;

    /// Sends of an account that are final, from a nonce on, by nonce: at most [`MAX_OPEN_SENDS`].
    async fn final_sends(
        &self,
        chain: &str,
        sender: [u8; 20],
        from: u64,
    ) -> Result<Vec<StoredSend>, Error>;

    /// Makes a send pending that is final in that block: a reorganisation took the block away.
    /// [`Error::Conflict`]: it stands otherwise.
    async fn take_back_send(
        &self,
        chain: &str,
        sender: [u8; 20],
        nonce: u64,
        from: BlockMark,
    ) -> Result<(), Error>;

    /// Sets a limit.
    async fn set_spend_limit(&self, limit: &SpendLimit) -> Result<(), Error>;

    /// Sets which contracts a tenant's workflows may call, in place of all that were set before.
    /// [`Error::NotFound`]: there is no such tenant.
    async fn set_callable(&self, tenant: &str, callable: &[Callable]) -> Result<(), Error>;

    /// What a tenant's workflows may call, by chain and address.
    async fn callable(&self, tenant: &str) -> Result<Vec<Callable>, Error>;

    /// A tenant's limits.
    async fn spend_limits(&self, tenant: &str) -> Result<Vec<SpendLimit>, Error>;

    /// A tenant's limits, and what is spent of each as of then.
    async fn spent(&self, tenant: &str, at_us: i64) -> Result<Vec<Spent>, Error>;
}
