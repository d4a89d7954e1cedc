//! What tokens and sessions of browsers have let in and what is still open: MQTT sessions and event
//! streams. Revoking a token, or ending a session, ends them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use async_trait::async_trait;
use stencil_protocol::id::TenantId;
use stencil_store::{Error, IssuedToken, Page, Tenancy, Token, TokenEnd, TokenKind, TokenOwner};
use tokio::sync::watch;

mod users;
mod wallets;

pub(crate) use users::EndingUsers;
pub(crate) use wallets::EndingWallets;

/// With fewer entries than this the table is not looked through for those that are over.
const PRUNE_FROM: usize = 64;

/// What a token or session has let in: told when that is revoked. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Grant(Arc<watch::Sender<bool>>);

impl Grant {
    /// Whether the token is revoked, or the session has ended.
    pub(crate) fn is_revoked(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when the token is revoked, or the session has ended.
    pub(crate) async fn revoked(&self) {
        // The sender is held here, so that it cannot be gone.
        let _ = self.0.subscribe().wait_for(|revoked| *revoked).await;
    }
}

/// Ends the sessions of a token of a tenant.
type End = Box<dyn Fn(&TenantId, &str) + Send + Sync>;

/// What lets somebody in, by its id within the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Token(String),
    Session(String),
}

/// The grants that are held. Bounded by what holds them: connections and streams. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Grants {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    table: Mutex<Table>,
    /// What to do besides telling the grants.
    end: OnceLock<End>,
}

#[derive(Default)]
struct Table {
    held: HashMap<(TenantId, Key), Weak<watch::Sender<bool>>>,
    prune_at: usize,
    revocations: u64,
}

impl Grants {
    /// What is done when a token is revoked, besides telling its grants; set once.
    pub(crate) fn on_revoked(&self, end: impl Fn(&TenantId, &str) + Send + Sync + 'static) {
        let _ = self.inner.end.set(Box::new(end));
    }

    /// How many tokens were revoked and sessions ended so far. Who reads this before verifying one,
    /// and again after holding its grant, knows whether a revocation came in between.
    pub(crate) fn revocations(&self) -> u64 {
        self.table().revocations
    }

    /// The grant of a token: told of each revocation that comes after this call.
    pub(crate) fn hold(&self, tenant: &TenantId, token: &str) -> Grant {
        self.hold_key(tenant, Key::Token(token.to_owned()))
    }

    /// The grant of a session, told of its end if that comes after this call.
    pub(crate) fn hold_session(&self, tenant: &TenantId, session: &str) -> Grant {
        self.hold_key(tenant, Key::Session(session.to_owned()))
    }

    /// Tells what sessions have let in, and ends it.
    fn end_sessions(&self, tenant: &TenantId, sessions: &[String]) {
        for session in sessions {
            self.tell(tenant, Key::Session(session.clone()));
        }
    }

    /// Tells what the token has let in, and ends it: it is revoked, or has come to its end.
    pub(crate) fn revoke(&self, tenant: &TenantId, token: &str) {
        self.tell(tenant, Key::Token(token.to_owned()));
        if let Some(end) = self.inner.end.get() {
            end(tenant, token);
        }
    }

    fn hold_key(&self, tenant: &TenantId, key: Key) -> Grant {
        let mut table = self.table();
        let key = (tenant.clone(), key);
        if let Some(held) = table.held.get(&key).and_then(Weak::upgrade) {
            return Grant(held);
        }
        if table.held.len() >= table.prune_at.max(PRUNE_FROM) {
            table.held.retain(|_, held| held.strong_count() > 0);
            table.prune_at = table.held.len().saturating_mul(2);
        }
        let fresh = Arc::new(watch::Sender::new(false));
        table.held.insert(key, Arc::downgrade(&fresh));
        Grant(fresh)
    }

    fn tell(&self, tenant: &TenantId, key: Key) {
        let mut table = self.table();
        table.revocations = table.revocations.wrapping_add(1);
        let held = table.held.remove(&(tenant.clone(), key));
        drop(table);
        if let Some(held) = held.and_then(|held| held.upgrade()) {
            held.send_replace(true);
        }
    }

