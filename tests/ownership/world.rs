//! The contracts on a dev chain, a hub that follows them, and a locker with a passport.

use std::path::{Path, PathBuf};

use alloy_primitives::{Address, U256};
use alloy_signer::SignerSync as _;
use serde_json::{Value, json};
use stencil_chain::deploy::Contract;
use stencil_ownership::abi;
use stencil_ownership::listing::{self, Listing, Offer};

use crate::support::chain::DevChain;
use crate::support::{Hub, http, stencil, wait_for};

pub(crate) const DEVICE: &str = "locker-7";
pub(crate) const DID: &str = "did:web:hub.example:tenants:acme:devices:locker-7";
pub(crate) const TERMS: &str = "Whoever holds this may open the locker.";

pub(crate) fn put(hub: &Hub, method: &str, path: &str, body: &Value) -> Value {
    let body = body.to_string();
    let json = Some(("application/json", body.as_str()));
    let answer = http::request(hub.port("http"), method, path, Some(&hub.token), json);
    assert!((200..300).contains(&answer.status), "{path}: {answer:?}");
    answer.json()
}

/// Whether an account may give the locker a command: by what, or why not.
pub(crate) fn may(hub: &Hub, account: Address, command: &str) -> Result<String, String> {
    let asked = json!({ "account": account.to_checksum(None), "command": command });
    let path = format!("/api/v1/devices/{DEVICE}/passport/check");
    let said = put(hub, "POST", &path, &asked);
    match said["by"].as_str() {
        Some(by) => Ok(by.to_owned()),
        None => Err(said["why"].as_str().unwrap().to_owned()),
    }
}

pub(crate) fn until(hub: &Hub, what: &str, account: Address, command: &str, by: &str) {
    wait_for(what, || {
        (may(hub, account, command).ok().as_deref() == Some(by)).then_some(())
    });
}

pub(crate) fn refused(hub: &Hub, what: &str, account: Address, command: &str, why: &str) {
    wait_for(what, || {
        let said = may(hub, account, command).err()?;
        said.contains(why).then_some(())
    });
}

fn flags(config: &Path) -> [&str; 4] {
    let config = config.to_str().unwrap();
    ["--config", config, "--mqtt-plain", "127.0.0.1:0"]
}

pub(crate) struct World {
    _folder: tempfile::TempDir,
    config: PathBuf,
    pub(crate) chain: DevChain,
    pub(crate) hub: Hub,
    pub(crate) passports: Address,
    pub(crate) rights: Address,
    pub(crate) market: Address,
    pub(crate) tenant: Address,
    pub(crate) seller: Address,
    pub(crate) buyer: Address,
    pub(crate) guest: Address,
}

