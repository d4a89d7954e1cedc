//! A right that is bought opens the door while the hub is stopped: the gateway checks the credential and
//! the wallet's signature by itself.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::super::cast::Cast;
use super::super::chain::Chain;
use super::super::layout::Layout;
use super::super::story::Narrator;
use super::visit::Visit;
use super::{LOCKER, Played, Shop, until};

/// Longer than a gateway takes, with what its device does.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at a gateway, which bounds how often it is asked.
const PAUSE: Duration = Duration::from_millis(800);

/// Plays it.
pub(crate) async fn play(
    layout: &Layout,
    chain: &Chain,
    cast: &Cast,
    narrator: &Narrator,
) -> Vec<Played> {
    let played = async {
        let shop = Shop::new(layout, chain, narrator)?;
        let http = crate::tls::http()?.timeout(PATIENCE).build()?;
        Offline {
            shop,
            layout,
            chain,
            http,
        }
        .plays(cast)
        .await
    };
    vec![("offline-access", played.await)]
}

struct Offline<'a> {
    shop: Shop<'a>,
    layout: &'a Layout,
    chain: &'a Chain,
    http: reqwest::Client,
}

impl Offline<'_> {
    async fn plays(&self, cast: &Cast) -> anyhow::Result<String> {
        self.shop.command(LOCKER, "lock").await?;
        self.shop.bolt(LOCKER, true).await?;
        let invoice = self
            .shop
            .invoice("right-21", "Locker 21, a day", "0.75", LOCKER)
            .await?;
        self.shop.pay(&invoice).await?;
        let visit = Visit::new(self.layout)?;
        let cookie = visit.signs_in(&self.chain.buyer, None).await?.cookie;
        let right = until("the right to be given", async || {
            let rights = visit.get("/api/v1/wallet/access", &cookie).await?.body;
            let items = rights["items"].as_array();
            let mut items = items.into_iter().flatten();
            Ok(items
                .find(|right| right["device"] == LOCKER && right["standing"] == "good")
                .and_then(|right| {
                    Some((
                        right["tenant"].as_str()?.to_owned(),
                        right["id"].as_str()?.to_owned(),
                    ))
                }))
        })
        .await?;
        let path = format!("/api/v1/wallet/access/{}/{}", right.0, right.1);
        let credential = visit.get(&path, &cookie).await?;
        ensure!(credential.status == 200, "{path}: {}", credential.body);
        let credential = credential.body["credential"].clone();
        let gateway = until("the locker's gateway to be told of rights", async || {
            self.gateway().await
        })
        .await?;
        self.shop.tell(
            "a buyer has bought a right to a locker, and its wallet has fetched the credential",
        );

        let linked = self.linked().await?;
        let hub = cast.stop_hub().await?;
        self.shop.tell("the hub is stopped");
        let answer = self.answer(gateway, &credential).await?;
        let (status, said) = self.post(gateway, &answer).await?;
        ensure!(
            status == 200 && said["state"] == "done",
            "the gateway answers {status}: {said}"
        );
        self.shop
            .tell("the gateway has checked the credential by itself: the locker is open");
        let (status, replayed) = self.post(gateway, &answer).await?;
        ensure!(
            status == 409 && replayed["code"] == "nonce_used",
            "a replay: {status}: {replayed}"
        );
        for index in 0..2 {
            let mut bad = self.answer(gateway, &credential).await?;
            // The digits of a proof, in another order.
            let other = &bad["credential"]["proof"][index]["proofValue"];
            let other: String = other.as_str().unwrap_or_default().chars().rev().collect();
            let base = if index == 0 { "z" } else { "u" };
            bad["credential"]["proof"][index]["proofValue"] = format!("{base}{other}").into();
            let (status, said) = self.post(gateway, &bad).await?;
            ensure!(
                status == 403 && said["code"] == "bad_proof",
                "proof {} of 2 is bad: {status}: {said}",
                index + 1
            );
        }
        self.shop
            .tell("a replay is refused, and so is a credential with one bad proof of two");
        hub.start().await?;
        self.shop.tell("the hub is up again");
        let receipt = until("the receipt to be reconciled", async || {
            let receipts = self.shop.client.get("/api/v1/access/receipts").await;
            let receipts = receipts.unwrap_or_default();
            let items = receipts["items"].as_array().cloned().unwrap_or_default();
            Ok(items
                .into_iter()
                .find(|item| item["receipt"]["command"] == said["command"]))
        })
        .await?;
        ensure!(
            receipt["conflict"].is_null()
                && receipt["follows"] == true
                && receipt["outcome"] == "done",
            "the receipt: {receipt}"
        );
        self.shop.bolt(LOCKER, false).await?;
        // So are the gateways, and what waited for them is on its way. One device may have ended meanwhile.
        until("the devices to be linked again", async || {
            Ok((self.linked().await? + 1 >= linked).then_some(()))
        })
        .await?;
        Ok(format!(
            "opened without the hub, receipt {} of {} reconciled; a replay and one bad proof of two were \
             refused",
            receipt["number"],
            receipt["gateway"].as_str().unwrap_or_default()
        ))
    }

    /// How many devices are linked, as the hub knows.
    async fn linked(&self) -> anyhow::Result<usize> {
        let devices = self.shop.client.list("/api/v1/devices?limit=1000").await?;
        let linked = devices.iter().filter(|device| device["connected"] == true);
        Ok(linked.count())
    }

    /// The gateway that the locker is linked to, once it can admit somebody.
    async fn gateway(&self) -> anyhow::Result<Option<SocketAddr>> {
        for address in &self.layout.ports.access {
            let url = format!("http://{address}/challenge?device={LOCKER}&command=unlock");
            let answer = self.http.get(url).send().await?;
            let given: Value = serde_json::from_str(&answer.text().await?).unwrap_or_default();
            let device = self
                .shop
                .client
                .get(&format!("/api/v1/devices/{LOCKER}"))
                .await?;
            let name = device["gateway"].as_str().unwrap_or_default();
            let suffix = format!(":gateways:{name}");
            let is_it = given["gateway"]
                .as_str()
                .is_some_and(|did| did.ends_with(&suffix));
            // With all of its status lists.
            if is_it && !name.is_empty() && given["admits_until_us"].is_i64() {
                return Ok(Some(*address));
            }
        }
        tokio::time::sleep(PAUSE).await;
        Ok(None)
    }

    /// A challenge of the gateway, signed by the wallet.
    async fn answer(&self, gateway: SocketAddr, credential: &Value) -> anyhow::Result<Value> {
        let url = format!("http://{gateway}/challenge?device={LOCKER}&command=unlock");
        let given = self.http.get(url).send().await?.text().await?;
        let given: Value = serde_json::from_str(&given).context("a challenge is no JSON")?;
        let text = given["text"].as_str();
        let text = text.with_context(|| format!("no challenge: {given}"))?;
        let signature = self.chain.buyer.sign_message(text.as_bytes())?;
        Ok(json!({
            "challenge": given["challenge"],
            "signature": format!("0x{}", hex::encode(signature)),
            "credential": credential,
        }))
    }

    async fn post(&self, gateway: SocketAddr, answer: &Value) -> anyhow::Result<(u16, Value)> {
        let request = self.http.post(format!("http://{gateway}/open"));
        let sent = request.body(answer.to_string()).send().await?;
        let status = sent.status().as_u16();
        let text = sent.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or_default()))
    }
}
