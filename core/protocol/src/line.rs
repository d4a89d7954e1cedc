//! Lines by which devices that others made hang on a gateway: field protocols.
//!
//! Where a gateway names the suite of a device's link, it names the line of a field device in the
//! same place. The numbers of lines and of suites never meet: lines have the upper half.

use core::fmt;

/// A field protocol, as its line is recorded and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[repr(u16)]
pub enum Line {
    /// Modbus over TCP: neither encrypted nor authenticated.
    ModbusTcp = 0x8001,
    /// Modbus RTU over a serial line: neither encrypted nor authenticated.
    ModbusRtu = 0x8002,
    /// OPC UA over TCP, signed and encrypted by classical algorithms.
    OpcUa = 0x8003,
    /// OPC UA over TCP without security: neither encrypted nor authenticated.
    OpcUaNone = 0x8004,
    /// MQTT within TLS 1.3 by X25519MLKEM768, its sender known by a password.
    Mqtt = 0x8005,
    /// MQTT within TLS 1.3 by a classical key exchange.
    MqttClassical = 0x8006,
    /// MQTT without TLS: neither encrypted nor authenticated but for a password in the open.
    MqttPlain = 0x8007,
    /// An I²C bus of the gateway's own machine.
    I2c = 0x8008,
}

impl Line {
    /// Every line that this build knows.
    pub const ALL: &'static [Line] = &[
        Line::ModbusTcp,
        Line::ModbusRtu,
        Line::OpcUa,
        Line::OpcUaNone,
        Line::Mqtt,
        Line::MqttClassical,
        Line::MqttPlain,
        Line::I2c,
    ];

    /// The line with this number in a link event.
    #[must_use]
    pub fn from_id(id: u16) -> Option<Line> {
        Self::ALL.iter().copied().find(|line| line.id() == id)
    }

    /// The line with this [`name`](Line::name).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Line> {
        Self::ALL.iter().copied().find(|line| line.name() == name)
    }

    /// Whether what passes is within TLS 1.3.
    #[must_use]
    pub const fn within_tls(self) -> bool {
        matches!(self, Line::Mqtt | Line::MqttClassical)
    }

    /// Whether nobody on the line can read or change what passes: it is encrypted and authenticated, by
    /// TLS or by the protocol itself.
    #[must_use]
    pub const fn secured(self) -> bool {
        self.within_tls() || matches!(self, Line::OpcUa)
    }

    /// Whether keys are agreed on in a way that resists a quantum computer.
    #[must_use]
    pub const fn post_quantum(self) -> bool {
        matches!(self, Line::Mqtt)
    }

    /// The number in a link event.
    #[must_use]
    pub const fn id(self) -> u16 {
        self as u16
    }

    /// The name in logs, mappings and inventories.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Line::ModbusTcp => "modbus-tcp",
            Line::ModbusRtu => "modbus-rtu",
            Line::OpcUa => "opcua",
            Line::OpcUaNone => "opcua-none",
            Line::Mqtt => "mqtt",
            Line::MqttClassical => "mqtt-classical",
            Line::MqttPlain => "mqtt-plain",
            Line::I2c => "i2c",
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_lead_back() {
        for line in Line::ALL {
            assert_eq!(Line::from_id(line.id()), Some(*line));
            assert_eq!(Line::from_name(line.name()), Some(*line));
            assert!(line.id() >= 0x8000, "{line} has the number of a suite");
        }
        assert_eq!(Line::from_id(1), None);
        for line in Line::ALL.iter().filter(|line| line.post_quantum()) {
            assert!(line.within_tls());
        }
    }
}
