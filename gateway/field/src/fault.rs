//! What goes wrong between the gateway and a field device, in the terms of who has to mend it.

use std::{io, sync::Arc};

/// Why there is no value.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// There is no connection to the device, or to the gateway before it.
    #[error("no connection to {to}: {why}")]
    Connect {
        /// Address or path.
        to: Arc<str>,
        /// What the system says.
        why: String,
    },
    /// The other side has closed the connection, or the line has gone.
    #[error("the connection was closed by the other side")]
    Closed,
    /// The device did not answer in time.
    #[error("no answer within {ms} ms")]
    Timeout {
        /// How long was waited, in milliseconds.
        ms: u64,
    },
    /// The device answered, but not what the protocol allows.
    #[error("the answer is nonsense: {0}")]
    Nonsense(String),
    /// The answer has another length than was asked for.
    #[error("the answer holds {got} values, {wanted} were asked for")]
    Short {
        /// How many registers or bits were asked for.
        wanted: usize,
        /// How many came.
        got: usize,
    },
    /// The device refused with a Modbus exception (Application Protocol 1.1b3, section 7).
    #[error("{} (Modbus exception {code})", exception(*code))]
    Exception {
        /// Its code.
        code: u8,
    },
    /// The device refused with a status of its protocol.
    #[error("refused: {0}")]
    Refused(String),
    /// A floating point number that is infinite or none.
    #[error("the device gives no number: its registers hold {0}")]
    NotFinite(f64),
    /// A value that does not fit into 64 bits with sign.
    #[error("{0} does not fit into 64 bits with sign; with `scale` it is sent as a number")]
    TooLarge(u64),
    /// A text that is none.
    #[error("the registers hold no text: {0}")]
    NotText(String),
    /// A value that is not of the mapping's type.
    #[error("the device gives {got}, the mapping says {wanted}")]
    Type {
        /// What came.
        got: &'static str,
        /// What the mapping says.
        wanted: &'static str,
    },
    /// A value outside of the mapping's `valid`.
    #[error("{value} is outside of what is valid, {low} to {high}")]
    Invalid {
        /// The value, scaled.
        value: f64,
        /// The least that is valid.
        low: f64,
        /// The most.
        high: f64,
    },
    /// No chip acknowledges its address on an I²C bus.
    #[error("nothing acknowledges at 0x{address:02x} on the bus")]
    NoAcknowledge {
        /// The address, 7 bits.
        address: u8,
    },
    /// A transaction on an I²C bus failed.
    #[error("the bus failed: {0}")]
    Bus(String),
    /// A message does not hold what the mapping says.
    #[error("{topic} gave {got}, {wanted}")]
    Payload {
        /// The topic.
        topic: Arc<str>,
        /// What came, shortened.
        got: String,
        /// What would be right.
        wanted: String,
    },
    /// A message that is marked as retained, of which nobody knows when it was measured.
    #[error("{topic} is marked as retained: nobody knows when it was measured")]
    Retained {
        /// The topic.
        topic: Arc<str>,
    },
    /// A device has said nothing for long.
    #[error("nothing came for {s} s")]
    Quiet {
        /// For how long, in seconds.
        s: u64,
    },
    /// Nothing listens for MQTT devices.
    #[error("this gateway does not listen for MQTT devices")]
    NotListening,
    /// The device itself doubts the value, which is sent all the same.
    #[error("uncertain: {0}")]
    Uncertain(Arc<str>),
}

/// What is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// A connection, and so all devices on it.
    Connection,
    /// A device, and so all its points.
    Device,
    /// A point.
    Point,
}

impl Fault {
    /// What is at fault.
    #[must_use]
    pub fn of(&self) -> Of {
        match self {
            Fault::Connect { .. } | Fault::Closed => Of::Connection,
            // 0A and 0B are a gateway's word about the device behind it.
            Fault::NotListening => Of::Connection,
            Fault::Timeout { .. }
            | Fault::NoAcknowledge { .. }
            | Fault::Bus(_)
            | Fault::Quiet { .. }
            | Fault::Nonsense(_)
            | Fault::Exception { code: 0x0a | 0x0b } => Of::Device,
            _ => Of::Point,
        }
    }

