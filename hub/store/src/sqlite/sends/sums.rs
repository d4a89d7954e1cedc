//! What final sends have come to, summed up by hours and days: what counts within the span of a limit, which may
//! be a year, is not added up over all of its sends each time that somebody asks.
//!
//! A send counts once: as part of the sums of its hour and its day, where it is `summed`, or by itself. One that is
//! summed is final. Where a reorganisation takes such a one back after all, the sums of its day are let go with it,
//! and what is left of the day is summed up anew.

use std::collections::BTreeMap;

use sqlx::sqlite::SqliteRow;

use super::super::row::Columns as _;
use super::super::transaction::Transaction;
use super::amounts::add;
use crate::sends::Amount;
use crate::{Error, SpendLimit};

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;
/// Sends that are summed up at once, while others wait to write.
pub(super) const AT_ONCE: usize = 500;
pub(super) const NOTHING: Amount = [0; 32];

/// What is looked at of a send.
const COLUMNS: &str = "chain, sender, nonce, value, most_fee, token, token_amount, state, succeeded, fee, \
     reserved_us, COALESCE(sale, 0) AS sale, EXISTS \
     (SELECT 1 FROM chain_attempts AS attempt WHERE attempt.chain = chain_sends.chain \
     AND attempt.sender = chain_sends.sender AND attempt.nonce = chain_sends.nonce \
     AND attempt.tx = chain_sends.tx AND attempt.gives_up IS NOT NULL) AS given_up";

/// What is spent of a limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used {
    pub(super) all: Amount,
    /// What of it is of sends that are not final.
    pub(super) open: Amount,
    /// What of it is of sales.
    pub(super) sales: Amount,
    /// When the first of it was reserved.
    pub(super) first_us: Option<i64>,
    /// How many sends are final, and not summed up yet.
    pub(super) loose: usize,
}

/// What is spent of a limit as of then: what was reserved after the instant that its span goes back to.
pub(super) async fn used(
    transaction: &mut Transaction,
    limit: &SpendLimit,
    at_us: i64,
) -> Result<Used, Error> {
    let since_us = at_us.saturating_sub(i64::from(limit.window_s) * 1_000_000);
    // The hour and the day that it begins in are not whole in the span.
    let (hour_us, day_us) = (after(since_us, HOUR_US), after(since_us, DAY_US));
    let mut used = Used {
        all: NOTHING,
        open: NOTHING,
        sales: NOTHING,
        first_us: None,
        loose: 0,
    };
    let alone = format!(
        "SELECT {COLUMNS}, 1 AS loose FROM chain_sends INDEXED BY chain_sends_unsummed \
         WHERE tenant = $1 AND chain = $2 AND summed IS NULL AND state <> 'lost' AND reserved_us > $3 \
         UNION ALL SELECT {COLUMNS}, 0 AS loose FROM chain_sends INDEXED BY chain_sends_spent \
         WHERE tenant = $1 AND chain = $2 AND summed = 1 AND reserved_us > $3 AND reserved_us < $4"
    );
    let alone = sqlx::query(sqlx::AssertSqlSafe(alone))
        .bind(limit.tenant.as_str())
        .bind(limit.chain.as_str())
        .bind(since_us)
        .bind(hour_us)
        .fetch_all(&mut **transaction)
        .await?;
    for row in alone {
        let is_final = row.text("state")? == "final";
        used.loose += usize::from(is_final && row.flag("loose")?);
        let amount = came_to(&row, limit.asset)?;
        if amount == NOTHING {
            continue;
        }
        if !is_final {
            used.open = add(used.open, amount)?;
        }
        let sales = if row.flag("sale")? { amount } else { NOTHING };
        used.count(amount, sales, row.int("reserved_us")?)?;
    }
    let sums = sqlx::query(
        "SELECT used, sales, first_us FROM chain_spent \
         WHERE tenant = $1 AND chain = $2 AND asset = $3 AND ((span_us = $4 AND begins_us > $5) \
         OR (span_us = $6 AND begins_us > $5 AND begins_us < $7))",
    )
    .bind(limit.tenant.as_str())
    .bind(limit.chain.as_str())
    .bind(name(limit.asset))
    .bind(DAY_US)
    .bind(since_us)
    .bind(HOUR_US)
    .bind(day_us)
    .fetch_all(&mut **transaction)
    .await?;
    for row in sums {
        used.count(
            row.array("used")?,
            row.array("sales")?,
            row.int("first_us")?,
        )?;
    }
    Ok(used)
}

