//! Gateways: what each shall be like, and what it says that it is like.

use std::collections::BTreeMap;

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, SqliteConnection};
use stencil_protocol::desired::{Digest, Revision, Section, Verdict};
use stencil_protocol::id::{GatewayId, TenantId};

use super::Sqlite;
use super::row::Columns as _;
use crate::gateways::{
    DesiredOf, DesiredState, Effective, EffectiveSection, Gateway, GatewayVerdict, Gateways,
};
use crate::page::clamp;
use crate::{Error, Page};

mod change;
pub(super) mod log;

/// Gateways of a tenant ($1): those that were added, have connected, or shall be like something.
const KNOWN: &str = "SELECT gateway FROM gateways WHERE tenant = $1 \
     UNION SELECT gateway FROM gateway_keys WHERE tenant = $1 AND added_us IS NOT NULL";

const GATEWAY: &str = "g.revision, g.said_us, g.version, g.started_us, g.runs_revision, \
     g.last_revision, g.verdict, g.verdict_us, g.flaws, g.spool_bytes, g.waiting_bytes, g.links, \
     g.field_devices, g.silent, g.unused_keys, \
     COALESCE((SELECT c.not_after_us FROM gateway_certificates c WHERE c.tenant = $1 \
       AND c.gateway = k.gateway AND c.state = 'current'), g.certificate_end_us) \
       AS certificate_end_us, \
     g.link, r.revoked_us, r.registered_us, r.rekeyed_us, r.contested_us, \
     (SELECT COUNT(*) FROM placements p WHERE p.tenant = $1 AND p.gateway = k.gateway \
       AND p.present = 1) AS devices, \
     (SELECT COUNT(*) FROM placements p WHERE p.tenant = $1 AND p.gateway = k.gateway \
       AND p.revision > r.held) AS waiting";

const JOINED: &str = "LEFT JOIN gateways g ON g.tenant = $1 AND g.gateway = k.gateway \
     LEFT JOIN gateway_keys r ON r.tenant = $1 AND r.gateway = k.gateway";

