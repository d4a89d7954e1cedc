//! Runs that something on a chain has caused, which a reorganisation can take back.
//!
//! A run is made when its cause is first in a block. Of each of its steps there is a [`physical`]
//! actuation, which says when the cause is deep enough for it: until then the step waits. A step that
//! tells no device is done once, like any other. What a `device.command` does in the world is told and
//! untold as often as the cause comes and goes, also after the end of the run: [`Caused::begin`]
//! gives one command after the other, the next when the one before has ended, each with a key that
//! follows from the cause, the step and the round.
//!
//! All of this is a value: what is observed and the time come in, commands and [`Turn`]s come out, and
//! are to be kept in one transaction with the new state. What comes twice changes nothing.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use stencil_payments::cause::Key;
use stencil_payments::observation::{Depth, Needs, Track};
use stencil_payments::physical::{self, Actuation, Event, What};
use stencil_protocol::command::State;
use stencil_protocol::id::{CommandId, DeviceId, TenantId};
use stencil_protocol::sample::OwnedValue;
use stencil_store::{
    CauseKey, CausedWait, Error, NewCommand, RunId, StoredCaused, StoredCommand, Turn, TurnKind,
};

use crate::definition::Definition;
use crate::effect::Effect;

/// The state of a caused run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caused {
    of: Of,
    track: Track<()>,
    /// That it is final was told, since it was last included.
    final_told: bool,
    places: Vec<Site>,
    steps: Vec<Held>,
    /// Since when the cause is gone that was there, µs since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gone_us: Option<i64>,
    /// It was gone for so long that the run no longer waits for it.
    #[serde(default)]
    given_up: bool,
}

/// For how long a run waits for a cause that has left its chain, µs: a week. A transaction that is in no
/// block by then has been replaced, or nobody sends it any more.
pub const GONE_FOR_GOOD_US: i64 = 7 * 86_400 * 1_000_000;

/// What the cause is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// That an invoice is paid: its id.
    Invoice(String),
    /// An event of a contract.
    Event,
}

/// A block that the cause is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// The name of the chain.
    pub chain: String,
    /// The block's number.
    pub block: u64,
}

/// A step of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Held {
    needs: Needs,
    actuation: Actuation,
    /// What told it to act, as long as that holds.
    act: Option<Key>,
    /// What is told to the device; from when the run has come to the step.
    orders: Option<Orders>,
    /// What is to be told to the device and was not, in order.
    queue: VecDeque<Order>,
    under_way: Option<Order>,
    /// It was told to act, and had not begun in time; it may still say that it did.
    expired: Option<Order>,
    /// What the run's step waits for: the device was told so first.
    first: Option<Order>,
    /// Whether the device has done it, or may have, and has not undone it.
    acted: bool,
    /// What was to undo it and did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<Failed>,
}

/// An order to undo that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Failed {
    /// The last one.
    order: Order,
    /// How often it was tried.
    tries: u32,
    /// When the next one is told, µs since the epoch; `None`: none is.
    again_us: Option<i64>,
    /// Whether the device may have begun it; if not, it may still say that it was done.
    begun: bool,
}

/// How often a device is told to undo something.
const MOST_UNDOS: u32 = 6;
/// Between two attempts: doubled with each, µs.
const LEAST_AGAIN_US: i64 = 30 * 1_000_000;

/// When it is told again what came to nothing so many times.
fn again_us(tries: u32, now_us: i64) -> Option<i64> {
    let wait_us = LEAST_AGAIN_US.saturating_mul(1_i64 << tries.saturating_sub(1).min(16));
    (tries < MOST_UNDOS).then(|| now_us.saturating_add(wait_us))
}

/// What is to be told to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    key: Key,
    is_undo: bool,
}

impl Order {
    fn command(&self) -> CommandId {
        stencil_edge::command_id(&self.key.to_string())
    }
}

/// What a device is told to do, and to undo it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Orders {
    device: DeviceId,
    act: Told,
    undo: Option<Told>,
}

impl Eq for Orders {}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    command: String,
    argument: Option<OwnedValue>,
    expires_us: i64,
}

