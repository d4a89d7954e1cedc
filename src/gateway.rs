//! `stencil gateway`: run it, add devices to it.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use serde::Serialize;
use stencil_gateway::Options;
use stencil_protocol::id::{DeviceId, GatewayId};
use tokio::signal::unix::{SignalKind, signal};

use crate::notify::Notify;
use crate::output::{self, Format, say};
use crate::{config, field, lan, logging, opcua, shutdown};

/// The prefix of the gateway's environment variables.
const ENVIRONMENT: &str = "STENCIL_GATEWAY_";

/// Between a failure of the disk and the next start.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The settings' file in a gateway's folder.
pub(crate) const SETTINGS: &str = "gateway.toml";

/// The public keys of who may sign images, in a gateway's folder.
pub(crate) const TRUST: &str = "trust.keys";

/// The settings whose relative paths start in the folder of the configuration file, so that a
/// gateway's folder works wherever it is moved to.
const PATHS: [&str; 9] = [
    "data_dir",
    "psk_dir",
    "hub.root",
    "hub.certificate",
    "hub.key",
    "images.trust",
    "field.mapping",
    "field.files",
    "mqtt.clients",
];

/// Runs an edge gateway, or adds devices to it (`gateway add-device`).
///
/// It runs until Ctrl-C. Settings come from defaults, then --config (TOML), then the environment
/// (STENCIL_GATEWAY_HUB__ADDRESS is hub.address), then flags. `stencil hub add-gateway` writes
/// keys and a first gateway.toml.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// A TOML file with settings. Relative paths in it start in its own folder, so that the
    /// folder of `hub add-gateway` can be moved; those of flags and of the environment start
    /// where the command is run.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Prints the settings as they would be used, with every default, and ends.
    #[arg(long)]
    dump_config: bool,
    /// How to print the addresses once the gateway listens.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
    #[command(flatten)]
    flags: Flags,
}

