//! What payers have signed and came to nothing.

use sqlx::SqlitePool;

use super::super::row::Columns as _;
use crate::Error;
use crate::sends::BroughtInVain;

pub(super) async fn in_vain(
    readers: &SqlitePool,
    (tenant, chain, payer): (&str, &str, [u8; 20]),
    since_us: i64,
    limit: u32,
) -> Result<Vec<BroughtInVain>, Error> {
    // What was given up never came to the payer's token: that is no matter of the payer's.
    let rows = sqlx::query(
        "SELECT invoice, reserved_us FROM chain_sends AS send \
         WHERE tenant = $1 AND chain = $2 AND payer = $3 AND reserved_us > $4 \
         AND state IN ('included', 'final') AND succeeded = 0 AND NOT EXISTS \
         (SELECT 1 FROM chain_attempts AS attempt WHERE attempt.chain = send.chain \
         AND attempt.sender = send.sender AND attempt.nonce = send.nonce \
         AND attempt.tx = send.tx AND attempt.gives_up IS NOT NULL) \
         ORDER BY reserved_us DESC LIMIT $5",
    )
    .bind(tenant)
    .bind(chain)
    .bind(payer.as_slice())
    .bind(since_us)
    .bind(i64::from(limit))
    .fetch_all(readers)
    .await?;
    let of = |row| {
        let row: &sqlx::sqlite::SqliteRow = row;
        Ok(BroughtInVain {
            invoice: row.array("invoice")?,
            reserved_us: row.int("reserved_us")?,
        })
    };
    rows.iter().map(of).collect()
}
