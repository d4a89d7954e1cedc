//! What a mapping says of sensors on an I²C bus of the gateway's own machine.

use std::{fmt, path::PathBuf};

use stencil_yaml::{Content, Error, Fields, Node, listed, nearest, shown, text};

use super::note;

/// The keys of a device, besides those of every device.
pub(super) const DEVICE: &[&str] = &["driver", "address"];
/// The keys of a point, besides those of every point.
pub(super) const POINT: &[&str] = &["value"];

/// What is read by which driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chip {
    /// The driver.
    pub driver: Driver,
    /// Its address on the bus, 7 bits.
    pub address: u8,
}

/// The chips that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Driver {
    /// Sensirion SHT40, SHT41, SHT43 and SHT45: temperature and humidity.
    Sht4x,
}

/// What a chip measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Quantity {
    /// In °C.
    Temperature,
    /// Relative, in %.
    Humidity,
}

impl Driver {
    const ALL: [(&str, Driver); 1] = [("sht4x", Driver::Sht4x)];

    /// The addresses that its chips are sold with, the usual one first.
    #[must_use]
    pub const fn addresses(self) -> &'static [u8] {
        match self {
            Driver::Sht4x => &[0x44, 0x45, 0x46],
        }
    }

    /// What it measures.
    #[must_use]
    pub const fn quantities(self) -> &'static [Quantity] {
        match self {
            Driver::Sht4x => &[Quantity::Temperature, Quantity::Humidity],
        }
    }
}

impl Quantity {
    /// Its name in a mapping.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Quantity::Temperature => "temperature",
            Quantity::Humidity => "humidity",
        }
    }

    /// In which unit it is measured (UCUM).
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Quantity::Temperature => "Cel",
            Quantity::Humidity => "%",
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads a connection: the device file of the bus.
pub(super) fn bus(node: &Node, errors: &mut Vec<Error>) -> Option<PathBuf> {
    let path = note(errors, text(node, "i2c"))?;
    if path.starts_with('/') && path.len() <= 255 && !path.chars().any(char::is_control) {
        return Some(PathBuf::from(path));
    }
    errors.push(Error::new(
        node.at,
        format!("`i2c` is {}", shown(path)),
        "write the whole path of the bus's device file, such as /dev/i2c-1",
    ));
    None
}

/// Reads what a device says of its chip.
pub(super) fn chip(fields: &Fields<'_>, errors: &mut Vec<Error>) -> Option<Chip> {
    let node = note(errors, fields.need("driver", "sht4x"))?;
    let name = note(errors, text(node, "driver"))?;
    let found = Driver::ALL.into_iter().find(|(known, _)| *known == name);
    let Some((_, driver)) = found else {
        let names = Driver::ALL.map(|(name, _)| name);
        let right = match nearest(name, &names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", listed(&names)),
        };
        errors.push(Error::new(
            node.at,
            format!("`driver` is {}", shown(name)),
            right,
        ));
        return None;
    };
    let usual = driver.addresses().first().copied().unwrap_or_default();
    let address = match fields.get("address") {
        None => usual,
        Some(node) => note(errors, address(node, driver))?,
    };
    Some(Chip { driver, address })
}

/// `0x44`, or 68.
fn address(node: &Node, driver: Driver) -> Result<u8, Error> {
    let (written, number) = match &node.content {
        Content::Integer(number) => (format!("{number}"), u8::try_from(*number).ok()),
        Content::Text(text) => {
            let digits = text.strip_prefix("0x");
            let number = digits.and_then(|it| u8::from_str_radix(it, 16).ok());
            (shown(text), number)
        }
        _ => (node.kind().to_owned(), None),
    };
    number
        .filter(|number| driver.addresses().contains(number))
        .ok_or_else(|| {
            let known: Vec<String> = driver
                .addresses()
                .iter()
                .map(|address| format!("0x{address:02x}"))
                .collect();
            Error::new(
                node.at,
                format!("`address` is {written}"),
                format!("this chip has one of {}", known.join(", ")),
            )
        })
}

