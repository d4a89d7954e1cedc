//! What to read from which device: a YAML file, checked as a whole.
//!
//! ```yaml
//! version: 1
//! connections:
//!   hall: { modbus-tcp: "192.0.2.10:502", timeout: 500ms }
//!   meters: { modbus-rtu: { path: /dev/ttyUSB0, baud: 19200, parity: even } }
//! devices:
//!   press-1:
//!     connection: hall
//!     unit: 1
//!     points:
//!       temperature: { holding: 100, type: f32, order: cdab, unit: Cel, every: 5s, deadband: 0.2 }
//!       running: { coil: 3, every: 1s, deadband: 0 }
//! ```
//!
//! [`parse`] tells of all that is wrong and not of the first only.

mod connection;
mod device;
pub(crate) mod files;
mod i2c;
mod mqtt;
mod opcua;
mod point;

use std::{fmt, path::Path, sync::Arc};

use stencil_protocol::id::DeviceId;
use stencil_yaml::{Content, Error, Fields, Key, Limits, Node, integer, shown};

use self::files::Files;
pub use self::{
    connection::{Connection, Protocol, TcpAddress},
    device::{Device, Link, Unit},
    i2c::{Chip, Driver, Quantity},
    mqtt::{Broker, Client, Form, MAX_TOPIC, Message},
    opcua::{
        Kind, Place, Policy, Secured, Security, Server, User, address as opcua_address,
        without_user,
    },
    point::{Deadband, Point, Report, Scale, Target},
};
pub use crate::modbus::address::{Address, Format, Order, Table};

/// The most bytes of a mapping: as many as a desired state's section may have.
pub const MAX_BYTES: usize = stencil_protocol::desired::MAX_SECTION_BYTES;
/// The most connections.
pub const MAX_CONNECTIONS: usize = 64;
/// The most devices.
pub const MAX_DEVICES: usize = 1_024;
/// The most points of all devices together.
pub const MAX_POINTS: usize = 20_000;
/// The most errors that are told at once.
const MAX_ERRORS: usize = 50;

const LIMITS: Limits = Limits {
    what: "the mapping",
    max_bytes: MAX_BYTES,
    max_depth: 12,
    max_nodes: 400_000,
};

/// A mapping that was understood.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapping {
    /// Each with the devices that hang on it, in the order of the file.
    pub connections: Vec<Arc<Connection>>,
}

/// All that is wrong with a mapping, in the order of the lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(pub Vec<Error>);

impl Mapping {
    /// All devices.
    pub fn devices(&self) -> impl Iterator<Item = &Arc<Device>> {
        self.connections.iter().flat_map(|it| &it.devices)
    }

