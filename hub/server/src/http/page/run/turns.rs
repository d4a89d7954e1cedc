//! What happened to a run's cause on a chain, and what devices were told because of that.

use maud::{Markup, html};
use stencil_store::{Run, StoredCommand, Turn, TurnKind};
use stencil_workflow::Definition;
use stencil_workflow::definition::named;

use super::super::{badge, moment};

/// The card with all of it, in order.
pub(super) fn card(
    run: &Run,
    definition: Option<&Definition>,
    turns: &[(Turn, Option<StoredCommand>)],
) -> Markup {
    html! {
        section #cause.card aria-labelledby="cause-title" {
            header { h2 #cause-title { "Its cause on the chain" } }
            div.scroll tabindex="0" role="region" aria-label="Its cause on the chain" {
                table.cards {
                    thead { tr {
                        th scope="col" { "When" }
                        th scope="col" { "Step" }
                        th scope="col" { "What" }
                    } }
                    tbody { @for (turn, command) in turns { (one(run, definition, turn, command.as_ref())) } }
                }
            }
        }
    }
}

fn one(
    run: &Run,
    definition: Option<&Definition>,
    turn: &Turn,
    command: Option<&StoredCommand>,
) -> Markup {
    let index = turn.step.and_then(|index| usize::try_from(index).ok());
    let of = index.and_then(|index| definition?.steps.get(index));
    let step = match (of, turn.step) {
        (Some(of), _) => Some(of.id.clone()),
        (None, Some(index)) => run
            .steps
            .iter()
            .find(|step| step.index == index)
            .map(|step| step.id.clone()),
        (None, None) => None,
    };
    let needs = of.and_then(|of| Some(named(of.finality.as_ref()?.needs)));
    let detail = turn.detail.as_deref().unwrap_or_default();
    html! {
        tr {
            td data-label="When" { (moment::element(turn.at_us)) }
            td data-label="Step" { @if let Some(step) = step { (step) } @else { span.dim { "cause" } } }
            td {
                @match turn.kind {
                    TurnKind::Included => { "Included" @if !detail.is_empty() { " in " (detail) } }
                    TurnKind::Retracted => { span.bad { "Retracted: a reorganisation has taken it out of the chain" } }
                    TurnKind::Final => { "Final" }
                    TurnKind::Deep => { "Deep enough" @if let Some(needs) = needs { ": had to wait for " (needs) } }
                    TurnKind::Act => { "Told to " code { (detail) } }
                    TurnKind::Undo => { "Told to undo it by " code { (detail) } }
                    TurnKind::Spared => { "Nothing to undo: the device had not begun" }
                    TurnKind::NotUndone => { span.bad { "Not undone: " (detail) } }
                    TurnKind::Lost => { span.bad { "Lost: the cause is gone, and it cannot be undone" } }
                    TurnKind::Found => { "The cause is there again: nothing is missing" }
                }
                @if let Some(command) = command {
                    " " a href={ "/api/v1/commands/" (command.id) } { (badge(class(command), command.state.as_str())) }
                }
            }
        }
    }
}

fn class(command: &StoredCommand) -> &'static str {
    use stencil_protocol::command::State;
    match command.state {
        State::Done => "good",
        State::Failed | State::Expired => "bad",
        State::Queued | State::Sent | State::Acknowledged => "info",
    }
}
