//! What the hub connects to, and the hub itself. It is set where the hub runs, and shown here.

use maud::{Markup, html};
use stencil_connect::mail::{Connection, Security};
use stencil_store::Role;

use super::super::super::{Caller, State};
use super::super::badge;
use crate::MqttOptions;

/// What the tenant's workflows may use. Secrets are told by their names alone.
pub(super) fn connections(state: &State, caller: &Caller) -> Markup {
    let options = state.control.options();
    let connect = &options.connect;
    let mail: Vec<_> = connect
        .mail
        .iter()
        .filter(|(_, mail)| mail.tenants.is_empty() || mail.tenants.contains(&caller.tenant))
        .collect();
    let secrets: Vec<_> = connect
        .secrets
        .iter()
        .filter(|secret| secret.tenant == caller.tenant)
        .collect();
    let webhook = &connect.webhook;
    html! {
        section #connections.card aria-labelledby="connections-title" {
            h2 #connections-title { "Connections" }
            p.dim.small { "What steps of your rules may use. They are set in the hub's configuration." }
            h3 { "Mail" }
            @if mail.is_empty() { p.dim { "None is set up, so that " code { "mail.send" } " reaches nobody." } }
            @else { ul.lines { @for (name, mail) in mail { li { (mail_line(name, mail)) } } } }
            h3 { "Webhook secrets" }
            @if secrets.is_empty() { p.dim { "None: " code { "webhook.post" } " goes unsigned." } }
            @else {
                ul.lines {
                    @for secret in secrets {
                        li {
                            div.what { span.title.mono { (secret.name) } }
                            @if !secret.previous.is_empty() {
                                div.of.dim.small { "the one before signs too" }
                            }
                        }
                    }
                }
            }
            h3 { "Webhooks may go to" }
            p {
                (badge("good", "the internet"))
                @if webhook.allow_private { " " (badge("warn", "private networks")) }
                @if webhook.allow_loopback { " " (badge("warn", "the hub's machine")) }
            }
            (payments(state, caller))
        }
    }
}

/// What of payments came to nothing since the hub was started; nothing where all is well.
fn payments(state: &State, caller: &Caller) -> Markup {
    let cashier = state.control.cashier();
    let not_brought = cashier.last_not_brought(&caller.tenant);
    let not_told = cashier.last_not_told(&caller.tenant);
    // What is set of payments is the admins' matter.
    let not_told = not_told.filter(|_| caller.role == Role::Admin);
    if not_brought.is_none() && not_told.is_none() {
        return html! {};
    }
    html! {
        h3 { "Payments" }
        ul.lines {
            @if let Some(not) = not_brought {
                li {
                    div.what { (badge("warn", "payers refused")) " " (not.times) }
                    div.of.dim.small {
                        span { "of invoice " span.mono { (not.invoice) } }
                        span { (not.why.as_deref().unwrap_or("the hub's account can't send it now")) }
                    }
                }
            }
            @if let Some(not) = not_told {
                li {
                    div.what { (badge("warn", "webhook not taken")) " attempt " (not.attempt) }
                    div.of.dim.small {
                        span { "of invoice " span.mono { (not.invoice) } }
                        span { (not.why) }
                    }
                }
            }
        }
    }
}

fn mail_line(name: &str, mail: &Connection) -> Markup {
    html! {
        div.what {
            span.title.mono { (name) }
            @match mail.tls {
                Security::Implicit | Security::Starttls => { (badge("good", "TLS")) }
                Security::None => { (badge("warn", "no TLS, on this machine")) }
            }
        }
        div.of.dim.small {
            span { "from " (mail.from) }
            span { "at most " (mail.max_per_minute) " a minute" }
            @if !mail.recipients.is_empty() { span { "to " (mail.recipients.join(", ")) " only" } }
        }
    }
}

/// The hub: its version, its listeners, and what this connection is.
pub(super) fn hub(state: &State) -> Markup {
    let options = state.control.options();
    let readiness = state.control.readiness();
    html! {
        section #hub.card aria-labelledby="hub-title" {
            h2 #hub-title { "Hub" }
            dl.facts {
                div { dt { "Version" } dd { (env!("CARGO_PKG_VERSION")) } }
                div { dt { "State" } dd {
                    @if readiness.ready { (badge("good", "all well")) } @else { (badge("bad", "has a problem")) }
                } }
                div { dt { "Listens for MQTT" } dd { (listeners(&options.mqtt)) } }
                div { dt { "API" } dd { a href="/problems" { "Problems explained" } } }
            }
        }
    }
}

fn listeners(mqtt: &MqttOptions) -> Markup {
    html! {
        ul.plain {
            li { (badge("good", "strict")) " " span.dim.small { "post-quantum TLS alone" } }
            @if mqtt.prefer.is_some() {
                li { (badge("warn", "prefer")) " " span.dim.small { "classical TLS too" } }
            }
            @if mqtt.plain.is_some() {
                li { (badge("bad", "plain")) " " span.dim.small { "no TLS, on the hub's machine alone" } }
            }
        }
    }
}
