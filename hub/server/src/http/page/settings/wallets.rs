//! The tenant's wallets, for admins.

use maud::{Markup, html};
use stencil_store::{Opener, Wallet};

use super::super::super::access::shown;
use super::super::super::problem::Problem;
use super::super::super::{Caller, State};
use super::super::{encoded, moment};
use super::people::roles;

/// Wallets on one page.
const WALLETS: u32 = 50;

pub(super) async fn render(
    state: &State,
    caller: &Caller,
    after: Option<&str>,
) -> Result<Markup, Problem> {
    let page = state.store.wallets.wallets(&caller.tenant, after, WALLETS);
    let page = page.await?;
    let now_us = state.clock.now_us();
    let follows = state.control.cashier().chains().iter().next().is_some();
    Ok(html! {
        section #wallets.card aria-labelledby="wallets-title" {
            header {
                h2 #wallets-title { "Wallets" }
                span.dim { "They sign in by a signature (EIP-4361), and have no password." }
            }
            @if !follows {
                p.dim { "The hub follows no chain, so that no wallet can sign in as yet." }
            }
            form.form.line data-send="POST /api/v1/wallets" data-told="It may sign in" {
                div.field {
                    label for="wallet-address" { "Address" }
                    input #wallet-address name="address" required minlength="42" maxlength="42"
                        pattern="0x[0-9a-fA-F]{40}" title="0x and 40 hexadecimal digits"
                        autocomplete="off" autocapitalize="none" spellcheck="false" placeholder="0x…";
                }
                div.field {
                    label for="wallet-name" { "Name" }
                    input #wallet-name name="name" maxlength="64" autocomplete="off" placeholder="ann's phone";
                }
                div.field {
                    label for="wallet-chain" { "Chain of a contract" }
                    input #wallet-chain name="chain_id" data-type="number" type="number" min="1" step="1"
                        title="Of a contract wallet: the chain on which its contract is asked" placeholder="none";
                }
                div.field {
                    label for="wallet-role" { "Role" }
                    select #wallet-role name="role" { (roles(stencil_store::Role::Viewer)) }
                }
                button.primary { "Give the role" }
                p.alert.problem role="alert" hidden {}
            }
            div #wallets-list data-live="" data-every="60" {
                @if page.items.is_empty() && after.is_none() {
                    p.dim { "None yet." }
                } @else {
                    div.scroll tabindex="0" role="region" aria-labelledby="wallets-title" {
                        table.cards {
                            thead { tr {
                                th scope="col" { "Wallet" }
                                th scope="col" { "Role" }
                                th scope="col" { "Signed in" }
                                th scope="col" { span.unseen { "What to do" } }
                            } }
                            tbody { @for wallet in &page.items { (row(wallet, caller, now_us)) } }
                        }
                    }
                }
                @if after.is_some() || page.next.is_some() {
                    nav.pager aria-label="Pages of the wallets" {
                        span.dim { "By address" }
                        @if after.is_some() { a.button href="/settings#wallets" { "First page" } }
                        @if let Some(next) = &page.next {
                            a.button rel="next" href={ "/settings?wallets=" (encoded(next)) "#wallets" } { "Next page" }
                        }
                    }
                }
            }
        }
    })
}

fn row(wallet: &Wallet, caller: &Caller, now_us: i64) -> Markup {
    let me = matches!(&caller.opener, Opener::Wallet(mine) if *mine == wallet.address);
    let address = shown(&wallet.address);
    let called = wallet.name.as_deref().unwrap_or(&address);
    html! {
        tr {
            th scope="row" {
                @if let Some(name) = &wallet.name { (name) " " }
                @if me { span.dim { "(you)" } }
                br; span.dim.small.mono { (address) }
                @if let Some(chain) = wallet.chain { br; span.dim.small { "contract on chain " (chain) } }
            }
            td data-label="Role" {
                form.row data-send="POST /api/v1/wallets" data-told="Set; where it is another, they sign in again" data-then="keep" {
                    input type="hidden" name="address" value=(address);
                    select name="role" aria-label={ "Role of " (called) } { (roles(wallet.role)) }
                    button { "Set" span.unseen { " the role of " (called) } }
                }
            }
            td data-label="Signed in" {
                @match wallet.signed_in_us {
                    Some(at_us) => { (moment::ago(at_us, now_us)) }
                    None => { span.dim { "never" } }
                }
            }
            td {
                @if !me {
                    form data-send={ "DELETE /api/v1/wallets/" (address) } data-told="The role is taken back"
                        data-confirm={ "Take the role of " (called) " back? It is signed out at once." } {
                        button.danger { "Take back" span.unseen { " the role of " (called) } }
                    }
                }
            }
        }
    }
}
