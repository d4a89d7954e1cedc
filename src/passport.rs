//! `stencil passport`: who controls devices by what a chain says.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};
use stencil_protocol::moment;

use crate::api::{Client, Hub, segment};
use crate::output::{self, Format, escaped, say};
use crate::wallet::check as check_address;

mod document;
mod errand;
mod issue;
mod right;

/// Says whose tokens control devices, and shows who that is.
///
/// A device's passport is a token on a chain: its owner may give the device the commands that the
/// tenant lets owners give, and control moves when it is sold. A right to use a device is one too;
/// its user may give what users may until it ends.
///
/// 1. `stencil chain deploy passport …` makes the contract;
/// 2. `stencil passport policy set --chain NAME --passports 0x… --owner-may '*'` has its tokens count;
/// 3. `stencil passport issue …` issues the device's passport, with an issuer's key;
/// 4. `stencil passport give DEVICE` says which device that is;
/// 5. `stencil passport show DEVICE` shows who owns it;
/// 6. `stencil passport issue-right …` issues a right to use the device until a time.
#[derive(Parser)]
#[command(verbatim_doc_comment)]
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
    /// Whose tokens count, and for what. Without a further word it is shown.
    Policy {
        #[command(subcommand)]
        change: Option<Policy>,
    },
    Issue(Box<issue::Issue>),
    IssueRight(Box<right::IssueRight>),
    /// Who owns a device's passport, and who has a right to use the device until when.
    Show {
        /// The device.
        device: String,
    },
    /// Says which passport a device has. Needs an admin's token.
    Give {
        /// The device.
        device: String,
        #[command(flatten)]
        which: Which,
    },
    /// No token controls a device any more. Needs an admin's token.
    Take {
        /// The device.
        device: String,
    },
    /// Whether an account may give a device a command by what it holds, now. Exits with 1 if not.
    May {
        /// The account: 0x and 40 hexadecimal digits.
        account: String,
        /// The device.
        device: String,
        /// The command's name.
        command: String,
    },
    /// Which rights an account holds, to use which devices until when.
    Rights {
        /// The account: 0x and 40 hexadecimal digits.
        account: String,
    },
    /// Reads a right that was issued before the tenant's rights were followed. Needs an editor's token.
    ReadRight {
        /// Its id, a whole number.
        number: String,
    },
}

#[derive(clap::Args)]
#[group(multiple = false)]
struct Which {
    /// The DID that the passport is of, whose Keccak-256 is its id; without it the device's, as the hub has it.
    #[arg(long)]
    did: Option<String>,
    /// The passport's id: a whole number, or 32 bytes as 0x….
    #[arg(long)]
    number: Option<String>,
}

#[derive(Subcommand)]
enum Policy {
    /// Sets it, in the place of the one before. Needs an admin's token.
    Set(Set),
    /// No tokens control devices any more. Needs an admin's token.
    Remove,
}

