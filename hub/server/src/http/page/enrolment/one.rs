//! `/enrolment/{device}`: whether a device is let in, its keys, and what can be done about them.

use axum::extract::State as Shared;
use axum::response::Html;
use maud::{Markup, html};
use stencil_protocol::id::{DeviceId, GatewayId};
use stencil_store::{DeviceKey, Registration, RegistrationState, Role};

use super::super::super::input::{self, Path};
use super::super::super::problem::Problem;
use super::super::super::{Caller, State};
use super::super::{Frame, Nav, badge, encoded, moment, shell};
use super::standing;

/// `GET /enrolment/{device}`
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(device): Path<String>,
) -> Result<Html<String>, Problem> {
    let device: DeviceId = input::device(&device)?;
    let store = &state.store;
    let found = store.registry.registration(&caller.tenant, &device).await?;
    let heard = store.devices.get(&caller.tenant, &device).await?.is_some();
    if found.is_none() && !heard {
        return Err(Problem::not_found("device", &device));
    }
    let keys = store.registry.device_keys(&caller.tenant, &device).await?;
    let gateways = match caller.role {
        Role::Admin => store.registry.gateway_ids(&caller.tenant).await?,
        Role::Editor | Role::Viewer => Vec::new(),
    };
    let now_us = state.clock.now_us();
    let is_in = |found: &Registration| found.state == RegistrationState::Enrolled;
    let body = html! {
        section #registration.card data-live="" data-every="5" aria-labelledby="registration-title" {
            h2 #registration-title { "Registration" }
            @match &found {
                Some(found) => { (facts(found, now_us)) }
                None => { p.dim { "It is not registered: its key lies as a file at its gateway, or it has a token or certificate of its own." } }
            }
            @if heard { p { a href={ "/devices/" (encoded(device.as_str())) } { "What it measures" } } }
        }
        @if caller.role == Role::Admin {
            div.grid {
                @if found.as_ref().is_none_or(is_in) { (revoke(&device)) }
                @if let Some(found) = &found {
                    @if is_in(found) && !found.rotating && found.generation > 0 { (rotate(&device)) }
                    (replace(&device))
                    (move_to(found, &gateways))
                }
            }
        }
        @if !keys.is_empty() { (table(&keys, now_us)) }
    };
    let frame = Frame::new(Nav::Devices, device.as_str())
        .crumb("/devices", "Devices")
        .crumb("/enrolment", "Enrolment");
    shell(&state, &caller, frame, body).await
}

fn facts(found: &Registration, now_us: i64) -> Markup {
    html! {
        dl.facts {
            div { dt { "State" } dd {
                (standing(found))
                @if let Some(at_us) = found.revoked_us { " " span.dim.small { (moment::ago(at_us, now_us)) } }
            } }
            div { dt { "Gateway" } dd {
                @match &found.gateway { Some(gateway) => { (gateway) } None => { span.dim { "none" } } }
            } }
            div { dt { "Speaks as" } dd {
                @match &found.identity { Some(identity) => { (identity) } None => { span.dim { "its own name" } } }
            } }
            div { dt { "Enrolled" } dd { (moment::ago(found.enrolled_us, now_us)) } }
        }
    }
}

fn revoke(device: &DeviceId) -> Markup {
    html! {
        section.card aria-labelledby="revoke-title" {
            h2 #revoke-title { "Revoke it" }
            p.dim { "Its link ends at once, and nothing more of it is taken. What it has measured stays." }
            form data-send={ "POST /api/v1/devices/" (encoded(device.as_str())) "/revoke" } data-bare data-told="Revoked"
                data-confirm={ "Revoke " (device) "? It is cut off at once, until it is replaced." } {
                button.danger { "Revoke" }
            }
        }
    }
}

fn rotate(device: &DeviceId) -> Markup {
    html! {
        section.card aria-labelledby="rotate-title" {
            h2 #rotate-title { "Give it a new key" }
            p.dim { "It goes over the device's link; the old one holds until the device has used the new one." }
            form data-send={ "POST /api/v1/devices/" (encoded(device.as_str())) "/rotate" } data-bare
                data-told="A new key is on its way" {
                button { "Rotate the key" }
            }
        }
    }
}

fn replace(device: &DeviceId) -> Markup {
    html! {
        section.card aria-labelledby="replace-title" {
            h2 #replace-title { "Replace its hardware" }
            p.dim {
                "Other hardware takes its name, its history and its alarms over; what it had before opens nothing any more. For the same hardware after it was wiped, or one without a code: "
                code { "stencil device replace " (device) " --psk-out FILE" } "."
            }
            form.form data-send={ "POST /api/v1/devices/" (encoded(device.as_str())) "/replace" } data-key data-told="Replaced"
                data-confirm={ "Replace the hardware of " (device) "? What it has now is cut off at once." } {
                div.field {
                    label for="replace-code" { "Claim code of the new hardware" }
                    input #replace-code.mono name="claim_code" required minlength="20" maxlength="64" autocomplete="off"
                        autocapitalize="characters" spellcheck="false" placeholder="XXXX-XXXX-XXXX-XXXX-XXXX";
                }
                button { "Replace" }
                p.alert.problem role="alert" hidden {}
            }
        }
    }
}

/// To one of the other gateways, where there is one.
fn move_to(found: &Registration, gateways: &[GatewayId]) -> Markup {
    let others: Vec<&GatewayId> = gateways
        .iter()
        .filter(|it| found.gateway.as_ref() != Some(it))
        .collect();
    html! {
        @if !others.is_empty() {
            section.card aria-labelledby="move-title" {
                h2 #move-title { "Move it to another gateway" }
                p.dim { "Its name, its key and its history stay. The gateway before is told to forget its key." }
                form.form data-send={ "POST /api/v1/devices/" (encoded(found.device.as_str())) "/move" } data-key data-told="Moved" {
                    div.field {
                        label for="move-gateway" { "Gateway" }
                        select #move-gateway name="gateway" required {
                            @for it in others { option value=(it) { (it) } }
                        }
                    }
                    button { "Move" }
                    p.alert.problem role="alert" hidden {}
                }
            }
        }
    }
}

fn table(keys: &[DeviceKey], now_us: i64) -> Markup {
    html! {
        section #keys.card data-live="" data-every="5" aria-labelledby="keys-title" {
            h2 #keys-title { "Keys" }
            div.scroll tabindex="0" role="region" aria-labelledby="keys-title" {
                table.cards {
                    thead { tr {
                        th.num scope="col" { "Key" }
                        th scope="col" { "Hardware" }
                        th scope="col" { "State" }
                        th.num scope="col" { "Made" }
                        th.num scope="col" { "First used" }
                    } }
                    tbody { @for key in keys { tr {
                        th.num scope="row" { (key.generation) }
                        td data-label="Hardware" { (key.identity) }
                        td data-label="State" {
                            @match (&key.ended_why, key.ended_us) {
                                (Some(why), Some(at_us)) => { (badge("", why)) " " span.dim.small { (moment::ago(at_us, now_us)) } }
                                _ => { (badge("good", "valid")) }
                            }
                        }
                        td.num.nowrap data-label="Made" { (moment::ago(key.made_us, now_us)) }
                        td.num.nowrap data-label="First used" {
                            @match key.used_us { Some(at_us) => { (moment::ago(at_us, now_us)) } None => { span.dim { "not yet" } } }
                        }
                    } } }
                }
            }
        }
    }
}
