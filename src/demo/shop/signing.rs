//! A buyer signs in with its wallet (EIP-4361): it knows the specification, a key, and nothing of the hub.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use reqwest::header::{COOKIE, SET_COOKIE};
use serde_json::{Value, json};

use super::super::chain::Chain;
use super::super::layout::{Layout, TENANT};
use crate::api::Client;

/// Longer than a hub takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// The wallet's way into the hub.
pub(super) struct Signing<'a> {
    chain: &'a Chain,
    admin: &'a Client,
    http: reqwest::Client,
    base: String,
}

/// What was answered.
struct Answer {
    status: u16,
    /// The cookie of a session, if there is one.
    cookie: Option<String>,
    body: Value,
}

impl<'a> Signing<'a> {
    pub(super) fn new(
        layout: &Layout,
        chain: &'a Chain,
        admin: &'a Client,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            chain,
            admin,
            http: crate::tls::http()?.timeout(PATIENCE).build()?,
            base: layout.base(),
        })
    }

    /// Without a role it sees what it has paid and nothing of the tenant; with one it sees the tenant's
    /// devices; a signature that was used is refused, and so is who has no role any more.
    pub(super) async fn plays(&self, tell: impl Fn(String)) -> anyhow::Result<String> {
        let address = self.chain.buyer.address().to_checksum(None);
        let stranger = self.signs_in(None).await?.0;
        let seen = self.get("/api/v1/devices", &stranger).await?;
        ensure!(seen.status == 403, "without a role: {}", seen.status);
        let paid = self.get("/api/v1/wallet/payments", &stranger).await?;
        let paid = paid.body["items"].as_array().map_or(0, Vec::len);
        tell(format!(
            "a wallet signs in: it sees its own {paid} payments, and nothing of the tenant"
        ));
        let role = json!({ "address": address, "role": "viewer", "name": "the buyer" });
        self.admin.post("/api/v1/wallets", &role).await?;
        let (cookie, signed) = self.signs_in(Some(TENANT)).await?;
        let seen = self.get("/api/v1/devices?limit=1000", &cookie).await?;
        let devices = seen.body["items"].as_array().map_or(0, Vec::len);
        ensure!(devices > 0, "with a role: {} {}", seen.status, seen.body);
        tell(format!(
            "an admin gives it a role: it sees {devices} devices"
        ));
        let again = self.post("/api/v1/wallet/sign-in", &signed).await?;
        ensure!(
            again.status == 401 && again.cookie.is_none(),
            "the same signature again: {} {}",
            again.status,
            again.body
        );
        let path = format!("/api/v1/wallets/{address}");
        self.admin
            .call(reqwest::Method::DELETE, &path, None)
            .await?;
        let after = self.get("/api/v1/devices", &cookie).await?;
        ensure!(after.status == 401, "taken back: {}", after.status);
        tell("the role is taken back: it is signed out".to_owned());
        Ok(format!(
            "{address} saw {paid} payments of its own, with a role {devices} devices, a replay was \
             refused, taken back at once"
        ))
    }

    /// Signs what it is asked to: the session's cookie, and what was sent.
    async fn signs_in(&self, tenant: Option<&str>) -> anyhow::Result<(String, Value)> {
        let wallet = &self.chain.buyer;
        let asked = json!({ "address": wallet.address(), "tenant": tenant });
        let given = self.post("/api/v1/wallet/challenge", &asked).await?;
        let message = given.body["message"].as_str();
        let message = message.with_context(|| format!("no challenge: {}", given.body))?;
        let signature = wallet.sign_message(message.as_bytes())?;
        let signature = format!("0x{}", hex::encode(signature));
        let signed = json!({ "message": message, "signature": signature });
        let answer = self.post("/api/v1/wallet/sign-in", &signed).await?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.body);
        let cookie = answer.cookie.context("there is no session")?;
        Ok((cookie, signed))
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        let request = self.http.post(format!("{}{path}", self.base));
        let request = request
            .header("content-type", "application/json")
            .body(body.to_string());
        Answer::of(request.send().await?).await
    }

    async fn get(&self, path: &str, cookie: &str) -> anyhow::Result<Answer> {
        let request = self.http.get(format!("{}{path}", self.base));
        Answer::of(request.header(COOKIE, cookie).send().await?).await
    }
}

impl Answer {
    async fn of(response: reqwest::Response) -> anyhow::Result<Self> {
        let status = response.status().as_u16();
        let cookie = response.headers().get(SET_COOKIE);
        let cookie = cookie.and_then(|cookie| cookie.to_str().ok());
        let cookie = cookie.and_then(|cookie| cookie.split(';').next());
        let cookie = cookie.map(str::to_owned);
        let text = response.text().await?;
        Ok(Self {
            status,
            cookie,
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
        })
    }
}
