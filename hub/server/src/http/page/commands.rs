//! Commands to devices and how far they came.

use maud::{Markup, html};
use stencil_protocol::command::State as Reached;

use super::super::problem::Problem;
use super::super::{Caller, State};
use super::{badge, moment, value};

/// Commands shown.
const COMMANDS: u32 = 20;

/// The fragment `commands`.
pub(super) async fn render(state: &State, caller: &Caller) -> Result<Markup, Problem> {
    let page = state
        .store
        .commands
        .list(&caller.tenant, None, None, COMMANDS)
        .await?;
    Ok(html! {
        section #commands.card data-live="commands" aria-labelledby="commands-title" {
            h2 #commands-title { "Commands" }
            @if page.items.is_empty() {
                p { "No device was sent a command yet." }
            } @else {
                div.scroll tabindex="0" role="region" aria-labelledby="commands-title" {
                    table {
                        thead { tr {
                            th scope="col" { "Device" }
                            th scope="col" { "Command" }
                            th scope="col" { "State" }
                            th scope="col" { "Since (UTC)" }
                        } }
                        tbody {
                            @for command in &page.items {
                                tr {
                                    th scope="row" { (command.device) }
                                    td {
                                        (command.name)
                                        @if let Some(argument) = &command.argument {
                                            " " (value::text(argument))
                                        }
                                    }
                                    td {
                                        (reached(command.state))
                                        @if let Some(detail) = &command.detail {
                                            " " span.dim { (detail) }
                                        }
                                    }
                                    td { (moment::utc(command.changed_us)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    })
}

fn reached(state: Reached) -> Markup {
    let class = match state {
        Reached::Done => "good",
        Reached::Failed => "bad",
        Reached::Expired => "warn",
        Reached::Queued | Reached::Sent | Reached::Acknowledged => "",
    };
    badge(class, state.as_str())
}
