//! The part of the story in which somebody pays: a locker that opens, a payment that is reorganised
//! away and comes back, data and a command that are bought by x402, a wallet that signs in, a device that is
//! sold, a right that opens a door without the hub.

mod buyer;
pub(crate) mod offline;
mod passport;
mod signing;
mod visit;

use std::time::Duration;

use alloy_primitives::{Address, Bytes, TxKind, U256};
use anyhow::{Context as _, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use stencil_payer::Call;

use super::chain::Chain;
use super::layout::{Layout, TENANT};
use super::story::{Narrator, id};
use crate::api::Client;
use buyer::Buyer;
use signing::Signing;

const WORKFLOWS: [&str; 3] = [
    include_str!("workflows/locker-paid.yaml"),
    include_str!("workflows/hatch-paid.yaml"),
    include_str!("workflows/right-bought.yaml"),
];

/// Locks that nothing but payments and owners open: no freezer is behind them.
pub(crate) const LOCKS: [&str; 3] = [LOCKER, HATCH, passport::DEVICE];
const LOCKER: &str = "lock-21";
const HATCH: &str = "lock-22";
/// What these carry out: the first shut and opened, twice; the second shut, opened, shut, opened; the third
/// shut by its seller, opened by its buyer, and nothing that was refused.
pub(crate) const COMMANDS: usize = 10;
/// A device that never answers.
const AWAY: &str = "lock-away";
/// The series that is sold.
const FEED: &str = "freezer-01";
/// What things cost, in base units.
const HATCH_PRICE: u64 = 1_250_000;
/// The most that the hub may spend for the tenant in a day: a coin, for gas.
const GAS_LIMIT: &str = "1000000000000000000";
/// Gas that a transaction of a checkout takes at most.
const GAS: u64 = 300_000;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// How long one thing may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A step of the report: its name, and what was seen.
pub(crate) type Played = (&'static str, anyhow::Result<String>);

/// What the shop needs of the hub: ways to pay, workflows, offers, and what may be spent on gas.
pub(crate) async fn open(layout: &Layout, chain: &Chain) -> anyhow::Result<()> {
    let client = Client::with(&layout.base(), &layout.token)?;
    let operator = Client::with(&layout.base(), &layout.operator)?;
    let shop = chain.shop.to_checksum(None);
    put(
        &operator,
        &format!("/api/v1/operator/tenants/{TENANT}/spend-limits"),
        &json!({ "chain": chain.name, "window_s": 86_400, "most": GAS_LIMIT }),
    )
    .await?;
    // Until the chain has confirmed what is set of the dollar, nothing can be sold for it.
    let settings = json!({
        "methods": [{
            "chain": chain.name,
            "token": "DUSD",
            "way": "unique_amount",
            "payee": shop,
            "confirmations": 1,
        }],
    });
    until("the dollar to be confirmed", async || {
        Ok(put(&client, "/api/v1/payments/settings", &settings)
            .await
            .ok())
    })
    .await?;
    for text in WORKFLOWS {
        let definition = stencil_workflow::definition::parse(text)?;
        let path = format!("/api/v1/workflows/{}", definition.id);
        let body = ("application/yaml", text.as_bytes().to_vec());
        client.call(Method::PUT, &path, Some(body)).await?;
    }
    let price = |amount: &str| {
        json!({
            "chain": chain.name,
            "token": chain.dollar.to_checksum(None),
            "amount": amount,
            "pay_to": shop,
        })
    };
    let feed = json!({
        "sells": { "series": { "device": FEED, "name": "temperature", "longest_span_s": 86_400 } },
        "description": "The temperatures of a freezer",
        "prices": [price("0.01")],
    });
    put(&client, "/api/v1/offers/freezer-feed", &feed).await?;
    let mut command = price("0.50");
    command["loss_limit"] = "2".into();
    let away = json!({
        "sells": { "command": {
            "device": AWAY,
            "name": "unlock",
            "expires_in_s": 3,
            "undo": { "name": "lock" },
        } },
        "prices": [command],
        "settle_s": 5,
    });
    put(&client, "/api/v1/offers/locker-away", &away).await?;
    passport::open(&client, chain).await
}

/// Plays it; `narrator` tells it as it happens.
pub(crate) async fn play(layout: &Layout, chain: &Chain, narrator: &Narrator) -> Vec<Played> {
    let shop = match Shop::new(layout, chain, narrator) {
        Ok(shop) => shop,
        Err(error) => return vec![("payment-opens-lock", Err(error))],
    };
    // Each with devices and money of its own; what a buyer sends is sent in order.
    let bought = async {
        shop.devices_are_there().await;
        // What the reorganisation does away with is no part of a sale.
        let (opened, issued) =
            tokio::join!(shop.payment_opens_lock(), shop.passport_issued(layout));
        let compensated = shop.reorg_compensated().await;
        let sold = async { shop.passport_sold(issued?).await };
        let rest = async { (shop.buys_series().await, shop.signs_in(layout).await) };
        let (sold, (series, signed_in)) = tokio::join!(sold, rest);
        (opened, compensated, series, signed_in, sold)
    };
    let ((opened, compensated, series, signed_in, sold), unacknowledged) =
        tokio::join!(bought, shop.command_unacknowledged());
    vec![
        ("payment-opens-lock", opened),
        ("reorg-compensated", compensated),
        ("x402-series", series),
        ("x402-command-unacknowledged", unacknowledged),
        ("wallet-sign-in", signed_in),
        ("passport-sold", sold),
    ]
}

struct Shop<'a> {
    chain: &'a Chain,
    client: Client,
    buyer: Buyer<'a>,
    narrator: &'a Narrator,
}

impl<'a> Shop<'a> {
    fn new(layout: &Layout, chain: &'a Chain, narrator: &'a Narrator) -> anyhow::Result<Self> {
        Ok(Self {
            chain,
            client: Client::with(&layout.base(), &layout.token)?,
            buyer: Buyer::new(layout, chain)?,
            narrator,
        })
    }

    /// Waits until the hub has heard of the devices; what is missing is said by the steps.
    async fn devices_are_there(&self) {
        let locks = LOCKS.map(|lock| (lock, "bolt"));
        for (device, name) in locks.into_iter().chain([(FEED, "temperature")]) {
            let path = format!("/api/v1/devices/{device}/series/{name}?limit=1");
            let there = until(device, async || Ok(self.client.get(&path).await.ok()));
            let _ = there.await;
        }
    }

    /// An invoice, its checkout, a token transfer; the locker opens when that is final, and says so.
    async fn payment_opens_lock(&self) -> anyhow::Result<String> {
        self.command(LOCKER, "lock").await?;
        self.bolt(LOCKER, true).await?;
        let invoice = self
            .invoice("locker-21", "Locker 21, an hour", "2.50", LOCKER)
            .await?;
        self.tell(format!(
            "a buyer is shown the checkout of {}",
            self.checkout(&invoice)
        ));
        let block = self.pay(&invoice).await?;
        self.tell("the payment is in a block; the locker stays shut until it is final");
        let run = self.run_of(&invoice, "locker-paid").await?;
        self.bolt(LOCKER, false).await?;
        let height = self.chain.rpc.height().await?;
        ensure!(
            height + 1 >= block + super::chain::FINAL,
            "the locker opened {} blocks after the payment's, and {} are final",
            height - block,
            super::chain::FINAL
        );
        let run = until("the run to end", async || {
            let run = self.client.get(&format!("/api/v1/runs/{run}")).await?;
            Ok((run["state"] == "done").then_some(run))
        })
        .await?;
        let invoice = self.settled(&invoice).await?;
        self.tell("the locker is open, and has reported back");
        Ok(format!(
            "{} DUSD in block {block}, invoice {}, run {} done, the bolt is drawn",
            paid(&invoice),
            invoice["state"].as_str().unwrap_or_default(),
            &id(&run)[..8],
        ))
    }

    /// The payment of a hatch leaves the chain: the hatch closes; the payment comes back: it opens. One
    /// charge in the end.
    async fn reorg_compensated(&self) -> anyhow::Result<String> {
        self.command(HATCH, "lock").await?;
        self.bolt(HATCH, true).await?;
        let before = self.revenue().await?;
        let had = self.chain.balance(self.chain.buyer.address()).await?;
        let invoice = self.invoice("hatch-22", "Hatch 22", "1.25", HATCH).await?;
        let raw = self.sign_payment(&invoice).await?;
        let block = self.send(&raw).await?;
        self.bolt(HATCH, false).await?;
        self.tell("a hatch is paid, and opens at once");
        let depth = self.reorganise(block).await?;
        self.tell(format!(
            "the chain is reorganised, {depth} blocks deep: the payment is gone"
        ));
        self.bolt(HATCH, true).await?;
        self.tell("the hatch is shut again");
        // Whoever sent it sends it again: the same bytes.
        let block = self.send(&raw).await?;
        self.bolt(HATCH, false).await?;
        self.tell("the payment is back, the hatch is open");
        let invoice = self.settled(&invoice).await?;
        let run = self.run_of(&invoice_id(&invoice), "hatch-paid").await?;
        let run = self.client.get(&format!("/api/v1/runs/{run}")).await?;
        let turns = run["turns"].as_array().map_or(0, Vec::len);
        ensure!(
            turns >= 3,
            "the run's timeline has {turns} turns: {}",
            run["turns"]
        );
        let spent = had - self.chain.balance(self.chain.buyer.address()).await?;
        ensure!(
            spent == U256::from(HATCH_PRICE) + change(&invoice),
            "the buyer has spent {spent} base units"
        );
        let earned = until("the revenue to be booked", async || {
            let earned = self.revenue().await? - before;
            Ok((earned == spent).then_some(earned))
        })
        .await?;
        Ok(format!(
            "opened, shut, opened again by a payment in block {block}; spent {spent}, booked {earned} base units"
        ))
    }

    /// A program pays for a series, and gets it; the same payment again is not charged again.
    async fn buys_series(&self) -> anyhow::Result<String> {
        let payer = self.chain.buyer.address();
        let had = self.chain.balance(payer).await?;
        let bought = self.buyer.buys("freezer-feed").await?;
        let points = bought.body["items"].as_array().map_or(0, Vec::len);
        ensure!(points > 0, "the series has no points: {}", bought.body);
        let again = self.buyer.shows("freezer-feed", &bought.payment).await?;
        ensure!(
            again.body == bought.body,
            "the same payment gave another answer"
        );
        let spent = had - self.chain.balance(payer).await?;
        ensure!(
            spent == U256::from(10_000),
            "it cost {spent} base units, not 10000"
        );
        self.tell(format!(
            "a program bought {points} temperatures for 0.01 DUSD"
        ));
        Ok(format!(
            "{points} points for {spent} base units, transaction {}",
            bought.transaction
        ))
    }

    /// A device that says nothing is not paid for.
    async fn command_unacknowledged(&self) -> anyhow::Result<String> {
        let ordered = self.buyer.orders("locker-away").await?;
        self.tell("a program orders a command of a device that is away");
        let ended = until("the charge to end", async || {
            let state = self.buyer.status(&ordered.location).await?;
            let ended = !matches!(state["state"].as_str(), Some("acting" | "capturing"));
            Ok(ended.then_some(state))
        })
        .await?;
        ensure!(ended["state"] == "free", "the charge is {}", ended["state"]);
        let used = self.chain.authorization_used(ordered.nonce).await?;
        ensure!(!used, "the authorisation was used");
        self.tell("the device has said nothing: nothing was charged");
        Ok("no acknowledgement, state `free`, the authorisation was never used".to_owned())
    }

    /// The buyer's wallet signs in to the hub.
    async fn signs_in(&self, layout: &Layout) -> anyhow::Result<String> {
        let signing = Signing::new(layout, self.chain, &self.client)?;
        signing.plays(|line| self.narrator.tell(line)).await
    }

    fn tell(&self, line: impl AsRef<str>) {
        self.narrator.tell(line);
    }

    fn checkout(&self, invoice: &str) -> String {
        format!("{}/pay/{invoice}", self.buyer.base())
    }

    async fn command(&self, device: &str, name: &str) -> anyhow::Result<()> {
        let path = format!("/api/v1/devices/{device}/commands");
        self.client.post(&path, &json!({ "name": name })).await?;
        Ok(())
    }

    /// Waits until a lock says where its bolt is.
    async fn bolt(&self, device: &str, shot: bool) -> anyhow::Result<()> {
        let what = if shot { "shot" } else { "drawn" };
        until(&format!("the bolt of {device} to be {what}"), async || {
            let latest = self
                .client
                .get(&format!("/api/v1/devices/{device}/latest"))
                .await?;
            let values = latest.as_array().or_else(|| latest["items"].as_array());
            let bolt = values
                .into_iter()
                .flatten()
                .find(|value| value["name"] == "bolt");
            Ok(bolt.is_some_and(|bolt| bolt["value"] == shot).then_some(()))
        })
        .await
    }

    async fn invoice(
        &self,
        reference: &str,
        title: &str,
        amount: &str,
        device: &str,
    ) -> anyhow::Result<String> {
        let wanted = json!({
            "amount": amount,
            "token": format!("{}/DUSD", self.chain.name),
            "reference": reference,
            "title": title,
            "metadata": { "device": device },
        });
        let made = self.client.post("/api/v1/invoices", &wanted).await?;
        Ok(invoice_id(&made))
    }

    /// What the checkout asks a wallet for, signed.
    async fn sign_payment(&self, invoice: &str) -> anyhow::Result<Vec<Bytes>> {
        let (status, text) = self
            .client
            .public(&format!("/pay/{invoice}/checkout"))
            .await?;
        ensure!(status == 200, "the checkout answers {status}: {text}");
        let checkout: Value = serde_json::from_str(&text)?;
        let asked = checkout["methods"][0]["transactions"]
            .as_array()
            .context("the checkout asks for no transactions")?;
        let mut nonce = self.chain.buyer_nonce().await?;
        let mut signed = Vec::new();
        for transaction in asked {
            let to: Address = serde_json::from_value(transaction["to"].clone())?;
            let input: Option<Bytes> = serde_json::from_value(transaction["data"].clone())?;
            let value: Option<U256> = serde_json::from_value(transaction["value"].clone())?;
            let call = Call {
                to: TxKind::Call(to),
                input: input.unwrap_or_default(),
                value: value.unwrap_or_default(),
                gas_limit: GAS,
            };
            signed.push(self.chain.buyer.sign(nonce, &call)?);
            nonce += 1;
        }
        Ok(signed)
    }

    /// Sends what is signed; gives the last one's block.
    async fn send(&self, signed: &[Bytes]) -> anyhow::Result<u64> {
        self.chain.rpc.send(signed).await
    }

    /// Replaces all blocks from this one on by others without transactions; gives how many.
    async fn reorganise(&self, from: u64) -> anyhow::Result<u64> {
        loop {
            let height = self.chain.rpc.height().await?;
            let depth = height - from + 1;
            self.chain
                .rpc
                .call("anvil_reorg", json!([depth, []]))
                .await?;
            // A block may have come in between.
            let block = json!([format!("{from:#x}"), false]);
            let block = self.chain.rpc.call("eth_getBlockByNumber", block).await?;
            if block["transactions"].as_array().is_some_and(Vec::is_empty) {
                return Ok(depth);
            }
        }
    }

    async fn pay(&self, invoice: &str) -> anyhow::Result<u64> {
        let signed = self.sign_payment(invoice).await?;
        self.send(&signed).await
    }

    async fn settled(&self, invoice: &str) -> anyhow::Result<Value> {
        until("the invoice to be settled", async || {
            let invoice = self
                .client
                .get(&format!("/api/v1/invoices/{invoice}"))
                .await?;
            Ok((invoice["state"] == "settled").then_some(invoice))
        })
        .await
    }

    /// The run of a workflow that an invoice caused: exactly one.
    async fn run_of(&self, invoice: &str, workflow: &str) -> anyhow::Result<String> {
        until("a run for the invoice", async || {
            let runs = self
                .client
                .list(&format!("/api/v1/runs?workflow={workflow}"))
                .await?;
            let mut of = runs
                .iter()
                .filter(|run| run["event"]["invoice"] == *invoice);
            let first = of.next().map(id);
            ensure!(of.next().is_none(), "the invoice has more than one run");
            Ok(first)
        })
        .await
    }

    /// What was earned in the dollar, by the ledger, in base units.
    async fn revenue(&self) -> anyhow::Result<U256> {
        let balances = self.client.get("/api/v1/payments/balances").await?;
        let items = balances.as_array().or_else(|| balances["items"].as_array());
        let mut sum = U256::ZERO;
        for balance in items.into_iter().flatten() {
            if balance["account"] == "revenue" {
                let of = |side: &str| -> anyhow::Result<U256> {
                    Ok(balance[side].as_str().unwrap_or("0").parse()?)
                };
                sum += of("credits")? - of("debits")?;
            }
        }
        Ok(sum)
    }
}

/// Looks again and again.
async fn until<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let looking = async {
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let looked = tokio::time::timeout(LIMIT, looking).await;
    looked.with_context(|| format!("waited {} s for {what}", LIMIT.as_secs()))?
}

async fn put(client: &Client, path: &str, body: &Value) -> anyhow::Result<Value> {
    let body = ("application/json", body.to_string().into_bytes());
    client.call(Method::PUT, path, Some(body)).await
}

fn invoice_id(invoice: &Value) -> String {
    invoice["id"].as_str().unwrap_or_default().to_owned()
}

/// What was paid, as the invoice says.
fn paid(invoice: &Value) -> &str {
    invoice["payments"][0]["amount"]
        .as_str()
        .unwrap_or_default()
}

/// What an amount is beyond the price, so that no other open invoice has it: base units.
fn change(invoice: &Value) -> U256 {
    let units = |value: &Value| -> U256 {
        let text = value["units"].as_str().unwrap_or("0");
        text.parse().unwrap_or_default()
    };
    units(&invoice["methods"][0]["due"]).saturating_sub(units(&invoice["price"]))
}
