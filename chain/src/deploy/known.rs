//! Which of the contracts in this program runs somewhere, by its code, whoever has deployed it.

use std::sync::LazyLock;

use super::contract::{ACCESS_RIGHT, ANCHOR, Artifact, DOLLAR, ESCROW, MARKET, PASSPORT, PAYMENTS};

static ALL: LazyLock<Vec<(&'static str, Artifact)>> = LazyLock::new(|| {
    let all = [
        ("StencilPayments", PAYMENTS),
        ("StencilEscrow", ESCROW),
        ("DevicePassport", PASSPORT),
        ("AccessRight", ACCESS_RIGHT),
        ("StencilMarket", MARKET),
        ("StencilAnchor", ANCHOR),
        ("DevDollar", DOLLAR),
    ];
    // One that is damaged is told of where it is deployed.
    let read = |(name, text): (&'static str, &str)| Some((name, serde_json::from_str(text).ok()?));
    all.into_iter().filter_map(read).collect()
});

/// The name in the sources of the contract whose code this is; `None`: it is none of these. What its constructor has
/// kept in it (payee, terms, domain) may be whatever it is.
pub(crate) fn known(code: &[u8]) -> Option<&'static str> {
    let mut all = ALL.iter();
    let found = all.find(|(_, artifact)| is(artifact, code));
    found.map(|(name, _)| *name)
}

fn is(artifact: &Artifact, code: &[u8]) -> bool {
    if code.len() != artifact.deployed_bytecode.len() {
        return false;
    }
    let (mut one, mut other) = (code.to_vec(), artifact.deployed_bytecode.to_vec());
    for place in artifact.immutable_references.iter().flatten() {
        let end = place.start.saturating_add(place.length);
        for code in [&mut one, &mut other] {
            if let Some(kept) = code.get_mut(place.start..end) {
                kept.fill(0);
            }
        }
    }
    one == other
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256};

    use super::*;
    use crate::deploy::Contract;

    #[test]
    fn a_contract_is_known_by_its_code_whatever_was_kept_in_it() {
        let at = Address::repeat_byte(0xaa);
        let payments = |payee| Contract::Payments {
            payee: Address::repeat_byte(payee),
        };
        let rights = Contract::AccessRight {
            name: "Rights".to_owned(),
            symbol: "R".to_owned(),
            administrator: at,
            terms: B256::repeat_byte(7),
        };
        let passport = Contract::Passport {
            name: "Devices".to_owned(),
            symbol: "D".to_owned(),
            administrator: at,
            royalty_to: at,
            royalty: 100,
        };
        let all = [
            payments(1),
            payments(2),
            Contract::Escrow,
            passport,
            rights,
            Contract::Market,
            Contract::Anchor,
            Contract::DevDollar,
        ];
        for contract in all {
            let code = contract.runtime(31_337, at).unwrap().to_vec();
            assert_eq!(known(&code), Some(contract.name()));
            // Another byte, or one more, is another contract.
            let mut other = code.clone();
            other[40] ^= 1;
            assert_eq!(known(&other), None, "{}", contract.name());
            other = code;
            other.push(0);
            assert_eq!(known(&other), None, "{}", contract.name());
        }
        // None of them was left out as damaged.
        assert_eq!(ALL.len(), 7);
        for other in [&[][..], &[0xef, 1, 0], &[0; 4_000]] {
            assert_eq!(known(other), None);
        }
    }
}
