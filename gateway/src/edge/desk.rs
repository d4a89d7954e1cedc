//! Judges what is spooled, and says what to do about it. Pure: what was spooled goes in, in its
//! order, and what to write and to give comes out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use minicbor::{Decode, Encode};
use stencil_edge::{Arrival, Command, Done, Here, Judge, Judged, Record, Row, Told, What};
use stencil_protocol::{
    batch::Batch,
    command::{State, Status},
    id::{CommandId, DeviceId, TenantId},
};
use stencil_rules::{Cause, Change};

/// The version of what is saved.
const VERSION: u8 = 1;
/// The most commands that were given and not answered yet.
const MAX_OPEN: usize = 4_096;

/// What a record makes a gateway do.
#[derive(Clone, Debug, PartialEq)]
pub enum Do {
    /// Write this into the stream.
    Tell(Told),
    /// Give this command to its device: what is to be written about it is on disk.
    Give {
        /// Its id.
        id: CommandId,
        /// The command.
        command: Command,
    },
}

/// What is known besides what is spooled.
pub struct Now<'a> {
    /// The time of the stream's clock, µs.
    pub at_us: i64,
    /// Whether a device is one of this gateway's.
    pub reaches: &'a dyn Fn(&DeviceId) -> bool,
}

/// A change that was told: which workflow and device, whether it fired, and why.
type Key = (String, DeviceId, bool, Cause);

/// The gateway's judge, and the commands that it has given.
#[derive(Debug)]
pub struct Desk {
    tenant: TenantId,
    judge: Judge,
    /// What the judge has to have saved, as it was at the last [`Desk::save`].
    rows: BTreeMap<(Option<String>, DeviceId), Vec<u8>>,
    open: VecDeque<Open>,
    /// Changes that are told further on in what is spooled: they were found before a restart.
    ahead: BTreeSet<Key>,
    /// Commands that are answered further on.
    answered: BTreeSet<[u8; 16]>,
}

#[derive(Clone, Debug, Encode, Decode)]
struct Open {
    #[cbor(n(0), with = "minicbor::bytes")]
    id: [u8; 16],
    #[n(1)]
    command: Command,
}

#[derive(Encode, Decode)]
struct Saved {
    #[n(0)]
    version: u8,
    #[cbor(n(1), with = "minicbor::bytes")]
    judge: Vec<u8>,
    #[n(2)]
    rows: Vec<SavedRow>,
    #[n(3)]
    open: Vec<Open>,
}

#[derive(Encode, Decode)]
struct SavedRow {
    #[n(0)]
    workflow: Option<String>,
    #[n(1)]
    device: DeviceId,
    #[cbor(n(2), with = "minicbor::bytes")]
    bytes: Vec<u8>,
}

impl Desk {
    /// Of a gateway that has judged nothing yet.
    #[must_use]
    pub fn new(tenant: TenantId) -> Self {
        Self {
            tenant,
            judge: Judge::new(),
            rows: BTreeMap::new(),
            open: VecDeque::new(),
            ahead: BTreeSet::new(),
            answered: BTreeSet::new(),
        }
    }

