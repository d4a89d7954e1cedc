//! One value of a device.

use std::{fmt, sync::Arc, time::Duration};

use stencil_protocol::sample::{self, OwnedValue};
use stencil_yaml::{
    Content, Error, Fields, Key, Node, duration_us, integer, listed, nearest, number, shown, text,
};

use super::{
    Address, Format, Kind, Link, Message, Order, Place, Protocol, Quantity, Table,
    connection::refuse_foreign, device, i2c, mqtt, note, opcua,
};
use crate::{Fault, unit};

/// The keys of every point.
const KNOWN: &[&str] = &[
    "unit",
    "scale",
    "offset",
    "valid",
    "every",
    "deadband",
    "max-silence",
];
/// Those of a point in a Modbus device, besides the tables.
const MODBUS: &[&str] = &["type", "order", "bit", "bits", "length"];
/// The tables, of which a point in a Modbus device has one.
const TABLES: &[&str] = &["coil", "discrete", "holding", "input"];
/// Those of a point in an OPC UA server.
const OPCUA: &[&str] = &["node", "type", "queue"];
/// The types of registers.
const TYPES: &[&str] = &[
    "bool", "bits", "u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64", "string",
];
/// The longest name in bytes: there is room behind it for `.fault`.
const MAX_NAME: usize = sample::MAX_NAME - 8;
/// When a value that has not changed is sent anyway, if nothing is said.
const MAX_SILENCE: Duration = Duration::from_secs(900);

/// A value of a device: what it is, and when it is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// What the hub calls it.
    pub name: Arc<str>,
    /// Where it is.
    pub target: Target,
    /// Its unit in UCUM, after scaling.
    pub unit: Option<Arc<str>>,
    /// What makes a reading of the raw value.
    pub scale: Option<Scale>,
    /// The least and most that is valid, scaled.
    pub valid: Option<(f64, f64)>,
    /// How often it is read, or asked to be told.
    pub every: Duration,
    /// When it is sent.
    pub report: Report,
}

/// Where a value is in its device.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Target {
    /// In a Modbus device.
    Modbus(Address),
    /// In an OPC UA server.
    OpcUa(Place),
    /// In a message of an MQTT device.
    Mqtt(Message),
    /// What a chip on an I²C bus measures.
    I2c(Quantity),
}

impl Target {
    /// Whether it is known to give something else than numbers.
    fn is_no_number(&self) -> bool {
        match self {
            Target::Modbus(address) => !address.format.is_number(),
            Target::OpcUa(place) => place.kind.is_some_and(|kind| kind != Kind::Number),
            Target::Mqtt(message) => !message.form.is_number(),
            Target::I2c(_) => false,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Modbus(address) => address.fmt(f),
            Target::OpcUa(place) => place.fmt(f),
            Target::Mqtt(message) => message.fmt(f),
            Target::I2c(quantity) => quantity.fmt(f),
        }
    }
}

/// `raw × scale + offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// What is multiplied.
    pub factor: f64,
    /// What is added then.
    pub offset: f64,
}

/// When a value is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Report {
    /// Each time that it was read.
    Always,
    /// When it has changed by more than the deadband, or after a silence.
    Changes {
        /// By how much.
        deadband: Deadband,
        /// After that long without it is sent anyway.
        max_silence: Duration,
    },
}

/// How much of a change is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Deadband {
    /// So much in the point's unit.
    Absolute(f64),
    /// So much of the value that was sent last, in hundredths.
    Percent(f64),
}

impl Scale {
    /// The reading. A scale of 0.1 divides by 10, once, so that 217 makes 21.7, the nearest number
    /// to it.
    #[must_use]
    pub fn apply(&self, raw: f64) -> f64 {
        let divisor = (1.0 / self.factor).round();
        let is_whole = divisor.abs() >= 2.0 && (divisor * self.factor - 1.0).abs() < 1e-12;
        if !is_whole {
            return raw * self.factor + self.offset;
        }
        let offset = self.offset * divisor;
        if offset.fract() == 0.0 {
            (raw + offset) / divisor
        } else {
            raw / divisor + self.offset
        }
    }
}

