//! Listings: what a seller signs to sell a passport or a right, and whether one can be bought.

use serde::Serialize;
use serde_json::Value;
use stencil_ownership::abi::{self, SolCall};
use stencil_ownership::cid::Cid;
use stencil_ownership::holder::Gain;
use stencil_ownership::listing::{self, Listing, Offer};
use stencil_payments::money::Token;
use stencil_payments::port::{Called, Chain};
use stencil_payments::{Address, U256};
use stencil_protocol::id::TenantId;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{MAX_SHOWN, Owners, OwnershipSettings, Refused, ask, kept};

/// Listings that are looked at at one time: each costs the chain's endpoints some calls, and accounts that
/// may ask for them cost nothing.
const AT_ONCE: usize = 8;
/// How many decimals a chain's own coin has.
pub(crate) const COIN_DECIMALS: u8 = 18;
static ROOM: Semaphore = Semaphore::const_new(AT_ONCE);

/// What a wallet is asked to sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct ToSign {
    /// EIP-712 typed data, for `eth_signTypedData_v4`.
    pub(crate) typed_data: Value,
    /// What that comes to: 32 bytes as `0x…`.
    pub(crate) digest: String,
    /// What goes to the receiver of royalties out of the price, base units.
    pub(crate) royalty: String,
    /// Who that is; null: nobody.
    pub(crate) royalty_to: Option<String>,
    /// What the seller has to do before: `approve(market, token)` of the collection; null: it is done.
    pub(crate) approve: Option<Approval>,
    /// The transaction by which the seller calls it off, whoever has the listing by then: `cancel(nonce)` of the
    /// market.
    pub(crate) cancel: Approval,
}

/// A transaction that moves no money: one that lets the market move a token, or calls a listing off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct Approval {
    /// The contract: the collection, or the market.
    pub(crate) to: String,
    /// The calldata, as `0x…`.
    pub(crate) data: String,
}

/// What is sold for how much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draft {
    pub(crate) collection: Address,
    pub(crate) token_id: U256,
    pub(crate) token: Address,
    pub(crate) price: U256,
    pub(crate) expires: u64,
    pub(crate) nonce: U256,
    /// The passport of the device that it is about.
    pub(crate) passport: U256,
}

/// Whether a listing can be bought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct ListingVerdict {
    /// It can be bought now.
    pub(crate) good: bool,
    /// What is wrong; null: nothing.
    pub(crate) problem: Option<String>,
    /// The transaction that buys it, where it can be bought.
    pub(crate) buy: Option<BuyingTransaction>,
    /// The device that the passport is of, or that the right is for, where it is one of the tenant's. Null
    /// also where the listing is no good.
    pub(crate) device: Option<String>,
    /// The document that a passport names, as `ipfs://…`; null where its contract names none.
    pub(crate) document: Option<String>,
    /// Of a right: its last second, since 1970.
    pub(crate) right_ends_s: Option<u64>,
    /// What is paid with, as the hub knows it: its symbol. Null where the listing is no good.
    pub(crate) symbol: Option<String>,
    /// How many decimals its amounts have. Null where the listing is no good.
    pub(crate) decimals: Option<u8>,
    /// What goes to the receiver of royalties out of the price, base units. Null where the listing is no good.
    pub(crate) royalty: Option<String>,
    /// Who that is; null: nobody.
    pub(crate) royalty_to: Option<String>,
    /// Of a passport that can be bought: how many rights to use the device go on after the sale; null of
    /// anything else.
    pub(crate) rights: Option<usize>,
    /// The last second of the longest of these, since 1970.
    pub(crate) rights_until_s: Option<u64>,
}

/// A transaction that buys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct BuyingTransaction {
    /// The market.
    pub(crate) to: String,
    /// The coin that goes along, wei.
    pub(crate) value: String,
    /// The calldata, as `0x…`.
    pub(crate) data: String,
    /// Which token has to be approved to the market before, and how much; null: none.
    pub(crate) approve: Option<Approval>,
}

impl ListingVerdict {
    fn bad(why: impl Into<String>) -> Self {
        Self {
            good: false,
            problem: Some(why.into()),
            buy: None,
            device: None,
            document: None,
            right_ends_s: None,
            symbol: None,
            decimals: None,
            royalty: None,
            royalty_to: None,
            rights: None,
            rights_until_s: None,
        }
    }
}

