//! A link over a line that loses, repeats, reorders and damages frames.
#![allow(clippy::unwrap_used, clippy::panic)]

mod desk;
mod peer;

use std::collections::VecDeque;

use desk::{Desk, config, psk};
use peer::{Dice, Heard, Peer};
use rand_core::TryRng;
use stencil_firmware::LinkState;

/// What happens to a frame, in percent.
#[derive(Clone, Copy)]
struct Fate {
    lost: u64,
    repeated: u64,
    late: u64,
    damaged: u64,
}

const TENTH: Fate = Fate {
    lost: 10,
    repeated: 10,
    late: 10,
    damaged: 0,
};

/// One direction of a line: frames in, what is left of them out.
struct Poor {
    dice: Dice,
    fate: Fate,
    rest: Vec<u8>,
    held: VecDeque<Vec<u8>>,
}

impl Poor {
    fn new(seed: u64, fate: Fate) -> Self {
        Self {
            dice: Dice(seed),
            fate,
            rest: Vec::new(),
            held: VecDeque::new(),
        }
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.dice.try_next_u64().unwrap() % 100 < percent
    }

    fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.rest.extend_from_slice(bytes);
        let mut out = Vec::new();
        while let Some(end) = self.rest.iter().skip(1).position(|byte| *byte == 0) {
            let mut frame: Vec<u8> = self.rest.drain(..end + 2).collect();
            if self.chance(self.fate.damaged) {
                let draw = usize::try_from(self.dice.try_next_u64().unwrap()).unwrap();
                let at = draw % (frame.len() * 8);
                frame[at / 8] ^= 1 << (at % 8);
            }
            if self.chance(self.fate.lost) {
                continue;
            }
            if self.chance(self.fate.late) {
                self.held.push_back(frame);
                continue;
            }
            out.extend_from_slice(&frame);
            if self.chance(self.fate.repeated) {
                out.extend_from_slice(&frame);
            }
            // What was late comes behind a later one.
            if let Some(late) = self.held.pop_front() {
                out.extend_from_slice(&late);
            }
        }
        out
    }
}

/// A device and a gateway with a poor line between them.
struct Line {
    desk: Desk<4_096>,
    up: Poor,
    down: Poor,
}

impl Line {
    fn new(seed: u64, fate: Fate) -> Self {
        let mut config = config();
        config.answer_us = 40_000;
        config.handshake_us = 3_000_000;
        let mut desk = Desk::<4_096>::new(config);
        desk.peer = Peer::new(psk(), seed);
        Self {
            desk,
            up: Poor::new(seed * 2 + 1, fate),
            down: Poor::new(seed * 2 + 2, fate),
        }
    }

    fn step(&mut self) -> LinkState {
        let desk = &mut self.desk;
        desk.seen.borrow_mut().clock_us += 10_000;
        desk.wall_us += 10_000;
        desk.peer.now_us = desk::EPOCH_US + desk.wall_us;
        let poll = desk.app.poll();
        let up: Vec<u8> = desk.wire.0.borrow_mut().up.drain(..).collect();
        desk.peer.feed(&self.up.pass(&up));
        let down = self.down.pass(&desk.peer.take_out());
        desk.wire.0.borrow_mut().down.extend(down);
        poll.link
    }

    /// Runs until it holds; says after how many milliseconds.
    fn until(&mut self, what: &str, mut holds: impl FnMut(&Desk<4_096>) -> bool) -> u64 {
        for ms in (0..60_000).step_by(10) {
            let link = self.step();
            assert_ne!(link, LinkState::Down, "{what}: the link was given up");
            if holds(&self.desk) {
                return ms;
            }
        }
        panic!(
            "{what}: {:?} {:?}",
            self.desk.app.link_counters(),
            self.desk.app.progress()
        );
    }
}

fn is_settled(desk: &Desk<4_096>) -> bool {
    desk.app.progress().acked.0 > 0
}

#[test]
fn a_handshake_completes_where_a_tenth_is_lost_repeated_and_late() {
    let (mut longest, mut again) = (0, 0);
    for seed in 0..2_000 {
        let mut line = Line::new(seed, TENTH);
        let took = line.until(&format!("seed {seed}"), |desk| {
            desk.app.link_counters().handshakes > 0 && desk.peer.is_up()
        });
        longest = longest.max(took);
        again += u32::from(line.desk.app.link_counters().refused > 0);
    }
    // Within the first attempt nearly always: fragments are sent again, not handshakes.
    assert!(again <= 20, "{again} of 2,000 needed more than one attempt");
    assert!(longest <= 10_000, "{longest} ms");
}

#[test]
fn samples_arrive_where_frames_are_damaged_too() {
    let fate = Fate {
        damaged: 5,
        ..TENTH
    };
    for seed in 0..100 {
        let mut line = Line::new(seed, fate);
        line.until("a first acknowledgement", is_settled);
        line.desk.app.set_measuring(false);
        line.until("all of them", |desk| desk.app.progress().settled);
        // No number is missing, and none was taken twice for two.
        let given = line.desk.seen.borrow().given.len();
        let mut got = std::collections::BTreeMap::new();
        for heard in &line.desk.peer.heard {
            if let Heard::Batch { samples, .. } = heard {
                for (seq, sample) in samples {
                    let before = got.insert(seq.0, sample.clone());
                    assert!(before.is_none_or(|before| before == *sample));
                }
            }
        }
        assert_eq!(got.len(), given, "seed {seed}");
    }
}

#[test]
fn sessions_are_resumed_over_a_poor_line_whatever_answer_is_lost() {
    for seed in 0..200 {
        let mut line = Line::new(seed, TENTH);
        line.until("a session", is_settled);
        let mut resumed = 0;
        for round in 0..5 {
            // Asleep and awake again, with what retained memory holds.
            line.desk.reboot();
            line.up = Poor::new(seed * 100 + round * 2, TENTH);
            line.down = Poor::new(seed * 100 + round * 2 + 1, TENTH);
            line.until(&format!("seed {seed}, round {round}"), |desk| {
                desk.app.link_counters().handshakes > 0 && is_settled(desk)
            });
            resumed += line.desk.app.link_counters().resumed;
        }
        assert!(resumed >= 4, "seed {seed}: {resumed} of 5 were resumed");
    }
}

#[test]
fn a_line_that_carries_nothing_is_given_up_and_a_good_one_taken_again() {
    let dead = Fate { lost: 100, ..TENTH };
    let mut line = Line::new(1, dead);
    let mut given_up = false;
    for _ in 0..6_000 {
        given_up |= line.step() == LinkState::Down;
        if given_up {
            break;
        }
    }
    assert!(given_up);
    line.up.fate.lost = 0;
    line.down.fate.lost = 0;
    line.desk.connect();
    line.until("a session", is_settled);
}
