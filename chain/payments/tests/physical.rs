//! Exactly one net effect, whatever is observed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;

use proptest::prelude::*;
use proptest::sample::Index;
use stencil_payments::cause::Key;
use stencil_payments::observation::{Depth, Needs};
use stencil_payments::physical::{Actuation, Error, Event, Stage, Terms, Undo, What};

fn new(needs: Needs, undo: Undo) -> Actuation {
    Actuation::new(Key([1; 32]), Terms { needs, undo }, 0).unwrap()
}

fn deep(seq: u64, confirmations: u32) -> Event {
    let depth = Depth {
        confirmations,
        safe: confirmations >= 6,
        finalized: confirmations >= 12,
    };
    Event::Depth { seq, depth }
}

fn told(actuation: &mut Actuation, event: Event) -> Option<What> {
    let told = actuation.apply(&event).map(|effect| effect.what);
    assert_eq!(actuation.apply(&event), None, "again it is nothing new");
    told
}

#[test]
fn it_acts_at_its_finality_and_compensates_after_a_reorganisation() {
    let mut lock = new(Needs::Confirmations(3), Undo::Compensate { patience_us: 0 });
    assert_eq!(told(&mut lock, Event::Included { seq: 1 }), None);
    assert_eq!(told(&mut lock, deep(2, 2)), None);
    assert_eq!(told(&mut lock, deep(3, 3)), Some(What::Act { round: 1 }));
    assert_eq!(told(&mut lock, deep(4, 9)), None);
    assert_eq!(
        told(&mut lock, Event::Retracted { seq: 5 }),
        Some(What::Compensate { round: 1 })
    );
    assert_eq!(told(&mut lock, Event::Included { seq: 6 }), None);
    // What was told of the block that is gone does not count.
    assert_eq!(told(&mut lock, deep(4, 9)), None);
    assert_eq!(told(&mut lock, deep(7, 3)), Some(What::Act { round: 2 }));
}

#[test]
fn with_patience_a_cause_that_comes_back_changes_nothing() {
    let mut lock = new(
        Needs::Confirmations(1),
        Undo::Compensate { patience_us: 100 },
    );
    assert_eq!(
        told(&mut lock, Event::Included { seq: 1 }),
        Some(What::Act { round: 1 })
    );
    assert_eq!(told(&mut lock, Event::Retracted { seq: 2 }), None);
    assert_eq!(lock.wakes_us(), Some(100));
    assert_eq!(told(&mut lock, Event::Clock { now_us: 99 }), None);
    assert_eq!(told(&mut lock, Event::Included { seq: 3 }), None);
    assert_eq!((lock.stage(), lock.wakes_us()), (Stage::Done, None));
    assert_eq!(told(&mut lock, Event::Retracted { seq: 4 }), None);
    assert_eq!(told(&mut lock, Event::Clock { now_us: 198 }), None);
    let compensate = Some(What::Compensate { round: 1 });
    assert_eq!(told(&mut lock, Event::Clock { now_us: 199 }), compensate);
}

#[test]
fn what_cannot_be_undone_is_told_to_be_lost() {
    let mut goods = new(Needs::Finalized, Undo::Nothing);
    assert_eq!(told(&mut goods, Event::Included { seq: 1 }), None);
    assert_eq!(told(&mut goods, deep(2, 11)), None);
    assert_eq!(told(&mut goods, deep(3, 12)), Some(What::Act { round: 1 }));
    assert_eq!(
        told(&mut goods, Event::Retracted { seq: 4 }),
        Some(What::Lost { round: 1 })
    );
    assert_eq!(
        told(&mut goods, Event::Included { seq: 5 }),
        Some(What::Found { round: 1 })
    );
    assert_eq!(
        told(&mut goods, deep(6, 12)),
        None,
        "it was handed out already"
    );
}

