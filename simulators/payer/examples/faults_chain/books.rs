//! What an invoice, the ledger and the workflow's notes say, against what the chain has.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{B256, U256};
use serde_json::Value;

use crate::api::Api;
use crate::shop::Credit;
use crate::world::PAYEE;

/// Differences that are told of one kind.
const MOST: usize = 5;
/// Entries of a page of the journal.
const PAGE: u32 = 1_000;

/// An invoice holds these credits and no other, each once; where all is deep enough (`due`), they all
/// count, and it is settled when they come to what is due.
pub(crate) fn invoice(view: &Value, credits: &[Credit], due: Option<U256>) -> Result<(), String> {
    let mut held = Vec::new();
    let mut keys = Vec::new();
    for payment in view["payments"].as_array().into_iter().flatten() {
        let tx: Option<B256> = payment["tx"].as_str().and_then(|tx| tx.parse().ok());
        let units = payment["units"].as_str();
        let units = units.and_then(|units| U256::from_str_radix(units, 10).ok());
        held.push(tx.zip(units).ok_or("a payment of another form")?);
        keys.push(payment["key"].to_string());
        if due.is_some() && payment["counted"] != true {
            return Err(format!("{payment} does not count"));
        }
    }
    let mut credits = credits.to_vec();
    held.sort_unstable();
    credits.sort_unstable();
    if held != credits {
        return Err(format!("holds {held:?}; the chain has {credits:?}"));
    }
    keys.sort_unstable();
    if keys.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(format!("counts a payment twice: {keys:?}"));
    }
    let Some(due) = due else {
        return Ok(());
    };
    let sum: U256 = credits.iter().map(|(_, amount)| *amount).sum();
    let state = view["state"].as_str().unwrap_or_default();
    let right = match sum {
        sum if sum.is_zero() => state == "new",
        sum => (state == "settled") == (sum >= due),
    };
    let overpaid = view["facets"]["overpaid"] == true;
    if !right || overpaid != (sum > due) {
        return Err(format!(
            "is {state} ({}); {sum} of {due} has come",
            view["facets"]
        ));
    }
    Ok(())
}

/// What the workflow has written because of payments: once for each invoice that is paid, and at most
/// once for one whose payment has gone again.
pub(crate) async fn notes(api: &Api, paid: &BTreeSet<String>) -> Vec<String> {
    let entries = match api.items("/api/v1/content/paid").await {
        Ok(entries) => entries,
        Err(error) => return vec![error.to_string()],
    };
    let mut problems = Vec::new();
    let mut missing = paid.clone();
    for entry in &entries {
        let (key, versions) = (text(&entry["key"]), entry["version"].as_u64());
        missing.remove(&key);
        if versions != Some(1) {
            problems.push(format!("the workflow wrote of {key} {versions:?} times"));
        }
    }
    problems.extend(
        missing
            .iter()
            .map(|reference| format!("the workflow wrote nothing of {reference}, which is paid")),
    );
    problems
}

/// The journal, as far as it was read.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Debits and credits by asset and account.
    sums: BTreeMap<(String, String), [U256; 2]>,
    /// Behind the last whole page.
    after: Option<String>,
    /// Entries of the page that begins there.
    taken: usize,
    pub(crate) entries: usize,
    /// Entries that do not balance stay wrong.
    unbalanced: Vec<String>,
}

impl Ledger {
    /// Reads on. Each entry balances, they make the balances, and the payee's wallet with what is of no
    /// invoice is what the payee has on the chain.
    pub(crate) async fn look(
        &mut self,
        api: &Api,
        holds: U256,
        strays: &BTreeSet<Credit>,
    ) -> Vec<String> {
        match self.read(api, holds, strays).await {
            Ok(problems) => problems,
            Err(why) => vec![why],
        }
    }

