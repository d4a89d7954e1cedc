//! A follower's step, in one transaction.

use super::super::row::{Columns as _, bigint};
use super::super::sends;
use super::super::transaction::Transaction;
use super::entries::{self, Key};
use crate::chains::MAX_TOPICS;
use crate::{
    BlockMark, ChainCommit, ChainCommitted, ChainEntryKind, ChainState, Error, Observation,
};

pub(super) async fn store(
    transaction: &mut Transaction,
    commit: &ChainCommit,
) -> Result<ChainCommitted, Error> {
    let found = super::find(transaction, &commit.chain).await?;
    if found.cursor != commit.from {
        return Err(Error::Conflict(format!(
            "{} stands at {}, not at {}: another follower has taken it further",
            commit.chain,
            told(found.cursor),
            told(commit.from)
        )));
    }
    if found.interest != commit.interest {
        return Ok(ChainCommitted::InterestChanged);
    }
    let mut step = Step {
        transaction,
        commit,
        seq: found.last_entry,
    };
    if let Some(above) = commit.retract_above {
        step.retract(above).await?;
        if found.finalized.is_some_and(|mark| mark.number > above) {
            sends::included_above(step.transaction, &commit.chain, above).await?;
        }
    }
    step.keep_blocks().await?;
    for observation in &commit.observed {
        step.observe(observation).await?;
    }
    if let Some(finalized) = commit.finalized {
        step.finalize(finalized).await?;
    }
    let last_entry = step.seq;
    advance(transaction, commit, &found, last_entry).await?;
    Ok(ChainCommitted::Done { last_entry })
}

fn told(mark: Option<BlockMark>) -> String {
    mark.map_or_else(
        || "no block".to_owned(),
        |mark| format!("block {} ({})", mark.number, hex::encode(mark.hash)),
    )
}

struct Step<'a> {
    transaction: &'a mut Transaction,
    commit: &'a ChainCommit,
    seq: u64,
}

