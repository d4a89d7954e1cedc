//! Registrations of devices.

use async_trait::async_trait;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use stencil_protocol::id::{DeviceId, GatewayId, TenantId};

use super::Sqlite;
use super::failure::of_tenant;
use super::row::Columns as _;
use crate::page::clamp;
use crate::{
    Admission, Birth, Born, ByCode, Delivery, DeviceKey, Enrolled, Enrolment, Error, MAX_PAGE,
    Moved, NewBirth, Page, RegisteredGateway, Registration, RegistrationState, Registry, Renewed,
    Unclaimed,
};

mod change;
mod delivery;
pub(super) mod gateways;
pub(super) mod log;

const REGISTRATION: &str = "SELECT r.device, r.gateway, r.revoked, r.generation, r.enrolled_us, \
     r.changed_us, r.revoked_us, \
     (SELECT k.identity FROM device_keys k WHERE k.tenant = r.tenant AND k.device = r.device \
       AND k.generation = r.generation) AS identity, \
     (SELECT COUNT(*) FROM device_keys k WHERE k.tenant = r.tenant AND k.device = r.device \
       AND k.psk IS NOT NULL) AS live_keys, \
     NOT EXISTS (SELECT 1 FROM placements p JOIN gateway_keys g \
       ON g.tenant = p.tenant AND g.gateway = p.gateway \
       WHERE p.tenant = r.tenant AND p.device = r.device AND p.revision > g.held) AS delivered \
     FROM registrations r";

#[async_trait]
impl Registry for Sqlite {
    async fn bear(&self, births: &[NewBirth], now_us: i64) -> Result<Vec<Born>, Error> {
        let mut transaction = self.write().await?;
        let born = async {
            let mut born = Vec::with_capacity(births.len());
            for birth in births {
                born.push(change::bear(&mut transaction, birth, now_us).await?);
            }
            Ok(born)
        }
        .await;
        transaction.end(born).await
    }

    async fn births(&self, after: Option<&str>, limit: u32) -> Result<Page<Birth>, Error> {
        let rows = sqlx::query(
            "SELECT identity, born_us, claimed_us FROM births WHERE identity > $1 \
             ORDER BY identity LIMIT $2",
        )
        .bind(after.unwrap_or(""))
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let births = rows.iter().map(|row| {
            Ok(Birth {
                identity: row.parsed("identity")?,
                born_us: row.int("born_us")?,
                claimed_us: row.maybe_int("claimed_us")?,
            })
        });
        let births = births.collect::<Result<_, Error>>()?;
        Ok(Page::cut(births, limit, |birth: &Birth| {
            birth.identity.to_string()
        }))
    }

    async fn unclaimed(&self, code_tag: &[u8; 32]) -> Result<Option<Unclaimed>, Error> {
        let row =
            sqlx::query("SELECT identity, psk FROM births WHERE code_tag = $1 AND psk IS NOT NULL")
                .bind(code_tag.to_vec())
                .fetch_optional(self.readers())
                .await?;
        row.map(|row| {
            Ok(Unclaimed {
                identity: row.parsed("identity")?,
                psk: row.bytes("psk")?,
            })
        })
        .transpose()
    }

    async fn by_code(
        &self,
        tenant: &TenantId,
        code_tag: &[u8; 32],
    ) -> Result<Option<ByCode>, Error> {
        let row = sqlx::query(
            "SELECT r.device, r.gateway, r.revoked, \
             EXISTS (SELECT 1 FROM device_keys o WHERE o.tenant = k.tenant AND o.device = k.device \
               AND o.generation >= k.generation AND o.ended_why = 'replaced') AS replaced \
             FROM device_keys k JOIN registrations r ON r.tenant = k.tenant AND r.device = k.device \
             WHERE k.tenant = $1 AND k.code_tag = $2 ORDER BY k.made_us DESC LIMIT 1",
        )
        .bind(tenant.as_str())
        .bind(code_tag.to_vec())
        .fetch_optional(self.readers())
        .await?;
        row.map(|row| {
            Ok(ByCode {
                device: row.parsed("device")?,
                gateway: row.maybe_parsed("gateway")?,
                revoked: row.flag("revoked")?,
                replaced: row.flag("replaced")?,
            })
        })
        .transpose()
    }

