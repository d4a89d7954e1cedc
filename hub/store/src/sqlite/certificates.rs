//! Gateways' certificates.

use async_trait::async_trait;
use sqlx::SqliteConnection;
use stencil_protocol::id::{GatewayId, TenantId};

use super::Sqlite;
use super::failure::of_tenant;
use super::registry::gateways;
use super::row::Columns as _;
use crate::certificates::{
    CertificateState, Certificates, Fingerprint, GatewayCertificate, MAX_GATEWAY_CERTIFICATES,
    NewCertificate, Presented, Renewable, is_of_former_tenant,
};
use crate::{AuditOutcome, Error};

#[async_trait]
impl Certificates for Sqlite {
    async fn add_certified(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        certificate: &NewCertificate,
        now_us: i64,
    ) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let of = Of { tenant, gateway };
        let added = async {
            gateways::add(&mut transaction, tenant, gateway, now_us).await?;
            sqlx::query(
                "UPDATE gateway_keys SET revoked_us = NULL WHERE tenant = $1 AND gateway = $2",
            )
            .bind(tenant.as_str())
            .bind(gateway.as_str())
            .execute(&mut *transaction)
            .await?;
            of.insert(&mut transaction, certificate, None, now_us).await
        }
        .await;
        transaction.end(added).await
    }

    async fn present(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        certificate: &NewCertificate,
        in_time: bool,
        now_us: i64,
    ) -> Result<Presented, Error> {
        let of = Of { tenant, gateway };
        let mut snapshot = self.snapshot().await?;
        let standing = of.standing(&mut snapshot, certificate, in_time).await;
        // Nothing is written for one that comes again.
        if let Some(presented) = snapshot.end(standing).await?.settled() {
            return Ok(presented);
        }
        let mut transaction = self.write().await?;
        let presented = of
            .present(&mut transaction, certificate, in_time, now_us)
            .await;
        transaction.end(presented).await
    }

    async fn renewable(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        of: &Fingerprint,
        key: &Fingerprint,
    ) -> Result<Renewable, Error> {
        let mut snapshot = self.snapshot().await?;
        let found = Of { tenant, gateway }
            .renewable(&mut snapshot, of, key)
            .await;
        snapshot.end(found).await
    }

    async fn keep_renewed(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        of: &Fingerprint,
        certificate: &NewCertificate,
        chain: &str,
        now_us: i64,
    ) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let who = Of { tenant, gateway };
        let kept = async {
            if who.state(&mut transaction, of).await? != Some(CertificateState::Current) {
                return Ok(false);
            }
            sqlx::query(
                "UPDATE gateway_certificates SET state = 'superseded', ended_us = $3, chain = NULL \
                 WHERE tenant = $1 AND gateway = $2 AND state = 'issued' AND renews IS NOT NULL",
            )
            .bind(tenant.as_str())
            .bind(gateway.as_str())
            .bind(now_us)
            .execute(&mut *transaction)
            .await?;
            let renews = Some((of, chain));
            who.insert(&mut transaction, certificate, renews, now_us)
                .await?;
            let detail = format!(
                "certificate {} was issued to it, valid until {} UTC",
                certificate.serial,
                stencil_protocol::moment::utc(certificate.not_after_us)
            );
            who.note(&mut transaction, "gateways.renew", &detail, now_us)
                .await?;
            Ok(true)
        }
        .await;
        transaction.end(kept).await
    }

    async fn revoke_gateway(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        now_us: i64,
    ) -> Result<Option<Vec<Fingerprint>>, Error> {
        let mut transaction = self.write().await?;
        let revoked = Of { tenant, gateway }
            .revoke(&mut transaction, now_us)
            .await;
        transaction.end(revoked).await
    }

    async fn certificates(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
    ) -> Result<Vec<GatewayCertificate>, Error> {
        let rows = sqlx::query(
            "SELECT fingerprint, serial, state, renews IS NOT NULL AS renewed, not_before_us, \
             not_after_us, made_us, used_us, ended_us FROM gateway_certificates \
             WHERE tenant = $1 AND gateway = $2 ORDER BY made_us DESC, fingerprint",
        )
        .bind(tenant.as_str())
        .bind(gateway.as_str())
        .fetch_all(self.readers())
        .await?;
        let found = rows.iter().map(|row| {
            Ok(GatewayCertificate {
                fingerprint: row.array("fingerprint")?,
                serial: row.text("serial")?,
                state: state_of(&row.text("state")?)?,
                renewed: row.flag("renewed")?,
                not_before_us: row.int("not_before_us")?,
                not_after_us: row.int("not_after_us")?,
                made_us: row.int("made_us")?,
                used_us: row.maybe_int("used_us")?,
                ended_us: row.maybe_int("ended_us")?,
            })
        });
        found.collect()
    }

    async fn ending_before(&self, before_us: i64) -> Result<u64, Error> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS ending FROM gateway_certificates \
             WHERE state = 'current' AND not_after_us < $1",
        )
        .bind(before_us)
        .fetch_one(self.readers())
        .await?;
        row.number("ending")
    }
}

