//! `GET /`: what is going on, at a glance. Each part lives by the event stream.

mod recent;
mod start;
mod tiles;

pub(super) use recent::row;

use axum::extract::State as Shared;
use axum::response::Html;
use maud::html;
use stencil_store::Standing;

use super::super::problem::Problem;
use super::super::{Caller, State};
use super::{Frame, Nav, shell};

/// `GET /`
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
) -> Result<Html<String>, Problem> {
    let devices = &state.store.devices;
    let counts = devices.counts(&caller.tenant, &Standing::default()).await?;
    let body = html! {
        (tiles::render(&state, &caller, &counts).await?)
        (start::render(&state, &caller, counts.devices).await?)
        div.grid {
            (recent::alarms(&state, &caller).await?)
            (recent::runs(&state, &caller).await?)
        }
        (recent::devices(&state, &caller, counts.devices).await?)
    };
    shell(&state, &caller, Frame::new(Nav::Overview, "Overview"), body).await
}
