//! What the versions in force did in the time of a backtest.

use serde_json::Value;
use stencil_store::{AlarmFilter, Error, MAX_PAGE, RunFilter, Store};

use super::{Actual, Backtest, Question};

/// Adds the runs and alarms of the workflow in the backtest's range.
pub(super) async fn add(
    store: &Store,
    question: &Question<'_>,
    backtest: &mut Backtest,
) -> Result<(), Error> {
    let (tenant, id) = (question.tenant, &question.definition.id);
    let (from_us, to_us) = (Some(question.from_us), Some(question.to_us));
    let active = store.workflows.get(tenant, id, None).await?;
    let active = active.filter(|workflow| workflow.active);
    backtest.active_version = active.map(|workflow| workflow.version);
    let filter = RunFilter {
        workflow: Some(id.clone()),
        from_us,
        to_us,
        ..RunFilter::default()
    };
    let runs = store.runs.list(tenant, &filter, None, MAX_PAGE).await?;
    let filter = AlarmFilter {
        device: question.device.cloned(),
        workflow: Some(id.clone()),
        from_us,
        to_us,
        ..AlarmFilter::default()
    };
    let alarms = store.alarms.list(tenant, &filter, None, MAX_PAGE).await?;
    if runs.next.is_some() || alarms.next.is_some() {
        let more = format!("only the newest {MAX_PAGE} of what happened");
        backtest.truncated = Some(match backtest.truncated.take() {
            Some(reasons) => format!("{reasons}; {more}"),
            None => more,
        });
    }
    let runs = runs.items.into_iter().map(|run| Actual {
        device: match &run.event["device"] {
            Value::String(device) => device.clone(),
            _ => String::new(),
        },
        at_us: run.at_us,
        version: run.version,
        run: Some(run.id),
        alarm: None,
        cleared_us: None,
    });
    let alarms = alarms.items.into_iter().map(|alarm| Actual {
        device: alarm.device.to_string(),
        at_us: alarm.raised_us,
        version: alarm.version,
        run: None,
        alarm: Some(alarm.id),
        cleared_us: alarm.cleared_us,
    });
    let about = |one: &Actual| {
        question
            .device
            .is_none_or(|only| *only.as_str() == *one.device)
    };
    backtest.actual = runs.chain(alarms).filter(about).collect();
    backtest
        .actual
        .sort_by(|a, b| (a.at_us, &a.device).cmp(&(b.at_us, &b.device)));
    Ok(())
}
