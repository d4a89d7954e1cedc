//! No acknowledgement, no charge; never charged twice; a crash between any two steps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, VecDeque};

use alloy_primitives::{Address, B256};
use proptest::prelude::*;
use stencil_payments::cause::Key;
use stencil_payments::money::Amount;
use stencil_payments::x402::charge::{
    ASK_AGAIN_US, Answer, Charge, Effect, Error, Event, Funding, Stage, Terms, What, Word,
};
use stencil_payments::x402::exposure::{Exceeded, Exposure};

const S: i64 = 1_000_000;

fn terms(held: bool, reversible: bool) -> Terms {
    let funding = if held {
        Funding::Held {
            hold: B256::repeat_byte(1),
            deadline_s: 300,
        }
    } else {
        Funding::Bare {
            valid_before_s: 300,
        }
    };
    Terms {
        id: Key([5; 32]),
        payer: Address::repeat_byte(6),
        value: Amount::from(10_u64),
        funding,
        reversible,
        act_by_us: 60 * S,
        settle_us: 100 * S,
    }
}

fn bare() -> Charge {
    let (charge, effects) = Charge::new(terms(false, true), 0).unwrap();
    assert_eq!(whats(&effects), [What::Command]);
    charge
}

fn whats(effects: &[Effect]) -> Vec<What> {
    effects.iter().map(|effect| effect.what).collect()
}

fn apply(charge: &mut Charge, event: Event) -> Vec<What> {
    whats(&charge.apply(&event))
}

const CAPTURED: Answer = Answer::Captured {
    tx: B256::repeat_byte(9),
};
const CHARGED: What = What::Charged {
    tx: B256::repeat_byte(9),
};

#[test]
fn done_and_captured() {
    let mut charge = bare();
    assert_eq!(apply(&mut charge, Event::Word(Word::Done)), [What::Capture]);
    assert_eq!(apply(&mut charge, Event::Word(Word::Done)), []);
    assert_eq!(apply(&mut charge, Event::Answer(CAPTURED)), [CHARGED]);
    assert_eq!(apply(&mut charge, Event::Answer(CAPTURED)), []);
    assert_eq!(
        apply(&mut charge, Event::Undone),
        [What::Uncharged, What::Ask]
    );
    assert_eq!(
        apply(&mut charge, Event::Answer(Answer::Open)),
        [What::Capture]
    );
    assert_eq!(apply(&mut charge, Event::Answer(CAPTURED)), [CHARGED]);
}

#[test]
fn no_word_no_charge() {
    let mut charge = bare();
    // The command's expiry alone is no proof that nothing was done.
    assert_eq!(apply(&mut charge, Event::Clock { now_us: 199 * S }), []);
    assert_eq!(charge.stage(), Stage::Acting);
    assert_eq!(
        apply(&mut charge, Event::Clock { now_us: 200 * S }),
        [What::Free]
    );
    // A word that comes after that is not charged: it is undone, and told to be lost.
    assert_eq!(
        apply(&mut charge, Event::Word(Word::Done)),
        [What::Loss, What::Undo]
    );
    assert_eq!(apply(&mut charge, Event::Word(Word::Done)), []);

    let mut charge = bare();
    assert_eq!(apply(&mut charge, Event::Word(Word::NotDone)), [What::Free]);
    assert!(charge.is_over());
}

#[test]
fn a_late_word_is_charged_while_it_still_can_be() {
    let mut charge = bare();
    apply(&mut charge, Event::Clock { now_us: 150 * S });
    assert_eq!(apply(&mut charge, Event::Word(Word::Done)), [What::Capture]);
}

#[test]
fn unknown_leads_to_nothing_but_asking() {
    let mut charge = bare();
    apply(&mut charge, Event::Word(Word::Done));
    assert_eq!(apply(&mut charge, Event::Answer(Answer::Unknown)), []);
    assert_eq!(
        apply(
            &mut charge,
            Event::Clock {
                now_us: ASK_AGAIN_US - 1
            }
        ),
        []
    );
    assert_eq!(
        apply(
            &mut charge,
            Event::Clock {
                now_us: ASK_AGAIN_US
            }
        ),
        [What::Ask]
    );
    assert_eq!(
        apply(&mut charge, Event::Clock { now_us: 10_000 * S }),
        [What::Ask]
    );
    assert_eq!(charge.stage(), Stage::Capturing, "however long it takes");
    assert_eq!(whats(&charge.resume()), [What::Ask]);
    // The payer has cancelled.
    let lost = [What::Loss, What::Undo];
    assert_eq!(apply(&mut charge, Event::Answer(Answer::Gone)), lost);
}

