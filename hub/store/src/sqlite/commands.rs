//! Commands and their states.

use async_trait::async_trait;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use stencil_protocol::command::{Command, State};
use stencil_protocol::id::{CommandId, DeviceId, GatewayId, TenantId};

use super::content::write::check_effect_key;
use super::ownership::held_key;
use super::row::Columns as _;
use super::{Sqlite, access, audit, pair, runs};
use crate::page::clamp;
use crate::series::value;
use crate::{
    AfterCommand, ByToken, CommandStatus, Commands, CutShort, Error, Given, MAX_HELD_COMMANDS,
    Marked, NewAudit, NewCommand, Outstanding, Page, PayerKey, Queued, RanOut, StoredCommand,
};

/// What `commands.gateway` holds when several gateways have got a command.
const SEVERAL: &str = "*";
const LATE: &str = "no gateway could take it in time";
const UNKNOWN: &str = "the device took it, and knows it no more: whether it did it is not known";

/// What a status did.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Applied {
    pub(super) changed: bool,
    /// Runs that waited for the command.
    pub(super) woken: u64,
}

#[async_trait]
impl Commands for Sqlite {
    async fn queue(&self, command: &NewCommand, now_us: i64) -> Result<bool, Error> {
        check(command)?;
        let mut transaction = self.write().await?;
        let queued = async {
            let is_new = queue(&mut transaction, command, now_us).await?;
            if is_new {
                refuse_revoked(&mut transaction, command).await?;
            }
            Ok(is_new)
        }
        .await;
        transaction.end(queued).await
    }

    async fn queue_held(
        &self,
        command: &NewCommand,
        by: &ByToken,
        entry: &NewAudit,
        keep: u32,
        now_us: i64,
    ) -> Result<Queued, Error> {
        check(command)?;
        let mut transaction = self.write().await?;
        let queued = queue_held(&mut transaction, command, by, (entry, keep), now_us).await;
        transaction.end(queued).await
    }

