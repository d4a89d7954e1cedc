//! What the hub's pipeline loads once and commits many times a second: state and
//! log position in one transaction.

use async_trait::async_trait;
use serde::Serialize;
use stencil_protocol::command::State;
use stencil_protocol::id::{Boot, CommandId, DeviceId, GatewayId, TenantId};
use stencil_protocol::ledger::BootLedger;
use stencil_protocol::sample::OwnedValue;

use crate::{
    ActiveAlarm, Admission, AlarmChange, Error, GatewayHolds, GatewayRekeyed, GatewaySaid, KeyUsed,
    LinkInfo, NewCommand, Points, ProofChanges, RolloutChange, RunId,
};

/// One step of the pipeline. All of it is stored, or nothing.
///
/// A commit may be repeated: everything in it is either absolute state or keyed
/// by its cause, so that a retry after an unclear answer changes nothing.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// The log position up to which everything is in here; not below the stored
    /// one.
    pub position: u64,
    /// Ledgers that changed, whole, keyed by device and boot.
    pub ledgers: Vec<(TenantId, DeviceId, Boot, BootLedger)>,
    /// Newest values that changed. An update that is older (by event time) than
    /// what is stored is ignored.
    pub twins: Vec<TwinUpdate>,
    /// Points of the time series, in order of arrival: of several of one series and time each
    /// is kept ([`crate::Series::range`]).
    pub points: Points,
    /// States of rules that changed.
    pub rule_states: Vec<RuleState>,
    /// Runs to start; a run that exists already is left alone.
    pub triggers: Vec<Trigger>,
    /// What gateways did by themselves about runs, after these were started.
    pub given: Vec<Given>,
    /// What gateways say of the rules that are placed at them, in the place of what each said
    /// before.
    pub gateway_rules: Vec<GatewayRules>,
    /// Alarms to raise and to clear, in this order.
    pub alarms: Vec<AlarmChange>,
    /// What could not be understood.
    pub quarantined: Vec<Quarantined>,
    /// What devices said about their commands; a report that the command's state
    /// does not allow is ignored.
    pub statuses: Vec<CommandStatus>,
    /// Links that came up or went down.
    pub links: Vec<LinkSeen>,
    /// Whether devices are refused from here on; one that is not registered (any more) is left
    /// alone.
    pub admissions: Vec<Admission>,
    /// What gateways say that they hold of devices' keys.
    pub holds: Vec<GatewayHolds>,
    /// What gateways say that they are like; of one gateway the last counts.
    pub gateways: Vec<GatewaySaid>,
    /// Keys that devices have used.
    pub keys_used: Vec<KeyUsed>,
    /// What changed of roll-outs.
    pub rollouts: RolloutChange,
    /// Seals, and what they are over.
    pub proofs: ProofChanges,
}

/// What a commit set in motion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// Runs that are new.
    pub started: u64,
    /// Waiting runs that a command's end woke.
    pub woken: u64,
    /// Status reports that changed a command.
    pub statuses: u64,
    /// Gateways that came with another key than before; each stands in the tenant's audit log.
    pub rekeyed: Vec<GatewayRekeyed>,
}

/// A new latest value of one name of one device.
#[derive(Debug, Clone, PartialEq)]
pub struct TwinUpdate {
    /// The tenant.
    pub tenant: TenantId,
    /// The device.
    pub device: DeviceId,
    /// The gateway that it came through; `None` for a device of its own.
    pub gateway: Option<GatewayId>,
    /// The sample's name.
    pub name: String,
    /// The value.
    pub value: OwnedValue,
    /// Its unit.
    pub unit: Option<String>,
    /// Event time.
    pub time_us: i64,
    /// When the hub received it.
    pub received_us: i64,
    /// How it came, if known.
    pub link: Option<LinkInfo>,
}

/// One point of a time series.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The tenant.
    pub tenant: TenantId,
    /// The device.
    pub device: DeviceId,
    /// The sample's name: the series within the device.
    pub name: String,
    /// Event time.
    pub time_us: i64,
    /// The value.
    pub value: OwnedValue,
    /// Its unit; the newest one given is the series' unit.
    pub unit: Option<String>,
}

/// The state of one workflow's rule for one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleState {
    /// The tenant.
    pub tenant: TenantId,
    /// The workflow's id.
    pub workflow: String,
    /// The device.
    pub device: DeviceId,
    /// The state as the rule encodes it; empty: the state is forgotten.
    pub bytes: Vec<u8>,
}

