//! Where the numbers come from: the hub's API, and the simulators' journals.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use stencil_protocol::ledger::BootLedger;
use stencil_protocol::ranges::RangeSet;

use super::account::Key;
use crate::api::Client;

/// The hub's ledgers.
pub(crate) async fn ledgers(client: &Client) -> anyhow::Result<BTreeMap<Key, BootLedger>> {
    let mut ledgers = BTreeMap::new();
    for row in client.list("/api/v1/ledger?limit=1000").await? {
        let device = row["device"]
            .as_str()
            .context("a ledger without a device")?
            .to_owned();
        let boot = row["boot"]
            .as_u64()
            .and_then(|boot| u32::try_from(boot).ok())
            .context("a ledger without a boot")?;
        let ledger = serde_json::from_value(row["ledger"].clone())
            .with_context(|| format!("the ledger of {device}, boot {boot}, can't be read"))?;
        ledgers.insert((device, boot), ledger);
    }
    Ok(ledgers)
}

/// The devices that don't number what they send.
pub(crate) async fn unnumbered(client: &Client) -> anyhow::Result<Vec<String>> {
    let devices = client.list("/api/v1/devices?limit=1000").await?;
    Ok(devices
        .iter()
        .filter(|device| device["numbered"] == false)
        .filter_map(|device| device["id"].as_str().map(str::to_owned))
        .collect())
}

/// Every number that the simulators' journals say was given.
pub(crate) fn journals(dir: &Path) -> anyhow::Result<BTreeMap<Key, RangeSet>> {
    let journals = stencil_simulators::journal::read(dir)
        .with_context(|| format!("can't read the journals in {}", dir.display()))?;
    Ok(journals
        .given
        .into_iter()
        .map(|((device, boot), numbers)| ((device.to_string(), boot.0), numbers))
        .collect())
}
