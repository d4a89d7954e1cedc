//! Commands to devices.

use serde_json::json;
use stencil_edge::command_id;
use stencil_protocol::command::State;
use stencil_protocol::id::{CommandId, DeviceId, TenantId};
use stencil_protocol::sample::OwnedValue;
use stencil_store::{Commands, NewCommand};
use stencil_workflow::{Failure, Performed, Request};

use crate::connectors::store_failed;

/// The command of an effect: its id derives from the effect key, so that the
/// same effect is the same command, on which the device acts once.
pub(crate) fn new(
    request: &Request<'_>,
    device: &DeviceId,
    name: &str,
    argument: &Option<OwnedValue>,
    expires_us: i64,
) -> NewCommand {
    NewCommand {
        id: command_id(request.effect_key),
        tenant: request.tenant.clone(),
        device: device.clone(),
        name: name.to_owned(),
        argument: argument.clone(),
        expires_us: request.now_us.saturating_add(expires_us),
        effect_key: Some(request.effect_key.to_owned()),
    }
}

/// Queues a command, or finds it queued.
pub(crate) async fn queue(
    commands: &dyn Commands,
    command: &NewCommand,
    now_us: i64,
) -> Result<Performed, Failure> {
    let queued = commands.queue(command, now_us).await;
    queued
        .map(|_| Performed::Waiting(command.id))
        .map_err(|error| store_failed(&error))
}

/// How a command stands.
pub(crate) async fn settle(
    commands: &dyn Commands,
    tenant: &TenantId,
    id: &CommandId,
) -> Result<Performed, Failure> {
    let command = commands
        .get(tenant, id)
        .await
        .map_err(|error| store_failed(&error))?;
    let Some(command) = command else {
        return Err(Failure::permanent(format!(
            "there is no command {id} any more"
        )));
    };
    let (device, detail) = (&command.device, command.detail.as_deref());
    match command.state {
        State::Done => {
            let state = command.state.as_str();
            Ok(Performed::Done(
                json!({ "command": id, "state": state, "detail": detail }),
            ))
        }
        State::Failed => {
            let detail = detail.unwrap_or("it did not say why");
            Err(Failure::permanent(format!(
                "{device} could not `{}`: {detail}",
                command.name
            )))
        }
        State::Expired => {
            let message = format!("{device} did not begin to `{}` in time", command.name);
            Err(Failure::permanent(message))
        }
        State::Queued | State::Sent | State::Acknowledged if command.overdue_us.is_none() => {
            Ok(Performed::Waiting(*id))
        }
        State::Queued | State::Sent | State::Acknowledged => Err(Failure::permanent(format!(
            "it is not known whether {device} did `{}`: it has not said so in time",
            command.name
        ))),
    }
}