impl Orders {
    /// From the rendered effects; `None` if they are no commands to one device.
    #[must_use]
    pub fn of(act: Effect, undo: Option<Effect>) -> Option<Self> {
        let told = |effect| match effect {
            Effect::DeviceCommand {
                device,
                command,
                argument,
                expires_us,
            } => Some((
                device,
                Told {
                    command,
                    argument,
                    expires_us,
                },
            )),
            _ => None,
        };
        let (device, act) = told(act)?;
        let undo = match undo {
            None => None,
            Some(undo) => {
                let (to, undo) = told(undo)?;
                (to == device).then_some(())?;
                Some(undo)
            }
        };
        Some(Self { device, act, undo })
    }
}

/// What comes of a change besides the new state.
#[derive(Debug, Default)]
pub struct Outcome {
    /// For people, in order.
    pub turns: Vec<Turn>,
    /// To be queued in the same transaction.
    pub commands: Vec<NewCommand>,
}

impl Caused {
    /// Of a run of this definition; nothing is known of its cause yet.
    ///
    /// # Errors
    /// A definition whose cause is not on a chain.
    pub fn new(
        run: &RunId,
        definition: &Definition,
        of: Of,
        now_us: i64,
    ) -> Result<Self, physical::Error> {
        let mut steps = Vec::with_capacity(definition.steps.len());
        for step in &definition.steps {
            let Some(finality) = &step.finality else {
                return Err(physical::Error::TooShallow);
            };
            let id = Key::of("stencil/workflow/step", &[&run.0, step.id.as_bytes()]);
            steps.push(Held {
                needs: finality.needs,
                actuation: Actuation::new(id, finality.terms(), now_us)?,
                act: None,
                orders: None,
                queue: VecDeque::new(),
                under_way: None,
                expired: None,
                first: None,
                acted: false,
                failed: None,
            });
        }
        Ok(Self {
            of,
            track: Track::default(),
            final_told: false,
            places: Vec::new(),
            steps,
            gone_us: None,
            given_up: false,
        })
    }

    /// As it was kept.
    ///
    /// # Errors
    /// What is kept cannot be read.
    pub fn read(stored: &StoredCaused) -> Result<Self, Error> {
        serde_json::from_str(&stored.body).map_err(|error| Error::Corrupt {
            what: "caused run",
            why: error.to_string(),
        })
    }

    /// As it is to be kept, as the next version of `before` (`None`: the first).
    #[must_use]
    pub fn store(
        &self,
        tenant: &TenantId,
        run: RunId,
        cause: CauseKey,
        version: u64,
    ) -> StoredCaused {
        // What is given up goes on as well: to its end.
        let goes_on = |index: &u32| self.given_up || self.is_open(*index);
        let steps = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        let opened = (0..steps.min(63)).filter(goes_on);
        let under_way = self.steps.iter().filter_map(|held| held.under_way.as_ref());
        StoredCaused {
            tenant: tenant.clone(),
            run,
            cause,
            version,
            // Numbers, texts, and nothing that JSON has not.
            body: serde_json::to_string(self).unwrap_or_default(),
            opened: opened.fold(0, |mask, index| mask | (1 << index)),
            wakes_us: {
                let steps = self.steps.iter().filter_map(Held::wakes_us);
                steps.chain(self.gives_up_us()).min()
            },
            under_way: under_way.map(Order::command).collect(),
            expired: self.expired().collect(),
            waits: self.waits(),
        }
    }

    /// What the cause is.
    #[must_use]
    pub fn of(&self) -> &Of {
        &self.of
    }

    /// The blocks that the cause is in.
    #[must_use]
    pub fn places(&self) -> &[Site] {
        &self.places
    }

