//! The secured link: frames, handshake, records.
//!
//! One frame at a time waits to be written, so a link that stalls costs no
//! memory. On each new byte link a session is resumed or a handshake made, and
//! anew when the gateway refuses or stays silent; after a bounded number of
//! attempts the byte link is given up and the board opens another.
//!
//! The two long messages of a handshake go in fragments; of what the line loses,
//! only that goes again. Both have their place in the buffer that records are
//! written from when the handshake is over: there is no room for one beside it.

mod attempt;

use rand_core::CryptoRng;
use stencil_crypto::link::{HELLO_MAX_BYTES, Resumption, Session};
use stencil_crypto::psk::Psk;
use stencil_protocol::fragment::{Assembly, HEADER_BYTES, MAX_MESSAGE_BYTES, MIN_PART_BYTES};
use stencil_protocol::frame::{self, Decoder, Kind};
use stencil_protocol::link::{Down, MAX_MESSAGE_BYTES as MAX_PLAIN_BYTES, Up};

use self::attempt::{Attempt, Heard};
use crate::board::Link;
use crate::config::Config;

/// How many bytes are taken from the link in one poll at most, in chunks.
const CHUNK_BYTES: usize = 256;
const CHUNKS_PER_POLL: usize = 32;
/// The largest part of a fragment.
const MAX_PART_BYTES: u16 = 256;
/// What a frame adds to the payload of a short one: zeros, stuffing, kind, checksum.
const FRAMING_BYTES: usize = 2 + 2 + 1 + 4;
const SMALL_BYTES: usize = HEADER_BYTES + MAX_PART_BYTES as usize + FRAMING_BYTES;
const LARGE_BYTES: usize = if frame::MAX_FRAME > HELLO_MAX_BYTES {
    frame::MAX_FRAME
} else {
    HELLO_MAX_BYTES
};
const _: () = assert!(HELLO_MAX_BYTES <= MAX_MESSAGE_BYTES);

/// How far the link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// There is no byte link: the board opens one and calls `link_up`.
    Down,
    /// The handshake is under way.
    Handshake,
    /// Records pass.
    Up,
}

/// What happened on the link so far in this boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Sessions that were begun.
    pub handshakes: u32,
    /// Those of them that were resumed, without fresh keys.
    pub resumed: u32,
    /// Handshakes that the gateway refused or left unanswered.
    pub refused: u32,
    /// Frames with a wrong checksum, length or kind.
    pub bad_frames: u32,
    /// Records that did not open (altered, repeated, of another session) or
    /// held no message.
    pub bad_records: u32,
}

enum Phase {
    Down,
    /// A byte link, and no handshake before this time.
    Waiting {
        from_us: u64,
    },
    Greeting {
        attempt: Attempt,
        until_us: u64,
    },
    Up(Session),
}

pub(crate) struct Wire<L> {
    link: Option<L>,
    given_up: Option<L>,
    phase: Phase,
    decoder: Decoder,
    /// A record's frame on its way; in a handshake the hello, then the answer.
    large: [u8; LARGE_BYTES],
    /// Every other frame on its way.
    small: [u8; SMALL_BYTES],
    writes_large: bool,
    out_from: usize,
    out_to: usize,
    /// The answer's fragments; also after the handshake, to tell that they have come.
    assembly: Assembly,
    tell_received: bool,
    /// What a session that began left.
    left: Option<Left>,
    /// The key that the attempt is made with, or the session was begun with.
    tried: Option<Psk>,
    /// The newest key was refused: the one before is tried next, if there is one.
    falls_back: bool,
    /// The gateway did not resume: agree on fresh keys next time.
    afresh: bool,
    attempts: u8,
    sent_us: u64,
    up_since_us: u64,
    counters: LinkCounters,
}

/// What a session left that began.
pub(crate) struct Left {
    pub(crate) resumption: Resumption,
    /// Whether its keys are fresh, not those of another one.
    pub(crate) fresh: bool,
    /// The key that it was begun with.
    pub(crate) psk: Option<Psk>,
}

/// The keys that a handshake can be made with.
#[derive(Clone, Copy)]
pub(crate) struct Psks<'a> {
    pub(crate) newest: &'a Psk,
    /// One that is tried when that is refused.
    pub(crate) before: Option<&'a Psk>,
}

