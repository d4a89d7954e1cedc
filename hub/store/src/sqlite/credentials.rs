//! Credentials, and the seeds of their issuers.

use async_trait::async_trait;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use stencil_protocol::id::TenantId;

use super::failure::of_tenant;
use super::row::Columns as _;
use super::{Sqlite, judging, pair};
use crate::credentials::{
    CredentialStanding, Credentials, KeptCredential, MAX_CREDENTIALS, STATUS_LIST_BITS,
    StandingSet, StoredCredential,
};
use crate::page::clamp;
use crate::{Error, Page, RightStanding, StoodAs};

/// How many bits of a status list are given away before the next one is begun: with three of four
/// taken, four draws find a free one on average.
const USED_BITS: i64 = 98_304;

macro_rules! credentials {
    ($of:literal) => {
        credentials!("body", $of)
    };
    ($body:literal, $of:literal) => {
        concat!(
            "SELECT credential, kind, subject, list, bit, standing, cause, issued_by, ",
            $body,
            ", issued_us, valid_until_us, changed_us FROM credentials WHERE ",
            $of
        )
    };
}

#[async_trait]
impl Credentials for Sqlite {
    async fn issuer(&self, tenant: &TenantId) -> Result<Option<Vec<u8>>, Error> {
        let row = sqlx::query("SELECT sealed FROM issuers WHERE tenant = $1")
            .bind(tenant.as_str())
            .fetch_optional(self.readers())
            .await?;
        row.map(|row| row.bytes("sealed")).transpose()
    }

    async fn has_issued(&self, tenant: &TenantId) -> Result<bool, Error> {
        let row = sqlx::query("SELECT 1 FROM issued_names WHERE name = $1")
            .bind(tenant.as_str())
            .fetch_optional(self.readers())
            .await?;
        Ok(row.is_some())
    }

    async fn put_issuer(
        &self,
        tenant: &TenantId,
        sealed: &[u8],
        now_us: i64,
    ) -> Result<Vec<u8>, Error> {
        let mut transaction = self.write().await?;
        let kept = put_issuer(&mut transaction, tenant, sealed, now_us).await;
        transaction.end(kept).await
    }

    async fn open_status_list(&self, tenant: &TenantId) -> Result<u32, Error> {
        let row = sqlx::query(
            "SELECT list, COUNT(*) AS used FROM credentials WHERE tenant = $1 AND list = \
             (SELECT MAX(list) FROM credentials WHERE tenant = $1) GROUP BY list",
        )
        .bind(tenant.as_str())
        .fetch_optional(self.readers())
        .await?;
        let Some(row) = row else { return Ok(1) };
        let list: u32 = row.number("list")?;
        Ok(if row.int("used")? < USED_BITS {
            list
        } else {
            list.saturating_add(1)
        })
    }

    async fn keep_credential(
        &self,
        tenant: &TenantId,
        credential: &StoredCredential,
    ) -> Result<KeptCredential, Error> {
        check_place(credential)?;
        let mut transaction = self.write().await?;
        let kept = keep(&mut transaction, tenant, credential).await;
        transaction.end(kept).await
    }

    async fn credential(
        &self,
        tenant: &TenantId,
        credential: &str,
    ) -> Result<Option<StoredCredential>, Error> {
        let row = sqlx::query(credentials!("tenant = $1 AND credential = $2"))
            .bind(tenant.as_str())
            .bind(credential)
            .fetch_optional(self.readers())
            .await?;
        row.as_ref().map(stored).transpose()
    }

    async fn credential_of_cause(
        &self,
        tenant: &TenantId,
        cause: &str,
    ) -> Result<Option<StoredCredential>, Error> {
        let row = sqlx::query(credentials!("tenant = $1 AND cause = $2"))
            .bind(tenant.as_str())
            .bind(cause)
            .fetch_optional(self.readers())
            .await?;
        row.as_ref().map(stored).transpose()
    }

