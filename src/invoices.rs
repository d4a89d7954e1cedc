//! `stencil invoices`: what is to be paid, and what came of it.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Parser, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};
use stencil_protocol::moment;

use crate::api::{Client, Hub};
use crate::output::{self, Format, say};

/// Makes invoices, shows them, and calls them off.
///
/// An invoice is paid on a chain that the hub follows, by the ways to pay that the tenant has set
/// (`PUT /api/v1/payments/settings`). Whoever has its checkout's address can pay it.
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
    /// Makes an invoice: `create 12.50 EUR`, or `create 2.5 base/USDC`. Needs an editor's token.
    Create(Create),
    /// Lists invoices, the newest first.
    List {
        /// Those in this state only.
        #[arg(long, value_parser = ["new", "seen", "confirming", "settled", "expired", "cancelled"])]
        state: Option<String>,
        /// The most invoices to show.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// One invoice: what is due, what came, what goes back.
    Show {
        /// The invoice's id, from `invoices list`.
        id: String,
    },
    /// Calls an invoice off: what has come and what comes goes back. Needs an editor's token.
    Cancel {
        /// The invoice's id, from `invoices list`.
        id: String,
    },
    /// The runs of workflows that an invoice's payment has started.
    Runs {
        /// The invoice's id, from `invoices list`.
        id: String,
    },
    /// Has a payment start the workflows that are in force now. Needs an editor's token.
    ///
    /// For a payment that started none: when it came, no workflow was in force that waits for its reference. What it
    /// has started already is not started again.
    Start {
        /// The invoice's id, from `invoices list`.
        id: String,
    },
    /// Sends the webhooks of an invoice once more, with the ids that they had. Needs an editor's token.
    ///
    /// For a receiver that was told and has lost it: who takes each id once takes those that it does not have. No
    /// workflow runs anew by that.
    ResendWebhooks {
        /// The invoice's id, from `invoices list`.
        id: String,
    },
    /// The receipt of a settled invoice: what was counted, and what goes back. With `--output json` it is the document
    /// itself.
    Receipt {
        /// The invoice's id, from `invoices list`.
        id: String,
    },
}

#[derive(clap::Args)]
struct Create {
    /// How much, such as 12.50.
    amount: String,
    /// A currency such as EUR, or a token as CHAIN/SYMBOL.
    unit: String,
    /// What programs and workflows know it by.
    #[arg(long)]
    reference: Option<String>,
    /// What is bought, in a line.
    #[arg(long)]
    title: Option<String>,
    /// The same at length.
    #[arg(long)]
    description: Option<String>,
    /// Where the payer goes afterwards.
    #[arg(long)]
    return_url: Option<String>,
    /// For how many seconds it can be paid; else as the tenant has set.
    #[arg(long, value_name = "SECONDS")]
    expires: Option<u32>,
    /// A way to pay, CHAIN/SYMBOL/WAY; may be given again. Without it all that fit.
    #[arg(long = "method")]
    methods: Vec<String>,
}

impl Create {
    fn body(&self) -> Value {
        let mut body = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(name.to_owned(), value);
            }
        };
        let text = |text: &Option<String>| text.clone().map(Value::from);
        let unit = if self.unit.contains('/') {
            "token"
        } else {
            "currency"
        };
        put("amount", Some(self.amount.clone().into()));
        put(unit, Some(self.unit.clone().into()));
        put("reference", text(&self.reference));
        put("title", text(&self.title));
        put("description", text(&self.description));
        put("return_url", text(&self.return_url));
        put("expires_s", self.expires.map(Value::from));
        let methods = (!self.methods.is_empty()).then(|| json!(self.methods));
        put("methods", methods);
        body.into()
    }
}