impl Step<'_> {
    async fn retract(&mut self, above: u64) -> Result<(), Error> {
        let rows = sqlx::query(
            "SELECT block_hash, source, place, state FROM chain_observations \
             WHERE chain = $1 AND number > $2 AND state <> 'retracted' \
             ORDER BY number DESC, source DESC, place DESC",
        )
        .bind(self.commit.chain.as_str())
        .bind(bigint("block", above)?)
        .fetch_all(&mut **self.transaction)
        .await?;
        for row in rows {
            let was_final = row.text("state")? == "final";
            let key = Key::of(&row)?;
            self.change(&key, "retracted").await?;
            self.enter(ChainEntryKind::Retracted { was_final }, &key)
                .await?;
        }
        sqlx::query("DELETE FROM chain_blocks WHERE chain = $1 AND number > $2")
            .bind(self.commit.chain.as_str())
            .bind(bigint("block", above)?)
            .execute(&mut **self.transaction)
            .await?;
        Ok(())
    }

    async fn keep_blocks(&mut self) -> Result<(), Error> {
        for block in &self.commit.blocks {
            if block.mark.number < self.commit.keep_from {
                continue;
            }
            sqlx::query(
                "INSERT INTO chain_blocks (chain, number, hash, parent) VALUES ($1, $2, $3, $4)",
            )
            .bind(self.commit.chain.as_str())
            .bind(bigint("block", block.mark.number)?)
            .bind(block.mark.hash.as_slice())
            .bind(block.parent.as_slice())
            .execute(&mut **self.transaction)
            .await?;
        }
        sqlx::query("DELETE FROM chain_blocks WHERE chain = $1 AND number < $2")
            .bind(self.commit.chain.as_str())
            .bind(bigint("block", self.commit.keep_from)?)
            .execute(&mut **self.transaction)
            .await?;
        Ok(())
    }

    /// A block that comes back has its observations in the table already, retracted.
    async fn observe(&mut self, observation: &Observation) -> Result<(), Error> {
        if observation.topics.len() > MAX_TOPICS {
            return Err(Error::invalid(
                "topics",
                format!(
                    "{}; a log has at most {MAX_TOPICS}",
                    observation.topics.len()
                ),
            ));
        }
        let key = Key::named(observation);
        let changed = sqlx::query(
            "INSERT INTO chain_observations (chain, block_hash, source, place, number, time_s, tx, \
             ordinal, address, topics, data, state) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'seen') \
             ON CONFLICT (chain, block_hash, source, place) DO UPDATE SET state = 'seen' \
             WHERE state = 'retracted'",
        )
        .bind(self.commit.chain.as_str())
        .bind(key.block_hash.clone())
        .bind(key.source.clone())
        .bind(key.place)
        .bind(bigint("block", observation.block.number)?)
        .bind(bigint("timestamp", observation.time_s)?)
        .bind(observation.tx.as_slice())
        .bind(i64::from(observation.ordinal))
        .bind(observation.address.as_slice())
        .bind(observation.topics.concat())
        .bind(observation.data.as_slice())
        .execute(&mut **self.transaction)
        .await?
        .rows_affected();
        if changed == 0 {
            return Err(Error::Conflict(format!(
                "{} {} of block {} was observed already",
                key.source,
                key.place,
                hex::encode(&key.block_hash)
            )));
        }
        self.enter(ChainEntryKind::Observed, &key).await
    }

    async fn finalize(&mut self, finalized: BlockMark) -> Result<(), Error> {
        let rows = sqlx::query(
            "SELECT block_hash, source, place FROM chain_observations \
             WHERE chain = $1 AND state = 'seen' AND number <= $2 \
             ORDER BY number, source, place",
        )
        .bind(self.commit.chain.as_str())
        .bind(bigint("block", finalized.number)?)
        .fetch_all(&mut **self.transaction)
        .await?;
        for row in rows {
            let key = Key::of(&row)?;
            self.change(&key, "final").await?;
            self.enter(ChainEntryKind::Final, &key).await?;
        }
        Ok(())
    }

    async fn change(&mut self, key: &Key, state: &str) -> Result<(), Error> {
        sqlx::query(
            "UPDATE chain_observations SET state = $1 \
             WHERE chain = $2 AND block_hash = $3 AND source = $4 AND place = $5",
        )
        .bind(state)
        .bind(self.commit.chain.as_str())
        .bind(key.block_hash.as_slice())
        .bind(key.source.as_str())
        .bind(key.place)
        .execute(&mut **self.transaction)
        .await?;
        Ok(())
    }

    async fn enter(&mut self, kind: ChainEntryKind, key: &Key) -> Result<(), Error> {
        self.seq += 1;
        let commit = self.commit;
        entries::insert(
            self.transaction,
            &commit.chain,
            self.seq,
            kind,
            key,
            commit.at_us,
        )
        .await
    }
}

async fn advance(
    transaction: &mut Transaction,
    commit: &ChainCommit,
    found: &ChainState,
    last_entry: u64,
) -> Result<(), Error> {
    let cursor = commit.cursor.or(found.cursor);
    // What is final goes back only where the branch does.
    let mut finalized = found.finalized;
    if let Some(above) = commit.retract_above
        && finalized.is_some_and(|mark| mark.number > above)
    {
        finalized = cursor.filter(|cursor| cursor.number <= above);
    }
    let finalized = commit.finalized.or(finalized);
    let number =
        |mark: Option<BlockMark>| mark.map(|mark| bigint("block", mark.number)).transpose();
    sqlx::query(
        "UPDATE chains SET number = $1, hash = $2, final_number = $3, final_hash = $4, \
         last_entry = $5, changed_us = $6, \
         read_s = COALESCE($8, read_s) WHERE chain = $7",
    )
    .bind(number(cursor)?)
    .bind(cursor.map(|mark| mark.hash.to_vec()))
    .bind(number(finalized)?)
    .bind(finalized.map(|mark| mark.hash.to_vec()))
    .bind(bigint("entry", last_entry)?)
    .bind(commit.at_us)
    .bind(commit.chain.as_str())
    .bind(
        commit
            .cursor_s
            .map(|seconds| bigint("timestamp", seconds))
            .transpose()?,
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