    /// Tells all that tokens and sessions of a tenant have let in, and ends it: the tenant is gone.
    pub(crate) fn revoke_all(&self, tenant: &TenantId) {
        let held: Vec<Key> = {
            let mut table = self.table();
            // Also for who verified a token and has not held its grant yet.
            table.revocations = table.revocations.wrapping_add(1);
            let held = table.held.keys().filter(|(of, _)| of == tenant);
            held.map(|(_, key)| key.clone()).collect()
        };
        for key in held {
            match key {
                Key::Token(token) => self.revoke(tenant, &token),
                Key::Session(_) => self.tell(tenant, key),
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.inner
            .table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A [`Tenancy`] port that ends what a token has let in when it is revoked, whoever revokes it.
pub(crate) struct EndingTenancy {
    inner: Arc<dyn Tenancy>,
    grants: Grants,
}

impl EndingTenancy {
    pub(crate) fn new(inner: Arc<dyn Tenancy>, grants: Grants) -> Self {
        Self { inner, grants }
    }
}

#[async_trait]
impl Tenancy for EndingTenancy {
    async fn create_tenant(&self, tenant: &TenantId, now_us: i64) -> Result<bool, Error> {
        self.inner.create_tenant(tenant, now_us).await
    }

    async fn tenant_made(&self, tenant: &TenantId) -> Result<Option<i64>, Error> {
        self.inner.tenant_made(tenant).await
    }

    async fn tenants(&self, after: Option<&str>, limit: u32) -> Result<Page<TenantId>, Error> {
        self.inner.tenants(after, limit).await
    }

    async fn create_token(
        &self,
        tenant: &TenantId,
        kind: TokenKind,
        name: &str,
        expires_us: Option<i64>,
        now_us: i64,
    ) -> Result<IssuedToken, Error> {
        let inner = &self.inner;
        inner
            .create_token(tenant, kind, name, expires_us, now_us)
            .await
    }

    async fn verify_token(&self, secret: &str, now_us: i64) -> Result<Option<TokenOwner>, Error> {
        self.inner.verify_token(secret, now_us).await
    }

    async fn token_ended(&self, secret: &str, now_us: i64) -> Result<Option<i64>, Error> {
        self.inner.token_ended(secret, now_us).await
    }

    async fn tokens_ended(
        &self,
        after: &TokenEnd,
        until_us: i64,
        limit: u32,
    ) -> Result<Vec<(TenantId, TokenEnd)>, Error> {
        self.inner.tokens_ended(after, until_us, limit).await
    }

    async fn tokens(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Token>, Error> {
        self.inner.tokens(tenant, after, limit).await
    }

    async fn revoke_token(&self, tenant: &TenantId, id: &str, now_us: i64) -> Result<bool, Error> {
        let (inner, grants) = (Arc::clone(&self.inner), self.grants.clone());
        let (tenant, id) = (tenant.clone(), id.to_owned());
        // A task of its own: a caller that goes away must not leave it half done.
        let revoking = tokio::spawn(async move {
            let revoked = inner.revoke_token(&tenant, &id, now_us).await?;
            grants.revoke(&tenant, &id);
            Ok(revoked)
        });
        let ended = revoking.await;
        ended.unwrap_or_else(|error| Err(Error::Unavailable(format!("revoking: {error}"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    #[tokio::test]
    async fn a_revocation_is_told_to_its_token_and_to_no_other() {
        let grants = Grants::default();
        let (one, same) = (
            grants.hold(&tenant("a"), "1"),
            grants.hold(&tenant("a"), "1"),
        );
        let others = [
            grants.hold(&tenant("a"), "2"),
            grants.hold(&tenant("b"), "1"),
            grants.hold_session(&tenant("a"), "1"),
        ];
        let before = grants.revocations();
        grants.revoke(&tenant("a"), "1");
        one.revoked().await;
        assert!(one.is_revoked() && same.is_revoked());
        assert!(others.iter().all(|other| !other.is_revoked()));
        assert_ne!(grants.revocations(), before);
    }

    #[test]
    fn a_tenant_that_is_gone_takes_along_what_its_tokens_let_in() {
        let grants = Grants::default();
        let gone = [
            grants.hold(&tenant("a"), "1"),
            grants.hold(&tenant("a"), "2"),
        ];
        let other = grants.hold(&tenant("b"), "1");
        let before = grants.revocations();
        grants.revoke_all(&tenant("a"));
        assert!(gone.iter().all(Grant::is_revoked));
        assert!(!other.is_revoked());
        assert_ne!(grants.revocations(), before);
    }

    #[test]
    fn what_is_over_leaves_the_table() {
        let grants = Grants::default();
        let kept = grants.hold(&tenant("a"), "kept");
        for n in 0..10_000 {
            grants.hold(&tenant("a"), &n.to_string());
        }
        assert!(grants.table().held.len() <= 2 * PRUNE_FROM);
        grants.revoke(&tenant("a"), "kept");
        assert!(kept.is_revoked());
    }
}