    /// Whether the cause is in the chain, as far as it is known.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.track.canonical().is_some()
    }

    /// Whether the run no longer waits for its cause, which has left the chain.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.given_up
    }

    /// When it is given up if nothing happens before.
    fn gives_up_us(&self) -> Option<i64> {
        let gone_us = self.gone_us.filter(|_| !self.given_up)?;
        Some(gone_us.saturating_add(GONE_FOR_GOOD_US))
    }

    /// Whether a step may be done, or its device was told.
    #[must_use]
    pub fn is_open(&self, index: u32) -> bool {
        self.held(index)
            .is_some_and(|held| held.act.is_some() || held.first.is_some())
    }

    fn held(&self, index: u32) -> Option<&Held> {
        self.steps.get(usize::try_from(index).ok()?)
    }

    /// At which blocks of which chains more is to be known.
    fn waits(&self) -> Vec<CausedWait> {
        let mut waits: Vec<CausedWait> = Vec::new();
        if !self.is_there() {
            return waits;
        }
        for place in &self.places {
            for held in self.steps.iter().filter(|held| held.act.is_none()) {
                let index = waits.iter().position(|wait| wait.chain == place.chain);
                let index = index.unwrap_or_else(|| {
                    waits.push(CausedWait {
                        chain: place.chain.clone(),
                        newest: None,
                        finalized: None,
                    });
                    waits.len() - 1
                });
                let wait = &mut waits[index];
                let (at, which) = match held.needs {
                    Needs::Confirmations(count) => (
                        place.block.saturating_add(u64::from(count.max(1)) - 1),
                        &mut wait.newest,
                    ),
                    Needs::Safe | Needs::Finalized => (place.block, &mut wait.finalized),
                };
                *which = Some(which.map_or(at, |known| known.min(at)));
            }
        }
        waits
    }

    /// The cause is in these blocks.
    pub fn included(&mut self, seq: u64, places: Vec<Site>, now_us: i64, out: &mut Outcome) {
        let was = self.is_there();
        self.track.include(seq, ());
        if self.is_there() {
            if !was {
                let blocks: Vec<_> = places
                    .iter()
                    .map(|place| format!("block {} of {}", place.block, place.chain))
                    .collect();
                let detail = (!blocks.is_empty()).then(|| blocks.join(", "));
                out.tell(None, TurnKind::Included, now_us, None, detail);
            }
            self.places = places;
            (self.gone_us, self.given_up) = (None, false);
        }
        self.apply(&Event::Included { seq }, now_us, out);
    }

    /// The cause is no longer in the chain.
    pub fn retracted(&mut self, seq: u64, now_us: i64, out: &mut Outcome) {
        let was = self.is_there();
        self.track.retract(seq);
        if was && !self.is_there() {
            self.final_told = false;
            self.gone_us = Some(now_us);
            out.tell(None, TurnKind::Retracted, now_us, None, None);
        }
        // The time first: patience begins now.
        self.apply(&Event::Clock { now_us }, now_us, out);
        self.apply(&Event::Retracted { seq }, now_us, out);
    }

    /// The cause is that deep.
    pub fn deepened(&mut self, seq: u64, depth: Depth, now_us: i64, out: &mut Outcome) {
        self.track.deepen(seq, depth);
        let is_final = self
            .track
            .canonical()
            .is_some_and(|(_, depth)| depth.finalized);
        if is_final && !self.final_told {
            self.final_told = true;
            out.tell(None, TurnKind::Final, now_us, None, None);
        }
        self.apply(&Event::Depth { seq, depth }, now_us, out);
    }

    /// It is so late.
    pub fn clock(&mut self, now_us: i64, out: &mut Outcome) {
        if self.gives_up_us().is_some_and(|at_us| now_us >= at_us) {
            self.given_up = true;
        }
        self.apply(&Event::Clock { now_us }, now_us, out);
    }

    fn apply(&mut self, event: &Event, now_us: i64, out: &mut Outcome) {
        for (index, held) in (0..).zip(&mut self.steps) {
            if let Some(effect) = held.actuation.apply(event) {
                held.told(index, &effect, now_us, out);
            }
        }
    }

    /// The run has come to a step that tells a device, and the step is open: from now on the device is
    /// told. Gives the effect key and id of the command that the step waits for, once and for all.
    /// `None`: it is not open.
    pub fn prepare(&mut self, index: u32, orders: Orders) -> Option<(String, CommandId)> {
        let held = self.steps.get_mut(usize::try_from(index).ok()?)?;
        let first = match held.first {
            Some(first) => first,
            None => {
                let first = Order {
                    key: held.act?,
                    is_undo: false,
                };
                held.orders = Some(orders);
                held.queue.push_back(first);
                held.first = Some(first);
                first
            }
        };
        Some((first.key.to_string(), first.command()))
    }

    /// Commands that are under way, and those that have expired and may be done all the same.
    pub fn commands(&self) -> impl Iterator<Item = CommandId> {
        let held = self.steps.iter();
        held.filter_map(|held| Some(held.under_way?.command()))
            .chain(self.expired())
    }

    fn expired(&self) -> impl Iterator<Item = CommandId> {
        let held = self.steps.iter();
        held.flat_map(|held| {
            let failed = held.failed.as_ref().filter(|failed| !failed.begun);
            let failed = failed.map(|failed| failed.order);
            held.expired.into_iter().chain(failed)
        })
        .map(|order| order.command())
    }

    /// How a command of [`commands`](Self::commands) stands; does nothing unless it has ended, or nobody knows what
    /// became of it in time.
    pub fn ended(&mut self, command: &StoredCommand, now_us: i64, out: &mut Outcome) {
        if !command.state.is_settled() && command.overdue_us.is_none() {
            return;
        }
        for (index, held) in (0..).zip(&mut self.steps) {
            if command.state != State::Expired {
                held.said_late(command.id);
                held.undone_late(command.id, command.state == State::Done);
            }
            let Some(order) = held.under_way.filter(|it| it.command() == command.id) else {
                continue;
            };
            held.under_way = None;
            match (order.is_undo, command.state) {
                // Nobody has begun it.
                (false, State::Expired) => {
                    held.acted = false;
                    held.expired = Some(order);
                }
                // Done, or perhaps done: what a device says that it could not do, it may have begun.
                (false, _) => held.acted = true,
                (true, State::Done) => {
                    held.acted = false;
                    held.failed = None;
                }
                (true, _) => {
                    let (why, begun) = match command.state {
                        State::Failed => {
                            let why = command.detail.as_deref();
                            (why.unwrap_or("the device could not").to_owned(), true)
                        }
                        State::Expired => ("the device did not begin it in time".to_owned(), false),
                        _ => {
                            let why = "the device has not said in time whether it did it";
                            (why.to_owned(), true)
                        }
                    };
                    let why = held.not_undone(order, why, begun, now_us);
                    let id = Some(command.id);
                    out.tell(Some(index), TurnKind::NotUndone, now_us, id, Some(why));
                }
            }
        }
    }

    /// Tells devices what is next, where nothing is under way.
    pub fn begin(&mut self, tenant: &TenantId, now_us: i64, out: &mut Outcome) {
        for (index, held) in (0..).zip(&mut self.steps) {
            held.begin(index, tenant, now_us, out);
        }
    }
}

