//! Upserts and publications, once an effect key.

use serde_json::Value;
use sqlx::SqliteConnection;
use stencil_protocol::id::TenantId;

use super::version;
use crate::sqlite::failure::of_tenant;
use crate::sqlite::row::Columns as _;
use crate::{
    EntryVersion, Error, Fields, MAX_EFFECT_KEY, MAX_FIELDS, MAX_KEY, MAX_VERSIONS_KEPT, Written,
};

const UPSERT: &str = "upsert";
const PUBLISH: &str = "publish";

/// An entry's place.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    tenant: &'a TenantId,
    collection: &'a str,
    key: &'a str,
}

impl<'a> Place<'a> {
    pub(super) fn checked(
        tenant: &'a TenantId,
        collection: &'a str,
        key: &'a str,
    ) -> Result<Self, Error> {
        check_name("collection", collection)?;
        check_name("entry key", key)?;
        Ok(Self {
            tenant,
            collection,
            key,
        })
    }
}

fn check_name(what: &'static str, name: &str) -> Result<(), Error> {
    let good = name.len() <= MAX_KEY
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if good {
        return Ok(());
    }
    Err(Error::invalid(
        what,
        format!(
            "{name:?}; 1 to {MAX_KEY} of A-Z a-z 0-9 . _ - are allowed, the first a letter or digit"
        ),
    ))
}

pub(super) async fn upsert(
    connection: &mut SqliteConnection,
    place: Place<'_>,
    changes: &Fields,
    effect_key: Option<&str>,
    now_us: i64,
) -> Result<Written, Error> {
    if let Some(done) = done_before(connection, place, UPSERT, effect_key).await? {
        return Ok(done);
    }
    let before = newest(connection, place).await?;
    let (number, mut fields) = before.map_or((1, Fields::new()), |before| {
        (before.version + 1, before.fields)
    });
    for (name, value) in changes {
        if value.is_null() {
            fields.remove(name);
        } else {
            fields.insert(name.clone(), value.clone());
        }
    }
    let text = Value::Object(fields.clone()).to_string();
    if text.len() > MAX_FIELDS {
        return Err(Error::invalid(
            "fields",
            format!(
                "{} bytes as JSON; at most {MAX_FIELDS} are allowed",
                text.len()
            ),
        ));
    }
    sqlx::query(
        "INSERT INTO entries (tenant, collection, entry, newest) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (tenant, collection, entry) DO UPDATE SET newest = excluded.newest",
    )
    .bind(place.tenant.as_str())
    .bind(place.collection)
    .bind(place.key)
    .bind(i64::from(number))
    .execute(&mut *connection)
    .await
    .map_err(|error| of_tenant(error, place.tenant.as_str()))?;
    sqlx::query(
        "INSERT INTO versions (tenant, collection, entry, version, fields, effect_key, \
         created_us) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(place.tenant.as_str())
    .bind(place.collection)
    .bind(place.key)
    .bind(i64::from(number))
    .bind(text)
    .bind(effect_key)
    .bind(now_us)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "DELETE FROM versions WHERE tenant = $1 AND collection = $2 AND entry = $3 \
         AND version <= $4 AND version <> COALESCE((SELECT published FROM entries \
         WHERE tenant = $1 AND collection = $2 AND entry = $3), 0)",
    )
    .bind(place.tenant.as_str())
    .bind(place.collection)
    .bind(place.key)
    .bind(i64::from(number) - i64::from(MAX_VERSIONS_KEPT))
    .execute(&mut *connection)
    .await?;
    note(connection, place, UPSERT, effect_key, number, now_us).await?;
    let version = EntryVersion {
        collection: place.collection.to_owned(),
        key: place.key.to_owned(),
        version: number,
        fields,
        effect_key: effect_key.map(ToOwned::to_owned),
        created_us: now_us,
    };
    Ok(Written {
        version,
        fresh: true,
    })
}

