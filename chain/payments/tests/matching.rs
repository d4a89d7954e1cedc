//! Which invoice a movement is for; that none is lost, and none is taken twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolEvent;
use proptest::prelude::*;
use stencil_payments::abi;
use stencil_payments::invoice::{Definition, Id, Method, Policy, Price, Way};
use stencil_payments::matching::{
    Error, Found, Index, Log, MAX_ATTEMPTS, Reason, Target, Transaction, Unmatched, Value, nonce,
};
use stencil_payments::money::{Amount, Asset, Token};
use stencil_payments::observation::{Key, Needs, VALUE};

const TOKEN: Address = Address::repeat_byte(0x70);
const PAYEE: Address = Address::repeat_byte(0xaa);
const PAYER: Address = Address::repeat_byte(0xbb);
const CONTRACT: Address = Address::repeat_byte(0xcc);
const HASH: B256 = B256::repeat_byte(0x42);

fn asset() -> Asset {
    Asset::erc20(1, TOKEN)
}

fn id(n: u64) -> Id {
    Id(u128::from(n).to_be_bytes())
}

fn invoice(n: u64, asset: Asset, due: u64, way: Way) -> Definition {
    let token = Token::new(asset, 6, "T").unwrap();
    let price = Price::Token {
        asset,
        amount: Amount::from(due),
    };
    let needs = Needs::Confirmations(1);
    Definition {
        id: id(n),
        tenant: "acme".parse().unwrap(),
        price,
        methods: vec![Method::priced(&price, token, None, PAYEE, way, needs).unwrap()],
        created_us: 0,
        expires_us: 1_000_000,
        policy: Policy::DEFAULT,
    }
}

fn log(ordinal: u32, address: Address, event: &impl SolEvent) -> Log {
    Log {
        ordinal,
        address,
        data: event.encode_log_data(),
    }
}

fn transfer(ordinal: u32, from: Address, to: Address, value: u64) -> Log {
    log(
        ordinal,
        TOKEN,
        &abi::Transfer {
            from,
            to,
            value: U256::from(value),
        },
    )
}

fn used(ordinal: u32, authorizer: Address, nonce: B256) -> Log {
    log(
        ordinal,
        TOKEN,
        &abi::AuthorizationUsed { authorizer, nonce },
    )
}

fn paid(ordinal: u32, n: u64, token: Address, amount: u64, received: u64) -> Log {
    let event = abi::Paid {
        invoiceId: abi::invoice_id(id(n)),
        payer: PAYER,
        token,
        amount: U256::from(amount),
        received: U256::from(received),
    };
    log(ordinal, CONTRACT, &event)
}

fn look(index: &Index, logs: &[Log]) -> Vec<Found> {
    index.look(&Transaction {
        chain: 1,
        hash: HASH,
        value: None,
        logs,
    })
}

fn credit(ordinal: u32, n: u64, amount: u64) -> Found {
    Found::Credit {
        key: Key {
            chain: 1,
            tx: HASH,
            ordinal,
        },
        target: Target {
            invoice: id(n),
            method: 0,
        },
        amount: Amount::from(amount),
        from: PAYER,
    }
}

fn unmatched(ordinal: u32, asset: Asset, to: Address, amount: u64, reason: Reason) -> Found {
    let key = Key {
        chain: 1,
        tx: HASH,
        ordinal,
    };
    let amount = Amount::from(amount);
    Found::Unmatched(Unmatched {
        key,
        asset,
        to,
        from: PAYER,
        amount,
        reason,
    })
}

