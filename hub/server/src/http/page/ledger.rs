//! `/ledger`: what became of every number that a device gave, summed up as `stencil reconcile`
//! does, and boot by boot.

mod sums;

use axum::extract::State as Shared;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;
use stencil_protocol::id::DeviceId;
use stencil_protocol::ranges::RangeSet;
use stencil_store::{LedgerRow, MAX_PAGE};

use super::super::api::devices;
use super::super::input::Query;
use super::super::problem::Problem;
use super::super::{Caller, State};
use super::shell::{Frame, Nav, shell};
use super::value::count;
use super::{badge, encoded};
use sums::{MAX_FAULTS, Sums};

/// Boots on one page.
const BOOTS: u32 = 50;
/// Pages of [`MAX_PAGE`] rows that are summed up; beyond that the page says how far it looked.
const READS: usize = 20;
/// Spans of a gap that are named.
const SPANS: usize = 6;
/// Unnumbered devices that are named.
const NAMES: usize = 20;

/// Which part of the ledger. A device that is empty is none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Which {
    device: Option<String>,
    after: Option<String>,
}

/// `GET /ledger?device&after`
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Html<String>, Problem> {
    let named = which.device.as_deref().filter(|name| !name.is_empty());
    let device = match named {
        Some(name) => Some(devices::known(&state, &caller, name).await?.id),
        None => None,
    };
    let device = device.as_ref();
    let sums = sums(&state, &caller, device).await?;
    let page = rows(&state, &caller, device, which.after.as_deref(), BOOTS).await?;
    let unnumbered = unnumbered(&state, &caller, device).await?;
    let body = html! {
        div #ledger.stack data-live="fleet" data-every="10" {
            @if sums.boots > 0 {
                (verdict(&sums, device))
                @if !sums.faults.is_empty() { (gaps(&sums)) }
                section.card aria-labelledby="boots-title" {
                    header {
                        h2 #boots-title { "By device and boot" }
                        span.more.dim { "A boot's numbers begin at 1" }
                    }
                    (table(&page.items))
                    nav.pager aria-label="Pages of the ledger" {
                        span.dim { "By device" }
                        @if which.after.is_some() { a.button href=(address(device, None)) { "First page" } }
                        @if let Some(next) = &page.next {
                            a.button rel="next" href=(address(device, Some(next))) { "Next page" }
                        }
                    }
                }
            } @else {
                section.card.empty {
                    h2 { "No number has been given yet" }
                    p { "Devices that number what they measure are accounted for here, number by number: "
                        "stored, or dropped and why, or missing." }
                }
            }
            @if !unnumbered.0.is_empty() { (without_numbers(&unnumbered)) }
        }
    };
    let actions = html! {
        form.row method="get" action="/ledger" {
            label.unseen for="of-device" { "Device" }
            input #of-device name="device" placeholder="Any device" maxlength="64" autocomplete="off" value=[named];
            button { "Show" }
            @if named.is_some() { a href="/ledger" { "All devices" } }
        }
    };
    let frame = Frame::new(Nav::Ledger, "Ledger").actions(actions);
    shell(&state, &caller, frame, body).await
}

fn address(device: Option<&DeviceId>, after: Option<&str>) -> String {
    let device = device.map(|device| format!("device={}", encoded(device.as_str())));
    let after = after.map(|after| format!("after={}", encoded(after)));
    let parts: Vec<String> = [device, after].into_iter().flatten().collect();
    format!("/ledger?{}", parts.join("&"))
}

async fn rows(
    state: &State,
    caller: &Caller,
    device: Option<&DeviceId>,
    after: Option<&str>,
    limit: u32,
) -> Result<stencil_store::Page<LedgerRow>, Problem> {
    let (ledger, tenant) = (&state.store.ledger, &caller.tenant);
    Ok(match device {
        Some(device) => ledger.of_device(tenant, device, after, limit).await?,
        None => ledger.list(tenant, after, limit).await?,
    })
}

async fn sums(state: &State, caller: &Caller, device: Option<&DeviceId>) -> Result<Sums, Problem> {
    let mut sums = Sums::default();
    let mut after = None;
    for _ in 0..READS {
        let page = rows(state, caller, device, after.as_deref(), MAX_PAGE).await?;
        page.items.iter().for_each(|row| sums.add(row));
        after = page.next;
        if after.is_none() {
            return Ok(sums);
        }
    }
    sums.cut = true;
    Ok(sums)
}

