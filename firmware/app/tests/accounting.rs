//! Under any schedule of losses and resets, every number is accounted for and
//! every command is carried out at most once.
#![allow(clippy::unwrap_used, clippy::panic)]

mod desk;
mod peer;

use std::collections::{BTreeMap, BTreeSet};

use desk::{DEVICE, Desk, EPOCH_US, config};
use peer::Heard;
use proptest::prelude::*;
use stencil_protocol::command::{Command, State};
use stencil_protocol::id::{Boot, CommandId, DeviceId, Seq};
use stencil_protocol::link::Down;
use stencil_protocol::sample::OwnedValue;

/// Holds about fifteen samples: it overflows soon.
const BUFFER: usize = 1_024;

#[derive(Clone, Debug)]
enum Step {
    Run {
        ms: u64,
    },
    Reconnect,
    Reboot,
    GatewayForgets,
    UpLost(bool),
    DownLost(bool),
    Acknowledge(bool),
    /// Bytes of noise on the line to the device.
    Noise(Vec<u8>),
    Replay,
    /// An acknowledgement of long ago, or of what was never sent, in the boot
    /// that began so many boots ago (0: this one; the last: one to come).
    WrongAck {
        back: u32,
        through: u64,
    },
    /// A command, with an id of few, so that most come more than once.
    Offer {
        id: u8,
        jam: bool,
        expires_ms: i64,
    },
    SetClock {
        ms: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..1_500_u64).prop_map(|ms| Step::Run { ms }),
        1 => Just(Step::Reconnect),
        2 => Just(Step::Reboot),
        1 => Just(Step::GatewayForgets),
        2 => any::<bool>().prop_map(Step::UpLost),
        2 => any::<bool>().prop_map(Step::DownLost),
        2 => any::<bool>().prop_map(Step::Acknowledge),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Step::Noise),
        1 => Just(Step::Replay),
        1 => (0..6_u32, 0..60_u64).prop_map(|(back, through)| Step::WrongAck { back, through }),
        3 => (0..12_u8, any::<bool>(), -100..20_000_i64)
            .prop_map(|(id, jam, expires_ms)| Step::Offer { id, jam, expires_ms }),
        1 => (-3_000..3_000_i64).prop_map(|ms| Step::SetClock { ms }),
    ]
}

fn play(desk: &mut Desk<BUFFER>, steps: Vec<Step>) {
    for step in steps {
        match step {
            Step::Run { ms } => drop(desk.run_ms(ms)),
            Step::Reconnect => desk.connect(),
            Step::Reboot => desk.reboot(),
            Step::GatewayForgets => desk.peer.forget(),
            Step::UpLost(lost) => desk.up_lost = lost,
            Step::DownLost(lost) => desk.down_lost = lost,
            Step::Acknowledge(on) => desk.peer.acknowledges = on,
            Step::Noise(bytes) => desk.wire.0.borrow_mut().down.extend(bytes),
            Step::Replay => desk.peer.replay_last_record(),
            Step::WrongAck { back, through } => {
                // A gateway acknowledges what it has: of a number that it was
                // never sent, it can only claim that it has it.
                let held = held(&desk.peer.heard);
                let through = Seq(through);
                let now = desk.app.progress().boot.0;
                let boot = if back == 5 {
                    now + 1
                } else {
                    now.saturating_sub(back)
                };
                let has = (1..=through.0).all(|seq| held.contains(&(Boot(boot), seq)));
                let last = desk.app.progress();
                let never_sent = boot == last.boot.0 && through > last.last_given;
                if has || never_sent || boot != last.boot.0 {
                    desk.peer.send(&Down::Ack {
                        boot: Boot(boot),
                        through,
                    });
                }
            }
            Step::Offer {
                id,
                jam,
                expires_ms,
            } => {
                let now_us = EPOCH_US + desk.wall_us;
                desk.peer.send(&Down::Command(Command {
                    id: CommandId([id; 16]),
                    device: DeviceId::parse(DEVICE).unwrap(),
                    name: if jam { "jam" } else { "lock" },
                    argument: None,
                    expires_us: now_us + expires_ms * 1_000,
                }));
            }
            Step::SetClock { ms } => {
                desk.peer.now_us = EPOCH_US + desk.wall_us + ms * 1_000;
                let now_us = desk.peer.now_us;
                desk.peer.send(&Down::Time { now_us });
            }
        }
    }
}

