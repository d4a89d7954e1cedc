//! A program that buys by x402, version 2: it knows the specification, a key, and nothing of the hub.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy_primitives::{B256, U256};
use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rand_core::Rng as _;
use serde_json::{Value, json};
use stencil_payer::{Authorization, Domain};

use super::super::chain::Chain;
use super::super::layout::{Layout, TENANT};

/// Longer than a hub waits for a settlement.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Buyer<'a> {
    chain: &'a Chain,
    http: reqwest::Client,
    base: String,
}

/// What was bought.
pub(super) struct Bought {
    /// The payment, as it was sent.
    pub(super) payment: String,
    /// What came for it.
    pub(super) body: Value,
    /// The settlement.
    pub(super) transaction: String,
}

/// What was ordered.
pub(super) struct Ordered {
    /// Where to ask.
    pub(super) location: String,
    /// The authorisation's nonce.
    pub(super) nonce: B256,
}

impl<'a> Buyer<'a> {
    pub(super) fn new(layout: &Layout, chain: &'a Chain) -> anyhow::Result<Self> {
        Ok(Self {
            chain,
            http: crate::tls::http()?.timeout(PATIENCE).build()?,
            base: layout.base(),
        })
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    fn url(&self, offer: &str) -> String {
        format!("{}/x402/{TENANT}/{offer}", self.base)
    }

    /// Asks what something costs, pays that, and takes it.
    pub(super) async fn buys(&self, offer: &str) -> anyhow::Result<Bought> {
        let asked = self.http.get(self.url(offer)).send().await?;
        let (payment, _) = self.pays(asked).await?;
        self.shows(offer, &payment).await
    }

    /// Shows a payment, and takes what comes for it.
    pub(super) async fn shows(&self, offer: &str, payment: &str) -> anyhow::Result<Bought> {
        let request = self.http.get(self.url(offer));
        let answer = request.header("PAYMENT-SIGNATURE", payment).send().await?;
        let status = answer.status();
        let settled = header(&answer, "payment-response");
        let text = answer.text().await?;
        ensure!(status == 200, "{status}: {text}");
        let settled = settled?;
        ensure!(settled["success"] == true, "{settled}");
        Ok(Bought {
            payment: payment.to_owned(),
            body: serde_json::from_str(&text)?,
            transaction: settled["transaction"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        })
    }

    /// Orders a command, and does not wait for it.
    pub(super) async fn orders(&self, offer: &str) -> anyhow::Result<Ordered> {
        let asked = self.http.post(self.url(offer)).send().await?;
        let (payment, nonce) = self.pays(asked).await?;
        let request = self.http.post(self.url(offer));
        let request = request
            .header("PAYMENT-SIGNATURE", payment)
            .header("prefer", "respond-async");
        let answer = request.send().await?;
        let status = answer.status();
        let location = answer.headers().get("location").cloned();
        ensure!(status == 202, "{status}: {}", answer.text().await?);
        let location = location.context("it is not said where to ask")?;
        Ok(Ordered {
            location: location.to_str()?.to_owned(),
            nonce,
        })
    }

    /// Where an order stands.
    pub(super) async fn status(&self, location: &str) -> anyhow::Result<Value> {
        let url = match location.starts_with('/') {
            true => format!("{}{location}", self.base),
            false => location.to_owned(),
        };
        let text = self.http.get(url).send().await?.text().await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Signs what a 402 asks for. The authorisation holds as long as it has to, and no longer.
    async fn pays(&self, answer: reqwest::Response) -> anyhow::Result<(String, B256)> {
        let status = answer.status();
        ensure!(
            status == 402,
            "{status} where 402 was expected: {}",
            answer.text().await?
        );
        let required = header(&answer, "payment-required")?;
        let accepted = &required["accepts"][0];
        let text = |value: &Value, name: &str| -> anyhow::Result<String> {
            let text = value[name].as_str();
            Ok(text
                .with_context(|| format!("no {name} in {value}"))?
                .to_owned())
        };
        let network = format!("eip155:{}", self.chain.id);
        ensure!(accepted["network"] == network, "not {network}: {accepted}");
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let holds_s = accepted["maxTimeoutSeconds"]
            .as_u64()
            .context("no time-out")?;
        let mut nonce = B256::ZERO;
        stencil_crypto::rng::Os.fill_bytes(nonce.as_mut_slice());
        let authorization = Authorization {
            from: self.chain.buyer.address(),
            to: text(accepted, "payTo")?.parse()?,
            value: text(accepted, "amount")?.parse::<U256>()?,
            valid_after: 0,
            valid_before: now_s + holds_s,
            nonce,
        };
        let domain = Domain {
            name: text(&accepted["extra"], "name")?,
            version: text(&accepted["extra"], "version")?,
            chain_id: self.chain.id,
            token: text(accepted, "asset")?.parse()?,
        };
        let signature = self.chain.buyer.authorize(&authorization, &domain)?;
        let payment = json!({
            "x402Version": 2,
            "resource": required["resource"],
            "accepted": accepted,
            "payload": {
                "signature": format!("0x{}", hex::encode(signature)),
                "authorization": {
                    "from": authorization.from,
                    "to": authorization.to,
                    "value": authorization.value.to_string(),
                    "validAfter": "0",
                    "validBefore": authorization.valid_before.to_string(),
                    "nonce": nonce,
                },
            },
        });
        Ok((BASE64_STANDARD.encode(payment.to_string()), nonce))
    }
}

/// A header that holds JSON in base64.
fn header(answer: &reqwest::Response, name: &str) -> anyhow::Result<Value> {
    let header = answer.headers().get(name);
    let header = header.with_context(|| format!("no header {name}"))?;
    let bytes = BASE64_STANDARD.decode(header.as_bytes())?;
    Ok(serde_json::from_slice(&bytes)?)
}
