//! Runs of workflows: the list, and one run as a timeline.

mod list;
mod one;
mod turns;

pub(in crate::http) use list::show as list;
pub(in crate::http) use one::show as one;

use maud::Markup;
use stencil_store::{Progress, Run};

use super::badge;

/// Every state, as it is filtered by.
const STATES: [Progress; 5] = [
    Progress::Pending,
    Progress::Running,
    Progress::Waiting,
    Progress::Done,
    Progress::Failed,
];

/// A state as a badge.
fn progress(state: Progress) -> Markup {
    let class = match state {
        Progress::Done => "good",
        Progress::Failed => "bad",
        Progress::Waiting => "warn",
        Progress::Running => "info",
        Progress::Pending => "",
    };
    badge(class, state.as_str())
}

/// A text of the event that caused a run; empty if it has none of this name.
fn of_event<'r>(run: &'r Run, member: &str) -> &'r str {
    let text = run.event.get(member).and_then(|value| value.as_str());
    text.unwrap_or_default()
}