#[test]
fn by_the_nonce_of_an_authorisation() {
    let mut index = Index::default();
    index
        .add(&invoice(1, asset(), 500, Way::Authorization), 9)
        .unwrap();
    let its = |attempt| nonce(1, TOKEN, PAYEE, id(1), attempt);
    // Behind the note of the nonce, as USD Coin has it, and before.
    let pays = transfer(4, PAYER, PAYEE, 500);
    assert_eq!(
        look(&index, &[used(3, PAYER, its(0)), pays.clone()]),
        [credit(4, 1, 500)]
    );
    assert_eq!(
        look(&index, &[pays.clone(), used(5, PAYER, its(1))]),
        [credit(4, 1, 500)]
    );
    // Two of one payer in one transaction, and two payers.
    let other = Address::repeat_byte(0xbc);
    let logs = [
        used(0, PAYER, its(0)),
        transfer(1, PAYER, PAYEE, 200),
        used(2, PAYER, its(1)),
        transfer(3, PAYER, PAYEE, 300),
        used(4, other, its(0)),
        transfer(5, other, PAYEE, 7),
    ];
    let found = look(&index, &logs);
    assert_eq!(found[..2], [credit(1, 1, 200), credit(3, 1, 300)]);
    assert!(matches!(found[2], Found::Credit { from, .. } if from == other));
    // A token that keeps a fee, and tells of it first or last: what arrived counts.
    for (net, fee) in [(1, 2), (2, 1)] {
        let mut logs = vec![
            used(0, PAYER, its(0)),
            transfer(net, PAYER, PAYEE, 495),
            transfer(fee, PAYER, other, 5),
        ];
        logs.sort_by_key(|log| log.ordinal);
        assert_eq!(look(&index, &logs), [credit(net, 1, 495)]);
    }
    // What moves by the payer's next authorisation is of that one.
    let next = [
        used(0, PAYER, its(0)),
        transfer(1, PAYER, other, 500),
        used(2, PAYER, its(1)),
        transfer(3, PAYER, PAYEE, 300),
    ];
    assert_eq!(look(&index, &next), [credit(3, 1, 300)]);
    let before = [
        transfer(0, PAYER, PAYEE, 7),
        used(1, PAYER, its(0)),
        transfer(2, PAYER, other, 500),
    ];
    let beside = unmatched(0, asset(), PAYEE, 7, Reason::Amount);
    assert_eq!(look(&index, &before), [beside]);
    // The nonce with money to somebody else pays nothing; money by another nonce is unmatched.
    let elsewhere = [used(0, PAYER, its(0)), transfer(1, PAYER, other, 500)];
    assert_eq!(look(&index, &elsewhere), []);
    let foreign = [used(3, PAYER, its(MAX_ATTEMPTS)), pays.clone()];
    assert_eq!(
        look(&index, &foreign),
        [unmatched(4, asset(), PAYEE, 500, Reason::Amount)]
    );
    // The same logs by another token, or on another chain, are nothing.
    let fake = |log: &Log| Log {
        address: Address::repeat_byte(1),
        ..log.clone()
    };
    let fakes = [fake(&used(3, PAYER, its(0))), fake(&pays)];
    assert_eq!(look(&index, &fakes), []);
    let there = Transaction {
        chain: 2,
        hash: HASH,
        value: None,
        logs: &[pays],
    };
    assert_eq!(index.look(&there), []);
    assert_eq!(
        index.add(&invoice(2, Asset::native(1), 5, Way::Authorization), 9),
        Err(Error::Native)
    );
}

#[test]
fn nonces_are_bound_to_all_that_they_name() {
    let all: BTreeSet<_> = [
        nonce(1, TOKEN, PAYEE, id(1), 0),
        nonce(2, TOKEN, PAYEE, id(1), 0),
        nonce(1, PAYER, PAYEE, id(1), 0),
        nonce(1, TOKEN, PAYER, id(1), 0),
        nonce(1, TOKEN, PAYEE, id(2), 0),
        nonce(1, TOKEN, PAYEE, id(1), 1),
    ]
    .into();
    assert_eq!(all.len(), 6);
}

