//! Firmware images for the devices behind this gateway: what the hub wants them to run, fetched
//! piece by piece, verified, kept on disk, and handed to the devices' links a chunk at a time.
//!
//! Nothing is offered before all three signatures and the image's digest were verified against the
//! keys in `images.trust`, or those that have followed them (`trust`). One piece is fetched at a
//! time, and links read their chunks from the file, so memory does not grow with devices or images.

mod cache;
mod trust;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use stencil_protocol::{
    id::DeviceId,
    image::{Digest, Fetch, MAX_REASON_BYTES, Part, Piece, Told, Wanted, What},
};
use stencil_update::{
    envelope::{Envelope, MAX_BYTES as MAX_ENVELOPE_BYTES},
    trust::Trust,
};

pub(crate) use self::cache::Package;
use self::cache::{Cache, Finished};
use self::trust::Trusted;
use crate::{
    clock::stamp_us,
    options,
    spool::{self, Entry},
};

/// A piece that does not come is asked for again after this.
const FETCH_AGAIN: Duration = Duration::from_secs(5);
/// So often an image may come with another digest before it is given up.
const MAX_ATTEMPTS: u32 = 3;

/// The images. Calls that touch the disk block: they say so.
pub(crate) struct Images {
    cache: Cache,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Who may sign; `None`: nobody is trusted.
    trust: Option<Trusted>,
    /// The hub is to be asked who has followed them.
    asks_who_follows: bool,
    wanted: BTreeMap<DeviceId, Digest>,
    /// Verified, on disk, ready to be offered.
    ready: HashMap<Digest, Arc<Package>>,
    /// Not to be had, and why.
    bad: HashMap<Digest, String>,
    attempts: HashMap<Digest, u32>,
    /// What was asked for, and when.
    asked: Option<(Fetch, Instant)>,
    /// Of the image that is being fetched.
    manifest: Option<(Digest, Arc<Verified>)>,
}

type Verified = stencil_update::envelope::Verified;

