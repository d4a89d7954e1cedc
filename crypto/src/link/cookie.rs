use hmac::{Hmac, KeyInit, Mac};
use rand_core::TryCryptoRng;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{CHALLENGE_BYTES, Error, Hello, Open, VERSION};
use crate::kem;
use crate::suite::Suite;

/// How long a device has to come back with a cookie, in seconds.
pub const COOKIE_SECONDS: u32 = 60;

const MAC_BYTES: usize = 16;
/// Version, suite, seconds.
const HEAD_BYTES: usize = 7;

/// What a gateway makes its challenges with: a key of its own process, and nothing
/// for each device, so that whoever opens handshakes takes up no memory.
///
/// ```text
/// challenge = version u8 ‖ suite u16 ‖ seconds u32 ‖ MAC 16
/// MAC       = HMAC-SHA-256(key, "stencil link v2 cookie" ‖ length of the place u8 ‖ place
///             ‖ version, suite, seconds ‖ first message), the first 16 bytes
/// ```
/// The place is where the message came from: an address, a connection, a line. So a
/// cookie is of use for one first message, from one place, within [`COOKIE_SECONDS`].
pub struct Cookies {
    key: Zeroizing<[u8; 32]>,
}

impl Cookies {
    /// Draws a key.
    ///
    /// # Errors
    /// [`Error::Kem`] if `rng` fails.
    pub fn new<R: TryCryptoRng + ?Sized>(rng: &mut R) -> Result<Self, Error> {
        let key = kem::random::<32, R>(rng)?;
        Ok(Self { key })
    }

    /// The answer to a first message: what was chosen of its offer
    /// ([`Open::choose`]), and the cookie that the device has to show. `place` has at
    /// most 255 bytes, `now_s` counts seconds from anywhere.
    ///
    /// # Errors
    /// [`Error::Place`] if `place` is too long.
    pub fn challenge(
        &self,
        open: &Open<'_>,
        suite: Suite,
        place: &[u8],
        now_s: u32,
    ) -> Result<[u8; CHALLENGE_BYTES], Error> {
        let [high, low] = suite.id().to_be_bytes();
        let [a, b, c, d] = now_s.to_be_bytes();
        let head = [VERSION, high, low, a, b, c, d];
        let mac = self.mac(&head, place, open.bytes)?;
        let mut challenge = [0; CHALLENGE_BYTES];
        let parts = head.iter().chain(&mac);
        challenge
            .iter_mut()
            .zip(parts)
            .for_each(|(to, from)| *to = *from);
        Ok(challenge)
    }

    /// Checks that `hello` shows a cookie that we gave to `place` for its first message,
    /// not long ago. Nothing of the device's is looked up or computed before.
    ///
    /// # Errors
    /// [`Error::Cookie`]; [`Error::Place`] if `place` is too long.
    pub fn check(&self, hello: &Hello<'_>, place: &[u8], now_s: u32) -> Result<(), Error> {
        let (head, mac) = hello
            .challenge
            .split_first_chunk::<HEAD_BYTES>()
            .ok_or(Error::Cookie)?;
        let expected = self.mac(head, place, hello.open.bytes)?;
        let genuine: bool = expected.ct_eq(mac).into();
        let &[_, _, _, a, b, c, d] = head;
        let age_s = now_s.wrapping_sub(u32::from_be_bytes([a, b, c, d]));
        if genuine && age_s <= COOKIE_SECONDS {
            Ok(())
        } else {
            Err(Error::Cookie)
        }
    }

    fn mac(
        &self,
        head: &[u8; HEAD_BYTES],
        place: &[u8],
        open: &[u8],
    ) -> Result<[u8; MAC_BYTES], Error> {
        let length = u8::try_from(place.len()).map_err(|_| Error::Place)?;
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.key.as_ref()).map_err(|_| Error::Cookie)?;
        for part in [b"stencil link v2 cookie", &[length][..], place, head, open] {
            mac.update(part);
        }
        let full = mac.finalize().into_bytes();
        full.first_chunk().copied().ok_or(Error::Cookie)
    }
}

impl core::fmt::Debug for Cookies {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Cookies(secret)")
    }
}

/// What names the messages of a handshake for who carries them in fragments: from the
/// cookie, so that it is the gateway's choice. 0 for bytes that are no challenge.
#[must_use]
pub fn handshake_id(challenge: &[u8]) -> u32 {
    challenge
        .get(HEAD_BYTES..)
        .and_then(|mac| mac.first_chunk())
        .map_or(0, |bytes| u32::from_be_bytes(*bytes))
}
