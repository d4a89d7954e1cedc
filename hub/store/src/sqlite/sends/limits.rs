//! What tenants may spend, in exact integers.

use std::collections::BTreeSet;

use sqlx::SqlitePool;

use super::super::row::Columns as _;
use super::super::transaction::Transaction;
use super::amounts::{add, decimal, half};
use super::sums::{self, AT_ONCE, Used, name, used};
use crate::sends::{Amount, Callable, MAX_LIMIT_WINDOW_S};
use crate::{Error, NewSend, SalesShare, SpendLimit, Spent};

const US: i64 = 1_000_000;
/// Of the coin of each chain that is spoken to by Ethereum's JSON-RPC.
const COIN_DECIMALS: usize = 18;

pub(super) async fn set(transaction: &mut Transaction, limit: &SpendLimit) -> Result<(), Error> {
    if !(1..=MAX_LIMIT_WINDOW_S).contains(&limit.window_s) {
        return Err(Error::invalid(
            "window",
            format!("{} s; 1 to {MAX_LIMIT_WINDOW_S} is right", limit.window_s),
        ));
    }
    known_tenant(transaction, &limit.tenant).await?;
    known_chain(transaction, &limit.chain).await?;
    sqlx::query(
        "INSERT INTO chain_limits (tenant, chain, asset, window_s, most) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (tenant, chain, asset) \
         DO UPDATE SET window_s = excluded.window_s, most = excluded.most",
    )
    .bind(limit.tenant.as_str())
    .bind(limit.chain.as_str())
    .bind(name(limit.asset))
    .bind(i64::from(limit.window_s))
    .bind(limit.most.as_slice())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

async fn known_tenant(transaction: &mut Transaction, tenant: &str) -> Result<(), Error> {
    sqlx::query("SELECT 1 FROM tenants WHERE tenant = $1")
        .bind(tenant)
        .fetch_optional(&mut **transaction)
        .await?
        .map(drop)
        .ok_or_else(|| Error::not_found("tenant", tenant))
}

/// A chain is known from when its follower first reached it.
async fn known_chain(transaction: &mut Transaction, chain: &str) -> Result<(), Error> {
    sqlx::query("SELECT 1 FROM chains WHERE chain = $1")
        .bind(chain)
        .fetch_optional(&mut **transaction)
        .await?
        .map(drop)
        .ok_or_else(|| Error::not_found("chain", chain))
}

/// Sets what a tenant's workflows may call.
pub(super) async fn set_callable(
    transaction: &mut Transaction,
    tenant: &str,
    callable: &[Callable],
) -> Result<(), Error> {
    known_tenant(transaction, tenant).await?;
    sqlx::query("DELETE FROM chain_callable WHERE tenant = $1")
        .bind(tenant)
        .execute(&mut **transaction)
        .await?;
    for (chain, address) in callable {
        known_chain(transaction, chain).await?;
        sqlx::query(
            "INSERT INTO chain_callable (tenant, chain, address) VALUES ($1, $2, $3) \
             ON CONFLICT DO NOTHING",
        )
        .bind(tenant)
        .bind(chain.as_str())
        .bind(address.as_slice())
        .execute(&mut **transaction)
        .await?;
    }
    Ok(())
}

/// What a tenant's workflows may call.
pub(super) async fn callable(readers: &SqlitePool, tenant: &str) -> Result<Vec<Callable>, Error> {
    let rows = sqlx::query(
        "SELECT chain, address FROM chain_callable WHERE tenant = $1 ORDER BY chain, address",
    )
    .bind(tenant)
    .fetch_all(readers)
    .await?;
    rows.iter()
        .map(|row| Ok((row.text("chain")?, row.array("address")?)))
        .collect()
}

pub(super) async fn of(
    connection: &mut Transaction,
    tenant: &str,
) -> Result<Vec<SpendLimit>, Error> {
    sqlx::query("SELECT * FROM chain_limits WHERE tenant = $1 ORDER BY chain, asset")
        .bind(tenant)
        .fetch_all(&mut **connection)
        .await?
        .iter()
        .map(|row| {
            let asset = row.bytes("asset")?;
            Ok(SpendLimit {
                tenant: row.text("tenant")?,
                chain: row.text("chain")?,
                asset: if asset.is_empty() {
                    None
                } else {
                    Some(row.array("asset")?)
                },
                window_s: row.number("window_s")?,
                most: row.array("most")?,
            })
        })
        .collect()
}

/// Whether the tenant may spend what the send asks for, besides what it has spent.
pub(super) async fn check(
    transaction: &mut Transaction,
    send: &NewSend,
    at_us: i64,
) -> Result<(), Error> {
    // Before each order, so that little is left for who only asks what is spent.
    sums::sum_up(transaction, &send.tenant, &send.chain).await?;
    let native = add(send.value, send.most_fee)?;
    within(transaction, send, None, native, at_us).await?;
    if let Some((token, amount)) = send.token {
        within(transaction, send, Some(token), amount, at_us).await?;
    }
    Ok(())
}

async fn within(
    transaction: &mut Transaction,
    send: &NewSend,
    of: Option<[u8; 20]>,
    amount: Amount,
    at_us: i64,
) -> Result<(), Error> {
    let what = of.map_or_else(
        || "the chain's coin".to_owned(),
        |token| format!("base units of token 0x{}", hex::encode(token)),
    );
    let limits = self::of(transaction, &send.tenant).await?;
    let limit = limits
        .into_iter()
        .find(|limit| limit.chain == send.chain && limit.asset == of)
        .ok_or_else(|| {
            Error::Conflict(format!(
                "tenant {:?} may spend nothing of {what} on {}: no limit is set",
                send.tenant, send.chain
            ))
        })?;
    let used = used(transaction, &limit, at_us).await?;
    let spent = add(used.all, amount)?;
    let decimals = if of.is_none() { COIN_DECIMALS } else { 0 };
    let shown = |amount| decimal(amount, decimals);
    // Big-endian: the order of bytes is that of numbers.
    if spent > limit.most {
        let [spent, most, used, amount] = [spent, limit.most, used.all, amount].map(shown);
        return Err(Error::Conflict(format!(
            "tenant {:?} would spend {spent} {what} on {} within {} s, and may spend {most}: {used} count as \
             spent, and this counts as {amount} until it is final",
            send.tenant, send.chain, limit.window_s
        )));
    }
    let is_sale = send.brings.is_some_and(|brings| brings.is_sale);
    if is_sale && let Some(share) = share(transaction, &limit, &used).await? {
        let spent = add(share.used, amount)?;
        if spent > share.most {
            let [spent, most, used, amount] = [spent, share.most, share.used, amount].map(shown);
            return Err(Error::Conflict(format!(
                "sales (x402) of tenant {:?} would spend {spent} {what} on {} within {} s, and may spend {most}, \
                 a half of the limit, as the tenant is paid by invoices there: {used} count as spent, and this \
                 counts as {amount} until it is final",
                send.tenant, send.chain, limit.window_s
            )));
        }
    }
    Ok(())
}

/// What sales have of a limit; `None`: all of it. The coin alone is spent by what strangers sign, and a tenant that
/// makes no invoices to be paid on the chain has nothing to keep.
async fn share(
    connection: &mut Transaction,
    limit: &SpendLimit,
    used: &Used,
) -> Result<Option<SalesShare>, Error> {
    if limit.asset.is_some() {
        return Ok(None);
    }
    let row = sqlx::query(
        "SELECT EXISTS (SELECT 1 FROM payment_payees AS payee JOIN chains AS chain \
         ON chain.chain_id = payee.chain WHERE payee.tenant = $1 AND chain.chain = $2) AS invoices",
    )
    .bind(limit.tenant.as_str())
    .bind(limit.chain.as_str())
    .fetch_one(&mut **connection)
    .await?;
    Ok(row.flag("invoices")?.then(|| SalesShare {
        most: half(limit.most),
        used: used.sales,
    }))
}

/// A tenant's limits, and what is spent of each; and the chains on which so much is not summed up that asking takes
/// long.
pub(super) async fn spent(
    transaction: &mut Transaction,
    tenant: &str,
    at_us: i64,
) -> Result<(Vec<Spent>, BTreeSet<String>), Error> {
    let (mut all, mut loose) = (Vec::new(), BTreeSet::new());
    for limit in of(transaction, tenant).await? {
        let used = used(transaction, &limit, at_us).await?;
        let window_us = i64::from(limit.window_s) * US;
        let sales = share(transaction, &limit, &used).await?;
        if used.loose > AT_ONCE {
            loose.insert(limit.chain.clone());
        }
        all.push(Spent {
            limit,
            used: used.all,
            open: used.open,
            frees_us: used.first_us.map(|at_us| at_us.saturating_add(window_us)),
            sales,
        });
    }
    Ok((all, loose))
}
