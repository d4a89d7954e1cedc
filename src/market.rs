//! `stencil market`: selling passports and rights by signed listings.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use serde_json::{Value, json};

use crate::api::{Client, Hub, segment};
use crate::output::{self, Format, escaped, say};
use crate::passport::time;
use crate::wallet::check as check_address;

/// The longest file with a listing, in bytes.
const MAX_FILE: usize = 16 * 1024;

/// Sells a device's passport, or a right to use it, by a listing that its owner signs.
///
/// Nobody holds anything meanwhile: whoever brings the signed listing and the money to the market's
/// contract has the token in the same transaction, and royalties are paid in it. A listing is good for one
/// sale, on one chain, at one market, until it ends; the seller takes it back by `cancel(nonce)` of the
/// market.
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
    /// Prints what the owner's wallet has to sign (`eth_signTypedData_v4`), and what it has to approve.
    ///
    /// With `cast`: `stencil market list locker-7 --seller 0x… --price 2500000000000000000 --output json`
    /// into ask.json, then `jq .typed_data ask.json` into typed.json, and `cast wallet sign --data
    /// --from-file typed.json`.
    List(List),
    /// Makes the listing of what was printed by `list` and its signature: the document that buyers get, which is
    /// JSON whatever `--output` says.
    Sign {
        /// What `list --output json` has printed.
        file: PathBuf,
        /// What the wallet has signed: 0x….
        #[arg(long, value_name = "0x…")]
        signature: String,
    },
    /// Whether a signed listing can be bought now, what is wrong if not, and the transactions that buy it.
    /// Exits with 1 if it can't.
    Check {
        /// The signed listing.
        file: PathBuf,
        /// Who would buy: 0x and 40 hexadecimal digits.
        #[arg(long, value_name = "0x…")]
        buyer: String,
    },
}