impl<L: Link> Wire<L> {
    pub(crate) fn new() -> Self {
        Self {
            link: None,
            given_up: None,
            phase: Phase::Down,
            decoder: Decoder::new(),
            large: [0; LARGE_BYTES],
            small: [0; SMALL_BYTES],
            writes_large: false,
            out_from: 0,
            out_to: 0,
            assembly: Assembly::new(),
            tell_received: false,
            left: None,
            tried: None,
            falls_back: false,
            afresh: false,
            attempts: 0,
            sent_us: 0,
            up_since_us: 0,
            counters: LinkCounters::default(),
        }
    }

    pub(crate) fn state(&self) -> LinkState {
        match self.phase {
            Phase::Down => LinkState::Down,
            Phase::Waiting { .. } | Phase::Greeting { .. } => LinkState::Handshake,
            Phase::Up(_) => LinkState::Up,
        }
    }

    pub(crate) fn counters(&self) -> LinkCounters {
        self.counters
    }

    /// When a message last went out.
    pub(crate) fn sent_us(&self) -> u64 {
        self.sent_us
    }

    /// When the handshake was completed.
    pub(crate) fn up_since_us(&self) -> u64 {
        self.up_since_us
    }

    /// Whether a frame waits for the link to take it.
    pub(crate) fn wants_write(&self) -> bool {
        self.out_from < self.out_to
    }

    /// What the session that began leaves, once.
    pub(crate) fn take_left(&mut self) -> Option<Left> {
        self.left.take()
    }

    /// When the link has something to do by itself.
    pub(crate) fn due_us(&self) -> Option<u64> {
        match &self.phase {
            Phase::Waiting { from_us } => Some(*from_us),
            // A frame that waits for the link goes on when that takes more.
            Phase::Greeting { until_us, .. } if self.wants_write() => Some(*until_us),
            Phase::Greeting { attempt, until_us } => Some(
                attempt
                    .due_us()
                    .map_or(*until_us, |due_us| due_us.min(*until_us)),
            ),
            Phase::Down | Phase::Up(_) => None,
        }
    }

    /// A byte link is there; the handshake begins with the next poll.
    pub(crate) fn open(&mut self, link: L, now_us: u64) {
        self.link = Some(link);
        self.given_up = None;
        self.attempts = 0;
        self.restart(now_us);
    }

    /// The byte link is gone.
    pub(crate) fn close(&mut self) {
        self.given_up = self.link.take().or(self.given_up.take());
        self.phase = Phase::Down;
        self.out_from = self.out_to;
    }

    /// The link that was given up, for boards that have but one.
    pub(crate) fn take_given_up(&mut self) -> Option<L> {
        self.given_up.take()
    }

    /// Begins anew on the same byte link at `from_us`.
    #[inline(never)]
    pub(crate) fn restart(&mut self, from_us: u64) {
        self.phase = Phase::Waiting { from_us };
        // A frame that is cut off here is ended by the zero in front of the next.
        self.decoder = Decoder::new();
        (self.out_from, self.out_to) = (0, 0);
        self.assembly.clear();
        self.tell_received = false;
    }

    /// Begins a handshake if one is due, takes it forward, gives up what stays
    /// unanswered.
    // Not inlined, like the steps of the application's poll: see there.
    #[inline(never)]
    pub(crate) fn advance<R: CryptoRng>(
        &mut self,
        config: &Config,
        psks: Psks<'_>,
        kept: Option<&Resumption>,
        rng: &mut R,
        now_us: u64,
    ) {
        if let Phase::Greeting { until_us, attempt } = &self.phase
            && now_us >= *until_us
        {
            self.afresh |= attempt.is_resumption();
            self.falls_back ^= !attempt.is_resumption();
            self.counters.refused = self.counters.refused.saturating_add(1);
            self.restart(now_us);
        }
        if let Phase::Waiting { from_us } = self.phase
            && now_us >= from_us
        {
            if self.attempts >= config.attempts {
                return self.close();
            }
            self.attempts += 1;
            let psk = psks.before.filter(|_| self.falls_back);
            let kept = kept.filter(|_| !self.afresh && psk.is_none());
            let psk = psk.unwrap_or(psks.newest);
            // Fails only when the random source does; the next poll tries again.
            let Ok(attempt) = Attempt::begin(config, psk, kept, rng, now_us) else {
                return;
            };
            self.tried = Some(psk.clone());
            self.phase = Phase::Greeting {
                attempt,
                until_us: now_us.saturating_add(config.handshake_us),
            };
        }
        if let Phase::Greeting { attempt, .. } = &mut self.phase {
            if let Some(psk) = &self.tried {
                attempt.advance(config, psk, rng, &mut self.large);
            }
            self.pump(now_us);
        }
    }

