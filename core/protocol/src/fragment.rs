//! Long messages in parts, over a line that loses, repeats and reorders frames.
//!
//! ```text
//! fragment = id u32 ‖ ask bit, index (7 bits) ‖ total u8 ‖ length u16 ‖ part
//! received = id u32 ‖ total u8 ‖ bitmap u32, bit i for fragment i
//! ```
//! All integers are big-endian. `length` is the message's, of which fragment i
//! holds the bytes from i · ⌈length / total⌉ on: so each says by itself where it
//! belongs, and a line picks the size that its frames can have. The frame's
//! CRC-32C tells a damaged one.
//!
//! A sender writes all that is missing and asks with the last of it; the answer
//! tells by bitmap what has come, and only the rest goes again. When no answer
//! comes, it asks again with one fragment, after twice the time, up to four times. What may be sent
//! in all is bounded, so that answers that somebody repeats cost little.
//!
//! Both sides are state machines without a buffer, a clock or I/O: the message
//! stays where its owner has it, time is told.

/// What a fragment has in front of its part.
pub const HEADER_BYTES: usize = 8;
/// The most fragments of a message.
pub const MAX_FRAGMENTS: u8 = 32;
/// The longest message in bytes.
pub const MAX_MESSAGE_BYTES: usize = 1344;
/// The smallest part that a sender makes, in bytes, so that [`MAX_FRAGMENTS`] do.
pub const MIN_PART_BYTES: u16 = 42;
/// The length of a [`Received`].
pub const RECEIVED_BYTES: usize = 9;

const ASK: u8 = 0x80;
/// How often each fragment may go on average, before the sender gives up.
const SENDS_PER_FRAGMENT: u16 = 8;
/// The wait for an answer is doubled so often at most.
const DOUBLINGS_MAX: u8 = 2;

/// What is wrong with a fragment or with what is told of some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is shorter than its header, or longer than it says.
    #[error("a fragment has a header of {HEADER_BYTES} bytes and the part that it tells of")]
    Length,
    /// No message has this many fragments, this length, or a fragment here.
    #[error(
        "no message of 1 to {MAX_MESSAGE_BYTES} bytes has such a fragment (at most {MAX_FRAGMENTS})"
    )]
    Shape,
    /// It is of the message that is being read, but tells another length.
    #[error("fragments of one message differ in the length that they tell")]
    Changed,
    /// The buffer that the caller gave is too small.
    #[error("the buffer is too small")]
    Space,
}

/// How a message is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    length: u16,
    total: u8,
}

impl Cut {
    /// For parts of at most `part_bytes`.
    fn of(length: usize, part_bytes: u16) -> Result<Self, Error> {
        let length = u16::try_from(length)
            .ok()
            .filter(|length| (1..=MAX_MESSAGE_BYTES).contains(&usize::from(*length)))
            .ok_or(Error::Shape)?;
        let wanted = length.div_ceil(part_bytes.max(MIN_PART_BYTES));
        // Parts of even size may need fewer.
        let total = length.div_ceil(length.div_ceil(wanted));
        let total = u8::try_from(total).map_err(|_| Error::Shape)?;
        Ok(Self { length, total })
    }

    fn check(self) -> Result<(), Error> {
        let length = usize::from(self.length);
        let fits = (1..=MAX_MESSAGE_BYTES).contains(&length)
            && (1..=MAX_FRAGMENTS).contains(&self.total)
            // The last one holds something.
            && usize::from(self.total - 1) * self.part_bytes() < length;
        if fits { Ok(()) } else { Err(Error::Shape) }
    }

    fn part_bytes(self) -> usize {
        usize::from(self.length.div_ceil(u16::from(self.total.max(1))))
    }

    fn range(self, index: u8) -> core::ops::Range<usize> {
        let from = usize::from(index) * self.part_bytes();
        let to = from + self.part_bytes();
        from..to.min(usize::from(self.length))
    }

    fn all(self) -> u32 {
        u32::MAX >> (32 - u32::from(self.total.clamp(1, MAX_FRAGMENTS)))
    }
}

