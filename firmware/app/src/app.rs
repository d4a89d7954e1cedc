//! The application: measure, number, keep, send, obey.

use stencil_crypto::link::Resumption;
use stencil_crypto::psk::Psk;
use stencil_protocol::command::{Command, State as CommandState};
use stencil_protocol::id::{Boot, CommandId, Seq};
use stencil_protocol::link::{Down, Up};
use stencil_protocol::sample::Sample;

use crate::actuator::Actuator;
use crate::board::{Board, Parts};
use crate::buffer::Ring;
use crate::clock::{Clock, Stamp, WallClock, signed};
use crate::commands::Admission;
use crate::config::Config;
use crate::link::{LinkCounters, LinkState, Psks, Wire};
use crate::outbox::{BATCH_BYTES, Outbox};
use crate::retained::{Given, Kept, Keys, Retained, State};
use crate::sensor::{Reading, Sensor, Taken};
use crate::slots::Slots;
use crate::update::{Say, Update};
use crate::witness::Witness;

/// How many frames one poll starts at most.
const FRAMES_PER_POLL: usize = 8;
/// How many measurements one poll takes at most, when the interval is 0.
const MEASURES_PER_POLL: usize = 64;
/// A source without an interval that gave nothing is asked again after this.
const IDLE_SOURCE_US: u64 = 10_000;

/// What the board is to do after a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poll {
    /// Poll again at this time of the board's clock, or as soon as the link
    /// has bytes.
    pub next_us: u64,
    /// Bytes wait to be written: poll as soon as the link takes more.
    pub wants_write: bool,
    /// How far the link is. `Down`: open one and call [`App::link_up`].
    pub link: LinkState,
    /// A new image waits for a reset, and every number is acknowledged: reset now.
    pub reset: bool,
}

/// Where a device's numbers stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The boot that runs.
    pub boot: Boot,
    /// The highest number that was given in it.
    pub last_given: Seq,
    /// The gateway holds everything up to here.
    pub acked: Seq,
    /// Samples in the buffer.
    pub buffered: u64,
    /// Commands with statuses that the gateway has not confirmed.
    pub unconfirmed_commands: usize,
    /// Nothing is left to tell the gateway: no number, no report of an earlier
    /// boot, no status.
    pub settled: bool,
}

/// What happened in this boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Measurements that were taken, those that failed included: on a device that
    /// works, one each interval.
    pub measurements: u32,
    /// Measurements that failed.
    pub sensor_errors: u32,
    /// Readings that break the limits of a sample; they get no number.
    pub unusable_readings: u32,
    /// Samples that the full buffer dropped.
    pub dropped_samples: u64,
    /// Batches sent, repetitions included.
    pub batches: u32,
    /// Commands carried out.
    pub commands_executed: u32,
    /// Commands that were offered again and answered.
    pub commands_repeated: u32,
    /// Commands that were neither carried out nor answered: for another
    /// device, before the time was known, or too many at once.
    pub commands_refused: u32,
}

/// The device application on the board `B`, with `BUFFER` bytes for samples
/// that wait, and with slots for images if it has some. See the [crate] for how it works.
pub struct App<B: Board, const BUFFER: usize, U: Slots = ()> {
    config: Config,
    parts: Parts<B>,
    wire: Wire<B::Link>,
    ring: Ring<BUFFER>,
    state: State,
    wall: WallClock,
    outbox: Outbox,
    counters: Counters,
    measuring: bool,
    next_measure_us: u64,
    /// A sign of life is due: the first message confirms the handshake.
    greet: bool,
    statuses_sent_us: u64,
    update: Update<U>,
}

impl<B: Board, const BUFFER: usize> App<B, BUFFER> {
    /// Begins a new boot of a device without slots: see [`App::with_slots`].
    pub fn new(config: Config, parts: Parts<B>) -> Self {
        Self::with_slots(config, parts, ())
    }
}

