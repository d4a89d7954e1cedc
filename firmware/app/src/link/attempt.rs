//! One attempt to begin a session: what is said, what is waited for, what goes
//! again. Time is told, bytes are handed on.

use rand_core::CryptoRng;
use stencil_crypto::link::{
    self as secured, CHALLENGE_BYTES, Error, Initiator, Offer, Opening, Resuming, Resumption,
    Session,
};
use stencil_crypto::psk::Psk;
use stencil_protocol::fragment::{Assembly, Fragment, Progress, Received, Sender};
use stencil_protocol::frame::Kind;

use super::part_bytes;
use crate::config::Config;

/// The wait for an answer is doubled so often at most.
const DOUBLINGS_MAX: u8 = 2;

/// A message of one frame that is sent until it is answered.
pub(super) struct Pace {
    due_us: u64,
    wait_us: u64,
    doublings: u8,
}

pub(super) enum Attempt {
    Opening {
        opening: Opening,
        pace: Pace,
        challenge: Option<[u8; CHALLENGE_BYTES]>,
    },
    Greeting {
        initiator: Initiator,
        sender: Sender,
        hello_bytes: usize,
    },
    Resuming {
        resuming: Resuming,
        pace: Pace,
    },
}

/// What came of a frame. It is passed on once and never kept.
#[allow(
    clippy::large_enum_variant,
    reason = "there is no allocator to box a session with"
)]
pub(super) enum Heard {
    /// Nothing more than that the attempt goes on.
    Nothing,
    /// It does not belong here.
    Nonsense,
    /// The gateway asks what has come of its answer.
    Asked,
    /// The gateway's answer is whole; it has so many bytes.
    Answer(usize),
    /// The session is resumed.
    Resumed((Session, Resumption)),
}

impl Heard {
    /// A fragment that came after the answer was whole.
    pub(super) fn again(payload: &[u8], assembly: &Assembly) -> Self {
        match Fragment::parse(payload) {
            Ok(fragment) if Some(fragment.id()) == assembly.id() => Self::Asked,
            _ => Self::Nonsense,
        }
    }
}

impl Pace {
    fn new(config: &Config, now_us: u64) -> Self {
        Self {
            due_us: now_us,
            wait_us: config.answer_us,
            doublings: 0,
        }
    }

    /// Whether to send it now.
    fn beat(&mut self, now_us: u64) -> bool {
        if now_us < self.due_us {
            return false;
        }
        self.due_us = now_us.saturating_add(self.wait_us << self.doublings);
        self.doublings = (self.doublings + 1).min(DOUBLINGS_MAX);
        true
    }
}

impl Attempt {
    pub(super) fn begin<R: CryptoRng>(
        config: &Config,
        psk: &Psk,
        kept: Option<&Resumption>,
        rng: &mut R,
        now_us: u64,
    ) -> Result<Self, Error> {
        let suites = core::slice::from_ref(&config.suite);
        let offer = Offer::new(suites, config.device.as_str().as_bytes());
        let pace = Pace::new(config, now_us);
        Ok(match kept {
            Some(kept) => Self::Resuming {
                resuming: Resuming::start(&offer, psk, kept, rng)?,
                pace,
            },
            None => Self::Opening {
                opening: Opening::start(&offer, rng)?,
                pace,
                challenge: None,
            },
        })
    }

    pub(super) fn is_resumption(&self) -> bool {
        matches!(self, Self::Resuming { .. })
    }

    /// Makes the hello, when there is a challenge to answer, in `large`.
    pub(super) fn advance<R: CryptoRng>(
        &mut self,
        config: &Config,
        psk: &Psk,
        rng: &mut R,
        large: &mut [u8],
    ) {
        let Self::Opening {
            opening,
            challenge: waiting,
            ..
        } = self
        else {
            return;
        };
        let Some(challenge) = waiting.take() else {
            return;
        };
        // One that chooses what was not offered is none; another may come.
        let Ok((initiator, hello_bytes)) = opening.hello(&challenge, psk, rng, large) else {
            return;
        };
        let id = secured::handshake_id(&challenge);
        if let Ok(sender) = Sender::new(id, hello_bytes, part_bytes(config), config.answer_us) {
            *self = Self::Greeting {
                initiator,
                sender,
                hello_bytes,
            };
        }
    }

    /// When there is something to send.
    pub(super) fn due_us(&self) -> Option<u64> {
        match self {
            Self::Opening { pace, .. } | Self::Resuming { pace, .. } => Some(pace.due_us),
            Self::Greeting { sender, .. } => sender.due_us(),
        }
    }

    /// The next frame to send, if one is due: writes its payload to `out`.
    pub(super) fn next(
        &mut self,
        now_us: u64,
        large: &[u8],
        out: &mut [u8],
    ) -> Option<(Kind, usize)> {
        let (kind, message) = match self {
            Self::Opening { opening, pace, .. } => {
                (Kind::Open, pace.beat(now_us).then(|| opening.message()))
            }
            Self::Resuming { resuming, pace } => {
                (Kind::Resume, pace.beat(now_us).then(|| resuming.message()))
            }
            Self::Greeting {
                sender,
                hello_bytes,
                ..
            } => {
                let hello = large.get(..*hello_bytes)?;
                let length = sender.next(hello, now_us, out).ok()??;
                return Some((Kind::Fragment, length));
            }
        };
        let message = message?;
        out.get_mut(..message.len())?.copy_from_slice(message);
        Some((kind, message.len()))
    }

    /// Takes a frame. The answer is put together in `large`, where the hello was: the
    /// gateway answers only what it has whole.
    pub(super) fn take(
        &mut self,
        kind: Kind,
        payload: &[u8],
        assembly: &mut Assembly,
        large: &mut [u8],
        now_us: u64,
    ) -> Heard {
        match (kind, self) {
            (Kind::Challenge, Self::Opening { challenge, .. }) => {
                match <[u8; CHALLENGE_BYTES]>::try_from(payload) {
                    Ok(bytes) => {
                        *challenge = Some(bytes);
                        Heard::Nothing
                    }
                    Err(_) => Heard::Nonsense,
                }
            }
            // The answer to an opening that went twice.
            (Kind::Challenge, Self::Greeting { .. }) => Heard::Nothing,
            (Kind::Received, Self::Greeting { sender, .. }) => match Received::parse(payload) {
                Ok(told) => {
                    sender.received(&told);
                    Heard::Nothing
                }
                Err(_) => Heard::Nonsense,
            },
            (Kind::Fragment, Self::Greeting { sender, .. }) => {
                let fragment = Fragment::parse(payload).ok();
                let Some(fragment) = fragment.filter(|fragment| fragment.id() == sender.id())
                else {
                    return Heard::Nonsense;
                };
                sender.finish();
                match assembly.take(&fragment, now_us, large) {
                    Ok(Progress::Whole(length)) => Heard::Answer(length),
                    Ok(_) if fragment.asks() => Heard::Asked,
                    Ok(_) => Heard::Nothing,
                    Err(_) => Heard::Nonsense,
                }
            }
            (Kind::Resumed, Self::Resuming { resuming, .. }) => match resuming.finish(payload) {
                Ok(resumed) => Heard::Resumed(resumed),
                Err(_) => Heard::Nonsense,
            },
            _ => Heard::Nonsense,
        }
    }

    /// Ends the handshake with the gateway's answer.
    pub(super) fn finish(self, answer: &[u8]) -> Option<(Session, Resumption)> {
        let Self::Greeting { initiator, .. } = self else {
            return None;
        };
        let established = initiator.finish(answer).ok()?;
        Some((established.session, established.resumption))
    }
}
