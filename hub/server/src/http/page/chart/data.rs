//! `GET /devices/{device}/chart`: what the chart's script draws, a bounded part at a time.

use axum::Json;
use axum::extract::State as Shared;
use serde::{Deserialize, Serialize};

use super::super::super::api::devices;
use super::super::super::input::{Path, Query};
use super::super::super::problem::Problem;
use super::super::super::{Caller, State};
use super::super::value;
use super::envelope::{self, Column, MAX_COLUMNS};
use super::window;

/// Which part.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Asked {
    name: String,
    from_us: i64,
    to_us: i64,
    /// Columns over the whole window, 1 to 1,000.
    columns: u32,
    /// Where the answer before stopped (`next_us`).
    resume_us: Option<i64>,
}

/// A part of a window.
#[derive(Debug, Serialize)]
pub(in crate::http) struct Part {
    from_us: i64,
    to_us: i64,
    /// Points that were read for this answer.
    points: u64,
    /// Where to go on; null: this is all. A column at such a seam comes in two parts.
    next_us: Option<i64>,
    /// `[place, first µs, last µs, first, last, low, high, mean, points]`, or
    /// `[place, µs, value]` of a single point.
    columns: Vec<Drawn>,
    /// The newest texts, `[µs, text]`.
    texts: Vec<(i64, String)>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Drawn {
    One(i64, i64, f64),
    Many(i64, i64, i64, f64, f64, f64, f64, f64, u32),
}

/// `GET /devices/{device}/chart?name&from_us&to_us&columns&resume_us`
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(device): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Json<Part>, Problem> {
    if !(1..=MAX_COLUMNS).contains(&asked.columns) {
        return Err(Problem::invalid(format!(
            "`columns` is {}, it has to be 1 to {MAX_COLUMNS}",
            asked.columns
        )));
    }
    let window = window::asked(asked.from_us, asked.to_us)?;
    let device = devices::known(&state, &caller, &device).await?.id;
    let (envelope, next_us) = envelope::gather(
        state.store.series.as_ref(),
        (&caller.tenant, &device, &asked.name),
        (window.from_us, window.to_us),
        asked.resume_us.unwrap_or(window.from_us),
        asked.columns,
    )
    .await?;
    let texts = envelope.newest.iter().filter(|point| {
        // Numbers are in the columns.
        point.value.as_ref().as_f64().is_none()
    });
    Ok(Json(Part {
        from_us: window.from_us,
        to_us: window.to_us,
        points: envelope.points,
        next_us,
        texts: texts
            .map(|point| (point.time_us, value::text(&point.value)))
            .collect(),
        columns: envelope.columns.into_iter().map(Drawn::from).collect(),
    }))
}

impl From<Column> for Drawn {
    fn from(of: Column) -> Self {
        if of.count == 1 {
            return Self::One(of.place, of.first_us, of.first);
        }
        Self::Many(
            of.place,
            of.first_us,
            of.last_us,
            of.first,
            of.last,
            of.low,
            of.high,
            of.mean,
            of.count,
        )
    }
}
