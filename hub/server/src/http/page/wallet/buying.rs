//! `GET /wallet/buy`: what somebody buys who was given a listing. The listing stands behind the `#` of the address,
//! in a file or in the clipboard: it comes to the hub when it is checked, and to no log. The page is there for
//! anybody and shows what a listing says of itself; what the hub says of it, it says to who has signed in.

use axum::extract::State as Shared;
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderMap, header};
use maud::{DOCTYPE, html};

use super::super::checkout::POLICY;
use super::super::{assets, shell};
use super::trading;
use crate::http::State;
use crate::http::access::{shown, wallet_of_session};

/// The longest listing that is looked at, in bytes: the API takes no longer one.
const MAX_BYTES: usize = 16 * 1024;

/// `GET /wallet/buy`
pub(in crate::http) async fn show(Shared(state): Shared<State>, headers: HeaderMap) -> Response {
    let user = wallet_of_session(&state, &headers).await;
    let account = user.as_ref().map(|user| shown(&user.wallet));
    // What the hub follows is shown to who has signed in.
    let chains = user.is_some().then(|| trading::chains(&state));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                (shell::head("Buy · Stencil Hub"))
                meta name="robots" content="noindex";
                link rel="stylesheet" href=(assets::CHECKOUT_STYLE.url());
                link rel="stylesheet" href=(assets::TRADING_STYLE.url());
                script src=(assets::TRADING.url()) defer {}
                script src=(assets::WALLETS.url()) defer {}
                script src=(assets::BUYING.url()) defer {}
            }
            body.pay {
                main #main data-account=[&account] data-chains=[&chains] {
                    header.due {
                        p #about { "Buy with a listing" }
                        h1 #title { "What is for sale?" }
                        p #price .price hidden {}
                    }
                    noscript { p.alert.warn { "To read a listing this page needs JavaScript." } }
                    div #standing role="status" {}
                    ol #steps .steps aria-label="Progress" hidden {}
                    form #where .form hidden {
                        div.field {
                            label for="tenant" { "Whose device" }
                            input #tenant name="tenant" autocomplete="organization" autocapitalize="none"
                                spellcheck="false" required maxlength="64" aria-describedby="tenant-hint";
                            span.hint #tenant-hint {
                                "The tenant of this hub, which the seller knows: the listing does not say it."
                            }
                        }
                        button.primary { "Check it" }
                    }
                    div #buy .wallet {}
                    // What the script says of wallets.
                    p #doing .alert role="status" hidden {}
                    section #facts aria-labelledby="facts-title" hidden {
                        h2 #facts-title { "What you get" }
                        dl.facts {}
                    }
                    details #other open {
                        summary { "Take a listing" }
                        form #taking .form data-most=(MAX_BYTES) {
                            div.field {
                                label for="text" { "The link or the text that you were given" }
                                textarea #text name="text" rows="4" autocomplete="off" spellcheck="false" {}
                            }
                            div.field {
                                label for="file" { "Or the file" }
                                input #file name="file" type="file" accept="application/json,.json";
                            }
                            button { "Look at it" }
                        }
                    }
                    footer.small.dim {
                        @match &account {
                            Some(account) => {
                                p { "Signed in as " code { (account) } }
                                p { a href="/wallet" { "Your wallet" } }
                            }
                            None => { p { "You have not signed in with a wallet." } }
                        }
                    }
                }
            }
        }
    };
    let page = Html(page.into_string());
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], page).into_response()
}