impl Point {
    /// What a raw value says: scaled, and valid.
    ///
    /// # Errors
    /// [`Fault::NotFinite`], [`Fault::Invalid`], and [`Fault::Type`] for a value that cannot be
    /// scaled.
    pub fn judge(&self, raw: &OwnedValue) -> Result<OwnedValue, Fault> {
        let scaled = match (&self.scale, raw) {
            (None, raw) => raw.clone(),
            (Some(scale), OwnedValue::Integer(_) | OwnedValue::Number(_)) => {
                let raw = raw.as_ref().as_f64().unwrap_or(f64::NAN);
                OwnedValue::Number(scale.apply(raw))
            }
            (Some(_), OwnedValue::Bool(_)) => return Err(wrong_type("true or false")),
            (Some(_), OwnedValue::Text(_)) => return Err(wrong_type("a text")),
        };
        let number = match &scaled {
            OwnedValue::Integer(_) | OwnedValue::Number(_) => scaled.as_ref().as_f64(),
            OwnedValue::Bool(_) | OwnedValue::Text(_) => None,
        };
        match number {
            Some(number) if !number.is_finite() => Err(Fault::NotFinite(number)),
            Some(value) => match self.valid {
                Some((low, high)) if !(low..=high).contains(&value) => {
                    Err(Fault::Invalid { value, low, high })
                }
                _ => Ok(scaled),
            },
            None => Ok(scaled),
        }
    }
}

fn wrong_type(got: &'static str) -> Fault {
    Fault::Type {
        got,
        wanted: "a number, as there is a `scale` or `offset`",
    }
}

/// Reads a point.
pub(super) fn read(
    key: &Key,
    node: &Node,
    every: Duration,
    (protocol, link): (Option<&Protocol>, Option<&Link>),
    errors: &mut Vec<Error>,
) -> Option<Point> {
    note(errors, name(key));
    let known = match protocol {
        Some(Protocol::OpcUa(_)) => [OPCUA, KNOWN].concat(),
        Some(Protocol::Mqtt(_)) => [mqtt::POINT, KNOWN].concat(),
        Some(Protocol::I2c(_)) => [i2c::POINT, KNOWN].concat(),
        Some(Protocol::ModbusTcp(_) | Protocol::ModbusRtu(_)) => [TABLES, MODBUS, KNOWN].concat(),
        None => [TABLES, MODBUS, OPCUA, mqtt::POINT, i2c::POINT, KNOWN].concat(),
    };
    let fields = Fields::gathering(node, "a point", &known, errors)?;
    let target = match protocol {
        Some(Protocol::ModbusTcp(_) | Protocol::ModbusRtu(_)) => {
            address(&fields, errors).map(Target::Modbus)
        }
        Some(Protocol::OpcUa(_)) => opcua::place(&fields, errors).map(Target::OpcUa),
        Some(Protocol::Mqtt(_)) => {
            refuse_foreign(
                &fields,
                &["every"],
                "points that are asked for",
                "MQTT",
                errors,
            );
            mqtt::message(&fields, errors).map(Target::Mqtt)
        }
        Some(Protocol::I2c(_)) => {
            let names = &["every"];
            refuse_foreign(&fields, names, "points that are read alone", "I²C", errors);
            let driver = link.and_then(|link| match link {
                Link::I2c(chip) => Some(chip.driver),
                _ => None,
            });
            i2c::quantity(&fields, driver, errors).map(Target::I2c)
        }
        None => None,
    };
    let unit = fields
        .get("unit")
        .and_then(|node| note(errors, unit_of(node)));
    let real = |name: &str, errors: &mut Vec<Error>| {
        let node = fields.get(name)?;
        note(errors, number(node, name))
    };
    let (factor, offset) = (real("scale", errors), real("offset", errors));
    if let (Some(0.0), Some(node)) = (factor, fields.get("scale")) {
        errors.push(Error::new(
            node.at,
            "`scale` is 0",
            "write what the raw value is multiplied by, for example 0.1",
        ));
    }
    let scale = (factor.is_some() || offset.is_some()).then(|| Scale {
        factor: factor.unwrap_or(1.0),
        offset: offset.unwrap_or(0.0),
    });
    let unit = match &target {
        // The chip's own, where nothing makes another of it.
        Some(Target::I2c(quantity)) if scale.is_none() => {
            unit.or_else(|| Some(quantity.unit().into()))
        }
        _ => unit,
    };
    let valid = fields
        .get("valid")
        .and_then(|node| note(errors, valid(node)));
    let every = match fields.get("every") {
        Some(node) => note(errors, device::every(node)).unwrap_or(every),
        None => every,
    };
    let report = report(&fields, errors);
    if target.as_ref().is_some_and(Target::is_no_number) {
        for name in ["unit", "scale", "offset", "valid"] {
            if let Some(node) = fields.get(name) {
                errors.push(Error::new(
                    node.at,
                    format!("`{name}` is of numbers, and this point gives none"),
                    "leave it out, or write another `type`",
                ));
            }
        }
    }
    Some(Point {
        name: key.name.as_str().into(),
        target: target?,
        unit,
        scale,
        valid,
        every,
        report,
    })
}

