//! `/devices/{device}`: one device: what it is, its newest values, a chart of its past, what its
//! link negotiated, its alarms, seals that are not what is stored of it, who owns it by a passport, and
//! commands to it.

mod commands;
mod facts;
mod firmware;
mod hops;
mod passport;
mod twin;

use axum::extract::State as Shared;
use axum::response::Html;
use maud::{DOCTYPE, Markup, html};
use serde::Deserialize;
use stencil_store::{Device, SealMarkFilter};

use super::super::api::devices;
use super::super::input::{Path, Query};
use super::super::problem::Problem;
use super::super::{Caller, State};
use super::chart::Range;
use super::{Frame, Nav, assets, chart, encoded, linked, seal_marks, shell};

/// What of the device is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct View {
    /// The chart's series.
    pub(super) name: Option<String>,
    /// The chart's window, that goes on with time.
    pub(super) range: Option<Range>,
    /// The same, at two fixed times.
    pub(super) from_us: Option<i64>,
    pub(super) to_us: Option<i64>,
    /// Commands older than this cursor.
    pub(super) commands: Option<String>,
}

/// `GET /devices/{device}?name&range&from_us&to_us&commands`
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(device): Path<String>,
    Query(view): Query<View>,
) -> Result<Html<String>, Problem> {
    let device = devices::known(&state, &caller, &device).await?;
    let latest = state
        .store
        .devices
        .latest(&caller.tenant, &device.id)
        .await?;
    let of = Of::new(&state, &caller, &device, &view);
    let body = html! {
        div.split {
            div.stack {
                (chart::render(&state, &caller, &device, &latest, &view).await?)
                (twin::render(&of, &latest))
                (commands::render(&of).await?)
            }
            div.stack {
                (marks(&of).await?)
                (facts::render(&of).await?)
                (facts::alarms(&of).await?)
                (passport::render(&of).await?)
                (firmware::render(&of).await?)
                (hops::render(&of))
            }
        }
    };
    let frame = Frame::new(Nav::Devices, device.id.as_str())
        .crumb("/devices", "Devices")
        .actions(html! {
            span.row data-device=(device.id) { (linked::state(&device)) (linked::protection(&device)) }
        })
        .script(&assets::CHART)
        .watch(device.id.as_str());
    shell(&state, &caller, frame, body).await
}

/// `GET /devices/{device}/parts?commands`: the parts that live, without the chart, which lives by
/// itself.
pub(in crate::http) async fn parts(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(device): Path<String>,
    Query(view): Query<View>,
) -> Result<Html<String>, Problem> {
    let device = devices::known(&state, &caller, &device).await?;
    let latest = state
        .store
        .devices
        .latest(&caller.tenant, &device.id)
        .await?;
    let of = Of::new(&state, &caller, &device, &view);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head { title { (device.id) } }
            body {
                (twin::render(&of, &latest))
                (commands::render(&of).await?)
                (marks(&of).await?)
                (facts::render(&of).await?)
                (facts::alarms(&of).await?)
                (passport::render(&of).await?)
                (firmware::render(&of).await?)
                (hops::render(&of))
            }
        }
    };
    Ok(Html(page.into_string()))
}

/// The device that parts are about.
struct Of<'a> {
    state: &'a State,
    caller: &'a Caller,
    device: &'a Device,
    view: &'a View,
    now_us: i64,
    /// Where the parts that live are asked for.
    from: String,
}

impl<'a> Of<'a> {
    fn new(state: &'a State, caller: &'a Caller, device: &'a Device, view: &'a View) -> Self {
        let mut from = format!("/devices/{}/parts", encoded(device.id.as_str()));
        if let Some(cursor) = &view.commands {
            from.push_str(&format!("?commands={}", encoded(cursor)));
        }
        Self {
            state,
            caller,
            device,
            view,
            now_us: state.clock.now_us(),
            from,
        }
    }

    /// The device's address.
    fn here(&self) -> String {
        format!("/devices/{}", encoded(self.device.id.as_str()))
    }
}

/// Seals over what it said that are not what the hub has.
async fn marks(of: &Of<'_>) -> Result<Markup, Problem> {
    let device = &of.device;
    let filter = SealMarkFilter {
        gateway: None,
        device: Some((device.id.clone(), device.gateway.clone())),
    };
    let marks = seal_marks::render(of.state, of.caller, &filter).await?;
    Ok(html! {
        div #seal-marks data-live="fleet" data-every="30" data-from=(of.from) { (marks) }
    })
}

/// Nothing where nothing is known.
fn or_dim(known: Option<Markup>, text: &str) -> Markup {
    known.unwrap_or_else(|| html! { span.dim { (text) } })
}
