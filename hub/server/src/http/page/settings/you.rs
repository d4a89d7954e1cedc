//! Who is signed in, and with what.

use maud::{Markup, html};
use stencil_store::{Opener, Role, Session};

use super::super::super::password::{MAX_BYTES, MIN_CHARACTERS};
use super::super::super::problem::Problem;
use super::super::super::{Caller, State};
use super::super::{badge, moment};

pub(super) async fn render(state: &State, caller: &Caller) -> Result<Markup, Problem> {
    let role = match caller.role {
        Role::Admin => "everything within the tenant, people and tokens included",
        Role::Editor => "reads, writes rules, sends commands, looks after alarms",
        Role::Viewer => "reads",
    };
    let user = match &caller.opener {
        Opener::User(name) => state.store.users.user(&caller.tenant, name).await?,
        Opener::Token(_) | Opener::Wallet(_) => None,
    };
    Ok(html! {
        section #you.card aria-labelledby="you-title" {
            h2 #you-title { "You" }
            dl.facts {
                div { dt { "Tenant" } dd { (caller.tenant) } }
                div { dt { "Signed in as" } dd { (caller.who) } }
                div { dt { "Role" } dd { (badge("info", caller.role.as_str())) " " span.dim.small { (role) } } }
                @if let Some(user) = &user {
                    div { dt { "Since" } dd { (moment::element(user.created_us)) } }
                }
            }
            @if user.is_some() {
                details {
                    summary { "Change your password" }
                    form.form data-send="POST /api/v1/me/password" data-told="Your password is another one now; all other sessions have ended" {
                        // For who keeps passwords.
                        input name="" value=(caller.name) autocomplete="username" hidden disabled;
                        div.field {
                            label for="current" { "Your password until now" }
                            input #current name="current" type="password" autocomplete="current-password" required maxlength=(MAX_BYTES);
                        }
                        div.field {
                            label for="fresh-password" { "The new one" }
                            input #fresh-password name="password" type="password" autocomplete="new-password"
                                required minlength=(MIN_CHARACTERS) maxlength=(MAX_BYTES);
                            span.hint { (MIN_CHARACTERS) " characters or more; a few words are good." }
                        }
                        p.alert.problem role="alert" hidden {}
                        div.row { button.primary { "Change" } }
                    }
                }
            }
        }
    })
}

pub(super) async fn sessions(state: &State, caller: &Caller) -> Result<Markup, Problem> {
    let now_us = state.clock.now_us();
    let users = &state.store.users;
    let sessions = users
        .sessions(&caller.tenant, &caller.opener, now_us)
        .await?;
    Ok(html! {
        section #sessions.card data-live="" data-every="60" aria-labelledby="sessions-title" {
            h2 #sessions-title { "Your sessions" }
            @if sessions.is_empty() { p.dim { "None: you are here by a token." } }
            @else { ul.lines { @for session in &sessions { (one(session, caller, now_us)) } } }
        }
    })
}

fn one(session: &Session, caller: &Caller, now_us: i64) -> Markup {
    let here = caller.session.as_ref() == Some(&session.id);
    html! {
        li.side-by-side {
            div {
                div.what {
                    span.title { "Opened " (moment::ago(session.created_us, now_us)) }
                    @if here { (badge("good", "this one")) }
                }
                div.of.dim.small {
                    @if let Some(address) = &session.address { span { "from " (address) } }
                    span { "used " (moment::ago(session.seen_us, now_us)) }
                    span { "ends " (moment::element(session.expires_us)) }
                }
            }
            @if !here {
                form data-send={ "DELETE /api/v1/sessions/" (session.id) } data-told="It has ended" {
                    button { "End" span.unseen { " the session of " (moment::utc(session.created_us)) } }
                }
            }
        }
    }
}
