//! The API's description as an OpenAPI 3.1 document, made from the code that answers.
//!
//! # How a route gets into it
//! Beside its line in the table of routes, a handler of `/api/v1` or of payers carries an annotation and stands
//! in the list of [`Described`]; tests fail when one of the three is missing, or contradicts:
//!
//! ```text
//! /// Devices, by id.
//! #[utoipa::path(
//!     get,
//!     path = "/api/v1/devices",
//!     tag = "devices",
//!     params(Paging),
//!     responses((status = 200, body = Page<Device>))
//! )]
//! pub(in crate::http) async fn list(…)
//! ```
//!
//! Rows derive `utoipa::ToSchema`, queries `utoipa::IntoParams` (with
//! `#[into_params(parameter_in = Query)]`). A field whose JSON its type does not tell says
//! `#[schema(value_type = String)]` (ids), `stencil_store::schema::Scalar` (readings) or
//! `stencil_store::schema::Json`.
//!
//! The annotation states what is particular: parameters, the body, what success looks like, 409
//! and 422 with their reasons. What follows from the table and the path is added here and is not
//! written down again: the parameters of the path, who may use the route, and the problems that
//! any such route may answer (400, 401, 403, 404, 413, 415, 429, 500, 503) as problem documents.
//!
//! `stencil openapi` prints the document. `docs/openapi.json` is that, and a test compares;
//! `STENCIL_UPDATE_OPENAPI=1 cargo test -p stencil-server openapi` writes it anew.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use super::access::Access;
use super::api::access as rights;
use super::api::{alarms, backtest, commands, content, devices, export, ledger, retention};
use super::api::{audit, me, operator, sessions, users};
use super::api::{births, callable, chains, credentials, dids, enrolment, registrations};
use super::api::{documents, held, market, ownership};
use super::api::{firmware, gateway_log, gateways, images, offers};
use super::api::{invoice_runs, invoices, payments, proofs, refunds, seal_marks};
use super::api::{rollouts, runs, series, spending, tokens, wallet, wallets, workflows};
use super::routes::{Route, routes};
use super::{checkout, input, keyed};