#[test]
fn what_cannot_be_undone_needs_a_hold() {
    assert_eq!(
        Charge::new(terms(false, false), 0),
        Err(Error::Irreversible)
    );
    let short = Terms {
        act_by_us: 201 * S,
        ..terms(true, false)
    };
    assert_eq!(Charge::new(short, 0), Err(Error::NoRoom { missing_us: S }));
    let nothing = Terms {
        value: Amount::ZERO,
        ..terms(true, false)
    };
    assert_eq!(Charge::new(nothing, 0), Err(Error::Nothing));

    let (mut charge, effects) = Charge::new(terms(true, false), 0).unwrap();
    assert_eq!(whats(&effects), []);
    assert_eq!(
        apply(&mut charge, Event::Word(Word::Done)),
        [],
        "no command was given"
    );
    assert_eq!(apply(&mut charge, Event::HoldFirm), [What::Command]);
    assert_eq!(apply(&mut charge, Event::HoldFirm), []);
    assert_eq!(apply(&mut charge, Event::Word(Word::Done)), [What::Capture]);
    assert_eq!(apply(&mut charge, Event::Answer(CAPTURED)), [CHARGED]);

    let (mut charge, _) = Charge::new(terms(true, false), 0).unwrap();
    apply(&mut charge, Event::HoldFirm);
    assert_eq!(
        apply(&mut charge, Event::Word(Word::NotDone)),
        [What::Refund]
    );
    assert_eq!(
        apply(&mut charge, Event::Answer(Answer::Open)),
        [What::Refund]
    );
    // The device did it after all: the hold still goes back.
    assert_eq!(apply(&mut charge, Event::Word(Word::Done)), [What::Loss]);
    assert_eq!(apply(&mut charge, Event::Answer(Answer::Gone)), []);
    assert_eq!(charge.stage(), Stage::Lost);

    let (mut charge, _) = Charge::new(terms(true, false), 0).unwrap();
    assert_eq!(
        apply(&mut charge, Event::Clock { now_us: 60 * S }),
        [What::Refund]
    );
    assert_eq!(apply(&mut charge, Event::HoldFirm), [], "too late to act");
}

#[test]
fn what_may_be_lost_to_a_payer_is_limited() {
    let (payer, other) = (Address::repeat_byte(1), Address::repeat_byte(2));
    let (ten, limit) = (Amount::from(10_u64), Amount::from(25_u64));
    let mut exposure = Exposure::default();
    let key = |n| Key([n; 32]);
    exposure.reserve(payer, key(1), ten, limit).unwrap();
    exposure.reserve(payer, key(1), ten, limit).unwrap();
    exposure.reserve(payer, key(2), ten, limit).unwrap();
    let exposed = Amount::from(20_u64);
    let exceeded = Err(Exceeded {
        payer,
        exposed,
        value: ten,
        limit,
    });
    assert_eq!(exposure.reserve(payer, key(3), ten, limit), exceeded);
    exposure.reserve(other, key(3), ten, limit).unwrap();
    // Kept and read again it is the same.
    let json = serde_json::to_string(&exposure).unwrap();
    assert_eq!(serde_json::from_str::<Exposure>(&json).unwrap(), exposure);
    // Paid, and lost: the loss stays until somebody forgives it.
    exposure.free(payer, key(1));
    exposure.lose(payer, key(2), ten);
    assert_eq!(exposure.of(payer), ten);
    exposure.reserve(payer, key(4), ten, limit).unwrap();
    exposure.free(payer, key(4));
    exposure.forgive(payer);
    assert_eq!(exposure.of(payer), Amount::ZERO);
    let most = Amount(alloy_primitives::U256::MAX);
    assert!(
        exposure.reserve(other, key(5), most, most).is_err(),
        "no overflow"
    );
}

/// What a contract does with an authorisation or a hold: captured or gone, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Money {
    Open,
    Captured,
    Gone,
}

#[derive(Clone, Debug)]
enum Step {
    /// Effects that were told are done, in order.
    Work,
    /// The process dies before effects are done; it starts from what was kept.
    Crash,
    /// An effect is done twice.
    Twice,
    Word(Word),
    HoldFirm,
    Clock(i64),
    /// The chain can't be asked, or can again.
    Silent(bool),
    /// The last movement of the money is reorganised away.
    Reorg,
    /// The payer of a bare authorisation cancels.
    Cancel,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Work),
        2 => Just(Step::Crash),
        2 => Just(Step::Twice),
        2 => Just(Step::Word(Word::Done)),
        1 => Just(Step::Word(Word::NotDone)),
        2 => Just(Step::HoldFirm),
        4 => (1..80_i64).prop_map(|seconds| Step::Clock(seconds * S)),
        2 => any::<bool>().prop_map(Step::Silent),
        1 => Just(Step::Reorg),
        1 => Just(Step::Cancel),
    ]
}

/// A device, a chain and a hub around a charge.
struct World {
    /// What the hub keeps: state, and effects that are to be done (an outbox).
    charge: Charge,
    outbox: VecDeque<Effect>,
    keys: BTreeMap<Key, What>,
    money: Money,
    moves: u32,
    silent: bool,
    commanded: bool,
    acted: bool,
    heard: bool,
    now_us: i64,
    net: i32,
    losses: u32,
}

