//! The secured link: frames, handshake, records.
//!
//! One frame at a time waits to be written, so a link that stalls costs no
//! memory. The handshake is made on each new byte link, and made anew when the
//! gateway refuses or stays silent; after a bounded number of attempts the
//! byte link is given up and the board opens another.

use rand_core::CryptoRng;
use stencil_crypto::link::{HELLO_MAX_BYTES, Initiator, Session};
use stencil_protocol::frame::{self, Decoder, Kind};
use stencil_protocol::link::{Down, Up};

use crate::board::Link;
use crate::config::Config;

/// How many bytes are taken from the link in one poll at most, in chunks.
const CHUNK_BYTES: usize = 256;
const CHUNKS_PER_POLL: usize = 32;

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
    /// Handshakes that were completed.
    pub handshakes: u32,
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
        initiator: Option<Initiator>,
        until_us: u64,
    },
    Up(Session),
}

pub(crate) struct Wire<L> {
    link: Option<L>,
    given_up: Option<L>,
    phase: Phase,
    decoder: Decoder,
    out: [u8; frame::MAX_FRAME],
    out_from: usize,
    out_to: usize,
    attempts: u8,
    sent_us: u64,
    up_since_us: u64,
    counters: LinkCounters,
}

impl<L: Link> Wire<L> {
    pub(crate) fn new() -> Self {
        Self {
            link: None,
            given_up: None,
            phase: Phase::Down,
            decoder: Decoder::new(),
            out: [0; frame::MAX_FRAME],
            out_from: 0,
            out_to: 0,
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

    /// When the link has something to do by itself.
    pub(crate) fn due_us(&self, config: &Config) -> Option<u64> {
        match self.phase {
            // A stalled link may still take the bytes that wait.
            Phase::Waiting { from_us } if self.wants_write() => {
                Some(from_us.saturating_add(config.handshake_us))
            }
            Phase::Waiting { from_us } => Some(from_us),
            Phase::Greeting { until_us, .. } => Some(until_us),
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

    /// Makes the handshake anew on the same byte link at `from_us`.
    pub(crate) fn restart(&mut self, from_us: u64) {
        self.phase = Phase::Waiting { from_us };
        // Closes a frame that was cut off in the middle, and lets the decoder
        // of this side wait for the next one.
        self.decoder = Decoder::new();
        self.out[0] = 0;
        self.out_from = 0;
        self.out_to = 1;
    }

    /// Begins a handshake if one is due, gives up what stays unanswered.
    pub(crate) fn advance<R: CryptoRng>(&mut self, config: &Config, rng: &mut R, now_us: u64) {
        match &self.phase {
            Phase::Greeting { until_us, .. } if now_us >= *until_us => {
                self.counters.refused = self.counters.refused.saturating_add(1);
                self.restart(now_us);
            }
            _ => {}
        }
        let Phase::Waiting { from_us } = self.phase else {
            return;
        };
        if now_us < from_us {
            return;
        }
        if self.attempts >= config.attempts {
            return self.close();
        }
        if !self.flush() {
            if now_us >= from_us.saturating_add(config.handshake_us) {
                self.attempts += 1;
                self.restart(now_us);
            }
            return;
        }
        self.attempts += 1;
        let mut hello = [0; HELLO_MAX_BYTES];
        let identity = config.device.as_str().as_bytes();
        let started = Initiator::start(config.suite, &config.psk, identity, rng, &mut hello);
        // Fails only when the random source does; the next poll tries again.
        let Ok((initiator, length)) = started else {
            return;
        };
        self.put(Kind::Hello, &hello[..length], now_us);
        self.phase = Phase::Greeting {
            initiator: Some(initiator),
            until_us: now_us.saturating_add(config.handshake_us),
        };
    }

    /// Reads what has come and shows each message. Returns whether the
    /// handshake was completed meanwhile.
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
        match (kind, &mut self.phase) {
            (Kind::Record, Phase::Up(session)) => {
                let mut plain = [0; frame::MAX_PAYLOAD];
                let opened = session.open(payload, &mut plain).ok();
                match opened.and_then(|length| Down::decode(&plain[..length]).ok()) {
                    Some(message) => {
                        self.attempts = 0;
                        show(&message);
                    }
                    None => {
                        self.counters.bad_records = self.counters.bad_records.saturating_add(1);
                    }
                }
            }
            (Kind::Answer, Phase::Greeting { initiator, .. }) => {
                let Some(finished) = initiator.take().map(|started| started.finish(payload)) else {
                    return false;
                };
                match finished {
                    Ok(session) => {
                        self.phase = Phase::Up(session);
                        self.up_since_us = now_us;
                        self.counters.handshakes = self.counters.handshakes.saturating_add(1);
                        return true;
                    }
                    Err(_) => self.refused(config, now_us),
                }
            }
            (Kind::Refused, Phase::Greeting { .. } | Phase::Up(_)) => self.refused(config, now_us),
            _ => self.counters.bad_frames = self.counters.bad_frames.saturating_add(1),
        }
        false
    }

    /// The next handshake waits longer each time; anyone on the line can say
    /// `Refused`, so it costs time, never data.
    fn refused(&mut self, config: &Config, now_us: u64) {
        self.counters.refused = self.counters.refused.saturating_add(1);
        let pause_us = config.handshake_us / 8 * u64::from(self.attempts);
        self.restart(now_us.saturating_add(pause_us));
    }

    /// Seals one message and starts to write it. The link has to be up and
    /// flushed. Returns whether it went.
    pub(crate) fn send(&mut self, message: &Up<'_>, now_us: u64) -> bool {
        let Phase::Up(session) = &mut self.phase else {
            return false;
        };
        let mut plain = [0; frame::MAX_PAYLOAD];
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
        let Some(link) = &mut self.link else {
            return false;
        };
        while self.out_from < self.out_to {
            let written = match link.write_ready() {
                Ok(false) => return false,
                Ok(true) => link
                    .write(&self.out[self.out_from..self.out_to])
                    .unwrap_or(0),
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
        // Payloads are at most MAX_PAYLOAD long by the size of their buffers.
        if let Ok(length) = frame::encode(kind, payload, &mut self.out) {
            self.out_from = 0;
            self.out_to = length;
            self.sent_us = now_us;
        }
        self.flush();
    }
}
