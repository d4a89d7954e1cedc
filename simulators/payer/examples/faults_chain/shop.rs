//! Invoices, as those who make and pay them know them.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{B256, U256};
use serde_json::{Value, json};

use crate::api::{Api, Refused};
use crate::chance::Chance;
use crate::doors;
use crate::oracle::{self, Named};
use crate::world::{PAYEE, World};

/// More than any invoice is over.
const NO_INVOICE: U256 = U256::from_limbs([50_000_000, 0, 0, 0]);
/// The ways to pay.
pub(crate) const WAYS: [&str; 3] = ["authorization", "contract", "unique_amount"];

/// What a payment comes to: transaction and amount.
pub(crate) type Credit = (B256, U256);

/// An invoice.
pub(crate) struct Invoice {
    pub(crate) id: String,
    pub(crate) reference: String,
    pub(crate) due: U256,
    pub(crate) way: &'static str,
}

/// What the chain has for whom.
pub(crate) struct Expected {
    /// By the invoices' places: all that each holds, of this round and of those before.
    pub(crate) invoices: BTreeMap<usize, Vec<Credit>>,
    /// Credits among them that came in this round.
    pub(crate) came: usize,
    /// Of no invoice.
    pub(crate) strays: BTreeSet<Credit>,
}

/// An invoice that was asked for.
struct Asked {
    reference: String,
    way: &'static str,
    wanted: Value,
    /// How often a hub ended before it answered; each time the key is another one.
    cut_off: u32,
    is_again: bool,
}

/// Who makes invoices, and what each is paid by.
#[derive(Default)]
pub(crate) struct Shop {
    pub(crate) invoices: Vec<Invoice>,
    /// Whose payments are named so.
    named: BTreeMap<Named, usize>,
    /// Those that were made or paid in this round.
    touched: BTreeSet<usize>,
    /// What the blocks before this round have for each: no other branch replaces them any more.
    before: BTreeMap<usize, Vec<Credit>>,
    /// Up to where that was read.
    before_until: u64,
    asked: u64,
    /// Nobody knows whether it was made: it is asked for again, by the same key.
    unanswered: Option<Asked>,
    strayed: u64,
    pub(crate) brought: u32,
    pub(crate) problems: Vec<String>,
}

impl Shop {
    pub(crate) async fn begin_round(&mut self, world: &World) {
        self.touched.clear();
        let (from, until) = (self.before_until, world.round_from);
        let mut logs = oracle::canonical(&world.truth, from).await;
        logs.retain(|log| log.place().0 < until);
        for ((tx, _), (named, amount)) in oracle::credits(&world.watched(), &logs) {
            if let Some(place) = self.named.get(&named) {
                self.before.entry(*place).or_default().push((tx, amount));
            }
        }
        self.before_until = until;
    }

    /// Makes an invoice, or takes one that is there, and pays all of it, a part or too much, by what
    /// its checkout says. A hub that does not answer makes none, and nobody pays.
    pub(crate) async fn pay(&mut self, api: &Api, world: &mut World, mut chance: Chance) {
        if chance.percent(6) {
            return self.stray(world, &mut chance).await;
        }
        let place = if chance.percent(20) && !self.touched.is_empty() {
            let at = chance.between(0, self.touched.len() as u64 - 1) as usize;
            self.touched.iter().nth(at).copied()
        } else {
            self.make(api, &mut chance).await
        };
        let Some(place) = place else {
            return;
        };
        let invoice = &self.invoices[place];
        let path = format!("/pay/{}/checkout", invoice.id);
        let Ok(checkout) = api.send("GET", &path, None, None).await else {
            return;
        };
        let method = &checkout["methods"][0];
        let Some((named, due)) = what_to_pay(invoice.way, method) else {
            return;
        };
        let other = self.named.insert(named, place);
        if other.is_some_and(|other| other != place) {
            self.problems
                .push(format!("two invoices are paid by {named:?}"));
            return;
        }
        let payer = world.payer(&mut chance);
        self.touched.insert(place);
        if let Named::Nonce(nonce) = named
            && chance.percent(50)
        {
            // What the hub brings has to be exactly what is open.
            let mut signed = world.authorization(payer, nonce, due);
            signed["attempt"] = method["attempt"].clone();
            let path = format!("/pay/{}/authorization", invoice.id);
            let taken = api.send("POST", &path, Some(&signed), None).await;
            match taken {
                Ok(_) => {
                    self.brought += 1;
                    world.promise(payer, nonce, due, true);
                }
                // The hub may have it.
                Err(error) if error.temporary => world.promise(payer, nonce, due, false),
                Err(_) => {}
            }
            return;
        }
        let amount = match (invoice.way, chance.between(0, 9)) {
            ("unique_amount", _) | (_, 0..7) => due,
            (_, 7) => due / U256::from(3) + U256::from(1),
            _ => due + U256::from(chance.between(1, 1_000_000)),
        };
        world.pay_for(payer, named, amount).await;
    }

    /// Somebody sends an amount that no invoice has.
    async fn stray(&mut self, world: &mut World, chance: &mut Chance) {
        self.strayed += 1;
        let amount = NO_INVOICE + U256::from(self.strayed);
        let payer = world.payer(chance);
        world.pay_for(payer, Named::Amount(amount), amount).await;
    }

