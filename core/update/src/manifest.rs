//! The SUIT manifest of an update: a fixed profile of draft-ietf-suit-manifest.
//!
//! ```text
//! { 1: 1,                                     manifest version
//!   2: sequence,
//!   3: << { 2: [['app']],                     components: the one that there is
//!           4: << [20, { 1: vendor, 2: class, 3: << [-16, digest] >>, 14: size },
//!                  1, 15, 2, 15] >> } >>,     conditions: vendor and class have to match
//!   7: << [3, 15] >>,                         validate: the digest has to match
//!   9: << [23, 2] >>,                         invoke
//!  23: << { "en": { ['app']: { 6: version } } } >> }
//! ```
//!
//! The reader is stricter than SUIT: a manifest has exactly this form, in the deterministic
//! encoding of RFC 8949, section 4.2. What it cannot express (further components, fetching,
//! scripts) cannot be asked for by whoever writes one, either.

use minicbor::{Decoder, Encoder};

use crate::header::{self, Header, Version};
use crate::id::Id;

/// The component that manifests speak of: the device's application image.
pub const COMPONENT: &[u8] = b"app";
/// The largest encoded manifest.
pub const MAX_BYTES: usize = 512;
/// SHA-256 in the registry of COSE algorithms.
pub(crate) const SHA_256: i8 = -16;

/// The policy of a SUIT condition: report success and failure of all kinds.
const REPORT_ALL: u8 = 15;
const REPORT_FAILURE: u8 = 2;

/// Why bytes are not a manifest of this profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Longer than [`MAX_BYTES`].
    #[error("the manifest has {given} bytes; at most {MAX_BYTES} are read")]
    TooLong {
        /// How long it is.
        given: usize,
    },
    /// The CBOR ends early, or has something else in a place.
    #[error(
        "the manifest is no SUIT manifest that is known here: expected {expected} at offset {at} of {part}"
    )]
    Form {
        /// Which encoded part.
        part: &'static str,
        /// Where in it.
        at: usize,
        /// What should be there.
        expected: &'static str,
    },
    /// The manifest is for another component of the device.
    #[error("the manifest is for a component other than `app`")]
    Component,
    /// A value that no device can handle.
    #[error("the manifest: {0}")]
    Value(#[from] header::Error),
    /// Readable, but not in the one form that is accepted.
    #[error("the manifest is not in its deterministic form, or holds more than is known here")]
    NotCanonical,
}

impl Error {
    fn form(part: &'static str, at: usize, expected: &'static str) -> Self {
        Error::Form { part, at, expected }
    }
}

/// Writes the manifest of an image.
///
/// # Errors
/// [`Error::Value`].
pub fn encode(header: &Header) -> Result<Vec<u8>, Error> {
    // Refuses what a device could not read.
    header.encode()?;
    let parameters = cbor(|e| {
        e.array(6)?.u8(20)?.map(4)?;
        e.u8(1)?.bytes(&header.vendor.0)?;
        e.u8(2)?.bytes(&header.class.0)?;
        e.u8(3)?.bytes(&digest(&header.digest))?;
        e.u8(14)?.u32(header.size)?;
        e.u8(1)?.u8(REPORT_ALL)?.u8(2)?.u8(REPORT_ALL)?;
        Ok(())
    });
    let common = cbor(|e| {
        e.map(2)?;
        e.u8(2)?.array(1)?.array(1)?.bytes(COMPONENT)?;
        e.u8(4)?.bytes(&parameters)?;
        Ok(())
    });
    let text = cbor(|e| {
        e.map(1)?.str("en")?.map(1)?;
        e.array(1)?.bytes(COMPONENT)?;
        e.map(1)?.u8(6)?.str(header.version.as_str())?;
        Ok(())
    });
    Ok(cbor(|e| {
        e.map(6)?;
        e.u8(1)?.u8(1)?;
        e.u8(2)?.u64(header.sequence)?;
        e.u8(3)?.bytes(&common)?;
        e.u8(7)?
            .bytes(&cbor(|e| e.array(2)?.u8(3)?.u8(REPORT_ALL)?.ok()))?;
        e.u8(9)?
            .bytes(&cbor(|e| e.array(2)?.u8(23)?.u8(REPORT_FAILURE)?.ok()))?;
        e.u8(23)?.bytes(&text)?;
        Ok(())
    }))
}

/// Reads a manifest.
///
/// # Errors
/// All of [`Error`].
pub fn decode(bytes: &[u8]) -> Result<Header, Error> {
    if bytes.len() > MAX_BYTES {
        return Err(Error::TooLong { given: bytes.len() });
    }
    let mut outer = Part::new("the manifest", bytes);
    outer.map(6)?;
    outer.key(1, "the manifest's version (1)")?;
    outer.key(1, "manifest version 1")?;
    outer.key(2, "the sequence number (2)")?;
    let sequence = outer.u64("a sequence number")?;
    outer.key(3, "the common part (3)")?;
    let common = outer.bytes("the common part, encoded")?;

    let mut part = Part::new("its common part", common);
    part.map(2)?;
    part.key(2, "the components (2)")?;
    part.component_list()?;
    part.key(4, "the shared sequence (4)")?;
    let parameters = part.bytes("the shared sequence, encoded")?;

    let mut part = Part::new("its shared sequence", parameters);
    part.array(6)?;
    part.key(20, "the directive to set parameters (20)")?;
    part.map(4)?;
    part.key(1, "the vendor (1)")?;
    let vendor = Id(part.fixed("a vendor id of 16 bytes")?);
    part.key(2, "the class (2)")?;
    let class = Id(part.fixed("a class id of 16 bytes")?);
    part.key(3, "the image's digest (3)")?;
    let encoded = part.bytes("a digest, encoded")?;
    part.key(14, "the image's size (14)")?;
    let at = part.at();
    let size = u32::try_from(part.u64("the image's size")?)
        .map_err(|_| Error::form("its shared sequence", at, "a size below 2^32"))?;

    let digest = read_digest(encoded)?;
    for _ in 0..2 {
        outer.u64("a command sequence's key")?;
        outer.bytes("a command sequence, encoded")?;
    }
    outer.key(23, "the text (23)")?;
    let text = outer.bytes("the text, encoded")?;
    let mut part = Part::new("its text", text);
    part.map(1)?;
    part.text("the language")?;
    part.map(1)?;
    part.component()?;
    part.map(1)?;
    part.key(6, "the component's version (6)")?;
    let version = Version::new(part.text("a version")?)?;

    let header = Header {
        vendor,
        class,
        sequence,
        size,
        digest,
        version,
    };
    // Everything that was skipped or would have been read in another form as well.
    if encode(&header)? == bytes {
        Ok(header)
    } else {
        Err(Error::NotCanonical)
    }
}