impl Held {
    /// When something is to be done about it, if nothing happens before.
    fn wakes_us(&self) -> Option<i64> {
        let again_us = self.failed.as_ref().and_then(|failed| failed.again_us);
        self.actuation.wakes_us().into_iter().chain(again_us).min()
    }

    /// It was not undone: it is told again, unless it was told often enough. Says so.
    fn not_undone(&mut self, order: Order, why: String, begun: bool, now_us: i64) -> String {
        let tries = self.failed.as_ref().map_or(1, |failed| failed.tries + 1);
        // What is to be done again, as its cause is back, need not be undone.
        let wanted = self.act.is_none();
        let again_us = again_us(tries, now_us).filter(|_| wanted);
        // Nor done once more, if nobody has begun to undo it.
        if !wanted && !begun && self.queue.back().is_some_and(|order| !order.is_undo) {
            self.queue.pop_back();
        }
        self.failed = Some(Failed {
            order,
            tries,
            again_us,
            begun,
        });
        match again_us {
            Some(at_us) => {
                let seconds = at_us.saturating_sub(now_us) / 1_000_000;
                format!("{why}; it is told again in {seconds} s")
            }
            None if wanted => format!("{why}; it was told {tries} times: somebody has to look"),
            None => why,
        }
    }

    /// A device says late what became of an undo that it had not begun in time.
    fn undone_late(&mut self, command: CommandId, is_done: bool) {
        let mut failed = self.failed.as_mut();
        let Some(late) = failed.take_if(|failed| failed.order.command() == command) else {
            return;
        };
        late.begun = true;
        let key = late.order.key;
        if !is_done {
            return;
        }
        self.failed = None;
        self.acted = false;
        // Its cause is back, and nobody has told it to do it again.
        if self.act.is_some() && self.queue.is_empty() && self.under_way.is_none() {
            self.queue.push_back(Order {
                key: Key::of("stencil/workflow/again", &[&key.0]),
                is_undo: false,
            });
        }
    }

