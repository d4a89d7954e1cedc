//! What becomes of payments that are too little, too much, too late, taken back or given back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use alloy_primitives::{Address, B256};
use stencil_payments::invoice::{
    Decision, Definition, Effect, Error, Event, Facets, Id, Invoice, LAST_PLACES, Late, LateRate,
    MAX_CREDITS, MAX_SMALL, Method, Overpaid, Payment, Policy, Price, State, Status, Underpaid,
    Way, What,
};
use stencil_payments::ledger::{Account, Book, Side};
use stencil_payments::money::{Amount, Asset, Currency, Fiat, Rate, Token};
use stencil_payments::observation::{Block, Depth, Key, Needs};
use stencil_payments::receipt::{self, Receipt};

const EXPIRES_S: u64 = 1_000;

fn token(n: u8) -> Token {
    Token::new(Asset::erc20(1, Address::repeat_byte(n)), 6, "TOK").unwrap()
}

fn payee() -> Address {
    Address::repeat_byte(0xaa)
}

fn us(seconds: u64) -> i64 {
    i64::try_from(seconds * 1_000_000).unwrap()
}

/// An invoice of 1000 units of one token, with its book.
struct Case {
    invoice: Invoice,
    book: Book,
    seq: u64,
}

impl Case {
    fn new(policy: Policy) -> Self {
        let asset = token(1).asset();
        let price = Price::Token {
            asset,
            amount: Amount::from(1_000_u64),
        };
        let needs = Needs::Confirmations(3);
        let way = Way::Authorization;
        let methods = vec![Method::priced(&price, token(1), None, payee(), way, needs).unwrap()];
        Self::of(price, methods, policy)
    }

    fn of(price: Price, methods: Vec<Method>, policy: Policy) -> Self {
        let book = Book::new(methods[0].token.asset());
        let invoice = Invoice::new(Definition {
            id: Id([7; 16]),
            tenant: "acme".parse().unwrap(),
            price,
            methods,
            created_us: 0,
            expires_us: us(EXPIRES_S),
            policy,
        });
        Self {
            invoice: invoice.unwrap(),
            book,
            seq: 0,
        }
    }

    fn apply(&mut self, event: &Event) -> Vec<What> {
        let effects = self.invoice.apply(event).unwrap();
        let tells = |effect: Effect| {
            if let What::Post(entry) = &effect.what {
                assert_eq!(entry.key(), effect.key);
                if entry.asset() == token(1).asset() {
                    assert_eq!(self.book.post(entry), Ok(true), "an entry came twice");
                }
                return None;
            }
            (!matches!(effect.what, What::Changed { .. })).then_some(effect.what)
        };
        let told = effects.into_iter().filter_map(tells).collect();
        let trial = self.book.trial();
        assert_eq!(trial.debits, trial.credits);
        // Applied again it changes nothing.
        if !matches!(event, Event::RefundFailed { .. }) {
            assert_eq!(self.invoice.apply(event), Ok(vec![]));
        }
        told
    }

