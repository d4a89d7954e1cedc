//! Whose tokens control devices, and the documents that tokens name.

use std::sync::atomic::Ordering;

use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolValue as _;
use serde_json::{Value, json};
use stencil_ownership::abi::{self, SolCall as _};
use stencil_payments::{Address, B256, U256};
use stencil_store::MAX_DOCUMENT;

use super::{Answer, Served, seed};

const SETTINGS: &str = "/api/v1/ownership";
const PASSPORT: &str = "/api/v1/devices/freezer-marked/passport";
const OWNER: Address = Address::repeat_byte(0x11);

fn seller() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(7)).unwrap()
}

/// Who sells in these samples.
pub(super) fn account() -> Address {
    seller().address()
}

/// What the samples of `/api/v1/market/…` send.
pub(super) fn market_body(path: &str) -> Value {
    let seller = seller().address();
    if path == "/api/v1/market/check" {
        let listing = json!({
            "seller": seller, "collection": seed::PASSPORTS, "tokenId": "1", "token": Address::ZERO,
            "price": "1000", "proceeds": "975", "expires": 1_700_000_100, "nonce": "1",
        });
        let offer = json!({
            "chain_id": 1, "market": seed::MARKET, "listing": listing, "signature": "0x00",
        });
        return json!({ "offer": offer, "buyer": OWNER.to_checksum(None) });
    }
    json!({
        "seller": seller.to_checksum(None),
        "terms": { "price": "1000", "nonce": "1" },
    })
}

#[tokio::test]
async fn nobody_buys_as_the_zero_address() {
    let served = Served::start().await;
    let mut body = market_body("/api/v1/market/check");
    body["buyer"] = json!(Address::ZERO.to_checksum(None));
    let ask = served.ask("POST", "/api/v1/market/check");
    let answer = ask.bearer(&served.tokens.admin).json(&body).send().await;
    assert!(answer.body.contains("zero address"), "{answer:?}");
    answer.problem(400);
}

#[tokio::test]
async fn who_has_set_no_policy_is_told_how_to() {
    let served = Served::start().await;
    let remove = async || {
        let ask = served.ask("DELETE", SETTINGS);
        ask.bearer(&served.tokens.admin).send().await
    };
    remove().await;
    for answer in [served.read(SETTINGS).await, remove().await] {
        let why = answer.problem(404);
        assert!(why.starts_with("no policy is set"), "{why}");
        assert!(why.contains("stencil passport policy set"), "{why}");
    }
}

/// What the collection and the market say of the seller's passport.
fn for_sale(served: &Served, state: u8, approved: Address) {
    for_sale_by(served, seller().address(), state, approved);
}

/// The same of another's.
pub(super) fn for_sale_by(served: &Served, seller: Address, state: u8, approved: Address) {
    let id = U256::from_be_bytes(seed::TOKEN_ID);
    let chain = &served.chain;
    let owner = abi::ownerOfCall { tokenId: id }.abi_encode();
    chain.answers(seed::PASSPORTS, owner.into(), seller.abi_encode());
    let one = abi::getApprovedCall { tokenId: id }.abi_encode();
    chain.answers(seed::PASSPORTS, one.into(), approved.abi_encode());
    let nonce = abi::stateOfCall {
        seller,
        nonce: U256::from(1),
    };
    let state = U256::from(state).abi_encode();
    chain.answers(seed::MARKET, nonce.abi_encode().into(), state);
    let royalty = abi::royaltyOfCall {
        collection: seed::PASSPORTS,
        tokenId: id,
        price: U256::from(1_000),
    };
    let said = (OWNER, U256::from(25)).abi_encode();
    chain.answers(seed::MARKET, royalty.abi_encode().into(), said);
}

