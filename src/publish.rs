//! `stencil pub`: publishes one reading over MQTT 5, with mosquitto_pub's flags where they fit.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{ArgAction, Parser};
use rumqttc::mqttbytes::QoS;
use rumqttc::{AsyncClient, MqttOptions, PublishOptions, TlsConfiguration, Transport};

/// What MQTT can carry in one packet; the hub takes less (`mqtt.max_packet_bytes`).
const MAX_MESSAGE: usize = 268_435_455;

/// Publishes a message over MQTT, with mosquitto_pub's flags.
///
/// It waits for the acknowledgement, which means that the hub has the message on disk.
///
/// Example: stencil pub -u "$DEVICE_TOKEN" -t v1/devices/me/telemetry -m '{"temperature": 21.5}'
///
/// With `--cafile` the link is TLS 1.3 with X25519MLKEM768 and ML-DSA-65 only.
#[derive(Parser)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// The hub's host name or address.
    #[arg(short = 'h', long, default_value = "127.0.0.1")]
    host: String,
    /// The port; 8883 with --cafile, else 1883.
    #[arg(short, long)]
    port: Option<u16>,
    /// The topic.
    #[arg(short, long, default_value = "v1/devices/me/telemetry")]
    topic: String,
    /// The message.
    #[arg(short, long, required_unless_present_any = ["file"])]
    message: Option<String>,
    /// A file whose content is the message.
    #[arg(short, long, conflicts_with = "message")]
    file: Option<PathBuf>,
    /// Quality of service: 0 is not acknowledged, 1 is.
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    qos: u8,
    /// Keep the message as the topic's retained one.
    #[arg(short, long)]
    retain: bool,
    /// A device token, as the MQTT user name; better by the environment.
    #[arg(short, long, env = "STENCIL_DEVICE_TOKEN", hide_env_values = true)]
    username: Option<String>,
    /// The client id.
    #[arg(short = 'i', long, default_value = "stencil-pub")]
    id: String,
    /// The fleet's root certificate (PEM): turns TLS on.
    #[arg(long)]
    cafile: Option<PathBuf>,
    /// A client certificate (PEM) issued by the fleet's authority.
    #[arg(long, requires_all = ["key", "cafile"])]
    cert: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, requires = "cert")]
    key: Option<PathBuf>,
    /// Seconds to wait for the acknowledgement.
    #[arg(long, default_value_t = 10)]
    timeout_s: u64,
    /// Print help.
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let payload = match (&args.message, &args.file) {
        (Some(message), _) => message.clone().into_bytes(),
        (None, Some(file)) => crate::bounded::bytes(file, MAX_MESSAGE)?,
        (None, None) => bail!("a message is needed: -m TEXT or -f FILE"),
    };
    let port = args
        .port
        .unwrap_or(if args.cafile.is_some() { 8883 } else { 1883 });
    let mut options = MqttOptions::new(args.id.clone(), (args.host.clone(), port));
    options.set_keep_alive(30);
    if let Some(token) = &args.username {
        options.set_username(token.clone());
    }
    if let Some(roots) = &args.cafile {
        let identity = match (&args.cert, &args.key) {
            (Some(cert), Some(key)) => Some((cert.as_path(), key.as_path())),
            _ => None,
        };
        let config = crate::tls::strict(roots, identity)?;
        options.set_transport(Transport::Tls(TlsConfiguration::Rustls(config)));
    }
    let qos = if args.qos == 0 {
        QoS::AtMostOnce
    } else {
        QoS::AtLeastOnce
    };
    let limit = Duration::from_secs(args.timeout_s);
    tokio::time::timeout(limit, publish(options, &args, payload, qos))
        .await
        .with_context(|| format!("no acknowledgement within {} s", args.timeout_s))??;
    Ok(ExitCode::SUCCESS)
}

async fn publish(
    options: MqttOptions,
    args: &Args,
    payload: Vec<u8>,
    qos: QoS,
) -> anyhow::Result<()> {
    let (client, mut events) = AsyncClient::builder(options).capacity(4).build();
    let notice = client
        .publish_tracked(
            args.topic.clone(),
            payload,
            PublishOptions::new(qos).retain(args.retain),
        )
        .await?;
    let mut done = std::pin::pin!(notice.wait_completion_async());
    loop {
        tokio::select! {
            acknowledged = &mut done => {
                acknowledged.context("the hub did not take the message")?;
                break;
            }
            event = events.poll() => {
                event.with_context(|| format!("the connection to {}:{} failed",
                    args.host, args.port.unwrap_or(if args.cafile.is_some() { 8883 } else { 1883 })))?;
            }
        }
    }
    client.disconnect().await?;
    // The farewell leaves with the next polls; the message itself is acknowledged already.
    while events.poll().await.is_ok() {}
    Ok(())
}
