//! The book balances to the unit, whatever is posted, again and taken back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use alloy_primitives::{Address, U256};
use proptest::prelude::*;
use stencil_payments::cause::Key;
use stencil_payments::invoice;
use stencil_payments::ledger::{Account, Book, Entry, Error, Line, Position, Side};
use stencil_payments::money::{Amount, Asset};

fn asset() -> Asset {
    Asset::erc20(1, Address::repeat_byte(1))
}

fn account(n: u8) -> Account {
    let invoice = invoice::Id([n; 16]);
    let address = Address::repeat_byte(n);
    match n % 5 {
        0 => Account::Wallet(address),
        1 => Account::Pending(invoice),
        2 => Account::RefundsDue(invoice),
        3 => Account::Revenue,
        _ => Account::RefundLoss,
    }
}

fn line(n: u8, side: Side, amount: u64) -> Line {
    Line {
        account: account(n),
        side,
        amount: Amount::from(amount),
    }
}

fn entry(key: u8, lines: Vec<Line>) -> Result<Entry, Error> {
    Entry::new(Key([key; 32]), asset(), 7, "a test", lines)
}

#[test]
fn an_entry_that_does_not_balance_cannot_be_made() {
    let unbalanced = entry(1, vec![line(0, Side::Debit, 5), line(3, Side::Credit, 4)]);
    assert_eq!(
        unbalanced,
        Err(Error::Unbalanced {
            debits: "5".into(),
            credits: "4".into()
        })
    );
    assert_eq!(entry(1, vec![]), Err(Error::Lines(0)));
    assert_eq!(
        entry(1, vec![line(0, Side::Debit, 0), line(3, Side::Credit, 0)]),
        Err(Error::Nothing(account(0)))
    );
    // Sums beyond 256 bits are compared as what they are, not modulo 2^256.
    let most = |n, side| Line {
        account: account(n),
        side,
        amount: Amount(U256::MAX),
    };
    let wraps = vec![
        most(0, Side::Debit),
        line(0, Side::Debit, 2),
        line(3, Side::Credit, 1),
    ];
    assert!(matches!(entry(1, wraps), Err(Error::Unbalanced { .. })));
    // Nor does one come in by JSON.
    let good = entry(1, vec![line(0, Side::Debit, 5), line(3, Side::Credit, 5)]).unwrap();
    let json = serde_json::to_string(&good).unwrap();
    assert_eq!(serde_json::from_str::<Entry>(&json).unwrap(), good);
    let forged = json.replacen("\"5\"", "\"6\"", 1);
    assert!(serde_json::from_str::<Entry>(&forged).is_err());
}

#[test]
fn an_entry_is_posted_once_and_its_name_is_not_taken_twice() {
    let mut book = Book::new(asset());
    let first = entry(1, vec![line(0, Side::Debit, 5), line(3, Side::Credit, 5)]).unwrap();
    assert_eq!(book.post(&first), Ok(true));
    assert_eq!(book.post(&first), Ok(false));
    let other = entry(1, vec![line(0, Side::Debit, 6), line(3, Side::Credit, 6)]).unwrap();
    assert_eq!(book.post(&other), Err(Error::Conflict(first.key())));
    assert_eq!(book.balance(account(0)).debits, Amount::from(5_u64));
    let elsewhere = Entry::new(
        Key([2; 32]),
        Asset::native(1),
        7,
        "",
        first.lines().to_vec(),
    );
    assert!(matches!(
        book.post(&elsewhere.unwrap()),
        Err(Error::OtherAsset { .. })
    ));
}

#[test]
fn a_sum_that_does_not_fit_changes_nothing() {
    let mut book = Book::new(asset());
    let most = |n, side| Line {
        account: account(n),
        side,
        amount: Amount(U256::MAX),
    };
    let all = entry(1, vec![most(0, Side::Debit), most(3, Side::Credit)]).unwrap();
    assert_eq!(book.post(&all), Ok(true));
    let before = book.trial();
    let more = entry(2, vec![line(1, Side::Credit, 1), line(0, Side::Debit, 1)]).unwrap();
    assert_eq!(book.post(&more), Err(Error::TooLarge(account(0))));
    assert_eq!((book.trial(), book.len()), (before, 1));
}

/// Entries of two sides that are split differently.
fn entries() -> impl Strategy<Value = Vec<(u8, Vec<Line>)>> {
    let parts = prop::collection::vec((0..10_u8, 1..1_000_u64), 1..5);
    let lines = (parts, 0..10_u8).prop_map(|(parts, last)| {
        let sum = parts.iter().map(|(_, amount)| amount).sum();
        let mut lines: Vec<_> = parts
            .into_iter()
            .map(|(n, amount)| line(n, Side::Debit, amount))
            .collect();
        lines.push(line(last, Side::Credit, sum));
        lines
    });
    prop::collection::vec((0..=255_u8, lines), 0..40)
}

proptest! {
    #[test]
    fn it_balances_to_the_unit(
        entries in entries(),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        back in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let mut book = Book::new(asset());
        let mut kept: Vec<Entry> = Vec::new();
        for (key, lines) in entries {
            let entry = entry(key, lines).unwrap();
            match book.post(&entry) {
                Ok(true) => kept.push(entry),
                Ok(false) => {}
                Err(error) => prop_assert_eq!(error, Error::Conflict(entry.key())),
            }
            let trial = book.trial();
            prop_assert_eq!(trial.debits, trial.credits);
        }
        prop_assume!(!kept.is_empty());
        let before = book.trial();
        for index in again {
            prop_assert_eq!(book.post(index.get(&kept)), Ok(false));
        }
        prop_assert_eq!(&book.trial(), &before);
        // What is taken back, however often, is as if it had never been.
        let mut gone = std::collections::BTreeSet::new();
        for index in back {
            let entry = index.get(&kept);
            let first = gone.insert(entry.key());
            prop_assert_eq!(book.post(&entry.reversed(9, "taken back")), Ok(first));
        }
        let mut without = Book::new(asset());
        for entry in kept.iter().filter(|entry| !gone.contains(&entry.key())) {
            without.post(entry).unwrap();
        }
        prop_assert_eq!(book.trial(), without.trial());
    }

    /// The entry between two positions makes one of the other.
    #[test]
    fn differences_lead_from_one_position_to_the_next(
        steps in prop::collection::vec(
            prop::collection::vec((0..10_u8, 0..10_u8, 1..1_000_u64), 0..6), 1..10),
    ) {
        let mut book = Book::new(asset());
        let mut before = Position::default();
        for (n, moves) in (0_u8..).zip(steps) {
            let mut after = Position::default();
            for (from, to, amount) in moves {
                after.add(account(from), Side::Credit, Amount::from(amount)).unwrap();
                after.add(account(to), Side::Debit, Amount::from(amount)).unwrap();
            }
            let key = Key([n; 32]);
            let entry = Entry::between(key, asset(), 0, "", &before, &after).unwrap();
            prop_assert_eq!(entry.is_none(), before == after);
            if let Some(entry) = entry {
                prop_assert_eq!(book.post(&entry), Ok(true));
            }
            for (account, (side, amount)) in book.trial().accounts {
                let held = after.of(account);
                prop_assert_eq!(held.unsigned_abs(), amount.0);
                prop_assert_eq!(held.is_negative(), side == Side::Credit);
            }
            before = after;
        }
    }
}
