//! MQTT devices of a gateway: `stencil gateway add-client`, `remove-client`, `list-clients`, and what
//! `check` and `scan` hear of them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use stencil_field::mapping::{Mapping, Protocol};
use stencil_field::mqtt::Heard;
use stencil_gateway::{Options, mqtt};
use stencil_protocol::id::DeviceId;

use crate::output::{self, Format, note, say};

/// For how long is listened.
#[derive(clap::Args)]
pub(crate) struct Listen {
    /// The gateway's settings, with `[[mqtt.listeners]]` and `mqtt.clients`. The gateway itself has
    /// to be stopped meanwhile, as it has these addresses. What devices send meanwhile is not
    /// acknowledged, so that they send it to the gateway again.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// For how many seconds is listened.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) seconds: u64,
}

/// Makes clients, and prints their passwords, which are kept nowhere.
pub(crate) fn add(dir: &Path, names: &[String]) -> anyhow::Result<ExitCode> {
    for name in names {
        let client = id(name)?;
        let password = mqtt::add_client(dir, &client)?;
        say!("{client}  {}", password.as_str());
    }
    note!("each password is shown this once: here only a hash of it is kept");
    Ok(ExitCode::SUCCESS)
}

/// Removes clients.
pub(crate) fn remove(dir: &Path, names: &[String]) -> anyhow::Result<ExitCode> {
    let mut all = ExitCode::SUCCESS;
    for name in names {
        if !mqtt::remove_client(dir, &id(name)?)? {
            note!("there is no client {name} in {}", dir.display());
            all = ExitCode::FAILURE;
        }
    }
    Ok(all)
}

/// Lists clients.
pub(crate) fn list(dir: &Path, format: Format) -> anyhow::Result<ExitCode> {
    let clients = mqtt::list_clients(dir)?;
    match format {
        Format::Json => output::json(&json!({ "clients": clients }))?,
        Format::Text => clients.iter().for_each(|client| say!("{client}")),
    }
    Ok(ExitCode::SUCCESS)
}

fn id(name: &str) -> anyhow::Result<DeviceId> {
    DeviceId::parse(name).with_context(|| format!("`{name}` is no name of a client"))
}

/// Listens for what a mapping needs of MQTT devices, until each of its topics was heard. None where
/// it needs nothing, or nobody said where to listen.
pub(crate) async fn hear(
    mapping: &Mapping,
    options: Option<&Options>,
    seconds: u64,
) -> anyhow::Result<Option<Heard>> {
    let is_mqtt = |protocol: &Protocol| matches!(protocol, Protocol::Mqtt(_));
    let has_devices = mapping.connections.iter().any(|it| is_mqtt(&it.protocol));
    let Some(options) = options.filter(|options| has_devices && !options.mqtt.listeners.is_empty())
    else {
        return Ok(None);
    };
    note!("listening for MQTT devices for at most {seconds} s");
    let enough = |heard: &Heard| heard.has_all(mapping);
    let heard = mqtt::listen(options, Duration::from_secs(seconds), enough, |said| {
        note!("{}", output::escaped(said));
    });
    Ok(Some(heard.await.context(STOP)?))
}

/// Listens, and prints a first mapping. Exits 1 when nothing was heard.
pub(crate) async fn scan(options: &Options, seconds: u64) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        !options.mqtt.listeners.is_empty(),
        "the settings have no `[[mqtt.listeners]]`: the gateway does not listen for MQTT devices"
    );
    let clients = mqtt::list_clients(&options.mqtt.clients)?;
    if clients.is_empty() {
        note!(
            "there are no clients in {}: `stencil gateway add-client` makes one a device",
            options.mqtt.clients.display()
        );
    }
    let heard = mqtt::listen(
        options,
        Duration::from_secs(seconds),
        |_| false,
        |said| {
            note!("{}", output::escaped(said));
        },
    );
    let heard = heard.await.context(STOP)?;
    if heard.topics() == 0 {
        note!(
            "nothing came within {seconds} s; look at the devices' address, name and password of \
             this gateway, or listen for longer (--seconds)"
        );
        return Ok(ExitCode::FAILURE);
    }
    output::text(&heard.skeleton());
    Ok(ExitCode::SUCCESS)
}

/// What is mostly wrong.
const STOP: &str = "can't listen for MQTT devices; a gateway that runs has to be stopped meanwhile";
