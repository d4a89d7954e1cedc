//! `stencil device`: a device's life, from its birth at the factory to its end.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};
use stencil_crypto::seal::{self, Place, PublicKey, Purpose};
use stencil_crypto::{Psk, rng};

use crate::api::{Client, Hub, segment};
use crate::output::{self, Format, note, say};
use crate::query::Device;

mod birth;

/// The most bytes of a file of devices; a hub takes no more.
const MAX_FILE: usize = 8 << 20;

/// How long a hub may take over a file of devices.
const UPLOAD: Duration = Duration::from_secs(15 * 60);

/// What is done to devices.
#[derive(Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Look(Device),
    /// Makes devices at the factory, without a hub: for each a key file for the device, a claim
    /// code with its label to print, and a row of births.csv for who runs the hub. Which hub
    /// they are for, its public key says.
    Birth(birth::Args),
    /// Makes devices known to the hub that a factory has made (births.csv), or lists them. Needs
    /// an operator's token.
    Births {
        /// The births.csv of `device birth`; without it, births are listed.
        file: Option<PathBuf>,
    },
    /// Takes in the device that has this claim code printed on it.
    Claim {
        /// The code; hyphens, spaces and the case of letters don't matter.
        code: String,
        /// The gateway that it speaks through; may be left out where there is only one.
        #[arg(long)]
        gateway: Option<String>,
        /// What to call it; by default the name that it was born with.
        #[arg(long)]
        name: Option<String>,
    },
    /// Takes in devices by the thousand. Columns of the CSV: device, gateway, and one of psk (64
    /// hexadecimal digits), sealed_psk, claim_code; or a JSON array of such objects. Exits 1 if a
    /// row was not taken; the others are. Needs an admin's token.
    Enrol {
        /// A .csv or .json file.
        file: PathBuf,
    },
    /// Lists the devices that were claimed, enrolled or revoked.
    Registrations {
        /// Those in this state.
        #[arg(long, value_parser = ["enrolled", "revoked"])]
        state: Option<String>,
        /// Those of this gateway.
        #[arg(long)]
        gateway: Option<String>,
    },
    /// Whether a device is let in, and which keys it has had.
    Registration {
        /// The device.
        device: String,
    },
    /// Revokes a device: its link ends, and nothing more of it is taken. Its history stays. Needs
    /// an admin's token.
    Revoke {
        /// The device.
        device: String,
    },
    /// Gives a device a new key over its link; the old one holds until the new one was used. Needs
    /// an admin's token.
    Rotate {
        /// The device.
        device: String,
    },
    /// Has a device speak through another gateway: its name, its key and its history stay. The
    /// gateway before forgets its key. Needs an admin's token.
    Move {
        /// The device.
        device: String,
        /// The gateway that it is behind now.
        #[arg(long)]
        gateway: String,
    },
    /// Gives a device other hardware, or the same after it was wiped. Its name and its history go
    /// on; what it had before opens nothing any more, and a revocation is over. Needs an admin's
    /// token.
    Replace {
        /// The device.
        device: String,
        /// The claim code of the hardware that takes its place.
        #[arg(long, required_unless_present = "psk_out", conflicts_with = "psk_out")]
        claim_code: Option<String>,
        /// Makes a new key, and writes it here for the hardware; it leaves this machine sealed to
        /// the hub only.
        #[arg(long, value_name = "FILE")]
        psk_out: Option<PathBuf>,
    },
}

