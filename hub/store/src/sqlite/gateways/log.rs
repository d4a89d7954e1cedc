//! What the pipeline says of gateways.

use sqlx::SqliteConnection;

use super::super::pipeline::last_of_each;
use super::super::registry::epoch;
use super::super::row::link_text;
use super::change;
use crate::Error;
use crate::gateways::{FewDevices, GatewaySaid, GatewayVerdict};
use stencil_protocol::desired::{Few, Verdict};

/// Stores what gateways say that they are like.
pub(in crate::sqlite) async fn store(
    connection: &mut SqliteConnection,
    said: &[GatewaySaid],
) -> Result<(), Error> {
    for one in last_of_each(said, |one| (&one.tenant, &one.gateway)) {
        state(connection, one).await?;
    }
    Ok(())
}

fn few(few: Option<&Few>) -> Option<String> {
    few.map(|few| serde_json::json!(FewDevices::from(few)).to_string())
}

async fn state(connection: &mut SqliteConnection, said: &GatewaySaid) -> Result<(), Error> {
    match change::known(connection, &said.tenant, &said.gateway).await {
        // The tenant is gone, and its gateways with it.
        Err(Error::NotFound { .. }) => return Ok(()),
        other => other?,
    }
    let state = &said.state;
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    sqlx::query(
        "UPDATE gateways SET said_us = $3, version = $4, started_us = $5, \
         runs_revision = CASE WHEN epoch = $12 THEN $6 END, \
         spool_bytes = $7, waiting_bytes = $8, links = $9, certificate_end_us = $10, link = $11, \
         field_devices = $13, silent = $14, unused_keys = $15 \
         WHERE tenant = $1 AND gateway = $2",
    )
    .bind(said.tenant.as_str())
    .bind(said.gateway.as_str())
    .bind(said.received_us)
    .bind(state.version.clone())
    .bind(state.started_us)
    .bind(state.runs.map(|runs| number(runs.number)))
    .bind(number(state.spool_bytes))
    .bind(number(state.waiting_bytes))
    .bind(i64::from(state.links))
    .bind(state.certificate_end_us)
    .bind(link_text(&said.link))
    .bind(state.runs.map(|runs| number(runs.epoch)))
    .bind(state.field_devices.map(i64::from))
    .bind(few(state.silent.as_ref()))
    .bind(few(state.unused_keys.as_ref()))
    .execute(&mut *connection)
    .await?;
    let Some(last) = &state.last else {
        // It knows of nothing (any more): it is given what it shall be like.
        sqlx::query(
            "UPDATE gateways SET judged = 0, verdict = NULL, last_revision = NULL \
             WHERE tenant = $1 AND gateway = $2",
        )
        .bind(said.tenant.as_str())
        .bind(said.gateway.as_str())
        .execute(connection)
        .await?;
        return Ok(());
    };
    let of = i64::try_from(last.revision.epoch).unwrap_or(0);
    let judged = match last.verdict {
        // Not yet: it is named again until it is.
        Verdict::Trying => last.revision.number.saturating_sub(1),
        Verdict::Applied | Verdict::Refused | Verdict::RolledBack => last.revision.number,
    };
    let why: Vec<_> = GatewayVerdict::from(last.clone()).why;
    // A gateway that has judged more of this numbering than there is: this database was restored
    // from a backup, and the numbering began to be another one. It gets a name of its own.
    sqlx::query(
        "UPDATE gateways SET \
         judged = CASE WHEN epoch <> $3 OR revision < $4 THEN 0 ELSE $4 END, \
         epoch = CASE WHEN epoch = $3 AND revision < $4 THEN $5 ELSE epoch END, \
         last_revision = CASE WHEN epoch = $3 THEN $6 END, \
         verdict = CASE WHEN epoch = $3 THEN $7 END, verdict_us = $8, flaws = $9 \
         WHERE tenant = $1 AND gateway = $2",
    )
    .bind(said.tenant.as_str())
    .bind(said.gateway.as_str())
    .bind(of)
    .bind(number(judged))
    .bind(epoch()?)
    .bind(number(last.revision.number))
    .bind(last.verdict.name())
    .bind(last.at_us)
    .bind(serde_json::json!(why).to_string())
    .execute(connection)
    .await?;
    Ok(())
}
