//! Contracts out of which nobody gets what is sent to them: no payee, and no place for a refund.
//!
//! Only contracts that the hub knows are told: by settings, or as one of ours by its code. Any other one may be
//! somebody's wallet.

use stencil_payments::Address;
use stencil_payments::invoice::Way;
use stencil_payments::port::Unknown;
use stencil_protocol::id::TenantId;
use stencil_store::Store;

use super::Chains;
use super::ownership::OwnershipSettings;
use super::settings::{PaymentSettings, Wrong};

pub(super) const PAYMENTS: &str = "a payment contract";
pub(super) const ESCROW: &str = "an escrow contract";

/// What an address is by the hub's settings of a chain.
pub(super) fn by_settings(chains: &Chains, chain: u64, address: Address) -> Option<&'static str> {
    if address.is_zero() {
        return Some("the zero address");
    }
    let here = Some(address);
    let chain = chains.by_id(chain)?;
    let mut tokens = chain.tokens().iter();
    if tokens.any(|known| known.token.asset().contract == here) {
        return Some("the contract of a token");
    }
    let contracts = [
        (chain.payments(), PAYMENTS),
        (chain.escrow(), ESCROW),
        (chain.anchor(), "the contract for anchors"),
    ];
    let mut contracts = contracts.into_iter();
    contracts.find_map(|(contract, what)| (contract == here).then_some(what))
}

/// What it is by what the tenant has set about passports and rights.
pub(super) async fn by_ownership(
    store: &Store,
    chains: &Chains,
    tenant: &TenantId,
    (chain, address): (u64, Address),
) -> Result<Option<&'static str>, stencil_store::Error> {
    let Some(stored) = store.ownership.ownership(tenant).await? else {
        return Ok(None);
    };
    let follows = chains.by_name(&stored.chain);
    if follows.is_none_or(|follows| follows.id() != chain) {
        return Ok(None);
    }
    // What can't be read is told of where it is used.
    let Ok(set) = OwnershipSettings::read(&stored) else {
        return Ok(None);
    };
    let contracts = [
        (set.market(), "the market's contract"),
        (set.passports(), "the contract of passports"),
        (set.access_rights(), "the contract of rights"),
    ];
    let mut contracts = contracts.into_iter();
    Ok(contracts.find_map(|(contract, what)| (contract == Some(address)).then_some(what)))
}

/// Why an address can't be paid, for who has named it.
pub(super) fn no_payee(address: Address, what: &str) -> String {
    format!(
        "{} is {what}: what is paid there nobody gets out again. Name an address of your own, whose key you hold, or \
         your contract wallet",
        address.to_checksum(None)
    )
}

/// Why payments can't be taken at an address, by the hub's settings and a tenant's: its ways to pay name contracts, too.
pub(super) fn why_no_payee(
    chains: &Chains,
    settings: &PaymentSettings,
    (chain, address): (u64, Address),
) -> Option<String> {
    let is_contract = |way: &super::settings::Resolved| {
        way.token.asset().chain == chain && way.way == Way::Contract(address)
    };
    let what = match by_settings(chains, chain, address) {
        Some(what) => what,
        None if settings.ways(chains).iter().any(is_contract) => PAYMENTS,
        None => return None,
    };
    Some(no_payee(address, what))
}

/// Why an address can't be paid, by the code that its chain has there: one of our contracts that no settings name.
///
/// # Errors
/// The chain can't say now.
pub(crate) async fn by_code(
    chains: &Chains,
    (chain, address): (u64, Address),
) -> Result<Option<String>, Unknown> {
    let Some(chain) = chains.by_id(chain) else {
        return Ok(None);
    };
    let name = chain.own_contract(address).await?;
    Ok(name.map(|name| no_payee(address, &format!("a contract of Stencil's (`{name}`)"))))
}

/// Whether a tenant's ways to pay name payees that are contracts of passports, rights or the market.
pub(crate) async fn check_payees(
    store: &Store,
    chains: &Chains,
    tenant: &TenantId,
    settings: &PaymentSettings,
) -> Result<Result<(), Wrong>, stencil_store::Error> {
    for (at, way) in settings.ways(chains).iter().enumerate() {
        let place = (way.token.asset().chain, way.payee);
        if let Some(what) = by_ownership(store, chains, tenant, place).await? {
            let why = no_payee(way.payee, what);
            return Ok(Err(Wrong::at(format!("/methods/{at}/payee"), why)));
        }
    }
    Ok(Ok(()))
}

/// Why an offer can't be paid at an address, if it can't.
pub(crate) async fn check_pay_to(
    store: &Store,
    chains: &Chains,
    tenant: &TenantId,
    settings: &PaymentSettings,
    place: (u64, Address),
) -> Result<Option<String>, stencil_store::Error> {
    if let Some(why) = why_no_payee(chains, settings, place) {
        return Ok(Some(why));
    }
    let what = by_ownership(store, chains, tenant, place).await?;
    Ok(what.map(|what| no_payee(place.1, what)))
}
