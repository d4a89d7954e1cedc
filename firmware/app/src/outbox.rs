//! Batches: what goes into the next one, and the one that is on its way.
//!
//! At most one batch is unacknowledged. When its acknowledgement stays out,
//! the next one is made of what the buffer then holds, from the oldest number
//! on: numbers never change, so the hub sees a repetition as one. What the
//! buffer had to drop is the gap between the last acknowledged number and the
//! oldest in the buffer; the header tells it until it is acknowledged.

use core::ops::ControlFlow;

use heapless::Vec;
use stencil_protocol::batch::{self, DropReason, Dropped, Header, PreviousBoot, Writer};
use stencil_protocol::id::{Boot, Seq};

use crate::buffer::Ring;
use crate::config::Config;
use crate::retained::State;

/// The most that one batch takes on the link, in bytes.
pub(crate) const BATCH_BYTES: usize = batch::MAX_LINK_BYTES;
/// So many buffered bytes about fill a batch: it need not wait for more.
const FULL_BATCH_BYTES: usize = 2 * BATCH_BYTES;

struct InFlight {
    through: Seq,
    report: Option<PreviousBoot>,
    empty: bool,
    sent_us: u64,
}

/// The batch that is on its way.
#[derive(Default)]
pub(crate) struct Outbox {
    in_flight: Option<InFlight>,
    /// Sends since the last acknowledgement.
    attempts: u8,
    /// Sends on this link minus acknowledgements on this link.
    unanswered: u32,
    highest_sent: u64,
    last_sent_us: Option<u64>,
}

impl Outbox {
    /// A new link: what was on its way is sent again at once.
    pub(crate) fn link_up(&mut self) {
        self.in_flight = None;
        self.attempts = 0;
        self.unanswered = 0;
        self.last_sent_us = None;
    }

    /// Sends in a row without an acknowledgement.
    pub(crate) fn attempts(&self) -> u8 {
        self.attempts
    }

    /// When the next batch may go, or nothing when there is none to send.
    pub(crate) fn due_us<const N: usize>(
        &self,
        config: &Config,
        ring: &Ring<N>,
        state: &State,
    ) -> Option<u64> {
        if let Some(on_its_way) = &self.in_flight {
            return Some(on_its_way.sent_us.saturating_add(config.resend_us));
        }
        let waiting = ring.len() > 0 || state.has_report() || state.lost_through > state.acked;
        let full =
            ring.len() >= u64::from(config.batch_samples) || ring.used_bytes() >= FULL_BATCH_BYTES;
        match self.last_sent_us {
            _ if !waiting => None,
            Some(last) if !full => Some(last.saturating_add(config.batch_delay_us)),
            _ => Some(0),
        }
    }

    /// Writes the next batch to `out` and takes it as sent at `now_us`.
    pub(crate) fn write<const N: usize>(
        &mut self,
        config: &Config,
        ring: &Ring<N>,
        state: &State,
        now_us: u64,
        out: &mut [u8; BATCH_BYTES],
    ) -> Result<usize, batch::Error> {
        let first = ring.oldest();
        let report = state.previous.first().copied();
        let header = Header {
            boot: state.boot,
            first,
            last_given: state.last_given,
            previous: report,
            dropped: dropped(state, first),
        };
        let mut writer = Writer::new(out, &header)?;
        let mut through = Seq(first.0.saturating_sub(1));
        let mut left = usize::from(config.batch_samples).clamp(1, batch::MAX_SAMPLES);
        ring.visit(|seq, sample| {
            if left == 0 || writer.push(sample).is_err() {
                return ControlFlow::Break(());
            }
            left -= 1;
            through = seq;
            ControlFlow::Continue(())
        });
        let length = writer.finish()?;
        let empty = through < first;
        self.in_flight = Some(InFlight {
            through,
            report,
            empty,
            sent_us: now_us,
        });
        self.last_sent_us = Some(now_us);
        self.attempts = self.attempts.saturating_add(1);
        self.unanswered = self.unanswered.saturating_add(1);
        self.highest_sent = self.highest_sent.max(through.0);
        Ok(length)
    }

    /// The gateway holds all numbers of `boot` up to `through`. Returns
    /// whether that was news.
    pub(crate) fn acknowledged<const N: usize>(
        &mut self,
        boot: Boot,
        through: Seq,
        ring: &mut Ring<N>,
        state: &mut State,
    ) -> bool {
        // A number that was never sent cannot be held: such an acknowledgement
        // is wrong, and to believe it would lose samples.
        if boot != state.boot || through.0 > self.highest_sent {
            return false;
        }
        self.unanswered = self.unanswered.saturating_sub(1);
        let mut news = false;
        if through > state.acked {
            state.acked = through;
            ring.release(through);
            news = true;
        }
        if let Some(on_its_way) = &self.in_flight
            && through >= on_its_way.through
            // An empty batch has the same last number as the one before: only
            // when nothing else is unanswered is this the answer to it. Where
            // answers were lost that never is; the attempts then run out, and
            // a new handshake settles which answers are old.
            && (!on_its_way.empty || self.unanswered == 0)
        {
            if let Some(report) = on_its_way.report {
                news |= state.has_report();
                state.confirm_report(&report);
            }
            self.in_flight = None;
            self.attempts = 0;
        }
        if news {
            self.attempts = 0;
        }
        news
    }
}

