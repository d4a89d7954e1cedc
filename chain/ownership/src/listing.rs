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
use stencil_protocol::moment;

pub use crate::abi::Listing;

/// The name and the version of the market's domain.
const DOMAIN: (&str, &str) = ("Stencil Market", "1");
/// The longest time before its end at which a listing can be bought, in seconds: the contract's
/// `MAX_TIME`.
pub const MAX_TIME_S: u64 = 366 * 24 * 3600;

/// A signed listing. Addresses are read with their checksum (EIP-55), or in letters of one size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// Whose device it is about at the hub that is asked, so that a buyer need not know. It is not signed, and
    /// nothing follows from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The market's address.
    #[serde(deserialize_with = "written::market")]
    pub market: Address,
    /// What is sold for how much.
    #[serde(with = "written")]
    pub listing: Listing,
    /// The seller's signature: 65 bytes, or what its contract takes for one.
    pub signature: Bytes,
}

/// A listing as JSON, as it is in [`typed_data`]: integers of 256 bits are decimal text, the end is a number.
mod written {
    use alloy_primitives::Address;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    use super::Listing;

    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
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

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Read {
        seller: String,
        collection: String,
        token_id: String,
        token: String,
        price: String,
        proceeds: String,
        expires: Seconds,
        nonce: String,
    }

    /// Wallets and libraries write integers of typed data as numbers or as text.
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "`expires` is a whole number of seconds since 1970"
    )]
    enum Seconds {
        Number(u64),
        Text(String),
    }

    /// The market's address.
    pub(super) fn market<'de, D: Deserializer<'de>>(from: D) -> Result<Address, D::Error> {
        let text = String::deserialize(from)?;
        super::address("market", &text).map_err(D::Error::custom)
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
        let read = Read::deserialize(from)?;
        let address = |name, text: &str| super::address(name, text).map_err(D::Error::custom);
        let number = |name: &str, text: &str| {
            super::number(text).ok_or_else(|| {
                D::Error::custom(format!(
                    "`{name}` is a whole number in decimal digits, as text"
                ))
            })
        };
        let expires = match read.expires {
            Seconds::Number(seconds) => seconds,
            Seconds::Text(text) => number("expires", &text)?.try_into().map_err(|_| {
                D::Error::custom("`expires` is a whole number of seconds since 1970, of 64 bits")
            })?,
        };
        Ok(Listing {
            seller: address("seller", &read.seller)?,
            collection: address("collection", &read.collection)?,
            tokenId: number("tokenId", &read.token_id)?,
            token: address("token", &read.token)?,
            price: number("price", &read.price)?,
            proceeds: number("proceeds", &read.proceeds)?,
            expires,
            nonce: number("nonce", &read.nonce)?,
        })
    }
}

/// An address: `0x` and 40 hexadecimal digits, and where small and capital letters are mixed they have to be
/// its checksum (EIP-55), which tells a slip.
fn address(name: &str, text: &str) -> Result<Address, String> {
    let digits = text.strip_prefix("0x").filter(|it| it.len() == 40);
    let parsed = digits.and_then(|digits| Some((digits, text.parse::<Address>().ok()?)));
    let Some((digits, address)) = parsed else {
        let text: String = text.chars().take(60).collect();
        return Err(format!(
            "`{name}` is `{text}`, it has to be 0x and 40 hexadecimal digits"
        ));
    };
    let upper = digits.bytes().any(|byte| byte.is_ascii_uppercase());
    let lower = digits.bytes().any(|byte| byte.is_ascii_lowercase());
    let checksum = address.to_checksum(None);
    if upper && lower && checksum != text {
        return Err(format!(
            "`{name}`: the checksum (EIP-55) of `{text}` is wrong, so a digit may be; with these digits it is \
             {checksum}"
        ));
    }
    Ok(address)
}

/// A time in seconds since 1970 as people read it, such as `2014-02-19 15:25:00 UTC`.
#[must_use]
pub fn when(seconds: u64) -> String {
    // What no calendar of four digits has was hardly meant.
    const LATEST_S: i64 = 253_402_300_799;
    let seconds_known = i64::try_from(seconds).ok().filter(|it| *it <= LATEST_S);
    seconds_known.map_or_else(
        || format!("{seconds} seconds after 1970"),
        |seconds| format!("{} UTC", moment::utc(seconds * 1_000_000)),
    )
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
    #[error("the listing ended at {}, and it is {} now", when(*.expires), when(*.now))]
    Expired {
        /// When it ended, seconds since 1970.
        expires: u64,
        /// Now, likewise.
        now: u64,
    },
    /// Too far away.
    #[error(
        "the listing ends at {}, more than 366 days from now: its end is in seconds since 1970, not in \
         milliseconds",
        when(*.expires)
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

/// What a wallet is asked to sign. Integers of 256 bits are decimal text, as in an [`Offer`], whose listing is
/// this message as it stands.
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
            "expires": listing.expires,
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
            tenant: None,
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
        let end = format!("\"expires\":{}", listing().expires);
        let by_text = text.replace(&end, &format!("\"expires\":\"{}\"", listing().expires));
        assert_ne!(by_text, text);
        assert_eq!(serde_json::from_str::<Offer>(&by_text).unwrap(), offer);
        let of_a_tenant = text.replacen('{', "{\"tenant\":\"acme\",", 1);
        let read = serde_json::from_str::<Offer>(&of_a_tenant).unwrap();
        assert_eq!(read.tenant.as_deref(), Some("acme"));
        let unknown = text.replace("\"price\"", "\"prize\"");
        assert!(serde_json::from_str::<Offer>(&unknown).is_err());
    }

    #[test]
    fn an_address_with_a_wrong_checksum_is_a_slip() {
        let offer = signed(listing(), CHAIN, MARKET);
        let value = serde_json::to_value(&offer).unwrap();
        let right = offer.listing.seller.to_checksum(None);
        let read = |seller: &str| {
            let mut value = value.clone();
            value["listing"]["seller"] = json!(seller);
            serde_json::from_value::<Offer>(value)
        };
        let digits = right.trim_start_matches("0x");
        assert_eq!(read(&right).unwrap(), offer);
        assert_eq!(
            read(&format!("0x{}", digits.to_lowercase())).unwrap(),
            offer
        );
        let slip: String = digits
            .chars()
            .map(|it| {
                if it.is_ascii_lowercase() {
                    it.to_ascii_uppercase()
                } else {
                    it.to_ascii_lowercase()
                }
            })
            .collect();
        let why = read(&format!("0x{slip}")).unwrap_err().to_string();
        assert!(why.contains("EIP-55") && why.contains(&right), "{why}");
        let why = read(digits).unwrap_err().to_string();
        assert!(why.contains("`seller`"), "{why}");
    }

    #[test]
    fn when_it_ended_is_said_in_words() {
        let mut over = listing();
        over.expires = 1_700_000_000;
        let said = checked(&signed(over, CHAIN, MARKET)).unwrap_err();
        let said = said.to_string();
        assert!(said.contains("ended at 2023-11-14 22:13:20 UTC"), "{said}");
        assert_eq!(
            when(u64::MAX),
            "18446744073709551615 seconds after 1970",
            "no calendar has it"
        );
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
        assert_eq!(asked["domain"]["chainId"], CHAIN);
        // What was signed is the listing that is handed around, as it stands.
        let offer = signed(listing, CHAIN, MARKET);
        let mut written = serde_json::to_value(&offer).unwrap();
        written["listing"] = asked["message"].clone();
        assert_eq!(serde_json::from_value::<Offer>(written).unwrap(), offer);
    }
}