/// A fragment as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    id: u32,
    index: u8,
    asks: bool,
    cut: Cut,
    part: &'a [u8],
}

impl<'a> Fragment<'a> {
    /// Reads the payload of a frame.
    ///
    /// # Errors
    /// [`Error::Length`] and [`Error::Shape`].
    pub fn parse(payload: &'a [u8]) -> Result<Self, Error> {
        let (header, part) = payload
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(Error::Length)?;
        let &[a, b, c, d, index, total, high, low] = header;
        let cut = Cut {
            length: u16::from_be_bytes([high, low]),
            total,
        };
        cut.check()?;
        let (asks, index) = (index & ASK != 0, index & !ASK);
        if index >= total {
            return Err(Error::Shape);
        }
        if part.len() != cut.range(index).len() {
            return Err(Error::Length);
        }
        let id = u32::from_be_bytes([a, b, c, d]);
        Ok(Self {
            id,
            index,
            asks,
            cut,
            part,
        })
    }

    /// Which message it is of.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Whether the sender wants to know what has come.
    pub fn asks(&self) -> bool {
        self.asks
    }
}

/// Which fragments of a message have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    id: u32,
    total: u8,
    bitmap: u32,
}

impl Received {
    /// Reads the payload of a frame.
    ///
    /// # Errors
    /// [`Error::Length`] and [`Error::Shape`].
    pub fn parse(payload: &[u8]) -> Result<Self, Error> {
        let payload: &[u8; RECEIVED_BYTES] = payload.try_into().map_err(|_| Error::Length)?;
        let &[a, b, c, d, total, e, f, g, h] = payload;
        if !(1..=MAX_FRAGMENTS).contains(&total) {
            return Err(Error::Shape);
        }
        Ok(Self {
            id: u32::from_be_bytes([a, b, c, d]),
            total,
            bitmap: u32::from_be_bytes([e, f, g, h]),
        })
    }

    /// The payload of its frame.
    pub fn to_bytes(self) -> [u8; RECEIVED_BYTES] {
        let [a, b, c, d] = self.id.to_be_bytes();
        let [e, f, g, h] = self.bitmap.to_be_bytes();
        [a, b, c, d, self.total, e, f, g, h]
    }

    /// Which message it is about.
    pub fn id(&self) -> u32 {
        self.id
    }
}

/// A message on its way out.
#[derive(Clone, Debug)]
pub struct Sender {
    id: u32,
    cut: Cut,
    /// What the receiver has not told of yet.
    missing: u32,
    /// What of it is still to be written in this turn.
    turn: u32,
    /// How many more fragments may be written.
    left: u16,
    wait_us: u64,
    doublings: u8,
    ask_again_us: u64,
}

impl Sender {
    /// A message of `length` bytes, in parts of at most `part_bytes` (at least
    /// [`MIN_PART_BYTES`]); an answer is waited for `wait_us` at first.
    ///
    /// # Errors
    /// [`Error::Shape`] when the message is empty or too long.
    pub fn new(id: u32, length: usize, part_bytes: u16, wait_us: u64) -> Result<Self, Error> {
        let cut = Cut::of(length, part_bytes)?;
        Ok(Self {
            id,
            cut,
            missing: cut.all(),
            turn: cut.all(),
            left: u16::from(cut.total) * SENDS_PER_FRAGMENT,
            wait_us,
            doublings: 0,
            ask_again_us: 0,
        })
    }

    /// Which message it is.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Whether all of it has come.
    pub fn is_done(&self) -> bool {
        self.missing == 0
    }

    /// The rest need not be sent: the other side has shown that it has all.
    pub fn finish(&mut self) {
        (self.missing, self.turn) = (0, 0);
    }

    /// When [`Sender::next`] has something to write; nothing when all has come or
    /// it has given up.
    pub fn due_us(&self) -> Option<u64> {
        if self.is_done() || self.left == 0 {
            None
        } else if self.turn != 0 {
            Some(0)
        } else {
            Some(self.ask_again_us)
        }
    }

