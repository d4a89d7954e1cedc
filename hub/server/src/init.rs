//! Making a hub, its tenants, gateways and device keys: what an operator does before the first
//! start, or beside a running hub.

use std::path::{Path, PathBuf};

use stencil_crypto::authority::{Algorithm, Authority};
use stencil_crypto::keyfile;
use stencil_protocol::id::{DeviceId, GatewayId, TenantId};
use stencil_store::{
    Certificates as _, IssuedToken, Role, Rollouts as _, Secret, Tenancy, TokenKind, Users as _,
};

use crate::clock::Clock;
use crate::http::Limits;
use crate::policy::described;
use crate::{Error, Layout, people, private, token_end};

/// The name that stands in the roots of a fleet authority.
const AUTHORITY_NAME: &str = "Stencil fleet";

/// The name of a tenant's first user, who is an admin.
pub const FIRST_USER: &str = "admin";

/// A hub has a certificate of each.
const ALGORITHMS: [Algorithm; 2] = [Algorithm::MlDsa65, Algorithm::EcdsaP256];

/// What [`init`] made.
#[derive(Debug)]
pub struct Init {
    /// The tenant's first token, with all rights within it; shown once.
    pub admin_token: Secret,
    /// From when on that token opens nothing.
    pub token_expires_us: Option<i64>,
    /// The one-time link by which the tenant's first user, [`FIRST_USER`], sets a password: see
    /// [`crate::http::link_url`].
    pub admin_link: Secret,
    /// What gateways and devices need to trust the hub: the authority's root.
    pub root: PathBuf,
}

/// Where the files of a new gateway or device lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Its certificate chain.
    pub chain: PathBuf,
    /// Its private key (0600).
    pub key: PathBuf,
    /// The root by which it knows the hub.
    pub root: PathBuf,
}

/// Makes a hub in `data_dir` with a first tenant: store, fleet authority, and server certificates
/// for `server_names` (host names and addresses by which gateways reach it). In a directory that
/// holds a hub already it adds the tenant and leaves the rest alone.
///
/// # Errors
/// [`Error::TenantExists`] when the tenant has tokens already; else what the store, the authority
/// or the file system say.
pub async fn init<S: AsRef<str>>(
    data_dir: &Path,
    tenant: &TenantId,
    server_names: &[S],
) -> Result<Init, Error> {
    let layout = Layout::new(data_dir);
    let authority = authority(&layout)?;
    server_certificates(&layout, &authority, server_names)?;
    let store = stencil_store::sqlite::open(layout.store()).await?;
    let now_us = Clock::system().now_us();
    // A tenant without tokens is what an interrupted call left, or what an operator has made.
    if !store.create_tenant(tenant, now_us).await? {
        let first_user = store.user(tenant, FIRST_USER).await?;
        let in_use = first_user.is_some_and(|user| user.has_password);
        if in_use || !store.tokens(tenant, None, 1).await?.items.is_empty() {
            return Err(Error::TenantExists(tenant.clone()));
        }
    }
    if store.user(tenant, FIRST_USER).await?.is_none() {
        store
            .create_user(tenant, FIRST_USER, Role::Admin, now_us)
            .await?;
    }
    let expires_us = Limits::default().sessions.link_expires_us(now_us);
    let admin_link = store.issue_link(tenant, FIRST_USER, expires_us).await?;
    let kind = TokenKind::Api { role: Role::Admin };
    let expires_us = token_end::of_days(token_end::USUAL_DAYS, now_us)?;
    let made = store.create_token(tenant, kind, "first", expires_us, now_us);
    let IssuedToken { secret, token } = made.await?;
    // Certificates are made for all to read; and the folder may have been there.
    private::tighten(&layout);
    Ok(Init {
        admin_token: secret,
        token_expires_us: token.expires_us,
        admin_link,
        root: layout.fleet_root(),
    })
}