impl<B: Board, const BUFFER: usize, U: Slots> App<B, BUFFER, U> {
    /// Begins a new boot: counts it in retained memory before anything else. A
    /// device without retained memory draws its first boot number at random
    /// ([`State::fresh`]).
    pub fn with_slots(config: Config, mut parts: Parts<B>, slots: U) -> Self {
        let mut state = parts
            .retained
            .load()
            .unwrap_or_else(|| State::fresh(&mut parts.rng));
        state.begin_boot();
        // Provisioned anew: what it was given in place of another key is of no use.
        if state
            .keys
            .take_if(|keys| keys.instead_of != config.psk)
            .is_some()
        {
            state.kept = None;
        }
        parts.retained.store(&state);
        Self {
            ring: Ring::new(state.last_given),
            config,
            parts,
            wire: Wire::new(),
            state,
            wall: WallClock::default(),
            outbox: Outbox::default(),
            counters: Counters::default(),
            measuring: true,
            next_measure_us: 0,
            greet: false,
            statuses_sent_us: 0,
            update: Update::new(slots),
        }
    }

    /// A byte link is open: the handshake starts with the next poll. A link
    /// that was open before is dropped.
    pub fn link_up(&mut self, link: B::Link) {
        let now_us = self.parts.clock.monotonic_us();
        self.wire.open(link, now_us);
    }

    /// The board knows that the byte link is gone.
    pub fn link_lost(&mut self) {
        self.wire.close();
    }

    /// The link that was given up, for a board that has but one: reset it and
    /// give it to [`App::link_up`] again.
    pub fn take_link(&mut self) -> Option<B::Link> {
        self.wire.take_given_up()
    }

    /// Measure from now on, or stop. Sending goes on either way.
    pub fn set_measuring(&mut self, measuring: bool) {
        self.measuring = measuring;
    }

    /// Where the numbers stand.
    pub fn progress(&self) -> Progress {
        let state = &self.state;
        Progress {
            boot: state.boot,
            last_given: state.last_given,
            acked: state.acked,
            buffered: self.ring.len(),
            unconfirmed_commands: state.commands.unconfirmed(),
            settled: state.acked == state.last_given
                && !state.has_report()
                && state.commands.unconfirmed() == 0,
        }
    }

    /// What happened in this boot.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What happened on the link in this boot.
    pub fn link_counters(&self) -> LinkCounters {
        self.wire.counters()
    }

    /// The board's parts.
    pub fn parts(&mut self) -> &mut Parts<B> {
        &mut self.parts
    }

    /// Where images are kept.
    pub fn slots(&mut self) -> &mut U {
        self.update.slots()
    }

    /// Does everything that is due; blocks only for the sensor's conversion.
    pub fn poll(&mut self) -> Poll {
        let now_us = self.parts.clock.monotonic_us();
        let actuator_us = self.parts.actuator.poll(now_us);
        self.receive(now_us);
        let kept = self.resumption(now_us);
        let keys = self.state.keys.as_ref();
        let psks = Psks {
            newest: keys.map_or(&self.config.psk, Keys::newest),
            before: keys.and_then(Keys::before),
        };
        let rng = &mut self.parts.rng;
        self.wire
            .advance(&self.config, psks, kept.as_ref(), rng, now_us);
        let measured = self.measure(now_us);
        self.verify(measured, now_us);
        self.transmit(now_us);
        self.wire.flush();
        Poll {
            next_us: self.due_us(now_us, actuator_us),
            wants_write: self.wire.wants_write(),
            link: self.wire.state(),
            reset: self.update.wants_reset() && self.progress().settled,
        }
    }

