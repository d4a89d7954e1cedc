//! The chain, and those who pay on it.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use serde_json::{Value, json};
use stencil_devchain::{DevChain, Endpoint, Faults, Included, Mining, Options};
use stencil_payer::{Authorization, Call, Domain, Wallet, contracts};

use crate::chance::Chance;
use crate::oracle::{self, Named, Rpc, Watched, quantity};

pub(crate) const CHAIN_ID: u64 = 31_337;
pub(crate) const PAYEE: Address = Address::repeat_byte(0xaa);
/// Wallets that pay; the account after them is the hub's.
const PAYERS: u32 = 12;
/// No reorganisation goes deeper.
pub(crate) const DEEPEST: u64 = 12;
/// Blocks that end a round.
const QUIET: u64 = 16;

/// A payment that was sent at least once.
pub(crate) struct Sent {
    raw: Bytes,
    pub(crate) tx: B256,
    named: Named,
    amount: U256,
}

/// An authorisation that the hub was given to bring.
struct Promise {
    payer: Address,
    nonce: B256,
    amount: U256,
    /// The hub said that it brings it; else nobody knows whether it was heard.
    sure: bool,
}

pub(crate) struct World {
    chain: DevChain,
    pub(crate) truth: Rpc,
    _truthful: Endpoint,
    /// What the process under test gets to see.
    pub(crate) faulty: [Endpoint; 2],
    wallets: Vec<Wallet>,
    pub(crate) token: Address,
    pub(crate) contract: Address,
    pub(crate) hub_key: B256,
    pub(crate) sent: Vec<Sent>,
    promises: Vec<Promise>,
    /// The first block of this round.
    pub(crate) round_from: u64,
    /// The first payment of this round.
    round_sent: usize,
    invoices: u64,
}

impl World {
    pub(crate) async fn start(seed: u64) -> Self {
        let chain = DevChain::start(Options {
            chain_id: CHAIN_ID,
            accounts: PAYERS + 1,
            seed,
            mining: Mining::Manual,
            ..Options::default()
        });
        let truthful = chain.listen(0).await.unwrap();
        let faulty = [
            chain.listen(0).await.unwrap(),
            chain.listen(0).await.unwrap(),
        ];
        let accounts = chain.accounts();
        let (hub, payers) = accounts.split_last().unwrap();
        let wallets: Vec<Wallet> = payers
            .iter()
            .map(|account| Wallet::new(&account.key, CHAIN_ID).unwrap())
            .collect();
        let deployer = wallets[0].address();
        let world = Self {
            truth: Rpc::new(truthful.url()),
            _truthful: truthful,
            faulty,
            token: deployer.create(0),
            contract: deployer.create(1),
            wallets,
            hub_key: hub.key,
            sent: Vec::new(),
            promises: Vec::new(),
            round_from: 0,
            round_sent: 0,
            invoices: 0,
            chain,
        };
        world
            .send(0, &Call::create(contracts::dollar().unwrap()))
            .await;
        world
            .send(0, &Call::create(contracts::payments(PAYEE).unwrap()))
            .await;
        world.chain.mine(1);
        for which in 0..world.wallets.len() {
            let lots = U256::from(u64::MAX);
            let (token, to) = (world.token, world.wallets[which].address());
            world.send(which, &Call::mint(token, to, lots)).await;
            let approve = Call::approve(token, world.contract, lots);
            world.send(which, &approve).await;
        }
        world.end_round();
        world
    }

    pub(crate) fn watched(&self) -> Watched {
        Watched {
            token: self.token,
            contract: self.contract,
            payee: PAYEE,
        }
    }

    pub(crate) fn head(&self) -> u64 {
        self.chain.head().number
    }

    pub(crate) fn mine(&self, blocks: u64) {
        self.chain.mine(blocks);
    }

    /// What was before is out of reach from here on.
    pub(crate) fn begin_round(&mut self) {
        self.round_from = self.head() + 1;
        self.round_sent = self.sent.len();
        self.chain.mine(1);
    }

    /// All that can be mined is, and so deep that it is final.
    pub(crate) fn end_round(&self) {
        self.chain.mine(QUIET);
    }

    pub(crate) fn set_faults(&self, faults: [Faults; 2]) {
        for (endpoint, faults) in self.faulty.iter().zip(faults) {
            endpoint.set_faults(faults).unwrap();
        }
    }