#[test]
fn by_the_payment_contract() {
    let mut index = Index::default();
    let way = Way::Contract(CONTRACT);
    index.add(&invoice(1, asset(), 500, way), 9).unwrap();
    index
        .add(&invoice(2, asset(), 500, Way::UniqueAmount), 9)
        .unwrap();
    // The transfer that the contract made is not taken for one of its own, though another invoice
    // waits for just that amount.
    let logs = [transfer(0, PAYER, PAYEE, 500), paid(1, 1, TOKEN, 500, 500)];
    assert_eq!(look(&index, &logs), [credit(1, 1, 500)]);
    // By authorisation: into the contract, and from there on.
    let logs = [
        used(0, PAYER, B256::ZERO),
        transfer(1, PAYER, CONTRACT, 500),
        transfer(2, CONTRACT, PAYEE, 500),
        paid(3, 1, TOKEN, 500, 500),
    ];
    assert_eq!(look(&index, &logs), [credit(3, 1, 500)]);
    // A token with a fee: what arrived counts.
    let logs = [transfer(0, PAYER, PAYEE, 495), paid(1, 1, TOKEN, 500, 495)];
    assert_eq!(look(&index, &logs), [credit(1, 1, 495)]);
    // The same whichever of the two it tells first: the net one is no payment of its own.
    let collector = Address::repeat_byte(0xfe);
    for (net, fee) in [(0, 1), (1, 0)] {
        let mut logs = vec![
            transfer(net, PAYER, PAYEE, 495),
            transfer(fee, PAYER, collector, 5),
            paid(2, 1, TOKEN, 500, 495),
        ];
        logs.sort_by_key(|log| log.ordinal);
        assert_eq!(look(&index, &logs), [credit(2, 1, 495)]);
        // Also where the invoice is none that is known.
        logs[2] = paid(2, 3, TOKEN, 500, 495);
        let unknown = unmatched(2, asset(), CONTRACT, 495, Reason::Invoice);
        assert_eq!(look(&index, &logs), [unknown]);
    }
    // And what is sent beside it does count.
    let logs = [
        transfer(0, PAYER, PAYEE, 500),
        transfer(1, PAYER, PAYEE, 500),
        paid(2, 1, TOKEN, 500, 500),
    ];
    assert_eq!(look(&index, &logs), [credit(0, 2, 500), credit(2, 1, 500)]);
    // Unknown invoices and other tokens are not lost.
    let logs = [transfer(0, PAYER, PAYEE, 500), paid(1, 3, TOKEN, 500, 500)];
    assert_eq!(
        look(&index, &logs),
        [unmatched(1, asset(), CONTRACT, 500, Reason::Invoice)]
    );
    let other = Address::repeat_byte(0x71);
    let found = look(
        &index,
        &[paid(1, 1, other, 500, 500), paid(2, 1, Address::ZERO, 5, 5)],
    );
    assert_eq!(
        found,
        [
            unmatched(1, Asset::erc20(1, other), CONTRACT, 500, Reason::Asset),
            unmatched(2, Asset::native(1), CONTRACT, 5, Reason::Asset),
        ]
    );
    // The event of any other contract is nothing.
    let forged = Log {
        address: other,
        ..paid(1, 1, TOKEN, 500, 500)
    };
    assert_eq!(look(&index, &[forged]), []);
}

#[test]
fn by_a_unique_amount_of_token_and_coin() {
    let mut index = Index::default();
    index
        .add(&invoice(1, asset(), 500, Way::UniqueAmount), 9)
        .unwrap();
    index
        .add(&invoice(2, Asset::native(1), 500, Way::UniqueAmount), 9)
        .unwrap();
    let value = |to, amount| Value {
        from: PAYER,
        to,
        amount: Amount::from(amount),
    };
    let both = |value, logs: &[Log]| {
        index.look(&Transaction {
            chain: 1,
            hash: HASH,
            value: Some(value),
            logs,
        })
    };
    let found = both(value(PAYEE, 500_u64), &[transfer(0, PAYER, PAYEE, 500)]);
    assert_eq!(found, [credit(0, 1, 500), credit(VALUE, 2, 500)]);
    let found = both(value(PAYEE, 501_u64), &[transfer(0, PAYER, PAYEE, 499)]);
    assert_eq!(
        found,
        [
            unmatched(0, asset(), PAYEE, 499, Reason::Amount),
            unmatched(VALUE, Asset::native(1), PAYEE, 501, Reason::Amount),
        ]
    );
    // To others, of nothing, and to oneself: no money came.
    let nothing = [
        transfer(0, PAYER, CONTRACT, 500),
        transfer(1, PAYER, PAYEE, 0),
        transfer(2, PAYEE, PAYEE, 500),
    ];
    assert_eq!(both(value(CONTRACT, 500_u64), &nothing), []);
}

