//! Roles of wallets, their nonces and sessions, and what they have paid.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use stencil_protocol::id::{CommandId, TenantId};

use super::failure::of_tenant;
use super::row::Columns as _;
use super::transaction::Transaction;
use super::users::role;
use super::{Sqlite, pair};
use crate::page::clamp;
use crate::wallets::{
    Granted, MAX_WALLET_NAME, MAX_WALLET_ROLES, MAX_WALLETS, NewNonce, PaidInvoice, Wallet,
    WalletKey, WalletOwner, WalletSession, Wallets,
};
use crate::{Ended, Error, Page, PayerKey, Role, Secret};

mod nonces;
mod sessions;

const COLUMNS: &str = "address, role, chain, name, created_us, signed_in_us";

#[async_trait]
impl Wallets for Sqlite {
    async fn grant_wallet(
        &self,
        tenant: &TenantId,
        wallet: &WalletKey,
        role: Role,
        chain: Option<u64>,
        name: Option<&str>,
        now_us: i64,
    ) -> Result<Granted, Error> {
        if let Some(name) = name {
            check_name(name)?;
        }
        let wanted = (role, chain, name);
        let mut transaction = self.write().await?;
        let granted = grant(&mut transaction, tenant, wallet, wanted, now_us).await;
        transaction.end(granted).await
    }

    async fn revoke_wallet(
        &self,
        tenant: &TenantId,
        wallet: &WalletKey,
    ) -> Result<Option<Ended>, Error> {
        let mut transaction = self.write().await?;
        let revoked = async {
            let gone = sqlx::query("DELETE FROM wallets WHERE tenant = $1 AND address = $2")
                .bind(tenant.as_str())
                .bind(wallet.to_vec())
                .execute(&mut *transaction)
                .await?;
            if gone.rows_affected() == 0 {
                return Ok(None);
            }
            end_all(&mut transaction, tenant, wallet).await.map(Some)
        }
        .await;
        transaction.end(revoked).await
    }