/// Runs it.
pub(crate) async fn run(hub: &Hub, format: Format, command: Command) -> anyhow::Result<ExitCode> {
    if let Command::Birth(args) = command {
        return birth::run(args, format);
    }
    let client = Client::new(hub)?;
    match command {
        Command::Look(look) => return crate::query::devices(&client, format, look).await,
        Command::Birth(_) => {}
        Command::Births { file: None } => {
            let items = client.list("/api/v1/operator/births?limit=1000").await?;
            output::items(format, &items, &["identity", "born_us", "claimed_us"])?;
        }
        Command::Births { file: Some(file) } => {
            return upload(&client, format, "/api/v1/operator/births", &file).await;
        }
        Command::Enrol { file } => {
            return upload(&client, format, "/api/v1/devices/enrol", &file).await;
        }
        Command::Claim {
            code,
            gateway,
            name,
        } => {
            let body = json!({ "code": code, "gateway": gateway, "device": name });
            let made = client.post("/api/v1/devices/claim", &body).await?;
            tell(format, &made, |made| {
                format!(
                    "claimed {} at gateway {}",
                    text(made, "device"),
                    text(made, "gateway")
                )
            })?;
        }
        Command::Registrations { state, gateway } => {
            let mut path = "/api/v1/registrations?limit=1000".to_owned();
            for (name, value) in [("state", state), ("gateway", gateway)] {
                if let Some(value) = value {
                    path.push_str(&format!("&{name}={}", segment(&value)));
                }
            }
            let items = client.list(&path).await?;
            let columns = [
                "device",
                "gateway",
                "state",
                "identity",
                "generation",
                "delivered",
                "changed_us",
            ];
            output::items(format, &items, &columns)?;
        }
        Command::Registration { device } => {
            let path = format!("/api/v1/devices/{}/registration", segment(&device));
            let found = client.get(&path).await?;
            match format {
                Format::Json => output::json(&found)?,
                Format::Text => {
                    let keys = found["keys"].as_array().cloned().unwrap_or_default();
                    say!("{}: {}", text(&found, "device"), text(&found, "state"));
                    let columns = [
                        "generation",
                        "identity",
                        "made_us",
                        "used_us",
                        "ended_us",
                        "ended_why",
                    ];
                    output::items(format, &keys, &columns)?;
                }
            }
        }
        Command::Revoke { device } => {
            let found = change(&client, &device, "revoke", None).await?;
            tell(format, &found, |found| {
                format!("revoked {}: it is let in no more", text(found, "device"))
            })?;
        }
        Command::Rotate { device } => {
            let made = change(&client, &device, "rotate", None).await?;
            tell(format, &made, |made| {
                format!(
                    "key {} is on its way to {}; the one before holds until it was used",
                    made["generation"],
                    output::escaped(&device)
                )
            })?;
        }
        Command::Move { device, gateway } => {
            let body = json!({ "gateway": gateway });
            let moved = change(&client, &device, "move", Some(&body)).await?;
            tell(format, &moved, |moved| {
                format!(
                    "moved {} to gateway {}",
                    text(moved, "device"),
                    text(moved, "gateway")
                )
            })?;
        }
        Command::Replace {
            device,
            claim_code,
            psk_out,
        } => {
            let body = match (&claim_code, &psk_out) {
                (Some(code), _) => json!({ "claim_code": code }),
                (None, Some(file)) => {
                    json!({ "sealed_psk": fresh(&client, &device, file).await? })
                }
                (None, None) => anyhow::bail!("name --claim-code or --psk-out"),
            };
            let made = change(&client, &device, "replace", Some(&body)).await;
            if let (Err(error), Some(file)) = (&made, &psk_out) {
                match error.downcast_ref::<crate::api::Refused>() {
                    // The key opens nothing, and would be in the way of the next try.
                    Some(refused) if refused.is_final() => std::fs::remove_file(file)
                        .with_context(|| format!("can't remove {}", file.display()))?,
                    // It may be the device's key by now.
                    _ => note!(
                        "{} is kept: the hub may have taken the key; `stencil device registrations` says which it has",
                        file.display()
                    ),
                }
            }
            let made = made?;
            tell(format, &made, |made| {
                format!(
                    "{} goes on with key {}",
                    output::escaped(&device),
                    made["generation"]
                )
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn change(
    client: &Client,
    device: &str,
    what: &str,
    body: Option<&Value>,
) -> anyhow::Result<Value> {
    let path = format!("/api/v1/devices/{}/{what}", segment(device));
    match body {
        Some(body) => client.post(&path, body).await,
        None => client.call(Method::POST, &path, None).await,
    }
}

/// Makes a key for a device, writes it to a file, and seals it to the hub.
async fn fresh(client: &Client, device: &str, file: &std::path::Path) -> anyhow::Result<String> {
    anyhow::ensure!(
        file.symlink_metadata().is_err(),
        "{} exists: a key is never written over; name another file, or move that one away",
        file.display()
    );
    let said = client.get("/api/v1/enrolment/key").await?;
    let key = PublicKey::from_hex(said["public_key"].as_str().unwrap_or_default())
        .context("the hub's public key")?;
    let me = client.get("/api/v1/me").await?;
    let tenant = me["tenant"]
        .as_str()
        .context("the hub does not say whose token it is")?;
    let psk = Psk::generate(&mut rng::Os);
    let place = Place {
        tenant,
        device,
        ..Place::default()
    };
    let sealed = seal::seal_one(&key, Purpose::Enrolment, place, &psk, &mut rng::Os)?;
    // Before the hub has it: a key that nobody holds would lock the device out.
    psk.save(file)?;
    Ok(URL_SAFE_NO_PAD.encode(sealed))
}

/// Sends a file of rows, and tells what became of them.
async fn upload(
    client: &Client,
    format: Format,
    path: &str,
    file: &std::path::Path,
) -> anyhow::Result<ExitCode> {
    let is_json = file
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let kind = if is_json {
        "application/json"
    } else {
        "text/csv"
    };
    let content = crate::bounded::bytes(file, MAX_FILE)?;
    let answer = client
        .call_within(UPLOAD, Method::POST, path, Some((kind, content)))
        .await
        // The hub may be at it still.
        .map_err(|error| match error.is::<reqwest::Error>() {
            true => error.context(format!(
                "{}: rows may have been taken in; send the file again, which does no harm",
                file.display()
            )),
            false => error,
        })?;
    let rows = answer["rows"].as_array().cloned().unwrap_or_default();
    let failed: Vec<&Value> = rows
        .iter()
        .filter(|row| row["result"] == "failed")
        .collect();
    match format {
        Format::Json => output::json(&answer)?,
        Format::Text => {
            for row in &failed {
                say!("{}", output::escaped(&told(row)));
            }
            say!(
                "{} made, {} unchanged, {} failed",
                answer["made"],
                answer["unchanged"],
                answer["failed"]
            );
        }
    }
    Ok(if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A row that was not taken: `line 7, column 3 (psk): …`.
fn told(row: &Value) -> String {
    let place = match row["line"].as_u64() {
        Some(line) => format!("line {line}"),
        None => format!("row {}", row["row"]),
    };
    let column = row["column"]
        .as_u64()
        .map(|column| format!(", column {column}"));
    let field = row["field"].as_str().map(|field| format!(" ({field})"));
    format!(
        "{place}{}{}: {}",
        column.unwrap_or_default(),
        field.unwrap_or_default(),
        row["error"].as_str().unwrap_or_default()
    )
}

fn tell(format: Format, answer: &Value, say: impl Fn(&Value) -> String) -> anyhow::Result<()> {
    match format {
        Format::Json => output::json(answer)?,
        Format::Text => say!("{}", say(answer)),
    }
    Ok(())
}

fn text(value: &Value, name: &str) -> String {
    output::escaped(value[name].as_str().unwrap_or("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_was_not_taken_says_where_it_is() {
        let row = json!({ "row": 6, "line": 7, "column": 3, "field": "psk", "error": "too short" });
        assert_eq!(told(&row), "line 7, column 3 (psk): too short");
        let row = json!({ "row": 6, "error": "no object" });
        assert_eq!(told(&row), "row 6: no object");
    }
}
