//! Images and who may sign them.

use sha2::{Digest as _, Sha256};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use stencil_protocol::id::TenantId;

use crate::page::clamp;
use crate::rollouts::{ImageDigest, MAX_IMAGES, MAX_SUCCESSIONS};
use crate::sqlite::failure::of_tenant;
use crate::sqlite::row::{Columns as _, bigint};
use crate::sqlite::{Sqlite, pair};
use crate::{Error, Image, Page, UpdateTrust};

impl Sqlite {
    pub(super) async fn read_trust(&self, tenant: &TenantId) -> Result<Option<UpdateTrust>, Error> {
        let row =
            sqlx::query("SELECT keys, classes, changed_us FROM update_trust WHERE tenant = $1")
                .bind(tenant.as_str())
                .fetch_optional(self.readers())
                .await?;
        row.map(|row| {
            Ok(UpdateTrust {
                keys: row.text("keys")?,
                classes: row.json("classes")?,
                changed_us: row.int("changed_us")?,
            })
        })
        .transpose()
    }

    pub(super) async fn write_trust(
        &self,
        tenant: &TenantId,
        trust: &UpdateTrust,
    ) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let set = set_trust(&mut transaction, tenant, trust).await;
        transaction.end(set).await
    }

    pub(super) async fn write_succession(
        &self,
        tenant: &TenantId,
        before: &[u8; 32],
        succession: &str,
        trust: &UpdateTrust,
    ) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let set = succeed(&mut transaction, tenant, before, succession, trust).await;
        transaction.end(set).await
    }

    pub(super) async fn read_succession(
        &self,
        tenant: &TenantId,
        before: &[u8; 32],
    ) -> Result<Option<String>, Error> {
        let row =
            sqlx::query("SELECT body FROM update_successions WHERE tenant = $1 AND before = $2")
                .bind(tenant.as_str())
                .bind(before.to_vec())
                .fetch_optional(self.readers())
                .await?;
        row.map(|row| row.text("body")).transpose()
    }

    pub(super) async fn read_images(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Image>, Error> {
        let (pushed_us, digest) = match pair::<i64, Hex>(after)? {
            Some((pushed_us, Hex(digest))) => (pushed_us, digest),
            None => (i64::MAX, [0xff; 32]),
        };
        let rows = sqlx::query(
            "SELECT digest, vendor, class, sequence, version, size, envelope, pushed_us \
             FROM images WHERE tenant = $1 AND (pushed_us, digest) < ($2, $3) \
             ORDER BY pushed_us DESC, digest DESC LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(pushed_us)
        .bind(digest.to_vec())
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let images = rows.iter().map(image).collect::<Result<_, _>>()?;
        Ok(Page::cut(images, limit, |image: &Image| {
            format!("{}:{}", image.pushed_us, hex::encode(image.digest))
        }))
    }
}

async fn set_trust(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    trust: &UpdateTrust,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO update_trust (tenant, keys, classes, changed_us) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (tenant) DO UPDATE SET keys = excluded.keys, \
         classes = excluded.classes, changed_us = excluded.changed_us",
    )
    .bind(tenant.as_str())
    .bind(trust.keys.as_str())
    .bind(serde_json::json!(trust.classes).to_string())
    .bind(trust.changed_us)
    .execute(connection)
    .await?;
    Ok(())
}

async fn succeed(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    before: &[u8; 32],
    succession: &str,
    trust: &UpdateTrust,
) -> Result<(), Error> {
    let kept = sqlx::query("SELECT keys FROM update_trust WHERE tenant = $1")
        .bind(tenant.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    let keys = kept.map(|row| row.text("keys")).transpose()?;
    if keys.is_none_or(|keys| Sha256::digest(keys.as_bytes()).as_slice() != before) {
        let why = "the keys that have signed the succession are not those that are trusted now";
        return Err(Error::Conflict(why.to_owned()));
    }
    let count = sqlx::query("SELECT COUNT(*) AS count FROM update_successions WHERE tenant = $1")
        .bind(tenant.as_str())
        .fetch_one(&mut *connection)
        .await?;
    if count.int("count")? >= i64::from(MAX_SUCCESSIONS) {
        return Err(Error::Conflict(format!(
            "{MAX_SUCCESSIONS} successions are kept, which is the limit; gateways have to be given \
             the new keys by hand"
        )));
    }
    sqlx::query(
        "INSERT INTO update_successions (tenant, before, body, made_us) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (tenant, before) DO UPDATE SET body = excluded.body, \
         made_us = excluded.made_us",
    )
    .bind(tenant.as_str())
    .bind(before.to_vec())
    .bind(succession)
    .bind(trust.changed_us)
    .execute(&mut *connection)
    .await?;
    set_trust(connection, tenant, trust).await
}

/// A digest in a cursor.
struct Hex(ImageDigest);

impl std::str::FromStr for Hex {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest)
            .map_err(|_| Error::invalid("cursor", "64 hex digits are expected"))?;
        Ok(Self(digest))
    }
}

