//! What tenants may spend, in exact integers.

use sqlx::SqlitePool;

use super::super::row::Columns as _;
use super::super::transaction::Transaction;
use crate::sends::{Amount, Callable, MAX_LIMIT_WINDOW_S};
use crate::{Error, NewSend, SpendLimit, Spent};

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
    let used = used(transaction, &limit, at_us).await?.used;
    let spent = add(used, amount)?;
    // Big-endian: the order of bytes is that of numbers.
    if spent > limit.most {
        let decimals = if of.is_none() { COIN_DECIMALS } else { 0 };
        let [spent, most, used, amount] =
            [spent, limit.most, used, amount].map(|amount| decimal(amount, decimals));
        return Err(Error::Conflict(format!(
            "tenant {:?} would spend {spent} {what} on {} within {} s, and may spend {most}: {used} count as \
             spent, and this counts as {amount} until it is final",
            send.tenant, send.chain, limit.window_s
        )));
    }
    Ok(())
}

/// A tenant's limits, and what is spent of each.
pub(super) async fn spent(
    transaction: &mut Transaction,
    tenant: &str,
    at_us: i64,
) -> Result<Vec<Spent>, Error> {
    let mut all = Vec::new();
    for limit in of(transaction, tenant).await? {
        let used = used(transaction, &limit, at_us).await?;
        let window_us = i64::from(limit.window_s) * US;
        all.push(Spent {
            limit,
            used: used.used,
            open: used.open,
            frees_us: used.first_us.map(|at_us| at_us.saturating_add(window_us)),
        });
    }
    Ok(all)
}

/// What is spent of a limit.
struct Used {
    used: Amount,
    open: Amount,
    /// When the first of it was reserved.
    first_us: Option<i64>,
}

async fn used(
    transaction: &mut Transaction,
    limit: &SpendLimit,
    at_us: i64,
) -> Result<Used, Error> {
    let since = at_us.saturating_sub(i64::from(limit.window_s) * US);
    let rows = sqlx::query(
        "SELECT value, most_fee, token, token_amount, state, succeeded, fee, reserved_us, EXISTS \
         (SELECT 1 FROM chain_attempts AS attempt WHERE attempt.chain = chain_sends.chain \
         AND attempt.sender = chain_sends.sender AND attempt.nonce = chain_sends.nonce \
         AND attempt.tx = chain_sends.tx AND attempt.gives_up IS NOT NULL) AS given_up \
         FROM chain_sends \
         WHERE tenant = $1 AND chain = $2 AND reserved_us > $3 AND state <> 'lost'",
    )
    .bind(limit.tenant.as_str())
    .bind(limit.chain.as_str())
    .bind(since)
    .fetch_all(&mut **transaction)
    .await?;
    let nothing = [0; 32];
    let mut all = Used {
        used: nothing,
        open: nothing,
        first_us: None,
    };
    for row in rows {
        let is_final = row.text("state")? == "final";
        // What was reverted has moved nothing.
        let moved = !is_final || row.flag("succeeded")?;
        let amount = match limit.asset {
            None => {
                let fee = match (is_final, row.maybe_bytes("fee")?) {
                    (true, Some(_)) => row.array("fee")?,
                    // An empty transaction costs next to nothing of what was ordered.
                    (true, None) if row.flag("given_up")? => nothing,
                    _ => row.array("most_fee")?,
                };
                match moved {
                    true => add(fee, row.array("value")?)?,
                    false => fee,
                }
            }
            Some(token) if row.maybe_bytes("token")?.as_deref() == Some(token.as_slice()) => {
                match moved {
                    true => row.array("token_amount")?,
                    false => nothing,
                }
            }
            Some(_) => nothing,
        };
        if amount == nothing {
            continue;
        }
        all.used = add(all.used, amount)?;
        if !is_final {
            all.open = add(all.open, amount)?;
        }
        let at_us = row.int("reserved_us")?;
        all.first_us = Some(all.first_us.map_or(at_us, |first| first.min(at_us)));
    }
    Ok(all)
}

fn asset(of: Option<[u8; 20]>) -> Vec<u8> {
    of.map_or_else(Vec::new, |token| token.to_vec())
}

/// As people write it: decimal digits, so many of them behind the point and none that says nothing.
fn decimal(amount: Amount, decimals: usize) -> String {
    let mut digits = Vec::new();
    let mut rest = amount;
    while rest != [0; 32] {
        let mut carry = 0_u16;
        for byte in &mut rest {
            let part = (carry << 8) | u16::from(*byte);
            // Below 256, as what is carried is below ten.
            *byte = (part / 10).to_be_bytes()[1];
            carry = part % 10;
        }
        digits.push(char::from(b'0' + carry.to_be_bytes()[1]));
    }
    while digits.len() <= decimals {
        digits.push('0');
    }
    let behind: String = digits[..decimals].iter().rev().collect();
    let whole: String = digits[decimals..].iter().rev().collect();
    match behind.trim_end_matches('0') {
        "" => whole,
        behind => format!("{whole}.{behind}"),
    }
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
    }

    #[test]
    fn amounts_are_told_in_the_coin() {
        let of = |n: u128| {
            let mut amount = [0; 32];
            amount[16..].copy_from_slice(&n.to_be_bytes());
            amount
        };
        assert_eq!(decimal(of(0), 18), "0");
        assert_eq!(decimal(of(1), 18), "0.000000000000000001");
        assert_eq!(decimal(of(125_000_000_000_000_000), 18), "0.125");
        assert_eq!(decimal(of(20_000_000_000_000_000_000), 18), "20");
        assert_eq!(decimal(of(1_250), 0), "1250");
        let most =
            "115792089237316195423570985008687907853269984665640564039457.584007913129639935";
        assert_eq!(decimal([0xff; 32], 18), most);
    }
}
