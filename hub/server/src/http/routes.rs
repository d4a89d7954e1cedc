//! All routes in one table: the router is built from it, and a test walks it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::handler::Handler;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::routing::{MethodFilter, MethodRouter, on};
use http::Method;

use super::access::{self, Access};
use super::api::access as rights;
use super::api::{alarms, backtest, commands, content, devices, export, ledger, retention};
use super::api::{audit as audit_log, me, operator, sessions, users};
use super::api::{births, callable, chains, credentials, dids, enrolment, registrations};
use super::api::{documents, held, market, ownership};
use super::api::{firmware, gateway_log, gateways, images, offers};
use super::api::{invoice_runs, invoices, payments, proofs, refunds, seal_marks};
use super::api::{rollouts, runs, series, spending, tokens, wallet, wallets, workflows};
use super::page::devices as fleet;
use super::page::enrolment as enrolment_pages;
use super::page::gateways as gateway_pages;
use super::page::invoices as invoice_pages;
use super::page::wallet as wallet_page;
use super::page::{
    alarms as alarm_pages, assets, content as content_pages, device, ledger as ledger_page, link,
    overview, quarantine, rollouts as rollout_pages, rules, run, sign_in, stream,
};
use super::page::{audit as audit_page, chart, checkout as checkout_page, failed, settings};
use super::{
    State, audit, checkout, headers, identity, in_request, input, keyed, ops, problem, public, x402,
};

/// One route.
#[derive(Debug, Clone)]
pub(super) struct Route {
    /// The method; GET answers HEAD too.
    pub(super) method: Method,
    /// The path, with `{names}` for its variable parts.
    pub(super) path: &'static str,
    /// Who may use it.
    pub(super) access: Access,
    /// Which parameters its query may have.
    pub(super) parameters: Parameters,
    handler: MethodRouter<State>,
}

/// Which parameters a query may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parameters {
    /// None.
    None,
    /// Those that its handler takes by [`input::Query`], which refuses others.
    Known,
    /// Whatever there is, and none of it counts: who shares a link to a published page adds some.
    Any,
}

impl Route {
    /// The same with these parameters.
    fn asked(mut self, parameters: Parameters) -> Self {
        self.parameters = parameters;
        self
    }
}

