//! A device of ours that somebody else made.

use std::time::Duration;

use stencil_protocol::id::DeviceId;
use stencil_yaml::{Error, Fields, Key, Node, duration_us, integer, listed, nearest, shown, text};

use super::{
    Chip, Client, Connection, Point, Protocol, Target, connection::refuse_foreign, entries, i2c,
    id, mqtt, note, point,
};

/// The keys of every device.
const KNOWN: &[&str] = &["connection", "every", "points"];
/// Those of a Modbus device.
const MODBUS: &[&str] = &["unit", "max-gap", "max-registers", "max-bits"];
/// The most points of a device.
const MAX_POINTS: usize = 2_000;
/// How often a point is read when nothing is said.
const EVERY: Duration = Duration::from_secs(10);

/// A device.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Its id at the hub.
    pub id: DeviceId,
    /// How it is found on its connection.
    pub link: Link,
    /// What is read.
    pub points: Vec<Point>,
}

/// How a device is found on its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Link {
    /// On a Modbus connection.
    Modbus(Unit),
    /// On an OPC UA connection: its points say where they are in the server.
    OpcUa,
    /// On an MQTT connection: by whom, and on which topics.
    Mqtt(Client),
    /// On an I²C bus.
    I2c(Chip),
}

/// A device on a Modbus connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its number on the line, 1 to 247; over TCP 0 and 255 too, which mean the device itself.
    pub number: u8,
    /// How many registers, or 16 times as many bits, may be read for nothing to save a request.
    pub max_gap: u16,
    /// The most registers that it gives at once.
    pub max_registers: u16,
    /// The most coils or discrete inputs that it gives at once.
    pub max_bits: u16,
}

impl Unit {
    /// A unit with the bounds of the specification.
    #[must_use]
    pub fn new(number: u8) -> Self {
        Self {
            number,
            max_gap: 8,
            max_registers: 125,
            max_bits: 2_000,
        }
    }
}

/// The connections that are written: those that were understood, and whether one of a name was not.
type Written<'a> = (&'a [Connection], &'a dyn Fn(&str) -> bool);

/// Reads a device; says on which connection it hangs. Of one on a connection that is `broken` nothing
/// more is told.
pub(super) fn read(
    key: &Key,
    node: &Node,
    (connections, is_broken): Written<'_>,
    errors: &mut Vec<Error>,
) -> Option<(usize, Device)> {
    let id = note(errors, id(key));
    let known = [KNOWN, MODBUS, mqtt::DEVICE, i2c::DEVICE].concat();
    let fields = Fields::gathering(node, "a device", &known, errors)?;
    let named = fields.need("connection", "hall");
    let is_told = |node: &&Node| matches!(text(node, "connection"), Ok(name) if is_broken(name));
    let of = match named.as_ref().ok().filter(|node| is_told(node)) {
        Some(_) => None,
        None => note(errors, named.and_then(|node| connection(node, connections)))
            .or_else(|| only_protocol(connections)),
    };
    let every = match fields.get("every") {
        Some(node) => note(errors, every(node)).unwrap_or(EVERY),
        None => EVERY,
    };
    // How it is found and what its points are depends on the protocol.
    let protocol = &connections.get(of?)?.protocol;
    let mut foreign = |names: &[&str], of: &str, this: &str| {
        refuse_foreign(&fields, names, of, this, errors);
    };
    match protocol {
        Protocol::OpcUa(_) => {
            foreign(MODBUS, "Modbus", "OPC UA");
            foreign(mqtt::DEVICE, "MQTT", "OPC UA");
            foreign(i2c::DEVICE, "I²C", "OPC UA");
        }
        Protocol::Mqtt(_) => {
            foreign(MODBUS, "Modbus", "MQTT");
            foreign(i2c::DEVICE, "I²C", "MQTT");
            foreign(&["every"], "devices that are asked", "MQTT");
        }
        Protocol::I2c(_) => {
            foreign(MODBUS, "Modbus", "I²C");
            foreign(mqtt::DEVICE, "MQTT", "I²C");
        }
        _ => {
            foreign(mqtt::DEVICE, "MQTT", "Modbus");
            foreign(i2c::DEVICE, "I²C", "Modbus");
        }
    }
    let (link, example) = match protocol {
        Protocol::OpcUa(_) => (
            Some(Link::OpcUa),
            "{ temperature: { node: \"ns=2;s=Line1.Temperature\" } }",
        ),
        Protocol::Mqtt(_) => (
            mqtt::client(&fields, id.as_ref(), errors).map(Link::Mqtt),
            "{ power: { topic: tele/plug-1/SENSOR, pointer: /ENERGY/Power } }",
        ),
        Protocol::I2c(_) => (
            i2c::chip(&fields, errors).map(Link::I2c),
            "{ temperature: { value: temperature } }",
        ),
        _ => (
            unit(&fields, protocol, errors).map(Link::Modbus),
            "{ temperature: { holding: 100, type: f32 } }",
        ),
    };
    let written = entries(fields.need("points", example), "points", MAX_POINTS, errors);
    let mut points = Vec::with_capacity(written.len());
    for (key, node) in written {
        let read = point::read(key, node, every, (Some(protocol), link.as_ref()), errors);
        if let (Some(point), Some(Link::Modbus(unit))) = (&read, &link) {
            note(errors, fits(point, unit, key));
        }
        points.extend(read);
    }
    let mut link = link;
    if let Some(Link::Mqtt(client)) = &mut link {
        let messages = points.iter().filter_map(|point| match &point.target {
            Target::Mqtt(message) => Some(message),
            _ => None,
        });
        for topic in mqtt::settle(client, messages) {
            errors.push(Error::new(
                key.at,
                format!("{} is not in `topics`", shown(&topic)),
                "write it there, or leave `topics` out",
            ));
        }
    }
    let device = Device {
        id: id?,
        link: link?,
        points,
    };
    Some((of?, device))
}

