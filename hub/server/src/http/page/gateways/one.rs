//! `/gateways/{gateway}`: one gateway, what it shall be like, and what became of that.

use axum::extract::State as Shared;
use axum::response::Html;
use maud::{Markup, html};
use stencil_protocol::id::GatewayId;
use stencil_store::{
    CertificateState, FewDevices, Gateway, GatewayCertificate, Role, SealMarkFilter,
};

use super::super::super::api::gateways::{ShownDesired, ShownGateway, known, of_gateway};
use super::super::super::input::Path;
use super::super::super::problem::Problem;
use super::super::super::{Caller, State};
use super::super::shell::{Frame, Nav, shell};
use super::super::{assets, badge, encoded, linked, moment, seal_marks, value};
use super::{asked, certificate_end, connection, flaws, standing, verdict};

/// `GET /gateways/{gateway}`
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(gateway): Path<String>,
) -> Result<Html<String>, Problem> {
    let gateway = GatewayId::parse(&gateway)
        .map_err(|error| Problem::invalid(format!("the gateway: {error}")))?;
    let shown = known(&state, &caller, &gateway).await?;
    // A mapping may hold passwords.
    let desired = match caller.role {
        Role::Viewer => None,
        Role::Editor | Role::Admin => Some(of_gateway(&state, &caller, &gateway).await?),
    };
    let certificates = &state.store.certificates;
    let certificates = certificates.certificates(&caller.tenant, &gateway).await?;
    let now_us = state.clock.now_us();
    let marked = SealMarkFilter {
        gateway: Some(gateway.clone()),
        device: None,
    };
    let marks = seal_marks::render(&state, &caller, &marked).await?;
    let body = html! {
        div #gateway.stack data-live="fleet" data-every="5" {
            (marks)
            div.split {
                div.stack {
                    (state_of(&shown.gateway))
                    @if let Some(desired) = &desired { (sections(desired)) }
                }
                div.stack {
                    (facts(&shown, now_us))
                    (table(&certificates, now_us))
                    @if caller.role == Role::Admin && shown.gateway.revoked_us.is_none() {
                        (revoke(&shown.gateway))
                    }
                }
            }
        }
        @if caller.role == Role::Admin { (asked::panel(&gateway)) }
    };
    let title = format!("Gateway {gateway}");
    let frame = Frame::new(Nav::Gateways, &title)
        .crumb("/gateways", "Gateways")
        .actions(connection(shown.connected, &shown.gateway))
        .script(&assets::GATEWAY);
    shell(&state, &caller, frame, body).await
}

fn state_of(gateway: &Gateway) -> Markup {
    html! {
        section.card aria-labelledby="desired-title" {
            header {
                h2 #desired-title { "Desired state" }
                span.more { (standing(gateway)) }
            }
            @if gateway.desired_revision == 0 {
                p { "Nothing was asked for: it runs as its own files say. Ask with "
                    code { "stencil gateways set " (gateway.gateway) } "." }
            } @else {
                p { "Revision " (gateway.desired_revision) " is desired; it "
                    @match gateway.applied_revision {
                        Some(applied) => { "runs with revision " (applied) "." }
                        None => { "runs as its own files say." }
                    }
                }
                @if let Some(last) = &gateway.last {
                    p { "Revision " (last.revision) ": " (verdict(last)) " "
                        span.small.dim { (moment::element(last.at_us)) " by its clock" } }
                    @if !last.why.is_empty() {
                        div.alert role="status" { (flaws(&last.why)) }
                    }
                }
            }
        }
    }
}