impl Owners {
    /// What a seller signs. The least that it shall get is what the price leaves after royalties.
    pub(crate) async fn listing(
        &self,
        tenant: &TenantId,
        seller: Address,
        draft: Draft,
    ) -> Result<ToSign, Refused> {
        let _room = room()?;
        let none = || Refused::Contract("the tenant has set no market".to_owned());
        let settings = self.settings(tenant).await?.ok_or_else(none)?;
        let market = settings.market().ok_or_else(none)?;
        let collections = [settings.passports(), settings.access_rights()];
        if !collections.contains(&Some(draft.collection)) {
            let why = "`collection` is neither the tenant's passports nor its rights";
            return Err(Refused::Contract(why.to_owned()));
        }
        let chain = self.chain(&settings.chain)?.as_ref();
        money(chain, draft.token).map_err(Refused::Contract)?;
        let owner = abi::ownerOfCall {
            tokenId: draft.token_id,
        };
        if ask(chain, draft.collection, &owner).await? != Some(seller) {
            let why = format!("{} does not own this token", seller.to_checksum(None));
            return Err(Refused::Contract(why));
        }
        if settings.access_rights() == Some(draft.collection) {
            let call = abi::rightOfCall {
                tokenId: draft.token_id,
            };
            let right = ask(chain, draft.collection, &call).await?;
            let wrong = match right {
                None => Some(format!("the contract knows no right {}", draft.token_id)),
                Some(right) if right.device != draft.passport => {
                    Some(format!("right {} is for another device", draft.token_id))
                }
                Some(right) if right.ends < self.now_s() => Some(format!(
                    "right {} ended at {}",
                    draft.token_id,
                    listing::when(right.ends)
                )),
                Some(_) => None,
            };
            if let Some(why) = wrong {
                return Err(Refused::Contract(why));
            }
        }
        let royalty = abi::royaltyOfCall {
            collection: draft.collection,
            tokenId: draft.token_id,
            price: draft.price,
        };
        let royalty = ask(chain, market, &royalty).await?;
        let royalty = royalty.ok_or_else(|| {
            Refused::Contract("what is set as the market does not answer as one".to_owned())
        })?;
        let proceeds = draft.price.checked_sub(royalty.royalty);
        let proceeds = proceeds
            .ok_or_else(|| Refused::Contract("the royalty is higher than the price".to_owned()))?;
        let listing = Listing {
            seller,
            collection: draft.collection,
            tokenId: draft.token_id,
            token: draft.token,
            price: draft.price,
            proceeds,
            expires: draft.expires,
            nonce: draft.nonce,
        };
        listing::check_terms(&listing, self.now_s())
            .map_err(|problem| Refused::Contract(problem.to_string()))?;
        if let Some(why) = nonce_used(chain, market, &listing).await? {
            return Err(Refused::Contract(why));
        }
        let approved = approved(chain, market, &listing).await?;
        Ok(ToSign {
            typed_data: listing::typed_data(chain.id(), market, &listing),
            digest: listing::digest(chain.id(), market, &listing).to_string(),
            royalty: royalty.royalty.to_string(),
            royalty_to: (!royalty.receiver.is_zero()).then(|| royalty.receiver.to_checksum(None)),
            approve: (!approved).then(|| approval(listing.collection, market, listing.tokenId)),
            cancel: Approval {
                to: market.to_checksum(None),
                data: encoded(&abi::cancelCall {
                    nonce: listing.nonce,
                }),
            },
        })
    }