/// `every: 10s`
pub(super) fn every(node: &Node) -> Result<Duration, Error> {
    let us = duration_us(node, "every", 100_000, 86_400_000_000)?;
    Ok(Duration::from_micros(us.unsigned_abs()))
}

/// A value is read in one piece, or its halves would be of two moments.
fn fits(point: &Point, unit: &Unit, key: &Key) -> Result<(), Error> {
    let Target::Modbus(address) = point.target else {
        return Ok(());
    };
    let length = address.format.length();
    if address.table.has_bits() || length <= unit.max_registers {
        return Ok(());
    }
    let what = format!(
        "{} takes {length} registers, and `max-registers` is {}",
        shown(&point.name),
        unit.max_registers
    );
    Err(Error::new(key.at, what, "a value is read in one piece"))
}

/// A connection by whose protocol a device can be read that names none: what else is wrong with it is
/// told at once. There is none where it could be another protocol.
fn only_protocol(connections: &[Connection]) -> Option<usize> {
    let kind = |connection: &Connection| match connection.protocol {
        Protocol::ModbusTcp(_) | Protocol::ModbusRtu(_) => 0,
        Protocol::OpcUa(_) => 1,
        Protocol::Mqtt(_) => 2,
        Protocol::I2c(_) => 3,
    };
    let first = kind(connections.first()?);
    connections.iter().all(|it| kind(it) == first).then_some(0)
}

fn connection(node: &Node, connections: &[Connection]) -> Result<usize, Error> {
    let name = text(node, "connection")?;
    let found = connections.iter().position(|it| &*it.name == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = connections.iter().map(|it| &*it.name).collect();
        let right = match nearest(name, &names) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => "write it under `connections`".to_owned(),
            None => format!("there are {}", listed(&names)),
        };
        Error::new(
            node.at,
            format!("there is no connection {}", shown(name)),
            right,
        )
    })
}

fn unit(fields: &Fields<'_>, protocol: &Protocol, errors: &mut Vec<Error>) -> Option<Unit> {
    let number = match (fields.get("unit"), protocol) {
        // The device that the address is of.
        (None, Protocol::ModbusTcp(_)) => 255,
        (None, _) => {
            note(errors, fields.need("unit", "1"))?;
            return None;
        }
        (Some(node), Protocol::ModbusTcp(_)) => byte(node, 0, 255, errors)?,
        (Some(node), _) => byte(node, 1, 247, errors)?,
    };
    let mut unit = Unit::new(number);
    let mut bound = |name: &str, least: i64, most: i64, field: &mut u16| {
        if let Some(node) = fields.get(name)
            && let Some(value) = note(errors, integer(node, name, least, most))
            && let Ok(value) = u16::try_from(value)
        {
            *field = value;
        }
    };
    bound("max-gap", 0, 120, &mut unit.max_gap);
    bound("max-registers", 4, 125, &mut unit.max_registers);
    bound("max-bits", 8, 2_000, &mut unit.max_bits);
    Some(unit)
}

fn byte(node: &Node, least: i64, most: i64, errors: &mut Vec<Error>) -> Option<u8> {
    let number = note(errors, integer(node, "unit", least, most))?;
    u8::try_from(number).ok()
}
