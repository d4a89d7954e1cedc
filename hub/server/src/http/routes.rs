//! All routes in one table: the router is built from it, and a test walks it.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{Next, from_fn};
use axum::routing::{MethodRouter, delete, get, post, put};
use http::Method;

use super::api::{commands, content, devices, ledger, runs, series, tokens, workflows};
use super::page::{self, assets, fragments, sign_in, stream};
use super::{Access, State, access, headers, input, ops, problem, public};

/// One route.
#[derive(Debug, Clone)]
pub struct Route {
    /// The method; GET answers HEAD too.
    pub method: Method,
    /// The path, with `{names}` for its variable parts.
    pub path: &'static str,
    /// Who may use it.
    pub access: Access,
    handler: MethodRouter<State>,
}

/// Every route there is.
#[must_use]
pub fn routes() -> Vec<Route> {
    let route = |method: Method, path, access, handler| Route { method, path, access, handler };
    use Access::{Admin, Page, Public, Read, Write};
    vec![
        route(Method::GET, "/api/v1/devices", Read, get(devices::list)),
        route(Method::GET, "/api/v1/devices/{device}", Read, get(devices::one)),
        route(Method::GET, "/api/v1/devices/{device}/latest", Read, get(devices::latest)),
        route(Method::GET, "/api/v1/devices/{device}/series", Read, get(series::names)),
        route(Method::GET, "/api/v1/devices/{device}/series/{name}", Read, get(series::range)),
        route(Method::GET, "/api/v1/devices/{device}/ledger", Read, get(ledger::of_device)),
        route(Method::GET, "/api/v1/devices/{device}/commands", Read, get(commands::of_device)),
        route(Method::POST, "/api/v1/devices/{device}/commands", Write, post(commands::queue)),
        route(Method::GET, "/api/v1/commands", Read, get(commands::list)),
        route(Method::GET, "/api/v1/commands/{command}", Read, get(commands::one)),
        route(Method::GET, "/api/v1/runs", Read, get(runs::list)),
        route(Method::GET, "/api/v1/runs/{run}", Read, get(runs::one)),
        route(Method::GET, "/api/v1/ledger", Read, get(ledger::list)),
        route(Method::GET, "/api/v1/quarantine", Read, get(ledger::quarantine)),
        route(Method::GET, "/api/v1/content", Read, get(content::collections)),
        route(Method::GET, "/api/v1/content/{collection}", Read, get(content::list)),
        route(Method::GET, "/api/v1/content/{collection}/{key}", Read, get(content::one)),
        route(
            Method::GET,
            "/api/v1/content/{collection}/{key}/versions",
            Read,
            get(content::versions),
        ),
        route(Method::GET, "/api/v1/workflows", Read, get(workflows::list)),
        route(Method::GET, "/api/v1/workflows/{workflow}", Read, get(workflows::one)),
        route(Method::PUT, "/api/v1/workflows/{workflow}", Write, put(workflows::put)),
        route(Method::DELETE, "/api/v1/workflows/{workflow}", Write, delete(workflows::stop)),
        route(
            Method::GET,
            "/api/v1/workflows/{workflow}/versions",
            Read,
            get(workflows::versions),
        ),
        route(Method::GET, "/api/v1/tokens", Admin, get(tokens::list)),
        route(Method::POST, "/api/v1/tokens", Admin, post(tokens::create)),
        route(Method::DELETE, "/api/v1/tokens/{token}", Admin, delete(tokens::revoke)),
        route(Method::GET, "/content/v1/{tenant}/{collection}", Public, get(public::list)),
        route(Method::GET, "/content/v1/{tenant}/{collection}/{key}", Public, get(public::entry)),
        route(Method::GET, "/p/{tenant}/{collection}", Public, get(public::index)),
        route(Method::GET, "/p/{tenant}/{collection}/{key}", Public, get(public::page)),
        route(Method::GET, "/livez", Public, get(ops::livez)),
        route(Method::GET, "/readyz", Public, get(ops::readyz)),
        route(Method::GET, "/metrics", Public, get(ops::metrics)),
        route(Method::GET, "/problems", Public, get(problem::explained)),
        route(Method::GET, "/", Page, get(page::show)),
        route(Method::GET, "/live", Read, get(stream::events)),
        route(Method::GET, "/live/fleet", Read, get(fragments::fleet)),
        route(Method::GET, "/live/chart", Read, get(fragments::chart)),
        route(Method::GET, "/live/runs", Read, get(fragments::runs)),
        route(Method::GET, "/live/commands", Read, get(fragments::commands)),
        route(Method::GET, "/login", Public, get(sign_in::form)),
        route(Method::POST, "/login", Public, post(sign_in::submit)),
        route(Method::POST, "/logout", Public, post(sign_in::sign_out)),
        route(Method::GET, "/assets/live.js", Public, get(assets::script)),
        route(Method::GET, "/assets/live.css", Public, get(assets::style)),
    ]
}

/// The router over a state.
pub fn router(state: State) -> Router {
    let mut router = Router::new();
    for Route { path, access, handler, .. } in routes() {
        let of = state.clone();
        let check = from_fn(move |request: Request, next: Next| {
            access::check(access, of.clone(), request, next)
        });
        router = router.route(path, handler.route_layer(check));
    }
    router
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::wrong_method)
        .layer(DefaultBodyLimit::max(input::MAX_BODY_BYTES))
        .layer(from_fn(headers::add))
        .with_state(state)
}