impl World {
    fn event(&mut self, event: Event) {
        // Kept and read again at each step: nothing lives in memory alone.
        let json = serde_json::to_string(&self.charge).unwrap();
        self.charge = serde_json::from_str(&json).unwrap();
        let effects = self.charge.apply(&event);
        self.tell(effects);
    }

    fn tell(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if let Some(known) = self.keys.insert(effect.key, effect.what) {
                assert_eq!(known, effect.what, "one key, one effect");
                let again = matches!(effect.what, What::Command | What::Capture | What::Refund);
                assert!(again, "{:?} was told twice", effect.what);
            }
            match effect.what {
                What::Charged { .. } => self.net += 1,
                What::Uncharged => self.net -= 1,
                What::Loss => self.losses += 1,
                What::Capture => assert!(self.heard, "captured without the device's word"),
                _ => {}
            }
            assert!((0..=1).contains(&self.net), "charged {} times", self.net);
            assert!(self.losses <= 1);
            self.outbox.push_back(effect);
        }
    }

    fn work(&mut self) {
        if let Some(effect) = self.outbox.pop_front() {
            self.work_on(effect);
        }
    }

    fn work_on(&mut self, effect: Effect) {
        let (Funding::Bare {
            valid_before_s: end,
        }
        | Funding::Held {
            deadline_s: end, ..
        }) = self.charge.terms().funding;
        let in_time = self.now_us < i64::try_from(end).unwrap() * S;
        match effect.what {
            What::Command => self.commanded = true,
            What::Capture if self.money == Money::Open && in_time => {
                self.money = Money::Captured;
                self.moves += 1;
            }
            What::Refund if self.money == Money::Open => self.money = Money::Gone,
            What::Ask => {
                let answer = match self.money {
                    _ if self.silent => Answer::Unknown,
                    Money::Captured => CAPTURED,
                    Money::Gone => Answer::Gone,
                    // A hold whose deadline has passed still has to be given back.
                    Money::Open if in_time || self.charge.stage() == Stage::Refunding => {
                        Answer::Open
                    }
                    Money::Open => Answer::Gone,
                };
                self.event(Event::Answer(answer));
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]
    #[test]
    fn charged_exactly_if_done_and_never_twice(
        held in any::<bool>(),
        reversible in any::<bool>(),
        steps in prop::collection::vec(step(), 0..50),
    ) {
        let Ok((charge, effects)) = Charge::new(terms(held, reversible), 0) else {
            prop_assert!(!held && !reversible);
            return Ok(());
        };
        let mut world = World {
            charge, outbox: VecDeque::new(), keys: BTreeMap::new(), money: Money::Open, moves: 0,
            silent: false, commanded: false, acted: false, heard: false, now_us: 0, net: 0, losses: 0,
        };
        world.tell(effects);
        let mut denied = false;
        for step in steps {
            match step {
                Step::Work => world.work(),
                Step::Twice => {
                    if let Some(effect) = world.outbox.front().copied() {
                        world.work_on(effect);
                    }
                }
                Step::Crash => {
                    world.outbox.clear();
                    let effects = world.charge.resume();
                    // After a start it is told again what is under way.
                    for effect in effects {
                        world.keys.insert(effect.key, effect.what);
                        world.outbox.push_back(effect);
                    }
                }
                Step::Word(word) => {
                    // A device acts only if it was told to, and says one thing.
                    if !world.commanded {
                        continue;
                    }
                    match word {
                        Word::Done if !denied => {
                            world.acted = true;
                            world.heard = true;
                        }
                        Word::NotDone if !world.acted => denied = true,
                        _ => continue,
                    }
                    world.event(Event::Word(word));
                }
                Step::HoldFirm => world.event(Event::HoldFirm),
                Step::Clock(later) => {
                    world.now_us += later;
                    let now_us = world.now_us;
                    world.event(Event::Clock { now_us });
                }
                Step::Silent(silent) => world.silent = silent,
                Step::Reorg if world.money == Money::Captured => {
                    world.money = Money::Open;
                    if world.charge.stage() == Stage::Captured {
                        world.event(Event::Undone);
                    }
                }
                Step::Cancel if !held && world.money == Money::Open => world.money = Money::Gone,
                Step::Reorg | Step::Cancel => {}
            }
        }
        // Now all works again, for long enough.
        world.silent = false;
        for _ in 0..60 {
            while !world.outbox.is_empty() {
                world.work();
            }
            world.now_us += 20 * S;
            let now_us = world.now_us;
            world.event(Event::Clock { now_us });
        }
        prop_assert!(world.charge.is_over(), "{:?}", world.charge);
        prop_assert_eq!(world.net == 1, world.money == Money::Captured, "told is what the chain says");
        if !world.acted {
            prop_assert_eq!((world.net, world.losses), (0, 0), "no acknowledgement, no charge");
            prop_assert!(world.charge.stage() == Stage::Free);
        } else {
            prop_assert_eq!(world.net + i32::try_from(world.losses).unwrap(), 1,
                "what was done is paid or told to be lost");
        }
    }
}