#[tokio::test]
async fn a_seller_is_told_what_to_sign_and_a_buyer_whether_it_is_good() {
    let served = Served::start().await;
    seed::contracts(&served.chain);
    for_sale(&served, 0, Address::ZERO);
    let list = async |body: &Value| {
        let ask = served.ask("POST", &format!("{PASSPORT}/listing"));
        ask.bearer(&served.tokens.reader).json(body).send().await
    };
    let body = market_body("listing");
    let told = list(&body).await.ok();
    assert_eq!(told["royalty"], "25");
    let message = &told["typed_data"]["message"];
    assert_eq!(message["proceeds"], "975", "what the price leaves");
    assert_eq!(
        message["tokenId"],
        U256::from_be_bytes(seed::TOKEN_ID).to_string()
    );
    assert_eq!(told["approve"]["to"], seed::PASSPORTS.to_checksum(None));
    let cancel = abi::cancelCall {
        nonce: U256::from(1),
    };
    assert_eq!(
        told["cancel"],
        json!({
            "to": seed::MARKET.to_checksum(None),
            "data": format!("0x{}", hex::encode(cancel.abi_encode())),
        })
    );

    // As a wallet would: by the fields of the typed data.
    let digest: B256 = told["digest"].as_str().unwrap().parse().unwrap();
    let signature = seller().sign_hash_sync(&digest).unwrap().as_bytes();
    let offer = json!({
        "chain_id": crate::chains::tests::fake::ID, "market": seed::MARKET, "listing": message,
        "signature": format!("0x{}", hex::encode(signature)),
    });
    let check = async |offer: &Value| {
        let ask = served.ask("POST", "/api/v1/market/check");
        let body = json!({ "offer": offer, "buyer": OWNER.to_checksum(None) });
        let answer = ask
            .bearer(&served.tokens.reader)
            .json(&body)
            .send()
            .await
            .ok();
        answer["problem"].as_str().map_or_else(
            || Ok(answer["buy"]["data"].as_str().unwrap().to_owned()),
            |problem| Err(problem.to_owned()),
        )
    };
    assert!(check(&offer).await.unwrap_err().contains("not approved"));
    for_sale(&served, 0, seed::MARKET);
    let data = check(&offer).await.unwrap();
    let data = hex::decode(&data[2..]).unwrap();
    let call = abi::buyCall::abi_decode(&data).unwrap();
    assert_eq!(call.listing.price, U256::from(1_000));
    // What is read of a chain that is walked back may be otherwise in a moment.
    let back = "the chain local can't be used now: its branch has changed";
    *served.chain.unusable.lock().unwrap() = Some(back.to_owned());
    let why = check(&offer).await.unwrap_err();
    assert_eq!(why, format!("{back}; do not buy before that is over"));
    *served.chain.unusable.lock().unwrap() = None;
    check(&offer).await.unwrap();

    let mut elsewhere = offer.clone();
    elsewhere["chain_id"] = json!(1);
    assert!(
        check(&elsewhere)
            .await
            .unwrap_err()
            .contains("for chain 1, not")
    );
    let mut elsewhere = offer.clone();
    elsewhere["market"] = json!(seed::RIGHTS);
    assert!(
        check(&elsewhere)
            .await
            .unwrap_err()
            .contains("for the market")
    );
    // A slip in an address: its checksum does not fit.
    let mut slip = offer.clone();
    let seller_text = slip["listing"]["seller"].as_str().unwrap();
    let other = seller_text.to_uppercase().replacen("0X", "0x", 1);
    let at = other
        .bytes()
        .zip(seller_text.bytes())
        .rposition(|(a, b)| a != b);
    let (at, mut text) = (at.unwrap(), seller_text.to_owned());
    text.replace_range(at..=at, &other[at..=at]);
    slip["listing"]["seller"] = json!(text);
    let asked = json!({ "offer": slip, "buyer": OWNER.to_checksum(None) });
    let ask = served.ask("POST", "/api/v1/market/check");
    let answer = ask.bearer(&served.tokens.reader).json(&asked).send().await;
    assert!(answer.problem(400).contains("EIP-55"), "{answer:?}");
    let mut cheaper = offer.clone();
    cheaper["listing"]["price"] = json!("999");
    assert!(
        check(&cheaper)
            .await
            .unwrap_err()
            .contains("has signed this, not the seller")
    );
    // It claims to be for here, and was signed for another chain, or for another market.
    for (chain, market) in [
        (1, seed::MARKET),
        (crate::chains::tests::fake::ID, seed::RIGHTS),
    ] {
        let terms: stencil_ownership::listing::Offer =
            serde_json::from_value(offer.clone()).unwrap();
        let digest = stencil_ownership::listing::digest(chain, market, &terms.listing);
        let signature = seller().sign_hash_sync(&digest).unwrap().as_bytes();
        let mut elsewhere = offer.clone();
        elsewhere["signature"] = json!(format!("0x{}", hex::encode(signature)));
        let why = check(&elsewhere).await.unwrap_err();
        assert!(why.contains("another chain or market"), "{why}");
    }
    // All of these are signed by the seller, and take the buyer's money for nothing, or can't be bought.
    let right = U256::from(1);
    let ended = abi::Right {
        device: U256::from_be_bytes(seed::TOKEN_ID),
        ends: 1_000,
    };
    let call = abi::rightOfCall { tokenId: right }.abi_encode();
    served
        .chain
        .answers(seed::RIGHTS, call.into(), ended.abi_encode());
    let call = abi::ownerOfCall { tokenId: right }.abi_encode();
    served
        .chain
        .answers(seed::RIGHTS, call.into(), seller().address().abi_encode());
    let call = abi::getApprovedCall { tokenId: right }.abi_encode();
    served
        .chain
        .answers(seed::RIGHTS, call.into(), seed::MARKET.abi_encode());
    let call = abi::royaltyOfCall {
        collection: seed::RIGHTS,
        tokenId: right,
        price: U256::from(1_000),
    };
    let none = (Address::ZERO, U256::ZERO).abi_encode();
    served
        .chain
        .answers(seed::MARKET, call.abi_encode().into(), none);
    type Change = fn(&mut abi::Listing);
    let cases: [(Change, &str); 4] = [
        (|of| of.collection = OWNER, "of another collection"),
        (
            |of| of.token = seed::PASSPORTS,
            "no token that this hub takes for money",
        ),
        (|of| of.proceeds = U256::from(976), "royalties leave 975"),
        (
            |of| (of.collection, of.tokenId) = (seed::RIGHTS, U256::from(1)),
            "the right ended at 1970-01-01 00:16:40 UTC",
        ),
    ];
    for (change, why) in cases {
        let mut terms: stencil_ownership::listing::Offer =
            serde_json::from_value(offer.clone()).unwrap();
        change(&mut terms.listing);
        let id = crate::chains::tests::fake::ID;
        let digest = stencil_ownership::listing::digest(id, seed::MARKET, &terms.listing);
        terms.signature = seller().sign_hash_sync(&digest).unwrap().as_bytes().into();
        let found = check(&serde_json::to_value(&terms).unwrap())
            .await
            .unwrap_err();
        assert!(found.contains(why), "{why}: {found}");
    }
    for (state, why) in [(1, "was sold"), (2, "cancelled")] {
        for_sale(&served, state, seed::MARKET);
        assert!(check(&offer).await.unwrap_err().contains(why));
        assert!(list(&body).await.problem(409).contains(why));
    }
    for_sale(&served, 0, seed::MARKET);
    let owner = abi::ownerOfCall {
        tokenId: U256::from_be_bytes(seed::TOKEN_ID),
    };
    served.chain.answers(
        seed::PASSPORTS,
        owner.abi_encode().into(),
        OWNER.abi_encode(),
    );
    assert!(
        check(&offer)
            .await
            .unwrap_err()
            .contains("not the seller's")
    );
    assert!(list(&body).await.problem(409).contains("does not own"));
    served
        .now_us
        .fetch_add(8 * 24 * 3_600 * 1_000_000, Ordering::SeqCst);
    assert!(check(&offer).await.unwrap_err().contains("ended at"));
    for (field, value, why) in [
        ("price", "0", "price is zero"),
        ("price", "x", "whole number"),
    ] {
        for_sale(&served, 0, seed::MARKET);
        let royalty = abi::royaltyOfCall {
            collection: seed::PASSPORTS,
            tokenId: U256::from_be_bytes(seed::TOKEN_ID),
            price: U256::ZERO,
        };
        let said = (Address::ZERO, U256::ZERO).abi_encode();
        served
            .chain
            .answers(seed::MARKET, royalty.abi_encode().into(), said);
        let mut wrong = body.clone();
        wrong["terms"][field] = json!(value);
        let answer = list(&wrong).await;
        assert!(answer.body.contains(why), "{value}: {}", answer.body);
    }
}

