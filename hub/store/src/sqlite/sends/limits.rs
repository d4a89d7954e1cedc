//! What tenants may spend, in exact integers.

use sqlx::SqlitePool;

use super::super::row::Columns as _;
use super::super::transaction::Transaction;
use crate::sends::{Amount, Callable, MAX_LIMIT_WINDOW_S};
use crate::{Error, NewSend, SpendLimit};

const US: i64 = 1_000_000;

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
    .bind(asset(limit.asset))
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
        || "the native coin".to_owned(),
        |token| format!("token 0x{}", hex::encode(token)),
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
    let since = at_us.saturating_sub(i64::from(limit.window_s) * US);
    let rows = sqlx::query(
        "SELECT value, most_fee, token, token_amount FROM chain_sends \
         WHERE tenant = $1 AND chain = $2 AND reserved_us > $3 AND state <> 'lost' \
         AND NOT (state = 'final' AND EXISTS (SELECT 1 FROM chain_attempts AS attempt \
         WHERE attempt.chain = chain_sends.chain AND attempt.sender = chain_sends.sender \
         AND attempt.nonce = chain_sends.nonce AND attempt.tx = chain_sends.tx \
         AND attempt.gives_up IS NOT NULL))",
    )
    .bind(send.tenant.as_str())
    .bind(send.chain.as_str())
    .bind(since)
    .fetch_all(&mut **transaction)
    .await?;
    let mut spent = amount;
    for row in rows {
        match of {
            None => {
                spent = add(spent, row.array("value")?)?;
                spent = add(spent, row.array("most_fee")?)?;
            }
            Some(token) if row.maybe_bytes("token")?.as_deref() == Some(token.as_slice()) => {
                spent = add(spent, row.array("token_amount")?)?;
            }
            Some(_) => {}
        }
    }
    // Big-endian: the order of bytes is that of numbers.
    if spent > limit.most {
        return Err(Error::Conflict(format!(
            "tenant {:?} would spend 0x{} of {what} within {} s, and may spend 0x{}",
            send.tenant,
            short(spent),
            limit.window_s,
            short(limit.most)
        )));
    }
    Ok(())
}

fn asset(of: Option<[u8; 20]>) -> Vec<u8> {
    of.map_or_else(Vec::new, |token| token.to_vec())
}

/// Without zeros in front.
fn short(amount: Amount) -> String {
    let text = hex::encode(amount);
    let text = text.trim_start_matches('0');
    if text.is_empty() { "0" } else { text }.to_owned()
}

fn add(a: Amount, b: Amount) -> Result<Amount, Error> {
    let mut sum = [0; 32];
    let mut carry = 0_u16;
    for at in (0..32).rev() {
        let digit = u16::from(a[at]) + u16::from(b[at]) + carry;
        sum[at] = digit.to_be_bytes()[1];
        carry = digit >> 8;
    }
    if carry > 0 {
        return Err(Error::invalid("amount", "sums are beyond 256 bits"));
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_added_to_the_last_unit_and_never_wrap() {
        let of = |n: u128| {
            let mut amount = [0; 32];
            amount[16..].copy_from_slice(&n.to_be_bytes());
            amount
        };
        assert_eq!(add(of(255), of(1)).unwrap(), of(256));
        assert_eq!(add(of(u128::MAX - 7), of(7)).unwrap(), of(u128::MAX));
        assert!(add([0xff; 32], of(1)).is_err());
        assert!(of(256) > of(255));
        assert_eq!(short(of(0)), "0");
        assert_eq!(short(of(0x1f0)), "1f0");
    }
}
