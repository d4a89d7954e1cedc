//! An entry of a chain's stream as a line.

use serde_json::{Value, json};
use stencil_chain::event::Signature;
use stencil_store::{ChainEntry, ChainEntryKind, ChainSource, Observation};

use crate::output;

/// The event among these that the observation is one of, and what it says.
fn read<'a>(events: &'a [Signature], seen: &Observation) -> Option<(&'a Signature, Value)> {
    let topic0 = seen.topics.first()?;
    let event = events.iter().find(|event| event.topic0().0 == *topic0)?;
    Some((event, event.decode(&seen.topics, &seen.data)?))
}

fn hex0x(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// A transfer's amount: 32 bytes, big-endian, as decimal text.
fn wei(data: &[u8]) -> String {
    let mut digits = vec![0_u8];
    for byte in data {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            let sum = u32::from(*digit) * 256 + carry;
            *digit = u8::try_from(sum % 10).unwrap_or(0);
            carry = sum / 10;
        }
        while carry > 0 {
            digits.push(u8::try_from(carry % 10).unwrap_or(0));
            carry /= 10;
        }
    }
    digits
        .iter()
        .rev()
        .map(|digit| char::from(b'0' + digit))
        .collect()
}

/// One line of JSON.
pub(super) fn json_line(chain: &str, events: &[Signature], entry: &ChainEntry) -> String {
    let seen = &entry.observation;
    let mut line = json!({
        "seq": entry.seq,
        "kind": entry.kind.as_str(),
        "chain": chain,
        "block": {
            "number": seen.block.number,
            "hash": hex0x(&seen.block.hash),
            "time_s": seen.time_s,
        },
        "tx": hex0x(&seen.tx),
        "source": seen.source.as_str(),
        "place": seen.place,
        "ordinal": seen.ordinal,
        "address": hex0x(&seen.address),
    });
    if let ChainEntryKind::Retracted { was_final } = entry.kind {
        line["was_final"] = json!(was_final);
    }
    match seen.source {
        ChainSource::Log => {
            let topics: Vec<String> = seen.topics.iter().map(|topic| hex0x(topic)).collect();
            line["topics"] = json!(topics);
            line["data"] = json!(hex0x(&seen.data));
            if let Some((event, fields)) = read(events, seen) {
                line["event"] = json!(event.canonical());
                line["fields"] = fields;
            }
        }
        ChainSource::Native => {
            line["from"] = json!(sender(seen));
            line["amount_wei"] = json!(wei(&seen.data));
        }
    }
    output::json_line(&line)
}

fn sender(seen: &Observation) -> Option<String> {
    seen.topics.first().map(|sender| hex0x(&sender[12..]))
}

/// One line for people.
pub(super) fn text_line(events: &[Signature], entry: &ChainEntry) -> String {
    let seen = &entry.observation;
    let what = match seen.source {
        ChainSource::Native => format!(
            "{} wei from {} to {}",
            wei(&seen.data),
            sender(seen).unwrap_or_default(),
            hex0x(&seen.address)
        ),
        ChainSource::Log => match read(events, seen) {
            Some((event, fields)) => {
                format!("{} {fields} of {}", event.name(), hex0x(&seen.address))
            }
            None => format!(
                "log of {} with {} topics and {} bytes",
                hex0x(&seen.address),
                seen.topics.len(),
                seen.data.len()
            ),
        },
    };
    let kind = match entry.kind {
        ChainEntryKind::Retracted { was_final: true } => "retracted, though it was final",
        other => other.as_str(),
    };
    let line = format!(
        "{:>6} {kind:9} block {} ({}) tx {} #{}: {what}",
        entry.seq,
        seen.block.number,
        &hex0x(&seen.block.hash)[..10],
        hex0x(&seen.tx),
        seen.ordinal
    );
    // Strings of events are a stranger's.
    output::escaped(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_told_to_the_last_wei() {
        for amount in [0_u128, 1, 255, 256, 2_014_000_000_000_000_000, u128::MAX] {
            let mut word = [0; 32];
            word[16..].copy_from_slice(&amount.to_be_bytes());
            assert_eq!(wei(&word), amount.to_string());
        }
        assert_eq!(
            wei(&[0xff; 32]),
            "115792089237316195423570985008687907853269984665640564039457584007913129639935"
        );
    }
}