    /// As it was saved.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn restore(tenant: TenantId, bytes: &[u8]) -> Result<Self, String> {
        let saved: Saved = minicbor::decode(bytes).map_err(|error| error.to_string())?;
        if saved.version != VERSION {
            return Err(format!(
                "it was saved by another release: it has version {}, this one knows {VERSION}",
                saved.version
            ));
        }
        let mut desk = Self::new(tenant);
        desk.judge = Judge::restore(&saved.judge).map_err(|error| error.to_string())?;
        for row in saved.rows {
            let key = (row.workflow.clone(), row.device.clone());
            let SavedRow {
                workflow,
                device,
                bytes,
            } = row;
            let row = Row {
                device,
                workflow,
                bytes,
            };
            desk.judge
                .restore_row(&row)
                .map_err(|error| error.to_string())?;
            desk.rows.insert(key, row.bytes);
        }
        desk.open = saved.open.into();
        Ok(desk)
    }

    /// All that it has to remember.
    pub fn save(&mut self) -> Vec<u8> {
        self.keep_rows();
        let rows = self.rows.iter();
        let saved = Saved {
            version: VERSION,
            judge: self.judge.head(),
            rows: rows
                .map(|((workflow, device), bytes)| SavedRow {
                    workflow: workflow.clone(),
                    device: device.clone(),
                    bytes: bytes.clone(),
                })
                .collect(),
            open: self.open.iter().cloned().collect(),
        };
        let mut bytes = Vec::new();
        // Writing to a Vec cannot fail.
        let _ = minicbor::encode(&saved, &mut bytes);
        bytes
    }

    /// The state of its judge, for a hub to which records are missing. It is true only if all that
    /// was written into the stream has been judged, and these are the next records.
    pub fn here(&mut self) -> Vec<What> {
        self.keep_rows();
        let rows = self.rows.iter();
        let rows = rows.map(|((workflow, device), bytes)| Row {
            device: device.clone(),
            workflow: workflow.clone(),
            bytes: bytes.clone(),
        });
        let parts = Here::parts(self.judge.head(), rows.collect());
        parts.into_iter().map(What::Here).collect()
    }

    fn keep_rows(&mut self) {
        let rows = &mut self.rows;
        self.judge.take_changed(|row| {
            rows.insert((row.workflow, row.device), row.bytes);
        });
        let judge = &self.judge;
        rows.retain(|(workflow, _), _| {
            let mut kept = workflow.iter();
            kept.all(|workflow| judge.version(workflow).is_some())
        });
    }

    /// The judge.
    #[must_use]
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    /// Whether nothing is judged, and no command is open.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.open.is_empty() && self.judge.running().next().is_none()
    }

    /// Looks ahead, before anything is taken after a restart, at a record that is spooled already.
    pub fn look_ahead(&mut self, record: &Record) {
        if let What::Told(told) = &record.what {
            self.ahead.insert(key(told));
        }
    }

    /// As [`Self::look_ahead`], at what a device said of a command.
    pub fn look_ahead_at(&mut self, status: &Status<'_>) {
        if is_answer(status) {
            self.answered.insert(status.id.0);
        }
    }

    /// Takes a device's batch of the stream.
    pub fn batch(&mut self, device: &DeviceId, payload: &[u8], now: &Now<'_>) -> Vec<Do> {
        let Ok(judged) = Judged::decode(payload) else {
            return Vec::new();
        };
        if self.judge.arrives(judged.place) == Arrival::Again {
            return Vec::new();
        }
        let Ok(batch) = Batch::decode(judged.batch) else {
            self.judge.pass(judged.place, judged.received_us);
            return Vec::new();
        };
        let mut found = Vec::new();
        let (place, received_us) = (judged.place, judged.received_us);
        self.judge
            .batch(place, device, received_us, &batch, |change| {
                found.push(decide(&change, received_us, now));
            });
        self.tell(found)
    }

    /// Takes another record of the stream.
    pub fn record(&mut self, payload: &[u8], now: &Now<'_>) -> Vec<Do> {
        let Ok(record) = Record::decode(payload) else {
            return Vec::new();
        };
        let place = record.place;
        if matches!(record.what, What::Verdicts(_)) {
            return Vec::new();
        }
        if self.judge.arrives(place) == Arrival::Again {
            return Vec::new();
        }
        match &record.what {
            What::Rules(rules) => {
                for (workflow, why) in self.judge.rules(place, record.at_us, rules) {
                    tracing::error!(workflow, why, "a rule cannot be judged");
                }
                Vec::new()
            }
            What::Verdicts(_) => Vec::new(),
            What::Here(_) => {
                self.judge.pass(place, record.at_us);
                Vec::new()
            }
            What::Mark => {
                let mut found = Vec::new();
                self.judge.mark(place, record.at_us, |change| {
                    found.push(decide(&change, record.at_us, now));
                });
                self.tell(found)
            }
            What::Told(told) => {
                self.judge.pass(place, record.at_us);
                self.ahead.remove(&key(told));
                self.give(told, now.at_us).into_iter().collect()
            }
        }
    }

    /// Takes what a device said of a command.
    pub fn status(&mut self, status: &Status<'_>) {
        if is_answer(status) {
            self.answered.remove(&status.id.0);
            self.open.retain(|open| open.id != status.id.0);
        }
    }

    /// The commands that were given and not answered, after a restart: they are given again, and a
    /// device that knows one answers.
    pub fn open(&mut self, now_us: i64) -> Vec<Do> {
        let answered = &self.answered;
        self.open
            .retain(|open| open.command.expires_us > now_us && !answered.contains(&open.id));
        let open = self.open.iter();
        open.map(|open| Do::Give {
            id: CommandId(open.id),
            command: open.command.clone(),
        })
        .collect()
    }

    fn tell(&self, found: Vec<Told>) -> Vec<Do> {
        let is_news = |told: &Told| !self.ahead.contains(&key(told));
        found.into_iter().filter(is_news).map(Do::Tell).collect()
    }

    fn give(&mut self, told: &Told, now_us: i64) -> Option<Do> {
        let Done::Given(command) = &told.done else {
            return None;
        };
        self.open.retain(|open| open.command.expires_us > now_us);
        if command.expires_us <= now_us || self.open.len() >= MAX_OPEN {
            return None;
        }
        let (Change::Fired(firing), device) = (told.change, &told.device) else {
            return None;
        };
        let (workflow, version, cause) = (&told.workflow, told.version, firing.cause);
        // The samples' name is a part of the id only where nothing is numbered.
        let run = stencil_edge::run_id(&self.tenant, workflow, version, None, device, cause);
        let id = stencil_edge::command_id(&stencil_edge::effect_key(&run, &command.step));
        if self.answered.contains(&id.0) {
            return None;
        }
        let command = command.clone();
        self.open.push_back(Open {
            id: id.0,
            command: command.clone(),
        });
        Some(Do::Give { id, command })
    }
}

