//! What strangers and ill-behaved tokens put on a chain, and what of it an invoice takes: what its payee
//! really got, in its token, on its chain, once.

use stencil_payments::B256;
use stencil_payments::invoice::Way;
use stencil_payments::matching::{PaidTo, nonce};
use stencil_payments::money::Asset;
use stencil_payments::observation::Needs;

use super::*;

const ONE: Needs = Needs::Confirmations(1);
/// A token that nobody has set, and a contract of somebody's.
const OTHER: Address = Address::repeat_byte(0x71);
const FOREIGN: Address = Address::repeat_byte(0xde);

/// The tenant's address is looked at, invoice or not.
async fn holding() -> World {
    let world = World::new().await;
    let places = [
        PaidTo::Payee(Asset::erc20(ID, TOKEN), PAYEE),
        PaidTo::Contract(ID, CONTRACT),
    ];
    world.cashier.hold(&acme(), places.into()).await.unwrap();
    world
}

fn used(tx: u8, ordinal: u32, token: Address, nonce: B256) -> Seen {
    let authorizer = PAYER;
    event(
        tx,
        ordinal,
        token,
        &abi::AuthorizationUsed { authorizer, nonce },
    )
}

fn told(
    tx: u8,
    ordinal: u32,
    contract: Address,
    n: u8,
    (token, amount, received): (Address, u64, u64),
) -> Seen {
    let paid = abi::Paid {
        invoiceId: abi::invoice_id(id(n)),
        payer: PAYER,
        token,
        amount: U256::from(amount),
        received: U256::from(received),
    };
    event(tx, ordinal, contract, &paid)
}

async fn paid_so_far(world: &World, n: u8) -> (String, Vec<String>) {
    let kept = world.invoice(n).await.kept.invoice;
    let payments = kept
        .payments()
        .map(|(_, payment)| payment.amount.to_string());
    (world.state(n).await, payments.collect())
}

#[tokio::test]
async fn what_another_contract_says_is_no_payment() {
    let world = holding().await;
    world.create(invoice(1, Way::Authorization, ONE)).await;
    world.create(invoice(2, Way::Contract(CONTRACT), ONE)).await;
    world.create(invoice(3, Way::UniqueAmount, ONE)).await;
    let nonce = nonce(ID, TOKEN, PAYEE, id(1), 0);
    let value = U256::from(DUE);
    let (from, to) = (PAYER, PAYEE);
    let worthless = |ordinal| event(9, ordinal, OTHER, &abi::Transfer { from, to, value });
    // Anybody can deploy a contract that says the same, and a token that is worth nothing.
    world
        .block(
            10,
            &[
                told(9, 0, FOREIGN, 2, (TOKEN, DUE, DUE)),
                used(9, 1, OTHER, nonce),
                worthless(2),
                // The nonce of one token, and a transfer of another.
                used(9, 3, TOKEN, nonce),
                worthless(4),
            ],
        )
        .await;
    for n in 1..=3 {
        assert_eq!(
            paid_so_far(&world, n).await,
            ("new".into(), vec![]),
            "invoice {n}"
        );
    }
    assert!(world.unmatched(&acme()).await.is_empty());
    // The payment contract itself, with a token of somebody's own: for an open invoice, and for none.
    let worthless = [
        told(5, 0, CONTRACT, 2, (OTHER, DUE, DUE)),
        told(6, 0, CONTRACT, 77, (OTHER, 1, 1)),
    ];
    world.block(15, &worthless).await;
    assert!(world.unmatched(&acme()).await.is_empty());
    let unknown = &world.cashier.metrics().unknown_tokens;
    assert_eq!(unknown.load(Ordering::Relaxed), 2);
    // With the coin, which the invoice is not paid in: that is money.
    world
        .block(20, &[told(2, 0, CONTRACT, 2, (Address::ZERO, DUE, DUE))])
        .await;
    assert_eq!(world.state(2).await, "new");
    let strays = world.unmatched(&acme()).await;
    assert_eq!(strays.len(), 1);
    assert_eq!(strays[0]["reason"], "asset");
    // What is right afterwards is taken.
    world.block(30, &paid(3, 2, TOKEN, DUE)).await;
    assert_eq!(world.state(2).await, "settled");
}

