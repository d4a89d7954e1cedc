//! The runner of workflows.

use stencil_store::Store;

use crate::clock::Clock;
use crate::parts::Parts;
use crate::wake::Wakes;
use crate::{Error, Options};

pub(crate) fn start(
    _options: &Options,
    _store: &Store,
    _clock: &Clock,
    _wakes: &Wakes,
    _parts: &mut Parts,
) -> Result<(), Error> {
    Ok(())
}
