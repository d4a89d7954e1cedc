//! How a state is saved: with the question that it was gathered under.

use minicbor::{Decode, Decoder, Encode};

use crate::Error;

/// The version of the envelope and of all that is in it.
const VERSION: u8 = 1;

/// The parts of an envelope. The first release saved a threshold's state without
/// one, as an array of five or six parts ([`Track`](super::track::Track)).
const PARTS: u64 = 4;

/// Whether there is an envelope around the state.
pub(super) fn is_enveloped(bytes: &[u8]) -> bool {
    matches!(Decoder::new(bytes).array(), Ok(Some(PARTS)))
}

/// Writes a state of the kind with this number, gathered under `question`.
pub(super) fn write<Q: Encode<()>, S: Encode<()>>(
    kind: u8,
    question: &Q,
    state: &S,
    out: &mut Vec<u8>,
) {
    // Writing to a Vec cannot fail.
    let _ = minicbor::encode((VERSION, kind, question, state), out);
}

/// Reads what [`write`] wrote; `None` if it was gathered under another question.
///
/// # Errors
/// [`Error::SavedState`].
pub(super) fn read<'b, Q, S>(kind: u8, question: &Q, bytes: &'b [u8]) -> Result<Option<S>, Error>
where
    Q: Decode<'b, ()> + PartialEq,
    S: Decode<'b, ()>,
{
    let mut decoder = Decoder::new(bytes);
    if decoder.array().map_err(Error::saved)? != Some(PARTS) {
        return Ok(None);
    }
    let version = decoder.u8().map_err(Error::saved)?;
    if version != VERSION {
        return Err(Error::SavedState {
            why: format!("it has version {version}, this release knows {VERSION}"),
        });
    }
    if decoder.u8().map_err(Error::saved)? != kind {
        return Ok(None);
    }
    let asked: Q = decoder.decode().map_err(Error::saved)?;
    if asked != *question {
        return Ok(None);
    }
    decoder.decode().map(Some).map_err(Error::saved)
}
