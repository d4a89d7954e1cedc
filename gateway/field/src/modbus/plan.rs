//! Which registers are read together.

use std::{collections::BTreeMap, time::Duration};

use super::address::Table;
use crate::mapping::{Device, Link, Target};

/// One request, and the points that it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) table: Table,
    pub(super) first: u16,
    pub(super) count: u16,
    pub(super) every: Duration,
    /// Their places in the device's list, in the order of addresses.
    pub(super) points: Vec<usize>,
}

/// The requests of a device: neighbours that are read equally often are read together, within what
/// the device gives at once.
pub(super) fn plan(device: &Device) -> Vec<Ask> {
    let mut groups: BTreeMap<(Table, Duration), Vec<usize>> = BTreeMap::new();
    for (index, point) in device.points.iter().enumerate() {
        let Target::Modbus(address) = point.target else {
            continue;
        };
        let key = (address.table, point.every);
        groups.entry(key).or_default().push(index);
    }
    let mut asks = Vec::new();
    for ((table, every), mut points) in groups {
        points.sort_by_key(|index| span(device, *index));
        gather(device, table, every, &points, &mut asks);
    }
    asks
}

/// The same request in two, where it can be parted: each half gives values, or is parted again,
/// until what fails is alone.
pub(super) fn halves(device: &Device, ask: &Ask) -> Option<Vec<Ask>> {
    let (Some(lowest), Some(highest)) = (ask.points.first(), ask.points.last()) else {
        return None;
    };
    // Points in the very same registers stand and fall together.
    if span(device, *lowest) == span(device, *highest) {
        return None;
    }
    let mut middle = ask.points.len() / 2;
    let at = |index: usize| ask.points.get(index).map(|point| span(device, *point));
    while middle + 1 < ask.points.len() && at(middle) == at(middle.saturating_sub(1)) {
        middle += 1;
    }
    if at(middle) == at(middle.saturating_sub(1)) {
        middle = ask
            .points
            .iter()
            .position(|point| Some(span(device, *point)) == at(middle))?;
    }
    let (low, high) = ask.points.split_at(middle);
    let parts = [low, high].into_iter().filter(|part| !part.is_empty());
    Some(
        parts
            .map(|part| one(device, ask.table, ask.every, part))
            .collect(),
    )
}

fn gather(device: &Device, table: Table, every: Duration, points: &[usize], asks: &mut Vec<Ask>) {
    let Link::Modbus(unit) = device.link else {
        return;
    };
    let (most, gap) = if table.has_bits() {
        (unit.max_bits, unit.max_gap.saturating_mul(16))
    } else {
        (unit.max_registers, unit.max_gap)
    };
    let mut rest = points;
    while let Some((start, _)) = rest.split_first() {
        let (first, mut last) = span(device, *start);
        let mut taken = 1;
        for index in rest.iter().skip(1) {
            let (from, to) = span(device, *index);
            let end = last.max(to);
            let is_near = u32::from(from) <= u32::from(last) + 1 + u32::from(gap);
            if !is_near || end - first >= most {
                break;
            }
            last = end;
            taken += 1;
        }
        let (together, others) = rest.split_at(taken);
        asks.push(one(device, table, every, together));
        rest = others;
    }
}

fn one(device: &Device, table: Table, every: Duration, points: &[usize]) -> Ask {
    let spans = points.iter().map(|index| span(device, *index));
    let (first, last) = spans.fold((u16::MAX, 0), |(first, last), (from, to)| {
        (first.min(from), last.max(to))
    });
    Ask {
        table,
        first,
        count: last.saturating_sub(first).saturating_add(1),
        every,
        points: points.to_vec(),
    }
}

/// The first and last register or bit of a point.
pub(super) fn span(device: &Device, index: usize) -> (u16, u16) {
    match device.points.get(index).map(|point| &point.target) {
        Some(Target::Modbus(address)) => (address.first, address.last()),
        _ => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::parse;

    fn device(points: &str) -> Device {
        let yaml = format!(
            "version: 1\nconnections: {{ c: {{ modbus-tcp: \"h:502\" }} }}\ndevices:\n  d:\n    \
             connection: c\n    points:\n{points}"
        );
        let mapping = parse(&yaml).unwrap_or_else(|errors| panic!("{errors}"));
        mapping.devices().next().unwrap().as_ref().clone()
    }

    fn spans(asks: &[Ask]) -> Vec<(Table, u16, u16, usize)> {
        asks.iter()
            .map(|ask| (ask.table, ask.first, ask.count, ask.points.len()))
            .collect()
    }

    #[test]
    fn neighbours_are_read_together() {
        let device = device(
            "      a: { holding: 10, type: f32 }\n      b: { holding: 12, type: u16 }\n      \
             c: { holding: 21, type: u16 }\n      d: { holding: 31, type: u16 }\n      \
             e: { input: 11, type: u16 }\n      f: { holding: 13, type: u16, every: 1s }\n      \
             g: { coil: 0 }\n      h: { coil: 100 }\n      i: { coil: 300 }\n",
        );
        assert_eq!(
            spans(&plan(&device)),
            [
                (Table::Coil, 0, 101, 2),
                (Table::Coil, 300, 1, 1),
                (Table::Holding, 13, 1, 1),
                (Table::Holding, 10, 12, 3),
                (Table::Holding, 31, 1, 1),
                (Table::Input, 11, 1, 1),
            ]
        );
    }

    #[test]
    fn no_request_is_larger_than_the_specification_has_it() {
        let points: String = (0..300)
            .map(|n| format!("      p{n}: {{ holding: {}, type: u32 }}\n", 2 * n))
            .collect();
        let asks = plan(&device(&points));
        assert!(asks.iter().all(|ask| ask.count <= 125), "{asks:?}");
        assert_eq!(asks.iter().map(|ask| ask.points.len()).sum::<usize>(), 300);
        assert_eq!(asks.len(), 5);
    }

    #[test]
    fn what_fails_is_parted_until_it_is_alone() {
        let device = device(
            "      a: { holding: 0, type: u16 }\n      b: { holding: 1, type: bool, bit: 0 }\n      \
             c: { holding: 1, type: bool, bit: 1 }\n      d: { holding: 5, type: u16 }\n",
        );
        let mut asks = plan(&device);
        assert_eq!(spans(&asks), [(Table::Holding, 0, 6, 4)]);
        let mut whole = Vec::new();
        while let Some(ask) = asks.pop() {
            match halves(&device, &ask) {
                Some(parts) => {
                    assert!(
                        parts.len() == 2
                            && parts
                                .iter()
                                .all(|part| part.points.len() < ask.points.len())
                    );
                    asks.extend(parts);
                }
                None => whole.push(ask),
            }
        }
        whole.sort_by_key(|ask| ask.first);
        let table = Table::Holding;
        assert_eq!(
            spans(&whole),
            [(table, 0, 1, 1), (table, 1, 1, 2), (table, 5, 1, 1)]
        );
    }
}
