//! Letting people in from the hub's machine: who can write to the data directory is an admin of all
//! tenants. All of it works beside a running hub, which takes it at once.

use std::path::Path;

use stencil_protocol::id::TenantId;
use stencil_store::sqlite::Sqlite;
use stencil_store::{
    Audit as _, AuditOutcome, MAX_PAGE, NewAudit, OperatorRow, Operators as _, Role, Secret,
    Tenancy as _, Users as _,
};

use crate::clock::Clock;
use crate::http::Limits;
use crate::{Error, Layout, init, token_end};

/// Who did it, for the audit log.
const COMMAND_LINE: &str = "command line";

/// Makes a user of `tenant`, and the one-time link by which they set their password.
///
/// # Errors
/// [`Error::NotInitialised`]; [`Error::NoTenant`]; what the store says: with a conflict when there
/// is such a user.
pub async fn add_user(
    data_dir: &Path,
    tenant: &TenantId,
    name: &str,
    role: Role,
    limits: &Limits,
) -> Result<Secret, Error> {
    init::has_tenant(data_dir, tenant).await?;
    let store = stencil_store::sqlite::open(Layout::new(data_dir).store()).await?;
    let now_us = Clock::system().now_us();
    store.create_user(tenant, name, role, now_us).await?;
    let detail = format!("role {}", role.as_str());
    note(&store, tenant, "users.create", name, Some(detail), limits).await?;
    let expires_us = limits.sessions.link_expires_us(now_us);
    Ok(store.issue_link(tenant, name, expires_us).await?)
}

/// Makes a one-time link by which a user of `tenant` sets a new password: the way back in when
/// nobody can sign in. A link before it opens nothing any more.
///
/// # Errors
/// [`Error::NotInitialised`]; [`Error::NoTenant`]; what the store says: that there is no such user,
/// or with a conflict that they are disabled.
pub async fn login_link(
    data_dir: &Path,
    tenant: &TenantId,
    name: &str,
    limits: &Limits,
) -> Result<Secret, Error> {
    init::has_tenant(data_dir, tenant).await?;
    let store = stencil_store::sqlite::open(Layout::new(data_dir).store()).await?;
    let expires_us = limits.sessions.link_expires_us(Clock::system().now_us());
    let secret = store.issue_link(tenant, name, expires_us).await?;
    note(&store, tenant, "users.make_link", name, None, limits).await?;
    Ok(secret)
}

/// Makes a token of an operator, who makes and removes tenants over the API and sees nothing of
/// theirs. `name` is 1 to 64 characters; it opens something for `days`, at most [`crate::MAX_TOKEN_DAYS`], or
/// without an end for 0. Its secret, and from when on it opens nothing.
///
/// # Errors
/// [`Error::NotInitialised`]; [`Error::Option`] for too many days; what the store says.
pub async fn add_operator(
    data_dir: &Path,
    name: &str,
    days: u32,
) -> Result<(Secret, Option<i64>), Error> {
    let store = open(data_dir).await?;
    let now_us = Clock::system().now_us();
    let expires_us = token_end::of_days(days, now_us)?;
    let (operator, secret) = store.create_operator(name, expires_us, now_us).await?;
    note_for_all(&store, "operators.create", &operator.id, name).await?;
    Ok((secret, expires_us))
}

/// All operators, revoked ones included.
///
/// # Errors
/// [`Error::NotInitialised`]; what the store says.
pub async fn operators(data_dir: &Path) -> Result<Vec<OperatorRow>, Error> {
    let store = open(data_dir).await?;
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.operators(after.as_deref(), MAX_PAGE).await?;
        found.extend(page.items);
        after = page.next;
        if after.is_none() {
            return Ok(found);
        }
    }
}

/// Revokes an operator's token for good, by its id. A running hub takes it no more at once. Returns
/// the name that it had.
///
/// # Errors
/// [`Error::NotInitialised`]; what the store says: that there is no such token, or that it was
/// revoked before.
pub async fn remove_operator(data_dir: &Path, id: &str) -> Result<String, Error> {
    let rows = operators(data_dir).await?;
    let none = || stencil_store::Error::NotFound {
        what: "operator in force",
        name: id.to_owned(),
    };
    let row = rows.into_iter().find(|row| row.id == id).ok_or_else(none)?;
    let store = open(data_dir).await?;
    if !store.revoke_operator(id, Clock::system().now_us()).await? {
        return Err(none().into());
    }
    note_for_all(&store, "operators.revoke", id, &row.name).await?;
    Ok(row.name)
}

async fn open(data_dir: &Path) -> Result<Sqlite, Error> {
    let layout = Layout::new(data_dir);
    if let Some(missing) = init::missing(&layout) {
        return Err(Error::not_initialised(&layout, &missing));
    }
    Ok(stencil_store::sqlite::open(layout.store()).await?)
}

/// An operator may erase any tenant: each is told in its own log who may.
async fn note_for_all(store: &Sqlite, action: &str, id: &str, name: &str) -> Result<(), Error> {
    let mut after = None;
    loop {
        let page = store.tenants(after.as_deref(), MAX_PAGE).await?;
        for tenant in &page.items {
            let detail = Some(format!("named {name}"));
            note(store, tenant, action, id, detail, &Limits::default()).await?;
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Writes down what was done to a tenant from the command line.
pub(crate) async fn note(
    store: &Sqlite,
    tenant: &TenantId,
    action: &str,
    target: &str,
    detail: Option<String>,
    limits: &Limits,
) -> Result<(), Error> {
    let entry = NewAudit {
        at_us: Clock::system().now_us(),
        who: COMMAND_LINE.to_owned(),
        action: action.to_owned(),
        target: Some(target.to_owned()),
        outcome: AuditOutcome::Done,
        detail,
        address: None,
    };
    Ok(store.note(tenant, &entry, limits.audit_entries).await?)
}
