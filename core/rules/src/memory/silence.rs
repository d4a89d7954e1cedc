//! What absence remembers: when the device was last heard.

use minicbor::{Decode, Encode};

use super::saved;
use crate::{Absence, Cause, Change, Clearing, Error, Finite, Firing, Observation};

/// The kind's number in saved states.
const KIND: u8 = 1;

/// When a device was last heard, and whether that has been told to be too long ago.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Silence {
    #[n(0)]
    heard_us: Option<i64>,
    #[n(1)]
    absent: bool,
}

impl Silence {
    /// Takes a sign of life. A device is heard when its sample is received: what it
    /// measured an hour ago and sends now is no silence of an hour.
    pub(crate) fn observe(&mut self, asked: Absence, sample: &Observation<'_>) -> Option<Change> {
        let heard_us = sample.time_us.max(sample.received_us);
        let before = std::mem::replace(
            self,
            Self {
                heard_us: Some(heard_us),
                absent: false,
            },
        );
        let since_us = before.heard_us.filter(|_| before.absent)?;
        Some(Change::Cleared(Clearing {
            since_us,
            // Also when the clock of the receiver was set back.
            at_us: heard_us.max(due(asked, since_us)),
            value: Finite::of(&sample.value),
            cause: sample.cause,
        }))
    }

    /// Whether the silence has been told and goes on.
    pub(crate) const fn is_absent(&self) -> bool {
        self.absent
    }

    /// When it has to be said, µs.
    pub(crate) fn due_us(&self, asked: Absence) -> Option<i64> {
        let heard_us = self.heard_us.filter(|_| !self.absent)?;
        Some(due(asked, heard_us))
    }

    /// Lets time pass.
    pub(crate) fn advance(&mut self, asked: Absence, now_us: i64) -> Option<Change> {
        let since_us = self.heard_us.filter(|_| !self.absent)?;
        let at_us = due(asked, since_us);
        if at_us > now_us {
            return None;
        }
        self.absent = true;
        Some(Change::Fired(Firing {
            since_us,
            at_us,
            value: None,
            cause: Cause::Silence { since_us },
        }))
    }

    pub(crate) fn encode(&self, asked: Absence, out: &mut Vec<u8>) {
        saved::write(KIND, &asked.silence_us(), self, out);
    }

    /// Fresh if it was gathered under another condition.
    pub(crate) fn decode(asked: Absence, bytes: &[u8]) -> Result<Self, Error> {
        Ok(saved::read(KIND, &asked.silence_us(), bytes)?.unwrap_or_default())
    }
}

const fn due(asked: Absence, heard_us: i64) -> i64 {
    heard_us.saturating_add(asked.silence_us())
}

#[cfg(test)]
mod tests {
    use stencil_protocol::sample::Value;

    use super::*;

    fn minute() -> Absence {
        Absence::new(60_000_000).unwrap()
    }

    fn heard(time_us: i64, received_us: i64) -> Observation<'static> {
        Observation {
            device: "a",
            name: "t",
            time_us,
            received_us,
            value: Value::Text("here"),
            unit: None,
            cause: Cause::Timed { time_us },
        }
    }

    #[test]
    fn a_silence_is_told_once_and_ends_with_the_next_sample() {
        let mut silence = Silence::default();
        assert_eq!(silence.due_us(minute()), None, "not heard yet");
        assert_eq!(silence.advance(minute(), i64::MAX), None);
        assert_eq!(silence.observe(minute(), &heard(5, 7)), None);
        assert_eq!(silence.due_us(minute()), Some(60_000_007));
        assert_eq!(silence.advance(minute(), 60_000_006), None);
        let Some(Change::Fired(fired)) = silence.advance(minute(), 90_000_000) else {
            panic!()
        };
        assert_eq!((fired.since_us, fired.at_us), (7, 60_000_007));
        assert_eq!(fired.cause, Cause::Silence { since_us: 7 });
        assert_eq!(silence.advance(minute(), i64::MAX), None);
        let Some(Change::Cleared(cleared)) =
            silence.observe(minute(), &heard(10_000_000, 95_000_000))
        else {
            panic!()
        };
        assert_eq!((cleared.since_us, cleared.at_us), (7, 95_000_000));
        assert_eq!(silence.due_us(minute()), Some(155_000_000));
    }

    #[test]
    fn a_clock_set_back_ends_no_silence_before_it_began() {
        let mut silence = Silence::default();
        silence.observe(minute(), &heard(100_000_000, 100_000_000));
        silence.advance(minute(), 200_000_000);
        let cleared = silence.observe(minute(), &heard(50_000_000, 50_000_000));
        assert_eq!(cleared.map(|change| change.at_us()), Some(160_000_000));
        assert_eq!(silence.due_us(minute()), Some(110_000_000));
    }

    #[test]
    fn the_end_of_time_is_no_overflow() {
        let mut silence = Silence::default();
        silence.observe(minute(), &heard(i64::MAX, i64::MAX));
        assert_eq!(silence.due_us(minute()), Some(i64::MAX));
        assert!(silence.advance(minute(), i64::MAX).is_some());
        assert_eq!(silence.due_us(minute()), None);
        silence.observe(minute(), &heard(i64::MIN, i64::MIN));
        assert!(silence.advance(minute(), i64::MIN + 60_000_000).is_some());
    }
}