/// Whether `data_dir` holds a hub.
#[must_use]
pub fn is_initialised(data_dir: &Path) -> bool {
    missing(&Layout::new(data_dir)).is_none()
}

/// The first file that a hub in this directory would miss.
pub(crate) fn missing(layout: &Layout) -> Option<PathBuf> {
    let server = ALGORITHMS.map(|algorithm| {
        let files = layout.server_files(algorithm);
        [files.chain, files.key]
    });
    [layout.fleet_root(), layout.classical_root(), layout.store()]
        .into_iter()
        .chain(server.into_iter().flatten())
        .find(|path| !path.exists())
}

/// Makes sure that the hub in `data_dir` has this tenant. A certificate can be issued without it,
/// but the hub lets nobody in whose tenant it does not have.
///
/// # Errors
/// [`Error::NotInitialised`]; [`Error::NoTenant`]; what the store says.
pub async fn has_tenant(data_dir: &Path, tenant: &TenantId) -> Result<(), Error> {
    let layout = Layout::new(data_dir);
    if let Some(missing) = missing(&layout) {
        return Err(Error::not_initialised(&layout, &missing));
    }
    let store = stencil_store::sqlite::open(layout.store()).await?;
    match store.tenant_made(tenant).await? {
        Some(_) => Ok(()),
        None => Err(Error::NoTenant {
            dir: data_dir.to_owned(),
            tenant: tenant.clone(),
        }),
    }
}

/// Makes another admin token of `tenant`: the way back in for whoever has the machine when all
/// tokens are lost. It works whether or not a hub is running on the directory, and a running one
/// takes the token at once. `name` is 1 to 64 characters; it opens something for `days`, at most
/// [`crate::MAX_TOKEN_DAYS`], or without an end for 0.
///
/// # Errors
/// [`Error::NotInitialised`]; [`Error::NoTenant`]; [`Error::Option`] for too many days; what the store says.
pub async fn issue_admin_token(
    data_dir: &Path,
    tenant: &TenantId,
    name: &str,
    days: u32,
) -> Result<IssuedToken, Error> {
    has_tenant(data_dir, tenant).await?;
    let store = stencil_store::sqlite::open(Layout::new(data_dir).store()).await?;
    let kind = TokenKind::Api { role: Role::Admin };
    let now_us = Clock::system().now_us();
    let expires_us = token_end::of_days(days, now_us)?;
    let made = store.create_token(tenant, kind, name, expires_us, now_us);
    let issued = made.await?;
    people::note(
        &store,
        tenant,
        "tokens.create",
        &issued.token.id,
        Some(format!("role {}", Role::Admin.as_str())),
        &Limits::default(),
    )
    .await?;
    Ok(issued)
}

/// Issues a certificate to a gateway of `tenant`; its files go to `out_dir` as `{gateway}.pem`,
/// `{gateway}.key` and `root.pem`.
///
/// # Errors
/// [`Error::NotInitialised`]; what the authority or the file system say.
pub fn add_gateway(
    data_dir: &Path,
    tenant: &TenantId,
    gateway: &GatewayId,
    out_dir: &Path,
) -> Result<Credentials, Error> {
    let authority = existing_authority(data_dir)?;
    let issued = authority.issue_gateway(tenant.as_str(), gateway.as_str())?;
    write(&authority, &issued, gateway.as_str(), out_dir)
}

