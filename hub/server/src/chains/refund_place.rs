//! Where no refund can go: what comes there is not the payer's, or is taken for something else.

use stencil_payments::Address;
use stencil_payments::invoice::{Definition, Method, Way};

use super::cashier::{Cashier, Refused};
use super::known_contract::{self, ESCROW, PAYMENTS};

/// Whether a refund of a method can go to an address. Whoever says where it goes: once it is sent it can't be had
/// back.
///
/// # Errors
/// [`Refused::NoPlace`]: what the address is, and what would be right. That what is known of addresses can't be read.
pub(super) async fn check(
    cashier: &Cashier,
    definition: &Definition,
    method: &Method,
    address: Address,
) -> Result<(), Refused> {
    let what = match by_settings(cashier, definition, method, address) {
        Some(what) => Some(what),
        None => kept(cashier, definition, method, address).await?,
    };
    let Some(what) = what else { return Ok(()) };
    let address = address.to_checksum(None);
    Err(Refused::NoPlace(format!(
        "{address} is {what}: what is sent there does not reach who has paid. Name an address of the payer's own, \
         whose key they hold"
    )))
}

/// What an address is by the hub's settings, or by the invoice.
fn by_settings(
    cashier: &Cashier,
    definition: &Definition,
    method: &Method,
    address: Address,
) -> Option<&'static str> {
    let here = Some(address);
    let asset = method.token.asset();
    let is_account = |chain: &std::sync::Arc<dyn stencil_payments::port::Chain>| {
        // One key has the same address on each chain.
        chain.account() == here
    };
    if cashier.chains().iter().any(is_account) {
        return Some("the hub's own account");
    }
    if asset.contract == here {
        return Some("the contract of the token itself");
    }
    let on_chain = |it: &&Method| it.token.asset().chain == asset.chain;
    for method in definition.methods.iter().filter(on_chain) {
        match method.way {
            Way::Contract(contract) if contract == address => return Some(PAYMENTS),
            Way::Hold { escrow, .. } if escrow == address => return Some(ESCROW),
            _ if method.payee == address => return Some(PAYEE),
            _ => {}
        }
    }
    known_contract::by_settings(cashier.chains(), asset.chain, address)
}

const PAYEE: &str = "an address at which payments are taken";

/// What it is by what tenants have set.
async fn kept(
    cashier: &Cashier,
    definition: &Definition,
    method: &Method,
    address: Address,
) -> Result<Option<&'static str>, Refused> {
    let (store, chain) = (&cashier.0.store, method.token.asset().chain);
    if store.payments.is_payee(chain, &address.0.0).await? {
        return Ok(Some(PAYEE));
    }
    let (chains, tenant) = (cashier.chains(), &definition.tenant);
    Ok(known_contract::by_ownership(store, chains, tenant, (chain, address)).await?)
}
