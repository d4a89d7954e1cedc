//! Whatever happens in whatever order: what must always hold of an invoice, holds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, HashSet};

use alloy_primitives::{Address, B256, U256};
use proptest::prelude::*;
use proptest::sample::Index;
use stencil_payments::cause;
use stencil_payments::invoice::{
    Decision, Definition, Effect, Event, Id, Invoice, Late, LateRate, Method, Overpaid, Payment,
    Policy, Price, State, Status, Underpaid, Way, What,
};
use stencil_payments::ledger::{Account, Book, Side};
use stencil_payments::money::{Amount, Asset, Currency, Fiat, Rate, Token};
use stencil_payments::observation::{Block, Depth, Key, Needs};

const EXPIRES_S: u64 = 1_000;
const PAYMENTS: u8 = 5;
/// What is due by each of the two methods, which are of two chains.
const DUE: [u64; 2] = [100, 37];

fn asset(chain: u64) -> Asset {
    Asset::erc20(chain, Address::repeat_byte(1))
}

fn payee(method: usize) -> Address {
    Address::repeat_byte(if method == 0 { 0xa0 } else { 0xa1 })
}

fn key(n: u8) -> Key {
    Key {
        chain: 1 + u64::from(n % 2),
        tx: B256::repeat_byte(n),
        ordinal: 0,
    }
}

fn us(seconds: u64) -> i64 {
    i64::try_from(seconds * 1_000_000).unwrap()
}

fn new(policy: Policy) -> Invoice {
    let euro = Currency::parse("EUR").unwrap();
    let price = Price::Fiat(Fiat::from_minor(100, euro));
    let method = |at: usize| {
        let token = Token::new(asset(1 + at as u64), 0, "T").unwrap();
        let rate = Rate::new((1, u128::from(DUE[at])), euro, &token, "table", 0).unwrap();
        let needs = Needs::Confirmations(3);
        let way = Way::Authorization;
        Method::priced(&price, token, Some(rate), payee(at), way, needs).unwrap()
    };
    let invoice = Invoice::new(Definition {
        id: Id([7; 16]),
        tenant: "acme".parse().unwrap(),
        price,
        methods: vec![method(0), method(1)],
        created_us: 0,
        expires_us: us(EXPIRES_S),
        policy,
    })
    .unwrap();
    for (method, due) in invoice.definition().methods.iter().zip(DUE) {
        assert_eq!(method.due, Amount::from(due));
    }
    invoice
}

fn policy() -> impl Strategy<Value = Policy> {
    let late = prop_oneof![
        Just(Late::Refund),
        Just(Late::Ask),
        prop_oneof![Just(LateRate::Locked), Just(LateRate::New)].prop_map(|rate| Late::Accept {
            within_us: us(500),
            rate
        }),
    ];
    let underpaid = prop_oneof![Just(Underpaid::Refund), Just(Underpaid::Ask)];
    let overpaid = prop_oneof![
        Just(Overpaid::Keep),
        (0..2_000_u16).prop_map(|least_bps| Overpaid::Refund { least_bps })
    ];
    (0..1_000_u16, underpaid, overpaid, late, 0..200_u64).prop_map(
        |(tolerance_bps, underpaid, overpaid, late, grace)| Policy {
            tolerance_bps,
            underpaid,
            overpaid,
            late,
            grace_us: us(grace),
        },
    )
}

/// What a chain does; each is an observation with the next number of its chain's journal.
#[derive(Clone, Copy, Debug)]
enum OnChain {
    In { n: u8, amount: u64, time_s: u64 },
    Out { n: u8 },
    Deeper { n: u8, confirmations: u32 },
}

fn on_chain() -> impl Strategy<Value = OnChain> {
    let amount = prop_oneof![1..60_u64, Just(37), Just(100), 90..300_u64];
    let time_s = prop_oneof![3 => 1..EXPIRES_S, 1 => EXPIRES_S..EXPIRES_S + 1_000];
    prop_oneof![
        4 => (0..PAYMENTS, amount, time_s)
            .prop_map(|(n, amount, time_s)| OnChain::In { n, amount, time_s }),
        2 => (0..PAYMENTS).prop_map(|n| OnChain::Out { n }),
        4 => (0..PAYMENTS, 1..6_u32)
            .prop_map(|(n, confirmations)| OnChain::Deeper { n, confirmations }),
    ]
}