    /// Writes the frame payload of the next fragment of `message`, if one is due;
    /// says how long it is.
    ///
    /// # Errors
    /// [`Error::Space`] when `out` is too small, [`Error::Length`] when `message` is
    /// not the one that this was made for. The fragment is then still to be sent.
    pub fn next(
        &mut self,
        message: &[u8],
        now_us: u64,
        out: &mut [u8],
    ) -> Result<Option<usize>, Error> {
        match self.due_us() {
            Some(due_us) if due_us <= now_us => {}
            _ => return Ok(None),
        }
        let turn = if self.turn == 0 {
            // Nobody answers: ask with one fragment, the last that is missing.
            1 << self.missing.ilog2()
        } else {
            self.turn
        };
        let index = u8::try_from(turn.trailing_zeros()).unwrap_or(0);
        let part = message
            .get(self.cut.range(index))
            .filter(|_| message.len() == usize::from(self.cut.length))
            .ok_or(Error::Length)?;
        let length = HEADER_BYTES + part.len();
        let (header, body) = out
            .get_mut(..length)
            .and_then(|out| out.split_first_chunk_mut::<HEADER_BYTES>())
            .ok_or(Error::Space)?;
        let rest = turn & (turn - 1);
        let ask = if rest == 0 { ASK } else { 0 };
        let [a, b, c, d] = self.id.to_be_bytes();
        let [high, low] = self.cut.length.to_be_bytes();
        *header = [a, b, c, d, index | ask, self.cut.total, high, low];
        body.copy_from_slice(part);
        if rest == 0 {
            self.ask_again_us = now_us.saturating_add(self.wait_us << self.doublings);
            self.doublings = (self.doublings + 1).min(DOUBLINGS_MAX);
        }
        self.turn = rest;
        self.left -= 1;
        Ok(Some(length))
    }

    /// Takes what the receiver tells; what is of another message changes nothing.
    pub fn received(&mut self, told: &Received) {
        if told.id != self.id || told.total != self.cut.total {
            return;
        }
        let before = self.missing;
        self.missing &= !told.bitmap;
        if self.missing != before {
            self.doublings = 0;
        }
        // In the middle of a turn, its last fragment asks anyway.
        self.turn = if self.turn == 0 {
            self.missing
        } else {
            self.turn & self.missing
        };
        if self.turn == 0 {
            self.turn = self.missing;
        }
    }
}

/// What a fragment led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Some are missing.
    Partial,
    /// With this one the message is whole; it has so many bytes.
    Whole(usize),
    /// It had come before.
    Repeated,
}

/// A message on its way in: at most one, in the caller's buffer.
#[derive(Clone, Debug, Default)]
pub struct Assembly {
    current: Option<Incoming>,
}

#[derive(Clone, Copy, Debug)]
struct Incoming {
    id: u32,
    cut: Cut,
    have: u32,
    since_us: u64,
}

impl Assembly {
    /// One that waits for a message.
    pub const fn new() -> Self {
        Self { current: None }
    }

    /// Which message is being read, or was read last.
    pub fn id(&self) -> Option<u32> {
        self.current.map(|current| current.id)
    }

    /// Forgets the message.
    pub fn clear(&mut self) {
        self.current = None;
    }

    /// Whether fragments are missing of a message that began more than `limit_us`
    /// ago: time to forget it.
    pub fn is_stale(&self, now_us: u64, limit_us: u64) -> bool {
        self.current.is_some_and(|current| {
            current.have != current.cut.all() && now_us >= current.since_us.saturating_add(limit_us)
        })
    }

