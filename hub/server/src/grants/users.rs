//! Users whose sessions end in the hub as they end in the store.

use std::sync::Arc;

use async_trait::async_trait;
use stencil_protocol::id::TenantId;
use stencil_store::{
    Ended, Error, Opener, Page, Role, Secret, Session, SessionOwner, User, UserChange, Users,
};

use super::Grants;

/// A [`Users`] port that ends what a session has let in when the session ends, whoever ends it.
///
/// What ends sessions runs as a task of its own: a caller that goes away must not leave it half
/// done.
pub(crate) struct EndingUsers {
    inner: Arc<dyn Users>,
    grants: Grants,
}

impl EndingUsers {
    pub(crate) fn new(inner: Arc<dyn Users>, grants: Grants) -> Self {
        Self { inner, grants }
    }

    /// Does it, and tells the sessions that `ended` finds in the answer.
    async fn ending<T, F>(
        &self,
        doing: impl FnOnce(Arc<dyn Users>) -> F + Send,
        ended: impl FnOnce(&T) -> Option<(TenantId, Ended)> + Send + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let (doing, grants) = (doing(Arc::clone(&self.inner)), self.grants.clone());
        let task = tokio::spawn(async move {
            let done = doing.await?;
            if let Some((tenant, sessions)) = ended(&done) {
                grants.end_sessions(&tenant, &sessions);
            }
            Ok(done)
        });
        task.await
            .unwrap_or_else(|error| Err(Error::Unavailable(format!("ending sessions: {error}"))))
    }
}

#[async_trait]
impl Users for EndingUsers {
    async fn create_user(
        &self,
        tenant: &TenantId,
        name: &str,
        role: Role,
        now_us: i64,
    ) -> Result<User, Error> {
        self.inner.create_user(tenant, name, role, now_us).await
    }

    async fn users(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<User>, Error> {
        self.inner.users(tenant, after, limit).await
    }

    async fn user(&self, tenant: &TenantId, name: &str) -> Result<Option<User>, Error> {
        self.inner.user(tenant, name).await
    }

    async fn change_user(
        &self,
        tenant: &TenantId,
        name: &str,
        change: UserChange,
        now_us: i64,
    ) -> Result<(User, Ended), Error> {
        let (of, tenant, name) = (tenant.clone(), tenant.clone(), name.to_owned());
        let doing = |users: Arc<dyn Users>| async move {
            users.change_user(&tenant, &name, change, now_us).await
        };
        self.ending(doing, |(_, ended)| Some((of, ended.clone())))
            .await
    }

    async fn delete_user(&self, tenant: &TenantId, name: &str) -> Result<Ended, Error> {
        let (of, tenant, name) = (tenant.clone(), tenant.clone(), name.to_owned());
        let doing = |users: Arc<dyn Users>| async move { users.delete_user(&tenant, &name).await };
        self.ending(doing, |ended: &Ended| Some((of, ended.clone())))
            .await
    }

    async fn issue_link(
        &self,
        tenant: &TenantId,
        name: &str,
        expires_us: i64,
    ) -> Result<Secret, Error> {
        self.inner.issue_link(tenant, name, expires_us).await
    }

    async fn link_owner(
        &self,
        secret: &str,
        now_us: i64,
    ) -> Result<Option<(TenantId, String)>, Error> {
        self.inner.link_owner(secret, now_us).await
    }

    async fn use_link(
        &self,
        secret: &str,
        password: &str,
        now_us: i64,
    ) -> Result<Option<(TenantId, String, Ended)>, Error> {
        let (secret, password) = (secret.to_owned(), password.to_owned());
        let doing =
            |users: Arc<dyn Users>| async move { users.use_link(&secret, &password, now_us).await };
        self.ending(doing, |used| {
            used.as_ref()
                .map(|(tenant, _, ended)| (tenant.clone(), ended.clone()))
        })
        .await
    }

    async fn password(&self, tenant: &TenantId, name: &str) -> Result<Option<String>, Error> {
        self.inner.password(tenant, name).await
    }

    async fn set_password(
        &self,
        tenant: &TenantId,
        name: &str,
        password: &str,
        keep: Option<&str>,
    ) -> Result<Ended, Error> {
        let (of, tenant, name) = (tenant.clone(), tenant.clone(), name.to_owned());
        let (password, keep) = (password.to_owned(), keep.map(str::to_owned));
        let doing = |users: Arc<dyn Users>| async move {
            users
                .set_password(&tenant, &name, &password, keep.as_deref())
                .await
        };
        self.ending(doing, |ended: &Ended| Some((of, ended.clone())))
            .await
    }

    async fn open_session(
        &self,
        tenant: &TenantId,
        opener: &Opener,
        address: Option<&str>,
        expires_us: i64,
        now_us: i64,
    ) -> Result<(Session, Secret, Ended), Error> {
        let (of, tenant, opener) = (tenant.clone(), tenant.clone(), opener.clone());
        let address = address.map(str::to_owned);
        let doing = |users: Arc<dyn Users>| async move {
            users
                .open_session(&tenant, &opener, address.as_deref(), expires_us, now_us)
                .await
        };
        self.ending(doing, |(_, _, ended)| Some((of, ended.clone())))
            .await
    }

    async fn verify_session(
        &self,
        secret: &str,
        idle_us: i64,
        now_us: i64,
    ) -> Result<Option<SessionOwner>, Error> {
        self.inner.verify_session(secret, idle_us, now_us).await
    }

    async fn sessions(
        &self,
        tenant: &TenantId,
        opener: &Opener,
        now_us: i64,
    ) -> Result<Vec<Session>, Error> {
        self.inner.sessions(tenant, opener, now_us).await
    }

    async fn end_session(&self, tenant: &TenantId, session: &str) -> Result<bool, Error> {
        let (of, id) = (tenant.clone(), vec![session.to_owned()]);
        let (tenant, session) = (tenant.clone(), session.to_owned());
        let doing =
            |users: Arc<dyn Users>| async move { users.end_session(&tenant, &session).await };
        self.ending(doing, |_| Some((of, id))).await
    }

    async fn forget_expired(&self, idle_us: i64, now_us: i64) -> Result<u64, Error> {
        self.inner.forget_expired(idle_us, now_us).await
    }
}