fn sections(desired: &ShownDesired) -> Markup {
    let own = [
        ("Settings", &desired.settings),
        ("Mapping", &desired.mapping),
    ];
    html! {
        @if let Some(effective) = &desired.effective {
            section.card aria-labelledby="sections-title" {
                header { h2 #sections-title { "Sections" } }
                @if effective.sections.is_empty() { p.dim { "None: all is as its own files say." } }
                @else {
                    table {
                        thead { tr {
                            th scope="col" { "Section" }
                            th scope="col" { "Comes from" }
                            th.num scope="col" { "Bytes" }
                        } }
                        tbody { @for it in &effective.sections { tr {
                            th scope="row" { (it.section) }
                            td { @match &it.group {
                                Some(group) => { "group " a href={ "/gateways?group=" (group) } { (group) } }
                                None => { "the gateway itself" }
                            } }
                            td.num { (value::count(u64::from(it.bytes))) }
                        } } }
                    }
                }
            }
        }
        @for (name, text) in own {
            @if let Some(text) = text {
                section.card {
                    header { h2 { (name) } span.dim { "of the gateway itself" } }
                    pre tabindex="0" { code { (text) } }
                }
            }
        }
    }
}

fn facts(shown: &ShownGateway, now_us: i64) -> Markup {
    let it = &shown.gateway;
    html! {
        section.card aria-labelledby="facts-title" {
            header { h2 #facts-title { "What it is like" } }
            dl.facts {
                div { dt { "Heard" } dd { @match it.said_us {
                    Some(at_us) => { (moment::ago(at_us, now_us)) }
                    None => { "never" }
                } } }
                @if let Some(version) = &it.version { div { dt { "Version" } dd { (version) } } }
                @if let Some(at_us) = it.started_us { div { dt { "Started" } dd { (moment::element(at_us)) } } }
                @if let Some(link) = &it.link { div { dt { "Link" } dd { (linked::of(link))
                    @if let Some(group) = &link.group { " " span.small.dim { (group) } } } } }
                @if let (Some(all), Some(waiting)) = (it.spool_bytes, it.waiting_bytes) {
                    div { dt { "Spool" } dd { (value::count(all)) " B, " (value::count(waiting)) " B wait" } }
                }
                @if let Some(links) = it.links { div { dt { "Devices linked" } dd { (value::count(links)) } } }
                @if let Some(devices) = it.field_devices.filter(|it| *it > 0) {
                    div { dt { "Field devices" } dd { (value::count(devices))
                        @if let Some(silent) = it.silent.as_ref().filter(|it| it.count > 0) {
                            ", " (badge("bad", "silent")) " " (value::count(u64::from(silent.count))) ": " (few(silent))
                        }
                    } }
                }
                @if let Some(unused) = it.unused_keys.as_ref().filter(|it| it.count > 0) {
                    div { dt { "Keys not used" } dd {
                        (badge("warn", "in the mapping, too")) " " (few(unused))
                    } }
                }
                div { dt { "Devices let in" } dd { (value::count(it.devices))
                    @if it.waiting > 0 { ", " (value::count(it.waiting)) " changes to come" } } }
                @if let Some(end_us) = it.certificate_end_us {
                    div { dt { "Certificate ends" } dd { (certificate_end(end_us, now_us)) } }
                }
                @if let Some(at_us) = it.revoked_us {
                    div { dt { "Revoked" } dd { (moment::ago(at_us, now_us)) } }
                }
                @if !it.groups.is_empty() { div { dt { "Groups" } dd {
                    @for group in &it.groups { a href={ "/gateways?group=" (group) } { (group) } " " }
                } } }
            }
        }
    }
}

fn few(few: &FewDevices) -> Markup {
    let more = u64::from(few.count).saturating_sub(few.first.len() as u64);
    html! {
        @for (at, device) in few.first.iter().enumerate() {
            @if at > 0 { ", " }
            a href={ "/devices/" (encoded(device.as_str())) } { (device) }
        }
        @if more > 0 { " and " (value::count(more)) " more" }
    }
}

fn table(certificates: &[GatewayCertificate], now_us: i64) -> Markup {
    let state = |it: &GatewayCertificate| match it.state {
        CertificateState::Current => badge("good", "current"),
        CertificateState::Issued => badge("warn", "not used yet"),
        CertificateState::Superseded => badge("", "superseded"),
        CertificateState::Revoked => badge("bad", "revoked"),
    };
    html! {
        @if !certificates.is_empty() {
            section.card aria-labelledby="certificates-title" {
                header {
                    h2 #certificates-title { "Certificates" }
                    span.dim { "The fingerprint is what " code { "stencil verify --gateway-key" } " takes." }
                }
                div.scroll tabindex="0" role="region" aria-labelledby="certificates-title" {
                    table.cards {
                        thead { tr {
                            th scope="col" { "Serial number" }
                            th scope="col" { "State" }
                            th scope="col" { "Ends" }
                            th.num scope="col" { "First used" }
                            th scope="col" { "Fingerprint (SHA-256)" }
                        } }
                        tbody { @for it in certificates { tr {
                            th.mono scope="row" { (it.serial) }
                            td data-label="State" { (state(it)) }
                            td data-label="Ends" { (moment::element(it.not_after_us)) }
                            td.num.nowrap data-label="First used" {
                                @match it.used_us {
                                    Some(at_us) => { (moment::ago(at_us, now_us)) }
                                    None => { span.dim { "not yet" } }
                                }
                            }
                            td.mono data-label="Fingerprint (SHA-256)" { (hex::encode(it.fingerprint)) }
                        } } }
                    }
                }
            }
        }
    }
}

fn revoke(gateway: &Gateway) -> Markup {
    let name = &gateway.gateway;
    html! {
        section.card aria-labelledby="revoke-title" {
            h2 #revoke-title { "Revoke it" }
            p.dim {
                "For one that was stolen or given away: it is cut off at once, and its certificates let nobody in any more. Whoever has it has the keys of its "
                (value::count(gateway.devices)) " devices: move them to another gateway, then give them new keys. "
                code { "stencil hub add-gateway" } " makes it anew under the same name."
            }
            form data-send={ "POST /api/v1/gateways/" (encoded(name.as_str())) "/revoke" } data-bare data-told="Revoked"
                data-confirm={ "Revoke gateway " (name) "? It is cut off at once, with all devices behind it, until it is made anew." } {
                button.danger { "Revoke" }
            }
        }
    }
}