    // Not inlined, like the other steps of a poll: a handshake's KEM needs most of a small
    // device's stack, and only the frames on its own way may be there meanwhile.
    #[inline(never)]
    fn receive(&mut self, now_us: u64) {
        let Self {
            wire,
            config,
            parts,
            state,
            ring,
            wall,
            outbox,
            counters,
            update,
            ..
        } = self;
        let mut desk = Desk {
            config,
            parts,
            state,
            ring,
            wall,
            outbox,
            counters,
            update,
            now_us,
            has_new_key: false,
        };
        let completed = wire.receive(desk.config, now_us, |message| desk.take(message));
        let has_new_key = desk.has_new_key;
        if completed {
            self.keep(now_us);
            self.outbox.link_up();
            self.state.commands.resend();
            self.greet = true;
            self.update.link_up();
        }
        if has_new_key {
            // The one before holds until a session has come of this one.
            self.wire.restart(now_us);
        }
    }

    /// What to resume the next session with, as long as it may be.
    fn resumption(&mut self, now_us: u64) -> Option<Resumption> {
        if self.has_stale_keys(now_us) {
            return None;
        }
        let kept = self.state.kept.as_ref()?;
        let used_up = kept.resumption.generation() >= self.config.max_resumptions;
        (!used_up).then(|| kept.resumption.clone())
    }

    /// Whether it is time to agree on fresh keys, as far as the time is known.
    fn has_stale_keys(&mut self, now_us: u64) -> bool {
        let fresh_us = self.state.kept.as_ref().and_then(|kept| kept.fresh_us);
        let age_us = self
            .wall
            .now_us(now_us)
            .zip(fresh_us)
            .map(|(now_us, fresh_us)| now_us.saturating_sub(fresh_us));
        age_us.is_some_and(|age_us| age_us >= signed(self.config.fresh_keys_us))
    }

    /// Puts what a session leaves into retained memory, before anything is sent in it:
    /// the secret that it came from is then of no more use to anyone.
    fn keep(&mut self, now_us: u64) {
        let Some(left) = self.wire.take_left() else {
            return;
        };
        let fresh_us = if left.fresh {
            self.wall.now_us(now_us)
        } else {
            self.state.kept.as_ref().and_then(|kept| kept.fresh_us)
        };
        let mut waits = false;
        if let Some(keys) = &mut self.state.keys {
            if let Some(psk) = &left.psk {
                keys.used(psk);
            }
            waits = keys.next.is_some();
        }
        // With a key that waits, the next session isn't resumed: it is to come of that.
        self.state.kept = (!waits).then_some(Kept {
            resumption: left.resumption,
            fresh_us,
        });
        self.parts.retained.store(&self.state);
    }

    /// Measures if it is time. Returns whether the next measurement is as far away as it
    /// gets.
    #[inline(never)]
    fn measure(&mut self, now_us: u64) -> bool {
        // Until the reset for a new image nothing is begun that it would lose.
        let held = self.update.wants_reset() && self.wire.state() == LinkState::Up;
        if !self.measuring || held {
            return true;
        }
        if now_us < self.next_measure_us {
            return false;
        }
        let interval_us = self.config.sample_interval_us;
        if interval_us > 0 {
            // Missed measurements are not made up for.
            let on_time = self.next_measure_us.saturating_add(interval_us);
            self.next_measure_us = if on_time > now_us {
                on_time
            } else {
                now_us.saturating_add(interval_us)
            };
            if self.has_room() {
                self.measure_once(now_us);
            }
            return true;
        }
        self.next_measure_us = now_us;
        for _ in 0..MEASURES_PER_POLL {
            if !self.has_room() || self.measure_once(now_us) == 0 {
                self.next_measure_us = now_us.saturating_add(IDLE_SOURCE_US);
                break;
            }
        }
        true
    }

    /// Verifies what has come of an image, if it is time.
    #[inline(never)]
    fn verify(&mut self, measured: bool, now_us: u64) {
        self.update.work(measured, now_us);
    }

    fn has_room(&self) -> bool {
        !self.config.lossless || self.ring.has_room_for(self.config.readings_per_measure)
    }

