//! What a boot binary calls.

use embedded_storage::nor_flash::NorFlash;
use stencil_update::Header;
use stencil_update::header::PRELUDE_LENGTH;

use crate::journal::Journal;
use crate::state::{Choice, State};
use crate::{Config, Error, slot};

/// What is to be jumped to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// The slot.
    pub slot: usize,
    /// Where its image starts in flash.
    pub image: u32,
    /// What it is.
    pub header: Header,
    /// The number of this trial; 0 if the image is confirmed. A board arms its watchdog before it
    /// jumps to an image on trial.
    pub trial: u8,
}

/// Chooses an image, verifies it, writes down that it is tried, and says where it is.
///
/// `sink` gets the image's bytes with their offsets, for boards that run from RAM or another
/// place: exactly the bytes whose digest was checked. If a slot turns out to be damaged, the next
/// one starts again at offset 0; only after `Ok` is what it got worth anything.
///
/// Cost: SHA-256 over the image, and one LMS verification (about 4,400 blocks of SHA-256).
///
/// # Errors
/// [`Error::NoImage`] if there is nothing to start; [`Error::Flash`], [`Error::Layout`],
/// [`Error::JournalWorn`] if a trial can't be counted.
pub fn start<F: NorFlash>(
    flash: &mut F,
    config: &Config,
    mut sink: impl FnMut(u32, &[u8]),
) -> Result<Started, Error<F::Error>> {
    let mut journal = Journal::load(flash, config)?;
    let mut state = match journal.state() {
        Some(state) => state,
        None => {
            let state = adopt(flash, config)?;
            journal.append(flash, state)?;
            state
        }
    };
    // Each round but the last gives up a slot on trial, and there are two.
    for _ in 0..3 {
        match state.choose(config.max_trials) {
            Choice::Nothing => break,
            Choice::GiveUp(at) => {
                state = state.given_up(at);
                journal.append(flash, state)?;
            }
            Choice::Confirmed(at) => {
                // Nothing is written down against it: it may be read better the next time, and
                // there is no other.
                return match slot::verify(flash, config, at, state.confirmed, &mut sink) {
                    Ok(header) => Ok(started(config, at, header, 0)),
                    Err(Error::Refused(_)) => Err(Error::NoImage),
                    Err(error) => Err(error),
                };
            }
            Choice::Trial(at) => {
                match verify_named(flash, config, at, &state, &mut sink) {
                    Ok(header) => {
                        state = state.tried(at);
                        journal.append(flash, state)?;
                        return Ok(started(config, at, header, state.slots[at].trials));
                    }
                    // Also when it cannot be read: what is confirmed may be.
                    Err(_) => {
                        state = state.given_up(at);
                        journal.append(flash, state)?;
                    }
                }
            }
        }
    }
    Err(Error::NoImage)
}

/// As [`slot::verify`], for an image that has to be the one the journal speaks of and newer than
/// what was confirmed.
fn verify_named<F: NorFlash>(
    flash: &mut F,
    config: &Config,
    at: usize,
    state: &State,
    sink: impl FnMut(u32, &[u8]),
) -> Result<Header, Error<F::Error>> {
    let header = slot::verify(flash, config, at, state.confirmed, sink)?;
    config.device(state.confirmed).accepts(&header)?;
    let name = header.name().map_err(stencil_update::Refusal::Header)?;
    if name == state.slots[at].name {
        Ok(header)
    } else {
        Err(Error::NoImage)
    }
}

fn started(config: &Config, at: usize, header: Header, trial: u8) -> Started {
    Started {
        slot: at,
        image: config.layout.slots[at] + PRELUDE_LENGTH,
        header,
        trial,
    }
}

/// The state of a device without a journal: fresh from the factory, or it was destroyed. The
/// slots' images are looked at: the older good one counts as confirmed, a newer one is tried.
fn adopt<F: NorFlash>(flash: &mut F, config: &Config) -> Result<State, Error<F::Error>> {
    let mut good = [None; 2];
    for (at, good) in good.iter_mut().enumerate() {
        match slot::verify(flash, config, at, 0, |_, _| ()) {
            Ok(header) => *good = Some((header.sequence, header.name().ok())),
            Err(Error::Refused(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let mut state = State::default();
    let sequence = |at: usize| good[at].map(|(sequence, _)| sequence);
    let (older, newer) = match (sequence(0), sequence(1)) {
        (None, None) => return Err(Error::NoImage),
        (Some(_), None) => (0, None),
        (None, Some(_)) => (1, None),
        (Some(a), Some(b)) if a < b => (0, Some(1)),
        (Some(a), Some(b)) if a > b => (1, Some(0)),
        // The same twice: one is enough.
        (Some(_), Some(_)) => (0, None),
    };
    for at in [Some(older), newer].into_iter().flatten() {
        if let Some((_, Some(name))) = good[at] {
            state.slots[at].name = name;
        }
    }
    state = state.proved(older, sequence(older).unwrap_or(0));
    if let Some(newer) = newer {
        let name = good[newer].and_then(|(_, name)| name).unwrap_or_default();
        state = state.receiving(newer, name, 0).ready(newer);
    }
    Ok(state)
}
