//! The hub's books against the devices' journals: numbers, times, values.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use stencil_protocol::ledger::BootLedger;
use stencil_protocol::sample::OwnedValue;
use stencil_simulators::journal::{self, Line};
use stencil_simulators::outage::SERIES;

use super::ASK;
use crate::api::Client;
use crate::output::note;
use crate::reconcile::account::{Account, Key};
use crate::reconcile::gather;

/// What was found.
pub(super) struct Books {
    pub(super) samples: u64,
    pub(super) stored: u64,
    pub(super) dropped: BTreeMap<String, u64>,
    pub(super) gaps: u64,
    pub(super) never_given: u64,
    pub(super) altered: u64,
}

/// How many numbers of the days the hub holds or knows to be dropped: the first so many of each
/// device, as far as there is no gap before.
pub(super) async fn of_the_days(client: &Client, of_each: u64) -> anyhow::Result<u64> {
    let ledgers = gather::ledgers(client).await?;
    let known = ledgers.values().map(|ledger| {
        let mut numbers = ledger.stored.clone();
        for dropped in ledger.dropped.values() {
            numbers = numbers.union(dropped);
        }
        let first = numbers.iter().next();
        first.map_or(0, |span| match *span.start() {
            1 => (*span.end()).min(of_each),
            _ => 0,
        })
    });
    Ok(known.sum())
}

/// Compares, when everything that the journals know has come or `limit` has passed.
pub(super) async fn compare(
    client: &Client,
    journals: &Path,
    limit: Duration,
) -> anyhow::Result<Books> {
    let given = gather::journals(journals)?;
    let until = Instant::now() + limit;
    let (ledgers, account) = loop {
        let ledgers = gather::ledgers(client).await?;
        let account = Account::of(&ledgers, Some(&given), Vec::new());
        if !account.is_missing() || Instant::now() >= until {
            break (ledgers, account);
        }
        tokio::time::sleep(ASK).await;
    };
    let sum = |count: fn(&crate::reconcile::account::Fault) -> u64| {
        account.faults.iter().map(count).sum::<u64>()
    };
    for fault in account.faults.iter().take(10) {
        note!("{}", fault.describe());
    }
    note!("comparing {} values with the devices' own", account.stored);
    Ok(Books {
        samples: account.sent,
        stored: account.stored,
        gaps: sum(|fault| fault.missing.len()),
        never_given: sum(|fault| fault.never_given.len()),
        altered: altered(client, journals, &ledgers).await?,
        dropped: account.dropped,
    })
}

/// How many stored numbers are not in the series as the device measured them, and how many points
/// there are that none measured.
async fn altered(
    client: &Client,
    journals: &Path,
    ledgers: &BTreeMap<Key, BootLedger>,
) -> anyhow::Result<u64> {
    let mut altered = 0;
    let mut expected: BTreeMap<&str, Vec<(i64, f64)>> = BTreeMap::new();
    for (device, boot) in ledgers.keys() {
        let ledger = &ledgers[&(device.clone(), *boot)];
        let points = expected.entry(device).or_default();
        let path = journals.join(format!("{device}.jsonl"));
        journal::lines(&path, |line| {
            if let Line::Given {
                boot: of,
                seq,
                time_us: Some(time_us),
                value: OwnedValue::Number(value),
                ..
            } = line
                && of.0 == *boot
                && ledger.stored.contains(seq.0)
            {
                points.push((time_us, value));
            }
        })
        .with_context(|| path.display().to_string())?;
    }
    for (device, mut expected) in expected {
        expected.sort_by_key(|(time_us, _)| *time_us);
        let mut csv = Vec::new();
        let path = format!("/api/v1/devices/{device}/series/{SERIES}/csv");
        client.download(&path, &mut csv).await?;
        let text = String::from_utf8(csv).context("the hub's CSV")?;
        let mut found = Vec::with_capacity(expected.len());
        for row in text.lines().skip(1) {
            let mut cells = row.split(',').skip(1);
            let time_us = cells.next().and_then(|cell| cell.parse().ok());
            let value = cells.next().and_then(|cell| cell.parse::<f64>().ok());
            let point = time_us
                .zip(value)
                .with_context(|| format!("no point: {row}"))?;
            found.push(point);
        }
        altered += differing(&expected, &found);
    }
    Ok(altered)
}

/// How many of two ordered lists have no like in the other, whichever list has more of them.
#[allow(clippy::float_cmp, reason = "the same value has the same bits")]
fn differing(expected: &[(i64, f64)], found: &[(i64, f64)]) -> u64 {
    let mut same = 0_usize;
    let (mut left, mut right) = (expected.iter().peekable(), found.iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        match a.0.cmp(&b.0) {
            std::cmp::Ordering::Less => drop(left.next()),
            std::cmp::Ordering::Greater => drop(right.next()),
            std::cmp::Ordering::Equal => {
                same += usize::from(a.1 == b.1);
                left.next();
                right.next();
            }
        }
    }
    (expected.len().max(found.len()) - same) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shifted_a_lost_and_an_added_point_are_found() {
        let points = [(1, 1.0), (2, 2.0), (3, 3.0)];
        assert_eq!(differing(&points, &points), 0);
        assert_eq!(differing(&points, &[(1, 1.0), (2, 2.5), (3, 3.0)]), 1);
        assert_eq!(differing(&points, &[(1, 1.0), (2, 2.0), (4, 3.0)]), 1);
        assert_eq!(differing(&points, &points[..1]), 2);
        assert_eq!(differing(&points[..1], &points), 2);
    }
}
