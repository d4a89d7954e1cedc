//! Seals, what they are over, and anchors.

mod anchors;
mod commit;
mod marks;
mod read;

use async_trait::async_trait;
use stencil_protocol::id::{Boot, DeviceId, GatewayId, Seq, TenantId};

use super::Sqlite;
use super::row::{Columns as _, bigint};
use crate::page::clamp;
use crate::proofs::{
    AnchorSeals, Anchoring, MAX_SEALED_BATCHES, ProofHash, Proofs, SealKey, SealState, SealedBatch,
    StoredAnchor, StoredSeal,
};
use crate::seal_marks::{FoundSeal, SealMark, SealMarkFilter, SettledSeal};
use crate::{Error, Page};

pub(super) use commit::{load, store};

macro_rules! seals {
    ($of:literal) => {
        concat!(
            "SELECT tenant, gateway, epoch, number, hash, record, state, why, received_us, anchor, \
             leaf FROM seals WHERE ",
            $of
        )
    };
}

const BATCHES: &str = "SELECT tenant, device, boot, first, last, position, from_us, to_us, \
                       received_us, body FROM sealed_batches WHERE tenant = $1 AND device = $2";

#[async_trait]
impl Proofs for Sqlite {
    async fn pending_seals(&self, limit: u32) -> Result<Vec<SealKey>, Error> {
        let rows = sqlx::query(
            "SELECT tenant, gateway, epoch, number FROM seals WHERE state = 'pending' \
             ORDER BY received_us, number LIMIT $1",
        )
        .bind(i64::from(limit.min(65_536)))
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(read::key).collect()
    }

    async fn seal(&self, key: &SealKey) -> Result<Option<StoredSeal>, Error> {
        let row = sqlx::query(seals!(
            "tenant = $1 AND gateway = $2 AND epoch = $3 AND number = $4"
        ))
        .bind(key.tenant.as_str())
        .bind(key.gateway.as_str())
        .bind(key.epoch.to_be_bytes().to_vec())
        .bind(bigint("number", key.number)?)
        .fetch_optional(self.readers())
        .await?;
        row.as_ref().map(read::seal).transpose()
    }

    async fn sealing_key(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        fingerprint: &ProofHash,
    ) -> Result<Option<Vec<u8>>, Error> {
        let row = sqlx::query(
            "SELECT certificate FROM sealing_keys \
             WHERE tenant = $1 AND gateway = $2 AND fingerprint = $3",
        )
        .bind(tenant.as_str())
        .bind(gateway.as_str())
        .bind(fingerprint.to_vec())
        .fetch_optional(self.readers())
        .await?;
        row.map(|row| row.bytes("certificate")).transpose()
    }