/// Devices that give no numbers: the first ones, and how many there are among those looked at.
async fn unnumbered(
    state: &State,
    caller: &Caller,
    device: Option<&DeviceId>,
) -> Result<(Vec<DeviceId>, u64), Problem> {
    let (mut names, mut found, mut after) = (Vec::new(), 0, None);
    if device.is_some() {
        return Ok((names, found));
    }
    for _ in 0..READS {
        let devices = &state.store.devices;
        let page = devices
            .list(&caller.tenant, after.as_deref(), MAX_PAGE)
            .await?;
        for device in page.items.into_iter().filter(|device| !device.numbered) {
            found += 1;
            if names.len() < NAMES {
                names.push(device.id);
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok((names, found))
}

/// Whether all numbers are accounted for, at a glance.
fn verdict(sums: &Sums, device: Option<&DeviceId>) -> Markup {
    let held = sums.gaps == 0;
    let of = match device {
        Some(device) => device.to_string(),
        None if sums.devices == 1 => "1 device".to_owned(),
        None => format!("{} devices", count(sums.devices)),
    };
    html! {
        section.card.verdict.good[held].bad[!held] aria-labelledby="verdict-title" {
            header {
                h2 #verdict-title {
                    @if held { "No gap" }
                    @else if sums.gaps == 1 { "1 number is missing" }
                    @else { (count(sums.gaps)) " numbers are missing" }
                }
            }
            p {
                @if held {
                    "Each of the " (count(sums.given)) " numbers that " (of)
                    " gave is stored, or was dropped for a reason that is known."
                } @else {
                    "Of " (count(sums.given)) " numbers that " (of) " gave, " (count(sums.gaps))
                    " have neither arrived nor been reported as dropped. They may still be on their way."
                }
            }
            @if sums.cut {
                p.alert.warn { "Only the first " (count(sums.boots)) " boots were summed up; "
                    code { "stencil reconcile" } " counts all." }
            }
            (share(sums.given, sums.stored, sums.dropped(), sums.gaps))
            dl.sums {
                (sum("Given", sums.given, html! { (count(sums.boots)) @if sums.boots == 1 { " boot" } @else { " boots" } }))
                (sum("Stored", sums.stored, html! { @if sums.duplicate > 0 { (count(sums.duplicate)) " came twice" } }))
                (sum("Dropped", sums.dropped(), html! {
                    @for (reason, number) in &sums.reasons { span { (count(*number)) " " (reason.as_str()) } }
                }))
                (sum("Missing", sums.gaps, html! {}))
            }
        }
    }
}

fn sum(name: &str, number: u64, note: Markup) -> Markup {
    html! {
        div { dt { (name) } dd { b { (count(number)) } span.note { (note) } } }
    }
}

/// What became of the numbers, as lengths of one bar. It repeats what is said in words beside it.
fn share(given: u64, stored: u64, dropped: u64, gaps: u64) -> Markup {
    const WIDTH: u64 = 1_000;
    /// What can still be seen.
    const LEAST: u64 = 6;
    let part = |number: u64| {
        let part = u128::from(number) * u128::from(WIDTH) / u128::from(given.max(1));
        let part = u64::try_from(part).unwrap_or(WIDTH).min(WIDTH);
        if number > 0 { part.max(LEAST) } else { 0 }
    };
    let (lost, open) = (part(dropped), part(gaps));
    let kept = part(stored).min(WIDTH.saturating_sub(lost + open));
    html! {
        svg.share viewBox={ "0 0 " (WIDTH) " 10" } preserveAspectRatio="none" aria-hidden="true" {
            rect.rail x="0" y="0" width=(WIDTH) height="10" {}
            rect.stored x="0" y="0" width=(kept) height="10" {}
            rect.dropped x=(kept) y="0" width=(lost) height="10" {}
            rect.missing x=(kept + lost) y="0" width=(open) height="10" {}
        }
    }
}

/// The boots with a gap, and which numbers are missing.
fn gaps(sums: &Sums) -> Markup {
    html! {
        section.card aria-labelledby="gaps-title" {
            header { h2 #gaps-title { "Where numbers are missing" } }
            div.scroll tabindex="0" role="region" aria-labelledby="gaps-title" {
                table.cards {
                    thead { tr {
                        th scope="col" { "Device" }
                        th.num scope="col" { "Boot" }
                        th scope="col" { "Missing numbers" }
                    } }
                    tbody {
                        @for row in &sums.faults {
                            tr {
                                th scope="row" { a href={ "/devices/" (row.device) } { (row.device) } }
                                td.num data-label="Boot" { (row.boot.0) }
                                td data-label="Missing" { (spans(&row.ledger.gaps())) }
                            }
                        }
                    }
                }
            }
            @if sums.faulty > MAX_FAULTS as u64 {
                p.dim { "The first " (MAX_FAULTS) " of " (count(sums.faulty)) " boots." }
            }
        }
    }
}

/// The first few spans of a set.
fn spans(numbers: &RangeSet) -> String {
    let shown = numbers
        .iter()
        .take(SPANS)
        .map(|span| match span.into_inner() {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}–{last}"),
        });
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if numbers.spans() > SPANS {
        text.push_str(&format!(" … ({} numbers in all)", count(numbers.len())));
    }
    text
}

fn table(rows: &[LedgerRow]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-labelledby="boots-title" {
            table.cards {
                thead { tr {
                    th scope="col" { "Device" }
                    th.num scope="col" { "Boot" }
                    th.num scope="col" { "Given" }
                    th.num scope="col" { "Stored" }
                    th scope="col" { "Dropped" }
                    th.num scope="col" { "Came twice" }
                    th scope="col" { "Missing" }
                    th scope="col" { span.unseen { "Shares" } }
                } }
                tbody { @for row in rows { (boot(row)) } }
            }
        }
    }
}

fn boot(row: &LedgerRow) -> Markup {
    let ledger = &row.ledger;
    let (given, stored, gaps) = (
        ledger.last_given.0,
        ledger.stored.len(),
        ledger.gaps().len(),
    );
    let reasons = ledger.dropped_by_reason();
    let dropped = reasons
        .values()
        .fold(0u64, |sum, number| sum.saturating_add(*number));
    html! {
        tr {
            th scope="row" { a href={ "/devices/" (row.device) } { (row.device) } }
            td.num data-label="Boot" { (row.boot.0) }
            td.num data-label="Given" { (count(given)) }
            td.num data-label="Stored" { (count(stored)) }
            td data-label="Dropped" {
                @if reasons.is_empty() { span.dim { "none" } }
                @for (reason, number) in &reasons { (badge("warn plain", &format!("{} {}", count(*number), reason.as_str()))) " " }
            }
            td.num data-label="Came twice" { (count(ledger.duplicate)) }
            td data-label="Missing" {
                @if gaps == 0 { (badge("good", "none")) } @else { (badge("bad", &count(gaps))) }
            }
            td.shares { (share(given, stored, dropped, gaps)) }
        }
    }
}

fn without_numbers((names, found): &(Vec<DeviceId>, u64)) -> Markup {
    html! {
        section.card aria-labelledby="unnumbered-title" {
            header { h2 #unnumbered-title {
                (count(*found)) @if *found == 1 { " device gives" } @else { " devices give" } " no numbers"
            } }
            p.dim { "What they send is stored once by device, name and time, but nobody can know of a gap." }
            p.row {
                @for name in names { a href={ "/devices/" (name) } { (name) } }
                @if *found > names.len() as u64 { span.dim { "and " (count(*found - names.len() as u64)) " more" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_fill_the_bar_and_the_least_of_them_is_seen() {
        let widths = |given, stored, dropped, gaps| -> Vec<u64> {
            let svg = share(given, stored, dropped, gaps).into_string();
            let parts = svg.split("width=\"").skip(2);
            parts
                .map(|rest| rest.split('"').next().unwrap().parse().unwrap())
                .collect()
        };
        assert_eq!(widths(100, 75, 25, 0), [750, 250, 0]);
        assert_eq!(widths(1_000_000, 999_998, 1, 1), [988, 6, 6]);
        assert_eq!(widths(0, 0, 0, 0), [0, 0, 0]);
        let largest = widths(u64::MAX, u64::MAX, u64::MAX, u64::MAX);
        assert!(largest.iter().all(|width| *width <= 1_000), "{largest:?}");
    }

    #[test]
    fn a_long_gap_is_named_by_its_first_spans() {
        let numbers: RangeSet = [1..=1, 3..=5].into_iter().collect();
        assert_eq!(spans(&numbers), "1, 3–5");
        let many: RangeSet = (0..100u64).map(|n| n * 2..=n * 2).collect();
        assert_eq!(spans(&many), "0, 2, 4, 6, 8, 10 … (100 numbers in all)");
    }
}
