//! Listings: what a seller signs, and what is wrong with one.
//!
//! A listing is EIP-712 typed data for one market on one chain ([`domain`]); whoever has it with its
//! signature can buy until it ends. [`Offer`] is how one is handed around, [`typed_data`] what a wallet
//! is asked to sign (`eth_signTypedData_v4`), [`check`] what can be said of one without asking a chain.
//! What only the chain knows (sold, cancelled, owner, approval) the market itself says.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{Eip712Domain, SolStruct as _, eip712_domain};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stencil_payments::eip712;

pub use crate::abi::Listing;

/// The name and the version of the market's domain.
const DOMAIN: (&str, &str) = ("Stencil Market", "1");
/// The longest time before its end at which a listing can be bought, in seconds: the contract's
/// `MAX_TIME`.
pub const MAX_TIME_S: u64 = 366 * 24 * 3600;

/// A signed listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The market's address.
    pub market: Address,
    /// What is sold for how much.
    #[serde(with = "written")]
    pub listing: Listing,
    /// The seller's signature: 65 bytes, or what its contract takes for one.
    pub signature: Bytes,
}

/// A listing as JSON: integers of 256 bits are decimal text, as in [`typed_data`].
mod written {
    use alloy_primitives::Address;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    use super::Listing;

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Written {
        seller: Address,
        collection: Address,
        token_id: String,
        token: Address,
        price: String,
        proceeds: String,
        expires: u64,
        nonce: String,
    }

    pub(super) fn serialize<S: Serializer>(listing: &Listing, to: S) -> Result<S::Ok, S::Error> {
        Written {
            seller: listing.seller,
            collection: listing.collection,
            token_id: listing.tokenId.to_string(),
            token: listing.token,
            price: listing.price.to_string(),
            proceeds: listing.proceeds.to_string(),
            expires: listing.expires,
            nonce: listing.nonce.to_string(),
        }
        .serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Listing, D::Error> {
        let written = Written::deserialize(from)?;
        let number = |name: &str, text: &str| {
            super::number(text).ok_or_else(|| {
                D::Error::custom(format!(
                    "`{name}` is a whole number in decimal digits, as text"
                ))
            })
        };
        Ok(Listing {
            seller: written.seller,
            collection: written.collection,
            tokenId: number("tokenId", &written.token_id)?,
            token: written.token,
            price: number("price", &written.price)?,
            proceeds: number("proceeds", &written.proceeds)?,
            expires: written.expires,
            nonce: number("nonce", &written.nonce)?,
        })
    }
}

/// A whole number of up to 256 bits in decimal digits.
#[must_use]
pub fn number(text: &str) -> Option<U256> {
    let digits = (1..=78).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// What is wrong with a listing, as far as it says it itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Another chain.
    #[error(
        "the listing is for chain {found}, not {expected}: nothing of it is worth anything here"
    )]
    Chain {
        /// The chain that is asked for.
        expected: u64,
        /// The listing's.
        found: u64,
    },
    /// Another market.
    #[error("the listing is for the market {found}, not {expected}")]
    Market {
        /// The market that is asked for.
        expected: Address,
        /// The listing's.
        found: Address,
    },
    /// No price.
    #[error("the price is zero")]
    ZeroPrice,
    /// More than the buyer pays.
    #[error("the seller would get at least {proceeds}, and the price is {price}: it can't be sold")]
    Proceeds {
        /// What the seller gets at least.
        proceeds: U256,
        /// What the buyer pays.
        price: U256,
    },
    /// Too late.
    #[error("the listing ended at {expires} (seconds since 1970), and it is {now} now")]
    Expired {
        /// When it ended.
        expires: u64,
        /// Now.
        now: u64,
    },
    /// Too far away.
    #[error(
        "the listing ends at {expires}, more than 366 days from now: give seconds since 1970, not \
         milliseconds"
    )]
    TooFar {
        /// When it ends.
        expires: u64,
    },
    /// Not a signature.
    #[error(transparent)]
    Signature(#[from] eip712::Error),
    /// Somebody else's.
    #[error(
        "{signer} has signed this, not the seller {seller}: another key, another chain or market, or \
         something was changed afterwards"
    )]
    NotTheSeller {
        /// Who signed what is asked for.
        signer: Address,
        /// The seller.
        seller: Address,
    },
}

/// The market's EIP-712 domain.
#[must_use]
pub fn domain(chain_id: u64, market: Address) -> Eip712Domain {
    let (name, version) = DOMAIN;
    eip712_domain! {
        name: name,
        version: version,
        chain_id: chain_id,
        verifying_contract: market,
    }
}

/// What listings are to a market (EIP-712's hash of their type), as each market says it of itself.
#[must_use]
pub fn type_hash() -> B256 {
    keccak256(Listing::eip712_encode_type().as_bytes())
}

