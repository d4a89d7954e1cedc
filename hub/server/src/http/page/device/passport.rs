//! Who controls the device by what a chain says: its passport, who owns it, who may use it until when.

use maud::{Markup, html};
use stencil_store::Role;

use super::super::super::api::ownership::{self, Controlled, RightView};
use super::super::super::problem::Problem;
use super::super::{badge, moment};
use super::{Of, or_dim};
use crate::chains::ownership::Refused;

/// Nothing where the device has no passport.
pub(super) async fn render(of: &Of<'_>) -> Result<Markup, Problem> {
    let owners = ownership::owners(of.state);
    let control = owners.control(&of.caller.tenant, &of.device.id, None).await;
    let control = match control {
        Ok(control) => control,
        Err(Refused::NoPassport) => return Ok(html! {}),
        Err(error) => return Err(error.into()),
    };
    let known = ownership::shown(&of.device.id, &control, owners.now_s());
    let settings = &control.settings;
    let may = |names: &std::collections::BTreeSet<String>| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match names.as_slice() {
            [] => "nothing".to_owned(),
            names if names.contains(&"*") => "every command".to_owned(),
            names => names.join(", "),
        }
    };
    Ok(html! {
        section #passport.card data-live="commands" data-every="10" data-from=(of.from)
            aria-labelledby="passport-title" {
            h2 #passport-title { "Passport" }
            dl.facts {
                div { dt { "Owner" } dd { (owner(&known)) } }
                div { dt { "Token" } dd { code.small { (known.passport) } } }
                @if let Some(did) = &known.did { div { dt { "DID" } dd { code.small { (did) } } } }
                div { dt { "Chain" } dd {
                    (known.chain) " "
                    @if known.fresh { (badge("good", "read up to now")) }
                    @else { (badge("bad", "not read for too long: holders are refused")) }
                    @if let Some(at_us) = micros(known.read_s) {
                        " " span.dim.small { "newest block " (moment::ago(at_us, of.now_us)) }
                    }
                } }
                div { dt { "Owners may give" } dd { (may(&settings.owner_may)) } }
                div { dt { "Users may give" } dd { (may(&settings.user_may)) } }
                div { dt { "Sold at" } dd { (or_dim(
                    settings.market.as_ref().map(|market| html! { code.small { (market) } }),
                    "no market is set",
                )) } }
            }
            h3 { "Rights to use it" }
            @if known.rights.is_empty() { p.dim { "None." } }
            @else { ul.lines { @for right in &known.rights { (line(right, of.now_us)) } } }
            @if of.caller.role == Role::Admin {
                form data-send={ "DELETE /api/v1" (of.here()) "/passport" } data-told="It has no passport"
                    data-confirm={ "Let no token control " (of.device.id) " any more?" } {
                    button.danger { "Take its passport" }
                }
            }
        }
    })
}

fn owner(known: &Controlled) -> Markup {
    match (&known.owner, &known.going_to) {
        (Some(owner), _) => html! { code.small { (owner) } },
        (None, Some(next)) => html! {
            (badge("warn", "on its way")) " to " code.small { (next) }
            p.dim.small { "In a block that is not final: nobody commands the device by it meanwhile." }
        },
        (None, None) => html! { span.dim { "nobody that is known" } },
    }
}

fn line(right: &RightView, now_us: i64) -> Markup {
    let ends_us = micros(right.expires_s);
    html! {
        li {
            div.what {
                @if right.in_effect { (badge("good", "in use")) }
                @else if ends_us.is_some_and(|at_us| at_us < now_us) { (badge("", "over")) }
                @else { (badge("warn", "not final")) }
                @match &right.user {
                    Some(user) => { code.small { (user) } }
                    None => { span.dim { "nobody" } }
                }
            }
            div.of.dim.small {
                "right " (right.token)
                @if let Some(at_us) = ends_us { ", until " (moment::element(at_us)) }
            }
        }
    }
}

fn micros(seconds: Option<u64>) -> Option<i64> {
    i64::try_from(seconds?).ok()?.checked_mul(1_000_000)
}
