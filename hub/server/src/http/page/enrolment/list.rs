//! `/enrolment`: the upload, the gateways that keys are given to, and the registrations.

use axum::extract::State as Shared;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;
use stencil_store::{RegisteredGateway, Registration, RegistrationState, Role};

use super::super::super::input::Query;
use super::super::super::problem::Problem;
use super::super::super::{Caller, State};
use super::super::{Frame, Nav, assets, badge, encoded, moment, shell, value};
use super::standing;

/// Registrations on one page.
const REGISTRATIONS: u32 = 100;

/// Which registrations.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Which {
    /// `revoked`: those alone.
    state: Option<String>,
    after: Option<String>,
}

/// `GET /enrolment?state&after`
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Html<String>, Problem> {
    let registry = &state.store.registry;
    let revoked = which.state.as_deref() == Some("revoked");
    let filter = revoked.then_some(RegistrationState::Revoked);
    let page = registry
        .registrations(
            &caller.tenant,
            None,
            filter,
            which.after.as_deref(),
            REGISTRATIONS,
        )
        .await?;
    let gateways = registry.registered_gateways(&caller.tenant).await?;
    let now_us = state.clock.now_us();
    let narrowed = if revoked { "state=revoked&" } else { "" };
    let body = html! {
        @if caller.role == Role::Admin { (upload()) }
        (of_gateways(&gateways, now_us))
        section #registrations.card data-live="fleet" data-every="10" aria-labelledby="registrations-title" {
            header {
                h2 #registrations-title { "Registrations" }
                nav.segments aria-label="State" {
                    a href="/enrolment#registrations" aria-current=[(!revoked).then_some("true")] { "All" }
                    a href="/enrolment?state=revoked#registrations" aria-current=[revoked.then_some("true")] { "Revoked" }
                }
            }
            @if page.items.is_empty() {
                p.dim { @if revoked { "None is revoked." } @else {
                    "None yet. Devices whose keys lie as files at their gateway are not in this list."
                } }
            } @else {
                (table(&page.items, now_us))
            }
            @if which.after.is_some() || page.next.is_some() {
                nav.pager aria-label="Pages of the registrations" {
                    span.dim { "By id" }
                    @if which.after.is_some() {
                        a.button href={ "/enrolment?" (narrowed) "#registrations" } { "First page" }
                    }
                    @if let Some(next) = &page.next {
                        a.button rel="next" href={ "/enrolment?" (narrowed) "after=" (encoded(next)) "#registrations" } { "Next page" }
                    }
                }
            }
        }
    };
    let frame = Frame::new(Nav::Devices, "Enrolment")
        .crumb("/devices", "Devices")
        .actions(html! { a.button href="/claim" { "Claim a device" } })
        .script(&assets::ENROLMENT);
    shell(&state, &caller, frame, body).await
}

/// The form for a file of devices. What became of each row, the script shows below it.
fn upload() -> Markup {
    html! {
        section.card aria-labelledby="upload-title" {
            header {
                h2 #upload-title { "Enrol many" }
                span.dim { "A CSV file with the columns device, gateway and one of psk, sealed_psk, claim_code; or the same as JSON. To send a file again does no harm." }
            }
            form.form.line #upload data-upload="/api/v1/devices/enrol" {
                div.field {
                    label for="upload-file" { "File" }
                    input #upload-file type="file" required accept=".csv,.json,text/csv,application/json";
                }
                button.primary { "Enrol" }
                p.alert.problem role="alert" hidden {}
            }
            div #uploaded role="status" hidden {
                p #uploaded-counts {}
                div.scroll.tall tabindex="0" role="region" aria-label="Rows that were not taken" {
                    table.cards {
                        thead { tr {
                            th.num scope="col" { "Line" }
                            th.num scope="col" { "Column" }
                            th scope="col" { "Device" }
                            th scope="col" { "What is wrong" }
                        } }
                        tbody #uploaded-rows {}
                    }
                }
            }
        }
    }
}

fn of_gateways(gateways: &[RegisteredGateway], now_us: i64) -> Markup {
    html! {
        section #gateways.card data-live="" data-every="10" aria-labelledby="gateways-title" {
            header {
                h2 #gateways-title { "Gateways" }
                span.dim { "Keys are sealed to each gateway's own key, which it tells when it connects." }
            }
            @if gateways.is_empty() { p.dim { "There is none yet." } }
            @else {
                @for it in gateways { (warnings(it, now_us)) }
                div.scroll tabindex="0" role="region" aria-labelledby="gateways-title" {
                    table.cards {
                        thead { tr {
                            th scope="col" { "Gateway" }
                            th.num scope="col" { "Devices" }
                            th scope="col" { "Holds" }
                            th.num scope="col" { "Its key" }
                        } }
                        tbody { @for it in gateways { tr {
                            th scope="row" { (it.gateway) }
                            td.num data-label="Devices" { (value::count(it.devices)) }
                            td data-label="Holds" {
                                @if it.waiting == 0 { (badge("good", "everything")) }
                                @else { (badge("warn", &format!("{} to come", value::count(it.waiting)))) }
                            }
                            td.num.nowrap data-label="Its key" {
                                @match it.registered_us {
                                    Some(at_us) => { (moment::ago(at_us, now_us)) }
                                    None => { span.dim { "not connected yet" } }
                                }
                                @if lately(it.rekeyed_us, now_us) { " " (badge("warn", "another one than before")) }
                            }
                        } } }
                    }
                }
            }
        }
    }
}

/// For how long what may be an intrusion is shown.
const WARN_US: i64 = 7 * 24 * 3_600 * 1_000_000;

fn lately(at_us: Option<i64>, now_us: i64) -> bool {
    at_us.is_some_and(|at_us| now_us.saturating_sub(at_us) < WARN_US)
}

/// What may show that somebody else has a gateway's certificate.
fn warnings(it: &RegisteredGateway, now_us: i64) -> Markup {
    html! {
        @if lately(it.contested_us, now_us) {
            p.alert.problem {
                "Two take the place of gateway " (it.gateway) " from each other"
                @if let Some(at_us) = it.contested_us { " (" (moment::ago(at_us, now_us)) ")" }
                ": two run from copies of its folder, or somebody else has its certificate."
            }
        }
        @if lately(it.rekeyed_us, now_us) {
            p.alert {
                "Gateway " (it.gateway) " has come with another key than before"
                @if let Some(at_us) = it.rekeyed_us { " (" (moment::ago(at_us, now_us)) ")" }
                ", and was given all keys of its devices. If it was not set up anew, somebody else has its certificate."
            }
        }
    }
}

fn table(registrations: &[Registration], now_us: i64) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-labelledby="registrations-title" {
            table.cards {
                thead { tr {
                    th scope="col" { "Device" }
                    th scope="col" { "State" }
                    th scope="col" { "Gateway" }
                    th scope="col" { "Speaks as" }
                    th.num scope="col" { "Changed" }
                } }
                tbody { @for it in registrations { tr {
                    th scope="row" { a href={ "/enrolment/" (encoded(it.device.as_str())) } { (it.device) } }
                    td data-label="State" { (standing(it)) }
                    td data-label="Gateway" {
                        @match &it.gateway { Some(gateway) => { (gateway) } None => { span.dim { "none" } } }
                    }
                    td data-label="Speaks as" {
                        @match &it.identity { Some(identity) => { (identity) } None => { span.dim { "-" } } }
                    }
                    td.num.nowrap data-label="Changed" { (moment::ago(it.changed_us, now_us)) }
                } } }
            }
        }
    }
}
