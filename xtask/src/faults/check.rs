//! After a round: what a hub holds, against what it has acknowledged.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::Context;
use serde_json::Value;

use super::books::{Cause, Receiver};
use super::device::{Device, fires, value};
use super::hub::{Hub, PATIENCE, PAUSE};
use crate::bench::http::Client;

/// Points of one answer.
const PAGE: u64 = 10_000;

/// What was found; numbers of readings and effects.
#[derive(Default)]
pub(super) struct Found {
    /// Acknowledged, and neither stored nor dropped with a reason.
    pub(super) lost: u64,
    /// Stored, says the ledger.
    pub(super) stored: u64,
    /// Dropped with a reason.
    pub(super) dropped: u64,
    /// Causes whose effects came about.
    pub(super) effects: u64,
    pub(super) effects_twice: u64,
    pub(super) effects_missing: u64,
    /// A line each.
    pub(super) problems: Vec<String>,
}

/// Looks at all devices; in the series at numbers above `from` only.
pub(super) fn all(
    hub: &Hub,
    token: &str,
    devices: &[Arc<Device>],
    receiver: &Receiver,
    from: &[u64],
) -> anyhow::Result<Found> {
    let client = hub.client(token);
    let mut found = Found::default();
    let mut causes: BTreeSet<Cause> = BTreeSet::new();
    let mut recent: BTreeSet<Cause> = BTreeSet::new();
    for (device, from) in devices.iter().zip(from) {
        let ledger = Ledger::of(&client, &device.name)?;
        let acknowledged = device.acknowledged.load(Ordering::Acquire);
        found.stored += ledger
            .stored
            .iter()
            .map(|(low, high)| high - low + 1)
            .sum::<u64>();
        found.dropped += ledger
            .dropped
            .iter()
            .map(|(low, high)| high - low + 1)
            .sum::<u64>();
        let lost = ledger.lacks(acknowledged);
        if let Some(first) = lost.first() {
            found.lost += lost.len() as u64;
            let name = &device.name;
            let why = format!(
                "{name}: {} acknowledged numbers are nowhere, from {first} on",
                lost.len()
            );
            found.problems.push(why);
        }
        for at in (from + 1..=acknowledged).step_by(usize::try_from(PAGE)?) {
            let to = acknowledged.min(at + PAGE - 1);
            let lost = lost_points(&client, device, &ledger, at, to)?;
            found.lost += lost;
            if lost > 0 {
                let name = &device.name;
                let why =
                    format!("{name}: {lost} of {at}–{to} are in the ledger, not in the series");
                found.problems.push(why);
            }
        }
        for (low, high) in &ledger.stored {
            for number in (*low..=*high).filter(|number| fires(*number)) {
                let cause = (device.name.clone(), number);
                if number > *from {
                    recent.insert(cause.clone());
                }
                causes.insert(cause);
            }
        }
    }
    effects(&client, receiver, &causes, &recent, &mut found)?;
    Ok(found)
}

/// Waits for the effects of all causes, and counts them.
fn effects(
    client: &Client,
    receiver: &Receiver,
    causes: &BTreeSet<Cause>,
    recent: &BTreeSet<Cause>,
    found: &mut Found,
) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    let acted = loop {
        let acted = receiver.acted()?;
        if Instant::now() > until || causes.iter().all(|cause| acted.contains_key(cause)) {
            break acted;
        }
        std::thread::sleep(PAUSE);
    };
    found.effects = acted.len() as u64;
    for (cause, keys) in &acted {
        if keys.len() > 1 {
            found.effects_twice += 1;
            found
                .problems
                .push(format!("{cause:?} came about under {} keys", keys.len()));
        }
        if !causes.contains(cause) {
            found
                .problems
                .push(format!("{cause:?} came about, but is not stored"));
        }
    }
    for cause in causes.iter().filter(|cause| !acted.contains_key(*cause)) {
        found.effects_missing += 1;
        found.problems.push(format!("{cause:?} did not come about"));
    }
    // The content step is before the webhook: where that has come, this is done.
    for (device, number) in recent.iter().filter(|cause| acted.contains_key(*cause)) {
        let path = format!("/api/v1/content/notices/{device}-{number}");
        let entry = client.send("GET", &path, "application/json", "")?;
        let entry: Value = serde_json::from_str(&entry).context("an entry")?;
        if entry["version"] != 1 {
            found.effects_twice += 1;
            found
                .problems
                .push(format!("{path} is in version {}", entry["version"]));
        }
    }
    Ok(())
}

/// What the hub's ledger says of a device's only boot: ranges, ends included.
struct Ledger {
    stored: Vec<(u64, u64)>,
    dropped: Vec<(u64, u64)>,
}

impl Ledger {
    fn of(client: &Client, device: &str) -> anyhow::Result<Self> {
        let path = format!("/api/v1/devices/{device}/ledger");
        let page = client.send("GET", &path, "application/json", "")?;
        let page: Value = serde_json::from_str(&page).context("a ledger")?;
        let boots = page["items"].as_array().context("a ledger's boots")?;
        let (mut stored, mut dropped) = (Vec::new(), Vec::new());
        for boot in boots {
            stored.extend(ranges(&boot["ledger"]["stored"])?);
            for reason in boot["ledger"]["dropped"].as_object().into_iter().flatten() {
                dropped.extend(ranges(reason.1)?);
            }
        }
        Ok(Self { stored, dropped })
    }

    fn is_stored(&self, number: u64) -> bool {
        self.stored
            .iter()
            .any(|(low, high)| (*low..=*high).contains(&number))
    }

    /// Numbers up to `last` that are in no range.
    fn lacks(&self, last: u64) -> Vec<u64> {
        let known = |number: &u64| {
            let mut all = self.stored.iter().chain(&self.dropped);
            all.any(|(low, high)| (*low..=*high).contains(number))
        };
        (1..=last).filter(|number| !known(number)).collect()
    }
}

fn ranges(value: &Value) -> anyhow::Result<Vec<(u64, u64)>> {
    let ranges = value.as_array().context("ranges")?;
    ranges
        .iter()
        .map(|range| Some((range[0].as_u64()?, range[1].as_u64()?)))
        .collect::<Option<_>>()
        .context("a range of numbers")
}

/// How many of these numbers the ledger has as stored while the series has not their values.
fn lost_points(
    client: &Client,
    device: &Device,
    ledger: &Ledger,
    from: u64,
    to: u64,
) -> anyhow::Result<u64> {
    let (from_us, to_us) = (device.time_us(from), device.time_us(to + 1));
    let name = &device.name;
    let path =
        format!("/api/v1/devices/{name}/series/n?from_us={from_us}&to_us={to_us}&limit={PAGE}");
    let page = client.send("GET", &path, "application/json", "")?;
    let page: Value = serde_json::from_str(&page).context("a series")?;
    let points: BTreeSet<(i64, u64)> = page["items"]
        .as_array()
        .context("points")?
        .iter()
        .filter_map(|point| {
            Some((
                point["time_us"].as_i64()?,
                point["value"].as_f64()?.to_bits(),
            ))
        })
        .collect();
    let lost = (from..=to).filter(|number| {
        let point = (device.time_us(*number), value(*number).to_bits());
        ledger.is_stored(*number) && !points.contains(&point)
    });
    Ok(lost.count() as u64)
}
