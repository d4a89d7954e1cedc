//! The built-in content store: collections of entries, each with versions, of
//! which one may be published.

use async_trait::async_trait;
use serde::Serialize;
use serde_json::{Map, Value};
use stencil_protocol::id::TenantId;

use crate::{Error, Page};

/// The longest collection name and entry key, in bytes. Both are made of
/// `A-Z a-z 0-9 . _ -` and begin with a letter or digit, so that they can stand
/// in a URL as they are.
pub const MAX_KEY: usize = 128;
/// The most bytes of an entry's fields as JSON.
pub const MAX_FIELDS: usize = 256 * 1024;
/// The longest effect key, in bytes.
pub const MAX_EFFECT_KEY: usize = 256;
/// How many versions are kept an entry; older ones go, except the published one.
pub const MAX_VERSIONS_KEPT: u32 = 100;

/// An entry's fields.
pub type Fields = Map<String, Value>;

/// One version of an entry.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct EntryVersion {
    /// The collection.
    pub collection: String,
    /// The entry's key within it.
    pub key: String,
    /// The version, from 1.
    pub version: u32,
    /// All fields of this version.
    #[schema(value_type = Object)]
    pub fields: Fields,
    /// The effect that made it.
    pub effect_key: Option<String>,
    /// When it was made.
    pub created_us: i64,
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Entry {
    /// Its newest version: the draft, or what is published.
    #[serde(flatten)]
    pub newest: EntryVersion,
    /// The published version.
    pub published_version: Option<u32>,
    /// When it was last published.
    pub published_us: Option<i64>,
}

/// A published version, as the public reads it.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Published {
    /// The version.
    #[serde(flatten)]
    pub version: EntryVersion,
    /// When it was published.
    pub published_us: i64,
}

/// What a write did.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The entry after the write (if `fresh` is false: as the write with this
    /// effect key left it, as far as its version is still kept).
    pub version: EntryVersion,
    /// Whether this call did it; `false`: its effect key had done it before.
    pub fresh: bool,
}

/// Collections, entries, versions.
#[async_trait]
pub trait Content: Send + Sync + 'static {
    /// Sets fields of an entry, which is made if needed, as a new draft version.
    /// Fields that are not named keep their value; `null` removes one.
    ///
    /// With an `effect_key` it happens once: a second call with the same key
    /// changes nothing. [`Error::Conflict`] if the key belongs to another kind of
    /// effect or another entry.
    async fn upsert(
        &self,
        tenant: &TenantId,
        collection: &str,
        key: &str,
        fields: &Fields,
        effect_key: Option<&str>,
        now_us: i64,
    ) -> Result<Written, Error>;

    /// Publishes the newest version of an entry; once an `effect_key`.
    /// [`Error::NotFound`] if there is no such entry.
    async fn publish(
        &self,
        tenant: &TenantId,
        collection: &str,
        key: &str,
        effect_key: Option<&str>,
        now_us: i64,
    ) -> Result<Written, Error>;

    /// Takes an entry back from the public; `false` if it was not published.
    async fn unpublish(
        &self,
        tenant: &TenantId,
        collection: &str,
        key: &str,
    ) -> Result<bool, Error>;

    /// An entry.
    async fn get(
        &self,
        tenant: &TenantId,
        collection: &str,
        key: &str,
    ) -> Result<Option<Entry>, Error>;

    /// The names of the tenant's collections, at most [`crate::MAX_PAGE`].
    async fn collections(&self, tenant: &TenantId) -> Result<Vec<String>, Error>;

    /// A collection's entries, by key.
    async fn list(
        &self,
        tenant: &TenantId,
        collection: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Entry>, Error>;

    /// The kept versions of an entry, the newest first; `after` is a version.
    async fn versions(
        &self,
        tenant: &TenantId,
        collection: &str,
        key: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<EntryVersion>, Error>;

    /// What the public sees of an entry.
    async fn published(
        &self,
        tenant: &TenantId,
        collection: &str,
        key: &str,
    ) -> Result<Option<Published>, Error>;

    /// What the public sees of a collection, by key.
    async fn published_list(
        &self,
        tenant: &TenantId,
        collection: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Published>, Error>;

    /// Forgets up to `limit` effect keys that are older than `before_us`; returns
    /// how many. Choose `before_us` well below the age of anything that may still
    /// be retried.
    async fn forget_effects(
        &self,
        tenant: &TenantId,
        before_us: i64,
        limit: u32,
    ) -> Result<u64, Error>;
}
