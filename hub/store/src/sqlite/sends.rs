//! Sends: nonces, attempts, states.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{SqliteConnection, SqliteExecutor};

use super::Sqlite;
use super::row::{Columns as _, bigint};
use super::transaction::Transaction;
use crate::sends::{
    Callable, MAX_GIVEN_UP, MAX_OPEN_SENDS, MAX_SEND_ATTEMPTS, MAX_SEND_DATA, OPEN_SENDS_SHARE,
};
use crate::{
    BlockMark, Brought, BroughtInVain, Error, NewSend, SendAttempt, SendOutcome, SendState, Sends,
    SpendLimit, Spent, StoredSend,
};

mod again;
mod amounts;
mod brought;
mod limits;
mod sums;

pub(super) use again::included_above;

/// The longest key, in bytes.
const MAX_KEY: usize = 200;

#[async_trait]
impl Sends for Sqlite {
    async fn reserve_send(
        &self,
        send: &NewSend,
        first_nonce: u64,
        at_us: i64,
    ) -> Result<StoredSend, Error> {
        check(send)?;
        let mut transaction = self.write().await?;
        let reserved = reserve(&mut transaction, send, first_nonce, at_us).await;
        transaction.end(reserved).await
    }

    async fn has_place(&self, chain: &str, sender: [u8; 20], tenant: &str) -> Result<(), Error> {
        has_place(self.readers(), chain, sender, tenant).await
    }

    async fn send(&self, tenant: &str, key: &str) -> Result<Option<StoredSend>, Error> {
        let mut snapshot = self.snapshot().await?;
        let found = by_key(&mut snapshot, tenant, key).await;
        snapshot.end(found).await
    }

    async fn brought_in_vain(
        &self,
        tenant: &str,
        chain: &str,
        payer: [u8; 20],
        since_us: i64,
        limit: u32,
    ) -> Result<Vec<BroughtInVain>, Error> {
        brought::in_vain(self.readers(), (tenant, chain, payer), since_us, limit).await
    }

    async fn open_senders(&self, chain: &str) -> Result<Vec<[u8; 20]>, Error> {
        let rows = sqlx::query(
            "SELECT DISTINCT sender FROM chain_sends \
             WHERE chain = $1 AND state IN ('pending', 'included') ORDER BY sender",
        )
        .bind(chain)
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(|row| row.array("sender")).collect()
    }

    async fn open_sends(&self, chain: &str, sender: [u8; 20]) -> Result<Vec<StoredSend>, Error> {
        let mut snapshot = self.snapshot().await?;
        let found = open(&mut snapshot, chain, sender).await;
        snapshot.end(found).await
    }

    async fn add_attempt(
        &self,
        chain: &str,
        sender: [u8; 20],
        nonce: u64,
        number: u32,
        attempt: &SendAttempt,
    ) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let added = add(&mut transaction, chain, sender, nonce, number, attempt).await;
        transaction.end(added).await
    }

    async fn set_send_state(
        &self,
        chain: &str,
        sender: [u8; 20],
        nonce: u64,
        state: SendState,
    ) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let set = set_state(&mut transaction, chain, sender, nonce, state).await;
        transaction.end(set).await
    }

    async fn last_final_nonce(&self, chain: &str, sender: [u8; 20]) -> Result<Option<u64>, Error> {
        again::last_final(self.readers(), chain, sender).await
    }

    async fn final_sends(
        &self,
        chain: &str,
        sender: [u8; 20],
        from: u64,
    ) -> Result<Vec<StoredSend>, Error> {
        let mut snapshot = self.snapshot().await?;
        let found = again::final_from(&mut snapshot, chain, sender, from).await;
        snapshot.end(found).await
    }

    async fn take_back_send(
        &self,
        chain: &str,
        sender: [u8; 20],
        nonce: u64,
        from: BlockMark,
    ) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let taken = again::take_back(&mut transaction, (chain, sender, nonce), from).await;
        transaction.end(taken).await
    }

    async fn set_spend_limit(&self, limit: &SpendLimit) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let set = limits::set(&mut transaction, limit).await;
        transaction.end(set).await
    }

    async fn set_callable(&self, tenant: &str, callable: &[Callable]) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let set = limits::set_callable(&mut transaction, tenant, callable).await;
        transaction.end(set).await
    }

    async fn callable(&self, tenant: &str) -> Result<Vec<Callable>, Error> {
        limits::callable(self.readers(), tenant).await
    }

    async fn spend_limits(&self, tenant: &str) -> Result<Vec<SpendLimit>, Error> {
        let mut snapshot = self.snapshot().await?;
        let limits = limits::of(&mut snapshot, tenant).await;
        snapshot.end(limits).await
    }

    async fn spent(&self, tenant: &str, at_us: i64) -> Result<Vec<Spent>, Error> {
        let mut snapshot = self.snapshot().await?;
        let spent = limits::spent(&mut snapshot, tenant, at_us).await;
        let (spent, loose) = snapshot.end(spent).await?;
        // So it is after an update, with the sends of before; else what orders sum up is enough.
        for chain in loose {
            // It is asked all the same where nothing can be written now.
            let Ok(mut transaction) = self.write().await else {
                break;
            };
            let summed = sums::sum_up(&mut transaction, tenant, &chain).await;
            if transaction.end(summed).await.is_err() {
                break;
            }
        }
        Ok(spent)
    }
}