/// What the seller signs.
#[must_use]
pub fn digest(chain_id: u64, market: Address, listing: &Listing) -> B256 {
    listing.eip712_signing_hash(&domain(chain_id, market))
}

/// What a wallet is asked to sign. Integers are decimal text.
#[must_use]
pub fn typed_data(chain_id: u64, market: Address, listing: &Listing) -> Value {
    let (name, version) = DOMAIN;
    let field = |name: &str, kind: &str| json!({"name": name, "type": kind});
    json!({
        "types": {
            "EIP712Domain": [
                field("name", "string"),
                field("version", "string"),
                field("chainId", "uint256"),
                field("verifyingContract", "address"),
            ],
            "Listing": [
                field("seller", "address"),
                field("collection", "address"),
                field("tokenId", "uint256"),
                field("token", "address"),
                field("price", "uint256"),
                field("proceeds", "uint256"),
                field("expires", "uint64"),
                field("nonce", "uint256"),
            ],
        },
        "primaryType": "Listing",
        "domain": {
            "name": name,
            "version": version,
            "chainId": chain_id,
            "verifyingContract": market.to_checksum(None),
        },
        "message": {
            "seller": listing.seller.to_checksum(None),
            "collection": listing.collection.to_checksum(None),
            "tokenId": listing.tokenId.to_string(),
            "token": listing.token.to_checksum(None),
            "price": listing.price.to_string(),
            "proceeds": listing.proceeds.to_string(),
            "expires": listing.expires.to_string(),
            "nonce": listing.nonce.to_string(),
        },
    })
}

/// What can be wrong with a listing before it is signed.
///
/// # Errors
/// The first thing that is.
pub fn check_terms(listing: &Listing, now_s: u64) -> Result<(), Problem> {
    let Listing {
        price,
        proceeds,
        expires,
        ..
    } = *listing;
    if price.is_zero() {
        return Err(Problem::ZeroPrice);
    }
    if proceeds > price {
        return Err(Problem::Proceeds { proceeds, price });
    }
    if expires <= now_s {
        return Err(Problem::Expired {
            expires,
            now: now_s,
        });
    }
    if expires > now_s.saturating_add(MAX_TIME_S) {
        return Err(Problem::TooFar { expires });
    }
    Ok(())
}

