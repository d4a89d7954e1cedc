//! The samples that wait for the gateway's acknowledgement: a ring of bytes.
//!
//! Samples lie in it one behind the other in the order of their numbers, each
//! with its length in front, so that hundreds of small ones take no more room
//! than they need. When a new sample does not fit, the oldest go; what went is
//! the gap between the last acknowledged number and the oldest one here, so
//! nothing else has to be remembered about it.

use core::ops::ControlFlow;
use core::str::from_utf8;

use stencil_protocol::id::Seq;
use stencil_protocol::sample::{MAX_NAME, MAX_TEXT, MAX_UNIT, Sample, Value};

use crate::clock::Stamp;

/// The most that one sample takes in the buffer, in bytes.
pub const MAX_ENTRY_BYTES: usize = PREFIX + STAMP + 1 + MAX_NAME + 1 + MAX_UNIT + 1 + MAX_TEXT;

/// The length of an entry, in front of it.
const PREFIX: usize = 2;
/// The time's kind and the time.
const STAMP: usize = 1 + 8;
/// A unit's length that means that there is none.
const NO_UNIT: u8 = u8::MAX;

/// Numbered samples, oldest first, in `N` bytes.
#[derive(Debug)]
pub(crate) struct Ring<const N: usize> {
    bytes: [u8; N],
    head: usize,
    used: usize,
    samples: u64,
    /// The number of the newest sample that was ever pushed.
    newest: u64,
}

impl<const N: usize> Ring<N> {
    const LARGE_ENOUGH: () = assert!(N >= 2 * MAX_ENTRY_BYTES, "the buffer holds no two samples");

    /// An empty ring; the first sample gets the number after `last`.
    pub(crate) fn new(last: Seq) -> Self {
        let () = Self::LARGE_ENOUGH;
        Self {
            bytes: [0; N],
            head: 0,
            used: 0,
            samples: 0,
            newest: last.0,
        }
    }

    /// How many samples wait.
    pub(crate) fn len(&self) -> u64 {
        self.samples
    }

    /// How many bytes they take.
    pub(crate) fn used_bytes(&self) -> usize {
        self.used
    }

    /// The number of the oldest sample here, or of the next one.
    pub(crate) fn oldest(&self) -> Seq {
        Seq(self.newest - self.samples + 1)
    }

    /// Whether `samples` of the largest kind fit without dropping any.
    pub(crate) fn has_room_for(&self, samples: usize) -> bool {
        N - self.used >= samples.saturating_mul(MAX_ENTRY_BYTES)
    }

    /// Adds the sample with the next number; it has passed `Sample::check`.
    /// `sample.time_us` is ignored for `stamp`. Returns how many old ones went.
    pub(crate) fn push(&mut self, sample: &Sample<'_>, stamp: Stamp) -> u64 {
        let mut entry = [0; MAX_ENTRY_BYTES];
        let length = encode(sample, stamp, &mut entry);
        let mut dropped = 0;
        while N - self.used < length {
            self.pop();
            dropped += 1;
        }
        let at = self.head + self.used;
        self.copy_in(at, entry.get(..length).unwrap_or(&[]));
        self.used += length;
        self.samples += 1;
        self.newest += 1;
        dropped
    }

    /// Forgets all samples up to `through`.
    pub(crate) fn release(&mut self, through: Seq) {
        while self.samples > 0 && self.oldest() <= through {
            self.pop();
        }
    }