fn name(key: &Key) -> Result<(), Error> {
    let name = &key.name;
    let right = format!("write 1 to {MAX_NAME} bytes without control characters");
    if name.len() > MAX_NAME {
        let what = format!("a point's name has {} bytes", name.len());
        return Err(Error::new(key.at, what, right));
    }
    sample::check_name(name).map_err(|error| Error::new(key.at, error.to_string(), right))?;
    // A name in which text runs backwards reads as another one.
    if let Some(mark) = name.chars().find(|&it| turns_text(it)) {
        let what = format!(
            "a point's name has U+{:04X}, which turns the direction of text",
            u32::from(mark)
        );
        return Err(Error::new(key.at, what, "write the name without it"));
    }
    if name == "field.status" || name.ends_with(".fault") {
        return Err(Error::new(
            key.at,
            format!("a point is called {}", shown(name)),
            "write another name: the gateway tells of faults under this one",
        ));
    }
    Ok(())
}

/// Unicode's marks for the direction of text (UAX #9, section 2).
const fn turns_text(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn unit_of(node: &Node) -> Result<Arc<str>, Error> {
    let unit = text(node, "unit")?;
    match unit::check(unit) {
        Ok(()) => Ok(unit.into()),
        Err((what, right)) => Err(Error::new(
            node.at,
            format!("`unit` {} {what}", shown(unit)),
            right,
        )),
    }
}

fn address(fields: &Fields<'_>, errors: &mut Vec<Error>) -> Option<Address> {
    let mut found = Table::ALL
        .into_iter()
        .filter_map(|table| fields.get(table.name()).map(|node| (table, node)));
    let (table, node) = match (found.next(), found.next()) {
        (Some(one), None) => one,
        (first, _) => {
            errors.push(Error::new(
                first.map_or(fields.at, |(_, node)| node.at),
                match first {
                    Some(_) => "a point is at more than one place",
                    None => "a point says not where it is",
                },
                format!("write one of {}, with the address", listed(TABLES)),
            ));
            return None;
        }
    };
    let first = note(errors, register(node, table));
    let format = format(fields, table, errors);
    let order = fields.get("order").and_then(|node| {
        let order = note(errors, order(node))?;
        let longest = if matches!(format, Some(Format::Text(_))) {
            2
        } else {
            4
        };
        let is_short = format.is_some_and(|format| format.length() < 2);
        if table.has_bits()
            || (is_short && order.low_word_first())
            || (longest == 2 && order.low_word_first())
        {
            errors.push(Error::new(
                node.at,
                "`order` is about words that this point does not have",
                "leave it out; `badc` swaps the bytes of single registers",
            ));
        }
        Some(order)
    });
    let (first, format) = (first?, format?);
    if u32::from(first) + u32::from(format.length()) > 1 << 16 {
        errors.push(Error::new(
            node.at,
            format!(
                "`{}: {first}` and the {} registers of it go beyond the last, 65535",
                table.name(),
                format.length()
            ),
            "write a lower address",
        ));
        return None;
    }
    Some(Address {
        table,
        first,
        format,
        order: order.unwrap_or_default(),
    })
}

/// An address as it stands in a request, from 0.
fn register(node: &Node, table: Table) -> Result<u16, Error> {
    let name = table.name();
    let right = || {
        "write the address as it stands in a request, 0 to 65535: the first register, called 1 or \
         40001 in many manuals, is 0"
            .to_owned()
    };
    let address = match &node.content {
        Content::Integer(address) => u16::try_from(*address).ok(),
        _ => None,
    };
    address.ok_or_else(|| {
        let what = match &node.content {
            Content::Integer(address) => format!("`{name}` is {address}"),
            _ => format!("`{name}` is {}", node.kind()),
        };
        Error::new(node.at, what, right())
    })
}

fn order(node: &Node) -> Result<Order, Error> {
    let name = text(node, "order")?;
    let names = Order::ALL.map(|(name, _)| name);
    let found = Order::ALL
        .iter()
        .find(|(known, _)| name.eq_ignore_ascii_case(known));
    found.map(|(_, order)| *order).ok_or_else(|| {
        Error::new(
            node.at,
            format!("`order` is {}", shown(name)),
            format!(
                "write one of {}: A is the most significant byte, and the two that come first are \
                 the first register",
                listed(&names)
            ),
        )
    })
}

fn format(fields: &Fields<'_>, table: Table, errors: &mut Vec<Error>) -> Option<Format> {
    let written = match fields.get("type") {
        Some(node) => Some((node, note(errors, text(node, "type"))?)),
        None if table.has_bits() => None,
        None => {
            let example = "u16`, one of `bool`, `bits`, `u16`, `i16`, `u32`, `i32`, `u64`, `i64`, \
                           `f32`, `f64`, `string";
            note(errors, fields.need("type", example));
            return None;
        }
    };
    let name = written.map_or("bool", |(_, name)| name);
    if table.has_bits() && name != "bool" {
        let at = written.map_or(fields.at, |(node, _)| node.at);
        errors.push(Error::new(
            at,
            format!(
                "`type` is {}, but a {} is one bit",
                shown(name),
                table.name()
            ),
            "leave `type` out, or read a `holding` or `input` register",
        ));
        return None;
    }
    // Of the keys that only some types have.
    for (key, of) in [("bit", "bool"), ("bits", "bits"), ("length", "string")] {
        if let Some(node) = fields.get(key)
            && (name != of || table.has_bits())
        {
            errors.push(Error::new(
                node.at,
                format!("`{key}` is of registers with `type: {of}`"),
                "leave it out",
            ));
        }
    }
    let need =
        |key: &str, example: &str, errors: &mut Vec<Error>| note(errors, fields.need(key, example));
    Some(match name {
        "bool" if table.has_bits() => Format::Bool,
        "bool" => match fields.get("bit") {
            None => Format::Bool,
            Some(node) => {
                let bit = note(errors, integer(node, "bit", 0, 15))?;
                Format::Bit(u8::try_from(bit).unwrap_or(0))
            }
        },
        "bits" => {
            let node = need("bits", "[4, 7]", errors)?;
            note(errors, bits(node))?
        }
        "u16" => Format::U16,
        "i16" => Format::I16,
        "u32" => Format::U32,
        "i32" => Format::I32,
        "u64" => Format::U64,
        "i64" => Format::I64,
        "f32" => Format::F32,
        "f64" => Format::F64,
        "string" => {
            let node = need("length", "16", errors)?;
            let most = i64::try_from(2 * usize::from(Table::Holding.most())).unwrap_or(250);
            let length = note(errors, integer(node, "length", 1, most))?;
            Format::Text(u16::try_from(length).unwrap_or(1))
        }
        other => {
            let right = match other {
                "float" | "real" | "float32" => "write `f32`, or `f64` for 64 bits".to_owned(),
                "double" | "float64" | "lreal" => "write `f64`".to_owned(),
                "int" | "int16" | "short" => "write `i16`".to_owned(),
                "uint" | "uint16" | "word" => "write `u16`".to_owned(),
                "dint" | "int32" => "write `i32`".to_owned(),
                "udint" | "uint32" | "dword" => "write `u32`".to_owned(),
                _ => match nearest(other, TYPES) {
                    Some(near) => format!("did you mean `{near}`? types: {}", listed(TYPES)),
                    None => format!("types: {}", listed(TYPES)),
                },
            };
            let at = written.map_or(fields.at, |(node, _)| node.at);
            errors.push(Error::new(at, format!("`type` is {}", shown(other)), right));
            return None;
        }
    })
}

/// `[4, 7]`: the least and the highest bit.
fn bits(node: &Node) -> Result<Format, Error> {
    let pair = match &node.content {
        Content::List(items) => match items.as_slice() {
            [from, to] => Some((integer(from, "bits", 0, 15)?, integer(to, "bits", 0, 15)?)),
            _ => None,
        },
        _ => None,
    };
    match pair {
        Some((from, to)) if from <= to => Ok(Format::Bits {
            from: u8::try_from(from).unwrap_or(0),
            count: u8::try_from(to - from + 1).unwrap_or(1),
        }),
        _ => Err(Error::new(
            node.at,
            "`bits` are not two numbers of bits, the lower first",
            "write the first and the last bit, for example [4, 7]; bit 0 is the least",
        )),
    }
}

/// `[-40, 150]`
fn valid(node: &Node) -> Result<(f64, f64), Error> {
    let pair = match &node.content {
        Content::List(items) => match items.as_slice() {
            [low, high] => Some((number(low, "valid")?, number(high, "valid")?)),
            _ => None,
        },
        _ => None,
    };
    pair.filter(|(low, high)| low < high).ok_or_else(|| {
        Error::new(
            node.at,
            "`valid` is not two numbers, the lower first",
            "write the least and the most that is valid, scaled, for example [-40, 150]",
        )
    })
}

fn report(fields: &Fields<'_>, errors: &mut Vec<Error>) -> Report {
    let max_silence = fields.get("max-silence").map(|node| {
        let us = duration_us(node, "max-silence", 1_000_000, 86_400_000_000);
        note(errors, us).map_or(MAX_SILENCE, |us| Duration::from_micros(us.unsigned_abs()))
    });
    let Some(node) = fields.get("deadband") else {
        if let Some(node) = fields.get("max-silence") {
            errors.push(Error::new(
                node.at,
                "`max-silence` is of points with a `deadband`",
                "leave it out: this point is sent each time; or write `deadband: 0`, which sends \
                 changes only",
            ));
        }
        return Report::Always;
    };
    match note(errors, deadband(node)) {
        Some(deadband) => Report::Changes {
            deadband,
            max_silence: max_silence.unwrap_or(MAX_SILENCE),
        },
        None => Report::Always,
    }
}

/// `0.5`, or `2%`.
fn deadband(node: &Node) -> Result<Deadband, Error> {
    let right = "write a number in the point's unit, for example 0.5, or a part such as 2%";
    let wrong = |what: String| Error::new(node.at, what, right);
    let deadband = match &node.content {
        Content::Text(text) => {
            let percent = text.strip_suffix('%').and_then(|n| n.trim().parse().ok());
            let percent: f64 =
                percent.ok_or_else(|| wrong(format!("`deadband` is {}", shown(text))))?;
            if !(0.0..=100.0).contains(&percent) {
                return Err(wrong(format!("`deadband` is {}", shown(text))));
            }
            Deadband::Percent(percent)
        }
        _ => Deadband::Absolute(number(node, "deadband")?),
    };
    match deadband {
        Deadband::Absolute(least) if least < 0.0 => Err(wrong("`deadband` is negative".to_owned())),
        good => Ok(good),
    }
}