    async fn wallets(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Wallet>, Error> {
        let after = match after {
            Some(text) => {
                hex::decode(text).map_err(|_| Error::invalid("cursor", format!("{text:?}")))?
            }
            None => Vec::new(),
        };
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM wallets WHERE tenant = $1 AND address > $2 \
             ORDER BY address LIMIT $3"
        )))
        .bind(tenant.as_str())
        .bind(after)
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let wallets = rows.iter().map(stored).collect::<Result<_, _>>()?;
        Ok(Page::cut(wallets, limit, |wallet: &Wallet| {
            hex::encode(wallet.address)
        }))
    }

    async fn wallet(&self, tenant: &TenantId, wallet: &WalletKey) -> Result<Option<Wallet>, Error> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM wallets WHERE tenant = $1 AND address = $2"
        )))
        .bind(tenant.as_str())
        .bind(wallet.to_vec())
        .fetch_optional(self.readers())
        .await?;
        row.as_ref().map(stored).transpose()
    }

    async fn roles_of_wallet(
        &self,
        wallet: &WalletKey,
        chain: Option<u64>,
    ) -> Result<Vec<(TenantId, Role)>, Error> {
        let rows = sqlx::query(
            "SELECT tenant, role FROM wallets WHERE address = $1 AND ($3 IS NULL OR chain = $3) \
             ORDER BY tenant LIMIT $2",
        )
        .bind(wallet.to_vec())
        .bind(i64::from(MAX_WALLET_ROLES))
        .bind(id(chain)?)
        .fetch_all(self.readers())
        .await?;
        rows.iter()
            .map(|row| Ok((row.parsed("tenant")?, role(row.text("role")?)?)))
            .collect()
    }

    async fn give_nonce(&self, nonce: &NewNonce<'_>) -> Result<Option<i64>, Error> {
        let mut transaction = self.write().await?;
        let given = nonces::give(&mut transaction, nonce).await;
        transaction.end(given).await
    }

    async fn use_nonce(&self, nonce: &str, now_us: i64) -> Result<Option<(String, i64)>, Error> {
        let mut transaction = self.write().await?;
        let used = nonces::take(&mut transaction, nonce, now_us).await;
        transaction.end(used).await
    }

    async fn open_wallet_session(
        &self,
        wallet: &WalletKey,
        chain: Option<u64>,
        network: Option<&str>,
        expires_us: i64,
        now_us: i64,
    ) -> Result<(WalletSession, Secret), Error> {
        let proven = (wallet, id(chain)?);
        sessions::open(self, proven, network, expires_us, now_us).await
    }

    async fn verify_wallet_session(
        &self,
        secret: &str,
        idle_us: i64,
        now_us: i64,
    ) -> Result<Option<WalletOwner>, Error> {
        sessions::verify(self, secret, idle_us, now_us).await
    }

    async fn end_wallet_session(&self, session: &str) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let ended = sqlx::query("DELETE FROM wallet_sessions WHERE session = $1")
            .bind(session)
            .execute(&mut *transaction)
            .await
            .map(|done| done.rows_affected() == 1)
            .map_err(Error::from);
        transaction.end(ended).await
    }

    async fn forget_expired_wallets(&self, idle_us: i64, now_us: i64) -> Result<u64, Error> {
        let mut transaction = self.write().await?;
        let forgotten = async {
            let nonces = sqlx::query("DELETE FROM wallet_nonces WHERE expires_us <= $1")
                .bind(now_us)
                .execute(&mut *transaction)
                .await?;
            let sessions =
                sqlx::query("DELETE FROM wallet_sessions WHERE expires_us <= $1 OR seen_us <= $2")
                    .bind(now_us)
                    .bind(now_us.saturating_sub(idle_us))
                    .execute(&mut *transaction)
                    .await?;
            Ok(nonces.rows_affected() + sessions.rows_affected())
        }
        .await;
        transaction.end(forgotten).await
    }

    async fn paid_by(
        &self,
        payer: &PayerKey,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<PaidInvoice>, Error> {
        let (created_us, id) = match pair::<i64, CommandId>(after)? {
            Some((created_us, id)) => (created_us, id.0.to_vec()),
            // Longer than any id, and so behind all of them.
            None => (i64::MAX, vec![0xff; 17]),
        };
        let rows = sqlx::query(
            "SELECT payers.tenant, payers.invoice, payers.created_us, purchases.offer FROM payers \
             LEFT JOIN purchases ON purchases.tenant = payers.tenant \
             AND purchases.purchase = payers.invoice \
             WHERE payers.payer = $1 AND (payers.created_us, payers.invoice) < ($2, $3) \
             ORDER BY payers.created_us DESC, payers.invoice DESC LIMIT $4",
        )
        .bind(payer.to_vec())
        .bind(created_us)
        .bind(id)
        .bind(i64::from(clamp(limit)) + 1)
        .fetch_all(self.readers())
        .await?;
        let paid = rows
            .iter()
            .map(|row| {
                Ok(PaidInvoice {
                    tenant: row.parsed("tenant")?,
                    invoice: row.array("invoice")?,
                    created_us: row.int("created_us")?,
                    offer: row.maybe_text("offer")?,
                })
            })
            .collect::<Result<_, Error>>()?;
        Ok(Page::cut(paid, limit, |paid: &PaidInvoice| {
            format!("{}:{}", paid.created_us, hex::encode(paid.invoice))
        }))
    }
}

/// Notes who has paid an invoice, or has signed a payment of it.
pub(super) async fn note_payer(
    connection: &mut sqlx::SqliteConnection,
    payer: &PayerKey,
    tenant: &TenantId,
    invoice: &crate::InvoiceKey,
    created_us: i64,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO payers (payer, tenant, invoice, created_us) VALUES ($1, $2, $3, $4) \
         ON CONFLICT DO NOTHING",
    )
    .bind(payer.to_vec())
    .bind(tenant.as_str())
    .bind(invoice.to_vec())
    .bind(created_us)
    .execute(connection)
    .await?;
    Ok(())
}

