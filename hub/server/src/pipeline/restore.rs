//! The state from which the pipeline goes on after a start.

use std::collections::BTreeSet;
use std::sync::Arc;

use stencil_log::Position;
use stencil_protocol::id::TenantId;
use stencil_store::{Error, Store};
use stencil_workflow::definition;

use super::State;
use super::rules::{self, InForce};
use super::streams;
use crate::{PipelineOptions, WorkflowOptions};

/// Loads what the last commit left: state and position belong together. `now_us` is the time at
/// which an alarm ends whose rule was lost.
///
/// # Errors
/// What the store says.
pub(crate) async fn restore(
    store: &Store,
    options: &PipelineOptions,
    workflow: &WorkflowOptions,
    now_us: i64,
) -> Result<(State, Position), Error> {
    let boots = u32::try_from(options.max_boots).unwrap_or(u32::MAX);
    let mut loaded = store.pipeline.load(boots).await?;
    let mut state = State::load(options.clone(), workflow.max_active, &loaded);
    let mut streams = streams::split(&mut loaded.rule_states);
    for stream in &mut streams {
        for (workflow, version, since) in std::mem::take(&mut stream.wanted) {
            let found = store
                .workflows
                .get(&stream.tenant, &workflow, Some(version))
                .await?;
            match found.map(|found| definition::parse(&found.yaml)) {
                Some(Ok(definition)) => {
                    let held = (since, Arc::new(definition));
                    stream.definitions.insert(workflow, held);
                }
                _ => tracing::error!(tenant = %stream.tenant, gateway = %stream.gateway, workflow,
                    version, "a version that a gateway judges cannot be read"),
            }
        }
    }
    let (rows, saved) = rules::split(std::mem::take(&mut loaded.rule_states));
    let mut in_force = Vec::with_capacity(rows.len());
    for (tenant, workflow, row) in rows {
        let Some(held) = store
            .workflows
            .get(&tenant, &workflow, Some(row.version))
            .await?
        else {
            tracing::error!(%tenant, workflow, version = row.version,
                "a workflow version that was in force is not in the store");
            continue;
        };
        match definition::parse(&held.yaml) {
            Ok(definition) => {
                let definition = Arc::new(definition);
                in_force.push(InForce {
                    tenant,
                    definition,
                    since: row.since,
                });
            }
            Err(error) => tracing::error!(%tenant, workflow, version = row.version, %error,
                "a workflow version that was in force cannot be read"),
        }
    }
    state.restore_streams(streams);
    let alarms = std::mem::take(&mut loaded.alarms);
    let unreadable = state.restore_rules(in_force, &saved, alarms, now_us);
    if unreadable > 0 {
        tracing::error!(
            unreadable,
            "states of rules cannot be read; those devices start afresh"
        );
    }
    state.rollouts.restore(store.rollouts.open().await?);
    Ok((state, Position(loaded.position)))
}

/// A change of a workflow that the store has and the log does not: (tenant, workflow, version to
/// put in force).
pub(crate) type Unlogged = (TenantId, String, Option<u32>);

/// Roll-outs that were asked for before a kill and not logged, or logged and not yet applied (to
/// ask again does no harm).
pub(crate) async fn unasked(
    store: &Store,
    state: &State,
) -> Result<Vec<(TenantId, [u8; 16])>, Error> {
    let open = store.rollouts.open().await?;
    let unasked = open
        .into_iter()
        .filter(|(tenant, stored, _)| !state.has_rollout(tenant, stored.id))
        .map(|(tenant, stored, _)| (tenant, stored.id));
    Ok(unasked.collect())
}

/// Workflows whose version in the store is not the one in force: the hub was killed after a change
/// was kept and before it was logged, or the log has it but it is not applied yet (to log it again
/// does no harm).
pub(crate) async fn unlogged(store: &Store, state: &State) -> Result<Vec<Unlogged>, Error> {
    let active = store.workflows.active().await?;
    let in_force: BTreeSet<_> = state.in_force().collect();
    let mut unlogged: Vec<Unlogged> = active
        .iter()
        .filter(|(tenant, held)| !in_force.contains(&(tenant, held.id.as_str(), held.version)))
        .map(|(tenant, held)| (tenant.clone(), held.id.clone(), Some(held.version)))
        .collect();
    let active: BTreeSet<_> = active
        .iter()
        .map(|(tenant, held)| (tenant, held.id.as_str()))
        .collect();
    let gone = in_force
        .iter()
        .filter(|(tenant, workflow, _)| !active.contains(&(tenant, workflow)));
    unlogged.extend(gone.map(|(tenant, workflow, _)| {
        let (tenant, workflow) = (TenantId::clone(tenant), (*workflow).to_owned());
        (tenant, workflow, None)
    }));
    Ok(unlogged)
}