pub(super) async fn publish(
    connection: &mut SqliteConnection,
    place: Place<'_>,
    effect_key: Option<&str>,
    now_us: i64,
) -> Result<Written, Error> {
    if let Some(done) = done_before(connection, place, PUBLISH, effect_key).await? {
        return Ok(done);
    }
    let version = newest(connection, place)
        .await?
        .ok_or_else(|| Error::not_found("entry", format!("{}/{}", place.collection, place.key)))?;
    sqlx::query(
        "UPDATE entries SET published = newest, published_us = $1 \
         WHERE tenant = $2 AND collection = $3 AND entry = $4",
    )
    .bind(now_us)
    .bind(place.tenant.as_str())
    .bind(place.collection)
    .bind(place.key)
    .execute(&mut *connection)
    .await?;
    note(
        connection,
        place,
        PUBLISH,
        effect_key,
        version.version,
        now_us,
    )
    .await?;
    Ok(Written {
        version,
        fresh: true,
    })
}

/// Checks an effect key's length.
pub(in crate::sqlite) fn check_effect_key(effect_key: Option<&str>) -> Result<(), Error> {
    match effect_key {
        Some(key) if key.is_empty() || key.len() > MAX_EFFECT_KEY => Err(Error::invalid(
            "effect key",
            format!("{} bytes; 1 to {MAX_EFFECT_KEY} are allowed", key.len()),
        )),
        _ => Ok(()),
    }
}

/// What an effect key did before, if it did something.
async fn done_before(
    connection: &mut SqliteConnection,
    place: Place<'_>,
    kind: &'static str,
    effect_key: Option<&str>,
) -> Result<Option<Written>, Error> {
    check_effect_key(effect_key)?;
    let Some(effect_key) = effect_key else {
        return Ok(None);
    };
    let row = sqlx::query(
        "SELECT kind, collection, entry, version FROM effects \
         WHERE tenant = $1 AND effect_key = $2",
    )
    .bind(place.tenant.as_str())
    .bind(effect_key)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let (did, collection, key) = (
        row.text("kind")?,
        row.text("collection")?,
        row.text("entry")?,
    );
    if did != kind || collection != place.collection || key != place.key {
        return Err(Error::Conflict(format!(
            "effect key {effect_key:?} did {did} of {collection}/{key} before"
        )));
    }
    let kept = sqlx::query(
        "SELECT collection, entry, version, fields, effect_key, created_us FROM versions \
         WHERE tenant = $1 AND collection = $2 AND entry = $3 AND version >= $4 \
         ORDER BY version LIMIT 1",
    )
    .bind(place.tenant.as_str())
    .bind(place.collection)
    .bind(place.key)
    .bind(row.int("version")?)
    .fetch_one(connection)
    .await?;
    Ok(Some(Written {
        version: version(&kept)?,
        fresh: false,
    }))
}

/// Remembers what an effect key did.
async fn note(
    connection: &mut SqliteConnection,
    place: Place<'_>,
    kind: &'static str,
    effect_key: Option<&str>,
    version: u32,
    now_us: i64,
) -> Result<(), Error> {
    let Some(effect_key) = effect_key else {
        return Ok(());
    };
    sqlx::query(
        "INSERT INTO effects (tenant, effect_key, kind, collection, entry, version, at_us) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(place.tenant.as_str())
    .bind(effect_key)
    .bind(kind)
    .bind(place.collection)
    .bind(place.key)
    .bind(i64::from(version))
    .bind(now_us)
    .execute(connection)
    .await?;
    Ok(())
}

async fn newest(
    connection: &mut SqliteConnection,
    place: Place<'_>,
) -> Result<Option<EntryVersion>, Error> {
    let row = sqlx::query(
        "SELECT collection, entry, version, fields, effect_key, created_us FROM versions \
         WHERE tenant = $1 AND collection = $2 AND entry = $3 ORDER BY version DESC LIMIT 1",
    )
    .bind(place.tenant.as_str())
    .bind(place.collection)
    .bind(place.key)
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(version).transpose()
}
