//! What the pipeline has to look up before it can apply a record: named first, fetched by the
//! driver, and handed in, so that applying stays pure.

use std::collections::HashSet;

use stencil_edge::{Judge, Placed, Record, What};
use stencil_protocol::id::{Boot, CommandId, DeviceId, GatewayId, Seq};
use stencil_protocol::ledger::BootLedger;
use stencil_workflow::Definition;

use super::State;
use super::changes::Changes;
use super::decode::Message;
use super::origin::Origin;

/// What must be asked of the store for one record. Mostly nothing.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Questions {
    /// Boots of the device that are not at hand.
    pub(super) boots: Vec<Boot>,
    /// Points of the device, by name and time, that may be there already.
    pub(super) points: Vec<(String, i64)>,
    /// A command whose device must be known.
    pub(super) command: Option<CommandId>,
    /// Versions of workflows that a gateway judges by.
    pub(super) definitions: Vec<(String, u32)>,
}

/// The answers.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The ledgers that there were.
    pub(super) ledgers: Vec<(Boot, BootLedger)>,
    /// The points that there were.
    pub(super) points: HashSet<(String, i64)>,
    /// The device of the command, if there is such a command.
    pub(super) command_device: Option<DeviceId>,
    /// The workflow version that is to be activated.
    pub(super) definition: Option<Definition>,
    /// The versions of workflows that there are.
    pub(super) definitions: Vec<Definition>,
}

impl Known {
    /// Whether nothing is known of a boot but that its numbers were erased, up to this one at least.
    pub(super) fn has_erased(&self, boot: Boot, last: Seq) -> bool {
        let mut ledgers = self.ledgers.iter();
        ledgers.any(|(of, ledger)| *of == boot && ledger.is_erased() && ledger.has_erased(last))
    }
}

impl Questions {
    /// What `message` needs beyond what `state` and the uncommitted `changes` hold.
    pub(super) fn of(
        origin: &Origin<'_>,
        message: &Message<'_>,
        state: &State,
        changes: &Changes,
    ) -> Self {
        let mut questions = Self::default();
        match message {
            Message::Batch(device, batch) | Message::Judged(device, _, batch) => {
                let header = batch.header();
                let previous = header.previous.as_ref().map(|previous| previous.boot);
                questions.boots_of(origin, device, state, [Some(header.boot), previous]);
            }
            Message::Loss(report) => {
                questions.boots_of(origin, &report.device, state, [Some(report.boot), None]);
            }
            Message::Unnumbered(device, parsed) => {
                let key = (origin.tenant.clone(), device.clone());
                let held = state.known_device(&key);
                for sample in &parsed.samples {
                    // Newer than all that is stored: the usual case, and no question.
                    let newest = held.and_then(|held| held.names.newest_us(&sample.name));
                    if newest.is_some_and(|newest| sample.time_us <= newest) {
                        let point = (sample.name.clone(), sample.time_us);
                        let (tenant, device) = key.clone();
                        let unnumbered = (tenant, device, point.0.clone(), point.1);
                        if !changes.unnumbered.contains(&unnumbered) {
                            questions.points.push(point);
                        }
                    }
                }
            }
            Message::Status(_, status) => questions.command = Some(status.id),
            Message::Stream(gateway, record) => {
                questions.definitions_of(origin, gateway, record, state);
            }
            Message::Link(_)
            | Message::Holds(..)
            | Message::KeyUsed(_)
            | Message::Image(_)
            | Message::Fetch(..)
            | Message::Said(..)
            | Message::Renew(..)
            | Message::Seals(..)
            | Message::Malformed(..) => {}
        }
        questions
    }

    /// Those that the gateway's stream does not hold.
    fn definitions_of(
        &mut self,
        origin: &Origin<'_>,
        gateway: &GatewayId,
        record: &Record,
        state: &State,
    ) {
        let mut named: Vec<(String, u32)> = match &record.what {
            What::Mark | What::Verdicts(_) => return,
            What::Here(here) => match Judge::restore(&here.head) {
                Ok(judge) => judge
                    .running()
                    .map(|(placed, ..)| (placed.workflow.clone(), placed.version))
                    .collect(),
                // Not the first part.
                Err(_) => return,
            },
            What::Told(told) => vec![(told.workflow.clone(), told.version)],
            What::Rules(rules) => rules
                .placed
                .iter()
                .filter_map(|(_, json)| serde_json::from_str::<Placed>(json).ok())
                .map(|placed| (placed.workflow, placed.version))
                .collect(),
        };
        named.retain(|(workflow, version)| {
            let held = state.judged_by(origin.tenant, gateway, workflow);
            held.is_none_or(|held| held.version != *version)
        });
        self.definitions = named;
    }

    fn boots_of(
        &mut self,
        origin: &Origin<'_>,
        device: &DeviceId,
        state: &State,
        boots: [Option<Boot>; 2],
    ) {
        if !state.has_more_boots() {
            return;
        }
        let key = (origin.tenant.clone(), device.clone());
        let boots = boots.into_iter().flatten();
        self.boots
            .extend(boots.filter(|boot| state.must_fetch(&key, *boot)));
    }
}