    async fn sealed_batches(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        boot: Boot,
        first: Seq,
        last: Seq,
    ) -> Result<Vec<SealedBatch>, Error> {
        let statement = format!(
            "{BATCHES} AND boot = $3 AND first <= $5 AND last >= $4 AND first > $4 - $6 \
             ORDER BY position LIMIT $7"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(tenant.as_str())
            .bind(device.as_str())
            .bind(i64::from(boot.0))
            .bind(bigint("first", first.0)?)
            .bind(bigint("last", last.0)?)
            // No batch has more: what begins further back does not reach there.
            .bind(i64::try_from(stencil_protocol::batch::MAX_SAMPLES).unwrap_or(i64::MAX))
            .bind(i64::from(MAX_SEALED_BATCHES))
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(read::batch).collect()
    }

    async fn sealed_batches_at(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        time_us: i64,
    ) -> Result<Vec<SealedBatch>, Error> {
        let statement =
            format!("{BATCHES} AND from_us <= $3 AND to_us >= $3 ORDER BY from_us DESC LIMIT 256");
        let rows = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(tenant.as_str())
            .bind(device.as_str())
            .bind(time_us)
            .fetch_all(self.readers())
            .await?;
        let mut batches: Vec<SealedBatch> =
            rows.iter().map(read::batch).collect::<Result<_, _>>()?;
        batches.sort_by_key(|batch| batch.position);
        Ok(batches)
    }

    async fn settle_seal(
        &self,
        key: &SealKey,
        found: &FoundSeal<'_>,
        now_us: i64,
    ) -> Result<SettledSeal, Error> {
        let mut transaction = self.write().await?;
        let settled = commit::settle(&mut transaction, key, found, now_us).await;
        transaction.end(settled).await
    }

    async fn seal_marks(
        &self,
        tenant: &TenantId,
        filter: &SealMarkFilter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<SealMark>, Error> {
        marks::list(self, tenant, filter, after, limit).await
    }

    async fn marked_gateways(&self, tenant: &TenantId) -> Result<Vec<(GatewayId, u64)>, Error> {
        marks::counts(self, tenant).await
    }

    async fn clear_seal_marks(&self, key: &SealKey) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let cleared = marks::clear(&mut transaction, key).await;
        transaction.end(cleared).await
    }

    async fn seal_of(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        boot: Boot,
        seq: Seq,
    ) -> Result<Option<(StoredSeal, u32)>, Error> {
        let row = sqlx::query(
            "SELECT s.tenant, s.gateway, s.epoch, s.number, s.hash, s.record, s.state, s.why, \
             s.received_us, s.anchor, s.leaf, r.chunk FROM sealed_runs r JOIN seals s \
             ON s.tenant = r.tenant AND s.gateway = r.gateway AND s.epoch = r.epoch \
             AND s.number = r.number WHERE r.tenant = $1 AND r.device = $2 AND r.boot = $3 \
             AND r.first <= $4 AND r.last >= $4 AND s.state = 'verified' \
             ORDER BY s.anchor IS NULL, s.received_us LIMIT 1",
        )
        .bind(tenant.as_str())
        .bind(device.as_str())
        .bind(i64::from(boot.0))
        .bind(bigint("number", seq.0)?)
        .fetch_optional(self.readers())
        .await?;
        let found = row.map(|row| Ok::<_, Error>((read::seal(&row)?, row.number("chunk")?)));
        found.transpose()
    }

    async fn seals(
        &self,
        tenant: &TenantId,
        state: Option<SealState>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<StoredSeal>, Error> {
        let limit = clamp(limit);
        let (received_us, place) = super::pair::<i64, i64>(after)?.unwrap_or((i64::MAX, i64::MAX));
        let rows = sqlx::query(
            "SELECT tenant, gateway, epoch, number, hash, record, state, why, received_us, anchor, \
             leaf, rowid AS place FROM seals WHERE tenant = $1 AND ($2 IS NULL OR state = $2) \
             AND (received_us, rowid) < ($3, $4) ORDER BY received_us DESC, rowid DESC LIMIT $5",
        )
        .bind(tenant.as_str())
        .bind(state.map(SealState::as_str))
        .bind(received_us)
        .bind(place)
        .bind(i64::from(limit) + 1)
        .fetch_all(self.readers())
        .await?;
        let more = rows.len() > limit as usize;
        let rows = &rows[..rows.len().min(limit as usize)];
        let next = match rows.last().filter(|_| more) {
            Some(last) => Some(format!(
                "{}:{}",
                last.int("received_us")?,
                last.int("place")?
            )),
            None => None,
        };
        Ok(Page {
            items: rows.iter().map(read::seal).collect::<Result<_, _>>()?,
            next,
        })
    }

    async fn anchoring(&self, tenant: &TenantId) -> Result<Option<Anchoring>, Error> {
        let row = sqlx::query("SELECT chain, interval_s FROM anchoring WHERE tenant = $1")
            .bind(tenant.as_str())
            .fetch_optional(self.readers())
            .await?;
        row.as_ref().map(anchors::anchoring).transpose()
    }

    async fn set_anchoring(
        &self,
        tenant: &TenantId,
        anchoring: Option<&Anchoring>,
        now_us: i64,
    ) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let set = anchors::set_anchoring(&mut transaction, tenant, anchoring, now_us).await;
        transaction.end(set).await
    }

    async fn anchorings(&self) -> Result<Vec<(TenantId, Option<Anchoring>)>, Error> {
        let rows = sqlx::query(
            "SELECT t.tenant, a.chain, a.interval_s FROM tenants t LEFT JOIN anchoring a \
             ON a.tenant = t.tenant WHERE a.tenant IS NOT NULL \
             OR EXISTS (SELECT 1 FROM anchors n WHERE n.tenant = t.tenant) ORDER BY t.tenant",
        )
        .fetch_all(self.readers())
        .await?;
        let of = |row: &sqlx::sqlite::SqliteRow| {
            let set = row.maybe_text("chain")?.is_some();
            let anchoring = set.then(|| anchors::anchoring(row)).transpose()?;
            Ok((row.parsed("tenant")?, anchoring))
        };
        rows.iter().map(of).collect()
    }

    async fn last_anchor(&self, tenant: &TenantId) -> Result<Option<StoredAnchor>, Error> {
        let row = sqlx::query(
            "SELECT anchor, body, open FROM anchors WHERE tenant = $1 ORDER BY anchor DESC LIMIT 1",
        )
        .bind(tenant.as_str())
        .fetch_optional(self.readers())
        .await?;
        row.as_ref().map(anchors::anchor).transpose()
    }

    async fn anchor(&self, tenant: &TenantId, anchor: u64) -> Result<Option<StoredAnchor>, Error> {
        let row =
            sqlx::query("SELECT anchor, body, open FROM anchors WHERE tenant = $1 AND anchor = $2")
                .bind(tenant.as_str())
                .bind(bigint("anchor", anchor)?)
                .fetch_optional(self.readers())
                .await?;
        row.as_ref().map(anchors::anchor).transpose()
    }

    async fn unanchored(
        &self,
        tenant: &TenantId,
        limit: u32,
    ) -> Result<Vec<(SealKey, ProofHash)>, Error> {
        let rows = sqlx::query(
            "SELECT tenant, gateway, epoch, number, hash FROM seals WHERE tenant = $1 \
             AND state = 'verified' AND anchor IS NULL ORDER BY received_us, rowid LIMIT $2",
        )
        .bind(tenant.as_str())
        .bind(i64::from(limit.min(65_536)))
        .fetch_all(self.readers())
        .await?;
        let of = |row: &sqlx::sqlite::SqliteRow| Ok((read::key(row)?, row.array("hash")?));
        rows.iter().map(of).collect()
    }

    async fn open_anchors(&self, tenant: &TenantId) -> Result<Vec<StoredAnchor>, Error> {
        let rows = sqlx::query(
            "SELECT anchor, body, open FROM anchors WHERE tenant = $1 AND open = 1 \
             ORDER BY anchor LIMIT 256",
        )
        .bind(tenant.as_str())
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(anchors::anchor).collect()
    }

    async fn put_anchor(
        &self,
        tenant: &TenantId,
        anchor: &StoredAnchor,
        seals: AnchorSeals<'_>,
        now_us: i64,
    ) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let put = anchors::put(&mut transaction, tenant, anchor, seals, now_us).await;
        transaction.end(put).await
    }

    async fn anchored_seals(
        &self,
        tenant: &TenantId,
        anchor: u64,
    ) -> Result<Vec<ProofHash>, Error> {
        let rows =
            sqlx::query("SELECT hash FROM seals WHERE tenant = $1 AND anchor = $2 ORDER BY leaf")
                .bind(tenant.as_str())
                .bind(bigint("anchor", anchor)?)
                .fetch_all(self.readers())
                .await?;
        rows.iter().map(|row| row.array("hash")).collect()
    }

    async fn forget_sealed(
        &self,
        tenant: &TenantId,
        before_us: i64,
        limit: u32,
    ) -> Result<u64, Error> {
        let mut transaction = self.write().await?;
        let forgotten = commit::forget(&mut transaction, tenant, before_us, limit).await;
        transaction.end(forgotten).await
    }
}