    async fn outstanding(
        &self,
        tenant: &TenantId,
        gateway: &GatewayId,
        now_us: i64,
        after: Option<AfterCommand>,
        limit: u32,
    ) -> Result<Vec<StoredCommand>, Error> {
        let (queued_us, command) = after.unwrap_or((i64::MIN, CommandId([0; 16])));
        let rows = sqlx::query(
            "SELECT c.command, c.device, c.name, c.argument, c.expires_us, c.state, c.detail, \
             c.reason, c.effect_key, c.queued_us, c.changed_us, c.overdue_us FROM commands AS c \
             JOIN devices AS d ON d.tenant = c.tenant AND d.device = c.device \
             WHERE d.tenant = $1 AND d.gateway = $2 \
             AND c.state IN ('queued', 'sent', 'acknowledged') \
             AND ((c.state <> 'acknowledged' AND c.expires_us > $3) \
             OR (c.state <> 'queued' AND c.expires_us <= $3 AND d.connected = 1)) \
             AND (c.queued_us, c.command) > ($5, $6) \
             ORDER BY c.queued_us, c.command LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(gateway.as_str())
        .bind(now_us)
        .bind(i64::from(clamp(limit)))
        .bind(queued_us)
        .bind(command.0.to_vec())
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(stored).collect()
    }

    async fn queued(
        &self,
        now_us: i64,
        after: Option<AfterCommand>,
        limit: u32,
    ) -> Result<Vec<Outstanding>, Error> {
        let (queued_us, command) = after.unwrap_or((i64::MIN, CommandId([0; 16])));
        let rows = sqlx::query(
            "SELECT c.tenant, d.gateway, c.command, c.device, c.name, c.argument, c.expires_us, \
             c.state, c.detail, c.reason, c.effect_key, c.queued_us, c.changed_us, c.overdue_us \
             FROM commands AS c \
             LEFT JOIN devices AS d ON d.tenant = c.tenant AND d.device = c.device \
             WHERE c.state = 'queued' AND c.expires_us > $1 \
             AND (c.queued_us, c.command) > ($3, $4) \
             ORDER BY c.queued_us, c.command LIMIT $2",
        )
        .bind(now_us)
        .bind(i64::from(clamp(limit)))
        .bind(queued_us)
        .bind(command.0.to_vec())
        .fetch_all(self.readers())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Outstanding {
                    tenant: row.parsed("tenant")?,
                    gateway: row.maybe_parsed("gateway")?,
                    command: stored(row)?,
                })
            })
            .collect()
    }

    async fn mark_sent(
        &self,
        tenant: &TenantId,
        command: &CommandId,
        gateway: &GatewayId,
        now_us: i64,
    ) -> Result<Marked, Error> {
        let mut transaction = self.write().await?;
        let marked = mark_sent(&mut transaction, tenant, command, gateway, now_us).await;
        transaction.end(marked).await
    }

    async fn status(&self, status: &CommandStatus) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let applied = apply(&mut transaction, status).await;
        Ok(transaction.end(applied).await?.changed)
    }

    async fn expire(&self, now_us: i64, limit: u32) -> Result<Vec<RanOut>, Error> {
        let mut transaction = self.write().await?;
        let expired = expire(&mut transaction, now_us, limit).await;
        transaction.end(expired).await
    }

    async fn get(
        &self,
        tenant: &TenantId,
        command: &CommandId,
    ) -> Result<Option<StoredCommand>, Error> {
        let row = sqlx::query(
            "SELECT command, device, name, argument, expires_us, state, detail, reason, effect_key, \
             queued_us, changed_us, overdue_us FROM commands WHERE tenant = $1 AND command = $2",
        )
        .bind(tenant.as_str())
        .bind(command.0.to_vec())
        .fetch_optional(self.readers())
        .await?;
        row.as_ref().map(stored).transpose()
    }

    async fn held_command(
        &self,
        tenant: &TenantId,
        account: &PayerKey,
        command: &CommandId,
    ) -> Result<Option<StoredCommand>, Error> {
        let row = sqlx::query(
            "SELECT command, device, name, argument, expires_us, state, detail, reason, effect_key, \
             queued_us, changed_us, overdue_us FROM commands \
             WHERE tenant = $1 AND command = $2 AND account = $3",
        )
        .bind(tenant.as_str())
        .bind(command.0.to_vec())
        .bind(account.to_vec())
        .fetch_optional(self.readers())
        .await?;
        row.as_ref().map(stored).transpose()
    }

    async fn list(
        &self,
        tenant: &TenantId,
        device: Option<&DeviceId>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<StoredCommand>, Error> {
        const OF_ALL: &str = "SELECT command, device, name, argument, expires_us, state, detail, \
             reason, effect_key, queued_us, changed_us, overdue_us FROM commands \
             WHERE tenant = $1 AND (queued_us, command) < ($2, $3) \
             ORDER BY queued_us DESC, command DESC LIMIT $4";
        const OF_DEVICE: &str = "SELECT command, device, name, argument, expires_us, state, \
             detail, reason, effect_key, queued_us, changed_us, overdue_us FROM commands \
             WHERE tenant = $1 AND (queued_us, command) < ($2, $3) AND device = $5 \
             ORDER BY queued_us DESC, command DESC LIMIT $4";
        let (queued_us, command) = pair(after)?.unwrap_or((i64::MAX, CommandId([0xff; 16])));
        let mut query = sqlx::query(if device.is_some() { OF_DEVICE } else { OF_ALL })
            .bind(tenant.as_str())
            .bind(queued_us)
            .bind(command.0.to_vec())
            .bind(i64::from(clamp(limit)) + 1);
        if let Some(device) = device {
            query = query.bind(device.as_str());
        }
        let rows = query.fetch_all(self.readers()).await?;
        let commands = rows.iter().map(stored).collect::<Result<_, _>>()?;
        Ok(Page::cut(commands, limit, |command: &StoredCommand| {
            format!("{}:{}", command.queued_us, command.id)
        }))
    }
}

