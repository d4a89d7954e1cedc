//! How devices are reached.

use std::{path::PathBuf, sync::Arc, time::Duration};

use stencil_protocol::line::Line;
use stencil_yaml::{
    Content, Error, Fields, Key, Node, duration_us, integer, listed, nearest, shown, text,
};

use super::{Broker, Device, Security, Server, files::Files, i2c, mqtt, note, opcua};
use crate::serial;

/// The protocols, by their key.
const PROTOCOLS: &[&str] = &["modbus-tcp", "modbus-rtu", "opcua", "mqtt", "i2c"];
/// The other keys of a connection.
const OTHERS: &[&str] = &["timeout", "retries", "max-backoff", "pause"];
/// The longest name of a connection, in bytes.
const MAX_NAME: usize = 48;

/// A connection, and what hangs on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// Its name in the mapping.
    pub name: Arc<str>,
    /// What is spoken on it, and where.
    pub protocol: Protocol,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How often a request is repeated that was not answered.
    pub retries: u32,
    /// The longest wait before what did not answer is asked again; the first is a second.
    pub max_backoff: Duration,
    /// The least time between an answer and the next request.
    pub pause: Duration,
    /// Its devices.
    pub devices: Vec<Arc<Device>>,
}

/// What is spoken on a connection, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// Modbus over TCP.
    ModbusTcp(TcpAddress),
    /// Modbus RTU over a serial line.
    ModbusRtu(serial::Settings),
    /// OPC UA over TCP.
    OpcUa(Server),
    /// MQTT: devices that connect to the gateway.
    Mqtt(Broker),
    /// An I²C bus of this machine.
    I2c(PathBuf),
}

/// Host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpAddress {
    /// A name or an address; an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Connection {
    /// A connection with the defaults, and without devices.
    #[must_use]
    pub fn new(name: &str, protocol: Protocol) -> Self {
        let timeout = match protocol {
            Protocol::ModbusTcp(_)
            | Protocol::ModbusRtu(_)
            | Protocol::Mqtt(_)
            | Protocol::I2c(_) => Duration::from_secs(1),
            // Small servers take seconds to open a secured session.
            Protocol::OpcUa(_) => Duration::from_secs(10),
        };
        Self {
            name: name.into(),
            protocol,
            timeout,
            retries: 1,
            max_backoff: Duration::from_secs(60),
            pause: Duration::ZERO,
            devices: Vec::new(),
        }
    }
}

impl Protocol {
    /// What its devices' readings are recorded to have come over.
    #[must_use]
    pub fn line(&self) -> Line {
        match self {
            Protocol::ModbusTcp(_) => Line::ModbusTcp,
            Protocol::ModbusRtu(_) => Line::ModbusRtu,
            Protocol::OpcUa(server) => match server.security {
                Security::None => Line::OpcUaNone,
                Security::Secured(_) => Line::OpcUa,
            },
            // Until a message comes over one that is better.
            Protocol::Mqtt(_) => Line::MqttPlain,
            Protocol::I2c(_) => Line::I2c,
        }
    }

    /// Address or path, for messages.
    #[must_use]
    pub fn place(&self) -> Arc<str> {
        match self {
            Protocol::ModbusTcp(TcpAddress { host, port }) if host.contains(':') => {
                format!("[{host}]:{port}").into()
            }
            Protocol::ModbusTcp(TcpAddress { host, port }) => format!("{host}:{port}").into(),
            Protocol::ModbusRtu(settings) => settings.path.display().to_string().into(),
            Protocol::OpcUa(server) => server.place(),
            Protocol::Mqtt(_) => "the gateway's MQTT listener".into(),
            Protocol::I2c(path) => path.display().to_string().into(),
        }
    }
}

