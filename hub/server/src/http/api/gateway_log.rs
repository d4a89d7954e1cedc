//! What a gateway is asked at somebody's wish: the newest lines of its log, its figures, and to log
//! more for a while.

use std::time::Duration;

use axum::Json;
use axum::extract::State as Shared;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use stencil_protocol::id::GatewayId;
use stencil_protocol::moment;
use stencil_protocol::question::{
    Answer, Asked, Cursor, Level, Lines, Log, MAX_LEVEL_S, MAX_LINES,
};

use super::gateways::{known, named};
use crate::NoAnswer;
use crate::http::audit::{Detail, Noted};
use crate::http::input::{self, Path, Query};
use crate::http::problem::{Kind, Problem};
use crate::http::{Caller, State};

/// Lines when no limit is given.
const DEFAULT_LINES: u32 = 200;

/// Which lines.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Which {
    /// Those of this level and the graver ones: `error`, `warn`, `info` (if it is not given),
    /// `debug`, `trace`.
    level: Option<String>,
    /// None that are older, by the hub's clock, in microseconds since the Unix epoch. With it the
    /// oldest of them come first; without it and without `after`, the newest come.
    since_us: Option<i64>,
    /// Those after this: `next` of the answer before.
    after: Option<String>,
    /// Lines at most, 200 if it is not given; fewer, where they would be too many bytes.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Lines of a gateway's log, the oldest first. What is secret in them is hidden by the gateway.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ShownLog {
    /// The gateway.
    #[schema(value_type = String)]
    gateway: GatewayId,
    /// When it answered, by its own clock, in microseconds since the Unix epoch.
    at_us: i64,
    /// The lines.
    lines: Vec<ShownLine>,
    /// From where to ask on, with `after`.
    next: String,
    /// Whether there is more after these already.
    more: bool,
    /// Lines after `after` that are gone: the gateway holds its newest 2000 alone, and those of its
    /// last start.
    missed: u64,
}

/// A line.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ShownLine {
    /// When, by the gateway's own clock, in microseconds since the Unix epoch.
    at_us: i64,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    level: &'static str,
    /// What it says.
    text: String,
}

/// What a gateway counts and measures.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ShownFigures {
    /// The gateway.
    #[schema(value_type = String)]
    gateway: GatewayId,
    /// When, by its own clock, in microseconds since the Unix epoch.
    at_us: i64,
    /// The figures.
    figures: Vec<ShownFigure>,
}

/// A number.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ShownFigure {
    /// Its name, as in the gateway's own `/metrics` behind `stencil_gateway_`.
    name: String,
    /// `counter`: it grows from 0 at a start; `gauge`: it is what it is now.
    kind: &'static str,
    /// The number.
    value: u64,
    /// What it says.
    help: String,
}

/// How much a gateway logs for a while.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ForAWhile {
    /// `error`, `warn`, `info`, `debug` or `trace`; `null`: as its settings say, at once.
    level: Option<String>,
    /// For how long; it falls back by itself, at a restart as well.
    #[schema(minimum = 1, maximum = 3600)]
    seconds: u32,
}

/// Asks a gateway for lines of its log.
///
/// It holds the newest 2000 in memory. For admins; noted in the audit log, and again after a minute
/// of asking on.
#[utoipa::path(
    get,
    path = "/api/v1/gateways/{gateway}/logs",
    tag = "gateways",
    params(Which),
    responses(
        (status = 200, body = ShownLog),
        (status = 409, description = "It is not connected; `detail` says when it was last heard"),
        (status = 504, description = "It has not answered in time"),
    )
)]
pub(in crate::http) async fn logs(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(gateway): Path<String>,
    Query(which): Query<Which>,
) -> Result<impl IntoResponse, Problem> {
    let gateway = named(&gateway)?;
    let level = level(which.level.as_deref().unwrap_or("info"))?;
    let lines = input::limit(which.limit, DEFAULT_LINES, MAX_LINES)?;
    let after = which.after.as_deref().map(cursor).transpose()?;
    let age_us = which.since_us.map(|since_us| {
        let age_us = state.clock.now_us().saturating_sub(since_us);
        u64::try_from(age_us).unwrap_or(0)
    });
    let asked = Asked::Log(Lines {
        level,
        lines,
        age_us,
        after,
    });
    match ask(&state, &caller, &gateway, asked).await? {
        Answer::Log(log) => {
            let detail = Detail(format!("level {}", level.name()));
            Ok((Noted, detail, Json(shown(gateway, log))))
        }
        _ => Err(other(&gateway)),
    }
}

