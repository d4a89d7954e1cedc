//! The API of a tenant's programs, `/api/v1`.

pub(super) mod access;
pub(super) mod alarms;
pub(super) mod audit;
pub(super) mod backtest;
pub(super) mod births;
pub(super) mod callable;
pub(super) mod chains;
pub(super) mod commands;
pub(super) mod content;
pub(super) mod credentials;
pub(super) mod devices;
pub(super) mod dids;
pub(super) mod documents;
pub(super) mod enrolment;
pub(super) mod export;
pub(super) mod firmware;
pub(super) mod gateway_log;
pub(super) mod gateways;
pub(super) mod held;
pub(super) mod images;
pub(super) mod invoice_runs;
pub(super) mod invoices;
pub(super) mod ledger;
pub(super) mod market;
pub(super) mod me;
pub(super) mod offers;
pub(super) mod operator;
pub(super) mod ownership;
pub(super) mod payments;
pub(super) mod proofs;
pub(super) mod refunds;
pub(super) mod registrations;
pub(super) mod retention;
pub(super) mod rollouts;
pub(super) mod runs;
pub(super) mod seal_marks;
pub(super) mod series;
pub(super) mod sessions;
pub(super) mod spending;
pub(super) mod tokens;
pub(super) mod users;
pub(super) mod wallet;
pub(super) mod wallets;
pub(super) mod workflows;

use serde::Serialize;

/// A list that is never longer than one page.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct Whole<T> {
    items: Vec<T>,
    #[schema(value_type = Option<String>)]
    next: Option<()>,
}

impl<T> Whole<T> {
    pub(in crate::http) fn of(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}
