use rand_core::TryCryptoRng;

use super::agreement::Ephemeral;
use super::hello::chosen;
use super::session::Role;
use super::transcript::Transcript;
use super::{
    ANSWER_BYTES, CHALLENGE_BYTES, Error, HELLO_REST_BYTES, Hello, Open, Opening, Rekey,
    Resumption, Session, TAG_BYTES, X25519_BYTES,
};
use crate::kem::{CIPHERTEXT_BYTES, Kem, Preferred, RustCrypto};
use crate::psk::Psk;
use crate::suite::Suite;

/// A device between its hello and the gateway's answer. It holds secrets and no big
/// array (with [`RustCrypto`]: about 200 bytes), and wipes them when dropped.
pub struct Initiator<K: Kem = RustCrypto> {
    suite: Suite,
    rekey: Rekey,
    transcript: Transcript,
    ephemeral: Ephemeral,
    kem: K::Secret,
}

impl Opening {
    /// Goes on with the gateway's challenge of
    /// [`CHALLENGE_BYTES`](super::CHALLENGE_BYTES) and the no_std ML-KEM: writes the third
    /// message to `out` and returns its length, which is that of the first and
    /// [`HELLO_REST_BYTES`](super::HELLO_REST_BYTES).
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Version`] and [`Error::Suite`] if it is no challenge, or
    /// chooses what was not offered: drop it and wait for another. [`Error::Buffer`] if
    /// `out` is too small, [`Error::Kem`] if `rng` fails.
    pub fn hello<R: TryCryptoRng + ?Sized>(
        &self,
        challenge: &[u8],
        psk: &Psk,
        rng: &mut R,
        out: &mut [u8],
    ) -> Result<(Initiator, usize), Error> {
        self.hello_with(challenge, psk, rng, out)
    }

    /// [`hello`](Opening::hello) with a chosen ML-KEM.
    ///
    /// # Errors
    /// As [`hello`](Opening::hello).
    pub fn hello_with<K: Kem, R: TryCryptoRng + ?Sized>(
        &self,
        challenge: &[u8],
        psk: &Psk,
        rng: &mut R,
        out: &mut [u8],
    ) -> Result<(Initiator<K>, usize), Error> {
        let wrong_length = Error::Length {
            expected_bytes: CHALLENGE_BYTES,
            actual_bytes: challenge.len(),
        };
        let challenge: &[u8; CHALLENGE_BYTES] = challenge.try_into().map_err(|_| wrong_length)?;
        let open = Open::parse(self.message())?;
        let suite = chosen(&open, challenge)?;
        let length = open.bytes.len() + HELLO_REST_BYTES;
        let too_small = Error::Buffer {
            needed_bytes: length,
            available_bytes: out.len(),
        };

        let (prologue, rest) = out
            .split_at_mut_checked(open.bytes.len() + CHALLENGE_BYTES)
            .ok_or(too_small)?;
        let (public, rest) = rest
            .split_first_chunk_mut::<X25519_BYTES>()
            .ok_or(too_small)?;
        let (key, rest) = rest.split_first_chunk_mut().ok_or(too_small)?;
        let tag = rest.first_chunk_mut::<TAG_BYTES>().ok_or(too_small)?;
        let (first, second) = prologue
            .split_at_mut_checked(open.bytes.len())
            .ok_or(too_small)?;
        first.copy_from_slice(open.bytes);
        second.copy_from_slice(challenge);

        let mut transcript = Transcript::new(suite, prologue);
        transcript.mix_key_and_hash(psk.as_bytes())?;
        let ephemeral = Ephemeral::generate(rng, public)?;
        transcript.mix_public(public)?;
        let kem = K::generate(rng, key)?;
        transcript.mix_public(key)?;
        *tag = transcript.tag()?;
        let initiator = Initiator {
            suite,
            rekey: open.rekey(),
            transcript,
            ephemeral,
            kem,
        };
        Ok((initiator, length))
    }
}

/// What a handshake leads to.
#[derive(Debug)]
pub struct Established {
    /// The session.
    pub session: Session,
    /// What the next session can be resumed with. A device keeps it before it uses the
    /// session; a gateway once the session is [confirmed](Session::is_confirmed).
    pub resumption: Resumption,
}

impl Established {
    fn new(suite: Suite, rekey: Rekey, role: Role, transcript: Transcript) -> Result<Self, Error> {
        let (session, secret) = Session::new(suite, rekey, role, transcript)?;
        let resumption = Resumption::first(suite, secret);
        Ok(Self {
            session,
            resumption,
        })
    }
}

impl<K: Kem> Initiator<K> {
    /// Ends the handshake with the gateway's answer of [`ANSWER_BYTES`].
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::Refused`] if the answer is not from who holds the
    /// pre-shared key and got our messages as we sent them; [`Error::LowOrder`].
    pub fn finish(self, answer: &[u8]) -> Result<Established, Error> {
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
        Established::new(suite, rekey, Role::Initiator, transcript)
    }
}

