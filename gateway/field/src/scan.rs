//! Looks what is on a connection, and writes a first mapping of it.

use std::{fmt::Write as _, ops::RangeInclusive, sync::Arc};

use crate::{
    mapping::{Connection, Protocol},
    modbus::{self, address::Table},
};

/// What is looked for.
#[derive(Clone, Debug)]
pub struct Search {
    /// On which connection, with its time-out. Devices on it are passed over.
    pub connection: Arc<Connection>,
    /// Which units.
    pub units: RangeInclusive<u8>,
    /// Which registers, coils and discrete inputs.
    pub addresses: RangeInclusive<u16>,
}

/// A unit that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its number.
    pub unit: u8,
    /// What of it can be read.
    pub ranges: Vec<Range>,
}

/// Addresses of a table that can be read, and what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The table.
    pub table: Table,
    /// The first address.
    pub first: u16,
    /// What is there; bits are 0 or 1.
    pub words: Vec<u16>,
}

/// The most points a table that a skeleton has of each unit.
const MAX_POINTS: usize = 24;

/// Looks for units and for what can be read of them. `progress` is told what is being done. It only
/// reads.
///
/// # Errors
/// Why there is no connection at all.
pub async fn scan(search: &Search, progress: impl FnMut(&str)) -> Result<Vec<Found>, crate::Fault> {
    match &search.connection.protocol {
        Protocol::ModbusTcp(_) | Protocol::ModbusRtu(_) => modbus::look(search, progress).await,
        // It has no units: `opcua::look` looks into it.
        Protocol::OpcUa(_) | Protocol::Mqtt(_) | Protocol::I2c(_) => Ok(Vec::new()),
    }
}

/// A mapping that reads some of what was found, with guesses in comments. It is one that
/// [`mapping::parse`](crate::mapping::parse) takes, if anything was found.
#[must_use]
pub fn skeleton(search: &Search, found: &[Found]) -> String {
    let mut out = String::from("version: 1\nconnections:\n  line:\n");
    // Writing to a String cannot fail.
    let _ = match &search.connection.protocol {
        Protocol::ModbusTcp(_) => {
            let place = search.connection.protocol.place();
            writeln!(out, "    modbus-tcp: \"{place}\"")
        }
        Protocol::ModbusRtu(line) => writeln!(
            out,
            "    modbus-rtu: {{ path: {}, baud: {}, parity: {}, stop-bits: {} }}",
            line.path.display(),
            line.baud,
            line.parity.name(),
            1 + u8::from(line.two_stop_bits)
        ),
        Protocol::OpcUa(_) | Protocol::Mqtt(_) | Protocol::I2c(_) => Ok(()),
    };
    out.push_str("devices:\n");
    for found in found {
        device(&mut out, found);
    }
    out
}

fn device(out: &mut String, found: &Found) {
    let unit = found.unit;
    let readable: Vec<String> = found
        .ranges
        .iter()
        .map(|range| {
            let last = usize::from(range.first) + range.words.len().saturating_sub(1);
            format!("{} {}-{last}", range.table.name(), range.first)
        })
        .collect();
    let _ = writeln!(out, "  # Unit {unit} answers.");
    if readable.is_empty() {
        let _ = writeln!(
            out,
            "  # None of the addresses that were tried can be read."
        );
        return;
    }
    for line in readable.chunks(6) {
        let _ = writeln!(out, "  # Readable: {}", line.join(", "));
    }
    let _ = writeln!(
        out,
        "  unit-{unit}:\n    connection: line\n    unit: {unit}\n    points:"
    );
    for table in Table::ALL {
        let mut guesses: Vec<Guess> = found
            .ranges
            .iter()
            .filter(|range| range.table == table)
            .flat_map(guesses)
            .collect();
        let total = guesses.len();
        // What holds something is likelier to be something.
        if total > MAX_POINTS {
            guesses.sort_by_key(|guess| (guess.is_zero, guess.address));
            guesses.truncate(MAX_POINTS);
            guesses.sort_by_key(|guess| guess.address);
            let _ = writeln!(
                out,
                "      # {MAX_POINTS} of {total} in {}, those that are not zero first:",
                table.name()
            );
        }
        for guess in guesses {
            let (name, address) = (table.name(), guess.address);
            let kind = match guess.kind {
                "" => String::new(),
                kind => format!(", {kind}"),
            };
            let _ = writeln!(
                out,
                "      {name}-{address}: {{ {name}: {address}{kind} }} # {}",
                guess.why
            );
        }
    }
}

/// What a register may be.
struct Guess {
    address: u16,
    kind: &'static str,
    why: String,
    is_zero: bool,
}