/// A run to start.
#[derive(Debug, Clone, PartialEq)]
pub struct Trigger {
    /// The run's id, derived from its cause: the same cause starts it once.
    pub run: RunId,
    /// The tenant.
    pub tenant: TenantId,
    /// The workflow's id.
    pub workflow: String,
    /// The workflow's version, to which the run is pinned.
    pub version: u32,
    /// What the run's templates see as `event`.
    pub event: serde_json::Value,
    /// When the rule fired (event time).
    pub at_us: i64,
    /// Its first step is not to be done before this, because a gateway may be doing it; what that
    /// says of it ([`Given`]) ends the wait. `None`: at once.
    pub not_before_us: Option<i64>,
}

/// What a gateway did about the first step of a run by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// The tenant.
    pub tenant: TenantId,
    /// The gateway.
    pub gateway: GatewayId,
    /// The run, which is woken.
    pub run: RunId,
    /// The command that it gave to a device; `None`: it could not, and the run's step is to be
    /// done as any other.
    pub command: Option<NewCommand>,
    /// When the hub heard of it.
    pub received_us: i64,
}

/// What a gateway says of the rules that are placed at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayRules {
    /// The tenant.
    pub tenant: TenantId,
    /// The gateway.
    pub gateway: GatewayId,
    /// Each workflow with its version, and why the gateway does not judge it; `None`: it does.
    pub verdicts: Vec<(String, u32, Option<String>)>,
    /// When the hub heard of it.
    pub at_us: i64,
}

/// Something that could not be understood, kept for the tenant to see.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Quarantined {
    /// The tenant.
    #[serde(skip)]
    pub tenant: TenantId,
    /// The device, where it is known.
    #[schema(value_type = Option<String>)]
    pub device: Option<DeviceId>,
    /// The topic that it came on.
    pub topic: String,
    /// What was wrong.
    pub reason: String,
    /// Where in the payload.
    pub path: Option<String>,
    /// The payload's beginning; cut to [`MAX_QUARANTINED_PAYLOAD`] bytes.
    #[serde(serialize_with = "as_hex")]
    #[schema(value_type = String)]
    pub payload: Vec<u8>,
    /// When it was received.
    pub at_us: i64,
    /// The position of its record in the log.
    pub position: u64,
}

/// How much of a quarantined payload is kept, in bytes.
pub const MAX_QUARANTINED_PAYLOAD: usize = 4 * 1024;

/// What a device (or the hub) says about a command.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandStatus {
    /// The tenant.
    pub tenant: TenantId,
    /// The command.
    pub command: CommandId,
    /// Its state now.
    pub state: State,
    /// When.
    pub at_us: i64,
    /// In words, e.g. why it failed.
    pub detail: Option<String>,
    /// The gateway that says so by itself, not for the device. That a command has expired or
    /// cannot be held counts only while no other gateway has got it.
    pub gateway: Option<GatewayId>,
}

/// A link of a device that came up or went down.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkSeen {
    /// The tenant.
    pub tenant: TenantId,
    /// The device.
    pub device: DeviceId,
    /// The gateway; `None` where the device is connected to the hub itself.
    pub gateway: Option<GatewayId>,
    /// When, by the clock of who saw it. Older news than stored is ignored.
    pub at_us: i64,
    /// When the hub received the news.
    pub received_us: i64,
    /// Up or down.
    pub connected: bool,
    /// What the link negotiated, if known.
    pub link: Option<LinkInfo>,
}

/// What the pipeline starts from.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The log position of the last commit; 0 at first.
    pub position: u64,
    /// Ledgers of each device: those of the boots with the highest numbers.
    pub ledgers: Vec<(TenantId, DeviceId, Boot, BootLedger)>,
    /// All rule states.
    pub rule_states: Vec<RuleState>,
    /// Alarms that are active.
    pub alarms: Vec<ActiveAlarm>,
    /// Newest values.
    pub twins: Vec<TwinUpdate>,
    /// Devices that are refused.
    pub refused: Vec<(TenantId, DeviceId)>,
    /// Gateways that seal what their devices say.
    pub sealing: Vec<(TenantId, GatewayId)>,
}

/// The pipeline's port.
#[async_trait]
pub trait Pipeline: Send + Sync + 'static {
    /// State as of the last commit. Of each device's boots the
    /// `boots_per_device` with the highest numbers are loaded (mostly, not
    /// always, the newest); [`Pipeline::ledger`] has the others.
    async fn load(&self, boots_per_device: u32) -> Result<Loaded, Error>;

    /// The ledger of one boot, if there is one.
    async fn ledger(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        boot: Boot,
    ) -> Result<Option<BootLedger>, Error>;

    /// Stores all of `commit` in one transaction, durably when this returns.
    ///
    /// After a retryable error nothing was stored (or, if the connection was lost
    /// in the middle, all of it): call again with the same commit.
    async fn commit(&self, commit: Commit) -> Result<Committed, Error>;
}

fn as_hex<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(bytes))
}
