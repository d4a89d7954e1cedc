//! The device link: a handshake of two messages, then records.
//!
//! The handshake follows PQ Noise NNpsk0 (Angel et al., CCS 2022) with a hybrid of
//! X25519 and ML-KEM-768 in the place of the ephemeral key agreement:
//!
//! ```text
//! initiator (device)                                   responder (gateway)
//!   -> psk, e, ekem      header, identity, X25519 key, ML-KEM key, tag
//!   <- e, ee, ct         X25519 key, ML-KEM ciphertext, tag
//!   <> records           counter, ciphertext, tag
//! ```
//!
//! The pre-shared key is mixed in first, so that not even the first message's tag
//! can be made or checked without it; then both shared secrets. Header, identity and
//! both messages enter the transcript hash, which each tag authenticates. Whoever
//! gets the pre-shared key later learns nothing about sessions of before; an attacker
//! who breaks X25519 still has ML-KEM-768 before them, and the other way round.
//!
//! What it does not do: hide the device's identity, stop someone who holds the
//! pre-shared key from posing as either side, or tell a first message that is sent
//! again from a fresh one. A responder's session is therefore
//! [confirmed](Session::is_confirmed) only with the first record that opens; until
//! then it must not replace a live link of the same device.
//!
//! ```
//! use stencil_crypto::{Psk, Suite, link, rng};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut rng = rng::Os;
//! let psk = Psk::from_hex("7f3a5f1e0c4b9d8827365544a1b2c3d4e5f60718293a4b5c6d7e8f9001122334")?;
//!
//! let mut message = [0; link::HELLO_MAX_BYTES];
//! let (device, hello_bytes) =
//!     link::Initiator::start(Suite::DEFAULT, &psk, b"freezer-07", &mut rng, &mut message)?;
//!
//! // At the gateway: the identity tells which key to use.
//! let hello = link::Hello::parse(&message[..hello_bytes])?;
//! assert_eq!(hello.identity(), b"freezer-07");
//! let mut answer = [0; link::ANSWER_BYTES];
//! let (mut gateway, answer_bytes) = link::respond(&hello, &psk, &mut rng, &mut answer)?;
//!
//! let mut device = device.finish(&answer[..answer_bytes])?;
//! let mut record = [0; 64];
//! let record_bytes = device.seal(b"-18.5", &mut record)?;
//! let mut reading = [0; 64];
//! let reading_bytes = gateway.open(&record[..record_bytes], &mut reading)?;
//! assert_eq!(&reading[..reading_bytes], b"-18.5");
//! # Ok(()) }
//! ```

mod agreement;
mod handshake;
mod hello;
mod record;
mod rekey;
mod session;
mod transcript;
mod window;

pub use handshake::{Initiator, respond, respond_with};
pub use hello::Hello;
pub use rekey::Rekey;
pub use session::Session;

use crate::kem;

/// Longest identity in bytes: that of a device id.
pub const IDENTITY_MAX_BYTES: usize = 48;
/// Length of the first message without the identity.
pub const HELLO_MIN_BYTES: usize =
    HEADER_BYTES + X25519_BYTES + kem::ENCAPSULATION_KEY_BYTES + TAG_BYTES;
/// Longest first message in bytes.
pub const HELLO_MAX_BYTES: usize = HELLO_MIN_BYTES + IDENTITY_MAX_BYTES;
/// Length of the second message in bytes.
pub const ANSWER_BYTES: usize = X25519_BYTES + kem::CIPHERTEXT_BYTES + TAG_BYTES;
/// What a record adds to its plaintext in bytes: counter and tag.
pub const RECORD_OVERHEAD_BYTES: usize = COUNTER_BYTES + TAG_BYTES;
/// How many records a session can send in each direction before it ends.
pub const RECORDS_MAX: u64 = 1 << 48;
/// How many records behind the newest one is still accepted if it was not seen yet.
pub const WINDOW_RECORDS: u64 = 64;

/// The version of the message formats.
const VERSION: u8 = 1;
/// Version, suite (2), rekey exponent, length of the identity.
const HEADER_BYTES: usize = 5;
const X25519_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const COUNTER_BYTES: usize = 8;

/// Why a handshake or a record failed.
///
/// All but [`Error::Buffer`], [`Error::Identity`], [`Error::Rekey`] and
/// [`Error::Exhausted`] are the peer's doing or the wire's. A handshake that failed is
/// over. A record that failed leaves the session as it was: on a link that may lose or
/// repeat, drop the record and go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The buffer that the caller gave is too small.
    #[error("the buffer holds {available_bytes} bytes where {needed_bytes} are needed")]
    Buffer {
        /// What is needed.
        needed_bytes: usize,
        /// What there is.
        available_bytes: usize,
    },
    /// The identity to send is empty or too long.
    #[error("an identity has 1 to {IDENTITY_MAX_BYTES} bytes, this one has {0}")]
    Identity(usize),
    /// The rekey interval is out of its range.
    #[error("keys are changed every 2^{min} to 2^{max} records, not every 2^{0}",
            min = Rekey::MIN.log2(), max = Rekey::MAX.log2())]
    Rekey(u8),
    /// The message or record has a length that none of its kind has.
    #[error("{actual_bytes} bytes received where {expected_bytes} were expected")]
    Length {
        /// The length (for records: the smallest) that it should have.
        expected_bytes: usize,
        /// The length that it has.
        actual_bytes: usize,
    },
    /// The peer speaks another version of the message formats.
    #[error("version {0} of the link handshake is not supported, only {VERSION}")]
    Version(u8),
    /// The peer asks for a suite that this build doesn't know.
    #[error("cipher suite {0:#06x} is not supported")]
    Suite(u16),
    /// A tag doesn't verify: another key, or something was altered on the way.
    #[error("authentication failed: the peer holds another key, or the message was altered")]
    Refused,
    /// The peer's X25519 key leads to the all-zero secret (RFC 7748, section 6.1).
    #[error("the peer's X25519 key is of low order")]
    LowOrder,
    /// The ML-KEM side failed.
    #[error(transparent)]
    Kem(#[from] kem::Error),
    /// The record was received before.
    #[error("record {0} was received before")]
    Replayed(u64),
    /// The record is too far behind the newest one to tell whether it was seen.
    #[error("record {0} is too old")]
    TooOld(u64),
    /// The record's counter is further ahead than any loss explains.
    #[error("record {0} is too far ahead")]
    TooFarAhead(u64),
    /// The session has sent all records that it may; a new handshake is needed.
    #[error("the session has used up its {RECORDS_MAX} records: a new handshake is needed")]
    Exhausted,
}
