use core::fmt;

use rand_core::TryCryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::open::identity_length;
use super::session::Role;
use super::transcript::{KEY_BYTES, SecretKey, Transcript, expand};
use super::{
    Error, IDENTITY_MAX_BYTES, NONCE_BYTES, Offer, RESUME_MAX_BYTES, RESUMED_BYTES, Rekey, Session,
    TAG_BYTES, VERSION,
};
use crate::kem;
use crate::psk::Psk;
use crate::suite::Suite;

/// How many generations a gateway goes forward at most to find the one that a device
/// names: a bound on the work that a forged message causes.
pub const GENERATIONS_AHEAD_MAX: u32 = 64;
/// Length of what [`Resumption::to_bytes`] gives.
pub const RESUMPTION_BYTES: usize = 2 + 4 + KEY_BYTES;

/// Version, suite (2), rekey exponent, length of the identity.
const HEADER_BYTES: usize = 5;
const GENERATION_BYTES: usize = 4;

/// What is left of a handshake for the next session: a secret that both sides hold and
/// that moves on with each use. From one of these, those before it cannot be computed.
#[derive(Clone)]
pub struct Resumption {
    suite: Suite,
    generation: u32,
    secret: SecretKey,
}

impl Resumption {
    /// The one of a handshake.
    pub(super) fn first(suite: Suite, secret: SecretKey) -> Self {
        Self {
            suite,
            generation: 0,
            secret,
        }
    }

    /// How many sessions were resumed since the last agreement on fresh keys.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The suite of the handshake and of each session after it.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// As it is kept: suite u16 BE ‖ generation u32 BE ‖ secret 32.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; RESUMPTION_BYTES]> {
        let mut bytes = Zeroizing::new([0; RESUMPTION_BYTES]);
        let suite = self.suite.id().to_be_bytes();
        let generation = self.generation.to_be_bytes();
        let parts = suite.iter().chain(&generation).chain(self.secret.iter());
        bytes
            .iter_mut()
            .zip(parts)
            .for_each(|(to, from)| *to = *from);
        bytes
    }

    /// Reads what [`Resumption::to_bytes`] gave.
    ///
    /// # Errors
    /// [`Error::Suite`] for a suite that this build doesn't know.
    pub fn from_bytes(bytes: &[u8; RESUMPTION_BYTES]) -> Result<Self, Error> {
        let &[high, low, a, b, c, d, ..] = bytes;
        let id = u16::from_be_bytes([high, low]);
        let suite = Suite::from_id(id).ok_or(Error::Suite(id))?;
        let mut secret = Zeroizing::new([0; KEY_BYTES]);
        let kept = bytes.iter().skip(2 + GENERATION_BYTES);
        secret
            .iter_mut()
            .zip(kept)
            .for_each(|(to, from)| *to = *from);
        Ok(Self {
            suite,
            generation: u32::from_be_bytes([a, b, c, d]),
            secret,
        })
    }

    /// The one after this.
    fn next(&self) -> Result<Self, Error> {
        Ok(Self {
            suite: self.suite,
            generation: self.generation.checked_add(1).ok_or(Error::Exhausted)?,
            secret: expand(&self.secret, b"stencil link v2 resumption")?,
        })
    }

    /// The state of a resumption up to the first tag.
    fn transcript(&self, psk: &Psk, prologue: &[u8]) -> Result<Transcript, Error> {
        let proof = expand(&self.secret, b"stencil link v2 proof")?;
        let mut transcript = Transcript::named(self.suite.resumption_name(), prologue);
        transcript.mix_key_and_hash(psk.as_bytes())?;
        transcript.mix_key_and_hash(proof.as_ref())?;
        Ok(transcript)
    }
}

impl PartialEq for Resumption {
    fn eq(&self, other: &Self) -> bool {
        self.to_bytes().ct_eq(other.to_bytes().as_ref()).into()
    }
}

impl Eq for Resumption {}

