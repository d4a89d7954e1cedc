//! Rules and what they lead to: the list of workflows, and the editor of one.

mod diff;
mod editor;
pub(in crate::http) mod figure;
mod list;
mod panels;
mod templates;
mod versions;

pub(in crate::http) use editor::{create, edit};
pub(in crate::http) use list::show as list;

use maud::Markup;
use stencil_store::Workflow;
use stencil_workflow::definition;

use super::badge;

/// The series that a definition's rule looks at; `None` if that is any, or if the text is no
/// definition.
pub(super) fn series_of(yaml: &str) -> Option<String> {
    definition::parse(yaml).ok()?.rule()?.name.clone()
}

/// Whether a workflow's rule is applied, and by which version.
fn in_force(workflow: &Workflow) -> Markup {
    if workflow.active {
        badge("good", &format!("version {} in force", workflow.version))
    } else {
        badge("", "not in force")
    }
}
