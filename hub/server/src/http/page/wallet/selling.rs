//! What an account holds, and how it sells that: a form a token, which the script brings to life. What is signed
//! the API says; the signed listing is the browser's, and no server's.

use maud::{Markup, html};
use stencil_ownership::holder::Owner;
use stencil_payments::{Address, U256};
use stencil_protocol::id::{DeviceId, TenantId};

use super::super::{badge, moment};
use super::trading;
use crate::chains::ownership::{Control, OwnershipSettings};
use crate::http::State;
use crate::http::access::{WalletUser, shown};
use crate::http::api::held::control_of;
use crate::http::api::ownership::owners;
use crate::http::problem::Problem;

/// Devices of which the tokens are shown.
const DEVICES: u32 = 50;
/// For how long something can be listed: in seconds, and in words.
const TIMES: [(u32, &str); 5] = [
    (3_600, "an hour"),
    (86_400, "a day"),
    (604_800, "a week"),
    (2_592_000, "30 days"),
    (31_536_000, "a year"),
];
/// The one that is chosen where nobody has chosen.
const USUAL_S: u32 = 604_800;

/// A token that the account holds.
struct Held {
    tenant: TenantId,
    device: DeviceId,
    /// A right's id and its last second; `None`: the device's passport.
    right: Option<(U256, u64)>,
    /// Whether the block that says so is final enough for the tenant.
    in_effect: bool,
    settings: OwnershipSettings,
}

/// What the account holds.
pub(super) async fn section(state: &State, user: &WalletUser) -> Result<Markup, Problem> {
    let held = held(state, user).await?;
    let chains = state.control.cashier().chains();
    Ok(html! {
        section #held data-account=(shown(&user.wallet)) data-chains=(trading::chains(state)) {
            h2 { "What you hold" }
            @if held.is_empty() {
                p.dim { "No passport of a device, and no right to use one." }
            } @else {
                ul.lines {
                    @for (at, one) in held.iter().enumerate() {
                        @let chain = chains.by_name(&one.settings.chain).map(|chain| chain.id());
                        (line(at, one, chain))
                    }
                }
                noscript { p.dim.small { "To sell something this page needs JavaScript." } }
            }
            // What the script says of wallets.
            p #doing .alert role="status" hidden {}
            section #listed aria-labelledby="listed-title" hidden {
                h3 #listed-title { "What you have listed, in this browser" }
                p.dim.small {
                    "Whoever has one of these can buy until it ends. No server keeps them: give the link or the file \
                    to whom you like."
                }
                ul.records {}
            }
            p { a.button href="/wallet/buy" { "Buy with a listing" } }
        }
    })
}

async fn held(state: &State, user: &WalletUser) -> Result<Vec<Held>, Problem> {
    let (owners, account) = (owners(state), Address::from(user.wallet));
    let port = &state.store.ownership;
    let page = port.devices_held(&user.wallet, None, DEVICES).await?;
    let mut all = Vec::new();
    for one in page.items {
        if !owners.are_on(&one.tenant, user.chain).await? {
            continue;
        }
        let control = control_of(&owners, &one.tenant, &one.device, account).await?;
        if let Some(control) = control {
            let of_device = tokens(&control, account, owners.now_s());
            all.extend(of_device.into_iter().map(|(right, in_effect)| Held {
                tenant: one.tenant.clone(),
                device: one.device.clone(),
                right,
                in_effect,
                settings: control.settings.clone(),
            }));
        }
    }
    Ok(all)
}

/// Which tokens of a device the account holds, and whether that has taken effect.
fn tokens(control: &Control, account: Address, now_s: u64) -> Vec<(Option<(U256, u64)>, bool)> {
    let gain = control.settings.policy().gain;
    let owner = control.token.as_ref().map(|token| token.owner(gain));
    let passport = match owner {
        Some(Owner::Is(owner)) if owner == account => Some((None, true)),
        Some(Owner::GoingTo(owner)) if owner == account => Some((None, false)),
        _ => None,
    };
    let rights = control.rights.iter().filter_map(|(held, token)| {
        let user = token.user(gain)?;
        let runs = user.account == account && now_s <= user.expires;
        let right = (U256::from_be_bytes(held.token), user.expires);
        runs.then_some((Some(right), user.in_effect))
    });
    passport.into_iter().chain(rights).collect()
}

fn line(at: usize, held: &Held, chain: Option<u64>) -> Markup {
    let what = match held.right {
        Some((right, _)) => format!("right {right}"),
        None => "passport".to_owned(),
    };
    let named = format!("the {what} of {}", held.device);
    let ends_us = held.right.and_then(|(_, ends_s)| {
        let ends_s = i64::try_from(ends_s).ok()?;
        ends_s.checked_mul(1_000_000)
    });
    html! {
        li {
            div.what {
                span.title { (held.device) ": " (what) } " "
                @if held.in_effect { (badge("good", "yours")) } @else { (badge("warn", "not final yet")) }
            }
            div.of.dim.small {
                span { "of " (held.tenant) }
                span { "on " (held.settings.chain) }
                @if let Some(ends_us) = ends_us { span { "until " (moment::element(ends_us)) } }
            }
            @match (held.settings.market(), chain, held.in_effect) {
                (Some(_), Some(chain), true) => { (form(at, held, chain, &named)) }
                (None, _, true) => { p.dim.small { (held.tenant) " has set no market where it could be sold." } }
                _ => {}
            }
        }
    }
}

fn form(at: usize, held: &Held, chain: u64, named: &str) -> Markup {
    let id = |name: &str| format!("{name}-{at}");
    html! {
        details.sell hidden {
            summary { "Sell" span.unseen { " " (named) } }
            form.form data-tenant=(held.tenant) data-device=(held.device) data-chain=(chain) data-named=(named)
                data-right=[held.right.map(|(right, _)| right.to_string())] {
                div.field {
                    label for=(id("price")) { "Price" }
                    input id=(id("price")) name="price" inputmode="decimal" autocomplete="off" required maxlength="100"
                        aria-describedby=(id("price-hint"));
                    span.hint id=(id("price-hint")) { "What the buyer pays, with a point before decimals: 2.5" }
                }
                div.field {
                    label for=(id("token")) { "Paid with" }
                    select id=(id("token")) name="token" {}
                }
                div.field {
                    label for=(id("time")) { "It can be bought for" }
                    select id=(id("time")) name="time" {
                        @for (seconds, words) in TIMES {
                            option value=(seconds) selected[seconds == USUAL_S] { (words) }
                        }
                    }
                }
                button type="submit" { "See what you get" span.unseen { " for " (named) } }
                div.terms {}
            }
        }
    }
}
