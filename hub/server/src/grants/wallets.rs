//! Roles of wallets whose sessions end in the hub as they end in the store.

use std::sync::Arc;

use async_trait::async_trait;
use stencil_protocol::id::TenantId;
use stencil_store::{
    Ended, Error, Granted, NewNonce, Page, PaidInvoice, PayerKey, Role, Secret, Wallet, WalletKey,
    WalletOwner, WalletSession, Wallets,
};

use super::Grants;

/// A [`Wallets`] port that ends what a session has let in when a role is taken back or another.
pub(crate) struct EndingWallets {
    inner: Arc<dyn Wallets>,
    grants: Grants,
}

impl EndingWallets {
    pub(crate) fn new(inner: Arc<dyn Wallets>, grants: Grants) -> Self {
        Self { inner, grants }
    }
}

fn broken(error: tokio::task::JoinError) -> Error {
    Error::Unavailable(format!("ending sessions: {error}"))
}

#[async_trait]
impl Wallets for EndingWallets {
    async fn grant_wallet(
        &self,
        tenant: &TenantId,
        wallet: &WalletKey,
        role: Role,
        chain: Option<u64>,
        name: Option<&str>,
        now_us: i64,
    ) -> Result<Granted, Error> {
        let (inner, grants) = (Arc::clone(&self.inner), self.grants.clone());
        let (tenant, wallet, name) = (tenant.clone(), *wallet, name.map(str::to_owned));
        // A task of its own: a caller that goes away must not leave it half done.
        let granting = tokio::spawn(async move {
            let granted = inner
                .grant_wallet(&tenant, &wallet, role, chain, name.as_deref(), now_us)
                .await?;
            grants.end_sessions(&tenant, &granted.ended);
            Ok(granted)
        });
        granting.await.unwrap_or_else(|error| Err(broken(error)))
    }

    async fn revoke_wallet(
        &self,
        tenant: &TenantId,
        wallet: &WalletKey,
    ) -> Result<Option<Ended>, Error> {
        let (inner, grants) = (Arc::clone(&self.inner), self.grants.clone());
        let (tenant, wallet) = (tenant.clone(), *wallet);
        let revoking = tokio::spawn(async move {
            let ended = inner.revoke_wallet(&tenant, &wallet).await?;
            grants.end_sessions(&tenant, ended.as_deref().unwrap_or_default());
            Ok(ended)
        });
        revoking.await.unwrap_or_else(|error| Err(broken(error)))
    }

    async fn wallets(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Wallet>, Error> {
        self.inner.wallets(tenant, after, limit).await
    }

    async fn wallet(&self, tenant: &TenantId, wallet: &WalletKey) -> Result<Option<Wallet>, Error> {
        self.inner.wallet(tenant, wallet).await
    }

    async fn roles_of_wallet(
        &self,
        wallet: &WalletKey,
        chain: Option<u64>,
    ) -> Result<Vec<(TenantId, Role)>, Error> {
        self.inner.roles_of_wallet(wallet, chain).await
    }

    async fn give_nonce(&self, nonce: &NewNonce<'_>) -> Result<Option<i64>, Error> {
        self.inner.give_nonce(nonce).await
    }

    async fn use_nonce(&self, nonce: &str, now_us: i64) -> Result<Option<(String, i64)>, Error> {
        self.inner.use_nonce(nonce, now_us).await
    }

    async fn open_wallet_session(
        &self,
        wallet: &WalletKey,
        chain: Option<u64>,
        network: Option<&str>,
        expires_us: i64,
        now_us: i64,
    ) -> Result<(WalletSession, Secret), Error> {
        let inner = &self.inner;
        inner
            .open_wallet_session(wallet, chain, network, expires_us, now_us)
            .await
    }

    async fn verify_wallet_session(
        &self,
        secret: &str,
        idle_us: i64,
        now_us: i64,
    ) -> Result<Option<WalletOwner>, Error> {
        let inner = &self.inner;
        inner.verify_wallet_session(secret, idle_us, now_us).await
    }

    async fn end_wallet_session(&self, session: &str) -> Result<bool, Error> {
        self.inner.end_wallet_session(session).await
    }

    async fn forget_expired_wallets(&self, idle_us: i64, now_us: i64) -> Result<u64, Error> {
        self.inner.forget_expired_wallets(idle_us, now_us).await
    }

    async fn paid_by(
        &self,
        payer: &PayerKey,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<PaidInvoice>, Error> {
        self.inner.paid_by(payer, after, limit).await
    }
}