async fn grant(
    transaction: &mut Transaction,
    tenant: &TenantId,
    wallet: &WalletKey,
    (role, chain, name): (Role, Option<u64>, Option<&str>),
    now_us: i64,
) -> Result<Granted, Error> {
    let before = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM wallets WHERE tenant = $1 AND address = $2"
    )))
    .bind(tenant.as_str())
    .bind(wallet.to_vec())
    .fetch_optional(&mut **transaction)
    .await?;
    if let Some(row) = before {
        let before = stored(&row)?;
        let name = name.map(str::to_owned).or_else(|| before.name.clone());
        let chain = chain.or(before.chain);
        sqlx::query(
            "UPDATE wallets SET role = $3, name = $4, chain = $5 WHERE tenant = $1 AND address = $2",
        )
        .bind(tenant.as_str())
        .bind(wallet.to_vec())
        .bind(role.as_str())
        .bind(name.as_deref())
        .bind(id(chain)?)
        .execute(&mut **transaction)
        .await?;
        let ended = match (before.role, before.chain) == (role, chain) {
            true => Ended::new(),
            false => end_all(transaction, tenant, wallet).await?,
        };
        return Ok(Granted {
            wallet: Wallet {
                role,
                chain,
                name,
                ..before
            },
            is_new: false,
            ended,
        });
    }
    let made = sqlx::query(
        "INSERT INTO wallets (tenant, address, role, name, created_us, chain) \
         SELECT $1, $2, $3, $4, $5, $7 WHERE (SELECT COUNT(*) FROM wallets WHERE tenant = $1) < $6",
    )
    .bind(tenant.as_str())
    .bind(wallet.to_vec())
    .bind(role.as_str())
    .bind(name)
    .bind(now_us)
    .bind(i64::from(MAX_WALLETS))
    .bind(id(chain)?)
    .execute(&mut **transaction)
    .await
    .map_err(|error| of_tenant(error, tenant.as_str()))?;
    if made.rows_affected() == 0 {
        return Err(Error::Conflict(format!(
            "tenant {tenant} has {MAX_WALLETS} wallets, which is the limit; take a role back first"
        )));
    }
    Ok(Granted {
        wallet: Wallet {
            address: *wallet,
            role,
            chain,
            name: name.map(str::to_owned),
            created_us: now_us,
            signed_in_us: None,
        },
        is_new: true,
        ended: Ended::new(),
    })
}

async fn end_all(
    transaction: &mut Transaction,
    tenant: &TenantId,
    wallet: &WalletKey,
) -> Result<Ended, Error> {
    let rows =
        sqlx::query("DELETE FROM sessions WHERE tenant = $1 AND wallet = $2 RETURNING session")
            .bind(tenant.as_str())
            .bind(wallet.to_vec())
            .fetch_all(&mut **transaction)
            .await?;
    rows.iter().map(|row| row.text("session")).collect()
}

/// A chain's id as it is kept.
fn id(chain: Option<u64>) -> Result<Option<i64>, Error> {
    let id = chain.map(i64::try_from).transpose();
    id.map_err(|_| Error::invalid("chain id", format!("at most {} is right", i64::MAX)))
}

fn check_name(name: &str) -> Result<(), Error> {
    let characters = name.chars().count();
    if (1..=MAX_WALLET_NAME).contains(&characters)
        && !name.chars().any(char::is_control)
        && !name.trim().is_empty()
    {
        return Ok(());
    }
    let why = format!("1 to {MAX_WALLET_NAME} characters in one line are right");
    Err(Error::invalid("wallet's name", why))
}

fn stored(row: &SqliteRow) -> Result<Wallet, Error> {
    Ok(Wallet {
        address: row.array("address")?,
        role: role(row.text("role")?)?,
        chain: row.maybe_number("chain")?,
        name: row.maybe_text("name")?,
        created_us: row.int("created_us")?,
        signed_in_us: row.maybe_int("signed_in_us")?,
    })
}
