//! `stencil access`: rights to command devices that gateways check by themselves.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};
use stencil_protocol::moment;

use crate::api::{Client, Hub, segment};
use crate::output::{self, Format, say};

/// The longest file with a policy, in bytes.
const MAX_FILE: usize = 64 * 1024;

/// Gives rights to command devices, and shows whom gateways have let in.
///
/// A right lets an account of a chain command a device. Its wallet fetches a credential from the hub, which
/// the device's gateway checks by itself, also while the hub cannot be reached; each admission is noted
/// in a chain of receipts, which the gateway brings when the hub is back.
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
    /// Gives one: `grant 0x5aAe… locker-1 --command unlock --days 30`. Needs an admin's token.
    Grant(Grant),
    /// Lists the rights that were given, the newest first.
    List {
        /// The most to show.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// One right.
    Show {
        /// Its id, from `access list`.
        id: String,
    },
    /// How one stood when, by what it was given for and by hand, the newest first.
    History {
        /// Its id, from `access list`.
        id: String,
        /// The most to show.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Takes one away, for good. Needs an admin's token.
    Revoke {
        /// Its id, from `access list`.
        id: String,
    },
    /// Lists the receipts of admissions at gateways, those that came last first.
    Receipts {
        /// The most to show.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        /// Only those that conflict: whose holder should not have been let in.
        #[arg(long)]
        conflicts: bool,
    },
    /// What gateways may admit: shows it, or sets it from a JSON file (needs an admin's token), which is what
    /// `--output json` shows.
    Policy {
        /// The file: `tolerance_s`, `staleness_s`, `valid_s` and `commands`, all four and nothing else.
        #[arg(long, value_name = "FILE")]
        set: Option<PathBuf>,
    },
}

#[derive(clap::Args)]
struct Grant {
    /// Whose it is: an account's address.
    holder: String,
    /// The device.
    device: String,
    /// What it may be told; may be given again.
    #[arg(long = "command", value_name = "COMMAND", required = true)]
    commands: Vec<String>,
    /// For how many days it holds; without it for ever.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=36_500))]
    days: Option<u64>,
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.hub)?;
    match args.command {
        Command::Grant(grant) => {
            let given = client.post("/api/v1/access/rights", &grant.body()).await?;
            answer(args.output, &given)?;
        }
        Command::List { limit } => {
            let path = format!("/api/v1/access/rights?limit={}", limit.min(1_000));
            let items = client.newest(&path, usize::try_from(limit)?).await?;
            let columns = ["made_us", "holder", "device", "standing", "source", "id"];
            output::items(args.output, &items, &columns)?;
        }
        Command::Show { id } => answer(args.output, &client.get(&path(&id)).await?)?,
        Command::History { id, limit } => {
            let path = format!("{}/history?limit={}", path(&id), limit.min(1_000));
            let items = client.newest(&path, usize::try_from(limit)?).await?;
            let columns = ["from_us", "until_us", "standing", "by", "known_us"];
            output::items(args.output, &items, &columns)?;
        }
        Command::Revoke { id } => {
            let path = format!("{}/revoke", path(&id));
            answer(args.output, &client.call(Method::POST, &path, None).await?)?;
        }
        Command::Receipts { limit, conflicts } => {
            let path = format!("/api/v1/access/receipts?limit={}", limit.min(1_000));
            let mut items = client.newest(&path, usize::try_from(limit)?).await?;
            items.retain(|item| !conflicts || !item["conflict"].is_null());
            for item in &mut items {
                // What a line shows of the receipt itself.
                let receipt = item["receipt"].clone();
                item["device"] = receipt["challenge"]["device"].clone();
                item["command"] = receipt["challenge"]["command"].clone();
                item["holder"] = receipt["holder"].clone();
            }
            let columns = [
                "at_us", "gateway", "number", "device", "command", "holder", "outcome", "conflict",
            ];
            output::items(args.output, &items, &columns)?;
            if args.output == Format::Text {
                for item in items.iter().filter(|item| !item["left"].is_null()) {
                    say!("{}", left(item));
                }
            }
        }
        Command::Policy { set } => {
            let path = "/api/v1/access/policy";
            let policy = match set {
                None => client.get(path).await?,
                Some(file) => {
                    let text = crate::bounded::text(&file, MAX_FILE)?;
                    let body = Some(("application/json", text.into_bytes()));
                    let put = client.call(Method::PUT, path, body).await;
                    put.with_context(|| format!("{} is not taken", file.display()))?
                }
            };
            match args.output {
                Format::Json => output::json(&policy)?,
                Format::Text => output::fields(&policy_fields(&policy)),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Grant {
    fn body(&self) -> Value {
        let mut body = json!({
            "holder": self.holder, "device": self.device, "commands": self.commands,
        });
        if let Some(days) = self.days {
            body["valid_for_s"] = (days * 86_400).into();
        }
        body
    }
}

/// What is known of a chain that a gateway has left for another one.
fn left(item: &Value) -> String {
    let text = |value: &Value| output::escaped(value.as_str().unwrap_or_default());
    let left = &item["left"];
    let (number, brought) = (left["number"].as_u64(), left["brought"].as_u64());
    let (number, brought) = (number.unwrap_or(0), brought.unwrap_or(0));
    let lost = match number.saturating_sub(brought) {
        0 => "nothing of it that the gateway knew of is missing".to_owned(),
        1 => format!("receipt {number} is lost"),
        _ => format!("receipts {} to {number} are lost", brought + 1),
    };
    format!(
        "{} has left chain {} at {number} for {}: {lost}",
        text(&item["gateway"]),
        text(&left["chain"]),
        text(&item["chain"]),
    )
}

fn policy_fields(policy: &Value) -> [(&'static str, String); 4] {
    let seconds = |name: &str| format!("{} s", policy[name]);
    let commands = policy["commands"].as_array().map(|commands| {
        let names: Vec<&str> = commands.iter().filter_map(Value::as_str).collect();
        match names.as_slice() {
            [] => "none".to_owned(),
            names => names.join(", "),
        }
    });
    [
        ("tolerance", seconds("tolerance_s")),
        ("staleness", seconds("staleness_s")),
        ("valid", seconds("valid_s")),
        (
            "commands",
            commands.unwrap_or_else(|| "whichever rights say".to_owned()),
        ),
    ]
}

fn path(id: &str) -> String {
    format!("/api/v1/access/rights/{}", segment(id))
}

fn answer(format: Format, right: &Value) -> anyhow::Result<()> {
    if format == Format::Json {
        return output::json(right);
    }
    let text = |name: &str| output::escaped(right[name].as_str().unwrap_or_default());
    let commands: Vec<&str> = right["commands"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    say!("{}", text("id"));
    say!("holder    {}", text("holder"));
    say!(
        "device    {}: {}",
        text("device"),
        output::escaped(&commands.join(", "))
    );
    say!("standing  {}", text("standing"));
    let until = right["until_us"].as_i64();
    let until = until.map_or_else(
        || "for ever".to_owned(),
        |until| format!("until {}", moment::utc(until)),
    );
    say!("holds     {until}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_of_a_chain_is_said_by_its_numbers() {
        let told = |number: u64, brought: u64| {
            left(&json!({
                "gateway": "gw-1", "chain": "cd", "left": { "chain": "ab", "number": number,
                "hash": "00", "brought": brought },
            }))
        };
        assert_eq!(
            told(7, 4),
            "gw-1 has left chain ab at 7 for cd: receipts 5 to 7 are lost"
        );
        assert!(told(7, 6).ends_with("receipt 7 is lost"));
        assert!(told(7, 9).ends_with("nothing of it that the gateway knew of is missing"));
    }

    #[test]
    fn a_policy_is_told_with_its_units() {
        let told = |commands: Value| {
            output::fields_text(&policy_fields(&json!({
                "tolerance_s": 120, "staleness_s": 86_400, "valid_s": 14_400, "commands": commands,
            })))
        };
        assert_eq!(
            told(Value::Null),
            "tolerance  120 s\nstaleness  86400 s\nvalid      14400 s\ncommands   whichever rights say\n"
        );
        assert!(told(json!(["lock", "unlock"])).ends_with("commands   lock, unlock\n"));
        assert!(told(json!([])).ends_with("commands   none\n"));
    }

    #[test]
    fn what_is_given_is_said_in_the_api_s_words() {
        let all = [
            "access",
            "grant",
            "0x00",
            "locker-1",
            "--command",
            "unlock",
            "--command",
            "lock",
            "--days",
            "2",
        ];
        let Command::Grant(grant) = Args::try_parse_from(all).expect("words").command else {
            panic!("another command");
        };
        assert_eq!(
            grant.body(),
            json!({
                "holder": "0x00", "device": "locker-1", "commands": ["unlock", "lock"],
                "valid_for_s": 172_800,
            })
        );
        let none = Args::try_parse_from(["access", "grant", "0x00", "locker-1"]);
        let error = none.map(drop).expect_err("no command").to_string();
        assert!(error.contains("--command"), "{error}");
    }
}