    async fn add_gateway(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        now_us: i64,
    ) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let added = gateways::add(&mut transaction, tenant, gateway, now_us).await;
        transaction.end(added).await
    }

    async fn has_gateway(&self, tenant: &TenantId, gateway: &GatewayId) -> Result<bool, Error> {
        let mut snapshot = self.snapshot().await?;
        let has = gateways::has(&mut snapshot, tenant, gateway).await;
        snapshot.end(has).await
    }

    async fn gateway_ids(&self, tenant: &TenantId) -> Result<Vec<GatewayId>, Error> {
        gateways::ids(self.readers(), tenant).await
    }

    async fn contested(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        now_us: i64,
    ) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let noted = gateways::contested(&mut transaction, tenant, gateway, now_us).await;
        transaction.end(noted).await
    }

    async fn enrol(
        &self,
        tenant: &TenantId,
        enrolments: &[Enrolment],
        max_devices: u32,
        now_us: i64,
    ) -> Result<Vec<Enrolled>, Error> {
        let mut transaction = self.write().await?;
        let enrolled = async {
            let mut enrolled = Vec::with_capacity(enrolments.len());
            for enrolment in enrolments {
                let one =
                    change::enrol(&mut transaction, tenant, enrolment, max_devices, now_us).await?;
                enrolled.push(one);
            }
            Ok(enrolled)
        }
        .await;
        transaction.end(enrolled).await
    }

    async fn registration(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
    ) -> Result<Option<Registration>, Error> {
        let statement = format!("{REGISTRATION} WHERE r.tenant = $1 AND r.device = $2");
        let row = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(tenant.as_str())
            .bind(device.as_str())
            .fetch_optional(self.readers())
            .await?;
        row.as_ref().map(registration).transpose()
    }

    async fn registrations(
        &self,
        tenant: &TenantId,
        gateway: Option<&GatewayId>,
        state: Option<RegistrationState>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Registration>, Error> {
        let statement = format!(
            "{REGISTRATION} WHERE r.tenant = $1 AND r.device > $2 \
             AND ($3 IS NULL OR r.gateway = $3) AND ($4 IS NULL OR r.revoked = $4) \
             ORDER BY r.device LIMIT $5"
        );
        let revoked = state.map(|state| i64::from(state == RegistrationState::Revoked));
        let rows = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(tenant.as_str())
            .bind(after.unwrap_or(""))
            .bind(gateway.map(GatewayId::as_str))
            .bind(revoked)
            .bind(i64::from(clamp(limit)) + 1)
            .fetch_all(self.readers())
            .await?;
        let found = rows.iter().map(registration).collect::<Result<_, _>>()?;
        Ok(Page::cut(found, limit, |one: &Registration| {
            one.device.to_string()
        }))
    }

    async fn device_keys(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
    ) -> Result<Vec<DeviceKey>, Error> {
        let rows = sqlx::query(
            "SELECT generation, identity, made_us, used_us, ended_us, ended_why FROM device_keys \
             WHERE tenant = $1 AND device = $2 ORDER BY generation DESC LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(device.as_str())
        .bind(i64::from(MAX_PAGE))
        .fetch_all(self.readers())
        .await?;
        let keys = rows.iter().map(|row| {
            Ok(DeviceKey {
                generation: row.number("generation")?,
                identity: row.parsed("identity")?,
                made_us: row.int("made_us")?,
                used_us: row.maybe_int("used_us")?,
                ended_us: row.maybe_int("ended_us")?,
                ended_why: row.maybe_text("ended_why")?,
            })
        });
        keys.collect()
    }

    async fn revoke(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        now_us: i64,
    ) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let revoked = change::revoke(&mut transaction, tenant, device, now_us).await;
        transaction.end(revoked).await
    }

    async fn renew(
        &self,
        tenant: &TenantId,
        renewed: &Renewed,
        now_us: i64,
    ) -> Result<Enrolled, Error> {
        let mut transaction = self.write().await?;
        let done = change::renew(&mut transaction, tenant, renewed, now_us).await;
        transaction.end(done).await
    }

    async fn move_device(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        gateway: &GatewayId,
        max_devices: u32,
        now_us: i64,
    ) -> Result<Moved, Error> {
        let mut transaction = self.write().await?;
        let moved = change::move_to(
            &mut transaction,
            tenant,
            device,
            gateway,
            max_devices,
            now_us,
        )
        .await;
        transaction.end(moved).await
    }

    async fn registered_gateways(
        &self,
        tenant: &TenantId,
    ) -> Result<Vec<RegisteredGateway>, Error> {
        gateways::registered(self.readers(), tenant).await
    }

    async fn behind(&self, limit: u32) -> Result<Vec<(TenantId, GatewayId)>, Error> {
        let rows = sqlx::query(
            "SELECT tenant, gateway FROM gateway_keys \
             WHERE held < revision AND public_key IS NOT NULL LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(self.readers())
        .await?;
        rows.iter()
            .map(|row| Ok((row.parsed("tenant")?, row.parsed("gateway")?)))
            .collect()
    }

    async fn delivery(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        limit: u32,
    ) -> Result<Option<Delivery>, Error> {
        let mut snapshot = self.snapshot().await?;
        let next = delivery::next(&mut snapshot, tenant, gateway, limit).await;
        snapshot.end(next).await
    }

    async fn renumber(&self) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let renumbered = change::renumber(&mut transaction).await;
        transaction.end(renumbered).await
    }

    async fn unsettled(&self, limit: u32) -> Result<Vec<Admission>, Error> {
        let rows = sqlx::query(
            "SELECT tenant, device, revoked FROM registrations WHERE revoked <> refused LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(self.readers())
        .await?;
        let admissions = rows.iter().map(|row| {
            Ok(Admission {
                tenant: row.parsed("tenant")?,
                device: row.parsed("device")?,
                refused: row.flag("revoked")?,
            })
        });
        admissions.collect()
    }

    async fn has_sealed(&self) -> Result<bool, Error> {
        let row = sqlx::query(
            "SELECT EXISTS (SELECT 1 FROM births WHERE psk IS NOT NULL) \
             OR EXISTS (SELECT 1 FROM device_keys WHERE psk IS NOT NULL) \
             OR EXISTS (SELECT 1 FROM issuers) AS sealed",
        )
        .fetch_one(self.readers())
        .await?;
        row.flag("sealed")
    }
}

fn registration(row: &SqliteRow) -> Result<Registration, Error> {
    Ok(Registration {
        device: row.parsed("device")?,
        gateway: row.maybe_parsed("gateway")?,
        state: match row.flag("revoked")? {
            true => RegistrationState::Revoked,
            false => RegistrationState::Enrolled,
        },
        identity: row.maybe_parsed("identity")?,
        generation: row.number("generation")?,
        delivered: row.flag("delivered")?,
        rotating: row.int("live_keys")? > 1,
        enrolled_us: row.int("enrolled_us")?,
        changed_us: row.int("changed_us")?,
        revoked_us: row.maybe_int("revoked_us")?,
    })
}

/// Gives a gateway's list an entry for a device, as its next revision.
async fn place(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    gateway: &GatewayId,
    device: &DeviceId,
    present: bool,
) -> Result<(), Error> {
    let row = sqlx::query(
        "INSERT INTO gateway_keys (tenant, gateway, epoch, revision, held) \
         VALUES ($1, $2, $3, 1, 0) ON CONFLICT (tenant, gateway) DO UPDATE SET \
         revision = gateway_keys.revision + 1 RETURNING revision",
    )
    .bind(tenant.as_str())
    .bind(gateway.as_str())
    .bind(epoch()?)
    .fetch_one(&mut *connection)
    .await
    .map_err(|error| of_tenant(error, tenant.as_str()))?;
    sqlx::query(
        "INSERT INTO placements (tenant, gateway, device, revision, present) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant, gateway, device) DO UPDATE SET \
         revision = excluded.revision, present = excluded.present",
    )
    .bind(tenant.as_str())
    .bind(gateway.as_str())
    .bind(device.as_str())
    .bind(row.int("revision")?)
    .bind(i64::from(present))
    .execute(connection)
    .await?;
    Ok(())
}

/// A name for a list: no gateway holds one of this name. 0 is none.
pub(super) fn epoch() -> Result<i64, Error> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)
        .map_err(|error| Error::Unavailable(format!("no random bytes: {error}")))?;
    Ok((i64::from_be_bytes(random) & i64::MAX).max(1))
}
