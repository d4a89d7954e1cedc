//! `stencil gateway scan opcua` and `stencil gateway opcua-key`: what an OPC UA server offers and
//! holds, and the certificate by which it knows a gateway.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use stencil_field::Fault;
use stencil_field::mapping::{
    Connection, Policy, Protocol, Secured, Security, Server, User, opcua_address, without_user,
};
use stencil_field::opcua::{look, make_identity, offers, skeleton};

use crate::output::{self, note, say};

/// Which server, and how it is known.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where it is.
    #[arg(value_name = "opc.tcp://HOST:PORT/PATH")]
    url: String,
    /// How the connection is secured: Basic256Sha256 or Aes256Sha256RsaPss, or `none` for one that
    /// anybody on the line may read and change. Without it, only what the server offers is listed.
    #[arg(long, value_name = "POLICY")]
    security: Option<String>,
    /// The server's certificate: no other server is talked to.
    #[arg(long, value_name = "FILE")]
    server_certificate: Option<PathBuf>,
    /// The gateway's certificate (`stencil gateway opcua-key` makes one).
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Its private key.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The name of a user that the server knows.
    #[arg(long, requires = "password_file")]
    user: Option<String>,
    /// The file with that user's password in its first line.
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// Writes the certificate that the server shows into a new file, to be named in a mapping.
    /// Compare the fingerprint that is printed with the one that the server itself shows before
    /// you use it: whoever answers at this address would be trusted.
    #[arg(long, value_name = "FILE", conflicts_with = "security")]
    keep_certificate: Option<PathBuf>,
}

/// Looks what a server offers, and what is in it: a mapping on standard output, the rest on standard
/// error.
pub(crate) async fn scan(args: Args, timeout: Duration) -> anyhow::Result<ExitCode> {
    let address = opcua_address(&args.url)
        .map_err(|right| anyhow::anyhow!("`{}` is no address: {right}", without_user(&args.url)))?;
    let mut server = Server {
        url: args.url.as_str().into(),
        address,
        security: Security::None,
        user: User::Anonymous,
        files_in: None,
    };
    let connection = |server: &Server| Connection {
        timeout,
        ..Connection::new("line", Protocol::OpcUa(server.clone()))
    };
    let Some(security) = &args.security else {
        return list(&connection(&server), args.keep_certificate.as_deref()).await;
    };
    if !security.eq_ignore_ascii_case("none") {
        server.security = secured(&args, security)?;
    }
    if let (Some(name), Some(file)) = (&args.user, &args.password_file) {
        anyhow::ensure!(
            server.security != Security::None,
            "anybody on the line could take the user's place: name certificates instead of \
             `--security none`"
        );
        server.user = User::Password {
            name: name.clone(),
            file: std::path::absolute(file)?,
        };
    }
    let connection = connection(&server);
    let found = look(&connection, |doing| note!("{doing}")).await;
    let found = found.map_err(told)?;
    if found.variables.is_empty() {
        note!("there are no variables below the folder Objects that this user may see");
        return Ok(ExitCode::FAILURE);
    }
    output::text(&skeleton(&connection, &found));
    Ok(ExitCode::SUCCESS)
}

fn secured(args: &Args, name: &str) -> anyhow::Result<Security> {
    let policy = Policy::from_name(name).ok_or_else(|| {
        anyhow::anyhow!("`{name}` is no security: Basic256Sha256, Aes256Sha256RsaPss or none")
    })?;
    let file = |file: &Option<PathBuf>, flag: &str| match file {
        Some(file) => Ok(std::path::absolute(file)?),
        None => anyhow::bail!(
            "{flag} is missing: a secured connection needs --server-certificate (see \
             --keep-certificate), --certificate and --key (see `stencil gateway opcua-key`)"
        ),
    };
    Ok(Security::Secured(Secured {
        policy,
        server_certificate: file(&args.server_certificate, "--server-certificate")?,
        certificate: file(&args.certificate, "--certificate")?,
        key: file(&args.key, "--key")?,
    }))
}

/// What a server offers, by its own word.
async fn list(connection: &Connection, keep: Option<&Path>) -> anyhow::Result<ExitCode> {
    let offers = offers(connection).await.map_err(told)?;
    let head = ["security", "supported", "users", "certificate (SHA-256)"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(offers.iter().map(|offer| {
        let supported = if offer.is_supported { "yes" } else { "no" };
        let fingerprint = offer.fingerprint.clone();
        vec![
            output::escaped(&offer.security),
            supported.to_owned(),
            offer.users.join(", "),
            fingerprint.unwrap_or_else(|| "-".to_owned()),
        ]
    }));
    output::table(&rows);
    if let Some(file) = keep {
        let best = offers
            .iter()
            .find(|it| it.is_supported && it.fingerprint.is_some());
        let Some(offer) = best else {
            anyhow::bail!("the server shows no certificate with a security that is supported");
        };
        offer.keep(file).map_err(anyhow::Error::msg)?;
        note!(
            "{} has the certificate with the SHA-256 {}: compare it with the one that the server \
             itself shows before you name it in a mapping",
            file.display(),
            offer.fingerprint.as_deref().unwrap_or_default()
        );
    } else {
        note!(
            "nobody has proved anything yet: --keep-certificate FILE keeps the certificate to be \
             compared; with --security what is in the server is listed"
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes a certificate and a key by which servers know this gateway.
pub(crate) fn key(folder: &Path, name: &str) -> anyhow::Result<ExitCode> {
    let made = make_identity(folder, name).map_err(anyhow::Error::msg)?;
    say!("certificate  {}", made.certificate.display());
    say!(
        "             {} (the same, for servers to be told)",
        made.der.display()
    );
    say!("key          {}", made.key.display());
    say!("SHA-256      {}", made.fingerprint);
    Ok(ExitCode::SUCCESS)
}

fn told(fault: Fault) -> anyhow::Error {
    match fault.right() {
        Some(right) => anyhow::anyhow!("{fault}; {right}"),
        None => anyhow::anyhow!("{fault}"),
    }
}
