//! A buyer signs in with its wallet (EIP-4361).

use anyhow::ensure;
use serde_json::json;

use super::super::chain::Chain;
use super::super::layout::{Layout, TENANT};
use super::visit::Visit;
use crate::api::Client;

/// The buyer's wallet, and who gives it a role.
pub(super) struct Signing<'a> {
    chain: &'a Chain,
    admin: &'a Client,
    visit: Visit,
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
            visit: Visit::new(layout)?,
        })
    }

    /// Without a role it sees what it has paid and nothing of the tenant; with one it sees the tenant's
    /// devices; a signature that was used is refused, and so is who has no role any more.
    pub(super) async fn plays(&self, tell: impl Fn(String)) -> anyhow::Result<String> {
        let (visit, wallet) = (&self.visit, &self.chain.buyer);
        let address = wallet.address().to_checksum(None);
        let stranger = visit.signs_in(wallet, None).await?.cookie;
        let seen = visit.get("/api/v1/devices", &stranger).await?;
        ensure!(seen.status == 403, "without a role: {}", seen.status);
        let paid = visit.get("/api/v1/wallet/payments", &stranger).await?;
        let paid = paid.body["items"].as_array().map_or(0, Vec::len);
        tell(format!(
            "a wallet signs in: it sees its own {paid} payments, and nothing of the tenant"
        ));
        let role = json!({ "address": address, "role": "viewer", "name": "the buyer" });
        self.admin.post("/api/v1/wallets", &role).await?;
        let here = visit.signs_in(wallet, Some(TENANT)).await?;
        let seen = visit
            .get("/api/v1/devices?limit=1000", &here.cookie)
            .await?;
        let devices = seen.body["items"].as_array().map_or(0, Vec::len);
        ensure!(devices > 0, "with a role: {} {}", seen.status, seen.body);
        tell(format!(
            "an admin gives it a role: it sees {devices} devices"
        ));
        let again = visit
            .post("/api/v1/wallet/sign-in", None, &here.signed)
            .await?;
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
        let after = visit.get("/api/v1/devices", &here.cookie).await?;
        ensure!(after.status == 401, "taken back: {}", after.status);
        tell("the role is taken back: it is signed out".to_owned());
        Ok(format!(
            "{address} saw {paid} payments of its own, with a role {devices} devices, a replay was \
             refused, taken back at once"
        ))
    }
}
