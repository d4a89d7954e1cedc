//! Tries a mapping once: what each of its points gives, or what is wrong and what would be right.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use stencil_protocol::{id::DeviceId, sample::OwnedValue};
use tokio::task::JoinSet;

use crate::{
    Fault, i2c,
    mapping::{Connection, Device, Mapping, Point, Protocol},
    modbus, mqtt, opcua,
};

/// What a point gave.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// The connection.
    pub connection: String,
    /// The device.
    pub device: DeviceId,
    /// The point.
    pub point: String,
    /// Where it is, as the mapping says.
    pub place: String,
    /// Its value, scaled; none where something is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<OwnedValue>,
    /// Its unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// How long the answer took; none where it was not asked any more, as its device is silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_us: Option<u64>,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// What would be right, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right: Option<&'static str>,
}

/// An answer for one point, as a protocol gives it: the raw value, and how long it took.
pub(crate) struct Answer {
    pub(crate) value: Result<OwnedValue, Fault>,
    pub(crate) took: Option<Duration>,
}

/// Asks each point once, by itself, so that each has its own answer. Connections are tried side by
/// side; the answers are in the order of the mapping. Of MQTT devices it says what `heard` has of
/// them, and without it that nobody listens.
pub async fn check(mapping: &Mapping, heard: Option<mqtt::Heard>) -> Vec<Tried> {
    let mut trying = JoinSet::new();
    let heard = Arc::new(heard);
    for (at, connection) in mapping.connections.iter().enumerate() {
        let (connection, heard) = (Arc::clone(connection), Arc::clone(&heard));
        trying.spawn(async move { (at, try_all(&connection, heard.as_ref().as_ref()).await) });
    }
    let mut tried = Vec::new();
    while let Some(done) = trying.join_next().await {
        tried.extend(done.ok());
    }
    tried.sort_by_key(|(at, _)| *at);
    tried.into_iter().flat_map(|(_, tried)| tried).collect()
}

async fn try_all(connection: &Connection, heard: Option<&mqtt::Heard>) -> Vec<Tried> {
    let answers = match &connection.protocol {
        Protocol::ModbusTcp(_) | Protocol::ModbusRtu(_) => modbus::try_all(connection).await,
        Protocol::OpcUa(_) => opcua::try_all(connection).await,
        Protocol::I2c(path) => {
            let bus = Arc::new(i2c::Linux(path.clone()));
            i2c::try_all(connection, bus).await
        }
        Protocol::Mqtt(_) => match heard {
            Some(heard) => heard.answers(connection),
            None => {
                let points = connection.devices.iter().map(|device| device.points.len());
                let none = || Answer {
                    value: Err(Fault::NotListening),
                    took: None,
                };
                std::iter::repeat_with(none).take(points.sum()).collect()
            }
        },
    };
    let points = connection
        .devices
        .iter()
        .flat_map(|device| device.points.iter().map(move |point| (device, point)));
    points
        .zip(answers)
        .map(|((device, point), answer)| tried(connection, device, point, answer))
        .collect()
}

fn tried(connection: &Connection, device: &Device, point: &Point, answer: Answer) -> Tried {
    let judged = answer.value.and_then(|raw| point.judge(&raw));
    let (value, fault) = match judged {
        Ok(value) => (Some(value), None),
        Err(fault) => (None, Some(fault)),
    };
    Tried {
        connection: connection.name.to_string(),
        device: device.id.clone(),
        point: point.name.to_string(),
        place: point.target.to_string(),
        value,
        unit: point.unit.as_deref().map(str::to_owned),
        took_us: answer
            .took
            .map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
        right: fault.as_ref().and_then(Fault::right),
        fault: fault.map(|fault| fault.to_string()),
    }
}
