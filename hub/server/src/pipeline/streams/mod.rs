//! Rules that gateways judge: the hub judges their streams after them.
//!
//! A gateway's stream says all that its rules see, in order ([`stencil_edge`]). The same judge as
//! there takes it here, and so finds the same firings, runs and commands. What the gateway did
//! about a firing comes in the stream behind it: until then the run waits, and when the gateway
//! never says, the hub does the step itself. Where records of a stream are missing the hub judges
//! no more by itself: then the gateway's word is all there is, and it is enough.

mod saved;
mod told;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use stencil_edge::{Arrival, Here, Judge, Place, Record, Row, What};
use stencil_protocol::batch::Batch;
use stencil_protocol::id::{DeviceId, GatewayId};
use stencil_rules::Change;
use stencil_store::{CommandStatus, GatewayRules};
use stencil_workflow::Definition;

use self::told::found;
use super::alarms::Active;
use super::changes::Changes;
use super::origin::Origin;

pub(crate) use self::saved::{SavedStream, split};

/// The most rules and devices of a gateway of which it is remembered what was said last.
const MAX_SPOKEN: usize = 4_096;
/// The most statuses of a gateway that may wait for their command.
const MAX_EARLY: usize = 256;
/// The most bytes of a state that a gateway sends in parts.
const MAX_COMING_BYTES: usize = 64 << 20;

/// The streams of one tenant's gateways.
#[derive(Debug, Default)]
pub(super) struct Streams {
    by_gateway: BTreeMap<GatewayId, Stream>,
}

#[derive(Debug, Default)]
struct Stream {
    judge: Judge,
    /// What is judged, and from which log position on.
    definitions: BTreeMap<String, (u64, Arc<Definition>)>,
    /// Firings that the gateway has not said anything of.
    awaited: VecDeque<[u8; 32]>,
    /// The number of the gateway's last word on a rule and a device, where the stream is not
    /// followed.
    spoken: BTreeMap<(String, DeviceId), u64>,
    /// What devices said of commands that the gateway's word on is still on its way.
    early: VecDeque<Early>,
    /// What has come of a state that is sent in parts. In memory only: one that was cut in two by
    /// a restart is not taken.
    coming: Coming,
    changed: bool,
}

/// A status that has come before its command.
#[derive(Debug)]
struct Early {
    device: DeviceId,
    status: CommandStatus,
}

#[derive(Debug, Default)]
struct Coming {
    parts: u32,
    bytes: usize,
    head: Vec<u8>,
    rows: Vec<Row>,
}

/// What is applied beside the streams themselves.
pub(super) struct Around<'a, 'b> {
    pub(super) alarms: &'a mut Active,
    pub(super) changes: &'b mut Changes,
}

