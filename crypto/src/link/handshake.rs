use rand_core::TryCryptoRng;

use super::agreement::Ephemeral;
use super::hello::header;
use super::session::Role;
use super::transcript::Transcript;
use super::{
    ANSWER_BYTES, Error, HEADER_BYTES, HELLO_MIN_BYTES, Hello, Rekey, Session, TAG_BYTES,
    X25519_BYTES,
};
use crate::kem::{CIPHERTEXT_BYTES, Kem, Preferred, RustCrypto};
use crate::psk::Psk;
use crate::suite::Suite;

/// A device between the two messages of its handshake. It holds secrets and no big
/// array (with [`RustCrypto`]: about 270 bytes), and wipes them when dropped.
pub struct Initiator<K: Kem = RustCrypto> {
    suite: Suite,
    rekey: Rekey,
    transcript: Transcript,
    ephemeral: Ephemeral,
    kem: K::Secret,
}

impl Initiator<RustCrypto> {
    /// Starts a handshake with the no_std ML-KEM and the default rekey schedule:
    /// writes the first message to `out` and returns its length, which is
    /// [`HELLO_MIN_BYTES`] and that of `identity`.
    ///
    /// `identity` (1 to [`IDENTITY_MAX_BYTES`](super::IDENTITY_MAX_BYTES) bytes, a
    /// device id) is sent in clear and authenticated.
    ///
    /// # Errors
    /// [`Error::Identity`], [`Error::Buffer`] if `out` is too small, [`Error::Kem`] if
    /// `rng` fails.
    pub fn start<R: TryCryptoRng + ?Sized>(
        suite: Suite,
        psk: &Psk,
        identity: &[u8],
        rng: &mut R,
        out: &mut [u8],
    ) -> Result<(Self, usize), Error> {
        Self::start_with(suite, Rekey::DEFAULT, psk, identity, rng, out)
    }
}

impl<K: Kem> Initiator<K> {
    /// [`start`](Initiator::start) with a chosen ML-KEM and rekey schedule.
    ///
    /// # Errors
    /// As [`start`](Initiator::start).
    pub fn start_with<R: TryCryptoRng + ?Sized>(
        suite: Suite,
        rekey: Rekey,
        psk: &Psk,
        identity: &[u8],
        rng: &mut R,
        out: &mut [u8],
    ) -> Result<(Self, usize), Error> {
        let header = header(suite, rekey, identity)?;
        let prologue_bytes = HEADER_BYTES + identity.len();
        let length = HELLO_MIN_BYTES + identity.len();
        let too_small = Error::Buffer {
            needed_bytes: length,
            available_bytes: out.len(),
        };

        let (prologue, rest) = out.split_at_mut_checked(prologue_bytes).ok_or(too_small)?;
        let (public, rest) = rest
            .split_first_chunk_mut::<X25519_BYTES>()
            .ok_or(too_small)?;
        let (key, rest) = rest.split_first_chunk_mut().ok_or(too_small)?;
        let tag = rest.first_chunk_mut::<TAG_BYTES>().ok_or(too_small)?;
        let (head, name) = prologue
            .split_at_mut_checked(HEADER_BYTES)
            .ok_or(too_small)?;
        head.copy_from_slice(&header);
        name.copy_from_slice(identity);

        let mut transcript = Transcript::new(suite, prologue);
        transcript.mix_key_and_hash(psk.as_bytes())?;
        let ephemeral = Ephemeral::generate(rng, public)?;
        transcript.mix_public(public)?;
        let kem = K::generate(rng, key)?;
        transcript.mix_public(key)?;
        *tag = transcript.tag()?;
        Ok((
            Self {
                suite,
                rekey,
                transcript,
                ephemeral,
                kem,
            },
            length,
        ))
    }

    /// Ends the handshake with the gateway's answer of [`ANSWER_BYTES`].
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::Refused`] if the answer is not from who holds the
    /// pre-shared key and got our first message as we sent it; [`Error::LowOrder`].
    pub fn finish(self, answer: &[u8]) -> Result<Session, Error> {
        let Self {
            suite,
            rekey,
            mut transcript,
            ephemeral,
            kem,
        } = self;
        let wrong_length = Error::Length {
            expected_bytes: ANSWER_BYTES,
            actual_bytes: answer.len(),
        };
        let (public, rest) = answer
            .split_first_chunk::<X25519_BYTES>()
            .ok_or(wrong_length)?;
        let (ciphertext, rest) = rest
            .split_first_chunk::<CIPHERTEXT_BYTES>()
            .ok_or(wrong_length)?;
        let tag = rest.try_into().map_err(|_| wrong_length)?;

        transcript.mix_public(public)?;
        transcript.mix_key(ephemeral.agree(public)?.as_bytes())?;
        transcript.mix_hash(ciphertext);
        transcript.mix_key(K::decapsulate(&kem, ciphertext)?.as_bytes())?;
        transcript.check_tag(tag)?;
        Session::new(suite, rekey, Role::Initiator, transcript)
    }
}

/// Answers a first message at a gateway: checks it with the device's pre-shared key,
/// writes the answer of [`ANSWER_BYTES`] to `out` and returns the session.
///
/// The check costs about two dozen hashes; only a message that passes it makes us draw
/// keys. A message that was recorded and is sent again passes too, so the session is
/// not [confirmed](Session::is_confirmed) yet.
///
/// # Errors
/// [`Error::Refused`] if the sender doesn't hold `psk` or the message was altered;
/// [`Error::LowOrder`] or [`Error::Kem`] if it holds `psk` and sent a bad key;
/// [`Error::Buffer`] if `out` is too small.
pub fn respond<R: TryCryptoRng + ?Sized>(
    hello: &Hello<'_>,
    psk: &Psk,
    rng: &mut R,
    out: &mut [u8],
) -> Result<(Session, usize), Error> {
    respond_with::<Preferred, R>(hello, psk, rng, out)
}

/// [`respond`] with a chosen ML-KEM.
///
/// # Errors
/// As [`respond`].
pub fn respond_with<K: Kem, R: TryCryptoRng + ?Sized>(
    hello: &Hello<'_>,
    psk: &Psk,
    rng: &mut R,
    out: &mut [u8],
) -> Result<(Session, usize), Error> {
    let too_small = Error::Buffer {
        needed_bytes: ANSWER_BYTES,
        available_bytes: out.len(),
    };
    let (public, rest) = out
        .split_first_chunk_mut::<X25519_BYTES>()
        .ok_or(too_small)?;
    let (ciphertext, rest) = rest.split_first_chunk_mut().ok_or(too_small)?;
    let tag = rest.first_chunk_mut::<TAG_BYTES>().ok_or(too_small)?;

    let mut transcript = Transcript::new(hello.suite, hello.prologue);
    transcript.mix_key_and_hash(psk.as_bytes())?;
    transcript.mix_public(hello.ephemeral)?;
    transcript.mix_public(hello.key)?;
    transcript.check_tag(hello.tag)?;

    let ephemeral = Ephemeral::generate(rng, public)?;
    transcript.mix_public(public)?;
    transcript.mix_key(ephemeral.agree(hello.ephemeral)?.as_bytes())?;
    let shared = K::encapsulate(rng, hello.key, ciphertext)?;
    transcript.mix_hash(ciphertext);
    transcript.mix_key(shared.as_bytes())?;
    *tag = transcript.tag()?;
    let session = Session::new(hello.suite, hello.rekey, Role::Responder, transcript)?;
    Ok((session, ANSWER_BYTES))
}