#[derive(clap::Args)]
struct Set {
    /// The chain's name in the hub's settings.
    #[arg(long)]
    chain: String,
    /// The contract of passports (ERC-721).
    #[arg(long, value_name = "0x…", required_unless_present = "access_rights")]
    passports: Option<String>,
    /// The contract of rights to use devices (ERC-4907).
    #[arg(long, value_name = "0x…")]
    access_rights: Option<String>,
    /// The market on which they are sold.
    #[arg(long, value_name = "0x…")]
    market: Option<String>,
    /// Commands that a passport's owner may give, with commas between; '*' is every one.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    owner_may: Vec<String>,
    /// Commands that the user of a right may give, with commas between; '*' is every one.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    user_may: Vec<String>,
    /// When a new owner or user has control; the one before loses it with the block in both cases.
    #[arg(long, default_value = "final", value_parser = ["final", "included"])]
    takes_effect: String,
    /// For how many seconds what is known holds when nothing is read of the chain.
    #[arg(long, default_value_t = 900, value_parser = clap::value_parser!(u32).range(30..=86_400))]
    stale_after_s: u32,
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let format = args.output;
    // They are the chain's matter: a hub need not be there.
    let command = match args.command {
        Command::Issue(issue) => {
            return Box::pin(issue::run(*issue, &args.hub, format)).await;
        }
        Command::IssueRight(right) => return Box::pin(right::run(*right, format)).await,
        command => command,
    };
    let client = Client::new(&args.hub)?;
    let passport = |device: &str| format!("/api/v1/devices/{}/passport", segment(device));
    match command {
        Command::Issue(_) | Command::IssueRight(_) => {}
        Command::Policy { change: None } => {
            let policy = client.get("/api/v1/ownership").await?;
            show(format, &policy, policy_text)?;
        }
        Command::Policy {
            change: Some(Policy::Set(set)),
        } => {
            let body = json(&set.body());
            let policy = client.call(Method::PUT, "/api/v1/ownership", body).await?;
            show(format, &policy, policy_text)?;
        }
        Command::Policy {
            change: Some(Policy::Remove),
        } => {
            client
                .call(Method::DELETE, "/api/v1/ownership", None)
                .await?;
            let removed = json!({ "removed": true });
            show(format, &removed, |_| "no tokens control devices".to_owned())?;
        }
        Command::Show { device } => {
            let known = client.get(&passport(&device)).await?;
            show(format, &known, passport_text)?;
        }
        Command::Give { device, which } => {
            let body = match (which.did, which.number) {
                (Some(did), _) => json!({ "did": did }),
                (None, Some(number)) => json!({ "token": number }),
                (None, None) => json!({ "did": did_of(&client, &device).await? }),
            };
            let known = client
                .call(Method::PUT, &passport(&device), json(&body))
                .await?;
            show(format, &known, passport_text)?;
        }
        Command::Take { device } => {
            client
                .call(Method::DELETE, &passport(&device), None)
                .await?;
            let taken = json!({ "device": device, "taken": true });
            show(format, &taken, |_| format!("no token controls {device}"))?;
        }
        Command::May {
            account,
            device,
            command,
        } => {
            check_address(&account)?;
            let asked = json!({ "account": account, "command": command });
            let path = format!("{}/check", passport(&device));
            let answer = client.post(&path, &asked).await?;
            show(format, &answer, may_text)?;
            if answer["may"] != true {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Rights { account } => {
            check_address(&account)?;
            let path = format!("/api/v1/ownership/accounts/{account}");
            let known = client.get(&path).await?;
            show(format, &known, rights_text)?;
        }
        Command::ReadRight { number } => {
            let body = json!({ "token": number });
            let right = client.post("/api/v1/ownership/rights", &body).await?;
            show(format, &right, right_line)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Set {
    fn body(&self) -> Value {
        let mut body = json!({
            "chain": self.chain, "owner_may": self.owner_may, "user_may": self.user_may,
            "takes_effect": self.takes_effect, "stale_after_s": self.stale_after_s,
        });
        let contracts = [
            ("passports", &self.passports),
            ("access_rights", &self.access_rights),
            ("market", &self.market),
        ];
        for (name, contract) in contracts {
            if let Some(contract) = contract {
                body[name] = json!(contract);
            }
        }
        body
    }
}

/// The DID of a device, as the hub has it.
async fn did_of(client: &Client, device: &str) -> anyhow::Result<String> {
    let shown = client
        .get(&format!("/api/v1/devices/{}", segment(device)))
        .await
        .with_context(|| format!("the hub is asked for the DID of {}", escaped(device)))?;
    let did = shown["did"].as_str().map(str::to_owned);
    did.with_context(|| {
        format!(
            "the hub has no DID for {}: it is reached by no name that one can be made of (http.public_url); \
             say which it is by --did",
            escaped(device)
        )
    })
}

fn json(body: &Value) -> Option<(&'static str, Vec<u8>)> {
    Some(("application/json", body.to_string().into_bytes()))
}

fn show(format: Format, value: &Value, text: impl Fn(&Value) -> String) -> anyhow::Result<()> {
    match format {
        Format::Json => output::json(value),
        Format::Text => {
            // Each line by itself: what others have named must not begin one.
            for line in text(value).lines() {
                say!("{}", escaped(line));
            }
            Ok(())
        }
    }
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or("-")
}

fn names(value: &Value) -> String {
    let names = value.as_array().into_iter().flatten();
    let names: Vec<&str> = names.filter_map(Value::as_str).collect();
    match names.as_slice() {
        [] => "nothing".to_owned(),
        names => names.join(", "),
    }
}

/// Seconds since 1970 as people read them.
pub(crate) fn time(seconds: &Value) -> String {
    let at_us = seconds
        .as_i64()
        .and_then(|at_s| at_s.checked_mul(1_000_000));
    at_us.map_or_else(
        || "never".to_owned(),
        |at_us| format!("{} UTC", moment::utc(at_us)),
    )
}

fn policy_text(policy: &Value) -> String {
    format!(
        "chain          {}\npassports      {}\naccess rights  {}\nmarket         {}\nowners may     {}\n\
         users may      {}\ntakes effect   {}\nstale after    {} s",
        text(policy, "chain"),
        text(policy, "passports"),
        text(policy, "access_rights"),
        text(policy, "market"),
        names(&policy["owner_may"]),
        names(&policy["user_may"]),
        text(policy, "takes_effect"),
        policy["stale_after_s"],
    )
}

fn passport_text(known: &Value) -> String {
    let owner = match (known["owner"].as_str(), known["going_to"].as_str()) {
        (Some(owner), _) => owner.to_owned(),
        (None, Some(next)) => format!("nobody yet: it is going to {next}, which is not final"),
        (None, None) => "nobody that is known".to_owned(),
    };
    let fresh = match known["fresh"].as_bool() {
        Some(true) => "",
        _ => " (too long ago: holders are refused)",
    };
    let mut lines = vec![
        format!("passport  {}", text(known, "passport")),
        format!("DID       {}", text(known, "did")),
        format!("owner     {owner}"),
        format!(
            "chain     {}, read up to {}{fresh}",
            text(known, "chain"),
            time(&known["read_s"])
        ),
    ];
    for right in known["rights"].as_array().into_iter().flatten() {
        lines.push(right_line(right));
    }
    lines.join("\n")
}

fn right_line(right: &Value) -> String {
    let state = if right["in_effect"] == true {
        "in use"
    } else {
        "not in effect"
    };
    format!(
        "right {}  {} until {}, {state}",
        text(right, "token"),
        text(right, "user"),
        time(&right["expires_s"]),
    )
}

fn may_text(answer: &Value) -> String {
    match (answer["by"].as_str(), answer["why"].as_str()) {
        (Some("user"), _) => format!("yes, as its user until {}", time(&answer["expires_s"])),
        (Some(by), _) => format!("yes, as its {by}"),
        (None, why) => format!("no: {}", why.unwrap_or("it is not said why")),
    }
}

fn rights_text(known: &Value) -> String {
    let rights = known["rights"].as_array().cloned().unwrap_or_default();
    if rights.is_empty() {
        return format!("{} holds no right", text(known, "account"));
    }
    let line = |right: &Value| {
        let state = if right["final"] == true {
            "final"
        } else {
            "not final yet"
        };
        format!(
            "{}  until {}, right {}, {state}",
            text(right, "device"),
            time(&right["expires_s"]),
            text(right, "token"),
        )
    };
    let mut lines: Vec<String> = rights.iter().map(line).collect();
    lines.push(format!("they let it give: {}", names(&known["user_may"])));
    if known["fresh"] != true {
        lines.push("the chain was not read for too long: any of these may be gone".to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_chain_says_is_said_for_people() {
        let going = json!({
            "passport": "0x01", "did": null, "owner": null, "going_to": "0xab", "chain": "dev",
            "read_s": 1_386_018_900, "fresh": false,
            "rights": [{ "token": "5", "user": "0xcd", "expires_s": 1_386_018_900, "in_effect": false }],
        });
        let said = passport_text(&going);
        for part in [
            "nobody yet: it is going to 0xab, which is not final",
            "read up to 2013-12-02 21:15:00 UTC (too long ago",
            "right 5  0xcd until 2013-12-02 21:15:00 UTC, not in effect",
        ] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
        let no = json!({ "may": false, "by": null, "why": "the right has ended" });
        assert_eq!(may_text(&no), "no: the right has ended");
        let user = json!({ "may": true, "by": "user", "expires_s": 1_386_018_900 });
        assert_eq!(
            may_text(&user),
            "yes, as its user until 2013-12-02 21:15:00 UTC"
        );
        let nothing = json!({ "account": "0xab", "rights": [] });
        assert_eq!(rights_text(&nothing), "0xab holds no right");
    }
}
