//! `stencil hub`: run it, prepare its data folder, add gateways.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use serde::Serialize;
use stencil_protocol::id::{GatewayId, TenantId};
use stencil_server::http::link_url;
use stencil_server::{FIRST_USER, HttpOptions, Options, USUAL_TOKEN_DAYS};
use stencil_store::{Role, Secret};

use crate::output::{self, Format, note, say};
use crate::{config, shutdown};

/// The prefix of the hub's environment variables; `STENCIL_HUB_MQTT__PLAIN` is `mqtt.plain`.
const ENVIRONMENT: &str = "STENCIL_HUB_";

/// Runs the hub, or prepares it (`hub init`, `hub add-gateway`, `hub add-user`).
///
/// It runs until Ctrl-C. Settings come from defaults, then --config (TOML), then the environment
/// (STENCIL_HUB_HTTP__LISTEN is http.listen), then flags. The data folder is made by `hub init`.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// A TOML file with settings; relative paths in it start where the command is run.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Prints the settings as they would be used, with every default, and ends.
    #[arg(long)]
    dump_config: bool,
    /// How to print the addresses once the hub listens.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
    #[command(flatten)]
    flags: Flags,
}

/// Flags that override settings; absent ones override nothing.
#[derive(clap::Args, Serialize)]
struct Flags {
    /// The folder of all that the hub remembers.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    #[serde(skip_serializing_if = "HttpFlags::is_empty")]
    http: HttpFlags,
    #[command(flatten)]
    #[serde(skip_serializing_if = "MqttFlags::is_empty")]
    mqtt: MqttFlags,
}

#[derive(clap::Args, Serialize)]
struct HttpFlags {
    /// Where HTTP listens (API and live page).
    #[arg(long = "http", value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,
    /// Speaks HTTP within TLS, with the certificate of the settings, else that of the hub's own
    /// authority.
    #[arg(long = "http-tls")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tls: bool,
}

impl HttpFlags {
    fn is_empty(&self) -> bool {
        self.listen.is_none() && !self.tls
    }
}

#[derive(clap::Args, Serialize)]
struct MqttFlags {
    /// Where MQTT listens with strict post-quantum TLS.
    #[arg(long = "mqtt", value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<SocketAddr>,
    /// Opens a TLS listener for clients without post-quantum cryptography too; their links are
    /// shown as classical.
    #[arg(long = "mqtt-prefer", value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    prefer: Option<SocketAddr>,
    /// Opens a listener without TLS; loopback addresses only.
    #[arg(long = "mqtt-plain", value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    plain: Option<SocketAddr>,
}

impl MqttFlags {
    fn is_empty(&self) -> bool {
        self.strict.is_none() && self.prefer.is_none() && self.plain.is_none()
    }
}

/// Where people reach the hub, for links.
#[derive(clap::Args)]
struct Reached {
    /// Where people reach the hub over HTTP; by default what its settings say (http.public_url,
    /// else http.listen).
    #[arg(long)]
    url: Option<String>,
    /// The hub's TOML file with settings.
    #[arg(long)]
    config: Option<PathBuf>,
}

impl Reached {
    /// The hub's HTTP settings.
    fn http(self) -> anyhow::Result<HttpOptions> {
        let none = serde_json::Map::new();
        let mut options: Options = config::load(ENVIRONMENT, self.config.as_deref(), &none)?;
        if let Some(url) = self.url {
            options.http.public_url = Some(url);
        }
        options.check()?;
        Ok(options.http)
    }
}