/// What is neither acknowledged nor in the buffer, whose oldest is `first`.
fn dropped(state: &State, first: Seq) -> Vec<Dropped, { batch::MAX_DROPPED }> {
    let mut ranges = Vec::new();
    let kept = first.0.saturating_sub(1);
    let lost = state.lost_through.0.min(kept);
    for (after, through, reason) in [
        (state.acked.0, lost, DropReason::Reboot),
        (state.acked.0.max(lost), kept, DropReason::BufferFull),
    ] {
        let mut after = after;
        while after < through && !ranges.is_full() {
            let count = u32::try_from(through - after).unwrap_or(u32::MAX);
            let _ = ranges.push(Dropped {
                first: Seq(after + 1),
                count,
                reason,
            });
            after += u64::from(count);
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Stamp;
    use stencil_crypto::Psk;
    use stencil_protocol::batch::Batch;
    use stencil_protocol::id::DeviceId;
    use stencil_protocol::sample::{Sample, Value};

    const ENDED: PreviousBoot = PreviousBoot {
        boot: Boot(1),
        last: Seq(9),
        acked: Seq(4),
    };

    struct Bench {
        config: Config,
        ring: Ring<1_024>,
        state: State,
        outbox: Outbox,
    }

    impl Bench {
        fn new() -> Self {
            let psk = Psk::from_bytes([7; 32]).unwrap();
            let mut state = State::new(Boot(2));
            state.previous.push(ENDED).unwrap();
            Self {
                config: Config::new(DeviceId::parse("d").unwrap(), psk),
                ring: Ring::new(Seq(0)),
                state,
                outbox: Outbox::default(),
            }
        }

        fn measure(&mut self) {
            let value = Value::Integer(1);
            let sample = Sample {
                name: "n",
                value,
                unit: None,
                time_us: 5,
            };
            self.state.last_given.0 += 1;
            self.ring.push(&sample, Stamp::Wall(5));
        }

        fn send(&mut self) -> (Header, usize) {
            let mut out = [0; BATCH_BYTES];
            let Self {
                config,
                ring,
                state,
                outbox,
            } = self;
            let length = outbox.write(config, ring, state, 0, &mut out).unwrap();
            let batch = Batch::decode(&out[..length]).unwrap();
            (batch.header().clone(), batch.len())
        }

        fn answer(&mut self, through: u64) -> bool {
            let Self {
                ring,
                state,
                outbox,
                ..
            } = self;
            outbox.acknowledged(Boot(2), Seq(through), ring, state)
        }
    }

    #[test]
    fn the_answer_to_an_earlier_batch_confirms_no_empty_one() {
        let mut bench = Bench::new();
        bench.measure();
        bench.send();
        bench.send(); // again: two answers will come
        assert!(bench.answer(1));
        assert!(bench.state.reported);
        // Another boot waits to be reported, without samples.
        bench.state.previous[0].boot = Boot(0);
        bench.state.reported = false;
        assert_eq!(bench.send().1, 0);
        assert!(
            !bench.answer(1),
            "that was the second answer to the first batch"
        );
        assert!(bench.state.has_report());
        assert!(bench.answer(1));
        assert!(!bench.state.has_report());
    }

    #[test]
    fn what_was_never_sent_cannot_be_acknowledged() {
        let mut bench = Bench::new();
        bench.measure();
        assert!(!bench.answer(1));
        bench.send();
        bench.measure();
        assert!(!bench.answer(2));
        assert!(bench.answer(1));
        assert_eq!(bench.state.acked, Seq(1));
    }

    #[test]
    fn the_gap_is_told_by_reason_until_it_is_acknowledged() {
        let mut bench = Bench::new();
        (bench.state.last_given, bench.state.acked) = (Seq(10), Seq(6));
        bench.state.lost_through = Seq(10);
        bench.ring = Ring::new(Seq(10));
        for _ in 0..60 {
            bench.measure();
        }
        let oldest = bench.ring.oldest();
        assert!(oldest > Seq(11), "the ring did not overflow");
        let (header, samples) = bench.send();
        let [lost, full] = header.dropped[..] else {
            panic!("two ranges")
        };
        assert_eq!(
            (lost.first, lost.last(), lost.reason),
            (Seq(7), Seq(10), DropReason::Reboot)
        );
        assert_eq!((full.first, full.reason), (Seq(11), DropReason::BufferFull));
        assert_eq!(full.last().0 + 1, oldest.0);
        assert!(bench.answer(header.first.0 - 1 + samples as u64));
        bench.measure();
        assert!(bench.send().0.dropped.is_empty());
    }
}