/// Reads which value of its chip a point is.
pub(super) fn quantity(
    fields: &Fields<'_>,
    driver: Option<Driver>,
    errors: &mut Vec<Error>,
) -> Option<Quantity> {
    let node = note(errors, fields.need("value", "temperature"))?;
    let name = note(errors, text(node, "value"))?;
    let known = driver.map_or(&[][..], Driver::quantities);
    let found = known.iter().find(|quantity| quantity.name() == name);
    if found.is_none() && driver.is_some() {
        let names: Vec<&str> = known.iter().map(|quantity| quantity.name()).collect();
        errors.push(Error::new(
            node.at,
            format!("`value` is {}", shown(name)),
            format!("this chip measures {}", listed(&names)),
        ));
    }
    found.copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Link, Protocol, Target, parse};

    fn yaml(device: &str, point: &str) -> String {
        format!(
            "version: 1\nconnections:\n  board: {{ i2c: /dev/i2c-1, max-backoff: 10s }}\ndevices:\n  \
             cabinet:\n    connection: board\n    every: 30s\n{device}    points:\n      t: {point}\n"
        )
    }

    #[test]
    fn a_sensor_is_read() {
        for (address, is) in [
            ("", 0x44),
            ("    address: 0x45\n", 0x45),
            ("    address: 70\n", 0x46),
        ] {
            let device = format!("    driver: sht4x\n{address}");
            let mapping = parse(&yaml(&device, "{ value: temperature, deadband: 0.1 }"));
            let mapping = mapping.unwrap_or_else(|errors| panic!("{errors}"));
            let connection = &mapping.connections[0];
            assert_eq!(connection.protocol, Protocol::I2c("/dev/i2c-1".into()));
            let chip = Chip {
                driver: Driver::Sht4x,
                address: is,
            };
            assert_eq!(connection.devices[0].link, Link::I2c(chip));
            let point = &connection.devices[0].points[0];
            assert_eq!(point.target, Target::I2c(Quantity::Temperature));
            assert_eq!(point.unit.as_deref(), Some("Cel"));
        }
        // Scaled, it is in another unit than the chip's.
        let scaled = "{ value: temperature, scale: 1.8, offset: 32, unit: \"[degF]\" }";
        let mapping = parse(&yaml("    driver: sht4x\n", scaled)).unwrap();
        assert_eq!(
            mapping.connections[0].devices[0].points[0].unit.as_deref(),
            Some("[degF]")
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_what_would_be_right() {
        let good = "{ value: temperature }";
        let sht = "    driver: sht4x\n";
        for (device, point, says) in [
            ("", good, "`driver`"),
            ("    driver: sht3x\n", good, "did you mean `sht4x`?"),
            (
                "    driver: sht4x\n    address: 0x50\n",
                good,
                "0x44, 0x45, 0x46",
            ),
            ("    driver: sht4x\n    address: [1]\n", good, "0x44"),
            ("    driver: sht4x\n    unit: 1\n", good, "`unit`"),
            (sht, "{ value: pressure }", "temperature"),
            (sht, "{ unit: Cel }", "`value`"),
            (sht, "{ value: temperature, every: 1s }", "`every`"),
            (sht, "{ value: temperature, topic: a }", "topic"),
        ] {
            let errors = parse(&yaml(device, point)).unwrap_err().to_string();
            assert!(errors.contains(says), "{device} {point}: {errors}");
        }
        let relative = yaml(sht, good).replace("/dev/i2c-1", "i2c-1");
        let errors = parse(&relative).unwrap_err().to_string();
        assert!(errors.contains("/dev/i2c-1"), "{errors}");
        let timeout = yaml(sht, good).replace("max-backoff", "timeout");
        let errors = parse(&timeout).unwrap_err().to_string();
        assert!(errors.contains("`timeout`"), "{errors}");
    }
}