/// Asks a gateway for its figures: what it counts and measures, as they are now.
///
/// For admins; noted in the audit log, and again after a minute of asking on.
#[utoipa::path(
    get,
    path = "/api/v1/gateways/{gateway}/metrics",
    tag = "gateways",
    responses(
        (status = 200, body = ShownFigures),
        (status = 409, description = "It is not connected; `detail` says when it was last heard"),
        (status = 504, description = "It has not answered in time"),
    )
)]
pub(in crate::http) async fn metrics(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(gateway): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let gateway = named(&gateway)?;
    match ask(&state, &caller, &gateway, Asked::Figures).await? {
        Answer::Figures { at_us, figures } => {
            let figures = figures.into_iter().map(|figure| ShownFigure {
                name: figure.name,
                kind: figure.kind.name(),
                value: figure.value,
                help: figure.help,
            });
            let shown = ShownFigures {
                gateway,
                at_us,
                figures: figures.collect(),
            };
            Ok((Noted, Json(shown)))
        }
        _ => Err(other(&gateway)),
    }
}

/// Has a gateway log so much for a while, whatever its settings say.
///
/// It falls back by itself, and at a restart. Its desired state (`log.level`) is what it falls back to.
#[utoipa::path(
    put,
    path = "/api/v1/gateways/{gateway}/log-level",
    tag = "gateways",
    request_body = ForAWhile,
    responses(
        (status = 200, body = ForAWhile),
        (status = 409, description = "It lets nothing be set from afar, or is not connected; `detail` says when it was last heard"),
        (status = 504, description = "It has not answered in time"),
    )
)]
pub(in crate::http) async fn set_level(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(gateway): Path<String>,
    input::Json(new): input::Json<ForAWhile>,
) -> Result<impl IntoResponse, Problem> {
    let gateway = named(&gateway)?;
    let wanted = new.level.as_deref().map(level).transpose()?;
    if !(1..=MAX_LEVEL_S).contains(&new.seconds) {
        return Err(Problem::invalid(format!(
            "`seconds` is {}, it has to be 1 to {MAX_LEVEL_S}",
            new.seconds
        )));
    }
    let asked = Asked::Level {
        level: wanted,
        seconds: new.seconds,
    };
    match ask(&state, &caller, &gateway, asked).await? {
        Answer::Level { level, seconds } => {
            let level = level.map(|level| level.name().to_owned());
            let detail = match &level {
                Some(level) => format!("{level} for {seconds} s"),
                None => "as its settings say".to_owned(),
            };
            Ok((Detail(detail), Json(ForAWhile { level, seconds })))
        }
        _ => Err(other(&gateway)),
    }
}

/// Asks a gateway of the caller's tenant.
async fn ask(
    state: &State,
    caller: &Caller,
    gateway: &GatewayId,
    asked: Asked,
) -> Result<Answer, Problem> {
    // Whoever asks for another tenant's gateway learns that there is none.
    let known = known(state, caller, gateway).await?.gateway;
    let answer = state.control.ask_gateway(&caller.tenant, gateway, asked);
    answer.await.map_err(|error| {
        let detail = format!("gateway {gateway}: {error}");
        match error {
            NoAnswer::UnderWay => Problem::too_many(&detail, Duration::from_secs(1)),
            NoAnswer::TooOften(wait) => Problem::too_many(&detail, wait),
            NoAnswer::TooMany => Problem::too_many(&detail, Duration::from_secs(2)),
            NoAnswer::Away => {
                let heard = match known.said_us {
                    Some(at_us) => format!("it was last heard at {} UTC", moment::utc(at_us)),
                    None => "it was never heard".to_owned(),
                };
                let detail = format!(
                    "gateway {gateway} is not connected, {heard}; nothing was kept to ask it then: \
                     ask again when it is connected"
                );
                Problem::new(Kind::GatewayAway, detail)
            }
            NoAnswer::Deaf | NoAnswer::Unready | NoAnswer::Lost => {
                Problem::new(Kind::GatewayAway, detail)
            }
            NoAnswer::Silent | NoAnswer::Nonsense(_) => Problem::new(Kind::GatewaySilent, detail),
            NoAnswer::Refused(_) => Problem::new(Kind::Conflict, detail),
        }
    })
}

fn other(gateway: &GatewayId) -> Problem {
    let detail = format!("gateway {gateway}: it answers what it was not asked");
    Problem::new(Kind::GatewaySilent, detail)
}

fn shown(gateway: GatewayId, log: Log) -> ShownLog {
    let lines = log.lines.into_iter().map(|line| ShownLine {
        at_us: line.at_us,
        level: line.level.name(),
        text: line.text,
    });
    ShownLog {
        gateway,
        at_us: log.at_us,
        lines: lines.collect(),
        next: log.next.to_string(),
        more: log.more,
        missed: log.missed,
    }
}

fn level(name: &str) -> Result<Level, Problem> {
    Level::parse(name).ok_or_else(|| {
        let all = Level::ALL.map(Level::name).join(", ");
        Problem::invalid(format!("`level` has to be one of {all}"))
    })
}

fn cursor(text: &str) -> Result<Cursor, Problem> {
    Cursor::parse(text)
        .ok_or_else(|| Problem::invalid("`after` is not the `next` of an answer before"))
}