    /// Takes one measurement; says how many numbers it gave.
    fn measure_once(&mut self, now_us: u64) -> u32 {
        let (sensor, mut book) = self.book(now_us);
        let measured = sensor.measure(&mut |reading: Reading<'_>| {
            book.enter(&reading);
        });
        let given = book.given;
        self.counters.measurements = self.counters.measurements.saturating_add(1);
        if measured.is_err() {
            self.counters.sensor_errors = self.counters.sensor_errors.saturating_add(1);
        }
        given
    }

    /// Takes down what the board itself has to tell, such as why it was reset. It
    /// gets a number and reaches the hub like whatever is measured. Returns the
    /// number, or nothing when the reading breaks the limits of a sample.
    pub fn note(&mut self, reading: &Reading<'_>) -> Option<Seq> {
        let now_us = self.parts.clock.monotonic_us();
        self.book(now_us).1.enter(reading)
    }

    /// The sensor, and where its readings at `now_us` are entered.
    fn book(&mut self, now_us: u64) -> (&mut B::Sensor, Book<'_, B, BUFFER>) {
        // All values of one measurement carry one time.
        let now = match self.wall.now_us(now_us) {
            Some(time_us) => Stamp::Wall(time_us),
            None => Stamp::Counter(signed(now_us)),
        };
        let Parts {
            sensor,
            retained,
            witness,
            ..
        } = &mut self.parts;
        let book = Book {
            state: &mut self.state,
            ring: &mut self.ring,
            counters: &mut self.counters,
            retained,
            witness,
            now,
            given: 0,
        };
        (sensor, book)
    }

    #[inline(never)]
    fn transmit(&mut self, now_us: u64) {
        if self.wire.state() != LinkState::Up {
            return;
        }
        let silent_us = now_us.saturating_sub(self.wire.up_since_us());
        let no_time = !self.wall.known() && silent_us >= self.config.handshake_us;
        let unheard = self.outbox.attempts() >= self.config.attempts
            && self.outbox_due_us().is_some_and(|due_us| now_us >= due_us);
        let stalled = self.wire.wants_write() && now_us >= self.stalls_us();
        if self.has_stale_keys(now_us) {
            // The next session may not be resumed then.
            self.wire.restart(now_us);
            return;
        }
        if no_time || unheard || stalled {
            self.wire.restart(now_us);
            return;
        }
        // The time comes as the answer to a sign of life, and may get lost.
        let asked_us = now_us.saturating_sub(self.wire.sent_us());
        if !self.wall.known() && asked_us >= self.config.answer_us {
            self.greet = true;
        }
        if now_us.saturating_sub(self.statuses_sent_us) >= self.config.resend_us {
            self.state.commands.resend();
            self.statuses_sent_us = now_us;
        }
        for _ in 0..FRAMES_PER_POLL {
            if !self.wire.flush() || !self.send_next(now_us) {
                break;
            }
        }
    }

    /// Starts one frame, if anything is due. The link is up and flushed.
    fn send_next(&mut self, now_us: u64) -> bool {
        if let Some(say) = self.update.due(&self.config, now_us) {
            return self.say(&say, now_us);
        }
        let quiet_us = now_us.saturating_sub(self.wire.sent_us());
        if self.greet || quiet_us >= self.config.keep_alive_us {
            self.greet = false;
            return self.wire.send(&Up::Ping, now_us);
        }
        if let Some(status) = self.state.commands.due() {
            let (id, state) = (status.id, status.state);
            let sent = self.wire.send(&Up::Status(status), now_us);
            self.state.commands.sent(id, state);
            self.statuses_sent_us = now_us;
            return sent;
        }
        // Before the gateway has told the time, samples have none to carry.
        if !self.wall.known() || self.outbox_due_us().is_none_or(|due_us| now_us < due_us) {
            return false;
        }
        let mut batch = [0; BATCH_BYTES];
        let written = self
            .outbox
            .write(&self.config, &self.ring, &self.state, now_us, &mut batch);
        let Ok(length) = written else { return false };
        self.counters.batches = self.counters.batches.saturating_add(1);
        self.wire
            .send(&Up::Batch(batch.get(..length).unwrap_or_default()), now_us)
    }

    /// Says something of images. Returns whether it went.
    fn say(&mut self, say: &Say, now_us: u64) -> bool {
        let wire = &mut self.wire;
        let sent = match say {
            Say::Running => {
                let told = self
                    .update
                    .with_running(|running| wire.send(running, now_us));
                // It is a sign of life, too. Flash that cannot be read tells nothing.
                self.greet &= !told.unwrap_or_default();
                told.unwrap_or(true)
            }
            Say::Verdict(verdict) => wire.send(&Up::Verdict(*verdict), now_us),
            Say::Want(want) => wire.send(&Up::Want(*want), now_us),
        };
        if sent {
            self.update.said(say, &self.config, now_us);
        }
        sent
    }

    /// When a link that takes nothing counts as stalled.
    fn stalls_us(&self) -> u64 {
        self.wire.sent_us().saturating_add(self.config.handshake_us)
    }

    fn outbox_due_us(&self) -> Option<u64> {
        self.outbox.due_us(&self.config, &self.ring, &self.state)
    }

    fn due_us(&self, now_us: u64, actuator_us: Option<u64>) -> u64 {
        let mut next_us = now_us.saturating_add(self.config.keep_alive_us);
        let mut by = |due_us: Option<u64>| next_us = next_us.min(due_us.unwrap_or(u64::MAX));
        by(actuator_us);
        by(self.wire.due_us());
        by(self.measuring.then_some(self.next_measure_us));
        if self.wire.state() == LinkState::Up && self.wire.wants_write() {
            // While the link takes nothing, nothing else can be sent.
            by(Some(self.stalls_us()));
        } else if self.wire.state() == LinkState::Up {
            let keep_alive_us = self.config.keep_alive_us;
            by(Some(self.wire.sent_us().saturating_add(keep_alive_us)));
            by(self.update.due_us());
            if self.wall.known() {
                by(self.outbox_due_us());
            } else {
                let up_us = self.wire.up_since_us();
                by(Some(up_us.saturating_add(self.config.handshake_us)));
                let asked_us = self.wire.sent_us();
                by(Some(asked_us.saturating_add(self.config.answer_us)));
            }
            if self.state.commands.unconfirmed() > 0 {
                by(Some(
                    self.statuses_sent_us.saturating_add(self.config.resend_us),
                ));
            }
        }
        next_us.max(now_us)
    }
}

