//! Images and roll-outs.

mod images;
pub(super) mod write;

use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use stencil_protocol::id::{DeviceId, GatewayId, TenantId};

use super::row::Columns as _;
use super::{Sqlite, pair};
use crate::page::clamp;
use crate::rollouts::{MAX_ROLLOUTS, OpenRollout};
use crate::{
    Candidate, DeviceImage, DeviceVerdict, Error, Image, ImageDigest, Page, RolloutDevice,
    RolloutKey, RolloutNotice, Rollouts, StoredRollout, UpdateTrust, Wanted,
};

#[async_trait]
impl Rollouts for Sqlite {
    async fn trust(&self, tenant: &TenantId) -> Result<Option<UpdateTrust>, Error> {
        self.read_trust(tenant).await
    }

    async fn set_trust(&self, tenant: &TenantId, trust: &UpdateTrust) -> Result<(), Error> {
        self.write_trust(tenant, trust).await
    }

    async fn succeed_trust(
        &self,
        tenant: &TenantId,
        before: &[u8; 32],
        succession: &str,
        trust: &UpdateTrust,
    ) -> Result<(), Error> {
        self.write_succession(tenant, before, succession, trust)
            .await
    }

    async fn succession(
        &self,
        tenant: &TenantId,
        before: &[u8; 32],
    ) -> Result<Option<String>, Error> {
        self.read_succession(tenant, before).await
    }

