//! The chain that is followed: a token, a payment contract, and payers among whose transfers are
//! payments of all invoices.

use std::io::{Read as _, Write as _};
use std::time::Instant;

use alloy_primitives::{Address, B256, U256};
use serde::{Deserialize, Serialize};
use stencil_devchain::{Clock, DevChain, Mining, Options};
use stencil_payer::{Authorization, Call, Domain, Wallet, contracts};
use stencil_payments::invoice::Way;

use crate::invoices::Invoices;

pub(crate) const CHAIN_ID: u64 = 31_337;
pub(crate) const PAYEE: Address = Address::repeat_byte(0xaa);
/// Wallets that pay.
const PAYERS: u32 = 10;
/// One in so many blocks has so many transfers …
const EVERY: u64 = 4;
const TRANSFERS: u64 = 2;
/// … and one in so many is full of them.
const BUSY_EVERY: u64 = 1_000;
const BUSY_TRANSFERS: u64 = 150;
/// Blocks before the first transfer: contracts, and money for the payers.
const FIRST: u64 = 4;
/// Strangers among whom the other transfers go.
const STRANGERS: u64 = 1_000;

/// What is to be made.
pub(crate) struct Plan {
    pub(crate) blocks: u64,
    pub(crate) invoices: u64,
}

/// What the chain's process says when all is made.
#[derive(Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) endpoints: Vec<String>,
    pub(crate) token: Address,
    pub(crate) contract: Address,
    pub(crate) blocks: u64,
    pub(crate) transfers: u64,
    /// Logs of the token and the contract that a follower has to find.
    pub(crate) logs: u64,
    pub(crate) payments: u64,
    pub(crate) made_s: f64,
}

impl Plan {
    pub(crate) fn new(blocks: u64, invoices: u64) -> Self {
        let plan = Self { blocks, invoices };
        assert!(
            plan.transfers() >= invoices,
            "{blocks} blocks have {} transfers, too few to pay {invoices} invoices",
            plan.transfers()
        );
        plan
    }

    /// Transfers of a block.
    fn transfers_of(block: u64) -> u64 {
        match block {
            0..FIRST => 0,
            block if block.is_multiple_of(BUSY_EVERY) => BUSY_TRANSFERS,
            block if block.is_multiple_of(EVERY) => TRANSFERS,
            _ => 0,
        }
    }

    fn transfers(&self) -> u64 {
        (FIRST..=self.blocks).map(Self::transfers_of).sum()
    }
}

/// Makes the chain, says where it is, and serves it until standard input ends.
pub(crate) async fn serve(plan: &Plan) {
    let began = Instant::now();
    let chain = DevChain::start(Options {
        chain_id: CHAIN_ID,
        accounts: PAYERS,
        mining: Mining::Manual,
        clock: Clock::Steps {
            start: 1_800_000_000,
            step: 12,
        },
        ..Options::default()
    });
    let endpoints = [
        chain.listen(0).await.unwrap(),
        chain.listen(0).await.unwrap(),
    ];
    let mut told = make(plan, &chain);
    told.endpoints = endpoints.iter().map(|endpoint| endpoint.url()).collect();
    told.made_s = began.elapsed().as_secs_f64();
    println!("{}", serde_json::to_string(&told).unwrap());
    std::io::stdout().flush().unwrap();
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()))
        .await
        .unwrap()
        .unwrap();
}

/// Those who pay, and what each has sent.
struct Payers<'a> {
    chain: &'a DevChain,
    wallets: Vec<(Wallet, u64)>,
}

impl Payers<'_> {
    fn send(&mut self, which: u64, call: &Call) {
        let place = (which % u64::from(PAYERS)) as usize;
        let (wallet, nonce) = &mut self.wallets[place];
        let raw = wallet.sign(*nonce, call).unwrap();
        self.chain.submit(raw).expect("a transaction that is taken");
        *nonce += 1;
    }

    fn wallet(&self, which: u64) -> &Wallet {
        &self.wallets[(which % u64::from(PAYERS)) as usize].0
    }
}