async fn admin(served: &Served, method: &str, path: &str, body: &Value) -> Answer {
    let ask = served.ask(method, path).bearer(&served.tokens.admin);
    ask.json(body).send().await
}

#[tokio::test]
async fn settings_are_checked_kept_and_removed() {
    let served = Served::start().await;
    seed::contracts(&served.chain);
    let body = seed::ownership_body();
    let shown = admin(&served, "PUT", SETTINGS, &body).await.ok();
    let audit = served.get("/api/v1/audit").bearer(&served.tokens.admin);
    let audit = audit.send().await.ok();
    for part in [seed::PASSPORTS, seed::RIGHTS, seed::MARKET] {
        let part = part.to_checksum(None);
        assert!(audit.to_string().contains(&part), "{part}: {audit}");
    }
    assert!(audit.to_string().contains("owners may *, users may unlock"));
    // Any contract is no market.
    let mut none = body.clone();
    none["market"] = json!(seed::PASSPORTS.to_checksum(None));
    let answer = admin(&served, "PUT", SETTINGS, &none).await;
    assert!(
        answer.problem(400).contains("no StencilMarket"),
        "{answer:?}"
    );
    assert_eq!(shown["takes_effect"], "final");
    assert_eq!(shown["stale_after_s"], 900);
    assert_eq!(served.read(SETTINGS).await.ok(), shown);
    let mut wrong = body.clone();
    wrong["market"] = json!("0x12");
    let answer = admin(&served, "PUT", SETTINGS, &wrong).await;
    assert!(answer.problem(400).contains("/market"));
    assert_eq!(answer.json()["errors"][0]["pointer"], "#/market");
    let ask = served.ask("DELETE", SETTINGS).bearer(&served.tokens.admin);
    assert_eq!(ask.send().await.status, 204);
    served.read(SETTINGS).await.problem(404);
    served.read(PASSPORT).await.problem(404);
}

