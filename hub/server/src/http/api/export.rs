//! A series as a file of comma-separated values.

use std::fmt::Write as _;

use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use http::header;
use serde::Deserialize;
use stencil_protocol::id::{DeviceId, TenantId};
use stencil_protocol::moment;
use stencil_protocol::sample::OwnedValue;
use stencil_store::{Error, SeriesPoint};
use tokio::sync::OwnedSemaphorePermit;

use super::series;
use crate::http::input::{Path, Query};
use crate::http::problem::{Kind, Problem};
use crate::http::{Caller, State};

/// Points in memory of one export.
const PAGE: u32 = 1_000;

/// Characters with which a spreadsheet begins a formula, or drops from a cell's beginning to find
/// one behind; and the mark itself, so that it can be taken away again.
const FORMULA: [char; 11] = [
    '=', '+', '-', '@', '\t', '\r', '\n', '\'', '\u{ff1d}', '\u{ff0b}', '\u{ff20}',
];

/// Which points.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Span {
    /// From this event time on, µs since the Unix epoch.
    from_us: Option<i64>,
    /// Up to, but not with, this event time.
    to_us: Option<i64>,
}

/// All points of a series as comma-separated values (RFC 4180).
///
/// The columns are `time` (ISO 8601 in UTC, with microseconds), `time_us` (microseconds since the
/// Unix epoch) and `value`, by event time. Numbers and `true` or `false` stand as they are; a text
/// stands in quotation marks. A text that a spreadsheet could take for a formula (it begins with
/// `=`, `+`, `-`, `@`, a tabulator or a line's end), or that begins with `'`, has a `'` before it
/// that is not the device's: the JSON of the series has it without.
///
/// The answer comes in parts as they are read, however long it is; one that breaks off in the
/// middle of its last part (HTTP's last chunk is missing) is not whole.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{device}/series/{name}/csv",
    tag = "series",
    params(Span),
    responses(
        (status = 200, body = String, content_type = "text/csv"),
        (status = 429, description = "As many exports as may be are running"),
    )
)]
pub(in crate::http) async fn csv(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((device, name)): Path<(String, String)>,
    Query(span): Query<Span>,
) -> Result<Response, Problem> {
    let (from_us, to_us) = series::span(span.from_us, span.to_us)?;
    let (device, series) = series::known(&state, &caller, &device, &name).await?;
    let Ok(room) = state.exports().try_acquire_owned() else {
        let detail = "as many exports as may be are running; try again soon";
        return Err(Problem::new(Kind::TooMany, detail));
    };
    let file = format!(
        "attachment; filename=\"{}\"",
        file_name(&device, &series.name)
    );
    let mut export = Export {
        state,
        tenant: caller.tenant,
        device,
        name: series.name,
        from_us: (from_us < to_us).then_some(from_us),
        to_us,
        _room: room,
    };
    // What the store refuses at once is still a problem document.
    let mut head = "time,time_us,value\r\n".to_owned();
    export.page(&mut head).await?;
    let rest = stream::try_unfold(export, |mut export| async move {
        let mut text = String::new();
        let more = export.page(&mut text).await;
        more.map(|more| more.then(|| (Bytes::from(text), export)))
            .inspect_err(|error| tracing::warn!(%error, "an export broke off"))
    });
    let head = stream::once(std::future::ready(Ok::<_, Error>(Bytes::from(head))));
    let headers = [
        (
            header::CONTENT_TYPE,
            "text/csv; charset=utf-8; header=present".to_owned(),
        ),
        (header::CONTENT_DISPOSITION, file),
    ];
    Ok((headers, Body::from_stream(head.chain(rest))).into_response())
}

/// What is left to be read. It is read when the client has taken what was before, and no more when
/// the client is gone.
struct Export {
    state: State,
    tenant: TenantId,
    device: DeviceId,
    name: String,
    /// From where the next page begins; `None` after the last.
    from_us: Option<i64>,
    to_us: i64,
    _room: OwnedSemaphorePermit,
}

