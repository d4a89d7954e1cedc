use super::{
    Error, HEADER_BYTES, HELLO_MIN_BYTES, IDENTITY_MAX_BYTES, Rekey, TAG_BYTES, VERSION,
    X25519_BYTES,
};
use crate::kem::ENCAPSULATION_KEY_BYTES;
use crate::suite::Suite;

/// The first message, parsed but not authenticated: [`respond`](super::respond)
/// authenticates it with the pre-shared key of its [`identity`](Hello::identity).
///
/// ```text
/// version u8 ‖ suite u16 BE ‖ rekey exponent u8 ‖ identity length u8
///   ‖ identity ‖ X25519 key 32 ‖ ML-KEM-768 key 1184 ‖ tag 16
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Hello<'a> {
    pub(super) suite: Suite,
    pub(super) rekey: Rekey,
    /// Header and identity: what enters the transcript first.
    pub(super) prologue: &'a [u8],
    pub(super) identity: &'a [u8],
    pub(super) ephemeral: &'a [u8; X25519_BYTES],
    pub(super) key: &'a [u8; ENCAPSULATION_KEY_BYTES],
    pub(super) tag: &'a [u8; TAG_BYTES],
}

impl<'a> Hello<'a> {
    /// Parses a first message. Nothing is allocated and no secret is touched.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Version`], [`Error::Suite`], [`Error::Rekey`] or
    /// [`Error::Identity`].
    pub fn parse(message: &'a [u8]) -> Result<Self, Error> {
        let too_short = Error::Length {
            expected_bytes: HELLO_MIN_BYTES + 1,
            actual_bytes: message.len(),
        };
        let (header, rest) = message
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(too_short)?;
        let &[version, suite_high, suite_low, rekey, identity_bytes] = header;
        if version != VERSION {
            return Err(Error::Version(version));
        }
        let suite = u16::from_be_bytes([suite_high, suite_low]);
        let suite = Suite::from_id(suite).ok_or(Error::Suite(suite))?;
        let rekey = Rekey::from_log2(rekey)?;
        let identity_bytes = usize::from(identity_bytes);
        if identity_bytes == 0 || identity_bytes > IDENTITY_MAX_BYTES {
            return Err(Error::Identity(identity_bytes));
        }
        let wrong_length = Error::Length {
            expected_bytes: HELLO_MIN_BYTES + identity_bytes,
            actual_bytes: message.len(),
        };
        let (identity, rest) = rest.split_at_checked(identity_bytes).ok_or(wrong_length)?;
        let (ephemeral, rest) = rest.split_first_chunk().ok_or(wrong_length)?;
        let (key, rest) = rest.split_first_chunk().ok_or(wrong_length)?;
        let tag = rest.try_into().map_err(|_| wrong_length)?;
        let prologue = message
            .get(..HEADER_BYTES + identity_bytes)
            .ok_or(wrong_length)?;
        Ok(Self {
            suite,
            rekey,
            prologue,
            identity,
            ephemeral,
            key,
            tag,
        })
    }

    /// Who the sender says it is: the device id, sent in clear.
    #[must_use]
    pub fn identity(&self) -> &'a [u8] {
        self.identity
    }

    /// The suite that the sender asks for.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The rekey schedule that the sender asks for.
    #[must_use]
    pub fn rekey(&self) -> Rekey {
        self.rekey
    }
}

/// The header of a first message.
pub(super) fn header(
    suite: Suite,
    rekey: Rekey,
    identity: &[u8],
) -> Result<[u8; HEADER_BYTES], Error> {
    let length = u8::try_from(identity.len())
        .ok()
        .filter(|length| (1..=IDENTITY_MAX_BYTES).contains(&usize::from(*length)))
        .ok_or(Error::Identity(identity.len()))?;
    let [suite_high, suite_low] = suite.id().to_be_bytes();
    Ok([VERSION, suite_high, suite_low, rekey.log2(), length])
}
