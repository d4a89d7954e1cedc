//! Taking devices in: `/claim`, `/enrolment` (upload, gateways, registrations), and one device's
//! registration, where it is revoked, given a new key or other hardware.

mod list;
mod one;

use axum::extract::State as Shared;
use axum::response::Html;
use maud::{Markup, html};
use stencil_store::{RegisteredGateway, Registration, RegistrationState, Role};

use super::super::problem::Problem;
use super::super::{Caller, State};
use super::{Frame, Nav, assets, badge, shell};

pub(in crate::http) use list::show as list;
pub(in crate::http) use one::show as one;

/// `GET /claim`: one field, for a phone in one hand. A scanned code comes behind the address's `#`,
/// which no server is sent.
pub(in crate::http) async fn claim(
    Shared(state): Shared<State>,
    caller: Caller,
) -> Result<Html<String>, Problem> {
    let registry = &state.store.registry;
    let gateways = registry.registered_gateways(&caller.tenant).await?;
    let body = html! {
        section.card.narrow aria-labelledby="claim-title" {
            h2 #claim-title { "Claim a device" }
            @if matches!(caller.role, Role::Editor | Role::Admin) {
                p.dim { "Type the code that is printed on the device, or scan it with the camera of a phone." }
                (form(&gateways))
            } @else {
                p.dim { "An editor or an admin can claim devices; you are a viewer." }
            }
        }
    };
    let frame = Frame::new(Nav::Devices, "Claim a device")
        .crumb("/devices", "Devices")
        .crumb("/enrolment", "Enrolment")
        .script(&assets::ENROLMENT);
    shell(&state, &caller, frame, body).await
}

/// The form for a claim code.
fn form(gateways: &[RegisteredGateway]) -> Markup {
    html! {
        form.form #claim data-send="POST /api/v1/devices/claim" data-key data-told="Claimed" {
            div.field {
                label for="claim-code" { "Claim code" }
                input #claim-code.mono name="code" required minlength="20" maxlength="64" autocomplete="off"
                    autocapitalize="characters" spellcheck="false" enterkeyhint="done" placeholder="XXXX-XXXX-XXXX-XXXX-XXXX";
            }
            (gateway_field(gateways))
            details {
                summary { "Call it something else" }
                div.field {
                    label for="claim-name" { "Name" }
                    input #claim-name name="device" maxlength="48" autocomplete="off" autocapitalize="none"
                        spellcheck="false" placeholder="by default the name that it was born with";
                }
            }
            button.primary { "Claim" }
            p.alert.problem role="alert" hidden {}
            p #claimed role="status" {}
        }
    }
}

/// Which gateway, where there is more than one to choose from, or none to take by itself.
fn gateway_field(gateways: &[RegisteredGateway]) -> Markup {
    html! {
        @match gateways {
            [_] => {}
            [] => {
                div.field {
                    label for="claim-gateway" { "Gateway" }
                    input #claim-gateway name="gateway" required maxlength="48" autocomplete="off"
                        autocapitalize="none" spellcheck="false" placeholder="gw-1";
                }
            }
            several => {
                div.field {
                    label for="claim-gateway" { "Gateway" }
                    select #claim-gateway name="gateway" required {
                        @for it in several { option value=(it.gateway) { (it.gateway) } }
                    }
                }
            }
        }
    }
}

/// Whether a device is let in, and how far its gateway knows.
fn standing(registration: &Registration) -> Markup {
    html! {
        @match registration.state {
            RegistrationState::Enrolled => { (badge("good", "enrolled")) }
            RegistrationState::Revoked => { (badge("bad", "revoked")) }
        }
        @if registration.rotating { " " (badge("info", "new key on its way")) }
        @if !registration.delivered { " " (badge("warn", "gateway not told yet")) }
    }
}
