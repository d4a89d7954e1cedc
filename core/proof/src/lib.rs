//! Proof of data: that a reading is what a device's gateway took in, checked by anybody, without a hub.
//!
//! ```text
//! reading, salt → entry ─SHA-256(0x00 ‖ entry)→ leaf ─tree→ root of a device's chunk
//!   chunk → entry → leaf ─tree→ root of a seal, which the gateway signs (ML-DSA-65) and chains
//!     seal → entry → leaf ─tree→ root of an anchor, which a contract keeps
//! ```
//!
//! A **gateway** gathers what its devices say in an interval: of each device a [`Chunk`], a Merkle tree
//! over its readings in the order in which they came. A [`Seal`] is over the chunks of the interval,
//! signed by the key of the gateway's certificate. One signature is for all devices, as it is a hundred
//! times the size of a hash. Each seal names the one before by its hash, so that none can be put in
//! between, left out or exchanged later without it being seen. The **hub** recomputes each chunk from what
//! it has taken in itself, and anchors the roots of many seals on a chain. A [`document::Document`] is a
//! path through the three trees, and all that is needed to walk it.
//!
//! # Trees
//! As in RFC 9162, section 2.1, with SHA-256: leaves are hashed with `0x00`, nodes with `0x01` before
//! them ([`tree`]). What is hashed as a leaf is a CBOR array (RFC 8949, section 4.2.1: deterministic)
//! whose first item says what it is, so that no entry of one tree is one of another, and no message that
//! the key signs in TLS or in a request for a certificate is a seal:
//!
//! | entry | items |
//! |---|---|
//! | reading | `"stencil-reading-2"`, salt, device, boot, number, name, time in µs, value, unit or null |
//! | chunk | `"stencil-chunk-1"`, device, `[[boot, first number, count], …]`, readings, root |
//! | seal | `"stencil-seal-1"`, tenant, gateway, epoch, number, hash of the seal before, time in µs, SHA-256 of the certificate, chunks, root |
//!
//! A value is `true`/`false`, an integer, a float of 64 bits (never shortened) or a text.
//!
//! # Salts
//! A path names the hashes beside it, and what a thermometer says next has few values. So each leaf has a
//! salt of 32 bytes in it, without which nobody can try these, as in selective disclosure for JWTs (RFC
//! 9901, section 9.3). A gateway draws a [`Secret`] for each seal, from which all its salts follow
//! ([`Salts::at`]); the hub gets it with the seal and recomputes the chunks by it, and a document has the one
//! salt of the reading that it proves. What a document still shows of others is how many there are: the
//! numbers of its chunk's readings, in their order, and how many chunks the seal has.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod chunk;
#[cfg(feature = "document")]
pub mod document;
#[cfg(feature = "document")]
pub mod page;
mod reading;
mod record;
mod salt;
mod seal;
pub mod tree;

pub use chunk::{Chunk, MAX_READINGS, MAX_RUNS, Open, Run};
pub use reading::{Reading, Said};
pub use record::{MAX_CHUNKS, MAX_RECORD_BYTES, Record, Sealed};
pub use salt::{Salt, Salts, Secret};
pub use seal::Seal;
pub use tree::Hash;

/// Bytes that are not what they are taken for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {what}: {why}")]
pub struct Malformed {
    what: &'static str,
    why: String,
}

impl Malformed {
    pub(crate) fn of(what: &'static str) -> impl Fn(minicbor::decode::Error) -> Self {
        move |error| Self {
            what,
            why: error.to_string(),
        }
    }

    pub(crate) fn new(what: &'static str, why: impl Into<String>) -> Self {
        Self {
            what,
            why: why.into(),
        }
    }
}

/// Bytes of an array of CBOR. Writing to a Vec cannot fail.
pub(crate) fn array(
    write: impl FnOnce(
        &mut minicbor::Encoder<Vec<u8>>,
    ) -> Result<(), minicbor::encode::Error<std::convert::Infallible>>,
) -> Vec<u8> {
    let mut encoder = minicbor::Encoder::new(Vec::with_capacity(128));
    let written = write(&mut encoder);
    debug_assert!(written.is_ok());
    encoder.into_writer()
}

/// Reads the beginning of an entry: an array of so many items, of which the first is its tag.
pub(crate) fn tagged<'a>(
    bytes: &'a [u8],
    tag: &str,
    items: u64,
) -> Result<minicbor::Decoder<'a>, minicbor::decode::Error> {
    let mut decoder = minicbor::Decoder::new(bytes);
    if decoder.array()? != Some(items) {
        return Err(minicbor::decode::Error::message(format!(
            "a list of {items} is expected"
        )));
    }
    if decoder.str()? != tag {
        return Err(minicbor::decode::Error::message(format!(
            "`{tag}` is expected at its beginning"
        )));
    }
    Ok(decoder)
}

pub(crate) fn hash(decoder: &mut minicbor::Decoder<'_>) -> Result<Hash, minicbor::decode::Error> {
    let bytes = decoder.bytes()?;
    bytes
        .try_into()
        .map_err(|_| minicbor::decode::Error::message("a hash has 32 bytes"))
}
