//! A draft over what is stored.

use axum::Json;
use axum::extract::State as Shared;
use serde::Deserialize;
use stencil_workflow::definition;

use super::devices;
use crate::backtest::{Backtest, Question};
use crate::http::input::{self, MAX_BODY_BYTES};
use crate::http::problem::{Kind, Problem};
use crate::http::{Caller, State};

/// The years 1 to 9999, in µs since the Unix epoch: beyond that nobody means a time.
const TIMES_US: std::ops::Range<i64> = -62_135_596_800_000_000..253_402_300_800_000_000;

/// What to try, and over which stretch of the past.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Trial {
    /// The definition as YAML. It need not be kept, nor its version be a new one.
    #[schema(max_length = 65_536)]
    definition: String,
    /// From this event time on, in the years 1 to 9999.
    #[schema(minimum = -62_135_596_800_000_000_i64)]
    from_us: i64,
    /// Up to, but not with, this event time, in the years 1 to 9999.
    #[schema(maximum = 253_402_300_800_000_000_i64)]
    to_us: i64,
    /// This device only.
    device: Option<String>,
    /// Devices at most, the first ones by id; all that the rule is about if it is not given.
    #[schema(minimum = 1)]
    max_devices: Option<u32>,
}

/// Runs a draft over what is stored.
///
/// Says when its rule would have fired, in event time, and what versions in force really did
/// meanwhile. It changes nothing, starts nothing and tells nobody; what is not looked at within the
/// hub's bounds of samples, series and time is said in `truncated`. When the client goes away the
/// work ends.
#[utoipa::path(
    post,
    path = "/api/v1/backtest",
    tag = "workflows",
    request_body = Trial,
    responses(
        (status = 200, body = Backtest),
        (status = 404, description = "There is no such device"),
        (status = 422, description = "The definition has errors; `errors` says where"),
        (status = 429, description = "As many backtests as may be are running"),
    )
)]
pub(in crate::http) async fn run(
    Shared(state): Shared<State>,
    caller: Caller,
    input::Json(trial): input::Json<Trial, MAX_BODY_BYTES>,
) -> Result<Json<Backtest>, Problem> {
    let (from_us, to_us) = (trial.from_us, trial.to_us);
    for (name, time_us) in [("from_us", from_us), ("to_us", to_us)] {
        if !(TIMES_US.start..=TIMES_US.end).contains(&time_us) {
            return Err(Problem::invalid(format!(
                "`{name}` is {time_us}, it has to be in the years 1 to 9999, in microseconds since \
                 1970: {} to {}",
                TIMES_US.start, TIMES_US.end
            )));
        }
    }
    if from_us >= to_us {
        let detail = format!("`from_us` {from_us} is not before `to_us` {to_us}");
        return Err(Problem::invalid(detail));
    }
    if trial.max_devices == Some(0) {
        return Err(Problem::invalid(
            "`max_devices` is 0, it has to be 1 or more",
        ));
    }
    let definition = definition::parse(&trial.definition)?;
    let Some(rule) = definition.rule() else {
        return Err(Problem::invalid(format!(
            "the definition is about what is on a chain ({}): only rules on telemetry can be tried \
             on what is stored",
            definition.source
        )));
    };
    let device = match &trial.device {
        None => None,
        Some(device) => Some(devices::known(&state, &caller, device).await?.id),
    };
    if let Some(device) = &device
        && !rule.devices.matches(device.as_str())
    {
        return Err(Problem::invalid(format!(
            "`device` is `{device}`, which the rule is not about: it is about `{}`",
            rule.devices
        )));
    }
    let room = state.backtests().room();
    let _room = room.map_err(|max| {
        let detail = format!("{max} backtests are running, which is the most; try again soon");
        Problem::new(Kind::TooMany, detail)
    })?;
    let question = Question {
        tenant: &caller.tenant,
        definition: &definition,
        from_us,
        to_us,
        device: device.as_ref(),
        max_devices: trial
            .max_devices
            .map(|most| usize::try_from(most).unwrap_or(usize::MAX)),
    };
    Ok(Json(state.backtests().run(&state.store, &question).await?))
}
