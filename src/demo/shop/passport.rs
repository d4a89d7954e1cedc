//! A device is sold: its passport goes to a buyer on the market, against a listing that the seller has
//! signed, and control of the device goes with it. Nobody holds anything for anybody meanwhile.

use alloy_primitives::{Address, Bytes, U256};
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use stencil_payer::{Call, Listing, Wallet};

use super::super::chain::{Chain, FINAL};
use super::super::estate::{PRICE, ROYALTY};
use super::super::layout::{Layout, TENANT};
use super::visit::{Answer, Visit};
use super::{GAS, Shop, put, until};
use crate::api::Client;

/// The lock that is sold.
pub(super) const DEVICE: &str = "lock-23";

/// A seller who owns the device for good, and has locked it.
pub(super) struct Issued {
    visit: Visit,
    seller: String,
}

/// Says that the owner of a passport controls the device.
pub(super) async fn open(client: &Client, chain: &Chain) -> anyhow::Result<()> {
    let estate = &chain.estate;
    let policy = json!({
        "chain": chain.name,
        "passports": estate.passports.to_checksum(None),
        "market": estate.market.to_checksum(None),
        "owner_may": ["lock", "unlock"],
    });
    put(client, "/api/v1/ownership", &policy).await?;
    Ok(())
}

impl Shop<'_> {
    /// The device gets a passport, and its owner commands it when that is final.
    pub(super) async fn passport_issued(&self, layout: &Layout) -> anyhow::Result<Issued> {
        let estate = &self.chain.estate;
        // It names no address, but a name.
        let host = layout.base().replace("http://127.0.0.1:", "localhost%3A");
        let did = format!("did:web:{host}:tenants:{TENANT}:devices:{DEVICE}");
        let document = json!({ "name": DEVICE, "description": "A lock of the demo" });
        let document = self.client.post("/api/v1/documents", &document).await?;
        let hash = document["sha256"].as_str().unwrap_or_default();
        let passport = json!({ "did": did });
        put(
            &self.client,
            &format!("/api/v1/devices/{DEVICE}/passport"),
            &passport,
        )
        .await?;
        self.chain.rpc.send(&[estate.issue(&did, hash)?]).await?;
        let visit = Visit::new(layout)?;
        let seller = visit.signs_in(&estate.seller, None).await?.cookie;
        until("the owner's control", async || {
            Ok((held(&visit, &seller).await?["by"] == "owner").then_some(()))
        })
        .await?;
        let ordered = order(&visit, &seller, "lock").await?;
        ensure!(
            ordered.status == 202,
            "the owner's command: {} {}",
            ordered.status,
            ordered.body
        );
        self.bolt(DEVICE, true).await?;
        self.tell(format!("the owner of {DEVICE}'s passport has locked it"));
        Ok(Issued { visit, seller })
    }

    /// The passport is sold. The seller's next command is refused, the buyer's is done by the device as
    /// soon as the sale is final, and no sooner; everybody has the money that they should have.
    pub(super) async fn passport_sold(&self, issued: Issued) -> anyhow::Result<String> {
        let Issued { visit, seller } = &issued;
        let (chain, estate) = (self.chain, &self.chain.estate);
        let had = self.purses().await?;
        let offer = self.listed(visit, seller).await?;
        self.tell("the owner signs a listing: 40 DUSD for the passport");
        let buyer = visit.signs_in(&estate.collector, None).await?.cookie;
        let verdict = self.verdict(visit, &buyer, &offer).await?;
        let buy = verdict["buy"].as_object();
        let buy = buy.with_context(|| format!("it can't be bought: {}", verdict["problem"]))?;
        let wanted = [&buy["approve"], &verdict["buy"]];
        let block = self.transact(&estate.collector, &wanted).await?;
        self.tell("somebody pays that, and has the passport; the hub waits until that is final");

        // Before, a command of the seller's would still be its own.
        until("the hub to hear of the sale", async || {
            Ok(held(visit, seller).await?.is_null().then_some(()))
        })
        .await?;
        let refused = order(visit, seller, "unlock").await?;
        let why = refused.body["detail"].as_str().unwrap_or_default();
        ensure!(
            refused.status == 404 && why.contains("neither the passport"),
            "the seller's command after the sale: {} {}",
            refused.status,
            refused.body
        );
        self.tell(format!("the seller's command is refused: {why}"));
        until("the buyer's control", async || {
            Ok((held(visit, &buyer).await?["by"] == "owner").then_some(()))
        })
        .await?;
        let height = chain.rpc.height().await?;
        ensure!(
            height + 1 >= block + FINAL,
            "the buyer had control {} blocks after the sale's, and {FINAL} are final",
            height - block,
        );
        let ordered = order(visit, &buyer, "unlock").await?;
        ensure!(
            ordered.status == 202,
            "the buyer's command: {} {}",
            ordered.status,
            ordered.body
        );
        self.bolt(DEVICE, false).await?;
        self.tell("the buyer's command is done by the device");

        let royalty = U256::from(PRICE) * U256::from(ROYALTY) / U256::from(10_000);
        let has = self.purses().await?;
        ensure!(
            has == [
                had[0] + U256::from(PRICE) - royalty,
                had[1] + royalty,
                had[2] - U256::from(PRICE),
                U256::ZERO,
            ],
            "seller, tenant, buyer and market had {had:?}, and have {has:?}"
        );
        let again = self.verdict(visit, &buyer, &offer).await?;
        let problem = again["problem"].as_str().unwrap_or_default();
        ensure!(
            again["good"] == false && problem.contains("was sold"),
            "the same listing again: {again}"
        );
        Ok(format!(
            "{DEVICE} for {PRICE} base units in block {block}, {royalty} of them royalty, none held by the \
             market; the seller was refused, the buyer's command done, the listing is used up"
        ))
    }

    /// What seller, tenant, buyer and market have of the dollar.
    async fn purses(&self) -> anyhow::Result<[U256; 4]> {
        let estate = &self.chain.estate;
        let of = |who: Address| self.chain.balance(who);
        Ok([
            of(estate.seller.address()).await?,
            of(estate.issuer.address()).await?,
            of(estate.collector.address()).await?,
            of(estate.market).await?,
        ])
    }

    /// The seller signs what the hub says that sells the passport, and lets the market move it: the
    /// listing with its signature, which is all that a buyer needs.
    async fn listed(&self, visit: &Visit, seller: &str) -> anyhow::Result<Value> {
        let (chain, estate) = (self.chain, &self.chain.estate);
        let path = format!("/api/v1/wallet/devices/{TENANT}/{DEVICE}/listing");
        let terms = json!({
            "token": chain.dollar.to_checksum(None), "price": PRICE.to_string(), "expires_in_s": 600,
        });
        let asked = visit.post(&path, Some(seller), &terms).await?;
        let asked = asked.body;
        let listing = Listing::asked(&asked["typed_data"]);
        let listing = listing.with_context(|| format!("no listing: {asked}"))?;
        // A wallet shows that to whom signs.
        ensure!(
            listing.market == estate.market
                && listing.collection == estate.passports
                && listing.chain_id == chain.id
                && listing.token == chain.dollar
                && listing.price == U256::from(PRICE),
            "something else was to be signed: {listing:?}"
        );
        self.transact(&estate.seller, &[&asked["approve"]]).await?;
        let signature = Bytes::from(estate.seller.list(&listing)?);
        Ok(json!({
            "chain_id": listing.chain_id,
            "market": listing.market,
            "listing": asked["typed_data"]["message"],
            "signature": signature,
        }))
    }

    async fn verdict(&self, visit: &Visit, buyer: &str, offer: &Value) -> anyhow::Result<Value> {
        let path = format!("/api/v1/wallet/listings/{TENANT}/check");
        Ok(visit.post(&path, Some(buyer), offer).await?.body)
    }

    /// Signs and sends transactions as they were asked for; gives the last one's block.
    async fn transact(&self, wallet: &Wallet, asked: &[&Value]) -> anyhow::Result<u64> {
        let mut nonce = self.chain.nonce(wallet.address()).await?;
        let mut signed = Vec::new();
        for asked in asked {
            let missing = || format!("no transaction: {asked}");
            let to: Address = serde_json::from_value(asked["to"].clone()).with_context(missing)?;
            let input: Bytes =
                serde_json::from_value(asked["data"].clone()).with_context(missing)?;
            let call = Call {
                to: to.into(),
                input,
                value: U256::ZERO,
                gas_limit: GAS,
            };
            signed.push(wallet.sign(nonce, &call)?);
            nonce += 1;
        }
        self.chain.rpc.send(&signed).await
    }
}

/// What an account holds of the device; null: nothing.
async fn held(visit: &Visit, cookie: &str) -> anyhow::Result<Value> {
    let answer = visit.get("/api/v1/wallet/devices", cookie).await?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.body);
    let items = answer.body["items"].as_array();
    let item = items
        .into_iter()
        .flatten()
        .find(|item| item["device"] == DEVICE);
    Ok(item.cloned().unwrap_or(Value::Null))
}

async fn order(visit: &Visit, cookie: &str, name: &str) -> anyhow::Result<Answer> {
    let path = format!("/api/v1/wallet/devices/{TENANT}/{DEVICE}/commands");
    visit
        .post(&path, Some(cookie), &json!({ "name": name }))
        .await
}