/// Whether an offer can be bought at this market, as far as it says so itself. `true`: the seller's own
/// key signed; `false`: the seller's contract has to be asked (ERC-1271), which the market does.
///
/// A listing that another key has signed may be that of a contract wallet, too, which only the chain
/// knows: `is_contract` says whether there is code at the seller's address.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(
    offer: &Offer,
    chain_id: u64,
    market: Address,
    is_contract: bool,
    now_s: u64,
) -> Result<bool, Problem> {
    if offer.chain_id != chain_id {
        return Err(Problem::Chain {
            expected: chain_id,
            found: offer.chain_id,
        });
    }
    if offer.market != market {
        return Err(Problem::Market {
            expected: market,
            found: offer.market,
        });
    }
    check_terms(&offer.listing, now_s)?;
    let seller = offer.listing.seller;
    let digest = digest(chain_id, market, &offer.listing);
    match eip712::check(digest, seller, &offer.signature) {
        Ok(eip712::Signed::ByPayer) => Ok(true),
        _ if is_contract => Ok(false),
        Ok(eip712::Signed::ByAnother(signer)) => Err(Problem::NotTheSeller { signer, seller }),
        Ok(eip712::Signed::AskContract) => Err(eip712::Error::Length(offer.signature.len()).into()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use alloy_signer::SignerSync as _;
    use alloy_signer_local::PrivateKeySigner;

    use super::*;

    const CHAIN: u64 = 31_337;
    const MARKET: Address = Address::repeat_byte(0x3a);
    const NOW: u64 = 1_800_000_000;

    fn seller() -> PrivateKeySigner {
        PrivateKeySigner::from_bytes(&B256::repeat_byte(7)).unwrap()
    }

    fn listing() -> Listing {
        Listing {
            seller: seller().address(),
            collection: Address::repeat_byte(0xc0),
            tokenId: U256::from(5),
            token: Address::ZERO,
            price: U256::from(1_000),
            proceeds: U256::from(975),
            expires: NOW + 3_600,
            nonce: U256::from(1),
        }
    }

    fn signed(listing: Listing, chain_id: u64, market: Address) -> Offer {
        let hash = digest(chain_id, market, &listing);
        Offer {
            chain_id: CHAIN,
            market: MARKET,
            listing,
            signature: seller().sign_hash_sync(&hash).unwrap().as_bytes().into(),
        }
    }

    fn checked(offer: &Offer) -> Result<bool, Problem> {
        check(offer, CHAIN, MARKET, false, NOW)
    }

    #[test]
    fn what_the_seller_has_signed_can_be_bought() {
        assert_eq!(checked(&signed(listing(), CHAIN, MARKET)), Ok(true));
    }

    /// Each of these has to be said by its name.
    #[test]
    fn a_listing_for_elsewhere_or_another_time_is_refused() {
        let offer = signed(listing(), CHAIN, MARKET);
        let elsewhere = Address::repeat_byte(9);
        assert_eq!(
            check(&offer, 1, MARKET, false, NOW),
            Err(Problem::Chain {
                expected: 1,
                found: CHAIN
            })
        );
        assert!(matches!(
            check(&offer, CHAIN, elsewhere, false, NOW),
            Err(Problem::Market { .. })
        ));
        assert!(matches!(
            check(&offer, CHAIN, MARKET, false, NOW + 3_600),
            Err(Problem::Expired { .. })
        ));
        let mut far = listing();
        far.expires *= 1_000;
        assert!(matches!(
            checked(&signed(far, CHAIN, MARKET)),
            Err(Problem::TooFar { .. })
        ));
        let mut free = listing();
        free.price = U256::ZERO;
        assert_eq!(
            checked(&signed(free, CHAIN, MARKET)),
            Err(Problem::ZeroPrice)
        );
        let mut greedy = listing();
        greedy.proceeds = U256::from(1_001);
        assert!(matches!(
            checked(&signed(greedy, CHAIN, MARKET)),
            Err(Problem::Proceeds { .. })
        ));
    }

    #[test]
    fn a_signature_for_another_chain_or_market_is_of_somebody_else() {
        for offer in [
            signed(listing(), 1, MARKET),
            signed(listing(), CHAIN, Address::repeat_byte(9)),
        ] {
            let problem = checked(&offer).unwrap_err();
            assert!(matches!(problem, Problem::NotTheSeller { .. }), "{problem}");
            // A contract wallet's may look like that: the market asks it.
            assert_eq!(check(&offer, CHAIN, MARKET, true, NOW), Ok(false));
        }
    }

    #[test]
    fn nothing_can_be_changed_afterwards() {
        let offer = signed(listing(), CHAIN, MARKET);
        let changes: [fn(&mut Listing); 7] = [
            |of| of.collection = Address::ZERO,
            |of| of.tokenId += U256::from(1),
            |of| of.token = MARKET,
            |of| of.price += U256::from(1),
            |of| of.proceeds -= U256::from(1),
            |of| of.expires += 1,
            |of| of.nonce += U256::from(1),
        ];
        for change in changes {
            let mut changed = offer.clone();
            change(&mut changed.listing);
            let problem = checked(&changed).unwrap_err();
            assert!(matches!(problem, Problem::NotTheSeller { .. }), "{problem}");
        }
    }

    #[test]
    fn an_offer_is_read_as_it_was_written() {
        let offer = signed(listing(), CHAIN, MARKET);
        let text = serde_json::to_string(&offer).unwrap();
        assert_eq!(serde_json::from_str::<Offer>(&text).unwrap(), offer);
        assert!(text.contains("\"price\":\"1000\""), "{text}");
        for wrong in ["\"0x10\"", "\"-1\"", "\"\"", "1000"] {
            let wrong = text.replace("\"1000\"", wrong);
            assert!(serde_json::from_str::<Offer>(&wrong).is_err(), "{wrong}");
        }
        let unknown = text.replace("\"price\"", "\"prize\"");
        assert!(serde_json::from_str::<Offer>(&unknown).is_err());
    }

    #[test]
    fn a_signature_that_nobody_can_have_made_is_said_to_be_none() {
        let mut offer = signed(listing(), CHAIN, MARKET);
        offer.signature = Bytes::new();
        assert!(matches!(checked(&offer), Err(Problem::Signature(_))));
        offer.signature = Bytes::from(vec![1; 80]);
        assert!(matches!(checked(&offer), Err(Problem::Signature(_))));
    }

    #[test]
    fn what_a_wallet_is_asked_to_sign_is_what_the_contract_checks() {
        let listing = listing();
        let asked = typed_data(CHAIN, MARKET, &listing);
        let fields: Vec<String> = asked["types"]["Listing"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| {
                format!(
                    "{} {}",
                    it["type"].as_str().unwrap(),
                    it["name"].as_str().unwrap()
                )
            })
            .collect();
        assert_eq!(
            format!("Listing({})", fields.join(",")),
            Listing::eip712_root_type(),
            "the fields in their order"
        );
        for field in asked["types"]["Listing"].as_array().unwrap() {
            assert!(asked["message"][field["name"].as_str().unwrap()].is_string());
        }
        assert_eq!(asked["message"]["expires"], listing.expires.to_string());
        assert_eq!(asked["domain"]["chainId"], CHAIN);
    }
}