/// The handlers that are described, in the order of the table of routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Stencil Hub",
        version = env!("CARGO_PKG_VERSION"),
        description = "What a tenant's programs and people may ask of a hub. \
            Errors are problem documents (RFC 9457). Lists answer `items` and `next`, the cursor of \
            the next page: hand it back as `after`; it is null at the end. Times are microseconds \
            since the Unix epoch. An unknown parameter or field is refused.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
        contact(name = "Stencil Hub")
    ),
    paths(
        devices::overview,
        devices::list,
        devices::one,
        devices::erase,
        devices::latest,
        series::names,
        series::range,
        export::csv,
        ledger::of_device,
        commands::of_device,
        commands::queue,
        proofs::of_reading,
        proofs::seals,
        seal_marks::list,
        proofs::anchoring,
        proofs::set_anchoring,
        proofs::stop_anchoring,
        firmware::of_device,
        ownership::of_device,
        ownership::give,
        ownership::take,
        ownership::check,
        ownership::settings,
        ownership::set,
        ownership::remove,
        ownership::read_right,
        ownership::of_account,
        market::list,
        market::check,
        documents::list,
        documents::keep,
        documents::forget,
        registrations::list,
        enrolment::key,
        enrolment::claim,
        enrolment::enrol,
        registrations::one,
        registrations::revoke,
        registrations::rotate,
        registrations::replace,
        registrations::move_to,
        gateways::list,
        gateways::one,
        gateways::certificates,
        gateways::remove,
        gateways::revoke,
        seal_marks::clear,
        gateways::desired,
        gateways::set_desired,
        gateways::set_groups,
        gateway_log::logs,
        gateway_log::metrics,
        gateway_log::set_level,
        gateways::groups,
        gateways::desired_of_group,
        gateways::set_desired_of_group,
        commands::list,
        commands::one,
        runs::list,
        runs::one,
        alarms::list,
        alarms::counts,
        alarms::one,
        alarms::history,
        alarms::acknowledge,
        alarms::silence,
        images::trust,
        images::set_trust,
        images::list,
        images::one,
        images::push,
        rollouts::list,
        rollouts::create,
        rollouts::one,
        rollouts::devices,
        rollouts::notices,
        rollouts::pause,
        rollouts::resume,
        rollouts::retry,
        rollouts::abort,
        ledger::list,
        ledger::quarantine,
        content::collections,
        content::list,
        content::one,
        content::versions,
        workflows::list,
        workflows::check,
        backtest::run,
        workflows::one,
        workflows::versions,
        workflows::at_gateways,
        workflows::put,
        workflows::stop,
        invoices::list,
        invoices::create,
        invoices::one,
        invoices::cancel,
        invoices::decide,
        invoice_runs::runs,
        invoice_runs::start,
        refunds::receipt,
        refunds::tell_again,
        refunds::set_address,
        refunds::sent,
        checkout::show,
        checkout::authorize,
        checkout::receipt,
        checkout::refund_address,
        payments::settings,
        payments::set_settings,
        payments::journal,
        payments::balances,
        payments::unmatched,
        offers::list,
        offers::one,
        offers::put,
        offers::remove,
        offers::purchases,
        offers::forgive,
        callable::seen,
        credentials::list,
        credentials::issue,
        credentials::verify,
        credentials::one,
        credentials::revoke,
        credentials::suspend,
        credentials::resume,
        dids::one,
        retention::show,
        retention::set,
        tokens::list,
        tokens::create,
        tokens::revoke,
        me::show,
        me::set_password,
        users::list,
        users::create,
        users::one,
        users::change,
        users::delete,
        users::make_link,
        wallets::list,
        wallets::grant,
        wallets::one,
        wallets::revoke,
        wallet::challenge,
        wallet::sign_in,
        wallet::sign_out,
        wallet::show,
        held::list,
        held::command,
        held::queued,
        held::list_for_sale,
        held::check,
        wallet::payments,
        rights::of_wallet,
        rights::of_token,
        rights::credential,
        rights::file,
        rights::rights,
        rights::grant,
        rights::one,
        rights::stood,
        rights::revoke,
        rights::policy,
        rights::set_policy,
        rights::receipts,
        sessions::list,
        sessions::end,
        audit::list,
        operator::list,
        operator::create,
        operator::delete,
        spending::spend_limits,
        spending::set_spend_limit,
        callable::of_tenant,
        callable::set,
        chains::chains,
        chains::resume_chain,
        births::list,
        births::create,
    )
)]
struct Described;

/// The OpenAPI 3.1 document of `/api/v1`, and of what payers ask, as pretty JSON with a newline at its end.
#[must_use]
pub fn openapi() -> String {
    let mut document = serde_json::to_value(Described::openapi()).unwrap_or_default();
    if let Some(components) = object(&mut document, "components") {
        components.insert("securitySchemes".to_owned(), schemes());
        if let Some(schemas) = components
            .entry("schemas")
            .or_insert(json!({}))
            .as_object_mut()
        {
            schemas.insert("Problem".to_owned(), problem());
        }
    }
    let table = routes();
    if let Some(paths) = object(&mut document, "paths") {
        for (path, item) in paths.iter_mut() {
            for (method, operation) in item.as_object_mut().into_iter().flatten() {
                let route = table.iter().find(|route| {
                    route.path == path && route.method.as_str().eq_ignore_ascii_case(method)
                });
                if let (Some(route), Some(operation)) = (route, operation.as_object_mut()) {
                    complete(operation, route);
                }
            }
        }
    }
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

/// What the operations are called, by method and path: `tokens.create` for `POST /api/v1/tokens`.
pub(super) fn names() -> BTreeMap<(String, String), String> {
    let document = serde_json::to_value(Described::openapi()).unwrap_or_default();
    let mut names = BTreeMap::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            let mut operation = operation.as_object().cloned().unwrap_or_default();
            name(&mut operation);
            if let Some(name) = operation.get("operationId").and_then(Value::as_str) {
                names.insert((method.to_uppercase(), path.clone()), name.to_owned());
            }
        }
    }
    names
}