/// The journal of both chains, as events.
fn journal(happens: &[OnChain]) -> Vec<Event> {
    let event = |(seq, what): (usize, &OnChain)| {
        let seq = seq as u64;
        match *what {
            OnChain::In { n, amount, time_s } => {
                let hash = B256::from(U256::from(seq));
                let payment = Payment {
                    method: u16::from(n % 2),
                    amount: Amount::from(amount),
                    from: Address::repeat_byte(n),
                    block: Block {
                        number: time_s,
                        hash,
                        time_s,
                    },
                };
                Event::Credit {
                    key: key(n),
                    seq,
                    payment,
                }
            }
            OnChain::Out { n } => Event::Retracted { key: key(n), seq },
            OnChain::Deeper { n, confirmations } => {
                let depth = Depth {
                    confirmations,
                    ..Depth::default()
                };
                Event::Depth {
                    key: key(n),
                    seq,
                    depth,
                }
            }
        }
    };
    happens.iter().enumerate().map(event).collect()
}

/// What the canonical chains say at the end of a journal: amount, time, whether deep enough.
fn canonical(happens: &[OnChain]) -> BTreeMap<u8, (u64, u64, bool)> {
    let mut world = BTreeMap::new();
    for what in happens {
        match *what {
            OnChain::In { n, amount, time_s } => {
                world.insert(n, (amount, time_s, false));
            }
            OnChain::Out { n } => {
                world.remove(&n);
            }
            OnChain::Deeper { n, confirmations } => {
                if let Some((_, _, firm)) = world.get_mut(&n) {
                    *firm = confirmations >= 3;
                }
            }
        }
    }
    world
}

/// An invoice with all that it ever told.
struct Run {
    invoice: Invoice,
    books: [Book; 2],
    keys: HashSet<cause::Key>,
    settled: bool,
    rounds: u32,
    revision: u64,
    /// Refunds that are due and were told: told once each, until withdrawn or sent.
    due: BTreeMap<cause::Key, (u16, Amount)>,
}

impl Run {
    fn new(policy: Policy) -> Self {
        Self {
            invoice: new(policy),
            books: [Book::new(asset(1)), Book::new(asset(2))],
            keys: HashSet::new(),
            settled: false,
            rounds: 0,
            revision: 0,
            due: BTreeMap::new(),
        }
    }

    fn apply(&mut self, event: &Event) {
        let before = self.invoice.clone();
        let Ok(effects) = self.invoice.apply(event) else {
            assert_eq!(self.invoice, before, "refused, and changed all the same");
            return;
        };
        if let Event::RefundSent { id, .. } | Event::RefundConfirmed { id, .. } = event {
            self.due.remove(id);
        }
        if let Event::RefundNotSent { id } = event
            && let Some(refund) = before.refunds().iter().find(|r| r.id == *id)
            && refund.status() == Status::Sent
        {
            // It is due as before, and was told to be.
            self.due.insert(*id, (refund.method, refund.amount));
        }
        if let Event::RefundFailed { id } = event
            && let Some(failed) = before.refunds().iter().find(|r| r.id == *id)
            && failed.status() == Status::Sent
        {
            // It is due again, and told to be or withdrawn at once.
            let due = self.invoice.refunds().iter().find(|r| r.id == *id).unwrap();
            if due.status() == Status::Withdrawn {
                self.due.insert(*id, (failed.method, failed.amount));
            }
        }
        // A store replays: the state that was saved gives the same effects.
        let json = serde_json::to_string(&before).unwrap();
        let mut replayed: Invoice = serde_json::from_str(&json).unwrap();
        assert_eq!(replayed.apply(event), Ok(effects.clone()));
        assert_eq!(replayed, self.invoice);
        for effect in effects {
            self.tell(effect);
        }
        self.check();
    }

    fn tell(&mut self, Effect { key, what }: Effect) {
        assert!(self.keys.insert(key), "{what:?} was told twice");
        match what {
            What::Post(entry) => {
                let book = self
                    .books
                    .iter_mut()
                    .find_map(|book| book.post(&entry).ok());
                assert_eq!(book, Some(true));
            }
            What::Settled { round } => {
                assert!(!self.settled, "settled twice");
                assert_eq!(round, self.rounds + 1);
                (self.settled, self.rounds) = (true, round);
            }
            What::Unsettled { round } => {
                assert!(self.settled, "unsettled twice");
                assert_eq!(round, self.rounds);
                self.settled = false;
            }
            What::RefundDue { id, method, amount } => {
                assert_eq!(self.due.insert(id, (method, amount)), None);
            }
            What::RefundWithdrawn { id } => assert!(self.due.remove(&id).is_some()),
            What::Changed { revision, .. } => {
                assert_eq!(revision, self.revision + 1);
                self.revision = revision;
            }
            What::RateNeeded { .. } => {}
        }
    }

