//! Listings of a market, as sellers' wallets sign them (EIP-712).

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::{Eip712Domain, SolStruct as _, sol};
use serde_json::Value;

mod typed {
    use super::sol;

    sol! {
        struct Listing {
            address seller;
            address collection;
            uint256 tokenId;
            address token;
            uint256 price;
            uint256 proceeds;
            uint64 expires;
            uint256 nonce;
        }
    }
}

/// What a seller signs to sell a token at a market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The market's contract.
    pub market: Address,
    /// Who sells, and signs.
    pub seller: Address,
    /// The collection of what is sold.
    pub collection: Address,
    /// What is sold.
    pub token_id: U256,
    /// What is paid with; zero stands for the chain's coin.
    pub token: Address,
    /// What the buyer pays, in base units.
    pub price: U256,
    /// What the seller gets at least.
    pub proceeds: U256,
    /// The last second, since 1970.
    pub expires: u64,
    /// Good for one sale.
    pub nonce: U256,
}

impl Listing {
    /// Reads what a wallet is shown by `eth_signTypedData_v4`; `None`: it is none of a market.
    #[must_use]
    pub fn asked(typed_data: &Value) -> Option<Self> {
        let (domain, message) = (&typed_data["domain"], &typed_data["message"]);
        let address = |of: &Value, name: &str| of[name].as_str()?.parse::<Address>().ok();
        let number = |name: &str| message[name].as_str()?.parse::<U256>().ok();
        let end = &message["expires"];
        if typed_data["primaryType"] != "Listing" || domain["name"] != "Stencil Market" {
            return None;
        }
        Some(Self {
            chain_id: domain["chainId"].as_u64()?,
            market: address(domain, "verifyingContract")?,
            seller: address(message, "seller")?,
            collection: address(message, "collection")?,
            token_id: number("tokenId")?,
            token: address(message, "token")?,
            price: number("price")?,
            proceeds: number("proceeds")?,
            // Integers of typed data are numbers or text.
            expires: end.as_u64().or_else(|| end.as_str()?.parse().ok())?,
            nonce: number("nonce")?,
        })
    }

    /// What is signed.
    #[must_use]
    pub fn digest(&self) -> B256 {
        let domain = Eip712Domain::new(
            Some("Stencil Market".into()),
            Some("1".into()),
            Some(U256::from(self.chain_id)),
            Some(self.market),
            None,
        );
        typed::Listing {
            seller: self.seller,
            collection: self.collection,
            tokenId: self.token_id,
            token: self.token,
            price: self.price,
            proceeds: self.proceeds,
            expires: self.expires,
            nonce: self.nonce,
        }
        .eip712_signing_hash(&domain)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked() -> Value {
        json!({
            "primaryType": "Listing",
            "domain": {
                "name": "Stencil Market", "version": "1", "chainId": 31_337,
                "verifyingContract": Address::repeat_byte(1),
            },
            "message": {
                "seller": Address::repeat_byte(2), "collection": Address::repeat_byte(3),
                "tokenId": "7", "token": Address::ZERO, "price": "1000", "proceeds": "975",
                "expires": 1_800_000_000, "nonce": "5",
            },
        })
    }

    #[test]
    fn a_wallet_signs_what_it_was_shown_and_nothing_else() {
        let listing = Listing::asked(&asked()).unwrap();
        assert_eq!(
            (listing.price, listing.expires),
            (U256::from(1_000), 1_800_000_000)
        );
        for (part, name) in [
            ("message", "price"),
            ("message", "nonce"),
            ("message", "expires"),
            ("message", "tokenId"),
            ("message", "proceeds"),
        ] {
            let mut other = asked();
            other[part][name] = json!("6");
            let other = Listing::asked(&other).unwrap();
            assert_ne!(other.digest(), listing.digest(), "{name}");
        }
        let mut elsewhere = asked();
        elsewhere["domain"]["chainId"] = json!(1);
        assert_ne!(
            Listing::asked(&elsewhere).unwrap().digest(),
            listing.digest()
        );
        for wrong in [
            json!({}),
            json!({ "primaryType": "Permit", "domain": {}, "message": {} }),
        ] {
            assert_eq!(Listing::asked(&wrong), None);
        }
    }
}
