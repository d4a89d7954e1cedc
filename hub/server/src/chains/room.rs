//! What a tenant's limits leave room for.

use stencil_payments::U256;
use stencil_payments::money::Amount;
use stencil_payments::port::Chain;
use stencil_protocol::id::TenantId;
use stencil_store::{Error as StoreError, Store};

use super::Chains;
use super::authorization::GAS;

/// What one settlement of an authorisation counts as until it is final, in wei; `None`: nothing is sent there.
pub(crate) fn settlement(chain: &dyn Chain) -> Option<Amount> {
    let price = U256::from(chain.most_fee_per_gas()?);
    Some(Amount(price.saturating_mul(U256::from(GAS))))
}

/// How many settlements fit into so much at one time.
pub(crate) fn at_once(most: Amount, one: Amount) -> u64 {
    let fit = most.0.checked_div(one.0).unwrap_or(U256::MAX);
    u64::try_from(fit).unwrap_or(u64::MAX)
}

/// Whether one more fits, beside what is used.
pub(crate) fn fits(one: Amount, used: Amount, most: Amount) -> bool {
    used.checked_add(one).is_some_and(|sum| sum <= most)
}

/// The chains (EIP-155) on which a tenant's limit has no room for an authorisation now: the hub brings none there.
///
/// # Errors
/// The store.
pub(crate) async fn full(
    store: &Store,
    chains: &Chains,
    tenant: &TenantId,
    now_us: i64,
) -> Result<Vec<u64>, StoreError> {
    let spent = store.sends.spent(tenant.as_str(), now_us).await?;
    let has_room = |chain: &dyn Chain| {
        let Some(one) = settlement(chain) else {
            return true;
        };
        let of_coin = |limit: &stencil_store::SpendLimit| {
            limit.chain == chain.name() && limit.asset.is_none()
        };
        spent.iter().any(|it| {
            let [used, most] = [it.used, it.limit.most].map(|it| Amount(U256::from_be_bytes(it)));
            of_coin(&it.limit) && fits(one, used, most)
        })
    };
    let full = chains.iter().filter(|chain| !has_room(chain.as_ref()));
    Ok(full.map(|chain| chain.id()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_counted_to_the_last_unit() {
        let of = |n: u64| Amount::from(n);
        assert_eq!(at_once(of(99), of(10)), 9);
        assert_eq!(at_once(of(100), of(10)), 10);
        assert_eq!(at_once(Amount(U256::MAX), of(1)), u64::MAX);
        assert_eq!(
            at_once(of(5), of(0)),
            u64::MAX,
            "what costs nothing always fits"
        );
        assert!(fits(of(10), of(90), of(100)));
        assert!(!fits(of(10), of(91), of(100)));
        assert!(!fits(of(1), Amount(U256::MAX), Amount(U256::MAX)));
    }
}