impl Export {
    /// Writes the next page's rows; false if there is none.
    async fn page(&mut self, text: &mut String) -> Result<bool, Error> {
        let Some(from_us) = self.from_us else {
            return Ok(false);
        };
        let series = &self.state.store.series;
        let points = series
            .range(
                &self.tenant,
                &self.device,
                &self.name,
                from_us,
                self.to_us,
                PAGE,
            )
            .await?;
        let full = points.len() >= PAGE as usize;
        let last_us = points.last().map(|point| point.time_us);
        self.from_us = last_us
            .filter(|_| full)
            .and_then(|last_us| last_us.checked_add(1));
        points.iter().for_each(|point| row(point, text));
        Ok(true)
    }
}

fn row(point: &SeriesPoint, text: &mut String) {
    let time_us = point.time_us;
    let second = moment::utc(time_us).replace(' ', "T");
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "{second}.{:06}Z,{time_us},",
        time_us.rem_euclid(1_000_000)
    );
    match &point.value {
        OwnedValue::Text(value) => quoted(value, text),
        // A number as JSON has it: the shortest that is read as the same.
        value => text.push_str(&serde_json::to_string(value).unwrap_or_default()),
    }
    text.push_str("\r\n");
}

fn quoted(value: &str, text: &mut String) {
    text.push('"');
    if value.starts_with(FORMULA) {
        text.push('\'');
    }
    for character in value.chars() {
        if character == '"' {
            text.push('"');
        }
        text.push(character);
    }
    text.push('"');
}

/// What a browser may call the file: letters, digits and little else, whatever a name has.
fn file_name(device: &DeviceId, series: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = format!("{device}-{series}")
        .chars()
        .map(plain)
        .take(120)
        .collect();
    format!("{name}.csv")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: OwnedValue) -> String {
        let mut text = String::new();
        let time_us = 1_386_018_900_000_007;
        row(&SeriesPoint { time_us, value }, &mut text);
        let value = text.strip_prefix("2013-12-02T21:15:00.000007Z,1386018900000007,");
        value.unwrap().strip_suffix("\r\n").unwrap().to_owned()
    }

    #[test]
    fn values_stand_as_they_are() {
        for (value, expected) in [
            (OwnedValue::Number(-12.5), "-12.5"),
            (OwnedValue::Number(1e300), "1e+300"),
            (OwnedValue::Number(0.1 + 0.2), "0.30000000000000004"),
            (OwnedValue::Integer(i64::MIN), "-9223372036854775808"),
            (OwnedValue::Bool(true), "true"),
            (
                OwnedValue::Text("a,\"b\"\r\nc".to_owned()),
                "\"a,\"\"b\"\"\r\nc\"",
            ),
            (OwnedValue::Text(String::new()), "\"\""),
            (OwnedValue::Text("5".to_owned()), "\"5\""),
        ] {
            assert_eq!(written(value), expected);
        }
    }

    #[test]
    fn no_text_is_a_formula() {
        for text in [
            "=1+1",
            "+1",
            "-1",
            "@a",
            "\t=1",
            "\r=1",
            "\n=1",
            "'=1",
            "\u{ff1d}1",
        ] {
            assert_eq!(
                written(OwnedValue::Text(text.to_owned())),
                format!("\"'{text}\"")
            );
        }
        for text in ["1=1", " a", "é"] {
            assert_eq!(
                written(OwnedValue::Text(text.to_owned())),
                format!("\"{text}\"")
            );
        }
    }

    #[test]
    fn times_before_1970_have_their_microseconds_too() {
        let mut text = String::new();
        row(
            &SeriesPoint {
                time_us: -1,
                value: OwnedValue::Bool(false),
            },
            &mut text,
        );
        assert_eq!(text, "1969-12-31T23:59:59.999999Z,-1,false\r\n");
    }

    #[test]
    fn a_files_name_says_nothing_to_a_browser_but_itself() {
        let device = DeviceId::parse("freezer-1").unwrap();
        assert_eq!(
            file_name(&device, "temperature"),
            "freezer-1-temperature.csv"
        );
        assert_eq!(
            file_name(&device, "a\"; b=\r\n/é"),
            "freezer-1-a___b_____.csv"
        );
        assert!(file_name(&device, &"x".repeat(1_000)).len() < 130);
    }
}