/// Flags that override settings; absent ones override nothing.
#[derive(clap::Args, Serialize)]
struct Flags {
    /// The folder of the spool and the cursor.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    data_dir: Option<PathBuf>,
    /// The folder of the devices' keys.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    psk_dir: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Makes keys for new devices. A running gateway takes them without a restart; the same
    /// file goes into the device.
    AddDevice {
        /// The folder of the devices' keys.
        #[arg(long)]
        psk_dir: PathBuf,
        /// The devices' ids.
        #[arg(required = true)]
        devices: Vec<String>,
    },
    /// Writes one file for support: version, settings, desired state, certificate, spool, log, what
    /// the machine and the running gateway are like. Passwords and keys are left out; look into it
    /// before you give it away.
    Diag {
        /// The TOML file with the gateway's settings.
        #[arg(long)]
        config: PathBuf,
        /// Where to write it: a tar file that is not there yet.
        #[arg(long, default_value = "stencil-gateway-diag.tar")]
        out: PathBuf,
    },
    /// Reads each point of a mapping of field devices once, and says what it gives: its value, or
    /// what is wrong and what would be right. Exits 0 when each gives a value, and 1 otherwise. A
    /// gateway that reads the same serial line has to be stopped meanwhile. With the gateway's
    /// settings (--config, or a gateway.toml beside the mapping) ids that devices with keys have are
    /// refused, too.
    Check {
        /// The mapping (YAML).
        mapping: PathBuf,
        /// The gateway's settings: which ids are taken, and where MQTT devices are listened for. For
        /// the latter the gateway itself has to be stopped meanwhile.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// For how many seconds MQTT devices are listened for at most.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
        seconds: u64,
        /// How to answer.
        #[arg(long, value_enum, default_value = "text")]
        output: Format,
    },
    /// Makes names and passwords for MQTT devices that connect to the gateway, and prints each once:
    /// only a hash of it is kept. A running gateway takes them without a restart.
    AddClient {
        /// The folder of the clients (`mqtt.clients` of gateway.toml).
        #[arg(long, value_name = "FOLDER")]
        clients: PathBuf,
        /// The clients' names: a device's id, or that of a bridge that speaks for many.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Removes MQTT clients; their connections end within two seconds. Exits 1 when there is no
    /// such client.
    RemoveClient {
        /// The folder of the clients.
        #[arg(long, value_name = "FOLDER")]
        clients: PathBuf,
        /// The clients' names.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Lists the MQTT clients that may connect to the gateway.
    ListClients {
        /// The folder of the clients.
        #[arg(long, value_name = "FOLDER")]
        clients: PathBuf,
        /// How to answer.
        #[arg(long, value_enum, default_value = "text")]
        output: Format,
    },
    /// Looks which devices answer on a connection and what of them can be read, and prints a first
    /// mapping of it. It only reads.
    Scan(field::ScanArgs),
    /// Makes a certificate and a key by which OPC UA servers know this gateway.
    OpcuaKey {
        /// The folder for them.
        #[arg(long)]
        out: PathBuf,
        /// The gateway's name in the certificate.
        #[arg(long, default_value = "stencil-gateway")]
        name: String,
    },
}

/// Runs it.
pub(crate) async fn run(args: Args, log: &str) -> anyhow::Result<ExitCode> {
    match args.command {
        None => {}
        Some(Command::AddDevice { psk_dir, devices }) => return add_devices(&psk_dir, &devices),
        Some(Command::Check {
            mapping,
            config,
            seconds,
            output,
        }) => {
            let options = config.as_deref().map(options_of).transpose()?;
            return field::check(&mapping, options.as_ref(), seconds, output).await;
        }
        Some(Command::Scan(args)) => return field::scan(args).await,
        Some(Command::AddClient { clients, names }) => return lan::add(&clients, &names),
        Some(Command::RemoveClient { clients, names }) => return lan::remove(&clients, &names),
        Some(Command::ListClients { clients, output }) => return lan::list(&clients, output),
        Some(Command::Diag { config, out }) => {
            diag(&config, &out)?;
            say!("{}", out.display());
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::OpcuaKey { out, name }) => return opcua::key(&out, &name),
    }
    let options: Options =
        config::load_beside(ENVIRONMENT, args.config.as_deref(), &args.flags, &PATHS)?;
    if args.dump_config {
        output::text(&config::dump(&options)?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut stop = shutdown::on_signal()?;
    let mapping = options.field.mapping.clone();
    let notify = Notify::new();
    let mut told = None;
    loop {
        tokio::select! {
            waited = stencil_gateway::wait_for_disk(&options, stop.clone()) => waited?,
            never = notify.lives() => match never {},
        }
        if *stop.borrow() {
            return Ok(ExitCode::SUCCESS);
        }
        let logs = logging::of_gateway(log);
        let failed = match stencil_gateway::Service::start_with(options.clone(), logs).await {
            Ok(running) => {
                let addresses = running.addresses();
                if told.as_ref() != Some(&addresses) {
                    match args.output {
                        Format::Json => say!("{}", serde_json::to_string(&addresses)?),
                        Format::Text => say!("{addresses}"),
                    }
                    told = Some(addresses);
                }
                notify.ready();
                tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => {
                        notify.stopping();
                        running.shutdown().await?;
                        return Ok(ExitCode::SUCCESS);
                    }
                    failed = running.failed() => {
                        // What failed is told below.
                        let _ = running.shutdown().await;
                        failed
                    }
                    never = reload(&running, mapping.as_deref()) => match never? {},
                    never = notify.lives() => match never {},
                }
            }
            Err(error) => error,
        };
        if !failed.is_of_the_disk() {
            return Err(match told {
                None => anyhow::Error::from(failed).context("the gateway can't start"),
                Some(_) => failed.into(),
            });
        }
        // Each life begins with a look at what is on the disk: it keeps what it has confirmed.
        tracing::error!(error = %failed, "the disk has failed; the gateway starts again");
        tokio::time::sleep(AFTER_FAILURE).await;
    }
}

fn add_devices(psk_dir: &Path, devices: &[String]) -> anyhow::Result<ExitCode> {
    for device in devices {
        let device =
            DeviceId::parse(device).with_context(|| format!("`{device}` is no device id"))?;
        say!(
            "{}",
            stencil_gateway::add_device(psk_dir, &device)?.display()
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// The settings of a gateway's file.
pub(crate) fn options_of(config: &Path) -> anyhow::Result<Options> {
    let none = Flags {
        data_dir: None,
        psk_dir: None,
    };
    config::load_beside(ENVIRONMENT, Some(config), &none, &PATHS)
}

/// Writes the file for support.
fn diag(config: &Path, out: &Path) -> anyhow::Result<()> {
    let options = options_of(config)?;
    let files = stencil_gateway::diag::collect(&options, &config::dump(&options)?);
    let mut open = std::fs::OpenOptions::new();
    let file = open
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(out)
        .with_context(|| format!("can't make {}", out.display()))?;
    let written = archive_into(file, files);
    if written.is_err() {
        // A part of it would be taken for all there is.
        let _ = std::fs::remove_file(out);
    }
    written.with_context(|| format!("can't write {}", out.display()))
}

fn archive_into(
    file: std::fs::File,
    files: impl IntoIterator<Item = (String, Vec<u8>)>,
) -> std::io::Result<()> {
    let mut archive = tar::Builder::new(file);
    let now_s = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(now_s);
        archive.append_data(
            &mut header,
            format!("stencil-gateway/{name}"),
            bytes.as_slice(),
        )?;
    }
    archive.into_inner()?.sync_all()
}

/// Reads the mapping of field devices again at each SIGHUP; where something is wrong with it, it
/// stays as it was.
async fn reload(
    running: &stencil_gateway::Running,
    mapping: Option<&Path>,
) -> anyhow::Result<std::convert::Infallible> {
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        if hangup.recv().await.is_none() {
            return std::future::pending().await;
        }
        match mapping {
            None => tracing::warn!("SIGHUP: there is no field.mapping to read again"),
            Some(path) => {
                if let Err(error) = running.replace_mapping(path).await {
                    tracing::error!(%error, "SIGHUP: the mapping stays as it was");
                }
            }
        }
    }
}

/// Fails if a gateway's folder is there already: its certificate and its settings are never
/// replaced by the way.
pub(crate) fn refuse_existing(folder: &Path, gateway: &GatewayId) -> anyhow::Result<()> {
    let files = [
        format!("{gateway}.pem"),
        format!("{gateway}.key"),
        "root.pem".to_owned(),
        SETTINGS.to_owned(),
        TRUST.to_owned(),
    ];
    for file in files.iter().map(|file| folder.join(file)) {
        anyhow::ensure!(
            // A link to nowhere counts too: it would be written through.
            file.symlink_metadata().is_err(),
            "{} holds a gateway already, {} is there: name another folder with --out, or move \
             that one away first",
            folder.display(),
            file.display()
        );
    }
    Ok(())
}

/// Writes a first gateway.toml into a gateway's folder, and beside it the public keys of who may
/// sign images, if there are any. Its paths start in that folder.
pub(crate) fn write_config(
    folder: &Path,
    gateway: &GatewayId,
    hub: &str,
    trust: Option<&str>,
) -> anyhow::Result<PathBuf> {
    let mut options = Options::default();
    hub.clone_into(&mut options.hub.address);
    options.data_dir = "data".into();
    options.psk_dir = "psk".into();
    options.hub.root = "root.pem".into();
    options.hub.certificate = format!("{gateway}.pem").into();
    options.hub.key = format!("{gateway}.key").into();
    if let Some(keys) = trust {
        let file = folder.join(TRUST);
        std::fs::write(&file, keys).with_context(|| format!("can't write {}", file.display()))?;
        options.images.trust = Some(TRUST.into());
    }
    let file = folder.join(SETTINGS);
    std::fs::write(&file, config::dump(&options)?)
        .with_context(|| format!("can't write {}", file.display()))?;
    Ok(file)
}

/// Reads `host:port`, where the host is a name, an IPv4 address, or an IPv6 address in brackets.
pub(crate) fn host_and_port(text: &str) -> Result<String, String> {
    let wrong = || "write host:port, such as hub.example:8883 or [2001:db8::1]:8883".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    if !port.bytes().all(|byte| byte.is_ascii_digit()) || !port.parse::<u16>().is_ok_and(|n| n > 0)
    {
        return Err(format!("the port has to be 1 to 65535; {}", wrong()));
    }
    let good = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            (1..=253).contains(&host.len())
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        }
    };
    good.then(|| text.to_owned()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hubs_address_is_host_and_port() {
        for good in [
            "hub.example:8883",
            "127.0.0.1:1",
            "[::1]:65535",
            "hub_1:8883",
        ] {
            assert_eq!(host_and_port(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "hub.example",
            ":8883",
            "hub:",
            "hub:0",
            "hub:65536",
            "hub:+1",
            "::1:8883",
            "[hub]:8883",
            "mqtts://hub:8883",
            "hub example:8883",
            "hub\u{1b}:8883",
        ] {
            let error = host_and_port(bad).unwrap_err();
            assert!(error.contains("hub.example:8883"), "{bad}: {error}");
        }
    }

    #[test]
    fn the_written_settings_hold_where_the_folder_is_moved_to() {
        let dir = tempfile::tempdir().unwrap();
        let gateway = GatewayId::parse("gw-1").unwrap();
        let (first, second) = (dir.path().join("first"), dir.path().join("second"));
        std::fs::create_dir(&first).unwrap();
        refuse_existing(&first, &gateway).unwrap();
        write_config(&first, &gateway, "hub.example:8883", Some("keys")).unwrap();
        let again = refuse_existing(&first, &gateway).unwrap_err().to_string();
        assert!(again.contains("gateway.toml"), "{again}");
        std::fs::rename(&first, &second).unwrap();

        let flags = Flags {
            data_dir: None,
            psk_dir: None,
        };
        let file = second.join(SETTINGS);
        let options: Options =
            config::load_beside("STENCIL_NOBODY_SETS_", Some(&file), &flags, &PATHS).unwrap();
        assert_eq!(options.hub.address, "hub.example:8883");
        for (path, name) in [
            (options.data_dir, "data"),
            (options.psk_dir, "psk"),
            (options.field.files, "field"),
            (options.hub.root, "root.pem"),
            (options.hub.certificate, "gw-1.pem"),
            (options.hub.key, "gw-1.key"),
        ] {
            assert_eq!(path, second.join(name));
        }
        assert_eq!(options.images.trust, Some(second.join(TRUST)));
        assert_eq!(std::fs::read_to_string(second.join(TRUST)).unwrap(), "keys");

        // Without keys there is no file that the gateway would look for in vain.
        let third = dir.path().join("third");
        std::fs::create_dir(&third).unwrap();
        let file = write_config(&third, &gateway, "hub.example:8883", None).unwrap();
        let options: Options =
            config::load_beside("STENCIL_NOBODY_SETS_", Some(&file), &flags, &PATHS).unwrap();
        assert_eq!(options.images.trust, None);
        assert!(!third.join(TRUST).exists());
    }
}
