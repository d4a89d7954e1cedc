//! Sends that were final, and are sent again after a reorganisation that went deeper than that.

use sqlx::SqlitePool;

use super::super::row::{Columns as _, bigint};
use super::super::transaction::Transaction;
use super::{sums, whole};
use crate::sends::MAX_OPEN_SENDS;
use crate::{BlockMark, Error, StoredSend};

pub(super) async fn last_final(
    readers: &SqlitePool,
    chain: &str,
    sender: [u8; 20],
) -> Result<Option<u64>, Error> {
    let row = sqlx::query(
        "SELECT nonce FROM chain_sends WHERE chain = $1 AND sender = $2 AND state = 'final' \
         ORDER BY nonce DESC LIMIT 1",
    )
    .bind(chain)
    .bind(sender.as_slice())
    .fetch_optional(readers)
    .await?;
    row.map(|row| row.number("nonce")).transpose()
}

pub(super) async fn final_from(
    connection: &mut Transaction,
    chain: &str,
    sender: [u8; 20],
    from: u64,
) -> Result<Vec<StoredSend>, Error> {
    let rows = sqlx::query(
        "SELECT * FROM chain_sends WHERE chain = $1 AND sender = $2 AND nonce >= $3 \
         AND state = 'final' ORDER BY nonce LIMIT $4",
    )
    .bind(chain)
    .bind(sender.as_slice())
    .bind(bigint("nonce", from)?)
    .bind(i64::from(MAX_OPEN_SENDS))
    .fetch_all(&mut **connection)
    .await?;
    let mut sends = Vec::with_capacity(rows.len());
    for row in rows {
        sends.push(whole(connection, &row).await?);
    }
    Ok(sends)
}

/// What was final above a block is in a block and no more: a reorganisation went deeper than what was
/// final, so that where each of these is now has to be seen again.
pub(in super::super) async fn included_above(
    transaction: &mut Transaction,
    chain: &str,
    above: u64,
) -> Result<(), Error> {
    sums::let_go_above(transaction, chain, bigint("block", above)?).await?;
    sqlx::query(
        "UPDATE chain_sends SET state = 'included' \
         WHERE chain = $1 AND state = 'final' AND block_number > $2",
    )
    .bind(chain)
    .bind(bigint("block", above)?)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

pub(super) async fn take_back(
    transaction: &mut Transaction,
    (chain, sender, nonce): (&str, [u8; 20], u64),
    from: BlockMark,
) -> Result<(), Error> {
    sums::let_go_of(transaction, chain, sender, bigint("nonce", nonce)?).await?;
    let taken = sqlx::query(
        "UPDATE chain_sends SET state = 'pending', tx = NULL, block_number = NULL, \
         block_hash = NULL, succeeded = NULL, fee = NULL WHERE chain = $1 AND sender = $2 AND nonce = $3 \
         AND state = 'final' AND block_hash = $4",
    )
    .bind(chain)
    .bind(sender.as_slice())
    .bind(bigint("nonce", nonce)?)
    .bind(from.hash.as_slice())
    .execute(&mut **transaction)
    .await?
    .rows_affected();
    if taken == 0 {
        return Err(Error::Conflict(format!(
            "nonce {nonce} of {chain} is not final in block {}",
            from.number
        )));
    }
    Ok(())
}