    pub(crate) fn drop_connections(&self) {
        for endpoint in &self.faulty {
            endpoint.drop_connections();
        }
    }

    /// Signs with the wallet's next nonce, as the chain counts it now.
    async fn send(&self, which: usize, call: &Call) -> (Bytes, B256) {
        let wallet = &self.wallets[which];
        let pending = json!([wallet.address(), "pending"]);
        let nonce = self.truth.number("eth_getTransactionCount", pending).await;
        let raw = wallet.sign(nonce, call).unwrap();
        let tx = self.chain.submit(raw.clone()).expect("a payment is taken");
        (raw, tx)
    }

    /// Somebody pays an invoice that nobody has made, in one of the three ways; some pay one that was
    /// paid before.
    pub(crate) async fn pay(&mut self, mut chance: Chance) {
        let payer = self.payer(&mut chance);
        if !chance.percent(12) {
            self.invoices += 1;
        }
        let invoice = keccak256(self.invoices.to_be_bytes());
        let some = U256::from(chance.between(1, 9_000_000));
        let (named, amount) = match chance.between(0, 2) {
            // An authorisation that was used is used; each payment has one of its own.
            0 => {
                let nonce = keccak256([&invoice.0[..], &self.sent.len().to_be_bytes()].concat());
                (Named::Nonce(nonce), some)
            }
            1 => (Named::Contract(invoice), some),
            // Such an amount no other invoice has.
            _ => {
                let unique = U256::from(5_000_000 + self.invoices);
                (Named::Amount(unique), unique)
            }
        };
        self.pay_for(payer, named, amount).await;
    }

    pub(crate) fn payer(&self, chance: &mut Chance) -> usize {
        chance.between(0, self.wallets.len() as u64 - 1) as usize
    }

    /// Pays what is named so.
    pub(crate) async fn pay_for(&mut self, payer: usize, named: Named, amount: U256) {
        let token = self.token;
        let (which, call) = match named {
            Named::Nonce(nonce) => {
                let (authorization, signature) = self.authorize(payer, nonce, amount);
                let call = Call::bring(token, &authorization, &signature);
                // Somebody else brings it.
                ((payer + 1) % self.wallets.len(), call)
            }
            Named::Contract(invoice) => (payer, Call::pay(self.contract, invoice, token, amount)),
            Named::Amount(_) => (payer, Call::transfer(token, PAYEE, amount)),
        };
        let (raw, tx) = self.send(which, &call).await;
        self.sent.push(Sent {
            raw,
            tx,
            named,
            amount,
        });
    }

    /// An authorisation as a payer gives it to the hub: nobody else brings it.
    pub(crate) fn authorization(&self, payer: usize, nonce: B256, value: U256) -> Value {
        let signed = self.authorize(payer, nonce, value);
        json!({
            "from": signed.0.from.to_checksum(None),
            "value": value.to_string(),
            "validAfter": "0",
            "validBefore": u64::MAX.to_string(),
            "signature": signed.1.to_string(),
        })
    }

    fn authorize(&self, payer: usize, nonce: B256, value: U256) -> (Authorization, Bytes) {
        let authorization = Authorization {
            from: self.wallets[payer].address(),
            to: PAYEE,
            value,
            valid_after: 0,
            valid_before: u64::MAX,
            nonce,
        };
        let domain = Domain::dollar(CHAIN_ID, self.token);
        let signature = self.wallets[payer].authorize(&authorization, &domain);
        (authorization, Bytes::copy_from_slice(&signature.unwrap()))
    }

    /// The hub was given an authorisation; `sure`: it said that it brings it.
    pub(crate) fn promise(&mut self, payer: usize, nonce: B256, amount: U256, sure: bool) {
        self.promises.push(Promise {
            payer: self.wallets[payer].address(),
            nonce,
            amount,
            sure,
        });
    }

    /// Authorisations that the hub said to bring, and that the chain does not have.
    pub(crate) async fn broken_promises(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for promise in self.promises.iter().filter(|promise| promise.sure) {
            let (payer, nonce) = (promise.payer, promise.nonce);
            // authorizationState(address,bytes32)
            let data = [
                &[0xe9, 0x4a, 0x01, 0x02],
                &payer.into_word()[..],
                &nonce[..],
            ]
            .concat();
            if self.view(data).await.is_zero() {
                broken.push(format!(
                    "the hub has not brought authorisation {nonce} of {payer}, as it said"
                ));
            }
        }
        broken
    }