/// Every route there is, one a line.
#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    vec![
        read("/api/v1/overview", devices::overview),
        read("/api/v1/devices", devices::list).asked(Parameters::Known),
        read("/api/v1/devices/{device}", devices::one),
        admin(DELETE, "/api/v1/devices/{device}", devices::erase),
        read("/api/v1/devices/{device}/latest", devices::latest),
        read("/api/v1/devices/{device}/series", series::names),
        read("/api/v1/devices/{device}/series/{name}", series::range).asked(Parameters::Known),
        read("/api/v1/devices/{device}/series/{name}/csv", export::csv).asked(Parameters::Known),
        read("/api/v1/devices/{device}/ledger", ledger::of_device).asked(Parameters::Known),
        read("/api/v1/devices/{device}/commands", commands::of_device).asked(Parameters::Known),
        write(POST, "/api/v1/devices/{device}/commands", commands::queue),
        read("/api/v1/devices/{device}/proof", proofs::of_reading).asked(Parameters::Known),
        read("/api/v1/seals", proofs::seals).asked(Parameters::Known),
        read("/api/v1/seal-marks", seal_marks::list).asked(Parameters::Known),
        read("/api/v1/anchoring", proofs::anchoring),
        admin(PUT, "/api/v1/anchoring", proofs::set_anchoring),
        admin(DELETE, "/api/v1/anchoring", proofs::stop_anchoring),
        read("/api/v1/devices/{device}/firmware", firmware::of_device),
        read("/api/v1/devices/{device}/passport", ownership::of_device),
        admin(PUT, "/api/v1/devices/{device}/passport", ownership::give),
        admin(DELETE, "/api/v1/devices/{device}/passport", ownership::take),
        ask("/api/v1/devices/{device}/passport/check", ownership::check),
        read("/api/v1/ownership", ownership::settings),
        admin(PUT, "/api/v1/ownership", ownership::set),
        admin(DELETE, "/api/v1/ownership", ownership::remove),
        write(POST, "/api/v1/ownership/rights", ownership::read_right),
        read("/api/v1/ownership/accounts/{account}", ownership::of_account),
        ask("/api/v1/devices/{device}/passport/listing", market::list),
        ask("/api/v1/market/check", market::check),
        read("/api/v1/documents", documents::list).asked(Parameters::Known),
        write(POST, "/api/v1/documents", documents::keep),
        write(DELETE, "/api/v1/documents/{cid}", documents::forget),
        read("/api/v1/registrations", registrations::list).asked(Parameters::Known),
        open(GET, "/api/v1/enrolment/key", enrolment::key),
        write(POST, "/api/v1/devices/claim", enrolment::claim),
        admin(POST, "/api/v1/devices/enrol", enrolment::enrol),
        read("/api/v1/devices/{device}/registration", registrations::one),
        admin(POST, "/api/v1/devices/{device}/revoke", registrations::revoke),
        admin(POST, "/api/v1/devices/{device}/rotate", registrations::rotate),
        admin(POST, "/api/v1/devices/{device}/replace", registrations::replace),
        admin(POST, "/api/v1/devices/{device}/move", registrations::move_to),
        read("/api/v1/gateways", gateways::list).asked(Parameters::Known),
        read("/api/v1/gateways/{gateway}", gateways::one),
        admin(DELETE, "/api/v1/gateways/{gateway}", gateways::remove),
        read("/api/v1/gateways/{gateway}/certificates", gateways::certificates),
        admin(POST, "/api/v1/gateways/{gateway}/revoke", gateways::revoke),
        admin(POST, "/api/v1/gateways/{gateway}/seals/{epoch}/{number}/clear", seal_marks::clear),
        write(GET, "/api/v1/gateways/{gateway}/desired-state", gateways::desired),
        admin(PUT, "/api/v1/gateways/{gateway}/desired-state", gateways::set_desired),
        admin(PUT, "/api/v1/gateways/{gateway}/groups", gateways::set_groups),
        admin(GET, "/api/v1/gateways/{gateway}/logs", gateway_log::logs).asked(Parameters::Known),
        admin(GET, "/api/v1/gateways/{gateway}/metrics", gateway_log::metrics),
        admin(PUT, "/api/v1/gateways/{gateway}/log-level", gateway_log::set_level),
        read("/api/v1/gateway-groups", gateways::groups).asked(Parameters::Known),
        write(GET, "/api/v1/gateway-groups/{group}/desired-state", gateways::desired_of_group),
        admin(PUT, "/api/v1/gateway-groups/{group}/desired-state", gateways::set_desired_of_group),
        read("/api/v1/commands", commands::list).asked(Parameters::Known),
        read("/api/v1/commands/{command}", commands::one),
        read("/api/v1/runs", runs::list).asked(Parameters::Known),
        read("/api/v1/runs/{run}", runs::one),
        read("/api/v1/alarms", alarms::list).asked(Parameters::Known),
        read("/api/v1/alarms/counts", alarms::counts),
        read("/api/v1/alarms/{alarm}", alarms::one),
        read("/api/v1/alarms/{alarm}/history", alarms::history),
        write(POST, "/api/v1/alarms/{alarm}/acknowledge", alarms::acknowledge),
        write(POST, "/api/v1/alarms/{alarm}/silence", alarms::silence),
        read("/api/v1/update-trust", images::trust),
        admin(PUT, "/api/v1/update-trust", images::set_trust),
        read("/api/v1/images", images::list).asked(Parameters::Known),
        read("/api/v1/images/{image}", images::one),
        write(PUT, "/api/v1/images/{image}", images::push),
        read("/api/v1/rollouts", rollouts::list).asked(Parameters::Known),
        write(POST, "/api/v1/rollouts", rollouts::create),
        read("/api/v1/rollouts/{rollout}", rollouts::one),
        read("/api/v1/rollouts/{rollout}/devices", rollouts::devices).asked(Parameters::Known),
        read("/api/v1/rollouts/{rollout}/notices", rollouts::notices),
        write(POST, "/api/v1/rollouts/{rollout}/pause", rollouts::pause),
        write(POST, "/api/v1/rollouts/{rollout}/resume", rollouts::resume),
        write(POST, "/api/v1/rollouts/{rollout}/retry", rollouts::retry),
        write(POST, "/api/v1/rollouts/{rollout}/abort", rollouts::abort),
        read("/api/v1/ledger", ledger::list).asked(Parameters::Known),
        read("/api/v1/quarantine", ledger::quarantine).asked(Parameters::Known),
        read("/api/v1/content", content::collections),
        read("/api/v1/content/{collection}", content::list).asked(Parameters::Known),
        read("/api/v1/content/{collection}/{key}", content::one),
        read("/api/v1/content/{collection}/{key}/versions", content::versions).asked(Parameters::Known),
        read("/api/v1/workflows", workflows::list).asked(Parameters::Known),
        ask("/api/v1/workflows/check", workflows::check),
        ask("/api/v1/backtest", backtest::run),
        read("/api/v1/workflows/{workflow}", workflows::one),
        read("/api/v1/workflows/{workflow}/versions", workflows::versions).asked(Parameters::Known),
        read("/api/v1/workflows/{workflow}/gateways", workflows::at_gateways),
        write(PUT, "/api/v1/workflows/{workflow}", workflows::put),
        write(DELETE, "/api/v1/workflows/{workflow}", workflows::stop),
        read("/api/v1/invoices", invoices::list).asked(Parameters::Known),
        write(POST, "/api/v1/invoices", invoices::create),
        read("/api/v1/invoices/{invoice}", invoices::one),
        write(POST, "/api/v1/invoices/{invoice}/cancel", invoices::cancel),
        admin(POST, "/api/v1/invoices/{invoice}/decisions", invoices::decide),
        read("/api/v1/invoices/{invoice}/receipt", refunds::receipt),
        read("/api/v1/invoices/{invoice}/runs", invoice_runs::runs),
        write(POST, "/api/v1/invoices/{invoice}/start", invoice_runs::start),
        write(POST, "/api/v1/invoices/{invoice}/webhooks", refunds::tell_again),
        admin(POST, "/api/v1/invoices/{invoice}/refunds/{refund}/address", refunds::set_address),
        admin(POST, "/api/v1/invoices/{invoice}/refunds/{refund}/sent", refunds::sent),
        admin(GET, "/api/v1/payments/settings", payments::settings),
        admin(PUT, "/api/v1/payments/settings", payments::set_settings),
        read("/api/v1/payments/journal", payments::journal).asked(Parameters::Known),
        read("/api/v1/payments/balances", payments::balances),
        read("/api/v1/payments/unmatched", payments::unmatched).asked(Parameters::Known),
        read("/api/v1/offers", offers::list).asked(Parameters::Known),
        read("/api/v1/offers/{offer}", offers::one),
        admin(PUT, "/api/v1/offers/{offer}", offers::put),
        admin(DELETE, "/api/v1/offers/{offer}", offers::remove),
        read("/api/v1/purchases", offers::purchases).asked(Parameters::Known),
        admin(POST, "/api/v1/payers/{payer}/forgive", offers::forgive),
        read("/api/v1/payments/spending", callable::seen),
        read("/api/v1/credentials", credentials::list).asked(Parameters::Known),
        write(POST, "/api/v1/credentials", credentials::issue),
        open(POST, "/api/v1/credentials/verify", credentials::verify),
        read("/api/v1/credentials/{credential}", credentials::one),
        write(POST, "/api/v1/credentials/{credential}/revoke", credentials::revoke),
        write(POST, "/api/v1/credentials/{credential}/suspend", credentials::suspend),
        write(POST, "/api/v1/credentials/{credential}/resume", credentials::resume),
        read("/api/v1/dids/{did}", dids::one),
        admin(GET, "/api/v1/retention", retention::show),
        admin(PUT, "/api/v1/retention", retention::set),
        admin(GET, "/api/v1/tokens", tokens::list).asked(Parameters::Known),
        admin(POST, "/api/v1/tokens", tokens::create),
        admin(DELETE, "/api/v1/tokens/{token}", tokens::revoke),
        read("/api/v1/me", me::show),
        own(POST, "/api/v1/me/password", me::set_password),
        admin(GET, "/api/v1/users", users::list).asked(Parameters::Known),
        admin(POST, "/api/v1/users", users::create),
        admin(GET, "/api/v1/users/{user}", users::one),
        admin(PATCH, "/api/v1/users/{user}", users::change),
        admin(DELETE, "/api/v1/users/{user}", users::delete),
        admin(POST, "/api/v1/users/{user}/link", users::make_link),
        admin(GET, "/api/v1/wallets", wallets::list).asked(Parameters::Known),
        admin(POST, "/api/v1/wallets", wallets::grant),
        admin(GET, "/api/v1/wallets/{wallet}", wallets::one),
        admin(DELETE, "/api/v1/wallets/{wallet}", wallets::revoke),
        read("/api/v1/access/rights", rights::rights).asked(Parameters::Known),
        admin(POST, "/api/v1/access/rights", rights::grant),
        read("/api/v1/access/rights/{right}", rights::one),
        read("/api/v1/access/rights/{right}/history", rights::stood).asked(Parameters::Known),
        admin(POST, "/api/v1/access/rights/{right}/revoke", rights::revoke),
        read("/api/v1/access/policy", rights::policy),
        admin(PUT, "/api/v1/access/policy", rights::set_policy),
        read("/api/v1/access/receipts", rights::receipts).asked(Parameters::Known),
        enter(POST, "/api/v1/wallet/challenge", wallet::challenge),
        enter(POST, "/api/v1/wallet/sign-in", wallet::sign_in),
        enter(POST, "/api/v1/wallet/sign-out", wallet::sign_out),
        route(GET, "/api/v1/wallet", Access::Wallet, wallet::show),
        route(GET, "/api/v1/wallet/devices", Access::Wallet, held::list).asked(Parameters::Known),
        route(POST, "/api/v1/wallet/devices/{tenant}/{device}/commands", Access::Wallet, held::command),
        route(GET, "/api/v1/wallet/devices/{tenant}/{device}/commands/{command}", Access::Wallet, held::queued),
        route(POST, "/api/v1/wallet/devices/{tenant}/{device}/listing", Access::Wallet, held::list_for_sale),
        route(POST, "/api/v1/wallet/listings/{tenant}/check", Access::Wallet, held::check),
        route(POST, "/api/v1/wallet/devices/{tenant}/{device}/right", Access::Wallet, rights::of_token),
        route(GET, "/api/v1/wallet/access", Access::Wallet, rights::of_wallet).asked(Parameters::Known),
        route(GET, "/api/v1/wallet/access/{tenant}/{right}", Access::Wallet, rights::credential),
        route(GET, "/api/v1/wallet/access/{tenant}/{right}/file", Access::Wallet, rights::file),
        route(GET, "/api/v1/wallet/payments", Access::Wallet, wallet::payments).asked(Parameters::Known),
        read("/api/v1/sessions", sessions::list).asked(Parameters::Known),
        own(DELETE, "/api/v1/sessions/{session}", sessions::end),
        admin(GET, "/api/v1/audit", audit_log::list).asked(Parameters::Known),
        operator(GET, "/api/v1/operator/tenants", operator::list).asked(Parameters::Known),
        operator(POST, "/api/v1/operator/tenants", operator::create),
        operator(DELETE, "/api/v1/operator/tenants/{tenant}", operator::delete),
        operator(GET, "/api/v1/operator/tenants/{tenant}/spend-limits", spending::spend_limits),
        operator(PUT, "/api/v1/operator/tenants/{tenant}/spend-limits", spending::set_spend_limit),
        operator(GET, "/api/v1/operator/tenants/{tenant}/callable", callable::of_tenant),
        operator(PUT, "/api/v1/operator/tenants/{tenant}/callable", callable::set),
        operator(GET, "/api/v1/operator/chains", chains::chains),
        operator(POST, "/api/v1/operator/chains/{chain}/resume", chains::resume_chain),
        operator(GET, "/api/v1/operator/births", births::list).asked(Parameters::Known),
        operator(POST, "/api/v1/operator/births", births::create),
        open(GET, "/content/v1/{tenant}/{collection}", public::list).asked(Parameters::Known),
        open(GET, "/content/v1/{tenant}/{collection}/{key}", public::entry),
        open(GET, "/p/{tenant}/{collection}", public::index).asked(Parameters::Known),
        open(GET, "/p/{tenant}/{collection}/{key}", public::page).asked(Parameters::Any),
        open(GET, "/.well-known/did.json", identity::hub),
        open(GET, "/tenants/{tenant}/did.json", identity::tenant),
        open(GET, "/tenants/{tenant}/status/{purpose}/{list}", identity::list),
        open(GET, "/pay/{invoice}", checkout_page::show).asked(Parameters::Any),
        open(GET, "/pay/{invoice}/checkout", checkout::show),
        open(GET, "/pay/{invoice}/receipt", checkout::receipt),
        open(POST, "/pay/{invoice}/authorization", checkout::authorize),
        open(POST, "/pay/{invoice}/refunds/{refund}/address", checkout::refund_address),
        open(GET, "/x402/{tenant}/{offer}", x402::buy).asked(Parameters::Known),
        open(POST, "/x402/{tenant}/{offer}", x402::commands::order),
        open(GET, "/x402/{tenant}/{offer}/{purchase}", x402::commands::status),
        open(GET, "/ipfs/{cid}", documents::serve),
        open(GET, "/livez", ops::livez),
        open(GET, "/readyz", ops::readyz),
        open(GET, "/metrics", ops::metrics),
        open(GET, "/problems", problem::explained),
        route(GET, "/", Access::Page, overview::show),
        route(GET, "/devices", Access::Page, fleet::show).asked(Parameters::Known),
        route(GET, "/devices/{device}", Access::Page, device::show).asked(Parameters::Known),
        route(GET, "/gateways", Access::Page, gateway_pages::list).asked(Parameters::Known),
        route(GET, "/gateways/{gateway}", Access::Page, gateway_pages::one),
        route(GET, "/claim", Access::Page, enrolment_pages::claim),
        route(GET, "/enrolment", Access::Page, enrolment_pages::list).asked(Parameters::Known),
        route(GET, "/enrolment/{device}", Access::Page, enrolment_pages::one),
        route(GET, "/alarms", Access::Page, alarm_pages::list).asked(Parameters::Known),
        route(GET, "/alarms/{alarm}", Access::Page, alarm_pages::one),
        route(GET, "/workflows", Access::Page, rules::list).asked(Parameters::Known),
        route(GET, "/workflows/new", Access::Page, rules::create).asked(Parameters::Known),
        route(GET, "/workflows/{workflow}", Access::Page, rules::edit).asked(Parameters::Known),
        route(GET, "/runs", Access::Page, run::list).asked(Parameters::Known),
        route(GET, "/runs/{run}", Access::Page, run::one),
        route(GET, "/rollouts", Access::Page, rollout_pages::list).asked(Parameters::Known),
        route(GET, "/rollouts/{rollout}", Access::Page, rollout_pages::one).asked(Parameters::Known),
        route(GET, "/invoices", Access::Page, invoice_pages::list).asked(Parameters::Known),
        route(GET, "/invoices/{invoice}", Access::Page, invoice_pages::one),
        route(GET, "/content", Access::Page, content_pages::list).asked(Parameters::Known),
        route(GET, "/content/{collection}/{key}", Access::Page, content_pages::entry).asked(Parameters::Known),
        route(GET, "/ledger", Access::Page, ledger_page::show).asked(Parameters::Known),
        route(GET, "/quarantine", Access::Page, quarantine::show).asked(Parameters::Known),
        route(GET, "/settings", Access::Page, settings::show).asked(Parameters::Known),
        admin(GET, "/audit", audit_page::show).asked(Parameters::Known),
        read("/live/figure", rules::figure::show).asked(Parameters::Known),
        route(GET, "/devices/{device}/parts", Access::Page, device::parts).asked(Parameters::Known),
        read("/devices/{device}/chart", chart::data).asked(Parameters::Known),
        read("/live", stream::events).asked(Parameters::Known),
        route(GET, "/wallet", Access::WalletPage, wallet_page::show).asked(Parameters::Known),
        open(GET, "/wallet/buy", wallet_page::buying::show),
        enter(GET, "/login", sign_in::form).asked(Parameters::Known),
        enter(POST, "/login", sign_in::submit).asked(Parameters::Known),
        enter(POST, "/logout", sign_in::sign_out),
        enter(GET, "/link/{secret}", link::form),
        enter(POST, "/link/{secret}", link::submit),
        open(GET, "/assets/{file}", assets::file).asked(Parameters::Known),
    ]
}