    /// Shows the samples in order until `show` breaks. Samples with the
    /// counter's time are shown with that time.
    pub(crate) fn visit(&self, mut show: impl FnMut(Seq, &Sample<'_>) -> ControlFlow<()>) {
        let mut at = self.head;
        let mut seq = self.oldest();
        let mut entry = [0; MAX_ENTRY_BYTES];
        for _ in 0..self.samples {
            let length = self.length(at);
            let held = entry.get_mut(..length).unwrap_or_default();
            self.copy_out(at, held);
            let flow = decode(held).map(|(sample, _)| show(seq, &sample));
            if !matches!(flow, Some(ControlFlow::Continue(()))) {
                return;
            }
            at += length;
            seq = Seq(seq.0 + 1);
        }
    }

    /// Writes the true time on all samples that have the counter's.
    pub(crate) fn correct(&mut self, offset_us: i64) {
        let mut at = self.head;
        for _ in 0..self.samples {
            let length = self.length(at);
            let mut stamp = [0; STAMP];
            self.copy_out(at + PREFIX, &mut stamp);
            if let Some((Stamp::Counter(counter_us), _)) = read_stamp(&stamp) {
                write_stamp(
                    Stamp::Wall(counter_us.saturating_add(offset_us)),
                    &mut stamp,
                );
                self.copy_in(at + PREFIX, &stamp);
            }
            at += length;
        }
    }

    fn pop(&mut self) {
        let length = self.length(self.head).min(self.used);
        self.head = (self.head + length) % N;
        self.used -= length;
        self.samples = self.samples.saturating_sub(1);
    }

    fn length(&self, at: usize) -> usize {
        let mut prefix = [0; PREFIX];
        self.copy_out(at, &mut prefix);
        usize::from(u16::from_le_bytes(prefix)).min(MAX_ENTRY_BYTES)
    }

    fn copy_in(&mut self, at: usize, from: &[u8]) {
        let at = at % N;
        let (first, second) = from.split_at(from.len().min(N - at));
        self.bytes[at..at + first.len()].copy_from_slice(first);
        self.bytes[..second.len()].copy_from_slice(second);
    }

    fn copy_out(&self, at: usize, to: &mut [u8]) {
        let at = at % N;
        let (first, second) = to.split_at_mut(to.len().min(N - at));
        first.copy_from_slice(&self.bytes[at..at + first.len()]);
        second.copy_from_slice(&self.bytes[..second.len()]);
    }
}

fn write_stamp(stamp: Stamp, out: &mut [u8; STAMP]) {
    let (kind, time) = match stamp {
        Stamp::Wall(time) => (0, time),
        Stamp::Counter(time) => (1, time),
    };
    out[0] = kind;
    out[1..].copy_from_slice(&time.to_le_bytes());
}

fn read_stamp(entry: &[u8]) -> Option<(Stamp, &[u8])> {
    let (stamp, rest) = entry.split_first_chunk::<STAMP>()?;
    let time = i64::from_le_bytes(*stamp.last_chunk::<8>()?);
    let stamp = if stamp[0] == 0 {
        Stamp::Wall(time)
    } else {
        Stamp::Counter(time)
    };
    Some((stamp, rest))
}

/// Puts bytes behind each other.
struct Pen<'b> {
    out: &'b mut [u8; MAX_ENTRY_BYTES],
    at: usize,
}

impl Pen<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    /// A text of fewer than 255 bytes, its length in front.
    fn short(&mut self, text: &str) {
        self.bytes(&[u8::try_from(text.len()).unwrap_or(u8::MAX)]);
        self.bytes(text.as_bytes());
    }
}

/// Length, stamp, name, unit, the value's kind, the value up to the end.
fn encode(sample: &Sample<'_>, stamp: Stamp, out: &mut [u8; MAX_ENTRY_BYTES]) -> usize {
    let mut pen = Pen { out, at: PREFIX };
    let mut stamped = [0; STAMP];
    write_stamp(stamp, &mut stamped);
    pen.bytes(&stamped);
    pen.short(sample.name);
    match sample.unit {
        Some(unit) => pen.short(unit),
        None => pen.bytes(&[NO_UNIT]),
    }
    match sample.value {
        Value::Number(n) => {
            pen.bytes(&[0]);
            pen.bytes(&n.to_le_bytes());
        }
        Value::Integer(n) => {
            pen.bytes(&[1]);
            pen.bytes(&n.to_le_bytes());
        }
        Value::Bool(b) => pen.bytes(&[2, u8::from(b)]),
        Value::Text(text) => {
            pen.bytes(&[3]);
            pen.bytes(text.as_bytes());
        }
    }
    let length = pen.at;
    out[..PREFIX].copy_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
    length
}

