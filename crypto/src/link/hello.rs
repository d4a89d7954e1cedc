use super::{
    CHALLENGE_BYTES, Error, HELLO_REST_BYTES, Open, Rekey, TAG_BYTES, VERSION, X25519_BYTES,
};
use crate::kem::ENCAPSULATION_KEY_BYTES;
use crate::suite::Suite;

/// The third message, parsed but not authenticated: [`Cookies::check`](super::Cookies::check)
/// tells whether it answers a challenge of ours, [`respond`](super::respond) authenticates it
/// with the pre-shared key of its [`identity`](Hello::identity).
///
/// ```text
/// first message ‖ challenge 23 ‖ X25519 key 32 ‖ ML-KEM-768 key 1184 ‖ tag 16
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Hello<'a> {
    pub(super) suite: Suite,
    pub(super) open: Open<'a>,
    /// First message and challenge: what enters the transcript first.
    pub(super) prologue: &'a [u8],
    pub(super) challenge: &'a [u8; CHALLENGE_BYTES],
    pub(super) ephemeral: &'a [u8; X25519_BYTES],
    pub(super) key: &'a [u8; ENCAPSULATION_KEY_BYTES],
    pub(super) tag: &'a [u8; TAG_BYTES],
}

impl<'a> Hello<'a> {
    /// Parses a third message. Nothing is allocated and no secret is touched.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Version`], [`Error::Suite`], [`Error::NoSuite`],
    /// [`Error::Rekey`] or [`Error::Identity`].
    pub fn parse(message: &'a [u8]) -> Result<Self, Error> {
        let (open, rest) = Open::split(message)?;
        let wrong_length = Error::Length {
            expected_bytes: open.bytes.len() + HELLO_REST_BYTES,
            actual_bytes: message.len(),
        };
        let (challenge, rest) = rest.split_first_chunk().ok_or(wrong_length)?;
        let (ephemeral, rest) = rest.split_first_chunk().ok_or(wrong_length)?;
        let (key, rest) = rest.split_first_chunk().ok_or(wrong_length)?;
        let tag = rest.try_into().map_err(|_| wrong_length)?;
        let prologue = message
            .get(..open.bytes.len() + CHALLENGE_BYTES)
            .ok_or(wrong_length)?;
        Ok(Self {
            prologue,
            suite: chosen(&open, challenge)?,
            open,
            challenge,
            ephemeral,
            key,
            tag,
        })
    }

    /// Who the sender says it is: the device id, sent in clear.
    #[must_use]
    pub fn identity(&self) -> &'a [u8] {
        self.open.identity()
    }

    /// The suite of this handshake.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The rekey schedule that the sender asks for.
    #[must_use]
    pub fn rekey(&self) -> Rekey {
        self.open.rekey()
    }

    /// See [`handshake_id`](super::handshake_id).
    #[must_use]
    pub fn handshake_id(&self) -> u32 {
        super::handshake_id(self.challenge)
    }
}

/// What a challenge chose of an offer, if it could.
pub(super) fn chosen(open: &Open<'_>, challenge: &[u8; CHALLENGE_BYTES]) -> Result<Suite, Error> {
    let &[version, high, low, ..] = challenge;
    if version != VERSION {
        return Err(Error::Version(version));
    }
    let id = u16::from_be_bytes([high, low]);
    Suite::from_id(id)
        .filter(|suite| open.offers(*suite))
        .ok_or(Error::Suite(id))
}
