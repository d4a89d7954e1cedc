//! The tenant's users, for admins.

use maud::{Markup, html};
use stencil_store::{Opener, Role, User};

use super::super::super::problem::Problem;
use super::super::super::{Caller, State};
use super::super::{badge, encoded, moment};
use super::once;

/// People on one page.
const PEOPLE: u32 = 50;
const ROLES: [Role; 3] = [Role::Viewer, Role::Editor, Role::Admin];

pub(super) async fn render(
    state: &State,
    caller: &Caller,
    after: Option<&str>,
) -> Result<Markup, Problem> {
    let page = state.store.users.users(&caller.tenant, after, PEOPLE);
    let page = page.await?;
    let now_us = state.clock.now_us();
    Ok(html! {
        section #people.card aria-labelledby="people-title" {
            header {
                h2 #people-title { "People" }
                span.dim { "They sign in with a password, which they set by a link that works once." }
            }
            form.form.line data-send="POST /api/v1/users" data-shows="link" data-in="fresh-link" data-told="Made" {
                div.field {
                    label for="user-name" { "Name" }
                    input #user-name name="name" required maxlength="64" pattern="[a-z0-9][a-z0-9._+@\\-]*"
                        title="a-z, 0-9 and . _ - + @, beginning with a letter or digit"
                        autocomplete="off" autocapitalize="none" spellcheck="false" placeholder="ann";
                }
                div.field {
                    label for="user-role" { "Role" }
                    select #user-role name="role" { (roles(Role::Viewer)) }
                }
                button.primary { "Add" }
                p.alert.problem role="alert" hidden {}
            }
            (once("fresh-link", "The link by which they set a password. Give it to them, and to nobody else."))
            div #people-list data-live="" data-every="60" {
                div.scroll tabindex="0" role="region" aria-labelledby="people-title" {
                    table.cards {
                        thead { tr {
                            th scope="col" { "Name" }
                            th scope="col" { "Role" }
                            th scope="col" { "State" }
                            th scope="col" { "Signed in" }
                            th scope="col" { span.unseen { "What to do" } }
                        } }
                        tbody { @for user in &page.items { (row(user, caller, now_us)) } }
                    }
                }
                @if page.items.is_empty() && after.is_none() {
                    p.dim { "Nobody yet: who is here is so by a token." }
                }
                @if after.is_some() || page.next.is_some() {
                    nav.pager aria-label="Pages of the people" {
                        span.dim { "By name" }
                        @if after.is_some() { a.button href="/settings#people" { "First page" } }
                        @if let Some(next) = &page.next {
                            a.button rel="next" href={ "/settings?people=" (encoded(next)) "#people" } { "Next page" }
                        }
                    }
                }
            }
        }
    })
}

pub(super) fn roles(chosen: Role) -> Markup {
    html! {
        @for role in ROLES { option value=(role.as_str()) selected[role == chosen] { (role.as_str()) } }
    }
}

fn row(user: &User, caller: &Caller, now_us: i64) -> Markup {
    let me = matches!(&caller.opener, Opener::User(name) if *name == user.name);
    let address = format!("/api/v1/users/{}", encoded(&user.name));
    let unseen = || html! { span.unseen { " " (user.name) } };
    let fresh = html! {
        form data-send={ "POST " (address) "/link" } data-bare data-shows="link" data-in="fresh-link"
            data-told="A link was made; one before it opens nothing any more" {
            button { @if user.has_password { "New password link" } @else { "New link" } (unseen()) }
        }
    };
    html! {
        tr {
            th scope="row" { (user.name) @if me { " " span.dim { "(you)" } } }
            td data-label="Role" {
                form.row data-send={ "PATCH " (address) } data-told="Changed; their sessions have ended" data-then="keep" {
                    select name="role" aria-label={ "Role of " (user.name) } { (roles(user.role)) }
                    button { "Set" span.unseen { " the role of " (user.name) } }
                }
            }
            td {
                @if user.disabled_us.is_some() { (badge("bad", "shut out")) }
                @else if user.has_password { (badge("good", "active")) }
                @else { (badge("warn", "no password yet")) }
            }
            td data-label="Signed in" {
                @match user.signed_in_us {
                    Some(at_us) => { (moment::ago(at_us, now_us)) }
                    None => { span.dim { "never" } }
                }
            }
            td {
                div.row {
                    @if user.disabled_us.is_none() { (fresh) }
                    @if !me {
                        form data-send={ "PATCH " (address) } data-disabled=(user.disabled_us.is_none())
                            data-told="Changed" {
                            @if user.disabled_us.is_some() { button { "Let in again" (unseen()) } }
                            @else { button { "Shut out" (unseen()) } }
                        }
                        form data-send={ "DELETE " (address) } data-told="Deleted"
                            data-confirm={ "Delete " (user.name) "? What they did stays in the audit log." } {
                            button.danger { "Delete" (unseen()) }
                        }
                    }
                }
            }
        }
    }
}
