//! What every store has to do, one port or behaviour a file. The bodies know the
//! ports only; `fresh` says which implementation they run over.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod alarms;
mod answers;
mod audit;
mod brought;
mod caused;
mod certificates;
mod chains;
mod commands;
mod content;
mod crash;
mod credentials;
mod devices;
mod disk_full;
mod gateway_rules;
mod gateways;
mod isolation;
mod judging;
mod keeping;
mod ledger;
mod offers;
mod opening;
mod operators;
mod ownership;
mod payments;
mod pipeline;
mod proofs;
mod receipts;
mod registry;
mod rollouts;
mod runs;
mod seal_marks;
mod sends;
mod series;
mod series_model;
mod stamps;
mod starts;
mod tenancy;
mod two_processes;
mod users;
mod wallets;
mod workflows;

use std::path::Path;

use stencil_protocol::id::{CommandId, DeviceId, GatewayId, TenantId};
use stencil_protocol::sample::OwnedValue;
use stencil_store::sqlite::{self, Options};
use stencil_store::{Commit, Point, Quarantined, RunId, Store, Trigger, TwinUpdate};

/// A store of its own, with the tenants `acme` and `other`.
struct Fresh {
    store: Store,
    folder: tempfile::TempDir,
}

async fn fresh() -> Fresh {
    fresh_with(Options::default()).await
}

async fn fresh_with(options: Options) -> Fresh {
    let folder = tempfile::tempdir().unwrap();
    let store = reopen(folder.path(), options).await;
    store.tenancy.create_tenant(&acme(), 1).await.unwrap();
    store.tenancy.create_tenant(&other(), 1).await.unwrap();
    Fresh { store, folder }
}

async fn reopen(folder: &Path, options: Options) -> Store {
    sqlite::open_with(folder.join("hub.db"), options)
        .await
        .unwrap()
        .store()
}

fn acme() -> TenantId {
    TenantId::parse("acme").unwrap()
}

fn other() -> TenantId {
    TenantId::parse("other").unwrap()
}

fn device(id: &str) -> DeviceId {
    DeviceId::parse(id).unwrap()
}

fn gateway(id: &str) -> GatewayId {
    GatewayId::parse(id).unwrap()
}

fn command(n: u8) -> CommandId {
    CommandId([n; 16])
}

fn run(n: u8) -> RunId {
    RunId([n; 32])
}

fn point(name: &str, time_us: i64, value: OwnedValue) -> Point {
    Point {
        tenant: acme(),
        device: device("freezer-1"),
        name: name.into(),
        time_us,
        value,
        unit: None,
    }
}

fn twin(id: &str, time_us: i64, value: f64) -> TwinUpdate {
    TwinUpdate {
        tenant: acme(),
        device: device(id),
        gateway: None,
        name: "temperature".into(),
        value: OwnedValue::Number(value),
        unit: Some("degC".into()),
        time_us,
        received_us: time_us + 10,
        link: None,
    }
}

fn trigger(n: u8) -> Trigger {
    Trigger {
        run: run(n),
        tenant: acme(),
        workflow: "freezer-warm".into(),
        version: 1,
        event: serde_json::json!({ "device": "freezer-1" }),
        at_us: i64::from(n),
        not_before_us: None,
    }
}

fn quarantined(position: u64, reason: &str) -> Quarantined {
    Quarantined {
        tenant: acme(),
        device: Some(device("freezer-1")),
        topic: "stencil/v1/d/freezer-1/batch".into(),
        reason: reason.into(),
        path: Some("samples[3]".into()),
        payload: vec![1, 2, 3],
        at_us: 5,
        position,
    }
}

fn at(position: u64) -> Commit {
    Commit {
        position,
        ..Commit::default()
    }
}
