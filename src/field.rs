//! `stencil gateway check` and `stencil gateway scan`: what a mapping of field devices gives, and a
//! first one.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;
use stencil_field::mapping::{self, Connection, Protocol, TcpAddress};
use stencil_field::scan::{self, Search};
use stencil_field::serial::{Parity, Settings};
use stencil_field::{Tried, check as try_once};

use stencil_gateway::Options;

use crate::lan;
use crate::output::{self, Format, note};

/// What is looked for on a connection.
#[derive(clap::Args)]
pub(crate) struct ScanArgs {
    #[command(subcommand)]
    on: On,
    /// The units that are tried: a number, or the first and the last.
    #[arg(long, default_value = "1-10", value_parser = range::<u8>, global = true)]
    unit: RangeInclusive<u8>,
    /// The registers, coils and discrete inputs that are tried, from 0.
    #[arg(long, default_value = "0-200", value_parser = range::<u16>, global = true)]
    registers: RangeInclusive<u16>,
    /// How long an answer may take.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(10..=60_000), global = true)]
    timeout_ms: u64,
}

#[derive(Subcommand)]
enum On {
    /// Devices that connect to the gateway and speak MQTT: what they publish. Each needs a client's
    /// name and password (`stencil gateway add-client`).
    Mqtt(lan::Listen),
    /// An OPC UA server: how it may be connected to, and what is in it.
    Opcua(crate::opcua::Args),
    /// A device or a gateway that speaks Modbus over TCP.
    ModbusTcp {
        /// Where it is; without a port it is 502.
        #[arg(value_name = "HOST:PORT")]
        address: String,
    },
    /// A serial line with devices that speak Modbus RTU.
    ModbusRtu {
        /// The device file of the line, such as /dev/ttyUSB0.
        path: PathBuf,
        /// Bits a second.
        #[arg(long, default_value_t = 19_200)]
        baud: u32,
        /// The parity bit.
        #[arg(long, default_value = "even", value_parser = ["none", "even", "odd"])]
        parity: String,
        /// Stop bits, 1 or 2.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
        stop_bits: u8,
    },
}

/// Tries a mapping once. Exits 0 when each point gives a value, 1 otherwise.
/// `options` say where MQTT devices are listened for, at most for so many seconds.
pub(crate) async fn check(
    file: &Path,
    options: Option<&Options>,
    seconds: u64,
    format: Format,
) -> anyhow::Result<ExitCode> {
    let text = crate::bounded::regular_text(file, mapping::MAX_BYTES)?;
    let mapping =
        mapping::parse(&text).map_err(|errors| anyhow::anyhow!("{}:\n{errors}", file.display()))?;
    let settings = beside(file, options)?;
    if let Some(options) = &settings {
        stencil_gateway::check_ids(options, &text)?
            .map_err(|errors| anyhow::anyhow!("{}:\n{errors}", file.display()))?;
    }
    let heard = lan::hear(&mapping, options, seconds).await?;
    let mut tried = try_once(&mapping, heard).await;
    if options.is_none() && settings.is_some_and(|beside| !beside.mqtt.listeners.is_empty()) {
        // The gateway listens, but nobody does here: it may be running.
        let settings = file.with_file_name(crate::gateway::SETTINGS);
        let unheard = stencil_field::Fault::NotListening.to_string();
        for one in tried
            .iter_mut()
            .filter(|one| one.fault.as_ref() == Some(&unheard))
        {
            let settings = settings.display();
            one.fault = Some(format!("not listened for without --config {settings}"));
        }
    }
    let wrong = tried.iter().filter(|one| one.fault.is_some()).count();
    match format {
        Format::Json => output::json(&json!({
            "points": tried,
            "good": tried.len() - wrong,
            "wrong": wrong,
        }))?,
        Format::Text => {
            let head = ["device", "point", "at", "value", "unit", "ms", "wrong"];
            let mut rows = vec![head.map(str::to_owned).to_vec()];
            rows.extend(tried.iter().map(row));
            output::table(&rows);
            let mut told = Vec::new();
            for right in tried.iter().filter_map(|one| one.right) {
                if !told.contains(&right) {
                    told.push(right);
                    note!("{right}");
                }
            }
        }
    }
    Ok(ExitCode::from(u8::from(wrong > 0)))
}