fn check(send: &NewSend) -> Result<(), Error> {
    if send.key.is_empty() || send.key.len() > MAX_KEY {
        return Err(Error::invalid(
            "key",
            format!("1 to {MAX_KEY} bytes are right"),
        ));
    }
    if send.data.len() > MAX_SEND_DATA {
        return Err(Error::invalid(
            "data",
            format!(
                "{} bytes; at most {MAX_SEND_DATA} are taken",
                send.data.len()
            ),
        ));
    }
    Ok(())
}

async fn reserve(
    transaction: &mut Transaction,
    send: &NewSend,
    first_nonce: u64,
    at_us: i64,
) -> Result<StoredSend, Error> {
    if let Some(there) = by_key(transaction, &send.tenant, &send.key).await? {
        if !there.send.does_the_same(send) {
            return Err(Error::Conflict(format!(
                "key {:?} names another send: another one wants another key",
                send.key
            )));
        }
        return Ok(there);
    }
    // Before what is spent is summed up: who finds no place asks again.
    has_place(&mut **transaction, &send.chain, send.sender, &send.tenant).await?;
    limits::check(transaction, send, at_us).await?;
    let row = sqlx::query(
        "INSERT INTO chain_nonces (chain, sender, next) VALUES ($1, $2, $3 + 1) \
         ON CONFLICT (chain, sender) DO UPDATE SET next = MAX(next, $3) + 1 RETURNING next",
    )
    .bind(send.chain.as_str())
    .bind(send.sender.as_slice())
    .bind(bigint("nonce", first_nonce)?)
    .fetch_one(&mut **transaction)
    .await?;
    let nonce = row.number::<u64>("next")?.saturating_sub(1);
    sqlx::query(
        "INSERT INTO chain_sends (chain, sender, nonce, tenant, key, receiver, value, data, gas, \
         most_fee, token, token_amount, state, reserved_us, payer, invoice, sale) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'pending', $13, $14, $15, $16)",
    )
    .bind(send.chain.as_str())
    .bind(send.sender.as_slice())
    .bind(bigint("nonce", nonce)?)
    .bind(send.tenant.as_str())
    .bind(send.key.as_str())
    .bind(send.receiver.as_slice())
    .bind(send.value.as_slice())
    .bind(send.data.as_slice())
    .bind(bigint("gas", send.gas)?)
    .bind(send.most_fee.as_slice())
    .bind(send.token.map(|(token, _)| token.to_vec()))
    .bind(send.token.map(|(_, amount)| amount.to_vec()))
    .bind(at_us)
    .bind(send.brings.map(|brings| brings.payer.to_vec()))
    .bind(send.brings.map(|brings| brings.invoice.to_vec()))
    .bind(send.brings.map(|brings| i64::from(brings.is_sale)))
    .execute(&mut **transaction)
    .await?;
    Ok(StoredSend {
        send: send.clone(),
        nonce,
        state: SendState::Pending,
        attempts: Vec::new(),
        reserved_us: at_us,
    })
}

/// Whether the account may have one more that is not final, and the tenant one more of those: one that sends a lot
/// leaves places to others, whose sends would wait for its own to be final.
async fn has_place(
    executor: impl SqliteExecutor<'_>,
    chain: &str,
    sender: [u8; 20],
    tenant: &str,
) -> Result<(), Error> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS sends, COUNT(CASE WHEN tenant = $3 THEN 1 END) AS own FROM chain_sends \
         WHERE chain = $1 AND sender = $2 AND state IN ('pending', 'included')",
    )
    .bind(chain)
    .bind(sender.as_slice())
    .bind(tenant)
    .fetch_one(executor)
    .await?;
    let (sends, own) = (row.number::<u32>("sends")?, row.number::<u32>("own")?);
    let free = MAX_OPEN_SENDS.saturating_sub(sends);
    if free == 0 {
        return Err(Error::Full(format!(
            "{sends} sends of this account on {} are not final yet, and no more are taken until one is",
            chain
        )));
    }
    let share = free.saturating_mul(OPEN_SENDS_SHARE);
    if own >= share {
        return Err(Error::Full(format!(
            "{own} sends of tenant {:?} on {} are not final yet, and {free} places of the hub's account are free \
             for all tenants: no more of it are taken until some are final",
            tenant, chain
        )));
    }
    Ok(())
}

