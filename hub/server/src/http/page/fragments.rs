//! Parts of the live page, one by one, for its script.

use axum::extract::State as Shared;
use axum::response::Html;
use serde::Deserialize;

use super::super::input::Query;
use super::super::problem::Problem;
use super::super::{Caller, State};
use super::View;

/// Which page of the fleet.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct From {
    after: Option<String>,
}

/// `GET /live/fleet?after`
pub(in crate::http) async fn fleet(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(from): Query<From>,
) -> Result<Html<String>, Problem> {
    let fragment = super::fleet::render(&state, &caller, from.after.as_deref()).await?;
    Ok(Html(fragment.into_string()))
}

/// `GET /live/chart?device&name&from_us&to_us`
pub(in crate::http) async fn chart(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(view): Query<View>,
) -> Result<Html<String>, Problem> {
    Ok(Html(
        super::chart::render(&state, &caller, &view)
            .await?
            .into_string(),
    ))
}

/// `GET /live/runs`
pub(in crate::http) async fn runs(
    Shared(state): Shared<State>,
    caller: Caller,
) -> Result<Html<String>, Problem> {
    Ok(Html(
        super::runs::render(&state, &caller).await?.into_string(),
    ))
}

/// `GET /live/commands`
pub(in crate::http) async fn commands(
    Shared(state): Shared<State>,
    caller: Caller,
) -> Result<Html<String>, Problem> {
    Ok(Html(
        super::commands::render(&state, &caller)
            .await?
            .into_string(),
    ))
}
