//! The numbered stream of what became known.

use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::super::row::{Columns as _, bigint};
use super::super::transaction::Transaction;
use crate::{BlockMark, ChainEntry, ChainEntryKind, ChainSource, Error, Observation};

/// Which observation of a chain.
pub(super) struct Key {
    pub(super) block_hash: Vec<u8>,
    pub(super) source: String,
    pub(super) place: i64,
}

impl Key {
    pub(super) fn of(row: &SqliteRow) -> Result<Self, Error> {
        Ok(Self {
            block_hash: row.bytes("block_hash")?,
            source: row.text("source")?,
            place: row.int("place")?,
        })
    }

    pub(super) fn named(observation: &Observation) -> Self {
        Self {
            block_hash: observation.block.hash.to_vec(),
            source: observation.source.as_str().to_owned(),
            // A block has fewer logs and transactions than that.
            place: i64::try_from(observation.place).unwrap_or(i64::MAX),
        }
    }
}

pub(super) async fn insert(
    transaction: &mut Transaction,
    chain: &str,
    seq: u64,
    kind: ChainEntryKind,
    key: &Key,
    at_us: i64,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO chain_entries (chain, seq, kind, was_final, block_hash, source, place, at_us) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(chain)
    .bind(bigint("entry", seq)?)
    .bind(kind.as_str())
    .bind(i64::from(matches!(
        kind,
        ChainEntryKind::Retracted { was_final: true }
    )))
    .bind(key.block_hash.as_slice())
    .bind(key.source.as_str())
    .bind(key.place)
    .bind(at_us)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

pub(super) async fn page(
    readers: &SqlitePool,
    chain: &str,
    after: u64,
    limit: u32,
) -> Result<Vec<ChainEntry>, Error> {
    sqlx::query(
        "SELECT e.seq, e.kind, e.was_final, e.at_us, o.* FROM chain_entries e \
         JOIN chain_observations o ON o.chain = e.chain AND o.block_hash = e.block_hash \
         AND o.source = e.source AND o.place = e.place \
         WHERE e.chain = $1 AND e.seq > $2 ORDER BY e.seq LIMIT $3",
    )
    .bind(chain)
    .bind(bigint("entry", after)?)
    .bind(i64::from(limit))
    .fetch_all(readers)
    .await?
    .iter()
    .map(entry)
    .collect()
}

fn entry(row: &SqliteRow) -> Result<ChainEntry, Error> {
    let kind = row.text("kind")?;
    Ok(ChainEntry {
        seq: row.number("seq")?,
        kind: match kind.as_str() {
            "observed" => ChainEntryKind::Observed,
            "retracted" => ChainEntryKind::Retracted {
                was_final: row.flag("was_final")?,
            },
            "final" => ChainEntryKind::Final,
            _ => return Err(Error::corrupt("kind of an entry", kind)),
        },
        observation: observation(row)?,
        at_us: row.int("at_us")?,
    })
}

fn observation(row: &SqliteRow) -> Result<Observation, Error> {
    let source = row.text("source")?;
    let topics = row.bytes("topics")?;
    let (topics, rest) = topics.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(Error::corrupt("topics", "not a multiple of 32 bytes"));
    }
    Ok(Observation {
        block: BlockMark {
            number: row.number("number")?,
            hash: row.array("block_hash")?,
        },
        time_s: row.number("time_s")?,
        source: match source.as_str() {
            "log" => ChainSource::Log,
            "native" => ChainSource::Native,
            _ => return Err(Error::corrupt("source of an observation", source)),
        },
        place: row.number("place")?,
        tx: row.array("tx")?,
        ordinal: row.number("ordinal")?,
        address: row.array("address")?,
        topics: topics.to_vec(),
        data: row.bytes("data")?,
    })
}

pub(super) async fn advance(
    transaction: &mut Transaction,
    chain: &str,
    reader: &str,
    position: u64,
) -> Result<(), Error> {
    let last = super::find(transaction, chain).await?.last_entry;
    if position > last {
        return Err(Error::invalid(
            "position",
            format!("{position}; the newest entry of {chain} is {last}"),
        ));
    }
    sqlx::query(
        "INSERT INTO chain_readers (chain, reader, position) VALUES ($1, $2, $3) \
         ON CONFLICT (chain, reader) DO UPDATE SET position = excluded.position \
         WHERE position < excluded.position",
    )
    .bind(chain)
    .bind(reader)
    .bind(bigint("position", position)?)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
