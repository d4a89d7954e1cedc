//! The device link: a handshake of four messages, or of two to resume, then records.
//!
//! The handshake follows PQ Noise NNpsk0 (Angel et al., CCS 2022) with a hybrid of
//! X25519 and ML-KEM-768 in the place of the ephemeral key agreement, after an exchange
//! in which the gateway chooses of what the device offers and makes sure by a cookie,
//! before it does any work, that somebody is there and this is not a recording:
//!
//! ```text
//! initiator (device)                                   responder (gateway)
//!   -> open              versions, suites, identity, nonce
//!   <- challenge         version, suite, cookie
//!   -> psk, e, ekem      open, challenge, X25519 key, ML-KEM key, tag      "hello"
//!   <- e, ee, ct         X25519 key, ML-KEM ciphertext, tag                "answer"
//!   <> records           counter, ciphertext, tag
//! ```
//!
//! The pre-shared key is mixed in first, so that not even the hello's tag can be made or
//! checked without it; then both shared secrets. Offer, choice, identity and both
//! messages enter the transcript hash, which each tag authenticates: who edits an offer
//! on the way ends the handshake. Whoever gets the pre-shared key later learns nothing
//! about sessions of before; an attacker who breaks X25519 still has ML-KEM-768 before
//! them, and the other way round.
//!
//! After a sleep a device can **resume**: a secret that the handshake left proves both
//! sides and leads to fresh keys in two short messages without public-key cryptography. It
//! moves on with each use ([`Resumption`]); whoever gets hold of it later cannot go back.
//! How often, and for how long, before fresh keys are agreed on again is the callers' to
//! say.
//!
//! What it does not do: hide the device's identity, or stop someone who holds the
//! pre-shared key from posing as either side. A responder's session is
//! [confirmed](Session::is_confirmed) only with the first record that opens; until
//! then it must not replace a live link of the same device.
//!
//! ```
//! use stencil_crypto::link::{self, Cookies, Hello, Offer, Open, Opening};
//! use stencil_crypto::{Psk, Suite, rng};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut rng = rng::Os;
//! let psk = Psk::from_hex("7f3a5f1e0c4b9d8827365544a1b2c3d4e5f60718293a4b5c6d7e8f9001122334")?;
//!
//! let opening = Opening::start(&Offer::new(Suite::ALL, b"freezer-07"), &mut rng)?;
//!
//! // At the gateway. It keeps nothing of this.
//! let cookies = Cookies::new(&mut rng)?;
//! let open = Open::parse(opening.message())?;
//! let suite = open.choose(Suite::ALL)?;
//! let challenge = cookies.challenge(&open, suite, b"192.0.2.7:4711", 1_000)?;
//!
//! let mut message = [0; link::HELLO_MAX_BYTES];
//! let (device, hello_bytes) = opening.hello(&challenge, &psk, &mut rng, &mut message)?;
//!
//! // At the gateway: the identity tells which key to use.
//! let hello = Hello::parse(&message[..hello_bytes])?;
//! cookies.check(&hello, b"192.0.2.7:4711", 1_002)?;
//! assert_eq!(hello.identity(), b"freezer-07");
//! let mut answer = [0; link::ANSWER_BYTES];
//! let (gateway, answer_bytes) = link::respond(&hello, &psk, &mut rng, &mut answer)?;
//!
//! let mut device = device.finish(&answer[..answer_bytes])?.session;
//! let mut record = [0; 64];
//! let record_bytes = device.seal(b"-18.5", &mut record)?;
//! let mut gateway = gateway.session;
//! let mut reading = [0; 64];
//! let reading_bytes = gateway.open(&record[..record_bytes], &mut reading)?;
//! assert_eq!(&reading[..reading_bytes], b"-18.5");
//! # Ok(()) }
//! ```

mod agreement;
mod cookie;
mod handshake;
mod hello;
mod open;
mod record;
mod rekey;
mod resume;
mod session;
mod transcript;
mod window;

pub use cookie::{COOKIE_SECONDS, Cookies, handshake_id};
pub use handshake::{Established, Initiator, respond, respond_with};
pub use hello::Hello;
pub use open::{Offer, Open, Opening};
pub use rekey::Rekey;
pub use resume::{GENERATIONS_AHEAD_MAX, RESUMPTION_BYTES, Resume, Resumed, Resuming, Resumption};
pub use session::Session;

use crate::kem;

/// Longest identity in bytes: that of a device id.
pub const IDENTITY_MAX_BYTES: usize = 48;
/// The most suites that a device can offer.
pub const SUITES_MAX: usize = 8;
/// Longest first message in bytes.
pub const OPEN_MAX_BYTES: usize = 4 + 2 * SUITES_MAX + 1 + IDENTITY_MAX_BYTES + NONCE_BYTES;
/// Length of a challenge in bytes.
pub const CHALLENGE_BYTES: usize = 7 + 16;
/// Length of a hello in bytes, beside the first message that it repeats.
pub const HELLO_REST_BYTES: usize =
    CHALLENGE_BYTES + X25519_BYTES + kem::ENCAPSULATION_KEY_BYTES + TAG_BYTES;
/// Longest hello in bytes.
pub const HELLO_MAX_BYTES: usize = OPEN_MAX_BYTES + HELLO_REST_BYTES;
/// Length of the answer in bytes.
pub const ANSWER_BYTES: usize = X25519_BYTES + kem::CIPHERTEXT_BYTES + TAG_BYTES;
/// Longest message to resume in bytes.
pub const RESUME_MAX_BYTES: usize = 5 + IDENTITY_MAX_BYTES + 4 + NONCE_BYTES + TAG_BYTES;
/// Length of the answer to it in bytes.
pub const RESUMED_BYTES: usize = NONCE_BYTES + TAG_BYTES;
/// What a record adds to its plaintext in bytes: counter and tag.
pub const RECORD_OVERHEAD_BYTES: usize = COUNTER_BYTES + TAG_BYTES;
/// How many records a session can send in each direction before it ends.
pub const RECORDS_MAX: u64 = 1 << 48;
/// How many records behind the newest one is still accepted if it was not seen yet.
pub const WINDOW_RECORDS: u64 = 64;

/// The version of the message formats.
pub const VERSION: u8 = 2;
const X25519_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const NONCE_BYTES: usize = 16;
const COUNTER_BYTES: usize = 8;

/// Why a handshake or a record failed.
///
/// All but [`Error::Buffer`], [`Error::Identity`], [`Error::Rekey`], [`Error::Place`] and
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
    /// The peer names a suite that this build doesn't know or has not offered.
    #[error("cipher suite {0:#06x} is not supported, or was not offered")]
    Suite(u16),
    /// No suite that the one side offers is one that the other takes.
    #[error("no cipher suite is offered, or none that is accepted here")]
    NoSuite,
    /// The message answers no challenge of ours, or one of too long ago or of elsewhere.
    #[error("the cookie is not ours, not for this message and place, or too old")]
    Cookie,
    /// The name of a place is too long (cookies only).
    #[error("the name of a place has at most 255 bytes")]
    Place,
    /// There is no such secret to resume with.
    #[error("generation {0} of the resumption secret is behind what is kept, or too far ahead")]
    Generation(u32),
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
    /// The session has sent all records that it may, or a secret was resumed as often as it
    /// may; a new handshake is needed.
    #[error("all {RECORDS_MAX} records or all resumptions are used up: a new handshake is needed")]
    Exhausted,
}