#[async_trait]
impl Gateways for Sqlite {
    async fn gateways(
        &self,
        tenant: &TenantId,
        group: Option<&GatewayId>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Gateway>, Error> {
        let statement = format!(
            "SELECT k.gateway, {GATEWAY} FROM ({KNOWN}) k {JOINED} WHERE k.gateway > $2 \
             AND ($3 IS NULL OR EXISTS (SELECT 1 FROM gateway_groups m WHERE m.tenant = $1 \
               AND m.name = $3 AND m.gateway = k.gateway)) ORDER BY k.gateway LIMIT $4"
        );
        let mut snapshot = self.snapshot().await?;
        let found = async {
            let rows = sqlx::query(AssertSqlSafe(statement))
                .bind(tenant.as_str())
                .bind(after.unwrap_or(""))
                .bind(group.map(GatewayId::as_str))
                .bind(i64::from(clamp(limit)) + 1)
                .fetch_all(&mut *snapshot)
                .await?;
            let mut found = Vec::with_capacity(rows.len());
            for row in &rows {
                let name: GatewayId = row.parsed("gateway")?;
                let groups = groups(&mut snapshot, tenant, &name).await?;
                found.push(gateway(row, name, groups)?);
            }
            Ok(found)
        }
        .await;
        let found = snapshot.end(found).await?;
        Ok(Page::cut(found, limit, |one: &Gateway| {
            one.gateway.to_string()
        }))
    }

    async fn gateway(&self, tenant: &TenantId, name: &GatewayId) -> Result<Option<Gateway>, Error> {
        let statement = format!("SELECT {GATEWAY} FROM ({KNOWN}) k {JOINED} WHERE k.gateway = $2");
        let mut snapshot = self.snapshot().await?;
        let found = async {
            let row = sqlx::query(AssertSqlSafe(statement))
                .bind(tenant.as_str())
                .bind(name.as_str())
                .fetch_optional(&mut *snapshot)
                .await?;
            let groups = groups(&mut snapshot, tenant, name).await?;
            row.map(|row| gateway(&row, name.clone(), groups))
                .transpose()
        }
        .await;
        snapshot.end(found).await
    }

    async fn desired(&self, tenant: &TenantId, of: &DesiredOf) -> Result<DesiredState, Error> {
        let (kind, name) = named(of);
        let mut snapshot = self.snapshot().await?;
        let found = async {
            let row = sqlx::query(
                "SELECT version, settings, mapping, changed_us, changed_by \
                 FROM desired_states WHERE tenant = $1 AND kind = $2 AND name = $3",
            )
            .bind(tenant.as_str())
            .bind(kind)
            .bind(name)
            .fetch_optional(&mut *snapshot)
            .await?;
            let mut state = DesiredState {
                version: 0,
                sections: BTreeMap::new(),
                changed_us: None,
                changed_by: None,
            };
            let Some(row) = row else { return Ok(state) };
            state.version = row.number("version")?;
            state.changed_us = Some(row.int("changed_us")?);
            state.changed_by = Some(row.text("changed_by")?);
            for (section, digest) in digests(&row)? {
                let text = text(&mut snapshot, tenant, &digest).await?;
                let text = text.ok_or_else(|| Error::corrupt("desired_states", "no such text"))?;
                state.sections.insert(section, text);
            }
            Ok(state)
        }
        .await;
        snapshot.end(found).await
    }

    async fn set_desired(
        &self,
        tenant: &TenantId,
        of: &DesiredOf,
        sections: &BTreeMap<Section, String>,
        replaces: u64,
        by: &str,
        now_us: i64,
    ) -> Result<u64, Error> {
        let mut transaction = self.write().await?;
        let set = change::set(&mut transaction, tenant, of, sections, replaces, by, now_us).await;
        transaction.end(set).await
    }

    async fn gateway_groups(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<(GatewayId, u64)>, Error> {
        let rows = sqlx::query(
            "SELECT k.name, (SELECT COUNT(*) FROM gateway_groups m WHERE m.tenant = $1 \
               AND m.name = k.name) AS gateways FROM \
             (SELECT name FROM gateway_groups WHERE tenant = $1 UNION \
              SELECT name FROM desired_states WHERE tenant = $1 AND kind = 'group') k \
             WHERE k.name > $2 ORDER BY k.name LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(after.unwrap_or(""))
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let groups = rows
            .iter()
            .map(|row| Ok((row.parsed("name")?, row.number("gateways")?)))
            .collect::<Result<_, Error>>()?;
        Ok(Page::cut(groups, limit, |(name, _): &(GatewayId, u64)| {
            name.to_string()
        }))
    }

    async fn set_groups(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        groups: &[GatewayId],
        now_us: i64,
    ) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let set = change::set_groups(&mut transaction, tenant, gateway, groups, now_us).await;
        transaction.end(set).await
    }

    async fn remove_gateway(&self, tenant: &TenantId, gateway: &GatewayId) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let removed = change::remove(&mut transaction, tenant, gateway).await;
        transaction.end(removed).await
    }

    async fn effective(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
    ) -> Result<Option<Effective>, Error> {
        let mut snapshot = self.snapshot().await?;
        let found = async {
            let row = sqlx::query(
                "SELECT epoch, revision, settings, mapping, desired_us FROM gateways \
                 WHERE tenant = $1 AND gateway = $2 AND revision > 0",
            )
            .bind(tenant.as_str())
            .bind(gateway.as_str())
            .fetch_optional(&mut *snapshot)
            .await?;
            let Some(row) = row else { return Ok(None) };
            let mut sections = Vec::new();
            for (section, digest) in digests(&row)? {
                let length = text(&mut snapshot, tenant, &digest).await?;
                let length = length.map_or(0, |text| text.len());
                sections.push(EffectiveSection {
                    section,
                    digest,
                    length: u32::try_from(length).unwrap_or(u32::MAX),
                });
            }
            Ok(Some(Effective {
                revision: Revision {
                    epoch: row.number("epoch")?,
                    number: row.number("revision")?,
                },
                sections,
                since_us: row.maybe_int("desired_us")?,
            }))
        }
        .await;
        snapshot.end(found).await
    }

    async fn desired_text(
        &self,
        tenant: &TenantId,
        digest: &Digest,
    ) -> Result<Option<String>, Error> {
        let mut snapshot = self.snapshot().await?;
        let found = text(&mut snapshot, tenant, digest).await;
        snapshot.end(found).await
    }

    async fn undecided(&self, limit: u32) -> Result<Vec<(TenantId, GatewayId)>, Error> {
        let rows =
            sqlx::query("SELECT tenant, gateway FROM gateways WHERE judged < revision LIMIT $1")
                .bind(i64::from(limit))
                .fetch_all(self.readers())
                .await?;
        rows.iter()
            .map(|row| Ok((row.parsed("tenant")?, row.parsed("gateway")?)))
            .collect()
    }

    async fn renumber_desired(&self) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let renumbered = change::renumber(&mut transaction).await;
        transaction.end(renumbered).await
    }
}