/// The router over a state.
pub fn router(state: State) -> Router {
    let mut router = Router::new();
    let names = super::openapi::names();
    for Route {
        method,
        path,
        access,
        parameters,
        handler,
    } in routes()
    {
        tracing::debug!(%method, path, ?access, "a route");
        let of = state.clone();
        let check = from_fn(move |request: Request, next: Next| {
            access::check(access, of.clone(), request, next)
        });
        let action: Arc<str> = match names.get(&(method.to_string(), path.to_owned())) {
            Some(name) => Arc::from(name.as_str()),
            None => Arc::from(format!("{method} {path}")),
        };
        let of = state.clone();
        let note = from_fn(move |request: Request, next: Next| {
            audit::watch(Arc::clone(&action), access, of.clone(), request, next)
        });
        let handler = if keyed::is_taken(&method, path, access) {
            let of = state.clone();
            handler.route_layer(from_fn(move |request: Request, next: Next| {
                keyed::once(of.clone(), request, next)
            }))
        } else {
            handler
        };
        let handler = if parameters == Parameters::None {
            handler.route_layer(from_fn(input::no_query))
        } else {
            handler
        };
        router = router.route(path, handler.route_layer(check).route_layer(note));
    }
    router
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::wrong_method)
        .layer(DefaultBodyLimit::max(input::MAX_BODY_BYTES))
        .layer(from_fn_with_state(state.clone(), failed::framed))
        .layer(from_fn_with_state(state.clone(), headers::add))
        .layer(from_fn_with_state(state.clone(), in_request::hold))
        .with_state(state)
}