pub(super) async fn get(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    digest: &ImageDigest,
) -> Result<Option<Image>, Error> {
    let row = sqlx::query(
        "SELECT digest, vendor, class, sequence, version, size, envelope, pushed_us \
         FROM images WHERE tenant = $1 AND digest = $2",
    )
    .bind(tenant.as_str())
    .bind(digest.to_vec())
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(image).transpose()
}

/// See [`crate::Rollouts::spend_leaf`].
pub(super) async fn spend_leaf(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    key: &[u8; 32],
    leaf: u32,
    signature: &[u8; 32],
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO update_leaves (tenant, key, leaf, signature) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (tenant, key, leaf) DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(key.to_vec())
    .bind(i64::from(leaf))
    .bind(signature.to_vec())
    .execute(&mut *connection)
    .await
    .map_err(|error| of_tenant(error, tenant.as_str()))?;
    let row = sqlx::query(
        "SELECT signature FROM update_leaves WHERE tenant = $1 AND key = $2 AND leaf = $3",
    )
    .bind(tenant.as_str())
    .bind(key.to_vec())
    .bind(i64::from(leaf))
    .fetch_one(connection)
    .await?;
    if row.array::<32>("signature")? == *signature {
        return Ok(());
    }
    Err(Error::Conflict(format!(
        "leaf {leaf} of the LMS key has signed two updates: a copy of its state, or an older one, was \
         used. Whoever has both signatures can forge a third: this one is not taken, and the key \
         should sign no more. Make new keys (`stencil update succeed`) and build devices' images \
         with them"
    )))
}

pub(super) async fn put(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    image: &Image,
) -> Result<bool, Error> {
    let sequence = bigint("sequence", image.sequence)?;
    if let Some(there) = get(connection, tenant, &image.digest).await? {
        let same = there.sequence == image.sequence
            && (there.vendor, there.class) == (image.vendor, image.class);
        if same {
            return Ok(false);
        }
        return Err(Error::Conflict(format!(
            "exactly these bytes are here already, as number {} (version {}), and an image is \
             known by its bytes: roll that one out, or build the image anew (another version text \
             in it is enough) and sign that with a number above the newest of its class",
            there.sequence, there.version
        )));
    }
    let row = sqlx::query(
        "SELECT COUNT(*) AS count, (SELECT MAX(sequence) FROM images \
         WHERE tenant = $1 AND vendor = $2 AND class = $3) AS newest \
         FROM images WHERE tenant = $1",
    )
    .bind(tenant.as_str())
    .bind(image.vendor.to_vec())
    .bind(image.class.to_vec())
    .fetch_one(&mut *connection)
    .await?;
    if let Some(newest) = row.maybe_int("newest")?
        && newest >= sequence
    {
        return Err(Error::Conflict(format!(
            "the image has sequence number {sequence}, but {newest} of its class is there \
             already: it has to be higher"
        )));
    }
    if row.int("count")? >= i64::from(MAX_IMAGES) {
        return Err(Error::Conflict(format!(
            "there are {MAX_IMAGES} images, which is the limit"
        )));
    }
    sqlx::query(
        "INSERT INTO images (tenant, digest, vendor, class, sequence, version, size, envelope, \
         pushed_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(tenant.as_str())
    .bind(image.digest.to_vec())
    .bind(image.vendor.to_vec())
    .bind(image.class.to_vec())
    .bind(sequence)
    .bind(image.version.as_str())
    .bind(i64::from(image.size))
    .bind(image.envelope.as_slice())
    .bind(image.pushed_us)
    .execute(connection)
    .await?;
    Ok(true)
}

fn image(row: &SqliteRow) -> Result<Image, Error> {
    Ok(Image {
        digest: row.array("digest")?,
        vendor: row.array("vendor")?,
        class: row.array("class")?,
        sequence: row.number("sequence")?,
        version: row.text("version")?,
        size: row.number("size")?,
        envelope: row.bytes("envelope")?,
        pushed_us: row.int("pushed_us")?,
    })
}
