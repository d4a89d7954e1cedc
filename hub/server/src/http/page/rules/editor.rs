//! `/workflows/new` and `/workflows/{workflow}`: the editor.
//!
//! The text is checked as it is typed, tried on what is stored, and saved, all by its script
//! through the API. Without the script it can be read.

use axum::extract::State as Shared;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;
use stencil_store::{MAX_PAGE, Workflow};
use stencil_workflow::definition;

use super::super::super::input::{self, Path, Query};
use super::super::super::problem::Problem;
use super::super::super::{Caller, State};
use super::super::assets;
use super::super::shell::{Frame, Nav, shell};
use super::panels::{self, may_write};
use super::templates::{self, Template};
use super::versions;

/// Gateways that are shown.
const GATEWAYS: u32 = 100;
/// Versions on one page.
const VERSIONS: u32 = 10;

/// What a new rule begins with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Begin {
    template: Option<String>,
    device: Option<String>,
    name: Option<String>,
}

/// `GET /workflows/new?template&device&name`
pub(in crate::http) async fn create(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(begin): Query<Begin>,
) -> Result<Html<String>, Problem> {
    let [first, ..] = &templates::ALL;
    let template = match begin.template.as_deref() {
        None => first,
        Some(name) => Template::of(name)
            .ok_or_else(|| Problem::invalid(format!("there is no template `{name}`")))?,
    };
    let device = begin.device.as_deref().map(input::device).transpose()?;
    let text = template.text(device.as_ref(), begin.name.as_deref());
    let write = may_write(&caller);
    let body = html! {
        nav.segments aria-label="Begin with" {
            @for one in &templates::ALL {
                a href={ "/workflows/new?template=" (one.name) } title=(one.about)
                    aria-current=[(one.name == template.name).then_some("true")] { (one.title) }
            }
        }
        div.split {
            (text_card(None, &text, write))
            div.stack {
                section.card { p { b { (template.title) } } p { (template.about) } }
                (panels::reference())
            }
        }
        (panels::backtest(newest_us(&state, &caller).await?))
    };
    shell(&state, &caller, frame("New rule"), body).await
}

/// What of a workflow is shown.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct View {
    /// The version in the editor; without it the one in force, else the newest.
    version: Option<u32>,
    /// Two versions to compare.
    from: Option<u32>,
    to: Option<u32>,
    /// The cursor of the list of versions.
    older: Option<String>,
}

/// `GET /workflows/{workflow}?version&from&to&older`
pub(in crate::http) async fn edit(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(workflow): Path<String>,
    Query(view): Query<View>,
) -> Result<Html<String>, Problem> {
    let current = known(&state, &caller, &workflow, None).await?;
    let shown = match view.version {
        Some(_) => known(&state, &caller, &workflow, view.version).await?,
        None => current.clone(),
    };
    let store = &state.store.workflows;
    let newest = store.versions(&caller.tenant, &workflow, None, 1).await?;
    let newest = newest
        .items
        .first()
        .map_or(shown.version, |newest| newest.version);
    let older = view.older.as_deref();
    let list = store
        .versions(&caller.tenant, &workflow, older, VERSIONS)
        .await?;
    let at_gateways = store
        .at_gateways(&caller.tenant, Some(&workflow), GATEWAYS)
        .await?;
    let compared = view.from.zip(view.to);
    let difference = match compared {
        Some((from, to)) => {
            let before = known(&state, &caller, &workflow, Some(from)).await?;
            let after = known(&state, &caller, &workflow, Some(to)).await?;
            Some(versions::compare(&before, &after))
        }
        None => None,
    };
    let write = may_write(&caller);
    let body = html! {
        @if shown.version != current.version {
            p.alert.info {
                "This is version " (shown.version) ". "
                @if current.active { "Version " (current.version) " is in force: " }
                a href={ "/workflows/" (super::super::encoded(&workflow)) } { "show it" } "."
            }
        }
        div.split {
            (text_card(Some((&shown, newest)), &shown.yaml, write))
            div.stack {
                (panels::state(&current, write))
                @if !at_gateways.is_empty() { (panels::at_gateways(&at_gateways)) }
                (versions::list(&workflow, &list, shown.version, compared, older.is_none()))
                (panels::reference())
            }
        }
        @if let Some(difference) = difference { (difference) }
        (panels::backtest(newest_us(&state, &caller).await?))
    };
    let parsed = definition::parse(&current.yaml).ok();
    let title = parsed.and_then(|definition| definition.title);
    let title = title.unwrap_or_else(|| workflow.clone());
    shell(&state, &caller, frame(&title), body).await
}

async fn known(
    state: &State,
    caller: &Caller,
    workflow: &str,
    version: Option<u32>,
) -> Result<Workflow, Problem> {
    let found = state.store.workflows.get(&caller.tenant, workflow, version);
    found.await?.ok_or_else(|| match version {
        Some(version) => Problem::not_found("workflow", format!("{workflow} version {version}")),
        None => Problem::not_found("workflow", workflow),
    })
}

fn frame(title: &str) -> Frame<'_> {
    Frame::new(Nav::Rules, title)
        .crumb("/workflows", "Rules")
        .style(&assets::RULES_STYLE)
        .script(&assets::EDITOR)
        .script(&assets::BACKTEST)
}

/// The newest event time there is: where a range of the past ends, also when what is stored is of
/// another year.
async fn newest_us(state: &State, caller: &Caller) -> Result<i64, Problem> {
    let devices = state
        .store
        .devices
        .list(&caller.tenant, None, MAX_PAGE)
        .await?;
    let newest = devices
        .items
        .iter()
        .filter_map(|device| device.last_event_us)
        .max();
    Ok(newest.unwrap_or_else(|| state.clock.now_us()))
}

/// The text with its numbers, what is said of it, and what can be done with it.
fn text_card(of: Option<(&Workflow, u32)>, text: &str, write: bool) -> Markup {
    let (workflow, newest) = match of {
        Some((workflow, newest)) => (Some(workflow.id.as_str()), newest),
        None => (None, 0),
    };
    html! {
        section.card aria-labelledby="editor-title" {
            header {
                h2 #editor-title { "Definition" }
                @if let Some((workflow, _)) = of { span.more.dim { "version " (workflow.version) } }
            }
            form #editor data-workflow=[workflow] data-newest=(newest)
                data-writable=[write.then_some("")] {
                div.code {
                    div.gutter aria-hidden="true" { div.numbers {} }
                    div.pane {
                        pre.paint aria-hidden="true" {}
                        // A newline right after the tag is not part of the text.
                        textarea #yaml name="yaml" rows="20" wrap="off" spellcheck="false"
                            autocapitalize="off" autocomplete="off" readonly[!write]
                            aria-label="Definition in YAML" aria-describedby="editor-help"
                            aria-errormessage="check" { "\n" (text) }
                    }
                }
                p #editor-help.dim.small {
                    @if write {
                        "Tab indents, Shift+Tab takes back. To leave the text with Tab, press Escape first. Ctrl+S saves."
                    } @else { "You may read and try it; changing it needs an editor's role." }
                }
                div #check.check role="status" aria-live="polite" { span.dim { "Not checked yet." } }
                div.row {
                    @if write { button #save.primary { "Save" } }
                    a.button #to-backtest href="#backtest" { "Backtest" }
                }
                noscript {
                    p.alert.info { "Checking and saving here needs the page's script. "
                        code { "stencil workflow apply FILE" } " does it too." }
                }
            }
        }
    }
}
