//! Workflow definitions.

use async_trait::async_trait;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use stencil_protocol::id::TenantId;

use super::failure::of_tenant;
use super::row::Columns as _;
use super::{Sqlite, cursor};
use crate::page::clamp;
use crate::{
    AtGateway, Error, GatewayRules, MAX_DEFINITION, MAX_WORKFLOW_ID, Page, Workflow, Workflows,
};

#[async_trait]
impl Workflows for Sqlite {
    async fn put(
        &self,
        tenant: &TenantId,
        id: &str,
        version: u32,
        yaml: &str,
        now_us: i64,
    ) -> Result<bool, Error> {
        if id.is_empty() || id.len() > MAX_WORKFLOW_ID || id.chars().any(char::is_control) {
            return Err(Error::invalid(
                "workflow id",
                format!("1 to {MAX_WORKFLOW_ID} bytes"),
            ));
        }
        if version == 0 {
            return Err(Error::invalid("workflow version", "versions start at 1"));
        }
        if yaml.len() > MAX_DEFINITION {
            return Err(Error::invalid(
                "workflow definition",
                format!("{} bytes; at most {MAX_DEFINITION} are allowed", yaml.len()),
            ));
        }
        let mut transaction = self.write().await?;
        let put = put(&mut transaction, tenant, id, version, yaml, now_us).await;
        transaction.end(put).await
    }

