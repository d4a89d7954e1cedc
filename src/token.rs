//! `stencil token`: the tokens of people, programs and foreign devices.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Parser, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};
use stencil_server::MAX_TOKEN_DAYS;

use crate::api::{Client, Hub};
use crate::output::{self, Format, say};

/// Makes, lists and revokes tokens.
///
/// A device token is what a foreign MQTT client gives as its user name; an API token opens
/// the HTTP API. The hub keeps only a hash: the secret is printed once.
#[derive(Parser)]
pub(crate) struct Args {
    #[command(flatten)]
    hub: Hub,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text", global = true)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes a token and prints its secret, once.
    Create {
        /// The foreign device that the token is for; without it, an API token is made.
        #[arg(long)]
        device: Option<String>,
        /// What an API token may do.
        #[arg(long, default_value = "viewer", value_parser = ["viewer", "editor", "admin"], conflicts_with = "device")]
        role: String,
        /// A name to know it by; by default the device's id, or the role.
        #[arg(long)]
        name: Option<String>,
        /// For how many days it opens something; 0: without an end. By default an API token is for 365 days,
        /// and a device's has no end.
        #[arg(long, value_parser = days())]
        days: Option<u32>,
    },
    /// Lists tokens, without their secrets.
    List,
    /// Revokes a token: what is connected by it is cut off.
    Revoke {
        /// The token's id, from `token list`.
        id: String,
    },
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.hub)?;
    match args.command {
        Command::Create {
            device,
            role,
            name,
            days,
        } => {
            let mut body = match device {
                Some(device) => {
                    let name = name.as_ref().unwrap_or(&device);
                    json!({ "kind": "device", "device": device, "name": name })
                }
                None => {
                    let name = name.as_ref().unwrap_or(&role);
                    json!({ "kind": "api", "role": role, "name": name })
                }
            };
            if let Some(days) = days {
                body["valid_for_s"] = (u64::from(days) * 86_400).into();
            }
            let made = client
                .call(
                    Method::POST,
                    "/api/v1/tokens",
                    Some(("application/json", body.to_string().into_bytes())),
                )
                .await?;
            match args.output {
                Format::Json => output::json(&made)?,
                Format::Text => say!("{}", made["token"].as_str().unwrap_or_default()),
            }
        }
        Command::List => {
            let items = client.list("/api/v1/tokens").await?;
            output::items(
                args.output,
                &items,
                &[
                    "id",
                    "kind",
                    "device",
                    "role",
                    "name",
                    "revoked_us",
                    "expires_us",
                ],
            )?;
        }
        Command::Revoke { id } => {
            let all = client.list("/api/v1/tokens").await?;
            let outcome = Outcome::of(&id, &all)?;
            if outcome == Outcome::Revoked {
                client
                    .call(Method::DELETE, &format!("/api/v1/tokens/{id}"), None)
                    .await?;
            }
            match args.output {
                Format::Json => output::json(&json!({
                    "id": id,
                    "already_revoked": outcome != Outcome::Revoked,
                }))?,
                Format::Text => say!("{}", outcome.tell(&id)),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// For how many days a token may be made; 0 is without an end.
pub(crate) fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(0..=i64::from(MAX_TOKEN_DAYS))
}

/// What revoking a token comes to.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// It opened something until now.
    Revoked,
    /// It opened nothing any more, since this moment.
    Already(i64),
}

impl Outcome {
    /// For the token `id` among all of the tenant; one that is not there is an error, because a
    /// mistyped id would leave the meant one open.
    fn of(id: &str, all: &[Value]) -> anyhow::Result<Self> {
        let Some(token) = all.iter().find(|token| token["id"] == id) else {
            bail!(
                "there is no token {}: `stencil token list` shows the ids",
                output::escaped(id)
            );
        };
        Ok(token["revoked_us"]
            .as_i64()
            .map_or(Self::Revoked, Self::Already))
    }

    fn tell(&self, id: &str) -> String {
        match self {
            Self::Revoked => format!("revoked {id}: it opens nothing any more"),
            Self::Already(at_us) => format!(
                "{id} was revoked already, {} UTC",
                stencil_protocol::moment::utc(*at_us)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revoking_tells_what_it_found() {
        let all = [
            json!({ "id": "aa", "revoked_us": null }),
            json!({ "id": "bb", "revoked_us": 1_386_018_900_000_000_i64 }),
        ];
        assert_eq!(Outcome::of("aa", &all).unwrap(), Outcome::Revoked);
        let before = Outcome::of("bb", &all).unwrap();
        assert_eq!(
            before.tell("bb"),
            "bb was revoked already, 2013-12-02 21:15:00 UTC"
        );
        let unknown = Outcome::of("a", &all).unwrap_err().to_string();
        assert!(unknown.contains("no token a:"), "{unknown}");
    }

    #[test]
    fn the_hub_and_the_token_may_be_named_behind_the_command() {
        let before = ["token", "--hub", "http://h", "--token", "x", "list"];
        let behind = ["token", "list", "--hub", "http://h", "--token", "x"];
        for words in [before, behind] {
            let args = Args::try_parse_from(words).unwrap();
            assert_eq!(args.hub.hub, "http://h", "{words:?}");
            assert_eq!(args.hub.token.as_deref(), Some("x"), "{words:?}");
        }
        let both = ["token", "list", "--token", "x", "--token-file", "f"];
        assert!(Args::try_parse_from(both).is_err());
    }

    #[test]
    fn a_token_is_made_for_so_many_days() {
        let days = |words: &[&str]| {
            let all = [["token", "create"].as_slice(), words].concat();
            match Args::try_parse_from(all).map(|args| args.command) {
                Ok(Command::Create { days, .. }) => Ok(days),
                Ok(_) => Err("it is another command".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        };
        assert_eq!(days(&[]), Ok(None));
        assert_eq!(days(&["--days", "30"]), Ok(Some(30)));
        assert_eq!(days(&["--days", "0"]), Ok(Some(0)));
        for wrong in ["3661", "-1", "x"] {
            let said = days(&[&format!("--days={wrong}")]).unwrap_err();
            assert!(said.contains("--days"), "{said}");
        }
    }
}
