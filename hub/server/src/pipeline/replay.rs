//! What the pipeline makes of what one gateway publishes, without a log, a store and a network.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use stencil_protocol::id::{DeviceId, GatewayId, TenantId};
use stencil_store::{AlarmChange, CommandStatus, Given, Loaded, RuleState, SealedBatch, Trigger};
use stencil_workflow::{Definition, definition};

use super::State;
use super::apply;
use super::changes::Changes;
use super::decode::Message;
use super::known::{Known, Questions};
use super::origin::Sender;
use super::rules::{self, InForce};
use super::streams;
use crate::ingest::{Activation, Published, Transport};
use crate::{PipelineOptions, Principal, Role};

/// The most workflows in force.
const MAX_RULES: usize = 1_000;

/// What records that were applied one after the other brought about, in their order.
#[derive(Debug, Default)]
pub struct Found {
    /// Runs to start.
    pub triggers: Vec<Trigger>,
    /// What gateways did by themselves about runs.
    pub given: Vec<Given>,
    /// Alarms to raise and to clear.
    pub alarms: Vec<AlarmChange>,
    /// What devices and gateways said of commands.
    pub statuses: Vec<CommandStatus>,
    /// What was put aside: topic and reason.
    pub quarantined: Vec<(String, String)>,
    /// What was kept for proofs, as behind a gateway that seals.
    pub sealed: Vec<SealedBatch>,
}

/// A pipeline to which one gateway publishes: the same code that applies the ingest log. For those
/// who want to know what the hub finds in a recorded stream, and for tests.
pub struct Replay {
    principal: Principal,
    options: PipelineOptions,
    definitions: HashMap<(String, u32), String>,
    state: State,
    saved: BTreeMap<(String, DeviceId), RuleState>,
    position: u64,
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Replay {
    /// Of a tenant with these workflows, none of them in force.
    ///
    /// # Errors
    /// What is wrong with a definition.
    pub fn new(
        tenant: TenantId,
        gateway: GatewayId,
        options: PipelineOptions,
        yaml: &[&str],
    ) -> Result<Self, definition::Error> {
        let mut definitions = HashMap::new();
        for text in yaml {
            let read = definition::parse(text)?;
            definitions.insert((read.id, read.version), (*text).to_owned());
        }
        let state = State::new(options.clone(), MAX_RULES);
        Ok(Self {
            principal: Principal {
                tenant,
                role: Role::Gateway(gateway),
            },
            options,
            definitions,
            state,
            saved: BTreeMap::new(),
            position: 0,
        })
    }

    /// Puts a version of a workflow in force.
    pub fn activate(&mut self, workflow: &str, version: u32, received_us: i64) -> Found {
        let mut changes = Changes::default();
        let activation = Activation {
            tenant: self.principal.tenant.clone(),
            workflow,
            version: Some(version),
        };
        let known = Known {
            definition: self.definition(workflow, version),
            ..Known::default()
        };
        let (position, state) = (self.position, &mut self.state);
        apply::activation(
            &activation,
            position,
            received_us,
            known,
            state,
            &mut changes,
        );
        self.committed(changes)
    }

    /// Takes a publication of the gateway.
    pub fn publish(&mut self, topic: &str, payload: &[u8], received_us: i64) -> Found {
        self.logged(topic, &Bytes::copy_from_slice(payload), received_us)
    }

    /// Takes a publication of the gateway as it comes out of a log, whose memory is shared.
    pub fn logged(&mut self, topic: &str, payload: &Bytes, received_us: i64) -> Found {
        let principal = self.principal.clone();
        let transport = Transport::Plain;
        let position = self.position;
        let mut sender = Sender::new(&principal, &transport, received_us, position, payload);
        let origin = sender.origin(&Published {
            link_suite: None,
            topic,
            payload,
        });
        let mut changes = Changes::default();
        let message = Message::decode(&origin);
        let questions = Questions::of(&origin, &message, &self.state, &changes);
        let definitions = questions.definitions.iter();
        let known = Known {
            definitions: definitions
                .filter_map(|(workflow, version)| self.definition(workflow, *version))
                .collect(),
            ..Known::default()
        };
        apply::publication(&origin, &message, known, &mut self.state, &mut changes);
        self.committed(changes)
    }

    /// Lets time pass by the hub's clock.
    pub fn tick(&mut self, at_us: i64) -> Found {
        let mut changes = Changes::default();
        apply::tick(at_us, &mut self.state, &mut changes);
        self.committed(changes)
    }

    /// Goes on from what was committed, as after a kill.
    pub fn restart(&mut self) {
        let mut rows: Vec<RuleState> = self.saved.values().cloned().collect();
        let loaded = Loaded {
            position: self.position,
            ..Loaded::default()
        };
        let mut state = State::load(self.options.clone(), MAX_RULES, &loaded);
        let mut saved = streams::split(&mut rows);
        for stream in &mut saved {
            for (workflow, version, since) in std::mem::take(&mut stream.wanted) {
                if let Some(definition) = self.definition(&workflow, version) {
                    let held = (since, Arc::new(definition));
                    stream.definitions.insert(workflow, held);
                }
            }
        }
        state.restore_streams(saved);
        let (in_force, states) = rules::split(rows);
        let in_force = in_force.into_iter().filter_map(|(tenant, workflow, row)| {
            Some(InForce {
                tenant,
                definition: Arc::new(self.definition(&workflow, row.version)?),
                since: row.since,
            })
        });
        state.restore_rules(in_force.collect(), &states, Vec::new(), 0);
        self.state = state;
    }

    fn definition(&self, workflow: &str, version: u32) -> Option<Definition> {
        let yaml = self.definitions.get(&(workflow.to_owned(), version))?;
        definition::parse(yaml).ok()
    }

    fn committed(&mut self, changes: Changes) -> Found {
        self.position += 1;
        let (commit, _) = changes.into_commit(&mut self.state, self.position);
        for row in commit.rule_states {
            let key = (row.workflow.clone(), row.device.clone());
            if row.bytes.is_empty() {
                self.saved.remove(&key);
            } else {
                self.saved.insert(key, row);
            }
        }
        let quarantined = commit.quarantined.into_iter();
        Found {
            triggers: commit.triggers,
            given: commit.given,
            alarms: commit.alarms,
            statuses: commit.statuses,
            quarantined: quarantined.map(|it| (it.topic, it.reason)).collect(),
            sealed: commit.proofs.batches,
        }
    }
}