impl TcpAddress {
    /// Reads `host:port`; without a port it is Modbus's own, 502.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, String> {
        let wrong = || {
            "write host:port, such as 192.0.2.10:502, plc.example:502 or [2001:db8::1]:502"
                .to_owned()
        };
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
                (host, port.strip_prefix(':'))
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
        if !(1..=253).contains(&host.len()) || !host.bytes().all(good) {
            return Err(wrong());
        }
        let port = match port {
            None => default_port,
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(wrong)?,
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

/// Reads a connection, beside those `before` it.
pub(super) fn read(
    key: &Key,
    node: &Node,
    (before, files): (&[Connection], Files<'_>),
    errors: &mut Vec<Error>,
) -> Option<Connection> {
    let name = key.name.as_str();
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        errors.push(Error::new(
            key.at,
            format!("a connection is called {}", shown(name)),
            format!("write 1 to {MAX_NAME} characters"),
        ));
    }
    let known = [PROTOCOLS, OTHERS].concat();
    let fields = Fields::gathering(node, "a connection", &known, errors)?;
    let protocol = protocol(&fields, files, errors);
    // A line that two connections open would give each half of the bytes.
    let same = |other: &&Connection| match (&other.protocol, &protocol) {
        (Protocol::ModbusRtu(one), Some(Protocol::ModbusRtu(line))) => one.path == line.path,
        (Protocol::I2c(one), Some(Protocol::I2c(bus))) => one == bus,
        _ => false,
    };
    if let Some(other) = before.iter().find(same) {
        errors.push(Error::new(
            key.at,
            format!(
                "{} is on the same line as {}",
                shown(name),
                shown(&other.name)
            ),
            "write one connection, and hang the devices of both on it",
        ));
    }
    match protocol {
        Some(Protocol::OpcUa(_)) => {
            refuse_foreign(&fields, &["retries", "pause"], "Modbus", "OPC UA", errors);
        }
        Some(Protocol::Mqtt(_)) => {
            let of = "lines on which the gateway asks";
            refuse_foreign(&fields, OTHERS, of, "MQTT", errors);
        }
        Some(Protocol::I2c(_)) => {
            let names = &["timeout", "retries", "pause"];
            refuse_foreign(&fields, names, "other lines", "I²C", errors);
        }
        _ => {}
    }
    let mut connection = Connection::new(name, protocol?);
    let mut span = |name: &str, least: i64, most: i64, field: &mut Duration| {
        if let Some(node) = fields.get(name)
            && let Some(us) = note(errors, duration_us(node, name, least, most))
        {
            *field = Duration::from_micros(us.unsigned_abs());
        }
    };
    span("timeout", 10_000, 60_000_000, &mut connection.timeout);
    span(
        "max-backoff",
        1_000_000,
        3_600_000_000,
        &mut connection.max_backoff,
    );
    span("pause", 0, 10_000_000, &mut connection.pause);
    if let Some(node) = fields.get("retries")
        && let Some(retries) = note(errors, integer(node, "retries", 0, 5))
        && let Ok(retries) = u32::try_from(retries)
    {
        connection.retries = retries;
    }
    Some(connection)
}

/// Refuses what is said of another protocol.
pub(super) fn refuse_foreign(
    fields: &Fields<'_>,
    names: &[&str],
    of: &str,
    this: &str,
    errors: &mut Vec<Error>,
) {
    for name in names {
        if let Some(node) = fields.get(name) {
            errors.push(Error::new(
                node.at,
                format!("`{name}` is of {of}, and this is {this}"),
                "leave it out",
            ));
        }
    }
}

fn protocol(fields: &Fields<'_>, files: Files<'_>, errors: &mut Vec<Error>) -> Option<Protocol> {
    let mut found = PROTOCOLS
        .iter()
        .filter_map(|name| fields.get(name).map(|node| (*name, node)));
    let (name, node) = match (found.next(), found.next()) {
        (Some(one), None) => one,
        (first, _) => {
            errors.push(Error::new(
                first.map_or(fields.at, |(_, node)| node.at),
                match first {
                    Some(_) => "a connection has more than one protocol",
                    None => "a connection has no protocol",
                },
                format!("write one of {}", listed(PROTOCOLS)),
            ));
            return None;
        }
    };
    match name {
        "modbus-tcp" => {
            let address = text(node, name).and_then(|address| {
                TcpAddress::parse(address, 502).map_err(|right| {
                    Error::new(node.at, format!("`{name}` is {}", shown(address)), right)
                })
            });
            note(errors, address).map(Protocol::ModbusTcp)
        }
        "opcua" => opcua::server(node, files, errors).map(Protocol::OpcUa),
        "mqtt" => mqtt::broker(node, errors).map(Protocol::Mqtt),
        "i2c" => i2c::bus(node, errors).map(Protocol::I2c),
        _ => line(node, errors).map(Protocol::ModbusRtu),
    }
}

/// `{ path: /dev/ttyUSB0, baud: 19200, parity: even, stop-bits: 1 }`, or the path alone.
fn line(node: &Node, errors: &mut Vec<Error>) -> Option<serial::Settings> {
    if let Content::Text(path) = &node.content {
        return note(errors, path_of(node, path)).map(serial::Settings::modbus);
    }
    let known = ["path", "baud", "parity", "stop-bits"];
    let fields = Fields::gathering(node, "a serial line", &known, errors)?;
    let path = fields
        .need("path", "/dev/ttyUSB0")
        .and_then(|node| path_of(node, text(node, "path")?));
    let path = note(errors, path);
    let baud = fields.get("baud").and_then(|node| {
        let baud = integer(node, "baud", 300, 4_000_000);
        note(errors, baud).and_then(|baud| u32::try_from(baud).ok())
    });
    let parity = fields.get("parity").and_then(|node| {
        let parity = text(node, "parity").and_then(|name| {
            serial::Parity::from_name(name).ok_or_else(|| {
                let right = match nearest(name, &["none", "even", "odd"]) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "write none, even or odd".to_owned(),
                };
                Error::new(node.at, format!("`parity` is {}", shown(name)), right)
            })
        });
        note(errors, parity)
    });
    let stop_bits = fields.get("stop-bits").and_then(|node| {
        let bits = integer(node, "stop-bits", 1, 2);
        note(errors, bits)
    });
    let mut settings = serial::Settings::modbus(path?);
    if let Some(baud) = baud {
        settings.baud = baud;
    }
    if let Some(parity) = parity {
        settings.parity = parity;
    }
    // Without parity the specification wants two; most devices are set to one all the same.
    settings.two_stop_bits = stop_bits == Some(2);
    Some(settings)
}

fn path_of(node: &Node, path: &str) -> Result<PathBuf, Error> {
    if path.starts_with('/') && path.len() <= 255 && !path.chars().any(char::is_control) {
        Ok(PathBuf::from(path))
    } else {
        Err(Error::new(
            node.at,
            format!("the line's path is {}", shown(path)),
            "write the whole path of its device file, such as /dev/ttyUSB0, or better one below \
             /dev/serial/by-id, which stays the same",
        ))
    }
}
