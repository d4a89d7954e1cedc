//! Commands to a device: sending one, and how far each came.

use std::collections::BTreeSet;

use maud::{Markup, html};
use stencil_protocol::command::State as Reached;
use stencil_store::{Role, StoredCommand};

use super::super::super::problem::Problem;
use super::super::{badge, encoded, moment, value};
use super::Of;

/// Commands shown.
const COMMANDS: u32 = 20;
/// The longest name, in bytes.
const MAX_NAME: u32 = 32;
/// For how long a command may be given: seconds, and the reader's word.
const EXPIRIES: [(u32, &str); 5] = [
    (60, "1 minute"),
    (600, "10 minutes"),
    (3_600, "1 hour"),
    (86_400, "1 day"),
    (604_800, "1 week"),
];

pub(super) async fn render(of: &Of<'_>) -> Result<Markup, Problem> {
    let (store, device) = (&of.state.store, &of.device.id);
    let after = of.view.commands.as_deref();
    let page = store
        .commands
        .list(&of.caller.tenant, Some(device), after, COMMANDS)
        .await?;
    let may_send = matches!(of.caller.role, Role::Editor | Role::Admin);
    let here = of.here();
    let older = |cursor: &str| format!("{here}?commands={}#commands", encoded(cursor));
    Ok(html! {
        section #commands.card data-live="commands" data-from=(of.from)
            aria-labelledby="commands-title" {
            h2 #commands-title { "Commands" }
            @if may_send { (form(of, &page.items)) }
            @if page.items.is_empty() {
                p.dim { @if after.is_some() { "No older ones." } @else { "It was sent none yet." } }
            } @else {
                div.scroll tabindex="0" role="region" aria-labelledby="commands-title" {
                    table.cards {
                        thead { tr {
                            th scope="col" { "Command" }
                            th scope="col" { "State" }
                            th.num scope="col" { "Queued" }
                            th.num scope="col" { "Changed" }
                        } }
                        tbody { @for command in &page.items { (row(command, of.now_us)) } }
                    }
                }
            }
            @if after.is_some() || page.next.is_some() {
                nav.pager aria-label="Pages of the commands" {
                    span.dim { "The newest first" }
                    @if after.is_some() { a.button href={ (here) "#commands" } { "Newest" } }
                    @if let Some(next) = &page.next { a.button rel="next" href=(older(next)) { "Older" } }
                }
            }
        }
    })
}

fn form(of: &Of<'_>, before: &[StoredCommand]) -> Markup {
    let names: BTreeSet<&str> = before.iter().map(|command| command.name.as_str()).collect();
    html! {
        form.form.line data-send={ "POST /api/v1" (of.here()) "/commands" } data-key data-told="Queued" {
            div.field {
                label for="command-name" { "Command" }
                input #command-name name="name" required maxlength=(MAX_NAME) autocomplete="off"
                    list="command-names" placeholder="lock";
                datalist #command-names { @for name in names { option value=(name) {} } }
            }
            div.field {
                label for="command-argument" { "Argument" }
                input #command-argument name="argument" data-type="value" autocomplete="off"
                    maxlength="256" placeholder="a number, true, a text, or none";
            }
            div.field {
                label for="command-expiry" { "Give it" }
                select #command-expiry name="expires_in_s" data-type="number" {
                    @for (seconds, text) in EXPIRIES { option value=(seconds) { (text) } }
                }
            }
            button.primary { "Send" }
            p.alert.problem role="alert" hidden {}
        }
    }
}

fn row(command: &StoredCommand, now_us: i64) -> Markup {
    html! {
        tr {
            th scope="row" {
                (command.name)
                @if let Some(argument) = &command.argument { " " span.mono { (value::text(argument)) } }
            }
            td {
                (way(command.state))
                @if let Some(detail) = &command.detail { p.dim.small { (detail) } }
                @if !is_final(command.state) && command.expires_us > now_us {
                    p.dim.small { "until " (moment::element(command.expires_us)) }
                }
            }
            td.num.nowrap data-label="Queued" { (moment::ago(command.queued_us, now_us)) }
            td.num.nowrap data-label="Changed" { (moment::ago(command.changed_us, now_us)) }
        }
    }
}

fn is_final(state: Reached) -> bool {
    matches!(state, Reached::Done | Reached::Failed | Reached::Expired)
}

/// How far a command came, as dots on its way and the word for where it stands.
fn way(state: Reached) -> Markup {
    let (reached, class) = match state {
        Reached::Queued => (1, "info"),
        Reached::Sent => (2, "info"),
        Reached::Acknowledged => (3, "info"),
        Reached::Done => (4, "good"),
        Reached::Failed => (4, "bad"),
        Reached::Expired => (4, "warn"),
    };
    html! {
        span.row {
            svg class={ "way " (class) } viewBox="0 0 52 10" aria-hidden="true" {
                path d="M5 5h42" {}
                @for step in 1..=4 {
                    circle class=[(step <= reached).then_some("reached")] cx=(14 * step - 9) cy="5" r="3.5" {}
                }
            }
            (badge(class, state.as_str()))
        }
    }
}
