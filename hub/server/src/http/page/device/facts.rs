//! What a device is, when it was heard, what became of its numbers; and its active alarms.

use std::collections::BTreeMap;

use maud::{Markup, html};
use stencil_protocol::batch::DropReason;
use stencil_store::{AlarmFilter, LedgerRow, MAX_PAGE, RegistrationState, Role, Severity};

use super::super::super::problem::Problem;
use super::super::{badge, encoded, linked, moment, value};
use super::{Of, or_dim};

/// Alarms shown.
const ALARMS: u32 = 5;

pub(super) async fn render(of: &Of<'_>) -> Result<Markup, Problem> {
    let (device, store) = (of.device, &of.state.store);
    let ledgers = store
        .ledger
        .of_device(&of.caller.tenant, &device.id, None, MAX_PAGE)
        .await?;
    let registry = &store.registry;
    let registration = registry.registration(&of.caller.tenant, &device.id).await?;
    let identity = of.state.identity();
    let did = identity.device_did(&of.caller.tenant, &device.id);
    let did = did.map(|did| did.to_string()).ok();
    let ago = |at_us: Option<i64>| at_us.map(|at_us| moment::ago(at_us, of.now_us));
    Ok(html! {
        section #facts.card data-live="fleet links" data-every="10" data-from=(of.from)
            data-device=(device.id) aria-labelledby="facts-title" {
            h2 #facts-title { "Device" }
            dl.facts {
                div { dt { "Link" } dd {
                    (linked::state(device))
                    @if let Some(at) = ago(device.link_changed_us) { " " span.dim.small { "since " (at) } }
                } }
                div { dt { "Gateway" } dd {
                    @match &device.gateway {
                        Some(gateway) => { a href={ "/devices?gateway=" (encoded(gateway.as_str())) } { (gateway) } }
                        None => { span.dim { "none: it speaks to the hub itself" } }
                    }
                } }
                div { dt { "Heard" } dd { (or_dim(ago(device.last_received_us), "never")) } }
                div { dt { "Newest reading" } dd { (or_dim(ago(device.last_event_us), "none")) } }
                (numbers(device.numbered, &ledgers.items, ledgers.next.is_some()))
                @if let Some(did) = &did { div { dt { "DID" } dd { code.small { (did) } } } }
                div { dt { "Let in" } dd {
                    @match registration.as_ref().map(|it| it.state) {
                        Some(RegistrationState::Enrolled) => { (badge("good", "enrolled")) }
                        Some(RegistrationState::Revoked) => { (badge("bad", "revoked")) }
                        None => { (badge("", "not registered")) }
                    }
                    " " a href={ "/enrolment/" (encoded(device.id.as_str())) } { "Its registration" }
                } }
            }
            @if of.caller.role == Role::Admin {
                form data-send={ "DELETE /api/v1" (of.here()) } data-then="/devices" data-told="Erased"
                    data-confirm={ "Erase all that is kept of " (device.id) "? Its readings, numbers, alarms and commands cannot be had back." } {
                    button.danger { "Erase its data" }
                }
            }
        }
    })
}

/// What became of the numbers that the device gave.
fn numbers(numbered: bool, ledgers: &[LedgerRow], more: bool) -> Markup {
    if !numbered && ledgers.is_empty() {
        return html! {
            div { dt { "Numbers" } dd {
                (badge("warn", "unnumbered"))
                p.dim.small { "It does not number what it sends, so that nobody can know what is missing." }
            } }
        };
    }
    let sum = Sum::of(ledgers);
    html! {
        div { dt { "Boots" } dd {
            (value::count(ledgers.len() as u64)) @if more { " and more" }
        } }
        div { dt { "Numbers" } dd {
            @if sum.missing > 0 { (badge("bad", &format!("{} missing", value::count(sum.missing)))) }
            @else { (badge("good", "every number accounted for")) }
            ul.plain.small {
                li { (value::count(sum.stored)) " stored" }
                @for (reason, count) in &sum.dropped {
                    li { (value::count(*count)) " dropped: " (because(*reason)) }
                }
                @if sum.duplicate > 0 { li.dim { (value::count(sum.duplicate)) " came again, and were left alone" } }
            }
        } }
    }
}