#[tokio::test]
async fn a_device_is_given_its_passport_by_did_or_number() {
    let served = Served::start().await;
    let ask = json!({ "did": "did:web:x" });
    let answer = admin(&served, "DELETE", SETTINGS, &json!({})).await;
    assert_eq!(answer.status, 204);
    let answer = admin(&served, "PUT", PASSPORT, &ask).await;
    assert!(answer.problem(409).contains("PUT /api/v1/ownership"));
    seed::contracts(&served.chain);
    admin(&served, "PUT", SETTINGS, &seed::ownership_body())
        .await
        .ok();
    let id = U256::from_be_bytes(stencil_ownership::token_of("did:web:x").unwrap().0);
    let call = abi::ownerOfCall { tokenId: id }.abi_encode();
    served
        .chain
        .answers(seed::PASSPORTS, call.into(), OWNER.abi_encode());
    let shown = admin(&served, "PUT", PASSPORT, &ask).await.ok();
    assert_eq!(shown["did"], "did:web:x");
    assert_eq!(shown["passport"], format!("{id:#066x}"));
    // As of a block that is not final.
    assert_eq!(shown["owner"], Value::Null);
    assert_eq!(shown["going_to"], OWNER.to_checksum(None));
    assert_eq!(shown["fresh"], false, "nothing was read of the chain");
    let by_number = json!({ "token": id.to_string() });
    let shown = admin(&served, "PUT", PASSPORT, &by_number).await.ok();
    assert_eq!(shown["passport"], format!("{id:#066x}"));
    let other = "/api/v1/devices/a-foreign-marked/passport";
    let answer = admin(&served, "PUT", other, &by_number).await;
    assert!(answer.problem(409).contains("freezer-marked"));
    for (wrong, why) in [
        (json!({}), "one of `did` and `token`"),
        (json!({ "did": "urn:x" }), "begins with `did:`"),
        (json!({ "token": "x" }), "whole number"),
        (json!({ "token": "9".repeat(78) }), "whole number"),
        (json!({ "token": "0x" }), "whole number"),
    ] {
        let answer = admin(&served, "PUT", PASSPORT, &wrong).await;
        assert!(answer.problem(400).contains(why), "{wrong}");
    }
}