impl Streams {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_gateway.is_empty()
    }

    /// The definition that a gateway judges by.
    pub(super) fn definition(&self, gateway: &GatewayId, workflow: &str) -> Option<&Definition> {
        let (_, definition) = self.by_gateway.get(gateway)?.definitions.get(workflow)?;
        Some(definition)
    }

    /// Whether a change that the hub found by itself is for the gateway to say: one of a device
    /// behind it. `gateway` is the one that the device's sample came through; time came, if there
    /// is none.
    pub(super) fn leaves(
        &self,
        gateway: Option<&GatewayId>,
        workflow: &str,
        device: &DeviceId,
        change: &Change,
    ) -> bool {
        if self.is_empty() {
            return false;
        }
        let is_its = |stream: &Stream| {
            let judges = stream.definitions.contains_key(workflow);
            match change {
                Change::Fired(_) => judges,
                // The end of what was raised before the gateway took it over is not for it to say.
                Change::Cleared(_) => judges && stream.judge.has_fired(workflow, device),
            }
        };
        match gateway {
            Some(gateway) => self.by_gateway.get(gateway).is_some_and(is_its),
            None => {
                let mut streams = self.by_gateway.values();
                streams.any(|stream| stream.judge.knows(device) && is_its(stream))
            }
        }
    }

    /// Takes a batch of a stream. One whose device is not believed is judged, so that the stream
    /// is followed, and nothing comes of it.
    pub(super) fn batch(
        &mut self,
        origin: &Origin<'_>,
        device: &DeviceId,
        (place, received_us): (Place, i64),
        batch: &Batch<'_>,
        is_believed: bool,
        around: &mut Around<'_, '_>,
    ) {
        let Some(gateway) = origin.gateway() else {
            return;
        };
        let stream = self.by_gateway.entry(gateway.clone()).or_default();
        if !stream.comes(origin, place) {
            return;
        }
        let Stream {
            judge,
            definitions,
            awaited,
            ..
        } = stream;
        judge.batch(place, device, received_us, batch, |told| {
            if is_believed {
                found(origin, definitions, awaited, &told, around);
            }
        });
    }

    /// Takes any other record of a stream; says why it cannot be taken, if so. `extra` are
    /// definitions that the stream does not hold yet.
    pub(super) fn record(
        &mut self,
        origin: &Origin<'_>,
        gateway: &GatewayId,
        record: &Record,
        extra: Vec<Definition>,
        has_fired: impl Fn(&str, &DeviceId) -> bool,
        around: &mut Around<'_, '_>,
    ) -> Result<(), String> {
        if let What::Verdicts(verdicts) = &record.what {
            around.changes.gateway_rules.push(GatewayRules {
                tenant: origin.tenant.clone(),
                gateway: gateway.clone(),
                verdicts: verdicts
                    .iter()
                    .map(|it| (it.workflow.clone(), it.version, it.refused.clone()))
                    .collect(),
                at_us: origin.received_us,
            });
            return Ok(());
        }
        let stream = self.by_gateway.entry(gateway.clone()).or_default();
        let place = record.place;
        if let What::Told(told) = &record.what {
            let is_new =
                stream.judge.arrives(place) != Arrival::Again && stream.comes(origin, place);
            if is_new {
                stream.judge.pass(place, record.at_us);
            }
            // Also when it comes again: what comes of it has a name, and comes once.
            let told = (told, place.number);
            return stream.told(origin, gateway, told, &extra, is_new, around);
        }
        if !stream.comes(origin, place) {
            return Ok(());
        }
        match &record.what {
            What::Told(_) | What::Verdicts(_) => {}
            What::Here(here) => {
                stream.judge.pass(place, record.at_us);
                if stream.takes(place, here) {
                    stream.take_definitions(origin, gateway, extra, has_fired, around);
                    stream.clear_what_ended(origin, gateway, around);
                }
            }
            What::Mark => {
                let Stream {
                    judge,
                    definitions,
                    awaited,
                    ..
                } = stream;
                judge.mark(place, record.at_us, |told| {
                    found(origin, definitions, awaited, &told, around);
                });
            }
            What::Rules(rules) => {
                let unusable = stream.judge.rules(place, record.at_us, rules);
                for (workflow, why) in unusable {
                    tracing::error!(tenant = %origin.tenant, %gateway, workflow, why,
                        "a rule that a gateway judges cannot be judged here");
                }
                stream.take_definitions(origin, gateway, extra, has_fired, around);
                if stream.definitions.is_empty() {
                    tracing::info!(tenant = %origin.tenant, %gateway, "it judges no rules any more");
                }
            }
        }
        Ok(())
    }

    /// Keeps what a device said of a command that is not known, if its gateway may have given it
    /// and its word on that is on its way.
    pub(super) fn keep_early(
        &mut self,
        gateway: &GatewayId,
        device: &DeviceId,
        status: CommandStatus,
    ) -> bool {
        let Some(stream) = self.by_gateway.get_mut(gateway) else {
            return false;
        };
        if stream.definitions.is_empty() || status.gateway.is_some() {
            return false;
        }
        if stream.early.len() >= MAX_EARLY {
            stream.early.pop_front();
        }
        stream.early.push_back(Early {
            device: device.clone(),
            status,
        });
        stream.changed = true;
        true
    }

    /// Forgets a device.
    pub(super) fn forget_device(&mut self, device: &DeviceId) {
        for stream in self.by_gateway.values_mut() {
            stream.judge.forget(device);
            stream.changed = true;
        }
    }
}

