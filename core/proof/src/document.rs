//! The proof document: a path through the trees, and all that is needed to walk it. JSON; numbers that
//! may be beyond 2^53 are texts, hashes are hexadecimal, the signature and the certificate base64.

mod check;
mod form;
mod value;

pub use check::{Fault, Sealed, Trusted, check};
pub use form::{AnchorForm, ChunkForm, ReadingForm, RunForm, SealForm};
pub use value::ValueForm;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::{Hash, Reading, tree};

/// What stands in [`Document::format`].
pub const FORMAT: &str = "stencil-proof-2";
/// The one before: its leaves have no salts.
pub(crate) const FORMAT_1: &str = "stencil-proof-1";
/// The most bytes of a document.
pub const MAX_BYTES: usize = 512 << 10;

/// A proof of one reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// [`FORMAT`].
    pub format: String,
    /// What is proven.
    pub reading: ReadingForm,
    /// The chunk of the device that it is in, and where in it.
    pub chunk: ChunkForm,
    /// The seal that the chunk is in, and where in it.
    pub seal: SealForm,
    /// The anchor that the seal is in; without one, it is the gateway's word alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<AnchorForm>,
}

/// Bytes that are no document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is longer than [`MAX_BYTES`].
    #[error("it has {0} bytes; a proof has at most {MAX_BYTES}")]
    TooLong(usize),
    /// It is no JSON, or JSON of something else.
    #[error("it is no proof: {0}")]
    Json(String),
    /// It is JSON, and there is more.
    #[error(
        "behind its JSON stands {0:?}: a proof or an entry is one JSON object, and nothing may follow it"
    )]
    Behind(String),
    /// It is of the version before, whose leaves have no salts.
    #[error(
        "this is {FORMAT_1}, from before readings had salts, and what was measured beside it can be found \
         from it; this reads {FORMAT}: no such proof is given or verified any more"
    )]
    Unsalted,
    /// It is of another version.
    #[error("its format is {:?}; this reads {FORMAT:?}", short(.0))]
    Format(String),
}

/// The most characters of what a stranger has written that a message repeats.
const MAX_SHOWN: usize = 80;
/// The most characters of what a parser says.
const MAX_SAID: usize = 400;

/// The beginning of a text that a stranger has written.
pub(crate) fn short(text: &str) -> String {
    cut(text, MAX_SHOWN)
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

impl Unreadable {
    /// What a parser says of a text.
    pub(crate) fn of(error: &serde_json::Error, json: &[u8]) -> Self {
        let mut values = serde_json::Deserializer::from_slice(json).into_iter::<IgnoredAny>();
        let is_whole = matches!(values.next(), Some(Ok(_)));
        let behind = json.get(values.byte_offset()..).unwrap_or_default();
        let behind = behind.trim_ascii_start();
        if error.is_syntax() && is_whole && !behind.is_empty() {
            let begin = behind.get(..MAX_SAID).unwrap_or(behind);
            return Self::Behind(short(&String::from_utf8_lossy(begin)));
        }
        Self::Json(cut(&error.to_string(), MAX_SAID))
    }
}

impl Document {
    /// Reads one.
    ///
    /// # Errors
    /// [`Unreadable`]. Whether it proves anything, [`check`] says.
    pub fn parse(json: &[u8]) -> Result<Self, Unreadable> {
        if json.len() > MAX_BYTES {
            return Err(Unreadable::TooLong(json.len()));
        }
        #[derive(Deserialize)]
        struct Form {
            format: String,
        }
        let not = |error: serde_json::Error| Unreadable::of(&error, json);
        let form: Form = serde_json::from_slice(json).map_err(not)?;
        if form.format == FORMAT_1 {
            return Err(Unreadable::Unsalted);
        }
        if form.format != FORMAT {
            return Err(Unreadable::Format(form.format));
        }
        serde_json::from_slice(json).map_err(not)
    }

    /// Of a reading, without an anchor: `leaves` are those of its chunk, which is at `place` of the
    /// seal's. `None`: it is not there, or has no salt.
    #[must_use]
    pub fn of(
        reading: &Reading,
        leaves: &[Hash],
        sealed: &crate::Sealed,
        place: usize,
        certificate: &[u8],
    ) -> Option<Self> {
        let chunk = sealed.chunks.get(place)?;
        let index = chunk.index(reading.boot, reading.seq)?;
        let path = tree::path(leaves, usize::try_from(index).ok()?)?;
        // Of all that the secret gives this alone is told: by it nobody comes to another one.
        let salt = sealed.secret.as_ref()?.salts(&chunk.device).at(index);
        let chunks: Vec<Hash> = sealed.chunks.iter().map(crate::Chunk::leaf).collect();
        let (seal, signature) = (&sealed.seal, sealed.signature.clone());
        let above = tree::path(&chunks, place)?;
        Some(Self {
            format: FORMAT.to_owned(),
            reading: ReadingForm::of(reading, &salt),
            chunk: ChunkForm::of(chunk, index, path),
            seal: SealForm::of(seal, signature, certificate.to_vec(), place as u64, above),
            anchor: None,
        })
    }

    /// Its JSON.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        // Texts, numbers and lists: this cannot fail.
        serde_json::to_value(self).unwrap_or_default()
    }
}