    async fn credentials(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<StoredCredential>, Error> {
        // An id has colons of its own: the time stands behind it.
        let (id, issued_us) = match pair::<String, i64>(after)? {
            Some((id, issued_us)) => (id, issued_us),
            None => (String::new(), i64::MAX),
        };
        let rows = sqlx::query(credentials!(
            "'' AS body",
            "tenant = $1 AND (issued_us, credential) < ($2, $3) \
             ORDER BY issued_us DESC, credential DESC LIMIT $4"
        ))
        .bind(tenant.as_str())
        .bind(issued_us)
        .bind(id)
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let credentials = rows.iter().map(stored).collect::<Result<_, _>>()?;
        Ok(Page::cut(credentials, limit, |it: &StoredCredential| {
            format!("{}:{}", it.credential, it.issued_us)
        }))
    }

    async fn forget_ended_credentials(&self, before_us: i64, limit: u32) -> Result<u64, Error> {
        let mut transaction = self.write().await?;
        let forgotten = sqlx::query(
            "DELETE FROM credentials WHERE (tenant, credential) IN (SELECT tenant, credential \
             FROM credentials WHERE valid_until_us < $1 AND kind <> 'DeviceAccessCredential' \
             LIMIT $2)",
        )
        .bind(before_us)
        .bind(i64::from(limit))
        .execute(&mut *transaction)
        .await
        .map(|done| done.rows_affected())
        .map_err(Error::from);
        transaction.end(forgotten).await
    }

    async fn set_standing(
        &self,
        tenant: &TenantId,
        credential: &str,
        standing: CredentialStanding,
        now_us: i64,
    ) -> Result<StandingSet, Error> {
        let mut transaction = self.write().await?;
        let set = set_by_hand(&mut transaction, tenant, credential, standing, now_us).await;
        transaction.end(set).await
    }

    async fn status_bits(
        &self,
        tenant: &TenantId,
        list: u32,
        standing: CredentialStanding,
    ) -> Result<Option<Vec<u32>>, Error> {
        let there =
            sqlx::query("SELECT 1 FROM credentials WHERE tenant = $1 AND list = $2 LIMIT 1")
                .bind(tenant.as_str())
                .bind(i64::from(list))
                .fetch_optional(self.readers())
                .await?;
        if there.is_none() {
            return Ok(None);
        }
        let rows = sqlx::query(
            "SELECT bit FROM credentials WHERE tenant = $1 AND list = $2 AND standing = $3 \
             ORDER BY bit",
        )
        .bind(tenant.as_str())
        .bind(i64::from(list))
        .bind(standing.as_str())
        .fetch_all(self.readers())
        .await?;
        let bits = rows.iter().map(|row| row.number("bit"));
        bits.collect::<Result<_, _>>().map(Some)
    }
}

async fn put_issuer(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    sealed: &[u8],
    now_us: i64,
) -> Result<Vec<u8>, Error> {
    sqlx::query(
        "INSERT INTO issuers (tenant, sealed, made_us) VALUES ($1, $2, $3) \
         ON CONFLICT (tenant) DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(sealed)
    .bind(now_us)
    .execute(&mut *connection)
    .await
    .map_err(|error| of_tenant(error, tenant.as_str()))?;
    sqlx::query("INSERT INTO issued_names (name) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind(tenant.as_str())
        .execute(&mut *connection)
        .await?;
    let row = sqlx::query("SELECT sealed FROM issuers WHERE tenant = $1")
        .bind(tenant.as_str())
        .fetch_one(connection)
        .await?;
    row.bytes("sealed")
}

/// Whether there is such a place in a status list.
pub(super) fn check_place(credential: &StoredCredential) -> Result<(), Error> {
    if credential.list == 0 || credential.bit >= STATUS_LIST_BITS {
        let why = format!(
            "bit {} of list {}; lists are from 1, bits below {STATUS_LIST_BITS}",
            credential.bit, credential.list
        );
        return Err(Error::invalid("credential", why));
    }
    Ok(())
}

pub(super) async fn keep(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    credential: &StoredCredential,
) -> Result<KeptCredential, Error> {
    if let Some(cause) = &credential.cause {
        let before = sqlx::query(credentials!("tenant = $1 AND cause = $2"))
            .bind(tenant.as_str())
            .bind(cause)
            .fetch_optional(&mut *connection)
            .await?;
        if let Some(row) = before {
            return Ok(KeptCredential::Before(Box::new(stored(&row)?)));
        }
    }
    let made = sqlx::query(
        "INSERT INTO credentials (tenant, credential, kind, subject, list, bit, standing, cause, \
         body, issued_us, valid_until_us, changed_us, issued_by) \
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $14 \
         WHERE COALESCE((SELECT credential_count FROM tenants WHERE tenant = $1), 0) < $13 \
         ON CONFLICT (tenant, list, bit) DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(credential.credential.as_str())
    .bind(credential.kind.as_str())
    .bind(credential.subject.as_str())
    .bind(i64::from(credential.list))
    .bind(i64::from(credential.bit))
    .bind(credential.standing.as_str())
    .bind(credential.cause.as_deref())
    .bind(credential.body.as_str())
    .bind(credential.issued_us)
    .bind(credential.valid_until_us)
    .bind(credential.changed_us)
    .bind(i64::from(MAX_CREDENTIALS))
    .bind(credential.issued_by.as_deref())
    .execute(&mut *connection)
    .await
    .map_err(|error| of_tenant(error, tenant.as_str()))?;
    if made.rows_affected() == 1 {
        return Ok(KeptCredential::Made);
    }
    let taken =
        sqlx::query("SELECT 1 FROM credentials WHERE tenant = $1 AND list = $2 AND bit = $3")
            .bind(tenant.as_str())
            .bind(i64::from(credential.list))
            .bind(i64::from(credential.bit))
            .fetch_optional(connection)
            .await?;
    if taken.is_some() {
        return Ok(KeptCredential::BitTaken);
    }
    let why = format!("there are {MAX_CREDENTIALS} credentials, the most that a tenant may have");
    Err(Error::Conflict(why))
}

/// Sets how a credential stands because somebody wants it so. What is noted of a right to command a device is
/// noted also where its credential stands so already, by its cause.
async fn set_by_hand(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    credential: &str,
    standing: CredentialStanding,
    now_us: i64,
) -> Result<StandingSet, Error> {
    if standing == CredentialStanding::Good {
        // Not for a moment: whoever fetches a status list may go by it for a day.
        let by_cause = judging::newest(connection, tenant, credential, true).await?;
        if by_cause.credential() == CredentialStanding::Suspended {
            return Ok(StandingSet::Taken);
        }
    }
    let set = put_standing(connection, tenant, credential, standing, now_us).await?;
    if matches!(set, StandingSet::NotFound | StandingSet::Revoked) {
        return Ok(set);
    }
    let stood = StoodAs {
        by_cause: false,
        standing: match standing {
            CredentialStanding::Good => RightStanding::Held,
            CredentialStanding::Suspended => RightStanding::Suspended,
            CredentialStanding::Revoked => RightStanding::Revoked,
        },
        from_us: now_us,
        known_us: now_us,
    };
    judging::note(connection, tenant, credential, stood).await?;
    Ok(set)
}

/// Sets how a credential stands, and no more.
pub(super) async fn put_standing(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    credential: &str,
    standing: CredentialStanding,
    now_us: i64,
) -> Result<StandingSet, Error> {
    let row = sqlx::query("SELECT standing FROM credentials WHERE tenant = $1 AND credential = $2")
        .bind(tenant.as_str())
        .bind(credential)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else {
        return Ok(StandingSet::NotFound);
    };
    let before = standing_of(&row)?;
    if before == standing {
        return Ok(StandingSet::Unchanged);
    }
    if before == CredentialStanding::Revoked {
        return Ok(StandingSet::Revoked);
    }
    sqlx::query(
        "UPDATE credentials SET standing = $3, changed_us = $4 \
         WHERE tenant = $1 AND credential = $2",
    )
    .bind(tenant.as_str())
    .bind(credential)
    .bind(standing.as_str())
    .bind(now_us)
    .execute(connection)
    .await?;
    Ok(StandingSet::Set)
}

fn standing_of(row: &SqliteRow) -> Result<CredentialStanding, Error> {
    let name = row.text("standing")?;
    CredentialStanding::parse(&name).ok_or(Error::Corrupt {
        what: "standing",
        why: name,
    })
}

fn stored(row: &SqliteRow) -> Result<StoredCredential, Error> {
    Ok(StoredCredential {
        credential: row.text("credential")?,
        kind: row.text("kind")?,
        subject: row.text("subject")?,
        list: row.number("list")?,
        bit: row.number("bit")?,
        standing: standing_of(row)?,
        cause: row.maybe_text("cause")?,
        issued_by: row.maybe_text("issued_by")?,
        body: row.text("body")?,
        issued_us: row.int("issued_us")?,
        valid_until_us: row.maybe_int("valid_until_us")?,
        changed_us: row.int("changed_us")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Erased, Keeping as _, Tenancy as _};

    fn credential(n: u32) -> StoredCredential {
        StoredCredential {
            credential: format!("urn:uuid:{n}"),
            kind: "Receipt".into(),
            subject: "urn:x:1".into(),
            list: 1,
            bit: n,
            standing: CredentialStanding::Good,
            cause: None,
            issued_by: None,
            body: "{}".into(),
            issued_us: 1,
            valid_until_us: (n == 1).then_some(9),
            changed_us: 1,
        }
    }

    async fn count(store: &Sqlite) -> Option<i64> {
        let row = sqlx::query("SELECT credential_count FROM tenants WHERE tenant = 'acme'")
            .fetch_optional(store.readers())
            .await
            .unwrap();
        row.map(|row| row.int("credential_count").unwrap())
    }

    #[tokio::test]
    async fn the_most_are_known_without_counting_and_what_ended_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let store = super::super::open(folder.path().join("hub.db"))
            .await
            .unwrap();
        let acme = TenantId::parse("acme").unwrap();
        store.create_tenant(&acme, 1).await.unwrap();
        for n in 1..=2 {
            let kept = store.keep_credential(&acme, &credential(n)).await;
            assert_eq!(kept.unwrap(), KeptCredential::Made);
        }
        // A bit that is taken counts for nothing.
        let taken = StoredCredential {
            credential: "urn:uuid:3".into(),
            ..credential(2)
        };
        let kept = store.keep_credential(&acme, &taken).await;
        assert_eq!(kept.unwrap(), KeptCredential::BitTaken);
        assert_eq!(count(&store).await, Some(2));
        let mut transaction = store.write().await.unwrap();
        let full = sqlx::query("UPDATE tenants SET credential_count = $1")
            .bind(i64::from(MAX_CREDENTIALS))
            .execute(&mut *transaction)
            .await
            .map(drop)
            .map_err(Error::from);
        transaction.end(full).await.unwrap();
        let full = store.keep_credential(&acme, &credential(3)).await;
        assert!(matches!(full, Err(Error::Conflict(_))), "{full:?}");
        assert_eq!(store.forget_ended_credentials(10, 9).await.unwrap(), 1);
        let kept = store.keep_credential(&acme, &credential(3)).await;
        assert_eq!(kept.unwrap(), KeptCredential::Made);
        let erased = Erased::Tenant(acme.clone());
        store.erase(1, &erased).await.unwrap();
        store.create_tenant(&acme, 2).await.unwrap();
        assert_eq!(count(&store).await, Some(0));
    }
}