#[test]
fn unique_amounts_are_bounded_and_not_reused_while_a_late_payment_can_come() {
    let mut index = Index::default();
    let price = Amount::from(100_u64);
    let step = Amount::from(1_u64);
    let mut taken = BTreeSet::new();
    for n in 0..=9_u64 {
        let amount = index.unique(asset(), PAYEE, price, step, 9).unwrap();
        assert!(taken.insert(amount), "given twice");
        let mut definition = invoice(n, asset(), 100, Way::UniqueAmount);
        definition.methods[0].due = amount;
        index
            .add(&definition, 10 + i64::try_from(n).unwrap())
            .unwrap();
    }
    assert!(
        taken
            .iter()
            .all(|amount| (100..=109).contains(&u64::try_from(amount.0).unwrap()))
    );
    assert_eq!(
        index.unique(asset(), PAYEE, price, step, 9),
        None,
        "all are taken"
    );
    assert!(
        index.unique(asset(), PAYER, price, step, 9).is_some(),
        "another payee"
    );
    let double = index.add(&invoice(99, asset(), 100, Way::UniqueAmount), 9);
    assert!(matches!(double, Err(Error::AmountTaken { .. })));
    assert_eq!(index.expire(|_| Some(9), |_| false), []);
    assert_eq!(index.expire(|_| Some(11), |it| it == id(1)), [id(0)]);
    index.extend(id(1), 20);
    index.extend(id(1), 15);
    assert_eq!(index.expire(|_| Some(19), |it| it != id(1)), []);
    assert_eq!(index.expire(|_| Some(20), |it| it != id(1)), [id(1)]);
    assert_eq!(index.len(), 8);
    for _ in 0..2 {
        let amount = index.unique(asset(), PAYEE, price, step, 9).unwrap();
        assert!(amount < Amount::from(102_u64), "one of those that are over");
        let mut definition = invoice(
            u64::try_from(amount.0).unwrap(),
            asset(),
            100,
            Way::UniqueAmount,
        );
        definition.methods[0].due = amount;
        index.add(&definition, 50).unwrap();
    }
}

#[test]
fn nothing_crosses_tenants() {
    let mut index = Index::default();
    index
        .add(&invoice(1, asset(), 500, Way::Authorization), 9)
        .unwrap();
    let mut foreign = invoice(2, asset(), 500, Way::UniqueAmount);
    foreign.tenant = "other".parse().unwrap();
    assert_eq!(index.add(&foreign, 9), Err(Error::OtherTenant(PAYEE)));
    index
        .add(&invoice(3, asset(), 1, Way::Contract(CONTRACT)), 9)
        .unwrap();
    let mut foreign = invoice(4, Asset::native(1), 500, Way::Contract(CONTRACT));
    foreign.tenant = "other".parse().unwrap();
    assert_eq!(index.add(&foreign, 9), Err(Error::OtherTenant(CONTRACT)));
    assert_eq!(
        index.add(&invoice(1, asset(), 1, Way::Authorization), 9),
        Err(Error::Known(id(1)))
    );
    assert_eq!(index.addresses(1), [TOKEN, CONTRACT].into());
    assert!(index.addresses(2).is_empty());
    // When the last invoice is gone, the address is free, and nobody looks there.
    assert!(index.remove(id(1)) && index.remove(id(3)) && !index.remove(id(3)));
    assert!(index.is_empty() && index.addresses(1).is_empty());
    assert_eq!(look(&index, &[transfer(0, PAYER, PAYEE, 5)]), []);
    index.add(&foreign, 9).unwrap();
}