/// Applies a status to its command, if the command's state allows it.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    status: &CommandStatus,
) -> Result<Applied, Error> {
    let (tenant, command) = (&status.tenant, &status.command);
    let Some(state) = state_of(connection, tenant, command).await? else {
        // A gateway may have given it by itself, to a holder of a right.
        return Ok(Applied {
            changed: access::said(connection, tenant, command, status.state).await?,
            woken: 0,
        });
    };
    if !state.can_become(status.state)
        || !may_say(connection, status, state == State::Acknowledged).await?
    {
        return Ok(Applied::default());
    }
    // Who was asked and does not know a command any more that it took has forgotten it.
    let (state, detail) = match (state, status.state) {
        (State::Acknowledged, State::Expired) => (State::Failed, Some(UNKNOWN)),
        (_, state) => (state, status.detail.as_deref()),
    };
    sqlx::query(
        "UPDATE commands SET state = $1, detail = $2, changed_us = $3 \
         WHERE tenant = $4 AND command = $5",
    )
    .bind(state.as_str())
    .bind(detail)
    .bind(status.at_us)
    .bind(status.tenant.as_str())
    .bind(status.command.0.to_vec())
    .execute(&mut *connection)
    .await?;
    let woken = if state.is_settled() {
        runs::wake(connection, &status.tenant, &status.command).await?
    } else {
        0
    };
    Ok(Applied {
        changed: true,
        woken,
    })
}

/// Whether a status counts that a gateway gives by itself: that the device cannot have got the
/// command is known only while this gateway is the only one that has.
async fn may_say(
    connection: &mut SqliteConnection,
    status: &CommandStatus,
    is_taken: bool,
) -> Result<bool, Error> {
    let Some(gateway) = &status.gateway else {
        return Ok(true);
    };
    if !matches!(status.state, State::Expired | State::Failed) {
        return Ok(true);
    }
    let row = sqlx::query("SELECT gateway FROM commands WHERE tenant = $1 AND command = $2")
        .bind(status.tenant.as_str())
        .bind(status.command.0.to_vec())
        .fetch_one(connection)
        .await?;
    let only = row.maybe_text("gateway")?;
    Ok(!is_taken && only.is_none_or(|only| only == gateway.as_str()))
}

/// Between the list that a command was in and this it may have ended: the clock that was read before does not show
/// that it was cut short since, its reason does.
async fn mark_sent(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    command: &CommandId,
    gateway: &GatewayId,
    now_us: i64,
) -> Result<Marked, Error> {
    let row = sqlx::query(
        "SELECT state, expires_us, reason FROM commands WHERE tenant = $1 AND command = $2",
    )
    .bind(tenant.as_str())
    .bind(command.0.to_vec())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else {
        return Ok(Marked::NotDue);
    };
    let is_due = match state(&row)? {
        State::Queued => row.int("expires_us")? > now_us && reason(&row)?.is_none(),
        // Who has it already is asked about it, also when its time is over.
        state => !state.is_settled(),
    };
    if !is_due {
        return Ok(Marked::NotDue);
    }
    Ok(
        match sent(connection, tenant, command, gateway, now_us).await? {
            true => Marked::First,
            false => Marked::Again,
        },
    )
}

/// A gateway has a command, or is about to; says whether it is the first one.
async fn sent(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    command: &CommandId,
    gateway: &GatewayId,
    now_us: i64,
) -> Result<bool, Error> {
    let first = sqlx::query(
        "UPDATE commands SET state = 'sent', changed_us = $1, gateway = $4 \
         WHERE tenant = $2 AND command = $3 AND state = 'queued'",
    )
    .bind(now_us)
    .bind(tenant.as_str())
    .bind(command.0.to_vec())
    .bind(gateway.as_str())
    .execute(&mut *connection)
    .await?
    .rows_affected()
        == 1;
    if !first {
        sqlx::query(
            "UPDATE commands SET gateway = $4 WHERE tenant = $1 AND command = $2 \
             AND (gateway IS NULL OR gateway NOT IN ($3, $4))",
        )
        .bind(tenant.as_str())
        .bind(command.0.to_vec())
        .bind(gateway.as_str())
        .bind(SEVERAL)
        .execute(connection)
        .await?;
    }
    Ok(first)
}