    /// What the payee has of the token.
    pub(crate) async fn payee_holds(&self) -> U256 {
        // balanceOf(address)
        let data = [&[0x70, 0xa0, 0x82, 0x31], &PAYEE.into_word()[..]].concat();
        self.view(data).await
    }

    /// What the token answers: one word.
    async fn view(&self, data: Vec<u8>) -> U256 {
        let call = json!([{ "to": self.token, "input": Bytes::from(data) }, "latest"]);
        let word = self.truth.ask("eth_call", call).await.unwrap();
        let digits = word.as_str().unwrap().trim_start_matches("0x");
        U256::from_str_radix(digits, 16).unwrap()
    }

    /// The payment contract's events of this round: transaction, and place in its receipt.
    pub(crate) async fn events(&self) -> BTreeSet<String> {
        let logs = oracle::canonical(&self.truth, self.round_from).await;
        oracle::paid(&self.watched(), &logs)
    }

    /// Sends some payments of this round again, as wallets do; those that are in a block already, or
    /// whose nonce has gone to another, are refused. Gives how many were taken.
    pub(crate) fn send_again(&self, mut chance: Chance, percent: u64) -> u32 {
        let mut taken = 0;
        for sent in &self.sent[self.round_sent..] {
            if chance.percent(percent) && self.chain.submit(sent.raw.clone()).is_ok() {
                taken += 1;
            }
        }
        taken
    }

    /// Another branch: of what was in the blocks that go, some come again, in other blocks and in
    /// another order; the rest waits again, or is forgotten. Gives how deep it went.
    pub(crate) fn reorganise(&self, mut chance: Chance) -> u64 {
        let depth = chance.between(1, DEEPEST);
        let depth = depth.min(self.head() + 1 - self.round_from);
        let mut included = Vec::new();
        for sent in &self.sent[self.round_sent..] {
            if chance.percent(40) {
                included.push(Included {
                    raw: sent.raw.clone(),
                    block: chance.between(0, depth - 1),
                });
            }
        }
        included.sort_by_key(|included| included.block);
        let back_to_pool = chance.percent(50);
        self.chain.reorg(depth, &included, back_to_pool).unwrap();
        depth
    }

    /// What each payment did, by its own receipt, against the credits.
    pub(crate) async fn compare(
        &self,
        credits: &BTreeMap<(B256, usize), (Named, U256)>,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        let mut by_tx: BTreeMap<B256, Vec<(Named, U256)>> = BTreeMap::new();
        for ((tx, _), credit) in credits {
            by_tx.entry(*tx).or_default().push(*credit);
        }
        // A wallet whose transaction was forgotten may send the very same once more: that is one.
        let mut seen = BTreeSet::new();
        for sent in self.sent.iter().filter(|sent| seen.insert(sent.tx)) {
            let receipt = self
                .truth
                .ask("eth_getTransactionReceipt", json!([sent.tx]))
                .await
                .unwrap();
            let went = !receipt.is_null() && quantity(&receipt["status"]) == 1;
            let expected = went.then_some((sent.named, sent.amount));
            let found = by_tx.remove(&sent.tx).unwrap_or_default();
            if found != expected.into_iter().collect::<Vec<_>>() {
                problems.push(format!(
                    "payment {}: {found:?} stands, {expected:?} was paid",
                    sent.tx
                ));
            }
        }
        // What the hub brought, each once.
        let mut given: Vec<_> = self
            .promises
            .iter()
            .map(|promise| (Named::Nonce(promise.nonce), promise.amount))
            .collect();
        for (tx, found) in by_tx {
            let place = given.iter().position(|of| found == [*of]);
            match place {
                Some(place) => drop(given.swap_remove(place)),
                None => problems.push(format!("{tx} was sent by nobody, and paid {found:?}")),
            }
        }
        problems
    }

    pub(crate) fn units(&self, credits: &BTreeMap<(B256, usize), (Named, U256)>) -> U256 {
        credits.values().map(|(_, amount)| *amount).sum()
    }
}