    /// How many points there are.
    #[must_use]
    pub fn points(&self) -> usize {
        self.devices().map(|device| device.points.len()).sum()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().take(MAX_ERRORS).enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        match self.0.len().saturating_sub(MAX_ERRORS) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for Errors {}

impl From<Error> for Errors {
    fn from(error: Error) -> Self {
        Self(vec![error])
    }
}

/// Reads a mapping of the gateway's own disk: it may name any file there.
///
/// # Errors
/// All that is wrong with it.
pub fn parse(yaml: &str) -> Result<Mapping, Errors> {
    parse_with(yaml, Files::Any)
}

/// Reads a mapping that comes from elsewhere: the files that it names (certificates, keys, passwords)
/// have to be in `folder`, without links. Looks at the disk for these.
///
/// # Errors
/// All that is wrong with it.
pub fn parse_from_afar(yaml: &str, folder: &Path) -> Result<Mapping, Errors> {
    parse_with(yaml, Files::In(folder))
}

fn parse_with(yaml: &str, files: Files<'_>) -> Result<Mapping, Errors> {
    let root = stencil_yaml::read(yaml, &LIMITS)?;
    let mut errors = Vec::new();
    let mapping = read(&root, files, &mut errors);
    if errors.is_empty() {
        return Ok(mapping);
    }
    errors.sort_by_key(|error| (error.at.line, error.at.column));
    Err(Errors(errors))
}

/// Refuses devices of a mapping whose ids are somebody else's: `whose` says what is wrong with an id
/// and what would be right. What [`parse`] refuses is not looked at.
///
/// # Errors
/// One for each such device, at its place in the text.
pub fn refuse_ids(
    yaml: &str,
    whose: impl Fn(&DeviceId) -> Option<(String, String)>,
) -> Result<(), Errors> {
    let Ok(root) = stencil_yaml::read(yaml, &LIMITS) else {
        return Ok(());
    };
    let devices = match &root.content {
        Content::Map(entries) => entries.iter().find(|(key, _)| key.name == "devices"),
        _ => None,
    };
    let Some(Content::Map(devices)) = devices.map(|(_, node)| &node.content) else {
        return Ok(());
    };
    let refused = devices.iter().filter_map(|(key, _)| {
        let (what, right) = whose(&id(key).ok()?)?;
        Some(Error::new(key.at, what, right))
    });
    match refused.collect::<Vec<_>>() {
        none if none.is_empty() => Ok(()),
        errors => Err(Errors(errors)),
    }
}

fn read(root: &Node, files: Files<'_>, errors: &mut Vec<Error>) -> Mapping {
    let known = ["version", "connections", "devices"];
    let Some(fields) = Fields::gathering(root, "a mapping", &known, errors) else {
        return Mapping::default();
    };
    let version = fields.need("version", "1");
    note(
        errors,
        version.and_then(|node| integer(node, "version", 1, 1)),
    );
    let example = "{ hall: { modbus-tcp: \"192.0.2.10:502\" } }";
    let mut connections = Vec::new();
    let written = entries(
        fields.need("connections", example),
        "connections",
        MAX_CONNECTIONS,
        errors,
    );
    let mut broken = Vec::new();
    for (key, node) in written {
        match connection::read(key, node, (&connections, files), errors) {
            Some(connection) => connections.push(connection),
            None => broken.push(key.name.as_str()),
        }
    }
    // What is wrong with a connection was told: devices on it are not to blame.
    let is_broken = |name: &str| written.is_empty() || broken.contains(&name);
    let example = "{ press-1: { connection: hall, unit: 1, points: … } }";
    let devices = entries(
        fields.need("devices", example),
        "devices",
        MAX_DEVICES,
        errors,
    );
    let mut points = 0;
    let mut owners = mqtt::Owners::default();
    for connection in &connections {
        if let Protocol::Mqtt(broker) = &connection.protocol {
            owners.ignore(broker);
        }
    }
    for (key, node) in devices {
        let read = device::read(key, node, (&connections, &is_broken), errors);
        let Some((of, device)) = read else {
            continue;
        };
        points += device.points.len();
        if let Link::Mqtt(client) = &device.link {
            owners.add(key.at, &device.id, client, errors);
        }
        if let Some(connection) = connections.get_mut(of) {
            connection.devices.push(Arc::new(device));
        }
    }
    if points > MAX_POINTS {
        errors.push(Error::new(
            root.at,
            format!("there are {points} points"),
            format!("at most {MAX_POINTS} are read by one gateway"),
        ));
    }
    Mapping {
        connections: connections.into_iter().map(Arc::new).collect(),
    }
}

/// The entries of a map whose keys are names that the author chooses.
fn entries<'a>(
    node: Result<&'a Node, Error>,
    name: &str,
    most: usize,
    errors: &mut Vec<Error>,
) -> &'a [(Key, Node)] {
    let Some(node) = note(errors, node) else {
        return &[];
    };
    let Content::Map(entries) = &node.content else {
        errors.push(Error::new(
            node.at,
            format!("`{name}` is {}", node.kind()),
            "write a map: each entry begins with its name",
        ));
        return &[];
    };
    if entries.is_empty() || entries.len() > most {
        errors.push(Error::new(
            node.at,
            format!("there are {} {name}", entries.len()),
            format!("write 1 to {most}"),
        ));
        return &[];
    }
    entries
}

/// Keeps what is wrong, and goes on.
fn note<T>(errors: &mut Vec<Error>, read: Result<T, Error>) -> Option<T> {
    match read {
        Ok(value) => Some(value),
        Err(error) => {
            // What is told is bounded, and so is what is gathered.
            if errors.len() < 10 * MAX_ERRORS {
                errors.push(error);
            }
            None
        }
    }
}

fn id(key: &Key) -> Result<DeviceId, Error> {
    DeviceId::parse(&key.name).map_err(|error| {
        Error::new(
            key.at,
            format!("{} is no id of a device", shown(&key.name)),
            error.to_string(),
        )
    })
}

#[cfg(test)]
mod tests;