    fn next(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    fn pay(&mut self, n: u8, amount: u64, time_s: u64) -> Vec<What> {
        self.pay_by(0, n, amount, time_s)
    }

    fn pay_by(&mut self, method: u16, n: u8, amount: u64, time_s: u64) -> Vec<What> {
        let payment = Payment {
            method,
            amount: Amount::from(amount),
            from: Address::repeat_byte(n),
            block: Block {
                number: time_s,
                hash: B256::repeat_byte(n),
                time_s,
            },
        };
        let seq = self.next();
        self.apply(&Event::Credit {
            key: key(n),
            seq,
            payment,
        })
    }

    fn deepen(&mut self, n: u8) -> Vec<What> {
        let depth = Depth {
            confirmations: 3,
            ..Depth::default()
        };
        let seq = self.next();
        self.apply(&Event::Depth {
            key: key(n),
            seq,
            depth,
        })
    }

    fn retract(&mut self, n: u8) -> Vec<What> {
        let seq = self.next();
        self.apply(&Event::Retracted { key: key(n), seq })
    }

    fn clock(&mut self, seconds: u64) -> Vec<What> {
        self.apply(&Event::Clock {
            now_us: us(seconds),
        })
    }

    /// Sends and confirms all that is due; gives how much that was.
    fn give_back(&mut self) -> u64 {
        let due = self.invoice.refunds().to_vec();
        let mut sum = 0;
        for refund in due
            .into_iter()
            .filter(|refund| refund.status() == Status::Due)
        {
            let tx = Some(B256::repeat_byte(9));
            assert_eq!(self.apply(&Event::RefundSent { id: refund.id, tx }), []);
            let seq = self.next();
            assert_eq!(
                self.apply(&Event::RefundConfirmed { id: refund.id, seq }),
                []
            );
            sum += u64::try_from(refund.amount.0).unwrap();
        }
        sum
    }

    fn due(&self) -> Vec<u64> {
        let due = self
            .invoice
            .refunds()
            .iter()
            .filter(|refund| refund.status() == Status::Due);
        due.map(|refund| u64::try_from(refund.amount.0).unwrap())
            .collect()
    }

    fn state(&self) -> State {
        self.invoice.state()
    }

    fn facets(&self) -> Facets {
        self.invoice.facets()
    }

    fn holds(&self, account: Account) -> i128 {
        match self.book.balance(account).net() {
            None => 0,
            Some((side, amount)) => {
                let amount = i128::try_from(u128::try_from(amount.0).unwrap()).unwrap();
                if side == Side::Debit { amount } else { -amount }
            }
        }
    }

    /// Wallet, pending, refunds due, revenue: the latter three as what they are.
    fn books(&self) -> [i128; 4] {
        let id = Id([7; 16]);
        [
            self.holds(Account::Wallet(payee())),
            -self.holds(Account::Pending(id)),
            -self.holds(Account::RefundsDue(id)),
            -self.holds(Account::Revenue),
        ]
    }
}

fn key(n: u8) -> Key {
    Key {
        chain: 1,
        tx: B256::repeat_byte(n),
        ordinal: 0,
    }
}

fn policy() -> Policy {
    Policy {
        tolerance_bps: 50,
        underpaid: Underpaid::Refund,
        overpaid: Overpaid::Refund { least_bps: 100 },
        late: Late::Refund,
        grace_us: us(60),
    }
}

#[test]
fn paid_exactly() {
    let mut case = Case::new(policy());
    assert_eq!(case.invoice.open(0), Some(Amount::from(1_000_u64)));
    assert_eq!(case.pay(1, 1_000, 10), []);
    assert_eq!(
        (case.state(), case.books()),
        (State::Confirming, [1_000, 1_000, 0, 0])
    );
    assert_eq!(case.deepen(1), [What::Settled { round: 1 }]);
    assert_eq!(
        (case.state(), case.books()),
        (State::Settled, [1_000, 0, 0, 1_000])
    );
    assert_eq!(case.facets(), Facets::default());
    assert_eq!(case.invoice.open(0), Some(Amount::ZERO));
    // Time changes nothing of it.
    assert_eq!(case.clock(1_000_000), []);
    assert_eq!(case.state(), State::Settled);
    assert_eq!(
        case.invoice.apply(&Event::Cancel).unwrap_err().to_string(),
        "to cancel: it is settled; give all back instead"
    );
}

#[test]
fn paid_in_parts_and_within_the_tolerance() {
    let mut case = Case::new(policy());
    case.pay(1, 400, 10);
    assert_eq!(case.state(), State::Seen);
    assert!(case.facets().underpaid);
    assert_eq!(case.invoice.open(0), Some(Amount::from(600_u64)));
    case.pay(2, 594, 20);
    assert_eq!(case.state(), State::Seen, "994 is less than 99.5 %");
    case.pay(3, 1, 30);
    assert_eq!(case.state(), State::Confirming);
    assert_eq!([case.deepen(1), case.deepen(2)], [[], []]);
    assert_eq!(case.deepen(3), [What::Settled { round: 1 }]);
    assert_eq!(case.books(), [995, 0, 0, 995]);
}

/// Partial, expired, then the rest and more.
#[test]
fn partial_then_expired_then_overpaid() {
    let mut case = Case::new(policy());
    case.pay(1, 400, 10);
    case.deepen(1);
    assert_eq!(case.invoice.wakes_us(), Some(us(EXPIRES_S) + 1));
    assert_eq!(case.clock(EXPIRES_S + 59), [], "within the grace");
    assert_eq!(case.invoice.wakes_us(), Some(us(EXPIRES_S + 60)));
    let told = case.clock(EXPIRES_S + 60);
    assert!(
        matches!(told[..], [What::RefundDue { method: 0, .. }]),
        "{told:?}"
    );
    assert_eq!((case.state(), case.due()), (State::Expired, vec![400]));
    assert_eq!(case.invoice.wakes_us(), None);
    assert_eq!(case.books(), [400, 0, 400, 0]);
    assert_eq!(case.give_back(), 400);
    assert!(case.facets().refunded && !case.facets().refund_due);
    // Now the payer sends more than all: late, and after a refund.
    case.pay(2, 5_000, EXPIRES_S + 100);
    assert_eq!(case.due(), [] as [u64; 0], "not deep enough to go back");
    case.deepen(2);
    assert_eq!((case.state(), case.due()), (State::Expired, vec![5_000]));
    assert!(case.facets().late && case.facets().refund_due && !case.facets().refunded);
    assert_eq!(case.give_back(), 5_000);
    assert_eq!(case.books(), [0, 0, 0, 0]);
}

/// What is in a block of before the expiry settles it, also when it is noticed afterwards, and as
/// long as the part that came first was not sent back.
#[test]
fn paid_in_time_and_noticed_late() {
    let mut case = Case::new(policy());
    case.pay(1, 400, 10);
    case.deepen(1);
    case.clock(EXPIRES_S + 60);
    let refund = case.invoice.refunds()[0].clone();
    let told = case.pay(2, 600, EXPIRES_S);
    assert_eq!(told, [What::RefundWithdrawn { id: refund.id }]);
    assert_eq!(case.deepen(2), [What::Settled { round: 1 }]);
    // Whoever is about to send the refund is told no.
    let sent = case.invoice.apply(&Event::RefundSent {
        id: refund.id,
        tx: None,
    });
    assert!(matches!(sent, Err(Error::TooLate { .. })));
    assert_eq!(case.books(), [1_000, 0, 0, 1_000]);

    let mut case = Case::new(policy());
    case.pay(1, 400, 10);
    case.deepen(1);
    case.clock(EXPIRES_S + 60);
    case.give_back();
    case.pay(2, 600, EXPIRES_S);
    case.deepen(2);
    assert_eq!(
        (case.state(), case.due()),
        (State::Expired, vec![600]),
        "400 are gone"
    );
}

#[test]
fn overpaid_goes_back_or_is_kept() {
    let mut case = Case::new(policy());
    case.pay(1, 1_500, 10);
    assert!(case.facets().overpaid);
    assert_eq!(case.due(), [] as [u64; 0]);
    let told = case.deepen(1);
    assert!(
        matches!(
            told[..],
            [What::Settled { round: 1 }, What::RefundDue { .. }]
        ),
        "{told:?}"
    );
    assert_eq!(
        (case.due(), case.books()),
        (vec![500], [1_500, 0, 500, 1_000])
    );
    // A further payment of a settled invoice goes back as well.
    case.pay(2, 1_000, 20);
    case.deepen(2);
    assert_eq!(case.due(), [500, 1_000]);
    assert_eq!(case.give_back(), 1_500);
    assert_eq!(
        (case.state(), case.books()),
        (State::Settled, [1_000, 0, 0, 1_000])
    );
    assert!(!case.facets().overpaid && case.facets().refunded);

    // Less than one percent is not worth a transfer.
    let mut case = Case::new(policy());
    case.pay(1, 1_009, 10);
    case.deepen(1);
    assert_eq!((case.due(), case.books()), (vec![], [1_009, 0, 0, 1_009]));
    case.pay(2, 1, 10);
    case.deepen(2);
    assert_eq!(case.due(), [10]);

    let mut case = Case::new(Policy {
        overpaid: Overpaid::Keep,
        ..policy()
    });
    case.pay(1, 1_500, 10);
    case.deepen(1);
    assert_eq!((case.due(), case.books()), (vec![], [1_500, 0, 0, 1_500]));
}

#[test]
fn late_at_the_locked_rate() {
    let late = Late::Accept {
        within_us: us(100),
        rate: LateRate::Locked,
    };
    let mut case = Case::new(Policy { late, ..policy() });
    case.pay(1, 400, 10);
    case.deepen(1);
    case.clock(EXPIRES_S + 101);
    assert_eq!(case.state(), State::Seen, "the rest may still come");
    case.pay(2, 600, EXPIRES_S + 100);
    assert_eq!(case.deepen(2), [What::Settled { round: 1 }]);
    assert!(case.facets().late && case.facets().expired);
    // What is later than that goes back.
    case.pay(3, 100, EXPIRES_S + 101);
    case.deepen(3);
    assert_eq!(case.due(), [100]);
}

#[test]
fn late_at_a_new_rate() {
    let late = Late::Accept {
        within_us: us(100),
        rate: LateRate::New,
    };
    let mut case = Case::new(Policy { late, ..policy() });
    case.pay(1, 500, 10);
    case.deepen(1);
    assert_eq!(
        case.pay(2, 500, EXPIRES_S + 5),
        [What::RateNeeded { method: 0 }]
    );
    assert!(case.facets().rate_needed);
    case.deepen(2);
    case.clock(EXPIRES_S + 10_000);
    assert_eq!(
        (case.due(), case.state()),
        (vec![], State::Expired),
        "it waits for the rate"
    );
    // The token has fallen: half the price is now 1000 units.
    let repriced = |due| Event::Repriced {
        method: 0,
        due: Amount::from(due),
        rate: None,
    };
    case.apply(&repriced(2_000_u64));
    assert_eq!((case.state(), case.due()), (State::Expired, vec![1_000]));
    assert_eq!(
        case.invoice.apply(&repriced(1_000)),
        Err(Error::Repriced(0))
    );

    let mut case = Case::new(Policy { late, ..policy() });
    case.pay(1, 500, 10);
    case.deepen(1);
    case.pay(2, 1_000, EXPIRES_S + 5);
    case.deepen(2);
    assert_eq!(case.apply(&repriced(2_000)), [What::Settled { round: 1 }]);
    assert_eq!(case.books(), [1_500, 0, 0, 1_500]);
}

#[test]
fn somebody_decides() {
    let ask = Policy {
        underpaid: Underpaid::Ask,
        late: Late::Ask,
        ..policy()
    };
    let mut case = Case::new(ask);
    case.pay(1, 400, 10);
    case.deepen(1);
    case.clock(EXPIRES_S + 60);
    assert!(case.facets().undecided && case.due().is_empty());
    let told = case.apply(&Event::Resolve(Decision::AcceptUnderpaid));
    assert_eq!(told, [What::Settled { round: 1 }]);
    assert!(!case.facets().undecided);
    // Accepted was what was there, not whatever is left of it.
    assert_eq!(case.retract(1), [What::Unsettled { round: 1 }]);

    let mut case = Case::new(ask);
    case.pay(1, 400, 10);
    case.pay(2, 600, EXPIRES_S + 600);
    case.deepen(1);
    case.deepen(2);
    case.clock(EXPIRES_S + 1_000);
    assert!(case.facets().undecided && case.due().is_empty());
    let mut refused = Case {
        invoice: case.invoice.clone(),
        book: case.book.clone(),
        seq: case.seq,
    };
    assert_eq!(
        case.apply(&Event::Resolve(Decision::AcceptLate)),
        [What::Settled { round: 1 }]
    );
    refused.apply(&Event::Resolve(Decision::RefuseLate));
    assert_eq!(refused.due(), [600]);
    refused.apply(&Event::Resolve(Decision::RefundAll));
    assert_eq!(
        (refused.due(), refused.state()),
        (vec![600, 400], State::Cancelled)
    );
    let accept = Event::Resolve(Decision::AcceptUnderpaid);
    assert!(matches!(
        refused.invoice.apply(&accept),
        Err(Error::TooLate { .. })
    ));
}

#[test]
fn only_decisions_that_decide_something_are_open() {
    use Decision::{AcceptLate, AcceptUnderpaid, KeepExcess, RefundAll, RefuseLate};
    let open = |case: &Case| case.invoice.decisions();
    let mut case = Case::new(policy());
    assert_eq!(open(&case), [RefundAll]);
    case.pay(1, 400, 10);
    assert_eq!(open(&case), [AcceptUnderpaid, RefundAll]);
    // Enough, and then more than that, deep or not.
    case.pay(2, 600, 11);
    assert_eq!(open(&case), [RefundAll]);
    case.pay(3, 500, 12);
    assert_eq!(open(&case), [KeepExcess, RefundAll]);
    case.apply(&Event::Resolve(KeepExcess));
    assert_eq!(open(&case), [RefundAll]);

    // What is late goes back by this policy: to refuse it decides nothing.
    let mut late = Case::new(policy());
    late.pay(1, 1_000, EXPIRES_S + 10);
    assert_eq!(open(&late), [AcceptLate, RefundAll]);
    late.apply(&Event::Resolve(AcceptLate));
    assert_eq!(open(&late), [RefundAll]);
    let mut asked = Case::new(Policy {
        late: Late::Ask,
        ..policy()
    });
    asked.pay(1, 1_000, EXPIRES_S + 10);
    assert_eq!(open(&asked), [AcceptLate, RefuseLate, RefundAll]);

    for over in [Event::Resolve(RefundAll), Event::Cancel] {
        let mut case = Case::new(policy());
        case.pay(1, 400, 10);
        case.apply(&over);
        assert_eq!(open(&case), []);
    }
}

#[test]
fn settled_and_given_back_stays_settled() {
    let mut case = Case::new(policy());
    case.pay(1, 1_000, 10);
    case.deepen(1);
    case.apply(&Event::Resolve(Decision::RefundAll));
    assert_eq!((case.state(), case.due()), (State::Settled, vec![1_000]));
    assert_eq!(case.books(), [1_000, 0, 1_000, 0]);
    case.give_back();
    // A payment after the refund goes back, too.
    case.pay(2, 300, 20);
    case.deepen(2);
    assert_eq!(case.due(), [300]);
    assert_eq!(case.give_back(), 300);
    assert_eq!(case.books(), [0, 0, 0, 0]);
}

#[test]
fn cancelled_takes_nothing() {
    let mut case = Case::new(policy());
    case.pay(1, 300, 10);
    case.apply(&Event::Cancel);
    assert_eq!(
        (case.state(), case.due()),
        (State::Cancelled, vec![]),
        "not deep enough"
    );
    case.deepen(1);
    assert_eq!(case.due(), [300]);
    case.pay(2, 1_000, 11);
    assert_eq!(case.deepen(2).len(), 1);
    assert_eq!(
        (case.state(), case.due()),
        (State::Cancelled, vec![300, 1_000])
    );
}

#[test]
fn a_reorganisation_undoes_and_inclusion_redoes() {
    let mut case = Case::new(policy());
    case.pay(1, 1_000, 10);
    case.deepen(1);
    assert_eq!(case.retract(1), [What::Unsettled { round: 1 }]);
    assert_eq!((case.state(), case.books()), (State::New, [0, 0, 0, 0]));
    // Included again: a depth of the old block does not count for the new one.
    assert_eq!(case.pay(1, 1_000, 12), []);
    assert_eq!(case.state(), State::Confirming);
    assert_eq!(case.deepen(1), [What::Settled { round: 2 }]);
    assert_eq!(case.books(), [1_000, 0, 0, 1_000]);
}

#[test]
fn after_a_reorganisation_the_rest_is_not_given_back_at_once() {
    let mut case = Case::new(policy());
    case.pay(1, 500, 10);
    case.pay(2, 500, 10);
    case.deepen(1);
    case.deepen(2);
    case.clock(EXPIRES_S + 5_000);
    assert_eq!(case.retract(2), [What::Unsettled { round: 1 }]);
    assert_eq!((case.state(), case.due()), (State::Seen, vec![]));
    case.clock(EXPIRES_S + 5_059);
    assert_eq!(case.due(), [] as [u64; 0]);
    case.clock(EXPIRES_S + 5_060);
    assert_eq!((case.state(), case.due()), (State::Expired, vec![500]));
}

#[test]
fn what_was_given_back_and_reorganised_away_is_told() {
    let mut case = Case::new(policy());
    case.apply(&Event::Cancel);
    case.pay(1, 700, 10);
    case.deepen(1);
    case.give_back();
    case.retract(1);
    assert!(case.facets().over_refunded);
    assert_eq!(case.holds(Account::RefundLoss), 700);
    assert_eq!(case.books(), [-700, 0, 0, 0]);
    // Included again, it is not given back a second time.
    case.pay(1, 700, 12);
    assert_eq!(case.deepen(1), []);
    assert_eq!((case.due(), case.books()), (vec![], [0; 4]));
    assert!(!case.facets().over_refunded);
}

#[test]
fn a_payment_that_the_chain_has_left_is_known_as_lost_until_it_is_back() {
    let mut case = Case::new(policy());
    let lost = |case: &Case| {
        case.invoice
            .lost_payments()
            .map(|(key, _)| key)
            .collect::<Vec<_>>()
    };
    case.pay(1, 400, 10);
    case.pay(2, 300, 11);
    assert_eq!(lost(&case), []);
    case.retract(1);
    assert_eq!(lost(&case), [key(1)]);
    assert_eq!(
        case.invoice
            .payments()
            .map(|(key, _)| key)
            .collect::<Vec<_>>(),
        [key(2)]
    );
    case.pay(1, 400, 12);
    assert_eq!(lost(&case), []);
    // What is retracted before it was told has never been there.
    case.retract(3);
    assert_eq!(lost(&case), []);
}

#[test]
fn a_refund_that_fails_is_due_again() {
    let mut case = Case::new(policy());
    case.apply(&Event::Cancel);
    case.pay(1, 700, 10);
    case.deepen(1);
    let id = case.invoice.refunds()[0].id;
    case.apply(&Event::RefundSent { id, tx: None });
    assert_eq!(case.books(), [700, 0, 700, 0]);
    let told = case.apply(&Event::RefundFailed { id });
    assert!(matches!(told[..], [What::RefundDue { .. }]));
    case.apply(&Event::RefundSent { id, tx: None });
    // What was not sent after all is no failure, and was told to be due before.
    assert_eq!(case.apply(&Event::RefundNotSent { id }), []);
    let refund = &case.invoice.refunds()[0];
    assert_eq!((refund.status(), refund.failures), (Status::Due, 1));
    assert_eq!(case.books(), [700, 0, 700, 0]);
    // That it can't be sent lasts until it is in a block.
    case.apply(&Event::RefundStuck { id, stuck: true });
    case.apply(&Event::RefundSent { id, tx: None });
    assert!(case.facets().refund_stuck && case.facets().refund_due);
    let tx = Some(B256::repeat_byte(9));
    case.apply(&Event::RefundSent { id, tx });
    assert!(!case.facets().refund_stuck);
    case.apply(&Event::RefundConfirmed { id, seq: 90 });
    case.apply(&Event::RefundNotSent { id });
    assert_eq!(case.invoice.refunds()[0].status(), Status::Confirmed);
    case.apply(&Event::RefundRetracted { id, seq: 91 });
    assert_eq!(
        (case.invoice.refunds()[0].status(), case.books()),
        (Status::Sent, [700, 0, 700, 0])
    );
    case.apply(&Event::RefundConfirmed { id, seq: 92 });
    assert_eq!(case.books(), [0; 4]);
    assert_eq!(case.invoice.refunds().len(), 1);
}

/// Whose money goes back, by the byte of the payer's address.
fn shares(case: &Case) -> Vec<(u8, u64)> {
    let all = case.invoice.shares(0).into_iter();
    all.map(|(payer, amount)| (payer[0], u64::try_from(amount.0).unwrap()))
        .collect()
}

#[test]
fn what_goes_back_is_of_who_paid_it() {
    // Bought by 1; 2 pays for the same in time, and 3 late: 1 gets nothing back.
    let mut case = Case::new(policy());
    for (n, amount, time_s) in [(1, 1_000, 10), (2, 700, 20), (3, 400, EXPIRES_S + 1)] {
        case.pay(n, amount, time_s);
        case.deepen(n);
    }
    assert_eq!(shares(&case), [(2, 700), (3, 400)]);
    // What went back stays of whom it was; more that comes is of another.
    assert_eq!(case.give_back(), 1_100);
    case.pay(4, 50, EXPIRES_S + 2);
    case.deepen(4);
    assert_eq!(shares(&case), [(2, 700), (3, 400), (4, 50)]);
    // What is not deep enough goes back to nobody.
    case.pay(5, 60, EXPIRES_S + 3);
    assert_eq!(shares(&case).len(), 3);
    // When all goes back, each has its own.
    case.deepen(5);
    case.apply(&Event::Resolve(Decision::RefundAll));
    assert_eq!(
        shares(&case),
        [(1, 1_000), (2, 700), (3, 400), (4, 50), (5, 60)]
    );
}

#[test]
fn of_one_block_nobody_knows_whose_was_too_much() {
    let mut case = Case::new(policy());
    for (n, amount) in [(1, 1_000), (2, 1_000), (3, 100)] {
        case.pay(n, amount, 10);
    }
    (1..=3).for_each(|n| drop(case.deepen(n)));
    assert_eq!(case.due().iter().sum::<u64>(), 1_100);
    // 100 are of 1 or of 2 for sure, whoever came first, but not of which.
    assert_eq!(shares(&case), []);
    case.pay(4, 300, 11);
    case.deepen(4);
    assert_eq!(shares(&case), [(4, 300)]);
}

#[test]
fn what_was_kept_before_refunds_could_be_stuck_is_read() {
    let mut case = Case::new(policy());
    case.apply(&Event::Cancel);
    case.pay(1, 700, 10);
    case.deepen(1);
    let mut kept = serde_json::to_value(&case.invoice).unwrap();
    let facets = kept["facets"].as_object_mut().unwrap();
    assert_eq!(facets.remove("refund_stuck"), Some(false.into()));
    assert!(kept["refunds"][0].get("stuck").is_none());
    assert_eq!(
        serde_json::from_value::<Invoice>(kept).unwrap(),
        case.invoice
    );
}

#[test]
fn paid_by_two_methods_of_a_price_in_euros() {
    let euro = Currency::parse("EUR").unwrap();
    let price = Price::Fiat(Fiat::parse("10.00", euro).unwrap());
    let method = |n: u8, rate: &str| {
        let rate = Rate::parse(rate, euro, &token(n), "table", 0).unwrap();
        let needs = Needs::Confirmations(1);
        Method::priced(
            &price,
            token(n),
            Some(rate),
            payee(),
            Way::Authorization,
            needs,
        )
        .unwrap()
    };
    let methods = vec![method(1, "3"), method(2, "7")];
    assert_eq!(methods[0].due.to_string(), "3333334");
    let mut case = Case::of(
        price,
        methods,
        Policy {
            tolerance_bps: 0,
            ..policy()
        },
    );
    case.pay_by(0, 1, 1_111_112, 10);
    let open = case.invoice.open(1).unwrap();
    // 1428572 · (1 − 1111112 / 3333334) = 952381.14…
    assert_eq!(open.to_string(), "952382");
    assert_eq!(case.pay_by(1, 2, 952_381, 10), []);
    assert_eq!(case.pay_by(1, 3, 1, 10), [What::Settled { round: 1 }]);
    let cost = Receipt::of(&case.invoice).unwrap().price;
    let cost = [cost.amount, cost.unit, cost.units];
    assert_eq!(cost, ["10.00", "EUR", "1000"]);
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let mut case = Case::new(policy());
    let payment = Payment {
        method: 0,
        amount: Amount::from(1_u64),
        from: payee(),
        block: Block {
            number: 1,
            hash: B256::ZERO,
            time_s: 1,
        },
    };
    let before = case.invoice.clone();
    let mut refused = |key: Key, payment: Payment| {
        let error = case
            .invoice
            .apply(&Event::Credit {
                key,
                seq: 1,
                payment,
            })
            .unwrap_err();
        assert_eq!(case.invoice, before);
        error
    };
    assert_eq!(
        refused(
            key(1),
            Payment {
                method: 1,
                ..payment
            }
        ),
        Error::NoMethod(1)
    );
    let elsewhere = Key { chain: 2, ..key(1) };
    assert_eq!(refused(elsewhere, payment), Error::OtherChain(elsewhere));
    for amount in [Amount::ZERO, Amount(alloy_primitives::U256::MAX)] {
        assert_eq!(
            refused(key(1), Payment { amount, ..payment }),
            Error::Credit(key(1))
        );
    }
    let nobody = stencil_payments::cause::Key([0; 32]);
    let sent = Event::RefundSent {
        id: nobody,
        tx: None,
    };
    assert_eq!(case.invoice.apply(&sent), Err(Error::NoRefund(nobody)));
    let definition = case.invoice.definition().clone();
    let wrong = |change: &dyn Fn(&mut Definition)| {
        let mut definition = definition.clone();
        change(&mut definition);
        Invoice::new(definition).unwrap_err()
    };
    assert_eq!(wrong(&|d| d.methods.clear()), Error::Methods(0));
    assert_eq!(wrong(&|d| d.expires_us = 0), Error::Life);
    assert!(matches!(
        wrong(&|d| d.policy.tolerance_bps = 10_000),
        Error::Policy(_)
    ));
    assert!(matches!(
        wrong(&|d| d.policy.grace_us = -1),
        Error::Policy(_)
    ));
    let asset = token(1).asset();
    assert_eq!(
        wrong(&|d| d.methods[0].due = Amount::from(999_u64)),
        Error::Undercut {
            asset,
            base: Amount::from(1_000_u64),
            due: Amount::from(999_u64)
        }
    );
    assert_eq!(
        wrong(&|d| d.methods[0].token = token(2)),
        Error::OtherAsset(token(2).asset())
    );
}

/// What is due is due to the last unit.
fn exact() -> Policy {
    Policy {
        tolerance_bps: 0,
        ..policy()
    }
}

/// The `ordinal`th movement of one transaction.
fn movement(ordinal: usize) -> Key {
    Key {
        ordinal: u32::try_from(ordinal).unwrap(),
        ..key(9)
    }
}

fn many(case: &mut Case, from: usize, count: usize, amount: u64) -> Result<(), Error> {
    for at in from..from + count {
        let seq = case.next();
        let payment = Payment {
            method: 0,
            amount: Amount::from(amount),
            from: Address::repeat_byte(9),
            block: Block {
                number: 5,
                hash: B256::repeat_byte(9),
                time_s: 5,
            },
        };
        let event = Event::Credit {
            key: movement(at),
            seq,
            payment,
        };
        let effects = case.invoice.apply(&event)?;
        for effect in effects {
            if let What::Post(entry) = &effect.what {
                assert_eq!(case.book.post(entry), Ok(true));
            }
        }
    }
    Ok(())
}

#[test]
fn dust_takes_no_place_of_a_payment_that_counts() {
    let mut case = Case::new(exact());
    // Of 1000 units 3 are less than one in 256 parts.
    many(&mut case, 0, MAX_SMALL, 3).unwrap();
    let full = Error::TooManyCredits(movement(MAX_SMALL));
    assert_eq!(many(&mut case, MAX_SMALL, 1, 3), Err(full.clone()));
    assert_eq!(case.invoice.payments().count(), MAX_SMALL);
    // Nor does a block that is left make room for more of it, and what comes back is the same.
    let seq = case.next();
    case.apply(&Event::Retracted {
        key: movement(0),
        seq,
    });
    assert_eq!(many(&mut case, MAX_SMALL, 1, 3), Err(full));
    assert_eq!(case.invoice.open(0), Some(Amount::from(1_000 - 3 * 63_u64)));
    many(&mut case, 0, 1, 3).unwrap();
    // An honest payer finds a place for each payment, up to the last unit.
    assert!(case.invoice.takes(0, Amount::from(4_u64)));
    case.pay(1, 1_000 - 3 * 64 - 2, 10);
    assert_eq!(case.invoice.open(0), Some(Amount::from(2_u64)));
    assert!(!case.invoice.takes(0, Amount::from(1_u64)));
    assert!(case.invoice.takes(0, Amount::from(2_u64)));
    case.pay(2, 2, 11);
    assert_eq!(case.invoice.state(), State::Confirming);
    // To the unit, also when all of it is gone and there again.
    let wallet = Account::Wallet(payee());
    let held = |case: &Case| case.book.balance(wallet).net().map(|(_, amount)| amount);
    assert_eq!(held(&case), Some(Amount::from(1_000_u64)));
    for at in 0..MAX_SMALL {
        let seq = case.next();
        case.apply(&Event::Retracted {
            key: movement(at),
            seq,
        });
    }
    assert_eq!(held(&case), Some(Amount::from(1_000 - 3 * 64_u64)));
    many(&mut case, 0, MAX_SMALL, 3).unwrap();
    assert_eq!(held(&case), Some(Amount::from(1_000_u64)));
    let kept = serde_json::to_string(&case.invoice).unwrap();
    let read: Invoice = serde_json::from_str(&kept).unwrap();
    assert_eq!(read, case.invoice);
}

#[test]
fn as_many_payments_as_there_are_places_for_come_to_the_whole_price() {
    let mut case = Case::new(exact());
    many(&mut case, 0, MAX_CREDITS, 4).unwrap();
    assert_eq!(case.invoice.open(0), Some(Amount::ZERO));
    let full = Error::TooManyCredits(movement(MAX_CREDITS));
    assert_eq!(many(&mut case, MAX_CREDITS, 1, 1_000), Err(full));
    assert!(!case.invoice.takes(0, Amount::from(1_000_u64)));
}

#[test]
fn the_last_places_are_bounded() {
    let mut case = Case::new(exact());
    many(&mut case, 0, MAX_SMALL, 1).unwrap();
    case.pay(1, 1_000 - 64 - 1, 10);
    for at in 0..LAST_PLACES {
        many(&mut case, MAX_SMALL + at, 1, 1).unwrap();
        let seq = case.next();
        case.apply(&Event::Retracted {
            key: movement(MAX_SMALL + at),
            seq,
        });
    }
    let next = MAX_SMALL + LAST_PLACES;
    assert_eq!(
        many(&mut case, next, 1, 1),
        Err(Error::TooManyCredits(movement(next)))
    );
    // An observation of what is not known has a place among the small ones, and none here.
    let unknown = Event::Retracted {
        key: movement(next),
        seq: case.next(),
    };
    assert!(case.invoice.apply(&unknown).is_err());
}

/// One that was filled with dust before it had places of its own can be paid again.
#[test]
fn an_invoice_of_before_that_is_full_of_dust_is_payable() {
    let mut case = Case::new(policy());
    many(&mut case, 0, 1, 1).unwrap();
    let mut kept = serde_json::to_value(&case.invoice).unwrap();
    let track = kept["credits"][movement(0).to_string()].clone();
    for at in 1..256 {
        kept["credits"][movement(at).to_string()] = track.clone();
    }
    let mut invoice: Invoice = serde_json::from_value(kept).unwrap();
    assert_eq!(invoice.payments().count(), 256);
    let payment = Payment {
        method: 0,
        amount: invoice.open(0).unwrap(),
        from: Address::repeat_byte(1),
        block: Block {
            number: 6,
            hash: B256::repeat_byte(6),
            time_s: 6,
        },
    };
    let event = Event::Credit {
        key: key(1),
        seq: 9,
        payment,
    };
    invoice.apply(&event).unwrap();
    assert_eq!(invoice.state(), State::Confirming);
}

#[test]
fn a_receipt_is_one_sequence_of_bytes() {
    let mut case = Case::new(policy());
    case.pay(1, 1_200, 10);
    assert_eq!(Receipt::of(&case.invoice), Err(receipt::Error::NotSettled));
    case.clock(20);
    case.deepen(1);
    case.pay(2, 7, 11);
    let receipt = Receipt::of(&case.invoice).unwrap();
    let bytes = receipt.bytes().unwrap();
    // By hand, keys in order, what is not deep enough left out.
    let id = case.invoice.refunds()[0].id;
    let (one, payee) = ("01".repeat(20), "aa".repeat(20));
    let (block, tx) = ("01".repeat(32), "01".repeat(32));
    let asset = format!("eip155:1/erc20:0x{one}");
    let expected = format!(
        r#"{{"format":"stencil-receipt/2","invoice":"{}","payments":[{{"amount":"0.001200","asset":"{asset}","block":"0x{block}","block_number":"10","from":"0x{one}","key":"1:0x{tx}:0","time_s":"10","to":"0x{payee}","units":"1200"}}],"price":{{"amount":"0.001000","unit":"{asset}","units":"1000"}},"refunds":[{{"amount":"0.000200","asset":"{asset}","id":"{id}","status":"due","units":"200"}}],"round":"1","settled_us":"20000000","tenant":"acme"}}"#,
        "07".repeat(16),
    );
    assert_eq!(String::from_utf8(bytes.clone()).unwrap(), expected);
    // Keys are in order at every depth: sorted by another's hand it is the same.
    let sorted: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(serde_json::to_vec(&sorted).unwrap(), bytes);
    assert_eq!(serde_json::from_slice::<Receipt>(&bytes).unwrap(), receipt);
    assert_eq!(
        receipt.digest(),
        Receipt::of(&case.invoice).unwrap().digest()
    );
    // Payments stand in the order of time, whatever their transactions are called.
    case.pay(3, 5, 9);
    case.deepen(3);
    let receipt = Receipt::of(&case.invoice).unwrap();
    let times: Vec<_> = receipt.payments.iter().map(|paid| &paid.time_s).collect();
    assert_eq!(times, ["9", "10"]);
    case.retract(1);
    assert_eq!(Receipt::of(&case.invoice), Err(receipt::Error::NotSettled));
}