#[test]
fn terms_that_hand_out_too_early_are_refused() {
    let terms = |needs, undo| Terms { needs, undo }.validate();
    assert_eq!(terms(Needs::Safe, Undo::Nothing), Err(Error::TooShallow));
    assert_eq!(
        terms(Needs::Confirmations(11), Undo::Nothing),
        Err(Error::TooShallow)
    );
    assert_eq!(terms(Needs::Confirmations(12), Undo::Nothing), Ok(()));
    let patience = |patience_us| terms(Needs::Safe, Undo::Compensate { patience_us });
    assert_eq!(patience(-1), Err(Error::Patience));
    assert_eq!(patience(i64::MAX), Err(Error::Patience));
    assert_eq!(patience(1), Ok(()));
}

#[derive(Clone, Debug)]
enum Step {
    In,
    Out,
    Deeper(u32),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn one_net_effect_under_any_sequence(
        steps in prop::collection::vec(prop_oneof![
            Just(Step::In), Just(Step::Out), (1..15_u32).prop_map(Step::Deeper)
        ], 1..12),
        order in prop::collection::vec((any::<Index>(), 0..50_i64), 0..60),
        needs in prop_oneof![
            (1..13_u32).prop_map(Needs::Confirmations), Just(Needs::Safe), Just(Needs::Finalized)
        ],
        undo in prop_oneof![
            (0..80_i64).prop_map(|patience_us| Undo::Compensate { patience_us }), Just(Undo::Nothing)
        ],
    ) {
        prop_assume!(Terms { needs, undo }.validate().is_ok());
        let event = |at: usize| {
            let seq = at as u64;
            match steps[at] {
                Step::In => Event::Included { seq },
                Step::Out => Event::Retracted { seq },
                Step::Deeper(confirmations) => deep(seq, confirmations),
            }
        };
        let mut actuation = new(needs, undo);
        let (mut net, mut lost, mut now_us) = (0_i32, 0_i32, 0);
        let mut keys = HashSet::new();
        let mut take = |actuation: &mut Actuation, event: &Event| {
            // Saved and read again at each point, it is the same.
            let json = serde_json::to_string(actuation).unwrap();
            let mut replayed: Actuation = serde_json::from_str(&json).unwrap();
            let effect = actuation.apply(event);
            assert_eq!(replayed.apply(event), effect);
            assert_eq!(&replayed, actuation);
            let Some(effect) = effect else { return (net, lost) };
            assert!(keys.insert(effect.key), "told twice");
            match effect.what {
                What::Act { .. } => net += 1,
                What::Compensate { .. } => net -= 1,
                What::Lost { .. } => lost += 1,
                What::Found { .. } => lost -= 1,
            }
            assert!((0..=1).contains(&net), "acted {net} times");
            assert!((0..=net).contains(&lost));
            (net, lost)
        };
        for (index, later) in order {
            now_us += later;
            take(&mut actuation, &Event::Clock { now_us });
            take(&mut actuation, &event(index.index(steps.len())));
        }
        // In the end all is known, and all patience over.
        for at in 0..steps.len() {
            take(&mut actuation, &event(at));
        }
        let end = take(&mut actuation, &Event::Clock { now_us: now_us + 1_000 });
        let mut chain: Option<bool> = None;
        for step in &steps {
            match (step, &mut chain) {
                (Step::In, _) => chain = Some(needs.met_by(Depth { confirmations: 1, ..Depth::default() })),
                (Step::Out, _) => chain = None,
                (Step::Deeper(n), Some(deep)) => {
                    let depth = Depth { confirmations: *n, safe: *n >= 6, finalized: *n >= 12 };
                    *deep = needs.met_by(depth);
                }
                (Step::Deeper(_), None) => {}
            }
        }
        match (chain, undo) {
            (Some(true), _) => prop_assert_eq!(end, (1, 0), "the cause is there"),
            (None, Undo::Compensate { .. }) => prop_assert_eq!(end.0, 0, "the cause is gone"),
            (None, Undo::Nothing) => prop_assert_eq!(end.0, end.1),
            // In the chain and not deep enough: done if it was told to be deep enough before.
            (Some(false), _) => prop_assert_eq!(end.1, 0, "nothing is missing"),
        }
    }
}
