//! People: users with passwords, the one-time links by which they set them, and the sessions of
//! browsers that are signed in.

use async_trait::async_trait;
use serde::Serialize;
use stencil_protocol::id::TenantId;

use crate::wallets::WalletKey;
use crate::{Error, Page, Role, Secret};

/// The longest name of a user, in bytes.
pub const MAX_USER_NAME: usize = 64;
/// Users of one tenant.
pub const MAX_USERS: u32 = 10_000;
/// Sessions of one user, or of one token; with one more the one that was seen longest ago ends.
pub const MAX_SESSIONS: u32 = 32;

/// A user of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct User {
    /// By which they sign in; unique within the tenant.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Whether they have set a password.
    pub has_password: bool,
    /// When they were shut out; null: they are not.
    pub disabled_us: Option<i64>,
    /// When they were made.
    pub created_us: i64,
    /// When they last signed in.
    pub signed_in_us: Option<i64>,
}

/// What of a user is to be another; `None` leaves it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UserChange {
    /// What they may do.
    pub role: Option<Role>,
    /// Whether they are shut out.
    pub disabled: Option<bool>,
}

/// A session of a browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Session {
    /// Names the session within its tenant; 16 hex digits.
    pub id: String,
    /// The user; null: it was opened by a token or a wallet.
    pub user: Option<String>,
    /// The id of the token that it was opened by; null: by a password or a wallet.
    pub token: Option<String>,
    /// The address of the wallet that it was opened by; null: by a password or a token.
    pub wallet: Option<String>,
    /// From where it was opened.
    pub address: Option<String>,
    /// When it was opened.
    pub created_us: i64,
    /// When it was last used, to the minute.
    pub seen_us: i64,
    /// When it ends whatever happens.
    pub expires_us: i64,
}

/// Who opens a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opener {
    /// A user, by name.
    User(String),
    /// A token of the HTTP API, by id.
    Token(String),
    /// An account of a chain with a role in the tenant, by its address.
    Wallet(WalletKey),
}

/// Whom a session's secret belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOwner {
    /// The tenant.
    pub tenant: TenantId,
    /// The session's id.
    pub session: String,
    /// The user's, the token's or the wallet's.
    pub opener: Opener,
    /// The user's name, what the token's maker called it, or the wallet's address: `0x` and 40
    /// hexadecimal digits in small letters.
    pub name: String,
    /// What they may do now.
    pub role: Role,
}

/// The sessions that a call has ended, by id.
pub type Ended = Vec<String>;

/// Users, links, sessions.
#[async_trait]
pub trait Users: Send + Sync + 'static {
    /// Makes a user without a password. `name` is 1 to [`MAX_USER_NAME`] of the characters `a-z`,
    /// `0-9`, `.`, `_`, `-`, `+`, `@`, beginning with a letter or digit. [`Error::Conflict`] if
    /// there is one of this name, or there are [`MAX_USERS`].
    async fn create_user(
        &self,
        tenant: &TenantId,
        name: &str,
        role: Role,
        now_us: i64,
    ) -> Result<User, Error>;

    /// The tenant's users, by name.
    async fn users(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<User>, Error>;

    /// One user.
    async fn user(&self, tenant: &TenantId, name: &str) -> Result<Option<User>, Error>;

    /// Changes a user; what they are signed in with ends if anything becomes another. The last
    /// admin who is not disabled stays one ([`Error::Conflict`]).
    async fn change_user(
        &self,
        tenant: &TenantId,
        name: &str,
        change: UserChange,
        now_us: i64,
    ) -> Result<(User, Ended), Error>;

    /// Deletes a user with their link and sessions; not the last admin ([`Error::Conflict`]).
    async fn delete_user(&self, tenant: &TenantId, name: &str) -> Result<Ended, Error>;

    /// Makes the one-time link of a user who is not disabled; one before it opens nothing any
    /// more.
    async fn issue_link(
        &self,
        tenant: &TenantId,
        name: &str,
        expires_us: i64,
    ) -> Result<Secret, Error>;

    /// Whose link this is: tenant and name; `None` if it is unknown, used or over.
    async fn link_owner(
        &self,
        secret: &str,
        now_us: i64,
    ) -> Result<Option<(TenantId, String)>, Error>;

    /// Uses a link: in one transaction it is consumed, the password is set, and the user's
    /// sessions end. `None` if it is unknown, used or over: then nothing changes.
    async fn use_link(
        &self,
        secret: &str,
        password: &str,
        now_us: i64,
    ) -> Result<Option<(TenantId, String, Ended)>, Error>;

    /// The password (PHC string) of a user who is not disabled and has set one.
    async fn password(&self, tenant: &TenantId, name: &str) -> Result<Option<String>, Error>;

    /// Sets a password (PHC string); the user's sessions end but `keep`, and so does their link.
    async fn set_password(
        &self,
        tenant: &TenantId,
        name: &str,
        password: &str,
        keep: Option<&str>,
    ) -> Result<Ended, Error>;

    /// Opens a session, which ends at `expires_us` at the latest. Beyond [`MAX_SESSIONS`] those
    /// of the same opener that were seen longest ago end.
    async fn open_session(
        &self,
        tenant: &TenantId,
        opener: &Opener,
        address: Option<&str>,
        expires_us: i64,
        now_us: i64,
    ) -> Result<(Session, Secret, Ended), Error>;

    /// Whom the secret of a session belongs to; `None` if it is unknown, has ended, was not used
    /// for `idle_us`, or its user or token is shut out. Notes that it was used.
    async fn verify_session(
        &self,
        secret: &str,
        idle_us: i64,
        now_us: i64,
    ) -> Result<Option<SessionOwner>, Error>;

    /// The sessions of an opener that have not expired, the newest first.
    async fn sessions(
        &self,
        tenant: &TenantId,
        opener: &Opener,
        now_us: i64,
    ) -> Result<Vec<Session>, Error>;

    /// Ends a session; `false` if there is none of this id.
    async fn end_session(&self, tenant: &TenantId, session: &str) -> Result<bool, Error>;

    /// Deletes links and sessions that are over at `now_us`, of all tenants; how many.
    async fn forget_expired(&self, idle_us: i64, now_us: i64) -> Result<u64, Error>;
}

/// What a name of a user has to be.
///
/// # Errors
/// [`Error::Invalid`] with what would be right.
pub fn check_user_name(name: &str) -> Result<(), Error> {
    let first = name.bytes().next();
    let right = name.len() <= MAX_USER_NAME
        && first.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        && name.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-+@".contains(&byte)
        });
    if right {
        return Ok(());
    }
    Err(Error::invalid(
        "user name",
        format!(
            "1 to {MAX_USER_NAME} of the characters a-z 0-9 . _ - + @ are allowed, beginning \
             with a letter or digit"
        ),
    ))
}
