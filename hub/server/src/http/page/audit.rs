//! `GET /audit`: who changed what, for admins.

use axum::extract::State as Shared;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;
use stencil_store::{AuditEntry, AuditFilter, AuditOutcome};

use super::super::input::Query;
use super::super::problem::Problem;
use super::super::{Caller, State};
use super::{Frame, Nav, badge, encoded, moment, shell};

/// Entries on one page.
const ENTRIES: u32 = 100;
const OUTCOMES: [AuditOutcome; 3] = [
    AuditOutcome::Done,
    AuditOutcome::Refused,
    AuditOutcome::Failed,
];

/// Which entries. A filter that is empty is none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Which {
    who: Option<String>,
    action: Option<String>,
    outcome: Option<String>,
    after: Option<String>,
}

impl Which {
    fn filter(&self) -> Result<AuditFilter, Problem> {
        let outcome = set(&self.outcome).map(|name| {
            AuditOutcome::parse(name).ok_or_else(|| {
                let right = "done, refused or failed";
                Problem::invalid(format!("`outcome` is `{name}`, it has to be {right}"))
            })
        });
        Ok(AuditFilter {
            who: set(&self.who).map(str::to_owned),
            action: set(&self.action).map(str::to_owned),
            outcome: outcome.transpose()?,
        })
    }

    /// The same filter from a cursor on.
    fn address(&self, after: Option<&str>) -> String {
        let mut address = "/audit".to_owned();
        let mut sign = '?';
        for (name, text) in [
            ("who", set(&self.who)),
            ("action", set(&self.action)),
            ("outcome", set(&self.outcome)),
            ("after", after),
        ] {
            if let Some(text) = text {
                address.push_str(&format!("{sign}{name}={}", encoded(text)));
                sign = '&';
            }
        }
        address
    }

    fn is_narrowed(&self) -> bool {
        [&self.who, &self.action, &self.outcome]
            .into_iter()
            .any(|text| set(text).is_some())
    }
}

fn set(text: &Option<String>) -> Option<&str> {
    let text = text.as_deref().map(str::trim);
    text.filter(|text| !text.is_empty())
}

/// `GET /audit?who&action&outcome&after`
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Html<String>, Problem> {
    let filter = which.filter()?;
    let (audit, after) = (&state.store.audit, which.after.as_deref());
    let page = audit
        .entries(&caller.tenant, &filter, after, ENTRIES)
        .await?;
    let body = html! {
        (narrow(&which, filter.outcome))
        section #audit.card data-live="" data-every="15" aria-label="Audit log" {
            @if page.items.is_empty() {
                div.empty {
                    @if which.is_narrowed() {
                        h2 { "No entry is like that" }
                        p { a href="/audit" { "All entries" } }
                    } @else if after.is_some() { h2 { "No older entries" } }
                    @else {
                        h2 { "Nobody has changed anything yet" }
                        p { "What people and programs change through the API is written down here." }
                    }
                }
            } @else { (table(&which, &page.items)) }
            nav.pager aria-label="Pages of the audit log" {
                span.dim { "The newest first" }
                @if after.is_some() { a.button href=(which.address(None)) { "Newest" } }
                @if let Some(next) = &page.next {
                    a.button rel="next" href=(which.address(Some(next))) { "Older" }
                }
            }
        }
    };
    shell(&state, &caller, Frame::new(Nav::Audit, "Audit log"), body).await
}

fn narrow(which: &Which, outcome: Option<AuditOutcome>) -> Markup {
    html! {
        form.row method="get" action="/audit" {
            input name="who" value=[set(&which.who)] placeholder="Who: user ann" aria-label="Who"
                maxlength="256" autocomplete="off";
            input name="action" value=[set(&which.action)] placeholder="What: tokens.create"
                aria-label="What" maxlength="256" autocomplete="off";
            select name="outcome" aria-label="How it went" {
                option value="" { "However it went" }
                @for one in OUTCOMES {
                    option value=(one.as_str()) selected[outcome == Some(one)] { (one.as_str()) }
                }
            }
            button { "Show" }
            @if which.is_narrowed() { a.button href="/audit" { "Clear" } }
        }
    }
}

fn table(which: &Which, entries: &[AuditEntry]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Entries" {
            table.cards {
                thead { tr {
                    th scope="col" { "When" }
                    th scope="col" { "Who" }
                    th scope="col" { "What" }
                    th scope="col" { "To which" }
                    th scope="col" { "How it went" }
                    th scope="col" { "From" }
                } }
                tbody { @for entry in entries { (row(which, entry)) } }
            }
        }
    }
}

fn row(which: &Which, entry: &AuditEntry) -> Markup {
    let class = match entry.outcome {
        AuditOutcome::Done => "good",
        AuditOutcome::Refused => "bad",
        AuditOutcome::Failed => "warn",
    };
    let only = |who: Option<&str>, action: Option<&str>| {
        let narrowed = Which {
            who: who.or(set(&which.who)).map(str::to_owned),
            action: action.or(set(&which.action)).map(str::to_owned),
            outcome: which.outcome.clone(),
            after: None,
        };
        narrowed.address(None)
    };
    html! {
        tr {
            th.nowrap scope="row" { (moment::element(entry.at_us)) }
            td data-label="Who" { a href=(only(Some(&entry.who), None)) { (entry.who) } }
            td { a.mono href=(only(None, Some(&entry.action))) { (entry.action) } }
            td data-label="To which" { @if let Some(target) = &entry.target { (target) } }
            td {
                (badge(class, entry.outcome.as_str()))
                @if let Some(detail) = &entry.detail { p.dim.small { (detail) } }
            }
            td data-label="From" { @if let Some(address) = &entry.address { span.mono { (address) } } }
        }
    }
}
