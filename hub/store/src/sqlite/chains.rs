//! Chains: state, watches and the stream's readers.

use std::collections::BTreeSet;

use async_trait::async_trait;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::Sqlite;
use super::row::{Columns as _, bigint};
use super::transaction::Transaction;
use crate::chains::{MAX_CHAIN_ENTRIES, MAX_CHAIN_NAME, MAX_OWNER_WATCHES, MAX_WATCHES};
use crate::{
    BlockMark, ChainCommit, ChainCommitted, ChainEntry, ChainState, Chains, Error, KeptBlock,
    Watch, WatchKind, Watched,
};

mod commit;
mod entries;
mod forget;

#[async_trait]
impl Chains for Sqlite {
    async fn open_chain(
        &self,
        chain: &str,
        chain_id: u64,
        at_us: i64,
    ) -> Result<ChainState, Error> {
        check_name("chain", chain)?;
        let mut transaction = self.write().await?;
        let opened = open(&mut transaction, chain, chain_id, at_us).await;
        transaction.end(opened).await
    }

    async fn chain(&self, chain: &str) -> Result<Option<ChainState>, Error> {
        sqlx::query("SELECT * FROM chains WHERE chain = $1")
            .bind(chain)
            .fetch_optional(self.readers())
            .await?
            .map(|row| state(&row))
            .transpose()
    }

    async fn chains(&self) -> Result<Vec<ChainState>, Error> {
        sqlx::query("SELECT * FROM chains ORDER BY chain")
            .fetch_all(self.readers())
            .await?
            .iter()
            .map(state)
            .collect()
    }

    async fn chain_blocks(&self, chain: &str) -> Result<Vec<KeptBlock>, Error> {
        sqlx::query(
            "SELECT number, hash, parent FROM chain_blocks WHERE chain = $1 ORDER BY number",
        )
        .bind(chain)
        .fetch_all(self.readers())
        .await?
        .iter()
        .map(|row| {
            Ok(KeptBlock {
                mark: BlockMark {
                    number: row.number("number")?,
                    hash: row.array("hash")?,
                },
                parent: row.array("parent")?,
            })
        })
        .collect()
    }

    async fn chain_watches(&self, chain: &str) -> Result<(u64, Vec<Watched>), Error> {
        let mut snapshot = self.snapshot().await?;
        let watched = watches(&mut snapshot, chain).await;
        snapshot.end(watched).await
    }

    async fn watch_chain(&self, chain: &str, watches: &[Watch]) -> Result<u64, Error> {
        for watch in watches {
            check_name("owner of a watch", &watch.owner)?;
        }
        let mut transaction = self.write().await?;
        let watched = watch(&mut transaction, chain, watches).await;
        transaction.end(watched).await
    }

    async fn unwatch_chain(&self, chain: &str, watches: &[Watch]) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let unwatched = unwatch(&mut transaction, chain, watches).await;
        transaction.end(unwatched).await
    }

    async fn commit_chain(&self, commit: &ChainCommit) -> Result<ChainCommitted, Error> {
        let mut transaction = self.write().await?;
        let committed = commit::store(&mut transaction, commit).await;
        transaction.end(committed).await
    }

    async fn stop_chain(&self, chain: &str, why: Option<&str>, at_us: i64) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let stopped = sqlx::query(
            "UPDATE chains SET stopped = $1, changed_us = $2 WHERE chain = $3 \
             AND stopped IS NOT $1",
        )
        .bind(why)
        .bind(at_us)
        .bind(chain)
        .execute(&mut *transaction)
        .await
        .map(drop)
        .map_err(Error::from);
        transaction.end(stopped).await
    }

    async fn chain_entries(
        &self,
        chain: &str,
        after: u64,
        limit: u32,
    ) -> Result<Vec<ChainEntry>, Error> {
        entries::page(self.readers(), chain, after, limit.min(MAX_CHAIN_ENTRIES)).await
    }

    async fn chain_position(&self, chain: &str, reader: &str) -> Result<u64, Error> {
        sqlx::query("SELECT position FROM chain_readers WHERE chain = $1 AND reader = $2")
            .bind(chain)
            .bind(reader)
            .fetch_optional(self.readers())
            .await?
            .map_or(Ok(0), |row| row.number("position"))
    }

    async fn advance_chain_reader(
        &self,
        chain: &str,
        reader: &str,
        position: u64,
    ) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let advanced = advance(&mut transaction, chain, reader, position).await;
        transaction.end(advanced).await
    }

    async fn forget_chain_entries(
        &self,
        chain: &str,
        readers: &[&str],
        before_us: i64,
        limit: u32,
    ) -> Result<u64, Error> {
        let mut transaction = self.write().await?;
        let limit = limit.clamp(1, MAX_CHAIN_ENTRIES);
        let forgotten = forget::oldest(&mut transaction, chain, readers, before_us, limit).await;
        transaction.end(forgotten).await
    }
}