/// As [`add_gateway`], written down: the certificate is known to the hub as one that it may take, also
/// of a gateway that was revoked, and it stands in the tenant's audit log.
///
/// # Errors
/// As [`add_gateway`]; [`Error::NoTenant`]; what the store says.
pub async fn issue_gateway(
    data_dir: &Path,
    tenant: &TenantId,
    gateway: &GatewayId,
    out_dir: &Path,
) -> Result<Credentials, Error> {
    has_tenant(data_dir, tenant).await?;
    let authority = existing_authority(data_dir)?;
    let issued = authority.issue_gateway(tenant.as_str(), gateway.as_str())?;
    let certificate = described(&issued.certificate_der)?;
    let store = stencil_store::sqlite::open(Layout::new(data_dir).store()).await?;
    let credentials = write(&authority, &issued, gateway.as_str(), out_dir)?;
    let now_us = Clock::system().now_us();
    store
        .add_certified(tenant, gateway, &certificate, now_us)
        .await?;
    let (action, limits) = ("gateways.create", Limits::default());
    let detail = Some(format!("certificate {}", certificate.serial));
    people::note(&store, tenant, action, gateway.as_str(), detail, &limits).await?;
    Ok(credentials)
}

/// The public keys of those who may sign `tenant`'s firmware images, as text; `None` until somebody
/// has set them.
///
/// # Errors
/// [`Error::NotInitialised`]; [`Error::NoTenant`]; what the store says.
pub async fn update_trust(data_dir: &Path, tenant: &TenantId) -> Result<Option<String>, Error> {
    has_tenant(data_dir, tenant).await?;
    let store = stencil_store::sqlite::open(Layout::new(data_dir).store()).await?;
    Ok(store.trust(tenant).await?.map(|trust| trust.keys))
}

/// Issues a certificate to a device of `tenant` that speaks to the hub itself; files as for
/// [`add_gateway`].
///
/// # Errors
/// As [`add_gateway`].
pub fn add_device(
    data_dir: &Path,
    tenant: &TenantId,
    device: &DeviceId,
    out_dir: &Path,
) -> Result<Credentials, Error> {
    let authority = existing_authority(data_dir)?;
    let issued = authority.issue_device(tenant.as_str(), device.as_str())?;
    write(&authority, &issued, device.as_str(), out_dir)
}

fn authority(layout: &Layout) -> Result<Authority, Error> {
    let dir = layout.authority();
    private::folder(layout.root())?;
    match Authority::create(&dir, AUTHORITY_NAME) {
        Ok(authority) => Ok(authority),
        Err(stencil_crypto::authority::Error::Exists(_)) => Ok(Authority::open(&dir)?),
        Err(error) => Err(error.into()),
    }
}

fn existing_authority(data_dir: &Path) -> Result<Authority, Error> {
    let layout = Layout::new(data_dir);
    let root = layout.fleet_root();
    if !root.exists() {
        return Err(Error::not_initialised(&layout, &root));
    }
    Ok(Authority::open(layout.authority())?)
}

fn server_certificates<S: AsRef<str>>(
    layout: &Layout,
    authority: &Authority,
    names: &[S],
) -> Result<(), Error> {
    let dir = layout.server();
    private::folder(&dir)?;
    for algorithm in ALGORITHMS {
        let files = layout.server_files(algorithm);
        if files.chain.exists() && files.key.exists() {
            continue;
        }
        let issued = match algorithm {
            Algorithm::MlDsa65 => authority.issue_server(names)?,
            Algorithm::EcdsaP256 => authority.issue_classical_server(names)?,
        };
        issued.write(&files.chain, &files.key)?;
    }
    Ok(())
}

fn write(
    authority: &Authority,
    issued: &stencil_crypto::authority::Issued,
    name: &str,
    out_dir: &Path,
) -> Result<Credentials, Error> {
    let loose = keyfile::folder(out_dir).map_err(|error| Error::io(out_dir, error))?;
    if let Some(mode) = loose {
        let (path, mode) = (out_dir.display(), format!("{mode:03o}"));
        tracing::warn!(%path, mode, "a folder with a key is open to others: chmod 700 is right");
    }
    let credentials = Credentials {
        chain: out_dir.join(format!("{name}.pem")),
        key: out_dir.join(format!("{name}.key")),
        root: out_dir.join("root.pem"),
    };
    issued.write(&credentials.chain, &credentials.key)?;
    keyfile::write_public(&credentials.root, authority.root_pem().as_bytes())?;
    Ok(credentials)
}
