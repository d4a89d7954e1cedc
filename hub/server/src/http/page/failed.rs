//! What went wrong, as a page for who came with a browser: in the frame for who is signed in.

use axum::extract::{Request, State as Shared};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::{HeaderMap, Method, StatusCode, header};
use maud::{Markup, html};

use super::super::problem::Told;
use super::super::return_to::{self, ReturnTo};
use super::super::{Caller, State, access};
use super::{Frame, Nav, shell};

/// Paths that programs ask, whatever they take.
const FOR_PROGRAMS: [&str; 6] = [
    "/api/",
    "/content/v1/",
    "/x402/",
    "/assets/",
    "/live",
    "/metrics",
];

/// Answers problems to browsers by pages, and sends who is not signed in to do so.
pub(in crate::http) async fn framed(
    Shared(state): Shared<State>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let of_page = *request.method() == Method::GET
        && !FOR_PROGRAMS.iter().any(|start| path.starts_with(start))
        && takes_pages(request.headers());
    let nav = nav(path);
    let place = ReturnTo::of(request.uri());
    let headers = request.headers().clone();
    let response = next.run(request).await;
    let told = response.extensions().get::<Told>().cloned();
    let (true, Some(told)) = (of_page, told) else {
        return response;
    };
    if told.status == StatusCode::UNAUTHORIZED {
        return Redirect::to(&return_to::login(place.as_ref())).into_response();
    }
    let caller = match response.extensions().get::<Caller>() {
        Some(caller) => Some(caller.clone()),
        // A path that is none was not checked.
        None => access::of_session(&state, &headers).await,
    };
    let mut page = page(&state, caller.as_ref(), nav, &told)
        .await
        .into_response();
    *page.status_mut() = told.status;
    if let Some(after) = response.headers().get(header::RETRY_AFTER) {
        page.headers_mut()
            .insert(header::RETRY_AFTER, after.clone());
    }
    page
}

fn takes_pages(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT);
    let accept = accept.and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// Where in the navigation a path is.
fn nav(path: &str) -> Nav {
    match path.split('/').nth(1).unwrap_or_default() {
        "devices" => Nav::Devices,
        "alarms" => Nav::Alarms,
        "workflows" => Nav::Rules,
        "runs" => Nav::Runs,
        "content" => Nav::Content,
        "invoices" => Nav::Invoices,
        "ledger" => Nav::Ledger,
        "quarantine" => Nav::Quarantine,
        "settings" => Nav::Settings,
        "audit" => Nav::Audit,
        _ => Nav::Overview,
    }
}

async fn page(state: &State, caller: Option<&Caller>, nav: Nav, told: &Told) -> Html<String> {
    let body = html! {
        section.card aria-label="What went wrong" {
            div.empty {
                p.figure.dim { (told.status.as_u16()) }
                p { (sentence(&told.detail)) }
                (ways(caller.is_some()))
            }
        }
    };
    if let Some(caller) = caller {
        let frame = Frame::new(nav, told.title);
        // The frame asks the store: where that is what failed, the page goes without.
        if let Ok(page) = shell(state, caller, frame, body).await {
            return page;
        }
    }
    let body = html! {
        h1 { (told.title) }
        p { (sentence(&told.detail)) }
        (ways(caller.is_some()))
    };
    super::shell::alone(told.title, &body)
}

fn ways(signed_in: bool) -> Markup {
    html! {
        p {
            a href="/" { "Overview" }
            @if signed_in { " · " a href="/devices" { "Devices" } " · " a href="/alarms" { "Alarms" } }
        }
    }
}

/// The detail with a capital at its beginning and a full stop at its end; code goes without marks.
fn sentence(detail: &str) -> String {
    let mut characters = detail.chars().filter(|c| *c != '`');
    let mut text: String = characters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .collect();
    text.extend(characters);
    if !text.ends_with(['.', '!', '?']) {
        text.push('.');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_become_sentences() {
        assert_eq!(sentence("there is no device `a`"), "There is no device a.");
        assert_eq!(sentence("ärger."), "Ärger.");
        assert_eq!(sentence(""), ".");
    }
}