async fn by_key(
    connection: &mut Transaction,
    tenant: &str,
    key: &str,
) -> Result<Option<StoredSend>, Error> {
    let row = sqlx::query("SELECT * FROM chain_sends WHERE tenant = $1 AND key = $2")
        .bind(tenant)
        .bind(key)
        .fetch_optional(&mut **connection)
        .await?;
    match row {
        Some(row) => Ok(Some(whole(connection, &row).await?)),
        None => Ok(None),
    }
}

async fn open(
    connection: &mut Transaction,
    chain: &str,
    sender: [u8; 20],
) -> Result<Vec<StoredSend>, Error> {
    let rows = sqlx::query(
        "SELECT * FROM chain_sends WHERE chain = $1 AND sender = $2 \
         AND state IN ('pending', 'included') ORDER BY nonce",
    )
    .bind(chain)
    .bind(sender.as_slice())
    .fetch_all(&mut **connection)
    .await?;
    let mut sends = Vec::with_capacity(rows.len());
    for row in rows {
        sends.push(whole(connection, &row).await?);
    }
    Ok(sends)
}

/// A row with its attempts.
async fn whole(connection: &mut Transaction, row: &SqliteRow) -> Result<StoredSend, Error> {
    let send = NewSend {
        chain: row.text("chain")?,
        sender: row.array("sender")?,
        tenant: row.text("tenant")?,
        key: row.text("key")?,
        receiver: row.array("receiver")?,
        value: row.array("value")?,
        data: row.bytes("data")?,
        gas: row.number("gas")?,
        most_fee: row.array("most_fee")?,
        token: match row.maybe_bytes("token")? {
            Some(_) => Some((row.array("token")?, row.array("token_amount")?)),
            None => None,
        },
        brings: match row.maybe_bytes("payer")? {
            Some(_) => Some(Brought {
                payer: row.array("payer")?,
                invoice: row.array("invoice")?,
                is_sale: row.flag("sale")?,
            }),
            None => None,
        },
    };
    let nonce = row.number("nonce")?;
    let attempts = sqlx::query(
        "SELECT tx, raw, max_fee, max_priority, signed_us, gives_up FROM chain_attempts \
         WHERE chain = $1 AND sender = $2 AND nonce = $3 ORDER BY attempt",
    )
    .bind(send.chain.as_str())
    .bind(send.sender.as_slice())
    .bind(bigint("nonce", nonce)?)
    .fetch_all(&mut **connection)
    .await?
    .iter()
    .map(|row| {
        Ok(SendAttempt {
            tx: row.array("tx")?,
            raw: row.bytes("raw")?,
            max_fee: u128::from_be_bytes(row.array("max_fee")?),
            max_priority: u128::from_be_bytes(row.array("max_priority")?),
            signed_us: row.int("signed_us")?,
            gives_up: row.maybe_text("gives_up")?,
        })
    })
    .collect::<Result<Vec<_>, Error>>()?;
    let state = row.text("state")?;
    Ok(StoredSend {
        send,
        nonce,
        state: match state.as_str() {
            "pending" => SendState::Pending,
            "included" => SendState::Included(outcome(row)?),
            "final" => SendState::Final(outcome(row)?),
            "lost" => SendState::Lost,
            _ => return Err(Error::corrupt("state of a send", state)),
        },
        attempts,
        reserved_us: row.int("reserved_us")?,
    })
}

fn outcome(row: &SqliteRow) -> Result<SendOutcome, Error> {
    Ok(SendOutcome {
        tx: row.array("tx")?,
        block: BlockMark {
            number: row.number("block_number")?,
            hash: row.array("block_hash")?,
        },
        succeeded: row.flag("succeeded")?,
        fee: match row.maybe_bytes("fee")? {
            Some(_) => Some(row.array("fee")?),
            None => None,
        },
    })
}