impl World {
    /// The contracts, a hub that follows them, a locker, and its passport, which is the seller's for good.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let chain = DevChain::start(folder.path(), 4);
        let (tenant, seller) = (chain.account(0), chain.account(1));
        let passports = chain.deploy(&Contract::Passport {
            name: "Lockers".to_owned(),
            symbol: "LOCK".to_owned(),
            administrator: tenant,
            royalty_to: tenant,
            royalty: 250,
        });
        let rights = chain.deploy(&Contract::AccessRight {
            name: "Access".to_owned(),
            symbol: "ACC".to_owned(),
            administrator: tenant,
            terms: stencil_ownership::cid::Cid::of(TERMS.as_bytes()).0,
        });
        let market = chain.deploy(&Contract::Market);
        let config = folder.path().join("hub.toml");
        // With a name that a restart does not change, as it is in DIDs.
        let settings = format!(
            "[http]\npublic_url = \"http://localhost:8080\"\n[chains.dev.follow]\nchain_id = 31337\nendpoints = [\"{}\"]\nfinality = 4\n\
             poll_interval_ms = 50\n",
            chain.url()
        );
        std::fs::write(&config, settings).unwrap();
        let hub = Hub::start(&flags(&config));
        let mut device = hub.foreign(DEVICE);
        device.deliver("v1/devices/me/telemetry", b"{\"door\": 0}");
        hub.wait_for_latest(DEVICE, "door", &json!(0));
        put(
            &hub,
            "PUT",
            "/api/v1/ownership",
            &json!({
                "chain": "dev", "passports": passports.to_checksum(None),
                "access_rights": rights.to_checksum(None), "market": market.to_checksum(None),
                "owner_may": ["*"], "user_may": ["unlock"],
            }),
        );
        let world = Self {
            _folder: folder,
            config,
            tenant,
            seller,
            buyer: chain.account(2),
            guest: chain.account(3),
            chain,
            hub,
            passports,
            rights,
            market,
        };
        world.issue();
        world
    }

    /// Another hub with these settings, whose data lie in a folder already.
    pub(crate) fn restored(&self, folder: tempfile::TempDir) -> Hub {
        Hub::over(folder, &self.hub.token, &flags(&self.config))
    }

    pub(crate) fn issue(&self) {
        let issue = abi::issueCall {
            to: self.seller,
            did: DID.to_owned(),
            metadata: stencil_ownership::cid::Cid::of(b"a locker").0,
        };
        self.chain.send(0, self.passports, &issue);
        let path = format!("/api/v1/devices/{DEVICE}/passport");
        put(&self.hub, "PUT", &path, &json!({ "did": DID }));
        refused(
            &self.hub,
            "the passport",
            self.seller,
            "lock",
            "not final yet",
        );
        self.chain.mine(16);
        until(
            &self.hub,
            "the seller's control",
            self.seller,
            "lock",
            "owner",
        );
    }

    /// What the seller signs, as the hub says and a wallet does: the listing with its signature.
    pub(crate) fn listed(&self, price: &str) -> Value {
        let told = put(
            &self.hub,
            "POST",
            &format!("/api/v1/devices/{DEVICE}/passport/listing"),
            &json!({
                "seller": self.seller.to_checksum(None), "terms": { "price": price },
            }),
        );
        if let Some(approve) = told["approve"].as_object() {
            let to: Address = approve["to"].as_str().unwrap().parse().unwrap();
            let data: alloy_primitives::Bytes = approve["data"].as_str().unwrap().parse().unwrap();
            self.chain.transact(1, Some(to), &data, U256::ZERO);
        }
        // By EIP-712 from the typed data, not by the digest that comes along.
        let typed: alloy_sol_types::Eip712Domain =
            serde_json::from_value(told["typed_data"]["domain"].clone()).unwrap();
        let message = &told["typed_data"]["message"];
        let number = |name: &str| message[name].as_str().unwrap().parse::<U256>().unwrap();
        let address = |name: &str| message[name].as_str().unwrap().parse::<Address>().unwrap();
        let listing = Listing {
            seller: address("seller"),
            collection: address("collection"),
            tokenId: number("tokenId"),
            token: address("token"),
            price: number("price"),
            proceeds: number("proceeds"),
            expires: message["expires"].as_u64().unwrap(),
            nonce: number("nonce"),
        };
        let hash = alloy_sol_types::SolStruct::eip712_signing_hash(&listing, &typed);
        let signature = self.chain.key(1).sign_hash_sync(&hash).unwrap();
        let offer = Offer {
            tenant: None,
            chain_id: 31_337,
            market: self.market,
            listing,
            signature: signature.as_bytes().into(),
        };
        serde_json::to_value(offer).unwrap()
    }

    pub(crate) fn checked(&self, offer: &Value) -> Value {
        let asked = json!({ "offer": offer, "buyer": self.buyer.to_checksum(None) });
        put(&self.hub, "POST", "/api/v1/market/check", &asked)
    }

    /// What can be wrong with a listing that somebody hands to a buyer: each has its answer, and the market
    /// says no to each.
    pub(crate) fn refuses_what_is_no_good(&self, good: &Value) {
        let offer: Offer = serde_json::from_value(good.clone()).unwrap();
        let resigned = |key: usize, chain_id: u64, market: Address, change: fn(&mut Listing)| {
            let mut offer = offer.clone();
            change(&mut offer.listing);
            offer.listing.seller = self.chain.account(key);
            let digest = listing::digest(chain_id, market, &offer.listing);
            let signature = self.chain.key(key).sign_hash_sync(&digest).unwrap();
            offer.signature = signature.as_bytes().into();
            offer
        };
        let as_it_is: fn(&mut Listing) = |_| {};
        let mut changed = offer.clone();
        changed.listing.price -= U256::from(1);
        for (offer, why) in [
            (
                resigned(1, 1, self.market, as_it_is),
                "another chain or market",
            ),
            (
                resigned(1, 31_337, self.rights, as_it_is),
                "another chain or market",
            ),
            (changed, "changed afterwards"),
            (
                resigned(1, 31_337, self.market, |of| of.expires = 1_700_000_000),
                "ended at 2023-11-14 22:13:20 UTC",
            ),
            (
                resigned(3, 31_337, self.market, as_it_is),
                "not the seller's",
            ),
        ] {
            let verdict = self.checked(&serde_json::to_value(&offer).unwrap());
            let problem = verdict["problem"].as_str().unwrap_or_default();
            assert!(problem.contains(why), "{why}: {verdict}");
            assert!(verdict["buy"].is_null(), "{verdict}");
            let call = abi::buyCall {
                listing: offer.listing,
                signature: offer.signature,
            };
            self.chain
                .refuses(2, self.market, &call, U256::from(1_000_000));
        }
    }

    /// `stencil passport` says the same as the API, and `may` by its exit code, too.
    pub(crate) fn tells_by_command(&self) {
        let stencil = |words: &[&str]| {
            let mut command = stencil();
            command.env("STENCIL_TOKEN", &self.hub.token);
            command.env(
                "STENCIL_HUB_URL",
                format!("http://127.0.0.1:{}", self.hub.port("http")),
            );
            command.arg("passport").args(words).output().unwrap()
        };
        let guest = self.guest.to_checksum(None);
        let may = stencil(&["may", &guest, DEVICE, "unlock"]);
        assert!(may.status.success(), "{may:?}");
        let may = stencil(&["may", &guest, DEVICE, "lock"]);
        assert_eq!(may.status.code(), Some(1), "{may:?}");
        let said = String::from_utf8(may.stdout).unwrap();
        assert!(said.contains("may not command"), "{said}");
        for words in [["show", DEVICE], ["rights", guest.as_str()]] {
            let shown = stencil(&words);
            assert!(shown.status.success(), "{shown:?}");
            let said = String::from_utf8(shown.stdout).unwrap();
            assert!(said.contains("right 1"), "{said}");
        }
    }

    /// The seller's right to lock the door, which its gateway checks by itself: its id and credential.
    pub(crate) fn holds_right(&self) -> (String, Value) {
        let port = self.hub.port("http");
        let asks = |method: &str, path: &str, cookie: Option<&str>, body: Option<&Value>| {
            let (answer, cookie) = http::by_page(port, method, path, cookie, body);
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
            (answer.json(), cookie)
        };
        let asked = json!({ "address": self.seller });
        let (given, _) = asks("POST", "/api/v1/wallet/challenge", None, Some(&asked));
        let message = given["message"].as_str().unwrap();
        let signature = self.chain.key(1).sign_message_sync(message.as_bytes());
        let signature = format!("0x{}", hex::encode(signature.unwrap().as_bytes()));
        let answer = json!({ "message": message, "signature": signature });
        let (_, cookie) = asks("POST", "/api/v1/wallet/sign-in", None, Some(&answer));
        let cookie = cookie.as_deref();
        let path = format!("/api/v1/wallet/devices/acme/{DEVICE}/right");
        let wanted = json!({ "commands": ["lock"] });
        let (right, _) = asks("POST", &path, cookie, Some(&wanted));
        let right = right["id"].as_str().unwrap().to_owned();
        let path = format!("/api/v1/wallet/access/acme/{right}");
        let (credential, _) = asks("GET", &path, cookie, None);
        (right, credential["credential"].clone())
    }

    /// The buyer sends what the hub says that buys.
    pub(crate) fn buy(&self, offer: &Value) {
        self.buys(&self.to_buy(offer));
    }

    /// What the hub says that buys.
    pub(crate) fn to_buy(&self, offer: &Value) -> Value {
        // A hub that has just been started has not reached the chain yet.
        let verdict = wait_for("the listing to be good", || {
            let verdict = self.checked(offer);
            (verdict["good"] == true).then_some(verdict)
        });
        assert_eq!(
            (
                &verdict["device"],
                &verdict["symbol"],
                &verdict["decimals"],
                &verdict["royalty"]
            ),
            (&json!(DEVICE), &json!("ETH"), &json!(18), &json!("25000")),
            "{verdict}"
        );
        verdict["buy"].clone()
    }

    /// The buyer sends it.
    pub(crate) fn buys(&self, buy: &Value) {
        let data: alloy_primitives::Bytes = buy["data"].as_str().unwrap().parse().unwrap();
        let value = buy["value"].as_str().unwrap().parse().unwrap();
        let to = buy["to"].as_str().unwrap().parse().unwrap();
        self.chain.transact(2, Some(to), &data, value);
    }
}