impl fmt::Debug for Resumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resumption")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// A device that takes up its last session's secret. Its message is sent as often as it
/// takes; the secret of before is to be kept until [`Resuming::finish`] gives the next one.
pub struct Resuming {
    suite: Suite,
    rekey: Rekey,
    transcript: Transcript,
    next: Resumption,
    message: [u8; RESUME_MAX_BYTES],
    length: usize,
}

impl Resuming {
    /// Makes the message. Of `offer` the suites are not looked at: the session has that of
    /// the handshake.
    ///
    /// # Errors
    /// [`Error::Identity`]; [`Error::Exhausted`] when the generations are used up: make a
    /// handshake; [`Error::Kem`] if `rng` fails.
    pub fn start<R: TryCryptoRng + ?Sized>(
        offer: &Offer<'_>,
        psk: &Psk,
        resumption: &Resumption,
        rng: &mut R,
    ) -> Result<Self, Error> {
        let identity_bytes = identity_length(offer.identity)?;
        let nonce = kem::random::<NONCE_BYTES, R>(rng)?;
        let [high, low] = resumption.suite.id().to_be_bytes();
        let head = [VERSION, high, low, offer.rekey.log2(), identity_bytes];
        let generation = resumption.generation.to_be_bytes();
        let parts = head.iter().chain(offer.identity).chain(&generation);
        let mut message = [0; RESUME_MAX_BYTES];
        let slots = message.iter_mut();
        slots
            .zip(parts.chain(nonce.iter()))
            .for_each(|(to, from)| *to = *from);
        let signed = HEADER_BYTES + offer.identity.len() + GENERATION_BYTES + NONCE_BYTES;
        let too_small = Error::Buffer {
            needed_bytes: signed + TAG_BYTES,
            available_bytes: RESUME_MAX_BYTES,
        };
        let (prologue, rest) = message.split_at_mut_checked(signed).ok_or(too_small)?;
        let mut transcript = resumption.transcript(psk, prologue)?;
        *rest.first_chunk_mut::<TAG_BYTES>().ok_or(too_small)? = transcript.tag()?;
        Ok(Self {
            suite: resumption.suite,
            rekey: offer.rekey,
            transcript,
            next: resumption.next()?,
            message,
            length: signed + TAG_BYTES,
        })
    }

    /// The message to send.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        self.message.get(..self.length).unwrap_or_default()
    }

    /// Ends it with the gateway's answer of [`RESUMED_BYTES`]: the session, and the secret
    /// for the one after it, which has to be kept in the place of the last one **before** the
    /// session is used. An answer that is refused changes nothing.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::Refused`] if the answer is not from who holds the secret
    /// and got this message.
    pub fn finish(&self, answer: &[u8]) -> Result<(Session, Resumption), Error> {
        let wrong_length = Error::Length {
            expected_bytes: RESUMED_BYTES,
            actual_bytes: answer.len(),
        };
        let answer: &[u8; RESUMED_BYTES] = answer.try_into().map_err(|_| wrong_length)?;
        let (nonce, tag) = answer
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(wrong_length)?;
        let tag = tag.try_into().map_err(|_| wrong_length)?;
        let mut transcript = self.transcript.clone();
        transcript.mix_public(nonce)?;
        transcript.check_tag(tag)?;
        let (session, _) = Session::new(self.suite, self.rekey, Role::Initiator, transcript)?;
        Ok((session, self.next.clone()))
    }
}

/// What a resumption led to at the gateway.
#[derive(Debug)]
pub struct Resumed {
    /// The session; not [confirmed](Session::is_confirmed) yet.
    pub session: Session,
    /// The secret that the device has shown that it holds: those before it are of no more
    /// use to it. To be kept from now on, since the device may not get the answer.
    pub shown: Resumption,
    /// The secret after it, to be kept in its place once the session is confirmed.
    pub next: Resumption,
}

/// A device's message to resume, parsed but not authenticated.
///
/// ```text
/// version u8 ‖ suite u16 BE ‖ rekey exponent u8 ‖ identity length u8 ‖ identity
///   ‖ generation u32 BE ‖ nonce 16 ‖ tag 16
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Resume<'a> {
    suite: Suite,
    rekey: Rekey,
    identity: &'a [u8],
    generation: u32,
    prologue: &'a [u8],
    tag: &'a [u8; TAG_BYTES],
}