/// Where readings get their numbers.
struct Book<'a, B: Board, const BUFFER: usize> {
    state: &'a mut State,
    ring: &'a mut Ring<BUFFER>,
    counters: &'a mut Counters,
    retained: &'a mut B::Retained,
    witness: &'a mut B::Witness,
    now: Stamp,
    given: u32,
}

impl<B: Board, const BUFFER: usize> Book<'_, B, BUFFER> {
    fn enter(&mut self, reading: &Reading<'_>) -> Option<Seq> {
        let stamp = match reading.taken {
            Taken::Now => self.now,
            Taken::At(time_us) => Stamp::Wall(time_us),
        };
        let (Stamp::Wall(time_us) | Stamp::Counter(time_us)) = stamp;
        let Reading {
            name, value, unit, ..
        } = *reading;
        let sample = Sample {
            name,
            value,
            unit,
            time_us,
        };
        if sample.check().is_err() {
            self.counters.unusable_readings = self.counters.unusable_readings.saturating_add(1);
            return None;
        }
        // The number is retained before anyone can see it: a reset at any
        // point then finds it given.
        let seq = Seq(self.state.last_given.0 + 1);
        self.state.last_given = seq;
        self.retained.store(self.state);
        self.witness.given(self.state.boot, seq, reading, stamp);
        self.counters.dropped_samples += self.ring.push(&sample, stamp);
        self.given += 1;
        Some(seq)
    }
}