/// Whether the device has the command, or it has ended.
fn is_answer(status: &Status<'_>) -> bool {
    !matches!(status.state, State::Queued | State::Sent)
}

fn key(told: &Told) -> Key {
    let (fired, cause) = match told.change {
        Change::Fired(firing) => (true, firing.cause),
        Change::Cleared(clearing) => (false, clearing.cause),
    };
    (told.workflow.clone(), told.device.clone(), fired, cause)
}

/// What is to be done about a change. `since_us` is when it could be known.
fn decide(change: &stencil_edge::Change<'_>, since_us: i64, now: &Now<'_>) -> Told {
    let done = match change.change {
        Change::Cleared(_) => Done::Nothing,
        Change::Fired(_) => match command(change, since_us, now) {
            Ok(command) => Done::Given(command),
            Err(why) => Done::Declined(why),
        },
    };
    Told {
        workflow: change.placed.workflow.clone(),
        version: change.placed.version,
        device: change.device.clone(),
        change: change.change,
        sample: change.sample.map(|sample| {
            let value = stencil_protocol::sample::OwnedValue::from(sample.value);
            ((&value).into(), sample.unit.map(str::to_owned))
        }),
        done,
    }
}

fn command(
    change: &stencil_edge::Change<'_>,
    since_us: i64,
    now: &Now<'_>,
) -> Result<Command, String> {
    let action = &change.placed.action;
    let late_us = now.at_us.saturating_sub(since_us);
    if late_us > action.expires_us {
        return Err(format!(
            "it was judged {} s after it could be known, when the gateway ran again",
            late_us / 1_000_000
        ));
    }
    let seen = change.event_value();
    let (device, argument) = change
        .placed
        .command(change.device, seen.as_ref())
        .map_err(|error| error.to_string())?;
    if !(now.reaches)(&device) {
        return Err(format!("device {device} is not one of this gateway's"));
    }
    Ok(Command {
        step: action.step.clone(),
        device,
        name: action.command.clone(),
        argument,
        expires_us: now.at_us.saturating_add(action.expires_us),
    })
}