    fn check(&self) {
        assert_eq!(self.settled, self.invoice.state() == State::Settled);
        let due = self
            .invoice
            .refunds()
            .iter()
            .filter(|r| r.status() == Status::Due);
        let due: BTreeMap<_, _> = due.map(|r| (r.id, (r.method, r.amount))).collect();
        assert_eq!(due, self.due, "what is due is what was told");
        for (at, book) in self.books.iter().enumerate() {
            let trial = book.trial();
            assert_eq!(trial.debits, trial.credits);
            let came = self.came(at);
            let gone = self.refunded(at, &[Status::Confirmed]);
            assert_eq!(self.net(at, Account::Wallet(payee(at))), came - gone);
            let promised = self.refunded(at, &[Status::Due, Status::Sent]);
            assert_eq!(self.net(at, Account::RefundsDue(Id([7; 16]))), -promised);
            // No more goes back than has come, but for what a reorganisation took afterwards.
            if due.values().any(|(method, _)| usize::from(*method) == at) {
                assert!(promised + gone <= came, "{promised} + {gone} of {came}");
            }
            assert!(self.net(at, Account::Pending(Id([7; 16]))) <= 0);
            assert!(self.net(at, Account::Revenue) <= 0);
            if !self.settled {
                assert_eq!(self.net(at, Account::Revenue), 0);
            }
        }
    }

    fn came(&self, at: usize) -> i128 {
        let payments = self
            .invoice
            .payments()
            .filter(|(_, p)| usize::from(p.method) == at);
        payments.map(|(_, payment)| number(payment.amount)).sum()
    }

    fn refunded(&self, at: usize, which: &[Status]) -> i128 {
        let refunds = self.invoice.refunds().iter();
        let these = refunds.filter(|r| usize::from(r.method) == at && which.contains(&r.status()));
        these.map(|refund| number(refund.amount)).sum()
    }

    fn net(&self, at: usize, account: Account) -> i128 {
        match self.books[at].balance(account).net() {
            None => 0,
            Some((Side::Debit, amount)) => number(amount),
            Some((Side::Credit, amount)) => -number(amount),
        }
    }

    fn money(&self) -> Vec<(Account, Side, Amount)> {
        let of = |book: &Book| {
            let accounts = book.trial().accounts.into_iter();
            accounts
                .map(|(account, (side, amount))| (account, side, amount))
                .collect::<Vec<_>>()
        };
        self.books.iter().flat_map(of).collect()
    }
}