    /// A device has done what had expired by the hub's clock: if its cause is gone, it is undone.
    fn said_late(&mut self, command: CommandId) {
        let Some(order) = self.expired.filter(|it| it.command() == command) else {
            return;
        };
        self.expired = None;
        self.acted = true;
        if self.act.is_none() && self.queue.is_empty() && self.under_way.is_none() {
            self.queue.push_back(Order {
                key: Key::of("stencil/workflow/late", &[&order.key.0]),
                is_undo: true,
            });
        }
    }

    fn told(&mut self, index: u32, effect: &physical::Effect, now_us: i64, out: &mut Outcome) {
        let step = Some(index);
        match effect.what {
            What::Act { .. } => {
                self.act = Some(effect.key);
                out.tell(step, TurnKind::Deep, now_us, None, None);
                if self.orders.is_none() {
                    return;
                }
                // What was not undone yet need not be done again.
                let stands = self.failed.as_mut().is_some_and(|failed| {
                    failed.again_us = None;
                    !failed.begun
                });
                if self.queue.back().is_some_and(|order| order.is_undo) {
                    self.queue.pop_back();
                } else if !stands {
                    self.failed = None;
                    self.queue.push_back(Order {
                        key: effect.key,
                        is_undo: false,
                    });
                }
            }
            What::Compensate { .. } => {
                self.act = None;
                self.failed = None;
                if self.orders.is_none() {
                    return;
                }
                // What was not done yet need not be undone.
                if self.queue.back().is_some_and(|order| !order.is_undo) {
                    self.queue.pop_back();
                } else {
                    self.queue.push_back(Order {
                        key: effect.key,
                        is_undo: true,
                    });
                }
            }
            What::Lost { .. } if self.orders.is_some() => {
                out.tell(step, TurnKind::Lost, now_us, None, None);
            }
            What::Found { .. } if self.orders.is_some() => {
                out.tell(step, TurnKind::Found, now_us, None, None);
            }
            What::Lost { .. } | What::Found { .. } => {}
        }
    }

    /// What did not undo it is told once more when its time has come.
    fn tell_again(&mut self, now_us: i64) {
        let Some(failed) = &mut self.failed else {
            return;
        };
        if self.under_way.is_some() || failed.again_us.is_none_or(|at_us| now_us < at_us) {
            return;
        }
        failed.again_us = None;
        let parts: [&[u8]; 2] = [&failed.order.key.0, &failed.tries.to_be_bytes()];
        self.queue.push_front(Order {
            key: Key::of("stencil/workflow/undo-again", &parts),
            is_undo: true,
        });
    }

    fn begin(&mut self, index: u32, tenant: &TenantId, now_us: i64, out: &mut Outcome) {
        self.tell_again(now_us);
        let Some(orders) = &self.orders else { return };
        while self.under_way.is_none() {
            let Some(order) = self.queue.pop_front() else {
                return;
            };
            let told = match (order.is_undo, &orders.undo) {
                (false, _) => &orders.act,
                (true, Some(undo)) if self.acted => undo,
                (true, _) => {
                    out.tell(Some(index), TurnKind::Spared, now_us, None, None);
                    continue;
                }
            };
            let command = NewCommand {
                id: order.command(),
                tenant: tenant.clone(),
                device: orders.device.clone(),
                name: told.command.clone(),
                argument: told.argument.clone(),
                expires_us: now_us.saturating_add(told.expires_us),
                effect_key: Some(order.key.to_string()),
            };
            let kind = if order.is_undo {
                TurnKind::Undo
            } else {
                TurnKind::Act
            };
            let detail = Some(told.command.clone());
            out.tell(Some(index), kind, now_us, Some(command.id), detail);
            out.commands.push(command);
            self.acted = true;
            self.under_way = Some(order);
        }
    }
}

impl Outcome {
    fn tell(
        &mut self,
        step: Option<u32>,
        kind: TurnKind,
        at_us: i64,
        command: Option<CommandId>,
        detail: Option<String>,
    ) {
        self.turns.push(Turn {
            step,
            kind,
            at_us,
            command,
            detail,
        });
    }
}