    /// Whether a listing can be bought at the market of a tenant now, by `buyer`.
    pub(crate) async fn verdict(
        &self,
        tenant: &TenantId,
        offer: &Offer,
        buyer: Address,
    ) -> Result<ListingVerdict, Refused> {
        let _room = room()?;
        let none = || Refused::Contract("the tenant has set no market".to_owned());
        let settings = self.settings(tenant).await?.ok_or_else(none)?;
        let market = settings.market().ok_or_else(none)?;
        let chain = self.chain(&settings.chain)?.as_ref();
        // What is read of a chain that is walked back, or stands still, may be otherwise in a moment.
        if let Err(why) = chain.usable() {
            let why = format!("{why}; do not buy before that is over");
            return Ok(ListingVerdict::bad(why));
        }
        let listing = &offer.listing;
        let is_contract = chain.has_code(listing.seller).await?;
        let signed = listing::check(offer, chain.id(), market, is_contract, self.now_s());
        if let Err(problem) = signed {
            return Ok(ListingVerdict::bad(problem.to_string()));
        }
        let is_passport = settings.passports() == Some(listing.collection);
        if !is_passport && settings.access_rights() != Some(listing.collection) {
            return Ok(ListingVerdict::bad(
                "what is sold is neither a passport nor a right of the tenant's: it is of another \
                 collection, and good for nothing here",
            ));
        }
        let paid_with = match money(chain, listing.token) {
            Ok(token) => token,
            Err(why) => return Ok(ListingVerdict::bad(why)),
        };
        if let Some(why) = nonce_used(chain, market, listing).await? {
            return Ok(ListingVerdict::bad(why));
        }
        let royalty = match royalty(chain, market, listing).await? {
            Ok(royalty) => royalty,
            Err(why) => return Ok(ListingVerdict::bad(why)),
        };
        let owner = abi::ownerOfCall {
            tokenId: listing.tokenId,
        };
        let owner = ask(chain, listing.collection, &owner).await?;
        if owner != Some(listing.seller) {
            return Ok(ListingVerdict::bad(
                "the token is not the seller's any more, or never was",
            ));
        }
        if !approved(chain, market, listing).await? {
            return Ok(ListingVerdict::bad(
                "the seller has not approved the token to the market",
            ));
        }
        if !signed_by_contract(chain, market, offer, is_contract).await? {
            return Ok(ListingVerdict::bad(
                "the seller's contract does not take this signature as its own",
            ));
        }
        if buyer == listing.seller {
            return Ok(ListingVerdict::bad("the seller can't buy from itself"));
        }
        let (device, document, right_ends_s) = if is_passport {
            let call = abi::metadataOfCall {
                tokenId: listing.tokenId,
            };
            let document = ask(chain, listing.collection, &call).await?;
            let document = document.filter(|hash| !hash.is_zero());
            (listing.tokenId, document.map(|hash| Cid(hash).uri()), None)
        } else {
            let call = abi::rightOfCall {
                tokenId: listing.tokenId,
            };
            let Some(right) = ask(chain, listing.collection, &call).await? else {
                return Ok(ListingVerdict::bad("the contract knows no such right"));
            };
            if right.ends < self.now_s() {
                let why = format!("the right ended at {}", listing::when(right.ends));
                return Ok(ListingVerdict::bad(why));
            }
            (right.device, None, Some(right.ends))
        };
        let port = &self.store.ownership;
        let device = port.device_with(tenant, &device.to_be_bytes()).await?;
        let call = abi::buyCall {
            listing: listing.clone(),
            signature: offer.signature.clone(),
        };
        let is_coin = listing.token.is_zero();
        let approve = (!is_coin).then(|| Approval {
            to: listing.token.to_checksum(None),
            data: encoded(&stencil_payments::abi::approveCall {
                spender: market,
                value: listing.price,
            }),
        });
        let ends = self.rights_ends(tenant, &settings, listing).await?;
        Ok(ListingVerdict {
            good: true,
            problem: None,
            rights: ends.as_ref().map(Vec::len),
            rights_until_s: ends.and_then(|ends| ends.into_iter().max()),
            device: device.map(|device| device.to_string()),
            document,
            right_ends_s,
            symbol: Some(match paid_with {
                Some(token) => token.symbol().to_owned(),
                None => coin(chain).to_owned(),
            }),
            decimals: Some(paid_with.map_or(COIN_DECIMALS, Token::decimals)),
            royalty: Some(royalty.royalty.to_string()),
            royalty_to: (!royalty.receiver.is_zero()).then(|| royalty.receiver.to_checksum(None)),
            buy: Some(BuyingTransaction {
                to: market.to_checksum(None),
                value: if is_coin { listing.price } else { U256::ZERO }.to_string(),
                data: encoded(&call),
                approve,
            }),
        })
    }
}

impl Owners {
    /// When rights to use the device end whose passport is listed; those that are over are left out.
    /// `None`: no passport is listed.
    async fn rights_ends(
        &self,
        tenant: &TenantId,
        settings: &OwnershipSettings,
        listing: &Listing,
    ) -> Result<Option<Vec<u64>>, Refused> {
        if settings.passports() != Some(listing.collection) {
            return Ok(None);
        }
        let Some(rights) = settings.access_rights() else {
            return Ok(Some(Vec::new()));
        };
        let (port, passport) = (&self.store.ownership, listing.tokenId.to_be_bytes());
        let (chain, now_s) = (&settings.chain, self.now_s());
        let held = port
            .rights_to(tenant, chain, &rights.0, &passport, None, now_s, MAX_SHOWN)
            .await?;
        let mut ends = Vec::new();
        for held in held {
            let user = kept(&held)?.user(Gain::Included);
            ends.extend(user.map(|user| user.expires).filter(|ends| now_s <= *ends));
        }
        Ok(Some(ends))
    }
}

/// Room to ask the chain.
fn room() -> Result<SemaphorePermit<'static>, Refused> {
    let many = "too many listings are looked at at the moment: try again";
    ROOM.try_acquire()
        .map_err(|_| Refused::Busy(many.to_owned()))
}

