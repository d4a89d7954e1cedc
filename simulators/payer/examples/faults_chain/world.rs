//! The chain, and those who pay on it.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use serde_json::json;
use stencil_devchain::{Clock, DevChain, Endpoint, Faults, Included, Mining, Options};
use stencil_payer::{Authorization, Call, Domain, Wallet, contracts};

use crate::chance::Chance;
use crate::oracle::{Named, Rpc, Watched, quantity};

pub(crate) const CHAIN_ID: u64 = 31_337;
const PAYEE: Address = Address::repeat_byte(0xaa);
/// Wallets that pay.
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

pub(crate) struct World {
    chain: DevChain,
    pub(crate) truth: Rpc,
    _truthful: Endpoint,
    /// What the process under test gets to see.
    pub(crate) faulty: [Endpoint; 2],
    wallets: Vec<Wallet>,
    pub(crate) token: Address,
    pub(crate) contract: Address,
    pub(crate) sent: Vec<Sent>,
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
            accounts: PAYERS,
            seed,
            mining: Mining::Manual,
            clock: Clock::Steps {
                start: 1_800_000_000,
                step: 2,
            },
            ..Options::default()
        });
        let truthful = chain.listen(0).await.unwrap();
        let faulty = [
            chain.listen(0).await.unwrap(),
            chain.listen(0).await.unwrap(),
        ];
        let accounts = chain.accounts();
        let wallets: Vec<Wallet> = accounts
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
            sent: Vec::new(),
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

    /// Somebody pays an invoice in one of the three ways; some pay one that was paid before.
    pub(crate) async fn pay(&mut self, chance: &mut Chance) {
        let which = chance.between(0, u64::from(PAYERS) - 1) as usize;
        if !chance.percent(12) {
            self.invoices += 1;
        }
        let invoice = keccak256(self.invoices.to_be_bytes());
        // Such an amount no other invoice has.
        let unique = U256::from(5_000_000 + self.invoices);
        let some = U256::from(chance.between(1, 9_000_000));
        let (token, contract) = (self.token, self.contract);
        let (which, call, named, amount) = match chance.between(0, 2) {
            0 => {
                let authorization = Authorization {
                    from: self.wallets[which].address(),
                    to: PAYEE,
                    value: some,
                    valid_after: 0,
                    valid_before: u64::MAX,
                    // An authorisation that was used is used; each payment has one of its own.
                    nonce: keccak256([&invoice.0[..], &self.sent.len().to_be_bytes()].concat()),
                };
                let domain = Domain::dollar(CHAIN_ID, token);
                let signature = self.wallets[which].authorize(&authorization, &domain);
                let call = Call::bring(token, &authorization, &signature.unwrap());
                // Somebody else brings it.
                let courier = (which + 1) % self.wallets.len();
                (courier, call, Named::Nonce(authorization.nonce), some)
            }
            1 => {
                let call = Call::pay(contract, invoice, token, some);
                (which, call, Named::Contract(invoice), some)
            }
            _ => {
                let call = Call::transfer(token, PAYEE, unique);
                (which, call, Named::Amount(unique), unique)
            }
        };
        let (raw, tx) = self.send(which, &call).await;
        self.sent.push(Sent {
            raw,
            tx,
            named,
            amount,
        });
    }

    /// Sends some payments of this round again, as wallets do; those that are in a block already, or
    /// whose nonce has gone to another, are refused. Gives how many were taken.
    pub(crate) fn send_again(&self, chance: &mut Chance, percent: u64) -> u32 {
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
    pub(crate) fn reorganise(&self, chance: &mut Chance) -> u64 {
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
        for sent in &self.sent {
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
        for (tx, found) in by_tx {
            problems.push(format!("{tx} was sent by nobody, and paid {found:?}"));
        }
        problems
    }

    pub(crate) fn units(&self, credits: &BTreeMap<(B256, usize), (Named, U256)>) -> U256 {
        credits.values().map(|(_, amount)| *amount).sum()
    }
}