impl Stream {
    /// Whether a record is to be taken. If others before it are missing, that is noted.
    fn comes(&mut self, origin: &Origin<'_>, place: Place) -> bool {
        match self.judge.arrives(place) {
            Arrival::Again => return false,
            Arrival::Next => {}
            Arrival::Gap => {
                if self.judge.running().any(|(_, _, followed)| followed) {
                    tracing::warn!(tenant = %origin.tenant, gateway = origin.gateway().map(tracing::field::display),
                        %place, "records of a rule stream are missing: the gateway's word counts \
                        alone until its rules begin anew");
                }
                self.judge.lose();
            }
        }
        self.changed = true;
        true
    }

    /// Takes a part of the state that the gateway's judge has; true when it is whole, and the judge
    /// here has it.
    fn takes(&mut self, place: Place, here: &Here) -> bool {
        let coming = &mut self.coming;
        if here.part == 0 {
            *coming = Coming {
                head: here.head.clone(),
                ..Coming::default()
            };
        } else if coming.parts != here.part {
            // A part is missing.
            *coming = Coming::default();
            return false;
        }
        coming.parts = here.part + 1;
        let rows = here.rows.iter().map(|row| row.bytes.len() + 128);
        coming.bytes += rows.sum::<usize>();
        if coming.bytes > MAX_COMING_BYTES {
            *coming = Coming::default();
            return false;
        }
        coming.rows.extend(here.rows.iter().cloned());
        if coming.parts < here.parts {
            return false;
        }
        let Coming { head, rows, .. } = std::mem::take(coming);
        match Judge::adopt(place, self.judge.time_us(), &head, &rows) {
            Ok(judge) => {
                self.judge = judge;
                self.spoken.clear();
                true
            }
            Err(error) => {
                tracing::error!(%error, %place, "a gateway's state of its rules cannot be read");
                false
            }
        }
    }

    /// Clears the alarms of devices of the stream on which its rules have not fired.
    fn clear_what_ended(
        &self,
        origin: &Origin<'_>,
        gateway: &GatewayId,
        around: &mut Around<'_, '_>,
    ) {
        let Around { alarms, changes } = around;
        for workflow in self.definitions.keys() {
            let why = format!("it ended while records of gateway {gateway} were missing");
            let ended = |device: &DeviceId| {
                self.judge.knows(device) && !self.judge.has_fired(workflow, device)
            };
            let out = &mut changes.alarms;
            alarms.clear_where(workflow, ended, origin.received_us, &why, out);
        }
    }

    /// After the rules of the stream have changed.
    fn take_definitions(
        &mut self,
        origin: &Origin<'_>,
        gateway: &GatewayId,
        extra: Vec<Definition>,
        has_fired: impl Fn(&str, &DeviceId) -> bool,
        around: &mut Around<'_, '_>,
    ) {
        let mut extra: BTreeMap<(String, u32), Definition> = extra
            .into_iter()
            .map(|definition| ((definition.id.clone(), definition.version), definition))
            .collect();
        let mut before = std::mem::take(&mut self.definitions);
        for (placed, _, _) in self.judge.running() {
            let (workflow, version) = (placed.workflow.clone(), placed.version);
            let was = before.remove(&workflow);
            let held = match was {
                Some((since, held)) if held.version == version => Some((since, held)),
                other => {
                    // As long as the rule is the same its alarms go on.
                    let same = other
                        .as_ref()
                        .map(|(since, held)| (*since, held.rule().cloned()));
                    let found = extra.remove(&(workflow.clone(), version));
                    found.map(|found| {
                        let since = match same {
                            Some((since, rule)) if rule.as_ref() == found.rule() => since,
                            _ => origin.position,
                        };
                        (since, Arc::new(found))
                    })
                }
            };
            match held {
                Some(held) => {
                    self.definitions.insert(workflow, held);
                }
                None => tracing::error!(tenant = %origin.tenant, %gateway, workflow, version,
                    "a gateway judges a version that is not in the store"),
            }
        }
        let Around { alarms, changes } = around;
        for workflow in before.keys() {
            let why = format!("gateway {gateway} no longer judges it");
            let gone = |device: &DeviceId| self.judge.knows(device) && !has_fired(workflow, device);
            let out = &mut changes.alarms;
            alarms.clear_where(workflow, gone, origin.received_us, &why, out);
        }
    }
}