#[derive(Subcommand)]
enum Command {
    /// Makes the data folder: store, fleet authority, server certificate, first tenant. Prints
    /// a one-time link by which the tenant's first user, `admin`, sets a password and signs in,
    /// and the tenant's admin token for programs; each is shown once.
    Init {
        /// The folder. In one that holds a hub already, the tenant is added.
        #[arg(long)]
        data_dir: PathBuf,
        /// The first tenant's id.
        #[arg(long)]
        tenant: String,
        /// A host name or address by which gateways and clients reach the hub; may be given
        /// several times.
        #[arg(long, default_values = ["localhost", "127.0.0.1"])]
        name: Vec<String>,
        #[command(flatten)]
        reached: Reached,
        /// How to answer.
        #[arg(long, value_enum, default_value = "text")]
        output: Format,
    },
    /// Makes a user of a tenant and prints the one-time link by which they set a password. The
    /// hub may be running.
    AddUser {
        /// The hub's folder.
        #[arg(long)]
        data_dir: PathBuf,
        /// The tenant that the user belongs to.
        #[arg(long)]
        tenant: String,
        /// What they may do.
        #[arg(long, default_value = "viewer", value_parser = crate::user::role)]
        role: Role,
        #[command(flatten)]
        reached: Reached,
        /// How to answer.
        #[arg(long, value_enum, default_value = "text")]
        output: Format,
        /// By which they sign in.
        name: String,
    },
    /// Makes a one-time link by which a user sets a new password: the way back in when nobody
    /// can sign in. A link before it opens nothing any more; the hub may be running.
    LoginLink {
        /// The hub's folder.
        #[arg(long)]
        data_dir: PathBuf,
        /// The tenant that the user belongs to.
        #[arg(long)]
        tenant: String,
        #[command(flatten)]
        reached: Reached,
        /// How to answer.
        #[arg(long, value_enum, default_value = "text")]
        output: Format,
        /// The user.
        #[arg(default_value = FIRST_USER)]
        name: String,
    },
    /// Makes a token for who runs the hub and prints it, once: it makes, lists and deletes
    /// tenants (`stencil tenant`), and opens nothing of theirs. The hub may be running.
    AddOperator {
        /// The hub's folder.
        #[arg(long)]
        data_dir: PathBuf,
        /// A name to know the operator by.
        #[arg(long, default_value = "operator")]
        name: String,
        /// For how many days the token opens something; 0: without an end.
        #[arg(long, default_value_t = USUAL_TOKEN_DAYS, value_parser = crate::token::days())]
        days: u32,
        /// How to answer.
        #[arg(long, value_enum, default_value = "text")]
        output: Format,
    },
    /// Lists operators by the ids of their tokens, revoked ones included.
    ListOperators {
        /// The hub's folder.
        #[arg(long)]
        data_dir: PathBuf,
        /// How to answer.
        #[arg(long, value_enum, default_value = "text")]
        output: Format,
    },
    /// Revokes an operator's token for good. The hub may be running; it takes it no more at once.
    RemoveOperator {
        /// The hub's folder.
        #[arg(long)]
        data_dir: PathBuf,
        /// How to answer.
        #[arg(long, value_enum, default_value = "text")]
        output: Format,
        /// The token's id, as `hub list-operators` shows it.
        id: String,
    },
    /// Makes another admin token of a tenant and prints it, once: the way back in when all tokens
    /// are lost. The hub may be running; it takes the token at once.
    AddToken {
        /// The hub's folder.
        #[arg(long)]
        data_dir: PathBuf,
        /// The tenant whose token it is.
        #[arg(long)]
        tenant: String,
        /// A name to know it by in `token list`.
        #[arg(long, default_value = "recovery")]
        name: String,
        /// For how many days it opens something; 0: without an end.
        #[arg(long, default_value_t = USUAL_TOKEN_DAYS, value_parser = crate::token::days())]
        days: u32,
        /// How to answer.
        #[arg(long, value_enum, default_value = "text")]
        output: Format,
    },
    /// Issues a gateway's certificate and writes its folder: keys, the fleet's root, the public
    /// keys of who may sign firmware, if the tenant has set them, and a gateway.toml to start with.
    AddGateway {
        /// The hub's folder.
        #[arg(long)]
        data_dir: PathBuf,
        /// The tenant that the gateway belongs to.
        #[arg(long)]
        tenant: String,
        /// The folder to write, where no gateway is yet; it then goes to the gateway's machine
        /// and works wherever it is put there.
        #[arg(long)]
        out: PathBuf,
        /// The hub's MQTT address as the gateway reaches it, host:port.
        #[arg(long, default_value = "127.0.0.1:8883", value_parser = crate::gateway::host_and_port)]
        hub: String,
        /// The gateway's id.
        gateway: String,
    },
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Some(Command::Init {
            data_dir,
            tenant,
            name,
            reached,
            output,
        }) => {
            let settings = reached.config.clone();
            let http = reached.http()?;
            let settings = settings.as_deref();
            init(&data_dir, &tenant, &name, (&http, settings), output).await?;
        }
        Some(Command::AddUser {
            data_dir,
            tenant,
            role,
            reached,
            output,
            name,
        }) => {
            let http = reached.http()?;
            let tenant = TenantId::parse(&tenant).context("the tenant's id")?;
            let secret =
                stencil_server::add_user(&data_dir, &tenant, &name, role, &http.limits).await?;
            tell_link(&tenant, &name, &http, &secret, output)?;
        }
        Some(Command::LoginLink {
            data_dir,
            tenant,
            reached,
            output,
            name,
        }) => {
            let http = reached.http()?;
            let tenant = TenantId::parse(&tenant).context("the tenant's id")?;
            let secret =
                stencil_server::login_link(&data_dir, &tenant, &name, &http.limits).await?;
            tell_link(&tenant, &name, &http, &secret, output)?;
        }
        Some(Command::AddOperator {
            data_dir,
            name,
            days,
            output,
        }) => {
            let (secret, expires_us) = stencil_server::add_operator(&data_dir, &name, days).await?;
            match output {
                Format::Json => output::json(&serde_json::json!({
                    "name": name,
                    "operator_token": secret.reveal(),
                    "expires_us": expires_us,
                }))?,
                // Alone on the line, for `export STENCIL_TOKEN=$(…)`.
                Format::Text => say!("{}", secret.reveal()),
            }
        }
        Some(Command::ListOperators { data_dir, output }) => {
            let found = stencil_server::operators(&data_dir).await?;
            let items = found.iter().map(serde_json::to_value);
            let items = items.collect::<Result<Vec<_>, _>>()?;
            let columns = ["id", "name", "created_us", "revoked_us", "expires_us"];
            output::items(output, &items, &columns)?;
        }
        Some(Command::RemoveOperator {
            data_dir,
            output,
            id,
        }) => {
            let name = stencil_server::remove_operator(&data_dir, &id).await?;
            match output {
                Format::Json => output::json(&serde_json::json!({ "id": id, "name": name }))?,
                Format::Text => say!("revoked {id}, {}", output::escaped(&name)),
            }
        }
        Some(Command::AddToken {
            data_dir,
            tenant,
            name,
            days,
            output,
        }) => {
            add_token(&data_dir, &tenant, (&name, days), output).await?;
        }
        Some(Command::AddGateway {
            data_dir,
            tenant,
            out,
            hub,
            gateway,
        }) => {
            add_gateway(&data_dir, &tenant, &out, &hub, &gateway).await?;
        }
        None => {
            let options: Options = config::load(ENVIRONMENT, args.config.as_deref(), &args.flags)?;
            if args.dump_config {
                output::text(&config::dump(&crate::chain::hub::shown(&options))?);
            } else {
                serve(options, args.output).await?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(options: Options, format: Format) -> anyhow::Result<()> {
    let mut stop = shutdown::on_signal()?;
    let http = options.http.clone();
    let data_dir = options.data_dir.clone();
    let chains = crate::chain::hub::of(&options).await?;
    let clock = stencil_server::Clock::system();
    let mut running = stencil_server::Service::start_with(options, clock, chains)
        .await
        .with_context(|| format!("the hub in {} can't start", data_dir.display()))?;
    let addresses = running.addresses();
    let url = http.url(addresses.http);
    match format {
        Format::Json => say!(
            "{}",
            serde_json::json!({
                "http": addresses.http,
                "http_url": url,
                "mqtt_strict": addresses.strict,
                "mqtt_prefer": addresses.prefer,
                "mqtt_plain": addresses.plain,
            })
        ),
        Format::Text => {
            say!("http         {url}");
            say!("mqtt strict  {}", addresses.strict);
            if let Some(prefer) = addresses.prefer {
                say!("mqtt prefer  {prefer}");
            }
            if let Some(plain) = addresses.plain {
                say!("mqtt plain   {plain}");
            }
        }
    }
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        failed = running.failed() => return Err(failed.into()),
    }
    running.shutdown().await?;
    Ok(())
}

async fn init(
    data_dir: &Path,
    tenant: &str,
    names: &[String],
    (http, settings): (&HttpOptions, Option<&Path>),
    format: Format,
) -> anyhow::Result<()> {
    let tenant = TenantId::parse(tenant).context("the tenant's id")?;
    let made = stencil_server::init(data_dir, &tenant, names).await?;
    let token = made.admin_token.reveal();
    let link = link_url(&http.url(http.listen), &made.admin_link);
    match format {
        Format::Json => output::json(&serde_json::json!({
            "data_dir": data_dir,
            "tenant": tenant.as_str(),
            "admin_token": token,
            "token_expires_us": made.token_expires_us,
            "admin": FIRST_USER,
            "admin_link": link,
        }))?,
        Format::Text => {
            say!("made {} with tenant {tenant}", data_dir.display());
            say!("admin token, shown this once: {token}");
            if let Some(at_us) = made.token_expires_us {
                let until = stencil_protocol::moment::utc(at_us);
                say!("it is good until {until} UTC; stencil token create makes others");
            }
            let settings =
                settings.map_or_else(String::new, |file| format!(" --config {}", file.display()));
            say!(
                "next: stencil hub --data-dir {}{settings}",
                data_dir.display()
            );
            say!("then set the password of user {FIRST_USER}, once within a day: {link}");
            if let Some(hint) = elsewhere(http) {
                say!("{hint}");
            }
        }
    }
    Ok(())
}

/// What to do with a link where the hub listens elsewhere than its settings say.
fn elsewhere(http: &HttpOptions) -> Option<String> {
    if http.public_url.is_some() {
        return None;
    }
    let (address, url) = (http.listen, http.url(http.listen));
    Some(format!(
        "(the link is for a hub that listens on {address}; if it is reached elsewhere, put its \
         address in place of {url}, or name it with --url or --config)"
    ))
}

fn tell_link(
    tenant: &TenantId,
    name: &str,
    http: &HttpOptions,
    secret: &Secret,
    format: Format,
) -> anyhow::Result<()> {
    let link = link_url(&http.url(http.listen), secret);
    match format {
        Format::Json => output::json(&serde_json::json!({
            "tenant": tenant.as_str(),
            "name": name,
            "link": link,
        })),
        Format::Text => {
            say!("{link}");
            // Beside the link, which scripts take.
            if let Some(hint) = elsewhere(http) {
                note!("{hint}");
            }
            Ok(())
        }
    }
}

async fn add_token(
    data_dir: &Path,
    tenant: &str,
    (name, days): (&str, u32),
    format: Format,
) -> anyhow::Result<()> {
    let tenant = TenantId::parse(tenant).context("the tenant's id")?;
    let issued = stencil_server::issue_admin_token(data_dir, &tenant, name, days).await?;
    let secret = issued.secret.reveal();
    match format {
        Format::Json => output::json(&serde_json::json!({
            "tenant": tenant.as_str(),
            "name": name,
            "admin_token": secret,
            "expires_us": issued.token.expires_us,
        }))?,
        // Alone on the line, for `export STENCIL_TOKEN=$(…)`.
        Format::Text => say!("{secret}"),
    }
    Ok(())
}

async fn add_gateway(
    data_dir: &Path,
    tenant: &str,
    out: &Path,
    hub: &str,
    gateway: &str,
) -> anyhow::Result<()> {
    let tenant = TenantId::parse(tenant).context("the tenant's id")?;
    let gateway = GatewayId::parse(gateway).context("the gateway's id")?;
    stencil_server::has_tenant(data_dir, &tenant).await?;
    crate::gateway::refuse_existing(out, &gateway)?;
    let trust = stencil_server::update_trust(data_dir, &tenant).await?;
    stencil_server::issue_gateway(data_dir, &tenant, &gateway, out).await?;
    let file = crate::gateway::write_config(out, &gateway, hub, trust.as_deref())?;
    say!("wrote {}", out.display());
    let keys = out.join(crate::gateway::TRUST);
    match trust {
        Some(_) => say!(
            "firmware images have to be signed by the keys in {}",
            keys.display()
        ),
        None => say!(
            "it takes no firmware images: tenant {tenant} has not said yet who may sign them; once \
             it has (`stencil image trust`), copy those keys to {} and set trust = \"{}\" under \
             [images] in {}",
            keys.display(),
            crate::gateway::TRUST,
            file.display()
        ),
    }
    say!("next: stencil gateway --config {}", file.display());
    Ok(())
}