fn decode(entry: &[u8]) -> Option<(Sample<'_>, Stamp)> {
    let (stamp, rest) = read_stamp(entry.get(PREFIX..)?)?;
    let (&name_length, rest) = rest.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(name_length))?;
    let (&unit_length, rest) = rest.split_first()?;
    let (unit, rest) = match unit_length {
        NO_UNIT => (None, rest),
        length => {
            let (unit, rest) = rest.split_at_checked(usize::from(length))?;
            (Some(from_utf8(unit).ok()?), rest)
        }
    };
    let (&kind, rest) = rest.split_first()?;
    let value = match kind {
        0 => Value::Number(f64::from_le_bytes(*rest.first_chunk()?)),
        1 => Value::Integer(i64::from_le_bytes(*rest.first_chunk()?)),
        2 => Value::Bool(*rest.first()? != 0),
        _ => Value::Text(from_utf8(rest).ok()?),
    };
    let (Stamp::Wall(time_us) | Stamp::Counter(time_us)) = stamp;
    Some((
        Sample {
            name: from_utf8(name).ok()?,
            value,
            unit,
            time_us,
        },
        stamp,
    ))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::string::String;
    use std::vec::Vec;

    fn number(value: f64) -> Sample<'static> {
        Sample {
            name: "temperature",
            value: Value::Number(value),
            unit: Some("degC"),
            time_us: 0,
        }
    }

    fn seqs<const N: usize>(ring: &Ring<N>) -> Vec<u64> {
        let mut seen = Vec::new();
        ring.visit(|seq, _| {
            seen.push(seq.0);
            ControlFlow::Continue(())
        });
        seen
    }

    #[test]
    fn the_counters_time_is_corrected_in_place() {
        let mut ring = Ring::<1024>::new(Seq(0));
        ring.push(&number(1.0), Stamp::Counter(5));
        ring.push(&number(2.0), Stamp::Wall(7_777));
        ring.correct(1_000_000);
        ring.correct(9_000_000); // only once
        let mut times = Vec::new();
        ring.visit(|_, sample| {
            times.push(sample.time_us);
            ControlFlow::Continue(())
        });
        assert_eq!(times, [1_000_005, 7_777]);
    }

    #[test]
    fn numbers_go_on_after_everything_was_released() {
        let mut ring = Ring::<1024>::new(Seq(40));
        ring.push(&number(1.0), Stamp::Wall(1));
        assert_eq!(ring.oldest(), Seq(41));
        ring.release(Seq(41));
        assert_eq!(ring.oldest(), Seq(42));
        ring.push(&number(1.0), Stamp::Wall(1));
        assert_eq!(seqs(&ring), [42]);
    }

    #[test]
    fn the_largest_sample_fits_exactly() {
        let text = "t".repeat(MAX_TEXT);
        let name = "n".repeat(MAX_NAME);
        let unit = "u".repeat(MAX_UNIT);
        let sample = Sample {
            name: &name,
            value: Value::Text(&text),
            unit: Some(&unit),
            time_us: 3,
        };
        let mut entry = [0; MAX_ENTRY_BYTES];
        assert_eq!(encode(&sample, Stamp::Wall(3), &mut entry), MAX_ENTRY_BYTES);
        assert_eq!(decode(&entry), Some((sample, Stamp::Wall(3))));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push { text: String, time_us: i64 },
        Release { back: u64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => ("[a-z]{0,200}", any::<i64>())
                .prop_map(|(text, time_us)| Step::Push { text, time_us }),
            1 => (0..20_u64).prop_map(|back| Step::Release { back }),
        ]
    }

    proptest! {
        /// Against a list that keeps everything: the ring holds an unbroken
        /// suffix of what was pushed and not released, value by value.
        #[test]
        fn holds_an_unbroken_suffix(steps in prop::collection::vec(step(), 0..200)) {
            let mut ring = Ring::<1000>::new(Seq(0));
            let mut model: VecDeque<(u64, String, i64)> = VecDeque::new();
            let mut last = 0;
            for step in steps {
                match step {
                    Step::Push { text, time_us } => {
                        let sample = Sample {
                            name: "note", value: Value::Text(&text), unit: None, time_us: 0,
                        };
                        let dropped = ring.push(&sample, Stamp::Wall(time_us));
                        last += 1;
                        model.push_back((last, text, time_us));
                        for _ in 0..dropped {
                            model.pop_front();
                        }
                    }
                    Step::Release { back } => {
                        let through = last.saturating_sub(back);
                        ring.release(Seq(through));
                        model.retain(|(seq, ..)| *seq > through);
                    }
                }
                let mut held = Vec::new();
                ring.visit(|seq, sample| {
                    let Value::Text(text) = sample.value else { unreachable!() };
                    held.push((seq.0, String::from(text), sample.time_us));
                    ControlFlow::Continue(())
                });
                prop_assert_eq!(&held[..], &*model.make_contiguous());
                prop_assert_eq!(ring.len(), model.len() as u64);
            }
        }
    }
}