fn guesses(range: &Range) -> Vec<Guess> {
    let mut guesses = Vec::new();
    let mut rest = range.words.as_slice();
    let mut address = range.first;
    while let Some((first, after)) = rest.split_first() {
        let floating = match after {
            // Between two zeros a number may have its other half on either side: it rather begins
            // at an even address.
            [second, third, ..]
                if *first == 0
                    && address % 2 == 1
                    && float(*second, *third).is_some_and(|it| it.0 == STRAIGHT) =>
            {
                None
            }
            [second, ..] if !range.table.has_bits() => float(*first, *second),
            _ => None,
        };
        let (guess, taken) = match floating {
            Some((kind, value)) => {
                let why = format!(
                    "{value} as f32; {first}, {} as u16",
                    after.first().unwrap_or(&0)
                );
                (
                    Guess {
                        address,
                        kind,
                        why,
                        is_zero: false,
                    },
                    2,
                )
            }
            None => {
                let signed = first.cast_signed();
                let (kind, why) = if range.table.has_bits() {
                    ("", if *first == 0 { "false" } else { "true" }.to_owned())
                } else if signed < 0 {
                    ("type: u16", format!("{first}; {signed} as i16"))
                } else {
                    ("type: u16", first.to_string())
                };
                let is_zero = *first == 0;
                (
                    Guess {
                        address,
                        kind,
                        why,
                        is_zero,
                    },
                    1,
                )
            }
        };
        guesses.push(guess);
        rest = rest.get(taken..).unwrap_or_default();
        address = address.saturating_add(u16::try_from(taken).unwrap_or(1));
    }
    guesses
}

const STRAIGHT: &str = "type: f32";
const TURNED: &str = "type: f32, order: cdab";

/// Two registers that look like a floating point number: of a size that is measured.
fn float(first: u16, second: u16) -> Option<(&'static str, f32)> {
    let looks = |value: f32| value.is_finite() && (1e-3..1e7).contains(&value.abs());
    let (straight, turned) = (f32_of(first, second), f32_of(second, first));
    match (looks(straight), looks(turned)) {
        (true, false) => Some((STRAIGHT, straight)),
        (false, true) => Some((TURNED, turned)),
        // Both: the rounder one, or none.
        (true, true) if second == 0 => Some((STRAIGHT, straight)),
        (true, true) if first == 0 => Some((TURNED, turned)),
        _ => None,
    }
}

fn f32_of(high: u16, low: u16) -> f32 {
    f32::from_bits(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        mapping::{self, TcpAddress},
        serial,
    };

    fn search(protocol: Protocol) -> Search {
        Search {
            connection: Arc::new(Connection::new("line", protocol)),
            units: 1..=2,
            addresses: 0..=9,
        }
    }

    fn tcp() -> Search {
        search(Protocol::ModbusTcp(TcpAddress {
            host: "::1".to_owned(),
            port: 1502,
        }))
    }

    fn found() -> Vec<Found> {
        let range = |table, first, words: &[u16]| Range {
            table,
            first,
            words: words.to_vec(),
        };
        vec![
            Found {
                unit: 3,
                ranges: vec![
                    range(Table::Coil, 0, &[1, 0]),
                    range(Table::Holding, 10, &[0x449a, 0x5000, 7, 0xfffe]),
                    range(Table::Holding, 40, &[0x5000, 0x449a, 7, 0, 0x41ac, 0]),
                    range(Table::Input, 0, &[0; 100]),
                ],
            },
            Found {
                unit: 4,
                ranges: vec![],
            },
        ]
    }

    #[test]
    fn a_skeleton_is_a_mapping() {
        let text = skeleton(&tcp(), &found());
        let mapping = mapping::parse(&text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        assert_eq!(mapping.devices().count(), 1);
        for says in [
            "modbus-tcp: \"[::1]:1502\"",
            "# Unit 3 answers.",
            "holding 10-13",
            "coil-0: { coil: 0 } # true",
            "holding-10: { holding: 10, type: f32 } # 1234.5 as f32",
            "holding-12: { holding: 12, type: u16 } # 7",
            "holding-13: { holding: 13, type: u16 } # 65534; -2 as i16",
            "holding-40: { holding: 40, type: f32, order: cdab } # 1234.5 as f32",
            "holding-44: { holding: 44, type: f32 } # 21.5 as f32",
            "24 of 100 in input",
            "# Unit 4 answers.",
        ] {
            assert!(text.contains(says), "{says}\n{text}");
        }
        let line = serial::Settings {
            two_stop_bits: true,
            ..serial::Settings::modbus("/dev/ttyUSB0".into())
        };
        let text = skeleton(&search(Protocol::ModbusRtu(line.clone())), &found());
        let mapping = mapping::parse(&text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        assert_eq!(mapping.connections[0].protocol, Protocol::ModbusRtu(line));
    }
}
