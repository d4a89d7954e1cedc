//! The tenant's tokens, for admins.

use maud::{Markup, html};
use stencil_store::{Opener, Role, Token, TokenKind};

use super::super::super::problem::Problem;
use super::super::super::{Caller, State};
use super::super::{badge, encoded, moment};
use super::once;
use crate::token_end::{USUAL_DAYS, days_s};

/// Tokens on one page.
const TOKENS: u32 = 50;

/// With less time left it is said that a token ends soon: 30 days, in µs.
const SOON_US: i64 = 30 * 86_400_000_000;

/// For how many days a token can be made here.
const LIVES: [(u32, &str); 4] = [
    (30, "30 days"),
    (90, "90 days"),
    (USUAL_DAYS, "a year"),
    (0, "always, without an end"),
];

pub(super) async fn render(
    state: &State,
    caller: &Caller,
    after: Option<&str>,
) -> Result<Markup, Problem> {
    let page = state.store.tenancy.tokens(&caller.tenant, after, TOKENS);
    let page = page.await?;
    let now_us = state.clock.now_us();
    Ok(html! {
        section #tokens.card aria-labelledby="tokens-title" {
            header {
                h2 #tokens-title { "Tokens" }
                span.dim { "For programs of the API, and for devices that others made: it is their MQTT user name." }
            }
            div.grid {
                form.form.line data-send="POST /api/v1/tokens" data-shows="token" data-in="fresh-token" data-told="Made" {
                    input type="hidden" name="kind" value="api";
                    div.field {
                        label for="token-name" { "For a program" }
                        input #token-name name="name" required maxlength="64" autocomplete="off" placeholder="what it is called";
                    }
                    div.field {
                        label for="token-role" { "Role" }
                        select #token-role name="role" {
                            @for role in [Role::Viewer, Role::Editor, Role::Admin] {
                                option value=(role.as_str()) { (role.as_str()) }
                            }
                        }
                    }
                    (life("token-life", USUAL_DAYS))
                    button.primary { "Make" }
                    p.alert.problem role="alert" hidden {}
                }
                form.form.line data-send="POST /api/v1/tokens" data-shows="token" data-in="fresh-token" data-told="Made" {
                    input type="hidden" name="kind" value="device";
                    div.field {
                        label for="token-device" { "For a device" }
                        input #token-device name="device" required maxlength="128" autocomplete="off"
                            autocapitalize="none" spellcheck="false" placeholder="its id";
                    }
                    div.field {
                        label for="device-token-name" { "Called" }
                        input #device-token-name name="name" required maxlength="64" autocomplete="off" placeholder="in the cellar";
                    }
                    (life("device-token-life", 0))
                    button.primary { "Make" }
                    p.alert.problem role="alert" hidden {}
                }
            }
            (once("fresh-token", "The token."))
            div #tokens-list data-live="" data-every="60" {
                div.scroll.tall tabindex="0" role="region" aria-labelledby="tokens-title" {
                    table.cards {
                        thead { tr {
                            th scope="col" { "Name" }
                            th scope="col" { "For" }
                            th scope="col" { "Made" }
                            th scope="col" { "Good until" }
                            th scope="col" { span.unseen { "What to do" } }
                        } }
                        tbody { @for token in &page.items { (row(token, caller, now_us)) } }
                    }
                }
                @if after.is_some() || page.next.is_some() {
                    nav.pager aria-label="Pages of the tokens" {
                        span.dim { "By id" }
                        @if after.is_some() { a.button href="/settings#tokens" { "First page" } }
                        @if let Some(next) = &page.next {
                            a.button rel="next" href={ "/settings?tokens=" (encoded(next)) "#tokens" } { "Next page" }
                        }
                    }
                }
            }
        }
    })
}

/// For how long a token is made.
fn life(id: &str, usual_days: u32) -> Markup {
    html! {
        div.field {
            label for=(id) { "Good for" }
            select id=(id) name="valid_for_s" data-type="number" {
                @for (days, words) in LIVES {
                    option value=(days_s(days)) selected[days == usual_days] { (words) }
                }
            }
        }
    }
}

fn until(end_us: Option<i64>) -> Markup {
    html! {
        @match end_us {
            Some(at_us) => { (moment::element(at_us)) }
            None => { span.dim { "without an end" } }
        }
    }
}

fn row(token: &Token, caller: &Caller, now_us: i64) -> Markup {
    let me = matches!(&caller.opener, Opener::Token(id) if *id == token.id);
    html! {
        tr {
            th scope="row" { (token.name) @if me { " " span.dim { "(you)" } } br; span.dim.small.mono { (token.id) } }
            td data-label="For" {
                @match &token.owner {
                    TokenKind::Api { role } => { (badge("info", &format!("API, {}", role.as_str()))) }
                    TokenKind::Device { device } => {
                        (badge("", "device")) " " a href={ "/devices/" (encoded(device.as_str())) } { (device) }
                    }
                }
            }
            td data-label="Made" { (moment::ago(token.created_us, now_us)) }
            td data-label="Good until" {
                @match token.expires_us {
                    Some(_) if token.has_ended(now_us) => { (badge("bad", "ended")) " " (until(token.expires_us)) }
                    Some(at_us) if at_us.saturating_sub(now_us) < SOON_US => {
                        (badge("warn", "ends soon")) " " (until(token.expires_us))
                    }
                    end => { (until(end)) }
                }
            }
            td {
                @match token.revoked_us {
                    Some(at_us) => { (badge("bad", "revoked")) " " (moment::ago(at_us, now_us)) }
                    None => {
                        form data-send={ "DELETE /api/v1/tokens/" (token.id) } data-told="Revoked"
                            data-confirm={ "Revoke " (token.name) "? Whoever uses it is cut off at once, for good." } {
                            button.danger { "Revoke" span.unseen { " " (token.name) } }
                        }
                    }
                }
            }
        }
    }
}