/// The ledgers of all boots together.
#[derive(Debug, Default, PartialEq)]
struct Sum {
    stored: u64,
    dropped: BTreeMap<DropReason, u64>,
    duplicate: u64,
    missing: u64,
}

impl Sum {
    fn of(ledgers: &[LedgerRow]) -> Self {
        let mut sum = Self::default();
        for LedgerRow { ledger, .. } in ledgers {
            sum.stored = sum.stored.saturating_add(ledger.stored.len());
            sum.duplicate = sum.duplicate.saturating_add(ledger.duplicate);
            sum.missing = sum.missing.saturating_add(ledger.gaps().len());
            for (reason, count) in ledger.dropped_by_reason() {
                let all = sum.dropped.entry(reason).or_default();
                *all = all.saturating_add(count);
            }
        }
        sum
    }
}

fn because(reason: DropReason) -> &'static str {
    match reason {
        DropReason::BufferFull => "the device's memory was full",
        DropReason::SpoolFull => "the gateway's spool was full",
        DropReason::SpoolAge => "too old for the gateway's spool",
        DropReason::SpoolDamaged => "damaged on the gateway's disk",
        DropReason::Malformed => "not readable",
        DropReason::Reboot => "lost when the device was reset",
        DropReason::Quarantined => "in quarantine",
        DropReason::Erased => "erased",
        DropReason::Revoked => "the device was revoked",
    }
}

/// The device's active alarms; nothing without one.
pub(super) async fn alarms(of: &Of<'_>) -> Result<Markup, Problem> {
    let filter = AlarmFilter {
        active: Some(true),
        device: Some(of.device.id.clone()),
        ..AlarmFilter::default()
    };
    let alarms = &of.state.store.alarms;
    let page = alarms
        .list(&of.caller.tenant, &filter, None, ALARMS)
        .await?;
    Ok(html! {
        section #device-alarms.card data-live="alarms" data-from=(of.from)
            aria-labelledby="device-alarms-title" {
            header {
                h2 #device-alarms-title { "Active alarms" }
                a.more href={ "/alarms?device=" (encoded(of.device.id.as_str())) } { "All of it" }
            }
            @if page.items.is_empty() { p.dim { "None." } }
            @else {
                ul.lines {
                    @for alarm in &page.items {
                        li {
                            div.what {
                                (badge(class(alarm.severity), alarm.severity.as_str()))
                                a.title href={ "/alarms/" (alarm.id) } { (alarm.title) }
                            }
                            div.of.dim.small { (moment::ago(alarm.raised_us, of.now_us)) }
                        }
                    }
                }
            }
        }
    })
}

fn class(severity: Severity) -> &'static str {
    match severity {
        Severity::Warning => "info",
        Severity::Minor => "warn",
        Severity::Major => "high",
        Severity::Critical => "bad",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stencil_protocol::batch::Dropped;
    use stencil_protocol::id::{Boot, DeviceId, Seq};
    use stencil_protocol::ledger::BootLedger;

    #[test]
    fn each_boots_numbers_are_counted() {
        let row = |boot, stored: &[u64], dropped: Option<Dropped>| {
            let mut ledger = BootLedger::default();
            for seq in stored {
                ledger.store(Seq(*seq));
            }
            if let Some(dropped) = dropped {
                ledger.drop(dropped);
            }
            LedgerRow {
                device: DeviceId::parse("d").unwrap(),
                boot: Boot(boot),
                ledger,
            }
        };
        let full = Dropped {
            first: Seq(4),
            count: 2,
            reason: DropReason::BufferFull,
        };
        let sum = Sum::of(&[row(1, &[1, 2, 2, 3], Some(full)), row(2, &[1, 3], None)]);
        assert_eq!(
            sum,
            Sum {
                stored: 5,
                dropped: BTreeMap::from([(DropReason::BufferFull, 2)]),
                duplicate: 1,
                missing: 1,
            }
        );
        let shown = numbers(true, &[row(2, &[1, 3], None)], false).into_string();
        assert!(shown.contains("1 missing") && !shown.contains("every number"));
    }
}