    /// Puts a fragment to its place in `buffer`. One of another message takes the
    /// place of the message that is there: the caller knows which ids it waits for.
    /// The buffer is not touched for a message that is whole already.
    ///
    /// # Errors
    /// [`Error::Changed`], [`Error::Space`]; nothing has then changed.
    pub fn take(
        &mut self,
        fragment: &Fragment<'_>,
        now_us: u64,
        buffer: &mut [u8],
    ) -> Result<Progress, Error> {
        let mut incoming = match self.current {
            Some(current) if current.id == fragment.id => current,
            _ => Incoming {
                id: fragment.id,
                cut: fragment.cut,
                have: 0,
                since_us: now_us,
            },
        };
        if incoming.cut != fragment.cut {
            return Err(Error::Changed);
        }
        let bit = 1u32 << (fragment.index & 31);
        if incoming.have & bit != 0 {
            return Ok(Progress::Repeated);
        }
        if buffer.len() < usize::from(incoming.cut.length) {
            return Err(Error::Space);
        }
        buffer
            .get_mut(incoming.cut.range(fragment.index))
            .ok_or(Error::Space)?
            .copy_from_slice(fragment.part);
        incoming.have |= bit;
        self.current = Some(incoming);
        Ok(if incoming.have == incoming.cut.all() {
            Progress::Whole(usize::from(incoming.cut.length))
        } else {
            Progress::Partial
        })
    }

    /// What to tell the sender.
    pub fn received(&self) -> Option<Received> {
        self.current.map(|current| Received {
            id: current.id,
            total: current.cut.total,
            bitmap: current.have,
        })
    }
}

#[cfg(test)]
mod tests {
    #[cfg(not(feature = "std"))]
    extern crate std;
    use std::vec::Vec;

    use super::*;

    #[test]
    fn every_length_is_cut_into_parts_that_hold_it_all() {
        for length in 1..=MAX_MESSAGE_BYTES {
            for part_bytes in [0, 42, 64, 100, 256, 1_100, u16::MAX] {
                let cut = Cut::of(length, part_bytes).unwrap();
                cut.check().unwrap();
                let mut next = 0;
                for index in 0..cut.total {
                    let range = cut.range(index);
                    assert_eq!(range.start, next);
                    assert!(!range.is_empty() && range.len() <= part_bytes.max(42).into());
                    next = range.end;
                }
                assert_eq!(next, length);
            }
        }
        assert_eq!(Cut::of(0, 64), Err(Error::Shape));
        assert_eq!(Cut::of(MAX_MESSAGE_BYTES + 1, 64), Err(Error::Shape));
    }

    fn fragments(message: &[u8], sender: &mut Sender, now_us: u64) -> Vec<Vec<u8>> {
        let mut out = [0; 300];
        let mut sent = Vec::new();
        while let Some(length) = sender.next(message, now_us, &mut out).unwrap() {
            sent.push(out[..length].to_vec());
        }
        sent
    }

    #[test]
    fn only_what_is_missing_goes_again() {
        let message: Vec<u8> = (0..1_000u16).map(|n| n.to_be_bytes()[1]).collect();
        let mut sender = Sender::new(7, message.len(), 100, 50).unwrap();
        let (mut assembly, mut buffer) = (Assembly::new(), [0; 1_000]);
        let first = fragments(&message, &mut sender, 0);
        assert_eq!(first.len(), 10);
        for (index, payload) in first.iter().enumerate() {
            let fragment = Fragment::parse(payload).unwrap();
            assert_eq!(fragment.asks(), index == 9);
            if index % 4 != 1 {
                assembly.take(&fragment, 0, &mut buffer).unwrap();
            }
        }
        let told = assembly.received().unwrap();
        assert_eq!(Received::parse(&told.to_bytes()), Ok(told));
        sender.received(&told);
        let again = fragments(&message, &mut sender, 1);
        let indices: Vec<u8> = again.iter().map(|payload| payload[4] & 0x7f).collect();
        assert_eq!(indices, [1, 5, 9]);
        for payload in &again[..2] {
            let fragment = Fragment::parse(payload).unwrap();
            assert_eq!(
                assembly.take(&fragment, 0, &mut buffer),
                Ok(Progress::Partial)
            );
        }
        let last = Fragment::parse(&again[2]).unwrap();
        assert_eq!(
            assembly.take(&last, 0, &mut buffer),
            Ok(Progress::Whole(1_000))
        );
        assert_eq!(assembly.take(&last, 0, &mut []), Ok(Progress::Repeated));
        assert_eq!(buffer[..], message);
        sender.received(&assembly.received().unwrap());
        assert!(sender.is_done());
        assert_eq!(sender.due_us(), None);
    }