impl<'a> Resume<'a> {
    /// Parses a message.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Version`], [`Error::Suite`], [`Error::Rekey`] or
    /// [`Error::Identity`].
    pub fn parse(message: &'a [u8]) -> Result<Self, Error> {
        let wrong_length = |expected_bytes| Error::Length {
            expected_bytes,
            actual_bytes: message.len(),
        };
        let least = HEADER_BYTES + GENERATION_BYTES + NONCE_BYTES + TAG_BYTES;
        let (header, rest) = message
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(wrong_length(least + 1))?;
        let &[version, high, low, rekey, length] = header;
        if version != VERSION {
            return Err(Error::Version(version));
        }
        let id = u16::from_be_bytes([high, low]);
        let suite = Suite::from_id(id).ok_or(Error::Suite(id))?;
        let rekey = Rekey::from_log2(rekey)?;
        let length = usize::from(length);
        if length == 0 || length > IDENTITY_MAX_BYTES {
            return Err(Error::Identity(length));
        }
        if message.len() != least + length {
            return Err(wrong_length(least + length));
        }
        let wrong_length = wrong_length(least + length);
        let (identity, rest) = rest.split_at_checked(length).ok_or(wrong_length)?;
        let (generation, _) = rest.split_first_chunk().ok_or(wrong_length)?;
        let (prologue, tag) = message
            .split_last_chunk::<TAG_BYTES>()
            .ok_or(wrong_length)?;
        Ok(Self {
            suite,
            rekey,
            identity,
            generation: u32::from_be_bytes(*generation),
            prologue,
            tag,
        })
    }

    /// Who the sender says it is: the device id, sent in clear.
    #[must_use]
    pub fn identity(&self) -> &'a [u8] {
        self.identity
    }

    /// Which generation the sender says it holds.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Answers it with what the gateway has `kept` for the device: writes
    /// [`RESUMED_BYTES`] to `out`. A device may be ahead, when the gateway missed that its
    /// last answers came, by at most [`GENERATIONS_AHEAD_MAX`].
    ///
    /// # Errors
    /// [`Error::Generation`] if the device is behind or too far ahead, [`Error::Refused`] if
    /// it doesn't hold pre-shared key and secret, or the message was altered: it then has
    /// to make a handshake. [`Error::Buffer`], [`Error::Kem`] if `rng` fails.
    pub fn respond<R: TryCryptoRng + ?Sized>(
        &self,
        psk: &Psk,
        kept: &Resumption,
        rng: &mut R,
        out: &mut [u8],
    ) -> Result<(Resumed, usize), Error> {
        let too_small = Error::Buffer {
            needed_bytes: RESUMED_BYTES,
            available_bytes: out.len(),
        };
        if self.suite != kept.suite {
            return Err(Error::Suite(self.suite.id()));
        }
        let ahead = self.generation.checked_sub(kept.generation);
        if ahead.is_none_or(|ahead| ahead > GENERATIONS_AHEAD_MAX) {
            return Err(Error::Generation(self.generation));
        }
        let mut shown = kept.clone();
        while shown.generation < self.generation {
            shown = shown.next()?;
        }
        let mut transcript = shown.transcript(psk, self.prologue)?;
        transcript.check_tag(self.tag)?;

        let (nonce, rest) = out
            .split_first_chunk_mut::<NONCE_BYTES>()
            .ok_or(too_small)?;
        let tag = rest.first_chunk_mut::<TAG_BYTES>().ok_or(too_small)?;
        *nonce = *kem::random::<NONCE_BYTES, R>(rng)?;
        transcript.mix_public(nonce)?;
        *tag = transcript.tag()?;
        let (session, _) = Session::new(self.suite, self.rekey, Role::Responder, transcript)?;
        let next = shown.next()?;
        let resumed = Resumed {
            session,
            shown,
            next,
        };
        Ok((resumed, RESUMED_BYTES))
    }
}