/// Adds what follows from the route.
fn complete(operation: &mut Map<String, Value>, route: &Route) {
    name(operation);
    parameters(operation, route);
    let body = operation.get("requestBody").cloned();
    let json = body
        .as_ref()
        .is_some_and(|body| !body["content"]["application/json"].is_null());
    // 400 wherever there is a query, known or not.
    let mut statuses: BTreeSet<u16> = [400, 429, 500, 503].into();
    if route.path.contains('{') {
        statuses.insert(404);
    }
    if body.is_some() {
        statuses.insert(413);
    }
    if json {
        statuses.insert(415);
    }
    if keyed::is_taken(&route.method, route.path, route.access) {
        statuses.extend([409, 422]);
        let listed = operation.entry("parameters").or_insert(json!([]));
        if let Some(listed) = listed.as_array_mut() {
            listed.push(json!({
                "name": "Idempotency-Key",
                "in": "header",
                "required": false,
                "description": "The caller's own name of this request: sent again within a day, it \
                    does nothing and is answered the same",
                "schema": { "type": "string", "minLength": 1, "maxLength": input::MAX_KEY_BYTES },
            }));
        }
    }
    if route.access == Access::SignIn {
        statuses.extend([403, 421]);
        operation.insert("security".to_owned(), json!([]));
    } else if route.access != Access::Public {
        // A device's token is refused everywhere.
        statuses.extend([401, 403]);
        if route.access != Access::Operator {
            statuses.insert(421);
        }
        let by = if route.access == Access::Operator {
            json!([{ "operator": [] }])
        } else if matches!(route.access, Access::Wallet | Access::WalletPage) {
            json!([{ "session": [] }])
        } else {
            json!([{ "token": [] }, { "session": [] }])
        };
        operation.insert("security".to_owned(), by);
        operation.insert("x-access".to_owned(), route.access.who().into());
    }
    let Some(responses) = object_of(operation, "responses") else {
        return;
    };
    for status in statuses {
        responses
            .entry(status.to_string())
            .or_insert_with(|| json!({ "description": "" }));
    }
    for (status, response) in responses.iter_mut() {
        let status: u16 = status.parse().unwrap_or_default();
        let Some(response) = response.as_object_mut() else {
            continue;
        };
        if response.get("description").is_none_or(|text| text == "") {
            response.insert("description".to_owned(), meaning(status).into());
        }
        if status >= 400 {
            let schema = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
            response.insert(
                "content".to_owned(),
                json!({ "application/problem+json": schema }),
            );
        }
        if matches!(status, 429 | 503) {
            let header = json!({
                "description": "Seconds after which the same request may succeed",
                "schema": { "type": "integer", "minimum": 1 },
            });
            response.insert("headers".to_owned(), json!({ "Retry-After": header }));
        }
    }
}

/// Operations of several modules are called `list`: the tag makes the name unique.
fn name(operation: &mut Map<String, Value>) {
    let tag = operation.get("tags").and_then(|tags| tags[0].as_str());
    let name = operation.get("operationId").and_then(Value::as_str);
    if let (Some(tag), Some(name)) = (tag, name) {
        let unique = format!("{tag}.{name}");
        operation.insert("operationId".to_owned(), unique.into());
    }
}

/// Adds the parameters of the path.
fn parameters(operation: &mut Map<String, Value>, route: &Route) {
    let listed = operation.entry("parameters").or_insert(json!([]));
    let Some(listed) = listed.as_array_mut() else {
        return;
    };
    let named = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let of_path: Vec<Value> = named
        .map(|name| {
            json!({
                "name": name,
                "in": "path",
                "required": true,
                "schema": { "type": "string", "minLength": 1 },
            })
        })
        .collect();
    listed.splice(0..0, of_path);
    if listed.is_empty() {
        operation.remove("parameters");
    }
}

fn meaning(status: u16) -> &'static str {
    match status {
        200 => "Here it is",
        201 => "Made",
        400 => "A parameter or the body breaks a rule; `detail` says which",
        401 => "No valid token or session",
        403 => "The token or session does not allow this",
        404 => "There is no such thing in the tenant",
        409 => "A request with this `Idempotency-Key` is being answered",
        413 => "The body is too large",
        415 => "The body is not `application/json`",
        421 => "By a session's cookie, under a name that is not the hub's",
        422 => "The `Idempotency-Key` was used for another request",
        429 => "Too many requests",
        500 => "The hub has a fault",
        504 => "The gateway has not answered in time",
        503 => "The hub cannot do this right now",
        _ => "",
    }
}