/// What is paid with, `None` for the coin; `Err`: it is nothing that the hub knows as money. A collection's
/// tokens move by the same call as money does.
fn money(chain: &dyn Chain, token: Address) -> Result<Option<&Token>, String> {
    if token.is_zero() {
        return Ok(None);
    }
    let known = chain.tokens().iter().map(|known| &known.token);
    let mut known = known.filter(|known| known.asset().contract == Some(token));
    known.next().map(Some).ok_or_else(|| {
        format!(
            "{} is no token that this hub takes for money on {}: pay with the coin, or with one that the \
             hub's settings name",
            token.to_checksum(None),
            chain.name()
        )
    })
}

/// What the chain's own coin is called.
pub(crate) fn coin(chain: &dyn Chain) -> &str {
    let mut tokens = chain.tokens().iter().map(|known| &known.token);
    let named = tokens.find(|token| token.asset().contract.is_none());
    let told = || chain.for_wallets().map(|told| told.coin.as_str());
    named.map(Token::symbol).or_else(told).unwrap_or("ETH")
}

/// What goes to whom out of the price; `Err`: the seller would not get what it has signed for.
async fn royalty(
    chain: &dyn Chain,
    market: Address,
    listing: &Listing,
) -> Result<Result<abi::royaltyOfReturn, String>, Refused> {
    let call = abi::royaltyOfCall {
        collection: listing.collection,
        tokenId: listing.tokenId,
        price: listing.price,
    };
    let Some(told) = ask(chain, market, &call).await? else {
        return Ok(Err(
            "what is set as the market does not answer as one".to_owned()
        ));
    };
    let Some(rest) = listing.price.checked_sub(told.royalty) else {
        return Ok(Err(format!(
            "the royalty is {}, more than the price",
            told.royalty
        )));
    };
    Ok(if rest < listing.proceeds {
        Err(format!(
            "the seller signed for {} at least, and royalties leave {rest}: the market refuses it",
            listing.proceeds
        ))
    } else {
        Ok(told)
    })
}

/// Why no listing with this nonce can be bought any more.
async fn nonce_used(
    chain: &dyn Chain,
    market: Address,
    listing: &Listing,
) -> Result<Option<String>, Refused> {
    let call = abi::stateOfCall {
        seller: listing.seller,
        nonce: listing.nonce,
    };
    let state = ask(chain, market, &call).await?;
    Ok(match state {
        Some(0) => None,
        Some(1) => Some("what has this nonce was sold: a nonce is good for one sale".to_owned()),
        Some(2) => Some("the seller has cancelled what has this nonce".to_owned()),
        _ => Some("what is set as the market does not answer as one".to_owned()),
    })
}

/// Whether the market may move the token.
async fn approved(chain: &dyn Chain, market: Address, listing: &Listing) -> Result<bool, Refused> {
    let one = abi::getApprovedCall {
        tokenId: listing.tokenId,
    };
    if ask(chain, listing.collection, &one).await? == Some(market) {
        return Ok(true);
    }
    let all = abi::isApprovedForAllCall {
        owner: listing.seller,
        operator: market,
    };
    Ok(ask(chain, listing.collection, &all).await? == Some(true))
}

/// Whether a seller that is a contract takes the signature as its own (ERC-1271); an account's was
/// looked at.
async fn signed_by_contract(
    chain: &dyn Chain,
    market: Address,
    offer: &Offer,
    is_contract: bool,
) -> Result<bool, Refused> {
    if !is_contract {
        return Ok(true);
    }
    let call = stencil_payments::abi::isValidSignatureCall {
        hash: listing::digest(chain.id(), market, &offer.listing),
        signature: offer.signature.clone(),
    };
    let answer = chain
        .call(offer.listing.seller, encode(&call).into())
        .await?;
    Ok(match answer {
        Called::Returned(bytes) => bytes.len() == 32 && bytes[..4] == [0x16, 0x26, 0xba, 0x7e],
        Called::Reverted(_) => false,
    })
}

fn approval(collection: Address, market: Address, token: U256) -> Approval {
    // ERC-721's has the same name and form as ERC-20's.
    Approval {
        to: collection.to_checksum(None),
        data: encoded(&stencil_payments::abi::approveCall {
            spender: market,
            value: token,
        }),
    }
}

fn encode(call: &impl SolCall) -> Vec<u8> {
    call.abi_encode()
}

fn encoded(call: &impl SolCall) -> String {
    format!("0x{}", hex::encode(encode(call)))
}