async fn open(
    transaction: &mut Transaction,
    chain: &str,
    chain_id: u64,
    at_us: i64,
) -> Result<ChainState, Error> {
    sqlx::query(
        "INSERT INTO chains (chain, chain_id, interest, last_entry, changed_us) \
         VALUES ($1, $2, 0, 0, $3) ON CONFLICT (chain) DO NOTHING",
    )
    .bind(chain)
    .bind(bigint("chain id", chain_id)?)
    .bind(at_us)
    .execute(&mut **transaction)
    .await?;
    let found = find(transaction, chain).await?;
    if found.chain_id != chain_id {
        return Err(Error::Conflict(format!(
            "{chain:?} is kept as the chain with id {}, not {chain_id}; \
             another chain wants another name",
            found.chain_id
        )));
    }
    Ok(found)
}

/// The state of a chain that has to be there.
async fn find(transaction: &mut Transaction, chain: &str) -> Result<ChainState, Error> {
    let row = sqlx::query("SELECT * FROM chains WHERE chain = $1")
        .bind(chain)
        .fetch_optional(&mut **transaction)
        .await?
        .ok_or_else(|| Error::not_found("chain", chain))?;
    state(&row)
}

fn state(row: &SqliteRow) -> Result<ChainState, Error> {
    Ok(ChainState {
        chain: row.text("chain")?,
        chain_id: row.number("chain_id")?,
        cursor: mark(row, "number", "hash")?,
        read_s: row.maybe_number("read_s")?,
        finalized: mark(row, "final_number", "final_hash")?,
        interest: row.number("interest")?,
        last_entry: row.number("last_entry")?,
        stopped: row.maybe_text("stopped")?,
        changed_us: row.int("changed_us")?,
    })
}

fn mark(
    row: &SqliteRow,
    number: &'static str,
    hash: &'static str,
) -> Result<Option<BlockMark>, Error> {
    let Some(number) = row.maybe_number(number)? else {
        return Ok(None);
    };
    let hash = row.array(hash)?;
    Ok(Some(BlockMark { number, hash }))
}

async fn watches(snapshot: &mut Transaction, chain: &str) -> Result<(u64, Vec<Watched>), Error> {
    let interest = find(snapshot, chain).await?.interest;
    let rows = sqlx::query(
        "SELECT tenant, address, kind, topic0, from_block FROM chain_watches WHERE chain = $1 \
         ORDER BY tenant, address, kind, topic0",
    )
    .bind(chain)
    .fetch_all(&mut **snapshot)
    .await?;
    let watched: Result<_, Error> = rows
        .iter()
        .map(|row| {
            let kind = row.text("kind")?;
            Ok(Watched {
                watch: Watch {
                    owner: row.text("tenant")?,
                    address: row.array("address")?,
                    kind: match kind.as_str() {
                        "event" => WatchKind::Event(row.array("topic0")?),
                        "to" => event_to(&row.bytes("topic0")?)?,
                        "beside" => WatchKind::Beside(row.array("topic0")?),
                        "any" => WatchKind::AnyEvent,
                        "native" => WatchKind::Native,
                        _ => return Err(Error::corrupt("kind of a watch", kind)),
                    },
                },
                from_block: row.number("from_block")?,
            })
        })
        .collect();
    Ok((interest, watched?))
}

/// A kind and what it names, as columns: a first topic, and behind it the account where there is one.
fn columns(kind: &WatchKind) -> (&'static str, Vec<u8>) {
    match kind {
        WatchKind::Event(topic0) => ("event", topic0.to_vec()),
        WatchKind::EventTo { topic0, to } => ("to", [topic0.as_slice(), to].concat()),
        WatchKind::Beside(topic0) => ("beside", topic0.to_vec()),
        WatchKind::AnyEvent => ("any", Vec::new()),
        WatchKind::Native => ("native", Vec::new()),
    }
}