proptest! {
    /// Each movement is found at most once, and all of what comes to the payee is found.
    #[test]
    fn money_is_neither_lost_nor_doubled(
        kinds in prop::collection::vec((0..4_u8, 1..4_u64, 1..6_u64), 0..12),
    ) {
        let mut index = Index::default();
        for n in 1..4 {
            index.add(&invoice(n, asset(), n, Way::UniqueAmount), 9).unwrap();
            index.add(&invoice(10 + n, asset(), 5, Way::Authorization), 9).unwrap();
            index.add(&invoice(20 + n, asset(), 5, Way::Contract(CONTRACT)), 9).unwrap();
        }
        let mut logs: Vec<Log> = Vec::new();
        let mut came = 0;
        for (kind, n, amount) in kinds {
            let at = u32::try_from(logs.len()).unwrap();
            match kind {
                0 => logs.push(transfer(at, PAYER, CONTRACT, amount)),
                1 => {
                    logs.push(transfer(at, PAYER, PAYEE, amount));
                    came += amount;
                }
                2 => {
                    let nonce = nonce(1, TOKEN, PAYEE, id(10 + n), 0);
                    logs.push(used(at, PAYER, nonce));
                    logs.push(transfer(at + 1, PAYER, PAYEE, amount));
                    came += amount;
                }
                _ => {
                    logs.push(transfer(at, PAYER, PAYEE, amount));
                    logs.push(paid(at + 1, 20 + n, TOKEN, amount, amount));
                    came += amount;
                }
            }
        }
        let found = look(&index, &logs);
        let mut keys = BTreeSet::new();
        let mut sum = Amount::ZERO;
        for found in found {
            let (Found::Credit { key, amount, .. } | Found::Unmatched(Unmatched { key, amount, .. })) =
                found;
            prop_assert!(keys.insert(key));
            sum = sum.saturating_add(amount);
        }
        prop_assert_eq!(sum, Amount::from(came));
    }
}

#[test]
fn by_the_nonce_that_its_payer_has_drawn() {
    let nonce = B256::repeat_byte(0x9a);
    let way = |payer| Way::Nonce { payer, nonce };
    let other = Address::repeat_byte(0xb0);
    let mut index = Index::default();
    index.add(&invoice(1, asset(), 500, way(PAYER)), 9).unwrap();
    // A nonce is its payer's own: another may have drawn the same, for another invoice.
    index.add(&invoice(2, asset(), 500, way(other)), 9).unwrap();
    assert_eq!(
        index.add(&invoice(3, asset(), 500, way(PAYER)), 9),
        Err(Error::Taken(nonce))
    );
    assert_eq!(
        index.add(&invoice(4, Asset::native(1), 500, way(PAYER)), 9),
        Err(Error::Native)
    );
    let pays = [used(3, PAYER, nonce), transfer(4, PAYER, PAYEE, 500)];
    assert_eq!(look(&index, &pays), [credit(4, 1, 500)]);
    let of_other = [used(3, other, nonce), transfer(4, other, PAYEE, 500)];
    let [Found::Credit { target, from, .. }] = look(&index, &of_other)[..] else {
        panic!("one credit");
    };
    assert_eq!((target.invoice, from), (id(2), other));
    // Another nonce of the same payer, and the same to somebody else.
    let unknown = used(3, PAYER, B256::repeat_byte(1));
    assert_eq!(
        look(&index, &[unknown, transfer(4, PAYER, PAYEE, 500)]),
        [unmatched(4, asset(), PAYEE, 500, Reason::Amount)]
    );
    let away = [
        used(3, PAYER, nonce),
        transfer(4, PAYER, Address::repeat_byte(5), 500),
    ];
    assert_eq!(look(&index, &away), []);
    assert!(index.remove(id(1)) && index.remove(id(2)));
    assert_eq!(look(&index, &pays), []);
    assert!(index.addresses(1).is_empty());
}

