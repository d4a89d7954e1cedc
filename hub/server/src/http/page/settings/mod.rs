//! `GET /settings`: oneself and one's sessions; for admins the tenant's people, tokens and how long
//! it keeps what, and its wallets; what the hub connects to; the hub itself.

mod about;
mod people;
mod retention;
mod tokens;
mod wallets;
mod you;

use axum::extract::State as Shared;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;
use stencil_store::Role;

use super::super::input::Query;
use super::super::problem::Problem;
use super::super::{Caller, State};
use super::{Frame, Nav, assets, shell};

/// Which part of the lists.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct View {
    /// People after this cursor.
    people: Option<String>,
    /// Wallets after this cursor.
    wallets: Option<String>,
    /// Tokens after this cursor.
    tokens: Option<String>,
}

/// `GET /settings?people&wallets&tokens`
pub(in crate::http) async fn show(
    Shared(state): Shared<State>,
    caller: Caller,
    Query(view): Query<View>,
) -> Result<Html<String>, Problem> {
    let admin = caller.role == Role::Admin;
    let body = html! {
        nav.segments aria-label="On this page" {
            a href="#you" { "You" }
            @if admin { a href="#people" { "People" } a href="#wallets" { "Wallets" } a href="#tokens" { "Tokens" } }
            a href="#retention" { "Retention" }
            a href="#connections" { "Connections" }
            a href="#hub" { "Hub" }
        }
        div.grid {
            (you::render(&state, &caller).await?)
            (you::sessions(&state, &caller).await?)
        }
        @if admin {
            (people::render(&state, &caller, view.people.as_deref()).await?)
            (wallets::render(&state, &caller, view.wallets.as_deref()).await?)
            (tokens::render(&state, &caller, view.tokens.as_deref()).await?)
        }
        div.grid {
            (retention::render(&state, &caller).await?)
            (about::connections(&state, &caller))
            (about::hub(&state))
        }
    };
    let frame = Frame::new(Nav::Settings, "Settings").script(&assets::SETTINGS);
    shell(&state, &caller, frame, body).await
}

/// Where a secret is shown once, after it was made. The script fills it in.
fn once(id: &str, what: &str) -> Markup {
    html! {
        div.once #(id) hidden role="status" {
            p { strong { (what) } " It is shown this once." }
            output.secret {}
            div.row {
                button type="button" data-copy { "Copy" }
                button type="button" data-hide { "Done" }
            }
        }
    }
}