/// Takes note of what a gateway did about a run's first step; says how many runs that wakes.
///
/// A command that it gave is one that it was sent: only it and the device can say what became of
/// it. That the hub has queued the same one, having waited for long, changes nothing about that.
pub(super) async fn given(connection: &mut SqliteConnection, given: &Given) -> Result<u64, Error> {
    let Given {
        tenant,
        gateway,
        run,
        received_us,
        ..
    } = given;
    if let Some(command) = &given.command {
        match queue(connection, command, *received_us).await {
            // Another gateway's word on another command: it is not to hold up what else comes.
            Err(Error::Conflict(why)) => tracing::error!(%tenant, %gateway, why,
                "a command that a gateway says it gave is not taken"),
            other => drop(other?),
        }
        sent(connection, tenant, &command.id, gateway, *received_us).await?;
    }
    let woken = sqlx::query(
        "UPDATE runs SET due_us = $1 WHERE tenant = $2 AND run = $3 AND state = 'pending' \
         AND due_us > $1",
    )
    .bind(runs::AT_ONCE)
    .bind(tenant.as_str())
    .bind(run.0.to_vec())
    .execute(connection)
    .await?;
    Ok(woken.rows_affected())
}

/// The state of a command.
pub(super) async fn state_of(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    command: &CommandId,
) -> Result<Option<State>, Error> {
    let row = sqlx::query("SELECT state FROM commands WHERE tenant = $1 AND command = $2")
        .bind(tenant.as_str())
        .bind(command.0.to_vec())
        .fetch_optional(connection)
        .await?;
    row.map(|row| state(&row)).transpose()
}

/// Whether who waits for a command need wait no longer: it has ended, or nobody has said in time what
/// became of it.
pub(super) async fn is_over(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    command: &CommandId,
) -> Result<bool, Error> {
    let row =
        sqlx::query("SELECT state, overdue_us FROM commands WHERE tenant = $1 AND command = $2")
            .bind(tenant.as_str())
            .bind(command.0.to_vec())
            .fetch_optional(connection)
            .await?;
    let Some(row) = row else { return Ok(false) };
    Ok(state(&row)?.is_settled() || row.maybe_int("overdue_us")?.is_some())
}

async fn queue(
    connection: &mut SqliteConnection,
    command: &NewCommand,
    now_us: i64,
) -> Result<bool, Error> {
    let queued = sqlx::query(
        "INSERT INTO commands (tenant, command, device, name, argument, expires_us, state, \
         effect_key, queued_us, changed_us) VALUES ($1, $2, $3, $4, $5, $6, 'queued', $7, $8, $8) \
         ON CONFLICT DO NOTHING",
    )
    .bind(command.tenant.as_str())
    .bind(command.id.0.to_vec())
    .bind(command.device.as_str())
    .bind(command.name.as_str())
    .bind(command.argument.as_ref().map(value::to_bytes))
    .bind(command.expires_us)
    .bind(command.effect_key.as_deref())
    .bind(now_us)
    .execute(&mut *connection)
    .await?;
    if queued.rows_affected() == 1 {
        return Ok(true);
    }
    let same = sqlx::query(
        "SELECT device, name, effect_key FROM commands WHERE tenant = $1 AND command = $2",
    )
    .bind(command.tenant.as_str())
    .bind(command.id.0.to_vec())
    .fetch_optional(connection)
    .await?;
    let Some(same) = same else {
        return Err(Error::Conflict(
            "the effect key belongs to another command".into(),
        ));
    };
    if same.text("device")? != command.device.as_str()
        || same.text("name")? != command.name
        || same.maybe_text("effect_key")? != command.effect_key
    {
        return Err(Error::Conflict(format!(
            "the id {} belongs to another command",
            command.id
        )));
    }
    Ok(false)
}

