//! A poor line: it loses, repeats, reorders and damages frames.
//!
//! It works on what lies between two zeros, and knows nothing else of what it carries. What it
//! holds back is bounded: a frame that is longer than any passes as it is.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::random::Random;

/// Of a hundred frames so many are lost, come twice, come behind a later one, have a bit flipped.
const LOST: u64 = 10;
const REPEATED: u64 = 5;
const LATE: u64 = 5;
const DAMAGED: u64 = 5;
/// Longer than any frame.
const MAX_HELD_BYTES: usize = 4_096;
/// How many frames may be late at once.
const MAX_LATE: usize = 4;

/// Until when a device's line is poor.
#[derive(Debug, Default)]
pub(crate) struct Weather(Mutex<Option<Instant>>);

impl Weather {
    /// From now on, for so long.
    pub(crate) fn turn_poor(&self, lasts: Duration) {
        let until = Instant::now().checked_add(lasts);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    pub(crate) fn is_poor(&self) -> bool {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }
}

/// One direction of a line.
#[derive(Debug)]
pub(crate) struct Poor {
    random: Random,
    frame: Vec<u8>,
    late: VecDeque<Vec<u8>>,
}

impl Poor {
    pub(crate) fn new(random: Random) -> Self {
        Self {
            random,
            frame: Vec::new(),
            late: VecDeque::new(),
        }
    }

    /// What comes out of the line for `bytes` that go in, at the end of `out`.
    pub(crate) fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for byte in bytes {
            self.frame.push(*byte);
            if *byte == 0 {
                let frame = std::mem::take(&mut self.frame);
                self.carry(frame, out);
            } else if self.frame.len() >= MAX_HELD_BYTES {
                out.append(&mut self.frame);
            }
        }
    }

    /// What is still held back, when the line is good again.
    pub(crate) fn drain(&mut self, out: &mut Vec<u8>) {
        out.extend(self.late.drain(..).flatten());
        out.append(&mut self.frame);
    }

    fn carry(&mut self, mut frame: Vec<u8>, out: &mut Vec<u8>) {
        // The zero in front of a frame.
        if frame.len() == 1 {
            return out.append(&mut frame);
        }
        if self.chance(LOST) {
            return;
        }
        if self.chance(DAMAGED)
            && let Some(at) = self.random.index(8 * frame.len())
            && let Some(byte) = frame.get_mut(at / 8)
        {
            *byte ^= 1 << (at % 8);
        }
        if self.late.len() < MAX_LATE && self.chance(LATE) {
            return self.late.push_back(frame);
        }
        out.extend_from_slice(&frame);
        if self.chance(REPEATED) {
            out.extend_from_slice(&frame);
        }
        out.extend(self.late.pop_front().into_iter().flatten());
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.random.bits() % 100 < percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_each_of_what_it_does_and_holds_little() {
        let mut line = Poor::new(Random::new(7, "line"));
        let mut out = Vec::new();
        for n in 0..10_000u32 {
            let frame = format!("\0{n:05}\0");
            line.pass(frame.as_bytes(), &mut out);
            assert!(line.late.len() <= MAX_LATE);
        }
        let frames: Vec<u32> = out
            .split(|byte| *byte == 0)
            .filter_map(|frame| std::str::from_utf8(frame).ok()?.parse().ok())
            .collect();
        let mut once = frames.clone();
        once.sort_unstable();
        once.dedup();
        let came = once.len();
        assert!((8_000..9_200).contains(&came), "{came} came undamaged");
        assert!(frames.len() > came + 200, "some came twice");
        assert!(!frames.is_sorted(), "some came late");
        // Without an end nothing is held for ever.
        line.pass(&[7; 3 * MAX_HELD_BYTES], &mut out);
        assert!(line.frame.len() < MAX_HELD_BYTES);
        line.drain(&mut out);
        assert!(line.frame.is_empty() && line.late.is_empty());
    }

    #[test]
    fn the_weather_turns_again() {
        let weather = Weather::default();
        assert!(!weather.is_poor());
        weather.turn_poor(Duration::from_secs(60));
        assert!(weather.is_poor());
        weather.turn_poor(Duration::ZERO);
        assert!(!weather.is_poor());
    }
}