fn make(plan: &Plan, chain: &DevChain) -> Told {
    let wallets = chain.accounts();
    let wallets = wallets
        .iter()
        .map(|account| (Wallet::new(&account.key, CHAIN_ID).unwrap(), 0));
    let mut payers = Payers {
        chain,
        wallets: wallets.collect(),
    };
    let deployer = payers.wallet(0).address();
    let mut told = Told {
        endpoints: Vec::new(),
        token: deployer.create(0),
        contract: deployer.create(1),
        blocks: plan.blocks,
        transfers: plan.transfers(),
        logs: 0,
        payments: plan.invoices,
        made_s: 0.0,
    };
    payers.send(0, &Call::create(contracts::dollar().unwrap()));
    payers.send(0, &Call::create(contracts::payments(PAYEE).unwrap()));
    chain.mine(1);
    for which in 0..u64::from(PAYERS) {
        let (to, lots) = (payers.wallet(which).address(), U256::from(u64::MAX));
        payers.send(which, &Call::mint(told.token, to, lots));
        payers.send(which, &Call::approve(told.token, told.contract, lots));
    }
    chain.mine(FIRST - 2);
    // A mint is a transfer, too; approvals are not watched.
    told.transfers += u64::from(PAYERS);
    told.logs = told.transfers;
    let invoices = Invoices::new(plan, &told);
    let each = plan.transfers() / plan.invoices.max(1);
    let mut sent = 0;
    let mut made = FIRST - 1;
    for block in FIRST..=plan.blocks {
        let transfers = Plan::transfers_of(block);
        if transfers == 0 && block != plan.blocks {
            continue;
        }
        // The empty ones before it, too.
        chain.mine(block - made - 1);
        for _ in 0..transfers {
            let (invoice, pays) = (sent / each.max(1), sent.is_multiple_of(each.max(1)));
            if pays && invoice < plan.invoices {
                told.logs += pay(&mut payers, &told, &invoices, invoice, sent);
            } else {
                let stranger = Address::from_word(B256::from(U256::from(1 + sent % STRANGERS)));
                let amount = U256::from(1 + sent % 7_919);
                payers.send(sent, &Call::transfer(told.token, stranger, amount));
            }
            sent += 1;
        }
        chain.mine(1);
        made = block;
    }
    assert_eq!(chain.head().number, plan.blocks);
    told
}

/// Pays an invoice; gives how many logs there are beside the transfer's.
fn pay(payers: &mut Payers<'_>, told: &Told, invoices: &Invoices, n: u64, which: u64) -> u64 {
    let invoice = &invoices.all[n as usize];
    let due = invoice.due.0;
    match invoice.way {
        Way::UniqueAmount => {
            payers.send(which, &Call::transfer(told.token, PAYEE, due));
            0
        }
        Way::Contract(contract) => {
            let named = stencil_payments::abi::invoice_id(invoice.id);
            payers.send(which, &Call::pay(contract, named, told.token, due));
            1
        }
        Way::Authorization => {
            let authorization = Authorization {
                from: payers.wallet(which).address(),
                to: PAYEE,
                value: due,
                valid_after: 0,
                valid_before: u64::MAX,
                nonce: stencil_payments::matching::nonce(
                    CHAIN_ID, told.token, PAYEE, invoice.id, 0,
                ),
            };
            let domain = Domain::dollar(CHAIN_ID, told.token);
            let signature = payers
                .wallet(which)
                .authorize(&authorization, &domain)
                .unwrap();
            // Somebody else brings it.
            payers.send(
                which + 1,
                &Call::bring(told.token, &authorization, &signature),
            );
            1
        }
        // Drawn by payers of data and commands; none of these invoices is paid so.
        Way::Nonce { .. } | Way::Hold { .. } => 0,
    }
}