fn number(amount: Amount) -> i128 {
    i128::try_from(u128::try_from(amount.0).unwrap()).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    /// The next observation that was not delivered, or one of those that were, again.
    Deliver(Index),
    Clock(u64),
    Sent(Index),
    Confirmed(Index),
    Undone(Index),
    Failed(Index),
    NotSent(Index),
    Repriced(u16, u64),
    Cancel,
    Decide(Decision),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    let decision = prop_oneof![
        Just(Decision::AcceptUnderpaid),
        Just(Decision::AcceptLate),
        Just(Decision::RefuseLate),
        Just(Decision::KeepExcess),
        Just(Decision::RefundAll),
    ];
    prop_oneof![
        20 => index().prop_map(Step::Deliver),
        3 => (0..3_000_u64).prop_map(Step::Clock),
        3 => index().prop_map(Step::Sent),
        3 => index().prop_map(Step::Confirmed),
        1 => index().prop_map(Step::Undone),
        1 => index().prop_map(Step::Failed),
        1 => index().prop_map(Step::NotSent),
        1 => (0..2_u16, 1..200_u64).prop_map(|(method, due)| Step::Repriced(method, due)),
        1 => Just(Step::Cancel),
        1 => decision.prop_map(Step::Decide),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Reorganisations, repeats, refunds and decisions in any order.
    #[test]
    fn what_must_hold_holds(
        policy in policy(),
        happens in prop::collection::vec(on_chain(), 0..30),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let journal = journal(&happens);
        let mut run = Run::new(policy);
        for (seq, step) in (1_001_u64..).zip(steps) {
            let refund = |index: &Index| {
                let refunds = run.invoice.refunds();
                (!refunds.is_empty()).then(|| index.get(refunds).id)
            };
            let event = match &step {
                Step::Deliver(_) if journal.is_empty() => continue,
                Step::Deliver(index) => index.get(&journal).clone(),
                Step::Clock(seconds) => Event::Clock { now_us: us(*seconds) },
                Step::Sent(index) => {
                    let Some(id) = refund(index) else { continue };
                    Event::RefundSent { id, tx: None }
                }
                Step::Confirmed(index) => {
                    let Some(id) = refund(index) else { continue };
                    Event::RefundConfirmed { id, seq }
                }
                Step::Undone(index) => {
                    let Some(id) = refund(index) else { continue };
                    Event::RefundRetracted { id, seq }
                }
                Step::Failed(index) => {
                    let Some(id) = refund(index) else { continue };
                    Event::RefundFailed { id }
                }
                Step::NotSent(index) => {
                    let Some(id) = refund(index) else { continue };
                    Event::RefundNotSent { id }
                }
                Step::Repriced(method, due) => {
                    Event::Repriced { method: *method, due: Amount::from(*due), rate: None }
                }
                Step::Cancel => Event::Cancel,
                Step::Decide(decision) => Event::Resolve(*decision),
            };
            run.apply(&event);
        }
        // In the end all was delivered: what counts is what the chains say.
        journal.iter().for_each(|event| run.apply(event));
        run.apply(&Event::Clock { now_us: us(1_000_000) });
        let world = canonical(&happens);
        for at in 0..2 {
            let of = world.iter().filter(|(n, _)| usize::from(**n % 2) == at);
            let came: i128 = of.map(|(_, (amount, ..))| i128::from(*amount)).sum();
            prop_assert_eq!(run.came(at), came);
        }
        // No money is left over that nobody knows what to do with, unless it waits to be deep
        // enough or for somebody to decide.
        let settled_for = run.invoice.facets();
        let all_firm = world.values().all(|(_, _, firm)| *firm);
        if all_firm && !settled_for.undecided && !settled_for.rate_needed {
            for at in 0..2 {
                prop_assert_eq!(run.net(at, Account::Pending(Id([7; 16]))), 0);
            }
        }
    }

    /// As long as nothing was sent back and nobody decided, two that hear the same in different
    /// orders, one of them all over again, come to the same.
    #[test]
    fn order_does_not_matter(
        policy in policy(),
        happens in prop::collection::vec(on_chain(), 1..25),
        order in prop::collection::vec(any::<Index>(), 0..60),
        clock in 0..3_000_u64,
    ) {
        let journal = journal(&happens);
        let (mut first, mut second) = (Run::new(policy), Run::new(policy));
        journal.iter().for_each(|event| first.apply(event));
        for index in order {
            second.apply(index.get(&journal));
        }
        journal.iter().rev().for_each(|event| second.apply(event));
        for run in [&mut first, &mut second] {
            run.apply(&Event::Clock { now_us: us(clock) });
            // Long after any reorganisation.
            run.apply(&Event::Clock { now_us: us(1_000_000) });
        }
        prop_assert_eq!(first.invoice.state(), second.invoice.state());
        prop_assert_eq!(first.invoice.facets(), second.invoice.facets());
        prop_assert_eq!(first.money(), second.money());
        for at in 0..2 {
            prop_assert_eq!(
                first.refunded(at, &[Status::Due]), second.refunded(at, &[Status::Due]));
        }
    }

    /// Against a model of one rule: settled if what is deep enough and in time covers the price.
    #[test]
    fn settled_is_what_a_simple_rule_says(
        happens in prop::collection::vec(on_chain(), 0..25),
    ) {
        let policy = Policy {
            tolerance_bps: 0,
            underpaid: Underpaid::Refund,
            overpaid: Overpaid::Refund { least_bps: 0 },
            late: Late::Refund,
            grace_us: 0,
        };
        let mut run = Run::new(policy);
        journal(&happens).iter().for_each(|event| run.apply(event));
        run.apply(&Event::Clock { now_us: us(1_000_000) });
        let (mut counted, mut firm_all) = ([0_u64; 2], [0_u64; 2]);
        let mut seen = [0_u64; 2];
        for (n, (amount, time_s, firm)) in canonical(&happens) {
            let at = usize::from(n % 2);
            let in_time = time_s <= EXPIRES_S;
            seen[at] += if in_time { amount } else { 0 };
            counted[at] += if in_time && firm { amount } else { 0 };
            firm_all[at] += if firm { amount } else { 0 };
        }
        // paid0 / 100 + paid1 / 37 >= 1
        let covers = |paid: [u64; 2]| paid[0] * DUE[1] + paid[1] * DUE[0] >= DUE[0] * DUE[1];
        let state = match (covers(counted), covers(seen)) {
            (true, _) => State::Settled,
            (false, true) => State::Confirming,
            (false, false) => State::Expired,
        };
        prop_assert_eq!(run.invoice.state(), state);
        // What is earned covers the price, and not by a unit more.
        let due = |at| run.refunded(at, &[Status::Due]);
        let left: [i128; 2] = std::array::from_fn(|at| i128::from(firm_all[at]) - due(at));
        if state == State::Settled {
            let covers = |a: i128, b: i128| a * 37 + b * 100 >= 3_700;
            prop_assert!(covers(left[0], left[1]));
            prop_assert!(left[0] == 0 || !covers(left[0] - 1, left[1]));
            prop_assert!(left[1] == 0 || !covers(left[0], left[1] - 1));
        } else if state == State::Expired {
            prop_assert_eq!(left, [0, 0], "all that is deep enough goes back");
        }
    }
}