    async fn activate(
        &self,
        tenant: &TenantId,
        id: &str,
        version: Option<u32>,
        now_us: i64,
    ) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let done = activate(&mut transaction, tenant, id, version, now_us).await;
        transaction.end(done).await
    }

    async fn get(
        &self,
        tenant: &TenantId,
        id: &str,
        version: Option<u32>,
    ) -> Result<Option<Workflow>, Error> {
        const NEWEST: &str = "SELECT workflow, version, yaml, created_us, active, since_us FROM workflows \
             WHERE tenant = $1 AND workflow = $2 ORDER BY active DESC, version DESC LIMIT 1";
        const ONE: &str = "SELECT workflow, version, yaml, created_us, active, since_us FROM workflows \
             WHERE tenant = $1 AND workflow = $2 AND version = $3";
        let mut query = sqlx::query(if version.is_some() { ONE } else { NEWEST })
            .bind(tenant.as_str())
            .bind(id);
        if let Some(version) = version {
            query = query.bind(i64::from(version));
        }
        query
            .fetch_optional(self.readers())
            .await?
            .as_ref()
            .map(workflow)
            .transpose()
    }

    async fn list(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Workflow>, Error> {
        let rows = sqlx::query(
            "SELECT workflow, version, yaml, created_us, active, since_us FROM (SELECT workflow, version, \
             yaml, created_us, active, since_us, ROW_NUMBER() OVER (PARTITION BY workflow \
             ORDER BY active DESC, version DESC) AS place FROM workflows \
             WHERE tenant = $1 AND workflow > $2) AS placed WHERE place = 1 \
             ORDER BY workflow LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(after.unwrap_or(""))
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let workflows = rows.iter().map(workflow).collect::<Result<_, _>>()?;
        Ok(Page::cut(workflows, limit, |workflow: &Workflow| {
            workflow.id.clone()
        }))
    }

    async fn versions(
        &self,
        tenant: &TenantId,
        id: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Workflow>, Error> {
        let rows = sqlx::query(
            "SELECT workflow, version, yaml, created_us, active, since_us FROM workflows \
             WHERE tenant = $1 AND workflow = $2 AND version < $3 ORDER BY version DESC LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(id)
        .bind(cursor::<u32>(after)?.map_or(i64::MAX, i64::from))
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let workflows = rows.iter().map(workflow).collect::<Result<_, _>>()?;
        Ok(Page::cut(workflows, limit, |workflow: &Workflow| {
            workflow.version.to_string()
        }))
    }

    async fn active(&self) -> Result<Vec<(TenantId, Workflow)>, Error> {
        let rows = sqlx::query(
            "SELECT tenant, workflow, version, yaml, created_us, active, since_us FROM workflows \
             WHERE active = 1 ORDER BY tenant, workflow",
        )
        .fetch_all(self.readers())
        .await?;
        rows.iter()
            .map(|row| Ok((row.parsed("tenant")?, workflow(row)?)))
            .collect()
    }

    async fn out_of_force(&self, tenant: &TenantId, limit: u32) -> Result<Vec<Workflow>, Error> {
        let rows = sqlx::query(
            "SELECT workflow, version, yaml, created_us, active, since_us FROM workflows \
             WHERE tenant = $1 AND active = 0 ORDER BY created_us DESC, workflow, version DESC LIMIT $2",
        )
        .bind(tenant.as_str())
        .bind(i64::from(clamp(limit)))
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(workflow).collect()
    }

    async fn at_gateways(
        &self,
        tenant: &TenantId,
        workflow: Option<&str>,
        limit: u32,
    ) -> Result<Vec<AtGateway>, Error> {
        const OF_ALL: &str = "SELECT gateway, workflow, version, refused, at_us \
             FROM gateway_rules WHERE tenant = $1 ORDER BY workflow, gateway LIMIT $2";
        const OF_ONE: &str = "SELECT gateway, workflow, version, refused, at_us \
             FROM gateway_rules WHERE tenant = $1 AND workflow = $3 ORDER BY gateway LIMIT $2";
        let mut query = sqlx::query(if workflow.is_some() { OF_ONE } else { OF_ALL })
            .bind(tenant.as_str())
            .bind(i64::from(clamp(limit)));
        if let Some(workflow) = workflow {
            query = query.bind(workflow);
        }
        let rows = query.fetch_all(self.readers()).await?;
        rows.iter()
            .map(|row| {
                Ok(AtGateway {
                    gateway: row.parsed("gateway")?,
                    workflow: row.text("workflow")?,
                    version: row.number("version")?,
                    refused: row.maybe_text("refused")?,
                    at_us: row.int("at_us")?,
                })
            })
            .collect()
    }
}

/// Takes what a gateway says in the place of what it said before.
pub(super) async fn said(
    connection: &mut SqliteConnection,
    said: &GatewayRules,
) -> Result<(), Error> {
    let (tenant, gateway) = (said.tenant.as_str(), said.gateway.as_str());
    sqlx::query("DELETE FROM gateway_rules WHERE tenant = $1 AND gateway = $2")
        .bind(tenant)
        .bind(gateway)
        .execute(&mut *connection)
        .await?;
    for (workflow, version, refused) in &said.verdicts {
        sqlx::query(
            "INSERT INTO gateway_rules (tenant, gateway, workflow, version, refused, at_us) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        )
        .bind(tenant)
        .bind(gateway)
        .bind(workflow.as_str())
        .bind(i64::from(*version))
        .bind(refused.as_deref())
        .bind(said.at_us)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn put(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    id: &str,
    version: u32,
    yaml: &str,
    now_us: i64,
) -> Result<bool, Error> {
    let same = sqlx::query(
        "SELECT yaml FROM workflows WHERE tenant = $1 AND workflow = $2 AND version = $3",
    )
    .bind(tenant.as_str())
    .bind(id)
    .bind(i64::from(version))
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(same) = same {
        if same.text("yaml")? == yaml {
            return Ok(false);
        }
        return Err(Error::Conflict(format!(
            "version {version} of workflow {id:?} exists with another text; \
             versions do not change, give it a higher one"
        )));
    }
    let newest = sqlx::query(
        "SELECT MAX(version) AS newest FROM workflows WHERE tenant = $1 AND workflow = $2",
    )
    .bind(tenant.as_str())
    .bind(id)
    .fetch_one(&mut *connection)
    .await?
    .maybe_int("newest")?;
    if let Some(newest) = newest.filter(|newest| *newest > i64::from(version)) {
        return Err(Error::Conflict(format!(
            "workflow {id:?} is at version {newest} already; give it a higher one than {version}"
        )));
    }
    let since_us = deactivate(connection, tenant, id).await?.unwrap_or(now_us);
    sqlx::query(
        "INSERT INTO workflows (tenant, workflow, version, yaml, created_us, active, since_us) \
         VALUES ($1, $2, $3, $4, $5, 1, $6)",
    )
    .bind(tenant.as_str())
    .bind(id)
    .bind(i64::from(version))
    .bind(yaml)
    .bind(now_us)
    .bind(since_us)
    .execute(connection)
    .await
    .map_err(|error| of_tenant(error, tenant.as_str()))?;
    Ok(true)
}

async fn activate(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    id: &str,
    version: Option<u32>,
    now_us: i64,
) -> Result<(), Error> {
    let since_us = deactivate(connection, tenant, id).await?;
    let Some(version) = version else {
        return Ok(());
    };
    let activated = sqlx::query(
        "UPDATE workflows SET active = 1, since_us = $4 \
         WHERE tenant = $1 AND workflow = $2 AND version = $3",
    )
    .bind(tenant.as_str())
    .bind(id)
    .bind(i64::from(version))
    .bind(since_us.unwrap_or(now_us))
    .execute(connection)
    .await?;
    if activated.rows_affected() == 0 {
        return Err(Error::not_found(
            "workflow version",
            format!("{id} {version}"),
        ));
    }
    Ok(())
}

/// Takes a workflow out of force, and says since when it was in.
async fn deactivate(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    id: &str,
) -> Result<Option<i64>, Error> {
    let row = sqlx::query(
        "SELECT since_us FROM workflows WHERE tenant = $1 AND workflow = $2 AND active = 1",
    )
    .bind(tenant.as_str())
    .bind(id)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    sqlx::query(
        "UPDATE workflows SET active = 0, since_us = NULL \
         WHERE tenant = $1 AND workflow = $2 AND active = 1",
    )
    .bind(tenant.as_str())
    .bind(id)
    .execute(connection)
    .await?;
    row.maybe_int("since_us")
}

fn workflow(row: &SqliteRow) -> Result<Workflow, Error> {
    Ok(Workflow {
        id: row.text("workflow")?,
        version: row.number("version")?,
        yaml: row.text("yaml")?,
        created_us: row.int("created_us")?,
        active: row.flag("active")?,
        since_us: row.maybe_int("since_us")?,
    })
}