    async fn make(&mut self, api: &Api, chance: &mut Chance) -> Option<usize> {
        let mut asked = self.ask_for(chance);
        let key = format!("{}-{}", asked.reference, asked.cut_off);
        let (path, wanted) = ("/api/v1/invoices", Some(&asked.wanted));
        let made = match api.send("POST", path, wanted, Some(&key)).await {
            Ok(made) => made,
            Err(error) if error.temporary => {
                self.unanswered = Some(asked);
                return None;
            }
            // The hub ended before it answered: was it made?
            Err(error) if error.conflict && asked.is_again => match find(api, &asked).await {
                Ok(Some(made)) => made,
                Ok(None) => {
                    asked.cut_off += 1;
                    self.unanswered = Some(asked);
                    return None;
                }
                Err(_) => {
                    self.unanswered = Some(asked);
                    return None;
                }
            },
            Err(error) => {
                self.problems
                    .push(format!("an invoice is refused: {error}"));
                return None;
            }
        };
        let units = made["methods"][0]["due"]["units"].as_str()?;
        self.invoices.push(Invoice {
            id: made["id"].as_str()?.to_owned(),
            reference: asked.reference,
            due: U256::from_str_radix(units, 10).ok()?,
            way: asked.way,
        });
        let place = self.invoices.len() - 1;
        self.touched.insert(place);
        Some(place)
    }

    fn ask_for(&mut self, chance: &mut Chance) -> Asked {
        let (way, cents) = (chance.between(0, 2) as usize, chance.between(1, 500));
        if let Some(mut asked) = self.unanswered.take() {
            asked.is_again = true;
            return asked;
        }
        self.asked += 1;
        let (way, reference) = (WAYS[way], format!("order-{}", self.asked));
        let wanted = json!({
            "token": "dev/DUSD",
            "amount": format!("{}.{:02}", cents / 100, cents % 100),
            "methods": [format!("dev/DUSD/{way}")],
            "reference": reference,
            "metadata": { "door": doors::door(self.asked) },
        });
        Asked {
            reference,
            way,
            wanted,
            cut_off: 0,
            is_again: false,
        }
    }

    /// What each invoice holds by the chain that was touched in this round, or paid by what waited since
    /// an earlier one; or, read once more from the first block on, `all` of them.
    pub(crate) async fn expected(&self, world: &World, all: bool) -> Expected {
        let from = if all { 0 } else { world.round_from };
        let logs = oracle::canonical(&world.truth, from).await;
        let before = |place: usize| match all {
            true => Vec::new(),
            false => self.before.get(&place).cloned().unwrap_or_default(),
        };
        let mut looked_at = self.touched.clone();
        if all {
            looked_at.extend(0..self.invoices.len());
        }
        let mut invoices: BTreeMap<usize, Vec<Credit>> = BTreeMap::new();
        invoices.extend(looked_at.into_iter().map(|place| (place, before(place))));
        let (mut came, mut strays) = (0, BTreeSet::new());
        for ((tx, _), (named, amount)) in oracle::credits(&world.watched(), &logs) {
            let Some(place) = self.named.get(&named) else {
                strays.insert((tx, amount));
                continue;
            };
            let held = invoices.entry(*place).or_insert_with(|| before(*place));
            held.push((tx, amount));
            came += 1;
        }
        Expected {
            invoices,
            came,
            strays,
        }
    }

    /// References of those that are paid by these credits.
    pub(crate) fn paid<'a>(
        &'a self,
        expected: &'a BTreeMap<usize, Vec<Credit>>,
    ) -> impl Iterator<Item = String> + 'a {
        expected.iter().filter_map(|(place, credits)| {
            let units: U256 = credits.iter().map(|(_, amount)| *amount).sum();
            let invoice = &self.invoices[*place];
            (units >= invoice.due).then(|| invoice.reference.clone())
        })
    }
}

/// The invoice of this reference, if there is one.
async fn find(api: &Api, asked: &Asked) -> Result<Option<Value>, Refused> {
    let newest = api.send("GET", "/api/v1/invoices?limit=20", None, None);
    let mut newest = newest.await?;
    let items = newest["items"].as_array_mut().map(std::mem::take);
    let mut items = items.unwrap_or_default().into_iter();
    Ok(items.find(|invoice| invoice["reference"] == asked.reference.as_str()))
}

/// What names the invoice, and what is due, by a checkout's way to pay; nothing where nothing is open.
fn what_to_pay(way: &str, method: &Value) -> Option<(Named, U256)> {
    let word = |data: &str, place: usize| -> Option<String> {
        Some(data.get(10 + place * 64..)?.get(..64)?.to_owned())
    };
    let number = |text: &str| U256::from_str_radix(text, 16).ok();
    match way {
        "authorization" => {
            let message = &method["typed_data"]["message"];
            let nonce = message["nonce"].as_str()?.parse().ok()?;
            let value = U256::from_str_radix(message["value"].as_str()?, 10).ok()?;
            Some((Named::Nonce(nonce), value))
        }
        "contract" => {
            // Behind the approval.
            let data = method["transactions"][1]["data"].as_str()?;
            let invoice = word(data, 0)?.parse().ok()?;
            Some((Named::Contract(invoice), number(&word(data, 2)?)?))
        }
        _ => {
            let data = method["transactions"][0]["data"].as_str()?;
            let amount = number(&word(data, 1)?)?;
            Some((Named::Amount(amount), amount))
        }
    }
}

/// How a tenant is paid in these ways.
pub(crate) fn settings(confirmations: u32, expires_s: u32) -> Value {
    let ways = WAYS.map(|way| {
        json!({
            "chain": "dev", "token": "DUSD", "way": way,
            "payee": PAYEE.to_checksum(None), "confirmations": confirmations,
        })
    });
    json!({ "methods": ways, "expires_s": expires_s, "policy": { "tolerance_bps": 0 } })
}