    /// Writes what the handshake has to say, as far as the link takes it.
    fn pump(&mut self, now_us: u64) {
        while self.flush() {
            let Phase::Greeting { attempt, .. } = &mut self.phase else {
                return;
            };
            let mut payload = [0; HEADER_BYTES + MAX_PART_BYTES as usize];
            let Some((kind, length)) = attempt.next(now_us, &self.large, &mut payload) else {
                return;
            };
            self.put(kind, payload.get(..length).unwrap_or_default(), now_us);
        }
    }

    /// Reads what has come and shows each message. Returns whether a session
    /// began meanwhile.
    pub(crate) fn receive(
        &mut self,
        config: &Config,
        now_us: u64,
        mut show: impl FnMut(&Down<'_>),
    ) -> bool {
        let mut completed = false;
        let mut chunk = [0; CHUNK_BYTES];
        for _ in 0..CHUNKS_PER_POLL {
            let Some(link) = &mut self.link else { break };
            let read = match link.read_ready() {
                Ok(false) => break,
                Ok(true) => link.read(&mut chunk).unwrap_or(0),
                Err(_) => 0,
            };
            if read == 0 {
                self.close();
                break;
            }
            for byte in &chunk[..read] {
                completed |= self.take(*byte, config, now_us, &mut show);
            }
        }
        completed
    }

    fn take(
        &mut self,
        byte: u8,
        config: &Config,
        now_us: u64,
        show: &mut impl FnMut(&Down<'_>),
    ) -> bool {
        let (kind, payload) = match self.decoder.push(byte) {
            None => return false,
            Some(Ok(frame)) => frame,
            Some(Err(_)) => {
                self.counters.bad_frames = self.counters.bad_frames.saturating_add(1);
                return false;
            }
        };
        let heard = match (kind, &mut self.phase) {
            (Kind::Record, Phase::Up(session)) => {
                if open(session, payload, show) {
                    self.attempts = 0;
                } else {
                    self.counters.bad_records = self.counters.bad_records.saturating_add(1);
                }
                return false;
            }
            (Kind::Refused, Phase::Greeting { .. } | Phase::Up(_)) => {
                self.refused(config, now_us);
                return false;
            }
            (Kind::Fragment, Phase::Up(_)) => Heard::again(payload, &self.assembly),
            (_, Phase::Greeting { attempt, .. }) => {
                attempt.take(kind, payload, &mut self.assembly, &mut self.large, now_us)
            }
            _ => Heard::Nonsense,
        };
        self.heard(heard, config, now_us)
    }

    /// What came of a frame of the handshake. Returns whether a session began.
    fn heard(&mut self, heard: Heard, config: &Config, now_us: u64) -> bool {
        match heard {
            Heard::Nothing => false,
            Heard::Nonsense => {
                self.counters.bad_frames = self.counters.bad_frames.saturating_add(1);
                false
            }
            Heard::Asked => {
                self.tell_received = true;
                false
            }
            Heard::Answer(length) => {
                self.tell_received = true;
                let phase = core::mem::replace(&mut self.phase, Phase::Down);
                let established = match phase {
                    Phase::Greeting { attempt, .. } => {
                        attempt.finish(self.large.get(..length).unwrap_or_default())
                    }
                    _ => None,
                };
                match established {
                    Some((session, resumption)) => self.up(session, resumption, true, now_us),
                    None => {
                        self.refused(config, now_us);
                        false
                    }
                }
            }
            Heard::Resumed((session, resumption)) => {
                self.counters.resumed = self.counters.resumed.saturating_add(1);
                self.up(session, resumption, false, now_us)
            }
        }
    }

    fn up(&mut self, session: Session, left: Resumption, fresh: bool, now_us: u64) -> bool {
        self.phase = Phase::Up(session);
        self.left = Some(Left {
            resumption: left,
            fresh,
            psk: self.tried.take(),
        });
        self.afresh = false;
        self.falls_back = false;
        self.up_since_us = now_us;
        // A frame of the handshake that is still on its way is of no more use.
        (self.out_from, self.out_to) = (0, 0);
        self.counters.handshakes = self.counters.handshakes.saturating_add(1);
        true
    }

    /// The next handshake waits longer each time; anyone on the line can say
    /// `Refused`, so it costs time, never data. What cannot be resumed is begun
    /// afresh at once.
    fn refused(&mut self, config: &Config, now_us: u64) {
        self.counters.refused = self.counters.refused.saturating_add(1);
        if let Phase::Greeting { attempt, .. } = &self.phase
            && attempt.is_resumption()
        {
            self.afresh = true;
            return self.restart(now_us);
        }
        self.falls_back = !self.falls_back;
        let pause_us = config.handshake_us / 8 * u64::from(self.attempts);
        self.restart(now_us.saturating_add(pause_us));
    }

    /// Seals one message and starts to write it. The link has to be up and
    /// flushed. Returns whether it went.
    pub(crate) fn send(&mut self, message: &Up<'_>, now_us: u64) -> bool {
        let Phase::Up(session) = &mut self.phase else {
            return false;
        };
        let mut plain = [0; MAX_PLAIN_BYTES];
        let mut record = [0; frame::MAX_PAYLOAD];
        let Ok(length) = message.encode(&mut plain) else {
            return false;
        };
        match session.seal(&plain[..length], &mut record) {
            Ok(length) => {
                self.put(Kind::Record, &record[..length], now_us);
                true
            }
            // The session is used up.
            Err(_) => {
                self.restart(now_us);
                false
            }
        }
    }

    /// Writes what waits. Returns whether nothing waits any more.
    pub(crate) fn flush(&mut self) -> bool {
        if !self.write_out() {
            return false;
        }
        if core::mem::take(&mut self.tell_received)
            && let Some(received) = self.assembly.received()
        {
            let sent_us = self.sent_us;
            self.begin(Kind::Received, &received.to_bytes(), sent_us);
            return self.write_out();
        }
        true
    }

    fn write_out(&mut self) -> bool {
        let Some(link) = &mut self.link else {
            return false;
        };
        while self.out_from < self.out_to {
            let out: &[u8] = if self.writes_large {
                &self.large
            } else {
                &self.small
            };
            let rest = out.get(self.out_from..self.out_to).unwrap_or_default();
            let written = match link.write_ready() {
                Ok(false) => return false,
                Ok(true) => link.write(rest).unwrap_or(0),
                Err(_) => 0,
            };
            if written == 0 {
                self.close();
                return false;
            }
            self.out_from += written;
        }
        true
    }

    fn put(&mut self, kind: Kind, payload: &[u8], now_us: u64) {
        self.begin(kind, payload, now_us);
        self.write_out();
    }

    fn begin(&mut self, kind: Kind, payload: &[u8], now_us: u64) {
        self.writes_large = kind == Kind::Record;
        let out: &mut [u8] = if self.writes_large {
            &mut self.large
        } else {
            &mut self.small
        };
        // Payloads fit by the size of their buffers.
        if let Ok(length) = frame::encode(kind, payload, out) {
            (self.out_from, self.out_to) = (0, length);
            self.sent_us = now_us;
        }
    }
}

/// Opens a record and shows its message; false when it is none. Apart, so that its
/// buffer isn't on the stack while keys are agreed on.
#[inline(never)]
fn open(session: &mut Session, record: &[u8], show: &mut impl FnMut(&Down<'_>)) -> bool {
    let mut plain = [0; frame::MAX_PAYLOAD];
    let opened = session.open(record, &mut plain).ok();
    let message = opened.and_then(|length| Down::decode(plain.get(..length)?).ok());
    message.inspect(|message| show(message)).is_some()
}

/// The size of a part that is allowed.
fn part_bytes(config: &Config) -> u16 {
    config.fragment_bytes.clamp(MIN_PART_BYTES, MAX_PART_BYTES)
}