/// Queues a command; one to a device that was revoked is kept, and has failed.
pub(super) async fn queue_or_fail(
    connection: &mut SqliteConnection,
    command: &NewCommand,
    now_us: i64,
) -> Result<bool, Error> {
    check_effect_key(command.effect_key.as_deref())?;
    if !queue(connection, command, now_us).await? {
        return Ok(false);
    }
    if let Err(refused) = refuse_revoked(connection, command).await {
        let Error::Conflict(why) = refused else {
            return Err(refused);
        };
        sqlx::query(
            "UPDATE commands SET state = 'failed', detail = $1 WHERE tenant = $2 AND command = $3",
        )
        .bind(why)
        .bind(command.tenant.as_str())
        .bind(command.id.0.to_vec())
        .execute(connection)
        .await?;
    }
    Ok(true)
}

fn check(command: &NewCommand) -> Result<(), Error> {
    Command {
        id: command.id,
        device: command.device.clone(),
        name: &command.name,
        argument: command.argument.as_ref().map(|argument| argument.as_ref()),
        expires_us: command.expires_us,
    }
    .check()
    .map_err(|error| Error::invalid("command", error.to_string()))?;
    check_effect_key(command.effect_key.as_deref())
}

async fn queue_held(
    connection: &mut SqliteConnection,
    command: &NewCommand,
    by: &ByToken,
    (entry, keep): (&NewAudit, u32),
    now_us: i64,
) -> Result<Queued, Error> {
    let tenant = command.tenant.as_str();
    let held = held_key(&by.collection, &by.token);
    if !queue(&mut *connection, command, now_us).await? {
        return Ok(Queued::Known);
    }
    refuse_revoked(&mut *connection, command).await?;
    if !still_holds(&mut *connection, command, by).await? {
        unqueue(connection, command).await?;
        return Ok(Queued::Changed);
    }
    let row = sqlx::query(
        "SELECT COUNT(*) AS count FROM commands WHERE tenant = $1 AND held = $2 AND account = $3 \
         AND state IN ('queued', 'sent', 'acknowledged') AND expires_us > $4",
    )
    .bind(tenant)
    .bind(held.as_slice())
    .bind(by.account.to_vec())
    .bind(now_us)
    .fetch_one(&mut *connection)
    .await?;
    if row.int("count")? >= i64::from(MAX_HELD_COMMANDS) {
        unqueue(connection, command).await?;
        return Ok(Queued::TooMany);
    }
    sqlx::query("UPDATE commands SET account = $3, held = $4 WHERE tenant = $1 AND command = $2")
        .bind(tenant)
        .bind(command.id.0.to_vec())
        .bind(by.account.to_vec())
        .bind(held)
        .execute(&mut *connection)
        .await?;
    audit::note(connection, &command.tenant, entry, keep).await?;
    Ok(Queued::New)
}

/// Whether it is still so by what an account was let have something done: whatever ends that ends what is queued
/// then, and nothing that comes later.
async fn still_holds(
    connection: &mut SqliteConnection,
    command: &NewCommand,
    by: &ByToken,
) -> Result<bool, Error> {
    let row = sqlx::query(
        "SELECT 1 FROM ownership o \
         JOIN device_passports d ON d.tenant = o.tenant AND d.device = $3 AND d.token = $4 \
         JOIN held_tokens h ON h.tenant = o.tenant AND h.chain = o.chain \
         AND h.collection = $5 AND h.token = $6 AND h.holder = $7 \
         WHERE o.tenant = $1 AND o.body = $2",
    )
    .bind(command.tenant.as_str())
    .bind(by.policy.as_str())
    .bind(command.device.as_str())
    .bind(by.passport.to_vec())
    .bind(by.collection.to_vec())
    .bind(by.token.to_vec())
    .bind(by.account.to_vec())
    .fetch_optional(connection)
    .await?;
    Ok(row.is_some())
}

