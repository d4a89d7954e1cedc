//! `GET /`: what is going on.

use axum::extract::State as Shared;
use axum::response::Html;
use maud::html;
use serde::Deserialize;

use super::super::input::Query;
use super::super::problem::Problem;
use super::super::{Caller, State};
use super::{Frame, Nav, commands, fleet, runs, shell};

/// Nothing is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Nothing {}

/// `GET /`
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(Nothing {}): Query<Nothing>,
) -> Result<Html<String>, Problem> {
    let fleet = fleet::render(&state, &caller, None).await?;
    let runs = runs::render(&state, &caller).await?;
    let commands = commands::render(&state, &caller).await?;
    let body = html! { (fleet) (runs) (commands) };
    shell(&state, &caller, Frame::new(Nav::Overview, "Overview"), body).await
}