fn event_to(bytes: &[u8]) -> Result<WatchKind, Error> {
    let read = bytes.split_first_chunk().and_then(|(topic0, to)| {
        Some(WatchKind::EventTo {
            topic0: *topic0,
            to: to.try_into().ok()?,
        })
    });
    read.ok_or_else(|| Error::corrupt("account of a watch", hex::encode(bytes)))
}

async fn watch(
    transaction: &mut Transaction,
    chain: &str,
    watches: &[Watch],
) -> Result<u64, Error> {
    let found = find(transaction, chain).await?;
    let from_block = found.cursor.map_or(0, |cursor| cursor.number + 1);
    let mut new = 0;
    for watch in watches {
        let (kind, topic0) = columns(&watch.kind);
        new += sqlx::query(
            "INSERT INTO chain_watches (chain, tenant, address, kind, topic0, from_block) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        )
        .bind(chain)
        .bind(watch.owner.as_str())
        .bind(watch.address.as_slice())
        .bind(kind)
        .bind(topic0)
        .bind(bigint("block", from_block)?)
        .execute(&mut **transaction)
        .await?
        .rows_affected();
    }
    if new > 0 {
        let row = sqlx::query("SELECT COUNT(*) AS watches FROM chain_watches WHERE chain = $1")
            .bind(chain)
            .fetch_one(&mut **transaction)
            .await?;
        if row.number::<u64>("watches")? > u64::from(MAX_WATCHES) {
            return Err(Error::invalid(
                "watches",
                format!("at most {MAX_WATCHES} are kept a chain; end some that are not needed"),
            ));
        }
        let owners: BTreeSet<&str> = watches.iter().map(|it| it.owner.as_str()).collect();
        for owner in owners {
            let row = sqlx::query(
                "SELECT COUNT(*) AS watches FROM chain_watches WHERE chain = $1 AND tenant = $2",
            )
            .bind(chain)
            .bind(owner)
            .fetch_one(&mut **transaction)
            .await?;
            if row.number::<u64>("watches")? > u64::from(MAX_OWNER_WATCHES) {
                return Err(Error::invalid(
                    "watches",
                    format!(
                        "at most {MAX_OWNER_WATCHES} are kept a chain of {owner}: addresses that are \
                         no longer paid at or listened to make room within a day"
                    ),
                ));
            }
        }
        change_interest(transaction, chain).await?;
    }
    Ok(from_block)
}

async fn unwatch(
    transaction: &mut Transaction,
    chain: &str,
    watches: &[Watch],
) -> Result<(), Error> {
    let mut gone = 0;
    for watch in watches {
        let (kind, topic0) = columns(&watch.kind);
        gone += sqlx::query(
            "DELETE FROM chain_watches WHERE chain = $1 AND tenant = $2 AND address = $3 \
             AND kind = $4 AND topic0 = $5",
        )
        .bind(chain)
        .bind(watch.owner.as_str())
        .bind(watch.address.as_slice())
        .bind(kind)
        .bind(topic0)
        .execute(&mut **transaction)
        .await?
        .rows_affected();
    }
    if gone > 0 {
        change_interest(transaction, chain).await?;
    }
    Ok(())
}

/// Keeps how far a reader has come.
pub(super) async fn advance(
    transaction: &mut Transaction,
    chain: &str,
    reader: &str,
    position: u64,
) -> Result<(), Error> {
    check_name("reader", reader)?;
    entries::advance(transaction, chain, reader, position).await
}

/// The watches of a tenant are about to go: followers have to look through with fewer.
pub(super) async fn watch_no_more(
    connection: &mut SqliteConnection,
    tenant: &str,
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE chains SET interest = interest + 1 \
         WHERE chain IN (SELECT chain FROM chain_watches WHERE tenant = $1)",
    )
    .bind(tenant)
    .execute(connection)
    .await?;
    Ok(())
}

async fn change_interest(transaction: &mut Transaction, chain: &str) -> Result<(), Error> {
    sqlx::query("UPDATE chains SET interest = interest + 1 WHERE chain = $1")
        .bind(chain)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

fn check_name(what: &'static str, name: &str) -> Result<(), Error> {
    let fits = (1..=MAX_CHAIN_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        return Ok(());
    }
    Err(Error::invalid(
        what,
        format!(
            "{name:?}; 1 to {MAX_CHAIN_NAME} printable ASCII characters without spaces are right"
        ),
    ))
}