    /// Whether another fault is the same to who has to mend it: the value that is out of range may
    /// be another one.
    #[must_use]
    pub fn is_like(&self, other: &Fault) -> bool {
        match (self, other) {
            (Fault::Exception { code }, Fault::Exception { code: other }) => code == other,
            (Fault::Refused(why), Fault::Refused(other)) => why == other,
            (Fault::Payload { wanted, .. }, Fault::Payload { wanted: other, .. }) => {
                wanted == other
            }
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    /// What would be right, where that is known.
    #[must_use]
    pub fn right(&self) -> Option<&'static str> {
        Some(match self {
            Fault::Connect { .. } => {
                "look at the address, the port (Modbus/TCP has 502, OPC UA 4840), the cable and the firewall"
            }
            Fault::Closed => {
                "many devices take one or two connections only: end other programs that read it"
            }
            Fault::Timeout { .. } => {
                "look at `unit`, at baud, parity and the wires A and B of a serial line, or give it \
                 more `timeout`; `stencil gateway scan` finds units that answer"
            }
            Fault::Nonsense(_) => {
                "look whether it speaks this protocol, and at baud and parity of a serial line"
            }
            Fault::Exception { code: 0x01 } => {
                "the device has no such kind of register: try `input` for `holding`, or the reverse"
            }
            Fault::Exception { code: 0x02 } => {
                "the device has no such address: manuals often count from 1 or write 40001 for the \
                 first holding register, which is `holding: 0` here"
            }
            Fault::Exception { code: 0x03 } => {
                "the device does not take this many registers at once: set `max-registers`"
            }
            Fault::Exception { code: 0x0a | 0x0b } => {
                "it is a gateway that answers, and not the device behind it: look at `unit` and \
                 at its line"
            }
            Fault::NotFinite(_) => "look at `type` and `order`, or the sensor is not connected",
            Fault::Invalid { .. } => "look at `type`, `order`, `scale` and `valid`",
            Fault::NotText(_) => "look at `type`, `length` and `order`",
            Fault::TooLarge(_) => "look at `type` and `order`",
            Fault::Short { .. } => "the device does not keep to the protocol: set `max-gap: 0`",
            Fault::Type { .. } => "write the type that the device gives",
            Fault::Refused(why) if why.starts_with("BadNodeIdUnknown") => {
                "the server has no such node: `stencil gateway scan opcua` lists those that it has"
            }
            Fault::Refused(why) if why.starts_with("BadSecurityChecksFailed") => {
                "the server does not trust the gateway's certificate yet"
            }
            Fault::NoAcknowledge { .. } => {
                "look at `address` and the wires; `i2cdetect -y` lists the addresses that answer"
            }
            Fault::Bus(_) => "look at the wires, their pull-up resistors and length",
            Fault::Payload { .. } => {
                "look at `topic`, `pointer` and `type`; `stencil gateway scan mqtt` shows what comes"
            }
            Fault::Retained { .. } => {
                "name the `time` in its payload, or write `retained: take` if the device marks all \
                 that it sends"
            }
            Fault::Quiet { .. } => {
                "look whether the device is on, at its topics, and at its name and password; give it \
                 more `silent-after` if it speaks less often"
            }
            Fault::NotListening => {
                "set `[[mqtt.listeners]]` in gateway.toml; `stencil gateway check` takes it by --config"
            }
            Fault::Exception { .. } | Fault::Refused(_) | Fault::Uncertain(_) => return None,
        })
    }

    /// The fault of a connection that could not be made.
    pub(crate) fn connect(to: &Arc<str>, error: &io::Error) -> Self {
        let why = match error.kind() {
            io::ErrorKind::ConnectionRefused => "connection refused: nothing listens there".into(),
            io::ErrorKind::NotFound => "there is no such file".into(),
            io::ErrorKind::PermissionDenied => {
                "permission denied: serial lines mostly belong to the group dialout".into()
            }
            io::ErrorKind::ResourceBusy => "it is in use by another program".into(),
            _ => error.to_string(),
        };
        Fault::Connect {
            to: Arc::clone(to),
            why,
        }
    }
}

/// The name of an exception code in the specification (Modbus Application Protocol 1.1b3,
/// section 7).
fn exception(code: u8) -> &'static str {
    match code {
        0x01 => "illegal function",
        0x02 => "illegal data address",
        0x03 => "illegal data value",
        0x04 => "server device failure",
        0x05 => "acknowledge",
        0x06 => "server device busy",
        0x08 => "memory parity error",
        0x0a => "gateway path unavailable",
        0x0b => "gateway target device failed to respond",
        _ => "an exception that the specification does not know",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_have_the_names_of_the_specification() {
        for (code, says) in [
            (1, "illegal function (Modbus exception 1)"),
            (2, "illegal data address (Modbus exception 2)"),
            (
                11,
                "gateway target device failed to respond (Modbus exception 11)",
            ),
            (
                99,
                "an exception that the specification does not know (Modbus exception 99)",
            ),
        ] {
            assert_eq!(Fault::Exception { code }.to_string(), says);
        }
        assert_eq!(Fault::Exception { code: 11 }.of(), Of::Device);
        assert_eq!(Fault::Exception { code: 2 }.of(), Of::Point);
    }

    #[test]
    fn another_value_out_of_range_is_the_same_fault() {
        let invalid = |value| Fault::Invalid {
            value,
            low: 0.0,
            high: 1.0,
        };
        assert!(invalid(2.0).is_like(&invalid(3.0)));
        assert!(!invalid(2.0).is_like(&Fault::NotFinite(f64::NAN)));
        assert!(!Fault::Exception { code: 1 }.is_like(&Fault::Exception { code: 2 }));
    }
}
