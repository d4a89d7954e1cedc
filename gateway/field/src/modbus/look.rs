//! Looks which units answer, and what of them can be read.

use std::ops::RangeInclusive;

use super::{
    address::Table,
    bus::{Answer, Bus},
};
use crate::{
    Fault, Of,
    scan::{Found, Range, Search},
};

/// How many are asked for at once.
const CHUNK: u16 = 64;
/// After so many requests without an answer a unit is left alone.
const MAX_SILENT: u32 = 3;

/// Looks. A connection that cannot be made is an error, as is one where all that comes is no answer; one that breaks later is made again.
pub(crate) async fn look(
    search: &Search,
    mut progress: impl FnMut(&str),
) -> Result<Vec<Found>, Fault> {
    let mut bus = Bus::new(&search.connection);
    let mut found = Vec::new();
    let mut nonsense = None;
    for unit in search.units.clone() {
        progress(&format!("unit {unit}"));
        if !answers(&mut bus, unit, *search.addresses.start(), &mut nonsense).await? {
            continue;
        }
        let mut ranges = Vec::new();
        let mut silent = 0;
        for table in [Table::Holding, Table::Input, Table::Coil, Table::Discrete] {
            progress(&format!("unit {unit} answers: {} registers", table.name()));
            readable(
                &mut bus,
                unit,
                table,
                &search.addresses,
                &mut silent,
                &mut ranges,
            )
            .await?;
        }
        found.push(Found { unit, ranges });
    }
    match nonsense {
        // Somebody is there, and it is not the wires.
        Some(fault) if found.is_empty() => Err(fault),
        _ => Ok(found),
    }
}

/// Whether somebody is there: a refusal is an answer as well.
async fn answers(
    bus: &mut Bus,
    unit: u8,
    first: u16,
    nonsense: &mut Option<Fault>,
) -> Result<bool, Fault> {
    for table in [Table::Holding, Table::Input] {
        match bus.read(unit, table, first, 1).await {
            Ok(_) => return Ok(true),
            Err(fault @ Fault::Connect { .. }) => return Err(fault),
            Err(fault) if fault.of() == Of::Point => return Ok(true),
            Err(fault @ Fault::Nonsense(_)) => *nonsense = Some(fault),
            // Two in a row, as the first may have been lost on the line.
            Err(_) => {}
        }
    }
    Ok(false)
}

async fn readable(
    bus: &mut Bus,
    unit: u8,
    table: Table,
    addresses: &RangeInclusive<u16>,
    silent: &mut u32,
    ranges: &mut Vec<Range>,
) -> Result<(), Fault> {
    let (begin, end) = (
        u32::from(*addresses.start()),
        u32::from(*addresses.end()) + 1,
    );
    // Stretches that are still to be tried, the lowest last.
    let mut left: Vec<(u32, u32)> = Vec::new();
    let mut at = begin;
    while at < end {
        let to = (at + u32::from(CHUNK)).min(end);
        left.push((at, to));
        at = to;
    }
    left.reverse();
    while let Some((from, to)) = left.pop() {
        let (Ok(first), Ok(count)) = (u16::try_from(from), u16::try_from(to - from)) else {
            continue;
        };
        match bus.read(unit, table, first, count).await {
            Ok(answer) => {
                *silent = 0;
                let words = match answer {
                    Answer::Words(words) => words,
                    Answer::Bits(bits) => bits.into_iter().map(u16::from).collect(),
                };
                join(ranges, table, first, words);
            }
            // It has no such table.
            Err(Fault::Exception { code: 0x01 }) => return Ok(()),
            Err(fault @ Fault::Connect { .. }) => return Err(fault),
            Err(fault) if fault.of() == Of::Point => {
                *silent = 0;
                if count > 1 {
                    let middle = from + u32::from(count / 2);
                    left.push((middle, to));
                    left.push((from, middle));
                }
            }
            Err(_) => {
                *silent += 1;
                if *silent >= MAX_SILENT {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Adds what was read; to the range before it, if it goes on there.
fn join(ranges: &mut Vec<Range>, table: Table, first: u16, words: Vec<u16>) {
    match ranges.last_mut() {
        Some(last)
            if last.table == table
                && usize::from(last.first) + last.words.len() == usize::from(first) =>
        {
            last.words.extend(words);
        }
        _ => ranges.push(Range {
            table,
            first,
            words,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::mapping::{Connection, Protocol, TcpAddress};

    /// Looks for one unit at a server that sends this to each who connects.
    async fn look_at(banner: &'static [u8]) -> Result<Vec<Found>, Fault> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    stream.write_all(banner).await.unwrap();
                    let mut ignored = [0; 64];
                    while stream.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
                });
            }
        });
        let protocol = Protocol::ModbusTcp(TcpAddress::parse(&address, 502).unwrap());
        let connection = Connection {
            timeout: Duration::from_millis(300),
            retries: 0,
            ..Connection::new("line", protocol)
        };
        let search = Search {
            connection: Arc::new(connection),
            units: 1..=1,
            addresses: 0..=3,
        };
        look(&search, |_| {}).await
    }

    #[tokio::test]
    async fn who_answers_in_another_protocol_is_told_from_who_is_silent() {
        let fault = look_at(b"SSH-2.0-OpenSSH_9.6\r\n").await.unwrap_err();
        assert!(matches!(fault, Fault::Nonsense(_)), "{fault}");
        assert!(fault.to_string().contains("21 bytes came"), "{fault}");
        assert_eq!(look_at(b"").await, Ok(Vec::new()));
    }
}