/// Everything heals, measuring stops, and the device delivers the rest.
fn settle(desk: &mut Desk<BUFFER>) {
    desk.up_lost = false;
    desk.down_lost = false;
    desk.peer.acknowledges = true;
    desk.run_ms(500);
    desk.app.set_measuring(false);
    for _ in 0..200 {
        desk.run_ms(100);
        if desk.app.progress().settled {
            return;
        }
    }
    panic!(
        "does not settle: {:?} {:?}",
        desk.app.progress(),
        desk.app.link_counters()
    );
}

fn held(heard: &[Heard]) -> BTreeSet<(Boot, u64)> {
    let batches = heard.iter().filter_map(|heard| match heard {
        Heard::Batch { header, samples } => Some((header.boot, samples)),
        _ => None,
    });
    batches
        .flat_map(|(boot, samples)| samples.iter().map(move |(seq, _)| (boot, seq.0)))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_number_is_accounted_for(steps in prop::collection::vec(step(), 0..60)) {
        let mut desk = Desk::<BUFFER>::new(config());
        play(&mut desk, steps);
        settle(&mut desk);

        let seen = desk.seen.borrow();
        let given: BTreeMap<(Boot, u64), f64> =
            seen.given.iter().map(|(boot, seq, value, _)| ((*boot, seq.0), *value)).collect();
        prop_assert_eq!(given.len(), seen.given.len(), "a number was given twice");

        let mut stored: BTreeMap<(Boot, u64), (f64, i64)> = BTreeMap::new();
        let mut explained: BTreeSet<(Boot, u64)> = BTreeSet::new();
        for heard in &desk.peer.heard {
            let Heard::Batch { header, samples } = heard else { continue };
            for (seq, sample) in samples {
                let OwnedValue::Number(value) = sample.value else { panic!("a number") };
                let first = *stored.entry((header.boot, seq.0)).or_insert((value, sample.time_us));
                prop_assert_eq!(first, (value, sample.time_us), "a repetition differs");
            }
            for dropped in &header.dropped {
                explained.extend((dropped.first.0..=dropped.last().0).map(|seq| (header.boot, seq)));
            }
            if let Some(previous) = header.previous {
                let lost = previous.acked.0 + 1..=previous.last.0;
                explained.extend(lost.map(|seq| (previous.boot, seq)));
                let last = given.keys().filter(|(boot, _)| *boot == previous.boot).map(|(_, seq)| *seq).max();
                prop_assert_eq!(Some(previous.last.0), last, "the report is of another last number");
            }
        }
        for (number, value) in &given {
            if let Some((kept, _)) = stored.get(number) {
                prop_assert_eq!(kept, value);
            } else {
                prop_assert!(explained.contains(number), "{number:?} is missing without a reason");
            }
        }
        for number in stored.keys().chain(&explained) {
            prop_assert!(given.contains_key(number), "{number:?} was never given");
        }

        let mut executed = BTreeSet::new();
        for (id, _) in &seen.executed {
            prop_assert!(executed.insert(*id), "{id} was carried out twice");
        }
        let mut ended: BTreeMap<CommandId, State> = BTreeMap::new();
        for heard in &desk.peer.heard {
            if let Heard::Status { id, state, .. } = heard
                && matches!(state, State::Done | State::Failed)
            {
                let first = *ended.entry(*id).or_insert(*state);
                prop_assert_eq!(first, *state, "the outcome of {} changed", id);
            }
        }
        for id in &executed {
            prop_assert!(ended.contains_key(id), "nobody was told how {id} ended");
        }
    }
}