    async fn spend_leaf(
        &self,
        tenant: &TenantId,
        key: &[u8; 32],
        leaf: u32,
        signature: &[u8; 32],
    ) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let spent = images::spend_leaf(&mut transaction, tenant, key, leaf, signature).await;
        transaction.end(spent).await
    }

    async fn put_image(&self, tenant: &TenantId, image: &Image) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let put = images::put(&mut transaction, tenant, image).await;
        transaction.end(put).await
    }

    async fn image(&self, tenant: &TenantId, digest: &ImageDigest) -> Result<Option<Image>, Error> {
        let mut connection = self.readers().acquire().await?;
        images::get(&mut connection, tenant, digest).await
    }

    async fn images(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Image>, Error> {
        self.read_images(tenant, after, limit).await
    }

    async fn is_payload_needed(&self, digest: &ImageDigest) -> Result<bool, Error> {
        let row = sqlx::query("SELECT 1 FROM images WHERE digest = $1 LIMIT 1")
            .bind(digest.to_vec())
            .fetch_optional(self.readers())
            .await?;
        Ok(row.is_some())
    }

    async fn device_image(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
    ) -> Result<Option<DeviceImage>, Error> {
        let row = sqlx::query(
            "SELECT device, gateway, digest, sequence, class, version, trial, reported_us \
             FROM device_images WHERE tenant = $1 AND device = $2",
        )
        .bind(tenant.as_str())
        .bind(device.as_str())
        .fetch_optional(self.readers())
        .await?;
        row.as_ref().map(device_image).transpose()
    }

    async fn device_verdict(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
    ) -> Result<Option<DeviceVerdict>, Error> {
        let row = sqlx::query(
            "SELECT device, digest, reason, reported_us FROM device_verdicts \
             WHERE tenant = $1 AND device = $2",
        )
        .bind(tenant.as_str())
        .bind(device.as_str())
        .fetch_optional(self.readers())
        .await?;
        row.map(|row| {
            Ok(DeviceVerdict {
                device: row.parsed("device")?,
                digest: row.array("digest")?,
                reason: row.text("reason")?,
                reported_us: row.int("reported_us")?,
            })
        })
        .transpose()
    }

    async fn candidates(
        &self,
        tenant: &TenantId,
        after: Option<&DeviceId>,
        limit: u32,
    ) -> Result<Vec<Candidate>, Error> {
        // Who has said what it runs may have said nothing else yet.
        let rows = sqlx::query(
            "SELECT all_of.device, d.gateway AS heard_through, d.connected, i.gateway, i.digest, \
             i.sequence, i.class, i.version, i.trial, i.reported_us FROM \
             (SELECT device FROM devices WHERE tenant = $1 AND device > $2 \
             UNION SELECT device FROM device_images WHERE tenant = $1 AND device > $2 \
             ORDER BY device LIMIT $3) AS all_of \
             LEFT JOIN devices AS d ON d.tenant = $1 AND d.device = all_of.device \
             LEFT JOIN device_images AS i ON i.tenant = $1 AND i.device = all_of.device \
             ORDER BY all_of.device",
        )
        .bind(tenant.as_str())
        .bind(after.map_or("", DeviceId::as_str))
        .bind(i64::from(clamp(limit)))
        .fetch_all(self.readers())
        .await?;
        rows.iter()
            .map(|row| {
                let image = match row.maybe_bytes("digest")? {
                    Some(_) => Some(device_image(row)?),
                    None => None,
                };
                let heard_through = row.maybe_parsed("heard_through")?;
                Ok(Candidate {
                    device: row.parsed("device")?,
                    gateway: heard_through
                        .or_else(|| image.as_ref().and_then(|image| image.gateway.clone())),
                    connected: row.maybe_int("connected")? == Some(1),
                    image,
                })
            })
            .collect()
    }

    async fn create(
        &self,
        tenant: &TenantId,
        id: &RolloutKey,
        image: &ImageDigest,
        plan: &str,
        now_us: i64,
    ) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let created = create(&mut transaction, tenant, id, image, plan, now_us).await;
        transaction.end(created).await
    }

    async fn open(&self) -> Result<Vec<OpenRollout>, Error> {
        let mut snapshot = self.snapshot().await?;
        let open = open(&mut snapshot).await;
        snapshot.end(open).await
    }

    async fn get(
        &self,
        tenant: &TenantId,
        id: &RolloutKey,
    ) -> Result<Option<StoredRollout>, Error> {
        let row = sqlx::query(
            "SELECT rollout, image, plan, status, head, created_us, changed_us FROM rollouts \
             WHERE tenant = $1 AND rollout = $2",
        )
        .bind(tenant.as_str())
        .bind(id.to_vec())
        .fetch_optional(self.readers())
        .await?;
        row.as_ref().map(stored).transpose()
    }

    async fn list(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<StoredRollout>, Error> {
        let (created_us, Key(id)) = pair(after)?.unwrap_or((i64::MAX, Key([0xff; 16])));
        let rows = sqlx::query(
            "SELECT rollout, image, plan, status, head, created_us, changed_us FROM rollouts \
             WHERE tenant = $1 AND (created_us, rollout) < ($2, $3) \
             ORDER BY created_us DESC, rollout DESC LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(created_us)
        .bind(id.to_vec())
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let rollouts = rows.iter().map(stored).collect::<Result<_, _>>()?;
        Ok(Page::cut(rollouts, limit, |rollout: &StoredRollout| {
            format!("{}:{}", rollout.created_us, hex::encode(rollout.id))
        }))
    }

    async fn counts(
        &self,
        tenant: &TenantId,
        id: &RolloutKey,
    ) -> Result<Vec<(String, u32)>, Error> {
        let rows = sqlx::query(
            "SELECT phase, COUNT(*) AS count FROM rollout_devices \
             WHERE tenant = $1 AND rollout = $2 GROUP BY phase",
        )
        .bind(tenant.as_str())
        .bind(id.to_vec())
        .fetch_all(self.readers())
        .await?;
        rows.iter()
            .map(|row| Ok((row.text("phase")?, row.number("count")?)))
            .collect()
    }

    async fn devices(
        &self,
        tenant: &TenantId,
        id: &RolloutKey,
        phase: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<RolloutDevice>, Error> {
        const ALL: &str = "SELECT device, gateway, phase, percent, detail, since_us, body \
             FROM rollout_devices WHERE tenant = $1 AND rollout = $2 AND device > $3 \
             ORDER BY device LIMIT $4";
        const IN_PHASE: &str = "SELECT device, gateway, phase, percent, detail, since_us, body \
             FROM rollout_devices WHERE tenant = $1 AND rollout = $2 AND device > $3 \
             AND phase = $5 ORDER BY device LIMIT $4";
        let mut query = sqlx::query(if phase.is_some() { IN_PHASE } else { ALL })
            .bind(tenant.as_str())
            .bind(id.to_vec())
            .bind(after.unwrap_or_default())
            .bind(i64::from(clamp(limit)) + 1);
        if let Some(phase) = phase {
            query = query.bind(phase);
        }
        let rows = query.fetch_all(self.readers()).await?;
        let devices = rows.iter().map(device).collect::<Result<_, _>>()?;
        Ok(Page::cut(devices, limit, |row: &RolloutDevice| {
            row.device.to_string()
        }))
    }

    async fn notices(
        &self,
        tenant: &TenantId,
        id: &RolloutKey,
        limit: u32,
    ) -> Result<Vec<RolloutNotice>, Error> {
        let rows = sqlx::query(
            "SELECT at_us, body FROM rollout_notices WHERE tenant = $1 AND rollout = $2 \
             ORDER BY position DESC, ordinal DESC LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(id.to_vec())
        .bind(i64::from(clamp(limit)))
        .fetch_all(self.readers())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(RolloutNotice {
                    at_us: row.int("at_us")?,
                    body: row.text("body")?,
                })
            })
            .collect()
    }

    async fn wanted(&self, tenant: &TenantId, gateway: &GatewayId) -> Result<Vec<Wanted>, Error> {
        let rows = sqlx::query(
            "SELECT d.device, d.rollout, r.image FROM rollout_devices AS d \
             JOIN rollouts AS r ON r.tenant = d.tenant AND r.rollout = d.rollout \
             WHERE d.tenant = $1 AND d.gateway = $2 \
             AND d.phase IN ('offered', 'downloading', 'installed') ORDER BY d.device",
        )
        .bind(tenant.as_str())
        .bind(gateway.as_str())
        .fetch_all(self.readers())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Wanted {
                    device: row.parsed("device")?,
                    rollout: row.array("rollout")?,
                    image: row.array("image")?,
                })
            })
            .collect()
    }
}