/// Answers a third message, whose cookie was [checked](super::Cookies::check): checks it
/// with the device's pre-shared key, writes the answer of [`ANSWER_BYTES`] to `out` and
/// returns the session.
///
/// The check costs about two dozen hashes; only a message that passes it makes us draw
/// keys. One that is sent again while its cookie is good passes too, so the session is
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
) -> Result<(Established, usize), Error> {
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
) -> Result<(Established, usize), Error> {
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
    let established = Established::new(hello.suite, hello.rekey(), Role::Responder, transcript)?;
    Ok((established, ANSWER_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kem::{self, AwsLc, ENCAPSULATION_KEY_BYTES};
    use crate::link::{Cookies, HELLO_MAX_BYTES, Offer};
    use crate::rng::Os;

    fn psk() -> Psk {
        Psk::from_bytes([3; 32]).unwrap()
    }

    fn opening() -> Opening {
        Opening::start(&Offer::new(Suite::ALL, b"d"), &mut Os).unwrap()
    }

    fn challenge(opening: &Opening) -> [u8; CHALLENGE_BYTES] {
        let open = Open::parse(opening.message()).unwrap();
        let cookies = Cookies::new(&mut Os).unwrap();
        cookies.challenge(&open, Suite::DEFAULT, b"", 0).unwrap()
    }

    /// A third message with keys of the sender's choice under a genuine tag: what a
    /// device that was broken into can send.
    fn crafted(public: [u8; X25519_BYTES], key: [u8; ENCAPSULATION_KEY_BYTES]) -> Vec<u8> {
        let opening = opening();
        let message = [opening.message(), &challenge(&opening)].concat();
        let mut transcript = Transcript::new(Suite::DEFAULT, &message);
        transcript.mix_key_and_hash(psk().as_bytes()).unwrap();
        transcript.mix_public(&public).unwrap();
        transcript.mix_public(&key).unwrap();
        let tag = transcript.tag().unwrap();
        [message.as_slice(), &public, &key, &tag].concat()
    }

    fn refusal<K: Kem>(message: &[u8]) -> Option<Error> {
        let hello = Hello::parse(message).unwrap();
        respond_with::<K, _>(&hello, &psk(), &mut Os, &mut [0; ANSWER_BYTES]).err()
    }

    fn genuine_key() -> [u8; ENCAPSULATION_KEY_BYTES] {
        let mut key = [0; ENCAPSULATION_KEY_BYTES];
        AwsLc::generate(&mut Os, &mut key).unwrap();
        key
    }

    #[test]
    fn a_device_with_the_key_gets_an_answer_to_what_it_crafts_well() {
        let mut public = [0; X25519_BYTES];
        Ephemeral::generate(&mut Os, &mut public).unwrap();
        assert_eq!(refusal::<AwsLc>(&crafted(public, genuine_key())), None);
        assert_eq!(refusal::<RustCrypto>(&crafted(public, genuine_key())), None);
    }

    #[test]
    fn an_all_zero_agreement_is_refused_even_from_who_holds_the_key() {
        let key = genuine_key();
        let mut one = [0; X25519_BYTES];
        one[0] = 1;
        for low_order in [[0; X25519_BYTES], one] {
            let message = crafted(low_order, key);
            assert_eq!(refusal::<AwsLc>(&message), Some(Error::LowOrder));
            assert_eq!(refusal::<RustCrypto>(&message), Some(Error::LowOrder));
        }
    }

    #[test]
    fn an_ml_kem_key_above_the_modulus_is_refused_by_both_implementations() {
        let mut public = [0; X25519_BYTES];
        Ephemeral::generate(&mut Os, &mut public).unwrap();
        let mut key = genuine_key();
        key[..3].fill(0xff);
        let message = crafted(public, key);
        assert_eq!(
            refusal::<AwsLc>(&message),
            Some(Error::Kem(kem::Error::Key))
        );
        assert_eq!(
            refusal::<RustCrypto>(&message),
            Some(Error::Kem(kem::Error::Key))
        );
    }

    #[test]
    fn a_device_refuses_an_all_zero_agreement_too() {
        let opening = opening();
        let mut message = [0; HELLO_MAX_BYTES];
        let (device, _) = opening
            .hello(&challenge(&opening), &psk(), &mut Os, &mut message)
            .unwrap();
        assert_eq!(
            device.finish(&[0; ANSWER_BYTES]).err(),
            Some(Error::LowOrder)
        );
    }

    #[test]
    fn an_initiator_holds_no_big_array() {
        assert!(
            size_of::<Initiator>() <= 320,
            "{} bytes",
            size_of::<Initiator>()
        );
        assert!(
            size_of::<Session>() <= 320,
            "{} bytes",
            size_of::<Session>()
        );
    }
}