#[tokio::test]
async fn a_document_is_named_by_its_bytes_and_served_to_anybody() {
    let served = Served::start().await;
    let keep = async |kind: &str, body: Vec<u8>| {
        let ask = served.ask("POST", "/api/v1/documents");
        let ask = ask
            .bearer(&served.tokens.editor)
            .header("content-type", kind);
        ask.body(body).send().await
    };
    let answer = keep("text/plain", b"hello".to_vec()).await;
    assert_eq!(answer.status, 201);
    let kept = answer.json();
    let cid = "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq";
    assert_eq!(kept["cid"], cid);
    assert_eq!(kept["uri"], format!("ipfs://{cid}"));
    served.later(5);
    let again = keep("text/plain", b"hello".to_vec()).await;
    assert_eq!((again.status, again.json()), (200, kept.clone()));
    // Whoever keeps it, and as whatever it was kept once: it is what its bytes are.
    let lied = stencil_store::Document {
        media_type: "image/png".to_owned(),
        body: b"{\"a\":1}".to_vec(),
    };
    let hash = stencil_ownership::cid::Cid::of(&lied.body);
    let port = &served.store.ownership;
    let acme = seed::acme();
    let first = port.put_document(&acme, &hash.0.0, &lied, super::NOW_US);
    first.await.unwrap();
    let told = served.get(&format!("/ipfs/{hash}")).send().await;
    assert_eq!(told.header("content-type"), Some("application/json"));
    let path = format!("/ipfs/{cid}");
    let served_to_anybody = served.get(&path).send().await;
    assert_eq!(served_to_anybody.status, 200);
    assert_eq!(
        served_to_anybody.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert!(
        served_to_anybody
            .header("cache-control")
            .unwrap()
            .contains("immutable")
    );
    assert_eq!(served_to_anybody.body, "hello");
    for (kind, body, status) in [
        ("text/html", b"<script>".to_vec(), 415),
        ("application/json", b"{".to_vec(), 400),
        ("image/png", b"{}".to_vec(), 400),
        ("text/plain", Vec::new(), 400),
        ("text/plain", vec![b'x'; MAX_DOCUMENT + 1], 413),
    ] {
        assert_eq!(keep(kind, body).await.status, status, "{kind}");
    }
    for (name, status) in [("Qm123", 400), ("bafkrei", 400)] {
        served
            .get(&format!("/ipfs/{name}"))
            .send()
            .await
            .problem(status);
    }
    let listed = served.read("/api/v1/documents").await.ok();
    assert!(listed.to_string().contains(cid));
    let forget = served.ask("DELETE", &format!("/api/v1/documents/{cid}"));
    let forgotten = forget.bearer(&served.tokens.editor).send().await;
    assert_eq!(forgotten.status, 204);
    served.get(&path).send().await.problem(404);
}

/// Which endpoints there are, and what they say, is for who runs the hub.
#[tokio::test]
async fn what_endpoints_say_is_not_told_to_callers() {
    let served = Served::start().await;
    seed::contracts(&served.chain);
    let secret = stencil_payments::port::Unknown("secret.host:8545: 32 bytes".into());
    served.chain.otherwise(Err(secret));
    let settings = seed::ownership_body();
    for (path, body) in [
        (PASSPORT, json!({ "token": "77" })),
        (SETTINGS, {
            let mut settings = settings.clone();
            settings["passports"] = json!(seed::MARKET.to_checksum(None));
            settings
        }),
    ] {
        let ask = served.ask("PUT", path).bearer(&served.tokens.admin);
        let answer = ask.json(&body).send().await;
        let said = answer.problem(503);
        assert!(said.contains("does not answer now"), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
}