/// What is to be done with a certificate that is presented.
enum Standing {
    Settled(Presented),
    First,
    Met,
}

impl Standing {
    /// What it is, where that changes nothing.
    fn settled(self) -> Option<Presented> {
        match self {
            Self::Settled(presented) => Some(presented),
            Self::First | Self::Met => None,
        }
    }
}

/// Whose certificates.
struct Of<'a> {
    tenant: &'a TenantId,
    gateway: &'a GatewayId,
}

impl Of<'_> {
    async fn state(
        &self,
        connection: &mut SqliteConnection,
        fingerprint: &Fingerprint,
    ) -> Result<Option<CertificateState>, Error> {
        let row = sqlx::query(
            "SELECT state FROM gateway_certificates \
             WHERE tenant = $1 AND gateway = $2 AND fingerprint = $3",
        )
        .bind(self.tenant.as_str())
        .bind(self.gateway.as_str())
        .bind(fingerprint.to_vec())
        .fetch_optional(connection)
        .await?;
        row.map(|row| state_of(&row.text("state")?)).transpose()
    }

    async fn standing(
        &self,
        connection: &mut SqliteConnection,
        certificate: &NewCertificate,
        in_time: bool,
    ) -> Result<Standing, Error> {
        match self.state(connection, &certificate.fingerprint).await? {
            Some(CertificateState::Current) => return Ok(Standing::Settled(Presented::Current)),
            Some(CertificateState::Issued) => return Ok(Standing::First),
            Some(CertificateState::Superseded) => {
                return Ok(Standing::Settled(Presented::Superseded));
            }
            Some(CertificateState::Revoked) => return Ok(Standing::Settled(Presented::Revoked)),
            None => {}
        }
        let row = sqlx::query(
            "SELECT COUNT(*) AS known, COALESCE(SUM(state IN ('issued', 'current')), 0) AS live, \
             MAX(not_before_us) AS newest_us, \
             EXISTS (SELECT 1 FROM gateway_keys WHERE tenant = $1 AND gateway = $2 \
               AND revoked_us IS NOT NULL) AS revoked, \
             (SELECT created_us FROM tenants WHERE tenant = $1) AS tenant_us \
             FROM gateway_certificates WHERE tenant = $1 AND gateway = $2",
        )
        .bind(self.tenant.as_str())
        .bind(self.gateway.as_str())
        .fetch_one(connection)
        .await?;
        if row.flag("revoked")? {
            return Ok(Standing::Settled(Presented::Revoked));
        }
        // What the hub knows it has issued itself, whatever its clock said then.
        let is_former = row
            .maybe_int("tenant_us")?
            .is_some_and(|made_us| is_of_former_tenant(certificate.not_before_us, made_us));
        if is_former {
            return Ok(Standing::Settled(Presented::Former));
        }
        // None but the fleet authority can have made a later one: that this hub does not know it, is
        // because its data were restored from before then.
        let is_newest = row
            .maybe_int("newest_us")?
            .is_none_or(|newest_us| certificate.not_before_us >= newest_us);
        let (known, live) = (row.int("known")?, row.int("live")?);
        Ok(match in_time && is_newest && (known == 0 || live > 0) {
            true => Standing::Met,
            false => Standing::Settled(Presented::Unknown),
        })
    }

    async fn present(
        &self,
        connection: &mut SqliteConnection,
        certificate: &NewCertificate,
        in_time: bool,
        now_us: i64,
    ) -> Result<Presented, Error> {
        let met = match self.standing(connection, certificate, in_time).await? {
            Standing::Settled(presented) => return Ok(presented),
            Standing::First => false,
            Standing::Met => {
                self.insert(connection, certificate, None, now_us).await?;
                true
            }
        };
        let ended = self
            .promote(connection, &certificate.fingerprint, now_us)
            .await?;
        let mut detail = format!(
            "certificate {} is used, valid until {} UTC",
            certificate.serial,
            stencil_protocol::moment::utc(certificate.not_after_us)
        );
        if met {
            detail.push_str("; the hub had not heard of it");
        }
        if !ended.is_empty() {
            detail.push_str("; those before it let nobody in any more");
        }
        self.note(connection, "gateways.certify", &detail, now_us)
            .await?;
        Ok(match met {
            true => Presented::Met(ended),
            false => Presented::First(ended),
        })
    }

    /// It is the current one from now on. What was added later than it stays to be used.
    async fn promote(
        &self,
        connection: &mut SqliteConnection,
        fingerprint: &Fingerprint,
        now_us: i64,
    ) -> Result<Vec<Fingerprint>, Error> {
        let rows = sqlx::query(
            "UPDATE gateway_certificates SET state = 'superseded', ended_us = $4, chain = NULL \
             WHERE tenant = $1 AND gateway = $2 AND fingerprint <> $3 \
             AND state IN ('issued', 'current') \
             AND NOT (state = 'issued' AND renews IS NULL AND made_us > \
               (SELECT n.made_us FROM gateway_certificates n \
                WHERE n.tenant = $1 AND n.gateway = $2 AND n.fingerprint = $3)) \
             RETURNING fingerprint",
        )
        .bind(self.tenant.as_str())
        .bind(self.gateway.as_str())
        .bind(fingerprint.to_vec())
        .bind(now_us)
        .fetch_all(&mut *connection)
        .await?;
        sqlx::query(
            "UPDATE gateway_certificates SET state = 'current', used_us = $4, chain = NULL \
             WHERE tenant = $1 AND gateway = $2 AND fingerprint = $3",
        )
        .bind(self.tenant.as_str())
        .bind(self.gateway.as_str())
        .bind(fingerprint.to_vec())
        .bind(now_us)
        .execute(connection)
        .await?;
        rows.iter().map(|row| row.array("fingerprint")).collect()
    }

    async fn insert(
        &self,
        connection: &mut SqliteConnection,
        certificate: &NewCertificate,
        renews: Option<(&Fingerprint, &str)>,
        now_us: i64,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO gateway_certificates (tenant, gateway, fingerprint, serial, key, renews, \
             chain, state, not_before_us, not_after_us, made_us) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, 'issued', $8, $9, $10) \
             ON CONFLICT (tenant, gateway, fingerprint) DO NOTHING",
        )
        .bind(self.tenant.as_str())
        .bind(self.gateway.as_str())
        .bind(certificate.fingerprint.to_vec())
        .bind(&certificate.serial)
        .bind(certificate.key.to_vec())
        .bind(renews.map(|(of, _)| of.to_vec()))
        .bind(renews.map(|(_, chain)| chain))
        .bind(certificate.not_before_us)
        .bind(certificate.not_after_us)
        .bind(now_us)
        .execute(&mut *connection)
        .await
        .map_err(|error| of_tenant(error, self.tenant.as_str()))?;
        // What is forgotten is older than what is known, and is not let in for that.
        sqlx::query(
            "DELETE FROM gateway_certificates WHERE tenant = $1 AND gateway = $2 \
             AND state IN ('superseded', 'revoked') AND fingerprint NOT IN \
             (SELECT fingerprint FROM gateway_certificates WHERE tenant = $1 AND gateway = $2 \
              ORDER BY made_us DESC, not_before_us DESC LIMIT $3)",
        )
        .bind(self.tenant.as_str())
        .bind(self.gateway.as_str())
        .bind(i64::from(MAX_GATEWAY_CERTIFICATES))
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn renewable(
        &self,
        connection: &mut SqliteConnection,
        of: &Fingerprint,
        key: &Fingerprint,
    ) -> Result<Renewable, Error> {
        let row = sqlx::query(
            "SELECT c.not_before_us, c.not_after_us, \
             (SELECT MAX(n.made_us) FROM gateway_certificates n WHERE n.tenant = c.tenant \
               AND n.gateway = c.gateway AND n.renews = c.fingerprint) AS last_us, \
             (SELECT n.chain FROM gateway_certificates n WHERE n.tenant = c.tenant \
               AND n.gateway = c.gateway AND n.renews = c.fingerprint AND n.key = $4 \
               AND n.state = 'issued') AS chain \
             FROM gateway_certificates c WHERE c.tenant = $1 AND c.gateway = $2 \
             AND c.fingerprint = $3 AND c.state = 'current'",
        )
        .bind(self.tenant.as_str())
        .bind(self.gateway.as_str())
        .bind(of.to_vec())
        .bind(key.to_vec())
        .fetch_optional(connection)
        .await?;
        let Some(row) = row else {
            return Ok(Renewable::Not);
        };
        Ok(match row.maybe_text("chain")? {
            Some(chain) => Renewable::Made(chain),
            None => Renewable::Current {
                not_before_us: row.int("not_before_us")?,
                not_after_us: row.int("not_after_us")?,
                last_us: row.maybe_int("last_us")?,
            },
        })
    }

    async fn revoke(
        &self,
        connection: &mut SqliteConnection,
        now_us: i64,
    ) -> Result<Option<Vec<Fingerprint>>, Error> {
        // Its list of keys is another one for whoever comes next by its name.
        let changed = sqlx::query(
            "UPDATE gateway_keys SET revoked_us = $3, public_key = NULL, epoch = $4, held = 0 \
             WHERE tenant = $1 AND gateway = $2 AND added_us IS NOT NULL AND revoked_us IS NULL",
        )
        .bind(self.tenant.as_str())
        .bind(self.gateway.as_str())
        .bind(now_us)
        .bind(super::registry::epoch()?)
        .execute(&mut *connection)
        .await?;
        if changed.rows_affected() == 0 {
            if !gateways::has(connection, self.tenant, self.gateway).await? {
                return Err(Error::not_found("gateway", self.gateway));
            }
            return Ok(None);
        }
        let rows = sqlx::query(
            "UPDATE gateway_certificates SET state = 'revoked', chain = NULL, \
             ended_us = COALESCE(ended_us, $3) \
             WHERE tenant = $1 AND gateway = $2 AND state <> 'revoked' RETURNING fingerprint",
        )
        .bind(self.tenant.as_str())
        .bind(self.gateway.as_str())
        .bind(now_us)
        .fetch_all(connection)
        .await?;
        let ended = rows.iter().map(|row| row.array("fingerprint"));
        ended.collect::<Result<_, _>>().map(Some)
    }

    async fn note(
        &self,
        connection: &mut SqliteConnection,
        action: &str,
        detail: &str,
        now_us: i64,
    ) -> Result<(), Error> {
        let (tenant, gateway) = (self.tenant, self.gateway);
        let outcome = AuditOutcome::Done;
        gateways::note(connection, tenant, gateway, action, outcome, detail, now_us).await
    }
}

fn state_of(name: &str) -> Result<CertificateState, Error> {
    CertificateState::parse(name).ok_or_else(|| Error::corrupt("state", name.to_owned()))
}
