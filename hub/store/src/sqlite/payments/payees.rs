//! Whose an address is that takes payments: one tenant's, by its settings or by its offers.

use sqlx::{SqliteConnection, SqlitePool};
use stencil_protocol::id::TenantId;

use super::super::row::{Columns as _, bigint};
use crate::Error;

/// Whether none of these takes payments of another tenant.
pub(in crate::sqlite) async fn check(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    payees: &[(u64, [u8; 20])],
) -> Result<(), Error> {
    for (chain, address) in payees {
        let others = sqlx::query(
            "SELECT COUNT(*) AS others FROM (SELECT tenant FROM payment_payees \
             WHERE chain = $1 AND address = $2 AND tenant <> $3 UNION ALL SELECT tenant \
             FROM offer_payees WHERE chain = $1 AND address = $2 AND tenant <> $3)",
        )
        .bind(bigint("chain id", *chain)?)
        .bind(address.to_vec())
        .bind(tenant.as_str())
        .fetch_one(&mut *connection)
        .await?;
        if others.number::<u64>("others")? > 0 {
            let address = hex::encode(address);
            return Err(Error::Conflict(format!(
                "0x{address} takes payments of another tenant: each tenant has addresses of its own"
            )));
        }
    }
    Ok(())
}

/// Whether an address takes payments of anybody.
pub(in crate::sqlite) async fn is_one(
    readers: &SqlitePool,
    chain: u64,
    address: &[u8; 20],
) -> Result<bool, Error> {
    let known = sqlx::query(
        "SELECT (SELECT COUNT(*) FROM payment_payees WHERE chain = $1 AND address = $2) + \
         (SELECT COUNT(*) FROM offer_payees WHERE chain = $1 AND address = $2) AS known",
    )
    .bind(bigint("chain id", chain)?)
    .bind(address.to_vec())
    .fetch_one(readers)
    .await?;
    Ok(known.number::<u64>("known")? > 0)
}

/// Where an offer is paid from now on.
pub(in crate::sqlite) async fn of_offer(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    offer: &str,
    payees: &[(u64, [u8; 20])],
) -> Result<(), Error> {
    check(connection, tenant, payees).await?;
    sqlx::query("DELETE FROM offer_payees WHERE tenant = $1 AND offer = $2")
        .bind(tenant.as_str())
        .bind(offer)
        .execute(&mut *connection)
        .await?;
    for (chain, address) in payees {
        sqlx::query(
            "INSERT INTO offer_payees (tenant, offer, chain, address) VALUES ($1, $2, $3, $4) \
             ON CONFLICT DO NOTHING",
        )
        .bind(tenant.as_str())
        .bind(offer)
        .bind(bigint("chain id", *chain)?)
        .bind(address.to_vec())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
