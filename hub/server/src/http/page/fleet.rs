//! The fleet: devices with their newest values and their links.

use maud::{Markup, html};
use stencil_store::{Device, Latest};

use super::super::problem::Problem;
use super::super::{Caller, State};
use super::{badge, moment, value};

/// Devices on one page.
const DEVICES: u32 = 100;
/// Values shown of one device.
const VALUES: usize = 8;

/// The fragment `fleet`.
pub(super) async fn render(
    state: &State,
    caller: &Caller,
    after: Option<&str>,
) -> Result<Markup, Problem> {
    let page = state
        .store
        .devices
        .list(&caller.tenant, after, DEVICES)
        .await?;
    let count = state.store.devices.count(&caller.tenant).await?;
    let quarantined = state.store.ledger.quarantine_count(&caller.tenant).await?;
    let mut rows = Vec::with_capacity(page.items.len());
    for device in page.items {
        let latest = state
            .store
            .devices
            .latest(&caller.tenant, &device.id)
            .await?;
        rows.push((device, latest));
    }
    Ok(html! {
        section #fleet.card data-live="fleet" data-every="10" aria-labelledby="fleet-title" {
            h2 #fleet-title { "Fleet" }
            p.dim {
                (count) @if count == 1 { " device" } @else { " devices" }
                @if quarantined > 0 {
                    ", " a href="/api/v1/quarantine" { (quarantined) @if quarantined == 1 { " quarantined payload" } @else { " quarantined payloads" } }
                }
            }
            @if rows.is_empty() {
                p { "No device has been heard yet." }
            } @else {
                div.scroll tabindex="0" role="region" aria-labelledby="fleet-title" {
                    table {
                        thead { tr {
                            th scope="col" { "Device" }
                            th scope="col" { "Link" }
                            th scope="col" { "Newest values" }
                            th scope="col" { "Last heard (UTC)" }
                        } }
                        tbody { @for (device, latest) in &rows { (row(device, latest)) } }
                    }
                }
            }
            nav aria-label="Pages of the fleet" {
                @if after.is_some() { a href="/#fleet" { "First page" } }
                @if let Some(next) = &page.next { a href={ "/?after=" (next) "#fleet" } { "Next page" } }
            }
        }
    })
}

fn row(device: &Device, latest: &[Latest]) -> Markup {
    let id = device.id.as_str();
    html! {
        tr data-device=(id) {
            th scope="row" { a href={ "/devices/" (id) } { (id) } }
            td { (link(device)) }
            td data-values {
                @for item in latest.iter().take(VALUES) {
                    span.value data-name=(item.name) {
                        span.dim { (item.name) } " "
                        b { (value::text(&item.value)) } " "
                        span data-unit { (item.unit.as_deref().unwrap_or_default()) }
                    }
                }
                @if latest.len() > VALUES { span.dim { "and " (latest.len() - VALUES) " more" } }
            }
            td data-seen { @if let Some(at) = device.last_received_us { (moment::utc(at)) } }
        }
    }
}

fn link(device: &Device) -> Markup {
    html! {
        span data-link {
            @match device.connected {
                Some(true) => { (badge("good", "connected")) }
                Some(false) => { (badge("bad", "cut off")) }
                None => { (badge("", "not known")) }
            }
        }
        @if let Some(link) = &device.link {
            " "
            @if link.post_quantum { (badge("good", "post-quantum")) }
            @else if link.group.is_none() { (badge("bad", "no TLS")) }
            @else { (badge("warn", "classical")) }
            @for hop in [&link.suite, &link.group].into_iter().flatten() { " " span.dim { (hop) } }
        }
        @if let Some(gateway) = &device.gateway { " " span.dim { "by " (gateway) } }
        @if !device.numbered { " " (badge("warn", "unnumbered")) }
    }
}