    async fn read(
        &mut self,
        api: &Api,
        holds: U256,
        strays: &BTreeSet<Credit>,
    ) -> Result<Vec<String>, String> {
        loop {
            let after = self.after.as_ref().map(|after| format!("&after={after}"));
            let after = after.unwrap_or_default();
            let path = format!("/api/v1/payments/journal?limit={PAGE}{after}");
            let page = ask(api, &path).await?;
            let items = page["items"].as_array().ok_or("a journal")?;
            for entry in items.iter().skip(self.taken) {
                self.take(entry)?;
            }
            match page["next"].as_str() {
                Some(next) => (self.after, self.taken) = (Some(next.to_owned()), 0),
                None => {
                    self.taken = items.len();
                    break;
                }
            }
        }
        let mut problems = self.unbalanced.clone();
        let balances = ask(api, "/api/v1/payments/balances").await?;
        let mut booked = BTreeMap::new();
        for balance in balances["items"].as_array().into_iter().flatten() {
            let account = (text(&balance["asset"]), text(&balance["account"]));
            let sides = [number(&balance["debits"])?, number(&balance["credits"])?];
            booked.insert(account, sides);
        }
        for (account, sides) in &self.sums {
            let booked = booked.remove(account).unwrap_or_default();
            if booked != *sides {
                problems.push(format!(
                    "{account:?}: balance {booked:?}, the journal makes {sides:?}"
                ));
            }
        }
        for (account, booked) in booked {
            problems.push(format!(
                "{account:?}: balance {booked:?}, of which the journal has nothing"
            ));
        }
        let wallet = format!("wallet:{PAYEE:#x}");
        let wallets = self.sums.iter();
        let wallets = wallets.filter(|((_, account), _)| account.eq_ignore_ascii_case(&wallet));
        let held: U256 = wallets
            .map(|(_, [debits, credits])| debits.saturating_sub(*credits))
            .sum();
        let stray: U256 = strays.iter().map(|(_, amount)| *amount).sum();
        if held + stray != holds {
            problems.push(format!(
                "{wallet} holds {held} by the ledger, {stray} is of no invoice, and {holds} is on the chain"
            ));
        }
        let unmatched = api.items("/api/v1/payments/unmatched").await;
        let mut told = BTreeSet::new();
        let mut folded = U256::ZERO;
        for item in unmatched.map_err(|error| error.to_string())? {
            if item["reason"] == "folded" {
                folded += number(&item["amount"])?;
                continue;
            }
            let key = text(&item["key"]);
            let tx = key.split(':').nth(1).and_then(|tx| tx.parse().ok());
            let tx: B256 = tx.ok_or("an unmatched payment of another form")?;
            if !told.insert((tx, number(&item["amount"])?)) {
                problems.push(format!("{key} is of no invoice, twice"));
            }
        }
        // The smallest of a day are told as what they come to.
        let untold: U256 = strays.difference(&told).map(|(_, amount)| *amount).sum();
        let is_summed = untold == folded;
        let wrong = strays.symmetric_difference(&told);
        let wrong = wrong.filter(|stray| !is_summed || told.contains(*stray));
        for (tx, amount) in wrong.take(MOST) {
            let which = match told.contains(&(*tx, *amount)) {
                true => "the hub says that it is of no invoice",
                false => "the hub does not know it, which is of no invoice",
            };
            problems.push(format!("{amount} by {tx}: {which}"));
        }
        Ok(problems)
    }

    fn take(&mut self, entry: &Value) -> Result<(), String> {
        let mut sides = [U256::ZERO; 2];
        for line in entry["lines"].as_array().into_iter().flatten() {
            let is_credit = match line["side"].as_str() {
                Some("debit") => false,
                Some("credit") => true,
                _ => return Err(format!("a line of neither side: {line}")),
            };
            let (side, amount) = (usize::from(is_credit), number(&line["amount"])?);
            sides[side] += amount;
            let account = (text(&entry["asset"]), text(&line["account"]));
            self.sums.entry(account).or_default()[side] += amount;
        }
        self.entries += 1;
        if sides[0] != sides[1] || sides[0].is_zero() {
            self.unbalanced
                .push(format!("an entry does not balance: {entry}"));
        }
        Ok(())
    }
}

async fn ask(api: &Api, path: &str) -> Result<Value, String> {
    let answer = api.send("GET", path, None, None).await;
    answer.map_err(|error| error.to_string())
}

fn number(value: &Value) -> Result<U256, String> {
    let digits = value.as_str().unwrap_or_default();
    U256::from_str_radix(digits, 10).map_err(|_| format!("{value} is no amount"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