fn schemes() -> Value {
    json!({
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API token: `Authorization: Bearer <token>`",
        },
        "operator": {
            "type": "http",
            "scheme": "bearer",
            "description": "The token of who runs the hub: `Authorization: Bearer <token>`",
        },
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": super::session::COOKIE,
            "description": "The session of somebody who has signed in with a browser. Where people come by \
                TLS its name is `__Host-stencil_session`. What changes something is taken from a page \
                of the hub itself only.",
        },
    })
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "A problem document (RFC 9457)",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": { "type": "string", "description": "The kind; `/problems` explains each" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string", "description": "What was wrong and what would be right" },
            "errors": { "type": "array", "description": "What is wrong in detail, one by one" },
        },
    })
}

fn object<'v>(value: &'v mut Value, key: &str) -> Option<&'v mut Map<String, Value>> {
    value.get_mut(key)?.as_object_mut()
}

fn object_of<'m>(map: &'m mut Map<String, Value>, key: &str) -> Option<&'m mut Map<String, Value>> {
    map.get_mut(key)?.as_object_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The prefixes of all that is described.
    const PREFIXES: [&str; 2] = ["/api/v1/", "/pay/{invoice}/"];

    fn document() -> Value {
        serde_json::from_str(&openapi()).unwrap()
    }

    fn operations(document: &Value) -> Vec<(String, String, Value)> {
        let mut operations = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                operations.push((method.to_uppercase(), path.clone(), operation.clone()));
            }
        }
        operations
    }

    #[test]
    fn openapi_describes_each_route_of_the_table_and_no_other() {
        let described: BTreeSet<_> = operations(&document())
            .into_iter()
            .map(|(method, path, _)| (method, path))
            .collect();
        let table: BTreeSet<_> = routes()
            .iter()
            .filter(|route| PREFIXES.iter().any(|it| route.path.starts_with(it)))
            .map(|route| (route.method.to_string(), route.path.to_owned()))
            .collect();
        assert_eq!(
            described, table,
            "annotate each route of {PREFIXES:?} and list it here"
        );
    }

    #[test]
    fn openapi_operations_are_complete() {
        let mut names = BTreeSet::new();
        for (method, path, operation) in operations(&document()) {
            let of = format!("{method} {path}");
            let name = operation["operationId"].as_str().unwrap().to_owned();
            assert!(name.contains('.'), "{of} has no tag");
            assert!(
                names.insert(name),
                "{of}: its tag and function name are another's too"
            );
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{of}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(
                responses.keys().any(|status| status.starts_with('2')),
                "{of} never succeeds"
            );
            for (status, response) in responses {
                assert_ne!(response["description"], "", "{of} {status}");
                let body = response["content"].is_object();
                assert_eq!(body, status != "204", "{of} {status}");
            }
            let mut named = operation["parameters"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            named.sort_by_key(|p| (p["in"].to_string(), p["name"].to_string()));
            let before = named.len();
            named.dedup_by_key(|p| (p["in"].to_string(), p["name"].to_string()));
            assert_eq!(before, named.len(), "{of} has a parameter twice");
        }
    }

    #[test]
    fn openapi_references_lead_somewhere() {
        let document = document();
        let text = document.to_string();
        let referred = text.split("\"#/components/schemas/").skip(1);
        for name in referred.map(|rest| rest.split('"').next().unwrap()) {
            let schema = &document["components"]["schemas"][name];
            assert!(schema.is_object(), "there is no schema {name}");
        }
    }

    #[test]
    fn openapi_is_what_the_docs_have() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        let made = openapi();
        if std::env::var_os("STENCIL_UPDATE_OPENAPI").is_some() {
            std::fs::write(path, &made).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap();
        assert!(
            made == kept,
            "the API has changed: write docs/openapi.json anew by \
             `STENCIL_UPDATE_OPENAPI=1 cargo test -p stencil-server openapi`"
        );
    }
}