async fn add(
    transaction: &mut Transaction,
    chain: &str,
    sender: [u8; 20],
    nonce: u64,
    number: u32,
    attempt: &SendAttempt,
) -> Result<(), Error> {
    if number >= MAX_SEND_ATTEMPTS {
        return Err(Error::invalid(
            "attempts",
            format!("a send has at most {MAX_SEND_ATTEMPTS}"),
        ));
    }
    let added = sqlx::query(
        "INSERT INTO chain_attempts \
         (chain, sender, nonce, attempt, tx, raw, max_fee, max_priority, signed_us, gives_up) \
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 WHERE EXISTS (SELECT 1 FROM chain_sends \
         WHERE chain = $1 AND sender = $2 AND nonce = $3 AND state IN ('pending', 'included')) \
         AND $4 = (SELECT COUNT(*) FROM chain_attempts \
         WHERE chain = $1 AND sender = $2 AND nonce = $3)",
    )
    .bind(chain)
    .bind(sender.as_slice())
    .bind(bigint("nonce", nonce)?)
    .bind(i64::from(number))
    .bind(attempt.tx.as_slice())
    .bind(attempt.raw.as_slice())
    .bind(attempt.max_fee.to_be_bytes().to_vec())
    .bind(attempt.max_priority.to_be_bytes().to_vec())
    .bind(attempt.signed_us)
    .bind(attempt.gives_up.as_deref().map(shortened))
    .execute(&mut **transaction)
    .await?
    .rows_affected();
    if added == 0 {
        return Err(Error::Conflict(format!(
            "nonce {nonce} of {chain} has another number of attempts than {number}, or is over"
        )));
    }
    Ok(())
}

/// At most as long as reasons are kept.
fn shortened(why: &str) -> &str {
    &why[..why.floor_char_boundary(MAX_GIVEN_UP)]
}

async fn set_state(
    transaction: &mut Transaction,
    chain: &str,
    sender: [u8; 20],
    nonce: u64,
    state: SendState,
) -> Result<(), Error> {
    let (name, outcome) = match state {
        SendState::Pending => ("pending", None),
        SendState::Included(outcome) => ("included", Some(outcome)),
        SendState::Final(outcome) => ("final", Some(outcome)),
        SendState::Lost => ("lost", None),
    };
    let number = outcome
        .map(|outcome| bigint("block", outcome.block.number))
        .transpose()?;
    // The follower may have gone back since that was seen, and would not come by here again.
    let set = sqlx::query(
        "UPDATE chain_sends SET state = $1, tx = $2, block_number = $3, block_hash = $4, \
         succeeded = $5, fee = $9 WHERE chain = $6 AND sender = $7 AND nonce = $8 \
         AND state IN ('pending', 'included') AND ($1 <> 'final' OR NOT (\
         EXISTS (SELECT 1 FROM chains c WHERE c.chain = $6 AND c.final_number < $3) \
         OR EXISTS (SELECT 1 FROM chain_blocks b WHERE b.chain = $6 AND b.number = $3 \
         AND b.hash <> $4)))",
    )
    .bind(name)
    .bind(outcome.map(|outcome| outcome.tx.to_vec()))
    .bind(number)
    .bind(outcome.map(|outcome| outcome.block.hash.to_vec()))
    .bind(outcome.map(|outcome| i64::from(outcome.succeeded)))
    .bind(chain)
    .bind(sender.as_slice())
    .bind(bigint("nonce", nonce)?)
    .bind(outcome.and_then(|outcome| Some(outcome.fee?.to_vec())))
    .execute(&mut **transaction)
    .await?
    .rows_affected();
    if set == 0 {
        return Err(Error::Conflict(format!(
            "nonce {nonce} of {chain} is over, was never taken, or is said to be final in a block that \
             is not, as far as the chain is followed"
        )));
    }
    Ok(())
}

/// A tenant's sends lose their owner where they are not over: a nonce that is taken and never used
/// would hold up all later ones of its account.
pub(super) async fn disown(connection: &mut SqliteConnection, tenant: &str) -> Result<(), Error> {
    sqlx::query(
        "DELETE FROM chain_attempts WHERE (chain, sender, nonce) IN (SELECT chain, sender, nonce \
         FROM chain_sends WHERE tenant = $1 AND state IN ('final', 'lost'))",
    )
    .bind(tenant)
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM chain_sends WHERE tenant = $1 AND state IN ('final', 'lost')")
        .bind(tenant)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "UPDATE chain_sends SET tenant = '', key = chain || ':' || hex(sender) || ':' || nonce, \
         payer = NULL, invoice = NULL, sale = NULL WHERE tenant = $1",
    )
    .bind(tenant)
    .execute(&mut *connection)
    .await?;
    Ok(())
}
