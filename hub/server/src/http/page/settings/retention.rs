//! For how long the tenant's history is kept, and for admins how to change it.

use maud::{Markup, html};
use stencil_store::{Keep, MAX_KEEP_DAYS, Retention, Role};

use super::super::super::problem::Problem;
use super::super::super::{Caller, State};

/// A kind of history: its member of the API, what to call it, and from when on it counts.
const KINDS: [(&str, &str, &str, Of); 5] = [
    ("series_days", "Readings", "from their time on", |of| {
        of.series
    }),
    ("runs_days", "Runs", "from their end on", |of| of.runs),
    (
        "alarms_days",
        "Alarms",
        "from when they were cleared on",
        |of| of.alarms,
    ),
    (
        "quarantine_days",
        "Quarantine",
        "from when it came on",
        |of| of.quarantine,
    ),
    ("audit_days", "Audit log", "from the entry on", |of| {
        of.audit
    }),
];

type Of = fn(&Retention) -> Option<Keep>;

pub(super) async fn render(state: &State, caller: &Caller) -> Result<Markup, Problem> {
    let set = state.store.keeping.retention(&caller.tenant).await?;
    let in_force = state.retention().of(set);
    Ok(html! {
        section #retention.card aria-labelledby="retention-title" {
            h2 #retention-title { "Retention" }
            p.dim.small { "What is older is freed, and cannot be had back." }
            dl #retention-list.facts data-live="" data-every="60" {
                @for (_, name, from, of) in KINDS {
                    div { dt { (name) } dd {
                        (in_words(of(&in_force)))
                        " " span.dim.small { (from) @if of(&set).is_none() { ", as the hub does by default" } }
                    } }
                }
            }
            @if caller.role == Role::Admin { (form(&set)) }
        }
    })
}

fn in_words(keep: Option<Keep>) -> String {
    match keep {
        None | Some(Keep::Always) => "as long as the disk has room".to_owned(),
        Some(Keep::Days(1)) => "1 day".to_owned(),
        Some(Keep::Days(days)) => format!("{days} days"),
    }
}

fn form(set: &Retention) -> Markup {
    html! {
        details {
            summary { "Change" }
            form.form.keeps data-send="PUT /api/v1/retention" data-then="keep" data-told="It is so from now on"
                data-confirm="Free what is older than this? It cannot be had back." {
                p.dim.small { "Days, 1 to " (MAX_KEEP_DAYS) " (for the audit log 30 or more); " q { "always" } "; or empty for the hub's default." }
                @for (member, name, _, of) in KINDS {
                    @let value = match of(set) {
                        None => String::new(),
                        Some(Keep::Always) => "always".to_owned(),
                        Some(Keep::Days(days)) => days.to_string(),
                    };
                    div.field {
                        label for=(member) { (name) }
                        input #(member) name=(member) value=(value) data-type="value" data-empty="null" inputmode="numeric"
                            pattern="[0-9]{1,5}|always" title="days, always, or nothing" autocomplete="off"
                            placeholder="the hub's default";
                    }
                }
                p.alert.problem role="alert" hidden {}
                div.row { button.primary { "Set" } }
            }
        }
    }
}