/// An id in a cursor.
struct Key(RolloutKey);

impl std::str::FromStr for Key {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut id = [0; 16];
        hex::decode_to_slice(text, &mut id)
            .map_err(|_| Error::invalid("cursor", "32 hex digits are expected"))?;
        Ok(Self(id))
    }
}

async fn create(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    id: &RolloutKey,
    image: &ImageDigest,
    plan: &str,
    now_us: i64,
) -> Result<bool, Error> {
    let row = sqlx::query("SELECT plan FROM rollouts WHERE tenant = $1 AND rollout = $2")
        .bind(tenant.as_str())
        .bind(id.to_vec())
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(row) = row {
        if row.text("plan")? == plan {
            return Ok(false);
        }
        return Err(Error::Conflict("the id belongs to another roll-out".into()));
    }
    if images::get(connection, tenant, image).await?.is_none() {
        let digest = hex::encode(image);
        return Err(Error::Conflict(format!("there is no image {digest}")));
    }
    for table in ["rollout_devices", "rollout_notices", "rollouts"] {
        // The table's name is one of these three.
        let statement = format!(
            "DELETE FROM {table} WHERE tenant = $1 AND rollout IN (SELECT rollout FROM rollouts \
             WHERE tenant = $1 AND is_over = 1 ORDER BY created_us DESC LIMIT -1 OFFSET $2)"
        );
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(tenant.as_str())
            .bind(i64::from(MAX_ROLLOUTS) - 1)
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query(
        "INSERT INTO rollouts (tenant, rollout, image, plan, status, is_over, created_us, \
         changed_us) VALUES ($1, $2, $3, $4, 'starting', 0, $5, $5)",
    )
    .bind(tenant.as_str())
    .bind(id.to_vec())
    .bind(image.to_vec())
    .bind(plan)
    .bind(now_us)
    .execute(connection)
    .await?;
    Ok(true)
}

async fn open(connection: &mut SqliteConnection) -> Result<Vec<OpenRollout>, Error> {
    let rows = sqlx::query(
        "SELECT d.tenant, d.rollout, d.device, d.gateway, d.phase, d.percent, d.detail, \
         d.since_us, d.body FROM rollouts AS r JOIN rollout_devices AS d \
         ON d.tenant = r.tenant AND d.rollout = r.rollout WHERE r.is_over = 0",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut devices: HashMap<(TenantId, RolloutKey), Vec<RolloutDevice>> = HashMap::new();
    for row in &rows {
        let key = (row.parsed("tenant")?, row.array("rollout")?);
        devices.entry(key).or_default().push(device(row)?);
    }
    let rows = sqlx::query(
        "SELECT tenant, rollout, image, plan, status, head, created_us, changed_us \
         FROM rollouts WHERE is_over = 0 ORDER BY tenant, created_us, rollout",
    )
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let (tenant, rollout): (TenantId, _) = (row.parsed("tenant")?, stored(row)?);
            let its = devices.remove(&(tenant.clone(), rollout.id));
            Ok((tenant, rollout, its.unwrap_or_default()))
        })
        .collect()
}

fn stored(row: &SqliteRow) -> Result<StoredRollout, Error> {
    Ok(StoredRollout {
        id: row.array("rollout")?,
        image: row.array("image")?,
        plan: row.text("plan")?,
        status: row.text("status")?,
        head: row.maybe_text("head")?,
        created_us: row.int("created_us")?,
        changed_us: row.int("changed_us")?,
    })
}

fn device(row: &SqliteRow) -> Result<RolloutDevice, Error> {
    Ok(RolloutDevice {
        device: row.parsed("device")?,
        gateway: row.maybe_parsed("gateway")?,
        phase: row.text("phase")?,
        percent: row.maybe_number("percent")?,
        detail: row.maybe_text("detail")?,
        since_us: row.int("since_us")?,
        body: row.text("body")?,
    })
}

fn device_image(row: &SqliteRow) -> Result<DeviceImage, Error> {
    Ok(DeviceImage {
        device: row.parsed("device")?,
        gateway: row.maybe_parsed("gateway")?,
        digest: row.array("digest")?,
        sequence: row.number("sequence")?,
        class: row.text("class")?,
        version: row.maybe_text("version")?,
        trial: row.flag("trial")?,
        reported_us: row.int("reported_us")?,
    })
}