#[test]
fn by_a_hold_that_is_released() {
    const ESCROW: Address = Address::repeat_byte(0xee);
    let hold = B256::repeat_byte(0x40);
    let way = Way::Hold {
        escrow: ESCROW,
        hold,
        payer: PAYER,
    };
    let mut index = Index::default();
    index.add(&invoice(1, asset(), 500, way), 9).unwrap();
    assert_eq!(
        index.add(&invoice(2, asset(), 500, way), 9),
        Err(Error::Taken(hold))
    );
    assert_eq!(index.addresses(1), BTreeSet::from([TOKEN, ESCROW]));
    let released = |contract, hold, captured: u64| {
        let event = abi::Released {
            holdId: hold,
            invoiceId: B256::repeat_byte(0x11),
            captured: U256::from(captured),
            returned: U256::from(500 - captured),
        };
        log(2, contract, &event)
    };
    // In part: the rest goes back to the payer, which is nobody who is watched.
    let part = [
        released(ESCROW, hold, 400),
        transfer(3, ESCROW, PAYEE, 400),
        transfer(4, ESCROW, PAYER, 100),
    ];
    assert_eq!(look(&index, &part), [credit(2, 1, 400)]);
    // The payee could not be paid: what is theirs waits in the contract.
    assert_eq!(
        look(&index, &[released(ESCROW, hold, 500)]),
        [credit(2, 1, 500)]
    );
    // Another hold, and another contract that says the same.
    assert_eq!(
        look(&index, &[released(ESCROW, B256::repeat_byte(1), 500)]),
        []
    );
    assert_eq!(
        look(&index, &[released(Address::repeat_byte(3), hold, 500)]),
        []
    );
    assert!(index.remove(id(1)));
    assert_eq!(look(&index, &part), []);
    assert!(index.addresses(1).is_empty());
}

#[test]
fn ways_are_kept_as_they_were() {
    let nonce = B256::repeat_byte(0x9a);
    for (way, text) in [
        (Way::Authorization, "\"authorization\"".to_owned()),
        (
            Way::Nonce {
                payer: PAYER,
                nonce,
            },
            format!(r#"{{"nonce":{{"payer":"{PAYER:#x}","nonce":"{nonce:#x}"}}}}"#),
        ),
        (
            Way::Hold {
                escrow: CONTRACT,
                hold: nonce,
                payer: PAYER,
            },
            format!(
                r#"{{"hold":{{"escrow":"{CONTRACT:#x}","hold":"{nonce:#x}","payer":"{PAYER:#x}"}}}}"#
            ),
        ),
    ] {
        assert_eq!(serde_json::to_string(&way).unwrap(), text);
        assert_eq!(serde_json::from_str::<Way>(&text).unwrap(), way);
    }
}

#[test]
fn what_comes_to_an_address_that_is_held_is_its_tenants() {
    let tenant: stencil_protocol::id::TenantId = "acme".parse().unwrap();
    let other: stencil_protocol::id::TenantId = "rival".parse().unwrap();
    let asset = stencil_payments::money::Asset::native(1);
    let payee = alloy_primitives::Address::repeat_byte(7);
    let place = stencil_payments::matching::PaidTo::Payee(asset, payee);
    let mut index = Index::default();
    let value = Value {
        from: alloy_primitives::Address::repeat_byte(8),
        to: payee,
        amount: stencil_payments::money::Amount::from(5_u64),
    };
    let transaction = Transaction {
        chain: 1,
        hash: alloy_primitives::B256::repeat_byte(9),
        value: Some(value),
        logs: &[],
    };
    assert_eq!(index.look(&transaction), []);
    index.hold(&tenant, place).unwrap();
    assert!(index.hold(&other, place).is_err());
    let found = index.look(&transaction);
    let [Found::Unmatched(unmatched)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(index.owner(unmatched), Some(&tenant));
    index.let_go(place);
    assert_eq!(index.look(&transaction), []);
    index.hold(&other, place).unwrap();
}