/// Runs it.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.hub)?;
    match args.command {
        Command::Create(create) => {
            let made = client.post("/api/v1/invoices", &create.body()).await?;
            answer(args.output, &made)?;
        }
        Command::List { state, limit } => {
            let mut path = format!("/api/v1/invoices?limit={}", limit.min(1_000));
            if let Some(state) = state {
                path.push_str(&format!("&state={state}"));
            }
            let items = client.newest(&path, usize::try_from(limit)?).await?;
            let columns = [
                "created_us",
                "state",
                "price.amount",
                "price.currency",
                "reference",
                "title",
                "id",
            ];
            output::items(args.output, &items, &columns)?;
        }
        Command::Show { id } => {
            answer(args.output, &client.get(&path(&id)?).await?)?;
        }
        Command::Cancel { id } => {
            let path = format!("{}/cancel", path(&id)?);
            let cancelled = client.call(Method::POST, &path, None).await?;
            answer(args.output, &cancelled)?;
        }
        Command::Runs { id } => {
            let path = format!("{}/runs", path(&id)?);
            runs(args.output, &client.get(&path).await?)?;
        }
        Command::Start { id } => {
            let path = format!("{}/start", path(&id)?);
            runs(args.output, &client.call(Method::POST, &path, None).await?)?;
        }
        Command::ResendWebhooks { id } => {
            let path = format!("{}/webhooks", path(&id)?);
            let again = client.call(Method::POST, &path, None).await?;
            match args.output {
                Format::Json => output::json(&again)?,
                Format::Text => say!("{}", told_again(&again)),
            }
        }
        Command::Receipt { id } => {
            let path = format!("{}/receipt", path(&id)?);
            let receipt = client.get(&path).await?;
            match args.output {
                Format::Json => output::json(&receipt)?,
                Format::Text => output::fields(&receipt_fields(&receipt)),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The invoice's address; what is no id asks for nothing else.
fn path(id: &str) -> anyhow::Result<String> {
    if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        bail!(
            "{} is no invoice's id, which is 32 hexadecimal digits: `stencil invoices list` shows \
             them",
            output::escaped(id)
        );
    }
    Ok(format!("/api/v1/invoices/{}", id.to_ascii_lowercase()))
}

fn answer(format: Format, invoice: &Value) -> anyhow::Result<()> {
    match format {
        Format::Json => output::json(invoice)?,
        Format::Text => say!("{}", told(invoice)),
    }
    Ok(())
}

fn runs(format: Format, started: &Value) -> anyhow::Result<()> {
    match format {
        Format::Json => output::json(started)?,
        Format::Text => say!("{}", told_runs(started)),
    }
    Ok(())
}

/// What a payment has started, a line a run.
fn told_runs(started: &Value) -> String {
    let items = started["items"].as_array().cloned().unwrap_or_default();
    if items.is_empty() {
        let is = |name: &str| started[name].as_bool() == Some(true);
        return match (is("paid"), is("missed")) {
            (false, _) => "it is not paid, and has started nothing",
            (true, false) => "it is paid, and no workflow waits for it",
            (true, true) => {
                "it is paid, and has started nothing: no workflow was in force that waits for it. Put one in \
                 force, and `stencil invoices start` has it start"
            }
        }
        .to_owned();
    }
    let text = |value: &Value| output::escaped(value.as_str().unwrap_or_default());
    let lines = items.iter().map(|run| {
        let why = match run["error"].as_str() {
            Some(why) => format!(": {}", output::escaped(why)),
            None => String::new(),
        };
        let (workflow, state) = (text(&run["workflow"]), text(&run["state"]));
        format!("{workflow} {state}{why}\n  run {}", text(&run["run"]))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What comes of having an invoice's webhooks sent again.
fn told_again(again: &Value) -> &'static str {
    let is_any = again["again"].as_u64() != Some(0);
    match (again["webhook"].as_bool(), is_any) {
        (Some(false), _) => {
            "nothing is sent: the tenant has set no webhook (`webhook` of PUT /api/v1/payments/settings)"
        }
        (_, true) => "its webhooks are sent once more, with the ids that they had",
        (_, false) => {
            "nothing is sent again: nothing was told of it yet, it is still being tried, or it is kept no more"
        }
    }
}

/// An invoice in a few lines.
fn told(invoice: &Value) -> String {
    let text = |value: &Value| output::escaped(value.as_str().unwrap_or_default());
    let price = &invoice["price"];
    let unit = match price["currency"].as_str() {
        Some(currency) => output::escaped(currency),
        None => text(&price["token"]["symbol"]),
    };
    let mut told = format!(
        "{} {unit}: {} (version {})\n  invoice {}",
        text(&price["amount"]),
        text(&invoice["state"]),
        invoice["version"],
        text(&invoice["id"]),
    );
    let facets = invoice["facets"].as_object().into_iter().flatten();
    let holds: Vec<_> = facets
        .filter(|(_, holds)| holds.as_bool() == Some(true))
        .map(|(name, _)| name.replace('_', " "))
        .collect();
    if !holds.is_empty() {
        told.push_str(&format!("\n  {}", holds.join(", ")));
    }
    for name in ["reference", "title"] {
        if invoice[name].is_string() {
            told.push_str(&format!("\n  {name} {}", text(&invoice[name])));
        }
    }
    if let Some(at_us) = invoice["expires_us"].as_i64() {
        told.push_str(&format!("\n  can be paid until {} UTC", moment::utc(at_us)));
    }
    told.push_str(&format!("\n  checkout {}", text(&invoice["checkout_url"])));
    let all = |name: &str| invoice[name].as_array().cloned().unwrap_or_default();
    for method in all("methods") {
        told.push_str(&format!(
            "\n  due {} {} by {} to {}",
            text(&method["due"]["amount"]),
            text(&method["token"]["symbol"]),
            text(&method["name"]),
            text(&method["payee"]),
        ));
    }
    for payment in all("payments") {
        told.push_str(&format!(
            "\n  came {} by {} from {} in block {}{}",
            text(&payment["amount"]),
            text(&payment["method"]),
            text(&payment["from"]),
            payment["block"],
            match payment["counted"].as_bool() {
                Some(true) => "",
                _ => ", not deep enough yet",
            },
        ));
    }
    for refund in all("refunds") {
        told.push_str(&format!(
            "\n  back {} {}{}{}",
            text(&refund["amount"]),
            text(&refund["status"]),
            match refund["to"].as_str() {
                Some(to) => format!(" to {}", output::escaped(to)),
                None => ", nobody has said where to".to_owned(),
            },
            match (refund["stuck"].as_bool(), refund["waits"].as_str()) {
                (Some(true), Some(why)) if refund["managed"] == false => {
                    format!(", was not sent: {}", output::escaped(why))
                }
                (Some(true), Some(why)) => format!(", can't be sent: {}", output::escaped(why)),
                (Some(true), None) => ", can't be sent".to_owned(),
                _ if refund["unchecked"] == true => ", at the tenant's word".to_owned(),
                _ => String::new(),
            },
        ));
    }
    told
}

/// A receipt in a few lines; all of its values are texts.
fn receipt_fields(receipt: &Value) -> Vec<(&'static str, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let at = |value: &Value, units_a_second: i64| {
        let at = value.as_str().and_then(|at| at.parse::<i64>().ok());
        let at_us = at.and_then(|at| at.checked_mul(1_000_000 / units_a_second));
        at_us.map_or_else(
            || text(value),
            |at_us| format!("{} UTC", moment::utc(at_us)),
        )
    };
    let price = &receipt["price"];
    let mut fields = vec![
        ("invoice", text(&receipt["invoice"])),
        ("tenant", text(&receipt["tenant"])),
        (
            "price",
            format!("{} {}", text(&price["amount"]), text(&price["unit"])),
        ),
        (
            "settled",
            format!(
                "{} (settlement {})",
                at(&receipt["settled_us"], 1_000_000),
                text(&receipt["round"])
            ),
        ),
    ];
    let all = |name: &str| receipt[name].as_array().cloned().unwrap_or_default();
    for paid in all("payments") {
        let said = |name: &str| text(&paid[name]);
        fields.push(("paid", format!("{} {}", said("amount"), said("asset"))));
        fields.push(("  when", at(&paid["time_s"], 1)));
        fields.push(("  from", said("from")));
        fields.push(("  to", said("to")));
        fields.push((
            "  block",
            format!("{} ({})", said("block_number"), said("block")),
        ));
        fields.push(("  key", said("key")));
        let rate = &paid["rate"];
        if rate.is_object() {
            fields.push((
                "  rate",
                format!(
                    "{}/{} by {}, {}",
                    text(&rate["numerator"]),
                    text(&rate["denominator"]),
                    text(&rate["source"]),
                    at(&rate["at_us"], 1_000_000)
                ),
            ));
        }
    }
    for back in all("refunds") {
        let said = |name: &str| text(&back[name]);
        fields.push((
            "back",
            format!("{} {}, {}", said("amount"), said("asset"), said("status")),
        ));
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(words: &[&str]) -> Value {
        let all = ["invoices", "create"].iter().chain(words).copied();
        let args = Args::try_parse_from(all).unwrap();
        let Command::Create(create) = args.command else {
            panic!("another command");
        };
        create.body()
    }

    #[test]
    fn a_unit_with_a_slash_is_a_token() {
        assert_eq!(
            create(&["12.50", "EUR", "--reference", "locker-7", "--expires", "60"]),
            json!({
                "amount": "12.50", "currency": "EUR", "reference": "locker-7", "expires_s": 60,
            })
        );
        assert_eq!(
            create(&["1", "base/USDC", "--method", "base/USDC/contract"]),
            json!({ "amount": "1", "token": "base/USDC", "methods": ["base/USDC/contract"] })
        );
    }

    #[test]
    fn a_receipt_is_told_with_what_proves_it() {
        let told = output::fields_text(&receipt_fields(&json!({
            "format": "stencil-receipt/2", "invoice": "1a", "tenant": "acme", "round": "1",
            "settled_us": "1386018900000000",
            "price": { "amount": "2.50", "unit": "EUR", "units": "250" },
            "payments": [{
                "amount": "0.001", "asset": "1/0x05", "block": "0x06", "block_number": "10",
                "from": "0x07", "key": "1:0x08:0", "time_s": "1386018840", "to": "0x09", "units": "1000",
                "rate": {
                    "at_us": "1386018840000000", "numerator": "2500", "denominator": "1",
                    "source": "tenant\u{1b}",
                },
            }],
            "refunds": [{ "amount": "0.0002", "asset": "1/0x05", "id": "ab", "status": "due", "units": "200" }],
        })));
        for line in [
            "invoice  1a\n",
            "price    2.50 EUR\n",
            "settled  2013-12-02 21:15:00 UTC (settlement 1)\n",
            "paid     0.001 1/0x05\n",
            "  when   2013-12-02 21:14:00 UTC\n",
            "  from   0x07\n",
            "  block  10 (0x06)\n",
            "  key    1:0x08:0\n",
            "  rate   2500/1 by tenant\\u{1b}, 2013-12-02 21:14:00 UTC\n",
            "back     0.0002 1/0x05, due\n",
        ] {
            assert!(told.contains(line), "{line}: {told}");
        }
    }

    #[test]
    fn what_is_no_id_asks_for_nothing_else() {
        assert!(path("../users").is_err());
        let id = "AB".repeat(16);
        assert_eq!(
            path(&id).unwrap(),
            format!("/api/v1/invoices/{}", "ab".repeat(16))
        );
    }

    #[test]
    fn what_a_payment_started_is_told_and_that_it_started_nothing() {
        let told = |paid: bool, missed: bool| {
            told_runs(&json!({ "paid": paid, "missed": missed, "items": [] }))
        };
        assert!(told(false, false).contains("not paid"));
        assert!(told(true, false).contains("no workflow waits for it"));
        assert!(told(true, true).contains("`stencil invoices start`"));
        let run = json!({ "workflow": "w", "run": "7f", "state": "failed", "error": "not started\u{1b}" });
        let told = told_runs(&json!({ "paid": true, "missed": false, "items": [run] }));
        assert!(told.starts_with("w failed: not started"), "{told}");
        assert!(
            told.ends_with("run 7f") && !told.contains('\u{1b}'),
            "{told:?}"
        );
    }

    #[test]
    fn who_has_webhooks_sent_again_is_told_whether_any_is() {
        let of =
            |again: u64, webhook: bool| told_again(&json!({ "again": again, "webhook": webhook }));
        assert!(of(4, true).starts_with("its webhooks are sent once more"));
        assert!(of(0, true).starts_with("nothing is sent again"));
        assert!(of(4, false).contains("has set no webhook"));
        let args = ["invoices", "resend-webhooks", "1a"];
        assert!(Args::try_parse_from(args).is_ok());
    }

    #[test]
    fn an_invoice_is_told_with_all_that_matters() {
        let told = told(&json!({
            "id": "1a", "version": 3, "state": "settled",
            "facets": { "overpaid": true, "late": false },
            "price": { "amount": "2.50", "currency": "EUR" },
            "reference": "locker-7\u{1b}[2J",
            "payments": [{ "amount": "5.000000", "method": "m", "from": "0x1", "block": 9, "counted": true }],
            "refunds": [
                { "amount": "2.500000", "status": "due", "to": null },
                { "amount": "1.00", "status": "due", "to": "0x7", "stuck": true, "waits": "over the limit" },
            ],
        }));
        for part in [
            "2.50 EUR: settled (version 3)",
            "overpaid",
            "came 5.000000",
            "back 2.500000 due, nobody has said where to",
            "back 1.00 due to 0x7, can't be sent: over the limit",
        ] {
            assert!(told.contains(part), "{told}");
        }
        assert!(!told.contains('\u{1b}'), "{told:?}");
    }
}