fn named(of: &DesiredOf) -> (&'static str, &str) {
    match of {
        DesiredOf::Gateway(gateway) => ("gateway", gateway.as_str()),
        DesiredOf::Group(group) => ("group", group.as_str()),
    }
}

/// The sections of a row that are set.
fn digests(row: &SqliteRow) -> Result<BTreeMap<Section, Digest>, Error> {
    let mut digests = BTreeMap::new();
    for section in Section::ALL {
        if let Some(bytes) = row.maybe_bytes(section.name())? {
            let digest = Digest::try_from(bytes.as_slice())
                .map_err(|_| Error::corrupt("digest", format!("{} bytes", bytes.len())))?;
            digests.insert(section, digest);
        }
    }
    Ok(digests)
}

async fn text(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    digest: &Digest,
) -> Result<Option<String>, Error> {
    let row = sqlx::query("SELECT text FROM desired_texts WHERE tenant = $1 AND digest = $2")
        .bind(tenant.as_str())
        .bind(digest.to_vec())
        .fetch_optional(connection)
        .await?;
    row.map(|row| row.text("text")).transpose()
}

/// The groups of a gateway, in their order.
async fn groups(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    gateway: &GatewayId,
) -> Result<Vec<GatewayId>, Error> {
    let rows = sqlx::query(
        "SELECT name FROM gateway_groups WHERE tenant = $1 AND gateway = $2 ORDER BY place",
    )
    .bind(tenant.as_str())
    .bind(gateway.as_str())
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| row.parsed("name")).collect()
}

fn gateway(row: &SqliteRow, name: GatewayId, groups: Vec<GatewayId>) -> Result<Gateway, Error> {
    let last = match (
        row.maybe_text("verdict")?,
        row.maybe_number("last_revision")?,
    ) {
        (Some(verdict), Some(revision)) => {
            let mut all = Verdict::ALL.into_iter();
            let known = all.find(|one| one.name() == verdict);
            Some(GatewayVerdict {
                revision,
                verdict: known.ok_or_else(|| Error::corrupt("verdict", verdict))?,
                at_us: row.maybe_int("verdict_us")?.unwrap_or(0),
                why: row.maybe_json("flaws")?.unwrap_or_default(),
            })
        }
        _ => None,
    };
    Ok(Gateway {
        gateway: name,
        groups,
        desired_revision: row.maybe_number("revision")?.unwrap_or(0),
        applied_revision: row.maybe_number("runs_revision")?,
        last,
        said_us: row.maybe_int("said_us")?,
        version: row.maybe_text("version")?,
        started_us: row.maybe_int("started_us")?,
        spool_bytes: row.maybe_number("spool_bytes")?,
        waiting_bytes: row.maybe_number("waiting_bytes")?,
        links: row.maybe_number("links")?,
        field_devices: row.maybe_number("field_devices")?,
        silent: row.maybe_json("silent")?,
        unused_keys: row.maybe_json("unused_keys")?,
        certificate_end_us: row.maybe_int("certificate_end_us")?,
        revoked_us: row.maybe_int("revoked_us")?,
        link: row.maybe_json("link")?,
        registered_us: row.maybe_int("registered_us")?,
        devices: row.number("devices")?,
        waiting: row.number("waiting")?,
        rekeyed_us: row.maybe_int("rekeyed_us")?,
        contested_us: row.maybe_int("contested_us")?,
    })
}
