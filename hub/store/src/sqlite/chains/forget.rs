//! What all have taken goes.

use super::super::row::{Columns as _, bigint};
use super::super::transaction::Transaction;
use crate::Error;

/// Forgets the oldest entries; see [`crate::Chains::forget_chain_entries`].
pub(super) async fn oldest(
    transaction: &mut Transaction,
    chain: &str,
    readers: &[&str],
    before_us: i64,
    limit: u32,
) -> Result<u64, Error> {
    let taken = taken_by_all(transaction, chain, readers).await?;
    let page = sqlx::query(
        "SELECT e.seq, e.at_us, o.state FROM chain_entries e \
         JOIN chain_observations o ON o.chain = e.chain AND o.block_hash = e.block_hash \
         AND o.source = e.source AND o.place = e.place \
         WHERE e.chain = $1 AND e.seq <= $2 ORDER BY e.seq LIMIT $3",
    )
    .bind(chain)
    .bind(bigint("entry", taken)?)
    .bind(i64::from(limit))
    .fetch_all(&mut **transaction)
    .await?;
    let mut through = None;
    for row in &page {
        // A reorganisation of what is final, too, makes entries of its own: readers who know the
        // observation take them without these.
        if row.int("at_us")? >= before_us || row.text("state")? == "seen" {
            break;
        }
        through = Some(row.int("seq")?);
    }
    let gone = match through {
        None => 0,
        Some(through) => sqlx::query("DELETE FROM chain_entries WHERE chain = $1 AND seq <= $2")
            .bind(chain)
            .bind(through)
            .execute(&mut **transaction)
            .await?
            .rows_affected(),
    };
    observations(transaction, chain, limit).await?;
    Ok(gone)
}

/// The number of the last entry that all have taken. Who is named and has kept no position yet has taken
/// none.
async fn taken_by_all(
    transaction: &mut Transaction,
    chain: &str,
    readers: &[&str],
) -> Result<u64, Error> {
    let rows = sqlx::query("SELECT reader, position FROM chain_readers WHERE chain = $1")
        .bind(chain)
        .fetch_all(&mut **transaction)
        .await?;
    let mut taken: Option<u64> = None;
    let mut known = Vec::with_capacity(rows.len());
    for row in &rows {
        let position = row.number("position")?;
        taken = Some(taken.map_or(position, |taken| taken.min(position)));
        known.push(row.text("reader")?);
    }
    let all_known = readers
        .iter()
        .all(|reader| known.iter().any(|known| known == reader));
    Ok(taken.filter(|_| all_known).unwrap_or(0))
}

/// Observations without entries, of blocks that are no longer kept for walking back, and that lie before
/// the block of the first entry that is left.
async fn observations(transaction: &mut Transaction, chain: &str, limit: u32) -> Result<(), Error> {
    sqlx::query(
        "DELETE FROM chain_observations WHERE chain = $1 AND (block_hash, source, place) IN \
         (SELECT o.block_hash, o.source, o.place FROM chain_observations o WHERE o.chain = $1 \
         AND o.number < COALESCE((SELECT MIN(b.number) FROM chain_blocks b WHERE b.chain = $1), 0) \
         AND o.number <= COALESCE((SELECT f.number FROM chain_entries e JOIN chain_observations f \
         ON f.chain = e.chain AND f.block_hash = e.block_hash AND f.source = e.source \
         AND f.place = e.place WHERE e.chain = $1 ORDER BY e.seq LIMIT 1), o.number) \
         AND o.state <> 'seen' AND NOT EXISTS (SELECT 1 FROM chain_entries e WHERE e.chain = o.chain \
         AND e.block_hash = o.block_hash AND e.source = o.source AND e.place = o.place) \
         ORDER BY o.number LIMIT $2)",
    )
    .bind(chain)
    .bind(i64::from(limit))
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