    #[test]
    fn a_sender_asks_again_more_and_more_rarely_and_then_gives_up() {
        let message = [5; 200];
        let mut sender = Sender::new(7, 200, 100, 50).unwrap();
        assert_eq!(fragments(&message, &mut sender, 0).len(), 2);
        let mut asked_at = Vec::new();
        for now_us in 0..1_000_000 {
            let sent = fragments(&message, &mut sender, now_us);
            assert!(sent.len() <= 1);
            if let Some(payload) = sent.first() {
                assert!(Fragment::parse(payload).unwrap().asks());
                asked_at.push(now_us);
            }
        }
        assert_eq!(asked_at[..5], [50, 150, 350, 550, 750]);
        assert_eq!(asked_at.len(), 14, "and never again");
        assert_eq!((sender.due_us(), sender.is_done()), (None, false));
    }

    #[test]
    fn what_is_told_of_other_messages_changes_nothing() {
        let message = [5; 200];
        let mut sender = Sender::new(7, 200, 100, 50).unwrap();
        fragments(&message, &mut sender, 0);
        for bytes in [
            [0, 0, 0, 8, 2, 0xff, 0xff, 0xff, 0xff],
            [0, 0, 0, 7, 3, 0xff, 0xff, 0xff, 0xff],
        ] {
            sender.received(&Received::parse(&bytes).unwrap());
            assert!(!sender.is_done());
            assert_eq!(sender.due_us(), Some(50));
        }
    }

    #[test]
    fn fragments_that_contradict_themselves_or_each_other_are_refused() {
        let parse = |payload: &[u8]| Fragment::parse(payload).map(|_| ());
        assert_eq!(parse(&[0; 7]), Err(Error::Length));
        assert_eq!(parse(&[0, 0, 0, 1, 0, 0, 0, 1, 9]), Err(Error::Shape));
        assert_eq!(parse(&[0, 0, 0, 1, 0, 33, 1, 0, 9]), Err(Error::Shape));
        assert_eq!(parse(&[0, 0, 0, 1, 1, 1, 0, 1, 9]), Err(Error::Shape));
        assert_eq!(parse(&[0, 0, 0, 1, 0, 1, 0, 2, 9]), Err(Error::Length));
        assert_eq!(parse(&[0, 0, 0, 1, 0, 1, 0xff, 0xff, 9]), Err(Error::Shape));
        // Four parts of two bytes hold more than five: the last would be empty.
        assert_eq!(parse(&[0, 0, 0, 1, 0, 4, 0, 5, 9, 9]), Err(Error::Shape));
        assert_eq!(parse(&[0, 0, 0, 1, 0, 3, 0, 5, 9, 9]), Ok(()));
        assert_eq!(Received::parse(&[0; 9]), Err(Error::Shape));
        assert_eq!(Received::parse(&[1; 8]), Err(Error::Length));

        let mut assembly = Assembly::new();
        let one = [0, 0, 0, 1, 0, 3, 0, 5, 9, 9];
        let other = [0, 0, 0, 1, 1, 2, 0, 5, 9, 9];
        let take = |assembly: &mut Assembly, bytes: &[u8], buffer: &mut [u8]| {
            assembly.take(&Fragment::parse(bytes).unwrap(), 3, buffer)
        };
        assert_eq!(take(&mut assembly, &one, &mut [0; 4]), Err(Error::Space));
        assert_eq!(assembly.id(), None);
        assert_eq!(
            take(&mut assembly, &one, &mut [0; 5]),
            Ok(Progress::Partial)
        );
        assert_eq!(
            take(&mut assembly, &other, &mut [0; 5]),
            Err(Error::Changed)
        );
        assert!(assembly.is_stale(13, 10) && !assembly.is_stale(12, 10));
    }
}