impl Used {
    fn count(&mut self, amount: Amount, sales: Amount, at_us: i64) -> Result<(), Error> {
        self.all = add(self.all, amount)?;
        self.sales = add(self.sales, sales)?;
        self.first_us = Some(self.first_us.map_or(at_us, |first| first.min(at_us)));
        Ok(())
    }
}

/// What a send counts as: until it is final the most that it may come to, then what it came to.
fn came_to(row: &SqliteRow, asset: Option<[u8; 20]>) -> Result<Amount, Error> {
    let is_final = row.text("state")? == "final";
    // What was reverted has moved nothing.
    let moved = !is_final || row.flag("succeeded")?;
    match asset {
        None => {
            let fee = match (is_final, row.maybe_bytes("fee")?) {
                (true, Some(_)) => row.array("fee")?,
                // An empty transaction costs next to nothing of what was ordered.
                (true, None) if row.flag("given_up")? => NOTHING,
                _ => row.array("most_fee")?,
            };
            match moved {
                true => add(fee, row.array("value")?),
                false => Ok(fee),
            }
        }
        Some(token) if row.maybe_bytes("token")?.as_deref() == Some(token.as_slice()) => {
            match moved {
                true => row.array("token_amount"),
                false => Ok(NOTHING),
            }
        }
        Some(_) => Ok(NOTHING),
    }
}

/// Sums up what is final and was not yet, the oldest first: at most [`AT_ONCE`].
pub(super) async fn sum_up(
    transaction: &mut Transaction,
    tenant: &str,
    chain: &str,
) -> Result<(), Error> {
    let wanted = format!(
        "SELECT {COLUMNS} FROM chain_sends INDEXED BY chain_sends_unsummed WHERE tenant = $1 AND chain = $2 \
         AND summed IS NULL AND state <> 'lost' AND state = 'final' ORDER BY reserved_us LIMIT $3"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(wanted))
        .bind(tenant)
        .bind(chain)
        .bind(i64::try_from(AT_ONCE).unwrap_or(i64::MAX))
        .fetch_all(&mut **transaction)
        .await?;
    let mut sums: BTreeMap<(Option<[u8; 20]>, i64, i64), Sum> = BTreeMap::new();
    for row in &rows {
        let token = match row.maybe_bytes("token")? {
            Some(_) => Some(row.array("token")?),
            None => None,
        };
        let at_us = row.int("reserved_us")?;
        for asset in [None].into_iter().chain(token.map(Some)) {
            let amount = came_to(row, asset)?;
            if amount == NOTHING {
                continue;
            }
            let sales = if row.flag("sale")? { amount } else { NOTHING };
            for span_us in [HOUR_US, DAY_US] {
                let begins_us = after(at_us, span_us).saturating_sub(span_us);
                let sum = sums.entry((asset, span_us, begins_us)).or_insert(Sum {
                    used: NOTHING,
                    sales: NOTHING,
                    first_us: at_us,
                });
                sum.add(amount, sales, at_us);
            }
        }
    }
    for ((asset, span_us, begins_us), sum) in sums {
        sum.add_to(transaction, (tenant, chain, asset), (span_us, begins_us))
            .await?;
    }
    for row in &rows {
        sqlx::query(
            "UPDATE chain_sends SET summed = 1 WHERE chain = $1 AND sender = $2 AND nonce = $3",
        )
        .bind(chain)
        .bind(row.bytes("sender")?)
        .bind(row.int("nonce")?)
        .execute(&mut **transaction)
        .await?;
    }
    Ok(())
}

/// What sends of an hour or a day have come to.
struct Sum {
    used: Amount,
    sales: Amount,
    first_us: i64,
}

impl Sum {
    fn add(&mut self, used: Amount, sales: Amount, first_us: i64) {
        // More than can be written is more than any limit.
        let sum = |a, b| add(a, b).unwrap_or([0xff; 32]);
        self.used = sum(self.used, used);
        self.sales = sum(self.sales, sales);
        self.first_us = self.first_us.min(first_us);
    }

