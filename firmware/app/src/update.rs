//! Receiving a firmware image beside everything else.
//!
//! The gateway offers; the device wants one chunk after the other and writes each to flash as it
//! comes, so nothing of it stays in RAM, and a transfer costs a reading no more than the time of
//! one chunk. What takes longer, the verification of the signature and of the whole image, is done
//! right after a measurement. A whole and verified image starts at the next reset, which the board
//! is asked for when every number has been acknowledged.
//!
//! A gateway that was broken into can offer what it likes: at most [`MAX_BEGUN`] packages are
//! begun after a start, and one more each hour, so that it cannot wear out the flash.

use sha2::{Digest as _, Sha256};
use stencil_protocol::link::Up;
use stencil_protocol::transfer::{self, Chunk, HEADER_BYTES, Name, Outcome, Verdict, Want};

use crate::config::Config;
use crate::slots::{Fault, Slots, Taken};

/// How many packages may be begun after a start of the device.
pub const MAX_BEGUN: u8 = 4;
/// After this long one more may be begun.
pub const BEGIN_AGAIN_US: u64 = 3_600 * 1_000_000;
/// So often in a row the flash may fail before a package is given up.
const MAX_FAULTS: u8 = 3;
/// Verification waits no longer than this for a measurement to be taken.
const WORK_US: u64 = 10_000_000;

/// What the device has to say next.
pub(crate) enum Say {
    Running,
    Verdict(Verdict),
    Want(Want),
}

struct Download {
    taken: Taken,
    /// The want that is next, or was sent.
    want_us: u64,
    /// Wants without a chunk, one after the other.
    unheard: u8,
    faults: u8,
    /// Since when something waits to be verified.
    work_since_us: Option<u64>,
}

/// The device's side of a transfer.
pub(crate) struct Update<U> {
    slots: U,
    /// What runs is to be told.
    announce: bool,
    /// The running image has still to be confirmed.
    on_trial: bool,
    download: Option<Download>,
    verdict: Option<Verdict>,
    tell_verdict: bool,
    ready: bool,
    may_begin: u8,
    begin_again_us: u64,
}

impl<U: Slots> Update<U> {
    pub(crate) fn new(mut slots: U) -> Self {
        let running = slots.running();
        Self {
            on_trial: running.is_some_and(|it| it.header.sequence > it.confirmed),
            slots,
            announce: false,
            download: None,
            verdict: None,
            tell_verdict: false,
            ready: false,
            may_begin: MAX_BEGUN,
            begin_again_us: 0,
        }
    }

    pub(crate) fn slots(&mut self) -> &mut U {
        &mut self.slots
    }

    /// A session has begun: what runs is told first of all. What was under way is offered again.
    pub(crate) fn link_up(&mut self) {
        self.announce = self.slots.running().is_some();
        self.download = None;
        self.tell_verdict = false;
    }

    /// An image is whole, verified and told of: it starts at the next reset.
    pub(crate) fn wants_reset(&self) -> bool {
        self.ready && !self.tell_verdict
    }

    /// The gateway has said something in a live session: the running image has proved itself.
    pub(crate) fn heard(&mut self) {
        if self.on_trial && self.slots.confirm() {
            self.on_trial = false;
            self.announce = true;
        }
    }

    pub(crate) fn offered(&mut self, header: &[u8; HEADER_BYTES], now_us: u64) {
        while self.may_begin < MAX_BEGUN && now_us >= self.begin_again_us {
            self.may_begin += 1;
            self.begin_again_us = self.begin_again_us.saturating_add(BEGIN_AGAIN_US);
        }
        match self.slots.offer(header, self.may_begin > 0) {
            Ok(taken) => {
                if taken.begins {
                    if self.may_begin == MAX_BEGUN {
                        self.begin_again_us = now_us.saturating_add(BEGIN_AGAIN_US);
                    }
                    self.may_begin = self.may_begin.saturating_sub(1);
                }
                // What was ready before this is not any more, if it is another.
                self.ready = false;
                self.tell_verdict = false;
                self.download = Some(Download {
                    taken,
                    want_us: now_us,
                    unheard: 0,
                    faults: 0,
                    work_since_us: None,
                });
                self.look_for_work(now_us);
            }
            Err(outcome) => {
                // As the header names itself.
                let digest = Sha256::digest(header);
                let mut name = [0; transfer::NAME_BYTES];
                name.copy_from_slice(&digest[..transfer::NAME_BYTES]);
                self.end(name, outcome);
            }
        }
    }