/// Takes a command back in the transaction that has queued it.
async fn unqueue(connection: &mut SqliteConnection, command: &NewCommand) -> Result<(), Error> {
    sqlx::query("DELETE FROM commands WHERE tenant = $1 AND command = $2")
        .bind(command.tenant.as_str())
        .bind(command.id.0.to_vec())
        .execute(connection)
        .await?;
    Ok(())
}

/// A device that was revoked takes no command: what was written for it is not kept.
async fn refuse_revoked(
    connection: &mut SqliteConnection,
    command: &NewCommand,
) -> Result<(), Error> {
    let revoked = sqlx::query(
        "SELECT 1 FROM registrations WHERE tenant = $1 AND device = $2 AND revoked <> 0",
    )
    .bind(command.tenant.as_str())
    .bind(command.device.as_str())
    .fetch_optional(connection)
    .await?;
    match revoked {
        None => Ok(()),
        Some(_) => Err(Error::Conflict(format!(
            "device {} was revoked and takes no commands until it is replaced",
            command.device
        ))),
    }
}

/// A device is revoked: what it says of its commands is taken no more, so that they have failed.
pub(super) async fn revoked(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    device: &DeviceId,
    now_us: i64,
) -> Result<(), Error> {
    let rows = sqlx::query(
        "SELECT command, state FROM commands WHERE tenant = $1 AND device = $2 \
         AND state IN ('queued', 'sent', 'acknowledged')",
    )
    .bind(tenant.as_str())
    .bind(device.as_str())
    .fetch_all(&mut *connection)
    .await?;
    for row in rows {
        let detail = match state(&row)? {
            State::Queued => "the device was revoked",
            _ => "the device was revoked; whether it had done it before is not known",
        };
        let status = CommandStatus {
            tenant: tenant.clone(),
            command: CommandId(row.array("command")?),
            state: State::Failed,
            at_us: now_us,
            detail: Some(detail.to_owned()),
            gateway: None,
        };
        apply(connection, &status).await?;
    }
    Ok(())
}

/// Of commands that no gateway has yet: they end at `$3`, for the reason `$4`, in words `$5`, unless their time is
/// over by then.
macro_rules! cut_short {
    ($of:literal) => {
        concat!(
            "UPDATE commands SET reason = CASE WHEN expires_us > $3 THEN $4 ELSE reason END, \
             detail = CASE WHEN expires_us > $3 THEN $5 ELSE detail END, \
             expires_us = MIN(expires_us, $3) WHERE tenant = $1 AND state = 'queued' AND ",
            $of
        )
    };
}

/// Who holds a token no more has nothing done by it that no gateway has yet.
pub(super) async fn passed_on(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    held: &[u8],
    holder: Option<&PayerKey>,
    now_us: i64,
) -> Result<(), Error> {
    let reason = holder.map_or(CutShort::NoHolder, |_| CutShort::Sold);
    sqlx::query(cut_short!("held = $2 AND account IS NOT $6"))
        .bind(tenant.as_str())
        .bind(held)
        .bind(now_us)
        .bind(reason.as_str())
        .bind(reason.words())
        .bind(holder.map(|holder| holder.to_vec()))
        .execute(connection)
        .await?;
    Ok(())
}

/// Nobody is known to hold any token of a collection, until its contract was asked.
pub(super) async fn asked_anew(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    collection: &PayerKey,
    now_us: i64,
) -> Result<(), Error> {
    sqlx::query(cut_short!(
        "SUBSTR(held, 1, 20) = $2 AND account IS NOT NULL"
    ))
    .bind(tenant.as_str())
    .bind(collection.to_vec())
    .bind(now_us)
    .bind(CutShort::NoHolder.as_str())
    .bind(CutShort::NoHolder.words())
    .execute(connection)
    .await?;
    Ok(())
}