    async fn add_to(
        mut self,
        transaction: &mut Transaction,
        (tenant, chain, asset): (&str, &str, Option<[u8; 20]>),
        (span_us, begins_us): (i64, i64),
    ) -> Result<(), Error> {
        let there = sqlx::query(
            "SELECT used, sales, first_us FROM chain_spent WHERE tenant = $1 AND chain = $2 AND asset = $3 \
             AND span_us = $4 AND begins_us = $5",
        )
        .bind(tenant)
        .bind(chain)
        .bind(name(asset))
        .bind(span_us)
        .bind(begins_us)
        .fetch_optional(&mut **transaction)
        .await?;
        if let Some(row) = there {
            self.add(
                row.array("used")?,
                row.array("sales")?,
                row.int("first_us")?,
            );
        }
        sqlx::query(
            "INSERT INTO chain_spent (tenant, chain, asset, span_us, begins_us, used, sales, first_us) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
             ON CONFLICT (tenant, chain, asset, span_us, begins_us) DO UPDATE \
             SET used = excluded.used, sales = excluded.sales, first_us = excluded.first_us",
        )
        .bind(tenant)
        .bind(chain)
        .bind(name(asset))
        .bind(span_us)
        .bind(begins_us)
        .bind(self.used.as_slice())
        .bind(self.sales.as_slice())
        .bind(self.first_us)
        .execute(&mut **transaction)
        .await?;
        Ok(())
    }
}

/// Lets go of the sums that have what was final above a block.
pub(super) async fn let_go_above(
    transaction: &mut Transaction,
    chain: &str,
    above: i64,
) -> Result<(), Error> {
    let days = sqlx::query(
        "SELECT DISTINCT tenant, reserved_us / $3 AS day FROM chain_sends \
         WHERE chain = $1 AND state = 'final' AND summed = 1 AND block_number > $2",
    )
    .bind(chain)
    .bind(above)
    .bind(DAY_US)
    .fetch_all(&mut **transaction)
    .await?;
    let_go(transaction, chain, &days).await
}

/// Lets go of the sums that have a send.
pub(super) async fn let_go_of(
    transaction: &mut Transaction,
    chain: &str,
    sender: [u8; 20],
    nonce: i64,
) -> Result<(), Error> {
    let days = sqlx::query(
        "SELECT tenant, reserved_us / $4 AS day FROM chain_sends \
         WHERE chain = $1 AND sender = $2 AND nonce = $3 AND summed = 1",
    )
    .bind(chain)
    .bind(sender.as_slice())
    .bind(nonce)
    .bind(DAY_US)
    .fetch_all(&mut **transaction)
    .await?;
    let_go(transaction, chain, &days).await
}

/// Lets go of the sums of tenants' days: what is in them counts by itself, until it is summed up again.
async fn let_go(
    transaction: &mut Transaction,
    chain: &str,
    days: &[SqliteRow],
) -> Result<(), Error> {
    for row in days {
        let (tenant, day) = (row.text("tenant")?, row.int("day")?);
        let begins_us = day.saturating_mul(DAY_US);
        let ends_us = begins_us.saturating_add(DAY_US);
        for change in [
            "DELETE FROM chain_spent \
             WHERE tenant = $1 AND chain = $2 AND begins_us >= $3 AND begins_us < $4",
            "UPDATE chain_sends SET summed = NULL \
             WHERE tenant = $1 AND chain = $2 AND summed = 1 AND reserved_us >= $3 AND reserved_us < $4",
        ] {
            sqlx::query(change)
                .bind(&tenant)
                .bind(chain)
                .bind(begins_us)
                .bind(ends_us)
                .execute(&mut **transaction)
                .await?;
        }
    }
    Ok(())
}

/// The first instant after this one at which a span begins.
fn after(at_us: i64, span_us: i64) -> i64 {
    let spans = at_us.div_euclid(span_us).saturating_add(1);
    spans.saturating_mul(span_us)
}

/// How an asset is written in a key.
pub(super) fn name(asset: Option<[u8; 20]>) -> Vec<u8> {
    asset.map_or_else(Vec::new, |token| token.to_vec())
}

#[cfg(test)]
mod tests;