impl Images {
    /// Looks through the folder. Blocks.
    pub(crate) fn open(options: &options::Images, data: &std::path::Path) -> Result<Self, String> {
        let trust = match &options.trust {
            None => None,
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| format!("images.trust = {}: {error}", path.display()))?;
                let trust = Trust::from_text(&text)
                    .map_err(|error| format!("images.trust = {}: {error}", path.display()))?;
                Some(Trusted::open(trust, data.join("update-successions"))?)
            }
        };
        let folder = data.join("images");
        let cache = Cache::open(folder.clone(), options.max_bytes)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self {
            cache,
            state: Mutex::new(State {
                trust,
                ..State::default()
            }),
        })
    }

    /// What the hub wants from now on; it takes the place of what it wanted before. Returns the
    /// devices that have something to do.
    pub(crate) fn want(&self, wanted: Wanted) -> Vec<DeviceId> {
        let wanted: BTreeMap<DeviceId, Digest> = wanted.0.into_iter().collect();
        let mut state = self.state();
        let digests: BTreeSet<&Digest> = wanted.values().collect();
        // What is wanted anew is tried anew.
        state.bad.retain(|digest, _| digests.contains(digest));
        state.attempts.retain(|digest, _| digests.contains(digest));
        state.ready.retain(|digest, _| digests.contains(digest));
        let news = wanted
            .iter()
            .filter(|(device, digest)| state.wanted.get(*device) != Some(*digest))
            .map(|(device, _)| device.clone())
            .collect();
        state.wanted = wanted;
        state.asked = None;
        state.asks_who_follows = true;
        news
    }

    /// What this device is to run, and its package if it is here.
    pub(crate) fn of(&self, device: &DeviceId) -> Option<(Digest, Option<Arc<Package>>)> {
        let state = self.state();
        let digest = *state.wanted.get(device)?;
        Some((digest, state.ready.get(&digest).cloned()))
    }

    /// The connection is a new one: what was asked for over the last one will not come.
    pub(crate) fn connected(&self) {
        self.state().asked = None;
    }

    /// What is to be asked of the hub now. Blocks.
    pub(crate) fn next_fetch(&self) -> Step {
        let mut state = self.state();
        if let Some((fetch, at)) = &mut state.asked {
            if at.elapsed() < FETCH_AGAIN {
                return Step::Nothing;
            }
            // An answer to this is not waited for: images signed by those who are trusted go on.
            if fetch.part != Part::Succession {
                *at = Instant::now();
                return Step::Fetch(*fetch);
            }
            state.asked = None;
        }
        let trust = state.trust.as_ref().map(|it| it.now().clone());
        if let (true, Some(trust)) = (state.asks_who_follows, &trust) {
            state.asks_who_follows = false;
            let fetch = Fetch {
                digest: trust.digest(),
                part: Part::Succession,
                offset: 0,
            };
            state.asked = Some((fetch, Instant::now()));
            return Step::Fetch(fetch);
        }
        let missing = state.wanted.values().copied();
        let missing: BTreeSet<Digest> = missing
            .filter(|it| !state.ready.contains_key(it) && !state.bad.contains_key(it))
            .collect();
        let Some(digest) = missing.first().copied() else {
            return Step::Nothing;
        };
        let Some(trust) = &trust else {
            let why = "the gateway has no keys to verify images with: set images.trust";
            return Step::News(give_up(&mut state, digest, why.to_owned()));
        };
        if state.manifest.as_ref().is_none_or(|(of, _)| *of != digest) {
            // What a restart left is verified like what comes.
            let kept = self.cache.manifest(&digest);
            state.manifest = kept
                .and_then(|bytes| verified(&bytes, trust, &digest).ok())
                .map(|verified| (digest, Arc::new(verified)));
        }
        let Some((_, manifest)) = state.manifest.clone() else {
            let fetch = Fetch {
                digest,
                part: Part::Manifest,
                offset: 0,
            };
            state.asked = Some((fetch, Instant::now()));
            return Step::Fetch(fetch);
        };
        match self
            .cache
            .begin(&digest, manifest.header().size, &wanted_of(&state))
        {
            Err(why) => Step::News(give_up(&mut state, digest, why)),
            Ok(have) if have == manifest.header().size => {
                // The links go on meanwhile; nobody else changes what is fetched.
                drop(state);
                let finished = self.cache.finish(&digest, &manifest);
                let mut state = self.state();
                self.finished(&mut state, digest, finished)
            }
            Ok(offset) => {
                let fetch = Fetch {
                    digest,
                    part: Part::Payload,
                    offset,
                };
                state.asked = Some((fetch, Instant::now()));
                Step::Fetch(fetch)
            }
        }
    }

    fn finished(
        &self,
        state: &mut State,
        digest: Digest,
        finished: Result<Finished, String>,
    ) -> Step {
        match finished {
            Ok(Finished::Whole(package)) => {
                state.manifest = None;
                state.ready.insert(digest, Arc::from(package));
                tracing::info!(image = hex(&digest), "an image is here and verified");
                Step::News(News {
                    devices: devices(state, &digest),
                    told: Vec::new(),
                })
            }
            Ok(Finished::Other(why)) => {
                let attempts = state.attempts.entry(digest).or_default();
                *attempts += 1;
                if *attempts >= MAX_ATTEMPTS {
                    return Step::News(give_up(state, digest, why));
                }
                Step::Again
            }
            Err(why) => Step::News(give_up(state, digest, why)),
        }
    }

    /// Takes a piece. Blocks.
    pub(crate) fn take(&self, piece: &Piece) -> Step {
        let mut state = self.state();
        let is_asked = state.asked.as_ref().is_some_and(|(fetch, _)| {
            (fetch.digest, fetch.part, fetch.offset) == (piece.digest, piece.part, piece.offset)
        });
        if !is_asked {
            return Step::Nothing;
        }
        state.asked = None;
        let digest = piece.digest;
        if piece.part == Part::Succession {
            return followed(&mut state, piece);
        }
        let Some(bytes) = &piece.bytes else {
            let why = "the hub does not have the image";
            return Step::News(give_up(&mut state, digest, why.to_owned()));
        };
        let taken = match piece.part {
            Part::Manifest => self.take_manifest(&mut state, piece, bytes),
            Part::Payload => {
                let size = state
                    .manifest
                    .as_ref()
                    .map_or(0, |(_, it)| it.header().size);
                if piece.of != size {
                    Err(format!(
                        "its manifest says {size} bytes, the hub has {}",
                        piece.of
                    ))
                } else if bytes.is_empty() {
                    Err("the hub has less of the image than it says".to_owned())
                } else {
                    self.cache.append(&digest, piece.offset, bytes, size)
                }
            }
            Part::Succession => Ok(()),
        };
        match taken {
            Ok(()) => Step::Again,
            Err(why) => Step::News(give_up(&mut state, digest, why)),
        }
    }

    fn take_manifest(&self, state: &mut State, piece: &Piece, bytes: &[u8]) -> Result<(), String> {
        let Some(trust) = state.trust.as_ref().map(Trusted::now) else {
            return Err("no keys are trusted".to_owned());
        };
        let of = usize::try_from(piece.of).unwrap_or(usize::MAX);
        if of != bytes.len() || of > MAX_ENVELOPE_BYTES {
            return Err(format!(
                "its manifest has {of} bytes, and {} came",
                bytes.len()
            ));
        }
        let verified = verified(bytes, trust, &piece.digest)?;
        self.cache.keep_manifest(&piece.digest, bytes)?;
        state.manifest = Some((piece.digest, Arc::new(verified)));
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes what the hub says of who has followed the keys that are trusted. What is here was verified by
/// those before: it is verified anew, and nothing that only they have signed is offered any more.
fn followed(state: &mut State, piece: &Piece) -> Step {
    let (Some(bytes), Some(trusted)) = (&piece.bytes, &mut state.trust) else {
        return Step::Again;
    };
    match trusted.take(bytes) {
        Ok(()) => {
            let keys = hex(&trusted.now().digest()[..8]);
            tracing::info!(keys, "other keys sign images from now on");
            // Others may have followed these.
            state.asks_who_follows = true;
            state.ready.clear();
            state.bad.clear();
            state.attempts.clear();
            state.manifest = None;
            Step::News(News {
                devices: state.wanted.keys().cloned().collect(),
                told: Vec::new(),
            })
        }
        Err(error) => {
            tracing::error!(
                error,
                "keys that are to follow those that sign images are not taken"
            );
            Step::Again
        }
    }
}

/// What follows from a look at what is missing, or from a piece.
pub(crate) enum Step {
    /// Nothing.
    Nothing,
    /// Look again at once.
    Again,
    /// Ask the hub.
    Fetch(Fetch),
    /// Something is to be told.
    News(News),
}

/// What has changed.
pub(crate) struct News {
    /// The links of these devices have something to do.
    pub(crate) devices: Vec<DeviceId>,
    /// Entries for the spool.
    pub(crate) told: Vec<Vec<u8>>,
}

fn devices(state: &State, digest: &Digest) -> Vec<DeviceId> {
    let wanted = state.wanted.iter().filter(|(_, of)| *of == digest);
    wanted.map(|(device, _)| device.clone()).collect()
}

fn wanted_of(state: &State) -> BTreeSet<Digest> {
    state.wanted.values().copied().collect()
}

/// No device gets it: each is reported.
fn give_up(state: &mut State, digest: Digest, why: String) -> News {
    tracing::error!(image = hex(&digest), why, "an image is not offered");
    let of = devices(state, &digest);
    let told = of.iter().filter_map(|device| {
        let reason = shortened(&why);
        told(device, None, What::GaveUp { digest, reason })
    });
    let told = told.collect();
    state.bad.insert(digest, why);
    state.manifest = None;
    News {
        devices: Vec::new(),
        told,
    }
}

/// A reason as it may be told.
pub(crate) fn shortened(why: &str) -> String {
    let mut end = why.len().min(MAX_REASON_BYTES);
    while !why.is_char_boundary(end) {
        end -= 1;
    }
    why[..end].to_owned()
}

/// An entry for the spool: what a device says of an image, or the gateway for it.
pub(crate) fn told(device: &DeviceId, suite: Option<u16>, what: What) -> Option<Vec<u8>> {
    let told = Told {
        device: device.clone(),
        at_us: stamp_us(),
        what,
    };
    let payload = told.encode().ok()?;
    let entry = Entry {
        kind: spool::Kind::Image,
        device: device.clone(),
        suite,
        payload: &payload,
    };
    Some(entry.to_bytes())
}

/// Reads and verifies a manifest that is to be of this image.
fn verified(bytes: &[u8], trust: &Trust, digest: &Digest) -> Result<Verified, String> {
    let refused = |error: stencil_update::envelope::Error| format!("refused: {error}");
    let verified = Envelope::decode(bytes).map_err(refused)?.verify(trust);
    let verified = verified.map_err(refused)?;
    if verified.header().digest != *digest {
        return Err("refused: the manifest is of another image".to_owned());
    }
    Ok(verified)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
