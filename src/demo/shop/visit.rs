//! A wallet's way into the hub: it knows EIP-4361, a key, and what a browser does; nothing of the hub.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use reqwest::header::{COOKIE, ORIGIN, SET_COOKIE};
use serde_json::{Value, json};
use stencil_payer::Wallet;

use super::super::layout::Layout;

/// Longer than a hub takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whoever visits the hub.
pub(super) struct Visit {
    http: reqwest::Client,
    base: String,
}

/// Who has signed in.
pub(super) struct SignedIn {
    /// The session.
    pub(super) cookie: String,
    /// What was sent for it.
    pub(super) signed: Value,
}

/// What was answered.
pub(super) struct Answer {
    pub(super) status: u16,
    /// The cookie of a session, if there is one.
    pub(super) cookie: Option<String>,
    pub(super) body: Value,
}

impl Visit {
    pub(super) fn new(layout: &Layout) -> anyhow::Result<Self> {
        Ok(Self {
            http: crate::tls::http()?.timeout(PATIENCE).build()?,
            base: layout.base(),
        })
    }

    /// Signs what it is asked to, in a tenant or in none.
    pub(super) async fn signs_in(
        &self,
        wallet: &Wallet,
        tenant: Option<&str>,
    ) -> anyhow::Result<SignedIn> {
        let asked = json!({ "address": wallet.address(), "tenant": tenant });
        let given = self.post("/api/v1/wallet/challenge", None, &asked).await?;
        let message = given.body["message"].as_str();
        let message = message.with_context(|| format!("no challenge: {}", given.body))?;
        let signature = wallet.sign_message(message.as_bytes())?;
        let signature = format!("0x{}", hex::encode(signature));
        let signed = json!({ "message": message, "signature": signature });
        let answer = self.post("/api/v1/wallet/sign-in", None, &signed).await?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.body);
        let cookie = answer.cookie.context("there is no session")?;
        Ok(SignedIn { cookie, signed })
    }

    pub(super) async fn post(
        &self,
        path: &str,
        cookie: Option<&str>,
        body: &Value,
    ) -> anyhow::Result<Answer> {
        let request = self.http.post(format!("{}{path}", self.base));
        let mut request = request
            .header("content-type", "application/json")
            .body(body.to_string());
        if let Some(cookie) = cookie {
            // As a browser says of a page of the hub's own.
            request = request.header(ORIGIN, &self.base).header(COOKIE, cookie);
        }
        Answer::of(request.send().await?).await
    }

    pub(super) async fn get(&self, path: &str, cookie: &str) -> anyhow::Result<Answer> {
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