    /// Writes a chunk that was wanted; others are of no use.
    pub(crate) fn chunk(&mut self, chunk: &Chunk<'_>, now_us: u64) {
        let Some(download) = &mut self.download else {
            return;
        };
        let is_next = chunk.name == download.taken.name && chunk.offset == download.taken.next;
        if !is_next || download.work_since_us.is_some() {
            return;
        }
        let name = download.taken.name;
        download.want_us = now_us;
        download.unheard = 0;
        match self.slots.append(chunk.offset, chunk.bytes) {
            Ok(next) => {
                download.taken.next = next;
                download.faults = 0;
            }
            Err(Fault::Again(next)) if download.faults < MAX_FAULTS => {
                download.taken.next = next;
                download.faults += 1;
            }
            Err(Fault::Again(_)) => return self.end(name, Outcome::FLASH),
            Err(Fault::Refused(outcome)) => return self.end(name, outcome),
        }
        self.look_for_work(now_us);
    }

    /// What is to be verified before the next chunk is wanted.
    fn look_for_work(&mut self, now_us: u64) {
        let checked = !self.slots.is_to_be_checked();
        if let Some(download) = &mut self.download {
            let whole = download.taken.next == download.taken.size;
            download.work_since_us = (whole || !checked).then_some(now_us);
        }
    }

    /// Verifies what is to be verified: just after a measurement, when the next is as far away as
    /// it gets, or if there was none for long.
    pub(crate) fn work(&mut self, measured: bool, now_us: u64) {
        let Some(download) = &mut self.download else {
            return;
        };
        let Some(since_us) = download.work_since_us else {
            return;
        };
        if !measured && now_us < since_us.saturating_add(WORK_US) {
            return;
        }
        let name = download.taken.name;
        download.want_us = now_us;
        download.work_since_us = None;
        if self.slots.is_to_be_checked() {
            if let Err(outcome) = self.slots.check() {
                return self.end(name, outcome);
            }
            return self.look_for_work(now_us);
        }
        match self.slots.finish() {
            Ok(()) => {
                self.ready = true;
                self.end(name, Outcome::READY);
            }
            Err(outcome) => self.end(name, outcome),
        }
    }

    /// What is to be said now.
    pub(crate) fn due(&mut self, config: &Config, now_us: u64) -> Option<Say> {
        if self.announce {
            return Some(Say::Running);
        }
        if let Some(verdict) = self.verdict.filter(|_| self.tell_verdict) {
            return Some(Say::Verdict(verdict));
        }
        let download = self.download.as_ref()?;
        if download.work_since_us.is_some() || now_us < download.want_us {
            return None;
        }
        if download.unheard >= config.attempts {
            // It is offered again when the gateway has it.
            self.download = None;
            return None;
        }
        Some(Say::Want(Want {
            name: download.taken.name,
            offset: download.taken.next,
        }))
    }

    /// It was sent.
    pub(crate) fn said(&mut self, say: &Say, config: &Config, now_us: u64) {
        match say {
            Say::Running => self.announce = false,
            Say::Verdict(_) => self.tell_verdict = false,
            Say::Want(_) => {
                if let Some(download) = &mut self.download {
                    download.unheard = download.unheard.saturating_add(1);
                    download.want_us = now_us.saturating_add(config.resend_us);
                }
            }
        }
    }

    /// When there is something to do by itself, on a link that is up.
    pub(crate) fn due_us(&self) -> Option<u64> {
        if self.announce || self.tell_verdict {
            return Some(0);
        }
        let download = self.download.as_ref()?;
        Some(match download.work_since_us {
            Some(since_us) => since_us.saturating_add(WORK_US),
            None => download.want_us,
        })
    }

    /// Shows the message in which what runs is told.
    pub(crate) fn with_running<T>(&mut self, show: impl FnOnce(&Up<'_>) -> T) -> Option<T> {
        let running = self.slots.running()?;
        let header = &running.header;
        Some(show(&Up::Running(transfer::Running {
            digest: header.digest,
            sequence: header.sequence,
            version: header.version.as_str(),
            vendor: header.vendor.0,
            class: header.class.0,
            max_image: running.max_image,
            confirmed: running.confirmed,
            other: running.other,
            verdict: self.verdict,
        })))
    }

    fn end(&mut self, name: Name, outcome: Outcome) {
        self.download = None;
        self.verdict = Some(Verdict { name, outcome });
        self.tell_verdict = true;
    }
}
