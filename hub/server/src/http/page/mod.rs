//! The live page: rendered here, kept alive by one small script.
//!
//! Everything on it is a fragment that a function of this folder renders. The page is made of
//! them; the script asks for one anew when the event stream says that something in it has
//! changed. Without the script the page still shows all, and each control is a plain link.

pub(super) mod assets;
mod chart;
mod commands;
mod fleet;
pub(super) mod fragments;
pub(super) mod moment;
mod plot;
mod runs;
pub(super) mod sign_in;
pub(super) mod stream;
mod value;

use axum::extract::State as Shared;
use axum::response::Html;
use maud::{DOCTYPE, Markup, html};
use serde::Deserialize;

use super::input::Query;
use super::problem::Problem;
use super::{Caller, State};

/// What the page shows.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct View {
    /// The fleet's page: the cursor.
    after: Option<String>,
    /// The chart's device.
    device: Option<String>,
    /// The chart's series.
    name: Option<String>,
    /// The chart's window.
    from_us: Option<i64>,
    to_us: Option<i64>,
}

/// `GET /`: the live page.
pub(super) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(view): Query<View>,
) -> Result<Html<String>, Problem> {
    let fleet = fleet::render(&state, &caller, view.after.as_deref()).await?;
    let chart = chart::render(&state, &caller, &view).await?;
    let runs = runs::render(&state, &caller).await?;
    let commands = commands::render(&state, &caller).await?;
    let readiness = state.control.readiness();
    let body = html! {
        a.skip href="#fleet" { "To the fleet" }
        header {
            h1 { "Stencil Hub" }
            p.who { "Tenant " strong { (caller.tenant) } }
            p #stream role="status" { "Not live: reload to see what is new" }
            form method="post" action="/logout" { button { "Sign out" } }
        }
        main {
            @for problem in readiness.checks.iter().filter_map(|check| check.problem.as_ref()) {
                p.alert role="alert" { "The hub has a problem: " (problem) }
            }
            section #chart-section aria-labelledby="chart-title" { (chart) }
            section aria-labelledby="fleet-title" { (fleet) }
            section aria-labelledby="runs-title" { (runs) }
            section aria-labelledby="commands-title" { (commands) }
        }
        script src=(assets::script_url()) defer {}
    };
    Ok(document("Stencil Hub", &body))
}

/// A whole page around a body.
fn document(title: &str, body: &Markup) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                (style())
            }
            body { (body) }
        }
    };
    Html(page.into_string())
}

/// The links to the style sheet and the icon.
pub(super) fn style() -> Markup {
    html! {
        link rel="stylesheet" href=(assets::style_url());
        link rel="icon" type="image/svg+xml" href="/assets/icon.svg";
    }
}

/// A word on a coloured ground; the word says it, the colour only repeats it.
fn badge(class: &str, text: &str) -> Markup {
    html! { span class={ "badge " (class) } { (text) } }
}