/// What a message from the gateway acts on.
struct Desk<'a, B: Board, const BUFFER: usize, U: Slots> {
    config: &'a Config,
    parts: &'a mut Parts<B>,
    state: &'a mut State,
    ring: &'a mut Ring<BUFFER>,
    wall: &'a mut WallClock,
    outbox: &'a mut Outbox,
    counters: &'a mut Counters,
    update: &'a mut Update<U>,
    now_us: u64,
    /// There is a key that a session can be begun with.
    has_new_key: bool,
}

impl<B: Board, const BUFFER: usize, U: Slots> Desk<'_, B, BUFFER, U> {
    fn take(&mut self, message: &Down<'_>) {
        // It was opened with the session's keys: the gateway lives.
        self.update.heard();
        match message {
            Down::Time { now_us } => self.time(*now_us),
            Down::Ack { boot, through } => {
                if self
                    .outbox
                    .acknowledged(*boot, *through, self.ring, self.state)
                {
                    self.parts.retained.store(self.state);
                    self.parts.witness.acknowledged(*boot, self.state.acked);
                }
            }
            Down::StatusAck { id, state } => self.confirm(*id, *state),
            Down::Command(command) => self.command(command),
            Down::Key { generation, key } => {
                if let Ok(key) = Psk::from_bytes(key.0) {
                    self.key(Given {
                        generation: *generation,
                        key,
                    });
                }
            }
            Down::Offer(header) => self.update.offered(header, self.now_us),
            Down::Chunk(chunk) => self.update.chunk(chunk, self.now_us),
        }
    }

    fn time(&mut self, told_us: i64) {
        let first = !self.wall.known();
        if let Some(offset_us) = self.wall.set(told_us, self.now_us)
            && first
        {
            self.ring.correct(offset_us);
            self.parts.witness.time_known(self.state.boot, offset_us);
        }
        if let Some(kept) = &mut self.state.kept
            && kept.fresh_us.is_none()
            && let Some(now_us) = self.wall.now_us(self.now_us)
        {
            kept.fresh_us = Some(now_us);
            self.parts.retained.store(self.state);
        }
    }

    /// Keeps another key. One that is there already changes nothing: it waits for the
    /// next handshake, if it has been refused.
    fn key(&mut self, given: Given) {
        let provisioned = &self.config.psk;
        let keys = self.state.keys.take();
        let mut keys = keys.unwrap_or_else(|| Keys::none(provisioned));
        if keys.give(given) {
            self.has_new_key = true;
            self.state.kept = None;
        }
        self.state.keys = (keys.in_force.is_some() || keys.next.is_some()).then_some(keys);
        if self.has_new_key {
            self.parts.retained.store(self.state);
        }
    }

    fn confirm(&mut self, id: CommandId, state: CommandState) {
        if self.state.commands.confirm(id, state) {
            self.parts.retained.store(self.state);
        }
    }

    fn command(&mut self, command: &Command<'_>) {
        // Without the time nobody knows whether it came too late.
        let told_us = self.wall.now_us(self.now_us);
        let admission = match told_us {
            Some(now_us) if command.device == self.config.device => {
                self.state.commands.admit(command, now_us)
            }
            _ => Admission::Refused,
        };
        let now_us = told_us.unwrap_or_default();
        match admission {
            Admission::Refused => {
                self.counters.commands_refused = self.counters.commands_refused.saturating_add(1);
            }
            Admission::Repeated => {
                self.counters.commands_repeated = self.counters.commands_repeated.saturating_add(1);
            }
            Admission::Expired => self.parts.retained.store(self.state),
            Admission::Execute => {
                self.parts.retained.store(self.state);
                let outcome =
                    self.parts
                        .actuator
                        .apply(command.name, command.argument, self.now_us);
                self.state.commands.end(command.id, outcome, now_us);
                self.parts.retained.store(self.state);
                let ended = if outcome.is_ok() {
                    CommandState::Done
                } else {
                    CommandState::Failed
                };
                self.parts
                    .witness
                    .executed(self.state.boot, command, ended, now_us);
                self.counters.commands_executed = self.counters.commands_executed.saturating_add(1);
            }
        }
    }
}
