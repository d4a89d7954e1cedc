//! One device that takes firmware: the boot loader's own logic over a flash in memory.

use std::sync::Arc;

use stencil_boot::model::Nor;
use stencil_boot::{Config, Layout, Updater, start};
use stencil_protocol::id::DeviceId;
use stencil_protocol::image::{Digest, What};
use stencil_update::header::HEADER_BYTES;

/// An application that begins with this never talks to its gateway: what a bad release does.
pub const BAD: &[u8] = b"BAD";

const ERASE: usize = 4096;
const BLOCK: u32 = 4096;
/// Bytes that go over the link at once.
const CHUNK: usize = 1024;
/// More starts than a loader needs to fall back.
const MAX_STARTS: usize = 8;

type Flash = Nor<4, ERASE>;

/// A package as a device downloads it, and what it is of.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) digest: Digest,
    pub(super) offer: [u8; HEADER_BYTES],
    pub(super) bytes: Vec<u8>,
}

/// A device.
pub(super) struct Device {
    pub(super) id: DeviceId,
    pub(super) on: bool,
    flash: Flash,
    config: Config,
    work: Work,
    /// Images that were installed, in order.
    pub(super) installed: Vec<Digest>,
}

enum Work {
    /// It has to start.
    Reset,
    /// It runs, and has nothing to do.
    Idle(Digest),
    Downloads {
        runs: Digest,
        package: Arc<Package>,
    },
}

/// Two blocks of journal, two slots of eight.
pub(super) fn layout() -> Layout {
    Layout {
        journal: 0,
        journal_half: BLOCK,
        slots: [2 * BLOCK, 10 * BLOCK],
        slot_bytes: 8 * BLOCK,
    }
}

impl Device {
    /// As it leaves the factory: with a first image in its first slot.
    pub(super) fn new(id: DeviceId, config: Config, factory: &[u8], noise: u64) -> Self {
        let mut flash = Flash::new(18, noise);
        let at = usize::try_from(config.layout.slots[0]).unwrap_or(0);
        let slot = flash.bytes_mut().iter_mut().skip(at);
        slot.zip(factory).for_each(|(to, from)| *to = *from);
        Self {
            id,
            on: false,
            flash,
            config,
            work: Work::Reset,
            installed: Vec::new(),
        }
    }

    /// What it runs, if it has started.
    pub(super) fn runs(&self) -> Option<Digest> {
        match &self.work {
            Work::Reset => None,
            Work::Idle(runs) | Work::Downloads { runs, .. } => Some(*runs),
        }
    }

    /// The power is gone.
    pub(super) fn off(&mut self) {
        self.on = false;
        self.work = Work::Reset;
    }

    /// Does a part of what is to be done, and says what its gateway tells of that; whether the
    /// link is new is for the gateway to see by [`What::Runs`].
    pub(super) fn step(&mut self, wanted: Option<&Arc<Package>>) -> Vec<What> {
        if !self.on {
            return Vec::new();
        }
        let done = match std::mem::replace(&mut self.work, Work::Reset) {
            Work::Reset => self.boot(),
            Work::Idle(runs) => match wanted.filter(|package| package.digest != runs) {
                Some(package) => self.offered(runs, package),
                None => {
                    self.work = Work::Idle(runs);
                    Ok(Vec::new())
                }
            },
            // What is no longer wanted is let go of.
            Work::Downloads { runs, package } => {
                match wanted.filter(|wanted| wanted.digest == package.digest) {
                    Some(_) => self.download(runs, package),
                    None => {
                        self.work = Work::Idle(runs);
                        Ok(Vec::new())
                    }
                }
            }
        };
        done.unwrap_or_else(|(runs, digest, reason)| {
            self.work = Work::Idle(runs);
            vec![What::GaveUp { digest, reason }]
        })
    }

    /// What it says of itself at the beginning of a link.
    pub(super) fn says(&mut self) -> Option<What> {
        let mut updater = Updater::open(&mut self.flash, self.config).ok()?;
        let running = updater.running().ok()?;
        Some(What::Runs {
            digest: running.header.digest,
            sequence: running.header.sequence,
            class: super::class(&running.header),
            trial: !running.confirmed,
            version: Some(running.header.version.to_string()),
        })
    }

    fn boot(&mut self) -> Result<Vec<What>, GaveUp> {
        for _ in 0..MAX_STARTS {
            let mut begins = Vec::new();
            let started = start(&mut self.flash, &self.config, |offset, piece| {
                if offset == 0 {
                    begins = piece.iter().take(BAD.len()).copied().collect();
                }
            });
            let Ok(started) = started else {
                break;
            };
            if begins == BAD {
                // It hangs, and the watchdog resets it.
                continue;
            }
            let digest = started.header.digest;
            self.work = Work::Idle(digest);
            let mut said: Vec<What> = self.says().into_iter().collect();
            // It has talked to its gateway: it keeps the image.
            if matches!(said.first(), Some(What::Runs { trial: true, .. })) {
                let confirmed = Updater::open(&mut self.flash, self.config)
                    .and_then(|mut updater| updater.confirm());
                if confirmed.is_ok() {
                    said.extend(self.says());
                }
            }
            return Ok(said);
        }
        tracing::error!(device = %self.id, "nothing is left to start");
        self.on = false;
        Ok(Vec::new())
    }

    fn offered(&mut self, runs: Digest, package: &Arc<Package>) -> Result<Vec<What>, GaveUp> {
        let mut updater = Updater::open(&mut self.flash, self.config);
        let next = match &mut updater {
            Ok(updater) => updater
                .offer(&package.offer)
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let next = next.map_err(|reason| (runs, package.digest, cut(reason)))?;
        self.work = Work::Downloads {
            runs,
            package: Arc::clone(package),
        };
        Ok(vec![has(package, next)])
    }

    /// One block of flash at a time: as much as is written down.
    fn download(&mut self, runs: Digest, package: Arc<Package>) -> Result<Vec<What>, GaveUp> {
        let gave_up = |reason: String| (runs, package.digest, cut(reason));
        let mut updater = Updater::open(&mut self.flash, self.config)
            .map_err(|error| gave_up(error.to_string()))?;
        let mut next = updater
            .offer(&package.offer)
            .map_err(|error| gave_up(error.to_string()))?;
        let all = length(&package);
        let until = next.saturating_add(BLOCK).min(all);
        while next < until {
            let from = usize::try_from(next).unwrap_or(usize::MAX);
            let rest = package.bytes.get(from..).unwrap_or_default();
            let piece = rest.get(..CHUNK).unwrap_or(rest);
            next = updater
                .write(next, piece)
                .map_err(|error| gave_up(error.to_string()))?;
        }
        let mut said = vec![has(&package, next)];
        if next < all {
            self.work = Work::Downloads { runs, package };
            return Ok(said);
        }
        updater
            .finish()
            .map_err(|error| gave_up(error.to_string()))?;
        let digest = package.digest;
        self.installed.push(digest);
        // And then it resets.
        said.push(What::Installs { digest });
        Ok(said)
    }
}

/// What it runs still, what it gave up, and why.
type GaveUp = (Digest, Digest, String);

fn length(package: &Package) -> u32 {
    u32::try_from(package.bytes.len()).unwrap_or(u32::MAX)
}

fn has(package: &Package, have: u32) -> What {
    What::Has {
        digest: package.digest,
        have,
        of: length(package),
    }
}

fn cut(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(stencil_protocol::image::MAX_REASON_BYTES));
    reason
}