const GET: Method = Method::GET;
const PATCH: Method = Method::PATCH;
const PUT: Method = Method::PUT;
const POST: Method = Method::POST;
const DELETE: Method = Method::DELETE;

/// For anybody.
fn open<T: 'static>(method: Method, path: &'static str, handler: impl Handler<T, State>) -> Route {
    route(method, path, Access::Public, handler)
}

/// For anybody with a browser, to sign in or out.
fn enter<T: 'static>(method: Method, path: &'static str, handler: impl Handler<T, State>) -> Route {
    route(method, path, Access::SignIn, handler)
}

/// For whoever has an API token.
fn read<T: 'static>(path: &'static str, handler: impl Handler<T, State>) -> Route {
    route(GET, path, Access::Read, handler)
}

/// For whoever has an API token: a POST whose question is too long for a query, and which changes
/// nothing.
fn ask<T: 'static>(path: &'static str, handler: impl Handler<T, State>) -> Route {
    route(POST, path, Access::Read, handler)
}

/// For whoever is signed in, to change what is their own.
fn own<T: 'static>(method: Method, path: &'static str, handler: impl Handler<T, State>) -> Route {
    route(method, path, Access::Own, handler)
}

/// For editors and admins.
fn write<T: 'static>(method: Method, path: &'static str, handler: impl Handler<T, State>) -> Route {
    route(method, path, Access::Write, handler)
}

/// For admins.
fn admin<T: 'static>(method: Method, path: &'static str, handler: impl Handler<T, State>) -> Route {
    route(method, path, Access::Admin, handler)
}

/// For who runs the hub.
fn operator<T: 'static>(
    method: Method,
    path: &'static str,
    handler: impl Handler<T, State>,
) -> Route {
    route(method, path, Access::Operator, handler)
}

fn route<T: 'static>(
    method: Method,
    path: &'static str,
    access: Access,
    handler: impl Handler<T, State>,
) -> Route {
    // All methods of the table are filters.
    let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::TRACE);
    Route {
        method,
        path,
        access,
        parameters: Parameters::None,
        handler: on(filter, handler),
    }
}