/// What holders may do is another thing from now on, with one device or with all: what they have queued was asked
/// for by what was allowed before.
pub(super) async fn allowed_anew(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    device: Option<&DeviceId>,
    now_us: i64,
) -> Result<(), Error> {
    sqlx::query(cut_short!(
        "account IS NOT NULL AND ($2 IS NULL OR device = $2)"
    ))
    .bind(tenant.as_str())
    .bind(device.map(DeviceId::as_str))
    .bind(now_us)
    .bind(CutShort::NotAllowed.as_str())
    .bind(CutShort::NotAllowed.words())
    .execute(connection)
    .await?;
    Ok(())
}

async fn expire(
    connection: &mut SqliteConnection,
    now_us: i64,
    limit: u32,
) -> Result<Vec<RanOut>, Error> {
    let rows = sqlx::query(
        "SELECT c.tenant, c.command, c.state, c.reason, d.gateway FROM commands AS c \
         LEFT JOIN devices AS d ON d.tenant = c.tenant AND d.device = c.device \
         WHERE c.state IN ('queued', 'sent', 'acknowledged') AND c.overdue_us IS NULL \
         AND c.expires_us < $1 AND c.queued_us < $1 ORDER BY c.expires_us LIMIT $2",
    )
    .bind(now_us)
    .bind(i64::from(clamp(limit)))
    .fetch_all(&mut *connection)
    .await?;
    let mut expired = Vec::with_capacity(rows.len());
    for row in rows {
        let (tenant, command) = (row.parsed("tenant")?, CommandId(row.array("command")?));
        let mut state = state(&row)?;
        if state == State::Queued {
            state = State::Expired;
            let status = CommandStatus {
                tenant: TenantId::clone(&tenant),
                command,
                state,
                at_us: now_us,
                detail: Some(reason(&row)?.map_or(LATE, CutShort::words).to_owned()),
                gateway: None,
            };
            apply(connection, &status).await?;
        } else {
            // It may have been done: only its device knows.
            sqlx::query("UPDATE commands SET overdue_us = $1 WHERE tenant = $2 AND command = $3")
                .bind(now_us)
                .bind(tenant.as_str())
                .bind(command.0.to_vec())
                .execute(&mut *connection)
                .await?;
            runs::wake(connection, &tenant, &command).await?;
        }
        expired.push(RanOut {
            tenant,
            command,
            state,
            gateway: row.maybe_parsed("gateway")?,
        });
    }
    Ok(expired)
}

fn stored(row: &SqliteRow) -> Result<StoredCommand, Error> {
    Ok(StoredCommand {
        id: CommandId(row.array("command")?),
        device: row.parsed("device")?,
        name: row.text("name")?,
        argument: row
            .maybe_bytes("argument")?
            .map(|bytes| value::from_bytes(&bytes))
            .transpose()?,
        expires_us: row.int("expires_us")?,
        state: state(row)?,
        detail: row.maybe_text("detail")?,
        reason: reason(row)?,
        effect_key: row.maybe_text("effect_key")?,
        queued_us: row.int("queued_us")?,
        changed_us: row.int("changed_us")?,
        overdue_us: row.maybe_int("overdue_us")?,
    })
}

fn reason(row: &SqliteRow) -> Result<Option<CutShort>, Error> {
    let Some(name) = row.maybe_text("reason")? else {
        return Ok(None);
    };
    let reason = CutShort::parse(&name);
    reason
        .ok_or_else(|| Error::corrupt("reason of a command", name))
        .map(Some)
}

fn state(row: &SqliteRow) -> Result<State, Error> {
    let name = row.text("state")?;
    State::parse(&name).ok_or_else(|| Error::corrupt("command state", name))
}