/// The settings of the gateway that a mapping is for, where they are known: those that were named, else
/// those in the mapping's own folder.
fn beside(mapping: &Path, named: Option<&Options>) -> anyhow::Result<Option<Options>> {
    if let Some(options) = named {
        return Ok(Some(options.clone()));
    }
    let settings = mapping.with_file_name(crate::gateway::SETTINGS);
    match settings.is_file() {
        true => crate::gateway::options_of(&settings).map(Some),
        false => Ok(None),
    }
}

fn row(tried: &Tried) -> Vec<String> {
    let nothing = || "-".to_owned();
    vec![
        tried.device.to_string(),
        output::shown(&tried.point),
        tried.place.clone(),
        match &tried.value {
            None => nothing(),
            Some(value) => output::shown(&json!(value).to_string()),
        },
        tried.unit.clone().unwrap_or_else(nothing),
        match tried.took_us {
            None => nothing(),
            Some(us) => format!("{}.{}", us / 1_000, us % 1_000 / 100),
        },
        tried.fault.as_deref().map_or_else(nothing, output::escaped),
    ]
}

/// Looks what is on a connection: a mapping on standard output, progress on standard error. Exits 1
/// when nothing answers.
pub(crate) async fn scan(args: ScanArgs) -> anyhow::Result<ExitCode> {
    let timeout = Duration::from_millis(args.timeout_ms);
    let protocol = match args.on {
        // Small servers take seconds to open a session.
        On::Opcua(args) => return crate::opcua::scan(args, timeout.saturating_mul(20)).await,
        On::Mqtt(args) => {
            let options = crate::gateway::options_of(&args.config)?;
            return lan::scan(&options, args.seconds).await;
        }
        On::ModbusTcp { address } => {
            let address = TcpAddress::parse(&address, 502)
                .map_err(|right| anyhow::anyhow!("`{address}` is no address: {right}"))?;
            Protocol::ModbusTcp(address)
        }
        On::ModbusRtu {
            path,
            baud,
            parity,
            stop_bits,
        } => Protocol::ModbusRtu(Settings {
            path: std::path::absolute(path)?,
            baud,
            parity: Parity::from_name(&parity).context("no parity")?,
            two_stop_bits: stop_bits == 2,
        }),
    };
    let search = Search {
        connection: Arc::new(Connection {
            timeout,
            retries: 0,
            ..Connection::new("line", protocol)
        }),
        units: args.unit,
        addresses: args.registers,
    };
    let found = scan::scan(&search, |doing| note!("{doing}")).await;
    let found = found.map_err(|fault| match fault.right() {
        Some(right) => anyhow::anyhow!("{fault}; {right}"),
        None => anyhow::anyhow!("{fault}"),
    })?;
    if found.is_empty() {
        note!(
            "no unit from {} to {} answers within {} ms; look at the wires, at baud and parity of a \
             serial line, and try other units",
            search.units.start(),
            search.units.end(),
            args.timeout_ms
        );
        return Ok(ExitCode::FAILURE);
    }
    output::text(&scan::skeleton(&search, &found));
    Ok(ExitCode::SUCCESS)
}

/// `7`, or `1-10`.
fn range<T: std::str::FromStr + PartialOrd + Copy>(
    text: &str,
) -> Result<RangeInclusive<T>, String> {
    let wrong = || "write a number, or the first and the last, such as 1-10".to_owned();
    let number = |text: &str| text.trim().parse::<T>().map_err(|_| wrong());
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    if first <= last {
        Ok(first..=last)
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_a_number_or_two() {
        assert_eq!(range::<u8>("7"), Ok(7..=7));
        assert_eq!(range::<u16>("0-200"), Ok(0..=200));
        for bad in ["", "-", "1-", "-5", "9-1", "1-256", "a"] {
            assert!(range::<u8>(bad).is_err(), "{bad}");
        }
    }
}
