//! Streams as they are kept between two commits: one row a gateway, and one a device and rule.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use minicbor::{Decode, Encode};
use stencil_edge::{Judge, Row};
use stencil_protocol::command::State as CommandState;
use stencil_protocol::id::{CommandId, DeviceId, GatewayId, TenantId};
use stencil_store::{CommandStatus, RuleState};
use stencil_workflow::Definition;

use super::super::rules::{IN_FORCE_DEVICE, in_force_device};
use super::{Early, Stream, Streams};

/// Marks the rows in which the pipeline keeps what is known of streams. No workflow id has this
/// character, and no gateway's.
const STREAM: char = '~';

/// The value of a stream's row.
#[derive(Encode, Decode)]
struct StreamRow {
    #[cbor(n(0), with = "minicbor::bytes")]
    judge: Vec<u8>,
    #[n(1)]
    definitions: Vec<(String, u32, u64)>,
    #[n(2)]
    awaited: Vec<minicbor::bytes::ByteArray<32>>,
    #[n(3)]
    spoken: Vec<(String, DeviceId, u64)>,
    #[n(4)]
    early: Vec<EarlyRow>,
}

/// A status that has come before its command.
#[derive(Encode, Decode)]
struct EarlyRow {
    #[n(0)]
    device: DeviceId,
    #[n(1)]
    command: minicbor::bytes::ByteArray<16>,
    #[n(2)]
    state: u8,
    #[n(3)]
    at_us: i64,
    #[n(4)]
    detail: Option<String>,
}

/// A stream as it was saved, with the definitions that it needs.
#[derive(Debug)]
pub(crate) struct SavedStream {
    pub(crate) tenant: TenantId,
    pub(crate) gateway: GatewayId,
    judge: Judge,
    awaited: VecDeque<[u8; 32]>,
    spoken: BTreeMap<(String, DeviceId), u64>,
    early: VecDeque<Early>,
    /// Workflow, version, log position.
    pub(crate) wanted: Vec<(String, u32, u64)>,
    /// Filled in by who has the store.
    pub(crate) definitions: BTreeMap<String, (u64, Arc<Definition>)>,
}

impl Streams {
    /// Adds what has changed since the last call.
    pub(in super::super) fn save(&mut self, tenant: &TenantId, out: &mut Vec<RuleState>) {
        for (gateway, stream) in &mut self.by_gateway {
            if !std::mem::take(&mut stream.changed) {
                continue;
            }
            let definitions = stream.definitions.iter();
            let row = StreamRow {
                judge: stream.judge.head(),
                definitions: definitions
                    .map(|(workflow, (since, held))| (workflow.clone(), held.version, *since))
                    .collect(),
                awaited: stream.awaited.iter().map(|run| (*run).into()).collect(),
                spoken: stream
                    .spoken
                    .iter()
                    .map(|((workflow, device), number)| (workflow.clone(), device.clone(), *number))
                    .collect(),
                early: stream.early.iter().map(early_row).collect(),
            };
            let mut bytes = Vec::new();
            // Writing to a Vec cannot fail.
            let _ = minicbor::encode(&row, &mut bytes);
            out.push(RuleState {
                tenant: tenant.clone(),
                workflow: format!("{STREAM}{gateway}"),
                device: in_force_device(),
                bytes,
            });
            stream.judge.take_changed(|row| {
                let workflow = row.workflow.unwrap_or_default();
                out.push(RuleState {
                    tenant: tenant.clone(),
                    workflow: format!("{STREAM}{gateway}{STREAM}{workflow}"),
                    device: row.device,
                    bytes: row.bytes,
                });
            });
        }
    }

    /// Puts a stream back that was saved.
    pub(in super::super) fn restore(&mut self, saved: SavedStream) {
        let stream = Stream {
            judge: saved.judge,
            definitions: saved.definitions,
            awaited: saved.awaited,
            spoken: saved.spoken,
            early: saved.early,
            ..Stream::default()
        };
        self.by_gateway.insert(saved.gateway, stream);
    }
}

/// Takes the rows of streams out of those of rules.
pub(crate) fn split(rows: &mut Vec<RuleState>) -> Vec<SavedStream> {
    let mut of_streams = Vec::new();
    rows.retain(|row| {
        let is_one = row.workflow.starts_with(STREAM);
        if is_one {
            of_streams.push(row.clone());
        }
        !is_one
    });
    let mut heads = BTreeMap::new();
    for row in &of_streams {
        if row.device.as_str() == IN_FORCE_DEVICE
            && let Some(gateway) = row.workflow.strip_prefix(STREAM)
            && let Ok(gateway) = GatewayId::parse(gateway)
        {
            match read(&row.tenant, &gateway, &row.bytes) {
                Ok(saved) => {
                    heads.insert((row.tenant.clone(), gateway), saved);
                }
                Err(error) => tracing::error!(tenant = %row.tenant, %gateway, error,
                    "a rule stream cannot be read: the gateway's word counts alone"),
            }
        }
    }
    for row in of_streams {
        let Some((gateway, workflow)) = row.workflow[1..].split_once(STREAM) else {
            continue;
        };
        let Ok(gateway) = GatewayId::parse(gateway) else {
            continue;
        };
        if let Some(saved) = heads.get_mut(&(row.tenant.clone(), gateway)) {
            let restored = saved.judge.restore_row(&Row {
                device: row.device,
                workflow: (!workflow.is_empty()).then(|| workflow.to_owned()),
                bytes: row.bytes,
            });
            if restored.is_err() {
                saved.judge.lose();
            }
        }
    }
    heads.into_values().collect()
}

fn read(tenant: &TenantId, gateway: &GatewayId, bytes: &[u8]) -> Result<SavedStream, String> {
    let row: StreamRow = minicbor::decode(bytes).map_err(|error| error.to_string())?;
    Ok(SavedStream {
        tenant: tenant.clone(),
        gateway: gateway.clone(),
        judge: Judge::restore(&row.judge).map_err(|error| error.to_string())?,
        awaited: row.awaited.iter().map(|run| **run).collect(),
        spoken: row
            .spoken
            .into_iter()
            .map(|(workflow, device, number)| ((workflow, device), number))
            .collect(),
        early: row
            .early
            .into_iter()
            .filter_map(|row| early(tenant, row))
            .collect(),
        wanted: row.definitions,
        definitions: BTreeMap::new(),
    })
}

fn early_row(early: &Early) -> EarlyRow {
    EarlyRow {
        device: early.device.clone(),
        command: early.status.command.0.into(),
        state: early.status.state.code(),
        at_us: early.status.at_us,
        detail: early.status.detail.clone(),
    }
}

fn early(tenant: &TenantId, row: EarlyRow) -> Option<Early> {
    Some(Early {
        device: row.device,
        status: CommandStatus {
            tenant: tenant.clone(),
            command: CommandId(*row.command),
            state: CommandState::from_code(row.state)?,
            at_us: row.at_us,
            detail: row.detail,
            // What a gateway says by itself of a command that it does not know is not kept.
            gateway: None,
        },
    })
}
