//! What a block costs when 10,000 invoices are open: at most a millisecond.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::hint::black_box;

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolEvent as _;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stencil_payments::abi;
use stencil_payments::invoice::{Definition, Id, Method, Policy, Price, Way};
use stencil_payments::matching::{Index, Log, Transaction, nonce};
use stencil_payments::money::{Amount, Asset, Token};
use stencil_payments::observation::Needs;

const INVOICES: u64 = 10_000;
/// Logs of the tokens and contracts that are watched, in one block.
const LOGS: u64 = 400;
const TOKEN: Address = Address::repeat_byte(0x70);
const PAYEE: Address = Address::repeat_byte(0xaa);
const CONTRACT: Address = Address::repeat_byte(0xcc);

fn id(n: u64) -> Id {
    Id(u128::from(n).to_be_bytes())
}

/// A third of the invoices by each way.
fn way(n: u64) -> Way {
    match n % 3 {
        0 => Way::Authorization,
        1 => Way::Contract(CONTRACT),
        _ => Way::UniqueAmount,
    }
}

fn index() -> (Index, Vec<Amount>) {
    let asset = Asset::erc20(1, TOKEN);
    let price = Amount::from(5_000_000_u64);
    let mut index = Index::default();
    let mut dues = Vec::new();
    for n in 0..INVOICES {
        let token = Token::new(asset, 6, "USDC").unwrap();
        let due = match way(n) {
            Way::UniqueAmount => index
                .unique(asset, PAYEE, price, Amount::from(1_u64), 9_999)
                .unwrap(),
            _ => price,
        };
        let price = Price::Token {
            asset,
            amount: price,
        };
        let needs = Needs::Confirmations(12);
        let mut method = Method::priced(&price, token, None, PAYEE, way(n), needs).unwrap();
        method.due = due;
        dues.push(due);
        let definition = Definition {
            id: id(n),
            tenant: "acme".parse().unwrap(),
            price,
            methods: vec![method],
            created_us: 0,
            expires_us: 1_000_000,
            policy: Policy::DEFAULT,
        };
        index.add(&definition, 2_000_000).unwrap();
    }
    (index, dues)
}

/// A block of transactions of which every fourth pays an invoice; the others are strangers'.
fn block(dues: &[Amount]) -> Vec<(B256, Vec<Log>)> {
    let log = |ordinal, address, data| Log {
        ordinal,
        address,
        data,
    };
    let transfer = |ordinal, from, to, amount: Amount| {
        log(
            ordinal,
            TOKEN,
            abi::Transfer {
                from,
                to,
                value: amount.0,
            }
            .encode_log_data(),
        )
    };
    let mut logs = 0;
    let mut block = Vec::new();
    while logs < LOGS {
        let n = block.len() as u64;
        let payer = Address::from_word(B256::from(U256::from(n + 1)));
        let stranger = Address::repeat_byte(1);
        let invoice = n * 23 % INVOICES;
        let due = dues[usize::try_from(invoice).unwrap()];
        let receipt = if !n.is_multiple_of(4) {
            vec![transfer(0, payer, stranger, due)]
        } else {
            match way(invoice) {
                Way::Authorization => {
                    let nonce = nonce(1, TOKEN, PAYEE, id(invoice), 0);
                    let used = abi::AuthorizationUsed {
                        authorizer: payer,
                        nonce,
                    };
                    let used = log(0, TOKEN, used.encode_log_data());
                    vec![used, transfer(1, payer, PAYEE, due)]
                }
                Way::Contract(_) => {
                    let paid = abi::Paid {
                        invoiceId: abi::invoice_id(id(invoice)),
                        payer,
                        token: TOKEN,
                        amount: due.0,
                        received: due.0,
                    };
                    let paid = log(1, CONTRACT, paid.encode_log_data());
                    vec![transfer(0, payer, PAYEE, due), paid]
                }
                Way::UniqueAmount | Way::Nonce { .. } | Way::Hold { .. } => {
                    vec![transfer(0, payer, PAYEE, due)]
                }
            }
        };
        logs += receipt.len() as u64;
        block.push((B256::from(U256::from(n)), receipt));
    }
    block
}

fn matching(criterion: &mut Criterion) {
    let (index, dues) = index();
    let block = block(&dues);
    let look = || {
        let found = block.iter().map(|(hash, logs)| {
            let transaction = Transaction {
                chain: 1,
                hash: *hash,
                value: None,
                logs,
            };
            index.look(&transaction).len()
        });
        found.sum::<usize>()
    };
    assert!(look() > 80, "a quarter of the transactions pay");
    let mut group = criterion.benchmark_group("matching");
    group.throughput(Throughput::Elements(LOGS));
    group.bench_function("block of 400 logs, 10000 open invoices", |bencher| {
        bencher.iter(|| black_box(look()));
    });
    group.finish();
}

criterion_group!(benches, matching);
criterion_main!(benches);