/// A `SUIT_Digest` with SHA-256.
pub(crate) fn digest(digest: &[u8; 32]) -> Vec<u8> {
    cbor(|e| e.array(2)?.i8(SHA_256)?.bytes(digest)?.ok())
}

pub(crate) fn read_digest(encoded: &[u8]) -> Result<[u8; 32], Error> {
    let mut part = Part::new("a digest", encoded);
    part.array(2)?;
    let at = part.at();
    if part.decoder.i8().ok() != Some(SHA_256) {
        return Err(Error::form("a digest", at, "SHA-256 (-16)"));
    }
    part.fixed("a digest of 32 bytes")
}

type Writer<'a> = &'a mut Encoder<Vec<u8>>;

/// Encodes into memory, which cannot fail.
pub(crate) fn cbor(
    write: impl FnOnce(Writer<'_>) -> Result<(), minicbor::encode::Error<core::convert::Infallible>>,
) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    // A Vec takes whatever it is given.
    let _ = write(&mut encoder);
    encoder.into_writer()
}

/// One encoded part, read from front to back.
pub(crate) struct Part<'a> {
    name: &'static str,
    decoder: Decoder<'a>,
}

impl<'a> Part<'a> {
    pub(crate) fn new(name: &'static str, bytes: &'a [u8]) -> Self {
        Part {
            name,
            decoder: Decoder::new(bytes),
        }
    }

    pub(crate) fn at(&self) -> usize {
        self.decoder.position()
    }

    fn expect<T, E>(
        &mut self,
        expected: &'static str,
        read: impl FnOnce(&mut Decoder<'a>) -> Result<T, E>,
    ) -> Result<T, Error> {
        let at = self.at();
        read(&mut self.decoder).map_err(|_| Error::form(self.name, at, expected))
    }

    pub(crate) fn map(&mut self, entries: u64) -> Result<(), Error> {
        let at = self.at();
        match self.decoder.map() {
            Ok(Some(n)) if n == entries => Ok(()),
            _ => Err(Error::form(self.name, at, "a map with the known entries")),
        }
    }

    pub(crate) fn array(&mut self, entries: u64) -> Result<(), Error> {
        let at = self.at();
        match self.decoder.array() {
            Ok(Some(n)) if n == entries => Ok(()),
            _ => Err(Error::form(self.name, at, "a list with the known entries")),
        }
    }

    /// The length of a list that may have several.
    pub(crate) fn list(&mut self, expected: &'static str) -> Result<u64, Error> {
        let at = self.at();
        match self.decoder.array() {
            Ok(Some(n)) => Ok(n),
            _ => Err(Error::form(self.name, at, expected)),
        }
    }

    pub(crate) fn tag(&mut self, number: u64, expected: &'static str) -> Result<(), Error> {
        let at = self.at();
        match self.decoder.tag() {
            Ok(tag) if tag.as_u64() == number => Ok(()),
            _ => Err(Error::form(self.name, at, expected)),
        }
    }

    /// An integer with this value.
    pub(crate) fn key(&mut self, value: i64, expected: &'static str) -> Result<(), Error> {
        let at = self.at();
        match self.decoder.i64() {
            Ok(given) if given == value => Ok(()),
            _ => Err(Error::form(self.name, at, expected)),
        }
    }

    fn u64(&mut self, expected: &'static str) -> Result<u64, Error> {
        self.expect(expected, |d| d.u64())
    }

    pub(crate) fn null(&mut self, expected: &'static str) -> Result<(), Error> {
        self.expect(expected, |d| d.null())
    }

    pub(crate) fn bytes(&mut self, expected: &'static str) -> Result<&'a [u8], Error> {
        self.expect(expected, |d| d.bytes())
    }

    pub(crate) fn fixed<const L: usize>(
        &mut self,
        expected: &'static str,
    ) -> Result<[u8; L], Error> {
        let at = self.at();
        self.bytes(expected)?
            .try_into()
            .map_err(|_| Error::form(self.name, at, expected))
    }

    fn text(&mut self, expected: &'static str) -> Result<&'a str, Error> {
        self.expect(expected, |d| d.str())
    }

    fn component_list(&mut self) -> Result<(), Error> {
        if self.list("a list of components")? != 1 {
            return Err(Error::Component);
        }
        self.component()
    }

    fn component(&mut self) -> Result<(), Error> {
        if self.list("a component identifier")? != 1 {
            return Err(Error::Component);
        }
        if self.bytes("a component identifier's part")? == COMPONENT {
            Ok(())
        } else {
            Err(Error::Component)
        }
    }
}