#[tokio::test]
async fn money_that_comes_before_the_tokens_are_known_is_kept() {
    let world = holding().await;
    // As after a start: which tokens are the hub's own, the chain has not confirmed yet.
    *world.chain.not_ready.lock().unwrap() = Some("not yet".to_owned());
    let stray = told(6, 0, CONTRACT, 77, (OTHER, DUE, DUE));
    world.block(10, &[stray]).await;
    assert_eq!(world.unmatched(&acme()).await.len(), 1);
    let unknown = &world.cashier.metrics().unknown_tokens;
    assert_eq!(unknown.load(Ordering::Relaxed), 0);
    // Once they are known, another one's is not.
    *world.chain.not_ready.lock().unwrap() = None;
    let stray = told(7, 0, CONTRACT, 78, (OTHER, DUE, DUE));
    world.block(20, &[stray]).await;
    assert_eq!(world.unmatched(&acme()).await.len(), 1);
    assert_eq!(unknown.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_same_on_another_chain_is_no_payment() {
    let world = World::new().await;
    world.create(invoice(1, Way::Authorization, ONE)).await;
    world.create(invoice(2, Way::Contract(CONTRACT), ONE)).await;
    world.create(invoice(3, Way::UniqueAmount, ONE)).await;
    let mut seen = authorised(1, 1, DUE);
    seen.extend(paid(2, 2, TOKEN, DUE));
    seen.push(transfer(3, 0, PAYEE, DUE));
    world.follower.block(START_S + 10, &seen).await;
    let entries = world.store.chains.chain_entries(CHAIN, 0, 100);
    let entries = entries.await.unwrap();
    assert_eq!(entries.len(), 5);
    // Contracts can have one address on many chains; test networks cost nothing.
    reader::observed(&world.cashier, ID + 1, &entries)
        .await
        .unwrap();
    for n in 1..=3 {
        assert_eq!(
            paid_so_far(&world, n).await,
            ("new".into(), vec![]),
            "invoice {n}"
        );
    }
    world.catch_up().await;
    for n in 1..=3 {
        assert_eq!(world.state(n).await, "settled", "invoice {n}");
    }
}

#[tokio::test]
async fn a_token_that_takes_a_fee_pays_what_came() {
    let world = holding().await;
    world.create(invoice(1, Way::Authorization, ONE)).await;
    world.create(invoice(2, Way::Contract(CONTRACT), ONE)).await;
    world.create(invoice(3, Way::UniqueAmount, ONE)).await;
    let came = DUE / 10 * 9;
    world.block(10, &authorised(1, 1, came)).await;
    let by_contract = [
        transfer(2, 0, PAYEE, came),
        told(2, 1, CONTRACT, 2, (TOKEN, DUE, came)),
    ];
    world.block(20, &by_contract).await;
    world.block(30, &[transfer(3, 0, PAYEE, came)]).await;
    let part = ("seen".to_owned(), vec![came.to_string()]);
    assert_eq!(paid_so_far(&world, 1).await, part);
    assert_eq!(paid_so_far(&world, 2).await, part);
    // By its amount alone it is no invoice's, and is not lost.
    assert_eq!(paid_so_far(&world, 3).await, ("new".into(), vec![]));
    let strays = world.unmatched(&acme()).await;
    assert_eq!(strays.len(), 1);
    assert_eq!(
        (&strays[0]["amount"], &strays[0]["reason"]),
        (&came.to_string().into(), &"amount".into())
    );
    let rest = DUE - came;
    world
        .block(40, &[told(4, 0, CONTRACT, 2, (TOKEN, rest, rest))])
        .await;
    assert_eq!(world.state(2).await, "settled");
}

/// A token that calls back in the middle of its transfer: logs of one payment stand between those of
/// another, and some are there twice.
#[tokio::test]
async fn a_token_that_calls_back_is_counted_by_what_moved() {
    let world = holding().await;
    world.create(invoice(1, Way::Contract(CONTRACT), ONE)).await;
    world.create(invoice(2, Way::Contract(CONTRACT), ONE)).await;
    world.create(invoice(3, Way::Authorization, ONE)).await;
    let nested = [
        transfer(1, 0, PAYEE, DUE),
        transfer(1, 1, PAYEE, DUE),
        told(1, 2, CONTRACT, 2, (TOKEN, DUE, DUE)),
        told(1, 3, CONTRACT, 1, (TOKEN, DUE, DUE)),
    ];
    world.block(10, &nested).await;
    let nonce = nonce(ID, TOKEN, PAYEE, id(3), 0);
    let twice = [
        used(2, 0, TOKEN, nonce),
        used(2, 1, TOKEN, nonce),
        transfer(2, 2, PAYEE, DUE),
        used(2, 3, TOKEN, nonce),
    ];
    world.block(20, &twice).await;
    let once = ("settled".to_owned(), vec![DUE.to_string()]);
    for n in 1..=3 {
        assert_eq!(paid_so_far(&world, n).await, once, "invoice {n}");
    }
    assert!(
        world.unmatched(&acme()).await.is_empty(),
        "no transfer is a payment of its own beside its event"
    );
    assert_eq!(
        world.holds().await.get("revenue"),
        Some(&-i128::from(3 * DUE))
    );
}

#[tokio::test]
async fn logs_that_are_no_such_events_hold_up_nothing() {
    let world = holding().await;
    world.create(invoice(1, Way::Contract(CONTRACT), ONE)).await;
    let odd = |tx, address, topics: Vec<[u8; 32]>, data: Vec<u8>| Seen {
        topics,
        data,
        ..transfer(tx, 0, address, DUE)
    };
    let of_token = |tx, topics, data| odd(tx, PAYEE, topics, data);
    let word = |address: Address| address.into_word().0;
    let huge = vec![0xff; 256 * 1024];
    let paid_topic = abi::PAID.0;
    let contract = |topics, data| Seen {
        address: CONTRACT,
        ..odd(5, CONTRACT, topics, data)
    };
    let block = [
        of_token(1, vec![], vec![]),
        of_token(2, vec![abi::TRANSFER.0], huge.clone()),
        // As an ERC-721 token says it: the amount is a topic.
        of_token(
            3,
            vec![abi::TRANSFER.0, word(PAYER), word(PAYEE), [1; 32]],
            vec![],
        ),
        of_token(
            4,
            vec![abi::TRANSFER.0, word(PAYER), word(PAYEE)],
            vec![0xff; 31],
        ),
        contract(vec![paid_topic, [1; 32], word(PAYER), word(TOKEN)], huge),
        contract(vec![paid_topic], vec![]),
    ];
    let mut block = block.to_vec();
    block[5].ordinal = 1;
    block.extend(paid(6, 1, TOKEN, DUE));
    world.block(10, &block).await;
    assert_eq!(world.state(1).await, "settled");
    let position = world.store.chains.chain_position(CHAIN, reader::READER);
    assert_eq!(position.await.unwrap(), 8);
}

/// Base units and how many, of each row of money of no invoice; and what all of it comes to.
async fn rows(world: &World) -> (Vec<(u64, u64)>, u64) {
    let page = world.store.payments.unmatched(&acme(), None, 300).await;
    let rows = page.unwrap().items.into_iter().map(|row| {
        let body: serde_json::Value = serde_json::from_str(&row.body).unwrap();
        assert_eq!(body["count"].is_u64(), row.credit.starts_with("folded:"));
        let amount = body["amount"].as_str().unwrap().parse::<u64>().unwrap();
        (amount, body["count"].as_u64().unwrap_or(1))
    });
    let rows: Vec<_> = rows.collect();
    let all = rows.iter().map(|(amount, _)| amount).sum();
    (rows, all)
}

#[tokio::test]
async fn a_flood_of_dust_is_one_sum_and_what_is_larger_stays() {
    let mut world = holding().await;
    let mut seen: Vec<Seen> = (0..150).map(|at| transfer(1, at, PAYEE, 1)).collect();
    seen.insert(3, transfer(2, 0, PAYEE, 7_000_000));
    let dusty = world.block(10, &seen).await;
    // What the chain may take back has a row by which that is done.
    assert_eq!(rows(&world).await.0.len(), 151);
    let last = world.block(11, &[transfer(3, 0, PAYEE, 1)]).await;
    world.finalize(dusty).await;
    let (told, all) = rows(&world).await;
    assert_eq!((told.len(), all), (102, 7_000_151));
    assert_eq!(told[0], (51, 51), "the sum stands before what it is of");
    assert!(told.contains(&(7_000_000, 1)));
    // The last one is taken back, and it goes on after a restart.
    world.back_to(last - 1).await;
    world.restart().await;
    let places = [PaidTo::Payee(Asset::erc20(ID, TOKEN), PAYEE)];
    world.cashier.hold(&acme(), places.into()).await.unwrap();
    let more: Vec<Seen> = (0..5).map(|at| transfer(4, at, PAYEE, 3)).collect();
    let last = world.block(200, &more).await;
    // It is looked once a minute.
    super::outbox::later(&world, 61);
    world.finalize(last).await;
    let (told, all) = rows(&world).await;
    assert_eq!((told.len(), all), (101, 7_000_165));
    assert_eq!(told[0], (56, 56));
    assert_eq!(told.iter().filter(|row| **row == (3, 1)).count(), 5);
}
