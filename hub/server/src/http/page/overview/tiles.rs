//! Figures at a glance, each with a way to what it counts.

use maud::{Markup, PreEscaped, html};
use stencil_store::{AlarmCounts, DeviceCounts, Progress};

use super::super::super::problem::Problem;
use super::super::super::{Caller, State};
use super::super::{badge, value};

const HOUR_US: i64 = 3_600_000_000;
/// Seconds over which the shown rate is taken.
const RATE_S: usize = 10;

/// The tiles.
pub(super) async fn render(
    state: &State,
    caller: &Caller,
    devices: &DeviceCounts,
) -> Result<Markup, Problem> {
    let (tenant, store) = (&caller.tenant, &state.store);
    let now_us = state.clock.now_us();
    let alarms = store.alarms.counts(tenant).await?;
    let since_us = now_us.saturating_sub(HOUR_US);
    let runs = store.runs.counts_since(tenant, since_us).await?;
    let quarantined = store.ledger.quarantine_count(tenant).await?;
    let minute = state.live.rates().last_minute(tenant, now_us);
    Ok(html! {
        section #tiles.tiles data-live="links fleet alarms runs" data-every="5"
            aria-label="At a glance" {
            (of_devices(devices))
            (of_alarms(&alarms))
            (of_runs(&runs, since_us))
            (of_readings(&minute, quarantined))
            (of_links(devices))
        }
    })
}

fn of_devices(counts: &DeviceCounts) -> Markup {
    let told = counts.connected.saturating_add(counts.cut_off);
    let never = counts.devices.saturating_sub(told);
    html! {
        div.tile {
            a.name href="/devices" { "Devices" }
            p.figure { (value::count(counts.devices)) }
            p.note {
                (part("good", "/devices?link=connected", counts.connected, "linked"))
                @if counts.cut_off > 0 { (part("bad", "/devices?link=cut-off", counts.cut_off, "cut off")) }
                @if never > 0 { (part("", "/devices?link=unknown", never, "never linked")) }
            }
        }
    }
}

fn of_alarms(counts: &AlarmCounts) -> Markup {
    let active = counts.active();
    let class = match (counts.critical > 0, active > 0) {
        (true, _) => "tile bad",
        (false, true) => "tile warn",
        (false, false) => "tile",
    };
    html! {
        div class=(class) {
            a.name href="/alarms" { "Active alarms" }
            p.figure { (value::count(active)) }
            p.note {
                @if active == 0 { "Nothing needs you" }
                @for (class, name, count) in [
                    ("bad", "critical", counts.critical),
                    ("high", "major", counts.major),
                    ("warn", "minor", counts.minor),
                    ("info", "warning", counts.warning),
                ] {
                    @if count > 0 { (part(class, &format!("/alarms?severity={name}"), count, name)) }
                }
                @if active > 0 && counts.unacknowledged == 0 { "all acknowledged" }
            }
        }
    }
}

fn of_runs(counts: &[(Progress, u64)], since_us: i64) -> Markup {
    let of = |wanted: &[Progress]| -> u64 {
        let of = counts.iter().filter(|(state, _)| wanted.contains(state));
        of.map(|(_, count)| *count).sum()
    };
    let all: u64 = counts.iter().map(|(_, count)| *count).sum();
    let failed = of(&[Progress::Failed]);
    let open = of(&[Progress::Pending, Progress::Running, Progress::Waiting]);
    let since = format!("&from_us={since_us}");
    html! {
        div class=(if failed > 0 { "tile warn" } else { "tile" }) {
            a.name href="/runs" { "Runs in the last hour" }
            p.figure { (value::count(all)) }
            p.note {
                @if failed > 0 { (part("bad", &format!("/runs?state=failed{since}"), failed, "failed")) }
                @else if all > 0 { (badge("good", "none failed")) }
                @else { "No rule has fired" }
                @if open > 0 { (badge("info", &format!("{} going on", value::count(open)))) }
            }
        }
    }
}

fn of_readings(minute: &[u64], quarantined: u64) -> Markup {
    let newest = minute.get(minute.len().saturating_sub(RATE_S)..);
    let sum: u64 = newest.unwrap_or(minute).iter().sum();
    html! {
        div.tile {
            span.name { "Readings a second" }
            p.figure { (rate(sum)) }
            (spark(minute))
            @if quarantined > 0 {
                p.note { (part("warn", "/quarantine", quarantined, "not understood")) }
            }
        }
    }
}

/// A tenth of `sum`, which is of ten seconds.
fn rate(sum: u64) -> String {
    if sum >= 1_000 {
        value::count(sum / 10)
    } else {
        format!("{}.{}", sum / 10, sum % 10)
    }
}

/// The last minute as a line of bars; the figure beside it says the same.
fn spark(minute: &[u64]) -> Markup {
    let highest = minute.iter().copied().max().unwrap_or(0).max(1);
    let mut bars = String::new();
    for (place, count) in minute.iter().enumerate() {
        // 20 units high; what is there at all is to be seen.
        let height = (u128::from(*count) * 20).div_ceil(u128::from(highest));
        if height > 0 {
            bars.push_str(&format!("M{}.5 20v-{height}", 2 * place));
        }
    }
    html! {
        svg.spark viewBox="0 0 120 20" preserveAspectRatio="none" aria-hidden="true" {
            path d=(PreEscaped(bars)) {}
        }
    }
}

fn of_links(counts: &DeviceCounts) -> Markup {
    let known = counts.post_quantum.saturating_add(counts.not_post_quantum);
    html! {
        div class=(if counts.not_post_quantum > 0 { "tile warn" } else { "tile" }) {
            a.name href="/devices?protection=classical" { "Not post-quantum" }
            p.figure {
                (value::count(counts.not_post_quantum))
                @if known > 0 { small { " of " (value::count(known)) } }
            }
            p.note {
                @if known == 0 { "No link has been seen yet" }
                @else if counts.not_post_quantum == 0 { (badge("good", "every hop of every link is")) }
                @else { "devices with a weaker hop on their way" }
            }
        }
    }
}

/// A part of a figure, with a way to it.
fn part(class: &str, href: &str, count: u64, what: &str) -> Markup {
    html! { a class={ "badge " (class) } href=(href) { (value::count(count)) " " (what) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_a_tenth_while_it_is_small() {
        assert_eq!(rate(0), "0.0");
        assert_eq!(rate(7), "0.7");
        assert_eq!(rate(999), "99.9");
        assert_eq!(rate(12_345_678), "1\u{202f}234\u{202f}567");
    }

    #[test]
    fn few_readings_are_to_be_seen_beside_many() {
        let svg = spark(&[0, 1, 1_000_000]).into_string();
        assert!(svg.contains("M2.5 20v-1M4.5 20v-20\""), "{svg}");
        assert!(spark(&[u64::MAX, 1]).into_string().contains("v-20"));
    }
}