#[derive(clap::Args)]
struct List {
    /// The device whose passport is sold.
    device: String,
    /// The owner: 0x and 40 hexadecimal digits.
    #[arg(long, value_name = "0x…")]
    seller: String,
    /// What the buyer pays, in base units (wei of the chain's coin).
    #[arg(long)]
    price: String,
    /// The contract of the token that is paid with; the chain's own coin if it is not given.
    #[arg(long, value_name = "0x…")]
    pay_in: Option<String>,
    /// Sells a right to use the device instead of its passport: the right's id.
    #[arg(long)]
    right: Option<String>,
    /// For how many seconds it can be bought.
    #[arg(long, default_value_t = 604_800, value_parser = clap::value_parser!(u64).range(60..=31_622_400))]
    expires_in_s: u64,
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List(list) => {
            check_address(&list.seller)?;
            let client = Client::new(&args.hub)?;
            let path = format!("/api/v1/devices/{}/passport/listing", segment(&list.device));
            let asked = client.post(&path, &list.body()).await?;
            match args.output {
                Format::Json => output::json(&asked)?,
                Format::Text => tell(&list_text(&asked)),
            }
        }
        Command::Sign { file, signature } => {
            let offer = signed(&read(&file)?, &signature)?;
            output::json(&offer)?;
        }
        Command::Check { file, buyer } => {
            check_address(&buyer)?;
            let client = Client::new(&args.hub)?;
            let asked = json!({ "offer": read(&file)?, "buyer": buyer });
            let verdict = client.post("/api/v1/market/check", &asked).await?;
            match args.output {
                Format::Json => output::json(&verdict)?,
                Format::Text => tell(&verdict_text(&asked["offer"]["listing"], &verdict)),
            }
            if verdict["good"] != true {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl List {
    fn body(&self) -> Value {
        let mut terms = json!({ "price": self.price, "expires_in_s": self.expires_in_s });
        for (name, value) in [("token", &self.pay_in), ("right", &self.right)] {
            if let Some(value) = value {
                terms[name] = json!(value);
            }
        }
        json!({ "seller": self.seller, "terms": terms })
    }
}

fn read(file: &std::path::Path) -> anyhow::Result<Value> {
    let text = crate::bounded::text(file, MAX_FILE)?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))
}

/// A signed listing out of what was to be signed.
fn signed(asked: &Value, signature: &str) -> anyhow::Result<Value> {
    let typed = match &asked["typed_data"] {
        Value::Null => asked,
        typed => typed,
    };
    let (domain, message) = (&typed["domain"], &typed["message"]);
    anyhow::ensure!(
        typed["primaryType"] == "Listing" && message.is_object(),
        "it is not what `stencil market list --output json` prints: there is no listing in it"
    );
    let digits = signature.strip_prefix("0x").unwrap_or_default();
    anyhow::ensure!(
        !digits.is_empty()
            && digits.len().is_multiple_of(2)
            && digits.bytes().all(|it| it.is_ascii_hexdigit()),
        "--signature is no signature, which is 0x and hexadecimal digits (130 of an account's)"
    );
    Ok(json!({
        "chain_id": domain["chainId"],
        "market": domain["verifyingContract"],
        "listing": message,
        "signature": signature,
    }))
}

fn tell(text: &str) {
    for line in text.lines() {
        say!("{}", escaped(line));
    }
}

fn transaction(of: &Value) -> String {
    format!(
        "to {}, data {}",
        of["to"].as_str().unwrap_or("-"),
        of["data"].as_str().unwrap_or("-")
    )
}

fn list_text(asked: &Value) -> String {
    let message = &asked["typed_data"]["message"];
    let part = |name: &str| message[name].as_str().unwrap_or("-");
    let mut lines = vec![
        format!("price     {} base units", part("price")),
        format!(
            "royalty   {} of them, to {}",
            asked["royalty"].as_str().unwrap_or("0"),
            asked["royalty_to"].as_str().unwrap_or("nobody")
        ),
        format!("you get   {} at least", part("proceeds")),
        format!("until     {}", time(&message["expires"])),
    ];
    lines.push(match &asked["approve"] {
        Value::Null => "approved  the market may move the token already".to_owned(),
        approve => format!("first     send a transaction: {}", transaction(approve)),
    });
    lines.push(format!(
        "sign      what `--output json` prints as typed_data, then `stencil market sign`; its digest is {}",
        asked["digest"].as_str().unwrap_or("-")
    ));
    if !asked["cancel"].is_null() {
        lines.push(format!(
            "to undo   send a transaction: {}",
            transaction(&asked["cancel"])
        ));
    }
    lines.join("\n")
}

/// Base units with the decimals of what is paid with, to the last digit.
fn amount(units: &Value, of: &Value) -> String {
    let units = units.as_str().unwrap_or("-");
    let decimals = of["decimals"]
        .as_u64()
        .and_then(|it| usize::try_from(it).ok());
    let (Some(decimals), Some(symbol)) = (decimals, of["symbol"].as_str()) else {
        return format!("{units} base units");
    };
    let digits = format!("{units:0>width$}", width = decimals.min(100) + 1);
    let (whole, rest) = digits.split_at(digits.len() - decimals.min(100));
    let rest = rest.trim_end_matches('0');
    let point = if rest.is_empty() { "" } else { "." };
    format!("{whole}{point}{rest} {symbol}")
}

fn verdict_text(listing: &Value, verdict: &Value) -> String {
    if verdict["good"] != true {
        let why = verdict["problem"].as_str();
        return format!("no: {}", why.unwrap_or("it is not said why"));
    }
    let buy = &verdict["buy"];
    let device = verdict["device"].as_str();
    let mut lines = vec![
        "it can be bought now".to_owned(),
        format!("device    {}", device.unwrap_or("none of the tenant's")),
    ];
    if verdict["right_ends_s"].is_null() {
        let document = verdict["document"].as_str();
        lines.push(format!(
            "document  {}",
            document.unwrap_or("the contract names none")
        ));
    } else {
        lines.push(format!(
            "right     until {}",
            time(&verdict["right_ends_s"])
        ));
    }
    lines.push(format!("price     {}", amount(&listing["price"], verdict)));
    if let Some(to) = verdict["royalty_to"].as_str() {
        let royalty = amount(&verdict["royalty"], verdict);
        lines.push(format!("royalty   {royalty} of it, to {to}"));
    }
    lines.push(format!(
        "seller    {}",
        listing["seller"].as_str().unwrap_or("-")
    ));
    lines.push(format!("until     {}", time(&listing["expires"])));
    if let Some(rights) = verdict["rights"].as_u64().filter(|rights| *rights > 0) {
        lines.push(format!(
            "rights    {rights} to use the device go on after the sale, the longest until {}",
            time(&verdict["rights_until_s"])
        ));
    }
    if !buy["approve"].is_null() {
        lines.push(format!("first     {}", transaction(&buy["approve"])));
    }
    lines.push(format!(
        "then      {}, with {} wei",
        transaction(buy),
        buy["value"].as_str().unwrap_or("0")
    ));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Value {
        json!({
            "typed_data": {
                "primaryType": "Listing",
                "domain": { "chainId": 5, "verifyingContract": "0xaa" },
                "message": { "price": "10", "expires": 1_800_000_000 },
            },
            "royalty": "1",
        })
    }

    #[test]
    fn a_listing_is_made_of_what_was_asked_and_its_signature() {
        let offer = signed(&asked(), "0x00ff").unwrap();
        assert_eq!(offer["chain_id"], 5);
        assert_eq!(offer["market"], "0xaa");
        assert_eq!(offer["listing"]["expires"], 1_800_000_000);
        assert_eq!(signed(&asked()["typed_data"], "0x00ff").unwrap(), offer);
        for (wrong, signature, why) in [
            (json!({}), "0x00", "there is no listing in it"),
            (asked(), "00ff", "is no signature"),
            (asked(), "0x0", "is no signature"),
        ] {
            let error = signed(&wrong, signature).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn what_is_handed_on_is_json_and_its_help_says_so() {
        let mut command = <Args as clap::CommandFactory>::command();
        let sign = command.find_subcommand_mut("sign").unwrap();
        let help = sign.render_long_help().to_string();
        assert!(help.contains("JSON whatever `--output` says"), "{help}");
    }

    #[test]
    fn a_buyer_is_told_what_goes_on_after_the_sale() {
        let verdict = json!({
            "good": true, "rights": 2, "rights_until_s": 1_800_000_000, "device": "locker-7",
            "document": "ipfs://bafkrei", "right_ends_s": null, "symbol": "ETH", "decimals": 18,
            "royalty": "62500000000000000", "royalty_to": "0xcd",
            "buy": { "to": "0x01", "data": "0x02", "value": "0", "approve": null },
        });
        let listing = json!({
            "price": "2500000000000000000", "seller": "0xab", "expires": 1_386_018_900,
        });
        let said = verdict_text(&listing, &verdict);
        for line in [
            "2 to use the device go on after the sale, the longest until 2027-01-15 08:00:00 UTC",
            "device    locker-7",
            "document  ipfs://bafkrei",
            "price     2.5 ETH",
            "royalty   0.0625 ETH of it, to 0xcd",
            "until     2013-12-02 21:15:00 UTC",
        ] {
            assert!(said.contains(line), "{line}: {said}");
        }
        let mut right = verdict.clone();
        right["right_ends_s"] = json!(1_386_018_900);
        let said = verdict_text(&listing, &right);
        assert!(
            said.contains("right     until 2013-12-02 21:15:00 UTC"),
            "{said}"
        );
        let bad = json!({ "good": false, "problem": "what has this nonce was sold" });
        assert_eq!(
            verdict_text(&listing, &bad),
            "no: what has this nonce was sold"
        );
    }
}
