//! What to do first on a hub that has nothing yet. It goes when all of it is done.

use maud::{Markup, html};
use stencil_store::{Role, TokenKind};

use super::super::super::problem::Problem;
use super::super::super::{Caller, State};

/// Tokens that are looked through for one of a device.
const TOKENS: u32 = 100;

/// The card; nothing once there are devices and a rule.
pub(super) async fn render(
    state: &State,
    caller: &Caller,
    devices: u64,
) -> Result<Markup, Problem> {
    let tenant = &caller.tenant;
    let store = &state.store;
    let rule = !store
        .workflows
        .list(tenant, None, 1)
        .await?
        .items
        .is_empty();
    if devices > 0 && rule {
        return Ok(html! {});
    }
    let gateway = !store.devices.gateways(tenant).await?.is_empty();
    let tokens = store.tenancy.tokens(tenant, None, TOKENS).await?;
    let token = tokens
        .items
        .iter()
        .any(|token| matches!(token.owner, TokenKind::Device { .. }) && token.revoked_us.is_none());
    let admin = caller.role == Role::Admin;
    let editor = matches!(caller.role, Role::Editor | Role::Admin);
    Ok(html! {
        section #start.card data-live="fleet" data-every="10" aria-labelledby="start-title" {
            h2 #start-title { "First steps" }
            ol.begin {
                (step(gateway, "Add a gateway", &html! {
                    p { "On the hub's machine; the folder that it makes goes to the gateway's." }
                    pre { "stencil hub add-gateway --data-dir DIR --tenant " (tenant) " --out gateway-1 gateway-1\n\
                           stencil gateway add-device --psk-dir gateway-1/psk freezer-01\n\
                           stencil gateway --config gateway-1/gateway.toml" }
                }))
                (step(token, "Or let a device in that others made", &html! {
                    p { "It speaks MQTT with JSON, and its token is its user name." }
                    @if admin { p { a.button href="/settings#tokens" { "Make a token" } } }
                    @else { pre { "stencil token create --device meter-1" } }
                }))
                (step(rule, "Write a first rule", &html! {
                    p { "A page that publishes itself, a call, a command, when a reading says so." }
                    @if editor { p { a.button href="/workflows/new" { "New rule" } } }
                    @else { p.dim { "An editor may." } }
                }))
            }
        }
    })
}

fn step(done: bool, title: &str, body: &Markup) -> Markup {
    html! {
        li class=[done.then_some("done")] {
            h3 { (title) @if done { " " (super::super::badge("good", "done")) } }
            @if !done { (body) }
        }
    }
}
